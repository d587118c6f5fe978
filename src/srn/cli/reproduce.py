"""`srn reproduce`."""

from __future__ import annotations

import dataclasses
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import Progress
from rich.table import Table as Printed

from srn.cli import options
from srn.datasets.folder import DataFolder
from srn.errors import InputError
from srn.evaluation.cache import default_folder
from srn.evaluation.paper import tabulate
from srn.evaluation.paper.published import Table, published
from srn.evaluation.paper.reproduce import Network, Outcome, Reproduction, curves, find_runs
from srn.evaluation.report.chart_file import write_charts
from srn.evaluation.report.page import versions
from srn.evaluation.results import Initialization
from srn.evaluation.speed import processor
from srn.files import write_atomically
from srn.media.pictures import write_image
from srn.synthesis.masked import DRAWN, MaskedVersions

ALL = "all"
FIGURES = ("figure6", "figure7", "figure8")
CURVES = {"figure7": "table5"}
"""Figures that are the curves of a table."""

SHEETS = {"figure6": ("masked-300w", False), "figure8": ("300vw", True)}
"""Qualitative figures: the dataset, and whether the faces are frames of one video."""

ABLATED = ("full", "without-g", "without-f", "without-d", "without-mu", "without-non-local", "without-occlusion")
"""Variants that `--train` can make."""


class PresetName(StrEnum):
    """Networks to ablate."""

    ROBUST = "robust"
    PAPER = "paper"


def reproduce(
    targets: Annotated[
        list[str],
        typer.Argument(help="`table1` to `table9`, `figure6`, `figure7`, `figure8`, or `all`.", metavar="WHAT..."),
    ],
    data: Annotated[Path, typer.Option(help="Folder that holds the datasets: 300W, masked_300W, WFLW, COFW, 300VW.")],
    out: Annotated[Path, typer.Option(help="Folder for Markdown, CSV, JSON, curves and sheets.")],
    weights: Annotated[
        list[Path] | None,
        typer.Option(help="Weights: one file for each landmark scheme. Repeatable. The shipped ones if left out."),
    ] = None,
    runs: Annotated[
        Path | None, typer.Option(help="Folder of training runs: the variants of tables 7 to 9; OUT/runs with --train.")
    ] = None,
    templates: Annotated[
        Path | None, typer.Option(help="Mask templates for masked sets made here; drawn masks if left out.")
    ] = None,
    kind: Annotated[str | None, typer.Option(help="Kind of mask: a template's name, `mixed`, `drawn`.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of masks and trainings.")] = 0,
    misfit: Annotated[
        float, typer.Option(min=0, max=0.3, help="How far off masks made here lie, in face sides: see `srn mask`.")
    ] = 0.0,
    init: Annotated[
        list[Initialization] | None, typer.Option(help="Face boxes to start from; a row for each. Repeatable.")
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="At most so many faces of each dataset, spread evenly: a quick look.")
    ] = None,
    train: Annotated[bool, typer.Option("--train", help="Train the variants of tables 7 to 9 first.")] = False,
    budget: Annotated[int | None, typer.Option(min=1, help="With --train: faces that each variant sees.")] = None,
    preset: Annotated[PresetName, typer.Option(help="With --train: the network that is ablated.")] = PresetName.ROBUST,
    device: Annotated[str, typer.Option(help="With --train: `auto`, `cpu`, `cuda`, ...")] = "auto",
    cache_folder: options.CacheFolder = None,
    no_cache: options.NoCache = False,
    passes: options.Passes = 2,
    flip_average: options.Flip = True,
    threads: options.Threads = None,
) -> None:
    """Measure the paper's tables and figures again, beside its published numbers.

    Every cell has our number, with its 95 % interval and the number of faces, or says which data or weights it lacks.
    Numbers on a part of a set say so. Sheets (`*.jpg`) show pictures of the datasets: their terms apply.

    Example: `srn reproduce table4 table2 --data datasets --out results`
    """
    wanted = _targets(targets)
    tables = published().tables
    runs = runs or (out / "runs" if train else None)
    if train:
        _train_variants(
            [tables[n] for n in wanted if n in tables], data, runs or out, budget, seed, preset.value, device
        )
    files: list[Path | None] = [*weights] if weights else [None]
    networks = [_network("full", path, passes, flip_average, threads) for path in files]
    trained, run_notes = _trained(runs, passes, flip_average, threads)
    with options.progress_bar("faces") as progress, tempfile.TemporaryDirectory() as temporary:
        kept = Path(temporary) if no_cache else cache_folder or default_folder().parent
        masking = progress.add_task("masking", total=None, visible=False)
        masked = MaskedVersions(
            kept / "masked",
            templates=templates,
            kind=kind or ("surgical_blue" if templates is not None else DRAWN),
            seed=seed,
            misfit=misfit,
            progress=lambda: progress.update(masking, advance=1, visible=True),
        )
        folder = DataFolder(data, limit=limit, mask=masked)
        work = Reproduction(
            folder,
            networks,
            trained,
            cache=options.open_cache(cache_folder, no_cache),
            inits=init or ["gt-box", "bbs"],
            progress=_steps(progress),
        )
        facts = _facts(processor())
        outcomes: dict[str, Outcome] = {}
        for name in dict.fromkeys(CURVES.get(target, target) for target in wanted):
            if name in tables:
                outcomes[name] = work.table(tables[name])
        lines = [*run_notes, *_write_figures(wanted, outcomes, work, out)]
    shown = [outcome for name, outcome in outcomes.items() if name in wanted]
    for outcome in shown:
        stem = out / outcome.table.name
        write_atomically(stem.with_suffix(".md"), tabulate.markdown(outcome).encode())
        write_atomically(stem.with_suffix(".csv"), tabulate.to_csv(outcome).encode())
        write_atomically(stem.with_suffix(".json"), tabulate.to_json(outcome, facts).encode())
        _print(outcome)
    write_atomically(out / "README.md", tabulate.document(shown, facts, lines).encode())
    for line in lines:
        options.console.print(line, highlight=False, markup=False, soft_wrap=True)
    options.console.print(f"results: {out / 'README.md'}", highlight=False, markup=False, soft_wrap=True)


