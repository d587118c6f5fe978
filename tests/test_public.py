"""The public face: a golden list. A change here is a change for every user, and belongs in the changelog."""

from __future__ import annotations

import doctest
import importlib
import inspect
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

import srn

NAMES = {
    "to use": ["Face", "FaceLandmarker", "FaceTracker", "Faces", "draw_faces", "read_image"],
    "to extend": [
        *("Box", "BoxFit", "CropSpec", "FaceFinder", "FoundFace", "InputError", "LandmarkBoxFinder", "Localizer"),
        *("OnnxLocalizer", "Prediction", "SmoothingConfig", "SrnError", "TrackPainter", "TrackerConfig"),
    ],
    "schemes": ["COFW_29", "IBUG_68", "LandmarkScheme", "WFLW_98"],
}

SIGNATURES = """
Box(x0: float, y0: float, x1: float, y1: float) -> None
    adjusted(self, offset: FloatArray | tuple[float, float], scale: tuple[float, float] = (1.0, 1.0)) -> Box
    around(points: FloatArray) -> Box
    as_array(self) -> npt.NDArray[np.float64]
    center: npt.NDArray[np.float64]
    height: float
    iou(self, other: Box) -> float
    is_in(self, width: int, height: int) -> bool
    size: float
    width: float
BoxFit(dx: float = 0.0, dy: float = 0.0, sx: float = 1.0, sy: float = 1.0) -> None
    apply(self, box: Box, turn: int = 0, tilt: float = 0.0) -> Box
CropSpec(size: int, face_size: float) -> None
    center: float
    place(self, mean_shape: FloatArray) -> npt.NDArray[np.float64]
Face(landmarks: npt.NDArray[np.float64], visibility: npt.NDArray[np.float32] | None, confidence: npt.NDArray[np.float32] | None, box: Box, score: float, scheme: LandmarkScheme, track_id: int | None = None, inside: npt.NDArray[np.bool_] | None = None, state: FaceState = seen, covariance: npt.NDArray[np.float32] | None = None) -> None
    aligned_crop(self, image: ImageInput, size: int = 256, *, margin: float = 0.25) -> ImageArray
    from_dict(values: Mapping[str, Any], scheme: LandmarkScheme = LandmarkScheme(ibug68, 68 points)) -> Face
    is_doubtful: bool
    landmark_box: Box
    mean_confidence: float | None
    part(self, name: str) -> npt.NDArray[np.float64]
    to_dict(self) -> dict[str, Any]
    within(self, height: int, width: int) -> Face
FaceFinder
    find(self, image: ImageArray) -> list[FoundFace]
FaceLandmarker(weights: str | os.PathLike[str] | None = None, *, localizer: Localizer | None = None, face_finder: FaceFinder | LandmarkBoxFinder | None = None, smallest: float | None = None, max_faces: int | None = None, accuracy: Accuracy = balanced, flip_average: bool = False, batch_size: int = 16, threads: int | None = None, providers: Sequence[str] | None = None, device: Device = cpu, runtime: Runtime = onnxruntime, precision: Precision = float32) -> None
    detect(self, image: ImageInput, boxes: Iterable[BoxLike] | None = None, *, channels: Channels = RGB, unit_range: bool = False) -> Faces
    detect_batch(self, images: Iterable[ImageInput], boxes: Iterable[Iterable[BoxLike]] | None = None, *, channels: Channels = RGB, unit_range: bool = False) -> list[Faces]
    find(self, image: ImageArray) -> list[FoundFace]
    tracker(self, *, smooth: bool | None = None, start: Start | None = None, iterations: int | None = None, find_every: int | None = None, frame_rate: float = 30.0, config: TrackerConfig | None = None) -> FaceTracker
FaceTracker(looker: Looker, find: Callable[[ImageArray], Sequence[FoundFace]], config: TrackerConfig | None = None, *, passes: int = 2, frame_rate: float = 30.0, fit: BoxFit | None = None) -> None
    reset(self) -> None
    update(self, frame: ImageInput, time_s: float | None = None, *, channels: Channels = RGB, unit_range: bool = False) -> Faces
Faces(faces: Iterable[Face] = ()) -> None
    above(self, *, confidence: float | None = None, score: float | None = None) -> Faces
    biggest(self) -> Face | None
    from_coco(annotations: Iterable[Mapping[str, Any]], scheme: LandmarkScheme = LandmarkScheme(ibug68, 68 points)) -> Faces
    from_dict(values: Iterable[Mapping[str, Any]], scheme: LandmarkScheme = LandmarkScheme(ibug68, 68 points)) -> Faces
    from_normalized(faces: Iterable[Sequence[Any]], height: int, width: int, scheme: LandmarkScheme = LandmarkScheme(ibug68, 68 points)) -> Faces
    from_pandas(frame: Any, scheme: LandmarkScheme = LandmarkScheme(ibug68, 68 points)) -> Faces
    from_supervision(key_points: Any, scheme: LandmarkScheme = LandmarkScheme(ibug68, 68 points)) -> Faces
    to_coco(self, *, image_id: int, first_id: int = 1) -> list[dict[str, Any]]
    to_dict(self) -> list[dict[str, Any]]
    to_normalized(self, height: int, width: int) -> list[list[dict[str, float | None]]]
    to_pandas(self) -> Any
    to_supervision(self) -> Any
FoundFace(box: Box, score: float, doubtful: bool = False, turn: int = 0, tilt: float = 0.0, points: tuple[tuple[float, float], ...] | None = None) -> None
    angle: float
InputError
    at(where: str | PathLike[str], expected: str, found: str) -> Self
    reading(where: str | PathLike[str], expected: str) -> Iterator[None]
LandmarkBoxFinder(finder: FaceFinder | None = None, fit: BoxFit | None = None) -> None
    find(self, image: ImageArray) -> list[FoundFace]
LandmarkScheme(name: str, n_points: int, components: Mapping[str, tuple[int, ...]], mirror_pairs: tuple[tuple[int, int], ...], eye_corners: tuple[int, int], eyes: tuple[tuple[int, ...], tuple[int, ...]], contours: tuple[tuple[str, tuple[int, ...], bool], ...] = ()) -> None
    component_of(self, index: int) -> str
    definition(self) -> tuple[object, ...]
    mirror: npt.NDArray[np.int64]
    part(self, name: str) -> tuple[int, ...]
    parts: Mapping[str, tuple[int, ...]]
    region(self, name: str) -> tuple[int, ...]
Localizer
    __call__(self, crops: ImageArray, initial_shape: Float32Array | None = None, hidden: Float32Array | None = None, initial_weight: Float32Array | None = None) -> Prediction
    crop_spec: CropSpec
    mean_shape: Float32Array
    name: str
    scheme: LandmarkScheme
OnnxLocalizer(path: str | os.PathLike[str] | None = None, *, threads: int | None = None, providers: Sequence[str] | None = None, device: Device = cpu, runtime: Runtime = onnxruntime, precision: Precision = float32) -> None
    __call__(self, crops: ImageArray, initial_shape: Float32Array | None = None, hidden: Float32Array | None = None, initial_weight: Float32Array | None = None) -> Prediction
    crop_spec: CropSpec
    mean_shape: Float32Array
    name: str
    recurrence: str
    scheme: LandmarkScheme
    tells_direction: bool
Prediction(shapes, hidden, visibility, expected_error, error_direction)
SmoothingConfig(min_cutoff: Positive = 0.5, beta: NonNegative = 24.0, rigid_beta: NonNegative = 3.0, shock_beta: NonNegative = 400.0, shock_floor: NonNegative = 0.12, speed_cutoff: Positive = 1.0, rigid_speed_cutoff: Positive = 5.0, carried_cutoff: Positive = 2.5, rigid_carried_cutoff: Positive = 2.0, carried_shock_floor: NonNegative = 1.0, least_weight: Share = 0.25, hold: Share = 0.7, memory_s: Positive = 0.5, forget_s: Positive = 2.0) -> None
    from_dict(values: Any) -> Self
    load(path: str | os.PathLike[str]) -> Self
    save(self, path: str | os.PathLike[str]) -> None
    to_dict(self) -> dict[str, Any]
SrnError
TrackPainter(trace_s: float = 1.0, *, contours: bool = True, boxes: bool = False, ellipses: bool = False) -> None
    draw(self, image: ImageArray, faces: Iterable[Face], time_s: float) -> ImageArray
TrackerConfig(smooth: bool = True, flow: bool = True, least_flow: Share = 0.3, smoothing: SmoothingConfig = <factory>, mirror_every: Index = 4, mirror_gain: Share = 0.3, start: Start = mean, iterations: Count | None = None, find_every: Count = 30, find_when_empty: Count = 5, find_after_change: Count = 8, max_displacement: NonNegative = 0.08, keep_confidence: Share = 0.2, accept_confidence: Share = 0.28, found_confidence: Share = 0.1, retry_s: NonNegative = 0.5, max_shift: NonNegative = 0.6, max_stretch: Positive = 1.6, max_misfit: NonNegative = 0.25, max_misses: Count = 2, min_age_s: NonNegative = 0.2, coast_s: NonNegative = 1.0, memory_s: NonNegative = 4.0, fade_s: Positive = 0.4, slow_s: Positive = 1.0, reach: Positive = 0.6, reach_per_s: NonNegative = 1.5, max_reach: Positive = 3.0) -> None
    from_dict(values: Any) -> Self
    load(path: str | os.PathLike[str]) -> Self
    save(self, path: str | os.PathLike[str]) -> None
    to_dict(self) -> dict[str, Any]
draw_faces(image: ImageInput, faces: Iterable[Face], *, boxes: bool = True, contours: bool = True, size: float | None = None, colors: Mapping[str, Color] | None = None, box_color: Color = (255, 255, 255), ellipses: bool = False) -> ImageArray
read_image(path: str | os.PathLike[str]) -> npt.NDArray[np.uint8]
"""  # noqa: E501
"""Every public function and class with its signature; below a class its own methods and properties."""


