"""What is printed: nothing that a terminal obeys, and nothing that its encoding lacks."""

import io
import os
import subprocess
import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caches import cli
from corpora import build_train, write_corpus
from paddle_epoch_guard.record.events import Message, Noted
from paddle_epoch_guard.record.naming import Naming
from paddle_epoch_guard.terminal import plain, replace_unprintable
from paddle_epoch_guard.views.console import ConsoleView

HOSTILE = ["\x1b]0;title\x07", "\x1b[2J", "\x1b[8m", "a\u202egnp.exe", "\x9b31m", "line\nother", "\u2028", "\x00"]


@pytest.mark.parametrize("text", HOSTILE)
def test_nothing_is_left_that_a_terminal_obeys(text):
    shown = plain(text)
    assert shown.isprintable()
    assert not set(shown) & {"\x1b", "\x07", "\x9b", "\u202e", "\u2028", "\n"}


@given(st.text())
def test_any_text_becomes_printable_and_what_people_write_stays(text):
    shown = plain(text)
    assert not {unicodedata.category(character) for character in shown} & {"Cc", "Cf", "Cs", "Zl", "Zp"}
    if text.isprintable() and "\u00ad" not in text:
        assert shown == text


def test_letters_of_any_script_stay():
    assert plain("数据 epoch \u2013 naïve Ω") == "数据 epoch \u2013 naïve Ω"


@pytest.mark.parametrize("name", HOSTILE[:5])
def test_names_of_folders_and_of_corpora_reach_no_terminal_raw(tmp_path, name, capsys):
    folder = tmp_path / name.replace("/", "_")
    folder.mkdir()
    prefix = write_corpus(folder / "corpus" / "text", (100, 50, 200))
    build_train([prefix], 60, 8, cache=folder / "cache")
    for call in (
        ["inspect", folder / "cache"],
        ["doctor", folder / "cache"],
        ["doctor", folder / "cache", "--json"],
        ["plan", prefix, "--seq-length", 8, "--max-steps", 20, "--global-batch", 4],
        ["inspect", folder / "missing"],
        ["report", folder],
        ["view", folder / "missing"],
        ["plan", folder / "missing", "--seq-length", 8, "--max-steps", 20, "--global-batch", 4],
    ):
        _, out, err = cli(*call)
        assert not set(out + err) & {"\x1b", "\x07", "\x9b", "\u202e"}, call


def test_a_note_in_the_trainers_log_is_printable():
    lines = []
    ConsoleView(Naming(), lines.append).take(Noted(1, Message("text", {"text": "\x1b[2J\nb"})))
    assert lines == ["epoch guard: \\x1b[2J\nb"]


@pytest.mark.parametrize("encoding", ["gbk", "latin-1", "cp1252", "ascii", "utf-8"])
def test_a_terminal_of_any_encoding_gets_all_lines(tmp_path, encoding):
    prefix = write_corpus(tmp_path / "corpus" / "数据", (100, 50, 200))
    options = ["--seq-length", "8", "--max-steps", "20", "--global-batch", "4"]
    calls = [["plan", prefix, *options], ["plan", "--help"], ["report", "--help"], ["--help"]]
    for call in calls:
        found = subprocess.run(
            [sys.executable, "-m", "paddle_epoch_guard", *call],
            env={**os.environ, "PYTHONIOENCODING": encoding, "PYTHONUTF8": "0", "COLUMNS": "100"},
            capture_output=True, check=False,
        )  # fmt: skip
        text = found.stdout.decode(encoding)
        assert (found.returncode, found.stderr) == (0, b""), found.stderr[-2000:]
        if call[:2] == ["plan", prefix]:
            assert "tokens per data epoch" in text
            assert "--max-steps 10: stays within one data epoch" in text
        assert "\ufffd" not in text


def test_characters_that_an_encoding_lacks_become_plain_ones():
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    replace_unprintable(stream)
    stream.write("a \u2013 b \u2192 c \u00d7 2 \u2265 1 \u2026 \u258c\u28c0 数")
    stream.flush()
    assert stream.buffer.getvalue() == b"a - b -> c x 2 >= 1 ... ## ?"
