"""Faces over UDP: the stated datagrams arrive on this machine, and nothing waits where nobody listens."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from srn.errors import InputError
from srn.face.geometry import Box
from srn.face.scheme import COFW_29, IBUG_68
from srn.inference.face import Face
from srn.media.results import frame_record
from srn.uses.osc import OscSender
from srn.uses.pose import head_pose
from srn.uses.wire import LARGEST, UdpSender, datagrams, parse_address, with_uses


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.bind(("127.0.0.1", 0))
        one.settimeout(5)
        yield one


def record_of(shape: npt.NDArray[np.float64], count: int = 1) -> dict[str, Any]:
    sure = np.full(68, 0.75, np.float32)
    faces = [Face(shape + 7 * k, sure, sure, Box.around(shape), 0.9, IBUG_68, k + 1).to_dict() for k in range(count)]
    return frame_record(12, 0.4, faces)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("9000", ("127.0.0.1", 9000)),
        (":9000", ("127.0.0.1", 9000)),
        ("localhost:1", ("localhost", 1)),
        ("192.168.0.9:65535", ("192.168.0.9", 65535)),
        ("[::1]:9000", ("::1", 9000)),
    ],
)
def test_addresses(text: str, address: tuple[str, int]) -> None:
    assert parse_address(text) == address


@pytest.mark.parametrize("text", ["", "localhost", "localhost:", ":0", "a:b", "1.2.3.4:70000", "::1:9000", "a b:9000"])
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(InputError, match="address: expected HOST:PORT, or a PORT from 1 to 65535 of this machine"):
        parse_address(text)


def test_a_frame_arrives(face: npt.NDArray[np.float64], listener: socket.socket) -> None:
    shape = face * 100 + 120
    record = record_of(shape)
    with UdpSender(f":{listener.getsockname()[1]}") as sender:
        sender.take(record)
        sender.take(frame_record(13, 0.44, []))
        got, empty = (json.loads(listener.recv(65536)) for _ in range(2))

    (sent,) = got.pop("faces")
    assert got == {"frame": 12, "time_s": 0.4, "part": 1, "parts": 1}
    assert empty == {"frame": 13, "time_s": 0.44, "part": 1, "parts": 1, "faces": []}
    assert {name: sent[name] for name in record["faces"][0]} == record["faces"][0]
    pose = head_pose(Face.from_dict(record["faces"][0]))
    assert sent["pose"] == pytest.approx([pose.yaw, pose.pitch, pose.roll], abs=0.01)
    assert len(sent["eyes"]) == 2
    assert sent["mouth"] > 0
    assert sender.lost == 0


@pytest.mark.parametrize("count", [0, 1, 3, 4, 17])
def test_many_faces_take_several_datagrams(face: npt.NDArray[np.float64], count: int) -> None:
    record = record_of(face * 100 + 120, count)
    parts = [json.loads(one) for one in datagrams(record)]

    assert all(len(one) <= LARGEST for one in datagrams(record))
    assert [(one["part"], one["parts"]) for one in parts] == [(k + 1, len(parts)) for k in range(len(parts))]
    assert [found for one in parts for found in one["faces"]] == record["faces"]
    assert len(parts) <= max(1, -(-count // 2))


def test_a_face_larger_than_a_datagram_is_sent_all_the_same() -> None:
    record = frame_record(0, 0.0, [{"landmarks": [[1.5, 2.5]] * 2000}])
    (only,) = datagrams(record)
    assert len(only) > LARGEST
    assert json.loads(only)["faces"] == record["faces"]


def test_nobody_listens(face: npt.NDArray[np.float64]) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    with UdpSender(str(port)) as sender:
        for _ in range(5):
            sender.take(record_of(face * 100 + 120))
    assert 0 <= sender.lost <= 5


@pytest.mark.parametrize("kind", [UdpSender, OscSender])
def test_a_sender_that_is_not_open_is_refused(kind: type[UdpSender], face: npt.NDArray[np.float64]) -> None:
    """Before its block it was a foreign error; behind it, datagrams were counted as lost."""
    sender, record = kind(":9000"), record_of(face * 100 + 120)
    for _ in range(2):
        with pytest.raises(InputError, match=r"^:9000: expected a sender opened with 'with', found a closed one$"):
            sender.take(record)
        with sender:
            pass
    assert sender.lost == 0


def test_other_schemes_go_without_pose() -> None:
    values = {"landmarks": [[0, 0]] * 29}
    assert with_uses(values, COFW_29) == values


@pytest.mark.parametrize("host", ["no-such-host.invalid", "a" * 70 + ".example", "a..b", "a\0b"])
def test_an_unknown_host(host: str) -> None:
    with pytest.raises(InputError, match="expected a host that is known here"):
        UdpSender(f"{host}:9000")


def test_an_address_that_is_no_machine() -> None:
    """A broadcast: nobody asked for that."""
    with pytest.raises(InputError, match=r"255.255.255.255:9: expected an address that this machine reaches"):
        UdpSender("255.255.255.255:9").__enter__()
