"""Chinese text for rich, which ends lines at blanks only: a line may also end behind almost any Chinese character."""

import re
from typing import TYPE_CHECKING, Any

from rich.cells import cell_len, chop_cells
from rich.containers import Lines
from rich.measure import Measurement
from rich.text import Text

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions

_WIDE = "\u2e80-\u2fff\u3003-\u3007\u3012-\u9fff\uf900-\ufaff"
_OPEN = "\u300a\u3008\u300c\u300e\u3010\uff08\uff3b\uff5b\u201c\u2018"  # never at the end of a line
_CLOSE = "\u3001\u3002\u3009\u300b\u300d\u300f\u3011\uff01\uff09\uff0c\uff0e\uff1a\uff1b\uff1f\uff3d\uff5d\u201d\u2019"
_PIECE = re.compile(
    rf"\s*[{_OPEN}\[(]*(?:[{_WIDE}]|[^\s{_WIDE}{_OPEN}{_CLOSE}]+)[{_CLOSE}\]),;:!?%]*\s*"
    rf"|\s*[{_OPEN}{_CLOSE}]+\s*|\s+"
)
"""The narrowest part of a text that must stay on one line, with the blanks around it."""


class WideText(Text):
    """A text whose lines end where those of Chinese may end, and that is measured in columns."""

    def wrap(self, console: "Console", width: int, **settings: Any) -> Lines:
        """As `Text.wrap` does, with breaks between Chinese characters."""
        if settings.get("no_wrap") or settings.get("overflow") == "ignore":
            return super().wrap(console, width, **settings)
        lines = Lines()
        for line in self.split(allow_blank=True):
            for part in line.divide(line_ends(line.plain, width)):
                part.rstrip_end(width)
                lines.append(part)
        return lines

    def __rich_measure__(self, console: "Console", options: "ConsoleOptions") -> Measurement:
        widest = max((cell_len(line) for line in self.plain.splitlines()), default=0)
        return Measurement(max((cell_len(piece.strip()) for piece in pieces(self.plain)), default=widest), widest)


def pieces(text: str) -> list[str]:
    """The parts of a text between which a line may end."""
    return _PIECE.findall(text)


def line_ends(text: str, width: int) -> list[int]:
    """The places in a text at which new lines begin.

    Args:
        text: one line of any length.
        width: of the lines, in columns. Pieces that are wider are cut.
    """
    ends: list[int] = []
    place, used = 0, 0
    for piece in pieces(text):
        size = cell_len(piece.rstrip())
        if used and used + size > width:
            ends.append(place)
            used = 0
        if size > width:
            *full, _ = chop_cells(piece.rstrip(), width)
            for part in full:
                place += len(part)
                ends.append(place)
            piece = piece[sum(map(len, full)) :]
        place += len(piece)
        used += cell_len(piece)
    return ends