def members(kind: type) -> Iterator[str]:
    """The public members that a class gets from this package, one line each."""
    for name in sorted(dir(kind)):
        origin = next((base for base in kind.__mro__ if name in vars(base)), object)
        if (name.startswith("_") and name != "__call__") or not origin.__module__.startswith("srn"):
            continue
        value = inspect.getattr_static(kind, name)
        if isinstance(value, classmethod | staticmethod) or inspect.isfunction(value):
            yield f"    {name}{inspect.signature(getattr(kind, name))}"
        elif isinstance(value, property) or hasattr(value, "func"):  # a property, cached or not
            function = getattr(value, "fget", None) or value.func
            yield f"    {name}: {inspect.signature(function).return_annotation}"


def signatures() -> str:
    lines = []
    for name in sorted(NAMES["to use"] + NAMES["to extend"] + NAMES["schemes"]):
        value = getattr(srn, name)
        if inspect.isclass(value):
            if getattr(value, "_is_protocol", False) or issubclass(value, Exception):
                lines.append(name)
            else:  # a named tuple's annotations are printed differently by each version of Python
                lines.append(
                    name + (str(value._fields) if hasattr(value, "_fields") else str(inspect.signature(value)))
                )
            lines += members(value)
        elif inspect.isfunction(value):
            lines.append(f"{name}{inspect.signature(value)}")
    return "\n".join(lines).replace("'", "")  # annotations are strings


