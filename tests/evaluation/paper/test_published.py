"""The published numbers: complete, consistent, and the same as in the paper's own text."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from srn.datasets.kinds import KINDS
from srn.evaluation.paper.published import VARIANTS, Table, published
from srn.face.metrics import NORMALIZERS

PAPER = Path(__file__).resolve().parents[4] / "shared" / "paper" / "srn-paper.md"
TABLES = published().tables
METRICS = ("nme", "failure-rate", "recall-at-80-precision", "frames-per-second")
each_table = pytest.mark.parametrize("table", TABLES.values(), ids=lambda t: t.name)

CELLS = {"table1": 17, "table2": 24, "table3": 18, "table4": 54, "table5": 27, "table6": 4, "table7": 15, "table8": 6,
         "table9": 18}  # fmt: skip


def test_every_cell_is_there() -> None:
    assert {t.name: sum(len(row.values) for row in t.rows) for t in TABLES.values()} == CELLS


@each_table
def test_tables_are_whole(table: Table) -> None:
    assert table.source.startswith(f"table {table.name[-1]},")
    names = [column.name for column in table.columns]
    assert len(set(names)) == len(names)
    assert {name for row in table.rows for name in row.values} == set(names)  # no column without a number
    for column in table.columns:
        assert (column.normalizer in NORMALIZERS) == (column.metric in ("nme", "failure-rate"))
        assert column.metric in METRICS
        assert column.dataset in (*KINDS, "none")
        assert column.unit == ("1/s" if column.metric == "frames-per-second" else "%")
    for row in table.rows:
        assert row.variant in ("", *VARIANTS)
        assert (row.reference == 0) == bool(row.variant)
        assert row.reference == 0 or row.reference in published().references
        assert all(0 < value < 100 for value in row.values.values())
    assert table.row_of("full") is not None or table.name == "table5"  # which has SRN+HOFS only


@each_table
def test_full_is_the_mean_over_its_parts(table: Table) -> None:
    """554 Common and 135 Challenging faces. What does not fit in the paper is noted."""
    odd = []
    for row in table.rows:
        for block in ("", "ocular_", "pupil_"):
            parts = [row.values.get(f"{block}{name}") for name in ("common", "challenging", "full")]
            if None not in parts:
                common, challenging, full = (value for value in parts if value is not None)
                if abs((554 * common + 135 * challenging) / 689 - full) > 0.04:
                    odd.append(row.method)
    assert odd == (["RDN", "Chandran et al."] if table.name == "table4" else [])


def test_the_same_number_in_two_tables() -> None:
    masked = TABLES["table2"].row_of("full")
    assert masked is not None
    for name in ("table7", "table8"):
        row = TABLES[name].row_of("full")
        assert row is not None
        assert row.values == masked.values
    tracked, ablated = TABLES["table5"].row_of("hofs"), TABLES["table9"].row_of("hofs")
    assert tracked is not None
    assert ablated is not None
    assert {name: ablated.values[name] for name in tracked.values} == tracked.values


# --- against the text of the paper, read by other means


@pytest.fixture(scope="module")
def printed() -> list[list[list[str]]]:
    """The nine tables as the paper's text has them: lines of cells, empty cells left out."""
    if not PAPER.is_file():
        pytest.skip("the paper's text (../shared/paper beside the repository) is not here")
    blocks: list[list[list[str]]] = []
    last = -2
    for number, line in enumerate(PAPER.read_text(encoding="utf-8").splitlines()):
        if "\t" in line:
            if number != last + 1:
                blocks.append([])
            blocks[-1].append([cell.strip() for cell in line.split("\t") if cell.strip()])
            last = number
    assert len(blocks) == 9
    return blocks


def plain(method: str) -> str:
    """A method's name without citation, mark-up and spelling differences."""
    name = re.sub(r"\[\d+\]|\(ours\)|<[^>]*>|\$|\\", "", method)
    return re.sub(r"[^a-z0-9+/]", "", name.lower().replace("et.al", "et al").replace("(w/o da)", ""))


def rows_of(block: list[list[str]], last: int | None = None) -> list[tuple[str, int, list[str]]]:
    """(method, reference, cells after it) of the lines that start with a method; `last` fields of a line count."""
    rows = []
    for fields in block:
        cells = fields if last is None else fields[-last:]
        if len(cells) > 1 and all(re.fullmatch(r"\d+\.\d+|-|yes|no", cell) for cell in cells[1:]):
            cited = re.search(r"\[(\d+)\]", cells[0])
            rows.append((plain(cells[0]), int(cited.group(1)) if cited else 0, cells[1:]))
    return rows


@pytest.mark.parametrize("number", [1, 2, 3, 7, 8])
def test_plain_tables_against_the_text(number: int, printed: list[list[list[str]]]) -> None:
    table = TABLES[f"table{number}"]
    names = [column.name for column in table.columns]
    ours = [(plain(row.method), row.reference, [row.values.get(name) for name in names]) for row in table.rows]
    theirs = [
        (method, reference, [None if cell == "-" else float(cell) for cell in cells])
        for method, reference, cells in rows_of(printed[number - 1])
    ]
    assert ours == theirs


def test_table_4_against_the_text(printed: list[list[list[str]]]) -> None:
    rows = rows_of(printed[3])
    ocular, pupil = rows[:12], rows[12:]
    assert (ocular[-1][0], pupil[0][0]) == ("srn+hg", "cfss")
    table = TABLES["table4"]
    for block, prefix in ((ocular, "ocular_"), (pupil, "pupil_")):
        names = [f"{prefix}{part}" for part in ("challenging", "common", "full")]
        ours = {
            plain(row.method): (row.reference, [row.values[n] for n in names])
            for row in table.rows
            if names[0] in row.values
        }
        theirs = {method: (reference, [float(c) for c in cells[:3]]) for method, reference, cells in block}
        assert ours == theirs


def test_table_5_against_the_text(printed: list[list[list[str]]]) -> None:
    theirs = {method: [float(c) for c in cells] for method, _, cells in rows_of(printed[4], last=4)}
    ours = {plain(row.method): [row.values[f"category{i}"] for i in (1, 2, 3)] for row in TABLES["table5"].rows}
    assert ours == theirs


def test_table_6_against_the_text(printed: list[list[list[str]]]) -> None:
    methods, speeds = printed[5]
    theirs = {plain(name): float(value) for name, value in zip(methods[1:], speeds[1:], strict=True)}
    assert {plain(row.method): row.values["fps"] for row in TABLES["table6"].rows} == theirs


def test_table_9_against_the_text(printed: list[list[list[str]]]) -> None:
    rows = rows_of(printed[8])
    assert len(rows) == 6
    for row, (_, _, clear), (_, _, masked) in zip(TABLES["table9"].rows, rows[:3], rows[3:], strict=True):
        values = [
            *(row.values[f"category{i}"] for i in (1, 2, 3)),
            *(row.values[f"masked_category{i}"] for i in (1, 2, 3)),
        ]
        assert values == [float(cell) for cell in clear + masked]
    assert [method for method, _, _ in rows[:3]] == [plain(row.method) for row in TABLES["table9"].rows]
