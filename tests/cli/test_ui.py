"""`srn ui` as a process: the page is there, and SIGTERM ends it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="the page needs FastAPI: pip install 'srn[ui]'")

Run = Callable[..., Any]


def test_the_page_from_start_to_end(robust_weights: Path) -> None:
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", "srn", "ui", "--port", "0", "--no-open", "--weights", str(robust_weights)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
    try:
        assert process.stderr is not None
        ready = process.stderr.readline()
        assert ready.startswith("http://127.0.0.1:")
        with urllib.request.urlopen(ready.split(": ")[0], timeout=30) as answer:
            assert b"<title>srn: landmarks that hold</title>" in answer.read()
    finally:
        process.send_signal(signal.SIGTERM)
        rest = process.communicate(timeout=60)[1]
    assert (process.returncode, rest) == (0, "ended\n")


def test_help_has_an_example(srn: Run) -> None:
    assert "Example: srn ui" in " ".join(srn("ui", "--help").out.split())
