"""The processor cores that this process may use, and the number of threads that follows."""

from __future__ import annotations

import math
import os
from pathlib import Path

import cv2

from srn.errors import check_count


def thread_count(threads: int | None) -> int:
    """Return the threads to use where `threads` are wished for: at most `usable_cores`, and all of those if None.

    More threads than cores only wait for each other.

    Raises:
        InputError: `threads` is below 1.
    """
    check_threads(threads)
    cores = usable_cores()
    return min(threads or cores, cores)


def limit_opencv(threads: int | None) -> None:
    """Let OpenCV use `thread_count(threads)` threads. This holds for the whole process: a matter for its owner."""
    cv2.setNumThreads(thread_count(threads))


def check_threads(threads: int | None) -> None:
    """Raise `InputError` unless `threads` is None or at least 1."""
    if threads is not None:
        check_count("threads", threads)


def usable_cores() -> int:
    """Return the number of cores this process may use: its affinity, limited by the CPU quota of its control group."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        groups = Path("/proc/self/cgroup").read_text(encoding="utf-8")
    except OSError:  # not Linux
        groups = ""
    return max(1, min([cores, *(math.ceil(share) for share in cpu_quotas(groups, Path("/sys/fs/cgroup")))]))


def cpu_quotas(groups: str, root: Path) -> list[float]:
    """Return the CPU quotas, in cores, of the groups in /proc/self/cgroup (`groups`) and of those around them."""
    quotas = []
    for _, controllers, group in (line.split(":", 2) for line in groups.splitlines()):
        top = root / controllers  # version 2 names no controllers
        within = top / group.lstrip("/")
        for folder in (within, *within.parents[: len(within.parts) - len(top.parts)]):
            try:
                if controllers:
                    names = ("cpu.cfs_quota_us", "cpu.cfs_period_us")
                    parts = [(folder / name).read_text(encoding="utf-8") for name in names]
                else:
                    parts = (folder / "cpu.max").read_text(encoding="utf-8").split()
                quota, period = (float(part) for part in parts)  # version 2 says `max` for no quota, version 1 -1
            except (OSError, ValueError):
                continue
            quotas += [quota / period] if quota > 0 else []
    return quotas
