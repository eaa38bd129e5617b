"""``plan``: what a run will draw, from the corpus alone, before anything is built."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from paddle_epoch_guard.cli.facts import facts_of, unified_exposure
from paddle_epoch_guard.cli.output import JsonFlag, number, print_json, print_table
from paddle_epoch_guard.errors import ArgumentsError
from paddle_epoch_guard.index import IndexLayout
from paddle_epoch_guard.index.corpus import count_tokens, read_sizes
from paddle_epoch_guard.index.description import split_documents
from paddle_epoch_guard.index.layout import SEPARATION_THRESHOLD

_MARGIN, _SPARE = 1.005, 20  # `get_datasets_weights_and_num_samples` in paddlenlp/data/causal_dataset.py (3.0.0b4)


@dataclass(frozen=True)
class Part:
    """One dataset of the run."""

    prefix: str
    weight: float
    """Of the blend, normalised; 1 where there is one dataset."""
    tokens: int
    """T, of the train split."""

    def layout(self, seq_length: int, samples: int, blended: bool) -> IndexLayout:
        """The index that the host builds for a run of so many samples."""
        asked = math.ceil(samples * self.weight * _MARGIN) + _SPARE if blended else samples
        return IndexLayout.of(self.tokens, seq_length, asked)


def plan(
    data: Annotated[
        list[str],
        typer.Argument(
            metavar="PREFIX…",
            help="Path of the corpus without .idx or .bin; for a blend: WEIGHT PREFIX WEIGHT PREFIX …",
        ),
    ],
    seq_length: Annotated[int, typer.Option(min=1, help="Tokens of a sample (max_seq_length).")],
    global_batch: Annotated[
        int, typer.Option(min=1, help="Samples per step: batch per device x accumulation x data-parallel ranks.")
    ],
    max_steps: Annotated[int, typer.Option(min=1, help="Optimizer steps of the run.")],
    split: Annotated[str, typer.Option(help="Shares of train, valid and test.")] = "949,50,1",
    seed: Annotated[int, typer.Option(help="Taken for completeness: nothing that is told here depends on it.")] = 42,
    png: Annotated[Path | None, typer.Option(help="Write a picture of the exposure to this file.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Says what a run will draw, before anything is built.

    From the corpus alone: data epochs, whether the last one is shuffled apart and at which step it begins, how often
    the data before and after was seen, what a unified order would give, and which max_steps have no cliff.

    Example: paddle-epoch-guard plan data/text --seq-length 2048 --global-batch 256 --max-steps 20000
    """
    parts = _parts(data, split)
    found = facts_of_run(parts, seq_length, global_batch, max_steps) | {"seed": seed, "split": split}
    if png is not None:
        from paddle_epoch_guard.cli.plan_picture import draw_plan

        draw_plan(png, found)
    if as_json:
        print_json(found)
    else:
        _show(found)


def _parts(data: list[str], split: str) -> list[Part]:
    if len(data) == 1:
        weights, prefixes = [1.0], data
    else:
        try:
            weights, prefixes = [float(word) for word in data[::2]], data[1::2]
        except ValueError:
            weights, prefixes = [], []
        if not prefixes or len(weights) != len(prefixes) or not all(0 <= one < math.inf for one in weights):
            raise ArgumentsError(
                f"{' '.join(data)!r} is neither one prefix nor a blend; expected WEIGHT PREFIX WEIGHT PREFIX …"
            )
    total = sum(weights)
    if total <= 0:
        raise ArgumentsError(f"the weights {weights} sum to {total}; expected a positive one")
    found = []
    for weight, prefix in zip(weights, prefixes, strict=True):
        sizes = read_sizes(prefix)
        tokens = count_tokens(sizes, *split_documents(split, "train", len(sizes)))
        found.append(Part(prefix, weight / total, tokens))
    return found


