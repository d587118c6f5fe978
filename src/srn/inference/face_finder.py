"""Face finders: CenterFace, which is built in, and YuNet; and `BoxFit`, from their boxes to tight landmark boxes."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np

from srn.errors import InputError, WeightsError
from srn.face.geometry import Box, Float64Array, FloatArray, ImageArray
from srn.face.localizer import Float32Array
from srn.inference.inputs import as_image
from srn.inference.runtime import first_line, open_session

CENTERFACE_SIZES = (160, 320, 640)  # longer sides, in pixels, to which CenterFace resizes a picture


@dataclass(frozen=True)
class FoundFace:
    """A face found in a picture, with the finder's confidence in [0, 1] as its score.

    The box is in picture pixels, in the finder's own convention, and may extend beyond the picture. Of a doubtful face
    the score is below the finder's threshold: its landmarks decide whether it is a face.
    """

    box: Box
    score: float
    doubtful: bool = False


class FaceFinder(Protocol):
    """Finds faces. Implement it to use your own finder; `BoxFit` maps its boxes to landmark boxes."""

    def find(self, image: ImageArray) -> list[FoundFace]:
        """Find the faces of a picture (H, W, 3) uint8 RGB, best score first; an empty list if there is none."""


class CenterFaceFinder:
    """CenterFace (Xu et al. 2019, arXiv:1911.03599) in ONNX Runtime: the built-in finder.

    The picture is searched in several sizes: a large face is found in a small picture, a small face needs resolution.
    Sizes above the picture's own are skipped.

    Args:
        model: a CenterFace ONNX file; the shipped one if None.
        sizes: longer sides, in pixels, to which the picture is resized, one after the other.
        last_size: a further, larger size, used only if the others show no face; None to leave it out.
        threshold: lowest score of a face.
        doubtful_threshold: lowest score of a doubtful face, reported only if no face is certain; None to report none.
        max_iou: of two boxes that overlap by more than this, the better one is kept.
        threads: CPU threads; all cores if None.

    Raises:
        InputError: an option is out of range.
        WeightsError: the file is missing or is not a CenterFace model of this layout.
    """

    name = "centerface"

    def __init__(
        self,
        model: str | os.PathLike[str] | None = None,
        *,
        sizes: Sequence[int] = CENTERFACE_SIZES,
        last_size: int | None = 1280,
        threshold: float = 0.4,
        doubtful_threshold: float | None = None,
        max_iou: float = 0.3,
        threads: int | None = None,
    ) -> None:
        if not sizes or any(size < 32 for size in sizes):
            raise InputError.at("face finder's sizes", "one or more sizes of at least 32 pixels", str(tuple(sizes)))
        if last_size is not None and last_size < 32:
            raise InputError.at("face finder's last_size", "a size of at least 32 pixels, or None", str(last_size))
        _check_fractions(threshold=threshold, max_iou=max_iou, doubtful_threshold=doubtful_threshold)
        self.sizes, self.last_size = tuple(sorted(set(sizes))), last_size
        self.threshold, self.max_iou = threshold, max_iou
        self.least = threshold if doubtful_threshold is None else min(threshold, doubtful_threshold)
        where = model if model is not None else resources.files("srn") / "weights" / "centerface.onnx"
        content = _read_bytes(where, "CenterFace's ONNX file")
        self._session = open_session(content, str(where), "an ONNX model that ONNX Runtime reads", threads=threads)
        names = {value.name for value in (*self._session.get_inputs(), *self._session.get_outputs())}
        if not {"image", "heat", "scale", "offset"} <= names:
            expected = "input 'image' and outputs 'heat', 'scale', 'offset' (benchmarks/import_centerface.py)"
            raise WeightsError.at(str(where), expected, ", ".join(sorted(names)))

    def find(self, image: ImageArray) -> list[FoundFace]:
        """Find the faces of a picture (H, W, 3) uint8 RGB, best score first."""
        image = as_image(image)
        longer_side = max(image.shape[:2])
        used = self.sizes[0]
        found = [self._find_at(image, used / longer_side)]
        last = [] if self.last_size is None else [(self.last_size, False)]
        for size, always in [*((size, True) for size in self.sizes[1:]), *last]:
            # Enlarging adds no information, nor does a size that is hardly above the previous one.
            available = min(size, longer_side)
            if available >= 1.25 * used and (always or not any((scores > self.threshold).any() for _, scores in found)):
                found.append(self._find_at(image, available / longer_side))
                used = available
        boxes = np.concatenate([boxes for boxes, _ in found])
        scores = np.concatenate([scores for _, scores in found])
        certain = scores > self.threshold
        doubtful = not certain.any()
        if not doubtful:
            boxes, scores = boxes[certain], scores[certain]
        boxes, scores = merge_overlaps(boxes, scores, self.max_iou)
        pairs = zip(boxes.tolist(), scores.tolist(), strict=True)
        return [FoundFace(Box(*box), score, doubtful) for box, score in pairs]

    def _find_at(self, image: ImageArray, scale: float) -> tuple[Float64Array, Float64Array]:
        """Boxes (K, 4) in picture pixels and scores (K,) of the picture resized by `scale`."""
        resized, ratio = _resized(image, scale)
        height, width = resized.shape[:2]
        # The network halves the sides five times. Black padding below and to the right keeps the aspect ratio.
        padded = np.zeros((1, 3, -(-height // 32) * 32, -(-width // 32) * 32), dtype=np.float32)
        padded[0, :, :height, :width] = resized.transpose(2, 0, 1)
        heat, log_size, offset = self._session.run(["heat", "scale", "offset"], {"image": padded})
        boxes, scores = decode_centerface(heat[0, 0], log_size[0], offset[0], self.least)
        return _to_picture(boxes, ratio), scores


class YuNetFinder:
    """YuNet (Wu et al. 2023) through OpenCV, with an ONNX file of the user's: the fast choice.

    Args:
        model: a YuNet ONNX file. OpenCV 5 is said to need one with a free input size.
        size: longer side, in pixels, to which larger pictures are reduced.
        threshold, max_iou: as in `CenterFaceFinder`.

    Raises:
        InputError: an option is out of range.
        WeightsError: the file is missing or is not a YuNet model that this OpenCV runs.
    """

    name = "yunet"

    def __init__(
        self, model: str | os.PathLike[str], *, size: int = 640, threshold: float = 0.6, max_iou: float = 0.3
    ) -> None:
        if size < 32:
            raise InputError.at("face finder's size", "at least 32 pixels", str(size))
        _check_fractions(threshold=threshold, max_iou=max_iou)
        self.size = size
        expected = "a YuNet ONNX file that OpenCV's FaceDetectorYN runs"
        content = np.frombuffer(_read_bytes(model, expected), dtype=np.uint8)
        try:
            nothing = np.empty(0, dtype=np.uint8)
            self._network = cv2.FaceDetectorYN.create("onnx", content, nothing, (size, size), threshold, max_iou)
            # Only a run shows whether the file has YuNet's outputs.
            self._detect(np.zeros((size, size, 3), dtype=np.uint8))
        except cv2.error as error:
            raise WeightsError.at(model, expected, f"an error: {first_line(error)}") from error

    def find(self, image: ImageArray) -> list[FoundFace]:
        """Find the faces of a picture (H, W, 3) uint8 RGB, best score first."""
        image = as_image(image)
        resized, ratio = _resized(image, min(1.0, self.size / max(image.shape[:2])))
        rows = self._detect(resized)
        rows = rows[np.argsort(-rows[:, -1], kind="stable")]
        rows = rows[(rows[:, 2] > 0) & (rows[:, 3] > 0)]
        boxes = _to_picture(np.hstack([rows[:, :2], rows[:, :2] + rows[:, 2:4]]), ratio)
        return [FoundFace(Box(*box.tolist()), float(row[-1])) for box, row in zip(boxes, rows, strict=True)]

    def _detect(self, image: ImageArray) -> Float32Array:
        """(K, 15): x, y, width, height, five points, score."""
        height, width = image.shape[:2]
        self._network.setInputSize((width, height))
        rows: Any = self._network.detect(image[:, :, ::-1].copy())[1]  # OpenCV takes BGR and returns None for no face
        return np.empty((0, 15), dtype=np.float32) if rows is None else np.asarray(rows, dtype=np.float32)


@dataclass(frozen=True)
class BoxFit:
    """Map from a finder's box to the tight landmark box: shift the centre, then scale the sides.

    The shift `dx` (to the right), `dy` (downwards) and the factors `sx`, `sy` are in widths and heights of the finder's
    box. `BoxFit()` leaves boxes as they are.

    Raises:
        InputError: a number is not finite, or `sx` or `sy` is not positive.
    """

    dx: float = 0.0
    dy: float = 0.0
    sx: float = 1.0
    sy: float = 1.0

    def __post_init__(self) -> None:
        numbers = (self.dx, self.dy, self.sx, self.sy)
        if not (all(math.isfinite(n) for n in numbers) and self.sx > 0 and self.sy > 0):
            raise InputError.at("box fit", "finite dx, dy and positive sx, sy", str(numbers))

    def apply(self, box: Box) -> Box:
        """Return the landmark box for a finder's box, both in picture pixels."""
        return box.adjusted(np.array([self.dx * box.width, self.dy * box.height]), (self.sx, self.sy))


