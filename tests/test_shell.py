import pytest

from paddle_epoch_guard.autoinject.shell import started_by

HERE = {"PATH": "/bin", "PYTHONPATH": "/guard"}


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["python", "a.py"], [(["python", "a.py"], HERE)]),
        (["env", "-i", "A=1", "python"], [(["python"], {"A": "1"})]),
        (["/usr/bin/env", "-u", "PYTHONPATH", "-C", "/", "python"], [(["python"], {"PATH": "/bin"})]),
        (["env", "--unset=PYTHONPATH", "python"], [(["python"], {"PATH": "/bin"})]),
        (["env"], []),
        (["sh", "train.sh"], [(["sh", "train.sh"], HERE)]),
        (["bash", "-c"], [(["bash", "-c"], HERE)]),
        (["bash", "-ec", "cd x && PYTHONPATH= python a.py > log 2>&1"], [HERE, {**HERE, "PYTHONPATH": ""}]),
        (["sh", "-c", "export PYTHONPATH=/x:$PYTHONPATH; python 'a b.py'"], [{**HERE, "PYTHONPATH": "/x:/guard"}]),
        (["sh", "-c", "unset PYTHONPATH\nif true; then exec python a.py; fi"], [{"PATH": "/bin"}] * 3),
        (["sh", "-c", "A=1 python a.py & python b.py"], [{**HERE, "A": "1"}, HERE]),
        (["sh", "-c", "sh -c 'env -i python a.py'"], [{}]),
        (["sh", "-c", "python 'a.py"], []),
    ],
)
def test_the_commands_behind_a_shell_and_env(words, expected):
    found = [(command, environment) for command, environment in started_by(words, HERE) if command != ["1"]]
    assert found == expected or [environment for _, environment in found] == expected
