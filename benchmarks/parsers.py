"""Every parser of files from outside, with files that it accepts: for `fuzz.py` and the property tests."""

from __future__ import annotations

import io
import json
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from srn.datasets.coco import is_coco, read_coco
from srn.datasets.cofw import read_cofw
from srn.datasets.manifest import read_visible
from srn.datasets.matlab import read_mat5
from srn.datasets.pack import FacePack, pack_faces
from srn.datasets.plain import read_table
from srn.datasets.report import ReadingReport
from srn.datasets.sample import Sample
from srn.datasets.scheme_file import read_scheme
from srn.datasets.three_hundred_vw import read_excluded_frames
from srn.datasets.wflw import read_wflw
from srn.evaluation.cache import EvaluationCache, _encoded
from srn.evaluation.results import Evaluation, FaceResult
from srn.face.onnx_file import sealed
from srn.face.scheme import COFW_29, IBUG_68
from srn.files import write_atomically
from srn.inference.runtime import OnnxLocalizer
from srn.media.boxes import read_boxes
from srn.media.pictures import encode_image, read_image
from srn.media.pts import format_pts, read_pts
from srn.media.video_reading import open_video
from srn.synthesis.wardrobe import KEY_POINT_NAMES, MaskWardrobe
from srn.training.config import TrainConfig


class Parser(NamedTuple):
    """A parser under test: `parse` reads the file `name` of a folder; `seeds` are contents that it accepts.

    `pack` makes a file's content of a mutated seed, where the seed is a part of it.
    """

    name: str
    parse: Callable[[Path], object]
    seeds: Callable[[], list[bytes]]
    pack: Callable[[bytes], bytes] = bytes


@cache
def _points(n: int = 68) -> np.ndarray:
    return np.random.default_rng(n).uniform(10, 90, (n, 2))


@cache
def _picture(suffix: str = ".png", size: int = 24) -> bytes:
    rough = np.random.default_rng(0).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return encode_image(cv2.resize(rough, (size, size)).astype(np.uint8), suffix)


def _pictures() -> list[bytes]:
    suffixes = [".png", ".jpg", ".bmp", ".webp", ".tiff", ".ppm", ".jp2", ".gif", ".avif"]
    rgba = cv2.imencode(".png", np.random.default_rng(1).integers(0, 256, (9, 9, 4), dtype=np.uint8))[1].tobytes()
    return [rgba, *(_picture(suffix, 64) for suffix in suffixes if cv2.haveImageWriter(f"a{suffix}"))]


def _beside(parse: Callable[[Path], object], name: str = "a.png") -> Callable[[Path], object]:
    """Parse with a picture in the folder."""

    def parsed(path: Path) -> object:
        picture = path.parent / name
        if not picture.exists():
            write_atomically(picture, _picture())
        return parse(path)

    return parsed


def _reporting(read: Callable[[Path, ReadingReport], object]) -> Callable[[Path], object]:
    return _beside(lambda path: read(path, ReadingReport()))


def _table() -> list[bytes]:
    flags = [*(f"{axis}{i}" for i in range(29) for axis in "xy"), *(f"hidden{i}" for i in range(29)), "subset"]
    values = [*(f"{v:.2f}" for v in _points(29).ravel()), *"01" * 14, "1", "train"]
    return [",".join(["picture", *names]).encode() + b"\n" + ",".join(["a.png", *row]).encode() + b"\n"
            for names, row in ((flags, values), (flags[:58], values[:58]))]  # fmt: skip


def _coco() -> list[bytes]:
    points = [float(v) for x, y in _points(29).round(2) for v in (x, y, 2)]
    face = {"id": 1, "image_id": 3, "bbox": [1, 2, 30, 40], "keypoints": points, "iscrowd": 0}
    return [json.dumps({"images": [{"id": 3, "file_name": "a.png"}], "annotations": [face, face]}).encode()]


def _wflw(path: Path) -> object:
    folder = path.parent
    place = folder / "WFLW_annotations" / "list_98pt_rect_attr_train_test" / "list_98pt_rect_attr_test.txt"
    write_atomically(folder / "WFLW_images" / "a.png", _picture())
    write_atomically(place, path.read_bytes())
    return read_wflw(folder, ["test"])


def _wflw_lines() -> list[bytes]:
    return [(" ".join(f"{v:.2f}" for v in _points(98).ravel()) + " 10 20 80 90 0 1 0 1 0 1 a.png\n").encode() * 2]


