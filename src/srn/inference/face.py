"""`Face`: what is known of one face in one picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from srn.errors import InputError
from srn.face.geometry import Box
from srn.face.scheme import LandmarkScheme


@dataclass(frozen=True, eq=False)
class Face:
    """One face. Checked when made: sizes fit the scheme, all numbers are finite, probabilities lie in [0, 1].

    Attributes:
        landmarks: (N, 2) float64, picture pixels, 0-based, x before y.
        visibility: (N,) probability that each point can be seen, not hidden behind something; None where the weights
            do not say.
        confidence: (N,) probability that each point lies within 3 % of the face's size of the truth; None likewise.
        box: the tight landmark box that the crop was placed by, picture pixels; in video that of `landmarks`.
        score: the face finder's confidence that this is a face; 1 for a box of the user's.
        scheme: numbering of the landmarks.
        track_id: in video, the number that the face keeps from frame to frame, from 1; None in a picture.
    """

    landmarks: npt.NDArray[np.float64]
    visibility: npt.NDArray[np.float32] | None
    confidence: npt.NDArray[np.float32] | None
    box: Box
    score: float
    scheme: LandmarkScheme
    track_id: int | None = None

    def __post_init__(self) -> None:
        n = self.scheme.n_points
        if self.landmarks.shape != (n, 2) or not np.isfinite(self.landmarks).all():
            raise InputError.at("Face.landmarks", f"finite ({n}, 2)", str(self.landmarks.shape))
        for name, values in (("visibility", self.visibility), ("confidence", self.confidence)):
            if values is not None and not (values.shape == (n,) and ((values >= 0) & (values <= 1)).all()):
                raise InputError.at(f"Face.{name}", f"({n},) within [0, 1]", str(values.shape))
        if not 0 <= self.score <= 1:
            raise InputError.at("Face.score", "a number within [0, 1]", str(self.score))

    def to_dict(self) -> dict[str, Any]:
        """The face as plain lists and numbers, as it stands in the JSON of `srn detect` and, numbered, `srn track`."""

        def rounded(values: npt.NDArray[np.floating] | None, digits: int) -> list[Any] | None:
            return None if values is None else np.round(values.astype(np.float64), digits).tolist()

        return {
            "box": rounded(self.box.as_array(), 2),
            "score": round(self.score, 4),
            "landmarks": rounded(self.landmarks, 2),
            "visibility": rounded(self.visibility, 4),
            "confidence": rounded(self.confidence, 4),
            **({} if self.track_id is None else {"track_id": self.track_id}),
        }
