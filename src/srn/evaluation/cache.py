"""Evaluations kept on disk, so that nothing is measured twice."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from srn.datasets.digests import files_digest, manifest_digest
from srn.datasets.sample import Sample
from srn.errors import DataError, InputError, noting
from srn.evaluation.protocol import evaluate
from srn.evaluation.provenance import COMPUTING_PACKAGES, package_versions
from srn.evaluation.results import FAILURE_THRESHOLD, Evaluation, FaceResult, Initialization
from srn.face.scheme import scheme_by_name
from srn.face.weights import find_weights
from srn.files import write_atomically
from srn.inference.landmarker import FaceLandmarker
from srn.inference.runtime import OnnxLocalizer
from srn.media.arrays import read_npz

FORMAT = 1
"""Version of an entry's file layout."""

_MEASURING_CODE = ("face", "media", "model", "inference", "datasets", "evaluation")
"""Rooms whose source decides the numbers."""

_MEASURING_FILES = (".py", ".json")
"""Code, and constants beside it (`box_fit.json`); networks are known by their hashes in the code."""

_ARRAYS = ("landmarks", "point_errors", "near", "visibility", "confidence", "occluded", "target_landmarks")
"""Per-point entries of a `FaceResult`; each may be None."""


def default_folder() -> Path:
    """Return the user's cache folder of this operating system."""
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "srn" / "evaluations"


def file_digest(path: str | os.PathLike[str]) -> str:
    """Return the SHA-256 of a file in hexadecimal."""
    try:
        with Path(path).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InputError.at(path, "a readable file", error.strerror or "an error") from error


def name_and_digest(path: Path) -> str:
    """Return what tells a file of weights from others of its name: `robust.onnx@e6abec19d06e`."""
    return f"{path.name}@{file_digest(path)[:12]}"


@cache
def code_digest() -> str:
    """Return a hash of the measuring source and of the versions of the computing packages."""
    root = Path(str(resources.files("srn")))
    files = (path for room in _MEASURING_CODE for path in (root / room).iterdir() if path.suffix in _MEASURING_FILES)
    facts = [files_digest(root, files), package_versions(COMPUTING_PACKAGES)]
    return hashlib.sha256(repr(facts).encode()).hexdigest()


def weights_digest(landmarker: FaceLandmarker, file: Path | None = None) -> str | None:
    """Return the hash of a landmarker's weights; `file` has those of a localizer without a path. None if unknown."""
    localizer = landmarker.localizer
    path = localizer.path if isinstance(localizer, OnnxLocalizer) else file
    return None if path is None else file_digest(find_weights(path))


class EvaluationCache:
    """Evaluations in a folder, one file each.

    The key of an entry is a hash of everything that decides the numbers: weights, faces (annotations by content,
    pictures by path, size and time of change), options, source code, and versions of the computing packages. An entry
    is therefore never out of date. The normalizer is not part of it: errors are divided anew on reading.

    With `fresh` none is given back, so that all are measured anew and take the places of the old ones.
    """

    def __init__(self, folder: str | os.PathLike[str], *, fresh: bool = False) -> None:
        self.folder, self.fresh = Path(folder), fresh

    def path(self, key: Mapping[str, Any]) -> Path:
        """Return the file of a key."""
        text = json.dumps({"format": FORMAT, "code": code_digest(), **key}, sort_keys=True)
        return self.folder / f"{hashlib.sha256(text.encode()).hexdigest()[:40]}.npz"

    def load(self, key: Mapping[str, Any]) -> Evaluation | None:
        """Return the evaluation of a key; None without an entry or with a broken file."""
        path, expected = self.path(key), "a kept evaluation (.npz)"
        if self.fresh:
            return None
        try:
            arrays = read_npz(path, expected)
            with DataError.reading(path, expected):
                return _decoded(arrays)
        except DataError:
            return None  # measured anew

    def date(self, key: Mapping[str, Any]) -> datetime:
        """Return when an entry was kept, in local time."""
        return datetime.fromtimestamp(self.path(key).stat().st_mtime)

    def save(self, key: Mapping[str, Any], evaluation: Evaluation) -> None:
        write_atomically(self.path(key), _encoded(evaluation))