def _mat5() -> list[bytes]:
    def element(kind: int, data: bytes) -> bytes:
        return struct.pack("<II", kind, len(data)) + data + bytes(-len(data) % 8)

    parts = struct.pack("<II", 6, 0), struct.pack("<ii", 68, 2), b"Points", _points().T.tobytes()
    matrix = element(14, b"".join(element(*pair) for pair in zip((6, 5, 1, 9), parts, strict=True)))
    head = b"MATLAB 5.0".ljust(124) + b"\x00\x01IM"
    packed = zlib.compress(matrix)
    return [head + matrix, head + struct.pack("<II", 15, len(packed)) + packed]


def _cofw(path: Path) -> object:
    path.rename(path.with_name("COFW_test.mat"))
    _, report = read_cofw(path.parent, ["test"])
    return report


def _mat73() -> list[bytes]:
    import h5py

    stream = io.BytesIO()
    with h5py.File(stream, "w") as file:
        cell = file.create_dataset("picture", data=np.zeros((20, 20), np.uint8))
        file["IsT"] = np.array([[cell.ref]], dtype=h5py.ref_dtype)
        file["phisT"] = np.concatenate([_points(29).T.ravel(), np.zeros(29)])[:, None]
        file["bboxesT"] = np.array([[1.0], [2.0], [30.0], [40.0]])
    return [stream.getvalue()]


def _frame_lists() -> list[bytes]:
    stream = io.BytesIO()
    np.save(stream, np.array({"410": [148, 150, 70000], "001": [1]}, dtype=object), allow_pickle=True)
    return [stream.getvalue()]


@cache
def _pack_file() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        write_atomically(place / "a.png", _picture())
        flags = np.zeros(68, bool)
        samples = [Sample(place / "a.png", _points(), IBUG_68, name, occluded=flags) for name in ("x", "y")]
        pack_faces(samples)[0].save(place / "pack.npz")
        return (place / "pack.npz").read_bytes()


def _load_pack(path: Path) -> object:
    pack = FacePack.load(path)
    return [pack.image(index) for index in range(min(len(pack), 3))]


@cache
def _cache_file() -> bytes:
    faces = [
        FaceResult(
            Path("a.png"),
            "x",
            3.5,
            9.0,
            landmarks=_points(),
            point_errors=np.ones(68),
            visibility=np.ones(68, np.float32),
        ),
        FaceResult(Path("b.png"), "y", float("nan"), 8.0, attributes=frozenset({"blur"})),
    ]
    return _encoded(Evaluation(tuple(faces), "interocular", "gt-box", "w.onnx", (), IBUG_68))


def _load_entry(path: Path) -> object:
    class Entry(EvaluationCache):
        def path(self, key: object) -> Path:
            return path

    return Entry(path.parent).load({})


def _repacked(whole: Callable[[], bytes]) -> Callable[[bytes], bytes]:
    """Put a mutated array in the place of one of its archive's, with a right checksum; its first byte tells which."""

    def packed(member: bytes) -> bytes:
        stream = io.BytesIO()
        with zipfile.ZipFile(io.BytesIO(whole())) as old, zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as new:
            names = old.namelist()
            for index, name in enumerate(names):
                chosen = bool(member) and index == member[0] % len(names)
                new.writestr(name, member[1:] if chosen else old.read(name))
        return stream.getvalue()

    return packed


def _members(whole: Callable[[], bytes]) -> Callable[[], list[bytes]]:
    def parts() -> list[bytes]:
        with zipfile.ZipFile(io.BytesIO(whole())) as archive:
            return [bytes([index]) + archive.read(name) for index, name in enumerate(archive.namelist())]

    return parts


def _key_points(path: Path) -> object:
    picture = path.parent / "mask.png"
    if not picture.exists():
        picture.write_bytes(_pictures()[0])
    path.rename(path.with_name("key_points.csv"))
    return MaskWardrobe.load(path.parent)


def _key_point_table() -> list[bytes]:
    names = ["file", *(f"{point}_{axis}" for point in KEY_POINT_NAMES for axis in "xy")]
    return [",".join(names).encode() + b"\nmask.png" + b"".join(b",%d" % v for v in range(12)) + b"\n"]


def _scheme() -> list[bytes]:
    return [b'name = "six"\nn_points = 6\neye_corners = [0, 1]\neyes = [[0], [1]]\nmirror_pairs = [[0, 1], [3, 4]]\n'
            b'[components]\neyes = [0, 1]\nnose = [2]\nmouth = [3, 4]\nleft_cheek = [5]\n[[contours]]\n'
            b'component = "mouth"\npoints = [3, 4]\n']  # fmt: skip


