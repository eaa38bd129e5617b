"""What a run will draw, from the corpus alone: the index that the host would build, and lengths without a cliff."""

import functools
import math
import operator
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from paddle_epoch_guard.cli.corpus_draws import CorpusDraws, worth_of_blend, worth_of_dataset
from paddle_epoch_guard.cli.dataset_facts import dataset_facts_of, step_of, unified_exposure
from paddle_epoch_guard.cli.repeated_corpora import RepeatedCorpora
from paddle_epoch_guard.cli.run_config import check_prefix
from paddle_epoch_guard.errors import ArgumentsError, CorpusError
from paddle_epoch_guard.index import IndexLayout
from paddle_epoch_guard.index.blend_lookup import BlendPosition, blend_position
from paddle_epoch_guard.index.corpus import count_tokens, read_sizes
from paddle_epoch_guard.index.description import shares_of, split_documents
from paddle_epoch_guard.index.equal_corpora import Corpus, EqualCorpora, equal_corpora
from paddle_epoch_guard.index.layout import SEPARATION_THRESHOLD
from paddle_epoch_guard.language import tr

_MARGIN, _SPARE = 1.005, 20  # `get_datasets_weights_and_num_samples` in paddlenlp/data/causal_dataset.py (3.0.0b4)
_MOST_TOKENS = 1 << 62
_MOST_TRIED = 10_000  # numbers of steps to try for a blend


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

    @property
    def blended(self) -> bool:
        """Whether the host builds a blend."""
        return self.weighted or len(self.datasets) > 1

    @functools.cached_property
    def shares(self) -> tuple[float, ...]:
        """The weights, normalised in the order of the host's sum: Python 3.12's ``sum`` rounds differently."""
        total = functools.reduce(operator.add, (dataset.weight for dataset in self.datasets))
        return tuple(dataset.weight / total for dataset in self.datasets)

    def layout(self, number: int, steps: int) -> IndexLayout:
        """The layout of the index that the host builds of a dataset for a run of ``steps`` steps."""
        samples = steps * self.global_batch
        if self.blended:
            samples = math.ceil(samples * self.shares[number] * _MARGIN) + _SPARE
        tokens = self.datasets[number].tokens
        return IndexLayout.of(tokens, self.seq_length, samples, threshold=self.threshold)

    def layouts(self, steps: int) -> list[IndexLayout]:
        """:meth:`layout` of each dataset."""
        return [self.layout(number, steps) for number in range(len(self.datasets))]

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

    @property
    def warnings(self) -> list[str]:
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
        turn = blend_position([dataset.weight for dataset in self.datasets], number, inner)
        return turn if turn.position < samples else None


def run_of(data: Sequence[str], split: str, seq_length: int, global_batch: int, max_steps: int) -> Run:
    """The run that a call describes.

    Args:
        data: one prefix; or weight, prefix, weight, prefix and so on.
        split: shares of train, valid and test.
        seq_length: L.
        global_batch: B.
        max_steps: of the run.

    Raises:
        ArgumentsError: the arguments do not describe a possible run.
        CorpusError: a corpus is missing, unreadable or empty.
    """
    tokens = seq_length * global_batch * max_steps
    if tokens > _MOST_TOKENS:
        raise ArgumentsError(
            tr(
                "--seq-length x --global-batch x --max-steps is {tokens:.3g} tokens; expected at most 2**62. Check "
                "the three numbers",
                tokens=tokens,
            )
        )
    try:
        shares_of(split)
    except CorpusError as error:
        raise ArgumentsError(tr("--split: {fault}", fault=error)) from error
    pairs = _weights_and_prefixes(data)
    for _, prefix in pairs:
        check_prefix(prefix)
    corpora = [Corpus(prefix, read_sizes(prefix)) for _, prefix in pairs]
    datasets = tuple(
        Dataset(prefix, weight, *_tokens_and_documents(corpus, split), len(corpus.sizes))
        for (weight, prefix), corpus in zip(pairs, corpora, strict=True)
    )
    return Run(datasets, seq_length, global_batch, equal_corpora(corpora), weighted=len(data) > 1)


def _weights_and_prefixes(data: Sequence[str]) -> list[tuple[float, str]]:
    prefixes = data[1::2] if len(data) > 1 else data
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
        # The host takes 0, and builds an index that it never draws from.
        if not 0 <= weight < math.inf or not (weight == 0 or 0 < weight / sum(weights) < math.inf):
            values = {"weight": weight, "prefix": prefix}
            raise ArgumentsError(tr("the weight {weight:g} of {prefix}; expected a positive number, or 0", **values))
    if not any(weights):
        raise ArgumentsError(tr("all weights are 0; expected a positive number. Name one corpus that the run draws"))
    return pairs


