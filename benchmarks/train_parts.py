"""Train the network that judges proposed parts of a picture, and write it as an ONNX file.

    python benchmarks/train_parts.py DATA --out parts.onnx --work FOLDER

DATA holds `unlabelled_faces/lfw`, `real_occluders_unlabelled`, `300W` (training faces) and `occluders/textures`. Scenes
of small faces are searched by the network of proposals; the label of each part that it proposes is whether CenterFace,
looking as the face finder does, finds a face there. Beside it the network learns CenterFace's heat in each sixth of the
part, which is left out of the file. FOLDER keeps the parts (3.3 GB) and the state of the training: the same command
goes on where it was cut off. The weights are for non-commercial research only.
"""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from onnx import TensorProto, helper
from onnx.numpy_helper import from_array
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from part_scenes import HEAT_SIDE, Scenes, examples, read_sources
from results import program
from srn.files import write_atomically
from srn.inference.parts import SIDE
from srn.model.quantize import quantized
from train_proposals import Array, model_of, save_graph, training_parser

SHARD, SHARDS = 4000, 30  # parts of a file, and files
MASKED, PROPOSED = 0.35, 0.3  # share of people in masks; probability from which parts are proposed: for more, too low
BATCH, AVERAGED, HEAT = 64, 0.998, 0.5  # the last: decay of the averaged weights, weight of the heat in the loss
SAVED = 1000  # steps between two states
CALIBRATED = 512  # parts that set the ranges of the integers
LEAK = 0.2
HIDDEN = "hidden"  # beginning of the names of all layers but the last
WIDTHS = ((16, 2), (32, 2), (48, 2), (48, 1), (96, 2), (96, 1))  # channels and strides
OPERATORS = {nn.Conv2d: "Conv", nn.ReLU: "Relu", nn.LeakyReLU: "LeakyRelu"}  # of ONNX
ABOUT = (
    "image: RGB parts of 96 x 96, 0..255. logits: of a face of 24 to 48 pixels about the middle that CenterFace finds. "
    "Trained on LFW (deep-funneled) faces, people in masks and sunglasses, fabric textures, and 300W training pictures."
)


class Round(NamedTuple):
    """A round of training: its steps and largest rate; the weight in the loss of a missed face against a false one, and
    that of a stray one, which CenterFace finds where none was put: mostly an ear, a hand or hair."""

    steps: int
    rate: float
    missed: float
    stray: float


ROUNDS = (Round(12000, 3e-3, 4.0, 4.0), Round(4000, 1.5e-3, 6.0, 0.5))