def cached_evaluate(
    landmarker: FaceLandmarker,
    samples: Sequence[Sample],
    *,
    cache: EvaluationCache | None,
    digest: str | None,
    finder: str = "built-in",
    init: Initialization = "gt-box",
    normalizer: str = "interocular",
    threshold: float = FAILURE_THRESHOLD,
    progress: Callable[[], None] = lambda: None,
    tell: Callable[[str], object] = lambda line: None,
) -> tuple[Evaluation, bool]:
    """Evaluate by `protocol.evaluate`, or return the result of an earlier call.

    Args:
        cache: the kept results; None evaluates in any case.
        digest: hash of the weights (`weights_digest`); if None, nothing is kept.
        finder: the face finder of `init="finder"`: a name, or the digest of a file.

    Returns:
        The evaluation, and whether it was there already.
    """
    store = None if digest is None else cache
    key = {
        "weights": digest,
        "faces": None if store is None else manifest_digest(samples),
        "init": init,
        "finder": finder if init == "finder" else None,
        "accuracy": landmarker.accuracy,
        "arithmetic": getattr(landmarker.localizer, "arithmetic", None),
        "flip_average": landmarker.flip_average,
    }
    kept = None if store is None else store.load(key)
    if kept is None or len(kept.results) != len(samples):
        kept = None
        found = evaluate(landmarker, samples, init=init, normalizer=normalizer, progress=progress, tell=tell)
        if store is not None and not found.problems:  # a picture unreadable today may be there tomorrow, at its path
            unkept = list[str]()
            with noting(unkept):  # a full disk, or a home that cannot be written, costs no result
                store.save(key, found)
            for line in unkept:
                tell(f"not kept: {line}")
    else:
        # The same weights may lie in a file of another name, and the same faces be named from another folder.
        faces = zip(kept.by(normalizer).results, samples, strict=True)
        results = tuple(dataclasses.replace(result, path=sample.path, video=sample.video) for result, sample in faces)
        name = landmarker.localizer.name
        found = dataclasses.replace(kept, results=results, normalizer=normalizer, weights=name)
        if store is not None:
            tell(f"{name}: kept from {store.date(key):%d %B %Y, %H:%M}; --fresh measures anew")
    return dataclasses.replace(found, threshold=threshold), kept is not None


def _encoded(evaluation: Evaluation) -> bytes:
    results = evaluation.results
    facts = {
        "normalizer": evaluation.normalizer,
        "init": evaluation.init,
        "weights": evaluation.weights,
        "scheme": None if evaluation.scheme is None else evaluation.scheme.name,
        "faces": [[r.path.as_posix(), r.subset, sorted(r.attributes)] for r in results],
    }
    arrays: dict[str, Any] = {
        "facts": np.array(json.dumps(facts)),
        "nme": np.array([r.nme for r in results]),
        "mean_shape_nme": np.array([r.mean_shape_nme for r in results]),
    }
    for name in _ARRAYS:
        known = {index: value for index, r in enumerate(results) if (value := getattr(r, name)) is not None}
        arrays[f"{name}_of"] = np.array(list(known), np.int64)
        arrays[name] = np.array(list(known.values()))
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def _decoded(arrays: Mapping[str, npt.NDArray[Any]]) -> Evaluation:
    facts = json.loads(str(arrays["facts"]))
    columns: list[dict[str, Any]] = [{} for _ in facts["faces"]]
    for name in _ARRAYS:
        for index, value in zip(arrays[f"{name}_of"].tolist(), arrays[name], strict=True):
            columns[index][name] = value
    faces = zip(facts["faces"], arrays["nme"].tolist(), arrays["mean_shape_nme"].tolist(), columns, strict=True)
    results = tuple(
        FaceResult(Path(path), subset, nme, mean, attributes=frozenset(attributes), **points)
        for (path, subset, attributes), nme, mean, points in faces
    )
    scheme = None if facts["scheme"] is None else scheme_by_name(facts["scheme"])
    init = cast(Initialization, facts["init"])
    return Evaluation(results, facts["normalizer"], init, facts["weights"], (), scheme)
