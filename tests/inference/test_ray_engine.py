"""Many machines: a local Ray with two workers writes what one process writes."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from srn.errors import InputError, MissingDependencyError
from srn.inference.batch import BLOCK, Choice
from srn.inference.cores import usable_cores
from srn.inference.landmarker import FaceLandmarker
from srn.inference.ray_engine import detect_on_ray
from srn.media.listing import pictures_in
from srn.media.pictures import write_image

without_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed (srn[ray])")


@without_ray
@pytest.mark.skipif(usable_cores() < 2, reason="two workers need two cores")
@pytest.mark.timeout(900)  # Ray takes half a minute to start, on a busy machine some minutes
def test_two_workers_write_what_one_process_writes(
    robust_weights: Path, tmp_path: Path, rng: np.random.Generator
) -> None:
    """In a process of its own, because Ray leaves processes and warnings behind. There are two blocks of pictures."""
    boxes = {}
    for number in range(BLOCK + 6):
        name = f"{number:02}.png"
        write_image(tmp_path / "in" / name, rng.integers(0, 255, (60 + number, 80, 3), np.uint8))
        boxes[name] = [[10, 10, 50, 50], [20, 5, 60, 45]] if number % 16 == 0 else [[15, 12, 55, 50]] * (number % 3 > 1)
    (tmp_path / "in" / "02.png").write_bytes(b"broken")
    (tmp_path / "boxes.json").write_text(json.dumps(boxes))
    arguments = ["detect", "in", "--boxes", "boxes.json", "--accuracy", "fast", "--threads", "1", "--format", "pts"]
    source = str(Path(__file__).resolve().parents[2] / "src")

    def run(name: str, *more: str) -> str:
        command = [sys.executable, "-m", "srn", *arguments, "--out", name, "--json", f"{name}/a.json", *more]
        environment = {**os.environ, "PYTHONPATH": source, "OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (1, ""), done.stderr
        lines = [line for line in done.stderr.splitlines() if " a second" not in line]
        return "\n".join(lines).replace(f"drawn in {name}", "drawn")

    assert run("ray", "--engine", "ray", "--workers", "2") == run("local")
    here, there = ({path.name: path.read_bytes() for path in (tmp_path / name).iterdir()} for name in ("local", "ray"))
    assert len(here) == BLOCK + 5 + 1 + sum(map(len, boxes.values())) - len(boxes["02.png"])
    assert there == here


def test_nothing_left_starts_nothing(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", np.zeros((9, 9, 3), np.uint8))
    pictures = pictures_in([tmp_path]).pictures
    done = {pictures[0].stem}
    assert list(detect_on_ray(FaceLandmarker, pictures, Choice(), overlay=False, finished=done)) == []


@pytest.mark.parametrize(("workers", "threads", "needed"), [(3, 1, 3), (2, 2, 4), (None, 5, 5)])
def test_more_workers_than_a_cluster_has_cores_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int | None, threads: int, needed: int
) -> None:
    """Ray itself takes half a minute to start, so this one is made up. Like Ray, it takes SIGTERM for itself."""
    ended: list[bool] = []
    before = signal.getsignal(signal.SIGTERM)
    ray = SimpleNamespace(
        is_initialized=lambda: False, cluster_resources=lambda: {"CPU": 2.0},
        init=lambda **options: signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(number)),
        shutdown=lambda: ended.append(True),
    )  # fmt: skip
    monkeypatch.setitem(sys.modules, "ray", ray)
    monkeypatch.setitem(sys.modules, "ray.data", SimpleNamespace())
    write_image(tmp_path / "a.png", np.zeros((9, 9, 3), np.uint8))
    pictures = pictures_in([tmp_path]).pictures
    with pytest.raises(InputError) as caught:
        detect_on_ray(FaceLandmarker, pictures, Choice(), overlay=False, workers=workers, threads=threads)
    expected = f"a cluster with {needed} cores, {threads} for each worker"
    assert str(caught.value) == f"--engine ray: expected {expected}, found 2"
    assert ended
    assert signal.getsignal(signal.SIGTERM) is before


def test_without_ray_the_extra_is_named_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    write_image(tmp_path / "a.png", np.zeros((9, 9, 3), np.uint8))
    with pytest.raises(MissingDependencyError, match=r"--engine ray needs ray; install it with: pip install 'srn\[ray"):
        detect_on_ray(FaceLandmarker, pictures_in([tmp_path]).pictures, Choice(), overlay=False)
