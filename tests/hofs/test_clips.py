"""Sources of clips: the same clip for the same number."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import cv2
import numpy as np
import pytest

from srn.datasets.clip import Clip
from srn.datasets.pack import FacePack
from srn.errors import DataError, InputError
from srn.face.geometry import Box, CropSpec
from srn.face.scheme import COFW_29, IBUG_68
from srn.hofs.clips import AnimatedClips, RecordedClips, cropped, recorded_clips
from srn.media.pictures import encode_image, write_image
from srn.media.pts import write_pts
from srn.synthesis.config import NO_MOTION, UNOCCLUDED_MOTION

PACK_SPEC, SPEC = CropSpec(96, 48.0), CropSpec(64, 40.0)


@pytest.fixture
def pack(face: np.ndarray) -> FacePack:
    """Three plain faces, each of a colour of its own."""
    parts, landmarks = [], []
    for k in range(3):
        image = np.full((96, 96, 3), 60 * (k + 1), np.uint8)
        parts.append(np.frombuffer(encode_image(image, ".png"), np.uint8))
        landmarks.append(PACK_SPEC.place(face))
    offsets = np.concatenate([[0], np.cumsum([len(part) for part in parts])])
    names = np.array([f"toy/{k}" for k in range(3)])
    return FacePack(IBUG_68, np.array(landmarks, np.float32), names, PACK_SPEC, np.concatenate(parts), offsets)


def test_animated_clips_repeat(pack: FacePack) -> None:
    first, again = AnimatedClips(pack, SPEC, 4, seed=3), AnimatedClips(pack, SPEC, 4, seed=3)
    again.clip(1)  # the order of asking does not matter
    for one, other in zip(first.clip(2), again.clip(2), strict=True):
        np.testing.assert_array_equal(one, other)
    assert first.name == again.name
    assert len(first) == 3
    assert first.clip(0).images.shape == (4, 64, 64, 3)


def test_seeds_and_numbers_differ(pack: FacePack) -> None:
    source = AnimatedClips(pack, SPEC, 3, seed=0, count=6)
    shapes = [source.clip(k).landmarks for k in range(6)] + [AnimatedClips(pack, SPEC, 3, seed=1).clip(0).landmarks]
    assert all(np.abs(a - b).max() > 0.1 for i, a in enumerate(shapes) for b in shapes[:i])
    assert len(source) == 6


def test_nothing_hides_the_faces(pack: FacePack) -> None:
    """Occlusion is the agent's to add: without motion too, all points inside the crop are seen."""
    source = AnimatedClips(pack, SPEC, 6)
    for k in range(3):
        clip = source.clip(k)
        inside = ((clip.landmarks > 0.5) & (clip.landmarks < SPEC.size - 1.5)).all(axis=-1)
        assert clip.visible[inside].all()


def test_what_the_faces_hide_themselves_stays_hidden(pack: FacePack) -> None:
    occluded = np.zeros((3, 68), bool)
    occluded[:, [7, 40]] = True
    source = AnimatedClips(dataclasses.replace(pack, occluded=occluded), SPEC, 2, motion=NO_MOTION)
    assert np.flatnonzero(~source.clip(0).visible.any(axis=0)).tolist() == [7, 40]


def test_every_face_comes_once_in_a_pass(pack: FacePack) -> None:
    source = AnimatedClips(pack, SPEC, 1, motion=NO_MOTION, count=6)
    colors = [int(np.median(source.clip(k).images)) for k in range(6)]
    assert sorted(colors[:3]) == sorted(colors[3:]) == [60, 120, 180]
    assert [source.origin(k) for k in range(6)] == [f"toy/{color // 60 - 1}" for color in colors]


def test_numbers_out_of_range(pack: FacePack) -> None:
    with pytest.raises(InputError, match="clip number: expected 0 to 2, found 3"):
        AnimatedClips(pack, SPEC).clip(3)
    with pytest.raises(InputError, match="frames of a clip: expected at least 1"):
        AnimatedClips(pack, SPEC, 0)
    with pytest.raises(InputError, match="frames of a clip: expected at least 1, at most 10000"):
        AnimatedClips(pack, SPEC, 10**30)
    with pytest.raises(InputError, match="number of clips: expected at least 1, at most 1000000000"):
        AnimatedClips(pack, SPEC, count=10**30)


