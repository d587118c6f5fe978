"""Fine-tuning on clips: the unrolled network against a plain loop, the loss by hand, and runs that can be killed."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from srn.datasets.pack import FacePack, mean_shape
from srn.errors import InputError, SrnError
from srn.face.geometry import CropGeometry, invert_affine, transform_points
from srn.model.checkpoint import adapted, load_network, load_tensors, save_network
from srn.model.network import StructuralRelationNetwork
from srn.settings import with_settings
from srn.synthesis.animate import MovingFace, animate_placed
from srn.synthesis.config import NO_MOTION, MotionConfig
from srn.training.clip_stream import ClipBatch, ClipStream, crop_steps
from srn.training.clips import ClipTask, ClipUnroll, affine, clip_loss, track_clips, unsteadiness
from srn.training.config import ClipConfig, TrainConfig, tracker_config
from srn.training.loss import cascade_loss
from srn.training.memory import DividedBatches
from srn.training.stream import split_validation, stretch_numbers

from .conftest import SCHEDULE, run, toy_config, without_speed

FRAMES = 3


def toy_run(name: str = "robust", **changes: Any) -> TrainConfig:
    clips = changes.pop("clips", ClipConfig(motion=MotionConfig(), frames=FRAMES))
    config: TrainConfig = toy_config(
        name, model={"recurrence": "frame"}, batch_size=6, **{"faces": 48, "averaging": 0.9, **changes}
    )
    return dataclasses.replace(config, clips=clips)


def network_of(config: TrainConfig, pack: FacePack) -> StructuralRelationNetwork:
    torch.manual_seed(3)
    return StructuralRelationNetwork(config.model, mean_shape(pack))


def batch_of(config: TrainConfig, pack: FacePack, count: int = 2, **changes: Any) -> ClipBatch:
    assert config.clips is not None
    stream = ClipStream(pack, config.model.crop_spec, dataclasses.replace(config.clips, **changes), seed=0)
    return ClipBatch(*(torch.stack(parts) for parts in zip(*(stream[p] for p in range(count)), strict=True)))


# --- the tracker's network


def test_a_tracker_has_the_picture_models_weights(pack: FacePack) -> None:
    picture = network_of(toy_config(), pack).eval()
    tracker = adapted(picture, dataclasses.replace(picture.config, recurrence="frame"))
    assert (picture.config.recurrence, tracker.config.recurrence) == ("iteration", "frame")
    assert not tracker.training
    assert all(torch.equal(t, tracker.state_dict()[name]) for name, t in picture.state_dict().items())
    # With one iteration and no past the two recurrences are the same.
    for network in (picture, tracker):
        network.config = dataclasses.replace(network.config, iterations=1)
    image = torch.rand(2, 3, 64, 64)
    torch.testing.assert_close(tracker(image).shapes, picture(image).shapes)


# --- the stream


def test_a_clip_of_the_stream(pack: FacePack) -> None:
    config = toy_run()
    batch = batch_of(config, pack)
    assert (batch.images.shape, batch.images.dtype) == ((2, FRAMES, 3, 64, 64), torch.uint8)
    assert (batch.landmarks.shape, batch.landmarks.dtype) == ((2, FRAMES, 68, 2), torch.float32)
    assert (batch.visible.shape, batch.visible.dtype) == ((2, FRAMES, 68), torch.bool)
    assert (batch.steps.shape, batch.steps.dtype) == ((2, FRAMES, 2, 3), torch.float32)
    assert (batch.previous_start.shape, batch.previous_start.dtype) == ((2,), torch.bool)


def test_the_same_position_is_the_same_clip_whatever_came_before(pack: FacePack) -> None:
    config = toy_run()
    assert config.clips is not None
    first, second = (ClipStream(pack, config.model.crop_spec, config.clips, seed=0) for _ in range(2))
    forwards = [first[p] for p in range(6)]
    for p in (5, 0, 3):
        assert all(torch.equal(a, b) for a, b in zip(second[p], forwards[p], strict=True))
    other = ClipStream(pack, config.model.crop_spec, config.clips, seed=1)
    assert not torch.equal(other[0][0], forwards[0][0])


def test_shares_of_the_starts(pack: FacePack) -> None:
    config = toy_run(clips=ClipConfig(motion=NO_MOTION, frames=2))
    assert batch_of(config, pack, 8, previous_start=1.0).previous_start.all()
    assert not batch_of(config, pack, 8, previous_start=0.0).previous_start.any()
    assert 2 <= int(batch_of(config, pack, 16).previous_start.sum()) <= 14


def test_an_occluder_gets_its_share_and_sees_clean_clips(pack: FacePack) -> None:
    config = toy_run(clips=ClipConfig(motion=dataclasses.replace(NO_MOTION, noise_patch=1), frames=2))
    assert config.clips is not None
    clean: list[bool] = []

    def black(clip: MovingFace, rng: np.random.Generator) -> MovingFace:
        clean.append(bool(clip.visible.all()))
        return clip._replace(images=np.zeros_like(clip.images), visible=np.zeros_like(clip.visible))

    stream = ClipStream(pack, config.model.crop_spec, config.clips, seed=0, occluder=black)
    shown = [stream[p] for p in range(20)]
    hidden = [not clip[0].any() for clip in shown]
    assert 4 <= sum(hidden) <= 16
    assert len(clean) == sum(hidden)
    assert all(clean)  # the patch of the motion is left out where the occluder hides the face
    others = [clip for clip, h in zip(shown, hidden, strict=True) if not h]
    assert not any(bool(clip[2].all()) for clip in others)
    assert all(not clip[2].any() for clip, h in zip(shown, hidden, strict=True) if h)


def test_steps_take_points_from_crop_to_crop(pack: FacePack) -> None:
    spec = toy_config().model.crop_spec
    framed = animate_placed(
        pack.image(0), pack.landmarks[0], spec, pack.scheme, dataclasses.replace(MotionConfig(), still=1),
        np.random.default_rng(0), 4,
    )  # fmt: skip
    steps = torch.from_numpy(crop_steps(framed.crops))
    points = torch.from_numpy(framed.face.landmarks)
    np.testing.assert_array_equal(steps[0], np.eye(2, 3))
    torch.testing.assert_close(affine(steps[1:], points[:-1]), points[1:], atol=2e-3, rtol=0)
    assert (points[1:] - points[:-1]).abs().max() > 0.1
    with torch.autocast("cpu", torch.bfloat16):  # nothing is lost where the forward pass is in bf16
        torch.testing.assert_close(affine(steps[1:], points[:-1]), points[1:], atol=2e-3, rtol=0)


def video_pack(pack: FacePack) -> FacePack:
    """The toy faces as frames 1 to 5 and 7 to 9 of one video, and 1 to 4 of another."""
    numbers = [*range(1, 6), *range(7, 10), *range(1, 5)]
    names = [f"{'ab'[k >= 8]}/{number:06d}" for k, number in enumerate(numbers)]
    return dataclasses.replace(pack, names=np.array(names))


def test_stretches_of_frames_are_told_by_their_names(pack: FacePack) -> None:
    np.testing.assert_array_equal(stretch_numbers(video_pack(pack)), [0] * 5 + [1] * 3 + [2] * 4)
    stills = dataclasses.replace(pack, names=np.array([f"helen/{k}_1" for k in range(12)]))
    np.testing.assert_array_equal(stretch_numbers(stills), np.arange(12))


@pytest.mark.parametrize("told", [False, True], ids=["by their names", "by the pack"])
def test_whole_videos_are_set_aside(pack: FacePack, told: bool) -> None:
    """Also where a frame is missing within a video, and also of single faces where the pack tells the videos."""
    videos = video_pack(pack)
    if told:
        apart = np.array([f"pictures/{k}" for k in range(len(pack))])
        videos = dataclasses.replace(videos, names=apart, videos=np.array(["a"] * 8 + ["b"] * 4))
    training, validation = split_validation(videos, 4, videos=not told)
    assert validation is not None
    assert validation.names.tolist() == videos.names[[0, 2, 5, 7]].tolist()
    assert training.names.tolist() == videos.names[8:].tolist()
    assert len(split_validation(videos, 10, videos=not told)[0]) == 4  # one video is left for training
    with pytest.raises(InputError, match="two photographs or videos"):
        split_validation(videos.subset([0, 1, 2]), 2, videos=not told)


def test_pictures_beside_videos_are_split_by_photograph(pack: FacePack) -> None:
    names = np.array([f"a/{k:06d}" for k in range(1, 9)] + ["helen/1_1", "helen/1_2", "helen/2_1", "helen/3_1"])
    mixed = dataclasses.replace(pack, names=names, videos=np.array(["a"] * 8 + [""] * 4))
    training, validation = split_validation(mixed.subset([8, 9, 10, 11, *range(8)]), 2)
    assert validation is not None
    assert validation.names.tolist() == ["helen/1_1", "helen/1_2"]
    assert len(training) == 10


def test_clips_of_videos_are_their_frames(pack: FacePack) -> None:
    videos = video_pack(pack)
    spec = toy_config().model.crop_spec
    stream = ClipStream(videos, spec, ClipConfig(motion=NO_MOTION, frames=3, videos=True), seed=0)
    stills = dataclasses.replace(pack, names=np.array([f"helen/{k}_1" for k in range(12)]))
    with pytest.raises(InputError, match=r"videos of at least 3 frames .*, found pack, whose longest video has 1"):
        ClipStream(stills, spec, ClipConfig(frames=3, videos=True), seed=0)  # all clips would be animated ones
    rng = np.random.default_rng(0)
    for first in range(12):
        framed = stream._clip(first, NO_MOTION, rng)
        real = first in (0, 1, 2, 5, 8, 9)  # two more frames of the video follow
        for t, (crop, points) in enumerate(zip(framed.crops, framed.face.landmarks, strict=True)):
            scene = transform_points(invert_affine(crop), points.astype(np.float64))
            np.testing.assert_allclose(scene, videos.landmarks[first + t if real else first], atol=1e-3)
    assert len(stream[3]) == 5


@pytest.mark.parametrize("flip", [0.0, 1.0])
def test_points_that_are_hidden_in_the_frames_are_hidden_in_the_clip(pack: FacePack, flip: float) -> None:
    videos = video_pack(pack)
    occluded = np.zeros(videos.landmarks.shape[:2], bool)
    for frame in range(3):
        occluded[frame, 10 * frame] = True
    motion = dataclasses.replace(NO_MOTION, flip=flip)
    config = ClipConfig(motion=motion, frames=3, videos=True)
    stream = ClipStream(dataclasses.replace(videos, occluded=occluded), toy_config().model.crop_spec, config, seed=0)
    first = next(k for k in range(12) if stream.order[k] == 0)
    visible = ClipBatch(*stream[first]).visible
    shown = [videos.scheme.mirror[10 * t] if flip else 10 * t for t in range(3)]
    assert not visible[range(3), shown].any()
    assert int(visible.sum()) == 3 * 67


# --- the unrolled network


@pytest.mark.parametrize("name", ["robust", "paper"])
def test_unrolled_is_frame_after_frame(pack: FacePack, name: str) -> None:
    """Against a plain loop that hands each frame of each clip to the network alone."""
    config = toy_run(name)
    network = network_of(config, pack).eval()
    batch = batch_of(config, pack)._replace(previous_start=torch.tensor([True, False]))
    images = batch.images.float() / 255
    with torch.no_grad():
        output = ClipUnroll(network)(images, batch.steps, batch.previous_start)
        for c in range(2):
            hidden = initial = None
            for t in range(FRAMES):
                if initial is not None:
                    step = batch.steps[c, t].numpy().astype(np.float64)
                    initial = torch.from_numpy(transform_points(step, initial.double().numpy())).float()
                expected = network(
                    images[c, t : t + 1],
                    initial[None] if initial is not None and batch.previous_start[c] else None,
                    hidden,
                )
                row = t * 2 + c
                torch.testing.assert_close(output.shapes[row], expected.shapes[0], atol=2e-3, rtol=0)
                torch.testing.assert_close(output.hidden[row], expected.hidden[0], atol=1e-4, rtol=0)
                hidden, initial = expected.hidden, expected.shapes[0, -1]
        if network.point_heads is not None:
            assert output.visibility is not None
            assert output.visibility.shape == (2 * FRAMES, 68)
        else:
            assert output.visibility is None


def test_the_last_frames_error_reaches_the_first_frames_pixels(pack: FacePack) -> None:
    """Through the state alone; a start from the previous shape carries no gradient."""
    config = toy_run()
    network = network_of(config, pack).eval()
    batch = batch_of(config, pack)
    for carried in (False, True):
        images = (batch.images.float() / 255).requires_grad_()
        output = ClipUnroll(network)(images, batch.steps, torch.tensor([carried] * 2))
        output.shapes[-2:, -1].square().sum().backward()
        assert images.grad is not None
        assert images.grad[:, 0].abs().max() > 0
        assert images.grad[:, -1].abs().max() > images.grad[:, 0].abs().max()


# --- the loss


def test_an_error_that_stays_is_steady(pack: FacePack) -> None:
    """The same place of the face missed by the same way in every frame costs nothing, whatever the crops do."""
    spec = toy_config().model.crop_spec
    motion = dataclasses.replace(MotionConfig(), still=0, flip=0, zoom=0, turn_deg=0, perspective=0, expression=0)
    framed = animate_placed(pack.image(0), pack.landmarks[0], spec, pack.scheme, motion, np.random.default_rng(0), 4)
    target = torch.from_numpy(framed.face.landmarks)[None]
    steps = torch.from_numpy(crop_steps(framed.crops))[None]
    offset = np.array([3.0, -2.0])  # scene pixels, for every point of every frame
    scene = [
        transform_points(invert_affine(m), p.astype(np.float64))
        for m, p in zip(framed.crops, framed.face.landmarks, strict=True)
    ]
    shifted = np.stack([CropGeometry(m, spec).to_crop(p + offset) for m, p in zip(framed.crops, scene, strict=True)])
    predicted = torch.from_numpy(shifted.astype(np.float32))[:, None]  # (T, 1, N, 2)
    config = toy_config().model
    assert float(unsteadiness(predicted, target, steps, config)) < 3e-4  # the root's own floor
    assert float(unsteadiness(predicted + torch.randn(predicted.shape), target, steps, config)) > 0.02


def test_unsteadiness_by_hand() -> None:
    """Errors of 0, 3 and 3 pixels along x in crops that stay, eyes 30 pixels apart: (3 + 0) / 2 / 30."""
    config = toy_config().model
    target = torch.zeros(1, 3, 68, 2)
    target[:, :, config.scheme.eye_corners[1], 0] = 30.0
    predicted = target.transpose(0, 1).clone()
    predicted[1:, ..., 0] += 3
    steps = torch.eye(2, 3).expand(1, 3, 2, 3)
    assert float(unsteadiness(predicted, target, steps, config)) == pytest.approx(1.5 / 30, abs=1e-5)


def test_the_clip_loss_is_the_cascade_loss_of_all_frames(pack: FacePack) -> None:
    config = toy_run()
    network = network_of(config, pack).eval()
    batch = batch_of(config, pack)
    with torch.no_grad():
        output = ClipUnroll(network)(batch.images.float() / 255, batch.steps, batch.previous_start)
    plain = clip_loss(output, batch, config.model, "distance", 0.0)
    landmarks = torch.cat([batch.landmarks[:, t] for t in range(FRAMES)])
    visible = torch.cat([batch.visible[:, t] for t in range(FRAMES)])
    torch.testing.assert_close(plain.total, cascade_loss(output, landmarks, visible, config.model).total)
    steady = clip_loss(output, batch, config.model, "distance", 2.0)
    last = torch.stack([output.shapes[t * 2 : t * 2 + 2, -1] for t in range(FRAMES)])
    extra = 2 * unsteadiness(last, batch.landmarks, batch.steps, config.model)
    torch.testing.assert_close(steady.total, plain.total + extra)
    assert steady.nme == plain.nme


def test_clips_in_parts_have_the_gradient_of_all_together(pack: FacePack) -> None:
    config = toy_run()
    assert config.clips is not None
    task, network = ClipTask(config, config.clips), network_of(config, pack).eval()  # batch norm by its kept statistics
    module, batch, said = task.module(network), batch_of(config, pack, 3), list[str]()
    learned = DividedBatches(
        lambda clips: task.loss(module, clips, torch.device("cpu"), False), network.zero_grad, said.append
    )
    found = []
    for learned.parts in (1, 2, 3):
        terms = learned.gradient(batch)
        found.append([*terms, *(p.grad.clone() for p in network.parameters() if p.grad is not None)])
    assert len(found[0]) > 20
    for parts in found[1:]:
        torch.testing.assert_close(parts, found[0], atol=1e-5, rtol=1e-3)
    assert said == []


# --- runs


def test_it_learns_and_remembers_what_was_hidden(pack: FacePack, tmp_path: Path) -> None:
    config = toy_run(faces=300, warm_up=24, validation=2)
    run(config, pack, tmp_path, schedule=dataclasses.replace(SCHEDULE, log_every=10, save_every=100))
    rows = without_speed(tmp_path)
    assert [int(row["step"]) for row in rows] == [10, 20, 30, 40, 50]
    assert [int(row["faces"]) for row in rows] == [60, 120, 180, 240, 300]
    assert float(rows[-1]["nme"]) < 0.8 * float(rows[0]["nme"])
    assert float(rows[-1]["validation_nme"]) > 0
    assert float(rows[-1]["validation_jitter"]) > 0
    network, metadata = load_network(tmp_path / "weights.safetensors")
    assert network.config.recurrence == "frame"
    assert metadata["faces_seen"] == "300"
    assert list((tmp_path / "sheets").glob("*.jpg"))


def test_a_run_that_was_killed_goes_on_with_the_same_numbers(pack: FacePack, tmp_path: Path) -> None:
    config = toy_run()  # 8 steps of 2 clips

    class Killed(Exception):
        pass

    calls = 0

    def occluder(clip: MovingFace, rng: np.random.Generator) -> MovingFace:
        nonlocal calls
        calls += 1
        if calls == 7:
            raise Killed
        return clip

    whole = with_settings(config, ["clips.hard_share=1.0"])
    run(whole, pack, tmp_path / "hard", occluder=lambda clip, rng: clip)
    with pytest.raises(Killed):  # in the fourth step, after the second's save
        run(whole, pack, tmp_path / "cut", occluder=occluder, schedule=dataclasses.replace(SCHEDULE, save_every=2))
    run(
        TrainConfig.load(tmp_path / "cut" / "config.json"), pack, tmp_path / "cut", resume=True,
        occluder=lambda clip, rng: clip,
    )  # fmt: skip
    assert without_speed(tmp_path / "cut") == without_speed(tmp_path / "hard")
    for name in ("weights.safetensors", "state.safetensors"):
        one, other = (load_tensors(tmp_path / run_name / name)[0] for run_name in ("hard", "cut"))
        assert [key for key in one if not torch.equal(one[key], other[key])] == []


def test_a_run_starts_from_a_picture_model(pack: FacePack, tmp_path: Path) -> None:
    picture = network_of(toy_config(), pack)
    save_network(tmp_path / "picture.safetensors", picture)
    loaded = load_network(tmp_path / "picture.safetensors")[0]
    config = dataclasses.replace(
        tracker_config(loaded.config, faces=6, batch_size=6, learning_rate=0.0, validation=0, warm_up=0),
        clips=ClipConfig(motion=NO_MOTION, frames=FRAMES),
    )
    path = run(config, pack, tmp_path / "run", initial=loaded)
    tracker, _ = load_network(path)
    assert tracker.config == dataclasses.replace(picture.config, recurrence="frame")
    same = [torch.equal(a, b) for a, b in zip(tracker.parameters(), picture.parameters(), strict=True)]
    assert all(same)  # a rate of zero leaves them as they were


def test_validation_is_what_the_weights_do(pack: FacePack, tmp_path: Path) -> None:
    config = toy_run()
    assert config.clips is not None
    network = network_of(config, pack).eval()
    task = ClipTask(config, config.clips)
    first, second = (task.validate(network, pack, torch.device("cpu"), tmp_path / "sheet.jpg") for _ in range(2))
    assert first == second
    assert (tmp_path / "sheet.jpg").exists()
    assert first.nme > 0
    assert first.jitter is not None


def test_tracking_batches_agree(pack: FacePack) -> None:
    config = toy_run()
    network = network_of(config, pack).eval()
    rng = np.random.default_rng(0)
    spec = config.model.crop_spec
    clips = [
        animate_placed(pack.image(i), pack.landmarks[i], spec, pack.scheme, MotionConfig(), rng, 3) for i in range(3)
    ]
    carried: npt.NDArray[np.bool_] = np.array([True, False, True])
    whole = track_clips(network, clips, carried, torch.device("cpu"))
    parts = track_clips(network, clips, carried, torch.device("cpu"), batch_size=2)
    assert whole.shape == (3, 3, 68, 2)
    np.testing.assert_allclose(whole, parts, atol=2e-3)


def test_mistakes_are_named(pack: FacePack, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="multiple of"):
        run(dataclasses.replace(toy_run(), batch_size=8), pack, tmp_path / "b")
    for wrong in ({"frames": 1}, {"previous_start": 1.5}, {"hard_share": -0.1}, {"steadiness": -1.0}):
        with pytest.raises(SrnError):
            ClipConfig(**wrong)


def test_a_runs_description_survives_the_round_through_json(tmp_path: Path) -> None:
    config = toy_run()
    config.save(tmp_path / "config.json")
    assert TrainConfig.load(tmp_path / "config.json") == config
    plain = toy_config()
    plain.save(tmp_path / "plain.json")
    assert TrainConfig.load(tmp_path / "plain.json") == plain
