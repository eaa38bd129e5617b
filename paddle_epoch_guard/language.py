"""The language of what a person reads: English, or Chinese where the locale or the user asks for it.

Texts stand in the code in English. The other languages have a table for each room, ``locale/<language>/<room>.po``,
which ``scripts/messages`` compiles for Python's ``gettext``. A text that a table lacks is shown in English.
"""

import functools
import gettext
import os
from collections.abc import Mapping
from pathlib import Path

LANGUAGES = ("en", "zh")
LOCALES = Path(__file__).parent / "locale"
VARIABLE = "PADDLE_EPOCH_GUARD_LANG"
_LOCALE = ("LC_ALL", "LC_MESSAGES", "LANG")  # in the order of POSIX

_chosen: str | None = None


def use(language: str | None) -> None:
    """Chooses the language of this process.

    Args:
        language: one of `LANGUAGES`; None for that of the environment.
    """
    global _chosen
    _chosen = language


def pass_on() -> None:
    """Lets the processes that this one starts speak the chosen language too."""
    if _chosen is not None:
        os.environ[VARIABLE] = _chosen


def current() -> str:
    """The language that texts are in: the chosen one, or that of the environment."""
    return _chosen or of_environment(os.environ)


def of_environment(variables: Mapping[str, str]) -> str:
    """The language that environment variables ask for; English if they ask for none, or for one that is not there.

    Args:
        variables: `VARIABLE` counts before the locale's own.
    """
    if variables.get(VARIABLE) in LANGUAGES:
        return variables[VARIABLE]
    locale = next((variables[name] for name in _LOCALE if variables.get(name)), "")
    has_list = variables.get("LANGUAGE") and locale.split(".")[0] not in ("C", "POSIX")  # as in GNU gettext
    first = variables["LANGUAGE"] if has_list else locale
    wanted = (name.replace("-", "_").split(".")[0].split("_")[0].lower() for name in first.split(":"))
    return next((name for name in wanted if name in LANGUAGES), "en")


def tr(text: str, /, **values: object) -> str:
    """A text in the language of the process.

    Args:
        text: in English, as in the tables, with a field in braces for each value.
        values: what the fields are filled with. Without any, braces are braces.
    """
    found = _tables(current()).gettext(text)
    return found.format(**values) if values else found


def counted(one: str, many: str, n: int, /, **values: object) -> str:
    """A text about a number of things, in the language of the process.

    Args:
        one: in English, for a single thing.
        many: for any other number; its field ``{n}`` has separators of thousands.
        n: the number.
        values: what further fields are filled with.
    """
    return _tables(current()).ngettext(one, many, n).format(n=f"{n:,}", **values)


def mark(text: str) -> str:
    """The text itself: marks one for the tables that `tr` is given later, such as an entry of a module's own table."""
    return text


@functools.cache
def _tables(language: str) -> gettext.NullTranslations:
    """All rooms' tables of a language, as one."""
    tables = gettext.NullTranslations()
    for path in sorted((LOCALES / language).glob("*.mo")):
        with path.open("rb") as stream:
            table = gettext.GNUTranslations(stream)
        table.add_fallback(tables)
        tables = table
    return tables