def _targets(names: list[str]) -> list[str]:
    known = [*published().tables, *FIGURES]
    for name in names:
        if name not in (*known, ALL):
            raise InputError.at("what to reproduce", f"{ALL}, or some of {', '.join(known)}", repr(name))
    return known if ALL in names else list(dict.fromkeys(names))


def _network(
    variant: str, weights: Path | None, passes: int, flip: bool, threads: int | None, detail: str = ""
) -> Network:
    landmarker = options.open_landmarker(weights, passes, flip, threads, None)
    return Network(variant, landmarker, options.weights_digest(landmarker, weights), detail)


def _trained(runs: Path | None, passes: int, flip: bool, threads: int | None) -> tuple[list[Network], list[str]]:
    """The variants in a folder of runs, and what was left out."""
    if runs is None:
        return [], []
    found, notes = find_runs(runs)
    networks = [_network(variant, path, passes, flip, threads, path.parent.name) for variant, path in found.items()]
    return networks, notes


def _steps(progress: Progress) -> Callable[[str, int], Callable[[], None]]:
    def begin(name: str, total: int) -> Callable[[], None]:
        task = progress.add_task(name, total=total)
        return lambda: progress.advance(task)

    return begin


def _write_figures(wanted: list[str], outcomes: dict[str, Outcome], work: Reproduction, out: Path) -> list[str]:
    """Curves of every table asked for, and the figures; a line for each."""
    lines = []
    for name, outcome in outcomes.items():
        stems = [name] if name in wanted else []
        stems += [figure for figure, table in CURVES.items() if table == name and figure in wanted]
        drawing = curves(outcome)
        for stem in stems:
            if drawing is not None:
                path = out / f"{stem}{'' if stem in FIGURES else '_curves'}.svg"
                write_charts(path, drawing)
                lines.append(f"{path.name}: cumulative error distributions, {outcome.table.title}")
            elif stem in FIGURES:
                reasons = dict.fromkeys(cell.reason for row in outcome.rows for cell in row.cells.values())
                lines.append(f"{stem}: {'; '.join(reasons)}")
    for figure, (dataset, clips) in SHEETS.items():
        if figure not in wanted:
            continue
        sheets, notes = work.qualitative(dataset, clips=clips)
        for number, (label, image) in enumerate(sheets.items()):
            path = out / f"{figure}{chr(ord('a') + number)}.jpg"
            write_image(path, image, quality=90)
            lines.append(f"{path.name}: predictions, {label}")
        lines += [f"{figure}: {note}" for note in notes]
    return lines


def _facts(hardware: str) -> dict[str, str]:
    """What the numbers were made with."""
    facts = {
        "command": shlex.join(["srn", *sys.argv[1:]]),
        "date": datetime.now().astimezone().isoformat(timespec="seconds"),
        "hardware": hardware,
        "versions": ", ".join(f"{name} {version}" for name, version in versions().items()),
    }
    commit = _commit()
    return {**facts, "commit": commit} if commit else facts


