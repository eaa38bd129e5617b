"""The documentation site: every page is in its menu, and it is built strictly where mkdocs is installed."""

import importlib.util
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from test_readme import ADDRESS

ROOT = Path(__file__).parent.parent
MKDOCS = ROOT / ".venv-docs" / "bin" / "mkdocs"


FETCHED = re.compile(r"<(?:script|img|link rel=\"stylesheet\")[^>]* (?:src|href)=\"(https?:[^\"]+)")


class Loader(yaml.SafeLoader):
    """Reads the names of Python objects, for mkdocs to call, as nothing."""


Loader.add_multi_constructor("tag:yaml.org,2002:python/", lambda loader, suffix, node: None)
SITE = yaml.load((ROOT / "mkdocs.yml").read_text(), Loader)


@pytest.fixture(scope="module")
def hook():
    spec = importlib.util.spec_from_file_location("docs_pages", ROOT / "scripts" / "docs_pages.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def menu():
    """``[(title, page)]`` of the menu, and the titles of its sections."""
    sections = {title: pages for section in SITE["nav"] for title, pages in section.items()}
    return [entry for pages in sections.values() for page in pages for entry in page.items()], list(sections)


def test_the_menu_has_every_page_once():
    pages = [page for _, page in menu()[0]]
    assert sorted(pages) == sorted(page.name for page in ROOT.glob("docs/*.md") if ".zh-CN" not in page.name)


def test_every_title_of_the_menu_is_translated():
    (languages,) = [plugin["i18n"]["languages"] for plugin in SITE["plugins"] if "i18n" in plugin]
    entries, sections = menu()
    assert set(languages[1]["nav_translations"]) == {title for title, _ in entries} | set(sections)


@pytest.mark.parametrize(
    ("text", "folder", "shown"),
    [
        ("[a](docs/training.zh-CN.md)", "", "[a](training.md)"),
        ("[a](training.zh-CN.md#x)", "docs", "[a](training.md#x)"),
        ("[a](../CONTRIBUTING.md)", "docs", f"[a]({ADDRESS}/blob/main/CONTRIBUTING.md)"),
        ("[a](../constraints/)", "docs", f"[a]({ADDRESS}/tree/main/constraints)"),
        (f"![a]({ADDRESS}/raw/main/docs/images/loss.png)", "", "![a](images/loss.png)"),
        ("[a](https://arxiv.org/abs/1) [b](#c)", "docs", "[a](https://arxiv.org/abs/1) [b](#c)"),
        ("# T\n\nEnglish | [简体中文](a.zh-CN.md)\n\ntext", "docs", "# T\n\ntext"),
        ("# T\n\n[English](a.md) | 简体中文\n\ntext", "docs", "# T\n\ntext"),
        ("![b](https://img.shields.io/badge/b) ![c](https://img.shields.io/badge/c)\n\ntext", "", "text"),
    ],
)
def test_a_page_of_the_repository_becomes_one_of_the_site(hook, text, folder, shown):
    assert hook.for_the_site(text, folder) == shown


@pytest.fixture(scope="module")
def built():
    """The site as `make docs` built it."""
    site = ROOT / "build" / "site"
    first = site / "index.html"
    pages = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), ROOT / "mkdocs.yml"]
    if not first.exists() or first.stat().st_mtime < max(page.stat().st_mtime for page in pages):
        pytest.skip("there is no site, or an older one: make docs")
    return site


@pytest.mark.slow
def test_the_site_has_each_page_in_both_languages(built):
    for _, page in menu()[0]:
        path = Path(page).with_suffix("") / "index.html" if page != "index.md" else Path("index.html")
        assert '<html lang="en"' in (built / path).read_text()
        assert '<html lang="zh"' in (built / "zh-CN" / path).read_text()
    chinese = (built / "zh-CN" / "resuming" / "index.html").read_text()
    assert "断点续训" in chinese


@pytest.mark.slow
def test_the_site_asks_no_other_site(built):
    for page in built.rglob("*.html"):
        fetched = re.findall(
            r"<(?:script|img|link rel=\"stylesheet\")[^>]* (?:src|href)=\"(https?:[^\"]+)", page.read_text()
        )
        assert fetched == []


@pytest.mark.slow
def test_broken_links_fail_the_build(tmp_path):
    if not MKDOCS.exists():
        pytest.skip("mkdocs is not installed: make docs")
    for name in ("docs", "scripts"):
        shutil.copytree(ROOT / name, tmp_path / name)
    for name in ("mkdocs.yml", "pyproject.toml", "README.md", "README.zh-CN.md"):
        shutil.copy(ROOT / name, tmp_path)
    for name in ("CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"):
        (tmp_path / name).touch()
    with (tmp_path / "docs" / "try-it.zh-CN.md").open("a") as page:
        page.write("\n[x](no-such-page.md) [y](glossary.md#no-such-heading)\n")
    making = re.search(r"^\t\.venv-docs/bin/mkdocs (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)[1].split()
    done = subprocess.run([MKDOCS, *making], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1
    assert "'no-such-page.md'" in done.stderr
    assert "'#no-such-heading'" in done.stderr


def test_the_set_of_packages_is_pinned():
    wanted = re.findall(r"mkdocs-material|mkdocs-static-i18n|jieba", (ROOT / "scripts" / "make-docs-venv").read_text())
    pinned = (ROOT / "constraints" / "docs.txt").read_text()
    assert all(f"\n{name}==" in pinned for name in wanted)


def test_make_docs_is_known_and_told():
    for target in ("docs", "help"):
        done = subprocess.run(["make", "--dry-run", target], cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0
    assert "make docs" in done.stdout
    assert "make docs" in (ROOT / ".ci" / "run").read_text()


def test_an_old_python_is_refused(tmp_path):
    old = tmp_path / "python3.8"
    old.write_text('#!/bin/sh\n[ "$1" = --version ] && echo Python 3.8.1 && exit 0\nexit 1\n')
    old.chmod(0o755)
    done = subprocess.run(
        [ROOT / "scripts" / "make-docs-venv"],
        env={"PATH": "/usr/bin:/bin", "PYTHON": str(old)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("make-docs-venv: Python 3.8.1 found")
