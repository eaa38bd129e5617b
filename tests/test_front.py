"""What a repository shows first: the project's address, its authors and its version are the same everywhere."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
ADDRESS = PROJECT["urls"]["Repository"]
OWNER = ADDRESS.split("/")[3]
CITATION = yaml.safe_load((ROOT / "CITATION.cff").read_text())
FORMS = ROOT / ".github" / "ISSUE_TEMPLATE"
PAGES = ("*.md", "*.cff", "mkdocs.yml", "docs/*.md", "examples/*.md", "benchmarks/*.md")
TEXTS = (*PAGES, ".github/ISSUE_TEMPLATE/*.yml")


def test_every_address_of_the_project_is_that_of_its_metadata():
    found = []
    for file in sorted({file for pattern in TEXTS for file in ROOT.glob(pattern)}):
        found += re.findall(r"https://github\.com/[\w.-]+/paddle-epoch-guard", file.read_text())
    assert len(found) > 5
    assert set(found) == {ADDRESS}
    of_the_owner = (f"{ADDRESS}", f"https://{OWNER}.github.io/paddle-epoch-guard/")
    assert all(url.startswith(of_the_owner) for url in PROJECT["urls"].values())


def test_the_command_that_sets_the_address_sets_it_everywhere(tmp_path):
    (command,) = re.findall(r"^git grep .*$", (ROOT / "CONTRIBUTING.md").read_text(), re.MULTILINE)
    if not (ROOT / ".git").exists():
        pytest.skip("this is no checkout")
    assert "OWNER" in ADDRESS, "the address is set: remove the section from CONTRIBUTING.md"
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    for name in listed:
        if name.endswith((".md", ".cff", ".toml", ".yml")) and (ROOT / name).exists():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text((ROOT / name).read_text())
    for line in ("git init -q .", "git add .", command):
        subprocess.run(line, shell=True, cwd=tmp_path, check=True)
    left = [path for path in tmp_path.rglob("*") if path.is_file() and ".git/" not in str(path)]
    assert [path.name for path in left if re.search(r"OWNER[/.]", path.read_text())] == []
    changed = tomllib.loads((tmp_path / "pyproject.toml").read_text())["project"]["urls"]
    assert changed["Repository"] == "https://github.com/your-name/paddle-epoch-guard"
    assert changed["Documentation"] == "https://your-name.github.io/paddle-epoch-guard/"


def test_the_citation_is_that_of_the_metadata():
    assert CITATION["title"] == PROJECT["name"]
    assert CITATION["version"] == PROJECT["version"]
    assert CITATION["license"] == PROJECT["license"]
    assert CITATION["abstract"] == PROJECT["description"]
    assert CITATION["repository-code"] == ADDRESS
    assert CITATION["authors"] == PROJECT["authors"]


@pytest.mark.parametrize("form", ["bug", "question"])
def test_a_form_has_what_a_form_needs(form):
    fields = yaml.safe_load((FORMS / f"{form}.yml").read_text())
    assert {"name", "description", "body"} <= set(fields)
    assert all(field["attributes"]["label"] for field in fields["body"])
    assert len({field["id"] for field in fields["body"]}) == len(fields["body"])


def test_the_forms_lead_to_pages_that_exist():
    links = [link["url"] for link in yaml.safe_load((FORMS / "config.yml").read_text())["contact_links"]]
    pages = [url.removeprefix(f"{ADDRESS}/blob/main/") for url in links if "/blob/main/" in url]
    assert len(pages) == 1
    assert all((ROOT / page).exists() for page in pages)
