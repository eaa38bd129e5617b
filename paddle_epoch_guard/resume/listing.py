"""The datasets of a blend in the order in which the run listed them when it began. Pure.

``run_pretrain.py`` of PaddleNLP lists a folder of corpora by ``os.listdir``, which sorts nothing: a copied folder may
list them in another order. A position would then draw from another dataset.
"""

from collections.abc import Sequence

from paddle_epoch_guard.resume.fingerprints import DatasetRecord
from paddle_epoch_guard.resume.sidecar import Sidecar


def listing_of(
    recorded: Sidecar, live: Sequence[DatasetRecord], live_weights: str, live_names: Sequence[str]
) -> tuple[int, ...]:
    """Where each recorded dataset is listed now.

    Args:
        recorded: the sidecar of the checkpoint.
        live: fingerprints of the live datasets.
        live_weights: of the live blend, as its description gives them.
        live_names: what the charts call the live datasets. Equal fingerprints are told apart by these, where the run
            began with the same names.

    Returns:
        For each recorded dataset the number of the live one; empty if the order is the same, if the datasets are not
        the same ones, or if there is no blend.
    """
    if recorded.blend is None or len(live) != len(recorded.datasets):
        return ()
    has_same_names = sorted(recorded.names) == sorted(live_names)
    keys_then = _keys(recorded.datasets, recorded.blend.weights, recorded.names if has_same_names else ())
    keys_now = _keys(live, live_weights, live_names if has_same_names else ())
    if has_same_names and sorted(keys_then) != sorted(keys_now):  # files have taken each other's names
        keys_then = _keys(recorded.datasets, recorded.blend.weights, ())
        keys_now = _keys(live, live_weights, ())
    if keys_then == keys_now or sorted(keys_then) != sorted(keys_now):
        return ()
    left = list(range(len(live)))
    listing = []
    for key in keys_then:
        listing.append(next(number for number in left if keys_now[number] == key))
        left.remove(listing[-1])
    return tuple(listing)


def _keys(datasets: Sequence[DatasetRecord], weights: str, names: Sequence[str]) -> list[tuple[str, ...]]:
    """What tells the datasets apart, whatever their order: fingerprint, weight and, where it says something, name."""
    words = weights.strip("[]").split()
    if len(words) != len(datasets):  # above 1,000 datasets numpy leaves some out of the text
        words = [""] * len(datasets)
    return [
        (data.name, str(data.seq_length), data.split, str(data.tokens_per_epoch), data.corpus_digest, weight, name)
        for data, weight, name in zip(datasets, words, names or [""] * len(datasets), strict=True)
    ]
