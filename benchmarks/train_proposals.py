"""Train the network that proposes regions with small faces, and write it as an ONNX file.

    python benchmarks/train_proposals.py DATA --out proposals.onnx

DATA holds `unlabelled_faces/lfw`, `real_occluders_unlabelled/masks`, `300W` (training faces) and `occluders/textures`.
Each step takes 32 scenes of `proposal_scenes.py`. The weights are for non-commercial research only.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper
from onnx.numpy_helper import from_array, to_array
from torch import nn

from proposal_scenes import Array, Face, Scenes, resized
from srn.errors import SrnError
from srn.face.geometry import Box
from srn.inference.face_finder import CenterFaceFinder
from srn.media.pictures import read_image
from srn.media.pts import read_pts

Scene = tuple[Array, Array, Array]

BATCH, KEPT = 32, 1600  # scenes of a step, hard ones that are kept
OCCLUDED = "real_occluders_unlabelled/masks"
HELD_OUT = 460  # the first pictures of LFW, and every eighth real mask, are kept for choosing thresholds
ABOUT = (
    "image: RGB, 0..255, sides multiples of 4. logits: of a face of 6 to 13 pixels of height around each cell of "
    "4 x 4 pixels. Trained on LFW (deep-funneled) and 300W training faces, people in real masks, fabric textures."
)


def proposal_network() -> nn.Sequential:
    """Make the network: RGB pictures (B, 3, H, W) of -1 to 1 become logits (B, 1, H / 4, W / 4)."""
    head = nn.Conv2d(24, 1, 1)
    nn.init.constant_(head.get_parameter("bias"), -3.0)
    body = (
        nn.Conv2d(3, 12, 3, 2, 1),
        nn.Conv2d(12, 24, 3, 2, 1),
        nn.Conv2d(24, 24, 3, 1, 1),
        nn.Conv2d(24, 24, 3, 1, 2, 2),
        nn.Conv2d(24, 24, 3, 1, 3, 3),
    )
    return nn.Sequential(*(layer for convolution in body for layer in (convolution, nn.ReLU())), head)


def read_faces(data: Path) -> tuple[list[Face], list[Face]]:
    """Read pictures of a single face: two thirds of LFW, people in real masks, and a third of 300W's training faces.

    Returns the faces to place in scenes, and the pictures behind them.
    """
    finder = CenterFaceFinder(sizes=(160,), turned=False, threads=1)
    faces, backgrounds, root = list[Face](), list[Face](), data / "300W"
    lfw, masks = (sorted((data / name).glob("*.webp")) for name in ("unlabelled_faces/lfw", OCCLUDED))
    used = [k for k in range(len(lfw)) if k % 3 != 1 and k >= HELD_OUT]
    for path in (*(lfw[k] for k in used), *(path for k, path in enumerate(masks) if k % 8 != 3)):
        found = finder.find(image := read_image(path))
        if len(found) == 1 and found[0].score >= 0.6:
            faces.append((image, found[0].box.as_array()))
    finder = CenterFaceFinder(sizes=(160, 440), turned=False, threads=1, smallest=60, threshold=0.15)
    for path in (path for folder in ("afw", "*/trainset") for path in sorted(root.glob(f"{folder}/*.jpg"))[::3]):
        image, (x0, y0, x1, y1) = read_image(path), Box.around(read_pts(path.with_suffix(".pts"))).as_array()
        height = (y1 - y0) / 0.7535  # of the finder's box (box_fit.json)
        if height >= 90 and len(finder.find(image)) == 1:
            scale = min(160 / height, 1.0)
            backgrounds.append((resized(image, scale), np.array([x0, y1 - height, x1, y1]) * scale))
    return [*faces, *backgrounds], backgrounds


@dataclass
class HardScenes:
    """The scenes of a step: half are new, half are those that the network got most wrong so far."""

    scenes: Scenes
    rng: np.random.Generator
    hard: list[Scene] = field(default_factory=list)

    def batch(self) -> list[Scene]:
        """Draw the scenes of a step."""
        again = BATCH // 2 if len(self.hard) >= KEPT // 2 else 0
        places = self.rng.permutation(len(self.hard))[:again]
        chosen = [self.hard[k] for k in places]
        taken = set(places.tolist())
        self.hard = [one for k, one in enumerate(self.hard) if k not in taken]
        return [*chosen, *(self.scenes.scene() for _ in range(BATCH - again))]

    def keep(self, scenes: Sequence[Scene], losses: Array) -> None:
        """Keep the worst of a step for later; the oldest are forgotten."""
        self.hard = [*self.hard, *(scenes[k] for k in np.argsort(-losses)[: BATCH // 2])][-KEPT:]


def load(network: nn.Sequential, path: Path) -> None:
    """Read the weights that `export` wrote."""
    stored = {tensor.name: to_array(tensor) for tensor in onnx.load(path).graph.initializer}
    for i, layer in enumerate(network):
        for name, value in layer.named_parameters():
            value.data = torch.from_numpy(stored[f"{name[0]}{i}"].copy())


def train(network: nn.Sequential, scenes: HardScenes, steps: int, rate: float) -> None:
    """Train by a one-cycle schedule of the learning rate, `rate` at most."""
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps, pct_start=0.2)
    for step in range(steps):
        drawn = scenes.batch()
        images, *maps = (np.stack(part) for part in zip(*drawn, strict=True))
        labels, weights = (torch.from_numpy(part) for part in maps)
        logits = network(torch.from_numpy(images.transpose(0, 3, 1, 2).astype(np.float32)) / 127.5 - 1)[:, 0]
        losses = nn.functional.binary_cross_entropy_with_logits(logits, labels, reduction="none")
        surprise = 0.1 + 0.9 * (torch.sigmoid(logits) - labels).abs().detach()  # most cells are easy background
        losses = losses * weights * surprise
        scenes.keep(drawn, losses.detach().amax((1, 2)).numpy())
        loss = 4 * losses.sum() / float(weights.sum())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 100 == 0:
            print(f"step {step} of {steps}: loss {loss.item():.4f}", flush=True)


def export(network: nn.Sequential, path: Path) -> None:
    """Write the network as an ONNX file of opset 13 with free sizes."""
    values: dict[str, Array] = {"half": np.array(127.5, np.float32), "one": np.array(1, np.float32)}
    nodes = [helper.make_node("Div", ["image", "half"], ["scaled"]), helper.make_node("Sub", ["scaled", "one"], ["x0"])]
    for i, layer in enumerate(network):
        inputs, options = [f"x{i}"], dict[str, Any]()
        if isinstance(layer, nn.Conv2d):
            inputs = [f"x{i}", f"w{i}", f"b{i}"]
            values |= {f"{name[0]}{i}": value.detach().numpy() for name, value in layer.named_parameters()}
            options = {"kernel_shape": layer.kernel_size, "strides": layer.stride, "dilations": layer.dilation}
            options["pads"] = [layer.padding[0]] * 4
        nodes.append(helper.make_node("Conv" if options else "Relu", inputs, [f"x{i + 1}"], **options))
    nodes[-1].output[0] = "logits"
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, "height", "width"])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 1, "height/4", "width/4"])
    graph = helper.make_graph(nodes, "proposals", [image], [logits], [from_array(v, k) for k, v in values.items()])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    model.doc_string = ABOUT
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)


def parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument(
        "data", type=Path, help="folder that holds unlabelled_faces/, real_occluders_unlabelled/, 300W/ and occluders/"
    )
    made.add_argument("--out", type=Path, required=True, metavar="FILE", help="the ONNX file to write")
    made.add_argument("--seed", type=int, default=0, help="seed of weights and scenes (default: 0)")
    made.add_argument("--steps", type=int, default=3600, help="training steps (default: 3600)")
    made.add_argument("--initial", type=Path, metavar="FILE", help="an ONNX file of this script, to train further")
    made.add_argument("--learning-rate", type=float, default=8e-3, help="largest learning rate (default: 0.008)")
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Train and write the network; 2 on the user's mistake."""
    options = parser().parse_args(arguments)
    torch.manual_seed(options.seed)
    try:
        (faces, backgrounds), textures = read_faces(options.data), options.data / "occluders" / "textures"
        fabrics = [read_image(path) for path in sorted(textures.glob("*.*"))]
        if not (faces and backgrounds and fabrics):
            raise SrnError(f"{options.data}: expected pictures in unlabelled_faces/lfw, 300W and occluders/textures")
    except SrnError as error:
        print(error, file=sys.stderr)
        return 2
    network = proposal_network()
    rng = np.random.default_rng(options.seed)
    if options.initial is not None:
        load(network, options.initial)
    train(network, HardScenes(Scenes(faces, backgrounds, fabrics, rng), rng), options.steps, options.learning_rate)
    export(network, options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
