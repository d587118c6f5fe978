"""Face finders: where the faces of a picture are, and the box around each that the networks were trained on.

A finder draws its boxes by a convention of its own (some hold the hair, some the ears). `BoxFit` maps them to the tight
box of the landmarks, by constants that `tools/fit_finder_boxes.py` measured on training faces.
`LandmarkBoxFinder` joins the two.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, ClassVar, Protocol

import cv2
import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from srn.errors import InputError, WeightsError
from srn.face.geometry import Box, FloatArray, ImageArray

Float32Array = npt.NDArray[np.float32]

CENTERFACE_SIZES = (160, 320, 640)
"""Longer sides of the picture at which CenterFace looks for faces."""


@dataclass(frozen=True)
class FoundFace:
    """A face in a picture.

    Attributes:
        box: picture pixels, 0-based; may reach over the picture's edge. In the finder's own convention where a
            `FaceFinder` gave it, the tight landmark box where a `LandmarkBoxFinder` did.
        score: how sure the finder is, in [0, 1].
        doubtful: whether the score is below what the finder takes for a face: something for the landmarks to decide.
    """

    box: Box
    score: float
    doubtful: bool = False


class FaceFinder(Protocol):
    """Anything that finds faces. Implement it to use a finder of your own."""

    @property
    def name(self) -> str:
        """Key of the finder's constants in `box_fit.json`."""
        ...

    def find(self, image: ImageArray) -> list[FoundFace]:
        """Faces of a picture (H, W, 3) uint8 RGB, best score first; an empty list where there is none."""
        ...


def check_image(image: object) -> None:
    """Raise `InputError` unless `image` is a non-empty array (H, W, 3) of uint8."""
    if not isinstance(image, np.ndarray):
        raise InputError.at("picture", "an array (H, W, 3) of uint8, RGB", type(image).__name__)
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or image.size == 0:
        raise InputError.at("picture", "an array (H, W, 3) of uint8, RGB", f"{image.shape} of {image.dtype}")


def iou_with(box: FloatArray, boxes: FloatArray) -> npt.NDArray[np.float64]:
    """(K,) intersection over union of a box (4,) with each of `boxes` (K, 4): x0, y0, x1, y1."""
    overlap = np.clip(np.minimum(box[2:], boxes[:, 2:]) - np.maximum(box[:2], boxes[:, :2]), 0, None).prod(axis=1)
    area = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    result: npt.NDArray[np.float64] = overlap / ((box[2:] - box[:2]).prod() + area - overlap)
    return result


