"""What findings of an audit say, in English: a second language is one more table like this."""

_ANOTHER_ORDER = "samples would be drawn in another order: some twice, and others not at all"
_ANOTHER_CORPUS = "the corpus is another one"
_OTHER_DATASETS = "positions would draw from other datasets than planned"

FINDINGS: dict[str, tuple[str, str]] = {
    "datasets": (
        "datasets",
        "positions would mean other samples: what was drawn would be drawn again, and other data lost",
    ),
    "listing": (
        "order in which the datasets are listed",
        "the same datasets: positions draw from them in the order of the interrupted run",
    ),
    "renamed": ("file names of the corpora", "the same documents: charts and tables keep the names of then"),
    "dataset_name": ("dataset name", "another split of the corpus would be read"),
    "sequence_length": ("sequence length", "samples would be cut otherwise, across those drawn"),
    "split": ("split", "other documents would be read, some of them held out until now"),
    "seed": ("seed", "everything would be shuffled again: samples drawn twice"),
    "corpus_tokens": ("tokens of the corpus", _ANOTHER_CORPUS),
    "split_tokens": ("tokens of the corpus", "another split has other documents"),
    "document_sizes": ("document sizes", _ANOTHER_CORPUS),
    "index_order": (
        "order of the index",
        "the index files are not those that were drawn from: samples would be drawn twice",
    ),
    "index_samples": ("samples asked for", "the host built another index; the run stays with its own"),
    "blend": ("blend", _OTHER_DATASETS),
    "blend_weights": ("weights of the blend", _OTHER_DATASETS),
    "blend_order": ("order of the blend", _OTHER_DATASETS),
    "blend_positions": (
        "positions of the blend",
        "the host has built another blend; the run stays with its own, and continues by its weights",
    ),
    "indices": (
        "indices drawn from",
        "the loader would run dry: whole data epochs follow, instead of the same samples in the same order",
    ),
    "sampler_kind": ("kind of sampler", _ANOTHER_ORDER),
    "sampler_samples": ("samples of the index", _ANOTHER_ORDER),
    "sampler_length": ("samples that all ranks draw in a trainer epoch", _ANOTHER_ORDER),
    "sampler_shuffle": ("shuffle of the sampler", _ANOTHER_ORDER),
    "sampler_seed": ("seed of the sampler", _ANOTHER_ORDER),
    "sampler_start": ("start of the sampler", "the sampler is set to position {position}, where the run stopped"),
    "sampler_start_unset": (
        "start of the sampler",
        "the trainer passes over other samples than the run has drawn, and its sampler cannot be set",
    ),
    "sampler_start_epoch": (
        "start of the sampler",
        "in a later trainer epoch the trainer counts on from the first one: the loader would run dry",
    ),
    "micro_batch": ("batch size per device", "the same order, divided into other steps"),
    "accumulation": ("gradient accumulation steps", "the same order, divided into other steps"),
    "world_size": ("data-parallel world size", "the same order, divided into other steps"),
    "max_steps_longer": ("max_steps", "extended: the plan ends at position {current} instead of {recorded}"),
    "max_steps_shorter": (
        "max_steps",
        "the same order, cut short: the plan ends at position {current} instead of {recorded}",
    ),
    "max_steps_same": ("max_steps", "the plan ends at the same position, {current}"),
    "boundaries_added": (
        "boundaries ahead",
        "extending adds those at step {added}, which a new run of this length would not have: the training loss may "
        "jump there because of the data. Resume with --epoch_guard unified instead: it joins the rest of the plan and "
        "what is appended in one order",
    ),
    "skipped_steps": (
        "skipped steps so far",
        "what was skipped then stays skipped; the present flag counts from here on",
    ),
    "starts_anew": ("start of the data", "as --ignore_data_skip asks, data is drawn again from the beginning"),
    "unified": (
        "unified",
        "the order of the run stays in force: leaving it would draw samples twice and lose others",
    ),
    "written_other": (
        "order of the index",
        "'rebuild' wrote it in another order; the order of the run stays in force",
    ),
    "written_late": (
        "order of the index",
        "the run has drawn {position} samples in the host's own order: some would be drawn again, others lost. "
        "Rebuild from position {position}; or take the host's own index, and --epoch_guard unified",
    ),
    "written": ("order of the index", "as 'rebuild' wrote it; nothing drawn so far moves"),
    "cannot_start": (
        "world size at this position",
        "the host's sampler starts only at multiples of the world size; position {position} fits {sizes}",
    ),
}
"""By code: what differs, and what is done or what the difference would do; each may name parameters."""
