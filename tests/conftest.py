"""Fixtures shared by all tests."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from matplotlib.cbook import get_sample_data

from srn.face import scheme as scheme_module
from srn.face.geometry import CropSpec, similarity, transform_points
from srn.face.localizer import Float32Array, Prediction
from srn.face.scheme import IBUG_68, LandmarkScheme
from srn.inference.runtime import shipped_weights
from srn.media.pictures import read_image
from srn.synthesis.occluders import drawn_mask

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
"""Research data sets that may not be redistributed: they lie beside the repository, never inside it."""

NEEDS_PYTORCH = [
    *(f"benchmarks/test_{name}.py" for name in ("expected_errors", "fuzz", "hofs", "visibility")),
    *(f"cli/test_{name}.py" for name in ("export", "hofs")),
    *("hofs", "model", "training"),
]
collect_ignore = [] if importlib.util.find_spec("torch") else NEEDS_PYTORCH

Shape = npt.NDArray[np.float64]
Picture = npt.NDArray[np.uint8]


def pytest_report_header() -> str | None:
    return f"without PyTorch, and so without {', '.join(NEEDS_PYTORCH)}" if collect_ignore else None


@pytest.fixture(autouse=True)
def forget_schemes(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test registers is unknown to the next."""
    known = dict(scheme_module._known)
    monkeypatch.setattr(scheme_module, "_known", known)
    monkeypatch.setattr(scheme_module, "SCHEMES", MappingProxyType(known))


@pytest.fixture(autouse=True)
def finish_opening() -> Iterator[None]:
    """A network that a thread is still opening is open before the next test, which may replace what opens it."""
    yield
    for thread in threading.enumerate():
        if thread.name == "srn opens a network":
            thread.join()


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """PyTorch sums in the same order whatever the machine: for tests that compare runs bit by bit."""
    torch = pytest.importorskip("torch")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of the real data sets; a test that wants them is skipped where they are absent."""
    if not SHARED_DATA.is_dir():
        pytest.skip("the research data sets (../shared/data beside the repository) are not here")
    return SHARED_DATA


@dataclass(frozen=True)
class Portrait:
    """A picture of one face, and the landmarks (68, 2) that the shipped weights are known to give on it."""

    name: str
    image: Picture
    landmarks: Shape


@pytest.fixture(scope="session")
def portraits() -> list[Portrait]:
    """Two public-domain portraits, and one of them with a drawn mask; see `tests/data/README.md`."""
    folder = Path(__file__).parent / "data"
    pinned = {name: np.array(points) for name, points in json.loads((folder / "portraits.json").read_text()).items()}
    hopper = read_image(get_sample_data("grace_hopper.jpg", asfileobj=False))
    masked = hopper.copy()
    drawn_mask(masked, pinned["hopper"], IBUG_68, np.random.default_rng(2))
    images = {"hopper": hopper, "astronaut": read_image(folder / "astronaut.jpg"), "hopper, masked": masked}
    return [Portrait(name, image, pinned[name]) for name, image in images.items()]


@pytest.fixture(scope="session")
def robust_weights() -> Path:
    """The weights that ship with the package; a test that wants them is skipped until they are there."""
    if not shipped_weights().is_file():
        pytest.skip(f"the shipped weights ({shipped_weights().name}) are not there yet")
    return shipped_weights()


@pytest.fixture(scope="session")
def tiny_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small network with random weights, exported: it runs everywhere and knows nothing about faces."""
    torch = pytest.importorskip("torch", reason="exporting a network needs PyTorch")
    from srn.model.config import preset
    from srn.model.export import export_onnx
    from srn.model.network import StructuralRelationNetwork

    torch.manual_seed(0)
    config = preset(
        "robust", crop_size=64, face_size=40.0, iterations=1, landmark_features=8, hidden_size=8,
        region_size=8, component_size=8, stem_channels=8, map_channels=(8, 8, 8),
    )  # fmt: skip
    path = tmp_path_factory.mktemp("weights") / "tiny.onnx"
    mean = make_face().astype(np.float32)
    export_onnx(StructuralRelationNetwork(config, mean), path, provenance={"data": "nothing"})
    return path


@pytest.fixture
def rng() -> np.random.Generator:
    """The same random numbers for every test, whatever ran before it."""
    return np.random.default_rng(0)


def make_face() -> Shape:
    """(68, 2) in face units: a frontal face drawn by formulas, symmetric, its tight box centred and of side 1."""
    t = np.pi * np.arange(17) / 16
    jaw = np.stack([-0.5 * np.cos(t), -0.15 + 0.62 * np.sin(t)], 1)
    s = np.arange(5) / 4
    left_brow = np.stack([-0.42 + 0.32 * s, -0.38 - 0.05 * np.sin(np.pi * s)], 1)
    bridge = np.stack([np.zeros(4), np.linspace(-0.22, 0.06, 4)], 1)
    nostrils = np.stack([np.linspace(-0.1, 0.1, 5), [0.11, 0.13, 0.14, 0.13, 0.11]], 1)
    left_eye = np.array([[-0.33, -0.2], [-0.26, -0.235], [-0.2, -0.235], [-0.13, -0.2], [-0.2, -0.17], [-0.26, -0.17]])
    outer, inner = np.pi - np.arange(12) * np.pi / 6, np.pi - np.arange(8) * np.pi / 4
    lips = np.concatenate(
        [
            np.stack([0.2 * np.cos(outer), 0.29 - 0.08 * np.sin(outer)], 1),
            np.stack([0.14 * np.cos(inner), 0.29 - 0.03 * np.sin(inner)], 1),
        ]
    )
    face = np.zeros((68, 2))
    face[:17], face[17:22], face[27:31], face[31:36], face[36:42], face[48:] = (
        jaw, left_brow, bridge, nostrils, left_eye, lips,
    )  # fmt: skip
    for left, right in IBUG_68.mirror_pairs:
        if left in {*range(17, 22), *range(36, 42)}:
            face[right] = face[left] * [-1, 1]
    low, high = face.min(axis=0), face.max(axis=0)
    return (face - (low + high) / 2) / np.sqrt(((high - low) ** 2).sum() / 2)


