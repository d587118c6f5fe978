"""`FaceLandmarker`: the one door between a user's picture and the network."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from srn.errors import InputError
from srn.face.geometry import Box, CropGeometry, CropSpec, FloatArray, ImageArray, flip_points
from srn.face.localizer import Float32Array, Localizer, Prediction, confidence_from_error
from srn.inference.face import Face
from srn.inference.face_finder import CenterFaceFinder, FaceFinder, LandmarkBoxFinder, check_image
from srn.inference.looker import Looker
from srn.inference.runtime import OnnxLocalizer
from srn.inference.tracker import MISPLACED, FaceTracker, Start, TrackerConfig

DOUBTFUL_SCORE = 0.1
"""Where the built-in face finder is sure of no face, its boxes of at least this score are looked at."""

DOUBTFUL_FACES = 4
"""And no more than the best so many of them."""

BELIEVED_CONFIDENCE = 0.4
"""Such a box is a face where the landmarks' mean confidence reaches this. Measured: `docs/face_finder.md`."""

EARLIER_LOOK = 0.4
"""What a look at a face counts beside the next one, were both as sure of themselves (`docs/experiments.md`)."""

EXTRA_LOOKS = 2
"""How often a face in a picture may be looked at again, on top of the passes, because its crop was misplaced."""

BoxLike = Box | Sequence[float] | npt.NDArray[np.floating]


class Look(NamedTuple):
    """What one look, or several taken together, say of B faces with N points each.

    Attributes:
        shapes: (B, N, 2) picture pixels.
        visibility: (B, N); None where the network does not say.
        expected_error: (B, N) picture pixels; None likewise.
    """

    shapes: npt.NDArray[np.float64]
    visibility: Float32Array | None
    expected_error: Float32Array | None

    def of(self, faces: npt.NDArray[np.integer]) -> Look:
        """The same of some of the faces."""
        return Look(*(None if values is None else values[faces] for values in self))  # type: ignore[arg-type]

    def put(self, faces: npt.NDArray[np.integer], other: Look) -> None:
        """Say of some of the faces what another look says."""
        for values, new in zip(self, other, strict=True):
            if values is not None:
                values[faces] = new


def combined(looks: Sequence[Look]) -> Look:
    """Several looks at the same faces, first to last, taken together point by point.

    Two looks err in part on their own, so that their mean is better than either. Each counts by the inverse square of
    the error it expects, and `EARLIER_LOOK` times as much as the look after it, whose crop fits better. Looks that
    expect nothing cannot say that their crop was a poor one: of those the last counts alone.
    """
    last = looks[-1]
    errors = [look.expected_error for look in looks if look.expected_error is not None]
    if len(looks) == 1 or len(errors) < len(looks):
        return last
    shares = EARLIER_LOOK ** np.arange(len(looks) - 1, -1, -1.0)
    weights = shares[:, None, None] / np.maximum(np.stack(errors), 1e-6).astype(np.float64) ** 2  # (K, B, N)
    weights /= weights.sum(axis=0)

    def mean(values: Sequence[Float32Array]) -> Float32Array:
        return np.einsum("kbn,kbn->bn", weights, np.stack(values)).astype(np.float32)

    visibility = [look.visibility for look in looks if look.visibility is not None]
    return Look(
        np.einsum("kbn,kbnd->bnd", weights, np.stack([look.shapes for look in looks])),
        mean(visibility) if len(visibility) == len(looks) else last.visibility,
        mean(errors),
    )


@dataclass(frozen=True)
class _Task:
    """One face to localize: in which picture, by which box, how sure the finder was."""

    picture: int
    box: Box
    score: float


def as_box(values: BoxLike) -> Box:
    """A `Box` from four numbers x0, y0, x1, y1.

    Raises:
        InputError: not four finite numbers of a box with an extent.
    """
    if isinstance(values, Box):
        return values
    try:
        x0, y0, x1, y1 = (float(v) for v in values)
    except (TypeError, ValueError) as error:
        raise InputError.at("face box", "four numbers x0, y0, x1, y1", repr(values)) from error
    return Box(x0, y0, x1, y1)


