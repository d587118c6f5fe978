"""`srn reproduce`."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.text import Text

from srn.cli import options
from srn.cli.data import load_faces
from srn.datasets.folder import DataFolder
from srn.errors import InputError, MissingDependencyError, printable
from srn.evaluation.cache import default_folder, weights_digest
from srn.evaluation.paper import tabulate
from srn.evaluation.paper.networks import Network, find_runs
from srn.evaluation.paper.outcome import Outcome
from srn.evaluation.paper.publish import check_targets, publish
from srn.evaluation.paper.reproduce import Reproduction
from srn.evaluation.provenance import facts
from srn.face.weights import CATALOGUE
from srn.files import TABLES, Output, check_outputs
from srn.inference.landmarker import FaceLandmarker
from srn.synthesis.masked import DRAWN, MaskedVersions

Words = Annotated[
    list[str],
    typer.Argument(
        metavar="DATA WHAT",
        help="The folder that holds the datasets (300W, masked_300W, WFLW, COFW, 300VW), and `table1` to `table9`,"
        " `figure6`, `figure7`, `figure8`, or `all`.",
    ),
]
Out = Annotated[Path, typer.Option(help="Folder for Markdown, CSV, JSON, curves and sheets."), options.Folder()]
WeightsFiles = Annotated[
    list[Path] | None,
    typer.Option(
        help="Weights, each with a row of its own. Repeatable. The shipped ones and the research weights of `models/`"
        " if left out."
    ),
]
Runs = Annotated[
    Path | None, typer.Option(help="Folder of training runs: the variants of tables 7 to 9; OUT/runs with --train.")
]
Templates = Annotated[
    Path | None, typer.Option(help="Mask templates for masked sets made here; drawn masks if left out.")
]
Kind = Annotated[str | None, typer.Option(help="Kind of mask: a template's name, `mixed`, `drawn`.")]
Seed = Annotated[int, typer.Option(min=0, help="Seed of masks and trainings.")]
Misfit = Annotated[
    float, typer.Option(min=0, max=0.3, help="Misplacement of masks made here, in face sizes: see `srn mask`.")
]
Boxes = Annotated[
    list[str] | None,
    typer.Option(help="Face boxes: `gt-box`, `finder` or `bbs`; a row for each. Repeatable. Default: gt-box and bbs."),
]
Limit = Annotated[int | None, typer.Option(min=1, help="Faces of each dataset, evenly spread, for a quick estimate.")]
Train = Annotated[bool, typer.Option("--train", help="Train the variants of tables 7 to 9 first.")]
Budget = Annotated[int | None, typer.Option(min=1, help="With --train: faces that each variant sees.")]
Preset = Annotated[Literal["robust", "paper"], typer.Option(help="With --train: the network that is ablated.")]
Device = Annotated[str, typer.Option(help="With --train: `auto`, `cpu`, `cuda`, ...")]


def reproduce(
    words: Words,
    out: Out,
    weights: WeightsFiles = None,
    runs: Runs = None,
    templates: Templates = None,
    kind: Kind = None,
    seed: Seed = 0,
    misfit: Misfit = 0.0,
    init: Boxes = None,
    limit: Limit = None,
    train: Train = False,
    budget: Budget = None,
    preset: Preset = "robust",
    device: Device = "auto",
    cache_folder: options.CacheFolder = None,
    no_cache: options.NoCache = False,
    fresh: options.Fresh = False,
    accuracy: options.Accuracy = "best",
    flip_average: options.Flip = True,
    threads: options.Threads = None,
    old_data: options.OldData = None,
) -> None:
    """Measure the paper's tables and figures again, beside its published numbers.

    Every cell has the measured number with its 95 % interval and number of faces, or names the missing data or weights.
    Numbers on a part of a set say so. Sheets (`*.jpg`) show pictures of the datasets: their terms apply.

    Example: `srn reproduce datasets table4 table2 --out results`
    """
    folder, wanted = _parsed(words if old_data is None else [str(old_data), *words])
    check_outputs([Output("--out", out / "README.md", TABLES)], ())
    runs = runs or (out / "runs" if train else None)
    if train:
        _train(wanted, folder, runs or out, budget, seed, preset, device)
    opened = partial(
        options.open_landmarker, accuracy=accuracy, flip=flip_average, engine=options.Engine(threads), yunet=None
    )
    networks = [_network(variant, path, opened) for variant, path in _files(weights)]
    found, notes = ({}, []) if runs is None else find_runs(runs)
    trained = [_network(variant, path, opened, path.parent.name) for variant, path in found.items()]
    with options.progress("faces") as begin, tempfile.TemporaryDirectory() as temporary:
        kept = Path(temporary) if no_cache else cache_folder or default_folder().parent
        masked = MaskedVersions(
            kept / "masked", templates=templates, kind=kind or ("surgical_blue" if templates is not None else DRAWN),
            seed=seed, misfit=misfit, progress=begin,
        )  # fmt: skip
        work = Reproduction(
            DataFolder(folder, limit=limit, mask=masked), networks, trained, inits=init or ["gt-box", "bbs"],
            cache=options.open_cache(cache_folder, no_cache, fresh), progress=begin, tell=options.note,
        )  # fmt: skip
        outcomes, lines = publish(work, wanted, out, facts(), notes)
    for outcome in outcomes:
        _print(outcome)
    for line in [*lines, f"results: {out / 'README.md'}"]:
        options.say(line)


def _parsed(words: list[str]) -> tuple[Path, list[str]]:
    """Return the folder of datasets, and the tables and figures to measure."""
    data, *targets = words
    if not targets:
        raise InputError.at("DATA WHAT", "a folder of datasets, and what to measure", f"only {data!r}")
    return Path(data), check_targets(targets)


def _files(weights: list[Path] | None) -> list[tuple[str, Path]]:
    """Return the weights to measure with their variant: the user's, or all that have a name and are here."""
    if weights:
        return [("full", path) for path in weights]
    known = [(one.variant, one.path()) for one in CATALOGUE]
    return [(variant, path) for variant, path in known if variant and path is not None]


