"""The training loop on drawn faces: it learns, it can be killed and goes on, and it runs on several processes."""

from __future__ import annotations

import dataclasses
import gc
import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import textwrap
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console

from srn.datasets.pack import FacePack, mean_shape
from srn.errors import InputError, SrnError, WeightsError
from srn.face.metrics import interocular, nme
from srn.media.pictures import read_image
from srn.model.checkpoint import load_network, load_tensors, save_tensors
from srn.model.localizer import TorchLocalizer
from srn.model.network import StructuralRelationNetwork
from srn.synthesis.augment import augment
from srn.synthesis.config import NO_AUGMENTATION, AugmentConfig
from srn.training.config import TrainConfig
from srn.training.loop import LOG_FIELDS, Schedule, train
from srn.training.stream import FaceStream, split_validation

from .conftest import SCHEDULE, log_of, run, toy_config, without_speed


def assert_same_tensors(one: Path, other: Path) -> None:
    a, b = load_tensors(one)[0], load_tensors(other)[0]
    assert a.keys() == b.keys()
    different = [name for name in a if not torch.equal(a[name], b[name])]
    assert different == []


def initial_network(config: TrainConfig, pack: FacePack) -> StructuralRelationNetwork:
    torch.manual_seed(99)
    return StructuralRelationNetwork(config.model, mean_shape(pack))


# --- learning


def test_it_learns_the_drawn_faces(pack: FacePack, tmp_path: Path) -> None:
    config = toy_config(faces=160, batch_size=4, warm_up=16)  # 40 steps

    run(config, pack, tmp_path, schedule=dataclasses.replace(SCHEDULE, log_every=5, save_every=100, validate_every=20))

    rows = log_of(tmp_path)
    assert [int(row["step"]) for row in rows] == [5, 10, 15, 20, 25, 30, 35, 40]
    assert float(rows[-1]["loss"]) < 0.6 * float(rows[0]["loss"])
    assert float(rows[-1]["nme"]) < 0.6 * float(rows[0]["nme"])


def test_the_log_by_hand(pack: FacePack, tmp_path: Path) -> None:
    config = toy_config(faces=24)  # 6 steps of 4, 2 of them warm-up, the last 2 decay

    run(config, pack, tmp_path)

    rows = log_of(tmp_path)
    assert tuple(rows[0]) == LOG_FIELDS
    assert [int(row["step"]) for row in rows] == [2, 4, 6]
    assert [int(row["faces"]) for row in rows] == [8, 16, 24]
    # The rate of the row's last step: the peak, the peak, half of it.
    assert [float(row["rate"]) for row in rows] == pytest.approx([3e-3, 3e-3, 1.5e-3])
    assert [row["validation_nme"] != "" for row in rows] == [False, True, True]
    for row in rows:
        assert float(row["faces_per_s"]) > 0
        assert 0 <= float(row["waiting_share"]) <= 1


def test_the_weights_are_the_average_and_the_last_validation_is_theirs(pack: FacePack, tmp_path: Path) -> None:
    config = toy_config(validation=3)

    path = run(config, pack, tmp_path, provenance={"data": "drawn"})

    network, metadata = load_network(path)
    _, validation = split_validation(pack, 3)
    assert path == tmp_path / "weights.safetensors"
    assert validation is not None
    assert metadata["data"] == "drawn"
    assert metadata["pack"] == pack.digest()
    assert (metadata["training_faces"], metadata["faces_seen"], metadata["seed"]) == ("9", "48", "0")
    errors = []
    for i in range(3):
        face = augment(
            validation.image(i),
            validation.landmarks[i],
            config.model.crop_spec,
            validation.scheme,
            NO_AUGMENTATION,
            np.random.default_rng(5),
        )
        shape = TorchLocalizer(network)(face.image[None]).shapes[0, -1]
        errors.append(nme(shape, face.landmarks, interocular(face.landmarks, validation.scheme)))
    assert float(log_of(tmp_path)[-1]["validation_nme"]) == pytest.approx(np.mean(errors), rel=1e-4)
    averaged = load_tensors(path)[0]
    state = load_tensors(tmp_path / "state.safetensors")[0]
    different = {name for name, tensor in averaged.items() if not torch.equal(tensor, state[f"average.{name}"])}
    assert different == {"point_heads.bias"}  # calibrated (tests/training/test_calibration.py)
    assert not torch.equal(averaged["recurrent.weight"], state["network.recurrent.weight"])


