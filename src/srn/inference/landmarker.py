"""`FaceLandmarker`: find faces and their landmarks in pictures."""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np

from srn.errors import InputError, check_count, is_out_of_memory, shown
from srn.face.geometry import Box, CropGeometry, ImageArray
from srn.face.localizer import Localizer
from srn.inference.box_fit import BoxFit, measured_fits
from srn.inference.cores import check_threads, thread_count
from srn.inference.engines import Device, Precision, Runtime, check_choice
from srn.inference.face import Face, Faces
from srn.inference.face_boxes import BoxLike, Task
from srn.inference.face_finder import (
    CenterFaceFinder,
    FaceFinder,
    LandmarkBoxFinder,
    largest_faces,
)
from srn.inference.found_boxes import FoundFace
from srn.inference.inputs import (
    Channels,
    ImageInput,
    as_image,
    box_list,
    check_flag,
    check_search,
    is_finder,
    listed,
    picture_list,
)
from srn.inference.looker import Looker, View, chosen, combined, strayed
from srn.inference.runtime import OnnxLocalizer, open_localizer
from srn.inference.scheme_boxes import scheme_fit
from srn.inference.views import MOST_VIEWS, SURER_TURNED, UNSURE, Accuracy, is_viewed_again, may_lie_upside_down

if TYPE_CHECKING:  # a picture does not wait for the tracker
    from srn.inference.tracker import FaceTracker
    from srn.inference.tracks import Start, TrackerConfig

# If the built-in finder is sure of no face, its best boxes are viewed; confident landmarks show which hold a face.
DOUBTFUL_SCORE = 0.1  # lowest score of such a box
DOUBTFUL_FACES = 4  # largest number of them
BELIEVED_CONFIDENCE = 0.25  # lowest mean confidence of the landmarks (`docs/face_finder.md`)
BELIEVED_TOGETHER = 0.5  # lowest sum of it and the score: the two err apart from each other

# A face of low confidence (`UNSURE`) may be turned: it is also localized in crops that are rotated by quarter turns.
SURER_BY = 0.15  # gain in mean confidence from which another turn replaces the first one
TURNS = (np.pi / 2, np.pi, -np.pi / 2)  # radians, x to y
# The finder tells how most faces lie. One that it took to lie otherwise has a first view of no confidence.
UNSURE_FOUND = 0.4  # mean confidence of it from which a found face lies as the finder says, or upside down
SMALLEST_TURNED = 16.0  # size of a found face, pixels, below which no turn makes it sure
PROMISING = 0.3  # mean confidence of a first view upside down from which more follow, if the upright views had more
SURER_FOUND = 0.05  # gain in mean confidence, from which a larger crop of a found face replaces the first one
LARGER, LOWER = 1.3, 0.1  # box of a face of which the finder saw a part: what hides or turns a face raises its box


def _check_kinds(weights: Any, localizer: Any, face_finder: Any, smallest: Any) -> None:
    """Raise `InputError` where an option of `FaceLandmarker` is of another kind than stated."""
    localizes = callable(localizer) and not isinstance(localizer, type) and hasattr(localizer, "crop_spec")
    for name, value, expected, fits in (
        ("weights", weights, "the path of a file", isinstance(weights, str | os.PathLike)),
        ("smallest", smallest, "a number of pixels", isinstance(smallest, Real)),
        ("localizer", localizer, "a Localizer, which is called with crops", localizes),
        ("face_finder", face_finder, "an object with find(image)", is_finder(face_finder)),
    ):
        if value is not None and not fits:
            raise InputError.at(name, expected, shown(value))


