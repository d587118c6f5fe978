"""What the guides show and `test_docs` cannot run by itself: a receiver that waits, calls of a service that runs."""

from __future__ import annotations

import builtins
import json
import re
import shlex
import shutil
import socket
import subprocess
import threading
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from srn import FaceLandmarker
from srn.face.geometry import Box
from srn.face.scheme import IBUG_68
from srn.inference.face import Face
from srn.media.results import frame_record
from srn.uses.wire import UdpSender

GUIDE = Path(__file__).parents[1] / "docs" / "guide"
PORTRAIT = Path(__file__).parent / "data" / "astronaut.jpg"


def test_the_receiver_prints_what_is_sent(face: npt.NDArray[np.float64], monkeypatch: pytest.MonkeyPatch) -> None:
    page = (GUIDE / "uses.md").read_text(encoding="utf-8")
    program = re.search(r"```python no-run\n(import json\nimport socket\n.*?)```", page, re.DOTALL)
    assert program is not None
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    assert '("127.0.0.1", 9000)' in program[1]
    code = program[1].replace("9000", str(port))
    shape, printed, stop = face * 100 + 120, [], threading.Event()

    def send() -> None:
        sure = np.ones(68, np.float32)
        faces = [Face(shape, sure, sure, Box.around(shape), 0.9, IBUG_68, 7).to_dict()]
        with UdpSender(str(port)) as sender:
            while not stop.wait(0.02):
                sender.take(frame_record(12, 0.4, faces))

    class Enough(Exception):
        pass

    def note(*words: Any) -> None:
        printed.append(words)
        raise Enough

    monkeypatch.setattr(builtins, "print", note)
    thread = threading.Thread(target=send)
    thread.start()
    try:
        with pytest.raises(Enough):
            exec(compile(code, "uses.md", "exec"), {})
    finally:
        stop.set()
        thread.join()
    ((number, track, pose, eyes),) = printed
    assert (number, track, len(pose), len(eyes)) == (12, 7, 3, 2)


def test_the_calls_of_the_service(robust_weights: Path, tmp_path: Path) -> None:
    """The guide's lines of curl on a running service: one face each, in the box that is given where one is."""
    if shutil.which("curl") is None:
        pytest.skip("no curl on this machine")
    pytest.importorskip("fastapi", reason="the service needs FastAPI: pip install 'srn[serve]'")
    from srn.serve.app import make_app

    from .serve.conftest import served

    lines = re.findall(r"^curl .*127\.0\.0\.1:8000/detect.*$", (GUIDE / "serving.md").read_text(), re.MULTILINE)
    assert len(lines) == 3
    shutil.copy(PORTRAIT, tmp_path / "portrait.jpg")
    with served(make_app(FaceLandmarker(threads=1))) as client:
        for line in lines:
            words = shlex.split(line.replace("8000", str(client.port)))
            done = subprocess.run([*words, "--silent", "--fail"], cwd=tmp_path, capture_output=True, check=True)
            picture = json.loads(done.stdout)
            (found,) = picture["faces"]
            np.testing.assert_allclose(found["box"], [73, 83, 159, 166], atol=0 if "box=" in line else 15)
