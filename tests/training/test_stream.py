"""The stream of faces: a face at a position depends on the seed and the position alone."""

from __future__ import annotations

import dataclasses
import itertools
import os
import sys
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset

from srn.datasets.pack import FacePack, mean_shape
from srn.errors import DataError, InputError
from srn.face.geometry import CropSpec, fit_similarity
from srn.synthesis.augment import TrainingFace
from srn.synthesis.config import NO_AUGMENTATION, AugmentConfig
from srn.training.stream import FaceStream, batches, split_validation

SPEC = CropSpec(64, 44.0)

Batch = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


def stream_of(pack: FacePack, seed: int = 0, config: AugmentConfig | None = None) -> FaceStream:
    return FaceStream(pack, SPEC, config or AugmentConfig(), seed)


def same(a: Batch, b: Batch) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def joined(*parts: Batch) -> Batch:
    images, landmarks, visible = (torch.cat(tensors) for tensors in zip(*parts, strict=True))
    return images, landmarks, visible


def indices(pack: FacePack, stream: FaceStream, positions: range) -> list[int]:
    """Which of the pack's faces lie there. Without augmentation a face's landmarks give it away."""
    center = (SPEC.size - 1) / 2
    expected = (pack.landmarks - pack.spec.center) * (SPEC.face_size / pack.spec.face_size) + center
    found = []
    for position in positions:
        distances = np.abs(expected - stream[position][1].numpy()).max(axis=(1, 2))
        assert np.sort(distances)[0] < 1e-3 < np.sort(distances)[1]
        found.append(int(distances.argmin()))
    return found


def test_a_face_is_an_image_its_landmarks_and_what_can_be_seen(pack: FacePack) -> None:
    image, landmarks, visible = stream_of(pack)[0]

    assert (image.shape, image.dtype) == ((3, 64, 64), torch.uint8)
    assert (landmarks.shape, landmarks.dtype) == ((68, 2), torch.float32)
    assert (visible.shape, visible.dtype) == ((68,), torch.bool)


def test_the_same_position_is_the_same_face_whatever_came_before(pack: FacePack) -> None:
    first = stream_of(pack)
    forwards = [first[p] for p in range(30)]
    second = stream_of(pack)

    assert all(same(second[p], forwards[p]) for p in (29, 3, 3, 17, 0))


def test_positions_differ_even_where_the_face_is_the_same(pack: FacePack) -> None:
    one_face = stream_of(pack.subset([0]))

    assert not any(same(one_face[a], one_face[b]) for a, b in itertools.combinations(range(4), 2))


def test_another_seed_is_another_stream(pack: FacePack) -> None:
    plain = (stream_of(pack, seed, NO_AUGMENTATION) for seed in (0, 1))
    first, second = (indices(pack, stream, range(24)) for stream in plain)

    assert first != second
    assert not same(stream_of(pack.subset([0]), 0)[0], stream_of(pack.subset([0]), 1)[0])


