"""Another tool's points: matched by name and place, measured like those of srn."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from srn.datasets.clip import Clip
from srn.datasets.sample import Sample
from srn.errors import DataError
from srn.evaluation.predictions import (
    Predictions,
    match_names,
    matching_face,
    missing_lines,
    read_predictions,
    score_clips,
    score_predictions,
    write_scores,
)
from srn.face.geometry import Box
from srn.face.metrics import interocular
from srn.face.scheme import IBUG_68
from srn.media.result_reading import FaceRecords

Shape = npt.NDArray[np.float64]


def record(shape: Shape, **values: Any) -> dict[str, Any]:
    return {"landmarks": shape.tolist(), "visibility": None, "confidence": None, "box": None, "score": None, **values}


@pytest.fixture
def samples(face: Shape) -> list[Sample]:
    """Faces of 100 pixels in pictures that do not exist: scoring reads none."""
    flags = np.arange(68) < 17
    return [Sample(Path(f"set/{name}.png"), face * 100 + 150, IBUG_68, "set", occluded=flags) for name in "abc"]


def test_errors_by_hand(samples: list[Sample]) -> None:
    truth = samples[0].landmarks
    seen = np.where(np.arange(68) < 17, 0.1, 0.9)
    given = {
        samples[0].path: [record(truth + [3.0, 4.0], visibility=seen.tolist(), confidence=[0.5] * 68)],
        samples[1].path: [],
    }
    result = score_predictions(Predictions("theirs", given), samples)
    assert result.errors[0] == pytest.approx(5 / interocular(truth, IBUG_68))
    assert result.errors[1:].tolist() == [np.inf, np.inf]  # no face, and no such picture
    assert (result.missed, result.init, result.weights) == (2, "predictions", "theirs")
    assert result.summary()["failure_rate"] == 2 / 3  # 5 pixels are less than 8 % of the distance of the eyes
    flags = result.visibility_summary()
    assert flags is not None
    assert flags["recall_at_80_precision"] == 1.0
    confidence = result.confidence_summary()
    assert confidence is not None
    assert confidence["observed"] == [0.0]  # 5 of 100 pixels are more than 3 %
    assert result.mean_shape_nme == pytest.approx(0, abs=1e-12)  # the others have the very same shape


def test_of_several_faces_the_one_in_place_counts(face: Shape) -> None:
    truth = face * 100 + 150
    near, far = record(truth + 10), record(truth + 90)
    assert matching_face([far, near], Box.around(truth)) is near
    assert matching_face([far, record(truth + 200)], Box.around(truth)) is None
    bad = record((truth - 150) * 0.2 + 150)  # much too small, but in place
    assert matching_face([bad], Box.around(truth)) is bad
    assert matching_face([bad, far], Box.around(truth)) is None
    assert matching_face([far], Box.around(truth)) is None  # somebody else's face
    point = record(np.full((68, 2), 150.0))
    assert matching_face([point], Box.around(truth)) is point


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["helen/a.jpg", "lfpw/a.png"], ["helen/a.jpg", "lfpw/a.png"]),
        (["/elsewhere/helen/a", "C:\\data\\lfpw\\a.jpg"], ["/elsewhere/helen/a", "C:\\data\\lfpw\\a.jpg"]),
        (["helen/a.jpg"], ["helen/a.jpg", None]),
        (["b.jpg", "helen/a.jpg"], ["helen/a.jpg", None]),
    ],
)
def test_names_of_pictures(names: list[str], expected: list[str | None]) -> None:
    pictures = [Path("/data/helen/a.jpg"), Path("/data/lfpw/a.jpg")]
    found, _ = match_names({name: [{"landmarks": [name]}] for name in names}, pictures, Path("x.json"))
    assert [found[p][0]["landmarks"][0] if p in found else None for p in pictures] == expected


def test_a_name_of_two_pictures_is_refused() -> None:
    pictures = [Path("/data/helen/a.jpg"), Path("/data/lfpw/a.jpg")]
    with pytest.raises(DataError, match=r"x\.json: expected names that tell /data/helen/a\.jpg from /data/lfpw/a\.jpg"):
        match_names({"a.jpg": []}, pictures, Path("x.json"))


@pytest.mark.parametrize(
    "names",
    [
        {"a.jpg": "a.jpg", "a.png": "a.png"},  # each was refused as a name of both
        {"a.png.jpg": "a.png", "b.jpg": "b"},  # as `a.png.pts` of `srn detect --format pts` is named
        {"a.png": "x/a.png", "a.png.jpg": "x/a.png.jpg"},
        {"\u00fc/\u00e9.jpg": "u\u0308/e\u0301.jpg"},  # macOS stores accents decomposed
        {"\u00e9.jpg": "\u00e9.jpg", "e\u0301.jpg": "e\u0301.jpg"},
    ],
)
def test_names_that_hardly_differ(names: dict[str, str]) -> None:
    """Names in a file, by picture."""
    found: FaceRecords = {name: [{"landmarks": [name]}] for name in reversed(names.values())}
    matched, unknown = match_names(found, map(Path, names), Path("x.json"))
    assert unknown == []
    assert {picture.as_posix(): faces[0]["landmarks"][0] for picture, faces in matched.items()} == names


def test_further_faces_of_a_picture_have_numbers() -> None:
    """As `srn detect --format pts` writes them; a picture that is really called so keeps its own."""
    found: FaceRecords = {name: [{"landmarks": name}] for name in ("a", "a_2", "b_2")}
    matched, unknown = match_names(found, [Path("a.jpg"), Path("b_2.jpg")], Path("folder"))
    assert {p.name: [face["landmarks"] for face in faces] for p, faces in matched.items()} == {
        "a.jpg": ["a", "a_2"], "b_2.jpg": ["b_2"],
    }  # fmt: skip
    assert unknown == []


def test_files(samples: list[Sample], tmp_path: Path) -> None:
    path = tmp_path / "theirs.json"
    path.write_text(json.dumps({"a.png": samples[0].landmarks.tolist(), "d.png": [], "c.png": []}))
    found = read_predictions(path, samples)
    assert missing_lines(found, samples) == [
        "theirs.json: 1 of 3 annotated faces are in pictures that it does not name: failures; such as set/b.png",
        "theirs.json: 1 of its names are no picture of the set, such as d.png",
    ]
    path.write_text(json.dumps({"d.png": []}))
    with pytest.raises(DataError, match=r"expected the pictures of the set, such as set/a\.png, found others"):
        read_predictions(path, samples)
    path.write_text(json.dumps({"a.png": [[1, 2], [3, 4]]}))
    with pytest.raises(DataError, match=r"theirs\.json: a\.png: expected 68 points \(ibug68\), found 2"):
        score_predictions(read_predictions(path, samples), samples)


def test_clips(face: Shape, tmp_path: Path) -> None:
    """One face that trembles by a pixel to either side; a frame without it; another clip; accents in two forms."""
    truth = np.repeat((face * 100 + 150)[None], 4, axis=0)
    frames: Any = None
    clips = [Clip(name, frames, np.array([1, 2, 3, 5]), truth, IBUG_68, "set") for name in ("\u00f6ne", "two")]
    lines = [
        {"frame": n, "time_s": 0.0, "faces": [record(truth[0] + [side, 0.0])] if side else []}
        for n, side in ((1, 1), (2, -1), (3, 1), (5, 0))
    ]
    (tmp_path / "o\u0308ne.jsonl").write_text("\n".join(map(json.dumps, lines)))
    result = score_clips(tmp_path, clips)
    size = interocular(truth[0], IBUG_68)
    assert [(clip.name, clip.found) for clip in result.clips] == [("\u00f6ne", 3), ("two", 0)]
    assert result.clips[0].nme == pytest.approx(1 / size)
    assert result.clips[0].jitter > 1 / size
    assert result.summary()["ms"] is None
    (tmp_path / "o\u0308ne.jsonl").rename(tmp_path / "any.jsonl")
    # As text: some scores are NaN, which equals nothing.
    assert repr(score_clips(tmp_path / "any.jsonl", clips[:1]).clips) == repr(result.clips[:1])
    with pytest.raises(DataError, match="expected frames of the videos, such as \u00f6ne/000001, found none"):
        score_clips(tmp_path / "any.jsonl", clips)


def test_side_by_side(samples: list[Sample], tmp_path: Path) -> None:
    def tool(name: str, off: float) -> Any:
        faces = {sample.path: [record(sample.landmarks + [off, 0.0])] for sample in samples}
        return score_predictions(Predictions(name, faces), samples)

    both = {"good": tool("good", 1.0), "bad": tool("bad", 3.0)}
    pages = write_scores(both, samples, numbers=tmp_path / "n.json", ced=tmp_path / "c.svg", report=tmp_path / "r")
    assert pages == [tmp_path / "r" / name / "index.html" for name in both]
    text = pages[0].read_text(encoding="utf-8")
    assert "good" in text
    assert "a file of another tool" in text
    assert "The mean of the other faces, in the true box, is the error" in text
    first, second = json.loads((tmp_path / "n.json").read_text())["evaluations"]
    assert second["nme"] == pytest.approx(3 * first["nme"])
    assert second["compared_with_first"]["difference"] == pytest.approx(2 * first["nme"])
    chart = (tmp_path / "c.svg").read_text()
    assert all(f"{name} (n = 3" in chart for name in both)


def test_a_tool_has_the_name_of_its_file_wherever_one_stands(
    samples: list[Sample], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`..` as a name would put the report beside its folder."""
    (tmp_path / "theirs" / "here").mkdir(parents=True)
    (tmp_path / "theirs" / "a.json").write_text(json.dumps({"a.png": samples[0].landmarks.tolist()}))
    (tmp_path / "theirs" / "a.jsonl").write_text(json.dumps({"path": "a.png", "faces": []}))
    monkeypatch.chdir(tmp_path / "theirs" / "here")
    for path, name in (("..", "theirs"), ("../a.json", "a.json"), ("../../theirs/.", "theirs")):
        assert read_predictions(Path(path), samples).name == name
