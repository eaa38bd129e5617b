"""mkdocs hook: shows the pages of docs/, which are written to be read in the repository, on the site.

The README is the site's first page. Links to files outside of docs/ lead to the repository, whose address is read from
pyproject.toml. The language plugin finds the Chinese page of a link by itself.
"""

import re
import sys
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parent.parent
URLS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["urls"]
REPOSITORY = URLS["Repository"]
_TARGET = re.compile(r"(?<=\]\()[^)\s]+")
_BADGES = re.compile(r"^!\[[^]]*\]\(https://img\.shields\.io/.*\n+", re.MULTILINE)
_LANGUAGES = re.compile(r"^(English \| \[简体中文\]|\[English\]).*\n+", re.MULTILINE)


def on_config(config: Any) -> None:
    """Sets the addresses."""
    config["repo_url"] = REPOSITORY
    config["repo_name"] = REPOSITORY.removeprefix("https://github.com/")
    config["site_url"] = URLS["Documentation"]


def on_page_read_source(page: Any, config: Any) -> str | None:
    """The README, for the first page; None, for mkdocs to read the file, for each other page."""
    name = page.file.src_uri
    if not name.startswith("index."):
        return None
    return (ROOT / name.replace("index.", "README.")).read_text(encoding="utf-8")


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """A page's text for the site."""
    return for_the_site(markdown, "" if page.file.src_uri.startswith("index.") else "docs")


def for_the_site(markdown: str, folder: str) -> str:
    """A page's text with links that fit the site.

    It lacks two lines: the one that links to the page's other language, for which the site has a menu, and the badges,
    for which a reader's browser would ask another site.

    Args:
        markdown: the page.
        folder: the folder of the page within the repository, or "" for its root.
    """
    text = _BADGES.sub("", _LANGUAGES.sub("", markdown))
    return _TARGET.sub(lambda match: _target(match[0], folder), text)


def _target(target: str, folder: str) -> str:
    if target.startswith(f"{REPOSITORY}/raw/main/docs/"):
        return target.removeprefix(f"{REPOSITORY}/raw/main/docs/")
    if target.startswith(("https://", "http://", "#")):
        return target
    path, mark, anchor = target.partition("#")
    file = (ROOT / folder / path).resolve().relative_to(ROOT)
    if file.parts[0] == "docs":
        return file.relative_to("docs").as_posix().replace(".zh-CN.md", ".md") + mark + anchor
    kind = "tree" if (ROOT / file).is_dir() else "blob"
    return f"{REPOSITORY}/{kind}/main/{file.as_posix()}{mark}{anchor}"
