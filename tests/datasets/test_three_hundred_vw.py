"""300VW: real frames of its extracted layout, whole real videos of another set, and videos written here."""

from __future__ import annotations

import io
import json
import os
import pickle
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from srn.datasets.clip import FrameFolder, VideoFile
from srn.datasets.report import ReadingReport
from srn.datasets.three_hundred_vw import (
    OFFICIAL_VIDEOS,
    read_300vw,
    read_clip,
    read_excluded_frames,
)
from srn.errors import DataError
from srn.media.pictures import read_image, write_image
from srn.media.pts import read_pts, write_pts

Shape = npt.NDArray[np.float64]


def put_video(folder: Path, face: Shape, frames: int = 6, annotated: tuple[int, ...] | None = None) -> None:
    """A video as 300VW has it: frame k is of grey 30 k, its landmarks are moved by k pixels."""
    folder.mkdir(parents=True)
    writer = cv2.VideoWriter(str(folder / "vid.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 25.0, (64, 64))
    if not writer.isOpened():
        pytest.skip("this OpenCV cannot write videos")
    for number in range(1, frames + 1):
        writer.write(np.full((64, 64, 3), 30 * number, np.uint8))
    writer.release()
    for number in annotated or range(1, frames + 1):
        write_pts(folder / "annot" / f"{number:06d}.pts", face * 30 + 30 + number)


def put_frames(folder: Path, face: Shape, numbers: tuple[int, ...]) -> None:
    for number in numbers:
        write_image(folder / "imgs" / f"{number:06d}.png", np.full((64, 64, 3), 30 * number, np.uint8))
        write_pts(folder / "annot" / f"{number:06d}.pts", face * 30 + 30 + number)


def test_the_official_lists() -> None:
    assert [len(videos) for videos in OFFICIAL_VIDEOS.values()] == [50, 31, 19, 14]
    everything = [video for videos in OFFICIAL_VIDEOS.values() for video in videos]
    assert len(set(everything)) == len(everything) == 114
    assert (OFFICIAL_VIDEOS["train"][0], OFFICIAL_VIDEOS["category 3"][-1]) == ("001", "562")


def test_videos_as_distributed(tmp_path: Path, face: Shape) -> None:
    put_video(tmp_path / "114", face)
    put_video(tmp_path / "001", face, annotated=(2, 4, 5))
    (tmp_path / "readme.txt").write_text("not a video")
    clips, report = read_300vw(tmp_path)
    assert [(clip.name, clip.subset, len(clip)) for clip in clips] == [
        ("001", "train/001", 3),
        ("114", "category 1/114", 6),
    ]
    for clip in clips:
        assert isinstance(clip.frames, VideoFile)
        for (image, points), number in zip(clip, clip.numbers.tolist(), strict=True):
            assert round(float(image.mean()) / 30) == number
            np.testing.assert_allclose(points, face * 30 + 30 + number, atol=1e-3)
    assert report.counts == {"train": 3, "category 1": 6, "category 2": 0, "category 3": 0}
    assert report.problems == []
    assert report.notes == [
        f"{tmp_path / '001' / 'vid.avi'}: frames without points: 3 of 6",
        f"{tmp_path}: no list of excluded frames (excluded_frames.json or broken_frames.npy): all are taken",
    ]
    assert f"{tmp_path}: 1 videos of category 1, the official release has 31" in report.shortfalls


def test_parts(tmp_path: Path, face: Shape) -> None:
    for name in ("001", "114", "203", "410", "mine"):
        put_frames(tmp_path / name, face, (1, 2))
    clips, report = read_300vw(tmp_path, ["category 2"])
    assert [clip.subset for clip in clips] == ["category 2/203", "mine"]
    assert report.counts == {"category 2": 2, "mine": 2}
    with pytest.raises(
        DataError, match="expected one of train, category 1, category 2, category 3, found 'category 4'"
    ):
        read_300vw(tmp_path, ["category 4"])


def test_frames_are_excluded_and_said(tmp_path: Path, face: Shape) -> None:
    put_frames(tmp_path / "410", face, (1, 2, 3, 4))
    (tmp_path / "excluded_frames.json").write_text(json.dumps({"410": [2, 4, 99]}))
    (clip,), report = read_300vw(tmp_path)
    assert clip.numbers.tolist() == [1, 3]
    assert clip.excluded == (2, 4)
    assert report.notes == [f"{tmp_path / '410' / 'annot'}: frames excluded by the protocol: 2"]
    assert read_excluded_frames(tmp_path / "excluded_frames.json") == {"410": (2, 4, 99)}


def test_videos_that_were_masked_or_occluded_here_have_flags(tmp_path: Path, face: Shape) -> None:
    """`srn mask` writes a table into each video's folder, `srn hofs synthesize` one for all of them."""
    for name in ("a", "b", "c"):
        put_frames(tmp_path / name, face, (1, 2))
    first, last = "0" + "1" * 67, "1" * 67 + "0"
    (tmp_path / "a" / "masks.csv").write_text(f"frame,mask,visible\n000001,drawn,{first}\n000002,drawn,{last}\n")
    (tmp_path / "manifest.csv").write_text(f"subset,stem,landmark,visible\nb,000002,67,{last}\n")

    a, b, c = read_300vw(tmp_path)[0]

    assert a.occluded is not None
    assert b.occluded is not None
    assert np.argwhere(a.occluded).tolist() == [[0, 0], [1, 67]]
    assert np.argwhere(b.occluded).tolist() == [[1, 67]]
    assert c.occluded is None
    assert [None if s.occluded is None else int(s.occluded.sum()) for s in a.samples()] == [1, 1]


def test_flags_of_other_landmarks_leave_that_video_out(tmp_path: Path, face: Shape) -> None:
    for name in ("a", "b"):
        put_frames(tmp_path / name, face, (1,))
    (tmp_path / "a" / "masks.csv").write_text("frame,mask,visible\n000001,drawn,011\n")

    clips, report = read_300vw(tmp_path)

    assert [clip.name for clip in clips] == ["b"]
    assert len(report.problems) == 1
    assert "flags of a/000001: expected 68 flags (ibug68), found 3" in report.problems[0]


def test_every_broken_frame_has_a_line(tmp_path: Path, face: Shape) -> None:
    folder = tmp_path / "x"
    put_frames(folder, face, (1, 2, 3, 4, 5))
    (folder / "annot" / "000002.pts").write_text("broken")
    (folder / "imgs" / "000003.png").unlink()
    (folder / "imgs" / "000004.png").write_bytes(b"")
    write_pts(folder / "annot" / "a.pts", face)
    (folder / "annot" / "000005.pts").unlink()
    report = ReadingReport()
    clip = read_clip(folder, report)
    assert clip.numbers.tolist() == [1]
    assert report.problems == [
        f"{folder / 'annot' / 'a.pts'}: its name is no frame number; left out",
        f"{folder / 'annot' / '000002.pts'}: expected 'n_points: N' and a block of '{{ x y ... }}', found other text; "
        "left out",
        f"{folder / 'annot' / '000003.pts'}: no frame 3 in {folder / 'imgs'}; left out",
        f"{folder / 'imgs' / '000004.png'}: expected a picture, found an empty file; left out",
    ]
    assert report.notes == [f"{folder / 'imgs'}: frames without points: 1 of 4"]


def test_a_broken_video_does_not_stop_the_others(tmp_path: Path, face: Shape) -> None:
    put_video(tmp_path / "001", face)
    put_video(tmp_path / "002", face)
    (tmp_path / "001" / "vid.avi").write_bytes(b"broken")
    put_frames(tmp_path / "003", face, (1,))
    (tmp_path / "003" / "annot" / "000001.pts").unlink()
    clips, report = read_300vw(tmp_path)
    assert [clip.name for clip in clips] == ["002"]
    assert report.problems == [
        f"{tmp_path / '001' / 'vid.avi'}: expected a video that OpenCV can read, found none; left out",
        f"{tmp_path / '003' / 'annot'}: expected a .pts file for a frame, found none; left out",
    ]


def test_no_videos(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"expected folders of videos: .*, found none"):
        read_300vw(tmp_path)


# --- the list of excluded frames


def save_pickled(path: Path, content: object) -> Path:
    np.save(path, np.array(content, dtype=object), allow_pickle=True)
    return path


@pytest.mark.parametrize("content", [{}, {"410": [3, 1]}, {"410": [1], "001": [2, 3]}])
def test_pickled_lists_are_read(tmp_path: Path, content: dict[str, list[int]]) -> None:
    path = save_pickled(tmp_path / "broken_frames.npy", content)
    assert read_excluded_frames(path) == {video: tuple(sorted(frames)) for video, frames in content.items()}


class Malicious:
    """What runs a command as soon as somebody unpickles it."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch /tmp/never",)


@pytest.mark.parametrize("content", [Malicious(), {"410": Malicious()}, {"410": [Malicious()]}])
def test_no_code_of_a_pickled_list_runs(tmp_path: Path, content: object, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[object] = []
    path = save_pickled(tmp_path / "broken_frames.npy", content)
    monkeypatch.setattr(os, "system", ran.append)
    with pytest.raises(
        DataError, match=r"broken_frames\.npy: expected frame numbers by video: .*, found .*system in it"
    ):
        read_excluded_frames(path)
    assert ran == []


def array_bytes(values: Any) -> bytes:
    stream = io.BytesIO()
    np.save(stream, values)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.json", b"[1, 2]"),
        ("a.json", b"{"),
        ("a.json", b'{"410": ["x"]}'),
        ("a.json", b'{"410": 5}'),
        ("a.json", b'{"410": [1], "410": [2]}'),
        ("a.npy", b"text"),
        ("a.npy", array_bytes(np.arange(5))),
        ("a.npy", pickle.dumps({"410": [1]})),
    ],
)
def test_what_is_no_list_is_named(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=rf"{name}: expected frame numbers by video"):
        read_excluded_frames(tmp_path / name)


def test_a_missing_list(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone\.json: expected frame numbers by video: .*, found No such file"):
        read_excluded_frames(tmp_path / "gone.json")


# --- the real files


def test_the_real_list(shared_data: Path) -> None:
    frames = read_excluded_frames(shared_data / "samples" / "300VW" / "broken_frames.npy")
    excluded = {part: sum(len(frames.get(v, ())) for v in videos) for part, videos in OFFICIAL_VIDEOS.items()}
    # What is known of the test videos without the list: 62,846, 32,872 and 27,687 annotated frames.
    assert excluded == {"train": 0, "category 1": 711, "category 2": 67, "category 3": 1349}


def test_the_real_frames(shared_data: Path) -> None:
    root = shared_data / "samples" / "300VW"
    clips, report = read_300vw(root)
    assert [(clip.subset, clip.numbers.tolist(), clip.excluded) for clip in clips] == [
        ("train/001", [6, 9], ()),
        ("category 1/401", [732], (731,)),
    ]
    # Somebody else's list of the frames that remain.
    names = [image["file_name"] for image in json.loads((root / "anno_300vw.json").read_text())["images"]]
    samples = [sample for clip in clips for sample in clip.samples()]
    assert [sample.path.relative_to(root).as_posix() for sample in samples] == names
    assert [sample.load().shape for sample in samples] == [(720, 1280, 3), (720, 1280, 3), (512, 700, 3)]
    assert samples[0].landmarks[0].tolist() == pytest.approx([742.224, 196.764])  # 743.224 197.764 in the file
    assert report.problems == []


def test_real_videos_of_another_set(shared_data: Path) -> None:
    root = shared_data / "CK_plus"
    clips, report = read_300vw(root)
    # Frames by sequence, as its own table says.
    rows = [row.split(",") for row in (root / "manifest.csv").read_text().splitlines()[1:]]
    assert report.counts == {row[0]: int(row[1]) for row in rows}
    assert sum(report.counts.values()) == 141
    assert (report.problems, report.shortfalls, report.notes) == ([], [], [])
    clip = clips[3]
    assert isinstance(clip.frames, FrameFolder)
    np.testing.assert_array_equal(clip.landmarks[4], read_pts(root / clip.name / "annot" / "000005.pts"))
    np.testing.assert_array_equal(clip.frame(4), read_image(root / clip.name / "imgs" / "000005.jpg"))
