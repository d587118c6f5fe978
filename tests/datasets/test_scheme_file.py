"""A landmark scheme of one's own: what a TOML file may say, and that the scheme is then known by its name."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from srn.datasets.scheme_file import read_scheme, write_scheme
from srn.errors import DataError, InputError
from srn.face import scheme as scheme_module
from srn.face.scheme import (
    IBUG_68,
    LandmarkScheme,
    describe_scheme,
    described_scheme,
    register_scheme,
    scheme_by_name,
)
from srn.media.pictures import write_image

TEXT = """
name = "{name}"
n_points = 6
eye_corners = [0, 1]
eyes = [[0], [1]]
mirror_pairs = [[0, 1], [3, 4]]

[components]
eyes = [0, 1]
nose = [2]
mouth = [3, 4]
left_cheek = [5]

[[contours]]
component = "mouth"
points = [3, 4]
"""


@pytest.fixture
def text() -> str:
    """A scheme as a user writes it."""
    return TEXT.format(name="six")


def read(tmp_path: Path, text: str) -> LandmarkScheme:
    (tmp_path / "scheme.toml").write_text(text)
    return read_scheme(tmp_path / "scheme.toml")


def test_what_is_written_is_read(tmp_path: Path, text: str) -> None:
    scheme = read(tmp_path, text.replace("six", 'six \\"and\\" é \U0001f600'))
    write_scheme(tmp_path / "again.toml", scheme)
    assert read_scheme(tmp_path / "again.toml") is scheme  # the same definition under the same name


def test_a_byte_order_mark_is_passed_over(tmp_path: Path, text: str) -> None:
    """As editors of Windows write it: the file was said to be broken in line 1."""
    (tmp_path / "scheme.toml").write_bytes(b"\xef\xbb\xbf" + text.encode())
    (tmp_path / "plain.toml").write_bytes(text.encode())
    assert read_scheme(tmp_path / "scheme.toml") is read_scheme(tmp_path / "plain.toml")


def test_the_file_is_the_scheme(tmp_path: Path, text: str) -> None:
    scheme = read(tmp_path, text)
    assert scheme.n_points == 6
    assert dict(scheme.components) == {
        "brows": (), "eyes": (0, 1), "nose": (2,), "mouth": (3, 4), "left_cheek": (5,), "right_cheek": (),
    }  # fmt: skip
    assert scheme.mirror.tolist() == [1, 0, 2, 4, 3, 5]
    assert scheme.eye_corners == (0, 1)
    assert scheme.eyes == ((0,), (1,))
    assert scheme.contours == (("mouth", (3, 4), False),)


def test_it_is_known_by_its_name_and_stays_one_object(tmp_path: Path, text: str) -> None:
    scheme = read(tmp_path, text)
    assert scheme_by_name(scheme.name) is scheme
    assert scheme_module.SCHEMES[scheme.name] is scheme
    assert read(tmp_path, text) is scheme
    assert pickle.loads(pickle.dumps(scheme)) is scheme
    assert pickle.loads(pickle.dumps(IBUG_68)) is IBUG_68


def test_it_travels_to_a_process_that_does_not_know_it(tmp_path: Path, text: str) -> None:
    scheme = read(tmp_path, text)
    (tmp_path / "scheme.pickle").write_bytes(pickle.dumps([scheme, scheme]))
    code = (
        "import pickle, sys; a, b = pickle.load(open(sys.argv[1], 'rb'))\n"
        "from srn.face.scheme import scheme_by_name\n"
        "print(a is b is scheme_by_name(a.name), a.n_points, a.mirror.tolist(), a.components['mouth'])"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "scheme.pickle")]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert ran.stdout.strip() == "True 6 [1, 0, 2, 4, 3, 5] (3, 4)", ran.stderr


def test_a_name_belongs_to_one_scheme(tmp_path: Path, text: str) -> None:
    read(tmp_path, text)
    with pytest.raises(DataError, match=r"scheme\.toml: landmark scheme: expected a name of its own, found 'six'"):
        read(
            tmp_path,
            text.replace("eyes = [[0], [1]]", "eyes = [[0], [1]]\n#").replace("points = [3, 4]", "points = [4, 3]"),
        )
    with pytest.raises(DataError, match="expected a name of its own, found 'ibug68'"):
        read(tmp_path, TEXT.format(name="ibug68"))
    components = dict.fromkeys(IBUG_68.components, ()) | {"eyes": (0, 1)}
    with pytest.raises(InputError, match="a name of its own"):
        register_scheme(LandmarkScheme("ibug68", 2, components, (), (0, 1), ((0,), (1,))))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            'name = "',
            'title = "',
            "scheme.toml: expected the keys components, contours, eye_corners, eyes, mirror_pairs",
        ),
        ("n_points = 6", "n_points = 6\ncolor = 1", "found the key 'color'"),
        ("n_points = 6", 'n_points = "six"', "n_points: expected a number of points from 3 to 10000, found six"),
        ("n_points = 6", "n_points = 2", "n_points: expected a number of points from 3 to 10000, found 2"),
        ("n_points = 6", "n_points = 7", "expected each of 0..6 in one component, found 6 indices"),
        ("nose = [2]", "nose = [2, 5]", "expected each of 0..5 in one component, found 7 indices"),
        ("nose = [2]", "nose = [6]", "components.nose: expected points as numbers from 0 to 5, found [6]"),
        ("nose = [2]", "nose = 2", "components.nose: expected points as numbers from 0 to 5, found 2"),
        ("nose = [2]", "ears = [2]", "components: expected some of brows, eyes, nose, mouth, left_cheek, right_cheek"),
        (
            "eye_corners = [0, 1]",
            "eye_corners = [0]",
            "eye_corners: expected 2 points as numbers from 0 to 5, found [0]",
        ),
        ("eyes = [[0], [1]]", "eyes = [[0]]", "eyes: expected the points of two eyes, found [[0]]"),
        ("eyes = [[0], [1]]", "eyes = [[0], []]", "eyes: expected the points of two eyes, found [[0], []]"),
        ("eyes = [[0], [1]]", "eyes = [[0], [0]]", "eyes: expected different points from 0 to 5, found (0, 0)"),
        ("eyes = [[0], [1]]", "eyes = [[0], [2]]", "the points of one eye to be partners of the other's"),
        ("eyes = [[0], [1]]", "eyes = 5", "eyes: expected a list of lists of points, found 5"),
        ("[3, 4]]", "[3, 0]]", "mirror_pairs: expected each point in one pair at most, found 0 in more"),
        ("[3, 4]]", "[3, 2]]", "mirror_pairs: expected a point of mouth as the partner of 3 (mouth), found 2 (nose)"),
        ("[[0, 1], [3, 4]]", "[[3, 4]]", "mirror_pairs: expected the eye corners [0, 1] as a pair, found no such pair"),
        ('component = "mouth"', 'component = "ear"', "contour 1: expected a component: one of brows"),
        ("points = [3, 4]", "points = [3, 9]", "contour 1: expected points as numbers from 0 to 5, found [3, 9]"),
        ("points = [3, 4]", "points = [3, -1]", "contour 1: expected points as numbers from 0 to 5, found [3, -1]"),
        ("points = [3, 4]", "points = []", "points of each eye and each contour, found none of one"),
        ("[components]", "[components", "expected a scheme (.toml), found"),
    ],
)
def test_what_is_wrong_is_named_in_one_line(tmp_path: Path, text: str, old: str, new: str, message: str) -> None:
    assert old in text
    with pytest.raises(DataError) as caught:
        read(tmp_path, text.replace(old, new, 1))
    assert str(caught.value).startswith(f"{tmp_path / 'scheme.toml'}: ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"scheme\.toml: expected a scheme \(\.toml\), found No such file"):
        read_scheme(tmp_path / "scheme.toml")


def test_the_example_of_the_documentation(tmp_path: Path) -> None:
    document = Path(__file__).resolve().parents[2] / "docs" / "datasets.md"
    scheme = read(tmp_path, document.read_text(encoding="utf-8").split("```toml\n")[1].split("```")[0])
    assert scheme.name == "mine6"
    np.testing.assert_array_equal(scheme.mirror[scheme.mirror], np.arange(6))


def test_what_a_file_says_of_a_scheme(tmp_path: Path, text: str) -> None:
    scheme = read(tmp_path, text)
    assert describe_scheme(IBUG_68) == "ibug68"
    assert described_scheme("ibug68") is IBUG_68
    assert described_scheme(describe_scheme(scheme)) is scheme
    for broken in ("[1, 2]", "[", json.dumps([scheme.name, *scheme.definition()[1:-1], "lines"]), "six-and-a-half"):
        with pytest.raises(InputError):
            described_scheme(broken)


def test_weights_and_packs_of_an_own_scheme_are_read_where_nobody_knows_it(tmp_path: Path, text: str) -> None:
    """A scheme of one's own lies inside checkpoint, exported file and pack: no TOML has to travel with them."""
    torch = pytest.importorskip("torch")
    from srn.datasets.pack import pack_faces
    from srn.datasets.sample import Sample
    from srn.model.checkpoint import save_network
    from srn.model.config import preset
    from srn.model.export import export_onnx
    from srn.model.network import StructuralRelationNetwork

    scheme = read(tmp_path, text)
    sizes = {"crop_size": 64, "face_size": 44.0, "stem_channels": 4, "map_channels": (4, 6, 8), "landmark_features": 8}
    config = preset("robust", scheme_name=scheme.name, hidden_size=16, region_size=12, component_size=10, **sizes)
    torch.manual_seed(0)
    points = np.random.default_rng(0).uniform(-0.5, 0.5, (6, 2))
    network = StructuralRelationNetwork(config, points).eval()
    save_network(tmp_path / "own.safetensors", network)
    export_onnx(network, tmp_path / "own.onnx")
    write_image(tmp_path / "face.png", np.full((90, 90, 3), 99, np.uint8))
    pack, _ = pack_faces([Sample(tmp_path / "face.png", points * 40 + 45, scheme, "own")])
    pack.save(tmp_path / "own.npz")
    code = (
        "import sys; from pathlib import Path; here = Path(sys.argv[1])\n"
        "from srn.face.scheme import SCHEMES; assert len(SCHEMES) == 3\n"
        "from srn.inference.runtime import OnnxLocalizer; from srn.datasets.pack import FacePack\n"
        "def torch_scheme(path):\n"
        "    from srn.model.checkpoint import load_network\n"
        "    return load_network(path)[0].config.scheme\n"
        "read = {'onnx': lambda p: OnnxLocalizer(p).scheme, 'npz': lambda p: FacePack.load(p).scheme}\n"
        "print(read.get(sys.argv[2], torch_scheme)(here / f'own.{sys.argv[2]}').components['mouth'])"
    )
    for kind in ("onnx", "npz", "safetensors"):
        command = [sys.executable, "-c", code, str(tmp_path), kind]
        ran = subprocess.run(command, capture_output=True, text=True, timeout=100)
        assert ran.stdout.strip() == "(3, 4)", ran.stderr