def test_each_frame_is_cropped_by_its_own_face(face: np.ndarray) -> None:
    landmarks = np.stack([face * 100 + [120, 130], face * 50 + [80, 90]])
    images = [np.zeros((256, 256, 3), np.uint8) for _ in landmarks]
    for image, shape in zip(images, landmarks, strict=True):
        x, y = shape[30].round().astype(int)
        cv2.circle(image, (int(x), int(y)), 4, (255, 0, 0), -1)

    clip = cropped(images, landmarks, SPEC)

    for k in range(2):
        box = Box.around(clip.landmarks[k])
        assert box.size == pytest.approx(SPEC.face_size, abs=1e-3)
        np.testing.assert_allclose(box.center, SPEC.center, atol=1e-3)
        rows, columns = np.nonzero(clip.images[k, :, :, 0] > 128)
        np.testing.assert_allclose([columns.mean(), rows.mean()], clip.landmarks[k, 30], atol=1)
    assert clip.visible.all()


class Frames:
    """Numbered frames in memory."""

    path = Path("memory")

    def read(self, number: int) -> np.ndarray:
        return np.full((200, 200, 3), number, np.uint8)


def video(face: np.ndarray, frames: int, occluded: np.ndarray | None = None) -> Clip:
    landmarks = np.tile(face * 80 + 100, (frames, 1, 1))
    return Clip("v", Frames(), np.arange(1, frames + 1), landmarks, IBUG_68, "v", occluded=occluded)


def test_videos_are_cut_into_stretches(face: np.ndarray) -> None:
    source = RecordedClips([video(face, 7), video(face, 3)], SPEC, frames=3)
    frames = [np.median(source.clip(k).images, axis=(1, 2, 3)).tolist() for k in range(len(source))]
    assert frames == [[1, 2, 3], [4, 5, 6], [7], [1, 2, 3]]
    assert source.name.startswith("4 stretches of 2 videos, ")
    assert [source.origin(k) for k in range(4)] == ["v/000001", "v/000004", "v/000007", "v/000001"]


def test_other_clips_have_another_name(face: np.ndarray, pack: FacePack) -> None:
    """A run that is resumed is told by it whether its clips are those of before."""
    base, moved = video(face, 6), video(face + 0.01, 6)
    given: list[list[Clip]] = [
        [base], [moved], [dataclasses.replace(base, name="w")], [dataclasses.replace(base, numbers=np.arange(2, 8))],
        [dataclasses.replace(base, occluded=np.ones((6, 68), bool))],
    ]  # fmt: skip
    names = [RecordedClips(clips, SPEC, frames=3).name for clips in given]
    assert len({*names, RecordedClips([base], SPEC, frames=2, count=2).name}) == 6
    assert RecordedClips([video(face, 6)], SPEC, frames=3).name == names[0]
    plain = AnimatedClips(pack, SPEC, 2)
    assert plain.name == AnimatedClips(pack, SPEC, 2, motion=UNOCCLUDED_MOTION).name
    assert plain.name != AnimatedClips(pack, SPEC, 2, motion=NO_MOTION).name


def test_hard_clips_are_not_made_of_test_videos(tmp_path: Path, face: np.ndarray) -> None:
    def write(name: str) -> None:
        write_image(tmp_path / name / "imgs" / "000001.jpg", np.zeros((200, 200, 3), np.uint8))
        write_pts(tmp_path / name / "annot" / "000001.pts", face * 80 + 100)

    write("114")  # of category 1
    with pytest.raises(DataError, match="expected videos to train with, found 300VW's test videos alone"):
        recorded_clips(tmp_path, SPEC)
    write("001")  # of the training videos
    write("mine")
    source, problems = recorded_clips(tmp_path, SPEC)
    assert (len(source), problems) == (2, [])


def test_annotated_occlusion_is_kept(face: np.ndarray) -> None:
    occluded = np.zeros((4, 68), bool)
    occluded[3, 5] = True
    source = RecordedClips([video(face, 4, occluded)], SPEC, frames=3)
    assert source.clip(0).visible.all()
    assert np.flatnonzero(~source.clip(1).visible[0]).tolist() == [5]


def test_videos_of_one_scheme(face: np.ndarray) -> None:
    other = Clip("w", Frames(), np.arange(1, 2), face[None, :29] * 80 + 100, COFW_29, "w")
    with pytest.raises(InputError, match="videos: expected clips of one landmark scheme, found cofw29, ibug68"):
        RecordedClips([video(face, 2), other], SPEC)
    with pytest.raises(InputError, match="videos: expected clips of one landmark scheme, found no clip"):
        RecordedClips([], SPEC)
