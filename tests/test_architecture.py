"""The floor plan: which room may import which. Reads every import of the package and names each offender.

`docs/architecture.md` prints the table from here: `python tests/test_architecture.py` rewrites it.
"""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src"
DOCUMENT = ROOT / "docs" / "architecture.md"
PUBLIC = "srn"
"""The room of `srn/__init__.py`: the names that users import."""


@dataclass(frozen=True)
class Room:
    """A room of the house.

    Attributes:
        floor: a room imports only from lower floors.
        holds: the table's words for it.
        imports: the rooms it may import beside the ground floor and itself.
        torch: `never`, or `yes` where its files may load PyTorch.
        lazy: rooms that it may import inside functions only.
        packages: of an extra, without which the room is no use.
    """

    floor: int
    holds: str
    imports: frozenset[str] = frozenset()
    torch: str = "never"
    lazy: frozenset[str] = frozenset()
    packages: frozenset[str] = frozenset()


def _rooms(names: str) -> frozenset[str]:
    return frozenset(names.split())


WEB = frozenset({"fastapi", "prometheus_client", "pydantic", "starlette", "uvicorn"})

ROOMS = {
    "errors": Room(0, "the error tree"),
    "files": Room(1, "the one way to write a file"),
    "settings": Room(2, "checked, serializable configurations", _rooms("files")),
    "face": Room(3, "landmark schemes, geometry, patches, metrics, the localizer protocol: pure functions"),
    "media": Room(4, "pictures, videos, `.pts`, box and result files, in and out", _rooms("face")),
    "model": Room(4, "the networks, checkpoints, ONNX export", _rooms("face"), torch="yes"),
    "inference": Room(
        5,
        "from a picture to landmarks: face finders, `Looker`, landmarker, tracker, runtimes, results, drawing",
        _rooms("face media"),
        lazy=_rooms("model"),
    ),
    "uses": Room(
        6,
        "what is done with points: head pose, openness, aligned crops, a mesh, covered faces, live output, charts",
        _rooms("face media inference"),
    ),
    "datasets": Room(5, "dataset readers, the catalogue, writing, packing, checks", _rooms("face media")),
    "synthesis": Room(
        6,
        "everything that paints: occluders, masks, augmentation, animation, masked sets",
        _rooms("face media datasets"),
    ),
    "evaluation": Room(
        7,
        "protocol, statistics, cache, video; wings `report` (the page) and `paper` (the published tables)",
        _rooms("face media datasets synthesis inference"),
    ),
    "training": Room(
        8,
        "the run machine, the loop, tasks, losses, recipes, calibration",
        _rooms("face media model inference datasets synthesis evaluation"),
        torch="yes",
    ),
    "hofs": Room(
        9,
        "hard occluded face synthesis: the decision process, the Q-network, the agent",
        _rooms("face media model inference datasets synthesis evaluation training"),
        torch="yes",
    ),
    PUBLIC: Room(10, "the public names", _rooms("face media inference")),
    "serve": Room(
        11,
        "the HTTP service: limits, common batches, counters",
        _rooms("srn face media inference"),
        packages=WEB,
    ),
    "ui": Room(
        12,
        "the page in the browser, on the service",
        _rooms("srn face media inference uses serve"),
        packages=WEB,
    ),
    "cli": Room(
        13,
        "the command line: parse, call, print",
        _rooms("srn face media inference uses datasets synthesis evaluation"),
        torch="lazy",
        lazy=_rooms("model training hofs serve ui"),
    ),
    "__main__": Room(14, "`python -m srn`", _rooms("cli")),
}

GROUND = frozenset(name for name, room in ROOMS.items() if room.floor <= 2)
"""Rooms that every room above them may import."""

CORE = {"numpy", "cv2", "onnxruntime", "rich", "typer"}
"""Top-level names of the core requirements in pyproject.toml."""

HEAVY = {"torch", "torchvision", "matplotlib", "onnx", "onnxscript", "safetensors", "tensorboard"}
"""Packages of the extras."""

FILE_LINES, FUNCTION_LINES = 400, 60
"""The longest file and the longest function."""


