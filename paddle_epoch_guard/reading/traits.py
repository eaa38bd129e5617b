"""The properties of a sampler that must not change during a run."""

from paddle_epoch_guard.index import EpochSampling


def traits_of(sampling: EpochSampling | None) -> dict[str, str]:
    """The properties that an audit compares, by finding code. The kind comes first: each kind has other properties.

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
