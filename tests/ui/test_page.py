"""The page in a real browser: a picture, hiding by hand, downloads, a video, a phone's width, no errors."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("fastapi", reason="the page needs FastAPI: pip install 'srn[ui]'")

from srn import FaceLandmarker
from srn.evaluation.speed_steps import portrait
from srn.media.pictures import read_image
from srn.media.video_writing import VideoWriter
from srn.serve.limits import Limits
from srn.ui.app import make_page

from ..serve.conftest import served

PORTRAIT = Path(__file__).parents[1] / "data" / "astronaut.jpg"


@pytest.fixture(scope="module")
def url(robust_weights: Path) -> Iterator[str]:
    def opened(name: str | None = None) -> FaceLandmarker:
        return FaceLandmarker(name, threads=1)

    with served(make_page(opened(), opened, Limits(), portrait())) as client:
        yield f"http://127.0.0.1:{client.port}"


@pytest.fixture
def page(browser: Any, url: str) -> Iterator[Any]:
    """The page, ready; a word on its console or an uncaught error fails the test."""
    opened = browser.new_page(viewport={"width": 1280, "height": 900})
    opened.set_default_timeout(60_000)
    words: list[str] = []
    opened.on("console", lambda message: words.append(message.text))
    opened.on("pageerror", lambda error: words.append(str(error)))
    opened.goto(url)
    opened.wait_for_selector("body[data-ready]")
    yield opened
    opened.close()
    assert words == []


def with_portrait(page: Any) -> None:
    page.set_input_files("#file", PORTRAIT)
    page.wait_for_selector("#faces li")


def moved(page: Any) -> dict[str, float]:
    rows = page.locator("#distances tbody tr").all_inner_texts()
    return {name.strip(): float(value) for name, _, value in (row.rpartition("\t") for row in rows)}


def saved(page: Any, kind: str, folder: Path) -> Path:
    with page.expect_download() as download:
        page.click(f"[data-save={kind}]")
    path = folder / download.value.suggested_filename
    download.value.save_as(path)
    return path


def test_a_picture_hidden_by_hand_and_saved(page: Any, tmp_path: Path) -> None:
    with_portrait(page)
    assert page.inner_text("#message") == "1 face"
    clean = json.loads(saved(page, "json", tmp_path).read_text())["images"][0]
    (face,) = FaceLandmarker(threads=1).detect(read_image(PORTRAIT))
    np.testing.assert_allclose(clean["faces"][0]["landmarks"], face.landmarks, atol=0.02)

    page.click("[data-tool=mask]")
    page.wait_for_selector("#distances:not([hidden]) tbody tr")
    masked = moved(page)
    assert set(masked) == {"all points", "brows", "eyes", "nose", "mouth", "left cheek", "right cheek"}
    assert masked["eyes"] < 3 < masked["mouth"] < 15
    hidden = json.loads(saved(page, "json", tmp_path).read_text())["images"][0]["faces"][0]
    assert sum(value < 0.5 for value in hidden["visibility"]) > 20

    picture = read_image(saved(page, "png", tmp_path))
    assert picture.shape[0] == picture.shape[1] > 700
    assert saved(page, "pts", tmp_path).read_text().startswith("version: 1")

    page.click("#undo")
    page.wait_for_selector("#distances", state="hidden")


def test_the_brush_and_dragging(page: Any) -> None:
    with_portrait(page)
    area = page.locator("#stage").bounding_box()

    def at(x: float, y: float) -> tuple[float, float]:
        return area["x"] + x * area["width"], area["y"] + y * area["height"]

    page.click("[data-tool=brush]")
    page.mouse.move(*at(0.38, 0.55))
    page.mouse.down()
    page.mouse.move(*at(0.5, 0.57), steps=5)
    page.mouse.up()
    page.wait_for_selector("#distances:not([hidden]) tbody tr")
    assert moved(page)["all points"] > 0.2
    page.click("#clear")
    page.wait_for_selector("#distances", state="hidden")

    page.click("[data-tool=brush]")  # off again
    page.fill("#size", "150")  # at 100 the points move by 1.0 % or so, at 150 by 3
    page.click("[data-tool=noise]")
    page.wait_for_selector("#distances:not([hidden]) tbody tr")
    before = moved(page)
    page.mouse.move(*at(0.44, 0.55))
    page.mouse.down()
    page.mouse.move(*at(0.9, 0.95), steps=5)  # away from the face
    page.mouse.up()
    page.locator("#distances tbody tr:first-child td:last-child", has_text=re.compile(r"^0\.")).wait_for()
    assert moved(page)["all points"] < 1 < 2 < before["all points"]


def test_the_same_noise_gives_the_same_numbers(page: Any) -> None:
    seen = []
    for _ in range(2):
        with_portrait(page)
        page.click("[data-tool=noise]")
        page.wait_for_selector("#distances:not([hidden]) tbody tr")
        seen.append(moved(page))
        page.reload()
        page.wait_for_selector("body[data-ready]")
    assert seen[0] == seen[1]


def test_an_older_answer_never_takes_the_place_of_a_newer_one(page: Any) -> None:
    """The first question is answered last, and otherwise; nothing of it is shown."""
    with_portrait(page)
    late: list[Any] = []
    page.route("**/detect?accuracy=best*", lambda route: late.append(route))
    with page.expect_request("**/detect?accuracy=best*"):
        page.select_option("#accuracy", "best")
    with page.expect_response("**/detect?accuracy=fast*"):
        page.select_option("#accuracy", "fast")
    with page.expect_response("**/detect?accuracy=best*"):
        late[0].fulfill(json={"path": "a", "width": 260, "height": 260, "faces": []})
    page.evaluate("fetch('page/info').then((answer) => answer.json())")  # after it the page has seen both
    assert page.inner_text("#message") == "1 face"
    assert page.locator("#faces li").count() == 1


def test_a_picture_that_is_left_leaves_no_answer_and_no_error(page: Any) -> None:
    late: list[Any] = []
    page.route("**/detect?*", lambda route: late.append(route))
    page.set_input_files("#file", PORTRAIT)
    page.get_by_text("Looking for faces").wait_for()
    page.click("#another")
    with page.expect_response("**/detect?*"):
        late[0].fulfill(json={"path": "a", "width": 260, "height": 260, "faces": []})
    page.evaluate("fetch('page/info').then((answer) => answer.json())")
    assert page.inner_text("#message") == ""
    assert page.is_visible("#drop")


def test_hovering_tells_a_points_numbers(page: Any) -> None:
    with_portrait(page)
    (face,) = FaceLandmarker(threads=1).detect(read_image(PORTRAIT))
    area = page.locator("#stage").bounding_box()
    x, y = (face.landmarks[30] + 0.5) / 260
    page.mouse.move(area["x"] + x * area["width"], area["y"] + y * area["height"])
    page.wait_for_selector("#tip:not([hidden])")
    assert page.inner_text("#tip").startswith("30, nose: visible 1.00, confidence 0.9")


def test_weights_side_by_side(page: Any) -> None:
    with_portrait(page)
    page.select_option("#other", "robust")
    page.wait_for_selector("#second-caption:not(:empty)")
    first, second = page.inner_text("#caption"), page.inner_text("#second-caption")
    assert first == second
    assert first.startswith("robust.onnx")


def test_a_video_and_its_timeline(page: Any, tmp_path: Path) -> None:
    portrait, path = read_image(PORTRAIT), tmp_path / "clip.webm"
    with VideoWriter(path, 10.0) as writer:
        for number in range(6):
            writer.write(np.roll(portrait, number, axis=1), number / 10)
    page.set_input_files("#file", path)
    page.get_by_text("6 frames tracked. Play it").wait_for()
    assert page.locator("#timeline").bounding_box()["height"] == 96


def test_the_camera(page: Any) -> None:
    """A browser's own test picture has no face."""
    page.click("#camera")
    page.get_by_text("0 faces, ").wait_for()
    page.click("#another")
    assert page.is_visible("#drop")