def test_the_average_by_hand(pack: FacePack, tmp_path: Path) -> None:
    """Young averages forget faster: after one step nine tenths are new, after the second 9 of 11."""
    config = toy_config(faces=8, averaging=0.9999)
    start = {name: t.clone() for name, t in initial_network(config, pack).state_dict().items()}

    every_step = dataclasses.replace(SCHEDULE, save_every=1)
    one_step = dataclasses.replace(config, faces=4)
    for faces, out in ((one_step, tmp_path / "one"), (config, tmp_path / "two")):
        # A constant rate, so that the first of two steps is the only step of one.
        constant = dataclasses.replace(faces, warm_up=0, decay_share=0.0)
        run(constant, pack, out, schedule=every_step, initial=initial_network(config, pack))

    one, two = (load_tensors(tmp_path / name / "state.safetensors")[0] for name in ("one", "two"))
    for name in ("recurrent.weight", "hsrm.g.snout.bias", "encoder.stem.0.1.running_var"):
        first = start[name] * 0.1 + one[f"network.{name}"] * 0.9
        second = first * 2 / 11 + two[f"network.{name}"] * 9 / 11
        torch.testing.assert_close(one[f"average.{name}"], first, atol=1e-6, rtol=1e-5)
        torch.testing.assert_close(two[f"average.{name}"], second, atol=1e-6, rtol=1e-5)
        assert not torch.equal(one[f"network.{name}"], start[name])


def test_the_same_seed_is_the_same_run_and_another_is_not(pack: FacePack, tmp_path: Path) -> None:
    config = toy_config(faces=16, augmentation=AugmentConfig())

    first, again = run(config, pack, tmp_path / "a"), run(config, pack, tmp_path / "b")
    other = run(dataclasses.replace(config, seed=1), pack, tmp_path / "c")

    assert_same_tensors(first, again)
    a, c = load_tensors(first)[0], load_tensors(other)[0]
    assert not torch.equal(a["recurrent.weight"], c["recurrent.weight"])


def test_when_to_log_and_save_changes_no_numbers(pack: FacePack, tmp_path: Path) -> None:
    config = toy_config(faces=32)
    seldom = Schedule(log_every=100, save_every=100, workers=1, device="cpu", precision="float32", tensorboard=True)

    often, once = run(config, pack, tmp_path / "a"), run(config, pack, tmp_path / "b", schedule=seldom)

    assert_same_tensors(often, once)
    assert len(list((tmp_path / "b" / "tensorboard").iterdir())) == 1
    assert not (tmp_path / "a" / "tensorboard").exists()


def test_a_sheet_of_predictions_shows_the_validation_faces(pack: FacePack, tmp_path: Path) -> None:
    run(toy_config(faces=16, validation=3), pack, tmp_path)

    assert [path.name for path in sorted((tmp_path / "sheets").iterdir())] == ["0000004.jpg"]
    assert read_image(tmp_path / "sheets" / "0000004.jpg").shape == (64, 3 * 64, 3)


def test_without_validation_there_is_no_score(pack: FacePack, tmp_path: Path) -> None:
    run(toy_config(faces=16, validation=0), pack, tmp_path)

    assert {row["validation_nme"] for row in log_of(tmp_path)} == {""}
    assert not (tmp_path / "sheets").exists()