def _commit() -> str:
    """The source tree's commit, where the package runs from one."""
    place = Path(__file__).resolve().parent
    try:
        run = ["git", "-C", str(place), "describe", "--always", "--dirty", "--abbrev=12"]
        result = subprocess.run(run, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return result.stdout.strip() if result.returncode == 0 else ""


def _print(outcome: Outcome) -> None:
    table = outcome.table
    printed = Printed(title=f"{table.name}: {table.title}", title_justify="left")
    printed.add_column("method")
    for column in table.columns:
        printed.add_column(f"{column.label} ({column.unit})", justify="right")
    for row in table.rows:
        printed.add_row(
            row.method, *(f"{row.values[c.name]:.2f}" if c.name in row.values else "–" for c in table.columns)
        )
    printed.add_section()
    lacking: dict[str, None] = {}
    for ours in outcome.rows:
        cells = []
        for column in table.columns:
            cell = ours.cells[column.name]
            cells.append(tabulate.cell_text(cell).replace(" ", "\n", 1) if cell.value is not None else "n/a")
            if cell.value is None:  # said below: in a narrow column nobody could read it
                lacking[f"{ours.method.removeprefix('ours: ')}, {column.label}: {cell.reason}"] = None
        printed.add_row(f"{ours.method}\n[dim]{options.escaped(ours.detail)}[/]", *map(options.escaped, cells))
    options.console.print(printed)
    for line in [*lacking, *outcome.notes]:
        options.console.print(line, highlight=False, markup=False, soft_wrap=True)


def _train_variants(
    tables: list[Table], data: Path, runs: Path, budget: int | None, seed: int, preset: str, device: str
) -> None:
    """Train every variant of the ablation tables with one budget and seed; finished runs are left as they are."""
    if budget is None:
        raise InputError.at("--train", "--budget FACES, the faces that each variant sees", "none")
    ablations = [table for table in tables if table.ablation]
    if not ablations:
        raise InputError.at("--train", "one of table7, table8, table9", ", ".join(t.name for t in tables) or "a figure")
    variants = [v for v in ABLATED if any(v in table.variants for table in ablations)]
    with options.needs_extra("train", "training"):
        from srn.training.config import TrainConfig, train_config
        from srn.training.loop import Schedule, default_workers
        from srn.training.loop import train as run
    configs: dict[str, TrainConfig] = {}
    for variant in variants:
        part = variant.removeprefix("without-")
        changes: dict[str, object] = {"without": (part,)} if part in ("g", "f", "d", "mu") else {}
        changes |= {"non_local": False} if part == "non-local" else {}
        config = train_config(preset, model_changes=changes, faces=budget, seed=seed, validation=0)
        if part == "occlusion":
            bare = dataclasses.replace(config.augmentation, noise_patch=0.0, occluders=0.0, masks=0.0)
            config = dataclasses.replace(config, augmentation=bare)
        configs[variant] = config
    missing = [v for v in variants if not _finished(runs / v, configs[v])]
    if not missing:
        return
    from srn.cli.data import load_faces

    root = next((folder for kind, folder in DataFolder(data).folders.items() if kind == "300w"), None)
    if root is None:
        raise InputError.at(data, "300W to train with", "none")
    pack, _ = load_faces(root, [], keep=runs / "faces.npz", reuse=True)
    for variant in missing:
        options.messages.print(f"training {variant}, {budget} faces", highlight=False)
        run(
            configs[variant], pack, runs / variant, resume=(runs / variant / "state.safetensors").exists(),
            schedule=Schedule(device=device, workers=default_workers()), console=options.messages,
            provenance={"data": str(root), "variant": variant},
        )  # fmt: skip


def _finished(folder: Path, config: object) -> bool:
    """Whether a run of this very description is complete there.

    Raises:
        InputError: the folder holds another run.
    """
    from srn.training.config import TrainConfig

    path = folder / "config.json"
    if not path.exists():
        return False
    if TrainConfig.load(path) != config:
        raise InputError.at(folder, "no run, or one of the same budget, seed and preset", "another run")
    from srn.model.checkpoint import load_network

    weights = folder / "weights.safetensors"
    if not weights.exists():
        return False
    _, metadata = load_network(weights)
    assert isinstance(config, TrainConfig)
    return int(metadata.get("faces_seen", "0")) >= config.steps * config.batch_size
