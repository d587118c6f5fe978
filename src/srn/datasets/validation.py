"""Validation of a dataset: counts, occlusion flags, broken pictures, and pictures in training and test both."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from srn.datasets.catalogue import Dataset
from srn.datasets.duplicates import duplicates, scan
from srn.datasets.sample import SPLITS


@dataclass(frozen=True)
class Validation:
    """Findings about a dataset, as printable lines.

    Attributes:
        summary: counts of faces, videos, parts, occlusion flags and face boxes.
        notes: facts that need no action.
        shortfalls: subsets with another number of faces than the official release.
        pictures: landmarks outside their picture, and pictures in training and test both.
        problems: annotations and pictures that cannot be used.
    """

    summary: list[str]
    notes: list[str]
    shortfalls: list[str]
    pictures: list[str]
    problems: list[str]


def validate(
    dataset: Dataset, *, read_pictures: bool = True, progress: Callable[[int, int], None] | None = None
) -> Validation:
    """Validate a dataset, with every picture decoded (of a video, its first annotated frame) unless told otherwise.

    `progress` is called with (pictures done, pictures in all).
    """
    report = dataset.report
    pictures, broken = _check_pictures(dataset, progress) if read_pictures else ([], [])
    return Validation(_summary(dataset), report.notes, report.shortfalls, pictures, [*report.problems, *broken])


def _summary(dataset: Dataset) -> list[str]:
    clips = f"{len(dataset.clips)} videos, " if dataset.clips else ""
    lines = [f"{dataset.kind.title}: {clips}{dataset.report.lines()[0]}"]
    parts = [f"{name} {len(indices)}" for name, indices in dataset.parts.items() if name not in dataset.report.counts]
    if parts:
        lines.append(f"parts: {', '.join(parts)}")
    known = [sample.occluded for sample in dataset.samples if sample.occluded is not None]
    if known:
        share = sum(int(flags.sum()) for flags in known) / sum(len(flags) for flags in known)
        lines.append(f"hidden points are marked in {len(known)} faces: {share:.1%} of their points")
    boxes = sum(sample.detector_box is not None for sample in dataset.samples)
    if boxes:
        lines.append(f"face boxes beside the points: {boxes}")
    return lines


def _check_pictures(dataset: Dataset, progress: Callable[[int, int], None] | None) -> tuple[list[str], list[str]]:
    """Return lines about the pictures, and lines about those that do not decode."""
    starts = list(range(len(dataset.samples)))
    if dataset.clips:
        starts = [sum(map(len, dataset.clips[:k])) for k in range(len(dataset.clips))]
    samples = [dataset.samples[index] for index in starts]
    found = scan(samples, progress=progress)
    lines = []
    if found.outside.any():
        faces = int((found.outside > 0).sum())
        lines.append(f"{int(found.outside.sum())} points of {faces} faces lie outside their picture")
    members = [set(dataset.parts.get(split, ())) for split in SPLITS]
    training, test = ([i for i, index in enumerate(starts) if index in chosen] for chosen in members)
    if training and test:
        pairs = list(duplicates(found, test, training))
        exact = sum(pair.exact for pair in pairs)
        lines.append(f"in training and test both: {exact} the same picture, {len(pairs) - exact} nearly the same")
        for pair in pairs:
            how = "the same picture" if pair.exact else f"nearly the same ({pair.similarity:.3f})"
            lines.append(f"{samples[pair.first].path} and {samples[pair.second].path}: {how}")
    return lines, list(found.problems)