def test_the_mean_shape_of_the_training_faces_starts_the_cascade(pack: FacePack, tmp_path: Path) -> None:
    path = run(toy_config(faces=4), pack, tmp_path)

    kept = [i for i in range(12) if i not in (0, 11)]  # the two validation faces
    units = (pack.landmarks[kept].astype(float) - 47.5) / 48
    mirrored = units[:, pack.scheme.mirror] * [-1, 1]
    expected = np.concatenate([units, mirrored]).mean(axis=0)
    np.testing.assert_allclose(load_network(path)[0].mean_shape, expected, atol=1e-5)


def test_fine_tuning_starts_from_the_weights_given(pack: FacePack, tmp_path: Path) -> None:
    """With a rate of zero it ends with them, too (but for the batch statistics)."""
    config = toy_config(faces=8, learning_rate=0.0)
    network = initial_network(config, pack)
    start = {name: parameter.detach().clone() for name, parameter in network.named_parameters()}

    path = run(config, pack, tmp_path, initial=network)

    trained = load_tensors(path)[0]
    for name, parameter in start.items():
        if name == "point_heads.bias":  # what it expects its errors to be is put right in any case
            trained[name], parameter = trained[name][:, :-1], parameter[:, :-1]
        torch.testing.assert_close(trained[name], parameter, msg=name)


def test_low_precision_is_for_the_arithmetic_only(pack: FacePack, tmp_path: Path) -> None:
    """One step from the same weights: nearly the same loss, and weights kept in full precision."""
    config = toy_config(faces=4)
    low = dataclasses.replace(SCHEDULE, precision="bfloat16")

    run(config, pack, tmp_path / "full")
    run(config, pack, tmp_path / "low", schedule=low)

    (full,), (rounded,) = log_of(tmp_path / "full"), log_of(tmp_path / "low")
    assert full["loss"] != rounded["loss"]
    assert float(full["loss"]) == pytest.approx(float(rounded["loss"]), rel=0.02)
    state = load_tensors(tmp_path / "low" / "state.safetensors")[0]
    assert {tensor.dtype for tensor in state.values()} == {torch.float32, torch.int64}


# --- what is refused


def test_a_folder_with_a_run_in_it(pack: FacePack, tmp_path: Path) -> None:
    config = toy_config(faces=4)
    path = run(config, pack, tmp_path)
    before = path.read_bytes()

    with pytest.raises(InputError, match=re.escape(f"{tmp_path}: expected an empty or new folder (or --resume)")):
        run(dataclasses.replace(config, seed=1), pack, tmp_path)

    assert path.read_bytes() == before
    assert TrainConfig.load(tmp_path / "config.json") == config


def test_other_faces_on_resume(pack: FacePack, other_pack: FacePack, tmp_path: Path) -> None:
    config = toy_config(faces=4)
    run(config, pack, tmp_path)

    with pytest.raises(WeightsError, match=f"{pack.digest()}|{other_pack.digest()}"):
        run(dataclasses.replace(config, faces=8), other_pack, tmp_path, resume=True)


def test_another_network_on_resume(pack: FacePack, tmp_path: Path) -> None:
    run(toy_config(faces=4), pack, tmp_path)

    with pytest.raises(WeightsError, match=r'expected the network .*"iterations": 2.* found .*"iterations": '):
        run(toy_config(faces=8, model={"iterations": 2}), pack, tmp_path, resume=True)


def test_a_run_from_before_a_field_of_the_network_goes_on(pack: FacePack, tmp_path: Path) -> None:
    run(toy_config(faces=4), pack, tmp_path)
    tensors, metadata = load_tensors(tmp_path / "state.safetensors")
    earlier = json.loads(metadata["model"])
    del earlier["batch_norm"]
    save_tensors(tmp_path / "state.safetensors", tensors, metadata | {"model": json.dumps(earlier)})

    run(toy_config(faces=8), pack, tmp_path, resume=True)

    assert load_tensors(tmp_path / "state.safetensors")[1]["step"] == "2"