@pytest.fixture
def face() -> Shape:
    """`make_face`."""
    return make_face()


Answer = Callable[[Picture], tuple[Shape, npt.NDArray[np.float64] | None, npt.NDArray[np.float64] | None]]


@dataclass
class FakeLocalizer:
    """A `Localizer` whose answer to each crop (S, S, 3) is a function: shape (N, 2), visibility, expected error."""

    answer: Answer
    scheme: LandmarkScheme = IBUG_68
    crop_spec: CropSpec = field(default_factory=lambda: CropSpec(96, 60.0))
    name: str = "fake"
    mean_shape: Float32Array = field(default_factory=lambda: make_face().astype(np.float32))
    batches: list[int] = field(default_factory=list)
    """How many crops each call had."""
    crops: list[Picture] = field(default_factory=list)
    """Every crop that was handed in, in order."""

    def __call__(
        self,
        crops: Picture,
        initial_shape: Float32Array | None = None,
        hidden: Float32Array | None = None,
        initial_weight: Float32Array | None = None,
    ) -> Prediction:
        assert crops.dtype == np.uint8
        assert crops.shape[1:] == (self.crop_spec.size, self.crop_spec.size, 3)
        self.batches.append(len(crops))
        self.crops += list(crops)
        shapes, visibilities, errors = zip(*(self.answer(crop) for crop in crops), strict=True)
        final = np.stack(shapes).astype(np.float32)
        start = np.zeros_like(final)  # an earlier iteration, which nobody must take for the answer

        def stacked(values: tuple[Shape | None, ...]) -> Float32Array | None:
            return None if values[0] is None else np.stack([v for v in values if v is not None]).astype(np.float32)

        hidden_size = np.zeros((len(crops), 4), np.float32)
        return Prediction(np.stack([start, final], 1), hidden_size, stacked(visibilities), stacked(errors))


@pytest.fixture
def fake_localizer() -> type[FakeLocalizer]:
    """`FakeLocalizer`, to build one from an answer."""
    return FakeLocalizer


def coordinate_picture(width: int = 256, height: int = 256, blue: int = 0) -> Picture:
    """A picture whose red is x and whose green is y: a crop of it says where in the picture it was taken from."""
    y, x = np.mgrid[:height, :width]
    return np.stack([x, y, np.full_like(x, blue)], -1).astype(np.uint8)


@contextlib.contextmanager
def full_disk(most: int) -> Iterator[None]:
    """In the block no file can hold more bytes: this stands for a disk that is full."""
    resource = pytest.importorskip("resource", reason="a limit of file sizes stands for the full disk")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def turn_picture(image: Picture, landmarks: Shape, degrees: float) -> tuple[Picture, Shape]:
    """Rotate a picture and its points clockwise; the new corners are black."""
    height, width = image.shape[:2]
    angle = np.deg2rad(degrees)
    cos, sin = abs(np.cos(angle)), abs(np.sin(angle))
    size = np.ceil(np.array([width * cos + height * sin, width * sin + height * cos]) - 1e-6).astype(int)
    matrix = similarity(1.0, float(angle), (np.array([width, height]) - 1) / 2, (size - 1) / 2)
    turned = cv2.warpAffine(image, matrix, size.tolist(), flags=cv2.INTER_LINEAR)
    return turned.astype(np.uint8), transform_points(matrix, landmarks)


def crop_to_picture(crop: Picture) -> Shape:
    """(2, 3): the affine map crop pixels -> picture pixels of a crop of `coordinate_picture`, read off its colours."""
    y, x = np.mgrid[: crop.shape[0], : crop.shape[1]]
    colors = crop[..., :2].astype(np.float64)
    inside = ((colors > 2) & (colors < 253)).all(-1)  # beyond the picture its edge is repeated
    positions = np.stack([x[inside], y[inside], np.ones(inside.sum())], 1)
    matrix: Shape = np.linalg.lstsq(positions, colors[inside], rcond=None)[0].T
    return matrix


@pytest.fixture
def true_localizer() -> Callable[..., FakeLocalizer]:
    """Builds a localizer that knows where the faces are in `coordinate_picture`s, whatever crop it is shown.

    `true_localizer({blue: landmarks, ...}, bias=...)`: landmarks (68, 2) in pixels of the picture of that blue value;
    `bias` (2,) is added to every answer, in crop pixels. In a mirrored crop it numbers the points as they appear.
    """

    def build(faces: dict[int, Shape], bias: tuple[float, float] = (0.0, 0.0)) -> FakeLocalizer:
        def answer(crop: Picture) -> tuple[Shape, None, None]:
            to_picture = crop_to_picture(crop)
            shape = faces[round(float(np.median(crop[..., 2])))]
            if np.linalg.det(to_picture[:, :2]) < 0:
                shape = shape[IBUG_68.mirror]
            return (shape - to_picture[:, 2]) @ np.linalg.inv(to_picture[:, :2]).T + bias, None, None

        return FakeLocalizer(answer)

    return build


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """A browser whose camera is a drawn one; without a browser the test is skipped.

    While it is open, an event loop counts as running in the main thread: `asyncio.run` needs another thread.
    """
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("no chromium on this machine")
    playwright = pytest.importorskip("playwright.sync_api", reason="drives the browser: pip install playwright")
    camera = ["--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"]
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=program, args=["--no-sandbox", *camera])
        yield opened
        opened.close()
