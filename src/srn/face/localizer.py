"""The interface of landmark networks, implemented by PyTorch (`srn.model`) and ONNX Runtime (`srn.inference`)."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from srn.face.geometry import CropSpec, ImageArray
from srn.face.scheme import LandmarkScheme

Float32Array = npt.NDArray[np.float32]


class Prediction(NamedTuple):
    """Output of a localizer for B crops.

    Attributes:
        shapes: (B, I, N, 2) crop pixels: the shape after each of I iterations.
        hidden: (B, H) recurrent state after the last iteration.
        visibility: (B, N) probability that each point is visible; None if the network does not predict it.
        expected_error: (B, N) expected distance of each point from its true position, in face units; None if the
            network does not predict it.
        error_direction: (B, N, 2) direction of each point's error (`srn.face.ellipse`), in the crop's coordinates; None
            if the network does not predict it.
    """

    shapes: Float32Array
    hidden: Float32Array
    visibility: Float32Array | None
    expected_error: Float32Array | None
    error_direction: Float32Array | None = None


class Localizer(Protocol):
    """Finds landmarks in crops."""

    @property
    def scheme(self) -> LandmarkScheme:
        """Numbering of the landmarks."""

    @property
    def crop_spec(self) -> CropSpec:
        """Size of the crops."""

    @property
    def mean_shape(self) -> Float32Array:
        """(N, 2) mean shape in face units (`CropSpec.place`)."""

    @property
    def name(self) -> str:
        """Short name of the weights, for results."""

    def __call__(
        self,
        crops: ImageArray,
        initial_shape: Float32Array | None = None,
        hidden: Float32Array | None = None,
        initial_weight: Float32Array | None = None,
    ) -> Prediction:
        """Localize the landmarks in a batch of crops.

        Args:
            crops: (B, S, S, 3) uint8 RGB.
            initial_shape: (B, N, 2) crop pixels; the network's own initial shape if None.
            hidden: (B, H) recurrent state of the previous frame; zeros if None.
            initial_weight: (B,) 1 to use `initial_shape`, 0 for the network's own; ones if None.
        """


def confidence_from_error(expected_error: Float32Array, tolerance: float = 0.03) -> Float32Array:
    """Convert expected errors to probabilities that a point lies within `tolerance` of its true position.

    The error vector e follows a radial exponential distribution with scale b = expected_error / 2, the model of the
    training loss: P(|e| < t) = 1 - (1 + t / b) exp(-t / b).

    Args:
        expected_error: (...,) expected distance in face units (1 = the size of the face box).
        tolerance: distance in face units; 0.03 is about 5 % of the inter-ocular distance.

    Returns:
        (...,) float32.
    """
    ratio = tolerance / np.maximum(expected_error / 2, 1e-6)
    return (1 - (1 + ratio) * np.exp(-ratio)).astype(np.float32)
