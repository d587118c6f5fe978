"""The command as a whole: version, help, exit codes."""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

import srn as package
from srn.cli import detect as detect_module
from srn.cli import main as main_module
from srn.cli import options
from srn.errors import InputError, MissingDependencyError, WeightsError


def leaves(command: Any, name: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    inner = getattr(command, "commands", None)
    if inner is None:
        yield name
    else:
        for part, child in inner.items():
            yield from leaves(child, (*name, part))


COMMANDS = sorted(leaves(typer.main.get_command(main_module.command_line())))


def test_the_commands_are_those_of_the_design() -> None:
    names = {" ".join(command) for command in COMMANDS}
    assert {"detect", "evaluate", "train", "export", "benchmark", "data check", "data pack"} <= names


def test_the_help_of_all_says_of_each_command_what_its_own_help_says() -> None:
    """The words stand in `COMMANDS` because the commands are not imported for it."""
    group: Any = typer.main.get_command(main_module.command_line())
    first_paragraphs = {name: (command.help or "").split("\n\n")[0] for name, command in group.commands.items()}
    assert {name: " ".join(text.split()) for name, text in first_paragraphs.items()} == dict(main_module.COMMANDS)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_s_help_has_an_example(srn: Callable[..., Any], command: tuple[str, ...]) -> None:
    ran = srn(*command, "--help")
    assert ran.code == 0
    assert ran.err == ""
    text = re.sub(r"\s+", " ", re.sub(r"[│╭╰─╮╯]", " ", ran.out))
    assert f"Example: srn {' '.join(command)} " in text


def test_version(srn: Callable[..., Any]) -> None:
    ran = srn("--version")
    assert (ran.code, ran.out, ran.err) == (
        0, f"srn {package.__version__} (code: MIT; shipped weights: non-commercial research only)\n", "",
    )  # fmt: skip


@pytest.mark.parametrize("arguments", [("nothing",), ("detect",), ("detect", "a.jpg", "--format", "xml"), ("--what",)])
def test_wrong_usage_exits_with_two(srn: Callable[..., Any], arguments: tuple[str, ...]) -> None:
    ran = srn(*arguments)
    assert ran.code == 2
    assert ran.out == ""
    assert "Usage" in ran.err


def test_a_message_is_printed_as_it_is(srn: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise InputError.at("[red]a[/red] [b].jpg", "[1, 2]", "x" * 300)

    monkeypatch.setattr(detect_module, "pictures_in", fail)
    assert srn("detect", "a.jpg").mistake == f"[red]a[/red] [b].jpg: expected [1, 2], found {'x' * 300}"


def test_interrupted(srn: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(detect_module, "pictures_in", interrupt)
    ran = srn("detect", "a.jpg")
    assert ran.code in (1, 130)
    assert "Traceback" not in ran.err


def test_a_missing_extra_is_named() -> None:
    message = r"training needs nowhere; install it with: pip install 'srn\[train\]'"
    with pytest.raises(MissingDependencyError, match=message), MissingDependencyError.importing("train", "training"):
        importlib.import_module("nowhere")
    # A mistake of our own is no missing extra.
    with pytest.raises(ImportError, match=r"srn\.nowhere"), MissingDependencyError.importing("train", "training"):
        importlib.import_module("srn.nowhere")


@pytest.mark.parametrize("name", ["none.onnx", "none.safetensors"])
def test_missing_weights_are_named(tmp_path: Path, name: str) -> None:
    if name.endswith("safetensors"):
        pytest.importorskip("torch")
    with pytest.raises(WeightsError, match=re.escape(f"{tmp_path / name}: expected ")):
        options.open_landmarker(tmp_path / name, "fast", False, options.ENGINE, None)


@pytest.mark.parametrize(("name", "found"), [("weights.pt", r"\.pt"), ("weights", "no suffix")])
def test_weights_of_another_kind_are_named(tmp_path: Path, name: str, found: str) -> None:
    with pytest.raises(InputError, match=rf"expected weights as \.onnx or \.safetensors, found {found}"):
        options.open_landmarker(tmp_path / name, "fast", False, options.ENGINE, None)


def test_as_a_module_in_a_process_of_its_own(tmp_path: Path) -> None:
    source = Path(__file__).resolve().parents[2] / "src"
    environment = {**os.environ, "PYTHONPATH": str(source), "OMP_NUM_THREADS": "1"}
    missing = tmp_path / "none.jpg"
    ran = subprocess.run(
        [sys.executable, "-m", "srn.cli.main", "detect", str(missing)],
        capture_output=True, text=True, check=False, env=environment,
    )  # fmt: skip
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr == f"srn: {missing}: expected a picture or a folder, found no such file\n"


@pytest.mark.parametrize(
    ("program", "absent"),
    [
        ("import srn", "numpy cv2 onnxruntime typer rich torch"),
        ("from srn.cli import main; main.command_line('')", "numpy cv2 onnxruntime rich torch"),
        (
            "from srn.cli import main; main.command_line('detect')",
            "rich torch h5py srn.datasets srn.evaluation srn.inference.tracker ray",
        ),
        ("import srn; srn.FaceLandmarker", "typer rich torch srn.cli srn.evaluation"),
    ],
)
def test_what_is_not_needed_is_not_imported(program: str, absent: str) -> None:
    source = Path(__file__).resolve().parents[2] / "src"
    asked = f"{program}; import sys; print(*[name for name in {absent.split()} if name in sys.modules])"
    ran = subprocess.run(
        [sys.executable, "-c", asked], capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONPATH": str(source)},
    )  # fmt: skip
    assert ran.stdout.split() == []


@pytest.mark.skipif(sys.platform == "win32", reason="closes streams by the shell")
def test_no_file_takes_the_place_of_a_closed_stream(tmp_path: Path) -> None:
    """It would get what libraries print."""
    ask = "os.open('new', os.O_CREAT)"
    code = f"import os, sys, srn.cli.main as c, srn.__main__ as m; c.main = lambda: os._exit({ask}); m.main()"
    ran = subprocess.run(["sh", "-c", '"$0" -c "$1" <&- >&- 2>&-', sys.executable, code], cwd=tmp_path, check=False)
    assert ran.returncode > 2


def test_a_current_folder_that_is_gone_is_named(
    srn: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.jpg").touch()
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert srn("detect", "../a.jpg").mistake == "current folder: No such file or directory"


def test_an_error_is_told_also_where_memory_has_ended(
    srn: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_memory(stderr: bool) -> Any:
        raise MemoryError

    monkeypatch.setattr(options, "_console", no_memory)
    assert (
        srn("track", tmp_path / "none.mp4").mistake
        == f"{tmp_path / 'none.mp4'}: expected a video file, found no such file"
    )
