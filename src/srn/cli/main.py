"""The command `srn`: every command parses, calls and prints."""

from __future__ import annotations

import io
import os
import re
import sys
import traceback
from typing import Annotated

import typer

import srn
from srn.cli import benchmark, data, detect, evaluate, export, hofs, mask, options, reproduce, track, train
from srn.cli.command import INTERRUPTED, command
from srn.errors import InputError, SrnError, first_line

app = typer.Typer(
    name="srn",
    help="Occlusion-robust facial landmarks: detect, track, evaluate, train.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)
for function in (
    detect.detect, track.track, evaluate.evaluate, reproduce.reproduce, train.train, train.average, export.export,
    mask.mask, benchmark.benchmark,
):  # fmt: skip
    app.command()(command(function))
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
    """Run the command line.

    Exit codes: 0 success, 1 some files failed, 2 the user's mistake, 70 an error of this program, 130 interrupted.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # whatever the terminal's encoding, a name can be printed
            stream.reconfigure(errors="backslashreplace")
    try:
        if any(word == "" or re.fullmatch(r"--[\w-]+=", word) for word in sys.argv[1:]):
            raise InputError.at("command line", "a value for every option and argument", "an empty one")
        app()
    except SrnError as error:
        options.fail(str(error))
        sys.exit(2)
    except KeyboardInterrupt:
        options.fail("interrupted")
        sys.exit(INTERRUPTED)
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        options.fail(f"{place}{first_line(error)}")
        sys.exit(2)
    except Exception as error:
        if os.environ.get("SRN_TRACEBACK"):
            raise
        last = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{os.path.basename(last.filename)}, line {last.lineno}"
        options.fail(f"{type(error).__name__} in {place}: {first_line(error)} (SRN_TRACEBACK=1 shows where from)")
        sys.exit(70)


if __name__ == "__main__":
    main()
