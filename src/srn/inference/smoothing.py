"""Smooth landmarks over time with little lag, and hold hidden points in place, at any frame rate."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from srn.face.geometry import Box, Float64Array, FloatArray
from srn.inference.flow import Carried
from srn.settings import NonNegative, Positive, Settings, Share

SHORTEST = 1e-3  # seconds between two frames at least: it keeps the speeds of simultaneous frames finite
LONGEST = 0.1  # seconds over which a speed is extrapolated at most


def similar_part(points: FloatArray, values: FloatArray, weights: FloatArray) -> Float64Array:
    """Fit `values` (N, 2) at `points` (N, 2) by a similarity, v = a u + b of complex numbers, by least squares.

    Of positions, this is the similarity that maps `points` to them, never a reflection. Of velocities, it is the
    velocity field of a shape that translates, rotates and scales. The weights (N,) are equal if all are 0.
    """
    weights = weights if weights.sum() > 0 else np.ones(len(points))
    weights = weights / weights.sum()
    u, v = (np.ascontiguousarray(array, np.float64).view(np.complex128)[:, 0] for array in (points, values))
    u_mean = weights @ u
    u = u - u_mean
    weighted = weights * u  # their sum is 0, so that the mean of v adds nothing to their product with it
    power = float(np.vdot(weighted, u).real)
    together = power <= 1e-24 * abs(u_mean) ** 2  # all points in one place, but for rounding
    a = 0.0 if together else np.vdot(weighted, v) / power
    return np.asarray(a * u + weights @ v, np.complex128)[:, None].view(np.float64)


def smoothing_factor(cutoff: float | FloatArray, dt: float) -> Float64Array:
    """Return the weight of a new value in an exponential filter with this cutoff (Hz) after `dt` seconds."""
    return np.asarray(1 / (1 + 1 / (2 * np.pi * np.asarray(cutoff, dtype=np.float64) * dt)), dtype=np.float64)


@dataclass(frozen=True)
class SmoothingConfig(Settings):
    """Strength of the smoothing. Speeds are in face sizes a second, cutoff frequencies in Hz (`OneEuroShape`).

    The values were first chosen on CK+ and on animated training faces; on the latter alone no other value beats them
    (`docs/video.md`).

    Attributes:
        min_cutoff: cutoff for a point at rest; lower is smoother.
        beta: increase of a point's cutoff by its own speed. A confident point in even motion lags by less than
            1 / (2 pi beta) face sizes.
        rigid_beta: increase of the cutoffs by the speed of the whole face.
        shock_beta: increase of the whole face's cutoff by the speed of its prediction error, in excess of
            `shock_floor`. It follows jolts of the camera.
        speed_cutoff, rigid_speed_cutoff: cutoffs for the speeds of single points and of the whole face.
        carried_cutoff, rigid_carried_cutoff, carried_shock_floor: the same for points propagated by optical flow, in
            place of `min_cutoff` and the betas.
        least_weight: weight of a point with zero confidence, relative to a certain one.
        hold: share of the correction of a hidden point without confidence towards its position in the recent shape.
        memory_s: time constant with which the recent shape follows the measured one, seconds.
        forget_s: time constant with which the knowledge of an unseen point decays, seconds.
    """

    min_cutoff: Positive = 0.5
    beta: NonNegative = 24.0
    rigid_beta: NonNegative = 3.0
    shock_beta: NonNegative = 400.0
    shock_floor: NonNegative = 0.12
    speed_cutoff: Positive = 1.0
    rigid_speed_cutoff: Positive = 5.0
    carried_cutoff: Positive = 2.5
    rigid_carried_cutoff: Positive = 2.0
    carried_shock_floor: NonNegative = 1.0
    least_weight: Share = 0.25
    hold: Share = 0.7
    memory_s: Positive = 0.5
    forget_s: Positive = 2.0


class OneEuroShape:
    """The One-Euro filter (Casiez, Roussel, Vogel, CHI 2012) for a whole shape, in units of the face.

    As in the paper, the cutoff of an exponential filter grows with the filtered speed. The velocity v of the points is
    split into the rigid motion u of the whole face, by least squares, and the motion p = v - u of each point, weighted
    by its trust w. The filter moves with the rigid motion, so that a moving face does not lag. The prediction error e
    is split into a rigid part r and the rest: a shaking camera moves all points alike, which is followed at once. With
    s(f) the `smoothing_factor`, h the face size and |r| the root mean square over the points:

        u_t = u + s(rigid_speed_cutoff) (rigid part of v_t - u)
        p_t = p + s(speed_cutoff) (rest of v_t - p)
        e   = x_t - y - u_t dt,  r = rigid part of e
        f_r = min_cutoff + (rigid_beta |u_t| + shock_beta max(|r| / dt - shock_floor h, 0)) / h
        f   = w min_cutoff + (rigid_beta |u_t| + beta w |p_t|) / h
        y_t = y + u_t dt + s(f_r) r + s(f) (e - r)

    Where the optical flow gives the motion of a point (`srn.inference.flow`), y + u_t dt becomes its position by the
    flow, and the cutoffs become f_r = rigid_carried_cutoff and f = w carried_cutoff. Both are blended by the trust in
    the flow: known motion, however fast, needs no higher cutoff.
    """

    def __init__(self, config: SmoothingConfig | None = None) -> None:
        self.config = config or SmoothingConfig()
        self.reset()

    def reset(self) -> None:
        """Forget the past: the next shape passes unchanged."""
        self._time = 0.0
        self._last: tuple[Float64Array, Float64Array, Float64Array, Float64Array] | None = None  # x, y, u, p

    def __call__(
        self, shape: FloatArray, time_s: float, trust: FloatArray | None = None, carried: Carried | None = None
    ) -> Float64Array:
        """Filter a shape (N, 2) measured at `time_s`, never before the last one; `trust` is ones if None.

        `carried` is the last result, propagated to `time_s` by optical flow.
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
            size = Box.around(raw).size
            predicted = smooth + rigid * min(dt, LONGEST)
            found = np.zeros(len(raw)) if carried is None else carried.trust
            if carried is not None:
                predicted = predicted + found[:, None] * (carried.points - predicted)
            rest = raw - predicted
            jump = similar_part(raw, rest, weight)
            shock = float(np.sqrt((jump**2).sum(axis=1).mean())) / (size * dt)
            moving = c.rigid_beta * np.linalg.norm(rigid, axis=1) / size
            alone = weight * (c.min_cutoff + c.beta * np.linalg.norm(own, axis=1) / size)
            # Motion that the flow has already followed does not raise the cutoff.
            floor = c.shock_floor + found * (c.carried_shock_floor - c.shock_floor)
            slow = (1 - found) * (c.min_cutoff + moving) + found * c.rigid_carried_cutoff
            of_all = smoothing_factor(slow + c.shock_beta * np.maximum(shock - floor, 0), dt)
            of_each = smoothing_factor((1 - found) * (moving + alone) + found * weight * c.carried_cutoff, dt)
            self._last = (raw, predicted + of_all[:, None] * jump + of_each[:, None] * (rest - jump), rigid, own)
        self._time = time_s
        return self._last[1]


class ShapeMemory:
    """Hold hidden points at their position in the recent shape of the face.

    The recent shape is aligned to each new shape by a similarity, weighted by the trust in the points.
    """

    def __init__(self, config: SmoothingConfig | None = None) -> None:
        self.config = config or SmoothingConfig()
        self.reset()

    def reset(self) -> None:
        """Forget the past: the next shape becomes the recent one."""
        self._recent: Float64Array | None = None
        self._known = np.zeros(0)
        self._time = 0.0

    def __call__(
        self, shape: FloatArray, time_s: float, visibility: FloatArray | None, confidence: FloatArray | None
    ) -> Float64Array:
        """Correct the hidden points of a shape (N, 2) at `time_s`, by visibility and confidence (ones if None).

        A point moves towards its position in the recent shape by the share `hold` (1 - visibility) (1 - confidence)
        known. So visible and confident points stay, as do points never seen or not seen for long: `known` is the
        highest visibility x confidence of the point so far, decaying with `forget_s`. The same product weights what
        the recent shape takes over from a new one.
        """
        measured = np.asarray(shape, dtype=np.float64)
        ones = np.ones(len(measured))
        seen, sure = (ones if v is None else np.asarray(v, dtype=np.float64) for v in (visibility, confidence))
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
