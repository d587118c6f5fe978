"""The training loop: interruptible at any step, resumable with the very same numbers, on one or several devices."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn
from torch.utils.data import Dataset

from srn.datasets.pack import FacePack, mean_shape
from srn.errors import InputError, WeightsError
from srn.face.metrics import interocular, nme
from srn.files import CsvLog
from srn.inference.drawing import draw_face
from srn.media.pictures import write_image
from srn.model.checkpoint import adapted, load_tensors, save_network, save_tensors
from srn.model.config import ModelConfig
from srn.model.network import StructuralRelationNetwork
from srn.model.precision import Precision, runs_low
from srn.synthesis.augment import augment
from srn.synthesis.config import NO_AUGMENTATION
from srn.training.balance import balance_weights
from srn.training.calibration import DRAWS, calibrate
from srn.training.config import TrainConfig
from srn.training.loss import LossTerms, cascade_loss
from srn.training.stream import FaceOccluder, FaceStream, batches, video_numbers

LOG_FIELDS = ("step", "faces", "rate", "loss", "nme", "coarse_nme", "visibility_loss", "scale_loss", "validation_nme",
              "validation_jitter", "faces_per_s", "waiting_share")  # fmt: skip

STATE_FILE = "state.safetensors"


@dataclasses.dataclass(frozen=True)
class Schedule:
    """When the loop does what besides learning, in steps; and how it runs. None of it changes the numbers learned."""

    log_every: int = 50
    save_every: int = 500
    validate_every: int = 1000
    workers: int = 1
    device: str = "auto"
    precision: Precision = "auto"
    tensorboard: bool = True


class _WeightAverage:
    """Exponential moving average of weights and batch-norm statistics; young averages forget faster."""

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.decay = decay
        self.tensors = {name: t.detach().clone() for name, t in network.state_dict().items()}

    def update(self, network: nn.Module, step: int) -> None:
        decay = min(self.decay, (1 + step) / (10 + step))
        for name, current in network.state_dict().items():
            if current.is_floating_point():
                self.tensors[name].lerp_(current.detach(), 1 - decay)
            else:
                self.tensors[name].copy_(current)


def _parameter_groups(network: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    decayed = [p for p in network.parameters() if p.ndim >= 2]
    others = [p for p in network.parameters() if p.ndim < 2]
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]


def split_validation(pack: FacePack, count: int, *, videos: bool = False) -> tuple[FacePack, FacePack | None]:
    """Set `count` faces aside, spread evenly over the pack; returns (training faces, validation faces).

    Of packed `videos` whole ones are set aside, since neighbouring frames are nearly the same picture; then `count` of
    their frames, or all if there are fewer, are the validation faces.
    """
    if count == 0:
        return pack, None
    if count >= len(pack):
        raise InputError.at("validation", f"fewer faces than the pack's {len(pack)}", str(count))
    group_of = video_numbers(pack) if videos else np.arange(len(pack))
    groups = int(group_of[-1]) + 1
    share = max(round(groups * count / len(pack)), 1)
    chosen = np.isin(group_of, np.linspace(0, groups - 1, share).round().astype(np.int64))
    if chosen.all():
        raise InputError.at("validation", "a pack of at least two videos", "one")
    aside = np.flatnonzero(chosen)
    spread = np.linspace(0, len(aside) - 1, min(count, len(aside))).round().astype(np.int64)
    return pack.subset(np.flatnonzero(~chosen)), pack.subset(aside[spread])


@torch.no_grad()
def predict_pack(
    network: StructuralRelationNetwork, pack: FacePack, device: torch.device, batch_size: int = 32
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Crops (F, S, S, 3), predicted and true shapes (F, N, 2) in crop pixels, with ground-truth boxes."""
    network.eval()
    rng = np.random.default_rng(0)
    faces = [
        augment(pack.image(i), pack.landmarks[i], network.config.crop_spec, pack.scheme, NO_AUGMENTATION, rng)
        for i in range(len(pack))
    ]
    images = np.stack([face.image for face in faces])
    shapes = [
        network(torch.from_numpy(images[i : i + batch_size]).permute(0, 3, 1, 2).to(device).float() / 255).shapes[:, -1]
        for i in range(0, len(images), batch_size)
    ]
    return images, torch.cat(shapes).float().cpu().numpy(), np.stack([face.landmarks for face in faces])


