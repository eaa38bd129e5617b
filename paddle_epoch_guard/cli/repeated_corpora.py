"""A corpus that a blend lists several times: how often the other datasets of it draw a token. Arithmetic of ``plan``.

All numbers are expected values, as in :mod:`~paddle_epoch_guard.cli.dataset_facts`. The host shuffles all datasets of
a blend under one seed. So two indices of one corpus with as many data epochs, and the last one shuffled separately in
both or neither, have the same order: their datasets draw the same samples, each at its own pace. Other indices of the
corpus are taken to be in independent orders. They begin with the same random numbers, so that numpy's shuffles of them
may resemble each other: then a part of what is drawn again is drawn sooner or later, but not more often.
"""

from dataclasses import dataclass

from paddle_epoch_guard.index import IndexLayout
from paddle_epoch_guard.index.equal_corpora import EqualCorpora


@dataclass(frozen=True)
class RepeatedCorpora:
    """The datasets of a planned run, numbered from 0, some of which have the same corpus."""

    corpora: EqualCorpora
    shares: tuple[float, ...]
    """Of each dataset in the blend."""
    layouts: tuple[IndexLayout, ...]
    """Of the index of each."""
    drawn: tuple[int, ...]
    """Samples that the run draws from each."""

    def before(self, number: int, position: float, *, beyond: bool) -> float:
        """How often the others have drawn a token that a dataset draws at a position of the blend.

        Args:
            number: of the dataset.
            position: of the blend.
            beyond: whether the dataset is in its epoch that is shuffled separately.
        """
        layout, draws = self.layouts[number], 0.0
        for other in self._others(number):
            first, last = _shares_drawn(self.layouts[other], position * self.shares[other])
            if _has_same_order(layout, self.layouts[other]):
                # Of two datasets of equal weight, the first is drawn first.
                is_ahead = (self.shares[other], number) > (self.shares[number], other)
                draws += _other_draws(layout, first, last, beyond=beyond) + is_ahead
            else:
                draws += self.layouts[other].epoch_groups[0] * first + last
        return draws

    def in_all(self, number: int) -> float:
        """How often the others draw a token in the whole run, as a mean over the draws of a dataset."""
        layout, draws = self.layouts[number], 0.0
        own = _positions_drawn(layout, self.drawn[number])
        for other in self._others(number):
            first, last = _shares_drawn(self.layouts[other], self.drawn[other])
            if not _has_same_order(layout, self.layouts[other]):
                draws += self.layouts[other].epoch_groups[0] * first + last
                continue
            for beyond, (mine, others) in enumerate(
                zip(own, _positions_drawn(layout, self.drawn[other]), strict=True)
            ):
                if mine:
                    as_well = _other_draws(layout, first, last, beyond=bool(beyond)) + min(others / mine, 1.0)
                    draws += mine / sum(own) * as_well
        return draws

    def never_drawn(self, number: int, unseen: list[float]) -> float:
        """The share of a dataset's corpus that is never drawn.

        Args:
            number: of the dataset.
            unseen: the share that each dataset leaves out.
        """
        by_order: dict[tuple[int, bool], float] = {}
        for one in self.corpora.like(number):
            order = self.layouts[one].num_epochs, self.layouts[one].separated
            by_order[order] = min(by_order.get(order, 1.0), unseen[one])
        share = 1.0
        for left in by_order.values():
            share *= left
        return share

    def _others(self, number: int) -> list[int]:
        return [other for other in self.corpora.like(number) if other != number]


def _has_same_order(one: IndexLayout, other: IndexLayout) -> bool:
    return (one.num_epochs, one.separated) == (other.num_epochs, other.separated)


def _positions_drawn(layout: IndexLayout, drawn: float) -> tuple[float, float]:
    """Of the positions drawn, those before the epoch that is shuffled separately, and those in it."""
    first = layout.sample_groups[0][1]
    return min(drawn, first), max(min(drawn, layout.samples_built) - first, 0.0)


def _shares_drawn(layout: IndexLayout, drawn: float) -> tuple[float, float]:
    """The shares drawn of the positions before the epoch that is shuffled separately, and of those in it."""
    first, last = _positions_drawn(layout, drawn)
    groups = layout.sample_groups
    return first / max(groups[0][1], 1), last / max(groups[-1][1] - groups[-1][0], 1) if len(groups) > 1 else 0.0


def _other_draws(layout: IndexLayout, first: float, last: float, *, beyond: bool) -> float:
    """How often another dataset in the same order has drawn a token at other places than this one.

    Args:
        layout: of both indices.
        first: the share that it has drawn of the positions before the epoch that is shuffled separately.
        last: the share of the positions in it.
        beyond: whether this draw is in that epoch.
    """
    epochs = layout.epoch_groups[0]
    return epochs * first if beyond else (epochs - 1) * first + last
