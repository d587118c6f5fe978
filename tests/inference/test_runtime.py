"""The light runtime: an exported network against PyTorch, and files that are none."""

from __future__ import annotations

import hashlib
import os
import re
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from srn.errors import InputError, MissingDependencyError, WeightsError
from srn.face.geometry import CropSpec
from srn.face.onnx_file import PINNED, SEAL_LENGTH, check_model, metadata, output_names, sealed
from srn.face.scheme import IBUG_68
from srn.face.weights import KnownWeights, find_weights
from srn.inference import runtime
from srn.inference.face_finder import CenterFaceFinder, YuNetFinder
from srn.inference.runtime import OnnxLocalizer, open_localizer
from srn.inference.sessions import open_session


@pytest.fixture(scope="module")
def localizer(tiny_weights: Path) -> OnnxLocalizer:
    return OnnxLocalizer(tiny_weights, threads=1)


@pytest.fixture
def crops(rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    return rng.integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)


def test_says_what_it_is(localizer: OnnxLocalizer, tiny_weights: Path, face: npt.NDArray[np.float64]) -> None:
    assert localizer.scheme is IBUG_68
    assert localizer.crop_spec == CropSpec(64, 40.0)
    np.testing.assert_allclose(localizer.mean_shape, face, atol=1e-6)
    assert localizer.name == f"tiny.onnx@{hashlib.sha256(tiny_weights.read_bytes()).hexdigest()[:12]}"
    assert localizer.provenance == {"data": "nothing"}


def test_equals_pytorch(localizer: OnnxLocalizer, tiny_weights: Path, crops: npt.NDArray[np.uint8]) -> None:
    pytest.importorskip("torch")
    from srn.model.export import FORMAT, load_onnx
    from srn.model.localizer import TorchLocalizer

    assert FORMAT == runtime.FORMAT
    torch_localizer = TorchLocalizer(load_onnx(tiny_weights)[0])
    start = np.random.default_rng(1).uniform(10, 54, (3, 68, 2)).astype(np.float32)
    hidden = np.random.default_rng(2).uniform(-1, 1, (3, 8)).astype(np.float32)
    weight = np.array([0, 1, 1], np.float32)
    answers = []
    for arguments in ((), (start,), (start, hidden), (start, hidden, weight)):
        ours, theirs = localizer(crops, *arguments), torch_localizer(crops, *arguments)
        answers.append(ours.shapes)
        for name in ("shapes", "hidden", "visibility", "expected_error"):
            np.testing.assert_allclose(getattr(ours, name), getattr(theirs, name), atol=2e-3, err_msg=name)
        assert ours.shapes.shape[0] == 3
        assert ours.shapes.shape[2:] == (68, 2)
        assert ours.visibility is not None
        assert ((ours.visibility >= 0) & (ours.visibility <= 1)).all()
    assert np.abs(answers[0] - answers[1]).max() > 0.1  # the initial shape is heard
    np.testing.assert_allclose(answers[3][0], localizer(crops, None, hidden).shapes[0], atol=1e-3)


def test_visibility_is_a_probability_where_onnx_runtime_rounds_it_above_one(
    tiny_weights: Path, crops: npt.NDArray[np.uint8], tmp_path: Path
) -> None:
    torch = pytest.importorskip("torch")
    from srn.model.export import export_onnx, load_weights

    network, _ = load_weights(tiny_weights)
    assert network.visibility_head is not None
    with torch.no_grad():
        network.visibility_head.weight.zero_()
        network.visibility_head.bias.fill_(17.844)
    path = tmp_path / "sure.onnx"
    export_onnx(network, path, half=False)

    visibility = OnnxLocalizer(path, threads=1)(crops).visibility

    assert visibility is not None
    assert ((visibility > 0.99999) & (visibility <= 1)).all()


def test_batched_is_one_by_one(localizer: OnnxLocalizer, crops: npt.NDArray[np.uint8]) -> None:
    together = localizer(crops)
    for index in range(3):
        alone = localizer(crops[index : index + 1])
        np.testing.assert_allclose(together.shapes[index], alone.shapes[0], atol=1e-3)
        np.testing.assert_allclose(together.hidden[index], alone.hidden[0], atol=1e-4)


