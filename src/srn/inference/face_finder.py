"""Face finders: CenterFace, which is built in, and YuNet; and `LandmarkBoxFinder`, which finds tight landmark boxes."""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Protocol

import cv2
import numpy as np

from srn.errors import InputError, WeightsError, check_count, first_line, shown
from srn.face.geometry import Box, Float64Array, ImageArray
from srn.face.localizer import Float32Array
from srn.face.onnx_file import SHIPPED, read_model
from srn.inference.box_fit import BoxFit, measured_fits, measured_point_fits
from srn.inference.engines import Device
from srn.inference.found_boxes import (
    SURE,
    Found,
    IntArray,
    Points,
    decode_centerface,
    iou_with,
    merge_overlaps,
    parts_of_faces,
    resized,
    rotations,
    tilt_beside,
    to_picture,
)
from srn.inference.found_boxes import FoundFace as FoundFace  # to be imported from here as well: finders make them
from srn.inference.inputs import as_image, check_fractions, check_search, checked_sizes, found_by, is_finder
from srn.inference.proposals import ProposalNetwork, Rectangle, joined
from srn.inference.sessions import Reopened, open_session
from srn.inference.turned_faces import found_beside, found_turned, righted

OUTPUTS = ("heat", "scale", "offset", "landmarks")  # of CenterFace
CENTERFACE_SIZES = (160,)  # longer sides, in pixels, to which CenterFace resizes a picture
FALLBACK_SIZE = 640  # another one, in which a picture is searched if it shows no face so far
SMALLEST = 24.0  # default height of the smallest face, in pixels of a picture of up to `FULL_SIDE`
FULL_SIDE = 4000  # longer side, in pixels, of a picture of 12 megapixels
KNOWN = 22.0  # height of a face, in pixels of the last size, from which CenterFace finds it there
REFINED = 64.0  # height of a face, in pixels of the last size, below which its box is placed by a closer search
LARGEST_CLOSE = 2 * REFINED  # height of the largest face of interest in a close search, in its pixels
MARGIN = 32.0  # pixels of a close search around a box
CUT = 2.0  # distance of a box from the border of the region, in pixels of the close search, below which it is cut
SIDES = np.array([-1, -1, 1, 1])  # outwards
UNSURE = 0.1  # score from which a box is looked at closely
CLOSEST = 48.0  # height of a weak box, in pixels of its close search, below which it is searched for at twice the size


class FaceFinder(Protocol):
    """Finds faces. Implement it to use your own finder; `BoxFit` maps its boxes to landmark boxes."""

    def find(self, image: ImageArray) -> list[FoundFace]:
        """Find the faces of a picture (H, W, 3) uint8 RGB, best score first; an empty list if there is none."""


