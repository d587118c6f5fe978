"""`.pts` files: what is read, what is written, and what broken files are told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from srn.errors import DataError
from srn.face.geometry import Box
from srn.media.pts import format_pts, read_box_pts, read_pts, write_pts

GOOD = "version: 1\nn_points: 2\n{\n10.5 20\n1 1\n}\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "face.pts"


def test_the_first_pixel_is_one_in_the_file_and_zero_in_code(file: Path) -> None:
    file.write_text(GOOD)
    np.testing.assert_array_equal(read_pts(file), [[9.5, 19], [0, 0]])


@pytest.mark.parametrize(
    "text",
    [
        "version: 1\r\nn_points: 2\r\n{\r\n10.5 20\r\n1 1\r\n}\r\n",
        "version: 1\nn_points:  2\n{\n\t10.5\t20  \n\n  1   1\n}",
        "n_points:2 {10.5 20 1 1}",
        "n_points : 2\nversion: 1.0\n{ 10.5\n20\n1\n1 }\nmore text",
        "version: 1\nn_points: 2\n{\n1.05e1 2e1\n+1 1.\n}\n",
        "\ufeff" + GOOD,
    ],
    ids=["carriage returns", "tabs and empty lines", "one line", "a number a line", "exponents", "byte order mark"],
)
def test_white_space_and_spelling_do_not_matter(file: Path, text: str) -> None:
    file.write_bytes(text.encode())
    np.testing.assert_array_equal(read_pts(file, 2), [[9.5, 19], [0, 0]])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected 'n_points: N' and a block of '{ x y ... }', found neither"),
        ("<html>not found</html>", "expected 'n_points: N' and a block of '{ x y ... }', found other text"),
        ("n_points: 2\n1 2\n3 4\n", "a block of '{ x y ... }', found other text"),
        ("n_points: 2\n{ 1 2\n3 4", "a block of '{ x y ... }', found other text"),
        ("{ 1 2 }", "'n_points: N'"),
        ("n_points: 3\n{ 1 2\n3 4 }", "expected 3 points, as n_points says, found 4 numbers"),
        ("n_points: 2\n{ 1 2\n3 }", "expected 2 points, as n_points says, found 3 numbers"),
        ("n_points: 2\n{ 1 2\n3 nan }", "expected finite coordinates, found nan"),
        ("n_points: 2\n{ 1 2\n-inf 4 }", "expected finite coordinates, found -inf"),
        ("n_points: 2\n{ 1 2\n3 four }", "expected numbers between the braces, found 'four'"),
        ("n_points: 1\n{ 1 2 }", "expected 2 points, found 1"),
    ],
)
def test_a_broken_file_is_named_in_one_line(file: Path, text: str, message: str) -> None:
    file.write_text(text)
    with pytest.raises(DataError) as caught:
        read_pts(file, 2)
    assert str(caught.value).startswith(f"{file}: ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(file: Path) -> None:
    with pytest.raises(DataError, match=r"face\.pts: expected a readable \.pts file, found No such file"):
        read_pts(file)


def test_a_binary_file_is_no_crash(file: Path) -> None:
    file.write_bytes(bytes(range(256)))
    with pytest.raises(DataError, match=r"face\.pts"):
        read_pts(file)


def test_written_text_by_hand() -> None:
    assert format_pts(np.array([[0, 0], [9.5, 19.25]])) == "version: 1\nn_points: 2\n{\n1.000 1.000\n10.500 20.250\n}\n"


def test_what_is_written_is_read_back_to_the_last_written_digit(file: Path, rng: np.random.Generator) -> None:
    shape = rng.uniform(-50, 3000, (68, 2))
    write_pts(file, shape)
    np.testing.assert_allclose(read_pts(file, 68), shape, atol=0.5e-3 + 1e-9)
    assert [path.name for path in file.parent.iterdir()] == ["face.pts"]


def test_a_box_is_four_corners(file: Path) -> None:
    write_pts(file, np.array([[10.0, 20], [10, 60], [50, 60], [50, 20]]))
    assert read_box_pts(file) == Box(10, 20, 50, 60)


@pytest.mark.parametrize(
    "points",
    [[[10, 20], [10, 60], [50, 60]], [[10, 20], [10, 60], [10, 60], [10, 20]]],
    ids=["three corners", "no width"],
)
def test_a_broken_box_names_its_file(file: Path, points: list[list[float]]) -> None:
    write_pts(file, np.array(points, float))
    with pytest.raises(DataError, match=r"face\.pts: expected"):
        read_box_pts(file)
