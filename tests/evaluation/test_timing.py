"""Steps that take turns, and the ratios of their times."""

from __future__ import annotations

import functools
import time

import numpy as np
import pytest

from srn.evaluation.timing import LEAST_ROUNDS, Step, Timing, load_average, ratio, ratios, take_turns


def sleeping(name: str, seconds: float, count: int = 1, reference: str | None = None) -> Step:
    return Step("sleep", name, lambda: time.sleep(seconds), count, "nap", reference)


def busy() -> int:
    return sum(range(200_000))


def test_times_are_those_of_a_unit() -> None:
    one, four = take_turns([sleeping("one", 0.03), sleeping("four", 0.12, 4)], 0)
    for timing in (one, four):
        assert len(timing.seconds) == LEAST_ROUNDS
        assert 0.03 <= timing.best <= timing.median < 0.3
        assert timing.cpu_median < 0.01  # a sleeper takes no processor
    assert four.to_dict() == {
        "group": "sleep",
        "name": "four",
        "unit": "nap",
        "units_at_once": 4,
        "median_ms": round(four.median * 1e3, 4),
        "best_ms": round(four.best * 1e3, 4),
        "cpu_ms": round(four.cpu_median * 1e3, 4),
        "rounds": LEAST_ROUNDS,
    }


def test_processor_time_is_counted() -> None:
    (timing,) = take_turns([Step("a", "busy", busy)], 0)
    assert 0.001 < timing.cpu_median <= timing.seconds.max() * 1.2


def test_steps_take_turns_until_the_time_is_over() -> None:
    order: list[str] = []
    gained: list[int] = []

    def work(name: str) -> None:
        order.append(name)
        time.sleep(0.021)

    steps = [Step("a", name, functools.partial(work, name)) for name in "xy"]
    found = take_turns(steps, 0.3, gained.append)
    assert order == ["x", "y"] * (1 + len(found[0].seconds))  # the first runs do not count
    assert len(found[0].seconds) == len(found[1].seconds) > LEAST_ROUNDS
    assert min(gained) >= 0
    assert sum(gained) == 100


def test_a_ratio_is_the_median_over_rounds_with_its_interval() -> None:
    rng = np.random.default_rng(0)
    load = rng.uniform(1, 20, 200)  # falls on both steps of a round
    noise = rng.normal(1, 0.05, 200)
    found = ratio(2 * load * noise, load)
    assert found.value == pytest.approx(np.median(2 * noise))
    # The standard error of a median of n normal values is 1.25 sigma / sqrt(n); 1.96 of them on each side.
    assert found.low < found.value < found.high
    assert found.high - found.low == pytest.approx(2 * 1.96 * 1.25 * 0.1 / np.sqrt(200), rel=0.35)
    assert ratio(load, load).to_list() == [1, 1]


def test_steps_are_compared_with_their_reference() -> None:
    own, other = sleeping("own", 0), sleeping("other", 0, reference="own")
    times = np.array([1.0, 2.0, 4.0])
    found = ratios([Timing(own, times, times), Timing(other, times * 3, times / 2)])
    assert list(found) == [("sleep", "other")]
    assert found["sleep", "other"].time.value == 3
    assert found["sleep", "other"].cpu.value == 0.5


def test_the_load_is_told_where_the_system_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.getloadavg", lambda: (3.5, 2.0, 1.0), raising=False)
    assert load_average() == 3.5
    monkeypatch.delattr("os.getloadavg")
    assert load_average() is None
