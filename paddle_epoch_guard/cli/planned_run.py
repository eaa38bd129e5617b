"""The run that a call of ``plan`` describes: its datasets, and the indices that the host would build of them."""

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from paddle_epoch_guard.cli.corpus_draws import CorpusDraws
from paddle_epoch_guard.cli.host_rules import PADDLENLP, HostRules
from paddle_epoch_guard.cli.repeated_corpora import RepeatedCorpora
from paddle_epoch_guard.cli.run_config import check_prefix
from paddle_epoch_guard.errors import ArgumentsError, CorpusError
from paddle_epoch_guard.index import IndexLayout
from paddle_epoch_guard.index.blend_lookup import BlendPosition, blend_position, drawn_of_each
from paddle_epoch_guard.index.corpus import count_tokens, read_sizes
from paddle_epoch_guard.index.equal_corpora import Corpus, EqualCorpora, equal_corpora
from paddle_epoch_guard.index.layout import SEPARATION_THRESHOLD
from paddle_epoch_guard.language import tr

MOST_TOKENS = 1 << 62
_MOST_DRAWN = 1 << 23  # positions times datasets, to draw one by one; a blend that stops has far fewer


@dataclass(frozen=True)
class Dataset:
    """One dataset of the run."""

    prefix: str
    weight: float
    """As the user gave it."""
    tokens: int
    """T, of the train split."""
    documents: int
    """Of the train split."""
    all_documents: int = 0
    """Of all splits."""


@dataclass(frozen=True)
class Run:
    """What determines the index that the host builds. Datasets are numbered from 0."""

    datasets: tuple[Dataset, ...]
    seq_length: int
    global_batch: int
    corpora: EqualCorpora = field(default_factory=EqualCorpora)
    """Which of them have the same corpus."""
    threshold: float = SEPARATION_THRESHOLD
    """The share of a data epoch below which the host shuffles the last one apart."""
    weighted: bool = False
    """Whether weights were given: then the host blends even one dataset alone."""
    rules: HostRules = PADDLENLP
    """Of the host that builds the index."""

    @property
    def blended(self) -> bool:
        """Whether the host builds a blend."""
        return self.weighted or len(self.datasets) > 1

    @functools.cached_property
    def shares(self) -> tuple[float, ...]:
        """The weights, normalised as the host does."""
        return self.rules.shares([dataset.weight for dataset in self.datasets])

    def layout(self, number: int, steps: int) -> IndexLayout:
        """The layout of the index that the host builds of a dataset for a run of ``steps`` steps."""
        samples = steps * self.global_batch
        if self.blended:
            samples = self.rules.asked(samples, self.shares[number])
        tokens = self.datasets[number].tokens
        return IndexLayout.of(tokens, self.seq_length, samples, threshold=self.threshold)

    def layouts(self, steps: int) -> list[IndexLayout]:
        """:meth:`layout` of each dataset."""
        return [self.layout(number, steps) for number in range(len(self.datasets))]

    def positions(self, steps: int) -> int:
        """The positions of the blend that the host builds for a run of ``steps`` steps."""
        return self.rules.positions(steps * self.global_batch, self.shares)

    def drawn(self, number: int, steps: int) -> int:
        """Samples that the run draws from a dataset; for a blend a tight upper bound."""
        samples = steps * self.global_batch
        return math.ceil(samples * self.shares[number]) if self.blended else samples

    def draws(self, steps: int) -> list[CorpusDraws]:
        """What a run of ``steps`` steps draws of each corpus, in the order in which the datasets list them."""
        groups = dict.fromkeys(self.corpora.like(number) for number in range(len(self.datasets)))
        return [self._draws_of(group, steps) for group in groups]

    def _draws_of(self, group: tuple[int, ...], steps: int) -> CorpusDraws:
        first, prefixes = self.datasets[group[0]], tuple(self.datasets[number].prefix for number in group)
        drawn = sum(self.drawn(number, steps) for number in group) * self.seq_length
        return CorpusDraws(group, prefixes, first.tokens, first.documents, drawn)

    def repeated(self, steps: int) -> RepeatedCorpora:
        """How often the datasets of one corpus draw the same tokens."""
        drawn = tuple(self.drawn(number, steps) for number in range(len(self.datasets)))
        return RepeatedCorpora(self.corpora, self.shares, tuple(self.layouts(steps)), drawn)

    def warnings(self, steps: int) -> list[str]:
        """Sentences about what is probably a mistake, or stops a run of ``steps`` steps."""
        return self._long_samples + self._oversampled(steps)

    def _oversampled(self, steps: int) -> list[str]:
        """A sentence for each dataset of which a blend draws more samples than are built: `BlendedDataset` stops."""
        size, built = self.positions(steps), [layout.samples_built for layout in self.layouts(steps)]
        # A blend exceeds a dataset's share by less than one sample.
        may_exceed = any(count < size * share for count, share in zip(built, self.shares, strict=True))
        if not self.blended or not may_exceed or size * len(built) > _MOST_DRAWN:
            return []
        return [
            tr(
                "{host} stops: in {steps:,} steps, its blend draws {drawn:,} samples of {prefix} and builds "
                "{built:,}. Raise its mid_level_dataset_surplus, or change the steps",
                host=self.rules.title,
                steps=steps,
                drawn=drawn,
                prefix=dataset.prefix,
                built=count,
            )
            for dataset, drawn, count in zip(self.datasets, drawn_of_each(self.shares, size), built, strict=True)
            if drawn > count
        ]

    @property
    def _long_samples(self) -> list[str]:
        """A sentence for each dataset of which one sample holds the whole data epoch, or more than one."""
        return [
            tr(
                "a sample of {length:,} tokens is longer than a data epoch of {prefix}, {tokens:,} tokens: it repeats "
                "text within itself. Check the sequence length, the corpus and the split",
                length=self.seq_length,
                prefix=dataset.prefix,
                tokens=dataset.tokens,
            )
            for dataset in self.datasets
            if self.seq_length >= dataset.tokens
        ]

    def boundary(self, number: int, steps: int) -> BlendPosition | None:
        """Where the run reaches the separated epoch of a dataset; None if it does not."""
        inner = self.layout(number, steps).boundary_position
        if inner is None or not self.blended:
            return None if inner is None else BlendPosition(inner, exact=True)
        samples = steps * self.global_batch
        if self.shares[number] == 0:
            return None
        if inner >= samples * self.shares[number] + 1:  # a blend exceeds a dataset's share by less than one sample
            return None
        turn = blend_position([dataset.weight for dataset in self.datasets], self.shares, number, inner)
        return turn if turn.position < samples else None