def test_the_channels_are_told_apart(localizer: OnnxLocalizer, crops: npt.NDArray[np.uint8]) -> None:
    forward, backward = localizer(crops).shapes, localizer(np.ascontiguousarray(crops[..., ::-1])).shapes
    assert np.abs(forward - backward).max() > 1e-4


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError) as caught:
        OnnxLocalizer(tmp_path / "none.onnx")
    assert str(caught.value) == (
        f"{tmp_path / 'none.onnx'}: expected a network exported by 'srn export' (.onnx), found no such file"
    )


def test_missing_shipped_weights_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "shipped_weights", lambda: tmp_path / "robust.onnx")
    with pytest.raises(WeightsError, match=r"robust\.onnx: expected .* found no such file"):
        OnnxLocalizer()


@pytest.mark.parametrize("content", [b"", b"not a network", b"\x08\x07" * 50], ids=["empty", "text", "bytes"])
def test_a_broken_file_is_named_in_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.onnx"
    path.write_bytes(content)
    with pytest.raises(WeightsError) as caught:
        OnnxLocalizer(path)
    assert str(caught.value).startswith(f"{path}: expected a network exported by 'srn export' (.onnx), found ")
    assert "\n" not in str(caught.value)


def test_another_network_is_named() -> None:
    centerface = runtime.shipped_weights().with_name("centerface.onnx")
    expected = f"{centerface}: expected a network exported by 'srn export' (srn onnx 1), found another ONNX file"
    with pytest.raises(WeightsError, match=re.escape(expected)):
        OnnxLocalizer(centerface)


def test_a_flipped_byte_is_always_found(tiny_weights: Path, tmp_path: Path) -> None:
    content = tiny_weights.read_bytes()
    for place in np.random.default_rng(0).choice(len(content), 40, replace=False).tolist() + [0, len(content) - 1]:
        broken = bytearray(content)
        broken[place] ^= 1 << place % 8
        (tmp_path / "w.onnx").write_bytes(broken)
        with pytest.raises(WeightsError, match=r"w\.onnx: expected .*, found (a damaged file|no valid SHA-256)"):
            OnnxLocalizer(tmp_path / "w.onnx")


def test_every_shipped_file_has_its_digest_in_the_package(robust_weights: Path) -> None:
    digests = {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in robust_weights.parent.glob("*.onnx")}
    assert digests == PINNED