def _network(
    variant: str, weights: Path | None, opened: Callable[[Path | None], FaceLandmarker], detail: str = ""
) -> Network:
    landmarker = opened(weights)
    return Network(variant, landmarker, weights_digest(landmarker, weights), detail)


def _train(targets: list[str], data: Path, runs: Path, budget: int | None, seed: int, preset: str, device: str) -> None:
    if budget is None:
        raise InputError.at("--train", "--budget FACES, the faces that each variant sees", "none")
    with MissingDependencyError.importing("train", "training"):
        from srn.training.ablation import ablated_variants, train_variants

    train_variants(
        ablated_variants(targets), data, runs, lambda root: load_faces([root], runs / "faces.npz", reuse=True)[0],
        preset=preset, faces=budget, seed=seed, device=device, console=options.messages,
    )  # fmt: skip


def _print(outcome: Outcome) -> None:
    table = outcome.table
    columns = (f"{column.label} ({column.unit})" for column in table.columns)
    printed = options.number_table(f"{table.name}: {table.title}", "method", columns)
    printed.title_justify = "left"
    for row in table.rows:
        values = [row.values.get(column.name) for column in table.columns]
        printed.add_row(row.method, *("–" if value is None else f"{value:.2f}" for value in values))
    printed.add_section()
    lacking: dict[str, None] = {}
    for ours in outcome.rows:
        cells = []
        for column in table.columns:
            cell = ours.cells[column.name]
            cells.append(tabulate.cell_text(cell).replace(" ", "\n", 1) if cell.value is not None else "n/a")
            if cell.value is None:  # the reason is printed below, because a narrow column would hide it
                lacking[f"{ours.method}, {column.label}: {cell.reason}"] = None
        printed.add_row(Text.assemble(f"{printable(ours.label)}\n", (printable(ours.detail), "dim")), *cells)
    options.console.print(printed)
    for line in [*lacking, *outcome.notes]:
        options.say(line)
