"""The page: whole, self-contained, accessible, and with the numbers of the evaluation."""

from __future__ import annotations

import base64
import dataclasses
import re
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from srn.errors import InputError
from srn.evaluation.box_curve import BoxCurve
from srn.evaluation.report.page import BEST, WORST, Report, render, write_report
from srn.evaluation.report.pictures import TILE, draw_result, sheet
from srn.evaluation.results import Evaluation, FaceResult
from srn.evaluation.speed import Speed
from srn.face.metrics import interocular, nme
from srn.face.scheme import IBUG_68
from srn.files import REPORT, Output, check_outputs
from srn.media.pictures import decode_image, write_image

Shape = npt.NDArray[np.float64]
VOID = {"meta", "link", "img", "br", "hr", "input"}


class Page(HTMLParser):
    """Checks that elements are closed in order, and keeps what there is."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] != ["style"]:
            self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.seen if name == tag]


@pytest.fixture
def results(tmp_path: Path, face: Shape, rng: np.random.Generator) -> tuple[FaceResult, ...]:
    write_image(tmp_path / "<picture>.png", rng.integers(0, 255, (200, 220, 3)).astype(np.uint8))
    target = face * 100 + [110, 100]
    made = []
    for i in range(20):
        shape = target + rng.normal(0, 0.4 * (i + 1), (68, 2))
        size = interocular(target, IBUG_68)
        made.append(
            FaceResult(
                tmp_path / "<picture>.png", "one" if i % 2 else "two & three", nme(shape, target, size), 0.4, shape,
                np.hypot(*(shape - target).T) / size, rng.random(68) < 0.5, rng.random(68).astype(np.float32),
                rng.random(68).astype(np.float32), rng.random(68) < 0.3, target, frozenset({"pose"} if i < 5 else ()),
            )
        )  # fmt: skip
    return (*made, FaceResult(tmp_path / "gone.png", "one", np.inf, np.inf, target_landmarks=target))


@pytest.fixture
def report(results: tuple[FaceResult, ...]) -> Report:
    curve = BoxCurve({0.0: 0.03, 0.1: 0.05}, {0.9: 0.04, 1.0: 0.03, 1.1: 0.05}, "interocular", "w")
    return Report(
        Evaluation(results, "interocular", "gt-box", "weights.onnx@123", scheme=IBUG_68),
        "srn evaluate 'a <b>' --report c", datetime(2026, 1, 2, 3, 4, tzinfo=UTC), "0123abcd", {"Looks": 2},
        Speed(0.02, 0.01, 16, "a processor", 1.5), curve, 12, problems=["x.png: not a picture"],
    )  # fmt: skip


def test_the_page_holds_everything(report: Report) -> None:
    page = Page(render(report))
    summary = report.evaluation.summary()
    for text in (
        f"{summary['nme'] * 100:.2f} %", f"{summary['auc']:.3f}", "weights.onnx@123", "0123abcd", "a <b>",
        "a processor, under a load of 1.5", "x.png: not a picture", "two & three", "pose", "right cheek",
        "2026-01-02", "Looks", "onnxruntime",
    ):  # fmt: skip
        assert text in page.text, text
    headings = re.sub(r"\s+", " ", page.text)
    for section in (
        "Numbers",
        "Cumulative errors",
        "By facial component",
        "Worst and best faces",
        "Inaccurate face boxes",
    ):
        assert section in headings
    assert {a["href"] for a in page.all("a")} == {f"#{s['id']}" for s in page.all("section")}


def test_only_its_own_page_is_replaced(report: Report, tmp_path: Path) -> None:
    """The user did not name the file in the folder, so --force does not name it either."""
    page = write_report(report, tmp_path)
    check_outputs([Output("--report", page, REPORT)], ())
    page.write_text("<title>Landmarks on Mars</title>")
    for force in (False, True):
        with pytest.raises(InputError, match=r"or a report page of srn, found .*index.html, a file of another kind$"):
            check_outputs([Output("--report", page, REPORT)], (), force=force)
    page.unlink()
    page.mkdir()
    with pytest.raises(InputError, match=r"expected a file for a report page of srn, found .*, a folder"):
        check_outputs([Output("--report", page, REPORT)], ())


def test_nothing_comes_from_outside(report: Report) -> None:
    text = render(report)
    page = Page(text)
    assert not page.all("script")
    for tag, attributes in page.seen:
        for name in ("src", "href", "srcset", "action", "data"):
            value = attributes.get(name)
            assert value is None or value.startswith(("data:", "#")), (tag, value)
    assert "url(" not in re.sub(r"url\(#clip-\d+\)", "", text)
    assert "@import" not in text
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", text)


def test_it_can_be_read_without_seeing(report: Report) -> None:
    page = Page(render(report))
    assert page.all("html")[0]["lang"] == "en"
    assert all(image["alt"] for image in page.all("img"))
    assert all(chart["role"] == "img" for chart in page.all("svg"))
    assert len(page.all("title")) == len(page.all("svg")) + 1  # each chart's, and the page's
    assert page.all("th")
    assert all(head.get("scope") in ("col", "row") for head in page.all("th"))
    assert len(page.all("caption")) == len(page.all("table"))
    assert len({i for _, a in page.seen if (i := a.get("id"))}) == len([1 for _, a in page.seen if a.get("id")])
    assert len(page.all("h1")) == 1


def test_the_worst_and_the_best_faces_are_drawn(report: Report) -> None:
    page = Page(render(report))
    images = page.all("img")
    assert len(images) == WORST - 1 + BEST  # the missed face is among the worst, and its picture is gone
    errors = [float(re.search(r"error ([\d.]+) %", image["alt"] or "").group(1)) for image in images]  # type: ignore[union-attr]
    worst, best = errors[: WORST - 1], errors[WORST - 1 :]
    assert worst == sorted(worst, reverse=True)
    assert best == sorted(best)
    assert worst[0] == pytest.approx(
        max(r.nme for r in report.evaluation.results if np.isfinite(r.nme)) * 100, abs=0.01
    )
    content = (images[0]["src"] or "").partition("base64,")[2]
    assert decode_image(base64.b64decode(content), "tile").shape == (TILE, TILE, 3)


def test_what_was_not_measured_is_left_out(report: Report, results: tuple[FaceResult, ...]) -> None:
    bare = tuple(
        dataclasses.replace(r, visibility=None, confidence=None, occluded=None, attributes=frozenset()) for r in results
    )
    short = dataclasses.replace(
        report, evaluation=dataclasses.replace(report.evaluation, results=bare), speed=None, box_curve=None, problems=()
    )
    page = Page(render(short))
    shown = {section["id"] for section in page.all("section")}
    assert shown == {"numbers", "curve", "components", "faces", "origin"}
    assert "nan" not in page.text.lower()


def test_a_page_of_missed_faces_only(report: Report, results: tuple[FaceResult, ...]) -> None:
    empty = dataclasses.replace(report, evaluation=dataclasses.replace(report.evaluation, results=results[-1:]))
    page = Page(render(empty))
    assert "–" in page.text
    assert "nan" not in page.text.lower()


def test_the_file(report: Report, tmp_path: Path) -> None:
    path = write_report(report, tmp_path / "out" / "deep")
    assert path == tmp_path / "out" / "deep" / "index.html"
    assert path.read_text(encoding="utf-8") == render(report)


def test_a_drawn_face_shows_prediction_and_truth(results: tuple[FaceResult, ...]) -> None:
    target = results[0].target_landmarks
    assert target is not None
    shape = target.mean(axis=0) + 0.9 * (target - target.mean(axis=0))  # inside the true box: the crop stays the same
    one = dataclasses.replace(results[0], landmarks=shape)
    plain = draw_result(dataclasses.replace(one, landmarks=None), IBUG_68, truth=False)
    with_truth = draw_result(dataclasses.replace(one, landmarks=None), IBUG_68)
    both = draw_result(one, IBUG_68)
    assert plain is not None
    assert with_truth is not None
    assert both is not None
    assert 0 < (with_truth != plain).any(-1).sum() < (both != plain).any(-1).sum() < both.size / 3 / 4
    assert draw_result(dataclasses.replace(one, target_landmarks=None), IBUG_68) is None


def test_a_sheet() -> None:
    tiles = [np.full((10, 10, 3), i, np.uint8) for i in range(7)]
    page = sheet(tiles, columns=5, gap=2)
    assert page.shape == (22, 58, 3)
    assert (page[15, 15] == 6).all()
    assert (page[:, 11] == 255).all()
    assert sheet(tiles[:2], gap=2).shape == (10, 22, 3)


def test_charts_can_be_read_on_a_telephone(report: Report, tmp_path: Path, browser: Any) -> None:
    """Text is 10 pixels high or more, and none is cut off, at the widths of a telephone and of a desk."""
    page_file = write_report(report, tmp_path)
    for width in (390, 1280):
        page = browser.new_page(viewport={"width": width, "height": 900})
        page.goto(page_file.as_uri())
        charts = page.evaluate(_CHARTS)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert len(charts) == 5  # errors, components, two of boxes, confidence
        assert all(chart["size"] >= 10 and chart["beyond"] < 1 for chart in charts), charts
        page.close()


_CHARTS = """[...document.querySelectorAll("svg.chart")].filter((svg) => svg.checkVisibility()).map((svg) => {
  const whole = svg.getBoundingClientRect(), texts = [...svg.querySelectorAll("text")];
  const over = texts.map((text) => text.getBoundingClientRect()).map((area) =>
    Math.max(whole.left - area.left, area.right - whole.right, whole.top - area.top, area.bottom - whole.bottom));
  return { size: parseFloat(getComputedStyle(texts[0]).fontSize) * svg.getScreenCTM().a, beyond: Math.max(...over) };
})"""
