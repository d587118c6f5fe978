"""CSV tables with a header: predictions, manifests, key points of templates."""

from __future__ import annotations

from pathlib import Path

import pytest

from srn.errors import DataError
from srn.media.result_reading import read_results
from srn.media.tables import read_rows


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a,b\n1,2\n1,5,2\n", "line 3: expected 2 values, one for each column, found 3"),
        ("a,b,a\n1,2,3\n", "expected each column once, found 'a' 2 times"),
    ],
)
def test_no_value_is_taken_for_another(tmp_path: Path, text: str, found: str) -> None:
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(DataError) as error:
        read_rows(tmp_path / "t.csv", "a table")
    assert str(error.value) == f"{tmp_path / 't.csv'}: {found}"


def test_empty_ends_and_columns_without_a_name(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,b,,\n1,2,,\n3,4,,,,\n5\n")
    rows = read_rows(tmp_path / "t.csv", "a table")
    assert [(row["a"], row["b"]) for row in rows] == [("1", "2"), ("3", "4"), ("5", None)]


def test_predictions_with_a_comma_in_a_number(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("picture,x0,y0,x1,y1\na.png,1,5,2,3,4\n")
    with pytest.raises(DataError, match=r"t\.csv: line 2: expected 5 values, one for each column, found 6"):
        read_results(tmp_path / "t.csv")
