"""Page and pictures of `measure_hofs.py`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hofs_clips import BEST, WALK, reached
from hofs_table9 import LEARNED
from results import markdown_page, markdown_table, paired_difference
from srn.face.scheme import IBUG_68


def plot_learning(content: Mapping[str, Any], path: Path) -> None:
    """Plot the reward on held-out clips against transitions: mean and range over seeds of each variant."""
    figure = Figure(figsize=(6.4, 4.2), layout="constrained")
    axes = figure.add_subplot()
    for name, runs in content["variants"].items():
        marks = sorted({int(mark) for run in runs for mark in run["curve"]})
        values = np.array([[np.mean(run["curve"][str(mark)]) for mark in marks] for run in runs]) * 100
        (line,) = axes.plot(marks, values.mean(axis=0), marker="o", label=name)
        axes.fill_between(marks, values.min(axis=0), values.max(axis=0), alpha=0.2, color=line.get_color())
    for name in (WALK, "greedy oracle, one step", BEST):
        level = content["levels_of_the_curve"][name] * 100
        axes.axhline(level, color="0.5", linestyle="--", linewidth=0.8)
        axes.annotate(name, (0, level), xytext=(2, 2), textcoords="offset points", fontsize=8, color="0.3")
    axes.set(xlabel="transitions", ylabel="mean reward on held-out clips, first start (NME, %)", xlim=(0, None))
    axes.legend(frameon=False, fontsize=8)
    figure.savefig(path, dpi=130)


def plot_heat_maps(shape: npt.NDArray[np.floating], maps: Mapping[str, npt.NDArray[np.float64]], path: Path) -> None:
    """Plot values of the landmarks (N,) on a mean face (N, 2), one face for each map."""
    figure = Figure(figsize=(4.2 * len(maps), 4.4), layout="constrained")
    for axes, (title, values) in zip(np.atleast_1d(figure.subplots(1, len(maps))), maps.items(), strict=True):
        for _, points, closed in IBUG_68.contours:
            line = shape[[*points, *points[:1]] if closed else list(points)]
            axes.plot(line[:, 0], line[:, 1], color="0.8", linewidth=1, zorder=1)
        spots = axes.scatter(shape[:, 0], shape[:, 1], c=values, s=90, cmap="inferno_r", edgecolors="0.4", zorder=2)
        _name_highest(axes, shape, values)
        axes.set(aspect="equal", xticks=[], yticks=[])
        axes.set_title(title, fontsize=10)
        axes.invert_yaxis()
        figure.colorbar(spots, ax=axes, shrink=0.7)
    figure.savefig(path, dpi=130)


def _name_highest(axes: Axes, shape: npt.NDArray[np.floating], values: npt.NDArray[np.float64]) -> None:
    """Write the index beside five of the highest values, with some distance between them."""
    named: list[int] = []
    for index in np.argsort(values)[::-1]:
        if len(named) < 5 and all(np.linalg.norm(shape[index] - shape[other]) > 0.1 for other in named):
            named.append(int(index))
            axes.annotate(str(index), tuple(shape[index]), xytext=(6, 4), textcoords="offset points", fontsize=8)


def _with_spread(values: Sequence[float]) -> str:
    spread = f" +- {np.std(values, ddof=1) * 100:.3f}" if len(values) > 1 else ""
    return f"{np.mean(values) * 100:.3f}{spread}"


def _set_table(name: str, rows: Mapping[str, Mapping[str, float]], variants: Mapping[str, Any]) -> str:
    walk, best = rows[WALK]["mean"], rows[BEST]["mean"]
    cells = [[p, f"{row['mean'] * 100:.3f}", f"{reached(row['mean'], walk, best):.0%}"] for p, row in rows.items()]
    for variant, runs in variants.items():
        means = [float(np.mean(run["final"][name]["rewards"])) for run in runs]
        way = reached(float(np.mean(means)), walk, best)
        cells.append([f"agent, {variant}", _with_spread(means), f"{way:.0%}"])
    table = markdown_table(("policy", "reward %", "reached"), cells)
    return "\n\n".join([f"## {name}: {rows[WALK]['clips']} clips", table, *_variants_apart(name, variants)])


def _variants_apart(name: str, variants: Mapping[str, Any]) -> list[str]:
    """Write by how much the first variant differs from each other, in sentences."""
    (first, *others), rng = variants, np.random.default_rng(0)
    rewards = {variant: np.array([run["final"][name]["rewards"] for run in runs]) for variant, runs in variants.items()}
    lines = []
    for other in others:
        gap, low, high = (value * 100 for value in paired_difference(rewards[first], rewards[other], rng))
        lines.append(
            f"{first} minus {other}: {gap:+.3f} ({low:+.3f} to {high:+.3f}) points of %, paired by seed and clip."
        )
    return lines


def _table_9(table: Mapping[str, Any]) -> str:
    tests = list(next(iter(table["nme"].values())))
    rows = [[arm, *(_with_spread(scores[test]) for test in tests)] for arm, scores in table["nme"].items()]
    columns = ("fine-tuned with", *tests)
    title = f"## Table 9 in small: {table['faces']} frames seen by each, NME % of held-out clips"
    parts = [title, markdown_table(columns, rows)]
    if table["differences"]:
        gaps = [
            [arm, *(f"{gap * 100:+.2f} ({low * 100:+.2f} to {high * 100:+.2f})" for gap, low, high in by_test.values())]
            for arm, by_test in table["differences"].items()
        ]
        parts += [
            f"{LEARNED} minus each other arm, in points, paired by seed and clip; 95 % bootstrap intervals over both:",
            markdown_table(("less", *tests), gaps),
        ]
    return "\n\n".join(parts)


def page(content: Mapping[str, Any]) -> str:
    """Format the page of a result."""
    encoder = "trained" if content["config"]["train_encoder"] else "frozen, only the head learns"
    notes = [
        f"seeds: {content['seeds']}",
        f"agents: {content['transitions']} transitions each on {content['training']}; encoder {encoder}",
        "reward: the frozen network's NME (inter-ocular, at least 0.4 of the face), mean over the frames",
        "reached: share of the way from the random walk to the best path that obeys the same rules",
        "+-: standard deviation over seeds",
        *([content["note"]] if content["note"] else []),
    ]
    parts = [_set_table(name, rows, content["variants"]) for name, rows in content["sets"].items()]
    paired = f"Agent minus random walk, clip by clip, with a 95 % bootstrap interval: {content['paired']}"
    parts.insert(1, paired)
    parts += [f"![{text}]({content['name']}_{name}.png)" for text, name in (
        ("learning curve", "learning"), ("places of the agent", "heat_map"),
    )]  # fmt: skip
    speeds = [
        [variant, f"{np.median([run['transitions_per_s'] for run in runs]):.1f}",
         f"{np.median([run['network_share'] for run in runs]):.0%}"]
        for variant, runs in content["variants"].items()
    ]  # fmt: skip
    columns = ("variant", "transitions a second", "share of the time inside the networks")
    parts.append(f"## Speed\n\n{markdown_table(columns, speeds)}\n\nThe rest of the time goes to rendering.")
    if content.get("table_9"):
        parts.append(_table_9(content["table_9"]))
    return markdown_page("HOFS: agents against baselines", content, notes, *parts)