def test_landmarks_of_another_scheme(cofw_pack: FacePack, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="training faces: expected ibug68 landmarks, found cofw29"):
        run(toy_config(), cofw_pack, tmp_path / "run")

    assert not (tmp_path / "run").exists()


def test_initial_weights_of_another_network(pack: FacePack, tmp_path: Path) -> None:
    network = initial_network(toy_config(model={"hidden_size": 24}), pack)

    with pytest.raises(InputError, match="initial weights"):
        run(toy_config(), pack, tmp_path, initial=network)


def test_a_loss_that_is_no_number_stops_the_run_before_it_is_saved(pack: FacePack, tmp_path: Path) -> None:
    config = toy_config()
    network = initial_network(config, pack)
    torch.nn.init.constant_(network.recurrent.bias, float("nan"))

    with pytest.raises(InputError, match="step 1: expected a finite loss, found nan"):
        run(config, pack, tmp_path, initial=network)

    assert not (tmp_path / "weights.safetensors").exists()


@pytest.mark.parametrize("count", [12, 13])
def test_more_validation_than_faces(count: int, pack: FacePack, tmp_path: Path) -> None:
    with pytest.raises(SrnError, match=f"validation: expected fewer faces than the 12 there are, found {count}"):
        run(toy_config(validation=count), pack, tmp_path)


# --- setting faces aside


@pytest.mark.parametrize(("count", "chosen"), [(1, [0]), (2, [0, 11]), (3, [0, 6, 11]), (12 - 1, None)])
def test_validation_faces_lie_evenly_over_the_pack(count: int, chosen: list[int] | None, pack: FacePack) -> None:
    training, validation = split_validation(pack, count)

    assert validation is not None
    if chosen is not None:
        assert list(validation.names) == [f"toy/{i:02d}" for i in chosen]
    assert len(validation) == count
    assert sorted([*training.names, *validation.names]) == list(pack.names)


def test_no_validation_leaves_the_pack_whole(pack: FacePack) -> None:
    assert split_validation(pack, 0) == (pack, None)


# --- interruption

CHILD = textwrap.dedent(
    """
    import os, signal, sys
    import torch
    from rich.console import Console
    from srn.datasets.pack import FacePack
    from srn.training import loop
    from srn.training.config import TrainConfig

    torch.set_num_threads(1)
    pack, config, out, kill_at = sys.argv[1:]
    fsync, calls = os.fsync, 0

    def killed(descriptor):
        global calls
        calls += 1
        if calls == int(kill_at):
            os.kill(os.getpid(), signal.SIGKILL)
        fsync(descriptor)

    os.fsync = killed
    schedule = loop.Schedule(
        log_every=2, save_every=4, validate_every=4, workers=0, device="cpu", precision="float32", tensorboard=False
    )
    loop.train(TrainConfig.load(config), FacePack.load(pack), out, schedule=schedule, console=Console(file=sys.stderr))
    """
)


def start_child(folder: Path, config: TrainConfig, pack: FacePack, *words: str, **environment: str) -> Any:
    pack.save(folder / "faces.npz")
    config.save(folder / "wanted.json")
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, str(folder / "faces.npz"), str(folder / "wanted.json"), *words],
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_killed_run_goes_on_with_the_very_numbers_of_an_uninterrupted_one(pack: FacePack, tmp_path: Path) -> None:
    """Killed at the worst moment: the weights of step 8 are saved, their state is half written, the log is ahead."""
    config = toy_config(faces=48, augmentation=AugmentConfig())  # 12 steps, saved after 4, 8 and 12
    killed, whole = tmp_path / "killed", tmp_path / "whole"

    # The state is synced before the first step; each save syncs the weights, then the state.
    child = start_child(tmp_path, config, pack, str(killed), "5")
    _, said = child.communicate(timeout=100)

    assert child.returncode == -signal.SIGKILL, said
    assert load_tensors(killed / "state.safetensors")[1]["step"] == "4"
    assert load_tensors(killed / "weights.safetensors")[1]["faces_seen"] == "32"
    assert [row["step"] for row in log_of(killed)] == ["2", "4", "6", "8"]
    run(config, pack, killed, resume=True)
    run(config, pack, whole)
    for name in ("weights.safetensors", "state.safetensors"):
        assert_same_tensors(killed / name, whole / name)
    assert [int(row["step"]) for row in log_of(killed)] == [2, 4, 6, 8, 10, 12]
    assert without_speed(killed) == without_speed(whole)


