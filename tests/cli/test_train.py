"""`srn train` and `srn export`: what they say when something is missing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from srn.datasets.pack import pack_faces
from srn.datasets.sample import Sample
from srn.face.scheme import COFW_29, IBUG_68, LandmarkScheme
from srn.media.pictures import write_image

pytest.importorskip("torch")
Run = Callable[..., Any]


def test_no_data(srn: Run, tmp_path: Path) -> None:
    expected = "DATA: expected a dataset's root, or a pack made by 'srn data pack', found nothing"
    assert srn("train", "--out", tmp_path / "run").mistake == expected
    assert srn("train", "--out", tmp_path / "run", "--resume").mistake == expected
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, "expected the folders of 300W"),
        (lambda path: path.mkdir(), "expected the folders of 300W"),
        (lambda path: path.write_text("text"), "expected a face pack (.npz)"),
        (lambda path: path.write_bytes(b"PK\x03\x04" + bytes(50)), "expected a face pack (.npz)"),
    ],
    ids=["missing", "empty folder", "text", "half an archive"],
)
def test_data_that_is_none(srn: Run, tmp_path: Path, make: Callable[[Path], None], message: str) -> None:
    data = tmp_path / "data"
    make(data)
    assert srn("train", data, "--out", tmp_path / "run").mistake.startswith(f"{data}: {message}")
    assert not (tmp_path / "run").exists()


def test_a_pack_takes_no_further_folders(srn: Run, tmp_path: Path) -> None:
    (tmp_path / "faces.npz").write_bytes(b"")
    for words in (
        (tmp_path / "faces.npz", tmp_path),
        ("--data", tmp_path / "faces.npz", "--extra", tmp_path),
    ):  # as before
        ran = srn("train", *words, "--out", tmp_path / "run")
        assert ran.mistake.startswith(f"{tmp_path / 'faces.npz'}: expected a pack alone")


@pytest.mark.parametrize("arguments", [("--preset", "huge"), ("--faces", "0"), ("--precision", "8"), ("--seed", "x")])
def test_options_out_of_range(srn: Run, tmp_path: Path, arguments: tuple[str, str]) -> None:
    ran = srn("train", "--out", tmp_path / "run", *arguments)
    assert ran.code == 2
    assert arguments[0] in ran.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--set", "clips.frames=4"), "--set clips.frames=4: expected a name among faces"),
        (("--clips", "--preset", "paper"), "preset: expected none with clips"),
        (("--clips", "--set", "clips.frames=1"), "ClipConfig.frames: expected a whole number of at least 2, found 1"),
        (("--set", "model.without=h"), "ModelConfig.without: expected any number of values, each g, f, d or mu"),
        (("--clips",), "DATA: expected a dataset's root, or a pack made by 'srn data pack', found nothing"),
    ],
)
def test_options_of_clips(srn: Run, tmp_path: Path, arguments: tuple[str, ...], message: str) -> None:
    assert srn("train", "--out", tmp_path / "run", *arguments).mistake.startswith(message)
    assert not (tmp_path / "run").exists()


def test_a_tracker_is_fine_tuned_and_resumed(srn: Run, tmp_path: Path) -> None:
    """Two steps from the shipped weights on six faces; the run remembers that it is one of clips."""
    from srn.model.checkpoint import load_network

    noise_pack(tmp_path, IBUG_68, 6)
    common = ("--workers", "0", "--device", "cpu", "--precision", "float32", "--out", tmp_path / "run")
    ran = srn(
        "train", "--clips", "--set", "clips.frames=2", "--set", "batch_size=4", "--faces", "4", "--set", "validation=2",
        "--data", tmp_path / "faces.npz", *common,
    )  # fmt: skip
    assert ran.code == 0, ran.err
    forgotten = srn("train", "--resume", "--faces", "8", *common).mistake
    assert forgotten == f"DATA: expected the pack that the run in {tmp_path / 'run'} began with, found nothing"
    resumed = srn("train", "--resume", "--faces", "8", "--data", tmp_path / "faces.npz", *common)
    assert resumed.code == 0, resumed.err
    network, metadata = load_network(tmp_path / "run" / "weights.safetensors")
    assert network.config.recurrence == "frame"
    assert metadata["faces_seen"] == "8"
    assert (tmp_path / "run" / "log.csv").read_text().count("\n") == 3


def noise_pack(folder: Path, scheme: LandmarkScheme, count: int) -> None:
    """Writes `faces.npz`: faces on pictures of noise."""
    rng = np.random.default_rng(0)
    points = rng.uniform(20, 100, (scheme.n_points, 2))
    samples = []
    for index in range(count):
        write_image(folder / f"{index}.png", rng.integers(0, 256, (120, 120, 3), dtype=np.uint8))
        samples.append(Sample(folder / f"{index}.png", points + index, scheme, "toy"))
    pack_faces(samples)[0].save(folder / "faces.npz")


@pytest.fixture
def recipes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What `srn train` would run with, given `faces.npz` of one face: the runs themselves are left out."""
    from srn.training import start

    configs: list[Any] = []

    def train(config: Any, *_: Any, **__: Any) -> Path:
        configs.append(config)
        return tmp_path

    monkeypatch.setattr(start, "train", train)
    noise_pack(tmp_path, IBUG_68, 1)
    return configs


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--set", "model.coarse_shape=false"), {"coarse_shape": False, "non_local": True, "without": ()}),
        (
            ("--set", "model.without=g,mu", "--set", "model.non_local=false"),
            {"coarse_shape": True, "non_local": False, "without": ("g", "mu")},
        ),
        (("--preset", "paper"), {"coarse_shape": False, "hourglass": False}),
        (("--preset", "fast"), {"coarse_shape": True, "crop_size": 128}),
        (("--preset", "robust-hg"), {"coarse_shape": False, "hourglass": True}),
    ],
)
def test_what_is_left_out_of_the_network(
    srn: Run, tmp_path: Path, recipes: list[Any], arguments: tuple[str, ...], expected: dict[str, object]
) -> None:
    ran = srn("train", "--data", tmp_path / "faces.npz", "--out", tmp_path / "run", *arguments)
    assert ran.code == 0, ran.err
    (config,) = recipes
    assert {name: getattr(config.model, name) for name in expected} == expected


