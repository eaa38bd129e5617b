"""The description of a GPT sample index: the text whose md5 names the index's files."""

import hashlib
import re
from dataclasses import dataclass

from paddle_epoch_guard.errors import CorpusError, IndexFileError
from paddle_epoch_guard.language import tr

# Written by `_build_index_mappings` in paddlenlp/data/causal_dataset.py (3.0.0b4).
_FORM = re.compile(
    r"GPT Dataset\n\n"
    r"Data prefix (?P<prefix>.+)\n"
    r"Dataset name (?P<name>.+)\n"
    r"Number of samples (?P<samples>0|[1-9][0-9]{0,17})\n"
    r"Sequence length (?P<seq_length>0|[1-9][0-9]{0,17})\n"
    r"Random seed (?P<seed>0|-?[1-9][0-9]{0,19})\n"
    r"Split (?P<split>.+)\n"
)
SPLITS = ("train", "valid", "test")


@dataclass(frozen=True)
class Description:
    """The six fields from which the host builds an index, given the corpus."""

    prefix: str
    """Path of the corpus, without ``.idx``/``.bin``, as the run gave it."""
    name: str
    """``train``, ``valid`` or ``test``."""
    samples_requested: int
    seq_length: int
    seed: int
    split: str
    """Shares of train, valid and test, such as ``949,50,1``."""

    @classmethod
    def parse(cls, text: str, source: str) -> "Description":
        """Parses a description.

        Args:
            text: the whole text, as in a ``.dsc`` file or ``dataset.desc``.
            source: names the text in errors.

        Raises:
            IndexFileError: the text is not in PaddleNLP's format.
        """
        match = _FORM.fullmatch(text)
        if match is None:
            raise IndexFileError(
                tr(
                    "{source}: not a description of a GPT dataset: found {text!r}; expected 'GPT Dataset', an empty "
                    "line and the six lines 'Data prefix', 'Dataset name', 'Number of samples', 'Sequence length', "
                    "'Random seed' and 'Split'. Only PaddleNLP's format is supported",
                    source=source,
                    text=text[:80],
                )
            )
        return cls(
            prefix=match["prefix"],
            name=match["name"],
            samples_requested=int(match["samples"]),
            seq_length=int(match["seq_length"]),
            seed=int(match["seed"]),
            split=match["split"],
        )

    @property
    def text(self) -> str:
        """The description as the host writes it."""
        return (
            f"GPT Dataset\n\nData prefix {self.prefix}\nDataset name {self.name}\n"
            f"Number of samples {self.samples_requested}\nSequence length {self.seq_length}\n"
            f"Random seed {self.seed}\nSplit {self.split}\n"
        )

    @property
    def digest(self) -> str:
        """The md5 that names the index's files."""
        return hashlib.md5(self.text.encode("utf-8"), usedforsecurity=False).hexdigest()


def shares_of(split: str) -> list[float]:
    """The shares of train, valid and test, not normalised.

    Raises:
        CorpusError: the split is unreadable.
    """
    try:
        shares = [float(share) for share in split.split("," if "," in split else "/")]
    except ValueError:
        shares = []
    shares = [*shares, 0.0, 0.0][:3] if shares else []
    if not shares or not all(0.0 <= share < float("inf") for share in shares) or sum(shares) == 0.0:
        raise CorpusError(tr("split {split!r} is unreadable; expected shares such as '949,50,1'", split=split))
    return shares


def empty_splits(split: str, num_documents: int) -> tuple[str, ...]:
    """The splits that have a share, but no documents.

    Raises:
        CorpusError: the split is unreadable.
    """
    found = []
    for name, share in zip(SPLITS, shares_of(split), strict=True):
        try:
            split_documents(split, name, num_documents)
        except CorpusError:
            found += [name] if share else []
    return tuple(found)


def split_documents(split: str, name: str, num_documents: int) -> tuple[int, int]:
    """The documents ``[start, stop)`` of a split, divided as the host does.

    The rule, rounding included, is ``get_train_valid_test_split_`` of paddlenlp/data/causal_dataset.py
    (3.0.0b4): cumulative rounded shares, all shifted by the overshoot of the last one.

    Args:
        split: shares of train, valid and test, separated by commas or slashes.
        name: ``train``, ``valid`` or ``test``.
        num_documents: documents of the whole corpus.

    Raises:
        CorpusError: the split or its name is unreadable, or the split has no documents.
    """
    if name not in SPLITS:
        values = {"name": name, "names": tr(", ").join(SPLITS)}
        raise CorpusError(tr("dataset name {name!r} is unknown; expected one of {names}", **values))
    shares = shares_of(split)
    total = sum(shares)
    ends = [0]
    for share in shares:
        ends.append(ends[-1] + round(share / total * float(num_documents)))
    overshoot = ends[-1] - num_documents
    ends = [0] + [end - overshoot for end in ends[1:]]
    which = SPLITS.index(name)
    start, stop = ends[which], ends[which + 1]
    return checked_documents((start, stop), name, split, num_documents)


def checked_documents(bounds: tuple[int, int], name: str, split: str, num_documents: int) -> tuple[int, int]:
    """The documents ``[start, stop)`` of a split, by whichever host's rule.

    Raises:
        CorpusError: there are none.
    """
    start, stop = bounds
    if not 0 <= start < stop <= num_documents:
        raise CorpusError(
            tr(
                "the {name} split of {split!r} has no documents: the corpus has {documents}. Use a larger corpus or "
                "give the split a larger share",
                name=name,
                split=split,
                documents=num_documents,
            )
        )
    return start, stop
