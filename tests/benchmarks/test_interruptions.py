"""The benchmarks of interruptions and memory: a command that is interrupted, and the faults that they would find."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer

import interrupted
import measure_interruptions
import measure_memory
from srn.cli.main import command_line
from srn.media.pictures import write_image
from srn.media.pts import write_pts

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processor times of processes are Linux's")


def test_a_command_is_interrupted_and_repeated(tmp_path: Path, face: np.ndarray) -> None:
    for number in range(3):
        image = np.random.default_rng(number).integers(0, 256, (150, 150, 3), dtype=np.uint8)
        write_image(tmp_path / "inputs" / "faces" / f"face{number}.png", image)
        write_pts(tmp_path / "inputs" / "faces" / f"face{number}.pts", face * 60 + 75)

    row = measure_interruptions.measure("data pack", 3, tmp_path, 0)

    assert row["faulty"] == []
    assert row["not_compared"] == []
    assert [row[number.name] for number in measure_interruptions.SIGNALS] == [1, 1, 1]
    page = measure_interruptions.page({"seed": 0, "commands": {"data pack": row}})
    assert "| data pack | 3 | 1 | 1 | 1 |" in page


@pytest.mark.parametrize("command", measure_interruptions.COMMANDS.values(), ids=measure_interruptions.COMMANDS)
def test_the_commands_are_accepted(command: measure_interruptions.Command) -> None:
    """Parsed by the real command, which then does nothing."""
    for more in (command.older or "", command.again):
        words = [*command.words.split(), *more.split()]
        parser: Any = typer.main.get_command(command_line(words[0]))
        inner = parser.commands[words[0]]
        if hasattr(inner, "commands"):
            inner = inner.commands[words[1]]
        inner.callback = lambda **_: None
        parser.main(words, prog_name="srn", standalone_mode=False)


def test_a_signal_comes_at_its_time(tmp_path: Path) -> None:
    def work() -> None:
        while True:
            os.getpid()

    number = interrupted.forked(work, tmp_path)
    assert interrupted._struck(number, interrupted.Strike(signal.SIGKILL, 0.2), float("inf"))
    _, status, usage = os.wait4(number, 0)
    assert os.waitstatus_to_exitcode(status) == -signal.SIGKILL
    assert 0.2 <= usage.ru_utime + usage.ru_stime < 0.7


def test_a_run_that_never_ends_is_aborted_and_says_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never_ending(words: object) -> None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        while True:
            os.getpid()

    monkeypatch.setattr(interrupted, "LONGEST", 0.5)
    monkeypatch.setattr(interrupted, "_command", never_ending)
    ended = interrupted.run_srn([], interrupted.prepared(tmp_path / "run", {}), interrupted.Strike(signal.SIGKILL, 1e6))
    assert (ended.code, ended.struck) == (-signal.SIGABRT, False)
    assert "in never_ending" in ended.said


WHOLE = {"faces.json": b"{}", "m/manifest.csv": b"new", "m/a.jpg": b"new", "log.csv": b"step,loss,faces_per_s\n1,2,3\n"}
BEFORE = {"faces.json": b"[]", "m/manifest.csv": b"old", "m/a.jpg": b"old", "bystander.txt": b"mine"}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, []),
        ({"faces.json": b'{"images": [], "partial": true}'}, []),
        ({"faces.json": b'{"images'}, ["broken: faces.json: "]),
        ({"faces.json": None}, ["lost: faces.json"]),
        ({"bystander.txt": b""}, ["changed: bystander.txt"]),
        ({"bystander.txt": None}, ["lost: bystander.txt"]),
        ({".faces.0123abcd.partial.json": b""}, ["remains: .faces.0123abcd.partial.json"]),
        ({"faces.jsonl": b"{}\n{}\n"}, []),
        ({"faces.jsonl": b"{}\n{}"}, ["broken: faces.jsonl: the last line is torn"]),
        ({"faces.jsonl": b""}, ["broken: faces.jsonl: the last line is torn"]),
        ({".faces.jsonl.partial.jsonl": b"{}\n{"}, []),
        ({".faces.jsonl.partial.jsonl": b"{\n{"}, ["broken: .faces.jsonl.partial.jsonl: "]),
        ({"log.csv": b"step,loss,faces_per_s\n1,2"}, []),
        ({"log.csv": b"step,loss,faces_per_s\n1\n1,2,3\n"}, ["broken: log.csv: torn rows"]),
        ({"m/a.jpg": b"half"}, ["broken: m/a.jpg: neither the old file nor the new one", "broken: m/manifest.csv: "]),
        ({"m/a.jpg": b"new"}, ["broken: m/manifest.csv: not the table of the files beside it"]),
        ({"m/a.jpg": b"new", "m/manifest.csv": None}, []),
        ({"m/a.jpg": b"new", "m/manifest.csv": b"new"}, []),
        ({"weights.safetensors": b"half"}, ["broken: weights.safetensors: "]),
    ],
)
def test_faults_are_found(changes: dict[str, bytes | None], expected: list[str], tmp_path: Path) -> None:
    if "weights.safetensors" in changes:
        pytest.importorskip("torch")
    found = {name: content for name, content in (BEFORE | changes).items() if content is not None}

    lines = interrupted.faults(found, BEFORE, WHOLE, stopped=False, folder=tmp_path)

    assert len(lines) == len(expected)
    assert all(line.startswith(start) for line, start in zip(lines, expected, strict=True))


def test_times_and_the_order_of_a_header_are_not_compared() -> None:
    def weights(header: dict[str, int]) -> bytes:
        text = json.dumps(header).encode()
        return len(text).to_bytes(8, "little") + text + b"numbers"

    one = {"log.csv": b"step,loss,faces_per_s\n1,2,3\n", "w.safetensors": weights({"a": 1, "b": 2})}
    other = {"log.csv": b"step,loss,faces_per_s\n1,2,4\n", "w.safetensors": weights({"b": 2, "a": 1}), ".lock": b""}
    assert interrupted.results(one) == interrupted.results(other)
    another = {**other, "w.safetensors": weights({"b": 2, "a": 3})}
    assert interrupted.results(one) != interrupted.results(another)


def test_memory_is_read_after_every_tenth_of_the_calls(tiny_weights: Path, tmp_path: Path) -> None:
    assert measure_memory.main(["--weights", str(tiny_weights), "--calls", "10", "--out", str(tmp_path)]) == 0

    content = json.loads((tmp_path / "memory.json").read_text())
    assert [calls for calls, _ in content["resident_mb"]] == list(range(1, 11))
    assert all(20 < memory < 5000 for _, memory in content["resident_mb"])
