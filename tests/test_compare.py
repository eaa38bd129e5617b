"""Which of two runs is better: runs with a known truth, read from their records."""

from dataclasses import replace

import numpy as np
import pytest
from msgspec import structs

from compared_runs import SAMPLES_PER_EPOCH, Made
from paddle_epoch_guard.comparison.compare import compare
from paddle_epoch_guard.comparison.judging import ranking
from paddle_epoch_guard.comparison.reading import read_run
from paddle_epoch_guard.comparison.texts import (
    explained_by_exposure,
    headline,
    notes,
    relation_sentence,
    run_rows,
    verdict_sentence,
)
from paddle_epoch_guard.errors import ReportError
from paddle_epoch_guard.order import Reorder
from paddle_epoch_guard.record.events import Evaluated, WindowLogged


@pytest.fixture
def made(tmp_path):
    """Records a run under a name; returns its folder."""

    def make(name, **values):
        return Made(tmp_path / name, **values).write()

    return make


def pair_of(one, other, **how):
    (pair,) = compare(one, other, **how).pairs
    return pair


def test_a_run_is_read_as_a_table(made):
    run = read_run(made("a", repeated_share=0.25))
    assert run.windows["step"].tolist() == list(range(10, 601, 10))
    assert run.windows["first_step"].tolist() == list(range(1, 601, 10))
    np.testing.assert_array_equal(run.windows["tokens"], run.windows["step"] * 16 * 32)
    np.testing.assert_allclose(run.windows["repeat_samples"], 40)
    np.testing.assert_allclose(run.windows["fresh"] - run.windows["repeat"], 1.0, atol=0.6)
    np.testing.assert_allclose(run.windows["loss_exposure_1"], run.windows["repeat"])
    assert np.isnan(run.windows["loss_exposure_2"]).all()
    assert run.evaluations["step"].tolist() == list(range(20, 601, 20))
    np.testing.assert_array_equal(run.windows["evaluation"][1::2], run.evaluations["loss"])
    assert np.isnan(run.windows["evaluation"][0])
    assert (run.ended, run.max_steps, run.sequence_length) == (True, 600, 32)


def test_equal_runs_do_not_differ_and_pairing_cancels_what_the_data_brings(made):
    pair = pair_of(made("a", own_seed=1), made("b", own_seed=2))
    assert pair.paired
    assert pair.judgement.verdict == "no difference"
    assert pair.estimates.pairing == pytest.approx(2 * 0.05**2 / (2 * (0.05**2 + 0.5**2 / 160)), rel=0.6)
    assert "draw the same samples at each step" in relation_sentence(pair)


@pytest.mark.parametrize("offset", [-0.1, 0.1])
def test_a_run_with_a_lower_loss_on_the_same_samples_is_better(made, offset):
    pair = pair_of(made("a", own_seed=1, offset=offset), made("b", own_seed=2))
    assert pair.judgement.verdict == ("better" if offset < 0 else "worse")
    assert pair.estimates.fresh.low < offset < pair.estimates.fresh.high
    assert f"a is {pair.judgement.verdict} than b" in verdict_sentence(pair)


def test_a_run_behind_its_boundary_is_not_better_for_what_it_remembers(made):
    separated = made("separated", repeated_from=401, offset=0.15)
    mixed = made("unified", repeated_share=0.4, seed=1, own_seed=1, reorders=(Reorder(0, 9_600, "uniform", (1,)),))
    pair = pair_of(separated, mixed)
    assert not pair.paired
    assert pair.estimates.raw.value < -0.3  # raw, it looks better
    assert pair.estimates.fresh is None
    assert (pair.judgement.verdict, pair.judgement.measure) == ("worse", "evaluation")
    assert pair.estimates.evaluation.value == pytest.approx(0.15, abs=0.02)
    assert "By the raw training loss, separated looks better than unified" in verdict_sentence(pair)
    assert "hardly any" in run_rows(compare(separated, mixed).findings)[1]


