"""The snippets of the README, and of the pages that it leads to, are run as they stand.

Those of the Chinese pages are not run again: tests/test_languages.py holds them equal to these, letter by letter.
"""

import re
import shlex
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
from markdown_it import MarkdownIt
from paddlenlp.data.causal_dataset import build_train_valid_test_datasets

from caches import cli
from commands import forked_script
from corpora import build_train, write_corpus
from pretraining import PretrainingTrainer, collate
from servers import visualdl_server
from synthetic_runs import Run
from test_cli import parses
from training import TokenModel

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
CHINESE = (ROOT / "README.zh-CN.md").read_text()
DOCS = {page.stem: page.read_text() for page in (ROOT / "docs").glob("*.md") if ".zh-CN" not in page.name}
WHY = DOCS["why-the-loss-drops"]
# Not why-the-loss-drops, whose corpus is made below, and not comparison, whose runs are nobody's.
WITH_COMMANDS = {"README": README} | {name: DOCS[name] for name in ("commands", "training", "try-it")}
PAGES = ("README.md", "README.zh-CN.md", "CONTRIBUTING.md", "SECURITY.md", "benchmarks/README.md")
PAGES += ("CODE_OF_CONDUCT.md", "examples/minimal_diff.md")
PAGES += tuple(sorted(f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md")))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
ADDRESS = PROJECT["urls"]["Repository"]
LONGEST = 900
"""Words of a README."""


def snippets(language, page=README):
    return re.findall(rf"^```{language}\n(.*?)^```", page, re.DOTALL | re.MULTILINE)


@pytest.mark.host
def test_the_callback_snippet_trains(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (adding,) = snippets("python")
    names = {
        "__name__": "readme",
        "PretrainingTrainer": PretrainingTrainer,
        "model": TokenModel(),
        "train_dataset": build_train([write_corpus(tmp_path / "corpus" / "text", [1000])], 160, 8),
        "data_collator": collate,
    }
    exec(compile(adding, "README.md", "exec"), names)
    assert names["trainer"].state.global_step == 20
    assert (tmp_path / "output" / "logs" / "epoch_guard" / "epoch_1").is_dir()


@pytest.mark.slow
def test_the_index_snippet_reads_the_demos_index(demo, monkeypatch, capsys):
    folder, _ = demo
    monkeypatch.chdir(folder)
    (reading,) = snippets("python", DOCS["commands"])
    exec(compile(reading, "commands.md", "exec"), {"__name__": "commands"})
    printed = capsys.readouterr().out
    assert "num_epochs=2" in printed
    assert "separated=True" in printed
    assert "Boundary(position=" in printed
    assert printed.splitlines()[-1] == "[1 1 2]"


def test_the_page_on_training_adds_the_callback_as_the_readme_does():
    assert snippets("python", DOCS["training"]) == snippets("python")


def test_the_page_on_comparing_runs_in_python(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("lr-1e-3", "lr-5e-4"):
        Run(tmp_path / "logs" / name).train(1, 120)
    (comparing,) = snippets("python", DOCS["comparison"])
    exec(compile(comparing, "comparison.md", "exec"), {"__name__": "comparison"})
    assert "<html" in (tmp_path / "compare.html").read_text()


def test_all_python_of_the_pages_is_run():
    run_here = {"commands", "comparison", "training", "why-the-loss-drops"}
    run_elsewhere = {"extending"}  # test_extending.py
    assert {name for name, page in DOCS.items() if snippets("python", page)} == run_here | run_elsewhere


COMMANDS = [line for page in WITH_COMMANDS.values() for block in snippets("bash", page) for line in block.splitlines()]


@pytest.mark.slow
@pytest.mark.parametrize("command", sorted(set(COMMANDS)))
def test_every_command_works(command, demo, monkeypatch):
    folder, _ = demo
    words = shlex.split(command)
    if words[0] == "make":  # the demo and these tests are what such a command starts
        dry = subprocess.run([*words, "--dry-run"], cwd=ROOT, capture_output=True, text=True)
        assert dry.returncode == 0
        started = {"demo": "python examples/demo.py", "test": "python -m pytest"}[words[1]]
        assert started in dry.stdout
    elif words[:2] == [".venv/bin/paddle-epoch-guard", "view"]:
        with visualdl_server(folder / words[2], command=("paddle-epoch-guard", "view")) as server:
            assert "train/loss" in sum(server.get("scalar/tags")["tags"], [])
    elif words[0] == "paddle-epoch-guard":
        monkeypatch.chdir(folder)
        status, printed, error = cli(*words[1:])
        assert (status, error) == (0, "")
        assert "490" in printed  # the boundary
    elif words[:2] == ["pip", "install"]:
        flags = ["--dry-run", "--no-index", "--no-build-isolation"]  # all of it is installed here
        done = subprocess.run([sys.executable, "-m", *words, *flags], cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    else:
        pytest.fail(f"a page has a command that no test runs: {command}")


CALLS = re.compile(r"^(?:\$ )?(?:\.venv/bin/)?(paddle-epoch-guard (?!COMMAND).*)$", re.MULTILINE)


@pytest.mark.parametrize("page", ["README", *sorted(DOCS)])
def test_every_call_in_a_block_is_one_that_the_command_knows(page):
    text = README if page == "README" else DOCS[page]
    blocks = "".join(block for language in ("bash", "sh", "console") for block in snippets(language, text))
    assert [call for call in CALLS.findall(blocks) if not parses(call)] == []


@pytest.mark.long
@pytest.mark.slow
def test_the_table_of_resumes_is_what_its_script_prints(tmp_path):
    script = ROOT / "examples" / "resume_table.py"
    done = forked_script(script, folder=tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    table = "\n".join(line for line in done.stdout.splitlines() if line.startswith("|"))
    assert table.count("\n") == 8
    assert table in DOCS["resuming"]
    # With the guard, a change costs no more than the plan itself leaves out.
    guarded = [row.split("|")[3].split("/") for row in table.splitlines()[2:]]
    assert all(int(doubled) == 0 and int(lost) <= 16 for doubled, lost in guarded)


@pytest.fixture(scope="module")
def billion(tmp_path_factory):
    """A folder with the corpus of the page's example: its size is real, its tokens are a hole in the file."""
    folder = tmp_path_factory.mktemp("why")
    (folder / "data").mkdir()
    documents, of_train, tokens = 1000, 949, 1_000_000_000
    sizes = np.full(documents, tokens // of_train, np.int32)
    sizes[0] += tokens % of_train
    ends = 2 * np.cumsum(sizes, dtype=np.int64)  # bytes of uint16
    counts = np.array([documents, documents + 1], np.int64)
    header = b"MMIDIDX\x00\x00" + np.int64(1).tobytes() + np.uint8(8).tobytes() + counts.tobytes()
    arrays = sizes, np.concatenate([[0], ends[:-1]]), np.arange(documents + 1)
    (folder / "data" / "text.idx").write_bytes(header + b"".join(one.tobytes() for one in arrays))
    with (folder / "data" / "text.bin").open("wb") as stream:
        stream.truncate(int(ends[-1]))
    return folder


def test_the_example_by_hand_gives_what_it_says(capsys):
    (example,) = snippets("python", WHY)
    exec(compile(example, "why-the-loss-drops.md", "exec"), {"__name__": "why"})
    assert capsys.readouterr().out.strip() == example.rsplit("# ", 1)[1].strip()


def test_the_host_logs_what_the_page_says(billion, monkeypatch, capfd):
    monkeypatch.chdir(billion)
    train, _, _ = build_train_valid_test_datasets(
        ["data/text"], "mmap", "949,50,1", [2766 * 256, 1, 0], 2048, 42, skip_warmup=True
    )
    assert len(train) == 976562
    logged = capfd.readouterr().out.splitlines()
    assert set(snippets("text", WHY)[0].splitlines()) <= set(logged)


def test_plan_prints_what_the_page_says(billion, monkeypatch):
    monkeypatch.chdir(billion)
    monkeypatch.setenv("COLUMNS", "100")
    (command,) = snippets("bash", WHY)
    name, *words = command.split()
    assert name == "paddle-epoch-guard"
    status, printed, _ = cli(*words)
    assert status == 0
    lines = iter([line.rstrip() for line in printed.splitlines()])
    for said in snippets("text", WHY)[1].splitlines():  # some of the lines, in their order
        assert said in lines


def test_the_page_counts_what_is_never_drawn():
    drawn = 2766 * 256 / 976562
    for share in ((1 - drawn) ** 2, 2 * drawn * (1 - drawn), drawn**2, (1 - 1.5 / 2) ** 2):
        assert f" {100 * share:.1f}%" in WHY
    assert " 1%" in WHY
    assert round((1 - 1.8 / 2) ** 2, 6) == 0.01


def linked(text):
    """``(kind, target)`` of each picture and link; those in code are none."""
    for token in MarkdownIt("commonmark").enable("table").parse(text):
        for leaf in token.children or ():
            if leaf.type in ("image", "link_open"):
                yield leaf.type, leaf.attrs["src" if leaf.type == "image" else "href"]


def anchors(text):
    """The anchors of a page's headings, as GitHub and the site make them."""
    tokens = MarkdownIt("commonmark").parse(text)
    headings = [tokens[at + 1].content for at, token in enumerate(tokens) if token.type == "heading_open"]
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES)
def test_every_picture_and_link_is_there(page):
    for _, target in linked((ROOT / page).read_text()):
        if target.startswith("https://"):
            continue
        path, _, anchor = target.partition("#")
        file = (ROOT / page).parent / path if path else ROOT / page
        assert file.exists(), target
        assert not anchor or unquote(anchor) in anchors(file.read_text()), target


@pytest.mark.parametrize("readme", [README, CHINESE], ids=["English", "Chinese"])
def test_a_package_index_shows_the_pictures(readme):
    pictures = [target for kind, target in linked(readme) if kind == "image"]
    ours = [target.removeprefix(f"{ADDRESS}/raw/main/") for target in pictures if target.startswith(ADDRESS)]
    badges = [target for target in pictures if target.startswith("https://img.shields.io/badge/")]
    assert len(ours) + len(badges) == len(pictures)
    assert "docs/images/loss.png" in ours
    assert all((ROOT / target).exists() for target in ours)


@pytest.mark.parametrize("readme", [README, CHINESE], ids=["English", "Chinese"])
def test_the_badges_are_true(readme):
    badges = [unquote(target) for target in re.findall(r"https://img\.shields\.io/badge/([^)]+)-blue", readme)]
    assert "paddlenlp>=3.0.0b4,<4" in PROJECT["optional-dependencies"]["paddlenlp"]
    pinned = {path.stem for path in (ROOT / "constraints").glob("paddlenlp-*.txt")}
    assert pinned == {"paddlenlp-2.8.1", "paddlenlp-3.0.0b4"}
    assert badges == [
        f"license-{PROJECT['license'].replace('-', '--')}",
        f"python-{PROJECT['requires-python'].replace('>=', '≥')}",
        "PaddleNLP-2.8.1 | 3.0.0b4",
    ]


def test_the_readme_is_short():
    assert len(README.split()) <= LONGEST


def test_the_readmes_lead_to_every_page():
    for readme in ("README.md", "README.zh-CN.md"):
        found = {target.partition("#")[0] for _, target in linked((ROOT / readme).read_text())}
        of_language = {page for page in PAGES if page.startswith("docs/") and ".zh-CN" not in page} - {"docs/index.md"}
        missing = {page for page in of_language if not {page, page.replace(".md", ".zh-CN.md")} & found}
        assert not missing


def test_the_page_tells_the_demos_figures_as_the_readme_does():
    (caption,) = re.findall(r"^\*The demo.*?\*$", WHY, re.DOTALL | re.MULTILINE)
    figures = re.findall(r"[+-]?\d\.\d\d", caption)
    assert len(figures) == 3
    assert all(figure in README for figure in figures)


@pytest.mark.parametrize("readme", [README, CHINESE], ids=["English", "Chinese"])
def test_the_readme_says_what_kind_of_model_its_picture_shows(readme):
    caption = readme[readme.index("images/loss.png") : readme.index("images/visualdl.png")]
    assert "n-gram" in caption
    assert "images/loss-llama.png" in caption
    assert "make demo MODEL=llama" in caption


def test_every_flag_is_in_the_table():
    from dataclasses import fields

    from paddle_epoch_guard import EpochGuardArguments

    for flag in fields(EpochGuardArguments):
        row = next(line for line in DOCS["training"].splitlines() if line.startswith(f"| `--{flag.name}`"))
        assert all(f"`{choice}`" in row for choice in flag.metadata.get("choices", ()))
        assert f"| `{flag.default}` |" in row or flag.default is None


def test_the_page_lists_every_command():
    from paddle_epoch_guard.cli.app import COMMANDS

    assert re.findall(r"^\| `(\w+)` \|", DOCS["commands"], re.MULTILINE) == list(COMMANDS)
