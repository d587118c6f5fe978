"""The agreement of masks made here with the authors' masks on the same faces."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from srn.datasets.catalogue import Dataset
from srn.datasets.sample import Sample
from srn.errors import DataError, InputError
from srn.evaluation.results import Evaluation, compare_evaluations

CHANGED = 30
"""A pixel is masked if a colour differs by more from the unmasked picture; JPEG changes it by less."""


def compare_errors_under_masks(theirs: Evaluation, ours: Evaluation, label: str) -> str | None:
    """Compare a network's errors under the authors' masks and under masks made here; None for fewer than two faces."""
    try:
        pair = compare_evaluations(theirs, ours)
    except InputError:  # no face in common
        return None
    if pair.faces < 2:
        return None
    common = set.intersection(*({(r.subset, r.path.stem) for r in one.results} for one in (theirs, ours)))
    means = [np.mean([r.nme for r in one.results if (r.subset, r.path.stem) in common]) * 100 for one in (theirs, ours)]
    gap, low, high = (v * 100 for v in (pair.difference.value, pair.difference.low, pair.difference.high))
    return (
        f"The same {pair.faces} faces: {means[0]:.2f} % under the authors' masks, {means[1]:.2f} % under {label}; "
        f"difference {gap:+.2f} (95 % interval {low:+.2f} to {high:+.2f}), sign-flip p {pair.p_text}."
    )


def compare_covered_points(clean: Dataset, theirs: Dataset, ours: Dataset) -> str | None:
    """Compare the shares of each component's points under the masks; None without a face in common."""
    shares = _covered_shares(clean.samples, theirs.samples, ours.samples)
    if not shares:
        return None
    texts = [f"{name.replace('_', ' ')} {a:.0%} and {b:.0%}" for name, (a, b) in shares.items()]
    return f"Points covered by the authors' masks and by {ours.label}: {', '.join(texts)}."


def _covered_shares(
    clean: Sequence[Sample], theirs: Sequence[Sample], ours: Sequence[Sample]
) -> dict[str, tuple[float, float]]:
    """Shares by component: the authors' by comparison with the unmasked pictures, ours as annotated."""
    originals, made = ({(s.subset, s.path.stem): s for s in samples} for samples in (clean, ours))
    covered: list[tuple[np.ndarray, np.ndarray]] = []
    for sample in theirs:
        key = (sample.subset, sample.path.stem)
        if key not in originals or key not in made or made[key].occluded is None:
            continue
        try:
            before, after = originals[key].load(), sample.load()
        except DataError:
            continue
        if before.shape != after.shape:
            continue
        changed = (np.abs(before.astype(np.int16) - after).max(axis=2) > CHANGED).astype(np.uint8)
        changed = cv2.medianBlur(changed, 5)  # removes single pixels, which are noise
        x, y = np.clip(np.round(sample.landmarks).astype(int), 0, np.array(changed.shape[::-1]) - 1).T
        covered.append((changed[y, x] > 0, np.asarray(made[key].occluded)))
    if not covered:
        return {}
    shares = [np.mean(flags, axis=0) for flags in zip(*covered, strict=True)]
    components = theirs[0].scheme.components
    return {
        name: (float(shares[0][list(points)].mean()), float(shares[1][list(points)].mean()))
        for name, points in components.items()
        if points
    }
