# ruff: noqa: RUF001 - Chinese has its own punctuation
"""In Chinese: the report page, the comparison with its page and notebook, every figure, and the font of figures."""

import html
import io
import json
import re
import warnings
from dataclasses import replace
from itertools import product
from typing import get_args

import pytest
from babel.messages.pofile import read_po
from matplotlib import font_manager
from matplotlib.ft2font import FT2Font
from matplotlib.text import Text

import paddle_epoch_guard
from compared_runs import Made
from paddle_epoch_guard import compare, language
from paddle_epoch_guard import read_run as run_to_compare
from paddle_epoch_guard.comparison import texts as comparison_texts
from paddle_epoch_guard.comparison.figures import comparison_figure
from paddle_epoch_guard.comparison.judging import Judgement, Measure
from paddle_epoch_guard.errors import ReportError
from paddle_epoch_guard.ledger import ChangePoint
from paddle_epoch_guard.report import drawing
from paddle_epoch_guard.report.board import serve
from paddle_epoch_guard.report.drawing import further_families, look
from paddle_epoch_guard.report.figures import epoch_figure, fresh_figure, loss_figure, write_figures
from paddle_epoch_guard.report.page import render
from paddle_epoch_guard.report.reading import find_logging_dir, read_run
from paddle_epoch_guard.report.run_data import ChangeSummary, RunData, Series
from paddle_epoch_guard.report.settings import settings, stages
from paddle_epoch_guard.report.texts import epochs_found, fresh_found, losses_found, summary
from paddle_epoch_guard.resume import Finding, write_sidecar
from paddle_epoch_guard.statistics.discontinuity import Jump
from paddle_epoch_guard.statistics.judging import VerdictKind
from paddle_epoch_guard.statistics.verdicts import ChangeReport, Counterfactual
from paddle_epoch_guard.views.verdict_texts import advice_ahead
from synthetic_runs import Plan, Run
from test_chinese_console import english_in, is_chinese

pytestmark = pytest.mark.usefixtures("undrawn")

PACKAGE = language.LOCALES.parent
FONT = PACKAGE / "report" / "fonts" / "EpochGuardSansSC.otf"
ARGUMENTS = json.dumps({"max_steps": 400, "seed": 7, "per_device_train_batch_size": 4, "epoch_guard": "track"})


@pytest.fixture(autouse=True)
def in_chinese(in_english):
    language.use("zh")
    yield
    language.use(None)


def resumed(folder):
    """A run of two boundaries, resumed once, with a checkpoint."""
    run = Run(folder / "logs")
    run.train(1, 150, arguments=ARGUMENTS)
    run.train(101, 300, began=1_700_000_000, arguments=ARGUMENTS)
    checkpoint = folder / "out" / "checkpoint-300"
    checkpoint.mkdir(parents=True)
    write_sidecar(checkpoint, run.sidecar(300))
    return read_run(folder / "logs", folder / "out")


def shown(page):
    """The texts of a page, its labels and those of its charts, without code."""
    page = re.sub(r"<(style|pre|code|script>).*?</", "<", page, flags=re.S)
    charts = re.findall(r'<script type="application/json"[^>]*>(.*?)</script>', page, flags=re.S)
    page = re.sub(r"<script.*?</script>", "", page, flags=re.S)
    labels = re.findall(r'(?:alt|data-label)="([^"]*)"', page)
    texts = [*re.split(r"<[^>]*>", page), *labels, *(each for chart in charts for each in strings(json.loads(chart)))]
    return [html.unescape(text).strip() for text in texts if text.strip()]


