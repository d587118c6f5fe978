"""Settings of augmentation and animation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, Self

from srn.errors import InputError
from srn.settings import NonNegative, Positive, Settings, Share


@dataclass(frozen=True)
class _Occluded(Settings):
    """Settings of which some, the `occlusions`, are probabilities of occlusion."""

    occlusions: ClassVar[tuple[str, ...]]

    def unoccluded(self) -> Self:
        """Return the same without occlusion."""
        return replace(self, **dict.fromkeys(self.occlusions, 0.0))


@dataclass(frozen=True)
class AugmentConfig(_Occluded):
    """Strength of the augmentation. Probabilities are per face; lengths are in units of the face box's size.

    Attributes:
        flip: probability of a left-right flip.
        rotation_deg: standard deviation of the in-plane rotation.
        wide_rotation: probability of a uniform rotation within +-`wide_rotation_deg` instead.
        box_edge: standard deviation of each edge of the box that places the crop.
        box_shift, box_scale: standard deviations of the shift and the log scale of the whole box.
        second_pass: probability of a crop as the second pass sees it (`CropGeometry.from_shape`): upright and tight
            up to the error of the first pass, instead of the rotation and the box above.
        turned: probability of an out-of-plane rotation with movement of the parts against each other
            (`srn.synthesis.motion`).
        color: probability of a change of brightness, contrast, saturation, hue and gamma.
        grey, blur, low_resolution, sensor_noise: probabilities.
        noise_patch: probability of the paper's noise patch on one landmark.
        noise_patch_size: its side (the paper: 48 pixels in a face box of about 140).
        occluders: probability of an occluder of another kind; half of these faces get a second one.
        own: share of these occluders that take their colours from the picture itself (`srn.synthesis.surroundings`).
        masks: probability of a drawn face mask instead of these occluders.
        behind: probability that the face is behind another person's head instead (`srn.synthesis.bystanders`).
        patterns: probability of an occluder that hides what is hidden on a real face, instead of all these
            (`srn.synthesis.patterns`). `own` is the share of these that have the picture's own colours, too.
        pattern_file: which landmarks are hidden on real faces: a file of `OcclusionPatterns`.
        misfit: strength of the error of everything fitted to the whole face (masks, sunglasses, hair, hats); see
            `misfitted`. On the true points, the outline of a mask would give away the jaw.
    """

    occlusions = ("noise_patch", "occluders", "masks", "behind", "patterns")
    stored_names: ClassVar[Mapping[str, str]] = {"second_pass": "second_look"}
    absent_means: ClassVar[Mapping[str, Any]] = {
        "second_pass": 0.0,
        "turned": 0.0,
        "misfit": 0.04,
        "own": 0.0,
        "behind": 0.0,
        "patterns": 0.0,
        "pattern_file": None,
    }

    flip: Share = 0.5
    rotation_deg: NonNegative = 12.0
    wide_rotation: Share = 0.15
    wide_rotation_deg: NonNegative = 45.0
    box_edge: NonNegative = 0.04
    box_shift: NonNegative = 0.03
    box_scale: NonNegative = 0.07
    second_pass: Share = 0.0
    turned: Share = 0.0
    color: Share = 0.8
    grey: Share = 0.12
    blur: Share = 0.1
    low_resolution: Share = 0.1
    sensor_noise: Share = 0.15
    noise_patch: Share = 0.15
    noise_patch_size: Positive = 0.34
    occluders: Share = 0.4
    own: Share = 0.0
    masks: Share = 0.25
    behind: Share = 0.0
    misfit: NonNegative = 0.04
    patterns: Share = 0.0
    pattern_file: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.patterns and self.pattern_file is None:
            expected = f"a file of occlusion patterns, as patterns={self.patterns:g} asks for"
            raise InputError.at("AugmentConfig.pattern_file", expected, "none")


PAPER_AUGMENTATION = AugmentConfig(
    rotation_deg=10.0,
    wide_rotation=0.0,
    box_edge=0.04,
    box_shift=0.0,
    box_scale=0.0,
    color=1.0,
    grey=0.0,
    blur=0.0,
    low_resolution=0.0,
    sensor_noise=1.0,
    noise_patch=1.0,
    occluders=0.0,
    masks=0.0,
    misfit=0.0,
)
"""What the authors' augmentation does: flips, mild rotations, colour, noise, and one noise patch in every picture."""

