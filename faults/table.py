"""What was tried, and what came of it."""

from collections.abc import Iterable
from dataclasses import dataclass, field

_COLUMNS = ("tried", "lost", "doubled", "hung", "broken")


@dataclass
class Outcome:
    """One kind of fault."""

    fault: str
    tried: int = 0
    """How often the fault was brought about."""
    lost: int = 0
    """Planned samples that were not drawn, or less often than planned."""
    doubled: int = 0
    """Samples that were drawn more often than planned."""
    hung: int = 0
    """Times at which an end had to be made from outside."""
    broken: list[str] = field(default_factory=list)
    """Each other promise that was not kept: another order, other losses, a fault that nobody was told of."""
    note: str = ""
    skipped: str = ""
    """Why it could not be tried here."""

    @property
    def is_kept(self) -> bool:
        """Whether every promise was kept."""
        return not (self.lost or self.doubled or self.hung or self.broken)

    def expect(self, holds: object, what: str) -> None:
        """Notes a broken promise where something does not hold."""
        if not holds:
            self.broken.append(what)

    def add(self, other: "Outcome") -> "Outcome":
        """Adds what was found elsewhere of the same fault."""
        self.tried += other.tried
        self.lost += other.lost
        self.doubled += other.doubled
        self.hung += other.hung
        self.broken += other.broken
        self.note = other.note or self.note
        return self


def table(outcomes: Iterable[Outcome]) -> str:
    """All outcomes, one a line."""
    found = list(outcomes)
    width = max(len(one.fault) for one in found)
    lines = ["  ".join([f"{'fault':<{width}}", *(f"{name:>8}" for name in _COLUMNS)])]
    for one in found:
        if one.skipped:
            lines.append(f"{one.fault:<{width}}  skipped: {one.skipped}")
            continue
        values = (one.tried, one.lost, one.doubled, one.hung, len(one.broken))
        lines.append("  ".join([f"{one.fault:<{width}}", *(f"{value:>8,}" for value in values)]) + f"  {one.note}")
    return "\n".join(line.rstrip() for line in lines)
