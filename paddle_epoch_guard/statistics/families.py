"""Many tests in one run: which of their jumps still count."""

import numpy as np
import numpy.typing as npt


def holm(p_values: npt.ArrayLike, level: float) -> npt.NDArray[np.bool_]:
    """Which null hypotheses are rejected, so that any false rejection in the family has a probability below ``level``.

    By Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 6, 1979.

    Args:
        p_values: one for each test, [n].
        level: of the family.

    Returns:
        ``[n]``, in the order of the tests.
    """
    p = np.asarray(p_values, np.float64)
    in_order = np.argsort(p, kind="stable")
    passed = p[in_order] < level / np.arange(len(p), 0, -1)
    rejected = np.zeros(len(p), dtype=bool)
    rejected[in_order[: int(np.argmin(passed)) if not passed.all() else len(p)]] = True
    return rejected