def _tokens_and_documents(corpus: Corpus, split: str) -> tuple[int, int]:
    """Of the train split."""
    prefix, sizes = corpus.prefix, corpus.sizes
    try:
        start, stop = split_documents(split, "train", len(sizes))
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


def facts_of_run(run: Run, max_steps: int) -> dict[str, Any]:
    """The JSON object of ``plan``; for a blend with the facts of each dataset.

    Args:
        run: its datasets and batches.
        max_steps: of the run.
    """
    given = {"seq_length": run.seq_length, "global_batch": run.global_batch, "max_steps": max_steps}
    datasets = [_facts_of_dataset(run, number, max_steps) for number in range(len(run.datasets))]
    corpora = run.draws(max_steps)
    for corpus in corpora:
        for number in corpus.datasets:
            datasets[number] |= worth_of_dataset(corpus, run.drawn(number, max_steps) * run.seq_length)
    if not run.blended:
        return {**datasets[0], **given, "advice": advice(run, max_steps)}
    boundaries = [facts["boundary_position"] for facts in datasets if facts["boundary_position"] is not None]
    first = min(boundaries, default=None)
    _count_repeated(run, datasets, max_steps)
    return {
        "format": "paddlenlp",
        "samples_requested": max_steps * run.global_batch,
        "samples_built": max_steps * run.global_batch,
        "separated": bool(boundaries),
        "boundary_position": first,
        "boundary_step": step_of(first, run.global_batch),
        "worth_as_fresh": worth_of_blend(corpora),
        **given,
        "datasets": datasets,
        "same_corpora": _same_corpora(run, corpora, max_steps),
        "advice": advice_of_blend(run, max_steps),
    }


def _facts_of_dataset(run: Run, number: int, steps: int) -> dict[str, Any]:
    layout, drawn = run.layout(number, steps), run.drawn(number, steps)
    facts = dataset_facts_of(layout, "paddlenlp", run.global_batch, drawn, blended=run.blended)
    facts |= {"threshold": run.threshold, "threshold_samples": int(run.threshold * layout.samples_per_epoch)}
    facts["unified_exposure"] = None
    turn = run.boundary(number, steps)
    if turn is not None:
        # A unified order mixes the positions of the whole run: its exposure rises linearly.
        progress = turn.position / (steps * run.global_batch)
        facts["unified_exposure"] = progress * unified_exposure(layout, drawn)
    prefix = {"prefix": run.datasets[number].prefix}
    if not run.blended:
        return prefix | facts
    position = None if turn is None else turn.position
    facts |= {"boundary_position": position, "boundary_step": step_of(position, run.global_batch)}
    facts["boundary_is_exact"] = None if turn is None else turn.exact
    if turn is None:
        facts |= {"exposure": {"before": None, "after": None}, "expected_fall": None}
    return prefix | {"weight": run.shares[number], "samples_drawn": drawn} | facts


def _count_repeated(run: Run, datasets: list[dict[str, Any]], steps: int) -> None:
    """Adds what other datasets of the same corpus draw to the facts of each dataset of a blend."""
    if not run.corpora.groups:
        return
    repeated = run.repeated(steps)
    unseen = [facts["unseen_fraction"]["planned"] for facts in datasets]
    for number, facts in enumerate(datasets):
        left = repeated.never_drawn(number, unseen)
        facts["unseen_fraction"] = {"planned": left, "all": left}
        position = facts["boundary_position"]
        if position is not None:
            facts["unified_exposure"] += position / (steps * run.global_batch) * repeated.in_all(number)
            for side in facts["exposure"]:
                facts["exposure"][side] += repeated.before(number, position, beyond=side == "after")


def _same_corpora(run: Run, corpora: Sequence[CorpusDraws], steps: int) -> list[dict[str, Any]]:
    """The corpora that several datasets have, and the data epochs that they draw of it together."""
    layouts = run.layouts(steps)
    return [
        {
            "datasets": list(corpus.datasets),
            "prefixes": list(corpus.prefixes),
            "data_epochs": corpus.data_epochs,
            "same_order": len({layouts[number].epoch_groups for number in corpus.datasets if run.shares[number]}) == 1,
        }
        for corpus in corpora
        if len(corpus.datasets) > 1
    ]


