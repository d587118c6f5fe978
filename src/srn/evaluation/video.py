"""The evaluation of followers on clips: error, jitter, and time per frame."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from srn.datasets.catalogue import open_faces
from srn.datasets.clip import Clip
from srn.errors import DataError, InputError
from srn.evaluation.followers import Float64Array, Follower, Track, is_on_face
from srn.evaluation.results import check_normalizer
from srn.evaluation.statistics import finite_or_none
from srn.face import metrics
from srn.face.geometry import ImageArray
from srn.face.scheme import LandmarkScheme
from srn.files import write_json
from srn.inference.landmarker import FaceLandmarker


@dataclass(frozen=True)
class ClipScore:
    """A follower on one clip. Errors are fractions of the normalizer, NaN if undefined.

    Attributes:
        found: frames with a prediction.
        lost: predictions that are not on the face.
        nme, jitter, flicker: see `srn.face.metrics`; the last two of frames that follow one another in the video.
        nme_hidden, nme_visible: errors of occluded and of visible points, for clips with occlusion flags.
        hidden, visible: the numbers of such points in the frames with a prediction; 0 without flags.
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
    hidden: int
    visible: int


_COUNTED = {
    "nme": "found", "jitter": "frames", "flicker": "frames", "nme_hidden": "hidden", "nme_visible": "visible"
}  # fmt: skip
"""Each average of a clip, and what it is over."""


@dataclass(frozen=True)
class VideoEvaluation:
    """A follower on a set of clips. `seconds` is the median time per frame, NaN where it is not known."""

    method: str
    clips: tuple[ClipScore, ...]
    seconds: float
    normalizer: str

    def summary(self) -> dict[str, Any]:
        """Average the errors over the clips (None if undefined), and sum the counts.

        Each clip counts by what its own average is over: frames with a prediction, hidden or visible points in them, or
        for `jitter` and `flicker` frames.
        """
        whole: dict[str, Any] = {"clips": len(self.clips), "frames": sum(clip.frames for clip in self.clips)}
        whole["missed"] = whole["frames"] - sum(clip.found for clip in self.clips)
        whole["lost"] = sum(clip.lost for clip in self.clips)
        for name, counted in _COUNTED.items():
            values = np.array([getattr(clip, name) for clip in self.clips])
            weights = np.array([getattr(clip, counted) for clip in self.clips], float)
            known = np.isfinite(values) & (weights > 0)
            whole[name] = float(np.average(values[known], weights=weights[known])) if known.any() else None
        whole["ms"] = finite_or_none(self.seconds * 1e3)
        return whole

    def to_dict(self) -> dict[str, Any]:
        """Return the summary and every clip's score, for JSON."""
        scores = [
            {name: finite_or_none(value) if isinstance(value, float) else value for name, value in asdict(clip).items()}
            for clip in self.clips
        ]
        return {"method": self.method, "normalizer": self.normalizer, **self.summary(), "per_clip": scores}


def score_track(track: Track, clip: Clip, normalizer: str = "interocular") -> ClipScore:
    """Measure a track against a clip's landmarks; the normalizer is that of each frame's true shape."""
    check_normalizer(normalizer)
    measure = metrics.NORMALIZERS[normalizer]
    normalizers = np.array([measure(shape, clip.scheme) for shape in clip.landmarks])
    found = np.isfinite(track.shapes).all(axis=(1, 2))
    lost = sum(not is_on_face(s, t) for s, t in zip(track.shapes[found], clip.landmarks[found], strict=True))
    errors = np.linalg.norm(track.shapes - clip.landmarks, axis=-1) / normalizers[:, None]  # (T, N)
    arrays = (track.shapes, clip.landmarks, normalizers)
    shapes, targets, sizes = (_with_gaps(values, clip.numbers) for values in arrays)
    hidden = visible = np.zeros(0)
    if clip.occluded is not None:
        hidden, visible = errors[found][clip.occluded[found]], errors[found][~clip.occluded[found]]
    return ClipScore(
        name=clip.name,
        frames=len(clip),
        found=int(found.sum()),
        lost=lost,
        nme=metrics.clip_nme(track.shapes, clip.landmarks, normalizers),
        jitter=metrics.jitter(shapes, targets, sizes),
        flicker=metrics.flicker(shapes, targets, sizes),
        nme_hidden=float(hidden.mean()) if len(hidden) else np.nan,
        nme_visible=float(visible.mean()) if len(visible) else np.nan,
        hidden=len(hidden),
        visible=len(visible),
    )


