"""What must not change about a sampler while a run goes on."""

from paddle_epoch_guard.index import EpochSampling

KIND = "kind of sampler"


def traits_of(sampling: EpochSampling | None) -> dict[str, str]:
    """What an audit compares, by the code of the finding, the kind first: another kind has other traits.

    Args:
        sampling: as a sidecar records it; None with the pretraining sampler.
    """
    if sampling is None:
        return {KIND: "pretraining"}
    return {
        KIND: sampling.kind,
        "samples of the sampler": str(sampling.samples),
        "length of a sampler epoch": str(sampling.length),
        "shuffle of the sampler": str(sampling.shuffled),
        "seed of the sampler": str(sampling.seed),
    }