@cache
def measured_fits() -> dict[str, BoxFit]:
    """Return the fits measured on training faces, by the finder's name (`box_fit.json`)."""
    content = json.loads((resources.files("srn.inference") / "box_fit.json").read_text(encoding="utf-8"))
    return {name: BoxFit(fit["dx"], fit["dy"], fit["sx"], fit["sy"]) for name, fit in content.items()}


def default_fit(finder: FaceFinder) -> BoxFit:
    """Return the fit measured for a finder, or CenterFace's for a finder that was not measured.

    CenterFace's boxes follow the annotation of WIDER FACE (forehead to chin), as those of most face detectors do.
    """
    return measured_fits().get(getattr(finder, "name", ""), measured_fits()[CenterFaceFinder.name])


class LandmarkBoxFinder:
    """A face finder whose boxes are tight landmark boxes: those of `finder`, mapped by `fit`.

    They are the built-in finder and `default_fit` if None. Pass `BoxFit()` for a finder of landmark boxes.
    """

    def __init__(self, finder: FaceFinder | None = None, fit: BoxFit | None = None) -> None:
        self.finder: FaceFinder = finder if finder is not None else CenterFaceFinder()
        self.fit = fit if fit is not None else default_fit(self.finder)

    def find(self, image: ImageArray) -> list[FoundFace]:
        """Find the faces of a picture (H, W, 3) uint8 RGB; their landmark boxes in picture pixels, best score first."""
        return [replace(found, box=self.fit.apply(found.box)) for found in self.finder.find(image)]


