"""Train the network that judges proposed parts of a picture, and write it as an ONNX file.

    python benchmarks/train_parts.py DATA --out parts.onnx

DATA holds `unlabelled_faces/lfw`, `real_occluders_unlabelled`, `300W` (training faces) and `occluders/textures`. Scenes
of small faces are searched by the network of proposals; the label of each part that it proposes is whether CenterFace,
looking as the face finder does, finds a face there. The weights are for non-commercial research only.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from onnx import TensorProto, helper
from onnx.numpy_helper import from_array
from torch import nn

from results import program
from srn.errors import SrnError
from srn.face.geometry import Box
from srn.inference.face_finder import CLOSEST, CUT, LARGEST_CLOSE, UNSURE, CenterFaceFinder
from srn.inference.found_boxes import Found
from srn.inference.parts import SIDE, part_around
from srn.inference.proposals import CELL, ENLARGED, ProposalNetwork
from srn.media.pictures import read_image
from srn.media.pts import read_pts
from train_proposals import HELD_OUT, Array, Face, resized, save_graph, training_parser

LARGEST_SCENE, BATCH = 640, 96
MASKS = np.array([[190, 210, 225], [235, 235, 235], [40, 40, 45]], np.uint8)
ABOUT = (
    "image: RGB parts of 96 x 96, 0..255. logits: of a face of 24 to 48 pixels about the middle that CenterFace finds. "
    "Trained on LFW (deep-funneled) faces, people in masks and sunglasses, fabric textures, and 300W training pictures."
)


class Round(NamedTuple):
    """A round of training, on its parts and those of the rounds before.

    `masked` is the share of people in masks among the faces pasted, `proposed` the probability from which parts are
    taken: below the face finder's, for more examples.
    """

    parts: int
    steps: int
    rate: float
    masked: float
    proposed: float


ROUNDS = (Round(45000, 6000, 3e-3, 0.22, 0.25), Round(24000, 1200, 1.2e-3, 0.5, 0.33))


def part_network() -> nn.Sequential:
    """Make the network: parts (B, 3, 96, 96) of -1 to 1 become logits (B, 1, 1, 1)."""
    widths = ((3, 16, 3, 2, 1), (16, 32, 3, 2, 1), (32, 48, 3, 2, 1), (48, 48, 3, 1, 1), (48, 64, 3, 2, 1), (64, 32, 6))
    body = [layer for width in widths for layer in (nn.Conv2d(*width), nn.ReLU())]
    return nn.Sequential(*body, nn.Conv2d(32, 1, 1))


class Sources(NamedTuple):
    """Pictures of one face each, with its box, forehead to chin: `plain` to be pasted, of people in `masks` and in
    `sunglasses`; `portraits` behind them; and `textures`."""

    plain: Sequence[Face]
    masks: Sequence[Face]
    sunglasses: Sequence[Face]
    portraits: Sequence[Face]
    textures: Sequence[Array]


def read_sources(data: Path) -> Sources:
    """Read pictures: every third one of LFW and sunglasses; of masks ten of twelve; of 300W training four of five."""
    finder = CenterFaceFinder(sizes=(160,), turned=False, threads=1)

    def single(folder: str, places: Sequence[int], most: int) -> list[Face]:
        faces: list[Face] = []
        for path in [p for k, p in enumerate(sorted((data / folder).glob("*.*"))) if k % 12 in places]:
            found = finder.find(image := read_image(path))
            if len(found) == 1 and found[0].score >= 0.6:
                faces.append((image, found[0].box.as_array()))
            if len(faces) == most:
                break
        return faces

    portraits, root = list[Face](), data / "300W"
    pictures = [
        p for folder in ("afw", "helen/trainset", "lfpw/trainset") for p in sorted((root / folder).glob("*.jpg"))
    ]
    for path in [p for number, p in enumerate(pictures) if number % 5 != 2]:
        x0, y0, x1, y1 = Box.around(read_pts(path.with_suffix(".pts"))).as_array()
        portraits.append((read_image(path), np.array([x0, y1 - (y1 - y0) / 0.7535, x1, y1])))
    fabrics = [read_image(path) for path in sorted((data / "occluders" / "textures").glob("*.*"))]
    plain = single("unlabelled_faces/lfw", range(0, 12, 3), 1500)[HELD_OUT:]
    # 1 is measured by `measure_small_faces.py`, and thresholds were chosen on 5.
    masks = single("real_occluders_unlabelled/masks", (0, 2, 3, 4, *range(6, 12)), 1100)
    sunglasses = single("real_occluders_unlabelled/sunglasses", range(0, 12, 3), 200)
    sources = Sources(plain, masks, sunglasses, portraits, fabrics)
    if not all(sources):
        raise SrnError(f"{data}: expected unlabelled_faces/lfw, real_occluders_unlabelled, 300W and occluders/textures")
    return sources


@dataclass(frozen=True)
class Scenes:
    """Random scenes of faces of 21 to 58 pixels before portraits, faces and fabrics."""

    sources: Sources
    rng: np.random.Generator
    masked: float

    def any_of(self, faces: Sequence[Any]) -> Any:
        return faces[int(self.rng.integers(len(faces)))]

    def between(self, low: float, high: float) -> float:
        """Draw a ratio, as likely in each octave."""
        return float(np.exp(self.rng.uniform(np.log(low), np.log(high))))

    def scene(self) -> tuple[Array, list[Array], list[Array]]:
        """Make a scene; returns it with the boxes of small faces, and of a larger one within which none are sought."""
        rng, small, large = self.rng, list[Array](), list[Array]()
        kind = rng.random()
        if kind < 0.08:
            image: Array = resized(self.any_of(self.sources.textures), rng.uniform(0.6, 3))
        else:
            least, most, faces = (0.35, 1.6, self.sources.portraits) if kind < 0.8 else (0.5, 2.2, self.sources.plain)
            image, box = self.any_of(faces)
            scale = self.between(least, most)
            image, box = resized(image, scale), box * scale
            if box[3] - box[1] < 60:
                small = [box]
            elif rng.random() < 0.85:
                large = [box]
        image = image[:LARGEST_SCENE, :LARGEST_SCENE]
        if rng.random() < 0.5:
            image = image[:, ::-1]
            small, large = ([mirrored(box, image.shape[1]) for box in boxes] for boxes in (small, large))
        if rng.random() < 0.1:
            image, small, large = image[::-1], [], []
        image = self.lit(image.copy())
        if rng.random() < 0.55:
            for _ in range(int(rng.integers(1, 5))):
                self.paste(image, small, large)
        return self.worn(image), small, large

    def paste(self, image: Array, small: list[Array], large: list[Array]) -> None:
        """Place a face where there is none yet."""
        face, box = self.face()
        if face.shape[0] >= image.shape[0] or face.shape[1] >= image.shape[1]:
            return
        y, x = (int(self.rng.integers(0, a - b)) for a, b in zip(image.shape[:2], face.shape[:2], strict=True))
        x1, y1 = x + face.shape[1], y + face.shape[0]
        if not any(min(x1, b[2]) > max(x, b[0]) and min(y1, b[3]) > max(y, b[1]) for b in (*small, *large)):
            image[y:y1, x:x1] = self.lit(face)
            small.append(box + [x, y, x, y])

    def face(self) -> tuple[Array, Array]:
        """Cut out a face, perhaps masked, in sunglasses or tilted, in its size; returns it with its box."""
        rng, kind = self.rng, self.rng.random()
        hidden = self.sources.masks if kind < self.masked else self.sources.sunglasses
        faces = hidden if kind < self.masked + 0.06 else self.sources.plain
        image, box = self.any_of(faces)
        margin, tall = rng.uniform(0.05, 0.6), box[3] - box[1]
        x0, y0 = (max(0, int(low - margin * tall)) for low in box[:2])
        image = image[y0 : int(box[3] + margin * tall), x0 : int(box[2] + margin * tall)].copy()
        box = box - [x0, y0, x0, y0]
        if faces is not self.sources.masks and rng.random() < 0.4:
            self.mask(image, box)
        if rng.random() < 0.1:
            top = int(box[1] + tall * 0.3)
            image[max(0, top) : top + int(tall * 0.18), max(0, int(box[0]) + 3) : int(box[2]) - 3] = rng.integers(
                10, 60
            )
        if rng.random() < 0.5:
            image, box = image[:, ::-1], mirrored(box, image.shape[1])
        scale = self.between(21, 58) / tall
        image, box = resized(np.ascontiguousarray(image), scale), box * scale
        if rng.random() < 0.25:
            x, y = (box[:2] + box[2:]) / 2
            turn = cv2.getRotationMatrix2D((float(x), float(y)), rng.uniform(-35, 35), 1)
            image = cv2.warpAffine(image, turn, image.shape[1::-1], borderMode=cv2.BORDER_REFLECT)
        return image, box

    def mask(self, image: Array, box: Array) -> None:
        """Cover the lower part of a face by a colour or a fabric."""
        top, kind = max(0, int(box[1] + (box[3] - box[1]) * self.rng.uniform(0.45, 0.65))), self.rng.random()
        lower = image[top : int(box[3]) + 2, max(0, int(box[0]) - 2) : int(box[2]) + 3]
        if kind < 0.8:
            lower[:] = self.rng.integers(0, 256, 3) if kind < 0.45 else MASKS[self.rng.integers(3)]
        else:
            lower[:] = cv2.resize(self.any_of(self.sources.textures), lower.shape[1::-1], interpolation=cv2.INTER_AREA)

    def lit(self, image: Array) -> Array:
        """Change contrast, brightness and colour, mostly."""
        rng = self.rng
        if rng.random() < 0.25:
            return image
        out = (image.astype(np.float32) - 128) * rng.uniform(0.55, 1.25) + 128 + rng.uniform(-50, 40)
        if rng.random() < 0.2:
            out = np.repeat(out.mean(2, keepdims=True), 3, 2)
        return np.clip(out * rng.uniform(0.85, 1.15, 3), 0, 255).astype(np.uint8)

    def worn(self, image: Array) -> Array:
        """Compress, blur, or add noise, now and then."""
        rng = self.rng
        if rng.random() < 0.3:
            _, code = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(40, 90))])
            image = np.asarray(cv2.imdecode(code, cv2.IMREAD_COLOR))
        if rng.random() < 0.15:
            image = np.asarray(cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 1.3)))
        if rng.random() < 0.1:
            image = np.clip(image + rng.normal(0, rng.uniform(2, 9), image.shape), 0, 255).astype(np.uint8)
        return np.ascontiguousarray(image)


def mirrored(box: Array, width: int) -> Array:
    return np.array([width - box[2], box[1], width - box[0], box[3]])


class Teacher:
    """CenterFace, which looks at a part as the face finder does."""

    def __init__(self) -> None:
        self._finder = CenterFaceFinder(threads=1)

    def label(self, part: Array, shows_face: bool) -> tuple[float, float]:
        """Tell whether a face is found (1 or 0), and the weight: 0 where one is only suspected."""
        found = self._found(part, 1.0)
        answer = found.scores.max(initial=0) > self._finder.threshold
        if not answer and (found.boxes[:, 3] - found.boxes[:, 1] < CLOSEST).any():
            answer = self._found(part, 2.0).scores.max(initial=0) > self._finder.threshold
        doubtful = not answer and shows_face and len(found.scores) > 0
        return float(answer), 1.0 - doubtful

    def _found(self, part: Array, scale: float) -> Found:
        """Search a part; faces that it cuts, and large ones, are left out."""
        found = self._finder._find_at(part, scale)
        cut = ((found.boxes + 0.5 < CUT / scale) | (found.boxes + 0.5 > SIDE - CUT / scale)).any(axis=1)
        small = (found.boxes[:, 3] - found.boxes[:, 1]) * scale < LARGEST_CLOSE
        return found.select(~cut & small & (found.scores > UNSURE))


def examples(scenes: Scenes, proposed: float) -> Iterator[tuple[Array, float, float]]:
    """Yield parts (96, 96, 3) that are proposed, with their labels and weights, without end."""
    network, teacher, rng, step = ProposalNetwork(threads=1), Teacher(), scenes.rng, CELL * ENLARGED
    while True:
        image, small, large = scenes.scene()
        if min(image.shape[:2]) < SIDE // 2:
            continue
        chances = np.atleast_2d(network(resized(image, 1 / ENLARGED)))
        likely = (chances > proposed) & (chances == cv2.dilate(chances, np.ones((3, 3), np.uint8)))
        for box in large:
            x0, y0, x1, y1 = np.maximum(np.round(box / step).astype(int), 0)
            likely[y0:y1, x0:x1] = False
        for cell in rng.permutation(np.argwhere(likely))[:8]:
            center = (cell[::-1] + 0.5) * step
            shows_face = any(np.abs(center - (box[:2] + box[2:]) / 2).max() < step for box in small)
            part = part_around(image, center + rng.uniform(-3, 3, 2), 1.0)
            yield part, *teacher.label(part, shows_face)


def batch(parts: Array, rng: np.random.Generator) -> torch.Tensor:
    """Mirror some of the parts (B, 96, 96, 3), change their light, and move them all a little."""
    out, count = parts.astype(np.float32), len(parts)
    flipped, lit, grey = (rng.random(count) < share for share in (0.5, 0.4, 0.1))
    out[flipped] = out[flipped][:, :, ::-1]
    contrast, tint = rng.uniform(0.7, 1.3, (lit.sum(), 1, 1, 1)), rng.uniform(-15, 15, (lit.sum(), 1, 1, 3))
    out[lit] = (out[lit] - 128) * contrast + 128 + tint
    out[grey] = out[grey].mean(3, keepdims=True)
    if rng.random() < 0.5:
        out = np.roll(out, tuple(rng.integers(-4, 5, 2)), (1, 2))
    return torch.from_numpy(np.ascontiguousarray(np.clip(out, 0, 255).transpose(0, 3, 1, 2))) / 127.5 - 1


def train(network: nn.Module, data: Sequence[Array], steps: int, rate: float, rng: np.random.Generator) -> None:
    """Fit the network to parts, labels and weights; a missed face counts four times."""
    parts, labels, weights = data
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps, pct_start=0.15)
    for step in range(steps):
        chosen = rng.integers(0, len(parts), BATCH)
        label, weight = (torch.from_numpy(values[chosen]) for values in (labels, weights))
        weight = weight * (1 + 3 * label)
        logits = network(batch(parts[chosen], rng)).flatten()
        losses = nn.functional.binary_cross_entropy_with_logits(logits, label, reduction="none")
        loss = (losses * weight).sum() / weight.sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 100 == 0:
            print(f"step {step} of {steps}: loss {loss.item():.4f}", flush=True)


def export(network: nn.Sequential, path: Path) -> None:
    """Write the network as an ONNX file of opset 13, with weights in half precision."""
    values: dict[str, Array] = {"half": np.array(127.5, np.float32), "one": np.array(1, np.float32)}
    values["shape"] = np.array([-1], np.int64)
    nodes = [helper.make_node("Div", ["image", "half"], ["scaled"]), helper.make_node("Sub", ["scaled", "one"], ["x0"])]
    for i, layer in enumerate(network):
        inputs, options = [f"x{i}"], dict[str, Any]()
        if isinstance(layer, nn.Conv2d):
            for name, value in layer.named_parameters():
                stored = f"{name}{i}"
                values[stored] = value.detach().numpy().astype(np.float16)
                nodes.append(helper.make_node("Cast", [stored], [f"{stored}.float"], to=TensorProto.FLOAT))
                inputs.append(f"{stored}.float")
            options = {"kernel_shape": layer.kernel_size, "strides": layer.stride, "pads": [int(layer.padding[0])] * 4}
        nodes.append(helper.make_node("Conv" if options else "Relu", inputs, [f"x{i + 1}"], **options))
    nodes.append(helper.make_node("Reshape", [f"x{len(network)}", "shape"], ["logits"]))
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, SIDE, SIDE])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch"])
    graph = helper.make_graph(nodes, "parts", [image], [logits], [from_array(v, k) for k, v in values.items()])
    save_graph(graph, ABOUT, path)


def parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    return training_parser(__doc__, "folder of the data sets")


def run(options: argparse.Namespace) -> None:
    """Collect parts, train and write the network."""
    torch.manual_seed(options.seed)
    torch.set_num_threads(1)
    rng, sources, network = np.random.default_rng(options.seed), read_sources(options.data), part_network()
    data: list[Array] = []
    for one in ROUNDS:
        found = examples(Scenes(sources, rng, one.masked), one.proposed)
        columns = [np.stack(column) for column in zip(*(next(found) for _ in range(one.parts)), strict=True)]
        columns[1:] = [column.astype(np.float32) for column in columns[1:]]
        data = [np.concatenate(pair) for pair in zip(data, columns, strict=True)] if data else columns
        train(network, data, one.steps, one.rate, rng)
    export(network, options.out)


main = program(run, parser)

if __name__ == "__main__":
    sys.exit(main())