class Interrupted(Exception):
    """What a fault of the machine is to a person."""


def interrupted(
    config: TrainConfig, pack: FacePack, out: Path, position: int, by: type[BaseException] = Interrupted, **options: Any
) -> None:
    """Train up to the face at that position of the stream."""
    read = FaceStream.__getitem__

    def broken(self: FaceStream, index: int) -> Any:
        if index == position:
            raise by
        return read(self, index)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FaceStream, "__getitem__", broken)
        with pytest.raises(by):
            run(config, pack, out, **options)


def test_a_paper_run_goes_on_likewise(pack: FacePack, tmp_path: Path) -> None:
    """Other layers, no statistics."""
    config = toy_config("paper", faces=12, batch_size=2, model={"iterations": 1})

    interrupted(config, pack, tmp_path / "a", position=9)  # in the fifth step
    path = run(config, pack, tmp_path / "a", resume=True)

    assert_same_tensors(path, run(config, pack, tmp_path / "b"))


def test_a_run_interrupted_before_its_first_save_starts_from_the_same_weights(pack: FacePack, tmp_path: Path) -> None:
    config, said = toy_config(faces=24), io.StringIO()

    interrupted(
        config, pack, tmp_path / "a", position=13, initial=initial_network(config, pack)
    )  # two steps are logged
    path = train(config, pack, tmp_path / "a", resume=True, schedule=SCHEDULE, console=Console(file=said))

    assert said.getvalue().startswith(f"{tmp_path / 'a'}: goes on after 0 of 6 steps\n")
    assert_same_tensors(path, run(config, pack, tmp_path / "b", initial=initial_network(config, pack)))
    assert without_speed(tmp_path / "a") == without_speed(tmp_path / "b")