def facts_of_run(parts: list[Part], seq_length: int, global_batch: int, max_steps: int) -> dict[str, Any]:
    """What is known of a run; for a blend, of each dataset.

    Args:
        parts: its datasets.
        seq_length: L.
        global_batch: B.
        max_steps: of the run.
    """
    samples = max_steps * global_batch
    blended = len(parts) > 1
    run = {"seq_length": seq_length, "global_batch": global_batch, "max_steps": max_steps}
    each = []
    for part in parts:
        layout = part.layout(seq_length, samples, blended)
        facts = facts_of(layout, "paddlenlp", global_batch, part.weight if blended else None)
        inner = layout.boundary_position
        facts["unified_exposure"] = None if inner is None else unified_exposure(layout, inner)
        each.append({"prefix": part.prefix, "weight": part.weight, **facts})
    if not blended:
        return {**each[0], **run, "advice": advice(parts[0], seq_length, global_batch, max_steps)}
    positions = [one["boundary_position"] for one in each if one["boundary_position"] is not None]
    reached = [position for position in positions if position < samples]
    first = min(reached, default=None)
    return {
        "format": "paddlenlp",
        "samples_requested": samples,
        "separated": bool(reached),
        "boundary_position": first,
        "boundary_step": None if first is None else first // global_batch + 1,
        **run,
        "datasets": each,
        "advice": [],
    }


def advice(part: Part, seq_length: int, global_batch: int, max_steps: int) -> list[dict[str, Any]]:
    """The nearest ``max_steps`` of which no data epoch is shuffled apart.

    Each is checked against the host's rule before it is told.
    """
    layout = part.layout(seq_length, max_steps * global_batch, blended=False)

    def samples_of(epochs: int) -> int:
        return max(epochs * part.tokens - 1, 0) // seq_length

    before_last = samples_of(layout.num_epochs - 1)
    at_threshold = before_last + int(SEPARATION_THRESHOLD * layout.samples_per_epoch)
    wanted = [
        (samples_of(1) // global_batch, "stays within one data epoch: no data is repeated"),
        (before_last // global_batch, f"ends with data epoch {layout.num_epochs - 1}"),
        (-(-at_threshold // global_batch), f"reaches {SEPARATION_THRESHOLD:.0%} of data epoch {layout.num_epochs}"),
        (samples_of(layout.num_epochs) // global_batch, f"ends with data epoch {layout.num_epochs}"),
    ]
    found: dict[int, str] = {}
    for steps, why in wanted:
        if steps >= 1 and steps != max_steps and not part.layout(seq_length, steps * global_batch, False).separated:
            found.setdefault(steps, why)
    return [{"max_steps": steps, "why": found[steps]} for steps in sorted(found)]


def _show(found: dict[str, Any]) -> None:
    for one in found.get("datasets", [found]):
        print_table(_rows(one, found), title=f"{one['prefix']}")
    if "datasets" in found:
        step = found["boundary_step"]
        said = "no boundary is reached" if step is None else f"the first boundary is reached at step {step:,}"
        typer.echo(f"blend of {len(found['datasets'])}: {said} of {found['max_steps']:,}")
    elif found["separated"]:
        from paddle_epoch_guard.cli.plan_picture import print_plan

        print_plan(found)
    if found["advice"]:
        typer.echo("without a cliff:")
        for one in found["advice"]:
            typer.echo(f"  --max-steps {one['max_steps']}: {one['why']}")
    if found["separated"]:
        typer.echo("or, with these max_steps: --epoch_guard unified")


def _rows(one: dict[str, Any], run: dict[str, Any]) -> list[tuple[str, str]]:
    per_epoch = max(one["samples_per_epoch"], 1)
    last = f"{one['last_epoch_samples']:,} samples, {one['last_epoch_samples'] / per_epoch:.0%} of an epoch"
    rows = [
        ("tokens per data epoch", number(one["tokens_per_epoch"])),
        ("samples per data epoch", number(one["samples_per_epoch"])),
        ("samples asked for", number(one["samples_requested"])),
        ("data epochs", number(one["num_epochs"])),
        ("of the last one", last if one["num_epochs"] > 1 else "all"),
    ]
    if one["separated"]:
        step = one["boundary_step"]
        rows += [
            ("shuffled apart", f"yes: less than {SEPARATION_THRESHOLD:.0%}. The training loss falls off a cliff"),
            ("boundary", f"step {step:,} of {run['max_steps']:,}, position {one['boundary_position']:,}"),
            ("exposure there", f"{one['exposure']['before']:.2f} before, {one['exposure']['after']:.2f} after"),
            ("unified", f"{one['unified_exposure']:.2f} on both sides"),
        ]
    else:
        rows.append(("shuffled apart", "no: there is no cliff"))
    unseen = one["unseen_fraction"]
    never = f"{unseen['planned']:.2%} of the data; with --epoch_guard_pool all {unseen['all']:.2%}"
    rows.append(("never drawn", never))
    return rows
