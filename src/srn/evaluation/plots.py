"""Plots. Needs `srn[eval]` (Matplotlib)."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from srn.data.files import write_atomically
from srn.errors import MissingDependencyError
from srn.face import metrics


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
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingDependencyError.for_extra("Matplotlib", "eval", "plotting") from error
    figure = Figure(figsize=(6.4, 4.4), layout="constrained")
    axes = figure.add_subplot()
    grid = np.linspace(0, threshold, 400)
    for name, values in errors.items():
        area = metrics.auc(values, threshold)
        axes.plot(grid * 100, metrics.ced(values, grid) * 100, label=f"{name} (n = {len(values)}, AUC {area:.3f})")
    axes.set(xlim=(0, threshold * 100), ylim=(0, 100), xlabel=f"NME by {label} (%)", ylabel="faces (%)")
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right", frameon=False)
    buffer = io.BytesIO()
    figure.savefig(buffer, format=Path(path).suffix.lstrip(".") or "png", dpi=150)
    write_atomically(path, buffer.getvalue())
