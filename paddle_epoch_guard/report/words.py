"""The names and sentences of the log: one place, so that a word means one thing."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from paddle_epoch_guard.index import EpochSampledIndex, SampleIndex
from paddle_epoch_guard.ledger import BoundaryStep, EpochKey, EpochLedger
from paddle_epoch_guard.ledger.change_points import SIDE
from paddle_epoch_guard.ledger.exposure import Estimate
from paddle_epoch_guard.ledger.tracing import Trace
from paddle_epoch_guard.order import Reorder, Schedule
from paddle_epoch_guard.report.discontinuity import Jump
from paddle_epoch_guard.report.verdicts import ChangeReport
from paddle_epoch_guard.resume import VerdictRecord

NOTES_TAG = "epoch_guard/notes"
"""Sentences on the run as a whole."""
EXPOSURE_TAG = "epoch_guard/exposure"
"""Mean exposure of the tokens drawn."""
FRESH_TAG = "epoch_guard/loss_fresh"
"""Loss of samples that were never drawn before."""
REPEAT_TAG = "epoch_guard/loss_repeat"
"""Loss of samples that were."""

_USE = "Use the pretraining sampler, utils.batch_sampler.DistributedBatchSampler of the library that trains"
_BUILD_MORE = "Build the dataset for at least max_steps x global batch samples"


@dataclass(frozen=True)
class Words:
    """Names for the epochs that are followed.

    Args:
        datasets: a name for each dataset of a blend; one or none where there is one dataset.
        trainer: True where only the trainer's own epochs are known, and they are not the data's.
    """

    datasets: tuple[str, ...] = ()
    trainer: bool = False

    @property
    def kind(self) -> str:
        """What an epoch is called in a sentence."""
        return "trainer epoch" if self.trainer else "data epoch"

    @property
    def epoch_tag(self) -> str:
        """Tag of the mean epoch of the samples of a log window."""
        return f"epoch_guard/{self.kind.replace(' ', '_')}"

    @property
    def loss_by_epoch_tag(self) -> str:
        """Tag under which every epoch's loss curve is drawn."""
        return f"epoch_guard/loss_by_{self._prefix}epoch"

    @property
    def epoch_loss_tag(self) -> str:
        """Tag of one point per epoch, its mean loss."""
        return f"epoch_guard/{self._prefix}epoch_loss"

    def dataset_directory(self, dataset: int) -> str:
        """The directory of what belongs to a dataset as a whole."""
        if len(self.datasets) < 2:
            return "."
        folders = [_safe(name) for name in self.datasets]
        folder = folders[dataset]
        return folder if folders.count(folder) == 1 else f"{folder}-{dataset}"

    def epoch_directory(self, key: EpochKey) -> str:
        """The directory of one epoch's loss curve."""
        return self._within(key.dataset, f"{self._prefix}epoch_{key.epoch}")

    def boundary_name(self, crossing: BoundaryStep) -> str:
        """``boundary_<e>_to_<e+1>``."""
        return f"{self._prefix}boundary_{crossing.from_epoch}_to_{crossing.to_epoch}"

    def boundary_directory(self, crossing: BoundaryStep) -> str:
        """The directory of one boundary's marker."""
        return self._within(crossing.dataset, self.boundary_name(crossing))

    def boundary_sentence(self, crossing: BoundaryStep) -> str:
        """What happens at a boundary, when it is reached."""
        of_dataset = self._of_dataset(crossing)
        if self.trainer or crossing.position is None:
            return f"Step {crossing.step} begins {self.kind} {crossing.to_epoch}{of_dataset}."
        before = "data epoch 1" if crossing.from_epoch == 1 else f"data epochs 1 to {crossing.from_epoch}"
        return (
            f"Step {crossing.step} draws the first samples, from position {crossing.position} on, of data epoch "
            f"{crossing.to_epoch}{of_dataset}, which is drawn apart from {before}. From here on the model meets "
            "again, all at once, what it has seen: a fall of the training loss here is no progress by itself."
        )

    def reorder_name(self, step: int) -> str:
        """The folder and tag of the place where a unified order begins."""
        return f"unified_from_step_{step}"

    def reorder_sentence(self, reorder: Reorder, step: int) -> str:
        """What begins where a unified order begins."""
        how = {
            "uniform": "mixed evenly",
            "ramp": "the share of the last data epoch rising from zero",
        }[reorder.mix]
        return (
            f"Unified from step {step} (position {reorder.start}) on: the samples up to position {reorder.stop} "
            f"are drawn in one order, {how} (seed {reorder.key[0]}), so that the last data epoch does not start all "
            "at once."
        )

    def verdict_sentence(self, found: ChangeReport, crossing: BoundaryStep | None) -> str:
        """What the loss did at a cut, and what that means."""
        where = f"step {found.step}"
        if crossing is not None:
            where = f"the start of {self.kind} {crossing.to_epoch}{self._of_dataset(crossing)} ({where})"
        parts = []
        if found.training is not None:
            parts.append(f"training loss {_said(found.training)}")
        if found.mean_before is not None and found.mean_after is not None:
            parts.append(
                f"means over up to {SIDE} steps: {found.mean_before:.4f} before, {found.mean_after:.4f} after, "
                "ordinary learning included"
            )
        if found.exposure_before is not None and found.exposure_after is not None:
            before, after = _about(found.exposure_before), _about(found.exposure_after)
            parts.append(f"exposure {before} before and {after} after")
        if found.evaluation is not None:
            parts.append(f"evaluation loss {_said(found.evaluation)}")
        known = "; ".join(parts) or "nothing is known"
        return f"Verdict at {where}: {found.verdict} ({found.clause}). {known[0].upper()}{known[1:]}."

    def summary(self, ledger: EpochLedger, verdicts: Iterable[VerdictRecord]) -> str:
        """A line for each epoch: what was drawn, when, at which loss; then what happened at each cut."""
        lines = []
        for key, total in sorted(ledger.totals.items()):
            name = f"{self.datasets[key.dataset]}, " if len(self.datasets) > 1 else ""
            lines.append(
                f"  {name}{self.kind} {key.epoch}: {total.samples:,} samples, "
                f"steps {total.first_step} to {total.last_step}, mean loss {total.mean_loss:.4f}"
            )
        kinds = (("fresh", "never drawn before", ledger.fresh), ("repeat", "drawn before", ledger.repeat))
        for name, what, loss in kinds:
            if loss.weight > 0:
                lines.append(f"  {name} ({what}): mean loss {loss.mean:.4f}")
        lines += [f"  {one.sentence}" for one in sorted(verdicts, key=lambda one: one.step)]
        return "\n".join(lines)

    def _of_dataset(self, crossing: BoundaryStep) -> str:
        return "" if len(self.datasets) < 2 else f" of {self.datasets[crossing.dataset]}"

    @property
    def _prefix(self) -> str:
        return "trainer_" if self.trainer else ""

    def _within(self, dataset: int, directory: str) -> str:
        return directory if len(self.datasets) < 2 else f"{self.dataset_directory(dataset)}/{directory}"


