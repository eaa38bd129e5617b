# ruff: noqa: RUF001 - Chinese has its own punctuation
"""In Chinese: the log of a run, its VisualDL texts, the audit of a resume, and every message, verdict and advice."""

import io
import logging
import re
from dataclasses import replace
from typing import get_args

import pytest

from corpora import LENGTH, SEPARATED, SIZES, build_train, index_of, write_corpus
from paddle_epoch_guard import EpochGuardArguments, language
from paddle_epoch_guard.autoinject.flags import split_flags
from paddle_epoch_guard.errors import ArgumentsError, EpochGuardError, IndexMismatchError, ResumeMismatchError
from paddle_epoch_guard.index.corpus import read_sizes
from paddle_epoch_guard.index.description import split_documents
from paddle_epoch_guard.index.verify import check_shuffle
from paddle_epoch_guard.language import tr
from paddle_epoch_guard.ledger import BoundaryStep, ChangePoint, Contrast, Difference, EpochLoss, Weighted
from paddle_epoch_guard.ledger.exposure import Estimate
from paddle_epoch_guard.order import Reorder, Schedule
from paddle_epoch_guard.record.events import Message, PartBegan, TokensTraced
from paddle_epoch_guard.record.naming import Naming
from paddle_epoch_guard.record.reader import RecordFile
from paddle_epoch_guard.resume import Finding, decode_sidecar
from paddle_epoch_guard.resume.finding_texts import FINDINGS
from paddle_epoch_guard.statistics.discontinuity import Jump
from paddle_epoch_guard.statistics.host_changes import HostChange
from paddle_epoch_guard.statistics.judging import Part, Reason, VerdictKind
from paddle_epoch_guard.statistics.verdicts import ChangeReport, Counterfactual
from paddle_epoch_guard.terminal import joined, printable
from paddle_epoch_guard.views import messages
from paddle_epoch_guard.views.audit_table import table_of
from paddle_epoch_guard.views.verdict_texts import REASONS, Situation, advice, jump_text, verdict

CODE = re.compile(r"'[^']*'|\S*[_./=\[(<-]\S*|--\S+")
"""What is no prose: quoted names, paths, flags, identifiers, calls."""
ENGLISH = re.compile(r"[A-Za-z][a-z]+(?:,? [a-z]+){2,}")
MESSAGES = {
    "text": {"text": "一句话"},
    "shuffled_again": {"sampler": "BatchSampler"},
    "sampler_unknown": {"sampler": "BatchSampler", "why": "原因"},
    "boundary_ahead": {
        "step": 1490, "max_steps": 2000, "dataset": "", "others": 2, "exposure": (0.0, 1.0), "can_unify": True,
        "verdict": {
            "first_verdict": 1550, "final_verdict": 1790, "most_logging_steps": 5, "evaluates": False,
            "most_eval_steps": 30,
        },
    },
    "grouped_together": {"dataset": "text"},
    "grouped_apart": {"dataset": "text"},
    "will_run_dry": {"last": 90, "max_steps": 100, "start": 0, "stop": 720, "global_batch": 8},
    "rewound": {"epoch": 2, "position": 160},
    "read_again": {"step": 90, "stop": 720, "max_steps": 100},
    "ran_dry": {"step": 90, "max_steps": 100, "stop": None},
    "loss_is_no_number": {"first_step": 1, "last_step": 5, "loss": float("nan"), "is_known": True},
    "evaluation_overlaps": {"ground": "documents", "looked_up": 400, "matching": 40},
    "evaluation_unknown": {"ground": "no_documents", "fault": ""},
    "extra_evaluations": {"steps": [10, 20], "samples": 64, "batches": 8},
    "evaluates_nothing": {"why": "no_positions"},
    "exposure_unknown": {"first_step": 101},
    "earlier_unknown": {"first_step": 1, "last_step": 100, "why": "no_arguments", "checkpoint": 100},
    "weights_unknown": {},
    "reorder_overlaps": {},
    "same_corpus": {"names": ["web", "code", "books"]},
    "same_sizes": {"names": ["web", "code"]},
    "draws_miscounted": {"batches": 1, "step": 7},
    "order_replaced": {"step": 7},
    "exposure_failed": {"fault": "MemoryError: "},
    "order_of_state": {"step": 100},
    "keeps_nothing": {"steps": 5, "least": 12},
    "keeps_record": {"record": "run/runs/x/epoch_guard/record.jsonl", "output": "run"},
    "begins_anew": {"checkpoint": "run/checkpoint-100"},
    "order_rebuilt": {"position": 400},
    "order_stays": {"position": 400},
    "ends_before_boundary": {"stop": 900, "boundary": 1000},
    "one_epoch": {},
    "shuffled_together": {},
    "nothing_left": {"start": 1200, "from_epoch": 1, "to_epoch": 2, "boundary": 1000},
    "order_changed": {"mismatch": "第 100 步：原因"},
    "share_ranks_unknown": {},
    "share_no_layer": {},
    "share_ranks_without_layer": {"ranks": 2},
    "share_other_loss": {"mean": 1.5, "logged": 2.5},
    "share_disturbed": {"what": "原因"},
    "share_back": {"step": 30},
    "share_fault": {"fault": "ValueError: "},
}  # fmt: skip
"""A message of each code."""


