import importlib.util
import sys

import pytest

from paddle_epoch_guard.errors import MissingPackageError
from paddle_epoch_guard.host import library

NAMES = ("paddlenlp", "paddleformers")


@pytest.fixture
def machine(monkeypatch):
    """Says which libraries are installed, which a script has imported, and whose Trainer it uses."""
    for name in NAMES:
        monkeypatch.delitem(sys.modules, name, raising=False)
        monkeypatch.delitem(sys.modules, f"{name}.trainer.trainer", raising=False)

    def says(installed, imported=(), trainers=()):
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: name if name in installed else None)
        for name in (*imported, *(f"{name}.trainer.trainer" for name in trainers)):
            monkeypatch.setitem(sys.modules, name, object())

    return says


@pytest.mark.parametrize("name", NAMES)
def test_the_library_that_is_installed_is_picked(machine, name):
    machine(installed=[name])
    assert library._pick() == name


@pytest.mark.parametrize("name", NAMES)
def test_of_two_the_one_that_the_script_uses(machine, name):
    machine(installed=NAMES, imported=[name])
    assert library._pick() == name


@pytest.mark.parametrize("name", NAMES)
def test_of_two_the_one_whose_trainer_the_script_uses(machine, name):
    machine(installed=NAMES, imported=NAMES, trainers=[name])
    assert library._pick() == name


def test_without_either_it_says_what_to_install(machine):
    machine(installed=[])
    with pytest.raises(
        ModuleNotFoundError, match=r"neither paddlenlp nor paddleformers .*paddle-epoch-guard\[paddleformers\]"
    ):
        library._pick()


def test_the_library_of_these_tests_is_the_one_that_trains():
    assert library.import_host("trainer").Trainer.__module__.split(".")[0] == library.NAME


def test_a_release_without_a_sample_index_is_named():
    with pytest.raises(MissingPackageError, match=rf"^{library.NAME} \d\S+ has no {library.NAME}\.data\.no_index: "):
        library.import_host("data.no_index")
