"""What a shell asks `srn` while a command line is typed."""

from __future__ import annotations

from collections.abc import Mapping

VARIABLE = "_SRN_COMPLETE"
"""The variable that the script of `srn completion` sets."""

_WORDS = ("COMP_WORDS", "_TYPER_COMPLETE_ARGS")
"""Variables that hold the words so far: bash's, and those of zsh and fish."""


def words_to_complete(environment: Mapping[str, str]) -> list[str]:
    """Return the words of the command line after `srn`, and let typer answer in the shell's language."""
    from typer._completion_classes import completion_init

    completion_init()
    return next((environment[name].split()[1:] for name in _WORDS if name in environment), [])
