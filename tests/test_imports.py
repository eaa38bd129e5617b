import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
HEAVY = ("paddle", "paddlenlp", "paddleformers", "visualdl", "matplotlib")


def loaded_after(statement):
    code = f"{statement}\nimport sys\nprint(*[name for name in {HEAVY} if name in sys.modules])"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()


@pytest.mark.parametrize(
    "statement",
    [
        "import paddle_epoch_guard",
        "from paddle_epoch_guard import EpochGuardArguments, EpochGuardError",
        "import paddle_epoch_guard.cli, paddle_epoch_guard.autoinject",
        "import paddle_epoch_guard.index, paddle_epoch_guard.order, paddle_epoch_guard.ledger",
    ],
)
def test_nothing_heavy_is_imported_until_it_is_needed(statement):
    assert loaded_after(statement) == []


def test_public_names_load_on_first_use():
    import paddle_epoch_guard

    assert set(paddle_epoch_guard.__all__) <= set(dir(paddle_epoch_guard))
    for name in paddle_epoch_guard.__all__:
        assert getattr(paddle_epoch_guard, name) is not None
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = paddle_epoch_guard.no_such_name


def test_imports_go_one_way_and_only_host_knows_the_host():
    linter = subprocess.run(
        # Without --no-logo: with the lowest rich there is only an import-linter that does not know it.
        [Path(sys.executable).parent / "lint-imports", "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert linter.returncode == 0, linter.stdout
    assert "5 kept, 0 broken" in linter.stdout