@pytest.fixture(autouse=True)
def in_chinese(in_english):
    language.use("zh")


def english_in(text):
    """Runs of three English words or more outside code."""
    return ENGLISH.findall(CODE.sub("", text))


def is_chinese(text):
    return re.search(r"[\u4e00-\u9fff]", text) is not None and not english_in(text)


def test_what_counts_as_english():
    assert english_in("the run goes on") == ["the run goes on"]
    assert not english_in("可以用 'paddle-epoch-guard report run/a' 生成 epoch_guard_report.html（--lang zh）")
    assert not is_chinese("nats")


def test_every_message_is_chinese():
    assert set(MESSAGES) == set(messages.MESSAGES)
    for code, parameters in MESSAGES.items():
        assert is_chinese(messages.sentence_of(Message(code, parameters))), code


@pytest.mark.parametrize(
    ("code", "changes", "sentence"),
    [
        ("one_epoch", {}, "无需统一打乱：本次训练只用到一个数据 epoch。只做跟踪"),
        ("same_corpus", {}, "web、code 和 books 是同一份语料"),
        ("same_corpus", {"names": "web and code"}, "web and code 是同一份语料"),  # of a record of an earlier release
        ("ran_dry", {"stop": 720}, "训练停在第 90 步（计划 100 步），因为数据索引已读到末尾（位置 720）"),
        ("sampler_unknown", {"why": ""}, "不支持采样器 BatchSampler：无法得知数据 epoch"),
        ("earlier_unknown", {"why": "other_position"}, "无法得知第 1 步至第 100 步读取了什么：这些步没有接入插件"),
        ("earlier_unknown", {"why": "index_missing", "samples": 9, "seed": 1, "path": "a"}, "已不在缓存中（文件 a）"),
        ("boundary_ahead", {"all_repeated": False, "dataset": ""}, "其中一部分数据可能未训练过"),
        ("extra_evaluations", {}, "额外评估 2 次，每次 8 个批次：第 10, 20 步之后；验证集有 64 个样本"),
        ("extra_evaluations", {"batches": None, "samples": None}, "额外评估 2 次：第 10, 20 步之后。"),
        ("evaluation_overlaps", {"ground": "same_documents"}, "验证集与训练数据重叠：两者取自相同的文档"),
        ("evaluation_unknown", {"ground": "fault", "fault": "OSError: x"}, "是否重叠：OSError: x。"),
        ("loss_is_no_number", {"is_known": False}, "这些步没有 loss"),
        (
            "boundary_ahead", {"dataset": "web", "exposure": (1.2, 2.0), "can_unify": False},
            "数据集 web 的 loss 可能在第 1,490/2,000 步（其后还有 2 个边界）略有下降",
        ),
    ],
)  # fmt: skip
def test_what_a_message_says(code, changes, sentence):
    said = messages.sentence_of(Message(code, {**MESSAGES[code], **changes}))
    assert sentence in said
    assert is_chinese(said) or changes.get("names")


