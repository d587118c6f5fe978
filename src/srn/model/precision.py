"""Arithmetic of a network's forward and backward passes."""

from __future__ import annotations

import functools
import platform
from pathlib import Path
from typing import Literal, get_args

import torch

from srn.errors import InputError

Precision = Literal["auto", "float32", "bfloat16"]
"""`auto`: bf16 where it is faster on the device, else float32. Shapes and losses are always float32."""


def runs_low(precision: Precision, device: torch.device) -> bool:
    """Tell whether passes run in bf16 on a device. Emulated bf16 is slower than float32."""
    if precision not in get_args(Precision):
        raise InputError.at("precision", f"one of {', '.join(get_args(Precision))}", repr(precision))
    if precision != "auto":
        return precision == "bfloat16"
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return device.type == "cpu" and _is_faster_on_cpu()


def _is_faster_on_cpu() -> bool:
    """Tell whether this processor computes faster in bf16 than in float32.

    Intel's vector units multiply as many numbers a cycle in either; its matrix units (AMX) multiply more in bf16. A
    virtual machine may hide them: there a training step took 1.4 (`robust`) and 1.5 times (`paper`) as long in bf16.
    """
    if not (torch.backends.mkldnn.is_available() and torch.cpu._is_avx512_bf16_supported()):
        return False
    return torch.cpu._is_amx_tile_supported() or not _is_intel()


@functools.cache
def _is_intel() -> bool:
    try:
        description = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:  # not Linux
        description = platform.processor()
    return "GenuineIntel" in description
