"""`ReadingReport`: what a reader found on the way. Nothing is dropped without a line in it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class ReadingReport:
    """What was found on the way; nothing is dropped without a line here.

    Attributes:
        counts: faces read, by subset.
        problems: one line for each picture or annotation that could not be used.
        shortfalls: one line for each subset with fewer faces than the official release has.
        notes: what one should know and nobody has to put right, e.g. the frames that a protocol excludes.
    """

    counts: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    shortfalls: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def count(self, subset: str, faces: int) -> None:
        """Add to the faces of a subset; 0 writes down that it was looked for."""
        self.counts[subset] = self.counts.get(subset, 0) + faces

    def compare(self, where: Path, faces: int, official: int | None, unit: str = "faces") -> None:
        """Write a shortfall down where the official release has another number."""
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
        """The report as printable lines."""
        total = f"{sum(self.counts.values())} faces: " + ", ".join(f"{name} {n}" for name, n in self.counts.items())
        return [total, *self.notes, *self.shortfalls, *self.problems]