def test_names() -> None:
    assert sorted(srn.__all__) == sorted([*NAMES["to use"], *NAMES["to extend"], *NAMES["schemes"], "__version__"])
    visible = {name for name in dir(srn) if not name.startswith("_") and not inspect.ismodule(getattr(srn, name))}
    assert visible == set(srn.__all__) - {"__version__"}


def test_signatures() -> None:
    assert signatures().splitlines() == SIGNATURES.strip().splitlines()


def test_all_public_things_are_documented() -> None:
    for name in NAMES["to use"] + NAMES["to extend"]:
        value = getattr(srn, name)
        assert (value.__doc__ or "").strip(), name
        if inspect.isclass(value):
            for line in members(value):
                member = re.split(r"[:(]", line.strip())[0]
                assert (inspect.getattr_static(value, member).__doc__ or "").strip(), f"{name}.{member}"


@pytest.mark.parametrize(
    "module",
    [
        "srn",
        "srn.face.geometry",
        "srn.face.scheme",
        "srn.inference.face",
        "srn.inference.inputs",
    ],
)
def test_examples_in_docstrings(module: str) -> None:
    result = doctest.testmod(importlib.import_module(module))
    assert result.attempted > 0
    assert result.failed == 0


def test_a_finder_and_a_localizer_of_ones_own() -> None:
    """All that is needed to write them is public."""

    class Finder:
        def find(self, image: npt.NDArray[np.uint8]) -> list[srn.FoundFace]:
            return [srn.FoundFace(srn.Box(20, 20, 60, 70), 0.8)]

    class Localizer:
        scheme = srn.IBUG_68
        crop_spec = srn.CropSpec(64, 40.0)
        mean_shape = np.stack([np.linspace(-0.5, 0.5, 68), np.linspace(-0.4, 0.6, 68)], 1).astype(np.float32)
        name = "mean shape"

        def __call__(
            self,
            crops: npt.NDArray[np.uint8],
            initial_shape: npt.NDArray[np.float32] | None = None,
            hidden: npt.NDArray[np.float32] | None = None,
            initial_weight: npt.NDArray[np.float32] | None = None,
        ) -> srn.Prediction:
            shapes = np.tile(self.crop_spec.place(self.mean_shape), (len(crops), 1, 1, 1)).astype(np.float32)
            return srn.Prediction(shapes, np.zeros((len(crops), 1), np.float32), None, None)

    landmarker = srn.FaceLandmarker(localizer=Localizer(), face_finder=Finder())
    (face,) = landmarker.detect(np.zeros((90, 100, 3), np.uint8))
    assert face.score == 0.8
    assert face.confidence is None


def test_nothing_is_reported_to_the_makers_of_onnx_runtime(tmp_path: Path) -> None:
    """Where it reports, it keeps a number of the machine in the user's cache folder."""
    own = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    homes = dict.fromkeys(("HOME", "XDG_CACHE_HOME", "LOCALAPPDATA"), str(tmp_path))
    source = str(Path(__file__).resolve().parents[1] / "src")
    program = "import srn.inference.sessions, os; print(os.environ['ORT_DISABLE_TELEMETRY'])"
    ran = subprocess.run(
        [sys.executable, "-c", program], env={**own, **homes, "PYTHONPATH": source}, check=True,
        capture_output=True, text=True,
    )  # fmt: skip
    assert ran.stdout == "1\n"
    assert not list(tmp_path.rglob("*"))


def test_version_and_typing_marker() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+", srn.__version__)
    assert (resources.files("srn") / "py.typed").is_file()


def test_every_module_says_what_it_is_for() -> None:
    for name in ("errors", "face.geometry", "face.scheme", "inference.landmarker", "media.pts", "cli.main"):
        assert (importlib.import_module(f"srn.{name}").__doc__ or "").strip()