@pytest.fixture(scope="module")
def whole(pack: FacePack, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six steps without an interruption."""
    folder = tmp_path_factory.mktemp("whole")
    run(toy_config(faces=24), pack, folder)
    return folder


@pytest.mark.parametrize("position", [9, 13, 21])  # in the third, fourth and sixth step; rows end after every second
def test_ctrl_c_is_saved_with_the_row_that_it_interrupts(
    position: int, pack: FacePack, whole: Path, tmp_path: Path
) -> None:
    config, said = toy_config(faces=24), io.StringIO()
    seldom = dataclasses.replace(SCHEDULE, save_every=100)

    interrupted(config, pack, tmp_path / "a", position, KeyboardInterrupt, schedule=seldom)
    assert load_tensors(tmp_path / "a" / "state.safetensors")[1]["step"] == str(position // 4)
    path = train(config, pack, tmp_path / "a", resume=True, schedule=seldom, console=Console(file=said))

    assert said.getvalue().startswith(f"{tmp_path / 'a'}: goes on after {position // 4} of 6 steps\n")
    assert_same_tensors(path, whole / "weights.safetensors")
    assert_same_tensors(tmp_path / "a" / "state.safetensors", whole / "state.safetensors")
    assert without_speed(tmp_path / "a") == without_speed(whole)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_waits_for_the_end_of_the_step(
    number: int, pack: FacePack, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = toy_config(faces=24)
    ended, step = signal.signal(number, signal.default_int_handler), torch.optim.AdamW.step

    def signalled(optimizer: torch.optim.AdamW, *arguments: Any) -> Any:
        signal.raise_signal(number)
        signal.raise_signal(number)
        return step(optimizer, *arguments)

    try:
        with monkeypatch.context() as patch:
            patch.setattr(torch.optim.AdamW, "step", signalled)
            with pytest.raises(KeyboardInterrupt):
                run(config, pack, tmp_path / "a")
        assert signal.getsignal(number) is signal.default_int_handler
    finally:
        signal.signal(number, ended)
    assert load_tensors(tmp_path / "a" / "state.safetensors")[1]["step"] == "1"
    assert_same_tensors(run(config, pack, tmp_path / "a", resume=True), whole / "weights.safetensors")


def test_ctrl_c_while_workers_start_is_answered_without_noise(
    pack: FacePack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended, start, noise = signal.getsignal(signal.SIGINT), BaseProcess.start, list[Any]()

    def signalled(process: BaseProcess) -> None:
        signal.raise_signal(signal.SIGINT)
        start(process)

    monkeypatch.setattr(BaseProcess, "start", signalled)
    monkeypatch.setattr(sys, "unraisablehook", noise.append)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            run(toy_config(faces=24), pack, tmp_path, schedule=dataclasses.replace(SCHEDULE, workers=1))
    finally:
        signal.signal(signal.SIGINT, ended)
    gc.collect()
    assert noise == []
    assert load_tensors(tmp_path / "state.safetensors")[1]["step"] == "0"


def test_a_batch_that_does_not_fit_the_memory_is_learned_in_parts(
    pack: FacePack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without batch norm only the order of sums differs."""
    config, said = toy_config("paper", faces=8, model={"iterations": 2}), io.StringIO()  # 2 steps of 4
    run(config, pack, tmp_path / "whole")
    forward = StructuralRelationNetwork.forward

    def small(network: StructuralRelationNetwork, image: torch.Tensor, *others: Any) -> Any:
        if network.training and len(image) > 2:
            raise RuntimeError("[enforce fail at alloc_cpu.cpp:121] DefaultCPUAllocator: can't allocate memory")
        return forward(network, image, *others)

    monkeypatch.setattr(StructuralRelationNetwork, "forward", small)
    train(config, pack, tmp_path / "parts", schedule=SCHEDULE, console=Console(file=said))

    assert said.getvalue().splitlines()[0] == "out of memory: batches of 4 are learned in 2 parts from now on"
    assert len(said.getvalue().splitlines()) == 2  # and the log's
    (whole,), (parts,) = log_of(tmp_path / "whole"), log_of(tmp_path / "parts")
    assert float(parts["loss"]) == pytest.approx(float(whole["loss"]), rel=1e-5)
    one, two = (load_tensors(tmp_path / name / "weights.safetensors")[0] for name in ("whole", "parts"))
    for name, tensor in one.items():
        torch.testing.assert_close(two[name], tensor, atol=1e-5, rtol=1e-4, msg=name)


def test_a_finished_run_resumed_is_left_as_it_is(pack: FacePack, tmp_path: Path) -> None:
    path = run(toy_config(faces=16), pack, tmp_path)
    before, rows = path.read_bytes(), log_of(tmp_path)

    run(toy_config(faces=16), pack, tmp_path, resume=True)

    assert path.read_bytes() == before
    assert log_of(tmp_path) == rows


def test_a_run_can_be_made_longer(pack: FacePack, tmp_path: Path) -> None:
    """Resumed before its decay, with more faces, it is the longer run from the beginning."""
    short, long = toy_config(faces=40, decay_share=0.5), toy_config(faces=64, decay_share=0.5)
    assert [short.rate(step) for step in range(4)] == [long.rate(step) for step in range(4)]
    grown, whole = tmp_path / "grown", tmp_path / "whole"

    interrupted(short, pack, grown, position=21)  # in the sixth step
    assert load_tensors(grown / "state.safetensors")[1]["step"] == "4"
    run(long, pack, grown, resume=True)
    run(long, pack, whole)

    assert_same_tensors(grown / "weights.safetensors", whole / "weights.safetensors")
    assert TrainConfig.load(grown / "config.json").faces == 64
    assert [int(row["step"]) for row in log_of(grown)] == list(range(2, 17, 2))


def test_a_run_made_shorter_ends_as_any_other(pack: FacePack, tmp_path: Path) -> None:
    """Down to what it has done: its weights are calibrated. Further down it cannot go."""
    config = toy_config(faces=40, validation=3)
    interrupted(config, pack, tmp_path, position=21)  # in the sixth step; the fourth is saved
    assert "expected_error_times" not in load_network(tmp_path / "weights.safetensors")[1]
    with pytest.raises(InputError, match="faces: expected at least the 16 that the run has seen, found 12"):
        run(dataclasses.replace(config, faces=12), pack, tmp_path, resume=True)
    path = run(dataclasses.replace(config, faces=16), pack, tmp_path, resume=True)
    assert load_network(path)[1]["faces_seen"] == "16"
    assert "expected_error_times" in load_network(path)[1]


# --- several processes


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def test_two_processes_learn_what_one_learns(pack: FacePack, tmp_path: Path) -> None:
    """Without batch norm, whose statistics are each process's own, only the order of sums differs."""
    config = toy_config("paper", faces=12, model={"iterations": 2})  # 3 steps
    together = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "WORLD_SIZE": "2"}

    child = start_child(tmp_path, config, pack, str(tmp_path / "two"), "0", RANK="1", LOCAL_RANK="1", **together)
    run(config, pack, tmp_path / "one")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**together, "RANK": "0", "LOCAL_RANK": "0"}.items():
            patch.setenv(name, value)
        run(config, pack, tmp_path / "two")

    _, said = child.communicate(timeout=100)
    assert child.returncode == 0, said
    assert "find_unused_parameters" not in said  # PyTorch warned that there were none
    one, two = (load_tensors(tmp_path / name / "state.safetensors")[0] for name in ("one", "two"))
    torch.manual_seed(config.seed)
    start = StructuralRelationNetwork(config.model, mean_shape(split_validation(pack, 2)[0]))
    assert one.keys() == two.keys()
    for name, parameter in start.named_parameters():
        # Adam makes whole steps out of gradients that are rounding errors: single weights may differ, all together not.
        way = (one[f"network.{name}"] - parameter.detach()).norm()
        apart = (one[f"network.{name}"] - two[f"network.{name}"]).norm()
        assert way > 0, name
        assert apart < 0.01 * way, name
    assert [row["step"] for row in log_of(tmp_path / "two")] == ["2", "3"]


