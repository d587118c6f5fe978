"""Options that several commands share: what runs the landmarks."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from srn.cli import options
from srn.errors import InputError
from srn.media.pictures import write_image

Run = Callable[..., Any]


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    write_image(tmp_path / "a.png", np.zeros((60, 80, 3), np.uint8))
    return tmp_path / "a.png"


def test_the_engine_reaches_the_network(
    srn: Run, picture: Path, monkeypatch: pytest.MonkeyPatch, fake_localizer: Any
) -> None:
    heard: dict[str, Any] = {}
    localizer = fake_localizer(lambda crop: (np.zeros((68, 2)), None, None))

    def opened(weights: Any, **given: Any) -> Any:
        heard.update(given)
        return localizer

    monkeypatch.setattr("srn.inference.landmarker.open_localizer", opened)
    ran = srn("detect", picture, "--runtime", "openvino", "--precision", "bf16", "--threads", "3")
    assert ran.code == 0, ran.err
    assert heard == {
        "threads": 3, "providers": None, "device": "cpu", "runtime": "openvino", "precision": "bf16"
    }  # fmt: skip
    srn("detect", picture)
    assert {"threads": heard.pop("threads"), **heard} == {**options.ENGINE._asdict(), "providers": None}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--device", "cuda"), "execution provider: expected one of CPUExecutionProvider"),
        (("--precision", "bf16"), "precision 'bf16': expected the runtime 'openvino', found 'onnxruntime'"),
        (("--runtime", "openvino", "--device", "cuda"), "runtime 'openvino': expected the CPU"),
    ],
)
def test_what_is_not_there_is_named(
    srn: Run, picture: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], message: str
) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    for command in ("detect", "track", "evaluate"):
        ran = srn(command, picture, *words)
        assert ran.code == 2, (command, ran)
        assert message in ran.err, (command, ran.err)


def test_long_work_prints_lines_without_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The clock goes on by 2 seconds at each step: a line is due at every third."""
    clock = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    with options.progress("faces") as begin:
        step = begin("evaluating", 6)
        for _ in range(6):
            clock[0] += 2
            step()
        unbounded = begin("masking", None)
        clock[0] += 6
        unbounded()
    lines = capsys.readouterr().err.splitlines()
    assert [line.partition(",")[0] for line in lines] == [
        "evaluating: 3 of 6 faces", "evaluating: 6 of 6 faces", "masking: 1 faces",
    ]  # fmt: skip


def test_work_that_is_longer_or_far_shorter_than_was_said_is_told_without_the_rest(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Joined videos hold more frames than they say: it was "24 of 20 frames, ..., -1 day, 23:59:58 left"."""
    monkeypatch.setattr(options, "LINE_EVERY", 0.0)
    with options.progress("frames") as begin:
        step = begin("tracking", 2)
        step(2)
        step()
        begin("tracking", 10**18)()
    lines = capsys.readouterr().err.splitlines()
    assert re.fullmatch(r"tracking: 2 of 2 frames, \d+(\.\d)? a second, 0:00:00 left", lines[0])
    assert re.fullmatch(r"tracking: 3 frames, \d+(\.\d)? a second", lines[1])
    assert re.fullmatch(rf"tracking: 1 of {10**18} frames, \d+(\.\d)? a second", lines[2])


def test_data_of_old_and_new_command_lines() -> None:
    assert options.joined_data([Path("a"), Path("b")]) == [Path("a"), Path("b")]
    assert options.joined_data(None, Path("a"), [Path("b")]) == [Path("a"), Path("b")]
    assert options.joined_data(None, needed=False) == []
    with pytest.raises(
        InputError, match="DATA: expected a dataset's root, or a pack made by 'srn data pack', found nothing"
    ):
        options.joined_data([], None, None)
