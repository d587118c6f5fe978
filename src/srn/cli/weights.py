"""`srn weights`."""

from __future__ import annotations

import dataclasses
import json
from typing import Annotated

import typer

from srn.face.weights import CATALOGUE


def weights(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """List the networks and agents that have a name.

    Among the facts is how many faces they have seen in training: of a tracker frames, of an agent transitions.
    `--weights NAME` and `FaceLandmarker("NAME")` open a network, `srn train --hofs NAME` and `srn hofs synthesize NAME`
    an agent.
    `robust` ships with the package. The others are research weights of the repository's folder `models/`; where the
    package was installed without it, the environment variable SRN_MODELS names their folder.

    Example: `srn weights`
    """
    if as_json:
        print(json.dumps([dataclasses.asdict(one) | one.facts() for one in CATALOGUE], indent=1))
        return
    width = max(len(one.name) for one in CATALOGUE)
    for one in CATALOGUE:
        state = one.facts()["state"]
        size, seen = f"{one.size / 1e6:4.1f} MB", f"{one.faces:>9,} seen"
        print(f"{one.name:<{width}}  {one.sha256[:12]}  {size}  {seen}  {state:<8}  {one.recipe}")