def test_a_batch_that_does_not_divide(pack: FacePack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Refused by every process before any of them waits for another."""
    for name, value in {
        "WORLD_SIZE": "1", "RANK": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()),
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(torch.distributed, "init_process_group", lambda backend: None)
    monkeypatch.setattr(torch.distributed, "destroy_process_group", lambda: None)
    monkeypatch.setattr(torch.distributed, "get_rank", lambda: 0)
    monkeypatch.setenv("WORLD_SIZE", "3")

    with pytest.raises(InputError, match="batch_size: expected a multiple of the 3 processes, found 4"):
        run(toy_config(), pack, tmp_path)


# --- frozen parts


def test_a_frozen_part_keeps_its_weights_and_statistics(pack: FacePack, tmp_path: Path) -> None:
    config = toy_config(frozen=("encoder", "coarse"), faces=24)
    initial = initial_network(config, pack)
    before = {name: tensor.clone() for name, tensor in initial.state_dict().items()}

    path = run(config, pack, tmp_path / "whole", initial=initial)

    after = load_tensors(path)[0]
    moved = {name.partition(".")[0] for name, tensor in after.items() if not torch.equal(tensor, before[name])}
    assert "encoder" not in moved
    assert "coarse" not in moved
    assert {"hsrm", "recurrent", "local_weight"} <= moved
    with pytest.raises(InputError, match=r"frozen: expected parts of the network among encoder, .*, found nose"):
        run(toy_config(frozen=("nose",)), pack, tmp_path / "wrong")
