"""Hashes of what decides a result that is kept: faces, and the files that compute it."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from srn.datasets.sample import Sample
from srn.face.scheme import LandmarkScheme


def files_digest(root: Path, files: Iterable[Path]) -> str:
    """Hash files below `root` by their names there and their content, in the order of the names."""
    digest = hashlib.sha256()
    for path in sorted(files):
        name, content = os.fsencode(path.relative_to(root).as_posix()), path.read_bytes()
        digest.update(b"%d %d " % (len(name), len(content)) + name + content)
    return digest.hexdigest()


def manifest_digest(samples: Iterable[Sample]) -> str:
    """Hash faces: annotations by content, pictures by absolute path, size and time of change."""
    digest = hashlib.sha256()
    scheme: LandmarkScheme | None = None
    for sample in samples:
        if sample.scheme is not scheme:  # a scheme of the user's own may change under the same name
            scheme = sample.scheme
            digest.update(repr(scheme.definition()).encode())
        path, size, changed = _picture_file(sample.path)
        facts = [
            str(path), size, changed, sample.path.name, sample.subset, sorted(sample.attributes),
            None if sample.detector_box is None else sample.detector_box.as_array().tolist(),
            None if sample.occluded is None else sample.occluded.astype(int).tolist(),
        ]  # fmt: skip
        digest.update(json.dumps(facts).encode() + np.ascontiguousarray(sample.landmarks, np.float64).tobytes())
    return digest.hexdigest()


def _picture_file(path: Path) -> tuple[Path, int, int]:
    """Return the file of a picture, or of a picture in a file (`x.mat/12`), its size and its time of change."""
    for candidate in (path, path.parent):
        if candidate.is_file():
            facts = candidate.stat()
            return candidate.resolve(), facts.st_size, facts.st_mtime_ns
    return path, -1, -1
