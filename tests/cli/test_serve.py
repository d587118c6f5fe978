"""`srn serve` as a process: ready, answering, ended by SIGTERM."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("fastapi", reason="the service needs FastAPI: pip install 'srn[serve]'")

from srn.media.pictures import encode_image

Run = Callable[..., Any]


def test_a_service_from_start_to_end(robust_weights: Path) -> None:
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", "srn", "serve", "--port", "0", "--weights", str(robust_weights)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
    try:
        assert process.stderr is not None
        ready = process.stderr.readline()
        assert ready.startswith("http://127.0.0.1:")
        assert "(robust.onnx" in ready
        url = ready.split()[0]
        content = encode_image(np.zeros((40, 50, 3), np.uint8), ".png")
        with urllib.request.urlopen(urllib.request.Request(f"{url}/detect", content), timeout=30) as answer:
            assert answer.read() == b'{"path":"picture","width":50,"height":40,"faces":[]}'
    finally:
        process.send_signal(signal.SIGTERM)
        rest = process.communicate(timeout=60)[1]
    assert (process.returncode, rest) == (0, "ended\n")


def test_mistakes(srn: Run, robust_weights: Path) -> None:
    assert srn("serve", "--host", "0.0.0.0").mistake == (
        "--host: expected a token (SRN_TOKEN or --token) for an address that others reach, or --public, found 0.0.0.0"
    )
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert "--host and --port: expected a free port of this machine" in srn("serve", "--port", port).mistake
    assert "limits: seconds: expected a number above 0" in srn("serve", "--seconds", "0").mistake


def test_help_has_an_example(srn: Run) -> None:
    assert "srn serve --port 8000" in " ".join(srn("serve", "--help").out.split())
