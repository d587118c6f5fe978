"""What localizes landmarks in canonical crops: the interface that a torch network and an ONNX session both satisfy."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from srn.face.geometry import CropSpec, ImageArray
from srn.face.scheme import LandmarkScheme

Float32Array = npt.NDArray[np.float32]


class Prediction(NamedTuple):
    """What a localizer says of a batch of crops.

    Attributes:
        shapes: (B, I, N, 2) crop pixels: the shape after every iteration.
        hidden: (B, H): recurrent state left behind.
        visibility: (B, N) probability that each point can be seen; None where the network does not say.
        expected_error: (B, N) mean distance, in face units, that the point is expected to be off; None likewise.
    """

    shapes: Float32Array
    hidden: Float32Array
    visibility: Float32Array | None
    expected_error: Float32Array | None


class Localizer(Protocol):
    """Finds landmarks in canonical crops."""

    @property
    def scheme(self) -> LandmarkScheme:
        """Numbering of the landmarks."""

    @property
    def crop_spec(self) -> CropSpec:
        """Size of the crops."""

    @property
    def mean_shape(self) -> Float32Array:
        """(N, 2) in face units: where a cascade starts."""

    @property
    def name(self) -> str:
        """Short text for results: which weights these are."""

    def __call__(
        self,
        crops: ImageArray,
        initial_shape: Float32Array | None = None,
        hidden: Float32Array | None = None,
        initial_weight: Float32Array | None = None,
    ) -> Prediction:
        """Localize.

        Args:
            crops: (B, S, S, 3) uint8 RGB.
            initial_shape: (B, N, 2) crop pixels to start from; the network's own start where None.
            hidden: (B, H) state of the previous frame; zeros where None.
            initial_weight: (B,) 1 where `initial_shape` counts, 0 where the network starts by itself; ones where None.
        """


def confidence_from_error(expected_error: Float32Array, tolerance: float = 0.03) -> Float32Array:
    """(…,) predicted probability that a point lies within `tolerance` of the truth.

    Args:
        expected_error: mean distance in face units (1 = the side of the face box).
        tolerance: face units; 0.03 of the face is about 5 % of the inter-ocular distance.

    The error vector is taken to be a radial exponential with scale b = expected_error / 2 (the training loss's model),
    for which P(|e| < t) = 1 - (1 + t / b) exp(-t / b).
    """
    ratio = tolerance / np.maximum(expected_error / 2, 1e-6)
    return (1 - (1 + ratio) * np.exp(-ratio)).astype(np.float32)
