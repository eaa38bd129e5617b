"""Sound files of every kind that the guard reads, as the host and the guard write them."""

import json
import shutil
from pathlib import Path
from typing import Any

SIZES = (60, 7, 130, 1, 58, 90, 23, 100)
STEPS, STEP = 24, 10


def write_samples(folder: Path) -> None:
    """Trains a little, and keeps what was written. In a child.

    Args:
        folder: where to: ``corpus/text.idx`` and ``.bin``, ``cache`` with one index, ``checkpoint`` with a sidecar,
            and a file for each further parser.
    """
    from corpora import build_train, write_corpus
    from paddle_epoch_guard.order import Reorder
    from paddle_epoch_guard.order.materialise import note_of
    from training import KnownLosses, arguments, train

    prefix = write_corpus(folder / "corpus" / "text", SIZES)
    dataset = build_train([prefix], STEPS * 4, 8, cache=folder / "cache")
    args = arguments(folder / "run", max_steps=STEPS, save_strategy="steps", save_steps=STEP, epoch_guard="track")
    train(args, dataset, model=KnownLosses)
    shutil.copytree(folder / "run" / "run" / f"checkpoint-{STEP}", folder / "checkpoint")
    shutil.copy(folder / "run" / "logs" / "epoch_guard" / "vdlrecords.epoch_guard.log", folder / "log")
    verdicts = next((folder / "run" / "logs" / "epoch_guard").glob("boundary_*/vdlrecords*"))
    with (folder / "log").open("ab") as log:
        log.write(verdicts.read_bytes())
    (folder / "description").write_text(dataset.desc)
    shutil.copy(folder / "run" / "logs" / "epoch_guard" / "record.jsonl", folder / "events")
    (folder / "told").write_text(
        "Verdict at step 15: artefact (not confirmed by evaluation). Training loss jumps by -1.661, standard error "
        "0.08 nats; means over up to 30 steps: 4.14 before, 2.48 after. Evaluation loss does not jump (+0.010, "
        "standard error 0.05); exposure 0.00 before and 1.00 after."
    )
    (folder / "arguments").write_text(json.dumps(str({"seed": 7, "max_steps": 24, "report_to": ["visualdl"]})))
    note = note_of((Reorder(0, 90, "uniform", (7, 1, 0)), Reorder(40, 90, "ramp", (7, 1, 1), 58)))
    (folder / "note").write_text(note)
    megatron: dict[str, Any] = {
        "class": "GPTDataset", "dataset_path": prefix, "num_samples": 96, "index_split": "train", "random_seed": 1,
        "sequence_length": 8, "split": "100,0,0", "split_matrix": [[0, 1.0], None, None],
    }  # fmt: skip
    (folder / "megatron").write_text(json.dumps(megatron, indent=4))
    blend = {"class": "BlendedDataset", "datasets": [megatron, megatron], "weights": [0.7, 0.3], "size": 90}
    (folder / "megatron-blend").write_text(json.dumps(blend | {"split": "train"}, indent=4))
    parts = "\n\n\n".join([dataset.desc.removesuffix("\n")] * 2)
    (folder / "blend").write_text(f"Blendable dataset\n\nDatasets:\n{parts}\n\n\nWeights: [0.7 0.3]\nSize: 90\n")