@pytest.mark.parametrize("name", PINNED)
def test_a_flipped_byte_of_a_shipped_file_is_found(robust_weights: Path, tmp_path: Path, name: str) -> None:
    content = bytearray(robust_weights.with_name(name).read_bytes())
    check_model(bytes(content), name, "a network")
    content[len(content) // 2] ^= 1
    for copy in (name, "copy.onnx"):
        with pytest.raises(WeightsError, match=r"no valid SHA-256|does not have the SHA-256 stored in it"):
            check_model(bytes(content), copy, "a network", own=copy != name)


def without(model: bytes, key: str, value: str | None = None) -> bytes:
    """The exported network without an entry of its metadata, or with another value in it, and sealed."""
    onnx = pytest.importorskip("onnx")
    loaded = onnx.load_model_from_string(model)
    entries = {entry.key: entry.value for entry in loaded.metadata_props if entry.key not in (key, "sha256")}
    del loaded.metadata_props[:]
    onnx.helper.set_model_props(loaded, entries | ({} if value is None else {key: value}))
    return sealed(loaded.SerializeToString())


@pytest.mark.parametrize(
    ("key", "value"),
    [("format", None), ("format", "srn onnx 7"), ("config", None), ("config", "{"), ("config", "[1]"), ("config", "{}"),
     ("mean_shape", None), ("mean_shape", "[[1, 2]]"), ("mean_shape", "text"), ("provenance", "7"),
     ("config", '{"scheme_name": "ibug68", "frame_size": 100000, "face_size": 40, "hidden_size": 8}'),
     ("config", '{"scheme_name": "ibug68", "frame_size": 64, "face_size": 40, "hidden_size": 1000000000}'),
     ("config", '{"scheme_name": "other", "frame_size": 64, "face_size": 40, "hidden_size": 8}')],
)  # fmt: skip
def test_missing_and_wrong_metadata_are_named(tiny_weights: Path, tmp_path: Path, key: str, value: str | None) -> None:
    path = tmp_path / "w.onnx"
    path.write_bytes(without(tiny_weights.read_bytes(), key, value))
    with pytest.raises(WeightsError, match=rf"^{re.escape(str(path))}: expected .*srn onnx 1") as caught:
        OnnxLocalizer(path)
    assert "\n" not in str(caught.value)


def test_integers_are_not_for_openvino(tiny_weights: Path, tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    (tmp_path / "w.onnx").write_bytes(without(tiny_weights.read_bytes(), "precision", "int8"))
    assert OnnxLocalizer(tmp_path / "w.onnx").scheme is IBUG_68
    with pytest.raises(
        WeightsError, match=r"w\.onnx: expected float weights for the runtime 'openvino', found weights in"
    ):
        OnnxLocalizer(tmp_path / "w.onnx", runtime="openvino")


def test_tensors_in_other_files_and_of_false_size_are_refused(tiny_weights: Path) -> None:
    onnx = pytest.importorskip("onnx")
    unsealed = without(tiny_weights.read_bytes(), "provenance")[:-SEAL_LENGTH]
    model = onnx.load_model_from_string(unsealed)
    tensor = model.graph.initializer[0]
    onnx.external_data_helper.set_external_data(tensor, "/etc/passwd")
    with pytest.raises(WeightsError, match="x: expected tensors in the file itself, found a tensor in another file"):
        check_model(model.SerializeToString(), "x", "a network")
    model = onnx.load_model_from_string(unsealed)
    del model.graph.initializer[0].dims[:]
    model.graph.initializer[0].dims.extend([1 << 20, 1 << 20])
    with pytest.raises(WeightsError, match=r"expected tensors with all their numbers, found \d+ bytes for 1048576 x"):
        check_model(model.SerializeToString(), "x", "a network")
    sparse = onnx.helper.make_sparse_tensor(tensor, tensor, [1 << 40])
    model.graph.ClearField("initializer")
    model.graph.sparse_initializer.append(sparse)
    with pytest.raises(WeightsError, match="expected dense tensors"):
        check_model(model.SerializeToString(), "x", "a network")


@pytest.mark.parametrize("name", PINNED)
def test_outputs_and_metadata_are_read_from_the_file(robust_weights: Path, name: str) -> None:
    content = robust_weights.with_name(name).read_bytes()
    opened = open_session(content, name, "a network", threads=1)
    assert output_names(content) == [output.name for output in opened.get_outputs()]
    assert metadata(content) == opened.get_modelmeta().custom_metadata_map


def test_shipped_weights(robust_weights: Path) -> None:
    localizer = OnnxLocalizer(threads=1)
    assert localizer.path == robust_weights
    assert localizer.scheme is IBUG_68
    assert robust_weights.stat().st_size < 24e6
    # The mean face is a face: upright, symmetric, its tight box about 1 in size and centred.
    mean = localizer.mean_shape
    np.testing.assert_allclose(mean[IBUG_68.mirror] * [-1, 1], mean, atol=1e-5)
    assert mean[list(IBUG_68.components["brows"]), 1].max() < mean[list(IBUG_68.components["mouth"]), 1].min()
    assert np.sqrt((np.ptp(mean, axis=0) ** 2).sum() / 2) == pytest.approx(1, abs=0.1)


class TestOpening:
    def test_an_exported_network(self, tiny_weights: Path, crops: npt.NDArray[np.uint8]) -> None:
        opened = open_localizer(tiny_weights, threads=1)
        assert isinstance(opened, OnnxLocalizer)
        np.testing.assert_array_equal(opened(crops).shapes, OnnxLocalizer(str(tiny_weights), threads=1)(crops).shapes)
        given = open_localizer(str(tiny_weights), providers=["CPUExecutionProvider"])
        np.testing.assert_allclose(given(crops).shapes, opened(crops).shapes, atol=1e-3)

    def test_the_weights_of_a_run(self, tiny_weights: Path, tmp_path: Path, crops: npt.NDArray[np.uint8]) -> None:
        pytest.importorskip("torch")
        from srn.model.checkpoint import save_network
        from srn.model.export import load_onnx

        save_network(tmp_path / "weights.safetensors", load_onnx(tiny_weights)[0], provenance={"faces_seen": "12"})
        opened = open_localizer(tmp_path / "weights.safetensors")
        assert opened.name == f"{tmp_path.name}/weights.safetensors@12 faces"  # all runs' weights have this name
        np.testing.assert_allclose(opened(crops).shapes, open_localizer(tiny_weights)(crops).shapes, atol=2e-3)
        save_network(tmp_path / "mean.safetensors", load_onnx(tiny_weights)[0])
        assert open_localizer(tmp_path / "mean.safetensors").name == f"{tmp_path.name}/mean.safetensors"
        with pytest.raises(InputError, match=r"providers: expected none with \.safetensors weights"):
            open_localizer(tmp_path / "weights.safetensors", providers=["CPUExecutionProvider"])

    def test_without_pytorch(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "torch", None)
        monkeypatch.delitem(sys.modules, "srn.model.localizer", raising=False)
        with pytest.raises(MissingDependencyError, match=r"reading \.safetensors weights needs torch.*srn\[train\]"):
            open_localizer("weights.safetensors")

    @pytest.mark.parametrize(
        ("name", "found"),
        [("weights.pt", r", found \.pt"), ("weights", ", or one of the names robust, .*, found neither")],
    )
    def test_another_kind_of_file(self, name: str, found: str) -> None:
        with pytest.raises(InputError, match=rf"expected weights as \.onnx or \.safetensors{found}"):
            open_localizer(name)

    @pytest.mark.parametrize("suffix", [".onnx", ".safetensors"])
    @pytest.mark.parametrize("threads", [0, -1])
    def test_threads(self, tiny_weights: Path, suffix: str, threads: int) -> None:
        with pytest.raises(InputError, match=f"threads: expected a whole number of at least 1, found {threads}"):
            open_localizer(tiny_weights.with_suffix(suffix), threads=threads)


@pytest.mark.parametrize("name", ["robust", "fast"])
def test_weights_of_a_name_are_hashed_once(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the start of every run, whether the file has a seal or is the package's own."""
    size = find_weights(name).stat().st_size
    hashed: list[int] = []

    class Counted:
        def __init__(self, content: bytes = b"") -> None:
            self.hash = hashlib_sha256()
            self.update(content)

        def update(self, content: bytes) -> None:
            hashed.append(len(content))
            self.hash.update(content)

        def hexdigest(self) -> str:
            return self.hash.hexdigest()

    hashlib_sha256 = hashlib.sha256
    monkeypatch.setattr(hashlib, "sha256", Counted)
    assert open_localizer(name, threads=1).name.startswith(f"{name}.onnx@")
    assert sum(hashed) == size


def test_a_name_stands_for_one_file_alone(tiny_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A network that is whole, and another one than the catalogue's."""
    monkeypatch.setattr(KnownWeights, "path", lambda known: tmp_path / known.file)
    (tmp_path / "fast.onnx").write_bytes(tiny_weights.read_bytes())
    with pytest.raises(WeightsError, match=r"fast.onnx: expected the file with the SHA-256 55e37020d857..., found ano"):
        open_localizer("fast")


def test_a_file_with_holes_is_refused_before_it_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.onnx").touch()
    os.truncate(tmp_path / "a.onnx", 4 << 30)
    for opened in (OnnxLocalizer, CenterFaceFinder, YuNetFinder):
        with pytest.raises(WeightsError, match=r"a.onnx: expected .* of at most 1073741824 bytes, found 4294967296"):
            opened(tmp_path / "a.onnx")
