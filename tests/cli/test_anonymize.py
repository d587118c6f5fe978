"""`srn anonymize`: what is written and where, what is told, and that nothing of the input is destroyed or leaks."""

from __future__ import annotations

import gc
import os
import signal
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from srn.cli import anonymize as command
from srn.face.geometry import Box
from srn.face.scheme import IBUG_68
from srn.inference.face import Face, Faces
from srn.inference.face_finder import FoundFace
from srn.media.pictures import read_image, write_image
from srn.media.video_reading import TimedFrame, open_video
from srn.uses.anonymize import VideoCover
from srn.uses.cover import FILL
from srn.uses.sheet import ContactSheet

from ..conftest import full_disk
from ..media.test_pictures import SRGB
from .conftest import grey_video

Run = Callable[..., Any]
Shape = npt.NDArray[np.float64]
SIZE = 160


@pytest.fixture
def finding(monkeypatch: pytest.MonkeyPatch, face: Shape) -> dict[str, Any]:
    """Every run finds one face in the middle of each picture that is not black; options are noted."""
    noted: dict[str, Any] = {}
    shape = face * 50 + SIZE / 2
    known = Face(shape, None, np.full(68, 0.9, np.float32), Box.around(shape), 0.2, IBUG_68, 1)

    def faces(image: npt.NDArray[np.uint8]) -> Faces:
        return Faces([known] if image.max() > 40 else [])

    class Landmarker:
        batch_size = 16

        def tracker(self, **options: Any) -> Tracker:
            return Tracker()

        def detect_batch(self, images: Any, boxes: Any = None) -> list[Faces]:
            return [faces(image) for image in images]

    class Tracker:
        found: tuple[FoundFace, ...] = ()

        def update(self, image: npt.NDArray[np.uint8], time_s: float) -> Faces:
            return faces(image)

    def opened(weights: Any, **options: Any) -> Landmarker:
        noted.update(options, weights=weights)
        return Landmarker()

    monkeypatch.setattr(command, "cautious_landmarker", opened)
    return noted


def picture(path: Path, value: int = 120) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_image(path, np.full((SIZE, SIZE, 3), value, np.uint8))
    return path


def video(path: Path, count: int = 6) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return grey_video(path, count, 10.0, (SIZE, SIZE))


