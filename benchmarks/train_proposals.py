"""Train the network that proposes regions with small faces, and write it as an ONNX file.

    python benchmarks/train_proposals.py DATA --out proposals.onnx

DATA holds `unlabelled_faces/lfw`, `300W` (training faces) and `occluders/textures`. Each step takes 32 scenes: LFW
faces in LFW and 300W pictures. The weights are for non-commercial research only.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import onnx
import torch
from onnx import GraphProto, ModelProto, TensorProto, helper
from onnx.numpy_helper import from_array
from torch import nn

from results import program
from srn.errors import SrnError
from srn.face.geometry import Box
from srn.inference.face_finder import CenterFaceFinder
from srn.media.pictures import read_image
from srn.media.pts import read_pts

Array = npt.NDArray[Any]
Face = tuple[Array, Array]  # a picture and the box (x0, y0, x1, y1) of its face, forehead to chin

SIDE, CELL, BATCH = 96, 4, 32  # pixels of a scene and of a cell, scenes of a step
BORDERS = (cv2.BORDER_REFLECT, cv2.BORDER_REPLICATE, cv2.BORDER_WRAP)
HELD_OUT = 150  # the first faces of LFW are kept for choosing thresholds
ABOUT = (
    "image: RGB, 0..255, sides multiples of 4. logits: of a face of 6 to 13 pixels of height around each cell of "
    "4 x 4 pixels. Trained on LFW (deep-funneled) faces, fabric textures."
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
    """Read pictures of a single face: every third of LFW, and 300W training pictures."""
    finder = CenterFaceFinder(sizes=(160,), turned=False, threads=1)
    faces, backgrounds, root = list[Face](), list[Face](), data / "300W"
    for path in sorted((data / "unlabelled_faces" / "lfw").glob("*.webp"))[::3]:
        found = finder.find(image := read_image(path))
        if len(found) == 1 and found[0].score >= 0.6:
            faces.append((image, found[0].box.as_array()))
    finder = CenterFaceFinder(sizes=(160, 440), turned=False, threads=1, smallest=60, threshold=0.15)
    for path in (*sorted(root.glob("afw/*.jpg"))[1::3], *sorted(root.glob("*/trainset/*.jpg"))[3::9]):
        image, (x0, y0, x1, y1) = read_image(path), Box.around(read_pts(path.with_suffix(".pts"))).as_array()
        height = (y1 - y0) / 0.7535  # of the finder's box (box_fit.json)
        if height >= 90 and len(finder.find(image)) == 1:
            scale = min(160 / height, 1.0)
            backgrounds.append((resized(image, scale), np.array([x0, y1 - height, x1, y1]) * scale))
    return faces[HELD_OUT:], backgrounds


def resized(image: Array, scale: float) -> Array:
    return cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)


@dataclass(frozen=True)
class Scenes:
    """Random scenes of small faces; six of ten pictures behind them are `backgrounds`."""

    faces: Sequence[Face]
    backgrounds: Sequence[Face]
    textures: Sequence[Array]
    rng: np.random.Generator

    def background(self) -> Array:
        """Cut a square from a texture, noise or a picture of larger faces."""
        rng, kind = self.rng, self.rng.random()
        if kind < 0.12:
            image: Array = resized(self.textures[int(rng.integers(len(self.textures)))], rng.uniform(0.3, 1.5))
        elif kind < 0.2:
            image = np.full((SIDE, SIDE, 3), rng.integers(0, 256, 3), np.uint8)
            if rng.random() < 0.6:
                noise = cv2.GaussianBlur(rng.normal(0, 60, image.shape).astype(np.float32), (0, 0), rng.uniform(0.6, 6))
                image = np.clip(image + noise * rng.uniform(0.5, 4), 0, 255).astype(np.uint8)
        else:
            source = self.backgrounds if rng.random() < 0.6 else self.faces
            image, box = source[int(rng.integers(len(source)))]
            tall = np.exp(rng.uniform(np.log(26), np.log(150)))
            image = resized(image, tall / (box[3] - box[1]))
        image = image[:: -1 if rng.random() < 0.25 else 1, :: -1 if rng.random() < 0.5 else 1]
        below, beside = (max(0, SIDE - length) for length in image.shape[:2])
        if below or beside:
            image = cv2.copyMakeBorder(image, 0, below, 0, beside, BORDERS[rng.integers(3)])
        y, x = rng.integers(0, image.shape[0] - SIDE + 1), rng.integers(0, image.shape[1] - SIDE + 1)
        return image[y : y + SIDE, x : x + SIDE].copy()

    def lit(self, image: Array) -> Array:
        """Change contrast, brightness and colour; returns float32."""
        out = (image.astype(np.float32) - 128) * self.rng.uniform(0.55, 1.25) + 128 + self.rng.uniform(-50, 40)
        if self.rng.random() < 0.2:
            return np.repeat(out.mean(2, keepdims=True), 3, 2)
        return out * self.rng.uniform(0.85, 1.15, 3).astype(np.float32)

    def face(self, height: float) -> tuple[Array, float, float]:
        """Cut out a face of `height` pixels, perhaps masked, in sunglasses or tilted; returns it with its centre."""
        rng = self.rng
        image, box = self.faces[int(rng.integers(len(self.faces)))]
        margin, tall = rng.uniform(0, 0.35), box[3] - box[1]
        x0, y0 = (max(0, int(low - margin * tall)) for low in box[:2])
        image = image[y0 : int(box[3] + margin * tall), x0 : int(box[2] + margin * tall)].copy()
        box = box - [x0, y0, x0, y0]
        if rng.random() < 0.25:
            top = max(0, int(box[1] + tall * rng.uniform(0.45, 0.65)))
            color = rng.integers(0, 256, 3) if rng.random() < 0.6 else np.array([200, 215, 225])
            image[top : int(box[3]) + 2, max(0, int(box[0]) - 2) : int(box[2]) + 3] = color
        if rng.random() < 0.1:
            top = int(box[1] + tall * 0.3)
            image[max(0, top) : top + int(tall * 0.18), max(0, int(box[0]) + 3) : int(box[2]) - 3] = 20
        if rng.random() < 0.35:
            turn = cv2.getRotationMatrix2D(((box[0] + box[2]) / 2, (box[1] + box[3]) / 2), rng.uniform(-35, 35), 1)
            image = cv2.warpAffine(image, turn, image.shape[1::-1], borderMode=cv2.BORDER_REPLICATE)
        scale, (rows, columns) = height / tall, image.shape[:2]
        size = max(3, round(columns * scale)), max(3, round(rows * scale))
        small: Array = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        if rng.random() < 0.5:
            small, box = small[:, ::-1], np.array([columns - box[2], box[1], columns - box[0], box[3]])
        return small, (box[0] + box[2]) / 2 * scale, (box[1] + box[3]) / 2 * scale

    def scene(self) -> tuple[Array, Array, Array]:
        """Make a scene (96, 96, 3) uint8, the labels of its cells (24, 24), and their weights in the loss."""
        rng, taken, cells = self.rng, np.zeros((SIDE, SIDE), bool), (SIDE // CELL, SIDE // CELL)
        image, labels, ignored = self.lit(self.background()), np.zeros(cells, np.float32), np.zeros(cells, bool)
        rows, columns = (np.indices(cells) + 0.5) * CELL
        for _ in range([0, 1, 2, 4, 8][rng.integers(5)]):
            tall = float(np.exp(rng.uniform(np.log(5.2), np.log(15))))
            if is_face := rng.random() >= 0.3:
                part, cx, cy = self.face(tall)
            else:
                part, size = self.background(), max(6, int(tall * rng.uniform(1, 1.8)))
                y, x = rng.integers(0, SIDE - size + 1, 2)
                part, cx, cy = part[y : y + size, x : x + size], size / 2, size / 2
            height, width = part.shape[:2]
            y, x = rng.integers(0, SIDE - height + 1), rng.integers(0, SIDE - width + 1)
            where = np.s_[y : y + height, x : x + width]
            if taken[where].any():
                continue
            taken[where], part = True, self.lit(part)
            if rng.random() < 0.5:  # a soft edge
                alpha: Array = np.zeros((height, width), np.float32)
                cv2.ellipse(alpha, ((cx, cy), (width * 0.95, height * 0.95), 0), 1.0, -1)
                alpha = cv2.GaussianBlur(alpha, (0, 0), rng.uniform(0.4, 1.2))[:, :, None]
                part = image[where] * (1 - alpha) + part * alpha
            image[where] = part
            if is_face:  # cells around its centre are positive; those further out, or of other sizes, do not count
                distance, learnt = np.hypot(rows - (y + cy), columns - (x + cx)), 5.6 <= tall <= 14
                labels[(distance <= max(2.9, 0.22 * tall)) & learnt] = 1
                ignored |= distance < max(6.5 if learnt else 6, 0.7 * tall)
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.3, 0.8)) if rng.random() < 0.3 else image
        image = np.clip(image + rng.normal(0, rng.uniform(0, 6), image.shape), 0, 255).astype(np.uint8)
        if rng.random() < 0.3:
            content = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(40, 95))])[1]
            image = np.asarray(cv2.imdecode(content, cv2.IMREAD_COLOR), np.uint8)
        return image, labels, np.where(ignored & (labels == 0), 0, 1 + 4 * labels)


def train(network: nn.Sequential, scenes: Scenes, steps: int) -> None:
    """Train by a one-cycle schedule of the learning rate."""
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 8e-3, total_steps=steps, pct_start=0.2)
    for step in range(steps):
        images, *maps = (np.stack(part) for part in zip(*(scenes.scene() for _ in range(BATCH)), strict=True))
        labels, weights = (torch.from_numpy(part) for part in maps)
        logits = network(torch.from_numpy(images.transpose(0, 3, 1, 2).astype(np.float32)) / 127.5 - 1)[:, 0]
        losses = nn.functional.binary_cross_entropy_with_logits(logits, labels, reduction="none")
        surprise = 0.1 + 0.9 * (torch.sigmoid(logits) - labels).abs().detach()  # most cells are easy background
        loss = 4 * (losses * weights * surprise).sum() / float(weights.sum())
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
    save_graph(graph, ABOUT, path)


def model_of(graph: GraphProto) -> ModelProto:
    """Make an ONNX model of opset 13 of a graph."""
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def save_graph(graph: GraphProto, about: str, path: Path) -> None:
    """Check a graph and write it as an ONNX file of opset 13 that says what it is about."""
    model = model_of(graph)
    model.doc_string = about
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)


def training_parser(description: str | None, data: str) -> argparse.ArgumentParser:
    """Make a parser with the options of every training of the face finder's networks; `data` describes their folder."""
    made = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("data", type=Path, help=data)
    made.add_argument("--out", type=Path, required=True, metavar="FILE", help="the ONNX file to write")
    made.add_argument("--seed", type=int, default=0, help="seed of weights and scenes (default: 0)")
    return made


def parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    made = training_parser(__doc__, "folder that holds unlabelled_faces/, 300W/ and occluders/")
    made.add_argument("--steps", type=int, default=1200, help="training steps (default: 1200)")
    return made


def run(options: argparse.Namespace) -> None:
    """Train and write the network."""
    torch.manual_seed(options.seed)
    (faces, backgrounds), textures = read_faces(options.data), options.data / "occluders" / "textures"
    fabrics = [read_image(path) for path in sorted(textures.glob("*.*"))]
    if not (faces and backgrounds and fabrics):
        raise SrnError(f"{options.data}: expected pictures in unlabelled_faces/lfw, 300W and occluders/textures")
    network = proposal_network()
    train(network, Scenes(faces, backgrounds, fabrics, np.random.default_rng(options.seed)), options.steps)
    export(network, options.out)


main = program(run, parser)

if __name__ == "__main__":
    sys.exit(main())