NO_AUGMENTATION = AugmentConfig(
    flip=0, rotation_deg=0, wide_rotation=0, box_edge=0, box_shift=0, box_scale=0, color=0, grey=0, blur=0,
    low_resolution=0, sensor_noise=0, noise_patch=0, occluders=0, masks=0, misfit=0,
)  # fmt: skip
"""The unchanged ground-truth crop, as in evaluation with ground-truth boxes."""


@dataclass(frozen=True)
class MotionConfig(_Occluded):
    """Strength of the animation of a still. Lengths are in units of the face box's size.

    Attributes:
        flip: probability that the whole clip is mirrored.
        rotation_deg: standard deviation of an in-plane rotation of the whole clip.
        period: (shortest, longest) period of the swings of head and camera, in frames; drawn once a clip.
        still: probability of a constant pose (light, noise and occluders still change).
        shift, zoom, roll_deg: standard deviations of the head's position, log size and in-plane tilt.
        turn_deg: standard deviation of yaw and pitch, relative to the pose of the still.
        perspective: standard deviation of the change of scale over the length of the face.
        expression: standard deviation of the movement of facial parts against each other.
        shake: standard deviation of the jump of a hand-held camera between frames; half of the clips have it.
        motion_blur: probability of blur along the movement.
        light: probability of a colour change of the clip and of light that changes over time.
        grey: probability of a grey clip.
        compression: probability of a low resolution and of block artefacts, new in every frame.
        sensor_noise: probability of noise, new in every frame.
        occluders: probability of a passing occluder in each stretch of 30 frames.
        masks, sunglasses: probability of one worn through the whole clip.
        noise_patch: probability of the paper's noise patch, which moves from landmark to landmark by random steps of
            -1, 0 and +1, as the actions of HOFS do (section 3.2).
        noise_patch_size: its side (the paper: 48 pixels in a face box of about 140).
        crop: placement of the crops. `tracked`: the true shape of frame t - 1 places the crop of frame t, with the tilt
            of frame 0, as in a tracker. `fixed`: the shape of frame 0 places all crops.
        box_edge, box_shift, box_scale: standard deviations of errors of the crop's box that last through the clip: of
            each edge, of a shift and of the log size.
        box_fresh: standard deviation of the error of each edge, new in every frame (`tracked` only).
    """

    occlusions = ("noise_patch", "occluders", "masks", "sunglasses")

    flip: Share = 0.5
    rotation_deg: NonNegative = 10.0
    period: tuple[float, float] = (12.0, 70.0)
    still: Share = 0.15
    shift: NonNegative = 0.15
    zoom: NonNegative = 0.07
    roll_deg: NonNegative = 7.0
    turn_deg: NonNegative = 9.0
    perspective: NonNegative = 0.05
    expression: NonNegative = 0.015
    shake: NonNegative = 0.008
    motion_blur: Share = 0.5
    light: Share = 0.7
    grey: Share = 0.12
    compression: Share = 0.35
    sensor_noise: Share = 0.25
    occluders: Share = 0.45
    masks: Share = 0.2
    sunglasses: Share = 0.07
    noise_patch: Share = 0.0
    noise_patch_size: Positive = 0.34
    crop: Literal["tracked", "fixed"] = "tracked"
    box_edge: NonNegative = 0.03
    box_shift: NonNegative = 0.02
    box_scale: NonNegative = 0.05
    box_fresh: NonNegative = 0.012

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 <= self.period[0] <= self.period[1]:
            raise InputError.at("MotionConfig.period", "(shortest, longest), at least a frame", str(self.period))


NO_MOTION = MotionConfig(
    flip=0, rotation_deg=0, still=1, shift=0, zoom=0, roll_deg=0, turn_deg=0, perspective=0, expression=0, shake=0,
    motion_blur=0, light=0, grey=0, compression=0, sensor_noise=0, occluders=0, masks=0, sunglasses=0,
    box_edge=0, box_shift=0, box_scale=0, box_fresh=0,
)  # fmt: skip
"""The unchanged still in every frame, in the ground-truth crop: a base to switch single effects on."""

UNOCCLUDED_MOTION = MotionConfig().unoccluded()
"""Everything but occlusion: the clean clips of table 9, and the base of the occlusions of HOFS."""

RANDOM_PATCH_MOTION = replace(UNOCCLUDED_MOTION, noise_patch=1)
"""One noise patch in every frame, on a random walk over the landmarks."""
