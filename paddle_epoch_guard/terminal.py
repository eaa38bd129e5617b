"""Text that is safe to print: names from files may hold anything, and a terminal obeys some of it."""

import codecs
import contextlib
import functools
import sys
import unicodedata
from collections.abc import Sequence
from typing import Any

from paddle_epoch_guard.language import tr

_UNSAFE = frozenset(("Cc", "Cf", "Cs", "Zl", "Zp"))
"""Categories of Unicode: controls (ESC among them), invisible marks (such as U+202E, which turns text around), halves
of characters, and separators of lines."""
_PLAIN = {
    **dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2212\u2500\u2501", "-"),
    **dict.fromkeys("\u2018\u2019", "'"),
    **dict.fromkeys("\u201c\u201d", '"'),
    **dict.fromkeys("\u2502\u2503", "|"),
    "\u2026": "...", "\u2192": "->", "\u00d7": "x", "\u2265": ">=", "\u2264": "<=", "\u00b1": "+-", "\u00a0": " ",
}  # fmt: skip
_HANDLER = "paddle_epoch_guard.plain"
_ASCII = "paddle_epoch_guard_ascii"


def joined(names: Sequence[str]) -> str:
    """One name or several as a list in a sentence."""
    if len(names) == 1:
        return names[0]
    return tr("{names} and {last}", names=tr(", ").join(names[:-1]), last=names[-1])


def paragraph(sentences: Sequence[str]) -> str:
    """Sentences one after another: with a space between them, but not in Chinese."""
    return functools.reduce(
        lambda before, sentence: tr("{before} {sentence}", before=before, sentence=sentence), sentences or [""]
    )


def plain(text: str, keep: str = "") -> str:
    """A text without anything that a terminal obeys: line ends and tabs become spaces, the rest is shown as an escape.

    Args:
        text: anything.
        keep: characters that stay as they are.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        character if character in keep or unicodedata.category(character) not in _UNSAFE else _escaped(character)
        for character in text
    )


def printable(text: str, *streams: Any) -> str:
    """A text that all of some streams can print: with plain characters for those that an encoding lacks."""
    for stream in streams:
        with contextlib.suppress(
            AttributeError, LookupError, TypeError
        ):  # a stream of other code's may have any encoding, or none
            text = text.encode(stream.encoding, _HANDLER).decode(stream.encoding)
    return text


def replace_unprintable(*streams: Any) -> None:
    """Lets streams print plain characters for those that their encoding lacks, rather than raise.

    Args:
        streams: those of this process by default.
    """
    codecs.register(_ascii_by_another_name)
    for stream in streams or (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            is_ascii = codecs.lookup(stream.encoding).name == "ascii"
            stream.reconfigure(encoding=_ASCII if is_ascii else stream.encoding, errors=_HANDLER)


def _ascii_by_another_name(name: str) -> codecs.CodecInfo | None:
    """The codec of ASCII. Click writes UTF-8 to a stream whose encoding is called ASCII."""
    if name != _ASCII:
        return None
    ascii_codec = codecs.lookup("ascii")
    return codecs.CodecInfo(
        ascii_codec.encode, ascii_codec.decode, ascii_codec.streamreader, ascii_codec.streamwriter,
        ascii_codec.incrementalencoder, ascii_codec.incrementaldecoder, _ASCII,
    )  # fmt: skip


def _escaped(character: str) -> str:
    return " " if character.isspace() else character.encode("unicode_escape").decode()


def _plain_characters(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(map(_plain_character, error.object[error.start : error.end])), error.end


def _plain_character(character: str) -> str:
    if "\u2500" <= character <= "\u257f":  # lines of boxes
        return _PLAIN.get(character, "+")
    if "\u2580" <= character <= "\u259f" or "\u2800" <= character <= "\u28ff":  # blocks and dots of charts
        return "#" if character not in "\u2800" else " "
    return _PLAIN.get(character, "?")


codecs.register_error(_HANDLER, _plain_characters)
