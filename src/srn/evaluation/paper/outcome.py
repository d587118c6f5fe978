"""The measured rows of a table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from srn.evaluation.paper.published import Table
from srn.evaluation.results import Evaluation, Initialization
from srn.evaluation.statistics import Interval


@dataclass(frozen=True)
class Cell:
    """A measured number in its column's unit, or the reason why it is missing.

    Attributes:
        interval: value and 95 % interval; the bounds are NaN if there is none.
        faces, official: number of faces measured, and of the complete set.
        part: the evaluation behind the number.
        details: weights, budget and version of the faces.
    """

    interval: Interval | None = None
    faces: int | None = None
    official: int | None = None
    reason: str = ""
    part: Evaluation | None = field(default=None, compare=False)
    details: tuple[str, ...] = ()

    @property
    def value(self) -> float | None:
        return None if self.interval is None else self.interval.value

    @property
    def missed(self) -> int:
        """Faces that were not found: failures, and in no mean error."""
        return 0 if self.part is None else self.part.missed

    @property
    def partial(self) -> bool:
        """Whether only a part of the set was measured: not comparable digit by digit."""
        return self.faces is not None and self.official is not None and self.faces != self.official


@dataclass(frozen=True)
class OurRow:
    """The measured cells of a network, by column name.

    Attributes:
        method: the paper's row that it stands beside.
        weights: names of the networks, one for each landmark scheme; none where there are no weights.
    """

    method: str
    variant: str
    cells: Mapping[str, Cell]
    init: Initialization
    weights: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """Our own name of the row: never the paper's, whose network it may not be."""
        return f"ours: {' and '.join(self.weights)}" if self.weights else f"ours, for {self.method}"

    @property
    def curves(self) -> dict[str, Evaluation]:
        """The evaluations behind the cells, by column name."""
        return {name: cell.part for name, cell in self.cells.items() if cell.part is not None}

    @property
    def detail(self) -> str:
        """Weights, budget, version of the faces, and boxes."""
        details = [text for cell in self.cells.values() for text in cell.details if text]
        return ", ".join(dict.fromkeys([*details, f"{self.init} boxes"] if self.curves else details))

    @property
    def filled(self) -> bool:
        """Whether any cell has a number."""
        return any(cell.value is not None for cell in self.cells.values())


@dataclass(frozen=True)
class Outcome:
    """A published table with the measured rows, and notes on them."""

    table: Table
    rows: tuple[OurRow, ...]
    notes: tuple[str, ...] = ()
