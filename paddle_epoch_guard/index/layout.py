"""The arithmetic of a GPT sample index: number of epochs and samples, and where the last epoch starts."""

from dataclasses import dataclass

from paddle_epoch_guard.errors import IndexMismatchError
from paddle_epoch_guard.language import tr

# Hard-coded in the hosts: `_build_index_mappings` in paddlenlp/data/causal_dataset.py (3.0.0b4), taken from
# megatron/core/datasets/gpt_dataset.py (0.16.1).
SEPARATION_THRESHOLD = 0.80


@dataclass(frozen=True)
class IndexLayout:
    """The sizes that follow from tokens per epoch, sequence length and samples requested.

    Epochs are 1-based; samples, positions and tokens are 0-based.
    """

    tokens_per_epoch: int
    """T: tokens of all documents of the split."""
    seq_length: int
    """L: a sample has L + 1 tokens, and shares the last one with the next sample."""
    samples_requested: int
    """N: samples that the run requested."""
    num_epochs: int
    """E: passes over the corpus in the index."""
    samples_built: int
    """S: rows of the index, at least N."""
    samples_per_epoch: int
    """Whole samples in one pass."""
    last_epoch_samples: int
    """How many of the N samples lie in the last epoch."""
    separated: bool
    """Whether the last epoch is shuffled separately: by the host's rule, or as the arrays of an index have it."""

    @classmethod
    def of(
        cls,
        tokens_per_epoch: int,
        seq_length: int,
        samples_requested: int,
        extra: int = 1,
        keeps_partial: bool = False,
        threshold: float = SEPARATION_THRESHOLD,
    ) -> "IndexLayout":
        """Computes the layout as the host does.

        E is the smallest number of epochs, at least 1, with ``(E * T - extra) // L >= N``, in closed form. The last
        epoch is shuffled separately if E > 1 and ``last < int(threshold * samples_per_epoch)``, the host's rule.

        Args:
            tokens_per_epoch: T, at least 1.
            seq_length: L, at least 1.
            samples_requested: N, at least 0.
            extra: tokens of a sample beyond L, shared with the next sample: 1; in Megatron-core 0 or 1.
            keeps_partial: whether the leftover tokens at the end make a sample, an option of Megatron-core.
            threshold: the share of an epoch below which the last one is shuffled separately; the hosts' is 0.80.

        Raises:
            IndexMismatchError: a number is out of range.
        """
        if tokens_per_epoch < 1 or seq_length < 1 or samples_requested < 0:
            raise IndexMismatchError(
                tr(
                    "no sample index exists for {tokens} tokens per epoch, sequence length {length} and {samples} "
                    "samples; expected at least 1 token, length 1 and 0 samples",
                    tokens=tokens_per_epoch,
                    length=seq_length,
                    samples=samples_requested,
                )
            )
        num_epochs = max(-(-(samples_requested * seq_length + extra) // tokens_per_epoch), 1)
        before_last = ((num_epochs - 1) * tokens_per_epoch - extra) // seq_length if num_epochs > 1 else 0
        per_epoch = (tokens_per_epoch - extra) // seq_length
        tokens = num_epochs * tokens_per_epoch - extra
        last = samples_requested - before_last
        return cls(
            tokens_per_epoch=tokens_per_epoch,
            seq_length=seq_length,
            samples_requested=samples_requested,
            num_epochs=num_epochs,
            samples_built=-(-tokens // seq_length) if keeps_partial else tokens // seq_length,
            samples_per_epoch=per_epoch,
            last_epoch_samples=last,
            separated=num_epochs > 1 and last < int(threshold * per_epoch),
        )

    @property
    def start_of_last_epoch(self) -> int:
        """The first sample of the last epoch."""
        return self.samples_requested - self.last_epoch_samples

    def joined_from(self, threshold: float = SEPARATION_THRESHOLD) -> int:
        """The fewest samples that are as many epochs, the last of which is shuffled with the others."""
        return self.start_of_last_epoch + int(threshold * self.samples_per_epoch)

    @property
    def follows_rule(self) -> bool:
        """Whether the last epoch is shuffled separately exactly if the hosts' own threshold says so."""
        few = self.last_epoch_samples < int(SEPARATION_THRESHOLD * self.samples_per_epoch)
        return self.separated == (self.num_epochs > 1 and few)

    @property
    def boundary_position(self) -> int | None:
        """The first position of the last epoch; None unless it is shuffled separately."""
        return self.start_of_last_epoch if self.separated else None

    @property
    def sample_groups(self) -> tuple[tuple[int, int], ...]:
        """The ranges ``[start, stop)`` of samples, which are those of positions, that are shuffled separately."""
        start, stop = self.boundary_position, self.samples_built
        return ((0, stop),) if start is None else ((0, start), (start, stop))

    @property
    def epoch_groups(self) -> tuple[int, ...]:
        """The number of epochs in each separately shuffled group of documents; sums to E."""
        return (self.num_epochs - 1, 1) if self.separated else (self.num_epochs,)
