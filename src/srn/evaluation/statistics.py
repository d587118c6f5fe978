"""Bootstrap percentile intervals (Efron 1979), and the paired comparison of two evaluations."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from srn.errors import InputError
from srn.face.geometry import FloatArray

Float64Array = npt.NDArray[np.float64]

LEVEL = 0.95
RESAMPLES = 2000
SIGN_PATTERNS = 20_000

_EXACT_UP_TO = 12
"""Up to this many faces, all sign patterns (4096) are tried instead of drawn."""

_CHUNK = 2_000_000
"""Numbers in one block of resamplings (16 MB)."""


def finite_or_none(value: float) -> float | None:
    """Return the number for JSON, which has neither infinity nor NaN."""
    return value if np.isfinite(value) else None


@dataclass(frozen=True)
class Interval:
    """A measured value and its confidence interval."""

    value: float
    low: float
    high: float

    def to_list(self) -> list[float | None]:
        """Return `[low, high]`, null where undefined."""
        return [finite_or_none(bound) for bound in (self.low, self.high)]


def _blocks(count: int, resamples: int) -> Iterator[int]:
    """Rows of each block of at most `_CHUNK` numbers, `resamples` rows of `count` numbers in all."""
    rows = max(_CHUNK // count, 1)
    return (min(rows, resamples - first) for first in range(0, resamples, rows))


def _weights(count: int, resamples: int, seed: int) -> Iterator[Float64Array]:
    """Blocks (r, count) of resampling weights: the number of times each unit is drawn."""
    rng = np.random.default_rng(seed)
    for size in _blocks(count, resamples):
        drawn = rng.integers(count, size=(size, count)) + count * np.arange(size)[:, None]
        yield np.bincount(drawn.ravel(), minlength=size * count).reshape(size, count).astype(np.float64)


def ratio_intervals(
    values: FloatArray,
    counts: FloatArray,
    *,
    clusters: npt.NDArray[np.integer] | None = None,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> list[Interval]:
    """Compute intervals of M statistics sum(values) / sum(counts), all from the same resamplings.

    Args:
        values, counts: (M, F) contributions of each of F faces to numerator and denominator.
        clusters: (F,) group of each face; whole groups are drawn. The frames of a video are not independent, so their
            clip is the group. One face, or one group, says nothing of others: it has no interval (NaN).
        seed: the same seed draws the same faces.

    Raises:
        InputError: the shapes differ, or there is no face.
    """
    values, counts = np.atleast_2d(np.asarray(values, np.float64)), np.atleast_2d(np.asarray(counts, np.float64))
    if values.shape != counts.shape or values.shape[1] == 0:
        raise InputError.at("bootstrap", "values and counts (M, F) of at least one face", f"{values.shape}")
    if clusters is not None:
        _, group = np.unique(clusters, return_inverse=True)
        size = int(group.max()) + 1
        values = np.stack([np.bincount(group, row, size) for row in values])
        counts = np.stack([np.bincount(group, row, size) for row in counts])
    with np.errstate(invalid="ignore", divide="ignore"):
        point = values.sum(axis=1) / counts.sum(axis=1)
        if values.shape[1] == 1:
            return [Interval(float(value), np.nan, np.nan) for value in point]
        blocks = [(w @ values.T) / (w @ counts.T) for w in _weights(values.shape[1], resamples, seed)]
    drawn = np.concatenate(blocks)  # (R, M)
    tail = (1 - level) / 2
    intervals = []
    for value, column in zip(point, drawn.T, strict=True):
        known = column[np.isfinite(column)]
        low, high = np.quantile(known, [tail, 1 - tail]) if len(known) else (np.nan, np.nan)
        intervals.append(Interval(float(value), float(low), float(high)))
    return intervals


@dataclass(frozen=True)
class ErrorIntervals:
    """NME, failure rate and area under the curve with their intervals, fractions."""

    nme: Interval
    failure_rate: Interval
    auc: Interval

    def to_dict(self) -> dict[str, list[float | None]]:
        """Return `[low, high]` of each."""
        return {name: getattr(self, name).to_list() for name in ("nme", "failure_rate", "auc")}


def error_intervals(
    errors: FloatArray,
    threshold: float,
    *,
    clusters: npt.NDArray[np.integer] | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> ErrorIntervals:
    """Compute intervals of mean error, failure rate and area under the curve by `ratio_intervals`.

    Resampling faces that all succeed (or all fail) shows no failure (or success). There the exact bound of the binomial
    distribution is used (Clopper and Pearson 1934).

    Args:
        errors: (F,) fractions; infinite for a missed face, which is a failure and left out of the mean.
    """
    errors = np.asarray(errors, dtype=np.float64)
    found = np.isfinite(errors)
    failed = ~(errors <= threshold)
    ones = np.ones_like(errors)
    values = np.stack(
        [np.where(found, errors, 0.0), failed, np.clip(threshold - np.where(found, errors, np.inf), 0, None)]
    )
    counts = np.stack([found, ones, ones * threshold])
    nme, rate, area = ratio_intervals(values, counts, clusters=clusters, resamples=resamples, seed=seed)
    independent = len(errors) if clusters is None else len(np.unique(clusters))
    bound = 1 - ((1 - LEVEL) / 2) ** (1 / independent)
    if not failed.any():
        rate = Interval(0.0, 0.0, bound)
    elif failed.all():
        rate = Interval(1.0, 1 - bound, 1.0)
    return ErrorIntervals(nme, rate, area)


@dataclass(frozen=True)
class PairedComparison:
    """Two methods on the same faces.

    Attributes:
        faces, both_found: number of common faces, and of those that both found.
        difference: mean of second minus first over these, with its interval; below 0 the second is better.
        share_better: share of all faces on which the second is better; a face found by one only counts for that one.
        p_value: see `sign_flip_p_value`.
    """

    faces: int
    both_found: int
    difference: Interval
    share_better: float
    share_worse: float
    p_value: float

    @property
    def p_text(self) -> str:
        """`= 0.012`, or `< 0.001`, to follow a p."""
        return "< 0.001" if self.p_value < 0.001 else f"= {self.p_value:.3f}"

    def text(self) -> str:
        """Return the difference in points of NME, and on how many faces it has which sign, as one line."""
        gap, low, high = (v * 100 for v in (self.difference.value, self.difference.low, self.difference.high))
        interval = f"95 % interval {low:+.2f} to {high:+.2f}" if math.isfinite(low) else "no interval"
        return (
            f"{gap:+.2f} points on {self.both_found} faces ({interval}, sign-flip p {self.p_text}); "
            f"better on {self.share_better:.0%} of the faces, worse on {self.share_worse:.0%}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain numbers, null where undefined."""
        return {
            "faces": self.faces,
            "both_found": self.both_found,
            "difference": finite_or_none(self.difference.value),
            "interval": self.difference.to_list(),
            "share_better": self.share_better,
            "share_worse": self.share_worse,
            "p_value": finite_or_none(self.p_value),
        }