class CenterFaceFinder(Reopened):
    """CenterFace (Xu et al. 2019, arXiv:1911.03599) in ONNX Runtime: the built-in finder.

    Large faces are found in a reduced picture. Parts of the picture are searched again at the resolution that they
    need: around faces of few pixels, and where a `ProposalNetwork` suspects small ones. If there is no face, the whole
    picture is searched at 640 pixels, then turned by 90, 180 and 270 degrees. Faces whose landmarks lie turned are
    searched for again in the picture turned likewise. Reduced pictures are never larger than the picture itself.

    Args:
        model: a CenterFace ONNX file; the shipped one if None.
        sizes: longer sides, in pixels, to which the picture is reduced, one after the other.
        smallest: least height of a face, forehead to chin, in pixels. If None, faces are searched for from 24 pixels
            (in proportion more if the picture's longer side exceeds 4000), and smaller ones may be found as well.
        max_faces: largest number of faces; the largest faces are kept. All if None.
        turned: whether faces that lie on their side or upside down are searched for.
        threshold: lowest score of a face.
        doubtful_threshold: lowest score of a doubtful face, reported only if no face is certain; None to report none.
        max_iou: of two boxes that overlap by more than this, the better one is kept.
        threads: CPU threads; all cores if None.
        device: `cpu`, or `cuda` for an NVIDIA GPU.

    Raises:
        InputError: an option is out of range, or the device is not available.
        WeightsError: the file is missing or is not a CenterFace model of this layout.
    """

    name = "centerface"

    def __init__(
        self,
        model: str | os.PathLike[str] | None = None,
        *,
        sizes: Sequence[int] = CENTERFACE_SIZES,
        smallest: float | None = None,
        max_faces: int | None = None,
        turned: bool = True,
        threshold: float = 0.4,
        doubtful_threshold: float | None = None,
        max_iou: float = 0.3,
        threads: int | None = None,
        device: Device = "cpu",
    ) -> None:
        check_search(smallest, max_faces)
        check_fractions(threshold=threshold, max_iou=max_iou, doubtful_threshold=doubtful_threshold)
        self.sizes, self.smallest, self.max_faces, self.turned = checked_sizes(sizes), smallest, max_faces, turned
        self.threshold, self.max_iou = threshold, max_iou
        self.least = threshold if doubtful_threshold is None else min(threshold, doubtful_threshold)
        where = SHIPPED / "centerface.onnx" if model is None else model
        content = read_model(where, "CenterFace's ONNX file")
        self._session = open_session(
            content, where, "an ONNX model that ONNX Runtime reads", threads=threads, device=device
        )
        self._proposals = ProposalNetwork(threads=threads, device=device)
        names = {value.name for value in (*self._session.get_inputs(), *self._session.get_outputs())}
        if not {"image", *OUTPUTS} <= names:
            expected = f"input 'image' and outputs {', '.join(map(repr, OUTPUTS))}"
            raise WeightsError.at(where, expected, ", ".join(sorted(names)))

    def find(self, image: ImageArray) -> list[FoundFace]:
        """Find the faces of a picture (H, W, 3) uint8 RGB, best score first."""
        image = as_image(image)
        faces = self._upright_faces(image)
        if self.turned:
            faces = righted(image, faces, self._faces_at, self.max_iou)
            if not faces or faces[0].doubtful:
                faces = found_turned(image, self._faces_in, self._faces_at) or faces
            if self.max_faces is None or len(faces) < self.max_faces:
                faces = found_beside(image, faces, self._upright_faces, self.max_iou)
        certain = [face for face in faces if not face.doubtful]
        return largest_faces(certain, self.max_faces) if certain else faces

    def _upright_faces(self, image: ImageArray) -> list[FoundFace]:
        """Find the faces that the picture shows about upright, and turned ones that look like them."""
        found = self._reduced(image, self.sizes, [])
        found = [*self._closer(image, found), *found]
        faces = self._faces(found)
        if not any(face.score >= SURE for face in faces):
            faces = self._faces(self._reduced(image, (FALLBACK_SIZE,), found))
        return faces

    def _faces(self, found: Sequence[Found]) -> list[FoundFace]:
        """Merge what the searches have found, best first; faces below the threshold only if there is no other."""
        for least in (self.threshold, self.least):
            boxes, scores, turns, points = self._merged(found, least)
            kept = (boxes[:, 3] - boxes[:, 1] >= (self.smallest or 0)) & ~parts_of_faces(boxes, scores)
            if kept.any():
                break
        columns = (values[kept].tolist() for values in (boxes, scores, turns, rotations(points), points))
        return [
            FoundFace(Box(*box), score, score <= self.threshold, turn, tilt_beside(turn, rotation), _as_points(places))
            for box, score, turn, rotation, places in zip(*columns, strict=True)
        ]

    def _merged(
        self, found: Sequence[Found], least: float
    ) -> tuple[Float64Array, Float64Array, IntArray, Float64Array]:
        """Merge the boxes of all searches with scores above `least`: best first, and what `Found` says of them."""
        columns = zip(*((part.boxes, part.scores, part.turns, part.points) for part in found), strict=True)
        boxes, scores, turns, points = (np.concatenate(parts) for parts in columns)
        boxes, scores, turns, points = (values[scores > least] for values in (boxes, scores, turns, points))
        boxes, points, kept = merge_overlaps(boxes, points, scores, self.max_iou)
        return boxes, scores[kept], turns[kept] * self.turned, points

    def _faces_in(self, image: ImageArray) -> list[FoundFace]:
        return self._faces(self._reduced(image, self.sizes, []))

    def _faces_at(self, image: ImageArray, scale: float) -> list[FoundFace]:
        return self._faces([self._find_at(image, scale)])

    def _certain(self, found: Sequence[Found]) -> int:
        return sum(not face.doubtful for face in self._faces(found))

    def _reduced(self, image: ImageArray, sizes: Sequence[int], found: list[Found]) -> list[Found]:
        """Search the picture in several sizes; returns the searches of `found` and these."""
        longer_side = max(image.shape[:2])
        for size in sizes:
            # Enlarging adds no information, nor does a size that is hardly above the previous one.
            available = min(size, longer_side)
            if not found or available >= 1.25 * found[-1].scale * longer_side:
                found = [*found, self._find_at(image, available / longer_side)]
        return found

    def _closer(self, image: ImageArray, found: Sequence[Found]) -> Iterator[Found]:
        """Search parts of the picture closely: around faces of few pixels, weak ones, and where small ones may be."""
        last = found[-1]
        enough = self.max_faces is not None and self._certain(found) >= self.max_faces
        known, known_scores, *_ = self._merged(found, self.threshold)
        boxes, scores, *_ = self._merged(found, UNSURE)
        unsure = boxes[(scores <= self.threshold) & (not enough)]
        near = np.vstack([unsure, known if last.scale <= 0.5 else known[:0]])  # enlarging helps weak ones only
        near = near[(near[:, 3] - near[:, 1]) * last.scale < REFINED]
        for region in joined(near + MARGIN / (2 * last.scale) * SIDES, 2 * last.scale, image.shape):
            yield self._find_in(image, region, 2 * last.scale)
        smallest = self.smallest or max(SMALLEST, SMALLEST * max(image.shape[:2]) / FULL_SIDE)
        if smallest >= KNOWN / last.scale or enough:
            return
        regions, sure = list[Rectangle](), known[known_scores >= SURE]
        for scale, parts in self._proposals.parts(image, smallest, KNOWN / last.scale, last, sure):
            for x0, y0, x1, y1 in regions:  # of the level before, which shows the faces of this one as well
                parts = parts[~((parts[:, :2] >= [x0, y0]) & (parts[:, 2:] <= [x1, y1])).all(axis=1)]
            regions = joined(parts, scale, image.shape)
            for region in regions:
                close = self._find_in(image, region, scale)
                yield close
                boxes, scores, *_ = self._merged([close], UNSURE)
                weak = (scores <= self.threshold) & ((boxes[:, 3] - boxes[:, 1]) * scale < CLOSEST)
                for part in joined(boxes[weak] + MARGIN / (4 * scale) * SIDES, 2 * scale, image.shape):
                    yield _beside(known, self._find_in(image, part, 2 * scale), self.max_iou)

    def _find_in(self, image: ImageArray, region: Rectangle, scale: float) -> Found:
        """Search a region; faces that it cuts, and large ones, are left out."""
        x0, y0, x1, y1 = region
        found = self._find_at(image[y0:y1, x0:x1], scale)
        boxes, (height, width) = found.boxes + np.array([x0, y0, x0, y0]), image.shape[:2]
        beyond = np.array([x0, y0, -x1, -y1]) - boxes * [1, 1, -1, -1]  # of each side, in pixels
        cut = (beyond > -CUT / scale) & (np.array(region) != [0, 0, width, height])
        kept = ~cut.any(axis=1) & ((boxes[:, 3] - boxes[:, 1]) * scale < LARGEST_CLOSE)
        return found._replace(boxes=boxes, points=found.points + np.array([x0, y0])).select(kept)

    def _find_at(self, image: ImageArray, scale: float) -> Found:
        """Search a picture resized by `scale`."""
        reduced, ratio = resized(image, scale)
        height, width = reduced.shape[:2]
        # The network halves the sides five times. Black padding below and to the right keeps the aspect ratio.
        padded = np.zeros((1, 3, -(-height // 32) * 32, -(-width // 32) * 32), dtype=np.float32)
        padded[0, :, :height, :width] = reduced.transpose(2, 0, 1)
        heat, size, offset, landmarks = (output[0] for output in self._session.run(OUTPUTS, {"image": padded}))
        boxes, scores, turns, points = decode_centerface(heat[0], size, offset, landmarks, min(self.least, UNSURE))
        heat = heat[0, : -(-height // 4), : -(-width // 4)]
        return Found(scale, to_picture(boxes, ratio), scores, turns, to_picture(points, ratio), heat)


def _beside(known: Float64Array, found: Found, max_iou: float) -> Found:
    """Leave out boxes that overlap those already known (K, 4): they were found at a resolution that suits them."""
    new = np.array([iou_with(box, known).max(initial=0) <= max_iou for box in found.boxes], bool)
    return found.select(new)


def _as_points(places: Sequence[Sequence[float]]) -> Points:
    return tuple((x, y) for x, y in places)


def largest_faces(faces: list[FoundFace], count: int | None) -> list[FoundFace]:
    """Keep the largest faces, in their order; all if `count` is None."""
    kept = sorted(faces, key=lambda face: -face.box.size)[:count]
    return [face for face in faces if face in kept]


class YuNetFinder(Reopened):
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
        check_count("face finder's size", size, least=32)
        check_fractions(threshold=threshold, max_iou=max_iou)
        self.size, self._lock = size, threading.Lock()
        expected = "a YuNet ONNX file that OpenCV's FaceDetectorYN runs"
        content = np.frombuffer(read_model(model, expected), dtype=np.uint8)
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
        reduced, ratio = resized(image, min(1.0, self.size / max(image.shape[:2])))
        rows = self._detect(reduced)
        rows = rows[np.argsort(-rows[:, -1], kind="stable")]
        rows = rows[(rows[:, 2] > 0) & (rows[:, 3] > 0)]
        boxes = to_picture(np.hstack([rows[:, :2], rows[:, :2] + rows[:, 2:4]]), ratio)
        found = []
        for box, row, rotation in zip(boxes, rows, rotations(rows[:, 4:14].reshape(-1, 5, 2)).tolist(), strict=True):
            turn = round(-float(np.angle(rotation)) / (math.pi / 2)) % 4
            found.append(FoundFace(Box(*box.tolist()), float(row[-1]), False, turn, tilt_beside(turn, rotation)))
        return found

    def _detect(self, image: ImageArray) -> Float32Array:
        """(K, 15): x, y, width, height, five points, score."""
        height, width = image.shape[:2]
        with self._lock:  # the size belongs to the network, not to the call
            self._network.setInputSize((width, height))
            rows: Any = self._network.detect(image[:, :, ::-1].copy())[1]  # takes BGR; None for no face
        return np.empty((0, 15), dtype=np.float32) if rows is None else np.asarray(rows, dtype=np.float32)


def default_fit(finder: FaceFinder) -> BoxFit:
    """Return the fit measured for a finder, or CenterFace's for a finder that was not measured.

    CenterFace's boxes follow the annotation of WIDER FACE (forehead to chin), as those of most face detectors do.
    """
    return measured_fits().get(getattr(finder, "name", ""), measured_fits()[CenterFaceFinder.name])


class LandmarkBoxFinder:
    """A face finder whose boxes are tight landmark boxes: those of `finder`, mapped by `fit`.

    They are the built-in finder and `default_fit` if None; the latter is refined by the five points of a face
    (`PointFit`) where that was measured. Pass `BoxFit()` for a finder of landmark boxes.

    Raises:
        InputError: an object without `find`, or something else than a `BoxFit`.
    """

    def __init__(self, finder: FaceFinder | None = None, fit: BoxFit | None = None) -> None:
        if finder is not None and not is_finder(finder):
            raise InputError.at("face finder", "an object with find(image)", shown(finder))
        if fit is not None and not isinstance(fit, BoxFit):
            raise InputError.at("box fit", "a BoxFit", shown(fit))
        self.finder: FaceFinder = finder if finder is not None else CenterFaceFinder()
        self.fit = fit if fit is not None else default_fit(self.finder)
        self._point_fit = measured_point_fits().get(getattr(self.finder, "name", "")) if fit is None else None

    def find(self, image: ImageArray) -> list[FoundFace]:
        """Find the faces of a picture (H, W, 3) uint8 RGB; their landmark boxes in picture pixels, best score first."""
        faces = found_by(self.finder, image)
        return [replace(face, box=self._fit_of(face).apply(face.box, face.turn, face.tilt)) for face in faces]

    def _fit_of(self, face: FoundFace) -> BoxFit:
        if self._point_fit is None or face.points is None:
            return self.fit
        return self._point_fit.of_face(face.box, face.points, face.turn, face.tilt) or self.fit
