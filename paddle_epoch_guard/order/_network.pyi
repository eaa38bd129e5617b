from typing import Any

import numpy.typing as npt

Array = npt.NDArray[Any]

def apply(values: Array, out: Array, words: Array, left: int, right: int, n: int, inverse: bool, /) -> bool: ...
def compose(positions: Array, placed: Array, inverse: bool, /) -> None: ...
