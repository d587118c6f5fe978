"""Arithmetic of a network's forward and backward passes."""

from __future__ import annotations

from typing import Literal, get_args

import torch

from srn.errors import InputError

Precision = Literal["auto", "float32", "bfloat16"]
"""`auto`: bf16 where the device has it natively, else float32. Shapes and losses are always float32."""


def runs_low(precision: Precision, device: torch.device) -> bool:
    """Tell whether passes run in bf16 on a device. Emulated bf16 is slower than float32."""
    if precision not in get_args(Precision):
        raise InputError.at("precision", f"one of {', '.join(get_args(Precision))}", repr(precision))
    if precision != "auto":
        return precision == "bfloat16"
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return device.type == "cpu" and torch.backends.mkldnn.is_available() and torch.cpu._is_avx512_bf16_supported()
