"""A page in two languages has the same structure and the same facts in both; the prose is free.

Compared section by section: the level of the heading, code blocks (identical, so that what runs in one language runs
in both), tables (shape, names in code font and figures of each cell), pictures and links.
"""

import re
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

ROOT = Path(__file__).parent.parent
PAGES = ("README.md", *sorted(f"docs/{page.name.replace('.zh-CN', '')}" for page in ROOT.glob("docs/*.zh-CN.md")))
MARKDOWN = MarkdownIt("commonmark").enable("table")
FIGURE = re.compile(r"(?:(?<!\S)[+-])?\d[\d,]*(?:\.\d+)*")


def in_chinese(page):
    return page.removesuffix(".md") + ".zh-CN.md"


def switches_language(line):
    return "English" in line and "简体中文" in line


def parse(text):
    """The page's tokens, without the line that links to the other language."""
    return MARKDOWN.parse("\n".join(line for line in text.splitlines() if not switches_language(line)))


def sections(text):
    """``[(level, title, tokens)]``, one for each heading."""
    pages = []
    tokens = parse(text)
    for at, token in enumerate(tokens):
        if token.type == "heading_open":
            pages.append((int(token.tag[1:]), tokens[at + 1].content, []))
        pages[-1][2].append(token)
    return pages


def leaves(tokens):
    """All tokens, with inline tokens replaced by their children."""
    for token in tokens:
        yield from token.children or [token]


def code_names(tokens):
    """The text set in code font."""
    return {leaf.content for leaf in leaves(tokens) if leaf.type == "code_inline"}


def figures(tokens):
    """The numbers in the text, without thousands separators."""
    texts = [leaf.content for leaf in leaves(tokens) if leaf.type == "text"]
    return {figure.replace(",", "") for text in texts for figure in FIGURE.findall(text)}


def targets(tokens):
    """The targets of pictures and links; a page in either language counts as the same page, whatever its anchors."""
    where = {"image": "src", "link_open": "href"}
    linked = [(leaf.type, leaf.attrs[where[leaf.type]]) for leaf in leaves(tokens) if leaf.type in where]
    return sorted((kind, re.sub(r"\.zh-CN|(?<=#).*", "", target)) for kind, target in linked)


def code_blocks(tokens):
    return [(token.info, token.content) for token in tokens if token.type == "fence"]


def tables(tokens):
    """``[[row]]``: for each cell its code names, its figures, and whether it has any content."""
    rows = []
    for at, token in enumerate(tokens):
        if token.type == "table_open":
            rows.append([])
        elif token.type == "tr_open":
            rows[-1].append([])
        elif token.type in ("th_open", "td_open"):
            cell = tokens[at + 1 : at + 2]
            rows[-1][-1].append((code_names(cell), figures(cell), bool(cell[0].content)))
    return rows


def differences(english, chinese):
    """What two pages do not have in common, as one line each."""
    pages = sections(english), sections(chinese)
    levels = [[level for level, _, _ in page] for page in pages]
    if levels[0] != levels[1]:
        return [f"headings: {levels[0]} in English, {levels[1]} in Chinese"]
    return [
        f"{part.__name__} of {title!r}: {part(ours)} in English, {part(theirs)} in Chinese"
        for (_, title, ours), (_, _, theirs) in zip(*pages, strict=True)
        for part in (code_blocks, tables, targets)
        if part(ours) != part(theirs)
    ]


@pytest.mark.parametrize("page", PAGES)
def test_both_languages_have_the_same_structure_and_facts(page):
    assert not differences((ROOT / page).read_text(), (ROOT / in_chinese(page)).read_text())


ENGLISH = """\
# Title

English | [简体中文](page.zh-CN.md)

The loss falls by 1.66 nats. See [the page](docs/why.md). Two sentences.

![A picture](loss.png)

## Flags

- first
- second

| flag | default | what |
|---|---|---|
| `--seed` | 1,000 | `seed` of 3 orders |
| `--mode` | | |

```bash
make demo
```
"""
CHINESE = """\
# 标题

[English](page.md) | 简体中文

训练 loss 骤降。见[说明](docs/why.zh-CN.md)。

![图](loss.png)

## 参数

只有一段。没有列表。这里有 `max_steps` 和数字 42。

| 参数 | 默认值 | 说明 |
|---|---|---|
| `--seed` | 1000 | 3 种顺序的 `seed` |
| `--mode` | | |

```bash
make demo
```
"""


def test_prose_is_free():
    assert not differences(ENGLISH, CHINESE)


@pytest.mark.parametrize(
    ("now", "changed", "part"),
    [
        ("## 参数", "### 参数", "headings"),
        ("## 参数", "参数", "headings"),
        ("只有一段", "## 另一节\n\n只有一段", "headings"),
        ("| `--mode` | | |\n", "", "tables"),
        (" | 说明 |\n|---|---|---|", " |\n|---|---|", "tables"),
        ("| `--mode` | | |", "| `--modes` | | |", "tables"),
        ("| 1000 |", "| 100 |", "tables"),
        ("| `--mode` | | |", "| `--mode` | 无 | |", "tables"),
        ("3 种顺序", "三种顺序", "tables"),
        ("make demo", "make test", "code_blocks"),
        ("```bash", "```sh", "code_blocks"),
        ("loss.png", "order.png", "targets"),
        ("[说明](docs/why.zh-CN.md)", "说明", "targets"),
        ("docs/why.zh-CN.md", "docs/scale.md", "targets"),
    ],
)
def test_a_difference_is_reported(now, changed, part):
    assert CHINESE.count(now) == 1
    assert any(line.startswith(part) for line in differences(ENGLISH, CHINESE.replace(now, changed)))


@pytest.mark.parametrize("page", [*PAGES, *map(in_chinese, PAGES)])
def test_a_page_leads_to_its_other_language(page):
    (line,) = [line for line in (ROOT / page).read_text().splitlines() if switches_language(line)]
    (target,) = re.findall(r"\]\(([^)]+)\)", line)
    other = ROOT / page.replace(".zh-CN", "") if ".zh-CN" in page else ROOT / in_chinese(page)
    assert ((ROOT / page).parent / target).resolve() == other


@pytest.mark.parametrize("page", [*PAGES, *map(in_chinese, PAGES)])
def test_emphasis_is_emphasis(page):
    """Between Chinese characters and punctuation, Markdown takes some stars for stars."""
    stray = [leaf.content for leaf in leaves(parse((ROOT / page).read_text())) if leaf.type == "text"]
    assert not [text for text in stray if "**" in text]


@pytest.mark.parametrize("page", map(in_chinese, PAGES))
def test_a_chinese_paragraph_is_one_line(page):
    """A line break within a paragraph would be shown as a space between two characters."""
    breaks = [leaf for leaf in leaves(parse((ROOT / page).read_text())) if leaf.type == "softbreak"]
    assert not breaks


@pytest.mark.parametrize("page", map(in_chinese, PAGES))
def test_chinese_is_set_as_chinese(page):
    """Full-width punctuation after Chinese characters, and a space between them and letters or digits."""
    for token in parse((ROOT / page).read_text()):
        if token.type == "inline":
            text = "".join("`" if leaf.type == "code_inline" else leaf.content for leaf in token.children)
            assert not re.search(r"[\u4e00-\u9fff][,;:!?()]|[,;:!?()][\u4e00-\u9fff]", text), text
            assert not re.search(r"[\u4e00-\u9fff][A-Za-z0-9`]|[A-Za-z0-9`][\u4e00-\u9fff]", text), text
