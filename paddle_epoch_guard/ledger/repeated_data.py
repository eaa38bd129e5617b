"""What repeated data is worth: the law of Muennighoff et al. (2023). Needs only who has seen what, and no loss.

Muennighoff, Rush, Barak, Le Scao, Piktus, Tazi, Pyysalo, Wolf and Raffel, "Scaling Data-Constrained Language Models",
NeurIPS 2023, arXiv 2305.16264. Equation 5: U unique tokens, repeated R times after the first pass, are worth
``U + U * R' * (1 - exp(-R / R'))`` fresh tokens. Appendix A: R' = 15.387756, fitted to 182 runs.

The fit rests on GPT-2 models of 7 million to 9 billion parameters. They were trained on subsets of C4, each repeated
whole and shuffled in each epoch. In the formula, repetition never does harm. In their runs, too many epochs or
parameters did, so there it promises too much. For one dataset of a blend it is an approximation: the paper repeats
all of its data, never a part.
"""

import math
from typing import Literal

REPETITION_DECAY = 15.387756
"""R': repetitions after which one more is worth 1/e of fresh data. The fitted ``R_D*`` of appendix A."""


def effective_tokens(unique: float, drawn: float, decay: float = REPETITION_DECAY) -> float:
    """The number of fresh tokens that are worth as much as what was drawn: D' of equation 5.

    Args:
        unique: U, tokens of the corpus, above 0.
        drawn: D, tokens drawn from it, at least 0. Up to U they are taken to be fresh.
        decay: R', above 0.

    Returns:
        At most ``drawn``, and below ``unique * (1 + decay)``.
    """
    repetitions = _repetitions(unique, drawn)
    return min(drawn, unique) - unique * decay * math.expm1(-repetitions / decay)


def worth_of_next_token(unique: float, drawn: float, decay: float = REPETITION_DECAY) -> float:
    """What the next token drawn is worth, relative to a fresh one: the derivative of :func:`effective_tokens`.

    Args:
        unique: U, tokens of the corpus, above 0.
        drawn: D, tokens drawn before it.
        decay: R', above 0.

    Returns:
        1 until the corpus was drawn once, then falling towards 0.
    """
    return math.exp(-_repetitions(unique, drawn) / decay)


def expected_fall(exposure_before: float) -> Literal["likely", "small", "slight"]:
    """How visible a fall of the training loss will be where data begins to be drawn once more.

    A model remembers most of what it learns of a text at its first draws: the fall is large from fresh to repeated
    data, and hardly seen from the fourth draw to the fifth. How large depends on the model, too.

    Args:
        exposure_before: how often the tokens had been drawn before, on average, up to there.
    """
    return "likely" if exposure_before < 1 else "small" if exposure_before < 3 else "slight"


def _repetitions(unique: float, drawn: float) -> float:
    """R: data epochs beyond the first."""
    return max(drawn / unique - 1, 0.0)
