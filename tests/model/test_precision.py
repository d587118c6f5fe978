from __future__ import annotations

import pytest
import torch

from srn.errors import InputError
from srn.model.precision import runs_low


def test_a_named_precision_is_taken_anywhere() -> None:
    for device in (torch.device("cpu"), torch.device("meta")):
        assert runs_low("bfloat16", device)
        assert not runs_low("float32", device)


@pytest.mark.parametrize(
    ("bf16", "amx", "vendor", "low"),
    [
        (True, False, "AuthenticAMD", True),
        (True, True, "GenuineIntel", True),
        (True, False, "GenuineIntel", False),  # its vector units are no faster in bf16
        (False, False, "AuthenticAMD", False),
    ],
)
def test_auto_takes_bf16_only_where_it_is_faster(
    bf16: bool, amx: bool, vendor: str, low: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: bf16)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: True)
    monkeypatch.setattr("srn.model.precision._is_intel", lambda: vendor == "GenuineIntel")
    assert runs_low("auto", torch.device("cpu")) is low
    assert not runs_low("auto", torch.device("meta"))


def test_another_name_is_refused() -> None:
    with pytest.raises(InputError, match=r"auto, float32, bfloat16, found .float16"):
        runs_low("float16", torch.device("cpu"))  # type: ignore[arg-type]