def centre(path: Path) -> list[int]:
    return read_image(path)[SIZE // 2, SIZE // 2].tolist()


def test_a_folder_of_pictures_and_videos(srn: Run, finding: dict[str, Any], tmp_path: Path) -> None:
    home = tmp_path / "holiday"
    picture(home / "a.jpg")
    picture(home / "day" / "b.PNG")
    video(home / "day" / "c.mp4")
    (home / "notes.txt").write_text("nothing")
    before = {path: path.read_bytes() for path in home.rglob("*") if path.is_file()}

    ran = srn("anonymize", home, "--out", tmp_path / "out", "--style", "fill", "--threads", 1)
    assert (ran.code, ran.out) == (0, "")
    assert ran.err.splitlines() == [
        "2 places covered in 2 pictures",
        f"{tmp_path / 'out' / 'day' / 'c_covered.mp4'}: 1 face in 6 frames",
    ]
    written = sorted(path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.*"))
    assert written == ["a_covered.jpg", "day/b_covered.png", "day/c_covered.mp4"]
    assert {path: path.read_bytes() for path in before} == before
    assert centre(tmp_path / "out" / "day" / "b_covered.png") == list(FILL)
    assert np.abs(np.array(centre(tmp_path / "out" / "a_covered.jpg")) - FILL).max() < 6
    frames = list(open_video(tmp_path / "out" / "day" / "c_covered.mp4"))
    assert len(frames) == 6
    assert all(np.abs(frame.image[SIZE // 2, SIZE // 2].astype(int) - FILL).max() < 12 for frame in frames)
    assert finding["threads"] == 1


def test_a_second_run_takes_its_results_for_none_of_its_inputs(
    srn: Run, finding: dict[str, Any], tmp_path: Path
) -> None:
    picture(tmp_path / "holiday" / "a.jpg")
    for _ in range(2):
        ran = srn("anonymize", tmp_path / "holiday", "--out", tmp_path / "holiday" / "covered")
        assert (ran.code, ran.err) == (0, "1 place covered in 1 picture\n")


def test_videos_of_any_suffix_and_what_is_no_video(srn: Run, finding: dict[str, Any], tmp_path: Path) -> None:
    """A folder may hold videos of a telephone or a television; one that cannot be read is named."""
    home = tmp_path / "in"
    for name in ("a.3gp", "b.MTS", "c", "d.ogg", "e.partial.mp4"):
        video(home / "v.mp4").rename(home / name)
    (home / "broken.mpg").write_bytes(b"no video")
    for name in ("._a.mp4", "song.m4a", ".b.12ab.partial.mp4"):
        (home / name).write_bytes(video(tmp_path / "other.mp4").read_bytes() if name != "._a.mp4" else b"of macOS")
    ran = srn("anonymize", home, "--out", tmp_path / "out")
    assert ran.code == 1
    assert ran.err.splitlines()[-1] == (
        f"failed: {home / 'broken.mpg'}: expected a video that can be read, found none by its first bytes"
    )
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "a_covered.mp4", "b_covered.mp4", "c_covered.mp4", "d_covered.mp4", "e.partial_covered.mp4",
    }  # fmt: skip


def test_what_an_animation_is_to_become_is_told_by_what_this_command_covers(
    srn: Run, finding: dict[str, Any], tmp_path: Path
) -> None:
    """The line named `srn track`, which covers nothing."""
    pil = pytest.importorskip("PIL.Image", reason="Pillow writes the animation")
    frames = [pil.new("RGB", (SIZE, SIZE), (60 + 80 * k, 120, 120)) for k in range(3)]
    advice = {
        "a.gif": "save an animation as a video (.mp4), and all of it is covered",
        "b.webp": "save an animation as a video (.mp4), and all of it is covered",
        "c.tif": "save the others as files of their own",
    }
    for name in advice:
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:])
    ran = srn("anonymize", *(tmp_path / name for name in advice), "--out", tmp_path / "out")
    assert (ran.code, ran.err.splitlines()) == (
        0,
        [
            *(f"{tmp_path / n}: holds 3 pictures, and only the first is read: {told}" for n, told in advice.items()),
            "3 places covered in 3 pictures",
        ],
    )


def test_a_video_named_as_a_picture_and_a_picture_named_as_a_video(
    srn: Run, finding: dict[str, Any], tmp_path: Path
) -> None:
    """What a file holds decides: the errors named commands that cover nothing."""
    pil = pytest.importorskip("PIL.Image", reason="Pillow writes the AVIF file")
    video(tmp_path / "in" / "v.mp4").rename(tmp_path / "in" / "v.jpg")
    still = tmp_path / "still.mp4"
    if ".avif" not in pil.registered_extensions():
        pytest.skip("this Pillow writes no AVIF")
    pil.new("RGB", (SIZE, SIZE), (120, 120, 120)).save(still, format="AVIF")
    ran = srn("anonymize", tmp_path / "in", tmp_path / "in" / "v.jpg", still, "--out", tmp_path / "out")
    assert (ran.code, ran.err.splitlines()) == (
        0,
        ["1 place covered in 1 picture", f"{tmp_path / 'out' / 'v_covered.mp4'}: 1 face in 6 frames"],
    )


def test_no_folder_hides_what_is_in_another(srn: Run, finding: dict[str, Any], tmp_path: Path) -> None:
    """Beside a folder of videos alone, the pictures of the others were left as they are, without a word."""
    picture(tmp_path / "pictures" / "a.jpg")
    for name in ("videos", "far"):
        video(tmp_path / name / "b.mp4")
    (tmp_path / "videos" / "c.psd").write_bytes(b"8BPS")
    (tmp_path / "videos" / "link").symlink_to(tmp_path / "far")
    (tmp_path / "empty").mkdir()
    for number, order in enumerate((["pictures", "videos", "empty"], ["empty", "videos", "pictures"])):
        out = tmp_path / f"out{number}"
        ran = srn("anonymize", *(tmp_path / name for name in order), "--out", out)
        assert ran.code == 1
        assert {path.name for path in out.iterdir()} == {"a_covered.jpg", "b_covered.mp4"}
        assert ran.err.splitlines()[2:] == [
            f"of a format that is not read, and not covered: {tmp_path / 'videos' / 'c.psd'}",
            f"links to folders, which are not followed, and not covered: {tmp_path / 'videos' / 'link'}",
            f"failed: {tmp_path / 'empty'}: expected pictures or videos to cover, found none",
        ]


def test_a_folder_is_told_once_and_by_what_it_holds_itself(srn: Run, finding: dict[str, Any], tmp_path: Path) -> None:
    out = tmp_path / "in" / "out"
    picture(out / "a.jpg")
    (tmp_path / "empty").mkdir()
    (tmp_path / "faulty").mkdir()
    (tmp_path / "faulty" / "b.mp4").write_bytes(b"no video")
    ran = srn("anonymize", *(tmp_path / name for name in ("in", "empty", "faulty")), "--out", out)
    expected = "expected pictures or videos to cover, found"
    assert ran.err.splitlines() == [
        f"failed: {tmp_path / 'faulty' / 'b.mp4'}: expected a video that can be read, found none by its first bytes",
        f"failed: {tmp_path / 'in'}: {expected} only those of --out",
        f"failed: {tmp_path / 'empty'}: {expected} none",
    ]


def test_what_earlier_runs_drew_is_covered_as_well(srn: Run, finding: dict[str, Any], tmp_path: Path) -> None:
    """Overlays and contact sheets show faces like other pictures."""
    for name in ("a.jpg", "a_landmarks.jpg"):
        picture(tmp_path / "in" / name)
    ContactSheet(tmp_path / "in" / "sheet.png").write()
    assert srn("anonymize", tmp_path / "in", "--out", tmp_path / "out").code == 0
    assert {path.stem for path in (tmp_path / "out").iterdir()} == {"a_covered", "a_landmarks_covered", "sheet_covered"}


def test_the_picture_below_an_exif_thumbnail_is_covered_and_the_thumbnail_is_gone(
    srn: Run, finding: dict[str, Any], tmp_path: Path
) -> None:
    """Both the thumbnail and a picture behind the end still show the face of the whole."""
    inner = picture(tmp_path / "small.jpg").read_bytes()
    entries = [(0x201, 44), (0x202, len(inner))]
    second = struct.pack("<H", 2) + b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in entries)
    exif = b"Exif\0\0II*\0" + struct.pack("<IHI", 8, 0, 14) + second + struct.pack("<I", 0) + inner
    outer = picture(tmp_path / "a.jpg").read_bytes()
    marked = outer[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + outer[2:] + inner
    (tmp_path / "a.jpg").write_bytes(marked)
    assert marked.count(b"\xff\xd8\xff") == 3

    assert srn("anonymize", tmp_path / "a.jpg", "--out", tmp_path / "out", "--style", "fill").code == 0
    content = (tmp_path / "out" / "a_covered.jpg").read_bytes()
    assert content.count(b"\xff\xd8\xff") == 1
    assert np.abs(np.array(centre(tmp_path / "out" / "a_covered.jpg")) - FILL).max() < 6


def test_further_streams_and_words_of_videos_stay_behind(srn: Run, finding: dict[str, Any], tmp_path: Path) -> None:
    """Of a video with a second picture stream, titles and sound, the covered pictures and the sound are kept."""
    av = pytest.importorskip("av")
    place = tmp_path / "a.mkv"
    with av.open(str(place), "w") as made:
        made.metadata["title"] = "Secret title"
        streams = [made.add_stream("mpeg4", rate=10) for _ in range(2)]
        sound = made.add_stream("aac", rate=44100)
        sound.metadata["title"] = "Secret track"
        for stream in streams:
            stream.width = stream.height = SIZE
            stream.pix_fmt = "yuv420p"
        for stream in streams:
            for k in range(5):
                frame = av.VideoFrame.from_ndarray(np.full((SIZE, SIZE, 3), 120, np.uint8), format="rgb24")
                frame.pts = k
                made.mux(stream.encode(frame))
            made.mux(stream.encode(None))
        quiet = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        quiet.sample_rate, quiet.pts = 44100, 0
        made.mux([*sound.encode(quiet), *sound.encode(None)])
    assert b"Secret" in place.read_bytes()

    assert srn("anonymize", place, "--out", tmp_path / "out").code == 0
    with av.open(str(tmp_path / "out" / "a_covered.mkv")) as covered:
        assert sorted(stream.type for stream in covered.streams) == ["audio", "video"]
    assert b"Secret" not in (tmp_path / "out" / "a_covered.mkv").read_bytes()


def test_names_do_not_clash(srn: Run, finding: dict[str, Any], tmp_path: Path) -> None:
    files = [picture(tmp_path / "x" / "a.jpg"), picture(tmp_path / "y" / "a.jpg"), video(tmp_path / "x" / "a.mp4")]
    files.append(video(tmp_path / "y" / "a.mp4"))
    assert srn("anonymize", *files, "--out", tmp_path / "out").code == 0
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["a_2_covered.jpg", "a_2_covered.mp4", "a_covered.jpg", "a_covered.mp4"]


def test_what_is_named_twice_is_covered_once(srn: Run, tmp_path: Path, finding: Any) -> None:
    """A video of an hour would be covered for hours, and be there twice."""
    one = video(tmp_path / "in" / "b.mp4")
    again = tmp_path / "in" / ".." / "in" / "b.mp4"
    assert srn("anonymize", one, tmp_path / "in", again, "--out", tmp_path / "out").code == 0
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["b_covered.mp4"]


def test_metadata_stays_behind(srn: Run, finding: dict[str, Any], tmp_path: Path) -> None:
    """A JPEG with EXIF (camera, place), a comment and a thumbnail's marker: none of it is in what is written."""
    from PIL import Image

    exif = Image.Exif()
    exif[0x010F], exif[0x0132] = "Secret Camera", "2026:01:02 03:04:05"
    exif.get_ifd(0x8825)[1] = "N"
    place = tmp_path / "a.jpg"
    Image.new("RGB", (SIZE, SIZE), (120, 120, 120)).save(place, exif=exif, comment=b"secret comment")
    assert b"Secret Camera" in place.read_bytes()

    assert srn("anonymize", place, "--out", tmp_path / "out").code == 0
    content = (tmp_path / "out" / "a_covered.jpg").read_bytes()
    assert not any(word in content for word in (b"Exif", b"Secret", b"secret", b"2026:01"))


def test_colours_keep_their_profile(srn: Run, finding: dict[str, Any], tmp_path: Path) -> None:
    """Phones write Display P3: shown as sRGB, its colours would be dull."""
    from PIL import Image

    for suffix in ("jpg", "png", "tif"):
        Image.new("RGB", (SIZE, SIZE), (120, 120, 120)).save(tmp_path / f"{suffix}.{suffix}", icc_profile=SRGB)

    pictures = [tmp_path / name for name in ("jpg.jpg", "png.png", "tif.tif")]
    assert srn("anonymize", *pictures, "--out", tmp_path / "out").code == 0
    for name in ("jpg_covered.jpg", "png_covered.png", "tif_covered.jpg"):
        with Image.open(tmp_path / "out" / name) as covered:
            assert covered.info["icc_profile"] == SRGB


def test_titles_of_videos_stay_behind(srn: Run, finding: dict[str, Any], tmp_path: Path) -> None:
    av = pytest.importorskip("av")
    place = video(tmp_path / "plain.mp4")
    named = tmp_path / "named.mp4"
    with av.open(str(place)) as source, av.open(str(named), "w") as target:
        target.metadata["title"] = "Secret title"
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(source.streams.video[0]):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    assert b"Secret title" in named.read_bytes()

    assert srn("anonymize", named, "--out", tmp_path / "out").code == 0
    assert b"Secret title" not in (tmp_path / "out" / "named_covered.mp4").read_bytes()


def test_what_is_bare_is_named(srn: Run, finding: dict[str, Any], tmp_path: Path) -> None:
    picture(tmp_path / "in" / "dark.jpg", 5)
    (tmp_path / "in" / "broken.jpg").write_bytes(b"\xff\xd8\xff nothing")
    ran = srn("anonymize", tmp_path / "in", "--out", tmp_path / "out")

    assert ran.code == 1
    first, second, third = ran.err.splitlines()
    assert first == "0 places covered in 1 picture"
    assert second == f"nothing found, nothing covered: {tmp_path / 'in' / 'dark.jpg'}"
    assert third.startswith(f"failed: {tmp_path / 'in' / 'broken.jpg'}: expected a picture")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["dark_covered.jpg"]


@pytest.mark.parametrize(("at_frame", "told"), [(4, "nothing of {} is kept"), (10, "the finished part of {} is kept")])
def test_an_interruption_ends_the_first_video_and_all_that_follows(
    srn: Run, finding: dict[str, Any], tmp_path: Path, at_frame: int, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Frames wait for half a second: before it none is finished."""
    files = [picture(tmp_path / "a.jpg"), video(tmp_path / "b.mp4", 12), video(tmp_path / "c.mp4")]
    push, seen = VideoCover.push, list[float]()

    def interrupted(self: VideoCover, frame: TimedFrame) -> Iterator[TimedFrame]:
        seen.append(frame.time_s)
        if len(seen) == at_frame:
            os.kill(os.getpid(), signal.SIGTERM)
        return push(self, frame)

    monkeypatch.setattr(VideoCover, "push", interrupted)
    ran = srn("anonymize", *files, "--out", tmp_path / "out")

    out = tmp_path / "out"
    assert ran.code == 130
    assert ran.err.splitlines()[-1] == f"interrupted; {told.format(out / 'b_covered.mp4')}"
    assert (out / "a_covered.jpg").exists()
    assert (out / "b_covered.mp4").exists() == (at_frame == 10)
    assert not (out / "c_covered.mp4").exists()
    assert len(seen) == at_frame


@pytest.mark.parametrize("interrupted", [False, True])
def test_a_video_that_cannot_be_completed_is_not_told_as_covered(
    srn: Run, finding: dict[str, Any], tmp_path: Path, interrupted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The line of success came first, or that the finished part was kept."""
    source, out = video(tmp_path / "a.mp4"), tmp_path / "out" / "a_covered.mp4"
    finish = VideoCover.finish

    def ended(self: VideoCover) -> Iterator[TimedFrame]:
        yield from finish(self)
        raise KeyboardInterrupt

    if interrupted:
        monkeypatch.setattr(VideoCover, "finish", ended)
    with full_disk(500):
        ran = srn("anonymize", source, "--out", tmp_path / "out")
    reason = f"{out}: expected a file that can be written, found File too large"
    line = f"interrupted; nothing of {out} is kept: {reason}" if interrupted else f"failed: {reason}"
    assert (ran.code, ran.err) == (130 if interrupted else 1, f"{line}\n")
    assert list(out.parent.iterdir()) == []
    gc.collect()  # PyAV 14 prints a traceback where it frees a container that could not be closed: not in a later test


def test_inputs_are_not_written_over(srn: Run, finding: dict[str, Any], tmp_path: Path) -> None:
    place = picture(tmp_path / "a.jpg")
    assert "a folder without any input" in srn("anonymize", place, "--out", tmp_path).mistake
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a_covered.jpg").write_text("my notes")
    assert "a_covered.jpg, a file of another kind" in srn("anonymize", place, "--out", tmp_path / "out").mistake
    assert (tmp_path / "out" / "a_covered.jpg").read_text() == "my notes"


def test_one_that_cannot_be_written_ends_no_other(
    srn: Run, finding: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Names too long for `_covered` behind them, a side too long for a JPEG, and a link that leads to itself."""
    long = tmp_path / "in" / ("x" * 245)
    files = [picture(long.with_suffix(".jpg")), video(long.with_suffix(".mp4"))]
    write_image(tmp_path / "in" / "wide.bmp", np.full((2, 65_600, 3), 120, np.uint8))
    picture(tmp_path / "in" / "a.jpg")
    video(tmp_path / "in" / "b.mp4")
    (tmp_path / "in" / "loop.jpg").symlink_to("loop.jpg")
    ran = srn("anonymize", tmp_path / "in", "--out", tmp_path / "out")
    assert ran.code == 1
    failed = [line for line in ran.err.splitlines() if line.startswith("failed: ")]
    assert len(failed) == 4
    assert "loop.jpg: expected a readable picture file, found Too many levels of symbolic links" in failed[0]
    assert "wide.bmp: picture file '.jpg': expected sides of at most 65500 pixels" in failed[1]
    assert all("xxx" in line and "File name too long" in line for line in failed[2:])
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"a_covered.jpg", "b_covered.mp4"}
    assert all(path.exists() for path in files)


def test_mistakes(srn: Run, finding: dict[str, Any], tmp_path: Path) -> None:
    ran = srn("anonymize", tmp_path / "none.mp4", "--out", tmp_path / "out")
    assert ran.mistake == f"{tmp_path / 'none.mp4'}: expected a picture, a video or a folder, found no such file"
    (tmp_path / "empty").mkdir()
    ran = srn("anonymize", tmp_path / "empty", "--out", tmp_path / "out")
    assert ran.mistake == f"{tmp_path / 'empty'}: expected pictures or videos to cover, found none"
    assert not (tmp_path / "out").exists()


def test_a_real_portrait(srn: Run, robust_weights: Path, portraits: list[Any], tmp_path: Path) -> None:
    """Its true landmarks all lie under the cover; its corners are as they were."""
    hopper = portraits[0]
    write_image(tmp_path / "hopper.png", hopper.image)
    ran = srn("anonymize", tmp_path / "hopper.png", "--out", tmp_path / "out", "--style", "fill", "--threads", 1)

    assert ran.code == 0
    drawn = read_image(tmp_path / "out" / "hopper_covered.png")
    points = np.round(hopper.landmarks).astype(int)
    assert (drawn[points[:, 1], points[:, 0]] == FILL).all()
    np.testing.assert_array_equal(drawn[:20, :20], hopper.image[:20, :20])
    assert cv2.countNonZero((drawn == FILL).all(axis=2).astype(np.uint8)) < 0.5 * drawn[..., 0].size
