"""The service: its answers against the library's, refusals, and many clients at once."""

from __future__ import annotations

import asyncio
import io
import json
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("fastapi", reason="the service needs FastAPI: pip install 'srn[serve]'")

from starlette.requests import Request
from starlette.types import Message

from srn import FaceLandmarker
from srn.errors import InputError
from srn.face.geometry import Box
from srn.inference.face_finder import FoundFace
from srn.media.pictures import decode_image, encode_image
from srn.serve import app
from srn.serve.app import make_app
from srn.serve.limits import Limits, Refused

from .conftest import Answer, Client, Serve, served


class WhiteSquares:
    """A face finder that takes the bright part of a picture for a face."""

    def find(self, image: np.ndarray) -> list[FoundFace]:
        rows, columns = np.nonzero(image.min(axis=2) > 200)
        if not len(rows):
            return []
        return [FoundFace(Box(columns.min(), rows.min(), columns.max(), rows.max()), 0.9)]


def picture(left: int, size: int = 60) -> bytes:
    """A PNG of a white square at a distance from the left edge."""
    image = np.zeros((120, 200, 3), np.uint8)
    image[20 : 20 + size, left : left + size] = 255
    return encode_image(image, ".png")


@pytest.fixture(scope="module")
def landmarker(robust_weights: Path) -> FaceLandmarker:
    return FaceLandmarker(robust_weights, face_finder=WhiteSquares(), threads=1)


@pytest.fixture
def client(landmarker: FaceLandmarker) -> Iterator[Client]:
    with served(make_app(landmarker)) as opened:
        yield opened


def detected(client: Client, content: bytes, **query: Any) -> Any:
    answer = client.post("/detect", content, query={"min_confidence": 0, **query})
    assert answer.status == 200, answer.text
    return answer.json()


def test_the_answer_is_that_of_the_library(client: Client, landmarker: FaceLandmarker) -> None:
    record = detected(client, picture(30))
    image = np.zeros((120, 200, 3), np.uint8)
    image[20:80, 30:90] = 255
    assert record == {"path": "picture", "width": 200, "height": 120, "faces": landmarker.detect(image).to_dict()}
    assert len(record["faces"]) == 1


def test_a_form_is_a_picture_with_a_name_that_is_no_path(client: Client) -> None:
    answer = client.form("/detect?min_confidence=0", "file", picture(30), "../../etc/C:\\me\\face.png")
    assert answer.json() == {**detected(client, picture(30)), "path": "face.png"}


def test_accuracy_and_own_boxes(client: Client, landmarker: FaceLandmarker) -> None:
    image = np.zeros((120, 200, 3), np.uint8)
    image[20:80, 30:90] = 255
    best = FaceLandmarker(localizer=landmarker.localizer, face_finder=WhiteSquares(), accuracy="best")
    assert detected(client, picture(30), accuracy="best")["faces"] == best.detect(image).to_dict()
    boxes = [(30, 20, 89, 79), (40, 30, 90, 90)]
    record = detected(client, picture(30), box=["30,20,89,79", "40,30,90,90"])
    assert record["faces"] == landmarker.detect(image, boxes).to_dict()


def test_doubtful_faces_are_left_out_and_counted(client: Client) -> None:
    """A white square is no face, and the network says so."""
    every = detected(client, picture(30))["faces"]
    confidence = np.mean(every[0]["confidence"])
    answer = client.post("/detect", picture(30), query={"min_confidence": min(1.0, confidence + 0.01)})
    assert (answer.json()["faces"], answer.json()["left_out"]) == ([], 1)


@pytest.mark.parametrize(
    ("query", "content", "status", "reason"),
    [
        ("", b"", 422, "expected a picture as the body, or a form with the field 'file', found nothing"),
        ("", b"no picture", 415, "picture: expected a picture (JPEG, PNG, WebP, ...), found 10 bytes"),
        ("", picture(30)[:80], 415, "picture: expected a picture"),
        ("?accuracy=slow", picture(30), 422, "accuracy: "),
        ("?min_confidence=2", picture(30), 422, "min_confidence: "),
        ("?min_confidence=nan", picture(30), 422, "min_confidence: "),
        ("?precise=best", picture(30), 422, "precise: Extra inputs are not permitted, found 'best'"),
        ("?box=1,2,3", picture(30), 422, "face box: expected four numbers x0, y0, x1, y1"),
        (f"?{'box=1,2,30,40&' * 257}", picture(30), 422, "box: List should have at most 256 items"),
        ("?box=500,500,600,600", picture(30), 422, "face box: expected a face box of at least 1 pixel in the picture"),
    ],
)
def test_a_mistake_gets_one_reason(client: Client, query: str, content: bytes, status: int, reason: str) -> None:
    answer = client.post(f"/detect{query}", content)
    assert answer.status == status
    assert answer.error.startswith(reason)


