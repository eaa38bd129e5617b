"""What a planned run draws of each corpus: data epochs, and what they are worth as fresh data."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from paddle_epoch_guard.ledger.repeated_data import effective_tokens, worth_of_next_token
from paddle_epoch_guard.terminal import joined


@dataclass(frozen=True)
class CorpusDraws:
    """What a run draws of one corpus, by all datasets that have it: a blend may list it several times."""

    datasets: tuple[int, ...]
    """Their numbers in the blend, from 0."""
    prefixes: tuple[str, ...]
    """Of each of them."""
    tokens: int
    """T, of the train split."""
    documents: int
    """Of the train split."""
    drawn: int
    """Tokens drawn by all of them."""

    @property
    def name(self) -> str:
        """What a person calls it."""
        return joined(list(dict.fromkeys(self.prefixes)))

    @property
    def data_epochs(self) -> float:
        """How often the run draws it."""
        return self.drawn / self.tokens

    @property
    def worth(self) -> float:
        """The number of fresh tokens that are worth as much as what is drawn."""
        return effective_tokens(self.tokens, self.drawn)

    @property
    def next_token(self) -> float:
        """What one more token is worth, relative to a fresh one."""
        return worth_of_next_token(self.tokens, self.drawn)


def worth_of_dataset(corpus: CorpusDraws, drawn: int) -> dict[str, Any]:
    """The JSON keys of a dataset about repetition.

    Args:
        corpus: its corpus.
        drawn: tokens that this dataset draws of it; its worth is that share of the corpus's.
    """
    tokens = corpus.worth * drawn / max(corpus.drawn, 1)  # of weight 0, nothing is drawn
    worth = {"drawn": drawn, "tokens": tokens, "next_token": corpus.next_token}
    return {"data_epochs": corpus.data_epochs, "worth_as_fresh": worth}


def worth_of_blend(corpora: Sequence[CorpusDraws]) -> dict[str, Any]:
    """The same for a whole blend: each corpus by its own repetition, its next token by their shares."""
    drawn = sum(corpus.drawn for corpus in corpora)
    next_token = sum(corpus.drawn / drawn * corpus.next_token for corpus in corpora)
    return {"drawn": drawn, "tokens": sum(corpus.worth for corpus in corpora), "next_token": next_token}