def report(reason="evaluation_flat", kind="artefact", **changes):
    jump = Jump(-1.66, 0.02, True, detectable=0.05, low=-1.70, high=-1.62, level=6.0)
    values = {
        "evaluation": Jump(0.01, 0.02, False, low=-0.03, high=0.05, level=6.1),
        "exposure_before": Estimate(0.0, 0.0), "exposure_after": Estimate(1.0, 0.0), "mean_before": 6.0,
        "mean_after": 4.3, "gap": Jump(-1.6, 0.1, True, before=4, low=-1.8, high=-1.4, level=6.0),
        "shared": Part(0.0, 0.1), "alone": Part(-1.6, 0.1),
        "counterfactual": Counterfactual(1520, 5.9, 0.02, "jump"), "final": True, **changes,
    }  # fmt: skip
    change = ChangePoint("boundary_1_to_2", 1490, 1489, 1490, BoundaryStep(1490, 1, position=11920))
    return ChangeReport(change, kind, reason, jump, **values)


def test_a_verdict():
    said = verdict(report(), Naming(("text",)))
    assert said.startswith(
        "数据 epoch 2 起点（第 1490 步）的判定：artefact（评估 loss 没有随之跳变）。"
        "训练 loss 跳变 -1.6600 nats（95% 置信区间 -1.7000 到 -1.6200，相当于 loss 的 -27.7%）；"
    )
    assert said.endswith("；假如没有重复，第 1520 步的 loss 约为 5.900 ± 0.020（由 loss 减去跳变推算）。")
    assert is_chinese(said)
    assert jump_text(report().training) == "-1.660（-1.700 到 -1.620）"


@pytest.mark.parametrize("reason", get_args(Reason))
def test_every_verdict_is_chinese(reason):
    changes = (HostChange("batch", 1490, 8, 16), HostChange("rate", 1490, 1e-3, 1e-4))
    for kind in get_args(VerdictKind):
        for final in (True, False):
            said = verdict(report(reason, kind, final=final, host_changes=changes), Naming(("web", "code")))
            assert is_chinese(said)
            assert tr(REASONS[reason]) in said
            assert ("初步判定" in said) is not final


@pytest.mark.parametrize("kind", [None, *get_args(VerdictKind)])
def test_every_advice_is_chinese(kind):
    for reason in get_args(Reason):
        for values in ({}, {"is_boundary": False}, {"rises": True, "is_final": False}, {"together": (1600, 1800)}):
            assert all(map(is_chinese, advice(Situation(1490, kind, reason, shared=-0.5, **values))))


def test_other_lines_of_the_log():
    naming = Naming(("web", "code"))
    began = PartBegan(
        version=1, run="a", part="b", step=0, time=0.0, max_steps=100, epochs_of="data", datasets=naming.datasets,
        data_epochs=(1, 2), boundaries=(BoundaryStep(50, 1, dataset=1, position=400),),
    )  # fmt: skip
    assert (
        messages.outlook(began) == "跟踪 web 的 1 个数据 epoch、code 的 2 个数据 epoch；后面的边界：第 50 步（1 → 2）"
    )
    assert messages.traced(TokensTraced(20_000, 10**9)) == (
        "已见次数：从 1,000,000,000 个 token 中随机选取 20,000 个追踪；各步均值的误差通常小于 0.04"
    )
    assert messages.boundary_reached(began.boundaries[0], naming).startswith(
        "第 50 步（位置 400）开始读取数据集 code 的数据 epoch 2，它与数据 epoch 1 分开打乱。"
    )
    assert messages.boundary_reached(BoundaryStep(5, 1), Naming(trainer=True)) == "第 5 步：Trainer epoch 2 开始。"
    assert is_chinese(messages.reorder_begins(Reorder(0, 800, "uniform", (7, 1, 0)), 1))
    assert is_chinese(messages.reorder_begins(Reorder(400, 800, "ramp", (7, 1, 0), 600), 51))
    total = EpochLoss(dataset=1, epoch=2, loss=Weighted(10.0, 20.0), samples=1000, first_step=50, last_step=100)
    said = messages.summary([total], Contrast(), [report()], naming)
    assert said.startswith("  code，数据 epoch 2：1,000 个样本，第 50 到 100 步，平均 loss 2.0000\n  ")
    assert is_chinese(said)
    assert joined(["a", "b", "c"]) == "a、b 和 c"


