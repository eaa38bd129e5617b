# ruff: noqa: RUF001 - Chinese has its own punctuation
"""The command line in Chinese: help, output and errors of each command, and JSON, which stays English."""

import json
import os
import re
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

import corpora
from caches import cli
from paddle_epoch_guard import language
from paddle_epoch_guard.cli.app import COMMANDS, NAME
from paddle_epoch_guard.cli.wide_text import WideText, line_ends, pieces
from paddle_epoch_guard.errors import cause_of
from synthetic_runs import Run
from test_chinese_console import english_in

WIDTH = 80
PLAN = ("data/text", "--seq-length", 32, "--global-batch", 8, "--max-steps", 709, "--split", "95,5,0")
BLEND = (
    "1", "data/text", "1", "data/code", "--seq-length", 32, "--global-batch", 8, "--max-steps", 2840, "--split",
    "95,5,0",
)  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with two corpora, an index and two runs."""
    folder = tmp_path_factory.mktemp("place")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        corpora.write_as_in_the_demo()
    for name in ("separated", "unified"):
        Run(folder / "logs" / name).train(1, 120)
    Path(folder, "pretrain.json").write_text(json.dumps({"input_dir": "data/text", "max_seq_length": "long"}))
    return folder


@pytest.fixture
def here(place, tmp_path, monkeypatch):
    monkeypatch.chdir(shutil.copytree(place, tmp_path / "here"))
    monkeypatch.setenv("COLUMNS", str(WIDTH))


def chinese(*call, status=0):
    """What a command prints in Chinese, with each gap as it is; checks that no English is left."""
    found, out, err = cli("--lang", "zh", *call)
    assert (found, err) == (status, "")
    assert english_in(out) == []
    return out


def complaint(*call, status=1):
    """The line with which a command refuses in Chinese."""
    found, out, err = cli("--lang", "zh", *call)
    assert (found, out, err.count("\n")) == (status, "", 1)
    assert english_in(err) == []
    return err.removeprefix(f"{NAME}: ").strip()


def joined_lines(text):
    """A text without the breaks of its lines."""
    return re.sub(r"\s+", "", text)


@pytest.mark.parametrize("command", [(), *((name,) for name in COMMANDS)], ids="".join)
def test_each_help_page_is_chinese_and_fits_the_terminal(monkeypatch, command):
    monkeypatch.setenv("COLUMNS", str(WIDTH))
    page, english = chinese(*command, "--help"), cli(*command, "--help")[1]
    calls = [line for line in english.splitlines() if re.match(rf" +(python|{NAME}) ", line)]
    lines = page.splitlines()
    assert [line for line in lines if cell_len(line) > WIDTH and line not in calls] == []
    assert [line for line in calls if not line.startswith(f"  {NAME} COMMAND") and line not in lines] == []
    assert not re.search(r"^[，。、；：？！）]", page, re.MULTILINE)
    assert ["用法：" in page, "选项：" in page, "-h, --help" in page] == [True] * 3
    flags = set(re.findall(r"--[a-z][a-z-]+", english.replace("-\n", "-"))) - {"--global-"}
    assert flags - set(re.findall(r"--[a-z][a-z-]+", page)) == set()


def test_what_a_help_page_says():
    page = chinese("rebuild", "--help")
    assert page.startswith(f"用法：{NAME} rebuild [OPTIONS] CACHE\n\n  生成一份新的索引缓存，把剩余的样本统一打乱。\n")
    assert "  示例：\n    paddle-epoch-guard rebuild data/index-cache --hash 0f3c" in page
    assert re.search(r"--output FOLDER +新缓存的目录，不存在时自动创建 \[必填\]\n", page)
    assert "[默认 auto]" in re.sub(r"\s+", " ", page)
    assert "  plan     构建索引之前，预测训练会读到什么数据。\n" in chinese("--help")


@pytest.mark.parametrize(
    "call",
    [("--lang", "zh", "--help"), ("--help", "--lang", "zh"), ("--lang=zh", "-h"), ("--lang", "zh", "plan", "--help")],
    ids=" ".join,
)
def test_the_language_stands_anywhere_before_the_command(call):
    assert "用法：" in cli(*call)[1]
    assert "Usage: " in cli("--help")[1]


def test_the_locale_chooses(monkeypatch):
    monkeypatch.delenv(language.VARIABLE)
    monkeypatch.setenv("LC_ALL", "zh_CN.UTF-8")
    assert "用法：" in cli("--help")[1]
    assert "Usage: " in cli("--lang", "en", "--help")[1]


def test_a_plan(here):
    out = chinese("plan", *PLAN, "--png", "plan.png")
    assert max(map(cell_len, out.splitlines())) == WIDTH
    assert "\n边界                        第 490/709 步，位置 3,917\n" in out
    assert "\n单独打乱                    是：训练 loss 在该处很可能下降，幅度取决于模型\n" in out
    assert "1,755个样本，占44.8%；达到3,133个（80%）时才与其他数据epoch一起打乱" in joined_lines(out)
    assert "下一个token的价值是新token的97%（按Muennighoffetal.2023）" in joined_lines(out)
    assert "\n不会骤降的步数：\n  --max-steps 489：不超过一个数据 epoch，没有重复数据\n" in out
    assert out.endswith("或者保持 max_steps 不变，使用 --epoch_guard unified\n图片：plan.png\n")
    assert Path("plan.png").read_bytes().startswith(b"\x89PNG")


def test_the_chart_of_a_plan_is_as_wide_as_in_english(here):
    charts = [
        [line for line in cli("--lang", name, "plan", *PLAN)[1].splitlines() if "│" in line] for name in ("zh", "en")
    ]
    assert "▞▞ 训练库的顺序" in charts[0][0]
    assert "•• 统一打乱" in charts[0][1]
    assert [set(map(cell_len, chart)) for chart in charts] == [{WIDTH}, {WIDTH}]


def test_a_plan_of_a_blend_and_a_trial(here):
    out = chinese("plan", *BLEND, "--trial-steps", 710)
    assert max(map(cell_len, out.splitlines())) <= WIDTH
    assert "\n2 份语料的混合数据集：2,840 步内不会到达任何边界\n" in out
    assert "\n试验：--max-steps 710，正式训练 2840\n" in out
    assert re.search(r"\ndata/code +0\.90 +0\.22 +100%：无需抽取\n", out)
    assert "要使重复次数与正式训练相同，请随机抽取整篇文档，直到达到上述 token 数。\n" in out


@pytest.mark.parametrize("times", [2, 3])
def test_a_corpus_that_is_listed_several_times(here, times):
    out = chinese("plan", *["1", "data/text"] * times, *PLAN[1:])
    assert f"\ndata/text 列出了 {times} 次，合计读取 1.45 个数据 epoch。每次都以相同的顺序读取相同的样本，" in out


def test_notes_and_warnings(here):
    out = chinese("plan", "data/text", "--seq-length", 200_000, "--global-batch", 1, "--max-steps", 2)
    assert "警告：一条样本 200,000 个 token，比 data/text 的一个数据 epoch" in out
    assert "注意：data/text：按'949,50,1'划分，test分不到文档（共100篇）" in joined_lines(out)


def test_an_index_and_its_rebuilding(here):
    out = chinese("inspect", "data/index-cache", "--global-batch", 8)
    assert "\n边界                        位置 3,917，第 490 步\n" in out
    assert "（train）：描述文件、数组和语料相互一致，数组已全部读取\n" in out
    assert out.endswith("\n这个缓存中还有：valid 835a7ac4。用 --hash 查看其中一个\n")
    out = chinese("rebuild", "data/index-cache", "--from-position", 1600, "--output", "unified")
    assert out.startswith("unified：位置 1,600 到 5,672 已统一打乱（mix ramp，随机种子 42），共 5 个文件\n")
    assert "\n但 PaddleNLP 会优先查找 data/index-cache：请把其中的 " in out
    assert "\n位置 1,600 到 5,672 已统一打乱：mix ramp，随机种子 42\n" in chinese("inspect", "unified")
    again = ("rebuild", "data/index-cache", "--from-position", 1600, "--output", "unified")
    assert complaint(*again).endswith("请指定空目录")
    assert complaint(*again[:2], "--from-position", 9999, "--output", "b", status=2) == (
        "--from-position 9999：训练读取位置 0 到 5671。请指定其中之一"
    )
    why = complaint(*again[:2], "--from-position", 0, "--output", "b", "--stop", 100)
    assert why.endswith("无需统一打乱：本次训练到位置 100 结束，还没到边界（位置 3917）")


def test_a_broken_cache(here):
    assert re.search(r"：\d 个索引完好，发现 0 个问题，0 项未检查\n$", chinese("doctor", "data/index-cache"))
    for path in Path("data/index-cache").glob("*shuffle_idx.npy"):
        path.unlink()
    Path("data/index-cache", "a.tmp").touch()
    why = complaint("doctor", "data/index-cache", "--move-aside", "data/index-cache", status=2)
    assert why == "--move-aside data/index-cache：就是索引缓存目录本身。请换一个目录"
    out = chinese("doctor", "data/index-cache", "--move-aside", "aside", status=1)
    assert re.match(r"不完整：(\w+)：缺少 \1_shuffle_idx\.npy\n  影响：PaddleNLP 会重新构建；", out)
    assert "\n  修复：移走它的文件（--move-aside），训练库会用同一语料构建出相同的索引\n" in out
    assert re.search(r"\n  已移走：3 个文件，移到 aside\n", out)


def test_a_report_and_a_comparison(here):
    out = chinese("report", "logs/separated", "--figures", "figures")
    assert "\n数据顺序的变化点，以及 loss 的跳变幅度\n步 " in out
    assert re.search(r"\nepoch +样本数 +步 +平均 loss\n", out)
    assert "\n报告页：logs/separated/epoch_guard_report.html\n图：figures/" in out
    out = chinese("compare", "logs/separated", "logs/unified", "--png", "a.png")
    assert max(map(cell_len, out.splitlines())) <= WIDTH
    assert out.endswith("已写入：a.png\n")


def test_versions():
    out = chinese("env")
    assert out.startswith("版本\n")
    assert re.search(r"\npaddlepaddle-gpu +未安装\n", out)


@pytest.mark.parametrize(
    "call",
    [
        ("plan", *PLAN),
        ("plan", *BLEND, "--trial-steps", 710),
        ("plan", "data/text", "--seq-length", 200_000, "--global-batch", 1, "--max-steps", 2),
        ("inspect", "data/index-cache"),
        ("rebuild", "data/index-cache", "--from-position", 1600, "--output", "unified"),
        ("doctor", "data/index-cache"),
        ("report", "logs/separated"),
        ("compare", "logs/separated", "logs/unified"),
        ("env",),
    ],
    ids=str,
)
def test_json_is_english_in_every_language(here, call):
    found = []
    for name in ("en", "zh"):
        status, out, err = cli("--lang", name, *call, "--json")
        assert (status, err) == (0, "")
        found.append(out)
        shutil.rmtree("unified", ignore_errors=True)
    assert found[0] == found[1]
    assert re.search(r"[\u4e00-\u9fff]", found[1]) is None


def test_what_is_broken_is_english_in_json(here):
    next(Path("data/index-cache").glob("*shuffle_idx.npy")).unlink()
    found = json.loads(cli("--lang", "zh", "doctor", "data/index-cache", "--json")[1])
    assert found["findings"][0]["kind"] == "incomplete"
    assert found["findings"][0]["effect"].startswith("PaddleNLP builds it again")


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (("plann",), f"没有命令 plann，是否想用 plan？用法见 {NAME} --help"),
        (("xyzzy",), f"没有命令 xyzzy，可用的命令：{'、'.join(COMMANDS)}。用法见 {NAME} --help"),
        (("--bogus",), f"没有选项 --bogus。用法见 {NAME} --help"),
        (("inspect",), f"缺少参数 'CACHE'。用法见 {NAME} inspect --help"),
        (("inspect", "a", "b"), f"多余的参数：b。用法见 {NAME} inspect --help"),
        (("rebuild", "a"), f"缺少选项 '--from-position'。用法见 {NAME} rebuild --help"),
        (("plan", "a", "--seq-lenght", "1"), "没有选项 --seq-lenght，是否想用 --seq-length？用法见 "),
        (("plan", "a", "--frobnicate"), f"没有选项 --frobnicate。用法见 {NAME} plan --help"),
        (("plan", "data/text"), "缺少 --seq-length、--global-batch 和 --max-steps；请用选项给出，或用 --config 指定"),
        (("plan", *PLAN, "--png", "a.svg"), "--png a.svg：文件名应以 .png 结尾"),
        (("plan", *PLAN, "--trial-batch", 4), "只有 --trial-batch 4，没有 --trial-steps。请加上 --trial-steps"),
        (("plan", *PLAN, "--trial-steps", 710), "--trial-steps 710 的试验有 5,680 个样本，应少于 --max-steps 709 的"),
        (("plan", "--config", "no.json"), "--config no.json：无法读取（文件或目录不存在）。"),
        (("plan", "--config", "pretrain.json", "--max_steps", 9), "max_seq_length 是 'long'，应为整数"),
        (("plan", "data", *PLAN[1:]), "data：是目录，应为语料路径（不含 .idx 或 .bin）；其中的语料：data/code, "),
        (("plan", "1", "data/text", "2", *PLAN[1:]), "'1 data/text 2' 既不是一个语料路径，也不是混合数据集；"),
        (("report", "logs", "--no-page", "--output", "a"), "--no-page 表示不写报告页，--output 却指定了报告页。"),
        (("view", "nowhere"), "nowhere：目录不存在。请指定训练的 logging_dir 或其上级目录"),
        (("run",), f"没有给出脚本；正确写法：{NAME} run SCRIPT [ARGS]…，或 run -m MODULE [ARGS]…"),
        (("run", "--quiet", "a.py"), "--quiet 出现在脚本之前；正确写法："),
        (("run", "data"), "data 是目录，应为 Python 脚本。请指定其中的脚本，或使用 run -m MODULE"),
    ],
    ids=str,
)  # fmt: skip
def test_a_wrong_call(here, call, said):
    assert complaint(*call, status=2).startswith(said)


@pytest.mark.parametrize("value", ["a", "0"])
def test_a_wrong_value(here, value):
    """Its cause is typer's to tell, in words that differ between releases."""
    err = cli("--lang", "zh", "plan", "data/text", "--seq-length", value)[2]
    assert err.startswith(f"{NAME}: '--seq-length' 的值无效：")
    assert err.endswith(f"用法见 {NAME} plan --help\n")