class FaceLandmarker:
    """Find faces and their landmarks in pictures.

    Args:
        weights: an exported network (`.onnx`) or a training run's weights (`.safetensors`, which needs PyTorch). The
            shipped weights if None.
        localizer: a network of your own, instead of `weights`.
        face_finder: finds the faces if `detect` gets no boxes; the built-in finder if None. Its boxes are mapped by
            `default_fit`; wrap it in `LandmarkBoxFinder` to state another `BoxFit`.
        smallest: height of the smallest faces to search for, as in `CenterFaceFinder`. For the built-in finder only.
        max_faces: largest number of faces in a picture, likewise.
        accuracy: how often a face is viewed. `fast`: once. `balanced`: a second time where it pays, because the first
            crop was misplaced and its landmarks are in doubt. `best`: at least twice. From the second view on, the crop
            is placed by the landmarks of the one before, and up to two more views follow while it was misplaced. The
            result is the weighted mean of all views (`combined`). A tracker views a new face twice, but for `fast`.
        flip_average: average every view with the view of the mirrored crop: more accurate, at twice the cost.
        batch_size: largest number of faces in one run of the network; halved for good where memory does not suffice.
        threads: CPU threads of the network and of the built-in finder; all cores if None.
        providers: ONNX Runtime execution providers, best first, instead of `device`. For `.onnx` weights only.
        device: of the network and of the built-in finder: `cpu`, or `cuda` for an NVIDIA GPU.
        runtime: what runs the network, as in `OnnxLocalizer`.
        precision: its arithmetic, likewise.

    Raises:
        InputError: an option is out of range, or two options contradict each other.
        WeightsError: the weights cannot be read.
    """

    def __init__(
        self,
        weights: str | os.PathLike[str] | None = None,
        *,
        localizer: Localizer | None = None,
        face_finder: FaceFinder | LandmarkBoxFinder | None = None,
        smallest: float | None = None,
        max_faces: int | None = None,
        accuracy: Accuracy = "balanced",
        flip_average: bool = False,
        batch_size: int = 16,
        threads: int | None = None,
        providers: Sequence[str] | None = None,
        device: Device = "cpu",
        runtime: Runtime = "onnxruntime",
        precision: Precision = "float32",
    ) -> None:
        check_choice("accuracy", accuracy, Accuracy)
        check_count("batch_size", batch_size)
        check_threads(threads)
        check_flag("flip_average", flip_average)
        _check_kinds(weights, localizer, face_finder, smallest)
        check_search(smallest, max_faces)
        if face_finder is not None and (smallest is not None or max_faces is not None):
            raise InputError.at("FaceLandmarker", "smallest and max_faces without a face finder of your own", "both")
        opened = localizer is None
        if localizer is None:
            localizer = open_localizer(
                weights, threads=threads, providers=providers, device=device, runtime=runtime, precision=precision
            )
        elif (weights, providers, device, runtime, precision) != (None, None, "cpu", "onnxruntime", "float32"):
            expected = "a localizer, or weights with their providers, device, runtime or precision"
            raise InputError.at("FaceLandmarker", expected, "both")
        elif threads is not None and face_finder is not None:
            raise InputError.at("threads", "none with a localizer and a face finder of your own", str(threads))
        self.localizer = localizer
        # Whoever fits boxes to landmarks fits them to those of these weights.
        self._scheme_fit = None if isinstance(face_finder, LandmarkBoxFinder) else scheme_fit(localizer)
        self.looker = Looker(self.localizer, flip_average=flip_average)
        self._finder: LandmarkBoxFinder | None = None
        if face_finder is not None:
            self._finder = face_finder if isinstance(face_finder, LandmarkBoxFinder) else LandmarkBoxFinder(face_finder)
        self.accuracy, self.flip_average = accuracy, flip_average
        self.batch_size, self.smallest, self.max_faces, self._threads = batch_size, smallest, max_faces, threads
        self._device: Device = device
        # Networks and finders of others may bear one caller alone, and a GPU does one thing after the other.
        plain = (device, runtime) == ("cpu", "onnxruntime") and isinstance(self.localizer, OnnxLocalizer)
        self._side_by_side = opened and face_finder is None and plain
        self._finder_of_each: LandmarkBoxFinder | None = None

    def __repr__(self) -> str:
        finder = CenterFaceFinder if self._finder is None else type(self._finder.finder)
        return (
            f"FaceLandmarker(weights={self.localizer.name!r}, scheme={self.localizer.scheme.name!r},"
            f" accuracy={self.accuracy!r}, flip_average={self.flip_average}, face_finder={finder.__name__})"
        )

    def find(self, image: ImageArray) -> list[FoundFace]:
        """Find the faces of a picture (H, W, 3) uint8 RGB: tight landmark boxes, picture pixels, best score first.

        Doubtful boxes are kept if their landmarks are confident: a mask lowers the finder's score more than theirs.
        """
        image = as_image(image)
        if self._finder is None:  # loaded on first use, because callers with boxes of their own do not need it
            self._finder = self._open_finder(self._threads)
        return self._found_by(self._finder, image)

    def _open_finder(self, threads: int | None) -> LandmarkBoxFinder:
        wished: dict[str, Any] = {"smallest": self.smallest, "max_faces": self.max_faces, "device": self._device}
        return LandmarkBoxFinder(CenterFaceFinder(doubtful_threshold=DOUBTFUL_SCORE, threads=threads, **wished))

    def _find_in_each(self, images: Sequence[ImageArray]) -> list[list[FoundFace]]:
        """Find the faces of pictures, several at a time where there are cores for it: the results are the same."""
        several = len(images) > 1 and self._side_by_side  # only then are cores asked for, which reads files
        workers = min(thread_count(self._threads), len(images)) if several else 1
        if workers < 2:
            return [self.find(image) for image in images]
        if self._finder_of_each is None:
            self._finder_of_each = self._open_finder(1)
        with ThreadPoolExecutor(workers) as pool:
            return list(pool.map(functools.partial(self._found_by, self._finder_of_each), images))

    def _found_by(self, finder: LandmarkBoxFinder, image: ImageArray) -> list[FoundFace]:
        found = finder.find(image)
        if (fit := self._scheme_fit) is not None:
            found = [replace(face, box=fit.apply(face.box, face.turn, face.tilt)) for face in found]
        doubtful = [face for face in found if face.doubtful][:DOUBTFUL_FACES]
        believed = []
        if doubtful:
            # Without turns and with two views at most: the limits were measured so.
            tasks = [Task.of_found(0, image, face) for face in doubtful]
            views = self._viewed(tasks, self._first_view(tasks), most=2)
            for face, view in zip(doubtful, views, strict=True):
                if view.confidence is None:
                    continue
                sure = float(view.mean_confidence[0])
                if sure >= max(BELIEVED_CONFIDENCE, BELIEVED_TOGETHER - face.score):
                    # What hides a face misleads the finder more than the landmarks.
                    lies = self.looker.geometry_of_shape(view.shapes[0]).angle
                    tilt = math.remainder(lies + face.turn * math.pi / 2, math.tau)
                    believed.append(replace(face, box=Box.around(view.shapes[0]), doubtful=False, tilt=tilt))
        faces = sorted([face for face in found if not face.doubtful] + believed, key=lambda face: -face.score)
        return largest_faces(faces, self.max_faces)

    def detect(
        self,
        image: ImageInput,
        boxes: Iterable[BoxLike] | None = None,
        *,
        channels: Channels = "RGB",
        unit_range: bool = False,
    ) -> Faces:
        """Find every face of a picture and its landmarks; `as_image` explains `image`, `channels` and `unit_range`.

        Args:
            boxes: tight landmark boxes (brows to chin) in picture pixels, x0, y0, x1, y1, instead of the face finder's.
                Faces that `find` has found may stand among them; they are localized as those that `detect` finds.

        Returns:
            The faces, best score first, or in the order of `boxes`.

        Raises:
            InputError: the picture or a box is invalid.
            DataError: the file cannot be read.
        """
        given = None if boxes is None else [box_list("boxes", boxes)]
        return self.detect_batch([image], given, channels=channels, unit_range=unit_range)[0]

    def detect_batch(
        self,
        images: Iterable[ImageInput],
        boxes: Iterable[Iterable[BoxLike]] | None = None,
        *,
        channels: Channels = "RGB",
        unit_range: bool = False,
    ) -> list[Faces]:
        """Run `detect` on several pictures, with their faces in common batches. The results are the same."""
        pictures = [as_image(image, channels, unit_range=unit_range) for image in picture_list(images, channels)]
        given = None if boxes is None else listed("boxes", boxes, "a list of face boxes for each picture")
        if given is not None and len(given) != len(pictures):
            raise InputError.at("boxes", f"a list for each of {len(pictures)} pictures", f"{len(given)} lists")
        given = None if given is None else [box_list(f"boxes[{k}]", group) for k, group in enumerate(given)]
        if given is None:
            found = enumerate(zip(pictures, self._find_in_each(pictures), strict=True))
            tasks = [Task.of_found(number, image, face) for number, (image, some) in found for face in some]
        else:
            tasks = [Task.of_given(k, image, values) for k, image in enumerate(pictures) for values in given[k]]
        faces: list[list[Face]] = [[] for _ in pictures]
        for task, view in zip(tasks, self._localize_in_batches(tasks), strict=True):
            faces[task.number].append(self._face(task, view))
        return [Faces(group) for group in faces]

    def tracker(
        self,
        *,
        smooth: bool | None = None,
        start: Start | None = None,
        iterations: int | None = None,
        find_every: int | None = None,
        frame_rate: float = 30.0,
        config: TrackerConfig | None = None,
    ) -> FaceTracker:
        """Make a tracker for one video: `for frame in frames: faces = tracker.update(frame)`.

        `TrackerConfig` explains the first four arguments and their defaults.

        Args:
            frame_rate: frames a second, for frames without a time.
            config: all settings, instead of the first four arguments.

        Raises:
            InputError: a setting is out of range, or is given beside `config`.
        """
        from srn.inference.tracker import FaceTracker
        from srn.inference.tracks import TrackerConfig

        options: dict[str, Any] = {"smooth": smooth, "start": start, "iterations": iterations, "find_every": find_every}
        given = {name: value for name, value in options.items() if value is not None}
        if config is not None and given:
            raise InputError.at("FaceLandmarker.tracker", f"config or {', '.join(given)}", "both")
        if config is not None and not isinstance(config, TrackerConfig):
            raise InputError.at("config", "a TrackerConfig", shown(config))
        passes = 1 if self.accuracy == "fast" else 2
        return FaceTracker(
            self.looker,
            self.find,
            config or TrackerConfig(**given),
            passes=passes,
            frame_rate=frame_rate,
            fit=self._fit,
        )

    @property
    def _fit(self) -> BoxFit:
        """How the boxes of found faces were shifted, on the mean."""
        return measured_fits()[CenterFaceFinder.name] if self._finder is None else self._finder.fit

    def _localize_in_batches(self, tasks: Sequence[Task]) -> list[View]:
        """Localize faces, `batch_size` at a time; where memory ends, that is halved, and the batch tried again."""
        views: list[View] = []
        while len(views) < len(tasks):
            batch = tasks[len(views) : len(views) + self.batch_size]
            try:
                views += self._localize(batch)
            except Exception as error:  # of ONNX Runtime or PyTorch
                if len(batch) == 1 or not is_out_of_memory(error):
                    raise
                self.batch_size = len(batch) // 2
        return views

    def _localize(self, tasks: Sequence[Task]) -> list[View]:
        """Localize B >= 1 faces; the view of each is that of the crop's turn which is surest."""
        first_views = self._first_view(tasks)
        views = self._viewed(tasks, first_views)
        sure = first_views.mean_confidence
        turnable = [k for k, task in enumerate(tasks) if not task.found or task.box.size >= SMALLEST_TURNED]
        found = [k for k in turnable if tasks[k].found]
        overturned = [k for k in found if may_lie_upside_down(float(views[k].mean_confidence[0]), tasks[k].score)]
        fit = self._fit
        self._try(views, overturned, [[tasks[k].turned(np.pi, fit) for k in overturned]], PROMISING, SURER_TURNED)
        unsure = [
            k
            for k in turnable
            if views[k].mean_confidence[0] < UNSURE and not (tasks[k].found and sure[k] >= UNSURE_FOUND)
        ]
        self._try(views, unsure, [[tasks[k].turned(turn, fit) for k in unsure] for turn in TURNS], 1.0, SURER_BY)
        parts = [k for k in found if views[k].mean_confidence[0] < UNSURE]
        self._try(views, parts, [[tasks[k].larger(LARGER, LOWER) for k in parts]], PROMISING, SURER_FOUND)
        return views

    def _try(
        self, views: list[View], faces: Sequence[int], others: Sequence[Sequence[Task]], promising: float, gain: float
    ) -> None:
        """View some faces in other crops: lists of the faces' tasks. The surest one may replace a face's view.

        It is viewed to the end where its first view is surer than the view that it may replace, or `promising`, and
        replaces it where it is surer by `gain`.
        """
        if not faces:
            return
        first_views = [self._first_view(some) for some in others]
        surest = np.argmax([view.mean_confidence for view in first_views], axis=0)
        for row, (k, other) in enumerate(zip(faces, surest.tolist(), strict=True)):
            first, reached = first_views[other].select([row]), views[k].mean_confidence[0]
            if first.mean_confidence[0] > min(reached, promising):
                (view,) = self._viewed([others[other][row]], first)
                if view.mean_confidence[0] > reached + gain:
                    views[k] = view

    def _first_view(self, tasks: Sequence[Task]) -> View:
        """View faces in the crops of their boxes."""
        return self._view(tasks, [self.looker.geometry_of_box(task.box, task.angle) for task in tasks])

    def _viewed(self, tasks: Sequence[Task], first: View, most: int = MOST_VIEWS) -> list[View]:
        """View B >= 1 faces again, as often as pays; returns the combined view of each."""
        views, faces = [first], list(range(len(tasks)))
        results = [first.select([k]) for k in faces]
        for number in range(1, most):
            fitting = [self.looker.geometry_of_shape(shape) for shape in views[-1].shapes]
            again = [
                k
                for k, (crop, used) in enumerate(zip(fitting, views[-1].geometries, strict=True))
                if is_viewed_again(
                    self.accuracy, number, crop.displacement(used), float(results[faces[k]].mean_confidence[0])
                )
            ]
            if not again:
                break
            faces, views = [faces[k] for k in again], [view.select(again) for view in views]
            views.append(self._view([tasks[k] for k in faces], [fitting[k] for k in again]))
            kept = np.flatnonzero(~strayed(*views[-2:])).tolist()
            if not kept:
                break
            faces, views = [faces[k] for k in kept], [view.select(kept) for view in views]
            result = combined(views)
            for row, face in enumerate(faces):
                results[face] = result.select([row])
        return results

    def _view(self, tasks: Sequence[Task], geometries: Sequence[CropGeometry]) -> View:
        return self.looker.view([task.image for task in tasks], geometries)

    def _face(self, task: Task, view: View) -> Face:
        visibility, confidence = chosen(view.visibility, 0), chosen(view.confidence, 0)
        # `BoxFit` knows how the finder took the face to lie; if it lies otherwise, its box is that of its landmarks.
        mistaken = task.found and math.cos(view.geometries[0].angle - task.angle) < math.sqrt(0.5)
        box = Box.around(view.shapes[0]) if mistaken else task.box
        covariance = chosen(view.covariance, 0)
        face = Face(
            view.shapes[0], visibility, confidence, box, task.score, self.localizer.scheme, covariance=covariance
        )
        return face.within(*task.image.shape[:2])
