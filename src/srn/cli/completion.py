"""`srn completion`."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from srn.cli.completing import VARIABLE


def completion(
    shell: Annotated[Literal["bash", "zsh", "fish"], typer.Argument(help="The shell that completes.")],
) -> None:
    """Print the script that completes commands, options and their values in a shell.

    bash: `srn completion bash > ~/.local/share/bash-completion/completions/srn`;
    zsh: into `_srn` in a folder of `$fpath`;
    fish: `srn completion fish > ~/.config/fish/completions/srn.fish`.

    Example: `srn completion bash`
    """
    from typer._completion_shared import get_completion_script

    print(get_completion_script(prog_name="srn", complete_var=VARIABLE, shell=shell))
