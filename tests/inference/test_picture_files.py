"""The files of many pictures: overlays, `.pts`, tables, the journal; an interrupted or killed run loses nothing."""

from __future__ import annotations

import contextlib
import json
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from srn.errors import DataError, InputError
from srn.face.geometry import Box
from srn.files import OVERLAY
from srn.inference.batch import Choice, Detection, detect_pictures
from srn.inference.landmarker import FaceLandmarker
from srn.inference.picture_files import DetectionWriter, Rendered, Written, render
from srn.media.boxes import PictureBoxes
from srn.media.journal import journal_beside
from srn.media.listing import PictureFile, pictures_in
from srn.media.pictures import write_image

BOX = Box(70, 70, 180, 190)


@pytest.fixture
def landmarker(true_localizer: Callable[..., Any], face: npt.NDArray[np.float64]) -> FaceLandmarker:
    return FaceLandmarker(localizer=true_localizer({0: face * 100 + 128}), accuracy="fast")


@pytest.fixture
def pictures(tmp_path: Path) -> list[PictureFile]:
    """Five; the third cannot be read."""
    y, x = np.mgrid[:256, :256]
    image = np.stack([x, y, np.zeros_like(x)], -1).astype(np.uint8)
    for number in range(5):
        write_image(tmp_path / "in" / f"{number:02}.png", image)
    (tmp_path / "in" / "02.png").write_bytes(b"broken")
    return pictures_in([tmp_path / "in"]).pictures


def run(
    landmarker: FaceLandmarker,
    writer: DetectionWriter,
    pictures: list[PictureFile],
    *,
    finished: Any = (),
    memory: int = 1,
    each: Callable[[int], None] = lambda batch: None,
) -> list[str]:
    """Detect and write everything, a picture a batch; return all problems. `each` is called after each batch."""
    problems: list[str] = []
    choice = Choice(PictureBoxes({"00.png": [BOX, BOX], "01.png": [BOX]}))

    with writer:
        done = detect_pictures(landmarker, pictures, choice, writer.finish, finished=finished, memory=memory)
        for number, batch in enumerate(done):
            problems += [str(one) for one in batch if isinstance(one, DataError)]
            writer.add([one for one in batch if isinstance(one, Written)])
            each(number)
    return [*problems, *writer.problems]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_doubtful_faces_are_counted(landmarker: FaceLandmarker, pictures: list[PictureFile]) -> None:
    choice = Choice(PictureBoxes({"00.png": [BOX]}), 1.01)
    ((found,),) = detect_pictures(landmarker, pictures[:1], choice, lambda found: found._replace(left_out=3))
    assert isinstance(found, Detection)
    with DetectionWriter(pictures[:1], None) as writer:
        writer.add([writer.write(render(found, overlay=False))])
    assert (writer.faces, writer.pictures, writer.left_out) == (0, 1, 3)


def test_a_writer_that_is_not_open_is_refused(pictures: list[PictureFile], tmp_path: Path) -> None:
    """Behind its block it took pictures that no file holds."""
    writer = DetectionWriter(pictures, None, json_to=tmp_path / "a.json")
    for _ in range(2):
        with pytest.raises(InputError, match=r"^DetectionWriter: expected one opened with 'with', found a closed one$"):
            writer.add([])
        with writer:
            pass


@pytest.mark.parametrize(("kind", "name"), [("csv", "landmarks.csv"), ("coco", "landmarks.json")])
def test_an_interrupted_run_keeps_its_tables(
    landmarker: FaceLandmarker, pictures: list[PictureFile], tmp_path: Path, kind: Any, name: str
) -> None:
    def interrupt(batch: int) -> None:
        if batch == 1:
            raise KeyboardInterrupt

    for suffix in (".json", ".jsonl"):
        json_file = tmp_path / f"a{suffix}"
        writer = DetectionWriter(pictures, tmp_path / "out", kind, overlay=False, json_to=json_file)
        with pytest.raises(KeyboardInterrupt):
            run(landmarker, writer, pictures, each=interrupt)
        text = json_file.read_text()
        images = json.loads(text)["images"] if suffix == ".json" else [json.loads(line) for line in text.splitlines()]
        assert [len(image["faces"]) for image in images] == [2, 1]
        assert [path.name for path in (tmp_path / "out").iterdir()] == [name]


