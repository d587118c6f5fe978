"""Measuring on clips: how exact a landmarker is on video, how much it shakes, and what a frame costs.

A *follower* takes a clip and gives its points in every frame. There are three: the picture model on every frame alone,
the cascade carried through the clip (the paper's tracker, and the study of starts and iterations that it promises in
section 4.4), and `FaceTracker`, which finds the faces by itself.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from srn.datasets.clip import Clip
from srn.errors import InputError
from srn.evaluation.protocol import MINIMAL_OVERLAP
from srn.face import metrics
from srn.face.geometry import Box, FloatArray, ImageArray
from srn.face.localizer import Float32Array
from srn.inference.landmarker import FaceLandmarker
from srn.inference.tracker import FaceTracker

Float64Array = npt.NDArray[np.float64]
Start = Literal["mean", "previous"]


@dataclass(frozen=True, eq=False)
class Track:
    """What a follower says of a clip.

    Attributes:
        shapes: (T, N, 2) frame pixels; NaN in frames where it has not found the face.
        seconds: (T,) how long it took over each frame, reading not included.
    """

    shapes: Float64Array
    seconds: Float64Array


class Follower(Protocol):
    """Localizes the face of a clip in every frame."""

    @property
    def name(self) -> str:
        """What results call it."""

    def __call__(self, clip: Clip) -> Track:
        """Follow the clip's face. Its landmarks may be used for boxes, as the follower's name says, and no more."""


@dataclass(frozen=True)
class FrameByFrame:
    """The picture model on every frame, as if there were no other.

    Attributes:
        landmarker: what localizes.
        name: what results call it.
        init: `gt-box`: the tight box of the true landmarks, as the paper's protocol; `finder`: the face finder's boxes,
            of which the one over the annotated face is taken.
    """

    landmarker: FaceLandmarker
    name: str = "picture model, frame by frame"
    init: Literal["gt-box", "finder"] = "gt-box"

    def __call__(self, clip: Clip) -> Track:
        def look(image: ImageArray, truth: Float64Array) -> Float64Array | None:
            if self.init == "gt-box":
                return self.landmarker.detect(image, [Box.around(truth)])[0].landmarks
            faces = self.landmarker.detect(image)
            return _annotated_face([face.landmarks for face in faces], [face.box for face in faces], truth)

        return _each_frame(clip, look)


@dataclass(frozen=True)
class CascadeFollower:
    """The cascade through a clip, one look a frame.

    The first frame's crop is placed by the true landmarks' box. A face whose box leaves the true one (intersection over
    union below 0.4) has been lost: that frame counts with its error, and the next starts anew from the true box.

    Attributes:
        landmarker: its localizer is run; `passes` are not used.
        name: what results call it.
        start: `mean`: every frame starts as a picture does (the mean shape, or the network's own first shape);
            `previous`: from the shape of the frame before.
        placement: `gt-box`: every crop is placed by the true box (the paper's protocol); `previous`: by the shape of
            the frame before, upright and tight.
        iterations: the shape after so many iterations is the answer; after the last where None. Where that is fewer
            than the localizer runs, the cost and the state are still those of all: hand in a localizer of fewer
            iterations to measure them.
        carry_state: hand the recurrent state from frame to frame (equation 13): for weights trained for it.
    """

    landmarker: FaceLandmarker
    name: str
    start: Start = "mean"
    placement: Literal["gt-box", "previous"] = "gt-box"
    iterations: int | None = None
    carry_state: bool = True

    def __post_init__(self) -> None:
        if self.iterations is not None and self.iterations < 1:
            raise InputError.at("iterations", "at least 1", str(self.iterations))

    def __call__(self, clip: Clip) -> Track:
        before: Float64Array | None = None
        hidden: Float32Array | None = None

        def look(image: ImageArray, truth: Float64Array) -> Float64Array:
            nonlocal before, hidden
            looker = self.landmarker.looker
            if before is None or self.placement == "gt-box":
                geometry = looker.geometry_of_box(Box.around(truth))
            else:
                geometry = looker.geometry_of_shape(before)
            start = before if self.start == "previous" else None
            view = looker.view([image], [geometry], starts=[start], hidden=hidden, iterations=self.iterations)
            shape: Float64Array = view.shapes[0]
            before, hidden = shape, view.hidden if self.carry_state else None
            if not _holds(shape, truth):
                before = hidden = None
            return shape

        return _each_frame(clip, look)


@dataclass(frozen=True)
class TrackerFollower:
    """`FaceTracker`: finds, follows and smooths by itself; a new one for every clip.

    Attributes:
        make: gives a tracker.
        name: what results call it.
    """

    make: Callable[[], FaceTracker]
    name: str = "srn's default tracker"

    def __call__(self, clip: Clip) -> Track:
        tracker = self.make()

        def look(image: ImageArray, truth: Float64Array) -> Float64Array | None:
            faces = tracker.update(image)
            return _annotated_face([face.landmarks for face in faces], [face.box for face in faces], truth)

        return _each_frame(clip, look)


def _each_frame(clip: Clip, look: Callable[[ImageArray, Float64Array], Float64Array | None]) -> Track:
    shapes, seconds = np.full(clip.landmarks.shape, np.nan), np.zeros(len(clip))
    for index, (image, truth) in enumerate(clip):
        begin = time.perf_counter()
        shape = look(image, truth)
        seconds[index] = time.perf_counter() - begin
        if shape is not None:
            shapes[index] = shape
    return Track(shapes, seconds)


def _holds(shape: FloatArray, truth: FloatArray) -> bool:
    """Whether a shape is still on the face."""
    if not np.isfinite(shape).all() or (np.ptp(shape, axis=0) <= 0).any():
        return False
    return Box.around(shape).iou(Box.around(truth)) >= MINIMAL_OVERLAP


def _annotated_face(shapes: Sequence[Float64Array], boxes: Sequence[Box], truth: FloatArray) -> Float64Array | None:
    """The face that overlaps the annotated one most, if it does by `MINIMAL_OVERLAP`."""
    if not shapes:
        return None
    overlaps = [box.iou(Box.around(truth)) for box in boxes]
    best = int(np.argmax(overlaps))
    return shapes[best] if overlaps[best] >= MINIMAL_OVERLAP else None


# --- results


@dataclass(frozen=True)
class ClipScore:
    """A follower on one clip. Errors are fractions of the normalizer, NaN where nothing can be said.

    Attributes:
        name: the clip's.
        frames: T; found: frames with a prediction; lost: predictions that are not on the face.
        nme, jitter, flicker: see `srn.face.metrics`.
        nme_hidden, nme_visible: error of hidden and of visible points, where occlusion is known.
    """

    name: str
    frames: int
    found: int
    lost: int
    nme: float
    jitter: float
    flicker: float
    nme_hidden: float
    nme_visible: float


@dataclass(frozen=True)
class VideoEvaluation:
    """A follower on a set of clips.

    Attributes:
        method: the follower's name.
        clips: a score a clip.
        seconds: median time a frame.
        normalizer: name of the normalizer.
    """

    method: str
    clips: tuple[ClipScore, ...]
    seconds: float
    normalizer: str

    def summary(self) -> dict[str, Any]:
        """Over all clips, each by its frames: `frames`, `missed`, `lost`, `nme`, `jitter`, `flicker`, `nme_hidden`,
        `nme_visible` (None where nothing can be said), and `ms` a frame."""
        whole: dict[str, Any] = {"clips": len(self.clips), "frames": sum(clip.frames for clip in self.clips)}
        whole["missed"] = whole["frames"] - sum(clip.found for clip in self.clips)
        whole["lost"] = sum(clip.lost for clip in self.clips)
        for name in ("nme", "jitter", "flicker", "nme_hidden", "nme_visible"):
            values = np.array([getattr(clip, name) for clip in self.clips])
            weights = np.array([clip.found if name.startswith("nme") else clip.frames for clip in self.clips], float)
            known = np.isfinite(values) & (weights > 0)
            whole[name] = float(np.average(values[known], weights=weights[known])) if known.any() else None
        whole["ms"] = self.seconds * 1e3
        return whole

    def to_dict(self) -> dict[str, Any]:
        """The summary and every clip's score, for JSON."""

        def plain(score: ClipScore) -> dict[str, Any]:
            values = {name: getattr(score, name) for name in score.__dataclass_fields__}
            return {k: None if isinstance(v, float) and not np.isfinite(v) else v for k, v in values.items()}

        return {
            "method": self.method, "normalizer": self.normalizer, **self.summary(),
            "per_clip": [plain(score) for score in self.clips],
        }  # fmt: skip


def score_track(track: Track, clip: Clip, normalizer: str = "interocular") -> ClipScore:
    """Hold a track against a clip's landmarks.

    Args:
        track: what a follower said.
        clip: the truth.
        normalizer: one of `srn.face.metrics.NORMALIZERS`, taken from each frame's true shape.

    Raises:
        InputError: unknown normalizer.
    """
    if normalizer not in metrics.NORMALIZERS:
        raise InputError.at("normalizer", f"one of {', '.join(metrics.NORMALIZERS)}", repr(normalizer))
    measure = metrics.NORMALIZERS[normalizer]
    normalizers = np.array([measure(shape, clip.scheme) for shape in clip.landmarks])
    found: npt.NDArray[np.bool_] = np.asarray(np.isfinite(track.shapes).all(axis=(1, 2)))
    lost = sum(not _holds(s, t) for s, t in zip(track.shapes[found], clip.landmarks[found], strict=True))
    errors = np.linalg.norm(track.shapes - clip.landmarks, axis=-1) / normalizers[:, None]  # (T, N)

    def over(points: npt.NDArray[np.bool_]) -> float:
        chosen = errors[points & found[:, None]]
        return float(chosen.mean()) if len(chosen) else float("nan")

    known = clip.occluded is not None
    occluded = np.zeros(errors.shape, bool) if clip.occluded is None else clip.occluded
    return ClipScore(
        name=clip.name,
        frames=len(clip),
        found=int(found.sum()),
        lost=lost,
        nme=metrics.clip_nme(track.shapes, clip.landmarks, normalizers),
        jitter=metrics.jitter(track.shapes, clip.landmarks, normalizers),
        flicker=metrics.flicker(track.shapes, clip.landmarks, normalizers),
        nme_hidden=over(occluded) if known else float("nan"),
        nme_visible=over(~occluded) if known else float("nan"),
    )


HOLD_AT_MOST = 300
"""Clips of more frames than this are read anew for each follower instead of being held in memory."""


class HeldFrames:
    """The frames of one clip, read once (a `FrameSource`)."""

    def __init__(self, clip: Clip) -> None:
        self.path = clip.frames.path
        self._frames = {int(number): clip.frame(index) for index, number in enumerate(clip.numbers)}

    def read(self, number: int) -> ImageArray:
        """A frame, (H, W, 3) uint8 RGB."""
        return self._frames[number]


def evaluate_followers(
    followers: Sequence[Follower],
    clips: Iterable[Clip],
    *,
    normalizer: str = "interocular",
    progress: Callable[[], None] | None = None,
) -> list[VideoEvaluation]:
    """Run followers over clips and measure them; every frame is read (rendered, painted over) once for all of them.

    Args:
        followers: what localizes.
        clips: annotated videos of one face each.
        normalizer: what errors are divided by.
        progress: called after each clip.

    Returns:
        One evaluation a follower, in their order.

    Raises:
        DataError: a frame cannot be read.
        InputError: there is no clip, or an unknown normalizer.
    """
    scores: list[list[ClipScore]] = [[] for _ in followers]
    seconds: list[list[Float64Array]] = [[] for _ in followers]
    for clip in clips:
        held = replace(clip, frames=HeldFrames(clip)) if len(clip) <= HOLD_AT_MOST else clip
        for index, follower in enumerate(followers):
            track = follower(held)
            scores[index].append(score_track(track, held, normalizer))
            seconds[index].append(track.seconds)
        if progress is not None:
            progress()
    if not all(scores):
        raise InputError.at("evaluation of video", "at least one clip", "none")
    return [
        VideoEvaluation(follower.name, tuple(s), float(np.median(np.concatenate(t))), normalizer)
        for follower, s, t in zip(followers, scores, seconds, strict=True)
    ]


def evaluate_clips(
    follower: Follower,
    clips: Iterable[Clip],
    *,
    normalizer: str = "interocular",
    progress: Callable[[], None] | None = None,
) -> VideoEvaluation:
    """`evaluate_followers` for a single one."""
    return evaluate_followers([follower], clips, normalizer=normalizer, progress=progress)[0]


def markdown_table(evaluations: Sequence[VideoEvaluation]) -> str:
    """One row a follower; errors in per cent of the normalizer, times in milliseconds a frame."""
    columns = ("missed", "lost", "nme", "nme_visible", "nme_hidden", "jitter", "flicker", "ms")
    titles = (
        "missed %", "lost %", "NME %", "NME seen %", "NME hidden %", "jitter %", "flicker %", "ms a frame",
    )  # fmt: skip
    lines = ["| method | " + " | ".join(titles) + " |", "|---" * (len(titles) + 1) + "|"]
    for evaluation in evaluations:
        summary = evaluation.summary()
        cells = []
        for column in columns:
            value = summary[column]
            if value is None:
                cells.append("-")
            elif column in ("missed", "lost"):
                cells.append(f"{value / summary['frames']:.1%}".removesuffix("%"))
            else:
                cells.append(f"{value:.1f}" if column == "ms" else f"{value * 100:.2f}")
        lines.append(f"| {evaluation.method} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"
