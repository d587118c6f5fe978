"""Times one installed version of `srn`, job by job, on behalf of `measure_speed.py`; it runs in that version's Python.

It reads a job a line from the standard input and writes seconds and processor seconds of one unit. Only what several
versions have in common is used, and nothing of this repository.
"""

import functools
import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

settings = json.loads(sys.argv[1])
if "cores" in settings and hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, settings["cores"])

import cv2  # noqa: E402 - its threads follow the affinity
import numpy as np  # noqa: E402

from srn import Box, FaceLandmarker  # noqa: E402

cv2.setNumThreads(settings["threads"])
landmarker = FaceLandmarker(settings.get("weights"), threads=settings["threads"])
image = np.load(settings["picture"])


class Recorder:
    """A localizer that keeps the crops of its first run."""

    def __init__(self, localizer: Any) -> None:
        self.localizer = localizer
        self.crops: Any = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self.localizer, name)

    def __call__(self, crops: Any, *more: Any, **options: Any) -> Any:
        self.crops = crops if self.crops is None else self.crops
        return self.localizer(crops, *more, **options)


recorder = Recorder(landmarker.localizer)
FaceLandmarker(localizer=recorder).detect(image, [Box(*settings["box"])])
crop = recorder.crops
frames = {name: np.load(file) for name, file in settings.get("frames", {}).items()}
trackers = {name: landmarker.tracker() for name in frames}


def track(name: str) -> None:
    for frame in frames[name]:
        trackers[name].update(frame)


JOBS: dict[str, tuple[Callable[[], object], int]] = {
    "face finder": (lambda: landmarker.find(image), 1),
    "view": (lambda: landmarker.localizer(crop), 1),
    "portrait, end to end": (lambda: landmarker.detect(image), 1),
    **{f"tracking {name}": (functools.partial(track, name), len(frames[name])) for name in frames},
}

for run, _ in JOBS.values():
    run()  # the first run allocates
print("ready", flush=True)
for line in sys.stdin:
    job, turn = json.loads(line)
    run, count = JOBS[job]
    units, spent, begin, cpu = 0, 0.0, time.perf_counter(), time.process_time()
    while spent < turn:
        run()
        units += count
        spent = time.perf_counter() - begin
    print(json.dumps([spent / units, (time.process_time() - cpu) / units]), flush=True)