def test_lines_of_an_earlier_run_are_kept_until_there_are_new_ones(pictures: list[PictureFile], tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(earlier := '{"path": "a.png"}\n')
    with contextlib.suppress(KeyboardInterrupt), DetectionWriter(pictures, None, json_to=tmp_path / "a.jsonl"):
        raise KeyboardInterrupt
    assert (tmp_path / "a.jsonl").read_text() == earlier
    with DetectionWriter([], None, json_to=tmp_path / "a.jsonl"):
        pass
    assert (tmp_path / "a.jsonl").read_text() == ""


@pytest.mark.parametrize("kind", ["pts", "csv", "coco"])
def test_formats_other_than_json_need_a_folder(kind: Any) -> None:
    with pytest.raises(InputError, match=f"--format {kind}: expected --out DIR to write into, found none"):
        DetectionWriter([], None, kind)


def test_a_pipe_gets_each_line_at_once(landmarker: FaceLandmarker, pictures: list[PictureFile], tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.jsonl")
    lines: list[str] = []
    counts: list[int] = []
    arrived = threading.Semaphore(0)

    def read() -> None:
        with (tmp_path / "a.jsonl").open() as pipe:
            for line in pipe:
                lines.append(line)
                arrived.release()

    reader = threading.Thread(target=read)
    reader.start()
    writer = DetectionWriter(pictures[:2], None, json_to=tmp_path / "a.jsonl")

    def wait(batch: int) -> None:
        assert arrived.acquire(timeout=20)
        counts.append(len(lines))

    assert run(landmarker, writer, pictures[:2], each=wait) == []
    reader.join()
    assert counts == [1, 2]
    assert [len(json.loads(line)["faces"]) for line in lines] == [2, 1]


def test_a_pipe_whose_reader_goes_is_told_once(pictures: list[PictureFile], tmp_path: Path) -> None:
    """No line comes after one that is missing; only the standard output may be closed without a word."""
    os.mkfifo(tmp_path / "a.jsonl")

    def read() -> None:
        with (tmp_path / "a.jsonl").open() as pipe:
            pipe.readline()

    reader = threading.Thread(target=read)
    reader.start()
    writer = DetectionWriter(pictures[:3], tmp_path / "out", "csv", overlay=False, json_to=tmp_path / "a.jsonl")
    face = {"landmarks": [[1.5, 2.5]], "visibility": None, "confidence": None}
    with writer:
        for number, picture in enumerate(pictures[:3]):
            record = {"path": str(picture.path), "width": 1, "height": 1, "faces": [face]}
            writer.add([writer.write(Rendered(picture, record, None, []))])
            if number == 0:
                reader.join()
    assert writer.problems == [f"{tmp_path / 'a.jsonl'}: expected a file that can be written, found Broken pipe"]
    assert len((tmp_path / "out" / "landmarks.csv").read_text().splitlines()) == 1 + 3


@pytest.mark.parametrize(
    ("name", "size", "reason"),
    [
        ("x" * 250, (256, 256), "expected a file that can be written, found File name too long"),
        ("wide", (66000, 16), "picture file '.jpg': expected sides of at most 65500 pixels, found 66000"),
    ],
)
def test_an_overlay_that_cannot_be_written_does_not_end_the_rest(
    landmarker: FaceLandmarker,
    pictures: list[PictureFile],
    tmp_path: Path,
    name: str,
    size: tuple[int, int],
    reason: str,
) -> None:
    odd = tmp_path / "odd" / f"{name}.png"
    write_image(odd, np.zeros((size[1], size[0], 3), np.uint8))
    some = pictures_in([odd, *(picture.path for picture in pictures[:2])]).pictures
    writer = DetectionWriter(some, tmp_path / "out", "csv", json_to=tmp_path / "a.json")
    (problem,) = run(landmarker, writer, some)
    assert problem.startswith(f"{odd}: ")
    assert problem.endswith(reason)
    assert len(json.loads((tmp_path / "a.json").read_text())["images"]) == 3
    names = [path.name for path in (tmp_path / "out").iterdir()]
    assert sorted(names) == ["00_landmarks.jpg", "01_landmarks.jpg", "landmarks.csv"]


@pytest.mark.parametrize("lost", ["a.json", "out/landmarks.csv", "out/00_landmarks.jpg", "out"])
def test_an_output_that_cannot_be_written_leaves_the_others(
    landmarker: FaceLandmarker, pictures: list[PictureFile], tmp_path: Path, lost: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk, or a permission that was taken away, for one of the files."""
    replace = Path.replace

    def full(self: Path, target: Any) -> Path:
        if target.is_relative_to(tmp_path / lost):
            raise OSError(28, "No space left on device")
        return replace(self, target)

    writer = DetectionWriter(pictures[:2], tmp_path / "out", "csv", json_to=tmp_path / "a.json")
    monkeypatch.setattr(Path, "replace", full)
    problems = run(landmarker, writer, pictures[:2])
    everything = {"a.json", "out/landmarks.csv", "out/00_landmarks.jpg", "out/01_landmarks.jpg"}
    missing = {name for name in everything if Path(name).is_relative_to(lost)}
    assert len(problems) == len(missing)
    assert all(
        problem.endswith("expected a file that can be written, found No space left on device") for problem in problems
    )
    left = {path.relative_to(tmp_path).as_posix() for path in [*tmp_path.glob("*.json"), *tmp_path.glob("out/*")]}
    assert left == everything - missing


def test_outputs_in_a_folder_destroy_no_input(landmarker: FaceLandmarker, pictures: list[PictureFile]) -> None:
    folder = pictures[0].path.parent
    drawn = folder / "00_landmarks.jpg"
    write_image(drawn, np.zeros((4, 4, 3), np.uint8))
    both = pictures_in([pictures[0].path, drawn]).pictures
    with pytest.raises(InputError, match=r"00_landmarks\.jpg: expected another file than the inputs"):
        DetectionWriter(both, folder)
    with pytest.raises(InputError, match=r"00_landmarks\.jpg, a JPEG picture that srn did not write"):
        DetectionWriter(both[:1], folder)
    drawn.write_bytes(drawn.read_bytes() + OVERLAY.end)
    DetectionWriter(both[:1], folder)  # an overlay of an earlier run
    (folder / "landmarks.csv").write_text("a.jpg,1,2,3,4")
    for force in (False, True):
        with pytest.raises(InputError, match="expected another file than the inputs"):
            DetectionWriter(both[:1], folder, "csv", inputs=[folder / "landmarks.csv"], force=force)
    with pytest.raises(InputError, match="a file of another kind"):
        DetectionWriter(both[:1], folder, "csv")
    DetectionWriter(both[:1], folder, "csv", force=True)
    drawn.unlink()
    with pytest.raises(InputError, match="expected another file than that of --json"):
        DetectionWriter(both[:1], folder, json_to=drawn)


# --- the journal


OPTIONS = {"--min-score": 0.0, "--boxes": None}


class Killed(BaseException):
    """Stands in for the end of the process: nothing more is written."""


@pytest.mark.parametrize(("kind", "json_name"), [("pts", "a.jsonl"), ("coco", None), ("csv", "a.json")])
def test_a_killed_run_goes_on_where_it_was(
    landmarker: FaceLandmarker, pictures: list[PictureFile], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    kind: Any, json_name: str | None,
) -> None:  # fmt: skip
    def writer_into(name: str) -> DetectionWriter:
        json_to = tmp_path / name / json_name if json_name else None
        return DetectionWriter(pictures, tmp_path / name / "out", kind, json_to=json_to)

    whole = writer_into("whole")
    assert whole.keep_journal(OPTIONS, resume=False) is None
    problems = run(landmarker, whole, pictures)
    assert len(problems) == 1

    def kill(batch: int) -> None:
        if batch == 1:
            raise Killed

    first = writer_into("killed")
    first.keep_journal(OPTIONS, resume=False)
    with monkeypatch.context() as patch:
        patch.setattr(DetectionWriter, "__exit__", lambda *_: None)
        with pytest.raises(Killed):
            run(landmarker, first, pictures, each=kill)
    assert first._journal is not None
    first._journal.close(finished=False)  # as the end of a process does
    (journal,) = (tmp_path / "killed").rglob(".*.partial.jsonl")
    with journal.open("a") as file:
        file.write('[["02",{"pa')  # torn
    for other, found in (({**OPTIONS, "--min-score": 0.5}, "0.5"), ({"--boxes": None}, "none")):
        message = rf"--resume: expected --min-score 0.0, as in the run that was left in .*, found {found}"
        with pytest.raises(InputError, match=message):
            writer_into("killed").keep_journal(other, resume=True)

    second, detected = writer_into("killed"), list[int]()
    finished = second.keep_journal(OPTIONS, resume=True)
    assert finished == {pictures[0].stem, pictures[1].stem}
    assert run(landmarker, second, pictures, finished=finished, each=detected.append) == problems
    assert len(detected) == 3
    assert (second.faces, second.pictures) == (whole.faces, whole.pictures) == (3, 4)
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")


def test_pictures_whose_files_are_missing_are_done_again(
    landmarker: FaceLandmarker, pictures: list[PictureFile], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace = Path.replace

    def full(self: Path, target: Any) -> Path:
        if target.name == "01_landmarks.jpg":
            raise OSError(28, "No space left on device")
        return replace(self, target)

    writer = DetectionWriter(pictures[:2], tmp_path / "out")
    writer.keep_journal(OPTIONS, resume=False)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", full)
        assert len(run(landmarker, writer, pictures[:2])) == 1
    again = DetectionWriter(pictures[:2], tmp_path / "out")
    finished = again.keep_journal(OPTIONS, resume=True)
    assert finished == {pictures[0].stem}
    assert run(landmarker, again, pictures[:2], finished=finished) == []
    assert sorted(contents(tmp_path / "out")) == ["00_landmarks.jpg", "01_landmarks.jpg"]


def test_a_run_on_the_standard_output_cannot_go_on(pictures: list[PictureFile]) -> None:
    writer = DetectionWriter(pictures, None, json_to=Path("-"))
    assert writer.keep_journal(OPTIONS, resume=False) is None
    with pytest.raises(InputError, match="--resume: expected --json FILE or --out DIR of the run that goes on"):
        writer.keep_journal(OPTIONS, resume=True)


def test_a_journal_that_cannot_grow_ends_no_run(
    pictures: list[PictureFile], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = DetectionWriter(pictures[:1], None, json_to=tmp_path / "a.json")
    writer.keep_journal(OPTIONS, resume=False)
    assert journal_beside(tmp_path / "a.json").is_file()

    def fail(*_: object) -> None:
        raise InputError("a full disk")

    monkeypatch.setattr("srn.media.journal.append_line", fail)
    record = {"path": str(pictures[0].path), "width": 1, "height": 1, "faces": []}
    with writer:
        writer.add([writer.write(Rendered(pictures[0], record, None, []))])
    assert writer.problems == ["a full disk"]
    assert json.loads((tmp_path / "a.json").read_text()) == {"images": [record]}
