"""`srn detect`: formats, folders, bad files, own boxes, and that nothing is written over."""

from __future__ import annotations

import csv
import json
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from matplotlib.cbook import get_sample_data

from srn.cli import detect as detect_module
from srn.cli import options
from srn.datasets.coco import read_coco
from srn.datasets.report import ReadingReport
from srn.face.geometry import Box
from srn.face.scheme import IBUG_68
from srn.inference.batch import detect_pictures
from srn.media.pictures import read_image, write_image
from srn.media.pts import format_pts, read_pts

from .conftest import coordinate_file

Shape = npt.NDArray[np.float64]
Run = Callable[..., Any]
File = Callable[..., Path]


def boxes_file(path: Path, boxes: dict[str, list[list[float]]]) -> Path:
    path.write_text(json.dumps(boxes))
    return path


def box_around(shape: Shape) -> list[float]:
    return [*shape.min(axis=0).tolist(), *shape.max(axis=0).tolist()]


@pytest.fixture
def three(tmp_path: Path, truths: dict[int, Shape]) -> Path:
    """A folder with three pictures, one in a folder inside, and their boxes in `boxes.json` beside it."""
    for name, blue in (("a.png", 0), ("b.PNG", 100), ("in/c.png", 200)):
        coordinate_file(tmp_path / "faces" / name, blue)
    (tmp_path / "faces" / "notes.txt").write_text("no picture")
    blues = {"a.png": 0, "b.PNG": 100, "c.png": 200}
    boxes_file(tmp_path / "boxes.json", {name: [box_around(truths[blue])] for name, blue in blues.items()})
    return tmp_path / "faces"


def test_json_on_the_standard_output(srn: Run, knowing: Any, three: Path, truths: dict[int, Shape]) -> None:
    ran = srn("detect", three, "--boxes", three.parent / "boxes.json")
    assert ran.code == 0
    values = json.loads(ran.out)
    assert set(values) == {"images"}
    assert [Path(image["path"]).relative_to(three).as_posix() for image in values["images"]] == [
        "a.png", "b.PNG", "in/c.png",
    ]  # fmt: skip
    for image, truth in zip(values["images"], truths.values(), strict=True):
        assert set(image) == {"path", "width", "height", "faces"}
        assert (image["width"], image["height"]) == (256, 256)
        (face,) = image["faces"]
        assert set(face) == {"box", "score", "landmarks", "visibility", "confidence"}
        np.testing.assert_allclose(face["landmarks"], truth, atol=0.2)
        np.testing.assert_allclose(face["box"], box_around(truth), atol=0.006)
        assert face["score"] == 1.0
    assert ran.err.strip() == "3 faces in 3 pictures"


def test_json_file_leaves_the_standard_output_alone(srn: Run, knowing: Any, three: Path, tmp_path: Path) -> None:
    boxes = tmp_path / "boxes.json"
    plain = srn("detect", three, "--boxes", boxes)
    ran = srn("detect", three, "--boxes", boxes, "--json", tmp_path / "new" / "faces.json")
    assert (ran.code, ran.out) == (0, "")
    assert json.loads((tmp_path / "new" / "faces.json").read_text()) == json.loads(plain.out)


def test_overlays(srn: Run, knowing: Any, three: Path, tmp_path: Path) -> None:
    ran = srn("detect", three, "--boxes", tmp_path / "boxes.json", "--out", tmp_path / "drawn")
    assert (ran.code, ran.out) == (0, "")
    files = sorted(path.relative_to(tmp_path / "drawn").as_posix() for path in (tmp_path / "drawn").rglob("*.*"))
    assert files == ["a_landmarks.jpg", "b_landmarks.jpg", "in/c_landmarks.jpg"]
    drawn, original = read_image(tmp_path / "drawn" / "a_landmarks.jpg"), read_image(three / "a.png")
    assert drawn.shape == original.shape
    changed = np.any(np.abs(drawn.astype(int) - original) > 60, axis=-1)
    assert 0.005 < changed.mean() < 0.4
    assert not changed[:50].any()  # nothing above the box
    ran = srn("detect", three, "--boxes", tmp_path / "boxes.json", "--out", tmp_path / "none", "--no-overlay")
    assert ran.code == 2
    assert "nothing is written" in ran.err
    assert not (tmp_path / "none").exists()


