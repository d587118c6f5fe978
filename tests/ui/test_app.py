"""What the page asks of the machine: its files, other weights, cameras, videos, downloads; and what it refuses."""

from __future__ import annotations

import contextlib
import copy
import csv
import io
import json
import re
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("fastapi", reason="the page needs FastAPI: pip install 'srn[ui]'")

from srn import COFW_29, FaceLandmarker
from srn.inference.face import Faces
from srn.media.pictures import encode_image
from srn.media.pts import read_pts
from srn.media.video_writing import VideoWriter
from srn.serve.limits import Limits
from srn.ui import app as ui
from srn.ui.app import FILES, make_page

from ..conftest import full_disk
from ..serve.conftest import Client, served
from ..serve.test_app import WhiteSquares, picture

WEIGHTS = "robust-no-occlusion"


@pytest.fixture(scope="module")
def landmarker(robust_weights: Path) -> FaceLandmarker:
    return FaceLandmarker(robust_weights, face_finder=WhiteSquares(), threads=1)


@pytest.fixture(scope="module")
def client(landmarker: FaceLandmarker, robust_weights: Path) -> Iterator[Client]:
    def opened(name: str) -> FaceLandmarker:
        assert name == WEIGHTS
        return FaceLandmarker(robust_weights, threads=1)

    with served(make_page(landmarker, opened, Limits())) as running:
        yield running


def test_the_page_is_whole_and_asks_nobody_else(client: Client) -> None:
    found = {name: client.get("/" if name == "index.html" else f"/{name}") for name in FILES}
    for name, answer in found.items():
        assert answer.status == 200
        assert answer.headers["content-type"].startswith(FILES[name])
        assert "default-src 'self'" in answer.headers["content-security-policy"]
        assert answer.headers["x-content-type-options"] == "nosniff"
        links = re.findall(r"https?://[^\s\"'`]+", answer.text)
        assert set(links) <= {"http://www.w3.org/2000/svg"}
    used = re.findall(r'(?:src|href)="([^"]+)"', found["index.html"].text)
    used += [name for text in found.values() for name in re.findall(r'from "\./([^"]+)"', text.text)]
    assert set(used) <= set(FILES)
    assert client.get("/app.py").status == 404
    assert client.get("/../app.py").status == 404


def test_the_page_knows_the_scheme_and_the_weights(client: Client, landmarker: FaceLandmarker) -> None:
    info = client.get("/page/info").json()
    scheme = landmarker.localizer.scheme
    assert info["weights"] == landmarker.localizer.name
    assert "robust" in info["others"]
    assert info["scheme"]["components"] == {name: list(points) for name, points in scheme.components.items()}
    assert all(re.fullmatch("#[0-9a-f]{6}", color) for color in info["scheme"]["colors"].values())
    assert info["scheme"]["eye_corners"] == [36, 45]


def test_only_weights_of_the_same_points_are_put_beside(landmarker: FaceLandmarker) -> None:
    own = copy.copy(landmarker)
    own.localizer = SimpleNamespace(name="own.onnx", scheme=COFW_29)
    with served(make_page(own, lambda name: landmarker, Limits())) as running:
        info = running.get("/page/info").json()
    assert (info["scheme"]["name"], info["others"]) == ("cofw29", [])


def test_other_weights_look_at_the_same_faces(client: Client) -> None:
    """Here they are the same network, so the answer is the service's own."""
    own = client.post("/detect?min_confidence=0", picture(30)).json()
    other = client.post(f"/page/detect?weights={WEIGHTS}", picture(30)).json()
    assert other.pop("weights").startswith("robust.onnx")
    np.testing.assert_allclose(other["faces"][0]["landmarks"], own["faces"][0]["landmarks"], atol=0.02)
    wrong = client.post("/page/detect?weights=../../secret.onnx", picture(30))
    assert (wrong.status, wrong.error.startswith("weights: expected one of robust, ")) == (422, True)


