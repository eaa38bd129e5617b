from typing import Any

import numpy.typing as npt

Array = npt.NDArray[Any]

def add_up(
    window: tuple[Array, Array, Array, Array, Array, Array, int],
    exposure: tuple[Array, Array, Array, Array, Array, Array, float, bool],
    out: Array,
    /,
) -> None: ...
