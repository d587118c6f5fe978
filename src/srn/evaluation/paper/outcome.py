"""The measured rows of a table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from srn.evaluation.paper.published import Table
from srn.evaluation.results import Evaluation
from srn.evaluation.statistics import Interval


@dataclass(frozen=True)
class Cell:
    """A measured number in its column's unit, or the reason why it is missing.

    Attributes:
        interval: value and 95 % interval; the bounds are NaN if there is none.
        faces, official: number of faces measured, and of the complete set.
        reason: why there is no number.
    """

    interval: Interval | None = None
    faces: int | None = None
    official: int | None = None
    reason: str = ""

    @property
    def value(self) -> float | None:
        """The number, if there is one."""
        return None if self.interval is None else self.interval.value

    @property
    def partial(self) -> bool:
        """Whether only a part of the set was measured: not comparable digit by digit."""
        return self.faces is not None and self.official is not None and self.faces != self.official


@dataclass(frozen=True)
class OurRow:
    """A measured row.

    Attributes:
        method: name of the network.
        variant: its variant, one of `published.VARIANTS`.
        detail: weights, budget, boxes and version of the faces.
        cells: by column name.
        curves: the evaluations behind the cells, by column name.
        init: source of the face boxes.
    """

    method: str
    variant: str
    detail: str
    cells: Mapping[str, Cell]
    curves: Mapping[str, Evaluation] = field(default_factory=dict)
    init: str = ""

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
