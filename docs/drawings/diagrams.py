"""Draw the diagrams of the concepts: the hierarchy of the structural relation module, and the tracker.

    python docs/drawings/diagrams.py

Writes into `docs/images/concepts`. The arrows of the hierarchy are read from the tables that build the network.
"""

from __future__ import annotations

import itertools
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from srn import IBUG_68, FaceLandmarker
from srn.face.scheme import COMPONENTS, REGIONS
from srn.inference.drawing import COMPONENT_COLORS
from srn.model.hsrm import COMPONENT_PARTNERS, COMPONENT_REGIONS

OUT = Path(__file__).parents[1] / "images" / "concepts"
Place = tuple[float, float]
GREY = (0.93, 0.94, 0.95)


def color_of(component: str) -> tuple[float, float, float]:
    """Pale version of a component's colour, so that black words can be read on it."""
    red, green, blue = (1 - 0.45 * (1 - value / 255) for value in COMPONENT_COLORS[component])
    return red, green, blue


def box(axes: Axes, place: Place, words: str, color: tuple[float, float, float] = GREY, width: float = 1.6) -> None:
    x, y = place
    corner, height = (x - width / 2, y - 0.27), 0.54
    axes.add_patch(FancyBboxPatch(corner, width, height, "round,pad=0,rounding_size=0.12", fc=color, ec="#555", lw=0.8))
    axes.text(x, y, words, ha="center", va="center", fontsize=9)


def arrow(axes: Axes, start: Place, end: Place, color: str = "#888", width: float = 0.9, bend: float = 0.0) -> None:
    style = f"arc3,rad={bend}"
    axes.add_patch(
        FancyArrowPatch(start, end, arrowstyle="-|>", mutation_scale=8, color=color, lw=width, connectionstyle=style)
    )


def empty(width: float, height: float, scale: float = 0.8) -> tuple[Figure, Axes]:
    figure, axes = plt.subplots(figsize=(width * scale, height * scale))
    axes.set_xlim(0, width)
    axes.set_ylim(0, height)
    axes.set_axis_off()
    return figure, axes


def save(figure: Figure, name: str) -> None:
    OUT.mkdir(parents=True, exist_ok=True)
    figure.savefig(OUT / name, dpi=110, bbox_inches="tight", metadata={"Date": None})
    plt.close(figure)


def draw_hierarchy() -> None:
    """Features of the landmarks, g by region, f by component, d by component, mu over the whole shape."""
    figure, axes = empty(13.2, 6.6)
    columns = {name: 2.6 + 1.95 * k for k, name in enumerate(COMPONENTS)}
    regions = {name: float(np.mean([columns[c] for c in parts])) for name, parts in REGIONS.items()}
    rows = {"R": 6.2, "g": 4.9, "f": 3.4, "d": 1.9, "mu": 0.5}
    notes = {
        "R": "features R of\neach landmark",
        "g": "g: regions",
        "f": "f: components,\nwith the state h",
        "d": "d: offsets of the\nlandmarks",
        "mu": "mu: whole shape",
    }
    for row, words in notes.items():
        axes.text(0, rows[row], words, fontsize=9, va="center", color="#333")
    for name, x in columns.items():
        count = len(IBUG_68.components[name])
        box(axes, (x, rows["R"]), f"{name.replace('_', ' ')}\n{count} landmarks", color_of(name))
        box(axes, (x, rows["f"]), name.replace("_", " "), color_of(name))
        box(axes, (x, rows["d"]), f"{count} x (dx, dy)", color_of(name))
        for region in COMPONENT_REGIONS[name]:
            arrow(axes, (regions[region], rows["g"] - 0.3), (x, rows["f"] + 0.3))
        for partner in COMPONENT_PARTNERS[name]:
            arrow(axes, (columns[partner], rows["f"] - 0.3), (x, rows["d"] + 0.3))
        arrow(axes, (x, rows["d"] - 0.3), (7.5, rows["mu"] + 0.3))
    for name, parts in REGIONS.items():
        box(axes, (regions[name], rows["g"]), name, width=2.2)
        for part in parts:
            arrow(axes, (columns[part], rows["R"] - 0.3), (regions[name], rows["g"] + 0.3))
    box(axes, (7.5, rows["mu"]), "residual of the shape, (68, 2)", width=4.4)
    save(figure, "hierarchy.svg")


