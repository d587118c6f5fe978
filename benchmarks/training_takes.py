"""Clips of animated *training* faces, on which the constants of the tracker may be chosen."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from made_clips import animate_picture, framed, masked_clip, passed_clip, vanishing_clip
from replayed_tracks import Take
from srn.datasets.clip import Clip
from srn.datasets.sample import Sample
from srn.evaluation.video import HeldFrames
from srn.face.geometry import CropSpec, ImageArray
from srn.synthesis.config import UNOCCLUDED_MOTION, MotionConfig
from srn.synthesis.masked import DRAWN

FRAME = CropSpec(400, 125.0)
SMALLEST = 120.0
"""Size of the faces that are animated, at least, pixels: smaller ones would be enlarged."""

BARE = replace(UNOCCLUDED_MOTION, flip=0.0, rotation_deg=0.0)
MOTIONS = {
    "still": replace(BARE, still=1.0),
    "moving": replace(BARE, still=0.0),
    "fast": replace(BARE, still=0.0, shift=0.25, zoom=0.1, turn_deg=12.0, shake=0.016, period=(16.0, 40.0)),
}
RATES = (30.0, 15.0, 60.0)
SEED = 2811


def moving_takes(samples: Sequence[Sample], frames: int, part: int) -> list[Take]:
    """Animate training faces, one take of each; `part` seeds the randomness."""
    takes = []
    settings = itertools.cycle(itertools.product(("clean", "masked", "passing"), RATES, MOTIONS))
    for index, (sample, (kind, rate, motion)) in enumerate(zip(samples, settings, strict=False)):
        rng = np.random.default_rng([SEED, part, index])
        clip = animated(sample, MOTIONS[motion], rate, frames, rng)
        if kind == "masked":
            clip = masked_clip(clip, DRAWN, None, rng)
        elif kind == "passing":
            clip = passed_clip(clip, rng)
        takes.append(Take(kind, held(clip), rate))
    return takes


def vanishing_takes(samples: Sequence[Sample], frames: int, part: int) -> list[Take]:
    """Animate training faces that are wholly hidden for a while: by one colour, or by another picture's background.

    Every third is also masked.
    """
    takes = []
    settings = itertools.cycle(itertools.product(("colour", "background"), ("moving", "fast"), RATES))
    for index, (sample, (cover, motion, rate)) in enumerate(zip(samples, settings, strict=False)):
        rng = np.random.default_rng([SEED, part, 1, index])
        clip = animated(sample, MOTIONS[motion], rate, frames, rng)
        clip = masked_clip(clip, DRAWN, None, rng) if index % 3 == index // 3 % 3 else clip
        colour = np.full((64, 64, 3), rng.uniform(20, 235, 3)) + rng.normal(0, 4, (64, 64, 3))
        picture = background_of(samples[index - 1]) if cover == "background" else colour.clip(0, 255).astype(np.uint8)
        first, travel = frames / 4 + rng.uniform(-3, 3), rng.choice([0.5, 4.0])
        takes.append(Take("vanishing", held(vanishing_clip(clip, picture, round(first), travel, frames / 3)), rate))
    return takes


def animated(sample: Sample, motion: MotionConfig, rate: float, frames: int, rng: np.random.Generator) -> Clip:
    """Animate a training face; periods of `motion` are in thirtieths of a second here."""
    shortest, longest = (max(period * rate / 30, 1.0) for period in motion.period)
    return animate_picture(framed(sample, FRAME), replace(motion, period=(shortest, longest)), rng, frames)


def held(clip: Clip) -> Clip:
    """Return the clip with its frames in memory."""
    return replace(clip, frames=HeldFrames(clip))


def background_of(sample: Sample) -> ImageArray:
    """Cut the largest square beside the head out of the upper part of a picture."""
    image, box = sample.load(), sample.box.as_array()
    left, right = box[0] - 0.15 * sample.box.size, image.shape[1] - box[2] - 0.15 * sample.box.size
    side = max(int(min(max(left, right), image.shape[0])), 16)
    return image[:side, :side] if left >= right else image[:side, -side:]