@pytest.mark.parametrize(
    ("value", "error", "said"),
    [
        (-0.5, 0.1, "重复训练的样本 loss 比同期、同一数据集内首次训练的样本低 0.5000 ± 0.1000"),
        (0.5, 0.1, "重复训练的样本 loss 比同期、同一数据集内首次训练的样本高 0.5000 ± 0.1000"),
        (0.01, 0.1, "重复训练的样本与同期、同一数据集内首次训练的样本相比，loss 没有明显差别（+0.0100 ± 0.1000）"),
    ],
)
def test_repeated_against_fresh(value, error, said):
    assert messages.repeated_against_fresh(Difference(value, error, 30), is_blend=True) == said


def test_every_finding_is_chinese():
    parameters = dict.fromkeys(("position", "recorded", "current", "added", "sizes"), 8)
    for code in FINDINGS:
        finding = Finding(code, "1", "2", "repair", parameters, dataset=1)
        assert is_chinese(finding.why), code
        assert is_chinese(finding.what), code


def test_the_values_of_findings():
    then = ["none", "on", "yes", "the host's own", "unified from position 400", "3 to 5, 8 to 9", "text", "-", "12"]
    assert [Finding("unified", each, "off", "warn").then for each in then] == [
        "无", "开启", "是", "训练库自己的顺序", "从位置 400 起统一打乱", "3 到 5, 8 到 9", "text", "-", "12",
    ]  # fmt: skip
    table = table_of(100, [Finding("unified", "on", "off", "warn"), Finding("micro_batch", "4", "8", "repair")])
    assert table.startswith("从第 100 步续训，差异如下")
    assert re.search(r"差异 +┃ 中断前 ┃ 现在 ┃ 处理 ┃ 说明", table)
    assert re.search(r"单卡批大小 │ 4 +│ 8 +│ 修复 │ 顺序不变，重新划分每一步的样本", table)


def test_a_flag_with_a_wrong_value():
    with pytest.raises(ArgumentsError) as raised:
        EpochGuardArguments(epoch_guard="on")
    assert str(raised.value).startswith("--epoch_guard 的值是 'on'；应为：off、track、unified 之一。插件的模式。")


@pytest.mark.host
def test_a_run_and_its_resume(tmp_path, host_log):
    from training import KnownLosses, arguments, train
    from vdl_logs import read_texts

    prefix = write_corpus(tmp_path / "text", [100] * 80 + [1])

    def start(steps, logs, **changes):
        dataset = build_train([prefix], steps * 4, 8, cache=tmp_path / "cache" / str(steps))
        resume = changes.pop("resume", None)
        values = {"max_steps": steps, "logging_steps": 5, "logging_dir": str(tmp_path / logs), **changes}
        return train(arguments(tmp_path, epoch_guard_lang="zh", **values), dataset, model=KnownLosses, resume=resume)

    language.use("en")  # the flag asks for Chinese
    start(400, "logs", save_strategy="steps", save_steps=100)
    lines = host_log.of_guard()
    assert lines[0] == "epoch guard: 跟踪 text 的 2 个数据 epoch；后面的边界：第 251 步（1 → 2）"
    block = next(line for line in lines if "很可能" in line).splitlines()
    assert block[0] == "epoch guard: 训练 loss 很可能在第 251/400 步下降：从这一步起，数据全都训练过"
    assert (
        block[3]
        == "  避免方法：使用 --epoch_guard unified，或把 max_steps 设为不超过 250（详见 paddle-epoch-guard plan）"
    )
    assert any(line.startswith("epoch guard: 数据 epoch 2 起点（第 251 步）的判定：") for line in lines)
    texts = read_texts(tmp_path / "logs" / "epoch_guard" / "boundary_1_to_2", "epoch_guard/boundary_1_to_2")
    assert texts[0].startswith("第 251 步（位置 1000）开始读取数据 epoch 2，")
    assert all(map(is_chinese, texts))
    start(450, "logs", per_device_train_batch_size=8, resume=str(tmp_path / "run" / "checkpoint-100"))
    (table,) = [line for line in host_log.of_guard() if "差异如下" in line]
    assert "单卡批大小" in table
    assert not [line for line in host_log.of_guard() if not is_chinese(line)]