def test_a_large_form_is_written_nowhere(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """A container may have no place to write, and a full disk refused pictures above 1 MB."""

    def full(self: Any) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr("tempfile.SpooledTemporaryFile.rollover", full)
    noise = np.random.default_rng(0).integers(0, 256, (700, 700, 3), dtype=np.uint8)
    content = encode_image(noise, ".png")
    assert len(content) > 1_400_000
    assert client.form("/detect", "file", content).json()["width"] == 700


def test_no_name_makes_a_broken_picture_a_lack_of_memory(client: Client) -> None:
    assert client.form("/detect", "file", b"text", "out of memory.png").status == 415


def test_forms_without_the_file(client: Client) -> None:
    for answer in (client.form("/detect", "other", b"x"), client.form("/detect", "file", b"text", None)):
        assert answer.status == 422
        assert "expected a form with a file in the field 'file'" in answer.error
    headers = {"Content-Type": "multipart/form-data; boundary=y"}
    assert client.post("/detect", b"--x", headers=headers).status == 422


def test_a_form_that_asks_in_further_fields_is_refused(client: Client) -> None:
    """`curl -F file=@a.jpg -F box=1,2,30,40` got the faces of the whole picture, without a word."""
    more = b'\r\n--B\r\nContent-Disposition: form-data; name="box"\r\n\r\n1,2,30,40'
    answer = client.form("/detect", "file", picture(30) + more)
    reason = (
        "expected a form with the field 'file' alone, found ['box'] beside it; accuracy, box and the like belong into"
    )
    assert (answer.status, answer.error) == (422, f"{reason} the query of the address")


def test_a_form_without_a_name_of_its_file_says_what_is_missing(client: Client) -> None:
    """`filename*=` is for the headers of HTTP itself (RFC 7578, 4.2); beside a plain name it does no harm."""
    wrong, right = "file\"; filename*=UTF-8''a%20b.png; other=\"", "file\"; filename*=UTF-8''b.png; filename=\"a.png"
    beginning = "expected a form with a file in the field 'file', found "
    ends = {
        wrong: "text in it: its part has no filename; filename*=, which it has, names no file of a form",
        "file": "text in it: its part has no filename",
        "picture": "the fields ['picture']",
    }
    for name, end in ends.items():
        answer = client.form("/detect", name, picture(30), None)
        if name == wrong and answer.status == 200:  # older versions of python-multipart read it all the same
            assert answer.json()["path"] == "a b.png"
        else:
            assert (answer.status, answer.error) == (422, beginning + end)
    assert client.form("/detect", right, picture(30), None).json()["path"] in ("a.png", "b.png")  # likewise


def test_limits_of_bytes_and_pixels(landmarker: FaceLandmarker, serve: Serve) -> None:
    client = serve(make_app(landmarker, Limits(megabytes=0.001, megapixels=0.01)))
    large = client.post("/detect", b"x" * 1_500)
    assert (large.status, large.error) == (413, "expected at most 0.001 MB, found 0.0015 MB")
    chunked = client.post("/detect", (b"x" * 500 for _ in range(3)))  # without a stated length
    assert (chunked.status, chunked.error) == (413, "expected at most 0.001 MB, found more")
    pixels = client.post("/detect", picture(30))
    assert (pixels.status, pixels.error) == (413, "picture: expected at most 10000 pixels, found 24000")


def test_a_token_is_asked_for(landmarker: FaceLandmarker, serve: Serve) -> None:
    client = serve(make_app(landmarker, token="geheim"))
    for headers in (
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": "Bearer geheimer"},
        {"Authorization": "geheim"},
        {"Authorization": "Basic geheim"},
    ):
        answer = client.post("/detect", picture(30), headers=headers)
        assert answer.status == 401
        assert answer.headers["www-authenticate"] == "Bearer"
        assert client.get("/metrics", headers=headers).status == 401
    for scheme in ("Bearer", "bearer"):  # which is no part of the secret
        assert client.post("/detect", picture(30), headers={"Authorization": f"{scheme} geheim"}).status == 200
    assert client.get("/health").status == 200


def test_only_known_hosts(client: Client, landmarker: FaceLandmarker, serve: Serve) -> None:
    assert client.get("/health", headers={"Host": "page.example:8000"}).status == 421
    for host in ("127.0.0.1.page.example", "127.0.0.1@page.example", "127.0.0.1:80:80"):
        assert client.get("/health", headers={"Host": host}).status == 421
    for host in ("localhost:1", "127.0.0.1", "[::1]:8000", "LOCALHOST"):
        assert client.get("/health", headers={"Host": host}).status == 200
    everyone = serve(make_app(landmarker, hosts=None))
    assert everyone.get("/health", headers={"Host": "page.example"}).status == 200


def test_pages_of_other_sites_are_refused(client: Client) -> None:
    """A browser says whose page asks. Without that any page could make this machine work."""
    own = f"127.0.0.1:{client.port}"
    for origin, status in ((f"http://{own}", 200), ("https://page.example", 403), ("null", 403), (f"//{own}", 403)):
        assert client.post("/detect", picture(30), headers={"Origin": origin}).status == status
    assert "access-control-allow-origin" not in client.get("/health", headers={"Origin": f"http://{own}"}).headers


def test_tokens_that_no_client_can_send(landmarker: FaceLandmarker, serve: Serve) -> None:
    for token in ("", "two words", "line\n"):
        with pytest.raises(InputError, match="token: expected one word"):
            make_app(landmarker, token=token)
    client = serve(make_app(landmarker, token="schlüssel"))
    assert client.get("/metrics", headers={"Authorization": "Bearer schlüssel".encode()}).status == 200


def test_nothing_that_strangers_send_is_printed(
    landmarker: FaceLandmarker, serve: Serve, capsys: pytest.CaptureFixture[str]
) -> None:
    client = serve(make_app(landmarker))
    upgrade = {"Connection": "Upgrade", "Upgrade": "websocket"}
    assert client.get("/health", headers=upgrade).status == 200
    form = {"Content-Type": "multipart/form-data; boundary=y"}
    assert client.post("/detect", b"--x" * 1000, headers=form).status == 422
    assert client.get("/" + "a" * 5000).error == f"GET /{'a' * 199}: Not Found"
    with socket.create_connection(("127.0.0.1", client.port)) as raw:
        raw.sendall(b"\x16\x03\x01 no HTTP\r\n\r\n")
        assert raw.recv(100).startswith(b"HTTP/1.1 400 ")
    assert capsys.readouterr() == ("", "")


def test_health_metrics_and_documentation(client: Client, landmarker: FaceLandmarker) -> None:
    detected(client, picture(30))
    client.post("/detect", b"no picture")
    assert client.get("/health").json()["weights"] == landmarker.localizer.name
    counters = dict(line.rsplit(" ", 1) for line in client.get("/metrics").text.splitlines() if line[0] != "#")
    assert counters['srn_requests_total{status="200"}'] == "1.0"
    assert counters['srn_requests_total{status="415"}'] == "1.0"
    assert counters["srn_faces_total"] == "1.0"
    assert counters["srn_batch_pictures_count"] == "1.0"
    assert counters["srn_requests_in_progress"] == "0.0"
    page = client.get("/docs").text
    assert "POST /detect" in page
    assert "<code>srn detect --help</code>" in page
    assert "http://" not in page.replace("http://127.0.0.1", "")  # nothing comes from elsewhere
    assert client.get("/openapi.json").json()["paths"].keys() == {"/detect", "/health", "/metrics"}
    responses = client.get("/openapi.json").json()["paths"]["/detect"]["post"]["responses"]
    assert responses.keys() == {"200", "4XX", "5XX"}  # FastAPI's own errors look otherwise
    assert responses["4XX"]["content"]["application/json"]["schema"]["required"] == ["error"]
    assert client.get("/other").json() == {"error": "GET /other: Not Found"}


def test_every_answer_to_a_request_for_faces_is_counted(landmarker: FaceLandmarker, serve: Serve) -> None:
    """Also those that are given before the route begins."""
    app = make_app(landmarker, token="geheim")
    client = serve(app)
    own = {"Authorization": "Bearer geheim"}
    asked = [
        client.post("/detect", picture(30), headers=own),
        client.post("/detect", picture(30)),
        client.post("/detect?accuracy=x", picture(30), headers=own),
        client.post("/detect", picture(30), headers={**own, "Host": "page.example"}),
        client.get("/detect", headers=own),
    ]
    assert [answer.status for answer in asked] == [200, 401, 422, 421, 405]
    app.state.service.pool.close()  # from now on it is broken
    assert client.post("/detect", picture(30), headers=own).status == 500
    lines = client.get("/metrics", headers=own).text.splitlines()
    assert {line for line in lines if line.startswith("srn_requests_total")} == {
        f'srn_requests_total{{status="{status}"}} 1.0' for status in (200, 401, 422, 421, 405, 500)
    }
    assert "srn_request_seconds_count 6.0" in lines


def test_an_address_has_one_form_and_its_own_verbs(client: Client) -> None:
    """A redirect would name the address as the service knows it, which a proxy hides."""
    assert client.post("/detect/", picture(30)).error == "POST /detect/: Not Found"
    wrong = client.get("/detect")
    assert (wrong.status, wrong.headers["allow"]) == (405, "POST")


def test_monitors_ask_for_the_head_of_health_alone(client: Client) -> None:
    answer = client.ask("HEAD", "/health")
    assert (answer.status, answer.body) == (200, b"")


def test_many_clients_get_their_own_answers(client: Client) -> None:
    """Each picture has its face elsewhere; broken ones among them harm no other."""
    places = [4 * n for n in range(30)]

    def ask(left: int) -> tuple[int, Any]:
        if left % 20 == 0:
            return left, client.post("/detect", b"broken").status
        return left, detected(client, picture(left, 50), accuracy="fast")["faces"][0]["box"][0]

    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(ask, places * 2))
    alone = dict(ask(left) for left in places)
    assert len({value for value in alone.values() if value != 415}) == 24
    assert all(answer == alone[left] for left, answer in answers)


