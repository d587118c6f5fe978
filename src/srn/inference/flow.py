"""Propagate landmarks from one frame to the next by optical flow in the face's crop."""

from __future__ import annotations

import functools
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from srn.face.geometry import CropGeometry, CropSpec, Float64Array, FloatArray, ImageArray
from srn.inference.sessions import Reopened

FLOW_CROP = CropSpec(112, 84.0)
# Half and twice the value of each of the next four are no better on animated training faces (`docs/video.md`).
_NEAR = 1.0  # crop pixels from the motion of the whole face at which a point's weight in that fit is halved
_OWN = 2.5  # crop pixels: likewise for the trust in a point's own motion; an occluder moves farther
_CONTRAST = 2.0  # grey levels: standard deviation of the noise that is assumed in the correlation
_ENOUGH = 0.3  # mean trust of the points from which the motion of the whole face is fully trusted
_CORRELATION = (0.6, 0.95)  # of a point's neighbourhoods in the two frames, at which its trust is 0 and 1
_WINDOW = 9  # crop pixels: side of these neighbourhoods
_ROUNDS = 5  # iterations of the robust fit of the whole face's motion


class Anchor(NamedTuple):
    """The pixels (S, S) of a face in one frame, grey, for comparison with the next."""

    pixels: ImageArray
    geometry: CropGeometry


class Carried(NamedTuple):
    """Landmarks (N, 2) propagated to a frame by optical flow, picture pixels, with trust (N,) in [0, 1]."""

    points: Float64Array
    trust: Float64Array


def anchored(image: ImageArray, geometry: CropGeometry) -> Anchor:
    """Crop a face of a frame (H, W, 3) uint8 RGB; the crop is of `FLOW_CROP`."""
    part, within = geometry.cut(image)
    grey = cv2.cvtColor(part, cv2.COLOR_RGB2GRAY).astype(np.uint8, copy=False)  # one channel to resample, not three
    return Anchor(within.crop(grey), geometry)


def affine_part(points: FloatArray, targets: FloatArray, weights: FloatArray) -> Float64Array:
    """Fit the affine motion of the majority of points: iteratively reweighted least squares with Cauchy weights.

    `points` and `targets` (N, 2) are those before and after, in crop pixels, with weights (N,) >= 0. Returns `points`
    after that motion.
    """
    basis = np.concatenate([points - points.mean(axis=0), np.ones((len(points), 1))], axis=1)
    fitted, agreement = np.asarray(points, dtype=np.float64), np.ones(len(points))
    # A small regularizer towards pure translation keeps the fit defined if few points have weight.
    moved, regular = targets - points, np.diag([1e-2, 1e-2, 0.0])
    for _ in range(_ROUNDS):
        weighted = basis.T * (weights * agreement + 1e-9)
        _, motion = cv2.solve(weighted @ basis + regular, weighted @ moved)
        fitted = points + basis @ motion
        agreement = _closeness(fitted, targets, _NEAR)
    return fitted


def _closeness(one: FloatArray, other: FloatArray, scale: float) -> Float64Array:
    """Score (N,) the distances of points (N, 2): 1 at distance 0, 1/2 at distance `scale`."""
    return np.asarray(1 / (1 + ((one - other) ** 2).sum(axis=1) / scale**2), dtype=np.float64)


class FaceFlow(Reopened):
    """Propagate landmarks of faces from frame to frame by OpenCV's DIS optical flow (Kroeger et al., ECCV 2016).

    The network predicts every frame independently, so its errors jump. Optical flow measures motion precisely but
    drifts. The tracker moves points with the flow and corrects them slowly by the network.
    """

    def __init__(self) -> None:
        flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        flow.setGradientDescentIterations(12)
        flow.setPatchStride(4)
        self._flow = flow

    def __call__(
        self, before: Anchor, now: Anchor, shape: FloatArray, visibility: npt.NDArray[np.floating] | None = None
    ) -> Carried:
        """Propagate a shape (N, 2), picture pixels, from one frame to the next.

        A visible point moves with its own pixels. A hidden point moves with the whole face, because the pixels there
        are the occluder's; so does its trust.

        Args:
            before: the face in the frame of `shape`.
            now: the next frame, cropped at the predicted position of the face.
            visibility: (N,) in [0, 1]; ones if None.
        """
        points = before.geometry.to_crop(shape)
        seen = np.ones(len(points)) if visibility is None else np.asarray(visibility, dtype=np.float64)
        field = self._flow.calc(before.pixels, now.pixels, None)  # type: ignore[call-overload]  # None: a new array
        low, high = _CORRELATION
        correlation = _read(_correlation(before.pixels, _warped_back(now.pixels, field)), points)
        found = seen * np.clip((correlation - low) / (high - low), 0, 1)
        own = points + _read(cv2.blur(field, (5, 5)), points)
        whole = affine_part(points, own, found + 1e-3)
        near = _closeness(own, whole, _OWN)
        share = found * near
        of_all = float((share * near).sum() / max(share.sum(), 1e-9)) * min(float(share.mean()) / _ENOUGH, 1.0)
        carried = whole + share[:, None] * (own - whole)
        return Carried(now.geometry.to_picture(carried), share + (1 - share) * of_all)


def _warped_back(pixels: ImageArray, field: npt.NDArray[np.float32]) -> ImageArray:
    places = field + _places(*field.shape[:2])
    warped = cv2.remap(pixels, places, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)  # type: ignore[call-overload]
    return np.asarray(warped, np.uint8)


@functools.lru_cache(maxsize=1)
def _places(height: int, width: int) -> npt.NDArray[np.float32]:
    """Return x and y of every pixel, (H, W, 2)."""
    return np.ascontiguousarray(np.mgrid[:height, :width][::-1].transpose(1, 2, 0).astype(np.float32))


def _correlation(one: ImageArray, other: ImageArray) -> npt.NDArray[np.float32]:
    """Correlate two crops in a window around every pixel: in (-1, 1), near 0 where both lack texture."""
    a, b = one.astype(np.float32), other.astype(np.float32)

    def mean(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        return cv2.blur(values, (_WINDOW, _WINDOW)).astype(np.float32, copy=False)

    ma, mb = mean(a), mean(b)
    noise = np.float32(_CONTRAST**2)
    covariance = mean(a * b) - ma * mb
    power = (np.maximum(mean(a * a) - ma * ma, 0) + noise) * (np.maximum(mean(b * b) - mb * mb, 0) + noise)
    return np.asarray(covariance / np.sqrt(power), dtype=np.float32)


def _read(values: npt.NDArray[np.float32], points: FloatArray) -> Float64Array:
    """Sample values (S, S[, C]) at points (N, 2), bilinearly: (N[, C])."""
    places = np.asarray(points, dtype=np.float32)[None]
    return cv2.remap(values, places, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)[0].astype(np.float64)  # type: ignore[call-overload]
