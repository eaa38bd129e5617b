"""Which language is spoken, and that no table lacks a text."""

import subprocess
import sys
from pathlib import Path

import pytest

from paddle_epoch_guard import language
from paddle_epoch_guard.arguments import EpochGuardArguments
from paddle_epoch_guard.cli.app import Language
from paddle_epoch_guard.language import counted, of_environment, tr

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, "en"),
        ({"LANG": "zh_CN.UTF-8"}, "zh"),
        ({"LANG": "zh_TW.Big5"}, "zh"),
        ({"LANG": "C.UTF-8"}, "en"),
        ({"LANG": "zh_CN.UTF-8", "LC_ALL": "C"}, "en"),
        ({"LANG": "en_US.UTF-8", "LC_MESSAGES": "zh_CN"}, "zh"),
        ({"LANG": "de_DE.UTF-8"}, "en"),
        ({"LANG": "en_US.UTF-8", "LANGUAGE": "fr:zh_CN:en"}, "zh"),
        ({"LANG": "zh_CN.UTF-8", language.VARIABLE: "en"}, "en"),
        ({"LANG": "zh_CN.UTF-8", language.VARIABLE: "tlh"}, "zh"),
        ({"LANG": ""}, "en"),
        ({"LC_ALL": "C", "LANGUAGE": "zh_CN"}, "en"),
    ],
    ids=str,
)
def test_the_environment_chooses(variables, expected):
    assert of_environment(variables) == expected


def test_a_text_without_a_translation_is_english():
    language.use("zh")
    assert tr("no such text: {path}", path="a{b}") == "no such text: a{b}"
    assert tr("braces {as} they are") == "braces {as} they are"
    assert counted("{n} thing in {place}", "{n} things in {place}", 1234, place="x") == "1,234 things in x"
    assert counted("{n} thing", "{n} things", 1) == "1 thing"


def test_every_choice_is_a_language():
    assert tuple(each.value for each in Language) == language.LANGUAGES
    (flag,) = (flag for flag in EpochGuardArguments.__dataclass_fields__.values() if flag.name == "epoch_guard_lang")
    assert flag.metadata["choices"] == ("auto", *language.LANGUAGES)


def test_no_table_lacks_a_text_or_holds_one_too_many():
    done = subprocess.run([sys.executable, "scripts/messages", "--check"], cwd=ROOT, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("1 language(s): all texts are there\n", "")
