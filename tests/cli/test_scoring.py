"""`srn evaluate --predictions`: what srn writes of a set is scored as srn scores itself."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

Shape = npt.NDArray[np.float64]
Run = Callable[..., Any]


@pytest.fixture
def root(tmp_path: Path, annotated_file: Callable[..., Path]) -> Path:
    for name, blue in (("one/a", 0), ("one/b", 100)):
        annotated_file(tmp_path / "set" / f"{name}.png", blue)
    return tmp_path / "set" / "one"


def test_every_format_gives_the_numbers_of_srn(
    srn: Run, use_localizer: Any, true_localizer: Any, truths: dict[int, Shape], root: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    use_localizer(true_localizer(truths, (3.0, 4.0)))
    monkeypatch.chdir(tmp_path)
    boxes = {str(root / f"{name}.png"): [[*truths[k].min(0), *truths[k].max(0)]] for name, k in (("a", 0), ("b", 100))}
    Path("boxes.json").write_text(json.dumps(boxes))
    plain = ("--accuracy", "fast", "--no-flip-average", "--no-cache", "--json", "own.json")
    assert srn("evaluate", root, *plain).code == 0
    own = json.loads(Path("own.json").read_text())

    made = ("--boxes", "boxes.json", "--accuracy", "fast", "--no-overlay")
    for words in (
        ("--json", "p.json"),
        ("--jsonl", "p.jsonl"),
        ("--format", "csv"),
        ("--format", "coco"),
        ("--format", "pts"),
    ):
        ran = srn("detect", root, "--out", "points", *made, *words)
        assert ran.code == 0, ran.err
    files = ["p.json", "p.jsonl", "points/landmarks.csv", "points/landmarks.json"]
    (tmp_path / "only").mkdir()
    for path in (tmp_path / "points").glob("*.pts"):
        path.rename(tmp_path / "only" / path.name)
    files.append("only")
    repeated = [word for file in files for word in ("--predictions", file)]
    ran = srn("evaluate", root, *repeated, "--json", "theirs.json")
    assert (ran.code, ran.err) == (0, "")
    scored = json.loads(Path("theirs.json").read_text())["evaluations"]
    assert [one["name"] for one in scored] == ["p.json", "p.jsonl", "landmarks.csv", "landmarks.json", "only"]
    for one in scored:
        assert one["nme"] == pytest.approx(own["nme"], abs=2e-4)  # coordinates are written to a hundredth of a pixel
        assert (one["n"], one["missed"], one["init"]) == (2, 0, "predictions")


def test_what_is_not_named_is_a_failure_and_is_said(
    srn: Run, knowing: Any, truths: dict[int, Shape], root: Path, tmp_path: Path
) -> None:
    file = tmp_path / "theirs.json"
    file.write_text(json.dumps({"a.png": truths[0].tolist()}))
    ran = srn(
        "evaluate", root, "--predictions", file, "--compare", "robust", "--no-cache", "--json", tmp_path / "n.json"
    )
    assert ran.code == 0
    assert "theirs.json: 1 of 2 annotated faces are in pictures that it does not name: failures" in ran.err
    theirs, ours = json.loads((tmp_path / "n.json").read_text())["evaluations"]
    assert (theirs["missed"], theirs["failure_rate"], ours["missed"]) == (1, 0.5, 0)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--weights", "robust"), "--weights: expected no such option with --predictions, found one"),
        (("--stress",), "--stress: expected no such option with --predictions, found one"),
        (("--init", "finder"), "--init: expected no such option with --predictions, which needs --compare for it"),
        (("--accuracy", "fast"), "--accuracy: expected no such option with --predictions, which needs --compare"),
        (("--no-flip-average",), "--no-flip-average: expected no such option with --predictions"),
        (("--video",), "expected videos with points in every frame"),
    ],
)
def test_what_does_not_go_together(srn: Run, root: Path, tmp_path: Path, words: tuple[str, ...], message: str) -> None:
    (tmp_path / "x.json").write_text("{}")
    assert message in srn("evaluate", root, "--predictions", tmp_path / "x.json", *words).mistake


def test_a_report_that_would_take_the_place_of_a_file(srn: Run, root: Path, tmp_path: Path) -> None:
    """Several tools have a folder each, by their file's name; it is refused before any work where a file lies there."""
    (tmp_path / "report").mkdir()
    for name in ("report/a.json", "b.json"):
        (tmp_path / name).write_text(json.dumps({"a": [[1, 2]] * 68}))
    both = ("--predictions", tmp_path / "report" / "a.json", "--predictions", tmp_path / "b.json")
    ran = srn("evaluate", root, *both, "--report", tmp_path / "report")
    assert ran.mistake == (
        f"--report: expected a folder that can be made, found {tmp_path / 'report' / 'a.json'}, which is no folder"
    )
    assert json.loads((tmp_path / "report" / "a.json").read_text())
    (tmp_path / "report" / "index.html").write_text("<h1>My page</h1>")
    one = ("--predictions", tmp_path / "b.json", "--report", tmp_path / "report")
    assert "--report: expected a new file, or a report page of srn" in srn("evaluate", root, *one).mistake