def test_where_all_is_repeated_and_evaluations_differ_the_gap_before_stands_in(made):
    separated = made("separated", repeated_from=401, offset=0.15, evaluation="own", own_noise=0.01)
    mixed = made("unified", seed=1, own_seed=1, order="other", own_noise=0.01)
    pair = pair_of(separated, mixed)
    assert pair.relation.evaluation == "other"
    assert pair.estimates.evaluation is None
    assert pair.judgement.measure == "inferred"
    assert pair.estimates.inferred.low < 0.15 < pair.estimates.inferred.high
    without = made("without", repeated_from=401, eval_steps=None)
    found = pair_of(without, mixed)
    assert (found.judgement.verdict, found.judgement.reason) == ("not comparable", "all_repeated")


def test_other_data_is_compared_by_evaluation_alone(made):
    one = made("a", offset=0.1)
    pair = pair_of(one, made("b", corpora=("code",)))
    assert pair.relation.data == "other"
    assert (pair.judgement.verdict, pair.judgement.measure) == ("worse", "evaluation")
    assert pair.estimates.fresh is None
    other = pair_of(one, made("c", corpora=("code",), evaluation="other"))
    assert (other.judgement.verdict, other.judgement.reason) == ("not comparable", "other_data")
    assert "they train on different data" in verdict_sentence(other)
    same_sizes = pair_of(one, made("d", texts=("1 bytes b",)))
    assert same_sizes.relation.data == "other"


def test_exposure_explains_nothing_where_all_is_fresh(made):
    pair = pair_of(made("a", own_seed=1, offset=0.1, evaluation_offset=-0.05), made("b", own_seed=2))
    assert pair.judgement.measure == "evaluation"
    assert explained_by_exposure(pair) == pytest.approx(0)
    assert "xposure" not in verdict_sentence(pair)


def test_exposure_is_not_blamed_if_the_raw_difference_may_be_what_is_left(made):
    one, other = made("a", own_seed=1, offset=-0.3), made("b", own_seed=2, repeated_from=401, eval_steps=20)
    pair = pair_of(other, one)
    noisy = replace(pair.estimates.evaluation, value=-0.2, low=-2.0, high=2.0, p=0.8)
    uncertain = replace(
        pair,
        estimates=replace(pair.estimates, evaluation=noisy),
        judgement=replace(pair.judgement, verdict="no difference", reason="not_excluded"),
    )
    assert abs(pair.estimates.raw.value) > 0.3
    assert "looks better" in verdict_sentence(pair)
    assert "looks better" not in verdict_sentence(uncertain)


def test_the_mixture_is_named_where_it_explains_a_difference(made):
    blend = {"corpora": ("text", "code"), "texts": ("1", "2"), "levels": (0.0, -1.5)}
    one = made("a", weights=(0.8, 0.2), **blend)
    assert "put down to the mixture and exposure" in verdict_sentence(
        pair_of(one, made("b", weights=(0.4, 0.6), **blend))
    )


def test_another_sequence_length_is_not_comparable(made):
    pair = pair_of(made("a", eval_steps=None), made("b", sequence_length=64, steps=300, eval_steps=None))
    assert pair.judgement.reason == "other_length"


def test_evaluation_on_training_data_does_not_count(made):
    one, other = made("a", corpora=("code",), apart=False, offset=0.1), made("b")
    comparison = compare(one, other)
    assert comparison.pairs[0].judgement.verdict == "not comparable"
    assert any("overlaps its training data" in note for note in notes(comparison.findings))


def test_a_doubled_batch_is_compared_at_equal_tokens(made):
    pair = pair_of(made("a", offset=0.1), made("b", batch=32, steps=300, seed=3, own_seed=4))
    assert not pair.paired
    assert not pair.relation.same_schedule
    assert pair.judgement.verdict == "worse"
    assert pair.estimates.fresh.value == pytest.approx(0.1, abs=0.06)
    assert "at equal tokens drawn" in relation_sentence(pair)


def test_another_mixture_is_compared_dataset_by_dataset(made):
    blend = {"corpora": ("text", "code"), "texts": ("1", "2"), "levels": (0.0, -1.5)}
    one = made("a", weights=(0.8, 0.2), **blend)
    other = made("b", weights=(0.4, 0.6), seed=1, own_seed=1, **blend)
    pair = pair_of(one, other)
    assert pair.relation.data == "other_mixture"
    assert pair.estimates.raw.value > 0.4
    assert pair.estimates.fresh.low < 0 < pair.estimates.fresh.high
    assert pair.judgement.verdict == "no difference"
    assert "dataset by dataset" in relation_sentence(pair)


