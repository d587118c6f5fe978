"""`FaceTracker`: follow faces through a video, each with a lasting number."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from srn.errors import InputError
from srn.face.geometry import CropGeometry, ImageArray
from srn.face.localizer import Float32Array
from srn.inference.association import has_extent, is_face, match, without_duplicates
from srn.inference.face import Faces
from srn.inference.face_finder import FoundFace
from srn.inference.flow import FLOW_CROP, FaceFlow, anchored
from srn.inference.inputs import Channels, ImageInput, as_image
from srn.inference.looker import Looker, chosen
from srn.inference.scenes import FinderSchedule, FrameSignature, SceneMemory
from srn.inference.tracks import Candidate, Observation, Track, TrackerConfig


class FaceTracker:
    """Follow every face of one video; `FaceLandmarker.tracker()` makes one.

    In every frame, each known face is viewed in a crop placed by its predicted position, all in one batch. The face
    finder runs seldom (`FinderSchedule`). Confidence and geometry decide whether a face is still there. A lost face is
    reported for a while, and keeps its number if it is found again near its predicted position.

    Args:
        looker: views faces through the network.
        find: finds the faces of a frame (H, W, 3) uint8 RGB, with landmark boxes, such as `FaceLandmarker.find`.
        config: the settings; the defaults if None.
        passes: number of views of a new or displaced face.
        frame_rate: frames a second, for frames without a time.

    Raises:
        InputError: `passes` is below 1, or `frame_rate` is not positive.
    """

    def __init__(
        self,
        looker: Looker,
        find: Callable[[ImageArray], Sequence[FoundFace]],
        config: TrackerConfig | None = None,
        *,
        passes: int = 2,
        frame_rate: float = 30.0,
    ) -> None:
        if passes < 1:
            raise InputError.at("passes", "at least 1", str(passes))
        if not (np.isfinite(frame_rate) and frame_rate > 0):
            raise InputError.at("frame_rate", "frames a second, above 0", f"{frame_rate:g}")
        self.config, self.passes, self.frame_rate = config or TrackerConfig(), passes, frame_rate
        self._looker, self._find, self._flow = looker, find, FaceFlow()
        self._mean_shape = looker.localizer.mean_shape.astype(np.float64)
        # Only weights trained for it use the state of the frame before (eq. 13).
        self._carries_state = getattr(looker.localizer, "recurrence", "iteration") == "frame"
        self.reset()

    def reset(self) -> None:
        """Discard all tracks; numbers start from 1 again."""
        self._tracks: list[Track] = []
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
            position, with a visibility of 0 and with falling confidence and score.

        Raises:
            InputError: the frame is invalid, or its time lies before that of the last one.
            DataError: the file cannot be read.
        """
        image = as_image(frame, channels, unit_range=unit_range)
        time_s = self._checked_time(time_s)
        signature = FrameSignature.of(image)
        present = self._present_tracks(image, signature, time_s)
        self._predict(image, present, time_s)
        followed = [track for track in present if not track.lost]
        doubtful = len(present) - sum(not track.last.is_weak(self.config) for track in followed)
        size = (image.shape[1], image.shape[0])
        find = self.schedule.due(signature, [track.box for track in followed], doubtful, size)
        self._judge(self._observe(image, self._candidates(image, present, find)), time_s)
        if self.config.flow:
            for track in self._tracks:
                if not track.lost:
                    track.anchor = anchored(image, self._looker.geometry_of_shape(track.smoothed, FLOW_CROP))
        scheme = self._looker.localizer.scheme
        reported = [track.face(scheme) for track in self._tracks if track.scene == self._scenes.number]
        return Faces(face for face in reported if face is not None)

    def _checked_time(self, time_s: float | None) -> float:
        if time_s is None:
            time_s = 0.0 if self._time is None else self._time + 1 / self.frame_rate
        if not np.isfinite(time_s) or (self._time is not None and time_s < self._time):
            raise InputError.at("time of a frame", f"seconds, not before the last frame's {self._time}", f"{time_s}")
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
        self._tracks = [track for track in self._tracks if time_s - track.seen_s <= self.config.memory_s]
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

    def _candidates(self, image: ImageArray, present: list[Track], find: bool) -> list[Candidate]:
        """Place the crops of this frame, by prediction or by the face finder, which runs if `find`."""
        found = list(self._find(image)) if find else []
        placed, unmatched = self._matched(present, found)
        candidates = []
        for track in present:
            face = placed.get(track.number)
            if face is not None:
                track.missed, track.score = 0, face.score
            elif find:
                track.missed += 1
            geometry = self._geometry(track, face, image)
            if geometry is not None:
                start = track.shape if self.config.start == "previous" and not track.lost else None
                candidates.append(Candidate(geometry, track, track.score, start, found=track.lost and face is not None))
        known = [track.box for track in present if not track.lost] + [face.box for face in placed.values()]
        # A box that overlaps a known face is a second find of it.
        new = [face for face in unmatched if all(face.box.iou(box) < 0.4 for box in known)]
        candidates += [Candidate(self._looker.geometry_of_box(f.box), None, f.score, found=True) for f in new]
        if find:
            self.schedule.learn(bool(new))
        return candidates

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

    def _geometry(self, track: Track, found: FoundFace | None, image: ImageArray) -> CropGeometry | None:
        """Place the crop of a track; None if it has left the picture."""
        if track.lost:
            if found is not None:
                return self._looker.geometry_of_box(found.box)
            x, y = track.box.center
            if not (0 <= x < image.shape[1] and 0 <= y < image.shape[0]):
                return None
        return self._looker.geometry_of_shape(track.shape)

    # --- observation

    def _observe(self, image: ImageArray, candidates: list[Candidate]) -> list[Observation]:
        """View all candidates in one batch, and those again whose crop was placed by the finder or was misplaced."""
        observations = self._views(image, candidates)
        for _ in range(self.passes - 1):
            again: dict[int, Candidate] = {}
            for k, observation in enumerate(observations):
                if has_extent(observation.shape):
                    fitting = self._looker.geometry_of_shape(observation.shape)
                    if observation.candidate.found or self._is_displaced(observation, fitting):
                        again[k] = replace(observation.candidate, geometry=fitting)
            for k, observation in zip(again, self._views(image, list(again.values())), strict=True):
                observations[k] = observation
        # Neither where every view is averaged with its mirrored one, nor where views continue a state.
        if not self.config.mirror_every or self._looker.flip_average or self._carries_state:
            return observations
        return self._mirror_corrected(image, observations)

    def _views(self, image: ImageArray, candidates: list[Candidate], mirrored: bool = False) -> list[Observation]:
        if not candidates:
            return []
        view = self._looker.view(
            [image] * len(candidates),
            [candidate.geometry for candidate in candidates],
            starts=[candidate.start for candidate in candidates],
            hidden=None if mirrored else self._states(candidates),
            iterations=self.config.iterations,
            mirrored=mirrored,
        )
        visibility, confidence = view.visibility, view.confidence
        return [
            Observation(candidate, view.shapes[k], view.hidden[k], chosen(visibility, k), chosen(confidence, k))
            for k, candidate in enumerate(candidates)
        ]

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

    def _mirror_corrected(self, image: ImageArray, observations: list[Observation]) -> list[Observation]:
        """Add to every shape its track's mirror offset, which mirrored views of those that are due keep up to date."""
        last = [None if (t := o.candidate.track) is None or t.lost else t.last for o in observations]
        offsets = {k: o.mirror_offset for k, o in enumerate(last) if o is not None and o.mirror_offset is not None}
        ages = {k: o.since_mirrored + 1 for k, o in enumerate(last) if o is not None}
        due = [k for k in range(len(last)) if k not in offsets or ages[k] >= self.config.mirror_every]
        mirrored = self._views(image, [observations[k].candidate for k in due], mirrored=True)
        for k, other in zip(due, mirrored, strict=True):
            to_crop = other.candidate.geometry.to_crop
            new = (to_crop(other.shape) - to_crop(observations[k].shape)) / 2
            old = offsets.get(k, new)
            offsets[k], ages[k] = old + self.config.mirror_gain * (new - old), 0
        corrected = []
        for k, observation in enumerate(observations):
            geometry = observation.candidate.geometry
            shape = geometry.to_picture(geometry.to_crop(observation.shape) + offsets[k])
            corrected.append(replace(observation, shape=shape, mirror_offset=offsets[k], since_mirrored=ages[k]))
        return corrected

    # --- judgement

    def _judge(self, observations: list[Observation], time_s: float) -> None:
        """Update the tracks by the observations that are faces, start new tracks, and lose those without any."""
        faces = [o for o in observations if is_face(o, self._mean_shape, self.config)]
        seen = set()
        for observation in without_duplicates(faces):
            track = observation.candidate.track
            if track is None:
                self._tracks.append(Track(self._next_number, self._scenes.number, observation, time_s, self.config))
                self._next_number += 1
                continue
            seen.add(track.number)
            if observation.is_weak(self.config) and not track.last.is_weak(self.config):
                self.schedule.alarm()
            track.follow(observation, time_s)
        for track in [o.candidate.track for o in observations if o.candidate.track is not None]:
            if track.number not in seen and not track.lost:
                track.lose()
                self.schedule.alarm()
                if not track.is_proven:
                    self._tracks.remove(track)