@dataclass(frozen=True)
class Import:
    """One name of an import statement: `from a.b import c` is the module `a.b.c` if there is one, else `a.b`."""

    module: str
    line: int
    when_loaded: bool
    """It runs as soon as the file is imported, not only inside a function or for the type checker."""


def module_name(file: Path) -> str:
    parts = file.relative_to(SOURCE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(file): file for file in sorted((SOURCE / "srn").rglob("*.py"))}


def room(module: str) -> str:
    """`srn.face.geometry` -> `face`; a public name -> `srn`."""
    return module.split(".")[1] if "." in module else PUBLIC


def imported_names(node: ast.AST, package: str) -> Iterator[str]:
    """Modules that a single statement or call imports, as absolute names."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        base = node.module or ""
        if node.level:
            parents = package.split(".")
            base = ".".join([*parents[: len(parents) - node.level + 1], *([base] if base else [])])
        for alias in node.names:
            inner = f"{base}.{alias.name}"
            yield inner if inner in MODULES else base
    elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("importlib.import_module", "import_module"):
        first = node.args[0] if node.args else None
        if isinstance(first, ast.Constant) and isinstance(first.value, str):
            yield first.value


@cache
def imports_of(module: str) -> tuple[Import, ...]:
    file = MODULES[module]
    package = module if file.name == "__init__.py" else module.rpartition(".")[0]

    def walk(node: ast.AST, when_loaded: bool) -> Iterator[Import]:
        for name in imported_names(node, package):
            yield Import(name, getattr(node, "lineno", 0), when_loaded)
        typing_only = isinstance(node, ast.If) and ast.unparse(node.test).removeprefix("typing.") == "TYPE_CHECKING"
        inside = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for child in ast.iter_child_nodes(node):
            hidden = inside or (typing_only and isinstance(node, ast.If) and child in node.body)
            yield from walk(child, when_loaded and not hidden)

    return tuple(walk(ast.parse(file.read_text(encoding="utf-8"), str(file)), True))


def loaded_with(module: str) -> dict[str, tuple[str, ...]]:
    """Everything that importing `module` loads, each with the chain of our modules that leads there."""
    found: dict[str, tuple[str, ...]] = {}
    waiting: list[tuple[str, tuple[str, ...]]] = [(module, (module,))]
    while waiting:
        name, chain = waiting.pop()
        if name in found:
            continue
        found[name] = chain
        if name in MODULES:
            loaded = [name.rsplit(".", depth)[0] for depth in range(1, name.count(".") + 1)]  # the packages around it
            loaded += [i.module for i in imports_of(name) if i.when_loaded]
            waiting.extend((other, (*chain, other)) for other in loaded)
    return found


def floor_table() -> str:
    """The floor plan as Markdown, highest floor first."""
    lines = ["| floor | room | holds | imports |", "|---|---|---|---|"]
    for name, one in sorted(ROOMS.items(), key=lambda item: -item[1].floor):
        above = sorted(one.imports, key=lambda other: (ROOMS[other].floor, other))
        allowed = [*(f"`{other}`" for other in above), *(f"`{other}` (lazily)" for other in sorted(one.lazy))]
        label = "`srn/__init__`" if name == PUBLIC else f"`{name}`"
        lines.append(f"| {one.floor} | {label} | {one.holds} | {', '.join(allowed) or '-'} |")
    return "\n".join(lines)


BEGIN, END = "<!-- floor table: printed by tests/test_architecture.py -->", "<!-- end of floor table -->"


# --- the reader


@pytest.mark.parametrize(
    ("statement", "package", "expected"),
    [
        ("import torch.nn", "srn.model", ["torch.nn"]),
        ("from srn.face import geometry, nothing", "srn.datasets", ["srn.face.geometry", "srn.face"]),
        ("from srn.face.geometry import Box", "srn.datasets", ["srn.face.geometry"]),
        ("from . import scheme", "srn.face", ["srn.face.scheme"]),
        ("from .scheme import IBUG_68", "srn.face", ["srn.face.scheme"]),
        ("from ..errors import InputError", "srn.face", ["srn.errors"]),
        ("importlib.import_module('srn.errors')", "srn.cli", ["srn.errors"]),
    ],
)
def test_statements_are_understood(statement: str, package: str, expected: list[str]) -> None:
    (node,) = ast.parse(statement).body

    assert list(imported_names(node.value if isinstance(node, ast.Expr) else node, package)) == expected


# --- the house


def test_the_table_only_looks_down() -> None:
    upward = [
        f"{name} (floor {one.floor}) may import {other} (floor {ROOMS[other].floor})"
        for name, one in ROOMS.items()
        for other in one.imports | one.lazy
        if ROOMS[other].floor >= one.floor
    ]
    assert not upward, upward


def test_rooms_import_only_what_the_table_allows() -> None:
    assert {room(module) for module in MODULES} == set(ROOMS), "each room needs a place in the table"
    offenders = []
    for module in MODULES:
        own = room(module)
        always = ROOMS[own].imports | {own} | (GROUND if ROOMS[own].floor > 2 else {"errors"})
        for one in imports_of(module):
            if one.module.split(".")[0] != PUBLIC or room(one.module) in always:
                continue
            if room(one.module) not in ROOMS[own].lazy or one.when_loaded:
                offenders.append(f"{MODULES[module].relative_to(ROOT)}:{one.line} imports {one.module}")
    assert not offenders, "\n".join(offenders)


def test_modules_do_not_import_in_circles() -> None:
    """Neither on loading, nor hidden in functions or behind TYPE_CHECKING."""
    graph = {module: {i.module for i in imports_of(module) if i.module in MODULES} for module in MODULES}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"a circle of imports: {' <- '.join(error.args[1])}")


def test_the_core_loads_nothing_but_the_core() -> None:
    allowed = CORE | set(sys.stdlib_module_names) | {PUBLIC}
    offenders = [
        " -> ".join(chain)
        for module in MODULES
        if ROOMS[room(module)].torch != "yes"
        for name, chain in loaded_with(module).items()
        if name.split(".")[0] not in allowed | ROOMS[room(module)].packages
    ]
    assert not offenders, "\n".join(offenders)


def test_only_the_rooms_that_learn_touch_tensors() -> None:
    offenders = [
        f"{MODULES[module].relative_to(ROOT)}:{one.line} imports {one.module}"
        for module in MODULES
        if ROOMS[room(module)].torch == "never"
        for one in imports_of(module)
        if one.module.split(".")[0] in ("torch", "torchvision")
    ]
    assert not offenders, "\n".join(offenders)


@pytest.mark.parametrize("module", ["srn", "srn.cli.main"])
def test_a_fresh_interpreter_loads_nothing_heavy(module: str) -> None:
    """The same through what other packages import."""
    code = f"import json, sys, {module}; print(json.dumps(sorted({{name.split('.')[0] for name in sys.modules}})))"

    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=100)

    assert result.returncode == 0, result.stderr
    assert HEAVY.isdisjoint(json.loads(result.stdout))


def test_files_and_functions_stay_short() -> None:
    long = []
    for file in MODULES.values():
        text = file.read_text(encoding="utf-8")
        if (lines := text.count("\n")) > FILE_LINES:
            long.append(f"{file.relative_to(ROOT)}: {lines} lines, at most {FILE_LINES}")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                if lines > FUNCTION_LINES:
                    where = f"{file.relative_to(ROOT)}:{node.lineno}"
                    long.append(f"{where} {node.name}: {lines} lines, at most {FUNCTION_LINES}")
    assert not long, "\n".join(long)


def test_every_module_has_a_docstring() -> None:
    silent = [
        str(file.relative_to(ROOT))
        for file in MODULES.values()
        if (text := file.read_text(encoding="utf-8")) and not ast.get_docstring(ast.parse(text))
    ]
    assert not silent, silent


def test_the_document_prints_this_table() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    printed = text.partition(BEGIN)[2].partition(END)[0].strip()

    assert printed == floor_table(), f"run: python {Path(__file__).relative_to(ROOT)}"


if __name__ == "__main__":
    before, _, rest = DOCUMENT.read_text(encoding="utf-8").partition(BEGIN)
    DOCUMENT.write_text(f"{before}{BEGIN}\n{floor_table()}\n{END}{rest.partition(END)[2]}", encoding="utf-8")
