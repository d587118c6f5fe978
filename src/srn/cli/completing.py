"""What a shell asks `srn` while a command line is typed."""

from __future__ import annotations

from collections.abc import Mapping

from srn.errors import InputError

VARIABLE = "_SRN_COMPLETE"
"""The variable that the script of `srn completion` sets."""

_WORDS = ("COMP_WORDS", "_TYPER_COMPLETE_ARGS")
"""Variables that hold the words so far: bash's, and those of zsh and fish."""


def words_to_complete(environment: Mapping[str, str]) -> list[str]:
    """Return the words of the command line after `srn`, and let typer answer in the shell's language.

    Raises:
        InputError: no shell asks: what it sets is missing.
    """
    from typer._completion_classes import completion_init

    instruction = environment[VARIABLE]
    words = next((environment[name] for name in _WORDS if name in environment), None)
    place = "0" if not instruction.endswith("_bash") else environment.get("COMP_CWORD", "")
    if instruction.startswith("complete_") and (words is None or not place.isdecimal()):
        raise InputError.at(VARIABLE, "the script of 'srn completion', which sets more variables", repr(instruction))
    completion_init()
    return (words or "").split()[1:]