def test_pts(srn: Run, knowing: Any, three: Path, tmp_path: Path, truths: dict[int, Shape]) -> None:
    out = tmp_path / "out"
    arguments = ("--boxes", tmp_path / "boxes.json", "--out", out, "--format", "pts", "--no-overlay")
    assert srn("detect", three, *arguments).code == 0
    assert sorted(p.relative_to(out).as_posix() for p in out.rglob("*.*")) == ["a.pts", "b.pts", "in/c.pts"]
    for name, truth in zip(("a", "b", "in/c"), truths.values(), strict=True):
        np.testing.assert_allclose(read_pts(out / f"{name}.pts", 68), truth, atol=0.2)
        first = (out / f"{name}.pts").read_text().splitlines()[3].split()  # 1-based in the file
        np.testing.assert_allclose([float(v) for v in first], truth[0] + 1, atol=0.2)


def test_csv(
    srn: Run, use_localizer: Callable[[Any], None], fake_localizer: Any, face: Shape, three: Path, tmp_path: Path
) -> None:
    visibility = np.linspace(0, 1, 68)
    use_localizer(fake_localizer(lambda crop: (face * 60 + 47.5, visibility, np.full(68, 0.01))))
    arguments = ("--boxes", tmp_path / "boxes.json", "--out", tmp_path / "out", "--format", "csv", "--json")
    assert srn("detect", three, *arguments, tmp_path / "faces.json").code == 0
    with (tmp_path / "out" / "landmarks.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    names = ["path", "face", "point", "x", "y", "visibility", "confidence"]
    assert list(rows[0]) == [*names, "covariance_xx", "covariance_xy", "covariance_yy"]
    images = json.loads((tmp_path / "faces.json").read_text())["images"]
    expected = [
        (image["path"], str(f), str(i), *point, found["visibility"][i], found["confidence"][i])
        for image in images
        for f, found in enumerate(image["faces"])
        for i, point in enumerate(found["landmarks"])
    ]
    numbers = ("x", "y", "visibility", "confidence")
    got = [(r["path"], r["face"], r["point"], *(float(r[name]) for name in numbers)) for r in rows]
    assert got == expected
    assert len(rows) == 3 * 68


def test_csv_where_the_weights_say_less(srn: Run, knowing: Any, three: Path, tmp_path: Path) -> None:
    arguments = ("--boxes", tmp_path / "boxes.json", "--out", tmp_path, "--format", "csv", "--no-overlay")
    assert srn("detect", three / "a.png", *arguments).code == 0
    lines = (tmp_path / "landmarks.csv").read_text().splitlines()
    assert len(lines) == 69
    assert all(line.endswith(",,,,,") for line in lines[1:])


def test_several_paths_keep_their_order(srn: Run, knowing: Any, three: Path, tmp_path: Path) -> None:
    ran = srn("detect", three / "b.PNG", three / "in", three / "a.png", "--boxes", tmp_path / "boxes.json")
    assert [Path(image["path"]).name for image in json.loads(ran.out)["images"]] == ["b.PNG", "c.png", "a.png"]


def test_more_pictures_than_one_batch(srn: Run, knowing: Any, tmp_path: Path) -> None:
    for index in range(19):
        coordinate_file(tmp_path / "many" / f"{index:02}.png", (0, 100, 200)[index % 3])
    boxes = boxes_file(tmp_path / "b.json", {f"{i:02}.png": [[70, 70, 180, 190]] for i in range(19)})
    ran = srn("detect", tmp_path / "many", "--boxes", boxes)
    images = json.loads(ran.out)["images"]
    assert [Path(image["path"]).stem for image in images] == [f"{i:02}" for i in range(19)]
    for index, image in enumerate(images):
        np.testing.assert_allclose(
            image["faces"][0]["landmarks"], images[index % 3]["faces"][0]["landmarks"], atol=1e-9
        )


# --- what goes wrong


def test_a_bad_file_in_a_list_keeps_going(srn: Run, knowing: Any, three: Path, tmp_path: Path) -> None:
    (three / "aa_broken.jpg").write_bytes(b"broken")
    (three / "empty.png").write_bytes(b"")
    arguments = ("--boxes", tmp_path / "boxes.json", "--out", tmp_path / "out", "--json", tmp_path / "faces.json")
    ran = srn("detect", three, *arguments)
    assert ran.code == 1
    without_box, summary, *failed = ran.err.splitlines()
    assert without_box.startswith(f"not in {tmp_path / 'boxes.json'}: {three / 'aa_broken.jpg'}, ")
    assert summary.startswith("3 faces in 3 pictures, drawn in ")
    assert failed == [
        f"failed: {three / 'aa_broken.jpg'}: expected a picture (JPEG, PNG, WebP, ...), "
        "found 6 bytes that do not decode to one",
        f"failed: {three / 'empty.png'}: expected a picture (JPEG, PNG, WebP, ...), "
        "found 0 bytes that do not decode to one",
    ]
    assert len(json.loads((tmp_path / "faces.json").read_text())["images"]) == 3
    assert len(list((tmp_path / "out").rglob("*.jpg"))) == 3


def test_a_file_that_is_no_picture(srn: Run, knowing: Any, three: Path) -> None:
    ran = srn("detect", three / "notes.txt")
    assert ran.code == 1
    assert json.loads(ran.out) == {"images": []}
    assert "notes.txt: expected a picture" in ran.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nowhere.jpg",), "nowhere.jpg: expected a picture or a folder, found no such file"),
        (("faces/a.png", "nowhere"), "nowhere: expected a picture or a folder, found no such file"),
        (("empty",), "empty: expected a folder with pictures, found none"),
        (("faces", "--format", "pts"), "--format pts: expected --out DIR to write into, found none"),
        (("faces", "--format", "csv"), "--format csv: expected --out DIR to write into, found none"),
        (
            ("faces", "--boxes", "none.json"),
            "none.json: expected a readable file of boxes (.json or .csv), found No such file or directory",
        ),
        (
            ("faces", "--boxes", "bad.csv"),
            "bad.csv: line 2: expected four numbers x0 < x1, y0 < y1 as 'x0, y0, x1, y1', found 9 2 3 4",
        ),
        *(
            (
                ("faces", "--boxes", "bad.csv", *words),
                f"{words[0]}: expected no such option with --boxes, which says where the faces are, found one",
            )
            for words in (("--max-faces", "2"), ("--smallest", "30"), ("--largest",), ("--yunet", "a.onnx"))
        ),
        (
            ("faces", "--largest", "--max-faces", "2"),
            "--max-faces: expected no such option with --largest, found one",
        ),
        (("faces", "--workers", "2"), "--workers: expected no such option with --engine local, found one"),
    ],
)
def test_mistakes_are_told_in_one_line(
    srn: Run, knowing: Any, three: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], message: str
) -> None:
    monkeypatch.chdir(three.parent)
    Path("empty").mkdir()
    Path("bad.csv").write_text("a.png,1,2,3,4\na.png,9,2,3,4\n")
    assert srn("detect", *arguments).mistake == message


