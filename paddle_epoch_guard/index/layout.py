"""The arithmetic of a GPT sample index: how many epochs and samples, and where the last epoch starts."""

from dataclasses import dataclass

from paddle_epoch_guard.errors import IndexMismatchError

# Hard-coded in the hosts: `_build_index_mappings` in paddlenlp/data/causal_dataset.py (3.0.0b4), and
# megatron/core/datasets/gpt_dataset.py (0.16.1), from which it comes.
SEPARATION_THRESHOLD = 0.80


@dataclass(frozen=True)
class IndexLayout:
    """What follows from tokens per epoch, sequence length and samples requested, before any shuffle.

    Epochs are 1-based; samples, positions and tokens are 0-based.
    """

    tokens_per_epoch: int
    """T: tokens of all documents of the split."""
    seq_length: int
    """L: a sample is L + 1 tokens, of which its neighbour shares one."""
    samples_requested: int
    """N: samples the run asked for."""
    num_epochs: int
    """E: passes over the corpus in the index."""
    samples_built: int
    """S: rows of the index, at least N."""
    samples_per_epoch: int
    """Whole samples in one pass."""
    last_epoch_samples: int
    """Of the N samples, those that lie in the last epoch."""
    separated: bool
    """Whether the last epoch is shuffled apart from the ones before."""

    @classmethod
    def of(
        cls,
        tokens_per_epoch: int,
        seq_length: int,
        samples_requested: int,
        extra: int = 1,
        keeps_partial: bool = False,
    ) -> "IndexLayout":
        """The layout that the host builds for these numbers.

        E is the smallest number of epochs, 1 or more, with ``(E * T - extra) // L >= N``, in closed form; the
        separation rule is the host's, ``last < int(0.80 * samples_per_epoch)`` for E > 1.

        Args:
            tokens_per_epoch: T, at least 1.
            seq_length: L, at least 1.
            samples_requested: N, at least 0.
            extra: tokens beyond L that a sample has, and shares with the next: 1, but with Megatron-core 0 or 1.
            keeps_partial: whether what is left over at the end is a sample, too, as with Megatron-core it may be.

        Raises:
            IndexMismatchError: one of the numbers is out of its range.
        """
        if tokens_per_epoch < 1 or seq_length < 1 or samples_requested < 0:
            raise IndexMismatchError(
                f"no sample index exists for {tokens_per_epoch} tokens per epoch, sequence length {seq_length} "
                f"and {samples_requested} samples; expected at least 1 token, length 1 and 0 samples"
            )
        num_epochs = max(-(-(samples_requested * seq_length + extra) // tokens_per_epoch), 1)
        before_last = ((num_epochs - 1) * tokens_per_epoch - extra) // seq_length if num_epochs > 1 else 0
        per_epoch = (tokens_per_epoch - extra) // seq_length
        left = num_epochs * tokens_per_epoch - extra
        last = samples_requested - before_last
        return cls(
            tokens_per_epoch=tokens_per_epoch,
            seq_length=seq_length,
            samples_requested=samples_requested,
            num_epochs=num_epochs,
            samples_built=-(-left // seq_length) if keeps_partial else left // seq_length,
            samples_per_epoch=per_epoch,
            last_epoch_samples=last,
            separated=num_epochs > 1 and last < int(SEPARATION_THRESHOLD * per_epoch),
        )

    @property
    def boundary_position(self) -> int | None:
        """The first position of the separately shuffled last epoch; None where all is one shuffle."""
        return self.samples_requested - self.last_epoch_samples if self.separated else None

    @property
    def sample_groups(self) -> tuple[tuple[int, int], ...]:
        """The ranges ``[start, stop)`` of samples, and of positions, that are shuffled each by itself."""
        cut = self.boundary_position
        return ((0, self.samples_built),) if cut is None else ((0, cut), (cut, self.samples_built))

    @property
    def epoch_groups(self) -> tuple[int, ...]:
        """How many epochs each group of documents holds that is shuffled by itself; sums to E."""
        return (self.num_epochs - 1, 1) if self.separated else (self.num_epochs,)
