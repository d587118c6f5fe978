"""Open landmark networks in ONNX Runtime, or a training run's through `srn.model`."""

from __future__ import annotations

import functools
import hashlib
import json
import math
import os
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Literal, TypeAlias, get_args

import numpy as np
import onnxruntime

from srn.errors import InputError, MissingDependencyError, WeightsError
from srn.face.geometry import CropSpec, ImageArray
from srn.face.localizer import Float32Array, Localizer, Prediction
from srn.face.onnx_file import check_model
from srn.face.scheme import LandmarkScheme, described_scheme

FORMAT = "srn onnx 1"  # entry `format` of an exported file's metadata

Device: TypeAlias = Literal["cpu", "cuda"]

CPU_PROVIDER, CUDA_PROVIDER = "CPUExecutionProvider", "CUDAExecutionProvider"


def shipped_weights() -> Path:
    """Return the path of the weights that the package ships."""
    return Path(str(resources.files("srn") / "weights" / "robust.onnx"))


def open_localizer(
    weights: str | os.PathLike[str] | None = None,
    *,
    threads: int | None = None,
    providers: Sequence[str] | None = None,
    device: Device = "cpu",
) -> Localizer:
    """Open a landmark network from its weights file; `FaceLandmarker` explains the arguments.

    Raises:
        InputError: an option is out of range, two options contradict each other, or the device is not available.
        WeightsError: the file is missing or holds no network.
        MissingDependencyError: a `.safetensors` file is given and PyTorch is not installed.
    """
    chosen = _chosen_providers(providers, device)
    suffix = ".onnx" if weights is None else Path(weights).suffix
    if suffix == ".onnx":
        return OnnxLocalizer(weights, threads=threads, providers=chosen)
    if suffix != ".safetensors":
        raise InputError.at(str(weights), "weights as .onnx or .safetensors", suffix or "no suffix")
    if providers is not None:
        raise InputError.at("providers", "none with .safetensors weights, which PyTorch runs", ", ".join(providers))
    check_threads(threads)
    try:
        from srn.model.localizer import load_localizer
    except ImportError as error:
        if not error.name or error.name.startswith("srn"):
            raise
        raise MissingDependencyError.for_extra(error.name, "train", "reading .safetensors weights") from error
    return load_localizer(str(weights), threads=threads, device=device)


class Reopened:
    """An object around a session, which cannot be pickled: the arguments are pickled, and it is opened again."""

    _opened_by: tuple[tuple[object, ...], dict[str, object]]

    def __init_subclass__(cls) -> None:
        opened = cls.__init__

        @functools.wraps(opened)
        def init(self: Reopened, *args: object, **options: object) -> None:
            self._opened_by = args, options
            opened(self, *args, **options)

        setattr(cls, "__init__", init)  # noqa: B010 - mypy forbids the assignment

    def __reduce__(self) -> tuple[object, ...]:
        return _reopen, (type(self), *self._opened_by)


def _reopen(kind: type[Reopened], args: tuple[object, ...], options: dict[str, object]) -> Reopened:
    return kind(*args, **options)


