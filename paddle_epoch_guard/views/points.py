"""Points and boundary lines for loggers that keep one value of a tag for a step.

TensorBoard's default server (tensorboard-data-server 0.7) is one: a point takes the place of every earlier one at its
step or beyond. So where VisualDL draws a vertical line, these loggers get one that leans, from the last step before a
boundary to the first behind it.
"""

from dataclasses import dataclass

from paddle_epoch_guard.record.naming import LOSS_TAG


@dataclass(frozen=True)
class Point:
    """One value of a line: a tag in a directory."""

    tag: str
    value: float
    step: int
    directory: str


class Points:
    """The points since the last flush; each boundary line as its two ends, one step apart.

    Args:
        drawn: from where to where an earlier part of the run has drawn boundary lines: what lengthens one here brings
            one end only.
    """

    def __init__(self, drawn: tuple[float, float] | None = None) -> None:
        self._drawn = drawn
        self._points: list[Point] = []
        self._lines: dict[str, tuple[float, float]] = {}
        self._changed: dict[str, int] = {}

    def __bool__(self) -> bool:
        return bool(self._points or self._changed)

    def add(self, tag: str, value: float, step: int, directory: str) -> None:
        """Takes a point."""
        if tag != LOSS_TAG:  # the guard writes no losses there, only lines
            self._points.append(Point(tag, value, step, directory))
            return
        low, high = self._lines.get(directory, self._drawn or (value, value))
        self._lines[directory] = min(low, value), max(high, value)
        self._changed[directory] = step

    def take(self) -> list[Point]:
        """What was added since the last time; of a line that was lengthened, both ends again."""
        found, self._points = self._points, []
        for directory, step in self._changed.items():
            low, high = self._lines[directory]
            # Its low end first: TensorBoard's smoothing (0.6) cuts 38 % off the other, where the loss once began.
            found += [Point(LOSS_TAG, low, step - 1, directory), Point(LOSS_TAG, high, step, directory)]
        self._changed = {}
        return found
