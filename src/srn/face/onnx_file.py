"""Check ONNX files before ONNX Runtime opens them: is the file whole, and does it claim no other file or memory?"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from srn.errors import WeightsError

PINNED: Mapping[str, str] = {
    "robust.onnx": "e6abec19d06e4ca5a9843d6677f43d4861097aa1c1596bfd2c96cb55f60d672b",
    "robust-int8.onnx": "a57e4ab85e4b6ab35cf604cae112591a446b37b96be7b6f1252e94f2f206ba2d",
    "centerface.onnx": "fbfc554e28541c127e394665e912cc4e65b2b859d38c212d763fa6acca394e09",
    "proposals.onnx": "978b1c55e5250fad05849a99606edb44f6850fcf49b4350baecf145ea432c2a2",
    "parts.onnx": "3367558513bab22fe5cdd32dfac601fc4972aec41a5afb7c9f1450fd2d522114",
}
"""SHA-256 of the files that the package ships (`sha256sum src/srn/weights/*`)."""

SHIPPED = Path(__file__).parents[1] / "weights"
"""The folder of these files."""

MOST_BYTES = 1 << 30
"""Of an ONNX file that is read: ten times as large as any network here. A file with holes takes no place on a disk."""

# The last metadata entry of a sealed file: field 14 of the model, with the key `sha256` and 64 hexadecimal digits.
_SEAL = b"\x72\x4a\x0a\x06sha256\x12\x40"
SEAL_LENGTH = len(_SEAL) + 64

_PARTS: Mapping[str, Mapping[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "graph": {1: "node", 5: "tensor"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph"},
}
"""Messages of ONNX by the fields that hold tensors or lead to them (onnx.proto)."""
_DIMS, _EXTERNAL_DATA, _DATA_LOCATION = 1, 13, 14  # fields of a tensor
_GRAPH, _OUTPUT, _NAME = 7, 12, 1  # fields that lead from a model to the names of its outputs
_METADATA, _KEY, _VALUE = 14, 1, 2  # fields that lead from a model to its metadata
_SPARSE = {("graph", 15), ("attribute", 22), ("attribute", 23)}  # fields of sparse tensors, which unfold to any size


def sealed(content: bytes) -> bytes:
    """Append the SHA-256 of a serialized model to it, as a metadata entry."""
    return content + _SEAL + hashlib.sha256(content).hexdigest().encode()


class Digests(NamedTuple):
    """SHA-256 of a file, and of what stands in front of a seal at its end."""

    whole: str
    before_seal: str


def digests_of(content: bytes) -> Digests:
    """Hash a file's content once."""
    whole = memoryview(content)
    begin = max(len(content) - SEAL_LENGTH, 0)
    found = hashlib.sha256(whole[:begin])
    before = found.hexdigest()
    found.update(whole[begin:])
    return Digests(found.hexdigest(), before)


def read_model(path: str | os.PathLike[str], expected: str) -> bytes:
    """Read an ONNX file, `expected` in error messages.

    Raises:
        WeightsError: the file is missing, or larger than `MOST_BYTES`.
    """
    with WeightsError.reading(path, expected):
        size = os.stat(path).st_size
        if size > MOST_BYTES:
            raise WeightsError.at(path, f"{expected} of at most {MOST_BYTES} bytes", f"{size}")
        return Path(path).read_bytes()


def is_pinned(where: str | os.PathLike[str], digest: str) -> bool:
    """Whether a file of this name and SHA-256 is one that the package ships, bit for bit."""
    return PINNED.get(Path(where).name) == digest


def check_model(
    content: bytes, where: str | os.PathLike[str], expected: str, *, own: bool = False, digests: Digests | None = None
) -> None:
    """Check the content of an ONNX file.

    Args:
        content: the file's content.
        where, expected: its name and description in error messages.
        own: whether the file must be shipped or sealed, as the exported networks are.
        digests: of the content, where the caller has them.

    Raises:
        WeightsError: the file is damaged, refers to another file, or has a tensor larger than its data.
    """
    digests = digests or digests_of(content)
    if is_pinned(where, digests.whole):
        return
    begin = len(content) - SEAL_LENGTH
    if content[begin : begin + len(_SEAL)] == _SEAL:
        stored = content[begin + len(_SEAL) :]
        if stored != digests.before_seal.encode():
            raise WeightsError.at(where, expected, "a damaged file: its content does not have the SHA-256 stored in it")
    elif own or Path(where).name in PINNED:
        hint = "no valid SHA-256 in it: it is damaged, or an older version wrote it ('srn export' writes it anew)"
        raise WeightsError.at(where, expected, hint)
    with WeightsError.reading(where, expected):
        _check_tensors(memoryview(content), "model", where)


def output_names(content: bytes) -> list[str]:
    """Return the names of a model's outputs, in their order, from the content of a file that was checked."""
    (graph,) = _parts(memoryview(content), _GRAPH)
    return [bytes(name).decode() for output in _parts(graph, _OUTPUT) for name in _parts(output, _NAME)]


def metadata(content: bytes) -> dict[str, str]:
    """Return a model's metadata, from the content of a file that was checked."""
    entries = [
        {field: bytes(value).decode() for field, value in _fields(entry) if isinstance(value, memoryview)}
        for entry in _parts(memoryview(content), _METADATA)
    ]
    return {entry.get(_KEY, ""): entry.get(_VALUE, "") for entry in entries}  # an empty text need not stand there


def _parts(message: memoryview, wanted: int) -> Iterator[memoryview]:
    """Yield the messages, or bytes, of a field."""
    return (value for field, value in _fields(message) if field == wanted and isinstance(value, memoryview))


def _check_tensors(message: memoryview, kind: str, where: str | os.PathLike[str]) -> None:
    elements: list[int] = []
    for field, value in _fields(message):
        if kind != "tensor" and field in _PARTS[kind] and isinstance(value, memoryview):
            _check_tensors(value, _PARTS[kind][field], where)
        elif (kind, field) in _SPARSE:
            raise WeightsError.at(where, "dense tensors", "a sparse one")
        elif kind == "tensor" and (field == _EXTERNAL_DATA or (field == _DATA_LOCATION and value)):
            raise WeightsError.at(where, "tensors in the file itself", "a tensor in another file")
        elif kind == "tensor" and field == _DIMS:
            elements += [value] if isinstance(value, int) else _numbers(value)
    if math.prod(elements) > 2 * len(message):  # the smallest elements take half a byte
        found = f"{len(message)} bytes for {' x '.join(map(str, elements))}"
        raise WeightsError.at(where, "tensors with all their numbers", found)


def _fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Yield the fields of a message of Protocol Buffers: their numbers, with an integer or the bytes."""
    place = 0
    while place < len(message):
        tag, place = _varint(message, place)
        value: int | memoryview
        if tag & 7 == 0:
            value, place = _varint(message, place)
        else:
            size, place = _varint(message, place) if tag & 7 == 2 else ({1: 8, 5: 4}[tag & 7], place)
            if place + size > len(message):
                raise ValueError("it ends early")
            value, place = message[place : place + size], place + size
        yield tag >> 3, value


def _numbers(packed: memoryview) -> Iterator[int]:
    place = 0
    while place < len(packed):
        value, place = _varint(packed, place)
        yield value


def _varint(message: memoryview, place: int) -> tuple[int, int]:
    """Return the integer of variable length at a place, and the place behind it."""
    value = shift = 0
    while shift < 70:
        byte = message[place]
        value, shift, place = value | (byte & 0x7F) << shift, shift + 7, place + 1
        if byte < 0x80:
            return value, place
    raise ValueError("a number without an end")
