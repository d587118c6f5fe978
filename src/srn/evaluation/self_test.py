"""What `srn doctor` tells of this machine and installation, and whether the landmarks are right."""

from __future__ import annotations

import json
import os
import platform
import re
from collections.abc import Callable
from importlib import metadata, resources
from typing import Any, NamedTuple

import numpy as np

from srn.errors import SrnError, first_line
from srn.evaluation.cache import file_digest
from srn.evaluation.provenance import COMPUTING_PACKAGES, package_versions, processor
from srn.evaluation.speed import median_seconds
from srn.evaluation.speed_steps import portrait
from srn.evaluation.timing import load_average
from srn.face.onnx_file import PINNED, SHIPPED
from srn.face.weights import CATALOGUE
from srn.inference.cores import thread_count, usable_cores
from srn.inference.landmarker import FaceLandmarker
from srn.media.pictures import read_image

NEAR = 0.05
"""The portrait's landmarks may lie this share of the face's size off, on average: other weights, other arithmetic."""

_FOR_DEVELOPERS = ("dev", "test")


class Check(NamedTuple):
    """One check of the self-test: what was checked, whether it holds, and what was seen."""

    name: str
    holds: bool
    seen: str


def environment(threads: int | None = None) -> dict[str, Any]:
    """Describe this machine and installation, for JSON: nothing of it runs a network.

    Returns:
        `versions`, `system`; `processor`, `cores` that the process may use, `threads` that follow, `load_average`; the
        execution `providers` of ONNX Runtime; `weights`: name, hash, path and state of each network of the catalogue;
        `extras`.
    """
    import onnxruntime

    versions = {"python": platform.python_version(), **package_versions(("srn", *COMPUTING_PACKAGES))}
    return {
        "versions": versions,
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "processor": processor(),
        "cores": usable_cores(),
        "threads": thread_count(threads),
        "load_average": load_average(),
        "omp_num_threads": os.environ.get("OMP_NUM_THREADS"),
        "providers": onnxruntime.get_available_providers(),
        "weights": [{"name": one.name, "sha256": one.sha256, **one.facts()} for one in CATALOGUE],
        "extras": extras(),
    }


def extras() -> dict[str, dict[str, str | None]]:
    """Return the packages of each optional extra with the version that is installed; None for one that is missing."""
    found: dict[str, dict[str, str | None]] = {}
    for requirement in metadata.requires("srn") or []:
        parts = re.fullmatch(r"([\w.-]+)(\[[\w,-]+\])?[^;]*;.*\bextra == ['\"]([\w-]+)['\"].*", requirement)
        if parts is None or parts[3] in _FOR_DEVELOPERS or parts[1] == "srn":
            continue
        found.setdefault(parts[3], {})[parts[1]] = package_versions([parts[1]]).get(parts[1])
    return found


def self_test(open_landmarker: Callable[[], FaceLandmarker]) -> list[Check]:
    """Find the face of the shipped portrait and compare its landmarks with those on record.

    A check that raises an error fails; the others go on.
    """
    checks: list[Check] = []

    def check(name: str, work: Callable[[], tuple[bool, str]]) -> None:
        try:
            checks.append(Check(name, *work()))
        except (SrnError, OSError, RuntimeError) as error:
            checks.append(Check(name, False, first_line(error)))

    files = {name: SHIPPED / name for name in PINNED}
    wrong = [name for name, path in files.items() if not path.is_file() or file_digest(path) != PINNED[name]]
    words = f"missing or changed: {', '.join(wrong)}" if wrong else f"{len(PINNED)} files, by hash"
    checks.append(Check("the networks are those that were shipped", not wrong, words))
    opened: list[FaceLandmarker] = []

    def open_it() -> tuple[bool, str]:
        opened.append(open_landmarker())
        return True, repr(opened[0])

    check("the network opens", open_it)
    if opened:
        check("the portrait's face is found, its landmarks in place", lambda: _portrait(opened[0]))
        check("a grey picture has no face", lambda: _nothing(opened[0]))
        check("time of the portrait", lambda: _time(opened[0]))
    return checks


def _portrait(landmarker: FaceLandmarker) -> tuple[bool, str]:
    known = json.loads((resources.files("srn.evaluation") / "portrait.json").read_text(encoding="utf-8"))
    if landmarker.localizer.scheme.name != known["scheme"]:
        return True, f"left out: the record has {known['scheme']} landmarks"
    faces = landmarker.detect(read_image(portrait()))
    if len(faces) != 1:
        return False, f"{len(faces)} faces instead of 1"
    target = np.array(known["landmarks"])
    off = float(np.linalg.norm(faces[0].landmarks - target, axis=1).mean() / faces[0].landmark_box.size)
    confidence = faces[0].mean_confidence
    sure = "" if confidence is None else f", mean confidence {confidence:.2f}"
    return off < NEAR, f"{off:.2%} of the face's size from the record{sure}"


def _nothing(landmarker: FaceLandmarker) -> tuple[bool, str]:
    found = len(landmarker.detect(np.full((240, 320, 3), 128, np.uint8)))
    return found == 0, f"{found} faces"


def _time(landmarker: FaceLandmarker) -> tuple[bool, str]:
    image = read_image(portrait())
    seconds, load = median_seconds(lambda: landmarker.detect(image), 3), load_average()
    height, width = image.shape[:2]
    return (
        True,
        f"{seconds * 1e3:.0f} ms, {width} x {height} pixels, load {'unknown' if load is None else f'{load:.1f}'}",
    )
