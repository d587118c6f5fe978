"""`Face`: one face in a picture or video frame, and `Faces`: all of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias, get_args, overload

import numpy as np
import numpy.typing as npt

from srn.errors import InputError, MissingDependencyError, check_count, check_number, shown
from srn.face import ellipse
from srn.face.geometry import LARGEST_CROP, Box, CropGeometry, CropSpec, ImageArray
from srn.face.scheme import IBUG_68, LandmarkScheme
from srn.inference.inputs import ImageInput, as_image, listed
from srn.media import exchange
from srn.media.result_reading import coco_face
from srn.media.results import COVARIANCE, coco_annotations

FaceState: TypeAlias = Literal["seen", "predicted"]

DOUBTFUL_CONFIDENCE = 0.25
"""A mean confidence below this marks a doubtful face; chosen on training faces (`docs/robustness.md`)."""


@dataclass(frozen=True, eq=False, repr=False)
class Face:
    """One face, validated and immutable: its arrays are read-only copies of those given.

    Attributes:
        landmarks: (N, 2) float64, picture pixels, 0-based, x before y.
        visibility: (N,) float32, probability that each point is visible rather than occluded; None if the weights do
            not predict it.
        confidence: (N,) float32, probability that each point lies within 3 % of the face's size of the true position;
            None if the weights do not predict it.
        box: the face box by which the face was located, picture pixels: the face finder's after `BoxFit`, or the
            caller's. A tracked face is located by its own points, so its box is their tight box.
        score: confidence of the face finder, in [0, 1]; 1 for a box of the caller's.
        scheme: numbering of the landmarks.
        track_id: number of the track in a video, from 1; None in a picture.
        state: `seen`, or `predicted`: a tracked face that this frame does not show, at its predicted position.
        inside: (N,) bool, whether each point lies inside the picture; None if the picture's size is not known.
        covariance: (N, 2, 2) float32, covariance of each point's error, x before y, picture pixels^2; its trace is the
            expected square of the distance to the true point (`srn.face.ellipse`). None if the weights do not predict
            it. That of a smoothed track is of the last view alone, and grows while the face is lost.

    Raises:
        InputError: an array has the wrong shape or a value is out of range.

    Examples:
        >>> import numpy as np
        >>> from srn import Box, Face, IBUG_68
        >>> points = np.stack([np.linspace(10, 50, 68), np.linspace(20, 70, 68)], axis=1)
        >>> face = Face(points, np.ones(68), None, Box.around(points), 0.9, IBUG_68)
        >>> face
        Face(ibug68, box=(10, 20, 50, 70), score=0.90, visible=68/68)
        >>> face.part("left_eye").shape
        (6, 2)
        >>> face.aligned_crop(np.zeros((90, 60, 3), np.uint8), size=32).shape
        (32, 32, 3)
    """

    landmarks: npt.NDArray[np.float64]
    visibility: npt.NDArray[np.float32] | None
    confidence: npt.NDArray[np.float32] | None
    box: Box
    score: float
    scheme: LandmarkScheme
    track_id: int | None = None
    inside: npt.NDArray[np.bool_] | None = None
    state: FaceState = "seen"
    covariance: npt.NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        n = self.scheme.n_points
        landmarks = _read_only_copy("landmarks", self.landmarks, np.float64)
        if landmarks.shape != (n, 2) or not np.isfinite(landmarks).all():
            raise InputError.at("Face.landmarks", f"finite ({n}, 2)", str(landmarks.shape))
        object.__setattr__(self, "landmarks", landmarks)
        for name in ("visibility", "confidence"):
            if getattr(self, name) is None:
                continue
            values = _read_only_copy(name, getattr(self, name), np.float32)
            if values.shape != (n,) or not ((values >= 0) & (values <= 1)).all():
                raise InputError.at(f"Face.{name}", f"({n},) within [0, 1]", str(values.shape))
            object.__setattr__(self, name, values)
        if self.inside is not None:
            inside = _read_only_copy("inside", self.inside, np.bool_)
            if inside.shape != (n,):
                raise InputError.at("Face.inside", f"({n},)", str(inside.shape))
            object.__setattr__(self, "inside", inside)
        if self.covariance is not None:
            covariance = _read_only_copy("covariance", self.covariance, np.float32)
            if covariance.shape != (n, 2, 2) or not ellipse.are_covariances(covariance):
                expected = f"({n}, 2, 2), symmetric and positive semi-definite"
                raise InputError.at("Face.covariance", expected, str(covariance.shape))
            object.__setattr__(self, "covariance", covariance)
        if self.state not in get_args(FaceState):
            raise InputError.at("Face.state", f"one of {', '.join(get_args(FaceState))}", repr(self.state))
        check_number("Face.score", self.score, "a number within [0, 1]", least=0, most=1)
        object.__setattr__(self, "score", float(self.score))  # NumPy's numbers have no JSON form
        if self.track_id is not None:
            check_count("Face.track_id", self.track_id, least=0)
            object.__setattr__(self, "track_id", int(self.track_id))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Face):
            return NotImplemented
        arrays = ("landmarks", "visibility", "confidence", "covariance")
        return self._rest == other._rest and all(np.array_equal(getattr(self, n), getattr(other, n)) for n in arrays)

    def __hash__(self) -> int:
        return hash(self._rest)

    @property
    def _rest(self) -> tuple[object, ...]:
        return self.box, self.score, self.track_id, self.scheme, self.state

    def __repr__(self) -> str:
        corners = ", ".join(f"{value:.0f}" for value in self.box.as_array())
        parts = [self.scheme.name, f"box=({corners})", f"score={self.score:.2f}"]
        if self.visibility is not None:
            parts.append(f"visible={(self.visibility >= 0.5).sum()}/{len(self.visibility)}")
        if self.confidence is not None:
            parts.append(f"confidence={self.confidence.mean():.2f}" + ", doubtful" * self.is_doubtful)
        if self.track_id is not None:
            parts.append(f"track_id={self.track_id}" + ", predicted" * (self.state == "predicted"))
        return f"Face({', '.join(parts)})"

    @property
    def landmark_box(self) -> Box:
        """Tight box of the landmarks, picture pixels."""
        return Box.around(self.landmarks)

    @property
    def mean_confidence(self) -> float | None:
        """Mean of `confidence` over the points; None without it."""
        return None if self.confidence is None else float(self.confidence.mean())

    @property
    def is_doubtful(self) -> bool:
        """Whether `mean_confidence` lies below `DOUBTFUL_CONFIDENCE`: almost surely no face, or wrong points."""
        return self.mean_confidence is not None and self.mean_confidence < DOUBTFUL_CONFIDENCE

    def within(self, height: int, width: int) -> Face:
        """Return the face as part of a picture of this size: sets `inside`, and a visibility of 0 outside."""
        inside = np.all((self.landmarks >= 0) & (self.landmarks <= (width - 1, height - 1)), axis=1)
        visibility = None if self.visibility is None else np.where(inside, self.visibility, np.float32(0))
        return replace(self, visibility=visibility, inside=inside)

    def part(self, name: str) -> npt.NDArray[np.float64]:
        """Return the landmarks (K, 2) of a part such as `left_eye` (`LandmarkScheme.part`), picture pixels."""
        return self.landmarks[list(self.scheme.part(name))]

    def aligned_crop(self, image: ImageInput, size: int = 256, *, margin: float = 0.25) -> ImageArray:
        """Cut the face out of its picture (H, W, 3), upright and centred: (size, size, 3) uint8 RGB.

        The picture is rotated until the line through the two eye centres is horizontal. The tight box of the rotated
        landmarks is centred and scaled. Pixels outside the picture repeat its edge.

        Args:
            image: the picture the face was found in, as `FaceLandmarker.detect` takes it.
            size: side of the crop in pixels.
            margin: free space on each side of the face, as a share of the face's size (`Box.size`).

        Raises:
            InputError: `size` is below 1 or `margin` is negative, or the picture is not valid.
        """
        check_count("size", size)
        check_number("size", size, f"at most {LARGEST_CROP} pixels", most=LARGEST_CROP)
        check_number("margin", margin, "0 or more", least=0)
        left, right = (self.landmarks[list(points)].mean(axis=0) for points in self.scheme.eyes)
        angle = -float(np.arctan2(*(right - left)[::-1]))
        spec = CropSpec(size, size / (1 + 2 * margin))
        return CropGeometry.around(self.landmarks, spec, angle).crop(as_image(image))

    def to_dict(self) -> dict[str, Any]:
        """Return plain lists and numbers, as in the JSON of `srn detect` and `srn track`.

        `track_id` and `state` are there in a video, `inside` only if a point lies outside the picture, `covariance`, as
        xx, xy, yy of each point, only if it is known.
        """

        def rounded(values: npt.NDArray[np.floating] | None, digits: int) -> list[Any] | None:
            return None if values is None else np.round(values.astype(np.float64), digits).tolist()

        return {
            "box": rounded(self.box.as_array(), 2),
            "score": round(self.score, 4),
            "landmarks": rounded(self.landmarks, 2),
            "visibility": rounded(self.visibility, 4),
            "confidence": rounded(self.confidence, 4),
            **({} if self.track_id is None else {"track_id": self.track_id, "state": self.state}),
            **({} if self.inside is None or self.inside.all() else {"inside": self.inside.tolist()}),
            **({} if self.covariance is None else {"covariance": rounded(ellipse.entries(self.covariance), 4)}),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], scheme: LandmarkScheme = IBUG_68) -> Face:
        """Restore a face from the output of `to_dict`, which does not contain its scheme.

        Raises:
            InputError: the mapping does not describe a face of this scheme.
        """
        expected = "a dictionary made by Face.to_dict"
        if not isinstance(values, Mapping):
            raise InputError.at("face", expected, shown(values))
        absent = [name for name in ("landmarks", "visibility", "confidence", "box", "score") if name not in values]
        if absent:
            raise InputError.at("face", expected, f"no {', '.join(absent)}")
        try:
            box = Box(*values["box"])
        except TypeError as error:
            raise InputError.at("Face.box", "four numbers x0, y0, x1, y1", shown(values["box"])) from error
        face = cls(
            values["landmarks"], values["visibility"], values["confidence"], box, values["score"], scheme,
            values.get("track_id"), values.get("inside"), values.get("state", "seen"),
            None if values.get("covariance") is None else ellipse.matrices(values["covariance"]),
        )  # fmt: skip
        with np.errstate(over="ignore"):
            if not np.isfinite(face.landmarks * 1000).all():  # rounded, as `to_dict` does, they would not be finite
                raise InputError.at("face", "points as `to_dict` writes them", f"{np.abs(face.landmarks).max():g}")
        return face


def _read_only_copy(name: str, values: Any, kind: type[np.floating | np.bool_]) -> npt.NDArray[Any]:
    try:
        with np.errstate(over="ignore"):  # infinite values are named by who checks them
            copy = np.array(values, dtype=kind)
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError.at(f"Face.{name}", "an array of numbers", type(values).__name__) from error
    copy.setflags(write=False)
    return copy


class Faces(Sequence[Face]):
    """An immutable sequence of faces with one landmark scheme.

    Indexing gives a `Face`, slicing gives `Faces`. Two sequences are equal if their faces are.

    Raises:
        InputError: an element is not a `Face`, or two faces have different schemes.

    Examples:
        >>> import numpy as np
        >>> from srn import Box, Face, Faces, IBUG_68
        >>> points = np.stack([np.linspace(10, 50, 68), np.linspace(20, 70, 68)], axis=1)
        >>> small = Face(points, None, None, Box.around(points), 0.8, IBUG_68)
        >>> large = Face(points * 2, None, None, Box.around(points * 2), 0.6, IBUG_68)
        >>> faces = Faces([small, large])
        >>> faces
        Faces(2 faces, ibug68)
        >>> faces[1:] == Faces([large]), faces.biggest() is large, len(faces.above(score=0.7))
        (True, True, 1)
    """

    __slots__ = ("_faces",)

    def __init__(self, faces: Iterable[Face] = ()) -> None:
        if not isinstance(faces, Iterable):
            raise InputError.at("Faces", "a list of faces", shown(faces))
        self._faces = tuple(faces)
        for index, face in enumerate(self._faces):
            if not isinstance(face, Face):
                raise InputError.at(f"Faces[{index}]", "a Face", type(face).__name__)
            if face.scheme is not self._faces[0].scheme:
                raise InputError.at(f"Faces[{index}]", f"scheme {self._faces[0].scheme.name}", face.scheme.name)

    @overload
    def __getitem__(self, index: int) -> Face: ...

    @overload
    def __getitem__(self, index: slice) -> Faces: ...

    def __getitem__(self, index: int | slice) -> Face | Faces:
        return Faces(self._faces[index]) if isinstance(index, slice) else self._faces[index]

    def __len__(self) -> int:
        return len(self._faces)

    def __eq__(self, other: object) -> bool:
        return self._faces == tuple(other) if isinstance(other, Faces | list | tuple) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._faces)

    def __repr__(self) -> str:
        if not self._faces:
            return "Faces(0 faces)"
        return f"Faces({len(self)} face{'s' if len(self) > 1 else ''}, {self._faces[0].scheme.name})"

    def above(self, *, confidence: float | None = None, score: float | None = None) -> Faces:
        """Keep the faces that reach every given threshold: of the mean confidence of the points, of the finder's score.

        Raises:
            InputError: `confidence` is given and the faces have none.
        """
        for name, threshold in (("confidence", confidence), ("score", score)):
            if threshold is not None:
                check_number(name, threshold)
        faces = [face for face in self._faces if score is None or face.score >= score]
        if confidence is not None:
            if any(face.confidence is None for face in faces):
                raise InputError.at("Faces.above", "faces with a confidence", "weights that do not predict it")
            faces = [f for f in faces if f.mean_confidence is not None and f.mean_confidence >= confidence]
        return Faces(faces)

    def biggest(self) -> Face | None:
        """Return the face with the largest face box (`Box.size`); None if there is no face."""
        return max(self._faces, key=lambda face: face.box.size, default=None)

    def to_dict(self) -> list[dict[str, Any]]:
        """Return plain lists and numbers: the `faces` of the JSON of `srn detect` and `srn track`."""
        return [face.to_dict() for face in self._faces]

    @classmethod
    def from_dict(cls, values: Iterable[Mapping[str, Any]], scheme: LandmarkScheme = IBUG_68) -> Faces:
        """Restore faces from the output of `to_dict`, as `Face.from_dict` does."""
        listing = listed("faces", values, "a list of dictionaries made by Face.to_dict")
        return cls(Face.from_dict(face, scheme) for face in listing)

    def to_coco(self, *, image_id: int, first_id: int = 1) -> list[dict[str, Any]]:
        """Return COCO key point annotations (`coco_annotations`) for the picture `image_id`, 0-based pixels."""
        return coco_annotations(self.to_dict(), image_id=image_id, first_id=first_id)

    @classmethod
    def from_coco(cls, annotations: Iterable[Mapping[str, Any]], scheme: LandmarkScheme = IBUG_68) -> Faces:
        """Return the faces of COCO key point annotations (`coco_face`), 0-based pixels."""
        listing = listed("annotations", annotations, "a list of COCO key point annotations")
        faces = (coco_face(one, f"annotation {number}") for number, one in enumerate(listing))
        return cls.from_dict(map(exchange.with_box, faces), scheme)

    def to_normalized(self, height: int, width: int) -> list[list[dict[str, float | None]]]:
        """Return the points of each face as MediaPipe's normalized landmarks in a picture of that size.

        Each is a dictionary: `x` and `y` from 0 to 1 over the picture's edges, `z` (0), `visibility`, `presence`.
        """
        return exchange.normalized(self.to_dict(), height, width)

    @classmethod
    def from_normalized(
        cls, faces: Iterable[Sequence[Any]], height: int, width: int, scheme: LandmarkScheme = IBUG_68
    ) -> Faces:
        """Return faces of normalized points: pairs x, y, or dictionaries or objects that have them (MediaPipe's)."""
        listing = listed("faces", faces, "a list of faces, each a list of points")
        return cls.from_dict(exchange.from_normalized(listing, height, width), scheme)

    def to_supervision(self) -> Any:
        """Return a `supervision.KeyPoints` (package supervision 0.29 or later): see `exchange.key_point_arrays`.

        Raises:
            MissingDependencyError: supervision is not installed.
        """
        try:
            from supervision import KeyPoints
        except ImportError as error:
            # pip then also installs what an older or incomplete installation of it lacks.
            needed = f"Faces.to_supervision needs {error.name or 'supervision'}: pip install --upgrade supervision"
            raise MissingDependencyError(needed) from error
        count = self._faces[0].scheme.n_points if self._faces else IBUG_68.n_points
        return KeyPoints(**exchange.key_point_arrays(self.to_dict(), count))

    @classmethod
    def from_supervision(cls, key_points: Any, scheme: LandmarkScheme = IBUG_68) -> Faces:
        """Return the faces of a `supervision.KeyPoints`."""
        return cls.from_dict(exchange.from_key_points(key_points), scheme)

    @classmethod
    def from_pandas(cls, frame: Any, scheme: LandmarkScheme = IBUG_68) -> Faces:
        """Return the faces of a table made by `to_pandas`; a face's box is the tight one of its points."""
        with InputError.reading("table of faces", "a pandas.DataFrame, as Faces.to_pandas makes it"):
            rows = frame.to_dict("records")
        return cls.from_dict(exchange.from_rows(rows), scheme)

    def to_pandas(self) -> Any:
        """Return a `pandas.DataFrame` with one row a point.

        Columns: `face` (index in this sequence), `track_id`, `score`, `point`, `component`, `x`, `y` (picture pixels),
        `visibility`, `confidence`, `covariance_xx`, `covariance_xy`, `covariance_yy`; NaN where unknown.

        Raises:
            MissingDependencyError: pandas is not installed (extra `pandas`).
        """
        with MissingDependencyError.importing("pandas", "Faces.to_pandas"):
            import pandas
        columns = ["face", "track_id", "score", "point", "component", "x", "y", "visibility", "confidence", *COVARIANCE]
        rows = []
        for index, face in enumerate(self._faces):
            unknown = [float("nan")] * len(face.landmarks)
            visibility = unknown if face.visibility is None else face.visibility.tolist()
            confidence = unknown if face.confidence is None else face.confidence.tolist()
            covariance = [unknown[:3]] * len(unknown)
            if face.covariance is not None:
                covariance = ellipse.entries(face.covariance).tolist()
            for point, (x, y) in enumerate(face.landmarks.tolist()):
                component = face.scheme.component_of(point)
                place = (index, face.track_id, face.score, point, component)
                rows.append((*place, x, y, visibility[point], confidence[point], *covariance[point]))
        return pandas.DataFrame(rows, columns=columns)
