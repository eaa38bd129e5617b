"""The steps after which an evaluation helps to judge a change point."""

from collections.abc import Iterable

_SPACING = 100
"""Steps between evaluations before a change point, where there is room."""
_AFTER = (30, 100, 300, 500)
"""Steps from a change point to the evaluations after it, where there is room."""
_INTERVALS = 3
"""The fewest intervals between evaluations on each side, where there is room."""
_MOST_BEFORE = 4
_CLOSEST = 5
"""The fewest steps between two evaluations."""


def evaluation_steps(changes: Iterable[tuple[int, int]], last_step: int, max_steps: int) -> frozenset[int]:
    """The steps after which to evaluate: on both sides of each change point, and neither across another.

    Before a change point: after the last step wholly before it, and up to four times before that, 100 steps apart; in
    less room closer, so that there are three intervals of equal length. After it: after 30, 100, 300 and 500 steps; in
    less room, three times. The first interval after a change point begins with the last evaluation before it. Change
    points less than five steps apart count as one.

    A change point beyond the run counts for nothing. The steps do not depend on where a run resumes; those that are
    done are left out.

    Args:
        changes: for each change point of the run, the last step wholly before it and the first wholly after it.
        last_step: the last step done.
        max_steps: the last step of the run.
    """
    groups = _groups((before, after) for before, after in changes if after <= max_steps)
    wanted: set[int] = set()
    for number, (before, _) in enumerate(groups):
        wanted |= _steps_before(groups[number - 1][1] - 1 if number else 1, before)
    for number, (_, after) in enumerate(groups):
        until = groups[number + 1][0] if number + 1 < len(groups) else max_steps
        ahead = _steps_after(after - 1, min(until, max_steps))
        wanted |= {step for step in ahead if all(abs(step - other) >= _CLOSEST for other in wanted)}
    return frozenset(step for step in wanted if max(last_step, 0) < step <= max_steps)


def _groups(changes: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Change points without room between them as one."""
    groups: list[tuple[int, int]] = []
    for before, after in sorted(changes):
        if groups and before - (groups[-1][1] - 1) < _CLOSEST:
            groups[-1] = groups[-1][0], max(after, groups[-1][1])
        else:
            groups.append((before, after))
    return groups


def _steps_before(since: int, before: int) -> set[int]:
    """From step ``since`` to the last step before a change point."""
    room = max(before - since, 0)
    spacing = min(max(room // _INTERVALS, _CLOSEST), _SPACING)
    return {before - spacing * count for count in range(min(room // spacing, _MOST_BEFORE) + 1)}


def _steps_after(base: int, until: int) -> set[int]:
    """From the last step that draws from before a change point to step ``until``."""
    room = max(until - base, 0)
    fitting = [offset for offset in _AFTER if offset <= room]
    if len(fitting) >= _INTERVALS:
        return {base + offset for offset in fitting}
    if room >= _AFTER[1] + _AFTER[0]:
        return {base + offset for offset in (*fitting, room)}
    spacing = max(room // _INTERVALS, _CLOSEST)
    return {base + spacing * count for count in range(1, min(room // spacing, _INTERVALS) + 1)}