class OnnxLocalizer(Reopened):
    """A `Localizer` that runs an exported network (`srn export`) in ONNX Runtime.

    Args:
        path: the `.onnx` file; the shipped weights if None.
        threads, providers: as in `open_session`.

    Raises:
        InputError: `threads` is below 1, or a provider is not available.
        WeightsError: the file is missing or is not an exported network.
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        threads: int | None = None,
        providers: Sequence[str] | None = None,
    ) -> None:
        self.path = Path(path) if path is not None else shipped_weights()
        expected = "a network exported by 'srn export' (.onnx)"
        if not self.path.is_file():
            raise WeightsError.at(self.path, expected, "no such file")
        with WeightsError.reading(self.path, expected):
            content = self.path.read_bytes()
        self._digest = hashlib.sha256(content).hexdigest()
        self._session = open_session(content, self.path, expected, threads=threads, providers=providers, own=True)
        with WeightsError.reading(self.path, f"the metadata of {FORMAT}"):
            metadata = self._session.get_modelmeta().custom_metadata_map
            if metadata.get("format") != FORMAT:
                raise WeightsError.at(self.path, f"a network exported by 'srn export' ({FORMAT})", "another ONNX file")
            config = json.loads(metadata["config"])
            self._scheme = described_scheme(config.get("scheme") or config["scheme_name"])
            self._crop_spec = CropSpec(config["frame_size"], config["face_size"])
            self._hidden_size = int(config["hidden_size"])
            self._recurrence = str(config.get("recurrence", "iteration"))
            self._mean_shape = np.array(json.loads(metadata["mean_shape"]), np.float32)
            self.provenance: dict[str, str] = dict(json.loads(metadata.get("provenance", "{}")))
            self._outputs = [output.name for output in self._session.get_outputs()]
            self._check_inputs()
        self._mean_shape.setflags(write=False)

    def _check_inputs(self) -> None:
        """Raise `ValueError` unless the metadata describe the network's inputs and outputs."""
        n, size = self._scheme.n_points, self._crop_spec.size
        described = {"image": [3, size, size], "initial_shape": [n, 2], "hidden": [self._hidden_size]}
        for value in self._session.get_inputs():
            if described.get(value.name, value.shape[1:]) != value.shape[1:]:
                raise ValueError(f"{described[value.name]} for the input {value.name!r} {value.shape[1:]}")
        if not {"shapes", "hidden_out"} <= set(self._outputs):
            raise ValueError(f"the outputs {', '.join(self._outputs)}")
        if self._mean_shape.shape != (n, 2) or not np.isfinite(self._mean_shape).all():
            raise ValueError(f"a mean shape {self._mean_shape.shape} for {n} points")

    @property
    def scheme(self) -> LandmarkScheme:
        """Numbering of the landmarks."""
        return self._scheme

    @property
    def crop_spec(self) -> CropSpec:
        """Size of the crops."""
        return self._crop_spec

    @property
    def mean_shape(self) -> Float32Array:
        """(N, 2) mean shape in face units, read-only."""
        return self._mean_shape

    @property
    def recurrence(self) -> str:
        """`iteration` (equation 5), or `frame` (equation 13): the hidden state is carried from frame to frame."""
        return self._recurrence

    @property
    def name(self) -> str:
        """File name and the first twelve digits of the file's SHA-256."""
        return f"{self.path.name}@{self._digest[:12]}"

    def __call__(
        self,
        crops: ImageArray,
        initial_shape: Float32Array | None = None,
        hidden: Float32Array | None = None,
        initial_weight: Float32Array | None = None,
    ) -> Prediction:
        """Localize landmarks in crops; see `Localizer`."""
        batch, n = len(crops), self._scheme.n_points
        if initial_weight is None:
            initial_weight = np.full(batch, 0.0 if initial_shape is None else 1.0, np.float32)
        feeds = {
            "image": np.ascontiguousarray(crops.transpose(0, 3, 1, 2), dtype=np.float32) / np.float32(255),
            "initial_shape": np.zeros((batch, n, 2), np.float32) if initial_shape is None else initial_shape,
            "hidden": np.zeros((batch, self._hidden_size), np.float32) if hidden is None else hidden,
            "initial_weight": initial_weight,
        }
        found = dict(zip(self._outputs, self._session.run(self._outputs, feeds), strict=True))
        return Prediction(found["shapes"], found["hidden_out"], found.get("visibility"), found.get("expected_error"))


def open_session(
    content: bytes,
    where: str | os.PathLike[str],
    expected: str,
    *,
    threads: int | None = None,
    providers: Sequence[str] | None = None,
    own: bool = False,
) -> onnxruntime.InferenceSession:
    """Open an ONNX model, given as the content of a file.

    Args:
        where, expected, own: as in `check_model`.
        threads: CPU threads of one run, at most `usable_cores`; all of those if None.
        providers: execution providers, best first; the CPU if None.

    Raises:
        InputError: `threads` is below 1, or a provider is not available.
        WeightsError: the file is damaged, or ONNX Runtime cannot load the model.
    """
    check_threads(threads)
    wanted = list(providers) if providers else [CPU_PROVIDER]
    _check_providers(wanted, onnxruntime.get_available_providers())
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    # More threads than cores wait for each other, and a thread that spins while it waits takes a core from the rest.
    options.intra_op_num_threads = min(threads or usable_cores(), usable_cores())
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    check_model(content, where, expected, own=own)
    try:
        session = onnxruntime.InferenceSession(content, options, providers=wanted)
    except Exception as error:  # ONNX Runtime's exceptions share no base but Exception
        raise WeightsError.at(where, expected, f"an error: {first_line(error)}") from error
    _check_providers(wanted[:1], session.get_providers())  # ONNX Runtime falls back to the CPU without an error
    return session


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
        for folder in [f for f in (within, *within.parents) if f.is_relative_to(top)]:
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


def check_threads(threads: int | None) -> None:
    """Raise `InputError` unless `threads` is None or at least 1."""
    if threads is not None and threads < 1:
        raise InputError.at("threads", "a number of at least 1", str(threads))


def first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]


def _chosen_providers(providers: Sequence[str] | None, device: Device) -> Sequence[str]:
    if device not in get_args(Device):
        raise InputError.at("device", f"one of {', '.join(get_args(Device))}", repr(device))
    if providers is None:
        return [CPU_PROVIDER] if device == "cpu" else [CUDA_PROVIDER, CPU_PROVIDER]
    if device != "cpu":
        raise InputError.at("device", "a device or providers", f"device={device!r} and providers={list(providers)}")
    return providers


def _check_providers(wanted: Sequence[str], usable: Sequence[str]) -> None:
    missing = [name for name in wanted if name not in usable]
    if missing:
        hint = " (the package onnxruntime-gpu provides CUDA)" if CUDA_PROVIDER in missing else ""
        raise InputError.at("execution provider", f"one of {', '.join(usable)}{hint}", ", ".join(missing))
