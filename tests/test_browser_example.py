"""The example for browsers gives the package's numbers, in a real browser."""

from __future__ import annotations

import functools
import http.server
import json
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from srn import Box, FaceLandmarker
from srn.media.pictures import read_image

ROOT = Path(__file__).parents[1]
RUNTIME = ROOT / "examples" / "browser" / "node_modules" / "onnxruntime-web"
BOX = Box(73, 83, 159, 166)  # of the astronaut's face


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves files without a word."""

    def log_message(self, format: str, *values: Any) -> None:
        pass


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """The address of the example, as `python -m http.server` in the repository gives it."""
    if not RUNTIME.is_dir():
        pytest.skip("no ONNX Runtime for browsers: npm install --prefix examples/browser")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=ROOT)) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/examples/browser/"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def opened(url: str, browser: Any) -> Iterator[tuple[Any, list[str]]]:
    """The page with its network, opened once, and what was said on its console or asked of other servers."""
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.set_default_timeout(60_000)
    words: list[str] = []

    def note(request: Any) -> None:
        if not request.url.startswith((url.removesuffix("examples/browser/"), "data:", "blob:")):
            words.append(request.url)

    page.on("console", lambda message: words.append(message.text))
    page.on("pageerror", lambda error: words.append(str(error)))
    page.on("request", note)
    page.goto(url)
    page.get_by_text("Ready for a picture.").wait_for()
    yield page, words
    page.close()


@pytest.fixture
def page(opened: tuple[Any, list[str]]) -> Iterator[Any]:
    """The page; an error, a word on its console or a request to elsewhere fails the test."""
    yield opened[0]
    assert opened[1] == []


def portrait(path: Path, side: int = 0) -> Path:
    """Write the portrait without loss, enlarged to `side` pixels if that is given."""
    image = read_image(ROOT / "tests" / "data" / "astronaut.jpg")
    large = cv2.resize(image, (side, side), interpolation=cv2.INTER_CUBIC) if side else image
    cv2.imwrite(str(path), large[..., ::-1])
    return path


def put(page: Any, path: Path) -> None:
    page.set_input_files("#file", path)
    page.get_by_text(re.compile(f"^{re.escape(path.name)}: .*Draw the box of a face")).wait_for()


def saved(page: Any, path: Path) -> dict[str, Any]:
    with page.expect_download() as download:
        page.click("#save")
    download.value.save_as(path)
    content: dict[str, Any] = json.loads(path.read_text())
    return content


@pytest.mark.parametrize(("side", "weights"), [(0, "robust"), (2200, "fast")])
def test_the_browser_gives_the_numbers_of_the_package(page: Any, tmp_path: Path, side: int, weights: str) -> None:
    """A crop that is enlarged, and one of the other network that is reduced by area means first."""
    path = portrait(tmp_path / "face.png", side)
    image = read_image(path)
    scale = image.shape[0] / 260
    box = Box(*(BOX.as_array() * scale))
    (expected,) = FaceLandmarker(weights, accuracy="fast", threads=1).detect(image, boxes=[box])

    put(page, path)
    page.select_option("#network", label=f"{weights} ({'3.2' if weights == 'fast' else '11'} MB)")
    page.fill("#box", " ".join(f"{value:.3f}" for value in box.as_array()))
    page.click("#find:not([disabled])")
    page.get_by_text("68 points in ").wait_for()

    (picture,) = saved(page, tmp_path / "faces.json")["images"]
    assert (picture["path"], picture["width"], picture["height"]) == ("face.png", *image.shape[1::-1])
    (face,) = picture["faces"]
    # Pixels of the picture; the file rounds to 0.01.
    np.testing.assert_allclose(face["landmarks"], expected.landmarks, atol=0.01)
    assert expected.visibility is not None
    assert expected.confidence is not None
    np.testing.assert_allclose(face["visibility"], expected.visibility, atol=1e-3)
    np.testing.assert_allclose(face["confidence"], expected.confidence, atol=1e-3)


def test_a_box_is_drawn_and_placed_anew(page: Any, tmp_path: Path) -> None:
    put(page, portrait(tmp_path / "face.png"))
    area = page.locator("#stage").bounding_box()
    corners = [(area["x"] + (x + 0.5) * area["width"] / 260, area["y"] + (y + 0.5) * area["height"] / 260)
               for x, y in ((165, 75), (70, 175))]  # fmt: skip
    page.mouse.move(*corners[0])
    page.mouse.down()
    page.mouse.move(*corners[1], steps=3)
    page.mouse.up()
    page.get_by_text("68 points in ").wait_for()
    drawn = [float(value) for value in page.input_value("#box").split(",")]
    np.testing.assert_allclose(drawn, [70, 75, 165, 175], atol=0.6)

    page.click("#again:not([disabled])")  # it forgets the points at once
    page.wait_for_selector("#save:not([disabled])")
    (face,) = saved(page, tmp_path / "faces.json")["images"][0]["faces"]
    landmarker, image = FaceLandmarker("fast", accuracy="fast", threads=1), read_image(tmp_path / "face.png")
    (first,) = landmarker.detect(image, boxes=[Box(*drawn)])
    (second,) = landmarker.detect(image, boxes=[first.landmark_box])
    assert np.abs(second.landmarks - first.landmarks).max() > 0.3
    np.testing.assert_allclose(face["landmarks"], second.landmarks, atol=0.05)


def test_what_is_wrong_is_told(page: Any, tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("no picture")
    page.set_input_files("#file", tmp_path / "text.png")
    page.get_by_text("text.png: expected a picture that this browser can show").wait_for()
    put(page, portrait(tmp_path / "face.png"))
    page.fill("#box", "5, 5, 4")
    page.click("#find")
    page.get_by_text("expected a box of four numbers").wait_for()
    assert page.is_disabled("#save")


def test_a_phones_width(page: Any, tmp_path: Path) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    put(page, portrait(tmp_path / "face.png"))
    page.fill("#box", "73 83 159 166")
    page.click("#find")
    page.get_by_text("68 points in ").wait_for()
    page.click("summary")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.locator("tbody tr").count() == 68


def test_a_missing_runtime_is_told(url: str, browser: Any) -> None:
    page = browser.new_page()
    page.route("**/ort.wasm.min.mjs", lambda route: route.abort())
    page.goto(url)
    page.get_by_text("Run npm install --prefix examples/browser").wait_for()
    page.close()
