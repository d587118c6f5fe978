"""`srn weights`."""

from __future__ import annotations

import json

import pytest

from srn.cli.weights import weights
from srn.face.weights import CATALOGUE


def test_the_list(capsys: pytest.CaptureFixture[str]) -> None:
    weights()
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines] == [[one.name, one.sha256[:12]] for one in CATALOGUE]
    assert all(" whole " in line for line in lines)
    assert " 2,980,000 seen " in lines[0]
    assert " 12,288 seen " in lines[-1]


def test_json_has_every_field(capsys: pytest.CaptureFixture[str]) -> None:
    weights(as_json=True)
    first = json.loads(capsys.readouterr().out)[0]
    assert first["name"] == "robust"
    assert first["path"].endswith("robust.onnx")
    assert (first["state"], first["faces"], first["size"]) == ("whole", 2_980_000, 11_176_148)
