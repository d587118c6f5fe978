"""`Clip` and where its frames come from."""

from __future__ import annotations

import pickle
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from srn.datasets.clip import Clip, FrameFolder, VideoFile
from srn.errors import DataError
from srn.face.scheme import IBUG_68
from srn.media.pictures import write_image

Shape = npt.NDArray[np.float64]
LENGTH = 12


def level(number: int) -> int:
    """The grey of frame `number`: far enough from its neighbours' to survive compression."""
    return 15 * number


@pytest.fixture
def video(tmp_path: Path) -> Path:
    path = tmp_path / "vid.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 25.0, (64, 48))
    if not writer.isOpened():
        pytest.skip("this OpenCV cannot write videos")
    for number in range(1, LENGTH + 1):
        writer.write(np.full((48, 64, 3), level(number), np.uint8))
    writer.release()
    return path


def number_of(image: npt.NDArray[np.uint8]) -> int:
    assert image.shape == (48, 64, 3)
    return round(float(image.mean()) / level(1))


def landmarks(face: Shape, frames: int) -> Shape:
    return np.stack([face * 20 + 24 + k for k in range(frames)])


def test_frames_of_a_video_count_from_one_in_any_order(video: Path) -> None:
    source = VideoFile(video)
    assert source.length() == LENGTH
    order = [1, 2, 5, 12, 3, 3, 4, 1, 11]
    assert [number_of(source.read(number)) for number in order] == order


def test_reading_forward_decodes_every_frame_once(video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = []
    real = cv2.VideoCapture

    def capture(path: str, backend: int) -> cv2.VideoCapture:
        opened.append(path)
        return real(path, backend)

    monkeypatch.setattr(cv2, "VideoCapture", capture)
    source = VideoFile(video)
    for number in range(1, LENGTH + 1):
        source.read(number)
    assert len(opened) == 1
    source.read(4)
    assert len(opened) == 2


def test_colors_are_rgb(tmp_path: Path) -> None:
    path = tmp_path / "vid.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 25.0, (32, 32))
    writer.write(np.full((32, 32, 3), (20, 60, 220), np.uint8))  # OpenCV writes blue, green, red
    writer.release()
    red, green, blue = VideoFile(path).read(1).reshape(-1, 3).mean(axis=0)
    assert red > 200
    assert 40 < green < 80
    assert blue < 40


def test_the_end_of_a_video_is_named(video: Path) -> None:
    source = VideoFile(video)
    with pytest.raises(DataError, match=r"vid\.avi: expected frame 13, found a video that ends with frame 12"):
        source.read(13)
    assert number_of(source.read(12)) == 12  # and it can be read again


def test_what_is_no_video_is_named(tmp_path: Path) -> None:
    (tmp_path / "vid.avi").write_text("text")
    for path in (tmp_path / "vid.avi", tmp_path / "gone.avi"):
        with pytest.raises(DataError, match=r"\.avi: expected a video that OpenCV can read, found none"):
            VideoFile(path).read(1)


def test_a_source_travels_to_another_process(video: Path) -> None:
    source = VideoFile(video)
    source.read(7)
    other = pickle.loads(pickle.dumps(partial(source.read, 3)))
    assert number_of(other()) == 3


def test_a_folder_of_frames(tmp_path: Path) -> None:
    for number in (3, 1, 20):
        write_image(tmp_path / f"{number:06d}.png", np.full((48, 64, 3), level(1) * number % 256, np.uint8))
    (tmp_path / "notes.txt").write_text("no frame")
    write_image(tmp_path / "cover.png", np.zeros((4, 4, 3), np.uint8))
    source = FrameFolder(tmp_path)
    assert source.numbers == (1, 3, 20)
    assert number_of(source.read(3)) == 3
    with pytest.raises(DataError, match=r"000002\.jpg: expected a readable picture file"):
        source.read(2)
    with pytest.raises(DataError, match=r"nowhere: expected a folder of numbered frames"):
        FrameFolder(tmp_path / "nowhere")


def test_a_clip_gives_frames_with_their_landmarks(video: Path, face: Shape) -> None:
    shapes = landmarks(face, 3)
    clip = Clip("001", VideoFile(video), np.array([2, 3, 7]), shapes, IBUG_68, "train/001")
    assert len(clip) == 3
    for (image, points), number, expected in zip(clip, (2, 3, 7), shapes, strict=True):
        assert number_of(image) == number
        np.testing.assert_array_equal(points, expected)
    assert number_of(clip.frame(1)) == 3


def test_the_frames_of_a_clip_as_samples(video: Path, face: Shape) -> None:
    hidden = np.zeros((2, 68), bool)
    hidden[1, 5] = True
    clip = Clip("001", VideoFile(video), np.array([2, 9]), landmarks(face, 2), IBUG_68, "train/001", (4,), hidden)
    first, second = clip.samples()
    assert first.video == second.video == f"{clip.subset}/{clip.name}"
    assert first.path == video / "000002"
    assert (first.subset, first.scheme) == ("train/001", IBUG_68)
    assert number_of(second.load()) == 9
    assert second.occluded is not None
    assert np.flatnonzero(second.occluded).tolist() == [5]
    np.testing.assert_array_equal(second.landmarks, clip.landmarks[1])


def test_a_clip_of_another_shape_is_named(video: Path, face: Shape) -> None:
    with pytest.raises(DataError, match=r"vid\.avi: expected landmarks \(3, 68, 2\), found \(2, 68, 2\)"):
        Clip("001", VideoFile(video), np.array([1, 2, 3]), landmarks(face, 2), IBUG_68, "train/001")
    with pytest.raises(DataError, match=r"vid\.avi: expected rising frame numbers"):
        Clip("001", VideoFile(video), np.array([2, 2]), landmarks(face, 2), IBUG_68, "train/001")
