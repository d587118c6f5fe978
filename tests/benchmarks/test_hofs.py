"""The HOFS benchmarks run on a tiny network, three test faces and a few transitions."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from srn.datasets.catalogue import open_faces
from srn.errors import InputError
from srn.media.pictures import write_image
from srn.media.pts import write_pts

pytest.importorskip("torch")
pytest.importorskip("matplotlib")

import hofs_clips
import hofs_page
import measure_hofs
import measure_learner
from srn.hofs.config import AgentConfig
from srn.model.checkpoint import load_network, save_network
from srn.model.config import preset
from srn.model.network import StructuralRelationNetwork

pytestmark = pytest.mark.usefixtures("one_thread")


def write_face(picture: Path, points: Path, landmarks: npt.NDArray[np.float64], seed: int) -> None:
    picture.parent.mkdir(parents=True, exist_ok=True)
    points.parent.mkdir(parents=True, exist_ok=True)
    write_image(picture, np.random.default_rng(seed).integers(0, 256, (150, 150, 3), dtype=np.uint8))
    write_pts(points, landmarks)


@pytest.fixture
def options(tmp_path: Path, face: npt.NDArray[np.float64], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Arguments of both benchmarks, for data of noise."""
    monkeypatch.setattr(hofs_clips, "FACES", 3)
    data, landmarks = tmp_path / "data", face * 60 + [75, 75]
    for number, subset in enumerate(("helen/testset", "lfpw/testset", "ibug")):
        stem = data / "300W" / subset / f"face{number}"
        write_face(stem.with_suffix(".jpg"), stem.with_suffix(".pts"), landmarks, number)
    for frame in range(1, 4):
        clip, name = data / "CK_plus" / "S001", f"{frame:06d}"
        write_face(clip / "imgs" / f"{name}.jpg", clip / "annot" / f"{name}.pts", landmarks, frame)
    stem = data / "youtube_faces" / "one"
    write_face(stem.with_suffix(".jpg"), stem.with_suffix(".pts"), landmarks, 9)
    (data / "youtube_faces" / "manifest.csv").write_text("sequence,stem\na,one\na,one\n")
    pack = tmp_path / "faces.npz"
    open_faces(data / "300W", split="test").to_pack()[0].save(pack)
    config = preset(
        "robust", crop_size=64, face_size=40.0, iterations=1, landmark_features=8, hidden_size=8, region_size=8,
        component_size=8, stem_channels=8, map_channels=(8, 8, 8), blocks=(1, 1, 1),
    )  # fmt: skip
    weights = tmp_path / "tiny.safetensors"
    save_network(weights, StructuralRelationNetwork(config, face))
    return [
        str(data), str(pack), "--weights", str(weights), "--work", str(tmp_path / "work"), "--out",
        str(tmp_path / "out"), "--test-clips", "2",
    ]  # fmt: skip


def test_agents_are_measured_against_the_baselines(options: list[str], tmp_path: Path) -> None:
    sizes = ("--seeds", "2", "--transitions", "32", "--frames", "2", "--training-frames", "2", "--training-clips", "4")
    arms = ("RSF", "HOFS", "face-blind map", "greedy")
    tuned = ("--real-clips", "1", "--points", "2", "--fine-tune", "8", "--arms", *arms)
    measure_hofs.main([*options, *sizes, *tuned])

    content = json.loads((tmp_path / "out" / "hofs.json").read_text())
    page = (tmp_path / "out" / "hofs.md").read_text()
    for rows in content["sets"].values():
        best = rows[hofs_clips.BEST]["mean"]
        assert rows[hofs_clips.WALK]["mean"] <= best <= rows["full search, 68 places"]["mean"]
        assert rows["greedy oracle, one step"]["mean"] <= best
    assert [len(run["curve"]) for run in content["variants"]["multi-queue"]] == [2, 2]
    assert set(content["table_9"]["nme"]) == {"not at all", *arms}
    assert "| agent, multi-queue |" in page
    assert "| RSF |" in page
    assert (tmp_path / "out" / "hofs_heat_map.png").exists()
    assert (tmp_path / "out" / "hofs_learning.png").exists()

    measure_hofs.main([*options, *sizes, *tuned])  # everything is kept
    again = json.loads((tmp_path / "out" / "hofs.json").read_text())
    assert again["variants"] == content["variants"]
    assert again["table_9"] == content["table_9"]

    better = json.loads(json.dumps(content["variants"]["multi-queue"]))
    for run in better:
        run["final"]["animated"]["rewards"] = [reward + 0.01 for reward in run["final"]["animated"]["rewards"]]
    compared = hofs_page.page({**content, "variants": {"multi-queue": content["variants"]["multi-queue"], "b": better}})
    assert "multi-queue minus b: -1.000 (-1.000 to -1.000) points of %, paired by seed and clip." in compared


def test_rewards_of_other_clips_and_weights_are_not_taken(options: list[str], tmp_path: Path) -> None:
    arguments = measure_hofs.parser().parse_args([*options, "--frames", "1", "--test-clips", "1"])
    study = hofs_clips.open_study(arguments)
    youtube = arguments.data / "youtube_faces"
    (youtube / "manifest.csv").write_text("sequence,stem\na,one\nb,two\n")
    write_face(youtube / "two.jpg", youtube / "two.pts", study.samples[0].landmarks + 1, 10)

    def clean(count: int) -> list[float]:
        source = hofs_clips.youtube_clips(youtube, study.network, count)
        known = hofs_clips.known_clips("youtube_faces", source, count, study.localizer, arguments.work)
        return [float(errors[0]) for errors in known.clean]

    (one,), (first, second) = clean(1), clean(2)
    assert one == first != second
    (youtube / "manifest.csv").write_text("sequence,stem\nb,two\n")  # another first clip
    assert clean(1) == [second]
    other = load_network(arguments.weights)[0]
    other.recurrent.weight.data += 1
    save_network(arguments.weights, other)
    with pytest.raises(InputError, match="--work: expected a new folder, or one of the same weights and faces"):
        hofs_clips.open_study(arguments)


@pytest.mark.parametrize("name", measure_hofs.VARIANTS)
def test_variants_are_recipes(name: str) -> None:
    plain = AgentConfig(train_encoder=False)
    assert (dataclasses.replace(plain, **measure_hofs.VARIANTS[name]) == plain) == (name == "multi-queue")


def test_variants_of_the_learner_are_compared(options: list[str], tmp_path: Path) -> None:
    measure_learner.main([*options, "--seeds", "1", "--transitions", "32", "--updates", "2", "--test-frames", "1"])

    page = (tmp_path / "out" / "hofs_learner.md").read_text()
    for name in measure_learner.VARIANTS:
        assert f"| {name} |" in page
