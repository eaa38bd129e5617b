"""Whether the evaluation set may confirm a verdict: it must not overlap the training data. Extra evaluations."""

import hashlib
import time
from collections.abc import Callable

from paddle_epoch_guard import host
from paddle_epoch_guard.index.corpus import count_tokens
from paddle_epoch_guard.index.equal_corpora import texts_of
from paddle_epoch_guard.index.fingerprint import digest_array
from paddle_epoch_guard.index.overlap import Comparison, compare_documents
from paddle_epoch_guard.language import tr
from paddle_epoch_guard.record.events import EvaluationSet, Message
from paddle_epoch_guard.session.run_plan import RunPlan

SECONDS = 5.0
"""For how long the evaluation set is compared with the training data, at most, before the first step."""


def evaluation_is_apart(
    training: object, evaluation: object, clock: Callable[[], float] = time.monotonic
) -> tuple[bool | None, Message | None]:
    """Compares the evaluation set with the training data.

    Args:
        training: the live training dataset.
        evaluation: the live evaluation dataset.
        clock: in seconds.

    Returns:
        True if it is apart, False if it overlaps, None if that is unknown; and what to say, unless it is apart.
        An error makes it unknown.
    """
    try:
        if evaluation is not None and evaluation is training:
            return False, _overlaps(Comparison("overlaps", "same_documents"))
        one, other = host.documents_of(evaluation), host.documents_of(training)
        if one is None or other is None:
            return None, _unknown("no_documents")
        due = clock() + SECONDS
        compared = compare_documents(one, other, lambda: clock() > due)
    except Exception as cause:
        return unknown_by_fault(cause)
    if compared.result == "overlaps":
        return False, _overlaps(compared)
    return (True, None) if compared.result == "apart" else (None, _unknown(compared.ground))


def unknown_by_fault(cause: Exception) -> tuple[None, Message]:
    """As :func:`evaluation_is_apart`, after an error."""
    return None, _unknown("fault", f"{type(cause).__name__}: {cause}")


def described_evaluation(
    args: host.TrainingArguments, evaluation: object, apart: bool | None, step: int
) -> EvaluationSet | None:
    """What the trainer evaluates on, so that its losses can be compared with those of other runs.

    Args:
        args: the trainer's arguments.
        evaluation: the live evaluation dataset.
        apart: whether it shares no document with the training data.
        step: the last step done.

    Returns:
        None if there is no evaluation set. An error leaves the digest empty.
    """
    if evaluation is None:
        return None
    samples, batches = host.size_of_evaluation(args, evaluation)
    read = None
    if samples is not None and batches is not None:
        read = min(samples, batches * int(getattr(args, "per_device_eval_batch_size", 1)) * args.dataset_world_size)
    digest = ""
    with host.told_if_it_fails(tr("compare will not know whether another run is evaluated on the same data")):
        data = host.evaluated_data(evaluation)
        if data is not None and read is not None:
            digest = _digest_of(data, read)
    return EvaluationSet(step, digest, apart, samples, batches)


def _digest_of(data: tuple[host.EvaluatedData, ...], read: int) -> str:
    """A digest of documents and sequence lengths; and of the order, if an evaluation does not read all of them."""
    digest = hashlib.blake2b(digest_size=16)
    texts = texts_of([each.prefix for each in data])
    for each, text in zip(data, texts, strict=True):
        sizes = digest_array(each.sizes)
        digest.update(f"{sizes} {each.start} {each.stop} {text} {each.seq_length}\n".encode())
    tokens = sum(count_tokens(each.sizes, each.start, each.stop) for each in data)
    if len(data) > 1 or read * data[0].seq_length < tokens - data[0].seq_length:
        digest.update(f"{read}\n".encode())
        for each in data:
            digest.update(" ".join(digest_array(array) for array in each.order).encode())
    return digest.hexdigest()


def _overlaps(compared: Comparison) -> Message:
    counts = {"looked_up": compared.looked_up, "matching": compared.matching}
    return Message("evaluation_overlaps", {"ground": compared.ground, **counts})


def _unknown(ground: str, fault: str = "") -> Message:
    return Message("evaluation_unknown", {"ground": ground, "fault": fault})


def evaluates_anyway(plan: RunPlan, args: host.TrainingArguments, step: int) -> bool:
    """Whether the trainer evaluates after a step by its own arguments."""
    in_epoch = plan.loader.steps_per_epoch
    ends = step == plan.identity.max_steps or (in_epoch > 0 and step % in_epoch == 0)
    return host.evaluates_after(args, step, ends)


def planned_evaluations(
    plan: RunPlan, args: host.TrainingArguments, training: host.Training | None, evaluation: object
) -> Message:
    """The extra evaluations that are asked for and what they cost, or why there are none."""
    why = host.cannot_evaluate(args, training)
    if not why and plan.steps is None:
        why = "no_positions"
    if not why and not plan.evaluating:
        why = "no_changes"
    steps = sorted(step for step in plan.evaluating if not evaluates_anyway(plan, args, step))
    if not why and not steps:
        why = "evaluated_anyway"
    if why:
        return Message("evaluates_nothing", {"why": why})
    samples, batches = host.size_of_evaluation(args, evaluation)
    return Message("extra_evaluations", {"steps": steps, "samples": samples, "batches": batches})