class Judge(nn.Module):
    """The network: parts (B, 3, 96, 96) of -1 to 1 become logits (B,) of a face, and (B, 6, 6) of CenterFace's heat."""

    def __init__(self) -> None:
        super().__init__()
        layers, before = list[nn.Module](), 3
        for width, stride in WIDTHS:
            layers += [nn.Conv2d(before, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
            before = width
        self.body, self.heat = nn.Sequential(*layers), nn.Conv2d(before, 1, 1)
        # Where a plain ReLU has nothing to say, parts that look little like a face could not be told apart.
        self.head = nn.Sequential(nn.Conv2d(before, 16, HEAT_SIDE), nn.LeakyReLU(LEAK), nn.Conv2d(16, 1, 1))

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        features = self.body(images)
        return self.head(features).flatten().float(), self.heat(features)[:, 0].float()

    def folded(self) -> list[nn.Module]:
        """Return the layers that give the logits, batch norms folded into the convolutions before them."""
        layers = [*self.eval().body, *self.head]
        for k in range(len(layers) - 1):
            if isinstance(layers[k + 1], nn.BatchNorm2d):
                layers[k] = fuse_conv_bn_eval(layers[k], layers[k + 1])
        return [layer for layer in layers if not isinstance(layer, nn.BatchNorm2d)]


class Parts(NamedTuple):
    """Files of parts (N, 96, 96, 3) uint8, and of all K parts what `Example` says of them."""

    files: Sequence[Array]
    labels: Array
    weights: Array
    known: Array
    heat: Array

    def weighted(self, missed: float, stray: float) -> Parts:
        """Return parts whose weights are those in the loss of a round."""
        faces = np.where(self.known, np.float32(missed), np.float32(stray))
        return self._replace(weights=np.where(self.labels > 0, faces, self.weights))


def shard_path(work: Path, number: int) -> Path:
    return work / f"parts_{number:03d}.npz"


def collect(data: Path, work: Path, seed: int) -> None:
    """Collect the files of parts that are not there yet: pictures in `.npy` and the rest in `.npz`, written last."""
    missing = [path for path in (shard_path(work, number) for number in range(SHARDS)) if not path.exists()]
    if not missing:
        return
    sources = read_sources(data)
    for path in missing:
        rng = np.random.default_rng((seed, int(path.stem[-3:])))  # each file has its own, so any may be made again
        found = islice(examples(Scenes(sources, rng, MASKED), PROPOSED), SHARD)
        parts, labels, weights, known, heat = (np.stack(column) for column in zip(*found, strict=True))
        np.save(path.with_suffix(".npy"), parts)
        content = io.BytesIO()
        np.savez(content, labels=np.float32(labels), weights=np.float32(weights), known=known, heat=heat)
        write_atomically(path, content.getvalue())
        print(f"{path.name}: {len(parts)} parts, {np.mean(labels):.3f} with a face", flush=True)


def read_parts(work: Path) -> Parts:
    """Read what `collect` has written; the parts stay in their files."""
    paths = [shard_path(work, number) for number in range(SHARDS)]
    columns = [np.concatenate([np.load(path)[name] for path in paths]) for name in Parts._fields[1:]]
    return Parts([np.load(path.with_suffix(".npy"), mmap_mode="r") for path in paths], *columns)


def batch(parts: Parts, rng: np.random.Generator) -> list[torch.Tensor]:
    """Draw parts (B, 3, 96, 96) of -1 to 1, and their labels, weights and heat (B, 6, 6).

    Some are mirrored, some change their light, and all move a little.
    """
    chosen = rng.integers(0, len(parts.labels), BATCH)
    images = torch.from_numpy(np.stack([parts.files[k // SHARD][k % SHARD] for k in chosen])).permute(0, 3, 1, 2)
    images = images.float() / 127.5 - 1
    heat = torch.from_numpy(parts.heat[chosen]).float() / 255
    flipped, lit, grey = (torch.from_numpy(rng.random(BATCH) < share) for share in (0.5, 0.5, 0.1))
    images[flipped], heat[flipped] = images[flipped].flip(3), heat[flipped].flip(2)
    images[grey] = images[grey].mean(1, keepdim=True)
    count = int(lit.sum())
    contrast, tint = rng.uniform(0.6, 1.35, (count, 1, 1, 1)), rng.uniform(-0.15, 0.15, (count, 3, 1, 1))
    shift = rng.uniform(-0.2, 0.2, (count, 1, 1, 1))
    images[lit] = images[lit] * torch.from_numpy(np.float32(contrast)) + torch.from_numpy(np.float32(tint + shift))
    moved = images.clamp(-1, 1).roll(tuple(rng.integers(-4, 5, 2).tolist()), (2, 3))
    labels, weights = (torch.from_numpy(values[chosen]) for values in (parts.labels, parts.weights))
    return [moved.contiguous(memory_format=torch.channels_last), labels, weights, heat]


def loss_of(
    network: Judge, images: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor, heat: torch.Tensor
) -> Any:
    """Return the weighted cross-entropy of the labels, and that of the heat."""
    with torch.autocast("cpu", torch.bfloat16):
        logits, seen = network(images)
    losses = nn.functional.binary_cross_entropy_with_logits(logits, labels, reduction="none")
    weighted = (1 + 7 * heat) * nn.functional.binary_cross_entropy_with_logits(seen, heat, reduction="none")
    return (losses * weights).sum() / weights.sum() + HEAT * weighted.mean()


def train(network: Judge, parts: Parts, rounds: Round, seeds: Sequence[int], path: Path) -> None:
    """Train a round by a one-cycle schedule of the learning rate; the network gets the averaged weights.

    `path` keeps the state. Each step draws its parts by a generator of its own, seeded by the last of `seeds` and on.
    """
    averaged = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(AVERAGED), use_buffers=True)
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=2e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rounds.rate, total_steps=rounds.steps, pct_start=0.1)
    kept: tuple[Any, ...] = network, averaged, optimizer, schedule
    start, parts = 0, parts.weighted(rounds.missed, rounds.stray)
    if path.exists():
        start, states = torch.load(path, weights_only=True)
        for one, state in zip(kept, states, strict=True):
            one.load_state_dict(state)
    for step in range(start, rounds.steps):
        loss = loss_of(network, *batch(parts, np.random.default_rng((seeds[0], seeds[1] + step))))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        averaged.update_parameters(network)
        if step % 100 == 0:
            print(f"step {step} of {rounds.steps}: loss {loss.item():.4f}", flush=True)
        if (step + 1) % SAVED == 0:
            content = io.BytesIO()
            torch.save((step + 1, [one.state_dict() for one in kept]), content)
            write_atomically(path, content.getvalue())
    network.load_state_dict(averaged.module.state_dict())


def export(network: Judge, path: Path, examples: Array) -> None:
    """Write the network as an ONNX file of opset 13; parts (B, 96, 96, 3) uint8 set the ranges of its integers."""
    values: dict[str, Array] = {"half": np.array(127.5, np.float32), "one": np.array(1, np.float32)}
    values["shape"] = np.array([-1], np.int64)
    nodes = [helper.make_node("Div", ["image", "half"], ["scaled"]), helper.make_node("Sub", ["scaled", "one"], ["x0"])]
    layers = network.folded()
    for i, layer in enumerate(layers):
        inputs, options = [f"x{i}"], dict[str, Any]()
        if isinstance(layer, nn.Conv2d):
            for name, value in layer.named_parameters():
                values[f"{name}{i}"] = value.detach().contiguous().numpy()
                inputs.append(f"{name}{i}")
            options = {"kernel_shape": layer.kernel_size, "strides": layer.stride, "pads": [int(layer.padding[0])] * 4}
        elif isinstance(layer, nn.LeakyReLU):
            options = {"alpha": layer.negative_slope}
        name = f"{HIDDEN if i + 1 < len(layers) else 'logits'}.{i}"
        nodes.append(helper.make_node(OPERATORS[type(layer)], inputs, [f"x{i + 1}"], name=name, **options))
    nodes.append(helper.make_node("Reshape", [f"x{len(layers)}", "shape"], ["logits"]))
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, SIDE, SIDE])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch"])
    graph = helper.make_graph(nodes, "parts", [image], [logits], [from_array(v, k) for k, v in values.items()])
    images = examples.transpose(0, 3, 1, 2).astype(np.float32)
    feeds = [{"image": images[k : k + BATCH]} for k in range(0, len(images), BATCH)]
    save_graph(quantized(model_of(graph), feeds, convolutions=(HIDDEN,), linear_layers=()).graph, ABOUT, path)


def parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    made = training_parser(__doc__, "folder of the data sets")
    made.add_argument("--work", type=Path, required=True, metavar="FOLDER", help="where parts and state are kept")
    return made


def run(options: argparse.Namespace) -> None:
    """Collect parts, train and write the network."""
    torch.set_num_threads(1)
    torch.manual_seed(options.seed)
    options.work.mkdir(parents=True, exist_ok=True)
    collect(options.data, options.work, options.seed)
    parts, network, before = read_parts(options.work), Judge(), 0
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    for number, one in enumerate(ROUNDS):
        train(network, parts, one, (options.seed, before), options.work / f"state_{number}.pt")
        before += one.steps
    export(network, options.out, parts.files[0][:CALIBRATED])


main = program(run, parser)

if __name__ == "__main__":
    sys.exit(main())
