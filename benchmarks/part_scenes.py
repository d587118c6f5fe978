"""Scenes of small faces, and the parts of them that the network of proposals takes for faces, as `train_parts.py` needs
them: what CenterFace finds in each part is its label."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from srn.errors import SrnError
from srn.face.geometry import Box
from srn.inference.face_finder import CLOSEST, CUT, LARGEST_CLOSE, UNSURE, CenterFaceFinder
from srn.inference.found_boxes import Found
from srn.inference.parts import SIDE, part_around
from srn.inference.proposals import CELL, ENLARGED, ProposalNetwork
from srn.media.pictures import read_image
from srn.media.pts import read_pts
from train_proposals import Array, Face, resized

LARGEST_SCENE = 640
MOST = 12  # parts of a scene
LANDMARKS = 0.7535  # height of the landmarks' box, in heights of the finder's (`box_fit.json`)
HEAT_SIDE = 6  # cells of the map of the teacher's heat, along a side of a part
MASKS = np.array([[190, 210, 225], [235, 235, 235], [40, 40, 45]], np.uint8)
# Of every twelve pictures, 1 is measured by `measure_small_faces.py`, and 5 serves to choose thresholds, as does 2 of
# every five 300W training pictures.
MEASURING, CHOOSING, CHOOSING_300W = 1, (5,), 2
TRAINED = tuple(place for place in range(12) if place not in (MEASURING, *CHOOSING))


class Sources(NamedTuple):
    """Pictures of one face each, with its box, forehead to chin: `plain` to be pasted, of people in `masks` and in
    `sunglasses`; `portraits` behind them; and `textures`."""

    plain: Sequence[Face]
    masks: Sequence[Face]
    sunglasses: Sequence[Face]
    portraits: Sequence[Face]
    textures: Sequence[Array]


def annotated_face(path: Path) -> Face:
    """Read a picture and the box of its face, forehead to chin, from the landmarks beside it (`.pts`)."""
    x0, y0, x1, y1 = Box.around(read_pts(path.with_suffix(".pts"))).as_array()
    return read_image(path), np.array([x0, y1 - (y1 - y0) / LANDMARKS, x1, y1])


def read_sources(data: Path, places: Sequence[int] = TRAINED) -> Sources:
    """Read those of every twelve pictures at `places`; of 300W training pictures, the fifth that is held out if
    `places` are those that serve to choose, else the other four."""
    finder = CenterFaceFinder(sizes=(160,), turned=False, threads=1)

    def single(folder: str) -> list[Face]:
        faces: list[Face] = []
        for path in [p for k, p in enumerate(sorted((data / folder).glob("*.*"))) if k % 12 in places]:
            found = finder._faces_in(image := read_image(path))
            if len(found) == 1 and found[0].score >= 0.6:
                faces.append((image, found[0].box.as_array()))
        return faces

    portraits, root = list[Face](), data / "300W"
    pictures = [
        p for folder in ("afw", "helen/trainset", "lfpw/trainset") for p in sorted((root / folder).glob("*.jpg"))
    ]
    choosing = places == CHOOSING
    for path in [p for number, p in enumerate(pictures) if (number % 5 == CHOOSING_300W) == choosing]:
        portraits.append(annotated_face(path))
    fabrics = [read_image(path) for path in sorted((data / "occluders" / "textures").glob("*.*"))]
    folders = ("unlabelled_faces/lfw", "real_occluders_unlabelled/masks", "real_occluders_unlabelled/sunglasses")
    plain, masks, sunglasses = (single(folder) for folder in folders)
    sources = Sources(plain, masks, sunglasses, portraits, fabrics)
    if not all(sources):
        raise SrnError(f"{data}: expected unlabelled_faces/lfw, real_occluders_unlabelled, 300W and occluders/textures")
    return sources


@dataclass(frozen=True)
class Scenes:
    """Random scenes of faces of 21 to 58 pixels before portraits, faces and fabrics; of the faces pasted, a share of
    `masked` are people in real masks."""

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
        if kind < 0.05:
            image: Array = resized(self.any_of(self.sources.textures), rng.uniform(0.6, 3))
        else:
            least, most, faces = (0.35, 1.6, self.sources.portraits) if kind < 0.7 else (0.5, 2.2, self.sources.plain)
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
        if rng.random() < 0.35:
            for _ in range(int(rng.integers(1, 6))):
                self.patch(image)
        if rng.random() < 0.55:
            for _ in range(int(rng.integers(1, 5))):
                self.paste(image, small, large)
        return self.worn(image), small, large

    def patch(self, image: Array) -> None:
        """Place a piece of another picture anywhere: of a face, of clothes, of a fabric."""
        rng, kind = self.rng, self.rng.random()
        if kind < 0.15:
            other: Array = self.any_of(self.sources.textures)
        else:
            other, _ = self.any_of(self.sources.portraits if kind < 0.6 else self.sources.plain)
        height, width = (int(rng.integers(16, min(110, side) + 1)) for side in image.shape[:2] if side > 16)
        scale = self.between(0.25, 1.6)
        other = resized(other, max(scale, 1.05 * height / other.shape[0], 1.05 * width / other.shape[1]))
        piece, place = (
            [int(rng.integers(0, big - side + 1)) for big, side in zip(of.shape[:2], (height, width), strict=True)]
            for of in (other, image)
        )
        shown = other[piece[0] : piece[0] + height, piece[1] : piece[1] + width]
        image[place[0] : place[0] + height, place[1] : place[1] + width] = self.lit(shown)

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
            glasses = image[max(0, top) : top + int(tall * 0.18), max(0, int(box[0]) + 3) : int(box[2]) - 3]
            glasses[:] = rng.integers(10, 60)
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
        contrast, shift, grey = rng.uniform(0.55, 1.25), rng.uniform(-50, 40), rng.random() < 0.2
        values = (np.arange(256)[:, None] - 128) * contrast + 128 + shift
        table = np.clip(values * rng.uniform(0.85, 1.15, 3), 0, 255).astype(np.uint8)
        if grey:
            image = np.repeat(cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2GRAY)[:, :, None], 3, axis=2)
        return np.asarray(cv2.LUT(np.ascontiguousarray(image), table[None]))

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


class Example(NamedTuple):
    """A part (96, 96, 3), its label (1 if a face is found, else 0), its weight (0 where one is only suspected), whether
    a small face was put there, and the teacher's heat (6, 6), the largest of each cell, of 0 to 255."""

    part: Array
    label: float
    weight: float
    known: bool
    heat: Array


