"""The command `srn`: every command parses, calls and prints."""

from __future__ import annotations

import importlib
import io
import os
import re
import sys
import traceback
from typing import Annotated

import typer

import srn
from srn.cli import completing, options
from srn.cli.command import INTERRUPTED, command
from srn.errors import InputError, SrnError, first_line

COMMANDS = {
    "detect": "Find faces and their landmarks in pictures.",
    "track": "Track faces and their landmarks through a video.",
    "ui": "Try it in the browser: drop pictures or videos, use the camera, hide parts of faces by hand.",
    "serve": "Answer pictures with their faces over HTTP, on this machine.",
    "anonymize": "Cover the faces, or the eyes, of pictures and videos.",
    "evaluate": "Measure the landmarks of annotated faces.",
    "reproduce": "Measure the paper's tables and figures again, beside its published numbers.",
    "train": "Train a network on annotated faces.",
    "average": "Average the weights of several runs, and calibrate the expected errors of the mean.",
    "export": "Write a network as one ONNX file for the runtime and compare its output with PyTorch's.",
    "weights": "List the networks and agents that have a name.",
    "mask": "Paint masks over the faces of an annotated set; the points stay as they are.",
    "benchmark": "Time the face finder, the landmarks and the tracking on this machine.",
    "data": "Validate a dataset or pack it for training.",
    "hofs": "Hard occluded faces, by reinforcement learning.",
    "doctor": "Tell versions, providers, threads, weights and extras, and test the landmarks on a portrait.",
    "completion": "Print the script that completes commands, options and their values in a shell.",
}
"""The commands, and what the help of `srn` says of each: only the one that is called is imported."""

_MODULES = {"average": "train"}
"""Modules of `srn.cli` whose name is not the command's."""


_WITHOUT_NUMBERS = {"weights", "completion"}
"""Commands that never compute."""


def command_line(called: str | None = None) -> typer.Typer:
    """Make the command line with all commands, or with the one that is called and the names of the others."""
    app = typer.Typer(
        name="srn",
        help="Occlusion-robust facial landmarks: detect, track, evaluate, train.\n\n"
        "To begin: `srn detect portrait.jpg --out drawn`, or `srn ui` to try it in the browser.",
        no_args_is_help=True,
        add_completion=False,  # `srn completion` prints the script
        rich_markup_mode="markdown",
        pretty_exceptions_enable=False,
    )
    app.callback()(_options)
    for name, words in COMMANDS.items():
        if called not in (None, name):
            app.command(name, help=words)(lambda: None)  # never called
            continue
        module = importlib.import_module(f"srn.cli.{_MODULES.get(name, name)}")
        if hasattr(module, "app"):  # a group of commands
            app.add_typer(module.app, name=name)
        else:
            app.command(name)(command(getattr(module, name), computes=name not in _WITHOUT_NUMBERS))
    return app


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"srn {srn.__version__} (code: MIT; shipped weights: non-commercial research only)")
        raise typer.Exit


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
        words = completing.words_to_complete(os.environ) if completing.VARIABLE in os.environ else sys.argv[1:]
        command_line(next((word for word in words if not word.startswith("-")), ""))(prog_name="srn")
    except SrnError as error:
        options.fail(str(error))
        sys.exit(2)
    except KeyboardInterrupt:
        options.fail("interrupted")
        sys.exit(INTERRUPTED)
    except OSError as error:
        gone = "current folder" if isinstance(error, FileNotFoundError) else "standard output"  # `os.getcwd`, `print`
        options.fail(f"{error.filename or gone}: {first_line(error)}")
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
