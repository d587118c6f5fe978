"""How an exported file is used, in words: the entry `usage` of its metadata, for programs without this package."""

from __future__ import annotations

from collections.abc import Sequence

from srn.model.config import ModelConfig

TOLERANCE = 0.03
"""Distance of the confidence, face sizes: the default of `srn.face.localizer.confidence_from_error`."""


def usage(config: ModelConfig, outputs: Sequence[str]) -> str:
    """Describe the inputs, the crop and the outputs of a network; lines with ` = ` are Python (NumPy).

    Args:
        outputs: names of the file's outputs.
    """
    side, n, hidden, steps = config.crop_size, config.scheme.n_points, config.hidden_size, config.iterations
    lines = [
        f"Finds the {n} points ({config.scheme.name}) of one face in each crop. All values are float32. B: faces.",
        "",
        "Crop. Pixel centres are whole numbers from 0. A face box x0, y0, x1, y1 is the tight box of the points (of"
        " 68 points: brows to chin), picture pixels. Bilinear; beyond the picture its edge is repeated; where scale is"
        " below 0.5 the picture is first reduced by area means to 1.5 times the crop's scale.",
        f"scale = {config.face_size:g} * sqrt(2) / hypot(x1 - x0, y1 - y0)",
        f"crop_x = scale * (picture_x - (x0 + x1) / 2) + {(side - 1) / 2:g}",
        f"crop_y = scale * (picture_y - (y0 + y1) / 2) + {(side - 1) / 2:g}",
        "",
        "Inputs.",
        f"image (B, 3, {side}, {side}): the crops, RGB, from 0 to 1 (bytes / 255).",
        f"initial_shape (B, {n}, 2): where to start, crop pixels, x before y. Zeros where it is not used.",
        f"hidden (B, {hidden}): recurrent state: hidden_out of a video's frame before, zeros for a photograph.",
        "initial_weight (B): 1 starts at initial_shape, 0 at the network's own first shape.",
        "",
        "Outputs.",
        f"shapes (B, {steps}, {n}, 2): the points after each step, crop pixels; the last is the result.",
        f"hidden_out (B, {hidden}): recurrent state for the next frame.",
    ]
    if "visibility" in outputs:
        lines.append(f"visibility (B, {n}): probability that a point can be seen.")
    if "expected_error" in outputs:
        lines += [
            f"expected_error (B, {n}): expected distance from the true point, in sizes of the face box (its diagonal"
            " divided by sqrt(2)).",
            f"Confidence: the probability that a point lies within {TOLERANCE} of that size from the true point.",
            f"ratio = {2 * TOLERANCE:g} / maximum(expected_error, 2e-6)",
            "confidence = 1 - (1 + ratio) * exp(-ratio)",
        ]
    if "error_direction" in outputs:
        lines += [
            f"error_direction (B, {n}, 2): d1, d2, where the error of a point goes; its covariance, crop pixels^2, is",
            f"half = expected_error / 2 * {config.face_size:g}",
            "covariance_xx = 3 * half**2 * (1 + d1)",
            "covariance_xy = 3 * half**2 * d2",
            "covariance_yy = 3 * half**2 * (1 - d1)",
        ]
    return "\n".join(lines) + "\n"
