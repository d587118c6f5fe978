"""The command `srn`: every command parses, calls and prints."""

from __future__ import annotations

import sys
from typing import Annotated

import typer
from rich.console import Console

import srn
from srn.cli import benchmark, data, detect, evaluate, export, hofs, mask, options, reproduce, track, train
from srn.errors import SrnError

app = typer.Typer(
    name="srn",
    help="Occlusion-robust facial landmarks: detect, track, evaluate, train.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)
app.command("detect")(detect.detect)
app.command("track")(track.track)
app.command("evaluate")(evaluate.evaluate)
app.command("reproduce")(reproduce.reproduce)
app.command("train")(train.train)
app.command("average")(train.average)
app.command("export")(export.export)
app.command("mask")(mask.mask)
app.command("benchmark")(benchmark.benchmark)
app.add_typer(data.app, name="data")
app.add_typer(hofs.app, name="hofs")


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"srn {srn.__version__} (code: MIT; shipped weights: non-commercial research only)")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    del version


def main() -> None:
    """Run the command line. Exit codes: 0 success, 1 some files failed, 2 the user's mistake, 130 interrupted."""
    try:
        app()
    except SrnError as error:
        Console(stderr=True).print(f"[bold red]srn:[/] {options.escaped(str(error))}", highlight=False, soft_wrap=True)
        sys.exit(2)
    except KeyboardInterrupt:
        Console(stderr=True).print("[bold red]srn:[/] interrupted", highlight=False)
        sys.exit(130)


if __name__ == "__main__":
    main()