def run_of(
    data: Sequence[str],
    split: str,
    seq_length: int,
    global_batch: int,
    max_steps: int,
    rules: HostRules = PADDLENLP,
) -> Run:
    """The run that a call describes.

    Args:
        data: one prefix; or weight, prefix, weight, prefix and so on.
        split: shares of train, valid and test.
        seq_length: L.
        global_batch: B.
        max_steps: of the run.
        rules: of the host.

    Raises:
        ArgumentsError: the arguments do not describe a possible run.
        CorpusError: a corpus is missing, unreadable or empty.
    """
    tokens = seq_length * global_batch * max_steps
    if tokens > MOST_TOKENS:
        raise ArgumentsError(
            tr(
                "--seq-length x --global-batch x --max-steps is {tokens:.3g} tokens; expected at most 2**62. Check "
                "the three numbers",
                tokens=tokens,
            )
        )
    try:
        rules.empty_splits(split, 1)
    except CorpusError as error:
        raise ArgumentsError(tr("--split: {fault}", fault=error)) from error
    pairs = _weights_and_prefixes(data, rules)
    for _, prefix in pairs:
        check_prefix(prefix)
    corpora = [Corpus(prefix, read_sizes(prefix)) for _, prefix in pairs]
    datasets = tuple(
        Dataset(prefix, weight, *_tokens_and_documents(corpus, split, rules), len(corpus.sizes))
        for (weight, prefix), corpus in zip(pairs, corpora, strict=True)
    )
    return Run(datasets, seq_length, global_batch, equal_corpora(corpora), weighted=len(data) > 1, rules=rules)


def _weights_and_prefixes(data: Sequence[str], rules: HostRules) -> list[tuple[float, str]]:
    prefixes = [prefix.removesuffix(rules.suffix) for prefix in (data[1::2] if len(data) > 1 else data)]
    try:
        weights = [float(word) for word in data[::2]] if len(data) > 1 else [1.0]
        pairs = list(zip(weights, prefixes, strict=True))
    except ValueError:
        raise ArgumentsError(
            tr(
                "{words!r} is neither one prefix nor a blend; expected WEIGHT PREFIX WEIGHT PREFIX …",
                words=" ".join(data),
            )
        ) from None
    for weight, prefix in pairs:
        # PaddleNLP takes 0, and builds an index that it never draws from.
        if not 0 <= weight < math.inf or not (weight == 0 or 0 < weight / sum(weights) < math.inf):
            values = {"weight": weight, "prefix": prefix}
            raise ArgumentsError(tr("the weight {weight:g} of {prefix}; expected a positive number, or 0", **values))
        if weight == 0 and not rules.takes_zero:
            raise ArgumentsError(
                tr("the weight 0 of {prefix}: {host} takes none. Leave it out", prefix=prefix, host=rules.title)
            )
    if not any(weights):
        raise ArgumentsError(tr("all weights are 0; expected a positive number. Name one corpus that the run draws"))
    return pairs


def _tokens_and_documents(corpus: Corpus, split: str, rules: HostRules) -> tuple[int, int]:
    """Of the train split."""
    prefix, sizes = corpus.prefix, corpus.sizes
    try:
        start, stop = rules.documents(split, "train", len(sizes))
        tokens = count_tokens(sizes, start, stop)
    except CorpusError as error:
        raise CorpusError(tr("{path}: {fault}", path=prefix, fault=error)) from error
    if tokens < 1:
        raise CorpusError(
            tr(
                "{prefix}: {tokens} tokens in the train split of {split!r}; expected at least one. Check the corpus",
                prefix=prefix,
                tokens=tokens,
                split=split,
            )
        )
    return tokens, stop - start
