"""Where the points of a face went from one frame to the next, told by the pixels: optical flow in the face's crop.

The network looks at every frame anew, so its errors jump from frame to frame. The pixels say how a point *moved* to a
fifth of a per cent of the face, but not where on the face it is. A tracker that has both moves with the pixels and is
put right by the network, slowly.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from srn.face.geometry import CropGeometry, CropSpec, FloatArray, ImageArray

Float64Array = npt.NDArray[np.float64]

FLOW_CROP = CropSpec(112, 84.0)
"""The crop in which faces are compared. At the network's 160 pixels the flow is a fifth more exact and takes three
times as long."""

_NEAR = 1.0
"""Pixels of the crop by which a point may move against the whole face and count in full in the fit of its motion."""

_OWN = 2.5
"""Pixels beyond which a point's own motion is taken for that of something else: parts of a face do not move as far
against each other from frame to frame."""

_ROUNDS = 5
"""Rounds of reweighting in the robust fit of the whole face's motion."""

_LIKENESS = (0.6, 0.95)
"""Correlations of a point's surroundings before and after from which it counts as found again: not at all, fully."""

_CONTRAST = 2.0
"""Grey levels: the contrast of a point's surroundings at which they are half noise."""

_ENOUGH = 0.3
"""Share of the points that must be found again for the face as a whole to count as found."""


class Anchor(NamedTuple):
    """A face in one frame, to be compared with the next.

    Attributes:
        pixels: (S, S) grey crop.
        frame: where the crop lies in its picture.
    """

    pixels: ImageArray
    frame: CropGeometry


class Carried(NamedTuple):
    """Points carried on by the pixels.

    Attributes:
        points: (N, 2) picture pixels of the new frame.
        trust: (N,) in [0, 1]: how far the pixels around each point, or of the whole face where it is hidden, were found
            again.
    """

    points: Float64Array
    trust: Float64Array


def anchored(image: ImageArray, frame: CropGeometry) -> Anchor:
    """Keep a face of a picture (H, W, 3) in mind; `frame` is of `FLOW_CROP`."""
    return Anchor(cv2.cvtColor(frame.crop(image), cv2.COLOR_RGB2GRAY).astype(np.uint8, copy=False), frame)


def affine_part(points: FloatArray, moved: FloatArray, weights: FloatArray) -> Float64Array:
    """The affine motion that most points agree on: iteratively reweighted least squares, Cauchy weights.

    Args:
        points, moved: (N, 2) before and after, crop pixels.
        weights: (N,) non-negative.

    Returns:
        (N, 2): the points as that motion moves them.
    """
    basis = np.concatenate([points - points.mean(axis=0), np.ones((len(points), 1))], axis=1)
    fitted, agreement = np.asarray(points, dtype=np.float64), np.ones(len(points))
    for _ in range(_ROUNDS):
        w = weights * agreement + 1e-9
        # A little of "no change of form" keeps the fit defined where few points count.
        gram = basis.T @ (basis * w[:, None]) + np.diag([1e-2, 1e-2, 0.0])
        fitted = points + basis @ np.linalg.solve(gram, basis.T @ ((moved - points) * w[:, None]))
        agreement = _closeness(fitted, moved, _NEAR)
    return fitted


def _closeness(one: FloatArray, other: FloatArray, scale: float) -> Float64Array:
    """(N,) in [0, 1]: 1 where two points (N, 2) are one, a half where they lie `scale` apart."""
    return np.asarray(1 / (1 + ((one - other) ** 2).sum(axis=1) / scale**2), dtype=np.float64)


class FaceFlow:
    """Carries points of faces from frame to frame: DIS optical flow (Kroeger et al., ECCV 2016), OpenCV's."""

    def __init__(self) -> None:
        flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        flow.setGradientDescentIterations(12)
        flow.setPatchStride(4)
        self._flow = flow

    def __call__(
        self, before: Anchor, now: Anchor, shape: FloatArray, visibility: npt.NDArray[np.floating] | None = None
    ) -> Carried:
        """Carry a shape from one frame to the next.

        A point that can be seen goes where its own pixels went; a hidden one goes with the whole face, since the pixels
        there are those of what hides it.

        Args:
            before: the face in the frame that the shape belongs to.
            now: the next frame, cut where the face should be by now: the flow is what it is off by.
            shape: (N, 2) picture pixels of the frame before.
            visibility: (N,) in [0, 1]; ones where None.
        """
        points = before.frame.to_crop(shape)
        seen = np.ones(len(points)) if visibility is None else np.asarray(visibility, dtype=np.float64)
        field = self._flow.calc(before.pixels, now.pixels, None)  # type: ignore[call-overload]  # None: a new array
        low, high = _LIKENESS
        likeness = _read(_likeness(before.pixels, _drawn_back(now.pixels, field)), points)
        found = seen * np.clip((likeness - low) / (high - low), 0, 1)
        own = points + _read(cv2.blur(field, (5, 5)), points)
        whole = affine_part(points, own, found + 1e-3)
        near = _closeness(own, whole, _OWN)
        share = found * near
        of_all = float((share * near).sum() / max(share.sum(), 1e-9)) * min(float(share.mean()) / _ENOUGH, 1.0)
        carried = whole + share[:, None] * (own - whole)
        return Carried(now.frame.to_picture(carried), share + (1 - share) * of_all)


def _drawn_back(pixels: ImageArray, field: npt.NDArray[np.float32]) -> ImageArray:
    """The later crop drawn back by the flow, to be laid over the earlier one."""
    rows, columns = np.mgrid[: field.shape[0], : field.shape[1]].astype(np.float32)
    return cv2.remap(
        pixels, field[..., 0] + columns, field[..., 1] + rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    ).astype(np.uint8, copy=False)


def _likeness(one: ImageArray, other: ImageArray, size: int = 9) -> npt.NDArray[np.float32]:
    """Correlation of two crops in a window around every pixel, in (-1, 1); near 0 where both are flat: there the flow
    is a guess."""
    a, b = one.astype(np.float32), other.astype(np.float32)

    def mean(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        return cv2.blur(values, (size, size)).astype(np.float32, copy=False)

    ma, mb = mean(a), mean(b)
    noise = np.float32(_CONTRAST**2)
    covariance = mean(a * b) - ma * mb
    power = (np.maximum(mean(a * a) - ma * ma, 0) + noise) * (np.maximum(mean(b * b) - mb * mb, 0) + noise)
    return np.asarray(covariance / np.sqrt(power), dtype=np.float32)


def _read(values: npt.NDArray[np.float32], points: FloatArray) -> Float64Array:
    """Values (S, S[, C]) at points (N, 2), bilinear: (N[, C])."""
    places = np.asarray(points, dtype=np.float32)[None]
    return cv2.remap(values, places, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)[0].astype(np.float64)  # type: ignore[call-overload]