def advice(run: Run, max_steps: int) -> list[dict[str, Any]]:
    """The nearest ``max_steps`` without a cliff, each checked against the host's rule.

    ``whole_epoch``: the most steps within a whole number of data epochs. ``threshold``: the fewest that reach the
    threshold in the last epoch of the present plan. ``one_epoch``: the most within one data epoch.
    """
    layout = run.layout(0, max_steps)
    last, batch = layout.num_epochs, run.global_batch

    def most_samples(epochs: int) -> int:
        return max(epochs * layout.tokens_per_epoch - 1, 0) // layout.seq_length

    once = tr("stays within one data epoch: no data is repeated")
    candidates = [("one_epoch", 1, most_samples(1) // batch, once)]
    for epoch in (last - 1, last):
        why = tr("ends with data epoch {epoch}", epoch=epoch)
        candidates.append(("whole_epoch", epoch, most_samples(epoch) // batch, why))
    if last > 1:
        at_threshold = layout.joined_from(run.threshold)
        why = tr("reaches {share:.0%} of data epoch {epoch}", share=run.threshold, epoch=last)
        candidates.append(("threshold", last, -(-at_threshold // batch), why))
    advised: dict[int, dict[str, Any]] = {}
    for kind, epochs, steps, why in candidates:
        if steps < 1 or steps == max_steps:
            continue
        built = run.layout(0, steps)
        if built.num_epochs == epochs and not built.separated:
            advised.setdefault(steps, {"max_steps": steps, "kind": kind, "num_epochs": epochs, "why": why})
    return [advised[steps] for steps in sorted(advised)]


def advice_of_blend(run: Run, max_steps: int) -> list[dict[str, Any]]:
    """The nearest ``max_steps``, below and above, for which no dataset of a blend has a cliff.

    ``one_epoch``: the most steps for which every dataset stays within one data epoch. ``no_boundary``: no dataset
    reaches an epoch that is shuffled separately.
    """

    def has_cliff(steps: int) -> bool:
        return any(_may_reach(run, number, layout, steps) for number, layout in enumerate(run.layouts(steps)))

    drawn = [number for number, share in enumerate(run.shares) if share]

    def repeats(steps: int) -> bool:
        is_listed_twice = any(sum(number in drawn for number in group) > 1 for group in run.corpora.groups)
        epochs = (run.layout(number, steps).epoch_groups[0] for number in drawn)
        return is_listed_twice or has_cliff(steps) or any(count > 1 for count in epochs)

    samples = ((number, max(run.datasets[number].tokens - 1, 0) // run.seq_length) for number in drawn)
    most = int(min(count / run.shares[number] for number, count in samples)) // run.global_batch
    once = next((steps for steps in range(most, max(most - 3, 0), -1) if not repeats(steps)), None)
    candidates = [(once, "one_epoch", tr("every dataset stays within one data epoch: no data is repeated"))]
    if has_cliff(max_steps):
        why = tr("no dataset reaches a data epoch that is shuffled separately")
        for tries in (_steps_below(run, max_steps), _steps_above(run, max_steps)):
            candidates.append((next((steps for steps in tries if not has_cliff(steps)), None), "no_boundary", why))
    advised: dict[int, dict[str, Any]] = {}
    for steps, kind, why in candidates:
        if steps is not None and steps != max_steps:
            advised.setdefault(steps, {"max_steps": steps, "kind": kind, "why": why})
    return [advised[steps] for steps in sorted(advised)]


def _may_reach(run: Run, number: int, layout: IndexLayout, steps: int) -> bool:
    """Whether a dataset of a blend may reach its epoch that is shuffled separately."""
    return layout.boundary_position is not None and layout.boundary_position < run.drawn(number, steps)


def _steps_below(run: Run, steps: int) -> Iterator[int]:
    """Descending numbers of steps, down to the boundaries of the present plan; skips those that must have a cliff."""
    for _ in range(_MOST_TRIED):
        least = steps
        for number, layout in enumerate(run.layouts(steps)):
            if _may_reach(run, number, layout, steps):
                least = min(least, int((layout.boundary_position or 0) / run.shares[number]) // run.global_batch)
        steps = min(least, steps - 1)
        if steps < 1:
            return
        yield steps


def _steps_above(run: Run, steps: int) -> Iterator[int]:
    """Ascending numbers of steps, up to the threshold of each dataset; skips those that must have a cliff."""
    for _ in range(_MOST_TRIED):
        most = steps
        for number, layout in enumerate(run.layouts(steps)):
            if _may_reach(run, number, layout, steps):
                needed = (layout.boundary_position or 0) + int(run.threshold * layout.samples_per_epoch)
                most = max(most, int((needed - _SPARE - 1) / (run.shares[number] * _MARGIN)) // run.global_batch)
        steps = max(most, steps + 1)
        if steps * run.global_batch * run.seq_length > _MOST_TOKENS:
            return
        yield steps
