"""Weights that have a name."""

from __future__ import annotations

import hashlib
import re
import shutil
from pathlib import Path

import pytest

import srn.face.weights
from srn import FaceLandmarker
from srn.errors import WeightsError
from srn.face.weights import CATALOGUE, MODELS_VARIABLE, NETWORKS, KnownWeights, find_weights

REPOSITORY = Path(__file__).parents[2]
MODELS = REPOSITORY / "models"
needs_models = pytest.mark.skipif(not MODELS.is_dir(), reason="no folder models/: a source distribution leaves it out")


@pytest.mark.parametrize(
    "one", [pytest.param(one, id=one.name, marks=() if one.shipped else needs_models) for one in CATALOGUE]
)
def test_every_name_is_a_file_of_the_repository(one: KnownWeights) -> None:
    path = find_weights(one.name, agent=one.agent)
    assert path.is_relative_to(REPOSITORY)
    content = path.read_bytes()
    assert (len(content), hashlib.sha256(content).hexdigest()) == (one.size, one.sha256)


@needs_models
def test_the_list_of_the_models_folder_is_the_catalogue() -> None:
    rows = re.findall(
        r"^\| `(.+?)` .*\| ([\d,]+)(?: frames| transitions)? \| `(\w+)` \|$",
        (MODELS / "README.md").read_text(),
        re.M,
    )
    research = [one for one in CATALOGUE if not one.shipped]
    assert rows == [(one.file, f"{one.faces:,}", one.sha256) for one in research]
    assert {path.name for path in MODELS.iterdir()} == {one.file for one in research} | {"README.md"}


@needs_models
def test_a_landmarker_opens_weights_by_their_name() -> None:
    assert FaceLandmarker("robust").localizer.name == FaceLandmarker().localizer.name
    assert FaceLandmarker("tracker").localizer.name.startswith("tracker.onnx@f599df72")


def test_a_path_is_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a.onnx", "runs/robust", str(tmp_path / "robust")):
        assert find_weights(name) == Path(name)
    monkeypatch.chdir(tmp_path)
    Path("robust").touch()
    assert find_weights("robust") == Path("robust")


def test_an_unknown_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        WeightsError, match=r"rubust: expected weights as \.onnx or \.safetensors, or one of the names robust, "
    ):
        find_weights("rubust")


@pytest.mark.parametrize(("name", "agent"), [("agent-0", False), ("robust", True)])
def test_agents_and_networks_are_kinds_apart(
    name: str, agent: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    others = ", ".join(one.name for one in CATALOGUE if one.agent == agent)
    with pytest.raises(WeightsError, match=f"{name}: expected .* one of the names {others}, found neither"):
        find_weights(name, agent=agent)
    assert (name in [one.name for one in NETWORKS]) == agent


@needs_models
def test_research_weights_of_another_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = find_weights("tracker")
    package = tmp_path / "site" / "srn"
    monkeypatch.setattr(srn.face.weights, "SHIPPED", package / "weights")
    with pytest.raises(WeightsError, match=r"tracker: expected tracker.onnx in the repository's folder models/, or in"):
        find_weights("tracker")
    monkeypatch.setenv(MODELS_VARIABLE, str(tmp_path))
    shutil.copy(real, tmp_path)
    assert find_weights("tracker") == tmp_path / "tracker.onnx"
    (tmp_path / "tracker.onnx").write_bytes(b"another network")
    with pytest.raises(
        WeightsError, match=r"tracker.onnx: expected the file with the SHA-256 f599df723f77..., found another"
    ):
        find_weights("tracker")