def test_frames_of_a_camera_have_a_tracker_each(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def ids(session: str, times: range) -> list[int]:
        answers = [client.post(f"/page/frame?session={session}&time_s={t / 10}", picture(30 + t)) for t in times]
        return [face["track_id"] for answer in answers for face in answer.json()["faces"]]

    assert client.post("/page/frame?session=a&time_s=0", picture(30)).json().keys() >= {"faces", "width", "height"}
    assert client.post("/page/frame?session=a&time_s=-1", picture(30)).status == 422
    assert client.post("/page/frame?session=a&time_s=1", b"none").status == 422
    assert ids("one", range(3)) == ids("two", range(3))


def test_a_video_comes_back_frame_by_frame(client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "clip.mp4"
    with VideoWriter(path, 10.0) as writer:
        for number in range(5):
            image = np.zeros((120, 200, 3), np.uint8)
            image[20:80, 30 + number : 90 + number] = 255
            writer.write(image, number / 10)
    lines = [json.loads(line) for line in client.post("/page/video?name=clip.mp4", path.read_bytes()).text.splitlines()]
    assert lines[0]["frame_rate"] == pytest.approx(10, rel=0.01)
    assert [line["frame"] for line in lines[1:-1]] == [0, 1, 2, 3, 4]
    assert lines[-1] == {"done": True}
    monkeypatch.setattr(ui, "VIDEO_FRAMES", 2)
    cut = [json.loads(line) for line in client.post("/page/video?name=clip.mp4", path.read_bytes()).text.splitlines()]
    assert [line["frame"] for line in cut[1:3]] == [0, 1]
    assert "the first 2 frames" in cut[3]["error"]


def test_videos_leave_nothing_behind_and_come_one_by_one(
    client: Client, landmarker: FaceLandmarker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that goes away ends the work; until then the next video is told to come again."""
    path, begun, go_on, seen = tmp_path / "clip.mp4", threading.Event(), threading.Event(), list[float]()
    with VideoWriter(path, 10.0) as writer:
        for number in range(30):
            writer.write(np.zeros((64, 64, 3), np.uint8), number / 10)
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    monkeypatch.setattr(ui, "VIDEOS", 1)

    class Slow:
        def update(self, image: Any, time_s: float) -> Faces:
            seen.append(time_s)
            begun.set()
            assert go_on.wait(20)
            return Faces()

    monkeypatch.setattr(FaceLandmarker, "tracker", lambda self, frame_rate: Slow())
    head = f"POST /page/video HTTP/1.1\r\nHost: localhost\r\nContent-Length: {path.stat().st_size}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", client.port)) as gone:
        gone.sendall(head.encode() + path.read_bytes())
        assert begun.wait(20)
        assert client.post("/page/video", path.read_bytes()).status == 429
    go_on.set()
    answers = (client.post("/page/video", b"none") for _ in range(1000))
    assert next(answer.status for answer in answers if answer.status != 429) == 200  # the place is free again
    assert len(seen) < 30
    for _ in range(1000):
        if not list((tmp_path / "temporary").iterdir()):
            return
        time.sleep(0.01)
    pytest.fail("a folder is left behind")


def test_a_video_does_not_hold_up_the_end(
    landmarker: FaceLandmarker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its next frame is its last one."""
    path, seen = tmp_path / "clip.mp4", list[float]()
    with VideoWriter(path, 10.0) as writer:
        for number in range(5):
            writer.write(np.zeros((64, 64, 3), np.uint8), number / 10)
    page = make_page(landmarker, lambda name: landmarker, Limits())

    class Ended:
        def update(self, image: Any, time_s: float) -> Faces:
            seen.append(time_s)
            page.state.ending = True  # as a signal does
            return Faces()

    monkeypatch.setattr(FaceLandmarker, "tracker", lambda self, frame_rate: Ended())
    with served(page) as running:
        lines = running.post("/page/video", path.read_bytes()).text.splitlines()
    assert len(seen) == 1
    assert [json.loads(line) for line in lines[2:]] == [{"error": "srn ui has ended"}, {"done": True}]


def test_a_full_disk_is_told(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no device that is always full")
    monkeypatch.setattr(ui.Desk, "video_file", lambda self, name: contextlib.nullcontext(Path("/dev/full")))
    answer = client.post("/page/video", b"x" * 100_000)
    assert (answer.status, answer.error) == (503, "no place for the video: No space left on device")


def test_any_failure_of_a_video_is_told(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(path: Path) -> None:
        raise MemoryError(f"no memory for {path}")

    monkeypatch.setattr(ui, "open_video", broken)
    name = "a" * 300 + ".mp4%00" + "b" * 300
    first, last = client.post(f"/page/video?name={name}", b"x").text.splitlines()
    assert json.loads(first) == {"error": f"no memory for {'a' * 200}"}
    assert json.loads(last) == {"done": True}


def test_what_is_no_video_is_named_as_the_user_named_it(client: Client) -> None:
    lines = client.post("/page/video?name=..%2F..%2Fetc%2Fholiday.mp4", b"no video" * 100).text.splitlines()
    error = json.loads(lines[0])["error"]
    assert error.startswith("holiday.mp4: expected ")
    assert "tmp" not in error


@pytest.fixture
def record(client: Client) -> Any:
    return {**client.post("/detect?min_confidence=0", picture(30)).json(), "path": "me.png"}


def test_downloads_are_the_files_of_srn_detect(client: Client, record: Any, tmp_path: Path) -> None:
    def export(kind: str) -> bytes:
        answer = client.post(f"/page/export?kind={kind}", json.dumps(record).encode())
        assert answer.status == 200, answer.text
        return answer.body

    assert json.loads(export("json")) == {"images": [record]}
    rows = list(csv.DictReader(io.StringIO(export("csv").decode())))
    assert [float(row["x"]) for row in rows] == [x for x, _ in record["faces"][0]["landmarks"]]
    (tmp_path / "me.pts").write_bytes(export("pts"))
    np.testing.assert_allclose(read_pts(tmp_path / "me.pts"), record["faces"][0]["landmarks"], atol=1e-3)
    coco = json.loads(export("coco"))
    assert coco["images"][0]["file_name"] == "me.png"
    assert len(coco["annotations"][0]["keypoints"]) == 3 * 68


ODD = '{"faces": [], "path": "a", "width": %s, "height": 1}'
TWICE = '{"faces": [], "faces": [], "path": "a", "width": 1, "height": 1}'
HALF = r'{"faces": [], "path": "\ud800", "width": 1, "height": 1}'


@pytest.mark.parametrize(
    "change",
    ["no json", "{}", '{"faces": 3}', "[]", "[" * 100_000, ODD % "1e999", ODD % "NaN", HALF, TWICE],
)
def test_records_that_are_none(client: Client, change: str) -> None:
    answer = client.post("/page/export?kind=json", change.encode())
    assert answer.status == 422
    assert answer.error


def test_downloads_need_no_place_on_the_disk(client: Client, record: Any) -> None:
    """They were written to a file and read again, which a full disk refused."""
    content = json.dumps(record).encode()
    with full_disk(0):
        answers = [client.post(f"/page/export?kind={kind}", content) for kind in ("json", "csv", "coco", "pts")]
    assert [one.status for one in answers] == [200] * 4


def test_names_in_downloads_are_the_sender_s(client: Client, record: Any) -> None:
    """No path of this machine is in them."""
    for name in ("me.png", "../me.png", "a/b.png", "/elsewhere/me.png"):
        answer = client.post("/page/export?kind=coco", json.dumps({**record, "path": name}).encode())
        assert json.loads(answer.body)["images"][0]["file_name"] == name


def test_formats_that_are_none(client: Client, record: Any) -> None:
    empty = {**record, "faces": []}
    for kind, content in (("exe", record), ("pts", empty)):
        answer = client.post(f"/page/export?kind={kind}", json.dumps(content).encode())
        assert answer.status == 422
        assert answer.error.startswith("format: expected json, csv, coco, or pts of a picture with a face")


def test_other_sites_are_refused(client: Client) -> None:
    for path in ("/page/frame?session=a&time_s=0", "/page/video", "/page/export?kind=json", "/detect"):
        assert client.post(path, picture(30), headers={"Origin": "https://page.example"}).status == 403
    assert client.get("/").headers["cross-origin-resource-policy"] == "same-origin"
    assert client.get("/", headers={"Host": "page.example"}).status == 421


def test_memory_that_ends_is_told(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def none_left(content: bytes, name: str) -> None:
        raise MemoryError

    monkeypatch.setattr(ui, "decode_image", none_left)
    answer = client.post("/page/frame?session=a&time_s=0", picture(30))
    assert (answer.status, answer.error) == (503, "no memory left for this picture: come again")


def test_an_encoded_picture_is_read_as_the_command_reads_it(client: Client, landmarker: FaceLandmarker) -> None:
    image = np.zeros((120, 200, 3), np.uint8)
    image[20:80, 30:90] = 255
    content = encode_image(image, ".png")
    assert client.post("/detect?min_confidence=0", content).json()["faces"] == landmarker.detect(image).to_dict()
