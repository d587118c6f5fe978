"""The light runtime: an exported network in ONNX Runtime. No PyTorch."""

from __future__ import annotations

import hashlib
import json
import os
from importlib import resources
from pathlib import Path

import numpy as np
import onnxruntime

from srn.errors import WeightsError
from srn.face.geometry import CropSpec, ImageArray
from srn.face.localizer import Float32Array, Prediction
from srn.face.scheme import LandmarkScheme, described_scheme

FORMAT = "srn onnx 1"
"""Entry `format` of an exported file's metadata."""

SHIPPED = "robust.onnx"


def shipped_weights() -> Path:
    """The weights that came with the package."""
    return Path(str(resources.files("srn") / "weights" / SHIPPED))


class OnnxLocalizer:
    """A `Localizer` that runs an exported network (`srn export`) in ONNX Runtime.

    Args:
        path: the `.onnx` file; the shipped weights where None.
        threads: threads of one run; ONNX Runtime's choice (all cores) where None.
        providers: ONNX Runtime execution providers, best first; the CPU where None.

    Raises:
        WeightsError: the file is missing, or is not an exported network.
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        threads: int | None = None,
        providers: list[str] | None = None,
    ) -> None:
        self.path = Path(path) if path is not None else shipped_weights()
        if not self.path.is_file():
            raise WeightsError.at(self.path, "a network exported by 'srn export' (.onnx)", "no such file")
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        if threads is not None:
            options.intra_op_num_threads = threads
        try:
            self._session = onnxruntime.InferenceSession(
                str(self.path), options, providers=providers or ["CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime's own exceptions share no base but Exception
            raise WeightsError.at(self.path, "a network exported by 'srn export' (.onnx)", str(error)[:200]) from error
        metadata = self._session.get_modelmeta().custom_metadata_map
        if metadata.get("format") != FORMAT:
            raise WeightsError.at(self.path, f"a network exported by 'srn export' ({FORMAT})", "another ONNX file")
        config = json.loads(metadata["config"])
        self._scheme = described_scheme(config.get("scheme") or config["scheme_name"])
        self._crop_spec = CropSpec(config["frame_size"], config["face_size"])
        self._hidden_size = int(config["hidden_size"])
        self._recurrence = str(config.get("recurrence", "iteration"))
        self._mean_shape = np.array(json.loads(metadata["mean_shape"]), np.float32)
        self._outputs = [output.name for output in self._session.get_outputs()]
        self.provenance: dict[str, str] = json.loads(metadata.get("provenance", "{}"))

    @property
    def scheme(self) -> LandmarkScheme:
        return self._scheme

    @property
    def crop_spec(self) -> CropSpec:
        return self._crop_spec

    @property
    def mean_shape(self) -> Float32Array:
        return self._mean_shape

    @property
    def recurrence(self) -> str:
        """`iteration` (eq. 5), or `frame` (eq. 13): the state is to be carried from frame to frame."""
        return self._recurrence

    @property
    def name(self) -> str:
        """File name and the first twelve digits of the file's SHA-256."""
        return f"{self.path.name}@{hashlib.sha256(self.path.read_bytes()).hexdigest()[:12]}"

    def __call__(
        self,
        crops: ImageArray,
        initial_shape: Float32Array | None = None,
        hidden: Float32Array | None = None,
        initial_weight: Float32Array | None = None,
    ) -> Prediction:
        """Localize in crops (B, S, S, 3) uint8 RGB; see `Localizer`."""
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
