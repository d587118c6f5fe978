from __future__ import annotations

import pytest
import torch

from srn.errors import InputError
from srn.model.precision import runs_low


def test_a_named_precision_is_taken_anywhere() -> None:
    for device in (torch.device("cpu"), torch.device("meta")):
        assert runs_low("bfloat16", device)
        assert not runs_low("float32", device)


def test_auto_takes_bf16_only_where_it_is_native(monkeypatch: pytest.MonkeyPatch) -> None:
    for native in (True, False):
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda native=native: native)
        monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: True)
        assert runs_low("auto", torch.device("cpu")) is native
    assert not runs_low("auto", torch.device("meta"))


def test_another_name_is_refused() -> None:
    with pytest.raises(InputError, match=r"auto, float32, bfloat16, found .float16"):
        runs_low("float16", torch.device("cpu"))  # type: ignore[arg-type]
