"""Open landmark networks in ONNX Runtime or OpenVINO, or a training run's through `srn.model`."""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from srn.errors import InputError, MissingDependencyError, WeightsError, shown
from srn.face.geometry import CropSpec, ImageArray
from srn.face.localizer import Float32Array, Localizer, Prediction
from srn.face.onnx_file import SHIPPED, digests_of, is_pinned, metadata, output_names, read_model
from srn.face.scheme import LandmarkScheme, described_scheme
from srn.face.weights import named_weights
from srn.inference.cores import check_threads
from srn.inference.engines import Device, Precision, Runtime, check_choice, check_providers
from srn.inference.openvino_session import OpenVinoSession
from srn.inference.sessions import Awaited, Reopened, Session, open_session

FORMAT = "srn onnx 1"  # entry `format` of an exported file's metadata


def shipped_weights() -> Path:
    """Return the path of the weights that the package ships."""
    return SHIPPED / "robust.onnx"


def open_localizer(
    weights: str | os.PathLike[str] | None = None,
    *,
    threads: int | None = None,
    providers: Sequence[str] | None = None,
    device: Device = "cpu",
    runtime: Runtime = "onnxruntime",
    precision: Precision = "float32",
) -> Localizer:
    """Open a landmark network from its weights file; `FaceLandmarker` explains the arguments.

    Raises:
        InputError: an option is out of range, two options contradict each other, or the device is not available.
        WeightsError: the file is missing or holds no network.
        MissingDependencyError: PyTorch, for a `.safetensors` file, or OpenVINO is not installed.
    """
    check_providers(providers)
    known = None if weights is None else named_weights(weights)  # whose file is hashed once, where it is opened
    weights = weights if known is None else known.file_here()
    weights = None if weights is None else Path(weights)
    suffix = ".onnx" if weights is None else weights.suffix
    if suffix == ".onnx":
        localizer = OnnxLocalizer(
            weights, threads=threads, providers=providers, device=device, runtime=runtime, precision=precision
        )
        if known is not None:
            known.check(localizer.path, localizer.digest)
        return localizer
    if suffix != ".safetensors":
        raise InputError.at(str(weights), "weights as .onnx or .safetensors", suffix or "no suffix")
    if providers is not None:
        raise InputError.at("providers", "none with .safetensors weights, which PyTorch runs", ", ".join(providers))
    if (runtime, precision) != ("onnxruntime", "float32"):
        expected = "neither with .safetensors weights, which PyTorch runs in float32"
        raise InputError.at("runtime and precision", expected, f"{runtime} and {precision}")
    check_choice("device", device, Device)
    check_threads(threads)
    with MissingDependencyError.importing("train", "reading .safetensors weights"):
        from srn.model.localizer import load_localizer
    return load_localizer(str(weights), threads=threads, device=device)


