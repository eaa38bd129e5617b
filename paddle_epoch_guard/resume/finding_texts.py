"""What findings of an audit say."""

import re

from paddle_epoch_guard.language import mark, tr

_ANOTHER_ORDER = mark("samples would be drawn in another order: some twice, and others not at all")
_ANOTHER_CORPUS = mark("the corpus is another one")
_OTHER_DATASETS = mark("positions would draw from other datasets than planned")

FINDINGS: dict[str, tuple[str, str]] = {
    "datasets": (
        mark("datasets"),
        mark("positions would mean other samples: what was drawn would be drawn again, and other data lost"),
    ),
    "listing": (
        mark("order in which the datasets are listed"),
        mark("the same datasets: positions draw from them in the order of the interrupted run"),
    ),
    "renamed": (
        mark("file names of the corpora"),
        mark("the same documents: charts and tables keep the names of then"),
    ),
    "dataset_name": (
        mark("dataset name"),
        mark("another split of the corpus would be read"),
    ),
    "sequence_length": (
        mark("sequence length"),
        mark("samples would be cut otherwise, across those drawn"),
    ),
    "split": (
        mark("split"),
        mark("other documents would be read, some of them held out until now"),
    ),
    "seed": (
        mark("seed"),
        mark("everything would be shuffled again: samples drawn twice"),
    ),
    "corpus_tokens": (
        mark("tokens of the corpus"),
        _ANOTHER_CORPUS,
    ),
    "split_tokens": (
        mark("tokens of the split"),
        mark("another split has other documents"),
    ),
    "document_sizes": (
        mark("document sizes"),
        _ANOTHER_CORPUS,
    ),
    "index_order": (
        mark("order of the index"),
        mark("the index files are not those that were drawn from: samples would be drawn twice"),
    ),
    "index_samples": (
        mark("samples asked for"),
        mark("the host built another index; the run stays with its own"),
    ),
    "blend": (
        mark("blend"),
        _OTHER_DATASETS,
    ),
    "blend_weights": (
        mark("weights of the blend"),
        _OTHER_DATASETS,
    ),
    "blend_order": (
        mark("order of the blend"),
        _OTHER_DATASETS,
    ),
    "blend_positions": (
        mark("positions of the blend"),
        mark("the host has built another blend; the run stays with its own, and continues by its weights"),
    ),
    "indices": (
        mark("indices drawn from"),
        mark("the loader would run dry: whole data epochs follow, instead of the same samples in the same order"),
    ),
    "sampler_kind": (
        mark("kind of sampler"),
        _ANOTHER_ORDER,
    ),
    "sampler_samples": (
        mark("samples of the index"),
        _ANOTHER_ORDER,
    ),
    "sampler_length": (
        mark("samples that all ranks draw in a trainer epoch"),
        _ANOTHER_ORDER,
    ),
    "sampler_shuffle": (
        mark("shuffle of the sampler"),
        _ANOTHER_ORDER,
    ),
    "sampler_seed": (
        mark("seed of the sampler"),
        _ANOTHER_ORDER,
    ),
    "sampler_start": (
        mark("start of the sampler"),
        mark("the sampler is set to position {position}, where the run stopped"),
    ),
    "sampler_start_unset": (
        mark("start of the sampler"),
        mark("the trainer passes over other samples than the run has drawn, and its sampler cannot be set"),
    ),
    "sampler_start_epoch": (
        mark("start of the sampler"),
        mark("in a later trainer epoch the trainer counts on from the first one: the loader would run dry"),
    ),
    "micro_batch": (
        mark("batch size per device"),
        mark("the same order, divided into other steps"),
    ),
    "accumulation": (
        mark("gradient accumulation steps"),
        mark("the same order, divided into other steps"),
    ),
    "world_size": (
        mark("data-parallel world size"),
        mark("the same order, divided into other steps"),
    ),
    "max_steps_longer": (
        mark("max_steps"),
        mark("extended: the plan ends at position {current} instead of {recorded}"),
    ),
    "max_steps_shorter": (
        mark("max_steps"),
        mark("the same order, cut short: the plan ends at position {current} instead of {recorded}"),
    ),
    "max_steps_same": (
        mark("max_steps"),
        mark("the plan ends at the same position, {current}"),
    ),
    "boundaries_added": (
        mark("boundaries ahead"),
        mark(
            "extending adds those at step {added}, which a new run of this length would not have: the training loss "
            "may jump there because of the data. Resume with --epoch_guard unified instead: it joins the rest of the "
            "plan and what is appended in one order"
        ),
    ),
    "skipped_steps": (
        mark("skipped steps so far"),
        mark("what was skipped then stays skipped; the present flag counts from here on"),
    ),
    "starts_anew": (
        mark("start of the data"),
        mark("as --ignore_data_skip asks, data is drawn again from the beginning"),
    ),
    "unified": (
        mark("unified"),
        mark("the order of the run stays in force: leaving it would draw samples twice and lose others"),
    ),
    "written_other": (
        mark("order of the index"),
        mark("'rebuild' wrote it in another order; the order of the run stays in force"),
    ),
    "written_late": (
        mark("order of the index"),
        mark(
            "the run has drawn {position} samples in the host's own order: some would be drawn again, others lost. "
            "Rebuild from position {position}; or take the host's own index, and --epoch_guard unified"
        ),
    ),
    "written": (
        mark("order of the index"),
        mark("as 'rebuild' wrote it; nothing drawn so far moves"),
    ),
    "cannot_start": (
        mark("world size at this position"),
        mark("the host's sampler starts only at multiples of the world size; position {position} fits {sizes}"),
    ),
}
"""By code: what differs, and what is done or what the difference would do; each may name parameters."""

ACTIONS = {"repair": mark("repair"), "warn": mark("warn"), "refuse": mark("refuse")}
"""What is done about a finding."""

_VALUES = (
    mark("none"),
    mark("yes"),
    mark("no"),
    mark("on"),
    mark("off"),
    mark("the host's own"),
    mark("unified from position {first}"),
    mark("{first} to {last}"),
)
"""What findings hold then and now, beside numbers and names."""
_NUMBER = re.compile(r"\d+")
_BETWEEN = ", "


def value_text(value: str) -> str:
    """What a finding holds then or now, in the language of the process."""
    return _BETWEEN.join(_piece(piece) for piece in value.split(_BETWEEN))


def _piece(piece: str) -> str:
    numbers = dict(zip(("first", "last"), _NUMBER.findall(piece), strict=False))
    names = iter(f"{{{name}}}" for name in numbers)
    text = _NUMBER.sub(lambda match: next(names, match[0]), piece)
    return tr(text, **numbers) if text in _VALUES else piece
