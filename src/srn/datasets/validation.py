"""Validation of a dataset: counts, occlusion flags, broken pictures, and pictures in training and test both.

Identical pictures have the same hash of their decoded pixels. Nearly identical ones (another size, crop or compression,
or the next shot of a series) are found by their faces: small grey thumbnails of the landmark boxes, which do not depend
on the part of the photograph that a dataset kept.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from srn.datasets.catalogue import Dataset
from srn.datasets.kinds import KINDS
from srn.datasets.sample import SPLITS, Sample
from srn.errors import DataError
from srn.face.geometry import CropGeometry, CropSpec, ImageArray

NEAR = 0.95
"""Correlation of two thumbnails from which two pictures count as nearly identical (see `docs/datasets.md`)."""

THUMBNAIL = CropSpec(size=24, face_size=16.0)
_SMOOTH = 4  # a pixel of the thumbnail is the mean of 4 x 4


def thumbnail(image: ImageArray, sample: Sample) -> npt.NDArray[np.float32]:
    """Return a face in grey as a vector (576,) of mean 0 and length 1; zeros for a uniform picture."""
    spec = CropSpec(THUMBNAIL.size * _SMOOTH, THUMBNAIL.face_size * _SMOOTH)
    grey = cv2.cvtColor(CropGeometry.from_box(sample.box, spec).crop(image), cv2.COLOR_RGB2GRAY)
    small = cv2.resize(grey, (THUMBNAIL.size, THUMBNAIL.size), interpolation=cv2.INTER_AREA).astype(np.float32)
    small -= small.mean()
    length = float(np.linalg.norm(small))
    return np.asarray(small / length if length > 1e-3 else np.zeros_like(small)).ravel()


@dataclass(frozen=True)
class Scan:
    """Hashes and thumbnails of the pictures of F faces.

    Attributes:
        digests: (F,) hash of the decoded pixels; empty where the picture does not decode.
        thumbnails: (F, 576) of each face; zeros where the picture does not decode.
        outside: (F,) how many landmarks lie outside the picture.
        problems: one line for each picture that does not decode.
    """

    digests: tuple[str, ...]
    thumbnails: npt.NDArray[np.float32]
    outside: npt.NDArray[np.int64]
    problems: tuple[str, ...]


def scan(samples: Sequence[Sample], progress: Callable[[], None] = lambda: None) -> Scan:
    """Read the picture of each face, once for consecutive faces of one picture; `progress` is called for each face."""
    digests, problems = list[str](), list[str]()
    outside = np.zeros(len(samples), np.int64)
    thumbnails = np.zeros((len(samples), THUMBNAIL.size**2), np.float32)
    path, digest = None, ""
    image: ImageArray | None = None
    for index, sample in enumerate(samples):
        try:
            read = sample.load(image if sample.path == path else None)
            if read is not image:
                digest = hashlib.sha256(repr(read.shape).encode() + read.tobytes()).hexdigest()
            path, image = sample.path, read
        except DataError as error:
            problems += [str(error)] * (problems[-1:] != [str(error)])  # once for all faces of a picture
            digests.append("")
        else:
            digests.append(digest)
            thumbnails[index] = thumbnail(read, sample)
            # A point may lie on the outer half of the border's pixels: they reach from -0.5 to size - 0.5.
            last = np.array(read.shape[1::-1]) - 0.5
            outside[index] = ((sample.landmarks < -0.5) | (sample.landmarks > last)).any(axis=1).sum()
        progress()
    return Scan(tuple(digests), thumbnails, outside, tuple(problems))


class Duplicate(NamedTuple):
    """Indices of two faces of identical or nearly identical pictures.

    Attributes:
        exact: whether all decoded pixels are equal.
        similarity: correlation of the two faces' thumbnails, up to 1.
    """

    first: int
    second: int
    exact: bool
    similarity: float


def duplicates(
    scanned: Scan, first: Sequence[int], second: Sequence[int], *, near: float = NEAR
) -> Iterator[Duplicate]:
    """Yield pairs of a face of `first` and a face of `second` with identical or nearly identical pictures.

    Two faces of one photograph are such a pair as well. `first` and `second` are indices of two parts, e.g. of the test
    faces and of the training faces.
    """
    others: dict[str, list[int]] = {}
    for j in second:
        others.setdefault(scanned.digests[j], []).append(j)
    columns = np.asarray(second, dtype=np.int64)
    against = scanned.thumbnails[columns]
    for i in first:
        same = set(others.get(scanned.digests[i], [])) if scanned.digests[i] else set()
        similarity = against @ scanned.thumbnails[i]
        for column in np.flatnonzero((similarity >= near) | np.isin(columns, list(same))).tolist():
            j = int(columns[column])
            if i != j:
                yield Duplicate(i, j, j in same, float(similarity[column]))


@dataclass(frozen=True)
class Validation:
    """Findings about a dataset, as printable lines.

    Attributes:
        summary: counts of faces, videos, parts, occlusion flags and face boxes.
        notes, shortfalls, problems: as in `ReadingReport`; problems include pictures that do not decode.
        pictures: landmarks outside their picture, and pictures in training and test both.
    """

    summary: list[str]
    notes: list[str]
    shortfalls: list[str]
    pictures: list[str]
    problems: list[str]


def validate(
    dataset: Dataset, *, read_pictures: bool = True, progress: Callable[[], None] = lambda: None
) -> Validation:
    """Validate a dataset, with every picture decoded (of a video, its first annotated frame) unless told otherwise.

    `progress` is called after each of these pictures.
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
    schemes = {sample.scheme.name: sample.scheme.n_points for sample in dataset.samples}
    if dataset.kind is KINDS["plain"] and schemes:
        lines.append("points: " + ", ".join(f"{count} ({name})" for name, count in schemes.items()))
    known = [sample.occluded for sample in dataset.samples if sample.occluded is not None]
    if known:
        share = sum(int(flags.sum()) for flags in known) / sum(len(flags) for flags in known)
        lines.append(f"hidden points are marked in {len(known)} faces: {share:.1%} of their points")
    boxes = sum(sample.detector_box is not None for sample in dataset.samples)
    if boxes:
        lines.append(f"face boxes beside the points: {boxes}")
    return lines


def _check_pictures(dataset: Dataset, progress: Callable[[], None]) -> tuple[list[str], list[str]]:
    """Return lines about the pictures, and lines about those that do not decode."""
    starts = list(range(len(dataset.samples)))
    if dataset.clips:
        starts = [sum(map(len, dataset.clips[:k])) for k in range(len(dataset.clips))]
    samples = [dataset.samples[index] for index in starts]
    found = scan(samples, progress)
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
