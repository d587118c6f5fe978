"""Options that several commands share: what runs the landmarks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from srn.cli import options
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
