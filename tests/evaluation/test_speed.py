"""The benchmark's result: times, ratios, the floor."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from srn.evaluation.arithmetic import PRODUCT_FLOP, multiply_adds
from srn.evaluation.speed import measure_speed, median_seconds, run_benchmark, seconds_of_view
from srn.evaluation.speed_steps import Bench
from srn.evaluation.timing import Step
from srn.face.geometry import Box
from srn.inference.landmarker import FaceLandmarker


def test_a_run_and_its_floor(tiny_weights: Path) -> None:
    bench = Bench(weights=tiny_weights, threads=1)
    view = bench.view("picture", "view", bench.localizer, 1)
    # A matrix product that takes as long as the network: the network reaches the share of its operations.
    product = Step("floor", "product", view.run, unit="product")
    slower = Step("picture", "twice", lambda: (view.run(), view.run()), reference="view")
    found = run_benchmark(bench, [product, view, slower], 0.5)
    count = sum(multiply_adds(tiny_weights.read_bytes()).values())
    assert found.floor is not None
    assert found.floor.share == pytest.approx(2 * count / PRODUCT_FLOP, rel=0.5)
    assert found.floor.seconds == pytest.approx(2 * count / found.floor.gflops / 1e9)
    assert 1.4 < found.ratios()["picture", "twice"].cpu.value < 2.8
    numbers = found.to_dict()
    assert (numbers["weights"], numbers["threads"]) == (bench.localizer.name, 1)
    assert [step["name"] for step in numbers["steps"]] == ["product", "view", "twice"]
    low, high = numbers["steps"][2]["cpu_ratio_interval"]
    assert low <= numbers["steps"][2]["cpu_ratio"] <= high
    assert numbers["steps"][2]["reference"] == "view"
    assert "time_ratio" not in numbers["steps"][1]
    assert numbers["floor"]["multiply_adds"] == multiply_adds(tiny_weights.read_bytes())
    assert {"date", "hardware", "versions", "load_average"} <= set(numbers)


def test_the_floor_needs_its_steps(tiny_weights: Path) -> None:
    bench = Bench(weights=tiny_weights, threads=1)
    assert run_benchmark(bench, [bench.view("picture", "view", bench.localizer, 1)], 0).floor is None


def test_a_median_of_several_runs() -> None:
    naps = iter([0.2, 0.01, 0.2, 0.01, 0.01])  # the first does not count
    assert 0.01 <= median_seconds(lambda: time.sleep(next(naps)), 4) < 0.12


def test_the_speed_of_a_network(tiny_weights: Path) -> None:
    landmarker = FaceLandmarker(tiny_weights, threads=1, accuracy="fast", batch_size=4)
    speed = measure_speed(landmarker, (np.zeros((90, 120, 3), np.uint8), Box(30, 20, 80, 70)), repeats=3)
    assert speed.batch_size == 4
    assert 0 < speed.in_batch < 1
    assert 0 < speed.one_face < 1
    assert np.isfinite([speed.one_face, speed.in_batch]).all()


def test_one_view_is_one_run_of_the_network(tiny_weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A landmarker views noise, an unsure face, several times: the speed of one view was a third of what it is."""
    localizer = FaceLandmarker(tiny_weights, threads=1).localizer
    run, crops = type(localizer).__call__, []

    def counted(self: Any, images: Any, *more: Any, **options: Any) -> Any:
        crops.append(len(images))
        return run(self, images, *more, **options)

    monkeypatch.setattr(type(localizer), "__call__", counted)
    assert 0 < seconds_of_view(localizer, repeats=3) < 1
    assert crops == [1, 1, 1, 1]  # with one that does not count
