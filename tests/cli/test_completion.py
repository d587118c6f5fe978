"""`srn completion`: the script, and what a shell gets when it asks."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from srn.cli.completing import VARIABLE, words_to_complete


@pytest.mark.parametrize(("shell", "word"), [("bash", "complete -o"), ("zsh", "#compdef srn"), ("fish", "complete --")])
def test_a_script_for_each_shell(srn: Callable[..., Any], shell: str, word: str) -> None:
    ran = srn("completion", shell)
    assert (ran.code, ran.err) == (0, "")
    assert word in ran.out
    assert "_SRN_COMPLETE" in ran.out
    assert srn("completion", "tcsh").code == 2


def test_the_words_so_far() -> None:
    bash = {VARIABLE: "complete_bash", "COMP_CWORD": "2"}
    assert words_to_complete({**bash, "COMP_WORDS": "srn detect --acc"}) == ["detect", "--acc"]
    assert words_to_complete({VARIABLE: "complete_zsh", "_TYPER_COMPLETE_ARGS": "srn data ch"}) == ["data", "ch"]
    assert words_to_complete({VARIABLE: "source_bash"}) == []


@pytest.mark.parametrize(
    "environment",
    [
        {VARIABLE: "complete_bash"},
        {VARIABLE: "complete_bash", "COMP_WORDS": "srn de"},
        {VARIABLE: "complete_bash", "COMP_WORDS": "srn de", "COMP_CWORD": "x"},
        {VARIABLE: "complete_fish"},
    ],
)
def test_where_no_shell_asks(
    srn: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert "_SRN_COMPLETE: expected the script of 'srn completion'" in srn().mistake


@pytest.mark.parametrize(
    ("line", "expected", "absent"),
    [
        ("detect --jso", {"--json", "--jsonl"}, {"--out"}),
        ("evaluate --init b", {"bbs"}, {"finder"}),
        ("do", {"doctor"}, {"data"}),
    ],
)
def test_bash_completes(
    srn: Callable[..., Any], tmp_path: Path, line: str, expected: set[str], absent: set[str]
) -> None:
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("no bash")
    (tmp_path / "srn").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m srn "$@"\n')
    (tmp_path / "srn").chmod(0o755)
    (tmp_path / "script").write_text(srn("completion", "bash").out)
    words = line.split()
    state = f"COMP_WORDS=(srn {line}); COMP_CWORD={len(words)}"
    asked = f'source {tmp_path}/script; {state}; _srn_completion srn; echo "${{COMPREPLY[@]}}"'
    source = Path(__file__).resolve().parents[2] / "src"
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "PYTHONPATH": str(source)}
    ran = subprocess.run([bash, "-c", asked], capture_output=True, text=True, check=True, env=environment)
    found = set(ran.stdout.split())
    assert expected <= found, ran
    assert not absent & found