def merge_overlaps(
    boxes: FloatArray, scores: FloatArray, max_iou: float
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Greedy non-maximum suppression, after which each box that stays takes the mean place of its close rivals.

    Neighbouring cells and other sizes of the picture are further looks at the same face: the mean of those that agree
    (IoU of at least 1/2, weighted by their scores) is steadier than the best one alone.

    Args:
        boxes: (K, 4) x0, y0, x1, y1.
        scores: (K,).
        max_iou: a box that overlaps a better one by more than this is dropped.

    Returns:
        boxes (M, 4) and their scores (M,), best first; equal scores in their given order.
    """
    order = np.argsort(-scores, kind="stable")
    kept, merged = [], []
    while order.size:
        overlap = iou_with(boxes[order[0]], boxes[order])
        agree = order[overlap >= 0.5]
        kept.append(order[0])
        merged.append(np.average(boxes[agree], axis=0, weights=scores[agree]))
        overlap[0] = np.inf  # The box itself leaves the list whatever max_iou says.
        order = order[overlap <= max_iou]
    return np.array(merged, dtype=np.float64).reshape(-1, 4), np.asarray(scores, dtype=np.float64)[kept]


def _resized(image: ImageArray, scale: float) -> tuple[ImageArray, npt.NDArray[np.float64]]:
    """The picture at about `scale`, and the exact ratio of the sides (x, y) after rounding to whole pixels."""
    height, width = image.shape[:2]
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    resized = cv2.resize(image, size, interpolation=interpolation).astype(np.uint8, copy=False)
    return resized, np.array([size[0] / width, size[1] / height])


def _to_picture(edges: FloatArray, ratio: FloatArray) -> npt.NDArray[np.float64]:
    """Boxes (K, 4), edges of a resized picture counted from its corner, as 0-based pixel centres of the picture."""
    # Edge coordinates scale about the picture's corner, which lies half a pixel before the centre of the first pixel.
    result: npt.NDArray[np.float64] = np.asarray(edges, dtype=np.float64) / np.tile(ratio, 2) - 0.5
    return result


def decode_centerface(
    heat: Float32Array, scale: Float32Array, offset: Float32Array, threshold: float
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Boxes of the cells whose heat exceeds `threshold` (Xu et al. 2019, section 3; no suppression yet).

    Args:
        heat: (h, w) probability that a face is centred in the cell; a cell is 4 x 4 input pixels.
        scale: (2, h, w) logarithm of the face's height and width in cells.
        offset: (2, h, w) the centre's place in the cell, y and x, relative to the cell's middle.
        threshold: cells of at most this heat are ignored.

    Returns:
        boxes (K, 4) x0, y0, x1, y1, edges in input pixels counted from the corner, and scores (K,), in reading order.
    """
    cells = np.argwhere(heat > threshold)  # (K, 2): row, column
    rows, columns = cells.T
    center = (cells + offset[:, rows, columns].T.astype(np.float64) + 0.5) * 4
    half = np.exp(scale[:, rows, columns].T.astype(np.float64)) * 2
    boxes = np.hstack([(center - half)[:, ::-1], (center + half)[:, ::-1]])
    return boxes, heat[rows, columns].astype(np.float64)


class CenterFaceFinder:
    """CenterFace (Xu et al. 2019, arXiv:1911.03599) in ONNX Runtime: the built-in finder.

    The picture is looked at in several sizes: a face that fills it is found where it is small, a small face needs
    pixels. A size is skipped where the picture does not have that many pixels to offer.
    """

    name: ClassVar[str] = "centerface"

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
        """Open the model.

        Args:
            model: file made by `tools/import_centerface.py`; the shipped one where None.
            sizes: longer sides, in pixels, that the picture is brought to; one after the other.
            last_size: a further, larger one for pictures in which the others show no face. None leaves it out.
            threshold: lowest score of a face.
            doubtful_threshold: in a picture without a face, boxes with at least this score are given as doubtful ones.
                None gives none.
            max_iou: of two boxes that overlap by more than this, the better one is kept.
            threads: CPU threads; ONNX Runtime chooses where None.

        Raises:
            InputError: an option is out of range.
            WeightsError: the file is missing or is not a CenterFace model of this layout.
        """
        if not sizes or any(size < 32 for size in sizes):
            raise InputError.at("face finder's sizes", "one or more sizes of at least 32 pixels", str(tuple(sizes)))
        if last_size is not None and last_size < 32:
            raise InputError.at("face finder's last_size", "a size of at least 32 pixels, or None", str(last_size))
        _check_fraction("face finder's threshold", threshold)
        _check_fraction("face finder's max_iou", max_iou)
        if doubtful_threshold is not None:
            _check_fraction("face finder's doubtful_threshold", doubtful_threshold)
        if threads is not None and threads < 1:
            raise InputError.at("face finder's threads", "a number of at least 1", str(threads))
        self.sizes = tuple(sorted(set(sizes)))
        self.last_size = last_size
        self.threshold = threshold
        self.least = threshold if doubtful_threshold is None else min(threshold, doubtful_threshold)
        self.max_iou = max_iou
        self._session = _open_centerface(model, threads)

    def find(self, image: ImageArray) -> list[FoundFace]:
        """Faces of a picture (H, W, 3) uint8 RGB, best score first."""
        check_image(image)
        longer_side = max(image.shape[:2])
        used = self.sizes[0]
        found = [self._find_at(image, used / longer_side)]
        steps = [(size, True) for size in self.sizes[1:]]
        if self.last_size is not None:
            steps.append((self.last_size, False))
        for size, always in steps:
            # Enlarging shows nothing new, and neither does a size that is hardly above the one before.
            available = min(size, longer_side)
            if available >= 1.25 * used and (always or not any((scores > self.threshold).any() for _, scores in found)):
                found.append(self._find_at(image, available / longer_side))
                used = available
        boxes = np.concatenate([boxes for boxes, _ in found])
        scores = np.concatenate([scores for _, scores in found])
        sure = scores > self.threshold
        doubtful = not sure.any()
        if not doubtful:
            boxes, scores = boxes[sure], scores[sure]
        boxes, scores = merge_overlaps(boxes, scores, self.max_iou)
        pairs = zip(boxes.tolist(), scores.tolist(), strict=True)
        return [FoundFace(Box(*box), score, doubtful) for box, score in pairs]

    def _find_at(self, image: ImageArray, scale: float) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Boxes (K, 4) in picture pixels and scores (K,) of the picture resized by `scale`."""
        resized, ratio = _resized(image, scale)
        height, width = resized.shape[:2]
        # The network halves the sides five times. Black fills up below and to the right, so the faces keep their shape.
        padded = np.zeros((1, 3, -(-height // 32) * 32, -(-width // 32) * 32), dtype=np.float32)
        padded[0, :, :height, :width] = resized.transpose(2, 0, 1)
        heat, log_size, offset = self._session.run(["heat", "scale", "offset"], {"image": padded})
        boxes, scores = decode_centerface(heat[0, 0], log_size[0], offset[0], self.least)
        return _to_picture(boxes, ratio), scores


def _check_fraction(name: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise InputError.at(name, "a number from 0 to 1", f"{value:g}")


def _open_centerface(model: str | os.PathLike[str] | None, threads: int | None) -> ort.InferenceSession:
    where = model if model is not None else _shipped_weights()
    content = _read_bytes(where, "CenterFace's ONNX file")
    options = ort.SessionOptions()
    options.log_severity_level = 3
    if threads is not None:
        options.intra_op_num_threads = threads
    try:
        session = ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's exceptions have no common base of their own.
        expected = "an ONNX model that ONNX Runtime reads"
        raise WeightsError.at(str(where), expected, f"an error: {_first_line(error)}") from error
    names = {value.name for value in (*session.get_inputs(), *session.get_outputs())}
    if not {"image", "heat", "scale", "offset"} <= names:
        raise WeightsError.at(
            str(where),
            "input 'image' and outputs 'heat', 'scale', 'offset' (tools/import_centerface.py makes such a file)",
            ", ".join(sorted(names)),
        )
    return session


def _shipped_weights() -> Traversable:
    return resources.files("srn") / "weights" / "centerface.onnx"


def _read_bytes(where: str | os.PathLike[str] | Traversable, what: str) -> bytes:
    source = where if isinstance(where, Traversable) else Path(where)
    try:
        return source.read_bytes()
    except OSError as error:
        raise WeightsError.at(str(where), what, error.strerror or type(error).__name__) from error


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


class YuNetFinder:
    """YuNet (Wu et al. 2023) through OpenCV, with an ONNX file of the user's: the fast choice.

    OpenCV 5 is said to need a file with a free input size.
    """

    name: ClassVar[str] = "yunet"

    def __init__(
        self, model: str | os.PathLike[str], *, size: int = 640, threshold: float = 0.6, max_iou: float = 0.3
    ) -> None:
        """Open the model.

        Args:
            model: a YuNet ONNX file.
            size: longer side, in pixels, that larger pictures are reduced to.
            threshold: lowest score of a face.
            max_iou: of two boxes that overlap by more than this, the better one is kept.

        Raises:
            InputError: an option is out of range.
            WeightsError: the file is missing or is not a YuNet model that this OpenCV runs.
        """
        if size < 32:
            raise InputError.at("face finder's size", "at least 32 pixels", str(size))
        _check_fraction("face finder's threshold", threshold)
        _check_fraction("face finder's max_iou", max_iou)
        self.size = size
        expected = "a YuNet ONNX file that OpenCV's FaceDetectorYN runs"
        content = np.frombuffer(_read_bytes(model, expected), dtype=np.uint8)
        try:
            nothing = np.empty(0, dtype=np.uint8)
            self._network = cv2.FaceDetectorYN.create("onnx", content, nothing, (size, size), threshold, max_iou)
            # Only a run shows whether the file has YuNet's outputs.
            self._detect(np.zeros((size, size, 3), dtype=np.uint8))
        except cv2.error as error:
            raise WeightsError.at(model, expected, f"an error: {_first_line(error)}") from error

    def find(self, image: ImageArray) -> list[FoundFace]:
        """Faces of a picture (H, W, 3) uint8 RGB, best score first."""
        check_image(image)
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
        rows: Any = self._network.detect(image[:, :, ::-1].copy())[1]  # OpenCV expects BGR, and answers None for none.
        return np.empty((0, 15), dtype=np.float32) if rows is None else np.asarray(rows, dtype=np.float32)


@dataclass(frozen=True)
class BoxFit:
    """How a finder's box becomes the tight landmark box: moved by (dx * width, dy * height), then scaled by (sx, sy).

    Attributes:
        dx, dy: move of the centre, in widths and heights of the finder's box.
        sx, sy: width and height of the landmark box, in those of the finder's box.
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
        """The landmark box that belongs to a finder's box, picture pixels."""
        return box.adjusted(np.array([self.dx * box.width, self.dy * box.height]), (self.sx, self.sy))


@cache
def _shipped_fits() -> Mapping[str, Any]:
    content: Mapping[str, Any] = json.loads(
        (resources.files("srn.inference") / "box_fit.json").read_text(encoding="utf-8")
    )
    return content


def box_fit(finder_name: str) -> BoxFit:
    """The constants of a finder from `box_fit.json`.

    Raises:
        InputError: none were measured for a finder of that name.
    """
    fits = _shipped_fits()
    if finder_name not in fits:
        raise InputError.at(
            f"box fit of face finder {finder_name!r}",
            f"one of {', '.join(fits)} (tools/fit_finder_boxes.py measures others), or a BoxFit of your own",
            "none",
        )
    return BoxFit(**{field.name: fits[finder_name][field.name] for field in fields(BoxFit)})


class LandmarkBoxFinder:
    """A face finder whose boxes are the tight landmark boxes that the networks expect."""

    def __init__(self, finder: FaceFinder | None = None, fit: BoxFit | None = None) -> None:
        """Join a finder with a fit.

        Args:
            finder: the built-in one where None.
            fit: the measured one of that finder where None; `BoxFit()` leaves boxes as they are.
        """
        self.finder: FaceFinder = finder if finder is not None else CenterFaceFinder()
        self.fit = fit if fit is not None else box_fit(self.finder.name)

    def find(self, image: ImageArray) -> list[FoundFace]:
        """Faces of a picture (H, W, 3) uint8 RGB with their landmark boxes, best score first."""
        return [replace(found, box=self.fit.apply(found.box)) for found in self.finder.find(image)]
