"""Interleaved timing: steps take turns, so that a busy moment of the machine falls on all of them alike.

Beside the time of the clock stands the processor time, which waiting for a busy core does not lengthen.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from srn.evaluation.statistics import LEVEL, RESAMPLES, Float64Array, Interval

LEAST_ROUNDS = 3
TURN = 0.02  # seconds that a short step fills in each round


@dataclass(frozen=True)
class Step:
    """Work to time.

    Attributes:
        group, name: what it is; a name is unique in its group.
        run: does the work, on `count` units at once.
        unit: what is counted.
        reference: name of the step of the group with which it is compared.
    """

    group: str
    name: str
    run: Callable[[], object]
    count: int = 1
    unit: str = "face"
    reference: str | None = None


@dataclass(frozen=True)
class Timing:
    """Seconds for one unit of a step, (R,) the mean of each round: by the clock, and of processor time."""

    step: Step
    seconds: Float64Array
    cpu: Float64Array

    @property
    def median(self) -> float:
        return float(np.median(self.seconds))

    @property
    def best(self) -> float:
        return float(self.seconds.min())

    @property
    def cpu_median(self) -> float:
        return float(np.median(self.cpu))

    def to_dict(self) -> dict[str, Any]:
        """Return names and milliseconds for JSON."""
        step = self.step
        known = {"median_ms": self.median, "best_ms": self.best, "cpu_ms": self.cpu_median}
        times = {name: round(seconds * 1e3, 4) for name, seconds in known.items()}
        names = {"group": step.group, "name": step.name, "unit": step.unit, "units_at_once": step.count}
        return {**names, **times, "rounds": len(self.seconds)}


def take_turns(
    steps: Sequence[Step], seconds: float, progress: Callable[[int], None] = lambda per_cent: None
) -> list[Timing]:
    """Time steps in rounds, each step once in every round.

    Args:
        steps: the steps; each runs once beforehand, because a first run allocates.
        seconds: time for all rounds; `LEAST_ROUNDS` are run in any case.
        progress: is called with the per cent of the time that have passed since the call before, 100 in all.
    """
    for step in steps:
        step.run()
    found: list[list[tuple[float, float]]] = [[] for _ in steps]
    begin, rounds, told = time.perf_counter(), 0, 0
    while rounds < LEAST_ROUNDS or time.perf_counter() - begin < seconds:
        for step, times in zip(steps, found, strict=True):
            times.append(_turn(step))
            done = round(100 * min(1.0, (time.perf_counter() - begin) / max(seconds, 1e-9)))
            progress(done - told)
            told = done
        rounds += 1
    return [Timing(step, *np.array(times).T) for step, times in zip(steps, found, strict=True)]


def _turn(step: Step) -> tuple[float, float]:
    """Run a step as often as a turn has room for; returns mean seconds and processor seconds of a unit."""
    units, spent, begin, cpu = 0, 0.0, time.perf_counter(), time.process_time()
    while spent < TURN:
        step.run()
        units += step.count
        spent = time.perf_counter() - begin
    return spent / units, (time.process_time() - cpu) / units


def ratio(times: Float64Array, reference: Float64Array) -> Interval:
    """Compare the times (R,) of two steps that took turns: the median of their ratio, with its bootstrap interval."""
    ratios = times / reference
    drawn = np.random.default_rng(0).integers(len(ratios), size=(RESAMPLES, len(ratios)))
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(np.median(ratios[drawn], axis=1), [tail, 1 - tail])
    return Interval(float(np.median(ratios)), float(low), float(high))


class Compared(NamedTuple):
    """A step's time and processor time as multiples of those of its reference."""

    time: Interval
    cpu: Interval


def ratios(timings: Sequence[Timing]) -> dict[tuple[str, str], Compared]:
    """Compare every step with its reference, where it has one: by group and name."""
    named = {(timing.step.group, timing.step.name): timing for timing in timings}
    found = {}
    for key, timing in named.items():
        if timing.step.reference is not None:
            reference = named[key[0], timing.step.reference]
            found[key] = Compared(ratio(timing.seconds, reference.seconds), ratio(timing.cpu, reference.cpu))
    return found


def load_average() -> float | None:
    """Return the processes that ran or waited on average in the last minute; None where the system does not tell."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else None