class Teacher:
    """CenterFace, which looks at a part as the face finder does."""

    def __init__(self) -> None:
        self._finder = CenterFaceFinder(threads=1)

    def example(self, part: Array, known: bool) -> Example:
        """Label a part; `known` says whether a small face was put there, found or not."""
        found = self._found(part, 1.0)
        heat = _coarse(found.heat)
        answer = found.scores.max(initial=0) > self._finder.threshold
        if not answer and (found.boxes[:, 3] - found.boxes[:, 1] < CLOSEST).any():
            found = self._found(part, 2.0)
            heat = np.maximum(heat, _coarse(found.heat))
            answer = found.scores.max(initial=0) > self._finder.threshold
        doubtful = not answer and known and len(found.scores) > 0
        return Example(part, float(answer), 1.0 - doubtful, known, heat)

    def _found(self, part: Array, scale: float) -> Found:
        """Search a part; faces that it cuts, and large ones, are left out."""
        found = self._finder._find_at(part, scale)
        cut = ((found.boxes + 0.5 < CUT / scale) | (found.boxes + 0.5 > SIDE - CUT / scale)).any(axis=1)
        small = (found.boxes[:, 3] - found.boxes[:, 1]) * scale < LARGEST_CLOSE
        return found.select(~cut & small & (found.scores > UNSURE))


def _coarse(heat: Array) -> Array:
    cells = heat.reshape(HEAT_SIDE, heat.shape[0] // HEAT_SIDE, HEAT_SIDE, -1)
    return np.asarray((cells.max(axis=(1, 3)) * 255).round().astype(np.uint8))


def examples(scenes: Scenes, proposed: float) -> Iterator[Example]:
    """Yield parts that are proposed with a probability above `proposed`, without end."""
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
        for cell in rng.permutation(np.argwhere(likely))[:MOST]:
            center = (cell[::-1] + 0.5) * step
            known = any(np.abs(center - (box[:2] + box[2:]) / 2).max() < step for box in small)
            yield teacher.example(part_around(image, center + rng.uniform(-3, 3, 2), 1.0), known)
