"""Faces over OSC: the bytes of the specification, and bundles that a reader written from it takes apart."""

from __future__ import annotations

import socket
import struct
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from srn.face.geometry import Box
from srn.face.scheme import COFW_29, IBUG_68
from srn.inference.face import Face
from srn.media.results import frame_record
from srn.uses.osc import OscSender, bundle, bundles, message
from srn.uses.pose import head_pose


def test_the_bytes_of_the_specification() -> None:
    """The first example of the specification's page "OSC Message Examples", and the numbers of its second."""
    assert message("/oscillator/4/frequency", [440.0]) == bytes.fromhex(
        "2f6f7363 696c6c61 746f722f 342f6672 65717565 6e637900 2c660000 43dc0000"
    )
    assert message("/foo", [1000, -1, 1.234, 5.678]) == bytes.fromhex(
        "2f666f6f 00000000 2c696966 66000000 000003e8 ffffffff 3f9df3b6 40b5b22d"
    )
    assert message("/abc", []) == b"/abc\0\0\0\0,\0\0\0"
    assert bundle([message("/a", [1])]) == b"#bundle\0" + bytes(7) + b"\1" + b"\0\0\0\x0c/a\0\0,i\0\0\0\0\0\1"


def read(datagram: bytes) -> dict[str, list[float]]:
    """Take a bundle apart as the specification describes it."""
    assert datagram[:16] == b"#bundle\0" + bytes(7) + b"\1"
    found: dict[str, list[float]] = {}
    place = 16
    while place < len(datagram):
        (size,) = struct.unpack_from(">i", datagram, place)
        content = datagram[place + 4 : place + 4 + size]
        assert size % 4 == 0 == len(content) - size
        end = content.index(0)
        tags = content[(end // 4 + 1) * 4 :]
        kinds = tags[1 : tags.index(0)].decode()
        found[content[:end].decode()] = list(struct.unpack(">" + kinds, tags[(len(kinds) + 1) // 4 * 4 + 4 :]))
        place += 4 + size
    return found


def face_of(shape: npt.NDArray[np.float64], number: int) -> Face:
    sure = np.linspace(0, 1, 68, dtype=np.float32)
    return Face(shape, sure, sure[::-1], Box.around(shape), 0.9, IBUG_68, number)


def test_a_frame_arrives(face: npt.NDArray[np.float64]) -> None:
    shape = face * 100 + 120
    faces = [face_of(shape, 3).to_dict(), face_of(shape + 5, 12).to_dict()]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.settimeout(5)
        with OscSender(f":{listener.getsockname()[1]}") as sender:
            sender.take(frame_record(7, 0.25, faces))
            sender.take(frame_record(8, 0.5, []))
        frame, first, second, empty = (read(listener.recv(65536)) for _ in range(4))

    assert frame == {"/srn/frame": [7, 0.25, 3, 12]}
    assert empty == {"/srn/frame": [8, 0.5]}
    assert [name.rpartition("/")[2] for name in first] == [
        "box", "score", "landmarks", "visibility", "confidence", "pose", "eyes", "mouth"
    ]  # fmt: skip
    np.testing.assert_allclose(np.reshape(first["/srn/face/3/landmarks"], (68, 2)), shape, atol=0.01)
    np.testing.assert_allclose(np.reshape(second["/srn/face/12/landmarks"], (68, 2)), shape + 5, atol=0.01)
    np.testing.assert_allclose(first["/srn/face/3/confidence"], np.linspace(1, 0, 68), atol=1e-4)
    pose = head_pose(Face.from_dict(faces[0]))
    assert first["/srn/face/3/pose"] == pytest.approx([pose.yaw, pose.pitch, pose.roll], abs=0.01)
    assert first["/srn/face/3/score"] == pytest.approx([0.9])
    assert sender.lost == 0


def test_numbers_beyond_32_bits_begin_again_at_0() -> None:
    """A camera of 30 frames a second gets there after two years."""
    values = {"track_id": 2**31 + 5, "box": [0, 0, 9, 9], "score": 1, "landmarks": [[1, 2]] * 29}
    for number, sent in ((2**31 - 1, 2**31 - 1), (2**31, 0), (2**40 + 7, 7)):
        frame, face = bundles(frame_record(number, 0.0, [values]), COFW_29)
        assert read(frame) == {"/srn/frame": [sent, 0.0, 5]}
        assert "/srn/face/5/box" in read(face)


def test_faces_without_a_tracker_are_counted(face: npt.NDArray[np.float64]) -> None:
    values = [{k: v for k, v in face_of(face * 100 + x, 9).to_dict().items() if k != "track_id"} for x in (0, 50)]
    frame, *faces = (read(datagram) for datagram in bundles(frame_record(4, 0.5, values)))
    assert frame == {"/srn/frame": [4, 0.5, 1, 2]}
    assert [one[f"/srn/face/{number}/box"] for number, one in enumerate(faces, 1)] == [
        pytest.approx(one["box"], abs=1e-4) for one in values
    ]


def test_what_weights_do_not_predict_is_left_out() -> None:
    values: dict[str, Any] = {
        "track_id": 1, "box": [0, 0, 9, 9], "score": 1, "landmarks": [[1, 2]] * 29, "visibility": None,
        "confidence": None, "state": "tracked",
    }  # fmt: skip
    _, only = bundles(frame_record(0, 0.0, [values]), COFW_29)
    assert {name: len(numbers) for name, numbers in read(only).items()} == {
        "/srn/face/1/box": 4, "/srn/face/1/score": 1, "/srn/face/1/landmarks": 58
    }  # fmt: skip
