"""Smoothing landmarks over time without dragging them behind the face, and holding hidden points where they belong.

Both work on shapes (N, 2) in picture pixels with real times in seconds, so an uneven frame rate changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from srn.errors import InputError
from srn.face.geometry import Box, FloatArray
from srn.inference.flow import Carried

Float64Array = npt.NDArray[np.float64]

SHORTEST = 1e-3
"""Seconds that two frames are taken to be apart at least: equal times must not make infinite speeds."""

LONGEST = 0.1
"""Seconds over which a speed is trusted to last."""


def similar_part(points: FloatArray, values: FloatArray, weights: FloatArray) -> Float64Array:
    """What a similarity of the plane explains of `values` given at `points`, evaluated at the points.

    The least-squares map v = a u + b over the complex plane: with `values` = positions it is the similarity that fits
    them (never a reflection), with `values` = velocities the velocity field of a turning, growing, moving rigid shape.

    Args:
        points: (N, 2).
        values: (N, 2).
        weights: (N,) non-negative; taken as equal where they are all 0.

    Returns:
        (N, 2).
    """
    weights = weights if weights.sum() > 0 else np.ones(len(points))
    weights = weights / weights.sum()
    u, v = (array[:, 0] + 1j * array[:, 1] for array in (points, values))
    u_mean, v_mean = (weights * u).sum(), (weights * v).sum()
    power = float((weights * np.abs(u - u_mean) ** 2).sum())
    a = (weights * np.conj(u - u_mean) * (v - v_mean)).sum() / power if power > 0 else 0.0
    fitted = a * (u - u_mean) + v_mean
    return np.stack([fitted.real, fitted.imag], axis=1)


def smoothing_factor(cutoff: float | FloatArray, dt: float) -> Float64Array:
    """Share of the new value in an exponential filter with this cutoff frequency (Hz) after `dt` seconds."""
    return np.asarray(1 / (1 + 1 / (2 * np.pi * np.asarray(cutoff, dtype=np.float64) * dt)), dtype=np.float64)


@dataclass(frozen=True)
class SmoothingConfig:
    """How strongly landmarks are smoothed. Speeds are in face sides a second, cutoff frequencies in Hz.

    The values were chosen on CK_plus and on six stills brought to life: less than half the jitter of pictures taken one
    by one at the same error where the camera rests (docs/video.md).

    Attributes:
        min_cutoff: cutoff of a sure point that holds still. Lower is smoother.
        beta: what a point's own speed, beside the motion of the whole face, adds to its cutoff. A sure point that moves
            evenly on its own lags behind by less than 1 / (2 pi beta) face sides, however fast: 0.7 % with 24.
        rigid_beta: likewise for the motion of the whole face, which is foreseen besides and lags by nothing once even.
        shock_beta, shock_floor: what it adds to the whole face's cutoff that the face lies elsewhere than foreseen, by
            the speed in excess of `shock_floor` that would explain it. The place of the whole face is known far better
            than that of one point: a jump that is larger than its noise is the hand that holds the camera.
        speed_cutoff, rigid_speed_cutoff: cutoffs of the two speeds themselves.
        carried_cutoff, rigid_carried_cutoff, carried_shock_floor: what takes the place of `min_cutoff` and the betas,
            for a point and for the whole face, and of `shock_floor`, as far as the pixels have carried a point from the
            frame before (`srn.inference.flow`): how fast the network puts right what has drifted.
        least_weight: the weight of a point of which nothing is known, relative to a sure one.
        hold: share of the way that a wholly hidden, wholly unsure point is drawn to where the recent shape has it.
        memory_s: time in which the recent shape follows the measured one, seconds.
        forget_s: time after which a point that is not seen any more is no longer held, seconds.
    """

    min_cutoff: float = 0.5
    beta: float = 24.0
    rigid_beta: float = 3.0
    shock_beta: float = 400.0
    shock_floor: float = 0.12
    speed_cutoff: float = 1.0
    rigid_speed_cutoff: float = 5.0
    carried_cutoff: float = 2.5
    rigid_carried_cutoff: float = 2.0
    carried_shock_floor: float = 1.0
    least_weight: float = 0.25
    hold: float = 0.7
    memory_s: float = 0.5
    forget_s: float = 2.0

    def __post_init__(self) -> None:
        for name in ("min_cutoff", "speed_cutoff", "rigid_speed_cutoff", "carried_cutoff", "rigid_carried_cutoff",
                     "memory_s", "forget_s"):  # fmt: skip
            if not getattr(self, name) > 0:
                raise InputError.at(name, "a number above 0", str(getattr(self, name)))
        for name in ("beta", "rigid_beta", "shock_beta", "shock_floor", "carried_shock_floor"):
            if not getattr(self, name) >= 0:
                raise InputError.at(name, "a number of at least 0", str(getattr(self, name)))
        for name in ("least_weight", "hold"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError.at(name, "a number from 0 to 1", str(getattr(self, name)))


class OneEuroShape:
    """The One-Euro filter (Casiez, Roussel, Vogel, CHI 2012) for a whole shape, in units of the face.

    As in the paper an exponential filter's cutoff grows with the filtered speed. Three things are added for faces. The
    speed v of the points is split into the rigid motion of the whole face u (least squares over all points, so the
    noise of single ones hardly touches it) and each point's own motion p = v - u, which counts as far as the point is
    trusted (weight w). The filter moves along with the rigid motion, so that a turning or walking face is not smeared.
    And what is left, e, is split likewise into a rigid part r and the rest: a shaking camera moves all points alike,
    which is followed at once, while each of them is still smoothed within the face. With s(f) the `smoothing_factor`, h
    the face's side and |r| the root mean square over the points:

        u_t = u + s(rigid_speed_cutoff) (rigid part of v_t - u)
        p_t = p + s(speed_cutoff) (rest of v_t - p)
        e   = x_t - y - u_t dt,  r = rigid part of e
        f_r = min_cutoff + (rigid_beta |u_t| + shock_beta max(|r| / dt - shock_floor h, 0)) / h
        f   = w min_cutoff + (rigid_beta |u_t| + beta w |p_t|) / h
        y_t = y + u_t dt + s(f_r) r + s(f) (e - r)

    Where the pixels tell how a point moved (`srn.inference.flow`), y + u_t dt becomes the place that they carried it to
    and the cutoffs become f_r = rigid_carried_cutoff and f = w carried_cutoff, both as far as they can be trusted: the
    filter need not open itself for motion that it knows of, however fast and uneven.
    """

    def __init__(self, config: SmoothingConfig | None = None) -> None:
        self.config = config or SmoothingConfig()
        self.reset()

    def reset(self) -> None:
        """Forget: the next shape passes as it is."""
        self._time = 0.0
        self._last: tuple[Float64Array, Float64Array, Float64Array, Float64Array] | None = None  # x, y, u, p

    def __call__(
        self, shape: FloatArray, time_s: float, trust: FloatArray | None = None, carried: Carried | None = None
    ) -> Float64Array:
        """Filter a shape.

        Args:
            shape: (N, 2) as measured at `time_s`.
            time_s: seconds, not before the last call's.
            trust: (N,) in [0, 1], ones where None.
            carried: where the pixels have carried the last answer to.
        """
        raw = np.asarray(shape, dtype=np.float64)
        if self._last is None:
            self._last = (raw, raw, np.zeros_like(raw), np.zeros_like(raw))
        else:
            c, dt = self.config, max(time_s - self._time, SHORTEST)
            before, smooth, rigid, own = self._last
            weight = c.least_weight + (1 - c.least_weight) * (np.ones(len(raw)) if trust is None else trust)
            speed = (raw - before) / dt
            common = similar_part(raw, speed, weight)
            rigid = rigid + smoothing_factor(c.rigid_speed_cutoff, dt) * (common - rigid)
            own = own + smoothing_factor(c.speed_cutoff, dt) * (speed - common - own)
            side = Box.around(raw).size
            foreseen = smooth + rigid * min(dt, LONGEST)
            found = np.zeros(len(raw)) if carried is None else carried.trust
            if carried is not None:
                foreseen = foreseen + found[:, None] * (carried.points - foreseen)
            rest = raw - foreseen
            jump = similar_part(raw, rest, weight)
            shock = float(np.sqrt((jump**2).sum(axis=1).mean())) / (side * dt)
            moving = c.rigid_beta * np.linalg.norm(rigid, axis=1) / side
            alone = weight * (c.min_cutoff + c.beta * np.linalg.norm(own, axis=1) / side)
            # What the pixels have followed already is no reason to follow the network any faster.
            floor = c.shock_floor + found * (c.carried_shock_floor - c.shock_floor)
            slow = (1 - found) * (c.min_cutoff + moving) + found * c.rigid_carried_cutoff
            of_all = smoothing_factor(slow + c.shock_beta * np.maximum(shock - floor, 0), dt)
            of_each = smoothing_factor((1 - found) * (moving + alone) + found * weight * c.carried_cutoff, dt)
            self._last = (raw, foreseen + of_all[:, None] * jump + of_each[:, None] * (rest - jump), rigid, own)
        self._time = time_s
        return self._last[1]


class ShapeMemory:
    """The recent shape of a face, by which points that are hidden now are held where they belong.

    It is kept as it last looked, fitted to each new shape by the similarity that its trusted points agree on.
    """

    def __init__(self, config: SmoothingConfig | None = None) -> None:
        self.config = config or SmoothingConfig()
        self.reset()

    def reset(self) -> None:
        """Forget: the next shape is the recent one."""
        self._recent: Float64Array | None = None
        self._known = np.zeros(0)
        self._time = 0.0

    def __call__(
        self, shape: FloatArray, time_s: float, visibility: FloatArray | None, confidence: FloatArray | None
    ) -> Float64Array:
        """The shape (N, 2) of the moment `time_s` with its hidden points held.

        A point moves towards its place in the recent shape by `hold` (1 - visibility) (1 - confidence) known of the
        way: seen or sure points stay, and so do those that have never been seen, or not for long. `known` is how well
        each point was seen and how sure it was, fading with `forget_s`. The recent shape learns from a point as far as
        it is both seen and sure.
        """
        measured = np.asarray(shape, dtype=np.float64)
        seen, sure = (
            np.ones(len(measured)) if v is None else np.asarray(v, dtype=np.float64) for v in (visibility, confidence)
        )
        c, trust = self.config, seen * sure
        if self._recent is None:
            self._recent, self._known, self._time = measured, trust, time_s
            return measured
        fitted = similar_part(self._recent, measured, trust)
        dt = max(time_s - self._time, SHORTEST)
        step = 1 - np.exp(-dt / c.memory_s)
        self._known = np.maximum(trust, self._known * np.exp(-dt / c.forget_s))
        self._recent = fitted + (step * trust)[:, None] * (measured - fitted)
        self._time = time_s
        return measured + (c.hold * (1 - seen) * (1 - sure) * self._known)[:, None] * (self._recent - measured)