def _network() -> list[bytes]:
    """A network that answers with its inputs, without its seal."""
    from onnx import TensorProto, helper

    floats, n = TensorProto.FLOAT, 68
    sizes = {"image": [3, 16, 16], "initial_shape": [n, 2], "hidden": [4], "initial_weight": []}
    inputs = [helper.make_tensor_value_info(name, floats, ["batch", *size]) for name, size in sizes.items()]
    outputs = [helper.make_tensor_value_info(name, floats, None) for name in ("shapes", "hidden_out")]
    axes = helper.make_tensor("axes", TensorProto.INT64, [1], [1])
    nodes = [helper.make_node("Unsqueeze", ["initial_shape", "axes"], ["shapes"]),
             helper.make_node("Identity", ["hidden"], ["hidden_out"])]  # fmt: skip
    graph = helper.make_graph(nodes, "g", inputs, outputs, [axes])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    config = {"scheme_name": "ibug68", "frame_size": 16, "face_size": 10, "hidden_size": 4}
    mean = (_points() / 100).round(3).tolist()
    texts = {"format": "srn onnx 1", "config": json.dumps(config), "mean_shape": json.dumps(mean), "provenance": "{}"}
    helper.set_model_props(model, texts)
    return [model.SerializeToString()]


def _tensors() -> list[bytes]:
    import torch
    from safetensors.torch import save

    from srn.model.config import preset
    from srn.model.network import StructuralRelationNetwork

    config = preset(
        "robust",
        crop_size=16,
        face_size=10.0,
        iterations=1,
        landmark_features=2,
        hidden_size=2,
        region_size=2,
        component_size=2,
        stem_channels=2,
        map_channels=(2, 2, 2),
        blocks=(1, 1, 1),
    )
    network = StructuralRelationNetwork(config, torch.zeros(68, 2).numpy())
    return [save(network.state_dict(), {"format": "srn weights 1", "config": config.to_json()})]  # fmt: skip


def _load_tensors(path: Path) -> object:
    from srn.model.checkpoint import load_network

    return load_network(path)


def _videos() -> list[bytes]:
    from fractions import Fraction

    from srn.media.video_writing import VideoWriter

    found = []
    with tempfile.TemporaryDirectory() as folder:
        for name in ("a.mp4", "a.mkv", "a.avi"):
            with VideoWriter(Path(folder) / name, 10.0, Fraction(1, 1000)) as video:
                for index in range(4):
                    video.write(np.full((32, 32, 3), 60 * index, np.uint8), index / 10)
            found.append((Path(folder) / name).read_bytes())
    return found


def _read_video(path: Path) -> object:
    reader = open_video(path)
    try:
        return sum(1 for _ in reader)
    finally:
        reader.close()


PARSERS = {
    parser.name: parser
    for parser in (
        Parser("a.pts", read_pts, lambda: [format_pts(_points()).encode()]),
        Parser("boxes.json", read_boxes, lambda: [b'{"a.jpg": [[1, 2, 30.5, 40]], "b/c.png": [[0, 0, 9, 9]]}']),
        Parser("boxes.csv", read_boxes, lambda: [b"picture,x0,y0,x1,y1\na.jpg,1,2,30.5,40\nb/c.png,0,0,9,9\n"]),
        Parser("table.csv", _reporting(lambda path, report: read_table(path, COFW_29, report)), _table),
        Parser("coco.json", _reporting(lambda path, report: (is_coco(path), read_coco(path, COFW_29, report))), _coco),
        Parser("wflw.txt", _wflw, _wflw_lines),
        Parser("manifest.csv", lambda path: read_visible(path.parent),
               lambda: [b"subset,stem,visible\nibug,a,0101\n.,b,1\n"]),
        Parser("masks.csv", _key_points, _key_point_table),
        Parser("scheme.toml", read_scheme, _scheme),
        Parser("points.mat", read_mat5, _mat5),
        Parser("cofw.mat", _cofw, _mat73),
        Parser("frames.json", read_excluded_frames, lambda: [b'{"410": [148, 150], "001": [1]}']),
        Parser("frames.npy", read_excluded_frames, _frame_lists),
        Parser("pack.npz", _load_pack, lambda: [_pack_file()]),
        Parser("pack_members.npz", _load_pack, _members(_pack_file), _repacked(_pack_file)),
        Parser("entry.npz", _load_entry, lambda: [_cache_file()]),
        Parser("entry_members.npz", _load_entry, _members(_cache_file), _repacked(_cache_file)),
        Parser("picture", read_image, _pictures),
        Parser("network.onnx", OnnxLocalizer, _network, sealed),
        Parser("weights.safetensors", _load_tensors, _tensors),
        Parser("recipe.json", TrainConfig.load, lambda: [json.dumps(TrainConfig().to_dict()).encode()]),
        Parser("video", _read_video, _videos),
    )
}  # fmt: skip