def test_what_the_system_says_of_a_file():
    language.use("zh")
    assert cause_of(PermissionError(13, "Permission denied")) == "没有权限"
    assert cause_of(OSError(5, "Something new")) == "Something new"
    assert cause_of(OSError("no number")) == "no number"


def test_the_processes_of_a_training_speak_it_too(tmp_path):
    script = tmp_path / "script.py"
    child = f"import os; print(os.environ.get({language.VARIABLE!r}))"
    script.write_text(f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {child!r}])\n")
    variables = {name: value for name, value in os.environ.items() if name != language.VARIABLE}
    for options, said in ((["--lang", "zh"], "zh\n"), ([], "None\n")):
        call = [sys.executable, "-m", "paddle_epoch_guard", *options, "run", str(script)]
        done = subprocess.run(call, env=variables, capture_output=True, text=True)
        assert (done.returncode, done.stdout) == (0, said)


# Lines of Chinese text.

TEXT = "最后一个数据 epoch 用到 1,755 个样本（44.8%）；使用 --epoch_guard unified 时，统一打乱 [默认否; 必填]。"


@given(st.text(alphabet="数据（，。“”a b-_.%[]();\u3000", max_size=60), st.integers(4, 40))
def test_no_character_is_lost_and_no_line_is_too_wide(text, width):
    assert "".join(pieces(text)) == text
    ends = [0, *line_ends(text, width), len(text)]
    lines = [text[start:stop] for start, stop in pairwise(ends)]
    assert all(cell_len(line.rstrip()) <= width for line in lines)
    assert all(lines[1:])


@pytest.mark.parametrize("width", range(24, 60))
def test_a_line_neither_begins_nor_ends_with_the_wrong_mark(width):
    ends = [0, *line_ends(TEXT, width), len(TEXT)]
    lines = [TEXT[start:stop].strip() for start, stop in pairwise(ends)]
    assert not [line for line in lines if line[0] in "，。；）];" or line[-1] in "（["]
    assert all("--epoch_guard" in line for line in lines if "guard" in line)


def test_a_wide_text_keeps_its_style_and_measures_columns():
    console = Console(width=20, color_system="truecolor", force_terminal=True)
    text = WideText(TEXT)
    text.stylize("bold", 0, 2)
    lines = text.wrap(console, 20)
    assert "".join(line.plain for line in lines).replace(" ", "") == TEXT.replace(" ", "")
    assert lines[0].spans[0].style == "bold"
    assert text.__rich_measure__(console, console.options) == (cell_len("--epoch_guard"), cell_len(TEXT))
