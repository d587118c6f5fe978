"""`ReadingReport`: the findings of a reader. Nothing is dropped without a line in it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from srn.errors import DataError


@dataclass
class ReadingReport:
    """The findings of a reader.

    Attributes:
        counts: faces read, by subset.
        problems: one line for each picture or annotation that could not be used.
        shortfalls: one line for each subset with another number of faces than the official release.
        notes: facts that need no action, e.g. the frames that a protocol excludes.
    """

    counts: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    shortfalls: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def count(self, subset: str, faces: int) -> None:
        """Add to the faces of a subset; 0 records that it was looked for."""
        self.counts[subset] = self.counts.get(subset, 0) + faces

    @contextmanager
    def catching(self, consequence: str = "; left out") -> Iterator[None]:
        """Turn a `DataError` of the block into a problem that ends with `consequence`."""
        try:
            yield
        except DataError as error:
            self.problems.append(f"{error}{consequence}")

    def compare(self, where: Path, faces: int, official: int | None, unit: str = "faces") -> None:
        """Record a shortfall where the official release has another number."""
        if official is not None and faces != official:
            self.shortfalls.append(f"{where}: {faces} {unit}, the official release has {official}")

    def add(self, other: ReadingReport) -> None:
        """Append another report."""
        for subset, faces in other.counts.items():
            self.count(subset, faces)
        self.problems += other.problems
        self.shortfalls += other.shortfalls
        self.notes += other.notes

    def lines(self) -> list[str]:
        """Return the report as printable lines, the counts first."""
        total = f"{sum(self.counts.values())} faces: " + ", ".join(f"{name} {n}" for name, n in self.counts.items())
        return [total, *self.notes, *self.shortfalls, *self.problems]