def test_the_example_needs_no_file(page: Any) -> None:
    assert page.inner_text("#none") == "None yet."
    page.click("#example")
    page.wait_for_selector("#faces li")
    assert page.inner_text("#message") == "1 face"
    assert page.is_hidden("#none")


def test_a_broken_video_is_told(page: Any, tmp_path: Path) -> None:
    """The reason is the last word."""
    (tmp_path / "a.mp4").write_bytes(b"no video" * 99)
    page.set_input_files("#file", tmp_path / "a.mp4")
    page.get_by_text("a.mp4: expected a video").wait_for()
    assert page.is_disabled("#accuracy")  # nothing there changes a video


def test_a_service_that_has_ended_is_told(page: Any) -> None:
    with_portrait(page)
    page.evaluate("void (window.fetch = () => Promise.reject(new TypeError('Failed to fetch')))")
    page.select_option("#accuracy", "best")
    page.get_by_text("srn does not answer: is it still running?").wait_for()


def test_what_is_no_picture_is_told(page: Any, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_text("no picture")
    page.set_input_files("#file", tmp_path / "a.jpg")
    page.get_by_text("a.jpg: expected a picture or a video that this browser can show").wait_for()


def test_points_of_ones_own_may_lack_components(page: Any) -> None:
    """Three points: two eyes and one more. A mask lies in their middle, and no row of the table is no number."""
    found = page.evaluate("""async () => {
        const { distances } = await import("/draw.js"), { Occlusion } = await import("/occlude.js");
        const components = { brows: [], eyes: [0, 1], nose: [2], mouth: [] };
        const scheme = { components, eye_corners: [0, 1] }, face = { landmarks: [[10, 20], [30, 20], [20, 50]] };
        const moved = { landmarks: [[12, 20], [30, 20], [20, 50]] };
        const mask = new Occlusion().add("mask", face, scheme, { width: 40, height: 60 });
        return [distances(face, moved, scheme).parts, mask.x, mask.y];
    }""")
    assert found == [[["eyes", 5], ["nose", 0]], 20, pytest.approx(30 + 0.08 * 20)]


def test_a_phones_width(page: Any) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    with_portrait(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.locator("#stage").bounding_box()["width"] <= 390
    page.locator("[data-save=json]").scroll_into_view_if_needed()
    assert page.locator("#stage").bounding_box()["y"] >= 0  # the picture stays in sight
    page.select_option("#other", "robust")  # two of them would cover everything else
    page.wait_for_selector("#second-caption:not(:empty)")
    page.locator("[data-save=json]").scroll_into_view_if_needed()
    assert page.locator("#stage").bounding_box()["y"] < 0
    page.click("#another", timeout=5_000)