def prediction_sheet(
    images: npt.NDArray[np.uint8], predicted: npt.NDArray[np.float32], network: StructuralRelationNetwork, path: Path
) -> None:
    """Draw up to 32 predictions on one picture."""
    tiles = []
    for image, shape in zip(images[:32], predicted[:32], strict=True):
        tile = image.copy()
        draw_face(tile, shape, network.config.scheme)
        tiles.append(tile)
    columns = min(8, len(tiles))
    tiles += [np.zeros_like(tiles[0])] * (-len(tiles) % columns)
    rows = [np.concatenate(tiles[i : i + columns], axis=1) for i in range(0, len(tiles), columns)]
    write_image(path, np.concatenate(rows, axis=0))


class Score(NamedTuple):
    """What a validation measures: the mean error, and for clips how much it shakes (`srn.face.metrics`)."""

    nme: float
    jitter: float | None = None


class Task(Protocol):
    """What is learned: where a run's examples come from, what they cost, and how the result is measured."""

    @property
    def faces_each(self) -> int:
        """Faces that one example holds: 1 for pictures, T for clips."""
        ...

    def stream(self, pack: FacePack, weights: npt.NDArray[np.float64] | None) -> Dataset[tuple[Tensor, ...]]:
        """The endless stream of examples by position; `weights` (F,) say how often each face is drawn."""
        ...

    def module(self, network: StructuralRelationNetwork) -> nn.Module:
        """What a step runs, forwards and backwards; it holds the network's own parameters."""
        ...

    def loss(self, module: nn.Module, batch: Sequence[Tensor], device: torch.device, low: bool) -> LossTerms:
        """The cost of a batch of the stream's examples; `low`: the forward pass in bf16."""
        ...

    def validate(self, network: StructuralRelationNetwork, pack: FacePack, device: torch.device, sheet: Path) -> Score:
        """Measure an averaged network on faces kept from training, and draw some predictions."""
        ...

    def calibrate(self, network: StructuralRelationNetwork, pack: FacePack, device: torch.device) -> float | None:
        """Put right, on faces kept from training, what the network expects its errors to be: the factor, if any."""
        ...


@dataclasses.dataclass(frozen=True)
class FaceTask:
    """Learning from single faces: the picture model."""

    config: TrainConfig
    faces_each: int = 1
    occluder: FaceOccluder | None = None
    """Hides `config.hard_share` of the faces (HOFS)."""

    def stream(self, pack: FacePack, weights: npt.NDArray[np.float64] | None) -> Dataset[tuple[Tensor, ...]]:
        config = self.config
        return FaceStream(
            pack, config.model.crop_spec, config.augmentation, config.seed, weights, self.occluder, config.hard_share
        )

    def module(self, network: StructuralRelationNetwork) -> nn.Module:
        return network

    def loss(self, module: nn.Module, batch: Sequence[Tensor], device: torch.device, low: bool) -> LossTerms:
        images, landmarks, visible = batch
        image = images.to(device, non_blocking=True).float().div_(255)
        image = image.contiguous(memory_format=torch.channels_last)
        with torch.autocast(device.type, torch.bfloat16, enabled=low):
            output = module(image)
        return cascade_loss(output, landmarks.to(device), visible.to(device), self.config.model, self.config.loss)

    def validate(self, network: StructuralRelationNetwork, pack: FacePack, device: torch.device, sheet: Path) -> Score:
        images, predicted, target = predict_pack(network, pack, device)
        prediction_sheet(images, predicted, network, sheet)
        errors = [nme(p, t, interocular(t, pack.scheme)) for p, t in zip(predicted, target, strict=True)]
        return Score(float(np.mean(errors)))

    def calibrate(self, network: StructuralRelationNetwork, pack: FacePack, device: torch.device) -> float | None:
        if network.point_heads is None:
            return None
        return calibrate(network, self.stream(pack, None), DRAWS * len(pack), device)


