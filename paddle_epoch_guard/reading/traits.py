"""What must not change about a sampler while a run goes on."""

from paddle_epoch_guard.index import EpochSampling


def traits_of(sampling: EpochSampling | None) -> dict[str, str]:
    """What an audit compares, by the code of the finding, the kind first: another kind has other traits.

    Args:
        sampling: as a sidecar records it; None with the pretraining sampler.
    """
    if sampling is None:
        return {"sampler_kind": "pretraining"}
    return {
        "sampler_kind": sampling.kind,
        "sampler_samples": str(sampling.samples),
        "sampler_length": str(sampling.length),
        "sampler_shuffle": str(sampling.shuffled),
        "sampler_seed": str(sampling.seed),
    }
