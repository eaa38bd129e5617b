"""examples/minimal_diff.md: a script with the lines of run_pretrain.py is guarded once the change is applied."""

import json
import re
from pathlib import Path

import pytest

from commands import forked_script
from corpora import build_train, write_corpus
from test_autoinject import BATCH, LENGTH, SEED, SIZES, STEPS, unified

TESTS = Path(__file__).parent
PAGE = (TESTS.parent / "examples" / "minimal_diff.md").read_text()
# Where run_pretrain.py is laid out in another way than the tests' script, which is written in its manner.
LAID_OUT = {
    "import paddle\nfrom paddlenlp.data.causal_dataset import build_train_valid_test_datasets\n": (
        "import paddle\n\nfrom paddlenlp.data.causal_dataset import (\n    build_train_valid_test_datasets,\n)\n"
    ),
    "@dataclass\nclass PreTrainingArguments(": (
        "def add_start_docstrings(text):\n    return lambda kind: kind\n\n\n"
        "@dataclass\n@add_start_docstrings(TrainingArguments.__doc__)\nclass PreTrainingArguments("
    ),
    "    trainer = PretrainingTrainer(model=model, args=training_args, data_collator=collate, "
    "train_dataset=train_dataset)\n": (
        "    tokenizer = lr_scheduler = None\n"
        "    trainer = PretrainingTrainer(\n        model=model,\n        args=training_args,\n"
        "        data_collator=collate,\n        train_dataset=train_dataset,\n"
        "        optimizers=(None, lr_scheduler),\n        tokenizer=tokenizer,\n    )\n"
    ),
}


def hunks():
    """``(before, after)`` of each hunk."""
    (diff,) = re.findall(r"^```diff\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    for hunk in re.split(r"^@@.*\n", diff, flags=re.MULTILINE)[1:]:
        lines = [(line[:1], line[1:]) for line in hunk.splitlines(keepends=True)]
        yield (
            "".join(text for sign, text in lines if sign != "+"),
            "".join(text for sign, text in lines if sign != "-"),
        )


def applied(script):
    """The script, changed; each hunk has to fit in one place."""
    for before, after in hunks():
        assert script.count(before) == 1, before
        script = script.replace(before, after)
    return script


def test_five_lines_are_enough():
    changed = re.findall(r"^[+-](?![+-])", PAGE[PAGE.index("```diff") :], re.MULTILINE)
    assert len(changed) <= 5


@pytest.mark.host
@pytest.mark.slow
def test_the_changed_script_trains_with_the_guard(tmp_path):
    script = (TESTS / "user_script.py").read_text()
    for ours, theirs in LAID_OUT.items():
        assert script.count(ours) == 1, ours
        script = script.replace(ours, theirs)
    (tmp_path / "run_pretrain.py").write_text(applied(script))
    prefix = write_corpus(tmp_path / "corpus" / "text", SIZES)
    dataset = build_train([prefix], STEPS * BATCH, LENGTH, seed=SEED, cache=tmp_path / "cache")
    values = {
        "input_dir": prefix,
        "data_cache": str(tmp_path / "cache"),
        "output_dir": str(tmp_path / "output"),
        "logging_dir": str(tmp_path / "output" / "logs"),
        "max_steps": STEPS,
        "per_device_train_batch_size": BATCH,
        "max_grad_norm": 0.0,
        "do_train": True,
        "device": "cpu",
        "seed": SEED,
        "epoch_guard": "unified",
        "epoch_guard_report": False,
    }
    (tmp_path / "config.json").write_text(json.dumps(values))
    done = forked_script(tmp_path / "run_pretrain.py", tmp_path / "config.json", folder=tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    assert (tmp_path / "output" / "logs" / "epoch_guard" / "record.jsonl").exists()
    drawn = json.loads((tmp_path / "output" / "first_tokens.0.json").read_text())
    assert drawn == unified(dataset)
