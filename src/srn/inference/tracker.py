"""`FaceTracker`: faces through a video, each with a lasting number.

In every frame each known face is localized in a crop placed by where its points were a frame ago; all of them go
through the network in one batch. The face finder is asked seldom (`FinderSchedule`). Whether a face is still there is
told by the network's own confidence and by geometry; a face that is lost coasts on for a while, and gets its number
back where it is seen again near the place where it should be.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from srn.errors import InputError
from srn.face.geometry import Box, CropGeometry, FloatArray, ImageArray
from srn.face.localizer import Float32Array, Prediction, confidence_from_error
from srn.inference.association import assign, placement_cost
from srn.inference.face import Face
from srn.inference.face_finder import check_image
from srn.inference.flow import FLOW_CROP, Anchor, Carried, FaceFlow, anchored
from srn.inference.scenes import SceneMemory, look_at
from srn.inference.schedule import FinderSchedule
from srn.inference.smoothing import OneEuroShape, ShapeMemory, SmoothingConfig, similar_part

if TYPE_CHECKING:
    from srn.inference.landmarker import FaceLandmarker

Float64Array = npt.NDArray[np.float64]

Start = Literal["mean", "previous"]


MISPLACED = 0.08
"""A crop whose face box is off by more than this share of its side (`CropGeometry.astray`), as the points found in it
say, was misplaced, and the face is looked at again."""


@dataclass(frozen=True)
class TrackerConfig:
    """How faces are followed. Lengths are in sides of the face's box (`Box.size`), times in seconds.

    Attributes:
        smooth: smooth the points and hold hidden ones (`smoothing`).
        flow: carry the points from frame to frame by the motion of the pixels (`srn.inference.flow`), by which crops
            are placed and points smoothed.
        least_flow: mean trust in that motion below which it is taken for nothing.
        smoothing: how strongly.
        mirror_every: a followed face is also looked at in the mirror once in so many frames, and a new one at once.
            What the two looks differ by changes slowly, so that half of it, carried on, gives every frame much of what
            mirrored averaging gives, at a fraction of the cost; 0: never.
        mirror_gain: what a new such difference counts against those before it.
        start: shape that the cascade starts from in each frame. `mean`: as in a picture, the mean shape or the first
            shape that the network reads (the paper's tables); `previous`: the face's shape in the frame before.
        iterations: the answer is the shape after this many iterations; after all of them where None.
        find_every: the face finder is asked at least every so many frames.
        find_when_empty: likewise while there is no face.
        second_look: a face that moved from where it should be, turned or changed its size until a corner of its box was
            off by more than this is looked at again (as often as the landmarker makes passes), as in a picture.
        look_again: like `find_every`, at the earliest, after something away from the faces has changed.
        keep_confidence: a face whose mean confidence is below this is lost. Measured with the shipped weights: at least
            0.42 on faces (masked ones; 0.50 on others), under 0.17 on 95 % of backgrounds and wholly covered faces.
        accept_confidence: a face counts as found, or found again, from this on.
        max_shift: a centre farther than this from where it should be is a jump.
        max_stretch: a size that differs from the expected one by more than this factor is a jump.
        max_misfit: root mean square distance of the points to the mean shape, fitted, from which a shape is no face.
        misses: a face without confidence values (weights that give none), or with little, is lost after so many runs of
            the finder in a row that do not see it.
        proof_s: a face that was not seen for longer than this before it was lost was none, and is forgotten.
        coast_s: how long a lost face is still reported, with falling confidence.
        memory_s: how long its number waits for it.
        fade_s, slow_s: times in which the confidence and the speed of a lost face fall to 1/e.
        reach, reach_per_s, max_reach: how far a found box may lie from where a face should be to be that face, at once
            and for each second that it has been lost.
    """

    smooth: bool = True
    flow: bool = True
    least_flow: float = 0.3
    smoothing: SmoothingConfig = field(default_factory=SmoothingConfig)
    mirror_every: int = 4
    mirror_gain: float = 0.3
    start: Start = "mean"
    iterations: int | None = None
    find_every: int = 30
    find_when_empty: int = 5
    second_look: float = MISPLACED
    look_again: int = 8
    keep_confidence: float = 0.2
    accept_confidence: float = 0.28
    max_shift: float = 0.6
    max_stretch: float = 1.6
    max_misfit: float = 0.25
    misses: int = 2
    proof_s: float = 0.2
    coast_s: float = 1.0
    memory_s: float = 4.0
    fade_s: float = 0.4
    slow_s: float = 1.0
    reach: float = 0.6
    reach_per_s: float = 1.5
    max_reach: float = 3.0

    def __post_init__(self) -> None:
        if self.start not in ("mean", "previous"):
            raise InputError.at("start", "mean or previous", repr(self.start))
        if self.iterations is not None and self.iterations < 1:
            raise InputError.at("iterations", "at least 1", str(self.iterations))
        if self.misses < 1:
            raise InputError.at("misses", "at least 1", str(self.misses))
        if self.mirror_every < 0:
            raise InputError.at("mirror_every", "frames, or 0", str(self.mirror_every))
        FinderSchedule(self.find_every, self.find_when_empty, self.look_again)  # checks its own numbers
        if not 0 <= self.keep_confidence <= self.accept_confidence <= 1:
            found = f"{self.keep_confidence:g} and {self.accept_confidence:g}"
            raise InputError.at("keep_confidence and accept_confidence", "0 <= keep <= accept <= 1", found)
        if not 0 <= self.least_flow <= 1:
            raise InputError.at("least_flow", "a number from 0 to 1", f"{self.least_flow:g}")


@dataclass(eq=False)
class _Track:
    """One face through time.

    Attributes:
        number: the `track_id`.
        scene: the scene it belongs to.
        shape: (N, 2) picture pixels: its points as last seen, or, while it is lost, as they should be by now.
        time_s: moment of `shape`.
        seen_s: moment in which it was last seen.
        score: the finder's, when it last found it.
        velocity: (2,) pixels a second.
        hidden: (H,) recurrent state that the last good look left.
        visibility, confidence: (N,) of the last good look.
        missed: runs of the finder in a row that did not see it.
        lost: whether it is waited for.
        born_s: moment in which it was first seen.
        smoother, memory: the filters of `steady`.
        steady: (N, 2) the points after the filters: what is told if so configured, and what the next crop is placed by.
        lean: (N, 2) half of what looks in the mirror differ by from plain ones, crop pixels; None before the first.
        looks: frames since the last look in the mirror.
        anchor: the pixels of the face when it was last followed, which the next frame is compared with.
        carried: where those say that `steady` is now; None where they say nothing.
    """

    number: int
    scene: int
    shape: Float64Array
    time_s: float
    seen_s: float
    score: float
    hidden: Float32Array
    visibility: Float32Array | None
    confidence: Float32Array | None
    smoother: OneEuroShape
    memory: ShapeMemory
    steady: Float64Array
    born_s: float
    velocity: Float64Array = field(default_factory=lambda: np.zeros(2))
    missed: int = 0
    lost: bool = False
    lean: Float64Array | None = None
    looks: int = 0
    anchor: Anchor | None = None
    carried: Carried | None = None

    @property
    def box(self) -> Box:
        return Box.around(self.shape)

    def foresee(self, time_s: float, slow_s: float) -> None:
        """Move the points to where they should be at `time_s`: a constant speed, which fades while the face is lost."""
        dt = time_s - self.time_s
        offset = self.velocity * min(dt, 1.0)
        self.shape, self.steady, self.time_s, self.carried = self.shape + offset, self.steady + offset, time_s, None
        if self.lost:
            self.velocity = self.velocity * np.exp(-dt / slow_s)


@dataclass(frozen=True)
class _Aim:
    """One face to be localized in a frame.

    Attributes:
        frame: the crop.
        track: whose it is; None for a face that was just found.
        score: the finder's.
        start: (N, 2) picture pixels to start from, or None.
        found: whether the crop was placed by the finder.
    """

    frame: CropGeometry
    track: _Track | None
    score: float
    start: Float64Array | None = None
    found: bool = False


@dataclass(frozen=True)
class _Sight:
    """What the network said of one look."""

    aim: _Aim
    shape: Float64Array
    hidden: Float32Array
    visibility: Float32Array | None
    confidence: Float32Array | None
    lean: Float64Array | None = None
    looks: int = 0

    @property
    def quality(self) -> float | None:
        """Mean confidence of the points; None where the weights give none."""
        return None if self.confidence is None else float(self.confidence.mean())


class FaceTracker:
    """Follows every face of a video; `FaceLandmarker.tracker()` makes one.

    Hand in the frames in order: `faces = tracker.update(frame)`. One tracker follows one video.

    Args:
        landmarker: its localizer, face finder, passes (for new faces) and mirrored averaging are used.
        config: how.
        frame_rate: frames a second, for frames without a time.
    """

    def __init__(
        self, landmarker: FaceLandmarker, config: TrackerConfig | None = None, *, frame_rate: float = 30.0
    ) -> None:
        if not (np.isfinite(frame_rate) and frame_rate > 0):
            raise InputError.at("frame_rate", "frames a second, above 0", f"{frame_rate:g}")
        self.landmarker, self.config, self.frame_rate = landmarker, config or TrackerConfig(), frame_rate
        # Only weights trained for it carry the state from frame to frame (eq. 13); to others it means nothing.
        self._carries_state = getattr(landmarker.localizer, "recurrence", "iteration") == "frame"
        self._flow = FaceFlow()
        self.reset()

    def reset(self) -> None:
        """Forget every face; numbers start from 1 again."""
        self._tracks: list[_Track] = []
        self._next_number = 1
        self._time: float | None = None
        self._size: tuple[int, int] | None = None
        self._scenes = SceneMemory(self.config.memory_s)
        self.schedule = FinderSchedule(
            *(getattr(self.config, n) for n in ("find_every", "find_when_empty", "look_again"))
        )

    def update(self, frame: ImageArray, time_s: float | None = None) -> list[Face]:
        """The faces of the next frame.

        Args:
            frame: (H, W, 3) uint8 RGB.
            time_s: when it was taken, seconds from any fixed moment; frames need not be evenly spaced. One frame of
                `frame_rate` after the last where None.

        Returns:
            One `Face` a face, by rising `track_id`; landmarks are smoothed if the configuration says so, `box` is the
            tight box of the landmarks, `score` the finder's when it last saw the face. A face that was lost less than
            `coast_s` ago is where it should be by now; its visibility is 0 and its confidence and score fall.

        Raises:
            InputError: the frame is no picture, or comes before the last one.
        """
        check_image(frame)
        time_s = self._moment(time_s)
        look = look_at(frame)
        size = (frame.shape[1], frame.shape[0])
        if self._size not in (None, size):
            self._scenes = SceneMemory(self.config.memory_s)  # another video for all we know
            self._tracks.clear()
        self._size = size
        if self._scenes.see(look, time_s):
            self.schedule.alarm()
            for track in self._tracks:  # also of a scene that has come back: where a face is now, only the finder knows
                track.lost, track.velocity = True, np.zeros(2)
        self._tracks = [t for t in self._tracks if time_s - t.seen_s <= self.config.memory_s]
        present = [t for t in self._tracks if t.scene == self._scenes.number]
        before = {track.number: (track.steady, time_s - track.time_s) for track in present}
        for track in present:
            track.foresee(time_s, self.config.slow_s)
        # Where faces overlap, the pixels of the one in front would carry the one behind along.
        alone = [t for t in present if all(t.box.iou(other.box) < 0.05 for other in present if other is not t)]
        for track in alone:
            self._carry(track, frame, *before[track.number])
        followed = [t for t in present if not t.lost]
        doubtful = len(present) - sum(not _is_weak(t.confidence, self.config) for t in followed)
        ask = self.schedule.due(look, [t.box for t in followed], doubtful, size)
        aims = self._aims(frame, present, ask)
        sights = self._localize(frame, aims)
        self._judge(sights, time_s)
        if self.config.flow:
            for track in self._tracks:
                if not track.lost:
                    track.anchor = anchored(frame, self.landmarker.crop_of_shape(track.steady, FLOW_CROP))
        return self._report(time_s)

    def _moment(self, time_s: float | None) -> float:
        if time_s is None:
            time_s = 0.0 if self._time is None else self._time + 1 / self.frame_rate
        if not np.isfinite(time_s) or (self._time is not None and time_s < self._time):
            raise InputError.at("time of a frame", f"seconds, not before the last frame's {self._time}", f"{time_s}")
        self._time = time_s
        return time_s

    # --- where to look

    def _carry(self, track: _Track, image: ImageArray, before: Float64Array, dt: float) -> None:
        """Let the pixels correct where a followed face is foreseen; `before` (N, 2) is where it was `dt` ago."""
        if track.lost or track.anchor is None:
            return
        offset = (track.steady - before).mean(axis=0)
        carried = self._flow(
            track.anchor, anchored(image, track.anchor.frame.shifted(offset)), before, track.visibility
        )
        trust = float(carried.trust.mean())
        if trust < self.config.least_flow:
            return
        track.carried = carried
        track.shape = track.steady = carried.points
        if dt > 0:
            track.velocity = track.velocity + trust * ((carried.points - before).mean(axis=0) / dt - track.velocity)

    def _aims(self, image: ImageArray, present: list[_Track], ask: bool) -> list[_Aim]:
        """The crops of this frame: each known face where it should be, or where the finder, if asked, has found it."""
        found = self.landmarker.find(image) if ask else []
        placed: dict[int, tuple[Box, float]] = {}
        alone = list(range(len(found)))
        # Faces that are followed well choose first (as in ByteTrack): a lost one must not take their boxes.
        for tracks in ([t for t in present if not t.lost], [t for t in present if t.lost]):
            pairs = self._match(tracks, [found[k][0] for k in alone])
            for row, column in pairs:
                placed[tracks[row].number] = found[alone[column]]
            taken = {column for _, column in pairs}
            alone = [k for column, k in enumerate(alone) if column not in taken]
        aims = []
        for track in present:
            if track.number in placed:
                track.missed = 0
            elif ask:
                track.missed += 1
            aims += self._aims_at(track, placed.get(track.number), image)
        known = [t.box for t in present if not t.lost] + [box for box, _ in placed.values()]
        for box, score in (found[k] for k in alone):
            if all(box.iou(other) < 0.4 for other in known):  # else a second box on a known face
                aims.append(
                    _Aim(CropGeometry.from_box(box, self.landmarker.localizer.crop_spec), None, score, None, True)
                )
        if ask:
            self.schedule.learn(any(aim.track is None for aim in aims))
        return aims

    def _match(self, tracks: list[_Track], boxes: list[Box]) -> list[tuple[int, int]]:
        c, now = self.config, self._time or 0.0
        away = np.array([now - t.seen_s if t.lost else 0.0 for t in tracks])
        reach = np.minimum(c.reach + c.reach_per_s * away, c.max_reach)
        stretch = np.log(c.max_stretch) * np.minimum(1 + away / 2, 2)
        return assign(placement_cost([t.box for t in tracks], boxes, reach, stretch))

    def _aims_at(self, track: _Track, found: tuple[Box, float] | None, image: ImageArray) -> list[_Aim]:
        if found is not None:
            track.score = found[1]
        if track.lost and found is not None:
            frame = CropGeometry.from_box(found[0], self.landmarker.localizer.crop_spec)
            return [_Aim(frame, track, track.score, None, True)]
        height, width = image.shape[:2]
        x, y = track.box.center
        if track.lost and not (0 <= x < width and 0 <= y < height):
            return []  # it has left; only the finder can bring it back
        start = track.shape if self.config.start == "previous" and not track.lost else None
        return [_Aim(self.landmarker.crop_of_shape(track.shape), track, track.score, start)]

    # --- looking

    def _localize(self, image: ImageArray, aims: list[_Aim]) -> list[_Sight]:
        """All aims in one batch; faces that the finder has placed, or that have moved far, are looked at again, and
        some of them in the mirror."""
        sights = self._sights(image, aims)
        for _ in range(self.landmarker.passes - 1):
            closer: dict[int, _Aim] = {}
            for k, sight in enumerate(sights):
                if not _has_extent(sight.shape):
                    continue
                frame = self.landmarker.crop_of_shape(sight.shape)
                if sight.aim.found or self._has_moved(sight, frame):
                    closer[k] = replace(sight.aim, frame=frame)
            for k, sight in zip(closer, self._sights(image, list(closer.values())), strict=True):
                sights[k] = sight
        return self._mirrored(image, sights)

    def _mirrored(self, image: ImageArray, sights: list[_Sight]) -> list[_Sight]:
        """The sights with what looks in the mirror have told, after such a look for those whose turn it is."""
        every = self.config.mirror_every
        if not every or self.landmarker.flip_average or self._carries_state:
            return sights
        due = [
            k
            for k, sight in enumerate(sights)
            if (track := sight.aim.track) is None or track.lean is None or track.lost or track.looks + 1 >= every
        ]
        leans: dict[int, Float64Array] = {}
        if due:
            inputs, starts, weights = self._inputs(image, [sights[k].aim for k in due])
            prediction = self.landmarker.predict_mirrored(inputs, starts, weights)
            for row, k in enumerate(due):
                frame = sights[k].aim.frame
                other = prediction.shapes[row, self._wanted(prediction) - 1].astype(np.float64)
                leans[k] = (other - frame.to_crop(sights[k].shape)) / 2
        result = []
        for k, sight in enumerate(sights):
            track = sight.aim.track
            lean = None if track is None or track.lost else track.lean
            if k in leans:
                lean = leans[k] if lean is None else lean + self.config.mirror_gain * (leans[k] - lean)
            assert lean is not None
            shape = sight.aim.frame.to_picture(sight.aim.frame.to_crop(sight.shape) + lean)
            result.append(
                replace(sight, shape=shape, lean=lean, looks=0 if k in leans or track is None else track.looks + 1)
            )
        return result

    def _has_moved(self, sight: _Sight, frame: CropGeometry) -> bool:
        """Whether a face that is followed lies elsewhere than its crop was placed; `frame` is the crop that fits it."""
        track = sight.aim.track
        if track is None or track.lost or _is_weak(sight.confidence, self.config):
            return False
        return frame.displacement(sight.aim.frame) > self.config.second_look

    def _sights(self, image: ImageArray, aims: list[_Aim]) -> list[_Sight]:
        if not aims:
            return []
        crops, starts, weights = self._inputs(image, aims)
        hidden = None
        if self._carries_state and any(aim.track is not None for aim in aims):
            size = next(aim.track.hidden.size for aim in aims if aim.track is not None)
            none = np.zeros(size, np.float32)
            hidden = np.stack([none if k.track is None or k.found else k.track.hidden for k in aims])
        prediction = self.landmarker.predict(crops, starts, hidden, weights)
        return [self._sight(aim, prediction, k) for k, aim in enumerate(aims)]

    def _inputs(
        self, image: ImageArray, aims: list[_Aim]
    ) -> tuple[ImageArray, Float32Array | None, Float32Array | None]:
        """Crops (B, S, S, 3) of the aims, the shapes to start from and whether to, where any has one."""
        crops = np.stack([aim.frame.crop(image) for aim in aims])
        starts = weights = None
        if any(aim.start is not None for aim in aims):
            blank = np.zeros_like(self.landmarker.localizer.mean_shape)
            pairs = [(aim.frame, aim.start) for aim in aims]
            starts = np.stack([blank if s is None else f.to_crop(s).astype(np.float32) for f, s in pairs])
            weights = np.array([aim.start is not None for aim in aims], np.float32)
        return crops, starts, weights

    def _wanted(self, prediction: Prediction) -> int:
        last = prediction.shapes.shape[1]
        wanted = self.config.iterations or last
        if wanted > last:
            raise InputError.at("iterations", f"at most {last}, which the weights make", str(wanted))
        return wanted

    def _sight(self, aim: _Aim, prediction: Prediction, k: int) -> _Sight:
        error = prediction.expected_error
        return _Sight(
            aim,
            aim.frame.to_picture(prediction.shapes[k, self._wanted(prediction) - 1].astype(np.float64)),
            prediction.hidden[k],
            None if prediction.visibility is None else prediction.visibility[k],
            None if error is None else confidence_from_error(error[k]),
        )

    # --- judging

    def _judge(self, sights: list[_Sight], time_s: float) -> None:
        """Decide which sights are faces, and which face each is."""
        good = [sight for sight in sights if self._is_face(sight)]
        keep = self._without_doubles(good)
        seen = {sight.aim.track.number for sight in keep if sight.aim.track is not None}
        for sight in keep:
            track = sight.aim.track
            if track is None:
                self._begin(sight, time_s)
            else:
                if _is_weak(sight.confidence, self.config) and not _is_weak(track.confidence, self.config):
                    self.schedule.alarm()
                self._follow(track, sight, time_s)
        for sight in sights:
            track = sight.aim.track
            if track is not None and track.number not in seen and not track.lost:
                self._lose(track)
                self.schedule.alarm()

    def _is_face(self, sight: _Sight) -> bool:
        c, track = self.config, sight.aim.track
        shape, quality = sight.shape, sight.quality
        mean = self.landmarker.localizer.mean_shape.astype(np.float64)
        ones = np.ones(len(shape))
        if not _has_extent(shape):
            return False
        if np.sqrt(((similar_part(shape, mean, ones) - mean) ** 2).sum(axis=1).mean()) > c.max_misfit:
            return False
        followed = track is not None and not track.lost
        if quality is not None and quality < (c.keep_confidence if followed else c.accept_confidence):
            return False
        if track is None:
            return True
        if (quality is None or _is_weak(sight.confidence, c)) and track.missed >= c.misses:
            return False
        if track.lost and sight.aim.found:
            return True  # the finder's word; `_match` has measured the way
        if quality is None and track.lost:
            return False  # nothing but the finder tells a face from a wall
        box, expected = Box.around(shape), track.box
        shift = float(np.linalg.norm(box.center - expected.center)) / expected.size
        return shift <= c.max_shift and abs(np.log(box.size / expected.size)) <= np.log(c.max_stretch)

    def _without_doubles(self, sights: list[_Sight]) -> list[_Sight]:
        """Of sights of one and the same face the one that belongs there: followed before lost, nearest, eldest."""

        def rank(sight: _Sight) -> tuple[bool, bool, float, int]:
            track = sight.aim.track
            if track is None:
                return True, True, 0.0, 0
            box, expected = Box.around(sight.shape), track.box
            # Coarse steps: of two that are both where they should be the elder counts.
            way = round(float(np.linalg.norm(box.center - expected.center)) / expected.size / 0.1)
            return False, track.lost, way, track.number

        kept: list[_Sight] = []
        for sight in sorted(sights, key=rank):
            if not any(_one_face(sight.shape, other.shape) for other in kept):
                kept.append(sight)
        return kept

    def _begin(self, sight: _Sight, time_s: float) -> None:
        track = _Track(
            number=self._next_number, scene=self._scenes.number, shape=sight.shape, time_s=time_s, seen_s=time_s,
            score=sight.aim.score, hidden=sight.hidden, visibility=sight.visibility, confidence=sight.confidence,
            smoother=OneEuroShape(self.config.smoothing), memory=ShapeMemory(self.config.smoothing),
            steady=sight.shape, born_s=time_s, lean=sight.lean, looks=sight.looks,
        )  # fmt: skip
        self._next_number += 1
        self._tracks.append(track)
        track.steady = self._smoothed(track, time_s)

    def _follow(self, track: _Track, sight: _Sight, time_s: float) -> None:
        dt = time_s - track.seen_s
        if track.lost:
            # The way during the loss is no speed, and the filters have waited too long.
            track.velocity, track.lost = np.zeros(2), False
            track.smoother.reset()
            if sight.aim.found:
                track.memory.reset()
        elif dt > 0:
            # `shape` is where the face was expected: what it is off by corrects the velocity (an alpha-beta filter).
            off = sight.shape.mean(axis=0) - track.shape.mean(axis=0)
            # What slides over a face drags its points along; the less sure they are, the less they tell of its speed.
            gain = min(0.5, dt / (dt + 0.05)) * (1.0 if sight.quality is None else sight.quality)
            if track.carried is not None:
                gain *= 1 - float(track.carried.trust.mean())  # the pixels have told the speed already
            track.velocity = track.velocity + gain * off / dt
        track.shape, track.time_s, track.seen_s = sight.shape, time_s, time_s
        track.hidden, track.visibility, track.confidence = sight.hidden, sight.visibility, sight.confidence
        track.lean, track.looks = sight.lean, sight.looks
        track.steady = self._smoothed(track, time_s)

    def _lose(self, track: _Track) -> None:
        track.lost, track.anchor, track.carried = True, None, None
        if track.seen_s - track.born_s < self.config.proof_s and track in self._tracks:
            self._tracks.remove(track)

    def _smoothed(self, track: _Track, time_s: float) -> Float64Array:
        held = track.memory(track.shape, time_s, track.visibility, track.confidence)
        return track.smoother(held, time_s, track.confidence, track.carried)

    # --- telling

    def _report(self, time_s: float) -> list[Face]:
        faces = []
        for track in sorted(self._tracks, key=lambda t: t.number):
            away = time_s - track.seen_s
            if track.scene != self._scenes.number or (track.lost and away > self.config.coast_s):
                continue
            fade = np.float32(np.exp(-away / self.config.fade_s)) if track.lost else np.float32(1)
            visibility, confidence = track.visibility, track.confidence
            landmarks = track.steady if self.config.smooth else track.shape
            faces.append(
                Face(
                    landmarks=landmarks,
                    visibility=None if visibility is None else visibility * np.float32(not track.lost),
                    confidence=None if confidence is None else confidence * fade,
                    box=Box.around(landmarks),
                    score=track.score * float(fade),
                    scheme=self.landmarker.localizer.scheme,
                    track_id=track.number,
                )
            )
        return faces


def _has_extent(shape: FloatArray) -> bool:
    return bool(np.isfinite(shape).all() and (np.ptp(shape, axis=0) > 0).all())


def _one_face(shape: FloatArray, other: FloatArray) -> bool:
    """Whether two shapes (N, 2) lie on one face: no farther apart, point by point, than a quarter of it."""
    side = min(Box.around(shape).size, Box.around(other).size)
    return float(np.linalg.norm(shape - other, axis=1).mean()) < 0.25 * side


def _is_weak(confidence: Float32Array | None, config: TrackerConfig) -> bool:
    return confidence is not None and float(confidence.mean()) < config.accept_confidence
