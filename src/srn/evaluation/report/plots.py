"""Plots. Needs `srn[eval]` (Matplotlib)."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from srn.errors import MissingDependencyError
from srn.evaluation.box_curve import BoxCurve
from srn.face import metrics
from srn.files import write_atomically


def _new_figure(width: float, height: float) -> Any:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingDependencyError.for_extra("Matplotlib", "eval", "plotting") from error
    return Figure(figsize=(width, height), layout="constrained")


def _save(figure: Any, path: str | os.PathLike[str]) -> None:
    buffer = io.BytesIO()
    figure.savefig(buffer, format=Path(path).suffix.lstrip(".") or "png", dpi=150)
    write_atomically(path, buffer.getvalue())


def plot_ced(
    errors: Mapping[str, npt.NDArray[np.float64]], path: str | os.PathLike[str], *, threshold: float = 0.08, label: str
) -> None:
    """Draw cumulative error distributions.

    Args:
        errors: per curve, its name and the faces' errors (fractions; infinite where a face was missed).
        path: the picture file.
        threshold: end of the horizontal axis.
        label: what the errors are divided by.
    """
    figure = _new_figure(6.4, 4.4)
    axes = figure.add_subplot()
    grid = np.linspace(0, threshold, 400)
    for name, values in errors.items():
        area = metrics.auc(values, threshold)
        axes.plot(grid * 100, metrics.ced(values, grid) * 100, label=f"{name} (n = {len(values)}, AUC {area:.3f})")
    axes.set(xlim=(0, threshold * 100), ylim=(0, 100), xlabel=f"NME by {label} (%)", ylabel="faces (%)")
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right", frameon=False)
    _save(figure, path)


def plot_box_curve(curves: Mapping[str, BoxCurve], path: str | os.PathLike[str]) -> None:
    """Draw mean error against the box's shift and against its scale, one line per named curve."""
    figure = _new_figure(9.0, 3.8)
    left, right = figure.subplots(1, 2, sharey=True)
    for name, curve in curves.items():
        left.plot([s * 100 for s in curve.shifts], [e * 100 for e in curve.shifts.values()], marker="o", label=name)
        right.plot(list(curve.scales), [e * 100 for e in curve.scales.values()], marker="o", label=name)
    left.set(xlabel="box moved by (% of its side)", ylabel="NME (%)", ylim=(0, None))
    right.set(xlabel="box scaled by")
    for axes in (left, right):
        axes.grid(alpha=0.3)
    left.legend(frameon=False)
    _save(figure, path)


def plot_reliability(
    confidence: npt.NDArray[np.floating], correct: npt.NDArray[np.bool_], path: str | os.PathLike[str], *, label: str
) -> None:
    """Draw predicted confidence against the observed share of points that are near enough, and the number of points."""
    mean, share, count = metrics.reliability(confidence, correct)
    figure = _new_figure(4.8, 5.2)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    upper.plot([0, 1], [0, 1], color="0.7", linestyle="--")
    upper.plot(mean, share, marker="o")
    error = metrics.expected_calibration_error(confidence, correct)
    upper.set(ylabel="observed", title=f"{label}: expected calibration error {error:.3f}", ylim=(0, 1))
    lower.bar((np.arange(len(count)) + 0.5) / len(count), count, width=0.9 / len(count))
    lower.set(xlabel="confidence", ylabel="points", xlim=(0, 1))
    for axes in (upper, lower):
        axes.grid(alpha=0.3)
    _save(figure, path)
