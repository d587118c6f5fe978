"""Scenes of small faces, on which `train_proposals.py` trains: faces on pictures, and what looks like them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Face = tuple[Array, Array]  # a picture and the box (x0, y0, x1, y1) of its face, forehead to chin

SIDE, CELL = 96, 4  # pixels of a scene and of a cell
BORDERS = (cv2.BORDER_REFLECT, cv2.BORDER_REPLICATE, cv2.BORDER_WRAP)
FONTS = (cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_COMPLEX, cv2.FONT_HERSHEY_SCRIPT_SIMPLEX, cv2.FONT_HERSHEY_DUPLEX)
SKINS = ((224, 180, 155), (198, 150, 122), (141, 96, 72), (90, 60, 45), (240, 205, 190))
LETTERS = "ABCDEFGHIKLMNOPRSTUVWXYZabcdefghiklmnoprstuvwxyz0123456789.,!?&"


def resized(image: Array, scale: float) -> Array:
    return cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)


def clutter(rng: np.random.Generator) -> Array:
    """Draw something that is no face but has its contrasts: text, ribbons, medals or fingers, about 100 pixels wide."""
    side = int(rng.integers(60, 130))
    image: Array = np.full((side, side, 3), _color(rng), np.uint8)
    return (_text, _ribbons, _medals, _fingers)[rng.integers(4)](image, rng)


def _color(rng: np.random.Generator) -> tuple[float, ...]:
    spread = rng.choice([10.0, 60.0])
    return tuple(np.clip(rng.integers(0, 256) + rng.normal(0, spread, 3), 0, 255).tolist())


def _text(image: Array, rng: np.random.Generator) -> Array:
    side, color, font = len(image), _color(rng), FONTS[rng.integers(len(FONTS))]
    scale = rng.uniform(0.5, 2.5)
    for line in range(int(30 * scale), side + 20, int(30 * scale)):
        letters = "".join(LETTERS[k] for k in rng.integers(len(LETTERS), size=12))
        cv2.putText(image, letters, (int(rng.integers(-9, 20)), line), font, scale, color, int(1 + 2 * scale))
    return image


def _ribbons(image: Array, rng: np.random.Generator) -> Array:
    tall, wide = int(rng.integers(9, 36)), int(rng.integers(15, 60))
    for y in range(0, len(image), tall):
        for x in range(0, len(image), wide):
            if rng.random() < 0.1:
                continue
            edges = np.sort(rng.integers(0, wide + 1, rng.integers(2, 7)))
            colors = [_color(rng) for _ in edges]
            for stripe in range(len(edges) - 1):  # the same on the right as on the left
                for low, high in ((edges[stripe], edges[stripe + 1]), (wide - edges[stripe + 1], wide - edges[stripe])):
                    image[y : y + tall - 1, x + low : x + high] = colors[stripe]
    return image


def _medals(image: Array, rng: np.random.Generator) -> Array:
    radius, metal = float(rng.uniform(8, 30)), np.array([(210, 180, 90), (190, 190, 195), (150, 100, 60)])
    for x in np.arange(radius, len(image), radius * rng.uniform(2.1, 3.5)):
        color = metal[rng.integers(3)] * rng.uniform(0.6, 1.2)
        y = len(image) * rng.uniform(0.5, 0.7)
        width = radius * rng.uniform(0.4, 0.9)
        cv2.rectangle(image, (int(x - width), 0), (int(x + width), int(y)), _color(rng), -1)
        cv2.rectangle(image, (int(x - width / 3), 0), (int(x + width / 3), int(y)), _color(rng), -1)
        cv2.circle(image, (int(x), int(y)), int(radius), color.tolist(), -1)
        for _ in range(int(rng.integers(1, 7))):
            spot = (np.array([x, y]) + rng.uniform(-0.6, 0.6, 2) * radius).astype(int).tolist()
            shade = np.clip(color * rng.uniform(0.3, 1.5), 0, 255).tolist()
            cv2.circle(image, spot, int(1 + radius * rng.uniform(0.05, 0.5)), shade, int(rng.choice([-1, 2])))
    return image


def _fingers(image: Array, rng: np.random.Generator) -> Array:
    side, skin = len(image), np.array(SKINS[rng.integers(len(SKINS))]) * rng.uniform(0.7, 1.1)
    start, angle = rng.uniform(0.2, 0.8, 2) * side, rng.uniform(0, 2 * np.pi)
    palm = (start.tolist(), (side * rng.uniform(0.3, 0.6), side * 0.4), np.rad2deg(angle))
    cv2.ellipse(image, palm, skin.tolist(), -1)
    for k in range(int(rng.integers(0, 6))):
        towards = angle + 0.3 * (k - 2)
        end = start + np.array([np.cos(towards), np.sin(towards)]) * side * rng.uniform(0.2, 0.6)
        ends = start.astype(int).tolist(), end.astype(int).tolist()
        cv2.line(image, *ends, (skin * 0.75).tolist(), int(side * 0.13))
        cv2.line(image, *ends, skin.tolist(), int(side * 0.1))
    return cv2.GaussianBlur(image, (0, 0), 2)


@dataclass(frozen=True)
class Scenes:
    """Random scenes of small faces; six of ten pictures behind them are `backgrounds`."""

    faces: Sequence[Face]
    backgrounds: Sequence[Face]
    textures: Sequence[Array]
    rng: np.random.Generator

    def background(self, drawn: bool = False) -> Array:
        """Cut a square from a texture, noise, a drawing or a picture of larger faces."""
        rng, kind = self.rng, self.rng.random()
        if drawn or kind < 0.06:
            image: Array = resized(clutter(rng), np.exp(rng.uniform(np.log(0.15), np.log(1))))
        elif kind < 0.14:
            image = resized(self.textures[int(rng.integers(len(self.textures)))], rng.uniform(0.3, 1.5))
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
        if (chance := rng.random()) < 0.42:
            angle = rng.uniform(-35, 35) if chance < 0.32 else rng.uniform(0, 360)
            turn = cv2.getRotationMatrix2D(((box[0] + box[2]) / 2, (box[1] + box[3]) / 2), angle, 1)
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
        for _ in range([0, 1, 2, 4, 8, 12][rng.integers(6)]):
            tall = float(np.exp(rng.uniform(np.log(5.2), np.log(15))))
            if is_face := rng.random() >= 0.3:
                part, cx, cy = self.face(tall)
            else:
                part, size = self.background(rng.random() < 0.4), max(6, int(tall * rng.uniform(1, 1.8)))
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
