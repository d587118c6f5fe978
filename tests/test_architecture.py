"""The house keeps its floors: reads every import of the package and holds the table of who may import whom."""

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

SOURCE = Path(__file__).resolve().parents[1] / "src"
PUBLIC = "srn"
"""The room of `srn/__init__.py`: the names that users import."""

GROUND = {"errors", "files", "settings"}
MAY_IMPORT: dict[str, set[str]] = {
    "errors": set(),
    "files": set(),
    "settings": set(),
    "face": set(),
    "media": {"face"},
    "model": {"face"},
    "inference": {"face", "media", "model"},
    "datasets": {"face", "media"},
    "synthesis": {"face", "media", "datasets"},
    "evaluation": {"face", "media", "datasets", "synthesis", "inference"},
    "training": {"face", "media", "datasets", "synthesis", "model", "inference", "evaluation"},
    "hofs": {"face", "media", "datasets", "synthesis", "model", "inference", "evaluation", "training"},
    PUBLIC: {"face", "media", "inference"},
    "cli": {
        *("face", "media", "model", "inference", "datasets", "synthesis", "evaluation", "training", "hofs"),
        PUBLIC,
    },
    "__main__": {"cli"},
}
"""Room -> other rooms it may import, at any place in its files. Every room may also import `GROUND`, and itself."""

FLOORS = {
    **{"errors": 0, "files": 1, "settings": 1, "face": 2, "media": 3, "model": 3, "inference": 4, "datasets": 4},
    **{"synthesis": 5, "evaluation": 6, "training": 7, "hofs": 8, PUBLIC: 9, "cli": 10, "__main__": 11},
}

WITHOUT_TORCH = (
    "errors",
    "files",
    "settings",
    "face",
    "media",
    "datasets",
    "synthesis",
    "inference",
    "evaluation",
    PUBLIC,
    "cli",
    "__main__",
)
"""Rooms that can be imported where only the core is installed."""

NEVER_TORCH = ("errors", "files", "settings", "face", "media", "inference")
"""Rooms that have no business with tensors, not even inside a function."""

CORE = {"numpy", "cv2", "onnxruntime", "rich", "typer"}
"""Top-level names of the core requirements in pyproject.toml."""

HEAVY = {"torch", "torchvision", "matplotlib", "onnx", "onnxscript", "safetensors", "tensorboard"}
"""What only the extras bring."""


@dataclass(frozen=True)
class Import:
    """One name of an import statement: `from a.b import c` is the module `a.b.c` if there is one, else `a.b`."""

    module: str
    line: int
    when_loaded: bool  # runs as soon as the file is imported, not only inside a function or for the type checker


def files() -> list[Path]:
    return sorted((SOURCE / "srn").rglob("*.py"))


def module_name(file: Path) -> str:
    parts = file.relative_to(SOURCE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(file): file for file in files()}
each_module = pytest.mark.parametrize("module", MODULES)


def room(module: str) -> str:
    """`srn.face.geometry` -> `face`; a name of the public face itself -> `srn`."""
    return (module.split(".") + [PUBLIC])[1] if module != PUBLIC else PUBLIC


def is_type_checking(test: ast.expr) -> bool:
    return ast.unparse(test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")


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
        if isinstance(node, ast.If) and is_type_checking(node.test):
            for part in node.body:
                yield from walk(part, False)
            for part in node.orelse:
                yield from walk(part, when_loaded)
            return
        inside = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for child in ast.iter_child_nodes(node):
            yield from walk(child, when_loaded and not inside)

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


# --- the reader itself


def test_all_files_are_read() -> None:
    assert {"srn.errors", "srn.face.geometry", "srn.face.scheme"} <= set(MODULES)


def test_imports_are_seen_in_all_their_forms() -> None:
    seen = {(i.module, i.when_loaded) for i in imports_of("srn.face.geometry")}

    assert {("srn.errors", True), ("numpy", True), ("dataclasses", True)} <= seen


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


def test_the_table_only_looks_down() -> None:
    assert set(FLOORS) == set(MAY_IMPORT)
    for name, others in MAY_IMPORT.items():
        assert all(FLOORS[other] < FLOORS[name] for other in others)


# --- the house


@each_module
def test_rooms_import_only_what_the_table_allows(module: str) -> None:
    own = room(module)
    assert own in MAY_IMPORT, f"{own} is a new room: give it a floor in the table"

    allowed = MAY_IMPORT[own] | {own} | GROUND
    broken = [
        f"line {i.line}: {module} imports {i.module}"
        for i in imports_of(module)
        if i.module.split(".")[0] == PUBLIC and room(i.module) not in allowed
    ]
    assert not broken, broken


def test_modules_do_not_import_in_circles() -> None:
    graph = {
        module: {i.module for i in imports_of(module) if i.when_loaded and i.module in MODULES} for module in MODULES
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"a circle of imports: {' <- '.join(error.args[1])}")


@pytest.mark.parametrize("module", [m for m in MODULES if room(m) in WITHOUT_TORCH])
def test_the_core_loads_nothing_but_the_core(module: str) -> None:
    allowed = CORE | set(sys.stdlib_module_names) | {PUBLIC}

    foreign = [" -> ".join(chain) for name, chain in loaded_with(module).items() if name.split(".")[0] not in allowed]
    assert not foreign, foreign


@pytest.mark.parametrize("module", [m for m in MODULES if room(m) in NEVER_TORCH])
def test_no_tensors_between_a_picture_and_its_points(module: str) -> None:
    assert not [i for i in imports_of(module) if i.module.split(".")[0] in ("torch", "torchvision")]


@pytest.mark.parametrize("module", ["srn", "srn.cli.main"])
def test_a_fresh_interpreter_loads_nothing_heavy(module: str) -> None:
    """The same, as it happens: also through what other packages import."""
    code = f"import json, sys, {module}; print(json.dumps(sorted({{name.split('.')[0] for name in sys.modules}})))"

    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=100)

    assert result.returncode == 0, result.stderr
    assert HEAVY.isdisjoint(json.loads(result.stdout))
