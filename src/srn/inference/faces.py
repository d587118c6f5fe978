"""`Faces`: the faces of one picture or video frame."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, overload

from srn.errors import InputError, MissingDependencyError
from srn.face.scheme import IBUG_68, LandmarkScheme
from srn.inference.face import Face
from srn.media.results import coco_annotations


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

        faces = [face for face in self._faces if score is None or face.score >= score]
        if confidence is not None:
            if any(face.confidence is None for face in faces):
                raise InputError.at("Faces.above", "faces with a confidence", "weights that do not predict it")
            faces = [f for f in faces if f.confidence is not None and float(f.confidence.mean()) >= confidence]
        return Faces(faces)

    def biggest(self) -> Face | None:
        """Return the face with the largest face box (`Box.size`); None if there is no face."""
        return max(self._faces, key=lambda face: face.box.size, default=None)

    def to_dict(self) -> list[dict[str, Any]]:
        """Return plain lists and numbers: the `faces` of the JSON of `srn detect` and `srn track`."""
        return [face.to_dict() for face in self._faces]

    @classmethod
    def from_dict(cls, values: Iterable[Mapping[str, Any]], scheme: LandmarkScheme = IBUG_68) -> Faces:
        """Restore faces from the output of `to_dict`, which does not contain their scheme.

        Raises:
            InputError: a mapping does not describe a face of this scheme.
        """
        return cls(Face.from_dict(face, scheme) for face in values)

    def to_coco(self, *, image_id: int, first_id: int = 1) -> list[dict[str, Any]]:
        """Return COCO key point annotations (`coco_annotations`) for the picture `image_id`, 0-based pixels."""
        return coco_annotations(self.to_dict(), image_id=image_id, first_id=first_id)

    def to_pandas(self) -> Any:
        """Return a `pandas.DataFrame` with one row a point.

        Columns: `face` (index in this sequence), `track_id`, `score`, `point`, `component`, `x`, `y` (picture pixels),
        `visibility`, `confidence`.

        Raises:
            MissingDependencyError: pandas is not installed (extra `pandas`).
        """
        try:
            import pandas
        except ImportError as error:
            raise MissingDependencyError.for_extra("pandas", "pandas", "Faces.to_pandas") from error
        columns = ["face", "track_id", "score", "point", "component", "x", "y", "visibility", "confidence"]
        rows = []
        for index, face in enumerate(self._faces):
            unknown = [float("nan")] * len(face.landmarks)
            visibility = unknown if face.visibility is None else face.visibility.tolist()
            confidence = unknown if face.confidence is None else face.confidence.tolist()
            for point, (x, y) in enumerate(face.landmarks.tolist()):
                component = face.scheme.component_of(point)
                place = (index, face.track_id, face.score, point, component)
                rows.append((*place, x, y, visibility[point], confidence[point]))
        return pandas.DataFrame(rows, columns=columns)