class _Log:
    """`log.csv`: rewritten on resume up to the checkpoint, so that no step stands twice. TensorBoard beside it."""

    def __init__(self, folder: Path, first_step: int, tensorboard: bool) -> None:
        self._table = CsvLog(folder / "log.csv", LOG_FIELDS, first_step, line_end="\r\n")
        self._board: Any = None
        if tensorboard:
            try:
                from torch.utils.tensorboard import SummaryWriter
            except ImportError:  # an optional comfort: the CSV holds the same numbers
                return
            self._board = SummaryWriter(str(folder / "tensorboard"), purge_step=first_step)

    def write(self, row: dict[str, float | str]) -> None:
        self._table.append(row)
        if self._board is not None:
            for name, value in row.items():
                if name not in {"step", "faces"} and value != "":
                    self._board.add_scalar(name, float(value), int(row["step"]))

    def close(self) -> None:
        if self._board is not None:
            self._board.close()


def default_workers() -> int:
    """Processes that prepare faces: one for every four cores, and at least one."""
    return max((os.cpu_count() or 1) // 4 * (3 if torch.cuda.is_available() else 1), 1)


def choose_device(name: str) -> torch.device:
    """`auto`: this process's CUDA device where there is one, else the CPU."""
    if name != "auto":
        return torch.device(name)
    if torch.cuda.is_available():
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    return torch.device("cpu")


@contextmanager
def _process_group(device: torch.device) -> Iterator[tuple[int, int]]:
    """(rank, world size): joins the processes that `torchrun` started; (0, 1) for a single one."""
    world_size = int(os.environ.get("WORLD_SIZE", "1"))
    if world_size == 1:
        yield 0, 1
        return
    torch.distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield torch.distributed.get_rank(), world_size
    finally:
        torch.distributed.destroy_process_group()


def _flat_state(network: nn.Module, average: _WeightAverage, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    state = {f"network.{name}": t for name, t in network.state_dict().items()}
    state |= {f"average.{name}": t for name, t in average.tensors.items()}
    for index, values in optimizer.state_dict()["state"].items():
        state |= {f"optimizer.{index}.{name}": t for name, t in values.items()}
    return state


def _restore(
    state: dict[str, Tensor], network: nn.Module, average: _WeightAverage, optimizer: torch.optim.Optimizer
) -> None:
    def part(prefix: str) -> dict[str, Tensor]:
        return {name.removeprefix(prefix): t for name, t in state.items() if name.startswith(prefix)}

    network.load_state_dict(part("network."))
    for name, tensor in part("average.").items():
        average.tensors[name].copy_(tensor)
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    moments: dict[int, dict[str, Tensor]] = {}
    for key, tensor in part("optimizer.").items():
        index, name = key.split(".", 1)
        like = parameters[int(index)]
        # The fused optimizer walks through memory: moments have to lie there in the order that their parameter has
        # (channels last), and the file has forgotten it.
        laid_out = torch.empty_like(like).copy_(tensor) if tensor.shape == like.shape else tensor
        moments.setdefault(int(index), {})[name] = laid_out
    optimizer.load_state_dict({**optimizer.state_dict(), "state": moments})


def _require_finite(loss: float, step: int) -> None:
    if not np.isfinite(loss):
        raise InputError.at(f"step {step}", "a finite loss", f"{loss} (lower the learning rate)")


def check_run_folder(folder: Path, resume: bool) -> None:
    """Raise `InputError` where a new run would write over another one."""
    if not resume and (folder / STATE_FILE).exists():
        raise InputError.at(folder, "an empty or new folder (or --resume)", "a run that was already started there")


def train(
    config: TrainConfig,
    pack: FacePack,
    out: str | os.PathLike[str],
    *,
    resume: bool = False,
    schedule: Schedule | None = None,
    console: Console | None = None,
    initial: StructuralRelationNetwork | None = None,
    provenance: dict[str, str] | None = None,
    task: Task | None = None,
) -> Path:
    """Train a network.

    The folder `out` gets `config.json`, `state.safetensors` (everything a resumed run needs), `weights.safetensors`
    (the averaged network), `log.csv`, TensorBoard's files and sheets of predictions. A process killed at any moment
    loses the steps since the last save and nothing else.

    Args:
        config: the run.
        pack: the training faces; `config.validation` of them are set aside.
        out: folder of the run.
        resume: go on from `out`'s last save; without one the run starts from the beginning.
        schedule: when to log, save and validate, and on what to run.
        console: where progress goes; the standard error stream where None.
        initial: a network to start from (fine-tuning), `adapted` to the run's; random weights where None.
        provenance: text to keep in the weights file.
        task: what is learned; single faces (`FaceTask`) where None. For clips see `srn.training.clips.fine_tune`.

    Returns:
        Path of `weights.safetensors`.

    Raises:
        InputError: the folder holds another run, the pack has another scheme, or the batch does not divide.
    """
    schedule = schedule or Schedule()
    console = console or Console(stderr=True)
    learned: Task = task or FaceTask(config)
    folder = Path(out)
    device = choose_device(schedule.device)
    if pack.scheme.name != config.model.scheme_name:
        raise InputError.at("training faces", f"{config.model.scheme_name} landmarks", pack.scheme.name)
    state_path, weights_path = folder / STATE_FILE, folder / "weights.safetensors"
    check_run_folder(folder, resume)
    folder.mkdir(parents=True, exist_ok=True)
    with _process_group(device) as (rank, world_size):
        if config.batch_size % (world_size * learned.faces_each):
            each = f" with {learned.faces_each} faces an example" if learned.faces_each > 1 else ""
            raise InputError.at("batch_size", f"a multiple of the {world_size} processes{each}", str(config.batch_size))
        training, validation = split_validation(
            pack, config.validation, videos=config.clips is not None and config.clips.videos
        )
        torch.manual_seed(config.seed)
        if initial is not None and initial.config != config.model:
            initial = adapted(initial, config.model, mean_shape(training))
        network = initial or StructuralRelationNetwork(config.model, mean_shape(training))
        network.to(device)
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        average = _WeightAverage(network, config.averaging)
        optimizer = torch.optim.AdamW(
            _parameter_groups(network, config.weight_decay), lr=config.learning_rate, fused=True
        )
        first_step = 0
        if resume and state_path.exists():
            state, metadata = load_tensors(state_path)
            if metadata.get("pack") != pack.digest():
                raise WeightsError.at(state_path, f"a run on the faces {pack.digest()}", str(metadata.get("pack")))
            # Read, not compared as text: a run from before a field of the network was added is the same run.
            if "model" in metadata and ModelConfig.from_json(metadata["model"]) != config.model:
                raise WeightsError.at(state_path, f"the network {config.model.to_json()}", metadata["model"])
            _restore(state, network, average, optimizer)
            first_step = int(metadata["step"])
        if rank == 0:
            config.save(folder / "config.json")
        if world_size > 1 and device.type == "cuda":
            network = nn.SyncBatchNorm.convert_sync_batchnorm(network)
        wrapped = learned.module(network)
        if world_size > 1:
            wrapped = nn.parallel.DistributedDataParallel(
                wrapped, device_ids=[device] if device.type == "cuda" else None, find_unused_parameters=True
            )
        low = runs_low(schedule.precision, device)
        weights = balance_weights(training, config.balance) if config.balance else None
        loader = batches(
            learned.stream(training, weights), first_step, config.steps, config.batch_size // learned.faces_each,
            workers=schedule.workers, rank=rank, world_size=world_size, pin_memory=device.type == "cuda",
        )  # fmt: skip
        facts = {**(provenance or {}), "pack": pack.digest(), "training_faces": str(len(training))}

        def save(step: int) -> None:
            """Weights first: the state names the step that a resumed run starts from, so it comes last."""
            averaged = StructuralRelationNetwork(config.model, mean_shape(training))
            averaged.load_state_dict({name: t.cpu() for name, t in average.tensors.items()})
            seen = {"faces_seen": str(step * config.batch_size), "seed": str(config.seed)}
            if step == config.steps and validation is not None:
                ratio = learned.calibrate(averaged.to(device).eval(), validation, device)
                averaged.cpu()
                if ratio is not None:
                    seen["expected_error_times"] = f"{ratio:.4f}"
            save_network(weights_path, averaged, provenance={**facts, **seen})
            save_tensors(
                state_path,
                _flat_state(network, average, optimizer),
                {"step": str(step), "model": config.model.to_json(), **facts},
            )

        def validate(step: int) -> Score | None:
            if validation is None:
                return None
            averaged = StructuralRelationNetwork(config.model, mean_shape(training)).to(device)
            averaged.load_state_dict(average.tensors)
            return learned.validate(averaged, validation, device, folder / "sheets" / f"{step:07d}.jpg")

        log = _Log(folder, first_step, schedule.tensorboard) if rank == 0 else None
        columns = (
            BarColumn(), MofNCompleteColumn(), TextColumn("steps"), TextColumn("{task.fields[status]}"),
            TimeRemainingColumn(compact=True),
        )  # fmt: skip
        with Progress(*columns, console=console, disable=rank != 0 or not console.is_terminal) as progress:
            bar = progress.add_task("training", total=config.steps, completed=first_step, status="")
            sums: list[Tensor] = []
            waited, mark = 0.0, time.monotonic()
            begin = mark
            for step, batch in enumerate(loader, first_step):
                waited += time.monotonic() - begin
                for group in optimizer.param_groups:
                    group["lr"] = config.rate(step)
                network.train()
                terms = learned.loss(wrapped, batch, device, low)
                if device.type == "cpu":
                    # Sampling at a place that is no number crashes the CPU's backward pass; a GPU's does not, and there
                    # every look at a value would hold the queue up.
                    _require_finite(float(terms.total.detach()), step + 1)
                optimizer.zero_grad(set_to_none=True)
                terms.total.backward()
                nn.utils.clip_grad_norm_(network.parameters(), config.clip_norm)
                optimizer.step()
                average.update(network, step)
                sums.append(torch.stack([t.detach().float() for t in terms]))
                done = step + 1
                last = done == config.steps
                logging_now = done % schedule.log_every == 0 or last
                if logging_now:
                    mean = torch.stack(sums).mean(0)
                    if world_size > 1:  # each process has seen its own share of the faces only
                        torch.distributed.all_reduce(mean)
                        mean /= world_size
                    means = mean.tolist()
                if rank == 0 and log is not None and logging_now:
                    _require_finite(means[0], done)
                    elapsed = time.monotonic() - mark
                    speed, share = len(sums) * config.batch_size / elapsed, waited / elapsed
                    score = None
                    if done % schedule.validate_every == 0 or last:
                        score = validate(done)
                    scores = ("", "") if score is None else (score.nme, "" if score.jitter is None else score.jitter)
                    values = (done, done * config.batch_size, config.rate(step), *means, *scores, speed, share)
                    log.write(dict(zip(LOG_FIELDS, values, strict=True)))
                    status = f"NME {means[1]:.4f}  {speed:.0f} faces/s  waiting {share:.0%}"
                    progress.update(bar, completed=done, status=status)
                    if not console.is_terminal and (done % (10 * schedule.log_every) == 0 or last):
                        validated = f"  validation NME {score.nme:.4f}" if score is not None else ""
                        console.print(f"step {done}/{config.steps}  {status}{validated}", highlight=False)
                if logging_now:
                    sums, waited, mark = [], 0.0, time.monotonic()
                if rank == 0 and (done % schedule.save_every == 0 or last):
                    save(done)
                begin = time.monotonic()
        if log is not None:
            log.close()
    return weights_path