def test_several_runs_are_ranked_with_ties(made):
    folders = [made(name, own_seed=number, offset=offset) for number, (name, offset) in enumerate(
        [("a", 0.2), ("b", 0.0), ("c", 0.0005), ("d", 0.1)]
    )]  # fmt: skip
    comparison = compare(*folders)
    ranks = {comparison.runs[each.run].name: each.rank for each in comparison.ranking}
    assert ranks == {"a": 4, "b": 1, "c": 1, "d": 3}
    assert headline(comparison.findings) == ("b and c are the best of 4 runs; the data does not tell them apart.")
    assert [row[1] for row in run_rows(comparison.findings)] == ["1=", "1=", "3", "4"]


def test_runs_of_two_kinds_of_data_have_no_common_best(made):
    other = {"corpora": ("code",), "texts": ("2 bytes",), "eval_steps": None}
    folders = [
        made("a", eval_steps=None), made("b", offset=0.2, own_seed=1, eval_steps=None),
        made("c", **other), made("d", offset=0.2, own_seed=2, **other),
    ]  # fmt: skip
    said = headline(compare(*folders).findings)
    assert "does not tell" not in said
    assert said.startswith("Of 4 runs, none is better than a and c")
    assert "not all of these are comparable" in said


def test_verdicts_in_a_circle_have_no_best(made):
    found = compare(*(made(name, own_seed=number) for number, name in enumerate("abc"))).findings
    circle = [replace(pair, judgement=replace(pair.judgement, verdict=verdict)) for pair, verdict in zip(
        found.pairs, ("better", "worse", "better"), strict=True
    )]  # fmt: skip
    ranks = tuple(ranking(3, [(0, 1), (0, 2), (1, 2)], [pair.judgement for pair in circle]))
    said = headline(replace(found, pairs=tuple(circle), ranking=ranks))
    assert said.startswith("None of the 3 runs is the best")


class Changed(Made):
    """Records its windows with some fields changed."""

    def changed(self, window):
        return structs.replace(window, loss=None) if window.last_step % 30 == 0 else window

    def events(self):
        for event in super().events():
            yield self.changed(event) if isinstance(event, WindowLogged) else event


def test_a_lost_loss_does_not_hide_the_others(made, tmp_path):
    folder = Changed(tmp_path / "lost").write()
    lost, whole = (each[3] for each in run_rows(compare(folder, made("whole", own_seed=1)).findings))
    assert float(lost) == pytest.approx(float(whole), abs=0.1)


def test_what_is_fresh_is_unknown_without_losses_by_sample(made, tmp_path):
    class Plain(Changed):
        def changed(self, window):
            return structs.replace(window, fresh=None, repeat=None, by_exposure=(), wholly_fresh=())

    findings = compare(Plain(tmp_path / "plain", eval_steps=None).write(), made("whole", eval_steps=None)).findings
    assert run_rows(findings)[0][4] == "\N{EN DASH}"
    assert "are known to be fresh" in verdict_sentence(findings.pairs[0])


def test_an_evaluation_that_is_recorded_twice_counts_once(tmp_path):
    class Twice(Made):
        def events(self):
            for event in super().events():
                yield event
                if isinstance(event, Evaluated):
                    yield event

    folders = [Twice(tmp_path / name, own_seed=number).write() for number, name in enumerate("ab")]
    assert read_run(folders[0]).evaluations["step"].tolist() == list(range(20, 601, 20))
    assert compare(*folders).pairs[0].estimates.evaluation is not None


def test_the_place_can_be_named(made):
    one, other = made("a"), made("b", steps=400)
    assert (compare(one, other).place.first_step, compare(one, other).place.last_step) == (101, 400)
    place = compare(one, other, at=300, last=100).place
    assert (place.first_step, place.last_step) == (201, 300)
    with pytest.raises(ReportError, match="--at 500: the runs have steps 1 to 400 of a in common"):
        compare(one, other, at=500)