@pytest.mark.host
def test_a_terminal_without_these_characters_gets_the_line(monkeypatch, capsys):
    """Also on a stream that raises, where Python's logging would print a traceback in the place of the line."""
    from paddle_epoch_guard import host  # takes seconds, which only some tests need

    handler = host.logger.handler
    for encoding, expected in (("gbk", "数据集 ? 的 loss ± 0.1"), ("ascii", "??? ? ? loss +- 0.1")):
        stream = io.TextIOWrapper(io.BytesIO(), encoding, "strict", write_through=True)
        with monkeypatch.context() as patch:
            patch.setattr(handler, "stream", stream)
            host.say("epoch guard: 数据集 \U0001f600 的 loss ± 0.1")
            host.warn("epoch guard: 报告页：\udcff")
        printed = stream.buffer.getvalue().decode(encoding)
        assert f"epoch guard: {expected}" in printed
        assert printed.count("epoch guard: ") == 2
    assert "Logging error" not in capsys.readouterr().err


def test_text_for_streams_of_other_code():
    gbk = io.TextIOWrapper(io.BytesIO(), encoding="gbk")
    assert printable("汉 ± \U0001f600", gbk, io.StringIO(), object()) == "汉 ± ?"
    assert printable("汉 ± \U0001f600", logging) == "汉 ± \U0001f600"


@pytest.mark.parametrize(
    ("attempt", "said"),
    [
        (lambda: read_sizes("nowhere/text"), "文件不存在；应给出语料的前缀，不含 .idx 或 .bin"),
        (lambda: split_documents("949,x,1", "train", 10), "无法解析 split '949,x,1'；应为各部分的占比"),
        (lambda: Reorder(5, 3, "uniform", (1,)), "重排范围是位置 5 到 3；应满足 0 <= start < stop"),
        (lambda: Schedule(()), "训练计划没有任何区段；至少应有一个"),
        (lambda: decode_sidecar(b'{"version": 99}'), "版本是 99，当前版本能读取 1 到 3"),
        (lambda: split_flags(["--epoch_guard"]), "--epoch_guard 没有给出值；应为：off、track、unified 之一"),
        (lambda: split_flags(["--epoch_gard_x=1", "--epoch_guard_x=1"]), "--epoch_guard_x=1 不是插件的参数；"),
    ],
)
def test_errors(attempt, said):
    with pytest.raises((EpochGuardError, ValueError)) as raised:
        attempt()
    assert said in str(raised.value)
    assert is_chinese(str(raised.value))


def test_an_index_that_is_damaged(tmp_path):
    index = index_of(build_train([write_corpus(tmp_path / "text", SIZES)], SEPARATED, LENGTH))
    shuffled = index.arrays.shuffle_idx.copy()
    shuffled[0] = shuffled[1]
    with pytest.raises(IndexMismatchError) as raised:
        check_shuffle(replace(index.arrays, shuffle_idx=shuffled), index.layout)
    assert re.search(r"位置 0 到 [\d,]+ 没有读取样本 [\d,]+；应为 每个样本各一次。请删除这些文件", str(raised.value))


def test_a_record_that_is_damaged(tmp_path):
    (tmp_path / "record.jsonl").write_text("nothing\n" * 3 + "cut")
    faults = RecordFile.open(tmp_path / "record.jsonl").faults
    assert any("略过 3 行损坏的记录（第 1, 2, 3 行），结果中缺少这些内容" in fault for fault in faults)
    assert any("最后一条记录不完整" in fault for fault in faults)


@pytest.mark.host
def test_a_resume_with_another_corpus_is_refused(tmp_path):
    from training import KnownLosses, arguments, train

    def start(sizes, name, resume=None, **changes):
        dataset = build_train([write_corpus(tmp_path / name, sizes)], 160, 8)
        values = {"max_steps": 40, "save_strategy": "steps", "save_steps": 20, **changes}
        return train(arguments(tmp_path, **values), dataset, model=KnownLosses, resume=resume)

    start(SIZES, "text")
    with pytest.raises(ResumeMismatchError) as raised:
        start([*SIZES, 9], "other", resume=str(tmp_path / "run" / "checkpoint-20"))
    said = str(raised.value)
    assert said.startswith(
        "从第 20 步续训的训练与中断前的不一致：语料的 token 数：原为 605，现为 614（语料已不是同一份）；"
    )
    assert is_chinese(said)
