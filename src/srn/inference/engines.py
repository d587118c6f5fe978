"""What runs a network: device, runtime and precision, by their names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, TypeAlias, get_args

from srn.errors import InputError, shown

Device: TypeAlias = Literal["cpu", "cuda"]
Runtime: TypeAlias = Literal["onnxruntime", "openvino"]
Precision: TypeAlias = Literal["float32", "bf16", "int8"]


def check_choice(name: str, value: object, choices: Any) -> None:
    """Raise `InputError` unless `value` is one of a `Literal`'s choices."""
    if not isinstance(value, str) or value not in get_args(choices):
        raise InputError.at(name, f"one of {', '.join(get_args(choices))}", shown(value))


def check_providers(providers: Sequence[str] | None) -> None:
    """Raise `InputError` unless `providers` is a list of names, or None. Whether there are such is another question."""
    is_list = isinstance(providers, list | tuple) and all(isinstance(name, str) for name in providers)
    if providers is not None and not is_list:
        raise InputError.at("providers", "a list of names of ONNX Runtime's execution providers", shown(providers))
