"""Send the faces of a live video to another program, as JSON in UDP datagrams.

Each datagram is one JSON object in UTF-8, at most 8,192 bytes (macOS sends no more than 9,216):

    {"frame": 12, "time_s": 0.4, "part": 1, "parts": 1, "faces": [...]}

A face is that of the lines of `srn track --json` (`Face.to_dict`), and for the 68 points `pose` (yaw, pitch, roll in
degrees, `srn.uses.pose`), `eyes` (openness of the left and of the right eye, 0 to 1) and `mouth` (height over width)
beside it. A frame without a face is sent, too, with an empty list. Faces of a frame that do not fit into one datagram
are spread over `parts` of them, numbered from 1. UDP promises neither arrival nor order: `frame` tells the order.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Iterable
from types import TracebackType
from typing import Any, NamedTuple, Self

from srn.errors import InputError, first_line
from srn.face.scheme import IBUG_68, LandmarkScheme
from srn.inference.face import Face
from srn.media.results import Record, compact
from srn.uses.openness import openness
from srn.uses.pose import head_pose

LOOPBACK = "127.0.0.1"
LARGEST = 8192
"""Most bytes of a datagram, unless a single face needs more."""


class Address(NamedTuple):
    """Where datagrams go."""

    host: str
    port: int


def parse_address(text: str) -> Address:
    """Read `HOST:PORT`, `:PORT` or `PORT`; without a host it is this machine (127.0.0.1). `[::1]:9000` is IPv6.

    Raises:
        InputError: the text is none of these.
    """
    match = re.fullmatch(r"(?:(?P<host>\[[^\]]+\]|[^:\[\]\s]*):)?(?P<port>\d{1,5})", text)
    if match is None or not 0 < int(match["port"]) < 65536:
        raise InputError.at("address", "HOST:PORT, or a PORT from 1 to 65535 of this machine", repr(text))
    return Address((match["host"] or "").strip("[]") or LOOPBACK, int(match["port"]))


def with_uses(face: Record, scheme: LandmarkScheme = IBUG_68) -> dict[str, Any]:
    """Return the record of a face with `pose`, `eyes` and `mouth`, which only the 68 points have."""
    if scheme is not IBUG_68:
        return dict(face)
    one = Face.from_dict(face, scheme)
    pose = head_pose(one)
    opened = openness(one, pose)
    return {
        **face,
        "pose": [round(angle, 2) for angle in (pose.yaw, pose.pitch, pose.roll)],
        "eyes": [round(opened.left_eye, 3), round(opened.right_eye, 3)],
        "mouth": round(opened.mouth, 3),
    }


def datagrams(record: Record) -> list[bytes]:
    """Return the datagrams of a frame's record (`srn.media.results.frame_record`)."""
    groups: list[list[str]] = [[]]
    room = LARGEST - len(compact({**record, "part": 999, "parts": 999, "faces": []}))
    used = 0
    for text in map(compact, record["faces"]):
        if groups[-1] and used + len(text) + 1 > room:
            groups.append([])
            used = 0
        groups[-1].append(text)
        used += len(text) + 1
    head = {name: value for name, value in record.items() if name != "faces"}
    return [
        (compact({**head, "part": number, "parts": len(groups)})[:-1] + f',"faces":[{",".join(group)}]}}').encode()
        for number, group in enumerate(groups, 1)
    ]


class UdpSender:
    """Sends the records of frames to an address, as a context; nothing waits for a program that does not listen.

    Attributes:
        lost: datagrams that this machine could not hand over, because nobody listens there or its buffer is full.

    Args:
        address: `parse_address`'s text. Another machine is reached only where its name is given.
        scheme: numbering of the landmarks.

    Raises:
        InputError: the text is no address, or the host is not known; as a context: it cannot be reached.
    """

    def __init__(self, address: str, scheme: LandmarkScheme = IBUG_68) -> None:
        self.address, self.scheme, self.lost, self._text = parse_address(address), scheme, 0, address
        self._socket: socket.socket | None = None
        try:
            self._place = socket.getaddrinfo(*self.address, type=socket.SOCK_DGRAM)[0]
        except OSError as error:
            raise InputError.at(address, "a host that is known here", first_line(error)) from error
        except ValueError as error:  # of a name that no host can have
            raise InputError.at(address, "a host that is known here", "a name that no host can have") from error

    def datagrams(self, record: Record) -> Iterable[bytes]:
        """Return the datagrams of a frame's record."""
        return datagrams({**record, "faces": [with_uses(face, self.scheme) for face in record["faces"]]})

    def take(self, record: Record) -> None:
        """Send a frame's record; raise `InputError` outside of the context."""
        if self._socket is None:
            raise InputError.at(self._text, "a sender opened with 'with'", "a closed one")
        for datagram in self.datagrams(record):
            try:
                self._socket.send(datagram)
            except OSError:  # refused by this machine, or a full buffer: the next frame is worth more
                self.lost += 1

    def __enter__(self) -> Self:
        *kind, _, place = self._place
        opened = socket.socket(*kind)
        opened.setblocking(False)
        try:
            opened.connect(place)  # sends nothing; later a machine can say that nobody listens
        except OSError as error:  # a broadcast, a network without a way to it
            opened.close()
            raise InputError.at(self._text, "an address that this machine reaches", first_line(error)) from error
        self._socket = opened
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None
