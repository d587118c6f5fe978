"""Hard clips, in files and in the training stream."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from srn.datasets.manifest import read_visible
from srn.datasets.three_hundred_vw import read_300vw
from srn.errors import DataError, InputError
from srn.face.geometry import CropSpec, ImageArray
from srn.face.localizer import Float32Array, Prediction
from srn.face.scheme import COFW_29
from srn.hofs.agent import Agent
from srn.hofs.clips import GivenClips
from srn.hofs.scenes import Place, Scenes
from srn.hofs.synthesis import (
    GreedyPolicy,
    HardOcclusion,
    MapPolicy,
    PolicyOcclusion,
    hard_clips,
    random_policy,
    write_clips,
)
from srn.media.tables import read_rows
from srn.synthesis.animate import MovingFace
from srn.synthesis.augment import TrainingFace

from .conftest import GREY, PATCH_SIZE, SPEC, grid_shape, plain_clip


def source(count: int = 3) -> GivenClips:
    return GivenClips([plain_clip(2 + k) for k in range(count)], SPEC, COFW_29)


def test_a_clip_along_a_path() -> None:
    scenes = Scenes(source(), PATCH_SIZE)
    face = scenes.occluded_clip(1, np.array([4, 5, 5]), 9)
    for frame, landmark in enumerate((4, 5, 5)):
        image, visible = scenes.occluded(Place(1, frame, landmark, 9))
        np.testing.assert_array_equal(face.images[frame], image)
        np.testing.assert_array_equal(face.visible[frame], visible)
    np.testing.assert_array_equal(face.landmarks, scenes.clip(1).landmarks)


def test_a_clip_depends_on_seed_and_number_alone(agent: Agent) -> None:
    whole = list(hard_clips(agent, source(), range(3), seed=5))
    (alone,) = hard_clips(agent, source(), [2], seed=5, together=1)
    (other,) = hard_clips(agent, source(), [2], seed=6)
    assert [clip.name for clip in whole] == ["00000", "00001", "00002"]
    np.testing.assert_array_equal(whole[2].face.images, alone.face.images)
    np.testing.assert_array_equal(whole[2].trajectory, alone.trajectory)
    assert other.noise_seed != alone.noise_seed
    for clip in whole:
        assert [np.flatnonzero(~row).tolist() for row in clip.face.visible] == [[k] for k in clip.trajectory]


def test_files_in_the_layout_of_300vw(agent: Agent, tmp_path: Path) -> None:
    clips = list(write_clips(hard_clips(agent, source(2), range(2)), tmp_path))

    read, report = read_300vw(tmp_path, scheme=COFW_29)
    assert report.problems == []
    assert [(clip.name, len(clip)) for clip in read] == [("00000", 2), ("00001", 3)]
    np.testing.assert_allclose(read[1].landmarks, clips[1].face.landmarks, atol=1e-3)
    flags = read_visible(tmp_path)
    for clip in clips:
        for frame, visible in enumerate(clip.face.visible):
            np.testing.assert_array_equal(flags[f"{clip.name}/{frame + 1:06d}"], visible)
    assert np.abs(read[0].frame(0).astype(int) - clips[0].face.images[0]).mean() < 3  # JPEG
    rows = read_rows(tmp_path / "manifest.csv", "a table of clips")
    assert [row["origin"] for row in rows] == ["given/0"] * 2 + ["given/1"] * 3


def test_the_manifest_is_complete_at_any_moment(agent: Agent, tmp_path: Path) -> None:
    stream = write_clips(hard_clips(agent, source(3), range(3)), tmp_path)
    next(stream)
    assert len((tmp_path / "manifest.csv").read_text().splitlines()) == 1 + 2
    next(stream)
    assert len((tmp_path / "manifest.csv").read_text().splitlines()) == 1 + 2 + 3


def test_a_clip_that_cannot_be_read_is_left_out(agent: Agent) -> None:
    class Broken(GivenClips):
        def clip(self, number: int) -> MovingFace:
            if number == 1:
                raise DataError.at("video/000007.jpg", "a picture", "half of one")
            return super().clip(number)

    broken = Broken([plain_clip(2)] * 3, SPEC, COFW_29)
    problems: list[str] = []
    assert [c.name for c in hard_clips(agent, broken, range(3), problems=problems)] == ["00000", "00002"]
    assert problems == ["video/000007.jpg: expected a picture, found half of one; left out"]
    with pytest.raises(DataError, match="half of one"):
        list(hard_clips(agent, broken, range(3)))


def test_clips_of_another_crop(agent: Agent) -> None:
    other = GivenClips([plain_clip(1)], CropSpec(96, 60.0), COFW_29)
    with pytest.raises(InputError, match="clips: expected cofw29 in crops of 64 pixels, found cofw29 in crops of 96"):
        next(hard_clips(agent, other, [0]))


# --- in the training stream


def test_training_clips(agent: Agent) -> None:
    hard, clip = HardOcclusion(agent), plain_clip(4)
    first, again = (hard(clip, np.random.default_rng(3)) for _ in range(2))
    np.testing.assert_array_equal(first.images, again.images)
    np.testing.assert_array_equal(first.landmarks, clip.landmarks)
    hidden = [np.flatnonzero(~row).tolist() for row in first.visible]
    assert all(len(row) == 1 for row in hidden)
    steps = np.diff([row[0] for row in hidden]) % 29
    assert np.isin(steps, [0, 1, 28]).all()
    assert (clip.images == GREY).all()  # the given clip stays as it is
    assert clip.visible.all()


def test_random_occlusion_jumps_from_frame_to_frame() -> None:
    clip = plain_clip(400)
    face = PolicyOcclusion(SPEC, COFW_29, random_policy, PATCH_SIZE)(clip, np.random.default_rng(3))
    hidden = [np.flatnonzero(~row).tolist() for row in face.visible]
    assert all(len(row) == 1 for row in hidden)
    landmarks = np.array([row[0] for row in hidden])
    assert set(landmarks) == set(range(29))
    assert not np.isin(np.diff(landmarks) % 29, [0, 1, 28]).all()
    assert (clip.images == GREY).all()


def hidden_landmarks(face: MovingFace) -> list[int]:
    hidden = [np.flatnonzero(~row).tolist() for row in face.visible]
    assert all(len(row) == 1 for row in hidden)
    return [row[0] for row in hidden]


def test_the_map_of_all_faces_leads_to_its_dearest_landmark_and_stays() -> None:
    costs = np.zeros(29)
    costs[11] = 1.0
    walked = PolicyOcclusion(SPEC, COFW_29, MapPolicy(costs), PATCH_SIZE)(plain_clip(20), np.random.default_rng(3))
    path = hidden_landmarks(walked)
    assert path[-1] == 11
    assert path.count(11) >= 20 - 14  # the ring's farthest landmark is 14 steps away
    assert np.isin(np.diff(path) % 29, [0, 1, 28]).all()


class WeakAt:
    """A localizer that errs where noise covers one landmark, the more the nearer the noise: grey hides nothing."""

    def __init__(self, landmark: int) -> None:
        self.scheme, self.crop_spec, self._landmark = COFW_29, SPEC, landmark
        self.mean_shape, self.name = np.zeros((29, 2), np.float32), "weak"

    def __call__(
        self,
        crops: ImageArray,
        initial_shape: Float32Array | None = None,
        hidden: Float32Array | None = None,
        initial_weight: Float32Array | None = None,
    ) -> Prediction:
        shapes = np.repeat(grid_shape()[None], len(crops), axis=0)
        distance = np.array([self._nearest(crop) for crop in crops], np.float32)
        shapes[:, self._landmark] += (100 / (1 + distance))[:, None]
        return Prediction(shapes[:, None], np.zeros((len(crops), 1), np.float32), None, None)

    def _nearest(self, image: ImageArray) -> float:
        rows, columns = np.nonzero((image != GREY).any(axis=2))
        return float(np.hypot(columns - grid_shape()[self._landmark, 0], rows - grid_shape()[self._landmark, 1]).min())


def test_greedy_goes_where_the_frozen_network_fails_more() -> None:
    greedy = PolicyOcclusion(SPEC, COFW_29, GreedyPolicy(WeakAt(3)), PATCH_SIZE)
    path = hidden_landmarks(greedy(plain_clip(30), np.random.default_rng(3)))
    assert np.isin(np.diff(path) % 29, [0, 1, 28]).all()
    reach = np.linalg.norm(grid_shape()[path] - grid_shape()[3], axis=1)
    assert (np.diff(reach) <= 1e-6).all()
    assert reach[-1] < reach[0]


def test_training_faces(agent: Agent) -> None:
    """On a still the agent takes the best of a few landmarks."""
    clip = plain_clip(1)
    face = TrainingFace(clip.images[0], clip.landmarks[0], clip.visible[0])
    everywhere = HardOcclusion(agent, choices=29)
    scenes = Scenes(GivenClips([clip], SPEC, COFW_29), PATCH_SIZE)
    hard = everywhere.face(face, np.random.default_rng(2))
    noise = int(np.random.default_rng(2).integers(2**31))
    values = agent.values(scenes, [Place(0, 0, landmark, noise) for landmark in range(29)])
    assert np.flatnonzero(~hard.visible).tolist() == [int(values.argmax())]
    np.testing.assert_array_equal(hard.landmarks, grid_shape())
    assert (face.image == GREY).all()
    with pytest.raises(InputError, match="choices: expected at least 1"):
        HardOcclusion(agent, 0)


def test_faces_of_another_kind(agent: Agent) -> None:
    big = TrainingFace(np.zeros((96, 96, 3), np.uint8), grid_shape(), np.ones(29, bool))
    with pytest.raises(
        InputError, match=r"training faces: expected \(64, 64, 3\) and 29 landmarks, found \(96, 96, 3\)"
    ):
        HardOcclusion(agent).face(big, np.random.default_rng(0))
