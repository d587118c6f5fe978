"""The public face: a golden list. A change here is a change for every user, and belongs in the changelog."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import re
from importlib import resources

import srn


def test_names() -> None:
    assert sorted(srn.__all__) == [
        "Box",
        "COFW_29",
        "Face",
        "FaceLandmarker",
        "FaceTracker",
        "IBUG_68",
        "LandmarkScheme",
        "SrnError",
        "TrackerConfig",
        "WFLW_98",
        "__version__",
        "draw_faces",
    ]
    for name in srn.__all__:
        assert getattr(srn, name) is not None
    visible = {name for name, value in vars(srn).items() if not name.startswith("_") and not inspect.ismodule(value)}
    assert visible == set(srn.__all__) - {"__version__"}


def test_fields_of_a_face() -> None:
    names = [field.name for field in dataclasses.fields(srn.Face)]
    assert names == ["landmarks", "visibility", "confidence", "box", "score", "scheme", "track_id"]


def test_what_a_landmarker_takes() -> None:
    def parameters(function: object) -> list[str]:
        return [name for name in inspect.signature(function).parameters if name != "self"]  # type: ignore[arg-type]

    assert parameters(srn.FaceLandmarker.__init__) == [
        "weights", "localizer", "face_finder", "passes", "extra_looks", "flip_average", "batch_size", "threads",
    ]  # fmt: skip
    assert parameters(srn.FaceLandmarker.detect) == ["image", "boxes"]
    assert parameters(srn.FaceLandmarker.detect_batch) == ["images", "boxes"]
    assert parameters(srn.FaceLandmarker.find) == ["image"]
    assert parameters(srn.FaceLandmarker.tracker) == [
        "smooth", "start", "iterations", "find_every", "frame_rate", "config",
    ]  # fmt: skip
    assert parameters(srn.FaceTracker.update) == ["frame", "time_s"]
    assert parameters(srn.draw_faces) == ["image", "faces", "boxes", "contours"]


def test_version_and_typing_marker() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+", srn.__version__)
    assert (resources.files("srn") / "py.typed").is_file()


def test_every_module_says_what_it_is_for() -> None:
    for name in ("errors", "face.geometry", "face.scheme", "inference.landmarker", "media.pts", "cli.main"):
        assert (importlib.import_module(f"srn.{name}").__doc__ or "").strip()