class Held(WhiteSquares):
    """Waits for its release before it looks at a picture of the tests."""

    def __init__(self) -> None:
        self.begun, self.release = threading.Event(), threading.Event()

    def find(self, image: np.ndarray) -> list[FoundFace]:
        if image.shape[0] > 40:  # not the picture that opens the finder
            self.begun.set()
            self.release.wait(20)
        return super().find(image)


class Counted(Held):
    """Notes the widths of the pictures that it is asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.widths: list[int] = []

    def find(self, image: np.ndarray) -> list[FoundFace]:
        self.widths.append(image.shape[1])
        return super().find(image)


def test_who_goes_while_waiting_is_not_detected(robust_weights: Path, serve: Serve) -> None:
    finder = Counted()
    landmarker = FaceLandmarker(robust_weights, face_finder=finder, threads=1)
    client = serve(make_app(landmarker))
    wide = encode_image(np.zeros((120, 300, 3), np.uint8), ".png")
    head = f"POST /detect HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(wide)}\r\n\r\n".encode()

    def until(reached: Callable[[], bool]) -> None:
        assert any(reached() for _ in range(2000))

    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(client.post, "/detect", picture(30))
        assert finder.begun.wait(20)
        with socket.create_connection(("127.0.0.1", client.port)) as leaving:
            leaving.sendall(head + wide)
            until(lambda: client.get("/health").json()["waiting"] == 1)
        until(lambda: 'srn_requests_total{status="400"} 1.0' in client.get("/metrics").text)
        finder.release.set()
        assert first.result().status == 200
    assert client.post("/detect", picture(30)).status == 200  # after whatever waited
    assert 200 in finder.widths
    assert 300 not in finder.widths


def test_a_full_queue_and_a_slow_network(robust_weights: Path, serve: Serve) -> None:
    """While one request is held up, the next is told to come again; one that waits too long ends."""
    held = Held()
    landmarker = FaceLandmarker(robust_weights, face_finder=held, threads=1)
    client = serve(make_app(landmarker, Limits(queue=1, seconds=0.8)))
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(client.post, "/detect", picture(30))
        assert held.begun.wait(20)
        busy = client.post("/detect", picture(30))
        late: Answer = first.result()
    held.release.set()
    assert (busy.status, busy.headers["retry-after"]) == (429, "1")
    assert busy.error == "1 requests are in progress, the most at a time: come again"
    assert (late.status, late.error) == (503, "no answer within 0.8 seconds: come again")
    again = (client.post("/detect", picture(30), query={"min_confidence": 0}) for _ in range(50))
    served_at_last = next(answer for answer in again if answer.status != 503)  # what came too late is done first
    assert len(served_at_last.json()["faces"]) == 1


def test_a_picture_that_takes_long_to_decode(
    landmarker: FaceLandmarker, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is answered in time. Its thread goes on, and so its memory stays taken."""
    release, decode = threading.Event(), decode_image

    def slow(content: bytes, name: str) -> np.ndarray:
        if name == "slow.png":
            release.wait(20)
        return decode(content, name)

    monkeypatch.setattr(app, "decode_image", slow)
    client = serve(make_app(landmarker, Limits(memory=0.1, seconds=0.8)))
    late = client.form("/detect", "file", picture(30), "slow.png")
    assert (late.status, late.error) == (503, "no answer within 0.8 seconds: come again")
    busy = client.post("/detect", picture(30))
    assert (busy.status, busy.error) == (429, "the pictures in progress take 0.1 MB, the most: come again")
    release.set()
    again = (client.post("/detect", picture(30)) for _ in range(1000))
    assert next(answer.status for answer in again if answer.status != 429) == 200


