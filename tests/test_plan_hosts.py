"""``plan --host``: each host's split and blend, as its real package builds them.

The tests of the real megatron-core need ``.venv-megatron``: ``make test-megatron``.
"""

import sys
from functools import partial

import pytest

import foretold
import megatron_package
from caches import cli, refused, told
from corpora import LENGTH, SIZES, write_corpus
from paddle_epoch_guard.cli.host_rules import HOSTS

# Split, documents, and how many of them the train split gets: from paddlenlp 3.0.0b4 and megatron-core 0.16.1.
TRAINED = [
    ("900,60,40", 58, 53, 52),
    ("900,60,40", 60, 54, 54),
    ("90,8,2", 17, 16, 15),
    ("90,8,2", 33, 29, 30),
    # The host divides by sum(), which rounds once from Python 3.12 on: the same index has another document there.
    ("0.7,0.2,0.1", 5, 4 if sys.version_info >= (3, 12) else 3, 4),
    ("0.7,0.2,0.1", 25, 18 if sys.version_info >= (3, 12) else 17, 18),
    ("949,50,1", 50, 48, 47),
    ("949,50,1", 1000, 949, 949),
    ("8/1/1", 15, 11, 12),
    ("0.5,0.25,0.25", 2, 2, 1),
    ("969, 30, 1", 333, 323, 323),
    ("100", 7, 7, 7),
]


@pytest.mark.parametrize(("split", "documents", "in_paddle", "in_megatron"), TRAINED, ids=str)
def test_each_host_rounds_the_end_of_the_train_split_its_own_way(split, documents, in_paddle, in_megatron):
    trained = {name: rules.documents(split, "train", documents) for name, rules in HOSTS.items()}
    assert trained == {
        "paddlenlp": (0, in_paddle),
        "paddleformers": (0, in_paddle),
        "megatron": (0, in_megatron),
    }


@pytest.fixture(scope="module")
def web(tmp_path_factory):
    return write_corpus(tmp_path_factory.mktemp("corpora") / "web", SIZES[:33])


def facts(web, host, *options):
    found = told("plan", web, "--seq-length", LENGTH, "--global-batch", 4, "--host", host, *options)
    names = ("documents", "tokens_per_epoch", "num_epochs", "samples_built", "boundary_position", "boundary_step")
    return tuple(found[name] for name in names)


@pytest.mark.parametrize(
    ("host", "steps", "expected"),
    [
        ("paddlenlp", 22, (29, 429, 2, 107, 53, 14)),
        ("megatron", 22, (30, 435, 2, 108, 54, 14)),
        ("paddlenlp", 30, (29, 429, 3, 160, 107, 27)),
        ("megatron", 30, (30, 435, 3, 163, 108, 28)),
    ],
)
def test_a_plan_is_of_the_documents_of_its_host(web, host, steps, expected):
    assert facts(web, host, "--split", "90,8,2", "--max-steps", steps) == expected


# Samples asked for and built, and the boundary: of the blend, and of both of its datasets.
BLEND = {
    "paddlenlp": [240, 240, 177, [93, 107, 177], [189, 214, 229]],
    "megatron": [240, 240, 180, [73, 108, 180], [169, 217, 233]],
}


@pytest.mark.parametrize("host", BLEND)
def test_a_blend_asks_its_datasets_for_as_many_samples_as_its_host(web, host):
    call = ("plan", 0.3, web, 0.7, web, "--seq-length", LENGTH, "--global-batch", 4, "--max-steps", 60)
    found = told(*call, "--host", host, "--split", "90,8,2")
    numbers = ("samples_requested", "samples_built", "boundary_position")
    of_each = [[dataset[name] for name in numbers] for dataset in found["datasets"]]
    assert [found[name] for name in numbers] + of_each == BLEND[host]
    assert (found["host"], found["format"]) == (host, host)


def test_a_host_has_a_split_of_its_own_where_none_is_named(web):
    call = ("plan", web, "--seq-length", LENGTH, "--global-batch", 4, "--max-steps", 9, "--host")
    assert [told(*call, host)["split"] for host in HOSTS] == ["949,50,1", "950,50", "969,30,1"]


def test_megatron_reads_numbers_and_what_it_misreads_is_refused(web):
    call = (
        "plan",
        web,
        "--seq-length",
        LENGTH,
        "--global-batch",
        4,
        "--max-steps",
        9,
        "--host",
        "megatron",
        "--split",
    )
    assert told(*call, "90;8 2")["documents"] == told(*call, "90-8-2")["documents"] == 30
    for split, read in (("9e2,60", "9,2,60"), ("9,1E1", "9,1,1"), ("-1,90,9", "1,90,9")):
        said = refused(*call, split, status=2)
        assert f"megatron-core reads the split '{split}' as '{read}'" in said
    for split in ("", "a", "1.2.3,4", "0,0", ".", "9,8,7,6"):
        assert f"split '{split}' is unreadable" in refused(*call, split, status=2)


