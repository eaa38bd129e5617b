"""Points and boundary lines for loggers that keep one value per tag and step.

In TensorBoard's default server (tensorboard-data-server 0.7), a point replaces every earlier one at its step or
beyond. So where VisualDL shows a vertical line, these loggers show a slanted one, from the last step before a boundary
to the first step after it.
"""

from dataclasses import dataclass

from paddle_epoch_guard.record.naming import LOSS_TAG


@dataclass(frozen=True)
class Point:
    """A value of the line of a tag and a directory."""

    tag: str
    value: float
    step: int
    directory: str


class Points:
    """The points since the last flush, with each boundary line as its two ends, one step apart.

    Args:
        drawn: lowest and highest loss of boundary lines that an earlier part of the run drew. A point that lengthens
            such a line gives one end only.
    """

    def __init__(self, drawn: tuple[float, float] | None = None) -> None:
        self._drawn = drawn
        self._points: list[Point] = []
        self._lines: dict[str, tuple[float, float]] = {}
        self._changed: dict[str, int] = {}

    def __bool__(self) -> bool:
        return bool(self._points or self._changed)

    def add(self, tag: str, value: float, step: int, directory: str) -> None:
        """Adds a point."""
        if tag != LOSS_TAG:  # the guard writes no losses there, only lines
            self._points.append(Point(tag, value, step, directory))
            return
        low, high = self._lines.get(directory, self._drawn or (value, value))
        self._lines[directory] = min(low, value), max(high, value)
        self._changed[directory] = step

    def take(self) -> list[Point]:
        """Returns the points since the last call, with both ends of each lengthened line."""
        points, self._points = self._points, []
        for directory, step in self._changed.items():
            low, high = self._lines[directory]
            # The low end first: TensorBoard's smoothing (0.6) takes 38 % off the second point. That is the high end,
            # which only the losses at the start of the run have reached.
            points += [Point(LOSS_TAG, low, step - 1, directory), Point(LOSS_TAG, high, step, directory)]
        self._changed = {}
        return points