def test_what_is_in_progress_is_answered_before_the_end(robust_weights: Path) -> None:
    held = Held()
    landmarker = FaceLandmarker(robust_weights, face_finder=held, threads=1)
    with ThreadPoolExecutor(1) as pool:
        with served(make_app(landmarker)) as client:
            asked = pool.submit(detected, client, picture(30))
            assert held.begun.wait(20)
            threading.Timer(0.2, held.release.set).start()
        assert len(asked.result()["faces"]) == 1


def test_more_faces_than_the_most_are_told(robust_weights: Path, serve: Serve) -> None:
    landmarker = FaceLandmarker(robust_weights, face_finder=WhiteSquares(), threads=1)
    landmarker.max_faces = 1  # as it is with the finder of the package
    client = serve(make_app(landmarker))
    assert detected(client, picture(30), min_confidence=0)["max_faces"] == 1
    assert "max_faces" not in detected(client, encode_image(np.zeros((120, 200, 3), np.uint8), ".png"))
    assert "max_faces" not in detected(client, picture(30), box="30,30,90,90")


def test_the_pictures_behind_the_first_are_told(client: Client) -> None:
    pil = pytest.importorskip("PIL.Image", reason="Pillow writes the animation")
    file = io.BytesIO()
    frames = [pil.new("RGB", (96, 64), (40 * k, 0, 0)) for k in range(3)]
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:])
    assert detected(client, file.getvalue()) == {
        "path": "picture", "width": 96, "height": 64, "faces": [], "pictures": 3
    }  # fmt: skip
    assert "pictures" not in detected(client, picture(30))


