"""The fit of boxes by five points: a made map is found again, and each face's own fit puts its crop in place."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

import fit_points
from srn.face.geometry import Box, CropGeometry, CropSpec, Float64Array
from srn.inference.box_fit import BoxFit, PointFit
from srn.inference.face_finder import FoundFace

SPEC = CropSpec(112, 70.0)


def made_face(shape: Float64Array, rng: np.random.Generator, tilt: float = 0.0) -> tuple[Float64Array, FoundFace]:
    """A face tilted clockwise, of about 80 pixels, and a box with five points around it as a finder may give it."""
    cos, sin = math.cos(tilt), math.sin(tilt)
    turn = np.array([[cos, sin], [-sin, cos]])
    points = shape * 80 @ turn + rng.uniform(100, 300, 2)
    five = np.array([[-0.2, -0.2], [0.2, -0.2], [0, 0], [-0.18, 0.2], [0.18, 0.2]]) + rng.normal(0, 0.03, (5, 2))
    x, y = points.mean(axis=0)
    width, height = rng.uniform(70, 90), rng.uniform(90, 110)
    box = Box(x - width / 2, y - height / 2, x + width / 2, y + height / 2)
    places = tuple((float(u), float(v)) for u, v in five * 80 @ turn + [x, y])
    return points, FoundFace(box, 0.9, tilt=-tilt, points=places)


def found_faces(shape: Float64Array, count: int, tilt: float = 0.0) -> list[fit_points.Found]:
    rng = np.random.default_rng(0)
    faces = [made_face(shape, rng, tilt) for _ in range(count)]
    return [
        fit_points.Found(points, CropGeometry.around(points, SPEC, -tilt), found, number % 5, "plain")
        for number, (points, found) in enumerate(faces)
    ]


@pytest.mark.parametrize("tilt", [0.0, 0.4])
def test_the_row_of_a_face_puts_its_crop_in_place(face: Float64Array, tilt: float) -> None:
    for seen in found_faces(face, 3, tilt):
        _, (dx, dy, width, height) = seen.row()
        assert seen.displacement(BoxFit(dx, dy, math.exp(width), math.exp(height))) < 1e-9
        assert seen.displacement(BoxFit()) > 0.05
        assert seen.groups == (("plain", "tilted") if tilt else ("plain",))


def test_a_made_map_is_found_again(face: Float64Array, monkeypatch: pytest.MonkeyPatch) -> None:
    """Linear in the features, mirrored like faces, and with a few faces that are far off."""
    seen = found_faces(face, 200)
    rng = np.random.default_rng(1)
    weights = rng.normal(0, 0.02, (12, 4))
    weights[[0, 3]] *= [[0, 1, 1, 1], [1, 0, 0, 0]]  # the nose's x and a symmetric feature
    for left, right in ((1, 2), (4, 5)):
        weights[right] = weights[left] * [1, -1, -1, -1]
    for left, right in ((6, 7), (9, 10)):
        weights[right] = weights[left] * [-1, 1, 1, 1]
    weights[[8, 11], 0] = 0
    inputs = [found.row()[0] for found in seen]
    mean = np.array(inputs).mean(axis=0)
    rows = {id(found): (x, np.append((x - mean) / 0.05, 1) @ weights) for found, x in zip(seen, inputs, strict=True)}
    for found in seen[::20]:
        rows[id(found)][1][:] += 3
    monkeypatch.setattr(fit_points, "RIDGE", 1e-9)
    monkeypatch.setattr(fit_points.Found, "row", lambda found: rows[id(found)])
    fit = fit_points.fit_points(seen)
    for found in seen[1:20]:
        given = fit.of_face(found.face.box, found.face.points or ())
        wanted = rows[id(found)][1]
        assert given is not None
        np.testing.assert_allclose([given.dx, given.dy, math.log(given.sx), math.log(given.sy)], wanted, atol=0.02)


def test_the_table_measures_every_face_by_the_others(face: Float64Array, tmp_path: Path) -> None:
    seen = found_faces(face, 40)
    parts: list[set[int]] = []

    def fit_of(others: Sequence[fit_points.Found]) -> fit_points.FitOfFace:
        parts.append({found.part for found in others})
        return lambda found: BoxFit()

    off = fit_points.displacements(seen, fit_of)
    np.testing.assert_allclose(off, [found.displacement(BoxFit()) for found in seen])
    assert parts == [{0, 1, 2, 3, 4} - {part} for part in range(5)]
    assert fit_points.table(seen).splitlines()[-1].startswith("| plain | 40 | ")
    (tmp_path / "fit.json").write_text('{"mine": {"dx": 0.0}}')
    fit = PointFit(np.zeros(11), np.ones(11), np.zeros((12, 4)))
    fit_points.write_points(tmp_path / "fit.json", "mine", fit, {"found": 40})
    stored = json.loads((tmp_path / "fit.json").read_text())["mine"]
    assert (stored["dx"], stored["points"]["found"], len(stored["points"]["weights"])) == (0.0, 40, 12)
