"""Sessions: an ONNX model, opened by ONNX Runtime or by OpenVINO."""

from __future__ import annotations

import functools
import os
import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any, Protocol

import onnxruntime

from srn.errors import InputError, WeightsError, first_line, let_interruption_pass
from srn.face.localizer import Float32Array
from srn.face.onnx_file import Digests, check_model
from srn.inference.cores import thread_count
from srn.inference.engines import Device, check_choice

CPU_PROVIDER, CUDA_PROVIDER = "CPUExecutionProvider", "CUDAExecutionProvider"
SPIN_US = 50  # microseconds that a thread spins before it sleeps


class Session(Protocol):
    """What a localizer uses of an `onnxruntime.InferenceSession`."""

    def get_inputs(self) -> Sequence[Any]:
        """Return objects with `name` and `shape`, a list that begins with the batch."""

    def run(self, names: Sequence[str], feeds: Mapping[str, Float32Array]) -> Sequence[Float32Array]:
        """Compute outputs from inputs, in the order of `names`."""


class Reopened:
    """An object around a session, which cannot be pickled: the arguments are pickled, and it is opened again.

    A subclass may have other arguments than its base: those of the object's own class count.
    """

    _opened_by: tuple[tuple[object, ...], dict[str, object]]

    def __init_subclass__(cls) -> None:
        opened = cls.__init__

        @functools.wraps(opened)
        def init(self: Reopened, *args: object, **options: object) -> None:
            vars(self).setdefault("_opened_by", (args, options))  # before the base's own `__init__` runs
            opened(self, *args, **options)

        setattr(cls, "__init__", init)  # noqa: B010 - mypy forbids the assignment

    def __reduce__(self) -> tuple[object, ...]:
        return _reopen, (type(self), *self._opened_by)


def _reopen(kind: type[Reopened], args: tuple[object, ...], options: dict[str, object]) -> Reopened:
    return kind(*args, **options)


class Awaited:
    """A `Session` that a thread opens while its owner goes on; whatever runs it waits for that.

    For content that is known to be whole, since errors come late: at the first run. A process is not forked before it
    is open: the copy would have no such thread.
    """

    def __init__(self, opened: Callable[[], Session]) -> None:
        self._session = Future[Session]()
        thread = threading.Thread(target=self._open, args=(opened,), name="srn opens a network")
        try:
            thread.start()
            _opening.add(thread)
        except RuntimeError:  # the system allows no more threads
            self._open(opened)

    def _open(self, opened: Callable[[], Session]) -> None:
        try:
            self._session.set_result(opened())
        except BaseException as error:
            self._session.set_exception(error)

    def get_inputs(self) -> Sequence[Any]:
        """Return the inputs, once the session is open."""
        return self._session.result().get_inputs()

    def run(self, names: Sequence[str], feeds: Mapping[str, Float32Array]) -> Sequence[Float32Array]:
        """Compute outputs from inputs, once the session is open."""
        return self._session.result().run(names, feeds)


_opening = weakref.WeakSet[threading.Thread]()


def _finish_opening() -> None:
    for thread in list(_opening):
        thread.join()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_finish_opening)


def open_session(
    content: bytes,
    where: str | os.PathLike[str],
    expected: str,
    *,
    threads: int | None = None,
    providers: Sequence[str] | None = None,
    device: Device = "cpu",
    own: bool = False,
    digests: Digests | None = None,
) -> onnxruntime.InferenceSession:
    """Open an ONNX model, given as the content of a file, in ONNX Runtime.

    Args:
        where, expected, own, digests: as in `check_model`.
        threads: CPU threads of one run, at most `usable_cores`; all of those if None.
        providers: execution providers, best first, instead of `device`.
        device: `cpu`, or `cuda` for an NVIDIA GPU.

    Raises:
        InputError: `threads` is below 1, or a provider or the device is not available.
        WeightsError: the file is damaged, or ONNX Runtime cannot load the model.
    """
    wanted = _chosen_providers(providers, device)
    _check_providers(wanted, onnxruntime.get_available_providers())
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = thread_count(threads)
    options.inter_op_num_threads = 1
    _divide_work(options)
    check_model(content, where, expected, own=own, digests=digests)
    try:
        # Without its own fallback, which prints to the standard output.
        session = onnxruntime.InferenceSession(content, options, providers=wanted, enable_fallback=0)
    except Exception as error:  # ONNX Runtime's exceptions share no base but Exception
        let_interruption_pass(error)
        raise WeightsError.at(where, expected, f"an error: {first_line(error)}") from error
    # It would keep the content, to open itself anew with other providers, for as long as it lives.
    session._model_bytes = b""
    if wanted[0] not in session.get_providers():  # ONNX Runtime falls back to the CPU without an error
        needs = "CUDA and cuDNN of the versions it was built for" if wanted[0] == CUDA_PROVIDER else "its libraries"
        raise InputError.at("execution provider", needs, f"{wanted[0]}, which does not start")
    return session


def _divide_work(options: onnxruntime.SessionOptions) -> None:
    """Say how threads share the work of a node, and wait for the next one (`docs/speed.md`).

    A thread that spins while it waits takes a core from the rest of the machine; one that sleeps wakes late. The pauses
    within a run are shorter than `SPIN_US`, those between runs longer. Older versions know no such limit: they sleep.
    """
    version = tuple(int(part) for part in onnxruntime.__version__.split(".")[:2])
    limited = version >= (1, 26)
    options.add_session_config_entry("session.intra_op.allow_spinning", "1" if limited else "0")
    if limited:
        options.add_session_config_entry("session.intra_op.spin_duration_us", str(SPIN_US))
    options.add_session_config_entry("session.dynamic_block_base", "4")  # small shares: threads end at one time


def _chosen_providers(providers: Sequence[str] | None, device: Device) -> list[str]:
    check_choice("device", device, Device)
    if not providers:
        return [CPU_PROVIDER] if device == "cpu" else [CUDA_PROVIDER, CPU_PROVIDER]
    if device != "cpu":
        raise InputError.at("device", "a device or providers", f"device={device!r} and providers={list(providers)}")
    return list(providers)


def _check_providers(wanted: Sequence[str], usable: Sequence[str]) -> None:
    missing = [name for name in wanted if name not in usable]
    if missing:
        hint = " (the package onnxruntime-gpu provides CUDA)" if CUDA_PROVIDER in missing else ""
        raise InputError.at("execution provider", f"one of {', '.join(usable)}{hint}", ", ".join(missing))
