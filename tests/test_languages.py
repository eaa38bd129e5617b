"""Every page that is there in two languages says the same in both: what can be compared without reading is compared.

Section by section: level of the heading, blocks of code (identical: what is proven for one language by running it is
proven for both), tables, pictures, links, length of lists, names in code font and numbers.
"""

import re
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

ROOT = Path(__file__).parent.parent
PAGES = ("README.md", "docs/why-the-loss-drops.md")
MARKDOWN = MarkdownIt("commonmark").enable("table")
NUMBER = re.compile(r"(?:(?<!\S)[+-])?\d[\d,]*(?:\.\d+)*(?: million| 万)?")
FACTORS = {" million": 1_000_000, " 万": 10_000}


def in_chinese(page):
    return page.removesuffix(".md") + ".zh-CN.md"


def switches_language(line):
    return "English" in line and "简体中文" in line


def parse(text):
    """The page's tokens, without the line that leads to the other language."""
    return MARKDOWN.parse("\n".join(line for line in text.splitlines() if not switches_language(line)))


def sections(text):
    """``[(level, title, tokens)]``, one for each heading."""
    found = []
    tokens = parse(text)
    for at, token in enumerate(tokens):
        if token.type == "heading_open":
            found.append((int(token.tag[1:]), tokens[at + 1].content, []))
        found[-1][2].append(token)
    return found


def leaves(tokens):
    """All tokens within, of lines too."""
    for token in tokens:
        yield from token.children or [token]


def names(tokens):
    """What is set in code font within lines."""
    return {leaf.content for leaf in leaves(tokens) if leaf.type == "code_inline"}


def numbers(tokens):
    """The numbers in the text, however they are written."""
    found = set()
    for leaf in leaves(tokens):
        if leaf.type == "text":
            for written in NUMBER.findall(leaf.content):
                unit = next((unit for unit in FACTORS if written.endswith(unit)), "")
                digits = written.removesuffix(unit).replace(",", "")
                found.add(str(int(digits) * FACTORS[unit]) if unit else digits)
    return found


def targets(tokens):
    """Where pictures and links lead, the page of one's own language being one and the same."""
    where = {"image": "src", "link_open": "href"}
    found = [(leaf.type, leaf.attrs[where[leaf.type]]) for leaf in leaves(tokens) if leaf.type in where]
    return sorted((kind, target.replace(".zh-CN", "")) for kind, target in found)


def code_blocks(tokens):
    return [(token.info, token.content) for token in tokens if token.type == "fence"]


def tables(tokens):
    """``[[row]]``: of every cell its names and numbers, and whether there is anything in it."""
    found = []
    for at, token in enumerate(tokens):
        if token.type == "table_open":
            found.append([])
        elif token.type == "tr_open":
            found[-1].append([])
        elif token.type in ("th_open", "td_open"):
            cell = tokens[at + 1 : at + 2]
            found[-1][-1].append((names(cell), numbers(cell), bool(cell[0].content)))
    return found


def items(tokens):
    return sum(token.type == "list_item_open" for token in tokens)


@pytest.fixture(params=PAGES)
def pair(request):
    """The sections of a page, in English and in Chinese, side by side."""
    english, chinese = (sections((ROOT / page).read_text()) for page in (request.param, in_chinese(request.param)))
    levels = [[level for level, _, _ in page] for page in (english, chinese)]
    assert levels[0] == levels[1], [[title for _, title, _ in page] for page in (english, chinese)]
    return list(zip(english, chinese, strict=True))


@pytest.mark.parametrize("part", [code_blocks, tables, targets, items, names, numbers])
def test_both_languages_say_the_same(pair, part):
    for (_, title, english), (_, _, chinese) in pair:
        assert part(chinese) == part(english), f"{part.__name__} of {title!r}"


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
    """A line's end within one would be shown as a space between two characters."""
    breaks = [leaf for leaf in leaves(parse((ROOT / page).read_text())) if leaf.type == "softbreak"]
    assert not breaks


@pytest.mark.parametrize("page", map(in_chinese, PAGES))
def test_chinese_is_set_as_chinese(page):
    """Full-width punctuation behind Chinese characters, and a space between them and letters or digits."""
    for token in parse((ROOT / page).read_text()):
        if token.type == "inline":
            text = "".join("`" if leaf.type == "code_inline" else leaf.content for leaf in token.children)
            assert not re.search(r"[\u4e00-\u9fff][,;:!?()]|[,;:!?()][\u4e00-\u9fff]", text), text
            assert not re.search(r"[\u4e00-\u9fff][A-Za-z0-9`]|[A-Za-z0-9`][\u4e00-\u9fff]", text), text
