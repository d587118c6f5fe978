"""`srn evaluate --predictions`: the points that other tools found, measured like those of srn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from srn.cli import options
from srn.cli.evaluation_tables import counted_frames, print_errors, print_flags, print_pair, print_videos
from srn.datasets.catalogue import open_faces
from srn.datasets.sample import Sample
from srn.errors import InputError
from srn.evaluation.predictions import (
    missing_lines,
    read_predictions,
    score_clips,
    score_predictions,
    tool_name,
    write_scores,
)
from srn.evaluation.report.page import PAGE
from srn.evaluation.results import Evaluation, by_weights, unique
from srn.evaluation.video import read_clips
from srn.files import REPORT, Output, check_outputs, write_json

Measure = Callable[[Sequence[Sample]], Evaluation]
"""Measures weights of srn on faces."""


def score_pictures(
    folders: list[Path],
    predictions: list[Path],
    files: dict[str, Path | None],
    beside: Measure | None = None,
    *,
    normalizer: str,
    threshold: float,
) -> None:
    """Score one or several files of predictions on pictures, and print and write the results.

    `files` are the outputs of `write_scores`. `beside` measures weights of srn on the same faces, as one more tool.
    """
    if files["report"] is not None:
        names = unique([tool_name(path) for path in predictions])
        check_reports(files["report"], names if len(names) > 1 or beside is not None else ["."])
    faces = open_faces(folders, split="test")
    if not faces.samples:
        raise InputError.at(folders[0], "annotated pictures", "none (videos: --video)")
    found = [read_predictions(path, faces.samples) for path in predictions]
    scored = [score_predictions(one, faces.samples, normalizer=normalizer, threshold=threshold) for one in found]
    if beside is not None:
        scored.append(beside(faces.samples))
    evaluations = by_weights(*scored)
    problems = faces.report.problems
    pages = write_scores(evaluations, faces.samples, problems=problems, **files)
    for page in pages:
        options.say(f"report: {page}")
    several = len(evaluations) > 1
    print_errors("predictions" if several else scored[0].weights, evaluations)
    for name, one in evaluations.items():
        print_flags(one, f"{name}: " if several else "")
    for one in scored[1:]:
        print_pair(scored[0], one)
    for lines in (missing_lines(one, faces.samples) for one in found):
        for line in lines:
            options.note(line)
    options.exit_if_failed(problems)


def check_reports(folder: Path, names: Sequence[str] = (".",)) -> None:
    """Raise an error before any work if a report would take the place of something else."""
    places = [Output("--report", folder / name) for name in names]
    check_outputs([*places, *(Output("--report", place.path / PAGE, REPORT) for place in places)], ())


def score_videos(folders: list[Path], files: list[Path], *, normalizer: str, numbers: Path | None) -> None:
    """Score one or several files of predictions on videos."""
    clips, problems = read_clips(folders, None)
    results = [score_clips(path, clips, normalizer=normalizer) for path in files]
    if numbers is not None:
        write_json(numbers, {"methods": [result.to_dict() for result in results]})
    print_videos(counted_frames([len(clip) for clip in clips]), results)
    options.exit_if_failed(problems)