def strings(value):
    """All texts in a JSON value."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        value = list(value.values())
    return [text for each in value for text in strings(each)] if isinstance(value, list) else []


def test_the_page(tmp_path):
    run = resumed(tmp_path)
    page = render(run)
    assert '<html lang="zh-CN">' in page
    texts = shown(page)
    assert not [text for text in texts if english_in(text)]
    for text in (
        "数据顺序在 2 处发生变化：1 处训练 loss 跳变是读取的数据所致（artefact，第 101 步）；"
        "1 处暂不能判定（undecided，第 201 步）。",
        "数据按训练库自己的顺序读取；训练断点续训过一次，之后第一个有日志的步是第 101 步。",
        "可以继续训练，但不要把下降当作模型提升：训练 loss 下降是因为数据重复。",
        "现在该做什么", "数据 epoch 2 开始（第 101 步）：", "训练 loss 与数据的已见次数", "放大",
        "断点续训，第 101 步首次输出 loss，2023-11-14 22:13 UTC 启动，2 个数据并行 rank",
        "4 个样本（单卡 4 × 累积 1 × 1 个数据并行 rank）", "Trainer 启动过 2 次：",
        "把语料完整读取一遍。它不是 Trainer 的 epoch。",
    ):  # fmt: skip
        assert text in texts, text
    assert re.search(
        r"此时训练 loss 的趋势值为 \d\.\d{3}，评估 loss 为 \d\.\d{3}，单位 nats/token，已见次数为 2\.00。", page
    )


def test_what_an_audit_found(tmp_path):
    """A table of its own: in text, Chinese would not stand in columns."""
    findings = (
        Finding("micro_batch", "4", "8", "repair"),
        Finding("accumulation", "1", "2", "repair"),
        Finding("unified", "on", "off", "warn", dataset=1),
    )
    run = Run(tmp_path / "logs").train(1, 150)
    page = render(read_run(run.train(101, 200, began=2, findings=findings).folder))
    (table,) = [each for each in re.findall(r"<table.*?</table>", page, flags=re.S) if "中断前" in each]
    rows = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, flags=re.S) for row in table.split("<tr>")[1:]]
    assert rows[:2] == [
        ["差异", "中断前", "现在", "处理", "说明"],
        ["单卡批大小", "4", "8", "修复", "<div>顺序不变，重新划分每一步的样本</div>"],
    ]
    assert [row[:4] for row in rows[3:]] == [["数据集 1 的统一打乱", "开启", "关闭", "警告"]]
    assert not [text for text in shown(table) if english_in(text)]
    assert "<pre>" not in page.split('id="resumes"')[1].split("</section>")[0]


def test_the_language_is_chosen_when_the_page_is_written(tmp_path):
    run = resumed(tmp_path)
    language.use("en")
    assert run.cuts[0].label == "data epoch 2 begins"
    assert summary(run)[2].startswith("The order is the host's own; ")
    page = render(run)
    assert '<html lang="en">' in page
    assert len([text for text in shown(page) if english_in(text)]) > 50


def test_a_run_with_little_in_it():
    bare = RunData(PACKAGE, None)
    texts = shown(render(bare))
    assert "没有可画的 loss。" in texts
    assert not [text for text in texts if english_in(text)]


def change(verdict, value=-1.0, dataset="", epochs=(1, 2)):
    point = ChangePoint("boundary_1_to_2", 50, 49, 50)
    report = None
    if verdict:
        counterfactual = Counterfactual(80, 3.0, 0.1, "evaluation")
        jump = Jump(value, 0.1, True, low=value - 0.2, high=value + 0.2)
        report = ChangeReport(point, verdict, "no_evaluation", jump, counterfactual=counterfactual)
    return ChangeSummary(point, dataset, epochs, report=report)


@pytest.mark.parametrize("verdict", [*get_args(VerdictKind), ""])
def test_every_verdict_is_a_sentence(verdict):
    for value, dataset, epochs in product((-1.0, 1.0), ("", "web"), ((1, 2), None)):
        cut = change(verdict, value, dataset, epochs)
        for cuts in ((cut,), (cut, replace(cut, change=replace(cut.change, step=70)))):
            run = RunData(PACKAGE, None, cuts=cuts, loss=Series.of([(1, 2.0), (2, 1.0), (90, 1.0)]))
            assert all(map(is_chinese, [*summary(run), losses_found(run), cut.no_verdict]))


def test_a_fall_that_is_an_artefact():
    said = summary(RunData(PACKAGE, None, cuts=(change("artefact"),)))[0]
    assert said == (
        "训练 loss 在第 50 步（数据 epoch 1 到 2）的下降是数据假象，不是模型变好：未经评估证实。"
        "假如没有重复，第 80 步的 loss 约为 3.000 ± 0.100（由评估 loss 和之前的差距推算）。"
    )


@pytest.mark.parametrize("unknown", [((1, 9),), ((1, 9), (20, 30), (41, None))])
def test_steps_that_nobody_knows(unknown):
    said = summary(RunData(PACKAGE, None, unknown_steps=unknown))
    assert all(map(is_chinese, said))
    assert "第 1 到 9 步" in said[0]


def test_a_blend_and_a_unified_order(tmp_path):
    run = Run(tmp_path / "blend", Plan((100, 150), ("web", "新闻"))).train(1, 300)
    blend = replace(read_run(tmp_path / "blend"), sidecar=run.sidecar(300), folders=("web", "新闻"))
    assert blend.cuts[0].label == "数据集 web 的数据 epoch 2 开始"
    assert epochs_found(blend).startswith("web，数据 epoch 1 的 loss 从其中第 1 步的 ")
    values = [
        text for group in settings(blend) for text in (group.title, *(each for row in group.rows for each in row))
    ]
    values += [stage.title for stage in stages(blend)]
    assert not [text for text in (*values, epochs_found(blend), fresh_found(blend)) if english_in(text)]
    assert {"数据集 2：新闻", "混合数据集", "统一打乱"} <= set(values)


def test_a_boundary_ahead():
    said = advice_ahead(1490)
    assert said[0] == "训练 loss 很可能在第 1,490 步下降：从这一步起数据开始重复，这不代表模型变好。"
    assert all(map(is_chinese, said))


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda folder: read_run(folder / "x"), "目录不存在。请指定本次训练的 logging_dir"),
        (lambda folder: read_run(folder), "请指定训练时的 logging_dir"),
        (lambda folder: find_logging_dir(folder), "请把训练的日志目录指定为 logging_dir"),
        (lambda folder: run_to_compare(folder), "请指定训练时的 logging_dir"),
        (lambda folder: compare(folder), "请指定训练时的 logging_dir"),
        (lambda folder: serve(str(folder), ["--host", "192.0.2.1", "--port", "8040"], print), "无法启动服务"),
    ],
)
def test_errors(tmp_path, call, said):
    with pytest.raises(ReportError, match=said) as raised:
        call(tmp_path)
    assert is_chinese(str(raised.value).replace(str(tmp_path), "").split("（Cannot")[0])


def compared(folder):
    separated = Made(folder / "separated", repeated_from=300, own_seed=1).write()
    unified = Made(folder / "unified", repeated_share=0.3, own_seed=2).write()
    return compare(separated, unified)


def test_the_comparison(tmp_path):
    comparison = compared(tmp_path)
    third = Made(tmp_path / "third", offset=0.2, evaluation="other", own_seed=3, ended=False).write()
    for each, title in (
        (comparison, "separated 与 unified 的比较"),
        (compare(*comparison.runs, third), "比较 3 次训练"),
    ):
        texts = shown(each.write_page(tmp_path / "page.html").read_text(encoding="utf-8"))
        assert title in texts
        assert not [text for text in texts if english_in(text)]
        assert not [text for text in shown(each._repr_html_()) if english_in(text)]
    sentence = comparison_texts.headline(comparison.findings)
    assert re.fullmatch(
        r"separated 和 unified 没有差别：依据评估 loss，差值在 [-+.\d]+ 到 [-+.\d]+ nats/token 之间。"
        r"只看原始训练 loss，separated 比 unified 低 \d\.\d{3} nats，似乎更好。"
        r"原始差值为 -\d\.\d{3}，评估 loss 之差为 [-+]\d\.\d{3}；余下的 -\d\.\d{3} 归因于已见次数。",
        sentence,
    )
    assert comparison_texts.run_head()[:3] == ("训练", "名次", "步")
    assert comparison_texts.pair_rows(comparison.findings)[0][-1] == "无差别"
    assert comparison.pairs[0].judgement.verdict == "no difference"
    assert is_chinese(run_to_compare(tmp_path / "third")._repr_html_().split("<table>")[0])


def test_every_sentence_of_a_comparison(tmp_path):
    (pair,) = compared(tmp_path).pairs
    estimates = replace(pair.estimates, fresh=pair.estimates.raw, inferred=pair.estimates.raw)
    verdicts = (("better", "differs"), ("worse", "agrees"), *(
        ("no difference", reason) for reason in ("below_margin", "within_margin", "not_excluded", "measures_disagree")
    ))  # fmt: skip
    for (verdict, reason), measure in product(verdicts, get_args(Measure)):
        judged = replace(pair, estimates=estimates, judgement=Judgement(verdict, reason, measure, 0.01))
        assert is_chinese(comparison_texts.verdict_sentence(judged))
    for obstacle in comparison_texts._OBSTACLES:
        refused = replace(pair, judgement=Judgement("not comparable", obstacle))
        assert is_chinese(comparison_texts.verdict_sentence(refused))
    for data, evaluation in product(("other", "other_length", "unknown"), ("same", "other", "unknown", "none")):
        refused = replace(pair, relation=replace(pair.relation, data=data, evaluation=evaluation))
        assert is_chinese(comparison_texts.relation_sentence(refused))
    for data, order, schedule, paired in product(("same", "other_mixture"), *((True, False),) * 3):
        relation = replace(pair.relation, data=data, same_order=order, same_schedule=schedule)
        assert is_chinese(comparison_texts.relation_sentence(replace(pair, relation=relation, paired=paired)))


def characters_of(path):
    """The characters of a font file."""
    return set(map(chr, FT2Font(str(path)).get_charmap()))


def has_all(text, *fonts):
    return set(text) - {"\n"} <= set().union(*map(characters_of, fonts))


def figures_of(run, comparison):
    yield from (loss_figure(run), epoch_figure(run), fresh_figure(run), comparison_figure(comparison.findings))


def saved(figure):
    stream = io.BytesIO()
    with look():
        figure.savefig(stream, format="png")
    return stream.getvalue()


def test_figures_need_no_font_of_the_system(tmp_path, monkeypatch):
    run, comparison = resumed(tmp_path), compared(tmp_path)
    monkeypatch.setattr(drawing, "system_families", set)
    monkeypatch.setattr(warnings, "filterwarnings", lambda *_, **__: None)  # so that a missing glyph is told
    latin = font_manager.findfont("DejaVu Sans")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        drawn = [saved(figure) for figure in figures_of(run, comparison)]
    for figure in figures_of(run, comparison):
        texts = [artist.get_text() for artist in figure.findobj(Text) if artist.get_text()]
        assert all(has_all(text, latin, FONT) and not english_in(text) for text in texts)
        assert any(not has_all(text, latin) for text in texts)
    monkeypatch.setattr(drawing, "further_families", lambda _: [])
    with pytest.warns(UserWarning, match="Glyph .* missing"):
        boxes = [saved(figure) for figure in figures_of(run, comparison)]
    assert all(one != other for one, other in zip(drawn, boxes, strict=True))
    assert {path.suffix for path in write_figures(tmp_path, run, ("svg", "pdf"))} == {".svg", ".pdf"}
    assert "训练 loss 与" in (tmp_path / "epoch_guard_loss.svg").read_text(encoding="utf-8")


def test_a_name_that_no_font_has_is_drawn_without_a_warning(monkeypatch):
    monkeypatch.setattr(drawing, "system_families", set)
    run = RunData(PACKAGE, None, loss=Series.of([(1, 2.0), (60, 1.0)]), cuts=(replace(change("none"), epochs=None),))
    run = replace(run, cuts=(change("none", dataset="𠮷𓀀鑫"),))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert saved(loss_figure(run))


def test_a_font_of_the_system_comes_first():
    assert further_families({"DejaVu Sans", "WenQuanYi Micro Hei", "SimHei"}) == ["WenQuanYi Micro Hei"]
    assert further_families({"Noto Sans CJK JP"}) == ["Epoch Guard Sans SC", "Noto Sans CJK JP"]
    language.use("en")
    assert further_families({"DejaVu Sans"}) == []
    assert further_families({"SimHei", "Unifont"}) == ["SimHei", "Unifont"]


def test_the_font_has_every_character_of_the_texts():
    """Else: scripts/subset-font, which says where the whole font comes from."""
    latin, missing = characters_of(font_manager.findfont("DejaVu Sans")), set()
    for room in ("report", "comparison", "views", "cli"):  # plan draws a figure too
        with (language.LOCALES / "zh" / f"{room}.po").open("rb") as stream:
            for message in read_po(stream):
                translated = [message.string] if isinstance(message.string, str) else message.string
                missing.update(*translated)
    assert not {character for character in missing - characters_of(FONT) - latin if character.isprintable()}
    assert FONT.stat().st_size < 300_000
    assert "SIL OPEN FONT LICENSE" in FONT.with_name("OFL.txt").read_text()
    assert paddle_epoch_guard.__file__.startswith(str(PACKAGE))
