"""A trial of a planned run, shorter than the run: what differs in repetition, and the subsample that removes it.

A trial that is k times shorter draws each corpus k times less often. What it shows of a mixture may then not hold for
the target: Zhou et al. (2026), "Repetition Mismatch: Why Data Mixture Experiments Don't Scale and How to Fix Them",
arXiv 2606.07597. Its abstract reports that a subsample which matches the target's repetition controls for this. Here
the subsample is a share of the documents of each corpus that the target repeats: trial draws / target draws.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from paddle_epoch_guard.cli.corpus_draws import CorpusDraws
from paddle_epoch_guard.cli.planned_run import Run
from paddle_epoch_guard.errors import ArgumentsError
from paddle_epoch_guard.language import mark, tr

HEAD = (mark("corpus"), mark("data epochs, target"), mark("trial"), mark("subsample for the trial"))
_FEW_DOCUMENTS = 5  # fewer are hardly a sample of a corpus


def trial_facts(run: Run, max_steps: int, trial_steps: int, trial_batch: int | None = None) -> dict[str, Any]:
    """The JSON object ``trial``.

    Args:
        run: the target.
        max_steps: of the target.
        trial_steps: of the trial.
        trial_batch: samples per step of the trial; None for the target's.

    Raises:
        ArgumentsError: the trial is as long as the target, or longer.
    """
    trial = replace(run, global_batch=trial_batch or run.global_batch)
    samples, target_samples = trial_steps * trial.global_batch, max_steps * run.global_batch
    if samples >= target_samples:
        raise ArgumentsError(
            tr(
                "--trial-steps {steps} is a trial of {samples:,} samples; expected fewer than the {target:,} of "
                "--max-steps {max_steps}. Lower --trial-steps",
                steps=trial_steps,
                samples=samples,
                target=target_samples,
                max_steps=max_steps,
            )
        )
    pairs = zip(run.draws(max_steps), trial.draws(trial_steps), strict=True)
    corpora = [_corpus_facts(target, tried) for target, tried in pairs]
    return {
        "max_steps": trial_steps,
        "global_batch": trial.global_batch,
        "samples": samples,
        "differs": any(corpus["differs"] for corpus in corpora),
        "corpora": corpora,
    }


def _corpus_facts(target: CorpusDraws, tried: CorpusDraws) -> dict[str, Any]:
    differs = _repetition(target.data_epochs) != _repetition(tried.data_epochs)
    share = tried.drawn / target.drawn if differs else 1.0
    subsample = {
        "share": share,
        "documents": max(round(share * target.documents), 1),
        "of_documents": target.documents,
        "tokens": max(round(share * target.tokens), 1),
    }
    return {
        "name": target.name,
        "datasets": list(target.datasets),
        "prefixes": list(target.prefixes),
        "data_epochs": {"target": target.data_epochs, "trial": tried.data_epochs},
        "differs": differs,
        "subsample": subsample,
    }


def _repetition(epochs: float) -> str:
    """Data epochs as they are shown; up to one, nothing is repeated."""
    return f"{max(epochs, 1.0):.2f}"


def trial_rows(trial: dict[str, Any]) -> list[tuple[str, ...]]:
    """The rows of the table under :data:`HEAD`."""
    return [
        (corpus["name"], *(f"{corpus['data_epochs'][side]:.2f}" for side in ("target", "trial")), _to_take(corpus))
        for corpus in trial["corpora"]
    ]


def _to_take(corpus: dict[str, Any]) -> str:
    if not corpus["differs"]:
        return tr("100%: not needed")
    return tr("{share:.1%}: {documents:,} of {of_documents:,} documents, {tokens:,} tokens", **corpus["subsample"])


def trial_sentences(trial: dict[str, Any]) -> Iterator[str]:
    """What a person must know about the trial: a warning, and how to take the subsample. None if nothing differs."""
    differing = [corpus for corpus in trial["corpora"] if corpus["differs"]]
    if not differing:
        return
    yield _mismatch(trial, differing)
    yield tr("To repeat as the target does, take whole documents at random until they hold that many tokens.")
    for corpus in differing:
        taken = corpus["subsample"]
        if taken["documents"] < _FEW_DOCUMENTS:
            name = corpus["name"]
            yield tr("{name}: so few documents cannot stand for the corpus. Lengthen the trial.", name=name)


def _mismatch(trial: dict[str, Any], differing: list[dict[str, Any]]) -> str:
    """How trial and target differ, by the corpus that the target repeats most."""
    worst = max(differing, key=lambda corpus: corpus["data_epochs"]["target"])
    values = {"name": worst["name"], "others": len(differing) - 1, **worst["data_epochs"]}
    once, corpora = _repetition(1), trial["corpora"]
    is_fresh = all(_repetition(one["data_epochs"]["trial"]) == once and len(one["datasets"]) == 1 for one in corpora)
    return tr(_MISMATCHES[is_fresh, len(differing) > 1], **values)


_MISMATCHES = {
    (True, False): mark(
        "the trial repeats no data, the target draws {name} {target:.2f} times: what is tuned on it may not carry "
        "over (for mixtures: arXiv 2606.07597)."
    ),
    (True, True): mark(
        "the trial repeats no data, the target draws {name} {target:.2f} times ({others} more differ): what is "
        "tuned on it may not carry over (for mixtures: arXiv 2606.07597)."
    ),
    (False, False): mark(
        "the trial draws {name} {trial:.2f} times, the target {target:.2f} times: what is tuned on it may not carry "
        "over (for mixtures: arXiv 2606.07597)."
    ),
    (False, True): mark(
        "the trial draws {name} {trial:.2f} times, the target {target:.2f} times ({others} more differ): what is "
        "tuned on it may not carry over (for mixtures: arXiv 2606.07597)."
    ),
}
"""By whether the trial repeats nothing, and whether other corpora differ too."""
