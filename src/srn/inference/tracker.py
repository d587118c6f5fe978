"""`FaceTracker`: follow faces through a video, each with a lasting number."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from srn.errors import InputError, check_number
from srn.face.geometry import CropGeometry, ImageArray
from srn.face.localizer import Float32Array
from srn.inference.appearance import APPEARANCE_CROP, Appearance
from srn.inference.association import has_extent, is_face, match, most_alike, without_duplicates
from srn.inference.box_fit import BoxFit, measured_fits
from srn.inference.face import Faces
from srn.inference.face_boxes import Task
from srn.inference.face_finder import CenterFaceFinder
from srn.inference.flow import FLOW_CROP, FaceFlow, anchored
from srn.inference.found_boxes import FoundFace
from srn.inference.inputs import Channels, ImageInput, as_image
from srn.inference.looker import Looker, chosen
from srn.inference.scenes import FinderSchedule, FrameSignature, SceneMemory
from srn.inference.tracks import Candidate, Observation, Track, TrackerConfig
from srn.inference.views import SURER_TURNED, may_lie_upside_down


class _Found(NamedTuple):
    """A run of the face finder: boxes by the number of their track, and those of new faces."""

    placed: dict[int, FoundFace]
    new: list[FoundFace]


class FaceTracker:
    """Follow every face of one video; `FaceLandmarker.tracker()` makes one.

    In every frame, each known face is viewed in a crop placed by its predicted position, all in one batch. The face
    finder runs seldom (`FinderSchedule`), and at once where a face fails. Confidence and geometry decide whether a
    face is still there. A lost face is reported for a while (`Face.state`). It keeps its number if it is found again
    near its predicted position, or elsewhere with the same appearance.

    Args:
        looker: views faces through the network.
        find: finds the faces of a frame (H, W, 3) uint8 RGB, with landmark boxes, such as `FaceLandmarker.find`.
        config: the settings; the defaults if None.
        passes: number of views of a new or displaced face.
        frame_rate: frames a second, for frames without a time.
        fit: by which `find` made its boxes; CenterFace's if None.

    Attributes:
        found: the faces that `find` gave in the last frame, those that are no face by their landmarks among them; empty
            where it did not run.

    Raises:
        InputError: `passes` is below 1, `frame_rate` is not positive, or the network runs fewer iterations.
    """

    def __init__(
        self,
        looker: Looker,
        find: Callable[[ImageArray], Sequence[FoundFace]],
        config: TrackerConfig | None = None,
        *,
        passes: int = 2,
        frame_rate: float = 30.0,
        fit: BoxFit | None = None,
    ) -> None:
        if passes < 1:
            raise InputError.at("passes", "at least 1", str(passes))
        check_number("frame_rate", frame_rate, "frames a second, above 0", least=math.nextafter(0, 1))
        self.config, self.passes, self.frame_rate = config or TrackerConfig(), passes, frame_rate
        self._looker, self._find, self._flow = looker, find, FaceFlow()
        self._fit = fit or measured_fits()[CenterFaceFinder.name]
        self._mean_shape = looker.localizer.mean_shape.astype(np.float64)
        # Only weights trained for it use the state of the frame before (eq. 13).
        self._carries_state = getattr(looker.localizer, "recurrence", "iteration") == "frame"
        if self.config.iterations is not None:
            looker.check_iterations(self.config.iterations)  # before a video is read, and a file begun
        self.reset()

    def reset(self) -> None:
        """Discard all tracks; numbers start from 1 again."""
        self._tracks: list[Track] = []
        self.found: list[FoundFace] = []
        self._next_number = 1
        self._time: float | None = None
        self._size: tuple[int, int] | None = None
        self._scenes = SceneMemory(self.config.memory_s)
        c = self.config
        self.schedule = FinderSchedule(c.find_every, c.find_when_empty, c.find_after_change)

    def update(
        self, frame: ImageInput, time_s: float | None = None, *, channels: Channels = "RGB", unit_range: bool = False
    ) -> Faces:
        """Process the next frame; `as_image` explains `frame`, `channels` and `unit_range`.

        Args:
            time_s: time of the frame in seconds, from any fixed moment; frames need not be evenly spaced. One frame of
                `frame_rate` after the last if None.

        Returns:
            The faces, by rising `track_id`. `landmarks` are smoothed if configured, `box` is their tight box, and
            `score` is that of the last find. A face that was lost less than `coast_s` ago is reported at its predicted
            position, as long as that lies in the picture: with `state` "predicted", a visibility of 0, and falling
            confidence and score.

        Raises:
            InputError: the frame is invalid, or its time lies before that of the last one.
            DataError: the file cannot be read.
        """
        image = as_image(frame, channels, unit_range=unit_range)
        time_s = self._checked_time(time_s)
        self.found = []
        signature = FrameSignature.of(image)
        present = self._present_tracks(image, signature, time_s)
        self._predict(image, present, time_s)
        followed = [track for track in present if not track.lost]
        doubtful = len(present) - sum(not track.last.is_weak(self.config) for track in followed)
        size = (image.shape[1], image.shape[0])
        finding = self.schedule.due(signature, [track.box for track in followed], doubtful, size)
        found = self._found(image, present) if finding else _Found({}, [])
        accepted = self._accepted(image, self._candidates(image, present, found))
        failing = {track.number for track in followed} - _numbers(accepted)
        if failing:  # the face finder has the last word, in the same frame
            if not finding:
                found = self._found(image, present)
                self.schedule.ran(signature)
            if found.new or any(number in found.placed for number in failing):
                accepted = self._accepted(image, self._candidates(image, present, found, failing))
        self._judge(image, accepted, present, time_s)
        if self.config.flow:
            for track in self._tracks:
                if not track.lost:
                    track.anchor = anchored(image, self._looker.geometry_of_shape(track.smoothed, FLOW_CROP))
        reported = [track for track in self._tracks if track.scene == self._scenes.number]
        faces = [track.face(self._looker.localizer.scheme) for track in reported if not track.has_left(image.shape)]
        return Faces(face.within(*image.shape[:2]) for face in faces if face is not None)

    def _checked_time(self, time_s: float | None) -> float:
        if time_s is None:
            time_s = 0.0 if self._time is None else self._time + 1 / self.frame_rate
        since = -math.inf if self._time is None else self._time
        after = "" if self._time is None else f", not before the last frame's {self._time}"
        check_number("time of a frame", time_s, f"seconds{after}", least=since)
        self._time = time_s
        return time_s

    # --- prediction

    def _present_tracks(self, image: ImageArray, signature: FrameSignature, time_s: float) -> list[Track]:
        """Note the scene of the frame, drop old tracks, and return those of this scene."""
        size = (image.shape[1], image.shape[0])
        if self._size not in (None, size):  # taken for another video
            self._scenes = SceneMemory(self.config.memory_s)
            self._tracks.clear()
        self._size = size
        if self._scenes.update(signature, time_s):
            self.schedule.alarm()
            for track in self._tracks:  # also if the scene has come back: its faces have moved meanwhile
                track.lose()
                track.velocity = np.zeros(2)
        ended = [track for track in self._tracks if time_s - track.seen_s > self.config.memory_s]
        if any(not track.lost for track in ended):  # by a gap between frames: nobody has looked for the face since
            self.schedule.alarm()
        self._tracks = [track for track in self._tracks if track not in ended]
        return [track for track in self._tracks if track.scene == self._scenes.number]

    def _predict(self, image: ImageArray, present: list[Track], time_s: float) -> None:
        """Move tracks to their position in this frame, by their velocities and by the optical flow."""
        before = [(track.smoothed, time_s - track.time_s) for track in present]
        for track in present:
            track.predict(time_s)
        # Where faces overlap, the pixels of the one in front would carry the one behind along.
        alone = [all(t.box.iou(other.box) < 0.05 for other in present if other is not t) for t in present]
        for track, (smoothed, dt), is_alone in zip(present, before, alone, strict=True):
            if is_alone:
                track.carry(image, self._flow, smoothed, dt)

    # --- candidates

    def _found(self, image: ImageArray, present: list[Track]) -> _Found:
        """Run the face finder, and assign its boxes to the tracks."""
        self.found = list(self._find(image))
        placed, unmatched = self._matched(present, self.found)
        for track in present:
            face = placed.get(track.number)
            if face is not None:
                track.missed, track.score = 0, face.score
            else:
                track.missed += 1
        known = [track.box for track in present if not track.lost] + [face.box for face in placed.values()]
        # A box that overlaps a known face is a second find of it.
        new = [face for face in unmatched if all(face.box.iou(box) < 0.4 for box in known)]
        self.schedule.learn(bool(new))
        return _Found(placed, new)

    def _candidates(
        self, image: ImageArray, present: list[Track], found: _Found, failing: Collection[int] = ()
    ) -> list[Candidate]:
        """Place the crops of this frame: by prediction; of lost and `failing` tracks and of new faces by the finder."""
        candidates = []
        for track in present:
            face = found.placed.get(track.number) if track.lost or track.number in failing else None
            start = track.shape if self.config.start == "previous" and not track.lost else None
            if face is not None:
                candidates.append(replace(self._candidate_of(face, track, image), start=start))
            elif not track.has_left(image.shape):
                candidates.append(Candidate(self._looker.geometry_of_shape(track.shape), track, track.score, start))
        return candidates + [self._candidate_of(face, None, image) for face in found.new]

    def _candidate_of(self, face: FoundFace, track: Track | None, image: ImageArray) -> Candidate:
        """Place the crop of a found face, of a lost or failing track or a new one."""
        geometry = self._looker.geometry_of_box(face.box, face.angle)
        lying = Task.of_found(0, image, face).turned(math.pi, self._fit)
        upside_down = self._looker.geometry_of_box(lying.box, lying.angle)
        return Candidate(geometry, track, face.score, found=True, upside_down=upside_down)

    def _matched(self, present: list[Track], found: list[FoundFace]) -> tuple[dict[int, FoundFace], list[FoundFace]]:
        """Assign found faces to tracks, by their numbers; also return the faces without a track."""
        placed: dict[int, FoundFace] = {}
        # Followed faces choose first, as in ByteTrack, so that lost ones cannot take their boxes.
        for tracks in ([t for t in present if not t.lost], [t for t in present if t.lost]):
            pairs = match(tracks, [face.box for face in found], self.config)
            placed |= {tracks[row].number: found[column] for row, column in pairs}
            taken = {column for _, column in pairs}
            found = [face for column, face in enumerate(found) if column not in taken]
        return placed, found

    # --- observation

    def _observe(self, image: ImageArray, candidates: list[Candidate]) -> list[Observation]:
        """View all candidates in one batch, and those again whose crop was placed by the finder or was misplaced."""
        due = self._due_mirrored(candidates)
        observed: dict[int, Observation] = {}
        mirrored: dict[int, Observation] = {}
        now = dict(enumerate(candidates))
        for further in range(self.passes - 1, -1, -1):
            # A crop that the finder placed is placed anew before it is mirrored.
            both = [k for k in now if k in due and not (further and now[k].found)]
            views = self._views(image, [*now.values(), *(now[k] for k in both)], len(both))
            for k in now:
                mirrored.pop(k, None)
            observed.update(zip(now, views, strict=False))
            mirrored.update(zip(both, views[len(now) :], strict=True))
            now = {k: again for k in now if (again := self._placed_anew(observed[k])) is not None}
            if not now:
                break
        return [_mirror_corrected(observed[k], mirrored.get(k), self.config) for k in range(len(candidates))]

    def _righted(self, image: ImageArray, observations: list[Observation]) -> list[Observation]:
        """View found faces of little confidence upside down as well; the surer observation of each counts."""
        overturned = [
            k
            for k, seen in enumerate(observations)
            if seen.candidate.upside_down is not None
            and seen.mean_confidence is not None
            and may_lie_upside_down(seen.mean_confidence, seen.candidate.score)
        ]
        others = [
            replace(c, geometry=c.upside_down) for k in overturned if (c := observations[k].candidate).upside_down
        ]
        for k, other in zip(overturned, self._observe(image, others), strict=True):
            before, after = observations[k].mean_confidence, other.mean_confidence
            if before is not None and after is not None and after > before + SURER_TURNED:
                observations[k] = other
        return observations

    def _due_mirrored(self, candidates: Sequence[Candidate]) -> set[int]:
        """Return which candidates are viewed mirrored, too, by index."""
        # Neither where every view is averaged with its mirrored one, nor where views continue a state.
        if not self.config.mirror_every or self._looker.flip_average or self._carries_state:
            return set()
        return {
            k
            for k, before in enumerate(map(_last, candidates))
            if before is None or before.mirror_offset is None or before.since_mirrored + 1 >= self.config.mirror_every
        }

    def _placed_anew(self, observation: Observation) -> Candidate | None:
        """Place the crop of a face by its landmarks if the finder had placed it, or if it was misplaced."""
        if not has_extent(observation.shape):
            return None
        fitting = self._looker.geometry_of_shape(observation.shape)
        if not (observation.candidate.found or self._is_displaced(observation, fitting)):
            return None
        return replace(observation.candidate, geometry=fitting)

    def _views(self, image: ImageArray, candidates: list[Candidate], mirrored: int) -> list[Observation]:
        """View candidates in one batch, the last few of them mirrored."""
        if not candidates:
            return []
        view = self._looker.view(
            [image] * len(candidates),
            [candidate.geometry for candidate in candidates],
            starts=[candidate.start for candidate in candidates],
            hidden=self._states(candidates),
            iterations=self.config.iterations,
            mirrored=[k >= len(candidates) - mirrored for k in range(len(candidates))],
        )
        visibility, confidence, covariance = view.visibility, view.confidence, view.covariance
        return [
            Observation(
                candidate, view.shapes[k], view.hidden[k],
                chosen(visibility, k), chosen(confidence, k), chosen(covariance, k),
            )
            for k, candidate in enumerate(candidates)
        ]  # fmt: skip

    def _states(self, candidates: list[Candidate]) -> Float32Array | None:
        """Recurrent states (B, H) that the frame before has left; zeros for faces placed by the finder."""
        tracks = [candidate.track for candidate in candidates if candidate.track is not None]
        if not self._carries_state or not tracks:
            return None
        blank = np.zeros_like(tracks[0].last.hidden)
        return np.stack([blank if c.track is None or c.found else c.track.last.hidden for c in candidates])

    def _is_displaced(self, observation: Observation, fitting: CropGeometry) -> bool:
        """Whether a followed face lies elsewhere than its crop was placed; `fitting` is the crop that fits it."""
        track = observation.candidate.track
        if track is None or track.lost or observation.is_weak(self.config):
            return False
        return fitting.displacement(observation.candidate.geometry) > self.config.max_displacement

    # --- judgement

    def _accepted(self, image: ImageArray, candidates: list[Candidate]) -> list[Observation]:
        """View candidates; return the observations that show a face, one of each face."""
        observations = self._righted(image, self._observe(image, candidates))
        return without_duplicates(o for o in observations if is_face(o, self._mean_shape, self.config))

    def _judge(self, image: ImageArray, accepted: list[Observation], present: list[Track], time_s: float) -> None:
        """Update the tracks by their observations, start or resume tracks for new faces, and lose the others."""
        seen = _numbers(accepted)
        for unseen in [track for track in present if track.number not in seen and not track.lost]:
            unseen.lose()
            self.schedule.doubt()
            if not unseen.is_proven:
                self._tracks.remove(unseen)
        for observation in accepted:
            known = observation.candidate.track
            if known is not None and observation.is_weak(self.config) and not known.last.is_weak(self.config):
                self.schedule.alarm()
            look = Appearance(image, self._looker.geometry_of_shape(observation.shape, APPEARANCE_CROP))
            track: Track | None = known or most_alike(
                look, observation, [t for t in present if t.lost and t.number not in seen]
            )
            if track is not None:
                track.follow(observation, time_s)
            else:
                track = Track(self._next_number, self._scenes.number, observation, time_s, self.config)
                self._tracks.append(track)
                self._next_number += 1
            seen.add(track.number)
            before = track.appearance
            # What is left of a face that leaves through the picture's edge looks otherwise than the face that returns.
            if before is None or (not observation.is_weak(self.config) and look.is_whole >= before.is_whole):
                track.appearance = look


def _numbers(observations: Iterable[Observation]) -> set[int]:
    """Return the numbers of the tracks of these observations."""
    return {o.candidate.track.number for o in observations if o.candidate.track is not None}


def _last(candidate: Candidate) -> Observation | None:
    """Return the observation of the frame before; None for a new or lost face."""
    return None if candidate.track is None or candidate.track.lost else candidate.track.last


def _mirror_corrected(observation: Observation, mirrored: Observation | None, config: TrackerConfig) -> Observation:
    """Add its track's mirror offset to a shape; a mirrored view of the same crop brings it up to date."""
    geometry, last = observation.candidate.geometry, _last(observation.candidate)
    offset, age = (None, 0) if last is None else (last.mirror_offset, last.since_mirrored + 1)
    if mirrored is not None:
        new = (geometry.to_crop(mirrored.shape) - geometry.to_crop(observation.shape)) / 2
        offset, age = new if offset is None else offset + config.mirror_gain * (new - offset), 0
    if offset is None:
        return observation
    shape = geometry.to_picture(geometry.to_crop(observation.shape) + offset)
    return replace(observation, shape=shape, mirror_offset=offset, since_mirrored=age)
