import json
import pickle

import pytest

from paddle_epoch_guard.host import find_checkpoint, trainer_record


class State:
    """What PaddleFormers pickles of its trainer's state, as far as it counts here."""

    def __init__(self, **fields):
        self.__dict__ = fields


def fields(consumed=640):
    return {
        "epoch": 0.5,
        "global_step": 20,
        "consumed_samples": consumed,
        "max_steps": 60,
        "is_hyper_param_search": False,
        "log_history": [{"loss": 1.5, "global_step": 1, "max_steps": 9}],
        "trial_params": None,
    }


class Poison:
    """Loading it would end the process."""

    def __reduce__(self):
        return exec, ("raise SystemExit(3)",)


def test_the_first_folder_that_is_a_checkpoint_counts(tmp_path):
    for folder, record in (("a", "trainer_state.json"), ("b", "trainer_state.bin"), ("c", "other.json")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / record).write_text("{}")
    a, b, c = (tmp_path / name for name in "abc")
    assert find_checkpoint([None, True, str(tmp_path / "missing"), c, b, a]) == b
    assert find_checkpoint([None, str(a), b]) == a
    assert find_checkpoint([None, c]) is None


def test_the_record_of_paddlenlp_is_read_whole(tmp_path):
    (tmp_path / "trainer_state.json").write_text(json.dumps(fields()))
    assert trainer_record(tmp_path) == fields()


@pytest.mark.parametrize("consumed", [7, 300, 70_000, 3_000_000_000, 1 << 70])
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_of_the_record_of_paddleformers_the_numbers_are_read(tmp_path, protocol, consumed):
    (tmp_path / "trainer_state.bin").write_bytes(pickle.dumps(State(**fields(consumed)), protocol))
    assert trainer_record(tmp_path) == {"global_step": 20, "consumed_samples": consumed, "max_steps": 60}


def test_a_record_is_never_unpickled(tmp_path):
    state = State(poison=Poison(), **fields())
    (tmp_path / "trainer_state.bin").write_bytes(pickle.dumps(state))
    assert trainer_record(tmp_path)["global_step"] == 20


def test_a_number_that_is_none_is_not_there(tmp_path):
    state = State(**{**fields(), "consumed_samples": None})
    (tmp_path / "trainer_state.bin").write_bytes(pickle.dumps(state))
    assert "consumed_samples" not in trainer_record(tmp_path)


@pytest.mark.parametrize("content", [b"", b"\x80\x04\x95", b"no pickle", b"\xff\xff"])
def test_a_damaged_record_is_no_record(tmp_path, content):
    (tmp_path / "trainer_state.bin").write_bytes(content)
    assert trainer_record(tmp_path) is None
    (tmp_path / "trainer_state.json").write_bytes(content)
    assert trainer_record(tmp_path) is None


def test_no_record_is_no_record(tmp_path):
    assert trainer_record(tmp_path) is None