def test_every_epoch_shows_every_face_once_in_a_new_order(pack: FacePack) -> None:
    stream = stream_of(pack, config=NO_AUGMENTATION)

    epochs = [indices(pack, stream, range(12 * e, 12 * (e + 1))) for e in range(4)]

    assert all(sorted(epoch) == list(range(12)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 4


def test_without_augmentation_the_picture_is_the_packed_one_at_another_size(pack: FacePack) -> None:
    stream = stream_of(pack, config=NO_AUGMENTATION)
    (index,) = indices(pack, stream, range(1))
    image, landmarks, visible = stream[0]

    assert bool(visible.all())
    packed = pack.image(index).astype(float)
    for point in (30, 57, 8):  # the same colours under the same landmarks
        x, y = np.round(landmarks[point].numpy()).astype(int)
        px, py = np.round(pack.landmarks[index, point]).astype(int)
        around = packed[py - 2 : py + 3, px - 2 : px + 3].reshape(-1, 3)
        pixel = image[:, y, x].numpy()
        assert (pixel >= around.min(axis=0) - 1).all()
        assert (pixel <= around.max(axis=0) + 1).all()


def test_senseless_numbers_of_workers_and_steps_take_nothing(pack: FacePack) -> None:
    """A hundred thousand processes would end the machine, and a list of all steps its memory."""
    loader = batches(stream_of(pack), 0, 10**30, 4, workers=100_000)
    assert loader.num_workers == (os.cpu_count() or 1)
    (first,) = batches(stream_of(pack), 0, 1, 4, workers=0)
    again = next(iter(batches(stream_of(pack), 0, 10**30, 4, workers=0)))
    assert all(torch.equal(one, other) for one, other in zip(first, again, strict=True))


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_change_nothing(workers: int, pack: FacePack) -> None:
    alone = list(batches(stream_of(pack), 0, 5, 4, workers=0))
    helped = list(batches(stream_of(pack), 0, 5, 4, workers=workers))

    assert len(alone) == len(helped) == 5
    assert all(same(a, b) for a, b in zip(alone, helped, strict=True))


class Complaints(Dataset[tuple[torch.Tensor, ...]]):
    """What the threads of a worker say at each position."""

    def __getitem__(self, position: int) -> tuple[torch.Tensor, ...]:
        for error in (ConnectionResetError("killed"), BrokenPipeError("killed"), EOFError("killed"), OSError("odd")):
            sys.excepthook(type(error), error, None)
        return (torch.zeros(1),)


def test_workers_of_a_killed_training_say_nothing_about_it(capfd: pytest.CaptureFixture[str]) -> None:
    list(batches(Complaints(), 0, 1, 1, workers=1))
    assert capfd.readouterr().err == "OSError: odd\n"


def test_a_batch_is_its_positions(pack: FacePack) -> None:
    stream = stream_of(pack)

    (batch,) = batches(stream, 3, 4, 5, workers=0)

    for i, position in enumerate(range(15, 20)):
        assert same((batch[0][i], batch[1][i], batch[2][i]), stream[position])


def test_a_stream_that_starts_later_goes_on_with_the_same_faces(pack: FacePack) -> None:
    whole = list(batches(stream_of(pack), 0, 6, 4, workers=0))
    rest = list(batches(stream_of(pack), 4, 6, 4, workers=0))

    assert len(rest) == 2
    assert all(same(a, b) for a, b in zip(rest, whole[4:], strict=True))


@pytest.mark.parametrize("world_size", [2, 4])
def test_the_shares_of_all_processes_are_the_batch_of_one(world_size: int, pack: FacePack) -> None:
    whole = batches(stream_of(pack), 1, 4, 8, workers=0)
    shares = [
        batches(stream_of(pack), 1, 4, 8, workers=0, rank=rank, world_size=world_size) for rank in range(world_size)
    ]

    for batch, *parts in zip(whole, *shares, strict=True):
        assert same(joined(*parts), batch)


def test_a_finished_stream_is_empty(pack: FacePack) -> None:
    loader = batches(stream_of(pack), 6, 6, 4, workers=0)

    assert len(loader) == 0
    assert list(loader) == []


def black(face: TrainingFace, rng: np.random.Generator) -> TrainingFace:
    """An occluder that nobody can miss; the brightness says what chance it was given."""
    return TrainingFace(np.full_like(face.image, rng.integers(1, 40)), face.landmarks, np.zeros_like(face.visible))


def test_an_occluder_hides_its_share_and_leaves_the_others_as_they_were(pack: FacePack) -> None:
    config = AugmentConfig(noise_patch=1.0)
    plain = FaceStream(pack, SPEC, config, 3)
    hard = FaceStream(pack, SPEC, config, 3, occluder=black, hard_share=0.4)

    hidden = [not hard[position][2].any() for position in range(200)]

    assert 0.3 < np.mean(hidden) < 0.5
    for position in range(40):
        if hidden[position]:
            assert hard[position][0].max() < 40
            assert same(hard[position], hard[position])
        else:
            assert same(hard[position], plain[position])


def test_a_share_of_nothing_is_the_stream_without(pack: FacePack) -> None:
    stream = FaceStream(pack, SPEC, AugmentConfig(), 0, occluder=black, hard_share=0.0)
    assert same(stream[5], FaceStream(pack, SPEC, AugmentConfig(), 0)[5])


def test_a_missing_file_of_patterns_is_told_before_the_first_face(pack: FacePack) -> None:
    with pytest.raises(DataError, match=r"^absent\.npz: expected occlusion patterns"):
        stream_of(pack, config=AugmentConfig(patterns=0.1, pattern_file="absent.npz"))


def test_second_looks_are_turned_upright_by_the_mean_shape(pack: FacePack) -> None:
    bare: dict[str, Any] = {"flip": 0, "rotation_deg": 80, "color": 0, "noise_patch": 0, "occluders": 0, "masks": 0}
    stream = stream_of(pack, config=AugmentConfig(second_pass=1.0, **bare))
    mean = mean_shape(pack).astype(np.float64)
    for position in range(20):
        turn = fit_similarity(stream[position][1].numpy().astype(np.float64), mean)
        assert abs(np.rad2deg(np.arctan2(turn[1, 0], turn[0, 0]))) < 2.5 * 2.5 + 0.01


def test_no_photograph_has_faces_for_training_and_for_validation(pack: FacePack) -> None:
    names = [f"afw/{photo}_{face}" for photo in (11, 12, 13, 14) for face in (1, 2)]
    names += ["300W_LP_AFW/AFW_11_1_5", "300W_LP_AFW/AFW_12_2_0", "toy/x_1", "toy/x_2"]
    named = dataclasses.replace(pack, names=np.array(names))
    training, validation = split_validation(named, 3)  # faces 0, 6 (5.5 rounds to even) and 11
    assert validation is not None
    assert validation.names.tolist() == ["afw/11_1", "afw/14_1", "toy/x_2"]
    assert training.names.tolist() == [
        "afw/12_1", "afw/12_2", "afw/13_1", "afw/13_2", "300W_LP_AFW/AFW_12_2_0", "toy/x_1"
    ]  # fmt: skip


def test_a_pack_of_one_photograph_cannot_be_split(pack: FacePack) -> None:
    named = dataclasses.replace(pack, names=np.array([f"afw/11_{face}" for face in range(len(pack))]))
    with pytest.raises(InputError, match="faces of at least two photographs or videos"):
        split_validation(named, 3)
