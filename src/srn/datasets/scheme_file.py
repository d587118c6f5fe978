"""Own landmark schemes, described in a TOML file: `docs/datasets.md` shows one."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

from srn.errors import DataError, InputError
from srn.face.scheme import COMPONENTS, LandmarkScheme, register_scheme
from srn.files import write_atomically

SCHEME_FILE = "scheme.toml"
_FEWEST_POINTS, _MOST_POINTS = 3, 10_000  # two lie on a line, which has no box
_KEYS = {"name", "n_points", "eye_corners", "eyes", "mirror_pairs", "components", "contours"}
_MIRRORED = {"left_cheek": "right_cheek", "right_cheek": "left_cheek"}


def _indices(value: Any, where: str, n_points: int, count: int | None = None) -> tuple[int, ...]:
    valid = isinstance(value, list) and all(type(v) is int and 0 <= v < n_points for v in value)
    if not valid or len(set(value)) != len(value) or (count is not None and len(value) != count):
        points = "points" if count is None else f"{count} points"
        raise DataError.at(where, f"{points} as numbers from 0 to {n_points - 1}", str(value))
    return tuple(value)


def _lists(value: Any, where: str) -> list[Any]:
    if not isinstance(value, list):
        raise DataError.at(where, "a list of lists of points", str(value))
    return value


def _check_mirror(scheme: LandmarkScheme, path: Path) -> None:
    """Check that mirroring maps each component to its mirror image and exchanges the eyes."""
    where = f"{path}: mirror_pairs"
    for left, right in scheme.mirror_pairs:
        a, b = scheme.component_of(left), scheme.component_of(right)
        image = _MIRRORED.get(a, a)
        if image != b:
            raise DataError.at(where, f"a point of {image} as the partner of {left} ({a})", f"{right} ({b})")
    mirror = scheme.mirror.tolist()
    if mirror[scheme.eye_corners[0]] != scheme.eye_corners[1]:
        raise DataError.at(where, f"the eye corners {list(scheme.eye_corners)} as a pair", "no such pair")
    if {mirror[i] for i in scheme.eyes[0]} != set(scheme.eyes[1]):
        raise DataError.at(where, "the points of one eye to be partners of the other's", "others")


def _content(file: Path) -> dict[str, Any]:
    """Return the file's content with all keys that are needed and no unknown one."""
    with DataError.reading(file, "a scheme (.toml)"):
        content = tomllib.loads(file.read_text(encoding="utf-8-sig"))
    unknown = sorted(content.keys() - _KEYS)
    missing = sorted({"name", "n_points", "eye_corners", "eyes", "components"} - content.keys())
    if unknown or missing:
        found = f"no {', no '.join(missing)}" if missing else f"the key {unknown[0]!r}"
        raise DataError.at(file, f"the keys {', '.join(sorted(_KEYS))}", found)
    return content


def read_scheme(file: Path) -> LandmarkScheme:
    """Read a scheme and register it for `scheme_by_name`; raise `DataError` that names the key where it is none."""
    content = _content(file)
    name, n = content["name"], content["n_points"]
    if not isinstance(name, str) or not name:
        raise DataError.at(f"{file}: name", "a name", str(name))
    if type(n) is not int or not _FEWEST_POINTS <= n <= _MOST_POINTS:
        expected = f"a number of points from {_FEWEST_POINTS} to {_MOST_POINTS}"
        raise DataError.at(f"{file}: n_points", expected, str(n)[:60])
    parts = content["components"]
    if not isinstance(parts, dict) or set(parts) - set(COMPONENTS):
        found = str(parts) if not isinstance(parts, dict) else ", ".join(sorted(set(parts) - set(COMPONENTS)))
        raise DataError.at(f"{file}: components", f"some of {', '.join(COMPONENTS)}", found)
    components = {key: _indices(parts.get(key, []), f"{file}: components.{key}", n) for key in COMPONENTS}
    corners = _indices(content["eye_corners"], f"{file}: eye_corners", n, 2)
    eyes = tuple(_indices(eye, f"{file}: eyes", n) for eye in _lists(content["eyes"], f"{file}: eyes"))
    if len(eyes) != 2 or not all(eyes):
        raise DataError.at(f"{file}: eyes", "the points of two eyes", str(content["eyes"]))
    where = f"{file}: mirror_pairs"
    pairs = [_indices(pair, where, n, 2) for pair in _lists(content.get("mirror_pairs", []), where)]
    contours = []
    for number, contour in enumerate(_lists(content.get("contours", []), f"{file}: contours"), 1):
        where = f"{file}: contour {number}"
        if not isinstance(contour, dict) or contour.get("component") not in COMPONENTS:
            raise DataError.at(where, f"a component: one of {', '.join(COMPONENTS)}", str(contour))
        line = _indices(contour.get("points"), where, n)
        contours.append((str(contour["component"]), line, bool(contour.get("closed", False))))
    try:
        mirror_pairs = tuple((left, right) for left, right in pairs)
        scheme = LandmarkScheme(
            name, n, components, mirror_pairs, (corners[0], corners[1]), (eyes[0], eyes[1]), tuple(contours)
        )
        _check_mirror(scheme, file)
        return register_scheme(scheme)
    except DataError:
        raise
    except InputError as error:
        raise DataError(f"{file}: {error}") from error


def write_scheme(file: Path, scheme: LandmarkScheme) -> None:
    """Write a scheme, as `read_scheme` reads it."""
    values = {
        "name": scheme.name, "n_points": scheme.n_points, "eye_corners": scheme.eye_corners, "eyes": scheme.eyes,
        "mirror_pairs": scheme.mirror_pairs,
    }  # fmt: skip
    lines = [_entry(*item) for item in values.items()]
    lines += ["", "[components]", *(_entry(*item) for item in scheme.components.items())]
    for component, points, closed in scheme.contours:
        contour = {"component": component, "points": points, "closed": closed}
        lines += ["", "[[contours]]", *(_entry(*item) for item in contour.items())]
    write_atomically(file, "\n".join(lines) + "\n")


def _entry(key: str, value: object) -> str:
    return f"{key} = {json.dumps(value, ensure_ascii=False)}"  # texts, numbers and lists are the same in TOML