def draw_scheme() -> None:
    """The 68 landmarks of the mean shape, coloured by component, with their numbers."""
    shape = FaceLandmarker(threads=1).localizer.mean_shape
    figure, axes = plt.subplots(figsize=(5.2, 5.2))
    for component, points, closed in IBUG_68.contours:
        line = shape[[*points, points[0]] if closed else list(points)]
        axes.plot(*line.T, color=np.array(COMPONENT_COLORS[component]) / 255, linewidth=1.2)
    for name, points in IBUG_68.components.items():
        x, y = shape[list(points)].T
        axes.scatter(x, y, s=22, color=np.array(COMPONENT_COLORS[name]) / 255, zorder=3)
    for number, place in enumerate(shape.tolist()):
        axes.annotate(str(number), tuple(place), (2.5, 2.5), textcoords="offset points", fontsize=6.5, color="#333")
    axes.set_aspect("equal")
    axes.invert_yaxis()
    axes.set_axis_off()
    save(figure, "scheme68.svg")


def draw_tracker() -> None:
    """What happens to one frame of a video, and the two loops through the frame after it."""
    figure, axes = empty(13.8, 4.6)
    top = {
        "frame": 0.9, "predict: speed\nand optical flow": 3.3, "view each face\nonce, all in a batch": 6.0,
        "judge: a face?\nof which track?": 8.7, "filter": 10.8, "faces with\ntheir numbers": 12.6,
    }  # fmt: skip
    widths = {"frame": 1.2, "filter": 1.1, "faces with\ntheir numbers": 1.7}
    colors = {"frame": (0.85, 0.93, 1.0), "faces with\ntheir numbers": (0.84, 0.96, 0.9)}
    for words, x in top.items():
        box(axes, (x, 3.2), words, colors.get(words, GREY), widths.get(words, 2.1))
    places = list(top.items())
    for (left, x0), (right, x1) in itertools.pairwise(places):
        arrow(axes, (x0 + widths.get(left, 2.1) / 2, 3.2), (x1 - widths.get(right, 2.1) / 2, 3.2), "#333", 1.3)
    box(axes, (3.3, 1.5), "face finder", (1.0, 0.93, 0.82), 2.1)
    box(axes, (8.7, 1.5), "lost faces: kept 4 s,\nshown 1 s as predicted", (1.0, 0.93, 0.82), 3.1)
    arrow(axes, (0.9, 2.9), (2.2, 1.55), "#c73", 1.1)
    axes.text(0.15, 1.1, "first frame, after a cut,\na loss, or 30 frames", fontsize=8, color="#a52", va="top")
    arrow(axes, (4.4, 1.6), (5.9, 2.9), "#c73", 1.1)
    axes.text(5.35, 2.15, "new boxes", fontsize=8, color="#a52")
    arrow(axes, (8.7, 2.9), (8.7, 1.8), "#c73", 1.1)
    arrow(axes, (7.1, 1.4), (4.4, 1.4), "#c73", 1.1)
    axes.text(4.7, 1.25, "a loss calls the finder", fontsize=8, color="#a52", va="top")
    arrow(axes, (10.8, 3.5), (3.3, 3.5), "#087", 1.2, 0.14)
    axes.text(7.0, 4.3, "landmarks and motion, for the next frame", fontsize=8, color="#065", ha="center")
    save(figure, "tracker.svg")


def main() -> None:
    matplotlib.use("agg")
    matplotlib.rcParams["svg.hashsalt"] = "srn"  # the same bytes every time
    draw_hierarchy()
    draw_scheme()
    draw_tracker()


if __name__ == "__main__":
    main()