def test_a_later_part_replaces_what_it_trains_again(made, tmp_path):
    folder = made("a")
    Made(folder, first_step=301, offset=5.0, steps=500).write()
    run = read_run(folder)
    assert run.windows["step"].tolist() == list(range(10, 501, 10))
    assert run.windows["loss"][29] < 6 < run.windows["loss"][30]


def test_a_run_that_is_still_written_is_read_as_far_as_it_is(made):
    folder = made("a", ended=False)
    record = folder / "epoch_guard" / "record.jsonl"
    whole = record.read_bytes()
    record.write_bytes(whole + whole.splitlines()[-1][:50])
    comparison = compare(folder, made("b", own_seed=1))
    assert any("a has not ended" in note for note in notes(comparison.findings))
    assert "middle of a record" in comparison.runs[0].faults[0]
    assert record.read_bytes() == whole + whole.splitlines()[-1][:50]


def test_what_is_no_run_is_refused_in_one_line(made, tmp_path):
    one = made("a")
    (tmp_path / "empty").mkdir()
    (tmp_path / "plain").mkdir()
    (tmp_path / "plain" / "vdlrecords.1.log").write_bytes(b"")
    late = made("late", first_step=301, steps=600, changes={"schedule": Made(tmp_path).state.schedule})
    early = made("early", steps=200)
    for folders, what in (
        ((one, tmp_path / "nowhere"), "no such folder"),
        ((one, tmp_path / "empty"), "no log of a run"),
        ((one, tmp_path / "plain"), "trained without the guard"),
        ((one,), "1 run to compare; expected 2"),
        ((late, early), "the runs do not overlap"),
    ):
        with pytest.raises(ReportError, match=what) as raised:
            compare(*folders)
        assert "\n" not in str(raised.value)


@pytest.mark.parametrize("margin", [-0.1, float("nan"), float("inf")])
def test_a_margin_that_is_no_number_is_refused(made, margin):
    with pytest.raises(ReportError, match="a margin of"):
        compare(made("a"), made("b", own_seed=1), margin=margin)


def test_without_positions_tokens_are_still_counted(made, tmp_path):
    class Unplaced(Made):
        state = None

    folder = Unplaced(tmp_path / "unplaced").write()
    assert read_run(folder).windows["tokens"][-1] == 600 * 16 * 32
    pair = pair_of(made("a", own_seed=1, offset=0.1), folder)
    assert (pair.judgement.verdict, pair.judgement.measure) == ("worse", "evaluation")
    assert "which samples they drew is not known" in relation_sentence(pair)


def test_a_blend_of_many_datasets_is_compared_as_one_unless_its_mixture_differs(tmp_path):
    class Many(Changed):
        def changed(self, window):
            cells = {
                name: tuple(structs.replace(cell, dataset=None) for cell in getattr(window, name))
                for name in ("by_exposure", "wholly_fresh")
            }
            return structs.replace(window, **cells)

    names = tuple(f"corpus{number}" for number in range(17))
    blend = {"corpora": names, "texts": names, "levels": (0.0,) * 17, "batch": 17, "eval_steps": None}
    folders = [
        Many(tmp_path / name, own_seed=number, weights=weights, **blend).write()
        for number, (name, weights) in enumerate((("a", (1.0,) * 17), ("b", (1.0,) * 17), ("c", (2.0, *(1.0,) * 16))))
    ]
    same, other, _ = compare(*folders).pairs
    assert same.judgement.measure == "fresh"
    assert same.estimates.fresh.value == pytest.approx(same.estimates.raw.value)
    assert (other.relation.data, other.judgement.reason) == ("other_mixture", "mixture_unknown")
    assert "by dataset" in verdict_sentence(other)


def test_equal_names_are_told_apart(made):
    one, other = made("x/logs"), made("y/logs", own_seed=1)
    assert [run.name for run in compare(one, other).runs] == ["x/logs", "y/logs"]


def test_samples_per_epoch_is_the_layouts(made):
    assert read_run(made("a")).state.datasets[0].tokens_per_epoch == SAMPLES_PER_EPOCH * 32
