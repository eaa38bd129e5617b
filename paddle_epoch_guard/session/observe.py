"""What is there before anything is decided: the request, the dataloader, the live index, its fingerprints."""

from dataclasses import dataclass, replace
from pathlib import Path

from paddle_epoch_guard import host
from paddle_epoch_guard.arguments import EpochGuardArguments
from paddle_epoch_guard.index import BlendIndex, ConcatenatedIndex, GPTIndex, SampleIndex
from paddle_epoch_guard.language import tr
from paddle_epoch_guard.order import Reorder
from paddle_epoch_guard.order.materialise import written_in
from paddle_epoch_guard.reading import EpochReading, NoDataReading, NoIndexReading, UnknownReading
from paddle_epoch_guard.resume import DatasetRecord, Sidecar, UnifyOptions
from paddle_epoch_guard.resume.listing import listing_of


@dataclass(frozen=True)
class Request:
    """What the user asks for, and where the trainer stands."""

    unify: UnifyOptions
    is_strict: bool
    """Whether a run that is not the interrupted one is refused (``--epoch_guard_on_mismatch error``)."""
    stated_position: int | None
    """Samples drawn so far, as the user states them."""
    step: int
    """The last step done; 0 at a fresh start."""
    max_steps: int
    ignores_data_skip: bool
    skipped: tuple[tuple[int, int], ...] = ()
    """Ranges of steps that the present arguments skip."""
    seed: int = 0
    """The trainer's."""
    evaluates: bool = False
    """Whether to ask for evaluations around change points: it is asked for, and the trainer can evaluate."""

    @classmethod
    def of(cls, flags: EpochGuardArguments, args: host.TrainingArguments, state: host.TrainerState) -> "Request":
        """The request of a run, from the guard's flags and the trainer's arguments and state."""
        return cls(
            UnifyOptions(
                unified=flags.epoch_guard == "unified",
                mix=flags.epoch_guard_mix,
                pool=flags.epoch_guard_pool,
                seed=args.seed if flags.epoch_guard_seed is None else flags.epoch_guard_seed,
            ),
            flags.epoch_guard_on_mismatch == "error",
            flags.epoch_guard_position,
            state.global_step,
            state.max_steps,
            bool(args.ignore_data_skip),
            host.skipped_steps(args),
            args.seed,
            flags.epoch_guard_evaluate and not host.cannot_evaluate(args, host.current_training()),
        )


@dataclass(frozen=True)
class Observed:
    """The data as the host has set it up."""

    loader: host.Loader
    index: SampleIndex | None
    """Of the live dataset; None if it has none, or this process reads no data."""
    live: tuple[DatasetRecord, ...] = ()
    """Fingerprints of the live indices."""
    written: tuple[Reorder, ...] = ()
    """In which 'rebuild' wrote the live index; none if it is the host's own."""
    run_folder: Path = Path()
    """Where indices are built if the host's folder is not writable."""
    listing: tuple[int, ...] = ()
    """Where each dataset of the index is in the live blend, if that lists them in another order; else empty."""

    @property
    def live_datasets(self) -> list[object]:
        """The live datasets, in the order of the index."""
        datasets = host.constituents(self.loader.dataset)
        return [datasets[number] for number in self.listing] if self.listing else datasets

    def listed_as(self, recorded: Sidecar | None) -> "Observed":
        """The same data, its datasets in the order in which a checkpoint lists them.

        The live order of the blend has no meaning then: it is left empty, to be built by the recorded weights.
        """
        index = self.index
        if recorded is None or recorded.blend is None or not isinstance(index, BlendIndex) or self.written:
            return self
        listing = listing_of(recorded, self.live, index.weights, index.names)
        if not listing:
            return self
        datasets = tuple(index.datasets[number] for number in listing)
        nothing = index.dataset_index[:0], index.dataset_sample_index[:0]
        listed = BlendIndex(datasets, *nothing, recorded.blend.weights)
        live = tuple(self.live[number] for number in listing)
        return replace(self, index=listed, live=live, listing=listing)


def observe(args: host.TrainingArguments, state: host.TrainerState, dataloader: host.Dataloader) -> Observed:
    """Reads and verifies the live index, and how the dataloader reads it.

    Raises:
        EpochGuardError: description, arrays and corpus do not belong together.
    """
    loader = host.describe_loader(args, dataloader, state)
    reading = loader.reading
    if isinstance(reading, NoDataReading):
        return Observed(loader, None)
    index = host.read_dataset(loader.dataset)
    if index is None:
        return Observed(replace(loader, reading=NoIndexReading(reading.global_batch)), None)
    written = written_orders(index)
    if written and isinstance(reading, EpochReading):
        why = tr("'paddle-epoch-guard rebuild' has written the sample index, for the pretraining sampler")
        loader = replace(loader, reading=UnknownReading(reading.global_batch, why))
    live = tuple(DatasetRecord.of(dataset) for dataset in datasets_of(index))
    return Observed(loader, index, live, written, Path(args.output_dir) / "index-cache")


def datasets_of(index: SampleIndex | None) -> tuple[GPTIndex | ConcatenatedIndex, ...]:
    """The datasets of an index: those of a blend, or itself."""
    if isinstance(index, BlendIndex):
        return index.datasets
    return (index,) if isinstance(index, (GPTIndex, ConcatenatedIndex)) else ()


def written_orders(index: SampleIndex) -> tuple[Reorder, ...]:
    """The reorders in which 'rebuild' wrote an index; none if it is the host's own."""
    if isinstance(index, BlendIndex):
        return written_in(index.dataset_index)
    return written_in(index.shuffle_idx) if isinstance(index, GPTIndex) else ()
