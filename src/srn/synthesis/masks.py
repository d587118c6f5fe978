"""Fitting of flat mask templates to faces, as in the Masked 300W set (section 4.2)."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from srn.errors import InputError
from srn.face.geometry import FloatArray, ImageArray
from srn.face.scheme import LandmarkScheme
from srn.synthesis.occluders import OUTLINE_POINTS, Covered


@dataclass(frozen=True, eq=False)
class MaskTemplate:
    """A flat picture of a mask.

    Attributes:
        name: its name in manifests.
        image: (H, W, 4) uint8 RGB with alpha.
        key_points: (6, 2) template pixels: upper left, upper middle, upper right, lower left, lower middle, lower
            right. They may lie just outside the picture.
        skin: for a mask cut from a photograph, the light of its wearer's skin (`skin_light`); None: colours are
            painted as they are.

    Raises:
        InputError: the picture or the key points have another form, or the light of the skin is not positive.
    """

    name: str
    image: ImageArray
    key_points: npt.NDArray[np.float64]
    skin: float | None = None

    def __post_init__(self) -> None:
        image, where = self.image, f"mask template {self.name}"
        if image.ndim != 3 or image.shape[2] != 4 or image.dtype != np.uint8:
            raise InputError.at(where, "(H, W, 4) uint8", f"{image.dtype} {image.shape}")
        if self.key_points.shape != (6, 2):
            raise InputError.at(where, "key points (6, 2)", str(self.key_points.shape))
        if self.skin is not None and not 0 < self.skin <= 255:
            raise InputError.at(where, "a light of the skin in (0, 255]", str(self.skin))


def outline(scheme: LandmarkScheme) -> tuple[int, ...]:
    """Give the indices of the face outline, left temple to chin to right temple.

    Raises:
        InputError: the scheme has no outline (the single chin point of COFW is none), or no nose or mouth.
    """
    indices = (*scheme.components["left_cheek"], *scheme.components["right_cheek"])
    if len(indices) < OUTLINE_POINTS or not scheme.components["nose"] or not scheme.components["mouth"]:
        raise InputError.at("fitted masks", "a scheme with a face outline, a nose and a mouth", scheme.name)
    return indices


def mask_anchors(shape: FloatArray, scheme: LandmarkScheme) -> npt.NDArray[np.float64]:
    """Give the positions (6, 2) of a template's key points on a face, picture pixels.

    The upper edge runs from near the ears over the nose bridge, the lower edge from the corners of the jaw over the
    chin. As on the authors' masked faces, this hides mouth, nostrils, the lower half of the nose and most of the jaw.
    """
    edge = shape[list(outline(scheme))]
    last = len(edge) - 1

    def along(share: float) -> FloatArray:
        """Interpolate the outline: 0 is the left temple, 1 the right one."""
        position = share * last
        below = min(int(position), last - 1)
        return edge[below] + (edge[below + 1] - edge[below]) * (position - below)

    left, right = (shape[list(points)].mean(axis=0) for points in scheme.eyes)
    nose = shape[list(scheme.components["nose"])]
    eyes = (left + right) / 2
    down = shape[list(scheme.components["mouth"])].mean(axis=0) - eyes
    # The bridge consists of the nose points nearest to the eyes along the axis from eyes to mouth.
    height = (nose - eyes) @ down / max(float(down @ down), 1e-9)
    bridge = nose[np.argsort(height)][: max(len(nose) // 2, 1)]
    top = bridge[0] + (bridge[-1] - bridge[0]) * 0.5
    return np.stack([along(0.09), top, along(0.91), along(0.28), along(0.5), along(0.72)])


SKIN = 0.12
"""Half the side of the square between the eyes, as a share of the distance of their centres."""

LIGHTER = 2.5
"""At most so many times lighter or darker is a mask painted than it was where it was cut out."""


def skin_light(image: ImageArray, shape: FloatArray, scheme: LandmarkScheme) -> float:
    """Return the mean grey level in [0, 255] of the skin between the eyes, which a mask leaves free.

    Args:
        image: (H, W, 3) uint8 RGB.
        shape: (N, 2) landmarks of the face, picture pixels.
        scheme: their numbering.
    """
    left, right = (shape[list(points)].mean(axis=0) for points in scheme.eyes)
    (x, y), radius = (left + right) / 2, max(SKIN * float(np.linalg.norm(right - left)), 1.0)
    height, width = image.shape[:2]
    rows, columns = (
        slice(*np.clip([round(at - radius), round(at + radius) + 1], [0, 1], [size - 1, size]).astype(int))
        for at, size in ((y, height), (x, width))
    )
    return float(cv2.cvtColor(np.ascontiguousarray(image[rows, columns]), cv2.COLOR_RGB2GRAY).mean())


TURNED = 0.3
"""A nose nearer to one end of the outline than this share of its width calls for a side view of the mask."""


def turned_side(shape: FloatArray, scheme: LandmarkScheme) -> str:
    """Choose the `left`, `right` or `front` template of a mask by the distance of the nose from both cheeks."""
    edge = shape[list(outline(scheme))]
    nose = shape[list(scheme.components["nose"])].mean(axis=0)
    across = edge[-1] - edge[0]
    share = float((nose - edge[0]) @ across / max(float(across @ across), 1e-9))
    if share < TURNED:
        return "left"
    return "right" if share > 1 - TURNED else "front"


def _perspective(source: FloatArray, target: FloatArray) -> npt.NDArray[np.float64]:
    """Fit a homography (3, 3) to six points by least squares, or an affine map where it would fold the template."""
    homogeneous = np.hstack([source, np.ones((len(source), 1))])
    affine, *_ = np.linalg.lstsq(homogeneous, target, rcond=None)
    plain = np.vstack([affine.T, [0.0, 0.0, 1.0]])
    matrix: npt.NDArray[np.float64] | None = cv2.findHomography(source, target, 0)[0]  # type: ignore[assignment]
    if matrix is None:
        return plain
    depth = homogeneous @ matrix[2]
    same_sign = float(depth.min()) * float(depth.max()) > 0
    if not same_sign or np.abs(depth).max() > 3 * np.abs(depth).min() or np.linalg.det(matrix[:2, :2]) <= 0:
        return plain
    return matrix


def fit_mask(image: ImageArray, shape: FloatArray, scheme: LandmarkScheme, template: MaskTemplate) -> Covered:
    """Paint a mask template over a face of a shape (N, 2), in place, and return the covered pixels (H, W).

    The homography that fits the six key points best maps the template. A mask cut from a photograph becomes lighter or
    darker by the ratio of the light on both skins.
    """
    height, width = image.shape[:2]
    anchors = mask_anchors(shape, scheme)
    alpha = template.image[:, :, 3:].astype(np.float32) / 255
    source = np.concatenate([template.image[:, :, :3].astype(np.float32) * alpha, alpha], axis=2)
    matrix = _perspective(template.key_points, anchors)
    painted = cv2.warpPerspective(source, matrix, (width, height), flags=cv2.INTER_LINEAR)
    opacity = np.clip(painted[:, :, 3:], 0, 1)
    if template.skin is not None:
        painted[:, :, :3] *= np.clip(skin_light(image, shape, scheme) / template.skin, 1 / LIGHTER, LIGHTER)
    image[:] = np.clip(np.round(image * (1 - opacity) + painted[:, :, :3]), 0, 255).astype(np.uint8)
    return np.asarray(opacity[:, :, 0] > 0.5)


def patterned(template: MaskTemplate, texture: ImageArray, name: str) -> MaskTemplate:
    """Give the template another surface: `texture` (H, W, 3) uint8 RGB, with the shading of the template."""
    height, width = template.image.shape[:2]
    cloth = cv2.resize(texture, (width, height), interpolation=cv2.INTER_AREA).astype(np.float32)
    light = template.image[:, :, :3].astype(np.float32).mean(axis=2, keepdims=True)
    solid = template.image[:, :, 3] > 128
    shading = light / max(float(np.percentile(light[solid], 80)) if solid.any() else 255.0, 1.0)
    image = template.image.copy()
    image[:, :, :3] = np.clip(cloth * shading, 0, 255).astype(np.uint8)
    return MaskTemplate(name, image, template.key_points)