def _with_gaps(values: Float64Array, numbers: npt.NDArray[np.int64]) -> Float64Array:
    """Put a row of NaN where frames are left out: nothing is measured from the frame before to the one after."""
    return np.insert(values, np.flatnonzero(np.diff(numbers) > 1) + 1, np.nan, axis=0)


HOLD_AT_MOST = 300
"""Longer clips are read anew for each follower instead of being held in memory."""


class HeldFrames:
    """The frames of one clip, read once (a `FrameSource`)."""

    def __init__(self, clip: Clip) -> None:
        self.path = clip.frames.path
        self._frames = {int(number): clip.frame(index) for index, number in enumerate(clip.numbers)}

    def read(self, number: int) -> ImageArray:
        """Return a frame, (H, W, 3) uint8 RGB."""
        return self._frames[number]


def evaluate_followers(
    followers: Sequence[Follower],
    clips: Iterable[Clip],
    *,
    normalizer: str = "interocular",
    progress: Callable[[], None] = lambda: None,
    problems: list[str] | None = None,
) -> list[VideoEvaluation]:
    """Run followers over clips of one face each and return one evaluation per follower.

    Every frame is read (or rendered) once for all of them. `progress` is called after each clip. A clip with a frame
    that cannot be read, or whose face lies outside it, is left out with a line in `problems`.

    Raises:
        DataError: there is such a clip, and `problems` is None.
        InputError: there is no clip, or the normalizer is unknown.
    """
    runs: list[list[tuple[ClipScore, Float64Array]]] = [[] for _ in followers]
    for clip in clips:
        try:
            held = replace(clip, frames=HeldFrames(clip)) if len(clip) <= HOLD_AT_MOST else clip
            tracks = [follower(held) for follower in followers]
        except DataError as error:
            if problems is None:
                raise
            problems.append(f"{error}; the video {clip.name} is left out")
        else:
            for run, track in zip(runs, tracks, strict=True):
                run.append((score_track(track, held, normalizer), track.seconds))
        progress()
    if not all(runs):
        raise InputError.at("evaluation of video", "at least one clip", "none")
    evaluations = []
    for follower, run in zip(followers, runs, strict=True):
        scores, seconds = zip(*run, strict=True)
        median = float(np.median(np.concatenate(seconds)))
        evaluations.append(VideoEvaluation(follower.name, scores, median, normalizer))
    return evaluations


def read_clips(folders: Iterable[Path], scheme: LandmarkScheme | None) -> tuple[list[Clip], list[str]]:
    """Return the test videos of folders in 300VW's layout, and a line for each unusable one.

    Raises:
        DataError: a folder holds no annotated video.
    """
    clips: list[Clip] = []
    problems: list[str] = []
    for folder in folders:
        dataset = open_faces(folder, split="test", scheme=scheme)
        problems += dataset.report.problems
        if not dataset.clips:
            found = f"pictures: {dataset.kind.title}"
            raise DataError.at(folder, "videos with points in every frame (300VW's layout)", found)
        clips += dataset.clips
    return clips, problems


def write_video_evaluations(
    path: str | os.PathLike[str], evaluations: Iterable[VideoEvaluation], landmarker: FaceLandmarker
) -> None:
    """Write evaluations of one landmarker as JSON."""
    write_json(
        path,
        {
            "weights": landmarker.localizer.name,
            "accuracy": landmarker.accuracy,
            "flip_average": landmarker.flip_average,
            "methods": [evaluation.to_dict() for evaluation in evaluations],
        },
    )
