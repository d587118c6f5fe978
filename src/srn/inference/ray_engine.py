"""Detect the faces of many picture files on several machines, with Ray Data."""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import pickle
import signal
import threading
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from srn.errors import DataError, InputError, MissingDependencyError
from srn.inference.batch import BLOCK, Choice, detect_pictures
from srn.inference.landmarker import FaceLandmarker
from srn.inference.picture_files import Overlay, Rendered, render
from srn.media.listing import PictureFile


def check_ray() -> None:
    """Raise `MissingDependencyError` where Ray is not installed."""
    with MissingDependencyError.importing("ray", "--engine ray"):
        import ray
        import ray.data  # noqa: F401


def detect_on_ray(
    opened: Callable[[], FaceLandmarker],
    pictures: Sequence[PictureFile],
    choice: Choice,
    *,
    overlay: Overlay,
    finished: Container[Path] = (),
    workers: int | None = None,
    threads: int = 1,
    tell: Callable[[str], object] = lambda line: None,
) -> Iterator[list[Rendered | DataError]]:
    """Detect the faces of picture files as `detect_pictures` does, on the machines of a Ray cluster.

    Ray connects at once to the cluster that it is told of (`RAY_ADDRESS`), or starts one on this machine. A worker
    takes a block of pictures at a time. It finds them, and the current folder, at the same paths as this process.

    Args:
        opened: opens the landmarker in each worker; it is pickled.
        overlay: whether pictures with their faces drawn are made.
        workers: number of workers; as many as the cluster has cores for if None.
        threads: CPU threads, and cores, of a worker.

    Raises:
        MissingDependencyError: Ray is not installed.
        InputError: the cluster has too few cores.
    """
    blocks = [pictures[first : first + BLOCK] for first in range(0, len(pictures), BLOCK)]
    left = [(block, {one.stem for one in block if one.stem in finished}) for block in blocks]
    rows = [{"work": pickle.dumps(work)} for work in left if len(work[1]) < len(work[0])]
    if not rows:
        return iter(())
    check_ray()
    import ray
    import ray.data

    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    joined = ray.is_initialized()
    with _own_handler():
        ray.init(log_to_driver=False, logging_level=logging.ERROR, include_dashboard=False, ignore_reinit_error=True)
    try:
        size = _fitting(ray.cluster_resources(), workers, threads)  # type: ignore[no-untyped-call]
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        context.execution_options.preserve_order = True
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        answers = ray.data.from_items(rows, override_num_blocks=len(rows)).map(
            _Worker,  # type: ignore[arg-type]
            fn_constructor_args=(opened, choice, overlay, os.getcwd()),
            num_cpus=threads,
            compute=ray.data.ActorPoolStrategy(size=min(size, len(rows))),
        )
    except BaseException:
        if not joined:
            ray.shutdown()
        raise
    return _batches(answers.iter_rows(), tell, (lambda: None) if joined else ray.shutdown)


@contextlib.contextmanager
def _own_handler() -> Iterator[None]:
    """Keep the handler of SIGTERM: with that of Ray the process ends without a word, with exit code 15."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)


def _batches(
    rows: Iterable[dict[str, Any]], tell: Callable[[str], object], end: Callable[[], None]
) -> Iterator[list[Rendered | DataError]]:
    try:
        for row in rows:
            batches, told = pickle.loads(row["batches"])
            for line in told:
                tell(line)
            yield from batches
    finally:
        end()


def _fitting(resources: dict[str, float], workers: int | None, threads: int) -> int:
    """Return the number of workers; as many as fit if it is not given."""
    cores = int(resources.get("CPU", 0))
    if cores < threads * (workers or 1):
        expected = f"a cluster with {threads * (workers or 1)} cores, {threads} for each worker"
        raise InputError.at("--engine ray", expected, str(cores))
    return workers or cores // threads


class _Worker:
    """Detects blocks of pictures in a process of its own, in the folder of the process that asks for them."""

    def __init__(self, opened: Callable[[], FaceLandmarker], choice: Choice, overlay: Overlay, folder: str) -> None:
        os.chdir(folder)
        self._landmarker, self._choice = opened(), choice
        self._finish = functools.partial(render, overlay=overlay)

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        pictures, finished = pickle.loads(row["work"])
        told: list[str] = []
        batches = detect_pictures(
            self._landmarker, pictures, self._choice, self._finish, finished=finished, tell=told.append
        )
        return {"batches": pickle.dumps((list(batches), told))}