class OnnxLocalizer(Reopened):
    """A `Localizer` that runs an exported network (`srn export`) in ONNX Runtime or OpenVINO.

    Args:
        path: the `.onnx` file; the shipped weights if None.
        threads: CPU threads of one run, as in `open_session`.
        providers: ONNX Runtime execution providers, best first, instead of `device`.
        device: `cpu`, or `cuda` for an NVIDIA GPU.
        runtime: `onnxruntime`, or `openvino` on the CPU.
        precision: arithmetic of the network: `float32`; `bf16`, in OpenVINO on a processor that has it; `int8`, the
            shipped weights that are stored so.

    Attributes:
        digest: SHA-256 of the file.

    Raises:
        InputError: an option is out of range or not available here, or two options contradict each other.
        WeightsError: the file is missing or is not an exported network.
        MissingDependencyError: OpenVINO is not installed.
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        threads: int | None = None,
        providers: Sequence[str] | None = None,
        device: Device = "cpu",
        runtime: Runtime = "onnxruntime",
        precision: Precision = "float32",
    ) -> None:
        _check_arithmetic(runtime, precision, device, providers, own=path is not None)
        shipped = shipped_weights().with_name("robust-int8.onnx") if precision == "int8" else shipped_weights()
        if path is not None and not isinstance(path, str | os.PathLike):
            raise InputError.at("path", "the path of a file", shown(path))
        self.path = shipped if path is None else Path(path)
        self.arithmetic = f"{runtime}, {precision}, {', '.join(providers) if providers else device}"
        expected = "a network exported by 'srn export' (.onnx)"
        if not self.path.is_file():
            raise WeightsError.at(self.path, expected, "no such file")
        content = read_model(self.path, expected)
        digests = digests_of(content)
        self.digest = digests.whole
        self._precision = precision
        self._session: Session
        if runtime == "openvino":
            self._session = OpenVinoSession(
                content, self.path, expected, threads=threads, precision=precision, digests=digests
            )
        else:
            opened = functools.partial(
                open_session, content, self.path, expected, threads=threads, providers=providers, device=device,
                own=True, digests=digests,
            )  # fmt: skip
            # Of the shipped weights nothing is in doubt: the face finder need not wait for them.
            check_threads(threads)
            in_time = is_pinned(self.path, self.digest) and device == "cpu" and providers is None
            self._session = Awaited(opened) if in_time else opened()
        with WeightsError.reading(self.path, f"the metadata of {FORMAT}"):
            stated = metadata(content)
            if stated.get("format") != FORMAT:
                raise WeightsError.at(self.path, f"a network exported by 'srn export' ({FORMAT})", "another ONNX file")
            if runtime == "openvino" and stated.get("precision") == "int8":
                raise WeightsError.at(self.path, "float weights for the runtime 'openvino'", "weights in int8")
            config = json.loads(stated["config"])
            self._scheme = described_scheme(config.get("scheme") or config["scheme_name"])
            self._crop_spec = CropSpec(config["frame_size"], config["face_size"])
            self._hidden_size = int(config["hidden_size"])
            self._recurrence = str(config.get("recurrence", "iteration"))
            self._mean_shape = np.array(json.loads(stated["mean_shape"]), np.float32)
            self.provenance: dict[str, str] = dict(json.loads(stated.get("provenance", "{}")))
            self._outputs = output_names(content)
            if not isinstance(self._session, Awaited):
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
    def tells_direction(self) -> bool:
        """Whether a prediction has the direction of errors (`Prediction.error_direction`)."""
        return "error_direction" in self._outputs

    @property
    def name(self) -> str:
        """File name and the first twelve digits of the file's SHA-256, and `bf16` if it is computed so."""
        return f"{self.path.name}@{self.digest[:12]}{' in bf16' if self._precision == 'bf16' else ''}"

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
        visibility = found.get("visibility")
        if visibility is not None:
            visibility = np.minimum(visibility, 1)  # ONNX Runtime's Sigmoid exceeds 1 by a rounding, as at 17.844
        error, direction = found.get("expected_error"), found.get("error_direction")
        return Prediction(found["shapes"], found["hidden_out"], visibility, error, direction)


def _check_arithmetic(
    runtime: Runtime, precision: Precision, device: Device, providers: Sequence[str] | None, *, own: bool
) -> None:
    """Raise `InputError` unless the options of an `OnnxLocalizer` go together; `own`: weights that are not shipped."""
    check_choice("runtime", runtime, Runtime)
    check_choice("precision", precision, Precision)
    check_providers(providers)
    if runtime == "openvino" and (providers or device != "cpu"):
        found = ", ".join(providers) if providers else f"device={device!r}"
        raise InputError.at("runtime 'openvino'", "the CPU, and no provider of ONNX Runtime", found)
    if precision == "bf16" and runtime != "openvino":
        raise InputError.at("precision 'bf16'", "the runtime 'openvino'", repr(runtime))
    if precision == "int8" and runtime != "onnxruntime":  # in OpenVINO the error grows by a quarter (`docs/speed.md`)
        raise InputError.at("precision 'int8'", "the runtime 'onnxruntime'", repr(runtime))
    if precision == "int8" and own:
        raise InputError.at("precision 'int8'", "the shipped weights", "other weights, whose file says their precision")