def test_what_a_host_does_not_take_is_refused(web, tmp_path):
    numbers = ("--seq-length", LENGTH, "--global-batch", 4, "--max-steps", 9)
    blend = ("plan", 0, web, 1, web, *numbers, "--host")
    assert told(*blend, "paddlenlp")["samples_requested"] == 36
    assert "the weight 0 of" in refused(*blend, "megatron", status=2)
    script = ("plan", web, *numbers, "--max_steps", 9, "--host")
    assert told(*script, "paddleformers")["max_steps"] == 9
    said = "--config and a script's own flags are read for PaddleNLP and PaddleFormers; found megatron-core"
    assert said in refused(*script, "megatron", status=2)


def test_paddleformers_takes_a_suffix_and_names_of_its_own(web, tmp_path):
    (tmp_path / "run.yaml").write_text(
        f"input_dir: 1.0 {web}::CPT\nmax_seq_len: 8\nmax_steps: 9\nsplit: 90,10\ntensor_model_parallel_size: 2\n"
    )
    found = told("plan", "--config", tmp_path / "run.yaml", "--devices", 4, "--host", "paddleformers")
    same = told(
        "plan", 1, web, "--seq-length", 8, "--global-batch", 16, "--max-steps", 9, "--split", "90,10", "--host",
        "paddleformers",
    )  # fmt: skip
    assert found == same
    assert found["warnings"] == []


def test_only_what_the_host_can_do_is_advised(web):
    call = ("plan", web, "--seq-length", LENGTH, "--global-batch", 4, "--max-steps", 22, "--split", "90,8,2")
    for host in HOSTS:
        out = cli(*call, "--host", host)[1]
        assert ("--epoch_guard" in out) == (host != "megatron")
        assert ("paddle-epoch-guard rebuild" in out) == (host == "megatron")


def test_a_blend_that_megatron_does_not_build_is_named(web):
    call = ("plan", 0.97, web, *(0.003, web) * 10, "--seq-length", 400, "--global-batch", 1, "--split", "100")
    (warning,) = told(*call, "--host", "megatron", "--max-steps", 9)["warnings"]
    assert "megatron-core stops: in 9 steps, its blend draws " in warning
    assert told(*call, "--host", "paddlenlp", "--max-steps", 9)["warnings"] == []


def test_a_blend_that_lacks_a_split_of_one_dataset_stops_paddlenlp(web, tmp_path):
    few = write_corpus(tmp_path / "few", SIZES[:7])
    run = foretold.Planned(("1", web, "1", few), "90,8,2", LENGTH, 4, 9)
    call = ("plan", *run.data, "--split", run.split, "--seq-length", LENGTH, "--global-batch", 4, "--max-steps", 9)
    (note,) = told(*call)["notes"]
    assert note.startswith(f"{few}: the test split of '90,8,2' gets none of the 7 documents, but that of another")
    assert note.endswith("PaddleNLP stops when it builds the blend. Give the split a larger share, or none")
    assert foretold.built_by_paddle(run, tmp_path / "cache") == foretold.foretold("paddlenlp", run) == "empty"


@pytest.fixture(scope="module")
def tokens(tmp_path_factory):
    return foretold.write_corpora(tmp_path_factory.mktemp("corpora"))


@pytest.mark.slow
def test_a_thousand_runs_are_built_by_megatron_as_foretold(tokens, tmp_path):
    runs = foretold.planned_runs(tokens, 1000, seed=23, separators=(",", "/", ", ", " ", ";"))
    built = foretold.built_by_megatron(runs, tmp_path)
    assert sum(isinstance(one, dict) for one in built) > 800
    assert foretold.differences(runs, partial(foretold.foretold, "megatron"), built) == []


def test_runs_are_built_by_paddlenlp_as_foretold(tokens, tmp_path):
    """Some hundred by ``make test-megatron``, a few elsewhere."""
    count = 300 if megatron_package.PYTHON.exists() else 12
    runs = foretold.planned_runs(tokens, count, seed=24)
    built = [foretold.built_by_paddle(run, tmp_path / str(number)) for number, run in enumerate(runs)]
    assert sum(isinstance(one, dict) for one in built) > count // 2
    assert foretold.differences(runs, partial(foretold.foretold, "paddlenlp"), built) == []