def _said(jump: Jump) -> str:
    bound = f"{jump.value:+.4f}, standard error {jump.error:.4f}"
    return f"jumps by {bound}" if jump.significant else f"does not jump ({bound})"


def _about(exposure: Estimate) -> str:
    """A mean exposure, with its standard error where that shows."""
    error = f" \u00b1 {exposure.error:.2f}" if exposure.error >= 0.005 else ""
    return f"{exposure.mean:.2f}{error}"


def traced(trace: Trace) -> str:
    """What the exposure of a run is known from."""
    if trace.complete:
        return f"exposure: all {sum(trace.tokens):,} tokens of the data are traced"
    return (
        f"exposure: {sum(trace.traced):,} of {sum(trace.tokens):,} tokens are traced, picked at random; a mean over "
        "steps is off by less than 0.04 as a rule"
    )


def outlook(index: SampleIndex | None, schedule: Schedule | None, crossings: Sequence[BoundaryStep]) -> str:
    """What lies ahead of a run, in one line."""
    if index is None:
        return "the dataset has no sample index; its data epochs are the trainer's epochs"
    if schedule is None:
        return "following the trainer's epochs"
    epochs = ", ".join(
        f"{name} {count} data epoch{'s' if count > 1 else ''}"
        for name, count in zip(index.names, index.epochs, strict=True)
    )
    ahead = ", ".join(f"{one.from_epoch} to {one.to_epoch} at step {one.step}" for one in crossings)
    return f"following {epochs}; boundaries ahead: {ahead or 'none'}"


def warnings(
    index: SampleIndex | None, schedule: Schedule | None, sampler: str, unknown: str, max_steps: int
) -> list[str]:
    """What a user should know before the first step.

    Args:
        index: the data; None where the dataset has no sample index.
        schedule: what each step draws; None where positions are not known.
        sampler: the sampler's type.
        unknown: why the positions are not known, where there is a reason to tell.
        max_steps: the last step of the run.
    """
    found = []
    if isinstance(index, EpochSampledIndex) and index.rule.shuffled:
        found.append(
            f"the sampler {sampler} shuffles the positions of the sample index, which is shuffled already, once more: "
            "its own order is undone, so that no data epoch is drawn apart, and samples beyond those asked for are "
            f"drawn as well. It is followed as it is. {_USE}"
        )
    if index is not None and schedule is None:
        why = f" ({unknown})" if unknown else ""
        found.append(
            f"the sampler {sampler} is not one whose positions are followed{why}: data epochs are not known in this "
            f"run, and the trainer's own epochs are logged instead. {_USE}"
        )
    if schedule is not None:
        segment = schedule.segments[-1]
        last = segment.first_step + segment.steps - 1
        if last < max_steps:
            found.append(
                f"the loader will run dry after step {last} of {max_steps}: it reads positions {segment.start} to "
                f"{segment.stop}, {segment.global_batch} a step. {_BUILD_MORE}"
            )
    return found


def rewound(position: int, epoch: int) -> str:
    """The trainer would have begun an epoch in the middle of the data."""
    return (
        f"trainer epoch {epoch} is read from its beginning. By itself the trainer would begin it, and each later one, "
        f"at position {position}, to which it set the sampler when the run was resumed: only the tail of the data "
        "would be drawn, again and again"
    )


def read_again(stop: int, step: int, max_steps: int) -> str:
    """The loader ran dry, and the trainer starts it once more."""
    return (
        f"the loader ran dry after step {step}, at position {stop} of the sample index, before max_steps "
        f"{max_steps}. The trainer reads it again from position 0: samples are drawn a second time. {_BUILD_MORE}"
    )


def ran_dry(schedule: Schedule | None, step: int, max_steps: int) -> str:
    """The loader ran dry, and training ended with it."""
    end = "the data" if schedule is None else f"the sample index, position {schedule.segments[-1].stop}"
    return (
        f"training stopped at step {step} of {max_steps} because the loader ran dry at the end of {end}. The run is "
        f"shorter than planned: learning rate schedule and data mix were laid out for max_steps. {_BUILD_MORE}"
    )


def _safe(name: str) -> str:
    """A corpus's name as one folder's name: it comes from the user's files, and must not lead elsewhere."""
    return re.sub(r"[^\w.\-]", "_", name).lstrip(".") or "dataset"
