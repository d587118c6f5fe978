"""The mesh of the 68 points: one piece, without holes or overlaps, and the same for every face."""

from __future__ import annotations

from collections import Counter

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from srn.errors import InputError
from srn.face.geometry import Box
from srn.face.scheme import IBUG_68
from srn.inference.face import Face
from srn.uses.mesh import draw_mesh, triangles
from srn.uses.pose import head_model


def test_the_mesh_is_a_disc() -> None:
    """Euler: points - edges + triangles = 1; an edge has one triangle on the border, and two inside."""
    mesh = triangles()
    edges = Counter(tuple(sorted((one[a], one[b]))) for one in mesh.tolist() for a, b in ((0, 1), (1, 2), (2, 0)))
    border = sum(count == 1 for count in edges.values())

    assert set(mesh.ravel()) == set(range(68))
    assert 68 - len(edges) + len(mesh) == 1
    assert set(edges.values()) == {1, 2}
    assert len(mesh) == 2 * 68 - 2 - border  # of any triangulation of so many points


def test_triangles_cover_the_face_once() -> None:
    front = head_model().points[:, :2]
    a, b, c = (front[triangles()[:, k]] for k in range(3))
    areas = ((b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0]) / 2

    assert (areas > 0).all()  # all clockwise in the picture, none folded
    hull = cv2.contourArea(cv2.convexHull(front.astype(np.float32)))
    assert areas.sum() == pytest.approx(hull, rel=0.002)


def test_both_sides_are_alike_but_for_the_middle() -> None:
    mesh = {tuple(sorted(one)) for one in triangles().tolist()}
    mirrored = {tuple(sorted(IBUG_68.mirror[list(one)].tolist())) for one in mesh}
    assert len(mesh - mirrored) <= 6


def test_drawing_changes_the_face_alone(face: npt.NDArray[np.float64]) -> None:
    shape = face * 100 + 120
    image = np.full((240, 260, 3), 60, np.uint8)
    drawn = draw_mesh(image, Face(shape, None, None, Box.around(shape), 1.0, IBUG_68))

    changed = np.argwhere((drawn != image).any(axis=2))
    assert (image == 60).all()
    assert len(changed) > 1000
    assert (np.abs(changed.min(axis=0) - shape.min(axis=0)[::-1]) < 3).all()
    assert (np.abs(changed.max(axis=0) - shape.max(axis=0)[::-1]) < 3).all()


def test_an_opacity_is_a_share(face: npt.NDArray[np.float64]) -> None:
    shape = face * 100 + 120
    with pytest.raises(InputError, match=r"share: expected an opacity within \[0, 1\], found 1.5"):
        draw_mesh(np.zeros((240, 260, 3), np.uint8), Face(shape, None, None, Box.around(shape), 1, IBUG_68), share=1.5)