def decode_centerface(
    heat: Float32Array, scale: Float32Array, offset: Float32Array, threshold: float
) -> tuple[Float64Array, Float64Array]:
    """Decode the network's maps to boxes, without suppression (Xu et al. 2019, section 3).

    Args:
        heat: (h, w) probability that a face is centred in the cell; a cell is 4 x 4 input pixels.
        scale: (2, h, w) logarithm of the face's height and width in cells.
        offset: (2, h, w) y and x of the centre relative to the middle of the cell.
        threshold: cells of at most this heat are ignored.

    Returns:
        Boxes (K, 4), edges in input pixels counted from the corner, and scores (K,), in reading order.
    """
    cells = np.argwhere(heat > threshold)  # (K, 2): row, column
    rows, columns = cells.T
    center = (cells + offset[:, rows, columns].T.astype(np.float64) + 0.5) * 4
    half = np.exp(scale[:, rows, columns].T.astype(np.float64)) * 2
    boxes = np.hstack([(center - half)[:, ::-1], (center + half)[:, ::-1]])
    return boxes, heat[rows, columns].astype(np.float64)


def merge_overlaps(boxes: FloatArray, scores: FloatArray, max_iou: float) -> tuple[Float64Array, Float64Array]:
    """Suppress boxes (K, 4) greedily; each box kept becomes the mean of those that agree with it. Best first.

    Neighbouring cells and other picture sizes detect the same face again. The mean of the boxes with an IoU of at
    least 1/2, weighted by their scores, varies less than the best box alone. A box that overlaps a better one by more
    than `max_iou` is dropped.
    """
    order = np.argsort(-scores, kind="stable")
    kept, merged = [], []
    while order.size:
        overlap = _iou_with(boxes[order[0]], boxes[order])
        agree = order[overlap >= 0.5]
        kept.append(order[0])
        merged.append(np.average(boxes[agree], axis=0, weights=scores[agree]))
        overlap[0] = np.inf  # the box itself leaves the list for every max_iou
        order = order[overlap <= max_iou]
    return np.array(merged, dtype=np.float64).reshape(-1, 4), np.asarray(scores, dtype=np.float64)[kept]


def _iou_with(box: FloatArray, boxes: FloatArray) -> Float64Array:
    overlap = np.clip(np.minimum(box[2:], boxes[:, 2:]) - np.maximum(box[:2], boxes[:, :2]), 0, None).prod(axis=1)
    area = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    return np.asarray(overlap / ((box[2:] - box[:2]).prod() + area - overlap), np.float64)


def _resized(image: ImageArray, scale: float) -> tuple[ImageArray, Float64Array]:
    """Resize by about `scale`; also return the exact ratio of the sides (x, y) after rounding to whole pixels."""
    height, width = image.shape[:2]
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    resized = cv2.resize(image, size, interpolation=interpolation).astype(np.uint8, copy=False)
    return resized, np.array([size[0] / width, size[1] / height])


def _to_picture(edges: FloatArray, ratio: FloatArray) -> Float64Array:
    """Convert edges (K, 4) of a resized picture, counted from its corner, to 0-based pixel centres of the picture."""
    # Edges scale about the picture's corner, which lies half a pixel before the centre of the first pixel.
    return np.asarray(edges / np.tile(ratio, 2) - 0.5, np.float64)


def _check_fractions(**values: float | None) -> None:
    for name, value in values.items():
        if value is not None and not 0 <= value <= 1:
            raise InputError.at(f"face finder's {name}", "a number from 0 to 1", f"{value:g}")


def _read_bytes(where: str | os.PathLike[str] | Traversable, expected: str) -> bytes:
    source = where if isinstance(where, Traversable) else Path(where)
    try:
        return source.read_bytes()
    except OSError as error:
        raise WeightsError.at(str(where), expected, error.strerror or type(error).__name__) from error