def _units(frames: Sequence[CropGeometry], spec: CropSpec) -> Float32Array:
    """(B, 1) the face unit of each crop in picture pixels."""
    return np.array([[spec.face_size / frame.scale] for frame in frames], np.float32)


def _in_picture(frames: Sequence[CropGeometry], prediction: Prediction, spec: CropSpec) -> Look:
    """A prediction in picture pixels."""
    shapes = [f.to_picture(s[-1].astype(np.float64)) for f, s in zip(frames, prediction.shapes, strict=True)]
    error = prediction.expected_error
    return Look(np.stack(shapes), prediction.visibility, None if error is None else error * _units(frames, spec))


class FaceLandmarker:
    """Finds faces and their landmarks in pictures.

    Args:
        weights: an exported network (`.onnx`); the shipped weights where None.
        localizer: any `Localizer`, instead of `weights`.
        face_finder: finds the faces where no boxes are given; the built-in one where None. Its boxes are mapped to
            landmark boxes by the constants measured for its name; wrap it in `LandmarkBoxFinder` to bring your own.
        passes: how often each face is looked at. From the second pass on the crop is placed by the points found,
            upright and tight, which takes out what the face box got wrong; the answer is the looks' mean (`combined`).
        extra_looks: how many more looks a face gets at most, from two passes on, while its last crop turns out to have
            been misplaced (`MISPLACED`): rare with boxes that fit, and what saves a face with a poor one.
        flip_average: average with the prediction on the mirrored crop: a little more accurate at twice the cost.
        batch_size: faces in one run of the network.
        threads: threads of the network and of the built-in finder; all cores where None.

    Raises:
        WeightsError: the weights cannot be read.
    """

    def __init__(
        self,
        weights: str | os.PathLike[str] | None = None,
        *,
        localizer: Localizer | None = None,
        face_finder: FaceFinder | LandmarkBoxFinder | None = None,
        passes: int = 2,
        extra_looks: int = EXTRA_LOOKS,
        flip_average: bool = False,
        batch_size: int = 16,
        threads: int | None = None,
    ) -> None:
        if weights is not None and localizer is not None:
            raise InputError.at("FaceLandmarker", "weights or a localizer", "both")
        if passes < 1:
            raise InputError.at("passes", "at least 1", str(passes))
        if extra_looks < 0:
            raise InputError.at("extra_looks", "0 or more", str(extra_looks))
        if batch_size < 1:
            raise InputError.at("batch_size", "at least 1", str(batch_size))
        self.localizer = localizer if localizer is not None else OnnxLocalizer(weights, threads=threads)
        self.looker = Looker(self.localizer, flip_average=flip_average)
        self._finder: LandmarkBoxFinder | None = None
        if face_finder is not None:
            self._finder = face_finder if isinstance(face_finder, LandmarkBoxFinder) else LandmarkBoxFinder(face_finder)
        self.passes, self.extra_looks, self.flip_average = passes, extra_looks, flip_average
        self.batch_size, self._threads = batch_size, threads

    def find(self, image: ImageArray) -> list[tuple[Box, float]]:
        """Tight landmark boxes of the faces in a picture, with their scores, best first.

        A mask over a dark face leaves a face finder in doubt, and the landmarks less so: where it is sure of none, they
        decide about the boxes that it has doubts about.
        """
        if self._finder is None:  # loaded on first use: who brings boxes does not pay for it
            self._finder = LandmarkBoxFinder(CenterFaceFinder(doubtful_threshold=DOUBTFUL_SCORE, threads=self._threads))
        found = self._finder.find(image)
        doubtful = [_Task(0, face.box, face.score) for face in found if face.doubtful][:DOUBTFUL_FACES]
        believed = [
            (face.box, face.score)
            # `BELIEVED_CONFIDENCE` was measured without extra looks.
            for face in (self._localize([image], doubtful, extra_looks=0) if doubtful else [])
            if face.confidence is not None and face.confidence.mean() >= BELIEVED_CONFIDENCE
        ]
        sure = [(face.box, face.score) for face in found if not face.doubtful]
        return sorted(sure + believed, key=lambda pair: -pair[1])

    def detect(self, image: ImageArray, boxes: Iterable[BoxLike] | None = None) -> list[Face]:
        """Find every face of a picture and its landmarks.

        Args:
            image: (H, W, 3) uint8 RGB.
            boxes: tight landmark boxes (brows to chin) of the faces, picture pixels, instead of the face finder's.

        Returns:
            One `Face` a face, best score first (own boxes: in their order); an empty list where there is none.

        Raises:
            InputError: the picture or a box is not what it has to be.
        """
        return self.detect_batch([image], None if boxes is None else [boxes])[0]

    def detect_batch(
        self, images: Sequence[ImageArray], boxes: Sequence[Iterable[BoxLike]] | None = None
    ) -> list[list[Face]]:
        """`detect` for several pictures, their faces pooled into common batches: the same numbers as one by one."""
        if boxes is not None and len(boxes) != len(images):
            raise InputError.at("boxes", f"a list for each of {len(images)} pictures", f"{len(boxes)} lists")
        tasks: list[_Task] = []
        for index, image in enumerate(images):
            check_image(image)
            if boxes is None:
                tasks += [_Task(index, box, score) for box, score in self.find(image)]
            else:
                tasks += [_Task(index, as_box(values), 1.0) for values in boxes[index]]
        faces: list[list[Face]] = [[] for _ in images]
        for first in range(0, len(tasks), self.batch_size):
            share = tasks[first : first + self.batch_size]
            for task, face in zip(share, self._localize(images, share, self.extra_looks), strict=True):
                faces[task.picture].append(face)
        return faces

    def tracker(
        self,
        *,
        smooth: bool = True,
        start: Start = "mean",
        iterations: int | None = None,
        find_every: int = 30,
        frame_rate: float = 30.0,
        config: TrackerConfig | None = None,
    ) -> FaceTracker:
        """A tracker for one video: `for frame in frames: faces = tracker.update(frame)`.

        Args:
            smooth: smooth the points over time and hold hidden ones where the recent shape has them.
            start: shape that the cascade starts from in each frame: `mean`, as in a picture, or `previous`, the face's
                shape in the frame before.
            iterations: the answer is the shape after this many iterations; after all of them where None.
            find_every: the face finder is asked at least every so many frames.
            frame_rate: frames a second, for frames handed in without a time.
            config: all that can be set (`TrackerConfig`); the other arguments but `frame_rate` are ignored then.
        """
        if config is None:
            config = TrackerConfig(smooth=smooth, start=start, iterations=iterations, find_every=find_every)
        return FaceTracker(self, config, frame_rate=frame_rate)

    def _localize(self, images: Sequence[ImageArray], tasks: Sequence[_Task], extra_looks: int) -> list[Face]:
        found, units = self._settled(images, tasks, extra_looks if self.passes > 1 else 0)
        confidence = None if found.expected_error is None else confidence_from_error(found.expected_error / units)
        return [
            Face(
                landmarks=shape,
                visibility=None if found.visibility is None else found.visibility[i],
                confidence=None if confidence is None else confidence[i],
                box=task.box,
                score=task.score,
                scheme=self.localizer.scheme,
            )
            for i, (task, shape) in enumerate(zip(tasks, found.shapes, strict=True))
        ]

    def _settled(
        self, images: Sequence[ImageArray], tasks: Sequence[_Task], extra_looks: int
    ) -> tuple[Look, Float32Array]:
        """All looks at B faces taken together, and (B, 1) the face unit of each one's last crop, picture pixels."""
        frames = [CropGeometry.from_box(task.box, self.localizer.crop_spec) for task in tasks]
        looks = [self._look(images, tasks, frames)]
        for _ in range(self.passes - 1):
            frames = [self.crop_of_shape(shape) for shape in looks[-1].shapes]
            looks.append(self._look(images, tasks, frames))
        found, units, faces = combined(looks), _units(frames, self.localizer.crop_spec), np.arange(len(tasks))
        for _ in range(extra_looks):
            closer = [self.crop_of_shape(shape) for shape in looks[-1].shapes]
            pairs = zip(closer, frames, strict=True)
            again = np.array([k for k, (new, old) in enumerate(pairs) if new.displacement(old) > MISPLACED], int)
            if not len(again):
                break
            faces, frames, looks = faces[again], [closer[k] for k in again], [look.of(again) for look in looks]
            looks.append(self._look(images, [tasks[k] for k in faces.tolist()], frames))
            found.put(faces, combined(looks))
            units[faces] = _units(frames, self.localizer.crop_spec)
        return found, units

    def _look(self, images: Sequence[ImageArray], tasks: Sequence[_Task], frames: Sequence[CropGeometry]) -> Look:
        """One look at faces, each in its crop."""
        crops = np.stack([frame.crop(images[task.picture]) for task, frame in zip(tasks, frames, strict=True)])
        return _in_picture(frames, self.predict(crops), self.localizer.crop_spec)

    def crop_of_shape(self, shape: FloatArray, spec: CropSpec | None = None) -> CropGeometry:
        """The crop that a shape (N, 2), picture pixels, would be seen in: upright and tight, as in training.

        Args:
            shape: the points.
            spec: size of the crop; the network's where None.
        """
        upright = self.localizer.mean_shape.astype(np.float64)
        return CropGeometry.from_shape(shape, spec or self.localizer.crop_spec, upright)

    def predict(
        self,
        crops: ImageArray,
        initial_shape: Float32Array | None = None,
        hidden: Float32Array | None = None,
        initial_weight: Float32Array | None = None,
    ) -> Prediction:
        """One look at crops (B, S, S, 3), averaged with the mirrored one where asked for.

        Args: see `Localizer`. The mirrored look starts from the mirrored shape, without a state of its own.
        """
        prediction = self.localizer(crops, initial_shape, hidden, initial_weight)
        if not self.flip_average:
            return prediction
        mirrored = self.predict_mirrored(crops, initial_shape, initial_weight)

        def mean(one: Float32Array | None, other: Float32Array | None) -> Float32Array | None:
            return None if one is None or other is None else (one + other) / np.float32(2)

        return Prediction(
            ((prediction.shapes + mirrored.shapes) / 2).astype(np.float32),
            prediction.hidden,
            mean(prediction.visibility, mirrored.visibility),
            mean(prediction.expected_error, mirrored.expected_error),
        )

    def predict_mirrored(
        self, crops: ImageArray, initial_shape: Float32Array | None = None, initial_weight: Float32Array | None = None
    ) -> Prediction:
        """One look at the mirrored crops, mirrored back: a second opinion on the same crops (B, S, S, 3)."""
        mirror, width = self.localizer.scheme.mirror, self.localizer.crop_spec.size
        if initial_shape is not None:
            initial_shape = np.stack([flip_points(s, width, mirror) for s in initial_shape]).astype(np.float32)
        mirrored = self.localizer(np.ascontiguousarray(crops[:, :, ::-1]), initial_shape, None, initial_weight)
        back = [[flip_points(shape, width, mirror) for shape in cascade] for cascade in mirrored.shapes]
        return Prediction(
            np.array(back),
            mirrored.hidden,
            None if mirrored.visibility is None else mirrored.visibility[:, mirror],
            None if mirrored.expected_error is None else mirrored.expected_error[:, mirror],
        )