def test_weights_that_are_not_there(srn: Run, three: Path) -> None:
    expected = "none.onnx: expected a network exported by 'srn export' (.onnx), found no such file"
    assert srn("detect", three, "--weights", "none.onnx").mistake == expected
    assert "YuNet" in srn("detect", three, "--yunet", "none.onnx").mistake


def test_an_out_that_is_a_file(srn: Run, knowing: Any, three: Path, tmp_path: Path) -> None:
    ran = srn("detect", three, "--boxes", tmp_path / "boxes.json", "--out", three / "notes.txt")
    expected = f"--out: expected a folder that can be made, found {three / 'notes.txt'}, which is no folder"
    assert ran.mistake == expected


# --- many pictures


def test_a_run_goes_on_with_the_same_options_only(
    srn: Run, knowing: Any, three: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*arguments: Any, **options: Any) -> Any:
        yield from detect_pictures(*arguments, **options)
        raise KeyboardInterrupt

    arguments = ("detect", three, "--boxes", tmp_path / "boxes.json", "--json", tmp_path / "o.json", "--out", tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr("srn.cli.detect.detect_pictures", interrupted)
        assert srn(*arguments).code == 130
    assert json.loads((tmp_path / "o.json").read_text())["partial"] is True
    (tmp_path / "a_landmarks.jpg").unlink()  # it is not made twice
    journal = tmp_path / ".o.json.partial.jsonl"
    for more, message in (
        (("--min-score", "0.5"), f"--min-score 0.0, as in the run that was left in {journal}, found 0.5"),
        (("--no-overlay",), f"--overlay True, as in the run that was left in {journal}, found False"),
    ):
        assert srn(*arguments, "--resume", *more).mistake == f"--resume: expected {message}"
    boxes = (tmp_path / "boxes.json").read_text()
    boxes_file(tmp_path / "boxes.json", {**json.loads(boxes), "more.png": [[1, 2, 3, 4]]})  # of the same name
    assert re.match(
        r"--resume: expected --boxes \S+boxes.json \(\w{12}\), as in the run .*, found \S+boxes.json \(\w{12}\)$",
        srn(*arguments, "--resume").mistake,
    )
    (tmp_path / "boxes.json").write_text(boxes)
    ran = srn(*arguments, "--resume", "--threads", "1", "--verbose")
    assert ran.code == 0
    assert ran.err.splitlines()[0] == "3 of 3 pictures are done"
    assert ran.err.splitlines()[-1].startswith("3 faces in 3 pictures")
    assert set(json.loads((tmp_path / "o.json").read_text())) == {"images"}
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == [
        "b_landmarks.jpg", "boxes.json", "o.json",
    ]  # fmt: skip
    again = srn(*arguments, "--resume")
    assert again.err.splitlines()[0] == "no run was left there: a new one begins"
    assert (tmp_path / "a_landmarks.jpg").is_file()
    assert "--resume: expected --json FILE or --out DIR" in srn("detect", three, "--resume").mistake


def test_a_run_goes_on_with_pictures_that_have_changed(
    srn: Run, knowing: Any, three: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another picture of the same name is looked at; what was deleted is left out, what is new is added."""

    def interrupted(*arguments: Any, **options: Any) -> Any:
        yield from detect_pictures(*arguments, **options)
        raise KeyboardInterrupt

    arguments = ("detect", three, "--boxes", tmp_path / "boxes.json", "--json", tmp_path / "o.json")
    with monkeypatch.context() as patch:
        patch.setattr("srn.cli.detect.detect_pictures", interrupted)
        assert srn(*arguments).code == 130
    coordinate_file(three / "a.png", size=(300, 280))
    (three / "b.PNG").unlink()
    coordinate_file(three / "new.png")
    ran = srn(*arguments, "--resume")
    assert ran.code == 0
    lines = ["1 of 3 pictures are done", f"changed since, and looked at again: {three / 'a.png'}"]
    assert ran.err.splitlines()[:2] == lines
    images = json.loads((tmp_path / "o.json").read_text())["images"]
    assert [(Path(one["path"]).name, one["width"]) for one in images] == [
        ("a.png", 300),
        ("c.png", 256),
        ("new.png", 256),
    ]


@pytest.mark.parametrize("kind", ["csv", "coco"])
def test_interrupted_before_the_first_picture_older_results_stay(
    srn: Run, knowing: Any, three: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    def interrupted(*arguments: Any, **options: Any) -> Iterator[Any]:
        yield from ()
        raise KeyboardInterrupt

    results = tmp_path / "results"
    arguments = ("detect", three, "--boxes", tmp_path / "boxes.json", "--json", tmp_path / "o.json", "--out", results)
    assert srn(*arguments, "--format", kind).code == 0
    files = [tmp_path / "o.json", *(path for path in results.rglob("*") if path.is_file())]
    older = {path: path.read_bytes() for path in files}
    monkeypatch.setattr("srn.cli.detect.detect_pictures", interrupted)
    assert srn(*arguments, "--format", kind).code == 130
    assert {path: path.read_bytes() for path in older} == older


@pytest.mark.parametrize(("option", "written"), [("--json", '{"images":[]}\n'), ("--jsonl", "")])
def test_lines_that_ray_prints_are_not_among_the_results(
    srn: Run, knowing: Any, three: Path, monkeypatch: pytest.MonkeyPatch, option: str, written: str
) -> None:
    """Where a worker dies, Ray prints that on the standard output, and begins its block again."""

    def dying(*given: Any, **options: Any) -> Iterator[list[Any]]:
        print("(raylet) A worker died")
        yield []

    monkeypatch.setattr(detect_module, "check_ray", lambda: None)
    monkeypatch.setattr(detect_module, "detect_on_ray", dying)
    stream = sys.stdout
    ran = srn("detect", three, "--engine", "ray", option, "-")
    assert ran.out == written
    assert ran.err == "(raylet) A worker died\n0 faces in 0 pictures\n"
    assert sys.stdout is stream


def test_without_ray_the_journal_of_an_earlier_run_is_kept(
    srn: Run, knowing: Any, three: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    journal = tmp_path / ".a.json.partial.jsonl"
    for content in (None, '{"--json":"a.json"}\n'):
        if content is not None:
            journal.write_text(content)
        ran = srn("detect", three, "--json", tmp_path / "a.json", "--engine", "ray")
        assert (ran.code, ran.err) == (2, "srn: --engine ray needs ray; install it with: pip install 'srn[ray]'\n")
        assert (journal.read_text() if journal.exists() else None) == content


def test_progress_is_a_line_where_there_is_no_terminal(
    srn: Run, knowing: Any, three: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(options, "LINE_EVERY", 0.0)
    ran = srn("detect", three, "--boxes", tmp_path / "boxes.json")
    line, summary = ran.err.splitlines()
    assert re.fullmatch(r"3 of 3 pictures, [\d.]+ a second, 0:00:00 left", line)
    assert summary == "3 faces in 3 pictures"
    alone = srn("detect", three / "a.png", "--boxes", tmp_path / "boxes.json")
    assert "a second" not in alone.err


# --- boxes and faces


@pytest.mark.parametrize("key", ["name", "path"])
def test_own_boxes_in_their_order(
    srn: Run, knowing: Any, three: Path, tmp_path: Path, key: str, truths: dict[int, Shape]
) -> None:
    picture = three / "a.png"
    boxes = tmp_path / "own.csv"
    name = picture.name if key == "name" else str(picture)
    boxes.write_text(f"path,x0,y0,x1,y1\n{name},75,65,175,185\n{name},60,70,180,190\n")
    images = json.loads(srn("detect", picture, three / "b.PNG", "--boxes", boxes).out)["images"]
    assert [face["box"] for face in images[0]["faces"]] == [[75, 65, 175, 185], [60, 70, 180, 190]]
    for face in images[0]["faces"]:
        np.testing.assert_allclose(face["landmarks"], truths[0], atol=0.3)
    assert images[1]["faces"] == []  # not in the file


def test_no_face_is_an_empty_list(srn: Run, knowing: Any, tmp_path: Path) -> None:
    write_image(tmp_path / "wall.png", np.full((120, 160, 3), 200, np.uint8))
    ran = srn("detect", tmp_path / "wall.png", "--out", tmp_path / "out", "--format", "pts")
    assert ran.code == 0
    assert ran.err.startswith("0 faces in 1 picture")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["wall_landmarks.jpg"]
    ran = srn("detect", tmp_path / "wall.png")
    image = {"path": str(tmp_path / "wall.png"), "width": 160, "height": 120, "faces": []}
    assert json.loads(ran.out) == {"images": [image]}


@pytest.fixture
def portrait() -> Path:
    """Grace Hopper, public domain, from Matplotlib's sample data."""
    return Path(str(get_sample_data("grace_hopper.jpg", asfileobj=False)))


def test_the_built_in_finder_and_the_lowest_score(
    srn: Run, use_localizer: Callable[[Any], None], fake_localizer: Any, face: Shape, portrait: Path
) -> None:
    use_localizer(fake_localizer(lambda crop: (face * 60 + 47.5, None, None)))
    ran = srn("detect", portrait, "--threads", "1")
    (found,) = json.loads(ran.out)["images"][0]["faces"]
    assert Box(*found["box"]).iou(Box(178, 170, 350, 332)) > 0.7  # read off the picture
    assert 0.5 < found["score"] < 1
    higher = srn("detect", portrait, "--min-score", found["score"] + 0.01)
    assert json.loads(higher.out)["images"][0]["faces"] == []


def test_the_accuracy_is_heard(srn: Run, knowing: Any, three: Path, tmp_path: Path) -> None:
    for words, calls in (((), 2), (("--accuracy", "fast"), 1), (("--accuracy", "best", "--flip-average"), 4)):
        knowing.batches.clear()
        assert srn("detect", three / "a.png", "--boxes", tmp_path / "boxes.json", *words).code == 0
        assert len(knowing.batches) == calls


# --- nothing is written over


def test_pictures_of_one_stem(srn: Run, knowing: Any, tmp_path: Path, truths: dict[int, Shape]) -> None:
    first = coordinate_file(tmp_path / "x" / "a.png", 0)
    second = coordinate_file(tmp_path / "x" / "a.bmp", 100)
    third = coordinate_file(tmp_path / "y" / "a.png", 200)
    boxes = boxes_file(tmp_path / "b.json", {name: [[75, 65, 185, 185]] for name in ("a.png", "a.bmp")})
    out = tmp_path / "out"
    assert srn("detect", first, second, third, "--boxes", boxes, "--out", out, "--format", "pts").code == 0
    assert sorted(path.name for path in out.iterdir()) == [
        "a.pts", "a_2.pts", "a_2_landmarks.jpg", "a_3.pts", "a_3_landmarks.jpg", "a_landmarks.jpg",
    ]  # fmt: skip
    for name, truth in zip(("a", "a_2", "a_3"), truths.values(), strict=True):
        np.testing.assert_allclose(read_pts(out / f"{name}.pts"), truth, atol=0.3)


def test_points_of_faces_that_are_no_more_are_told(
    srn: Run, knowing: Any, three: Path, tmp_path: Path, truths: dict[int, Shape]
) -> None:
    """They are kept: `a_2.pts` may be of a picture `a_2` in another run."""
    out, two = tmp_path / "out", [box_around(truths[0])] * 2
    arguments = ("detect", three / "a.png", "--out", out, "--format", "pts", "--no-overlay", "--boxes")
    ran = srn(*arguments, boxes_file(tmp_path / "two.json", {"a.png": two}))
    assert ran.err.splitlines() == ["2 faces in 1 picture"]
    ran = srn(*arguments, boxes_file(tmp_path / "one.json", {"a.png": two[:1]}))
    assert ran.err.splitlines() == ["1 face in 1 picture", f"points of an earlier run stay: {out / 'a_2.pts'}"]
    ran = srn(*arguments, boxes_file(tmp_path / "none.json", {"a.png": []}))
    assert ran.err.splitlines() == ["0 faces in 1 picture", f"points of an earlier run stay: {out / 'a.pts'}"]
    assert sorted(path.name for path in out.iterdir()) == ["a.pts", "a_2.pts"]


def test_further_faces_keep_off_other_pictures_names(
    srn: Run, knowing: Any, tmp_path: Path, truths: dict[int, Shape]
) -> None:
    """A second face of `a` must not take the file of the picture `a_2`."""
    pictures = [coordinate_file(tmp_path / "a.png", 0), coordinate_file(tmp_path / "a_2.png", 100)]
    box = [75.0, 65, 185, 185]
    boxes = boxes_file(tmp_path / "b.json", {"a.png": [box] * 3, "a_2.png": [box] * 2})
    out = tmp_path / "out"
    assert srn("detect", *pictures, "--boxes", boxes, "--out", out, "--format", "pts", "--no-overlay").code == 0
    names = {path.name: read_pts(path) for path in out.iterdir()}
    assert set(names) == {"a.pts", "a_3.pts", "a_4.pts", "a_2.pts", "a_2_2.pts"}
    for name, shape in names.items():
        np.testing.assert_allclose(shape, truths[100 if name.startswith("a_2") else 0], atol=0.3)


def test_boxes_of_none_of_the_pictures_are_a_mistake(srn: Run, knowing: Any, three: Path, tmp_path: Path) -> None:
    boxes = boxes_file(tmp_path / "other.json", {"x.png": [[1, 2, 3, 4]], "y.png": []})
    ran = srn("detect", three, "--boxes", boxes, "--json", tmp_path / "faces.json")
    assert ran.mistake == (
        f"{boxes}: expected boxes of the pictures, such as {three / 'a.png'}, found only those of others, such as x.png"
    )
    assert srn("detect", three, "--boxes", boxes_file(boxes, {})).mistake.endswith("found none")
    assert not (tmp_path / "faces.json").exists()


def test_names_with_brackets_and_unicode(srn: Run, knowing: Any, three: Path, tmp_path: Path) -> None:
    folder = tmp_path / "[bold] Gesichter ä"
    folder.mkdir()
    shutil.copy(three / "a.png", folder / "[a] é.png")
    boxes = boxes_file(tmp_path / "[b].json", {"[a] é.png": [], "[c].png": []})
    ran = srn("detect", folder, "--boxes", boxes, "--out", folder / "[red]")
    assert ran.code == 0
    assert ran.err.splitlines() == [
        f"in {boxes}, but not among the pictures: [c].png", f"0 faces in 1 picture, drawn in {folder / '[red]'}",
    ]  # fmt: skip
    assert (folder / "[red]" / "[a] é_landmarks.jpg").is_file()


def test_found_faces_as_coco_are_a_dataset(
    srn: Run, knowing: Any, three: Path, tmp_path: Path, truths: dict[int, Shape]
) -> None:
    arguments = ("--boxes", tmp_path / "boxes.json", "--format", "coco", "--no-overlay")
    assert srn("detect", three, *arguments, "--out", three).code == 0
    (tmp_path / "moved").mkdir()
    moved = three.rename(tmp_path / "moved" / "set")
    ran = srn("data", "check", moved)
    assert (ran.code, ran.err.strip()) == (0, "")
    assert "3 faces" in ran.out
    result = srn("evaluate", moved, "--no-cache", "--json", tmp_path / "result.json")
    assert result.code == 0
    assert json.loads((tmp_path / "result.json").read_text())["nme"] < 0.005  # of what they were found with

    # Beside other pictures it is no dataset, and says why.
    assert srn("detect", moved, *arguments, "--out", tmp_path / "apart").code == 0
    ran = srn("data", "check", tmp_path / "apart")
    assert ran.code == 1
    assert f"expected a picture in {tmp_path / 'apart'}: the COCO file belongs beside its pictures" in ran.out


# --- the real thing


def test_random_weights_end_to_end(srn: Run, tiny_weights: Path, portrait: Path) -> None:
    arguments = ("detect", portrait, "--weights", tiny_weights, "--threads", "1", "--all")
    first, second = srn(*arguments), srn(*arguments)
    assert first.code == 0
    assert first.out == second.out
    (face,) = json.loads(first.out)["images"][0]["faces"]
    assert np.shape(face["landmarks"]) == (68, 2)
    assert len(face["visibility"]) == len(face["confidence"]) == 68


def test_shipped_weights_end_to_end(srn: Run, robust_weights: Path, portrait: Path, tmp_path: Path) -> None:
    ran = srn("detect", portrait, "--threads", "1", "--out", tmp_path, "--json", tmp_path / "faces.json")
    assert ran.code == 0
    (face,) = json.loads((tmp_path / "faces.json").read_text())["images"][0]["faces"]
    landmarks = np.array(face["landmarks"])
    assert Box.around(landmarks).iou(Box(178, 170, 350, 332)) > 0.75
    assert (tmp_path / "grace_hopper_landmarks.jpg").is_file()


def test_point_files_never_go_beside_the_pictures(srn: Run, three: Path) -> None:
    (three / "a.pts").write_text("the annotation")
    ran = srn("detect", three, "--out", three, "--format", "pts")
    assert ran.mistake == f"--out: expected another folder than the pictures' own, for .pts files, found {three}"
    assert (three / "a.pts").read_text() == "the annotation"


def test_annotated_points_in_the_output_folder_are_kept(srn: Run, knowing: Any, three: Path, tmp_path: Path) -> None:
    boxes, out = tmp_path / "boxes.json", tmp_path / "out"
    arguments = ("detect", three, "--boxes", boxes, "--out", out, "--format", "pts", "--no-overlay")
    assert srn(*arguments).code == 0
    found = (out / "a.pts").read_bytes()
    assert srn(*arguments).code == 0  # found points may be found again
    for name in ("a.pts", "a_2.pts"):  # the second would be that of a further face
        annotated = format_pts(read_pts(out / "a.pts"))
        (out / name).write_text(annotated)
        ran = srn(*arguments)
        assert ran.code == 2
        assert f"{out / name}, a .pts file that srn did not write (--force replaces it)" in ran.mistake
        assert (out / name).read_text() == annotated
        (out / "a.pts").write_bytes(found)
    assert srn(*arguments, "--force").code == 0


def test_coco(
    srn: Run, knowing: Any, three: Path, tmp_path: Path, truths: dict[int, Shape], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Written where the names of the pictures lead from, the file can be read as a dataset."""
    monkeypatch.chdir(tmp_path)
    arguments = ("--boxes", "boxes.json", "--out", tmp_path, "--format", "coco", "--no-overlay")
    assert srn("detect", "faces", *arguments).code == 0
    report = ReadingReport()
    samples = read_coco(tmp_path / "landmarks.json", IBUG_68, report)
    assert report.problems == []
    assert [sample.path for sample in samples] == [three / "a.png", three / "b.PNG", three / "in" / "c.png"]
    boxes = [found["bbox"] for found in json.loads((tmp_path / "landmarks.json").read_text())["annotations"]]
    for sample, (x, y, width, height), truth in zip(samples, boxes, truths.values(), strict=True):
        np.testing.assert_allclose(sample.landmarks, truth, atol=0.2)
        np.testing.assert_allclose([x, y, x + width, y + height], box_around(truth), atol=0.02)


def test_what_is_left_out_is_told(
    srn: Run, knowing: Any, three: Path, tmp_path: Path, truths: dict[int, Shape]
) -> None:
    for name in ("raw.CR2", "sketch.psd"):
        (three / name).write_bytes(b"of another program")
    boxes = boxes_file(tmp_path / "own.json", {"./a.png": [box_around(truths[0])], "a.png": [], "elsewhere.jpg": []})
    ran = srn("detect", three, "--boxes", boxes, "--json", tmp_path / "o.json")
    assert ran.code == 0
    assert ran.err.splitlines() == [
        f"of a format that is not read: {three / 'raw.CR2'}, {three / 'sketch.psd'}",
        f"not in {boxes}: {three / 'b.PNG'}, {three / 'in' / 'c.png'}",
        f"in {boxes}, but not among the pictures: ./a.png, elsewhere.jpg",
        "0 faces in 3 pictures",
    ]
    ran = srn("detect", three, "--boxes", boxes, "--json", tmp_path / "o.json", "--verbose")
    assert ran.err.splitlines()[1] == f"no picture: {three / 'notes.txt'}"
    assert ran.err.splitlines()[4:7] == [f"no face: {three / name}" for name in ("a.png", "b.PNG", "in/c.png")]
    many: dict[str, list[list[float]]] = {f"{number}.jpg": [] for number in range(9)}
    many["a.png"] = [box_around(truths[0])]
    ran = srn("detect", three / "a.png", "--boxes", boxes_file(tmp_path / "many.json", many))
    line = "in {}, but not among the pictures: 0.jpg, 1.jpg, 2.jpg, 3.jpg, 4.jpg and 4 more"
    assert ran.err.splitlines()[0] == line.format(tmp_path / "many.json")


def test_lines_go_to_jsonl(srn: Run, knowing: Any, tmp_path: Path, truths: Any) -> None:
    """To a file of any name and to the standard output the same line for each picture."""
    picture = coordinate_file(tmp_path / "a.png")
    box = [*truths[0].min(axis=0).tolist(), *truths[0].max(axis=0).tolist()]
    (tmp_path / "boxes.json").write_text(json.dumps({str(picture): [box]}))
    common = (picture, "--boxes", tmp_path / "boxes.json", "--jsonl")
    ran = srn("detect", *common, "-")
    assert ran.code == 0, ran.err
    (line,) = ran.out.splitlines()
    assert json.loads(line)["path"] == str(picture)
    assert srn("detect", *common, tmp_path / "faces.txt").code == 0
    assert (tmp_path / "faces.txt").read_text() == ran.out
    both = srn("detect", *common, tmp_path / "b.jsonl", "--json", tmp_path / "c.json").mistake
    assert both == f"--jsonl: expected no --json beside it, found {tmp_path / 'c.json'}"


def test_parquet_has_the_rows_of_csv(srn: Run, knowing: Any, tmp_path: Path, truths: Any) -> None:
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    picture = coordinate_file(tmp_path / "a.png")
    (tmp_path / "boxes.json").write_text(json.dumps({str(picture): [[70, 80, 170, 180]]}))
    for kind in ("csv", "parquet"):
        out = ("--out", tmp_path / "points", "--no-overlay", "--format", kind)
        assert srn("detect", picture, "--boxes", tmp_path / "boxes.json", *out).code == 0
    one = pandas.read_parquet(tmp_path / "points" / "landmarks.parquet")
    other = pandas.read_csv(tmp_path / "points" / "landmarks.csv")
    assert len(one) == 68
    assert list(one.columns) == list(other.columns)
    assert (one[["path", "face", "point", "x", "y"]] == other[["path", "face", "point", "x", "y"]]).all(axis=None)


def test_ellipses_are_drawn_and_covariances_written(
    srn: Run, use_localizer: Any, true_localizer: Any, three: Path, truths: dict[int, Shape], tmp_path: Path
) -> None:
    """With a localizer whose errors of 5 % of the face go to the right and left."""

    class Directed:
        def __init__(self, plain: Any) -> None:
            self.plain, self.tells_direction = plain, True

        def __getattr__(self, name: str) -> Any:
            return getattr(self.plain, name)

        def __call__(self, crops: Any, *rest: Any) -> Any:
            count = len(crops)
            error, direction = (
                np.full((count, 68), 0.05, np.float32),
                np.tile(np.array([0.8, 0], np.float32), (count, 68, 1)),
            )
            return self.plain(crops, *rest)._replace(expected_error=error, error_direction=direction)

    boxes, plain, drawn = ("--boxes", tmp_path / "boxes.json"), tmp_path / "plain", tmp_path / "drawn"
    use_localizer(Directed(true_localizer(truths)))
    assert srn("detect", three, *boxes, "--out", plain).code == 0
    assert srn("detect", three, *boxes, "--out", drawn, "--ellipses", "--json", tmp_path / "faces.json").code == 0
    first, second = (read_image(folder / "a_landmarks.jpg") for folder in (plain, drawn))
    changed = np.abs(first.astype(int) - second).max(axis=-1) > 40
    assert 300 < changed.sum() < changed.size / 2
    (face,) = json.loads((tmp_path / "faces.json").read_text())["images"][0]["faces"]
    size = Box(*face["box"]).size
    np.testing.assert_allclose(
        face["covariance"], [[3 * (0.025 * size) ** 2 * v for v in (1.8, 0, 0.2)]] * 68, rtol=1e-2
    )
    for wrong in (("--ellipses",), ("--ellipses", "--out", drawn, "--no-overlay", "--json", tmp_path / "b.json")):
        assert srn("detect", three, *boxes, *wrong).mistake.startswith(
            "--ellipses: expected --out beside it, and overlays"
        )
    use_localizer(true_localizer(truths))
    mistake = srn("detect", three, *boxes, "--out", drawn, "--ellipses").mistake
    assert mistake.startswith("--ellipses: expected weights with the direction of errors")


def test_an_animation_is_told_and_stands_in_the_json(srn: Run, knowing: Any, three: Path, tmp_path: Path) -> None:
    pil = pytest.importorskip("PIL.Image", reason="Pillow writes the animation")
    frames = [pil.new("RGB", (96, 64), (40 * k, 0, 0)) for k in range(3)]
    frames[0].save(three / "a.gif", save_all=True, append_images=frames[1:])
    line = f"{three / 'a.gif'}: holds 3 pictures, and only the first is read: 'srn track' reads an animation"
    ran = srn("detect", three, "--json", tmp_path / "o.json")
    assert ran.code == 0
    assert [one for one in ran.err.splitlines() if "holds" in one] == [line]
    images = json.loads((tmp_path / "o.json").read_text())["images"]
    assert {Path(one["path"]).name: one.get("pictures") for one in images if "pictures" in one} == {"a.gif": 3}
