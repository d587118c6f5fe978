"""The declared versions of the dependencies: lower bounds and pins agree with pyproject.toml."""

from __future__ import annotations

import tomllib
from itertools import chain
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[1]


def declared() -> dict[str, Requirement]:
    """The dependencies of the core and of all extras, by name."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = [*project["dependencies"], *chain.from_iterable(project["optional-dependencies"].values())]
    found: dict[str, Requirement] = {
        canonicalize_name(one.name): one for line in lines if (one := Requirement(line)).name != "srn"
    }
    assert len(found) == len([line for line in lines if not line.startswith("srn[")])  # each is declared once
    return found


def pins(file: str) -> dict[str, str]:
    lines = [line for line in (ROOT / file).read_text().splitlines() if line and not line.startswith("#")]
    return {canonicalize_name(name): version for name, version in (line.split("==") for line in lines)}


def test_the_lowest_versions_are_the_declared_ones() -> None:
    bounds = {name: str(one.specifier) for name, one in declared().items()}
    for tool in ("codespell", "mypy", "ruff"):  # of style and types: the pins say which versions are meant
        assert bounds.pop(tool) == ""
    assert {name: f">={version}" for name, version in pins("constraints-lowest.txt").items()} == bounds


@pytest.mark.parametrize("name", sorted(declared()))
def test_the_pins_are_allowed_versions(name: str) -> None:
    pinned = pins("constraints.txt")[name]
    assert declared()[name].specifier.contains(Version(pinned))