def test_any_setting_of_the_recipe(srn: Run, tmp_path: Path, recipes: list[Any]) -> None:
    common = ("train", "--data", tmp_path / "faces.npz", "--out", tmp_path / "run")
    ran = srn(*common, "--set", "augmentation.turned=0.2", "--set", "averaging=0.99")
    assert ran.code == 0, ran.err
    (config,) = recipes
    assert (config.augmentation.turned, config.averaging, config.balance) == (0.2, 0.99, 2.0)
    assert srn(*common, "--set", "turned=0.2").mistake.startswith("--set turned=0.2: expected a name among faces")
    wrong = srn("train", "--data", tmp_path / "nowhere", "--out", tmp_path / "run", "--set", "turned=0.2")
    assert wrong.mistake.startswith("--set turned=0.2")  # said before anything is read or packed
    config.save(tmp_path / "run" / "config.json")
    (tmp_path / "run" / "state.safetensors").touch()  # a run begins with it
    changed = srn(*common, "--resume", "--set", "averaging=0.9").mistake
    assert changed == "--set averaging: expected 0.99, that of the run that is resumed, found 0.9"


def test_faces_with_other_landmarks_train_from_the_shipped_weights(srn: Run, tmp_path: Path) -> None:
    """The network has the landmarks of the pack, and the encoder it was given to start from."""
    from srn.inference.runtime import shipped_weights
    from srn.model.checkpoint import load_network
    from srn.model.export import load_weights

    noise_pack(tmp_path, COFW_29, 4)
    ran = srn(
        "train", "--data", tmp_path / "faces.npz", "--initial", shipped_weights(), "--faces", "2",
        "--set", "batch_size=2", "--set", "validation=0", "--set", "learning_rate=0",
        "--workers", "0", "--device", "cpu", "--precision", "float32", "--out", tmp_path / "run",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    network, _ = load_network(tmp_path / "run" / "weights.safetensors")
    assert network.config.scheme_name == "cofw29"
    given, kept = load_weights(shipped_weights())[0].encoder, dict(network.encoder.named_parameters())
    assert all(np.array_equal(kept[name].detach(), value.detach()) for name, value in given.named_parameters())


def test_an_average_of_runs(srn: Run, tmp_path: Path, recipes: list[Any]) -> None:
    from srn.inference.runtime import shipped_weights
    from srn.model.checkpoint import load_network
    from srn.model.export import load_weights
    from srn.training.config import train_config

    mean = tmp_path / "mean.safetensors"
    weights = (shipped_weights(), shipped_weights())
    assert srn("average", *weights, "--run", tmp_path, "--out", mean).mistake.startswith(
        "DATA: expected the training faces before the weights, found "
    )
    assert srn("average", "faces.npz", "--run", tmp_path, "--out", mean).mistake.endswith("found only faces.npz")
    old = ("average", *weights, "--data", tmp_path / "faces.npz", "--run", tmp_path / "nowhere", "--out", mean)
    assert "expected a training run's config.json" in srn(*old).mistake
    common = ("average", tmp_path / "faces.npz", *weights, "--out", mean)
    missing = srn(*common, "--run", tmp_path / "nowhere").mistake
    assert missing.startswith(f"{tmp_path / 'nowhere' / 'config.json'}: expected a training run's config.json")
    train_config("robust", validation=0).save(tmp_path / "run" / "config.json")
    ran = srn(*common, "--run", tmp_path / "run", "--faces-seen", "7")
    assert ran.code == 0, ran.err
    network, metadata = load_network(mean)
    assert (metadata["faces_seen"], metadata["data"]) == ("7", "faces.npz")
    shipped = load_weights(shipped_weights())[0].state_dict()
    assert all(np.array_equal(shipped[name], value) for name, value in network.state_dict().items())


def test_export_of_what_is_not_there(srn: Run, tmp_path: Path) -> None:
    for name in ("none.safetensors", "none.onnx"):
        ran = srn("export", tmp_path / name, "--out", tmp_path / "out.onnx")
        assert ran.mistake.startswith(f"{tmp_path / name}: expected ")
    assert not (tmp_path / "out.onnx").exists()


def test_export_of_fewer_iterations(srn: Run, tmp_path: Path) -> None:
    """The shapes of one iteration are those that all iterations pass through."""
    from srn.inference.runtime import OnnxLocalizer, shipped_weights

    ran = srn("export", shipped_weights(), "--iterations", "1", "--out", tmp_path / "once.onnx")
    assert ran.code == 0, ran.err
    whole, once = OnnxLocalizer(shipped_weights()), OnnxLocalizer(tmp_path / "once.onnx")
    crops = np.random.default_rng(0).integers(0, 256, (2, once.crop_spec.size, once.crop_spec.size, 3), dtype=np.uint8)
    shapes = once(crops).shapes
    assert shapes.shape == (2, 1, 68, 2)
    np.testing.assert_allclose(shapes[:, 0], whole(crops).shapes[:, 0], atol=0.02)