def sign_flip_p_value(
    differences: FloatArray, *, clusters: npt.NDArray[np.integer] | None = None, seed: int = 0
) -> float:
    """Test paired differences (F,) by a two-sided sign-flip permutation test.

    The value is the share of sign patterns with as large a mean. For more than `_EXACT_UP_TO` faces patterns are drawn,
    and the observed one is counted among them (Phipson and Smyth 2010), so the value is never 0. The differences of one
    of the `clusters` (F,) have one sign together, as those of a video's frames.
    """
    values = np.asarray(differences, dtype=np.float64)
    if clusters is not None:
        values = np.asarray(np.bincount(np.unique(clusters, return_inverse=True)[1], values), np.float64)
    values = values[values != 0]  # equal errors favour neither method
    count = len(values)
    if count == 0:
        return 1.0
    limit = abs(values.sum()) * (1 - 1e-12)  # sums that differ by rounding only count as equal
    if count <= _EXACT_UP_TO:
        patterns = (np.arange(2**count)[:, None] >> np.arange(count)) & 1
        return float((np.abs((1 - 2 * patterns) @ values) >= limit).mean())
    rng = np.random.default_rng(seed)
    blocks = (1 - 2 * rng.integers(2, size=(rows, count)) for rows in _blocks(count, SIGN_PATTERNS))
    hits = sum(int((np.abs(signs @ values) >= limit).sum()) for signs in blocks)
    return (1 + hits) / (1 + SIGN_PATTERNS)


def compare_errors(
    first: FloatArray, second: FloatArray, *, clusters: npt.NDArray[np.integer] | None = None, seed: int = 0
) -> PairedComparison:
    """Compare the errors (F,) of two methods on the same faces in the same order; infinite for missed faces.

    `clusters` are as for `ratio_intervals`.
    """
    first, second = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if first.shape != second.shape or first.ndim != 1 or len(first) == 0:
        found = f"{first.shape}, {second.shape}"
        raise InputError.at("paired comparison", "two error arrays (F,) of one length", found)
    both = np.isfinite(first) & np.isfinite(second)
    differences = second[both] - first[both]
    difference, p_value = Interval(np.nan, np.nan, np.nan), np.nan
    if both.any():
        known = None if clusters is None else clusters[both]
        (difference,) = ratio_intervals(differences, np.ones_like(differences), clusters=known, seed=seed)
        p_value = sign_flip_p_value(differences, clusters=known, seed=seed)
    return PairedComparison(
        faces=len(first),
        both_found=len(differences),
        difference=difference,
        share_better=float((second < first).mean()),
        share_worse=float((first < second).mean()),
        p_value=p_value,
    )
