"""Send the faces of a live video as Open Sound Control (OSC 1.0), which music, light and 3-D programs listen to.

Every datagram is a bundle to be acted on at once. A frame is one of `/srn/frame`, then one for each face:

    /srn/frame                      int frame, float seconds, then an int for each face: the numbers of their tracks
                                    (OSC 1.0 has ints of 32 bits: behind 2147483647 the numbers begin again at 0)
    /srn/face/NUMBER/box            4 floats: x0 y0 x1 y1
    /srn/face/NUMBER/score          float
    /srn/face/NUMBER/landmarks      2 N floats: x0 y0 x1 y1 ...
    /srn/face/NUMBER/visibility     N floats; not of weights that predict none
    /srn/face/NUMBER/confidence     N floats; likewise
    /srn/face/NUMBER/pose           yaw, pitch, roll, degrees (`srn.uses.pose`); these three for the 68 points only
    /srn/face/NUMBER/eyes           openness of the left and of the right eye, 0 to 1
    /srn/face/NUMBER/mouth          height over width

Values and coordinates are those of `srn track --json`: picture pixels. The encoder is our own: for ints and floats
alone it takes fifteen lines, and python-osc 1.10.2 reads and writes the same bytes.

Source: Wright, *The Open Sound Control 1.0 Specification*, 2002.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence

from srn.face.scheme import IBUG_68, LandmarkScheme
from srn.media.results import Record
from srn.uses.wire import UdpSender, with_uses

AT_ONCE = (1).to_bytes(8)  # the time tag of a bundle that is not delayed
_NUMBERS = 1 << 31
_PARTS = ("box", "score", "landmarks", "visibility", "confidence", "pose", "eyes", "mouth")


def message(address: str, values: Sequence[int | float]) -> bytes:
    """Return an OSC message: an int is sent as int32 (`i`), a float as float32 (`f`).

    Raises:
        struct.error: an int beyond 32 bits.
    """
    tags = "," + "".join("i" if isinstance(value, int) else "f" for value in values)
    return _text(address) + _text(tags) + struct.pack(">" + tags[1:], *values)


def bundle(messages: Sequence[bytes]) -> bytes:
    """Return the OSC bundle of some messages, to be acted on at once."""
    return _text("#bundle") + AT_ONCE + b"".join(len(one).to_bytes(4) + one for one in messages)


def _text(text: str) -> bytes:
    """Return ASCII with 1 to 4 zeros behind it, so that its length is a multiple of 4."""
    content = text.encode("ascii")
    return content + bytes(4 - len(content) % 4)


def bundles(record: Record, scheme: LandmarkScheme = IBUG_68) -> Iterator[bytes]:
    """Yield the datagrams of a frame's record (`srn.media.results.frame_record`).

    Faces that no tracker has numbered are counted from 1.
    """
    tracks = [face.get("track_id", place) for place, face in enumerate(record["faces"], 1)]
    frame, *numbers = (int(number) % _NUMBERS for number in (record["frame"], *tracks))
    yield bundle([message("/srn/frame", [frame, float(record["time_s"]), *numbers])])
    for number, face in zip(numbers, record["faces"], strict=True):
        values = with_uses(face, scheme)
        flat = {name: _floats(values[name]) for name in _PARTS if values.get(name) is not None}
        yield bundle([message(f"/srn/face/{number}/{name}", some) for name, some in flat.items()])


def _floats(value: float | Sequence[float] | Sequence[Sequence[float]]) -> list[float]:
    if isinstance(value, int | float):
        return [float(value)]
    return [number for one in value for number in _floats(one)]


class OscSender(UdpSender):
    """Sends the records of frames as OSC; address, losses and errors are `UdpSender`'s."""

    def datagrams(self, record: Record) -> Iterator[bytes]:
        """Return the datagrams of a frame's record."""
        return bundles(record, self.scheme)
