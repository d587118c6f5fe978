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

settings = json.loads(sys.argv[1])
if "cores" in settings and hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, settings["cores"])

import cv2  # noqa: E402 - its threads follow the affinity
import numpy as np  # noqa: E402

from srn import Box, FaceLandmarker, read_image  # noqa: E402

cv2.setNumThreads(settings["threads"])
landmarker = FaceLandmarker(settings.get("weights"), threads=settings["threads"])
image = read_image(settings["picture"])
crop = landmarker.looker.geometry_of_box(Box(*settings["box"])).crop(image)[None]
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