def test_memory_is_bounded(landmarker: FaceLandmarker) -> None:
    """Two pictures do not fit, encoded and decoded; the one in progress always does, whatever it takes."""
    app = make_app(landmarker, Limits(memory=0.08))
    service = app.state.service

    def request() -> Request:
        async def receive() -> Message:
            return {"type": "http.request", "body": picture(30), "more_body": False}

        return Request({"type": "http", "headers": []}, receive)

    async def ask() -> None:
        async with service.upload(request()):
            with pytest.raises(Refused, match=r"the pictures in progress take 0.08 MB, the most") as refused:
                async with service.upload(request()):
                    pass
        assert refused.value.status == 429
        async with service.upload(request()) as upload:
            assert upload.content == picture(30)

    with ThreadPoolExecutor(1) as pool:  # not this thread, where a browser's event loop may run
        pool.submit(asyncio.run, ask()).result()
    service.pool.close()


def test_a_body_takes_memory_while_it_arrives(landmarker: FaceLandmarker, serve: Serve) -> None:
    """One client sends half of its picture and waits; the limit holds for the other one."""
    app = make_app(landmarker, Limits(memory=0.001))
    client = serve(app)
    with socket.create_connection(("127.0.0.1", client.port)) as slow:
        slow.sendall(b"POST /detect HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1200\r\n\r\n" + b"x" * 600)
        answers = (client.post("/detect", b"x" * 600).status for _ in range(500))
        assert next(status for status in answers if status != 415) == 429  # 415 until its half is there
    answers = (client.post("/detect", b"x" * 600).status for _ in range(500))
    assert next(status for status in answers if status != 429) == 415  # its memory is free again


def test_an_answer_is_json_without_numbers_that_are_none(client: Client) -> None:
    text = client.post("/detect", picture(30), query={"min_confidence": 0}).text
    assert json.loads(text, parse_constant=lambda name: pytest.fail(name))["faces"]
