"""What runs a network: device, runtime and precision, by their names."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias, get_args

from srn.errors import InputError

Device: TypeAlias = Literal["cpu", "cuda"]
Runtime: TypeAlias = Literal["onnxruntime", "openvino"]
Precision: TypeAlias = Literal["float32", "bf16", "int8"]


def check_choice(name: str, value: str, choices: Any) -> None:
    """Raise `InputError` unless `value` is one of a `Literal`'s choices."""
    if value not in get_args(choices):
        raise InputError.at(name, f"one of {', '.join(get_args(choices))}", repr(value))
