"""Protocols A and B: folds, split, confusion matrices and the ratios of EC57, on examples done by hand."""

import numpy as np
import pytest

from synapcc.examples.ecg import protocol, records
from synapcc.examples.ecg.beats import Beats
from synapcc.gen.stages import probe


def make(label: list[int], sample: list[int] | None = None, record: list[str] | None = None) -> Beats:
    n = len(label)
    return Beats(
        beat=np.zeros((n, 151), np.float32),
        rr=np.zeros((n, 4), np.float32),
        label=np.array(label, np.uint8),
        symbol=np.array(["NAVFQ"[c] for c in label]),
        sample=np.array(sample or range(n), np.int64),
        record=np.array(record or ["1"] * n),
    )


def test_sets_are_disjoint_and_whole() -> None:
    assert len(set(protocol.DS1)) == len(set(protocol.DS2)) == 22
    assert not set(protocol.DS1) & set(protocol.DS2)


def test_series_are_the_unpaced_records_of_the_database() -> None:
    assert len(protocol.SERIES_100) == 20 and len(protocol.SERIES_200) == 24
    assert set(protocol.SERIES_100) | set(protocol.SERIES_200) == set(protocol.DS1) | set(protocol.DS2)
    assert max(protocol.SERIES_100) == "124" and min(protocol.SERIES_200) == "200"
    assert not set(records.PACED) & {*protocol.SERIES_100, *protocol.SERIES_200}


@pytest.mark.parametrize("chosen", protocol.PROTOCOLS.values(), ids=lambda p: p.name)
def test_folds_cover_the_base_once(chosen: protocol.Protocol) -> None:
    dealt = [name for fold in chosen.folds for name in fold]
    assert sorted(dealt) == sorted(chosen.base)
    assert not set(dealt) & set(chosen.test)
    assert {len(fold) for fold in chosen.folds} <= {4, 5}


def test_common_beats_take_all_that_are_rare_and_turns_between_patients() -> None:
    label = [0] * 300 + [1] * 80 + [2] * 100 + [3] * 13 + [4] * 7
    pool = make(label, record=["a", "b"] * 150 + ["a"] * 70 + ["b"] * 10 + ["a", "b"] * 60)
    chosen = protocol.common(pool, 0)
    assert len(set(chosen)) == 245
    assert np.bincount(pool.label[chosen]).tolist() == [75, 75, 75, 13, 7]
    assert (pool.record[chosen[:75]] == "a").sum() in (37, 38)
    assert (pool.record[chosen[75:150]] == "b").sum() == 10
    assert (chosen == protocol.common(pool, 0)).all() and (chosen != protocol.common(pool, 1)).any()


def test_replay_keeps_every_common_beat() -> None:
    labels = np.repeat(np.arange(5), [75, 75, 75, 13, 7])
    assert sorted(probe.balanced(labels, protocol.B.replay)) == list(range(245))


def test_score_of_b_leaves_out_what_nobody_has() -> None:
    f1 = {"N": 0.9, "S": 0.5, "V": 0.8}
    assert protocol.B.score(0.8, 0.1, f1) == pytest.approx(0.7)
    assert protocol.A.score(0.8, 0.1, f1) == pytest.approx(0.45)


def test_five_classes_have_five_rows() -> None:
    matrix = protocol.B.confusion(np.array([0, 4, 4], np.uint8), np.array([0, 4, 2]))
    assert matrix.shape == (5, 5) and matrix[4].tolist() == [0, 0, 1, 0, 1]


def test_published_f1_is_the_harmonic_mean() -> None:
    kiranyaz = protocol.B.published[0]
    assert kiranyaz.f1("V") == pytest.approx(92.2, abs=0.05)
    assert kiranyaz.f1("S") == pytest.approx(63.3, abs=0.05)


def test_base_of_b_holds_what_the_papers_count() -> None:
    try:
        records.find(download=False)
    except records.DataError as absent:
        pytest.skip(str(absent))
    pool = protocol.B.pool()
    assert np.bincount(pool.label)[3:].tolist() == [13, 7]
    assert np.bincount(protocol.B.calibration()["label"]).tolist() == [75, 75, 75, 13, 7]
    assert len(protocol.B.load(("101",))["101"]) == len(protocol.A.load(("101",))["101"]) + 2


def test_deal_spreads_the_rare_class() -> None:
    counts = {str(i): np.array([10, 5 if i < 2 else 0, 0, 0]) for i in range(4)}
    folds = protocol.deal(counts, k=2)
    assert sorted(map(len, folds)) == [2, 2]
    assert [len({"0", "1"} & set(fold)) for fold in folds] == [1, 1]


def test_split_is_by_sample_index() -> None:
    border = 5 * 60 * 360
    learn, test = protocol.split(make([0, 1, 2], [border - 1, border, border + 1]))
    assert learn.label.tolist() == [0]
    assert test.label.tolist() == [1, 2]


def test_confusion_rows_are_the_truth() -> None:
    matrix = protocol.confusion(np.array([0, 0, 1, 2], np.uint8), np.array([0, 1, 1, 0]))
    assert matrix.tolist() == [[1, 1, 0, 0], [0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]]


def test_scores_by_hand() -> None:
    found = protocol.scores(np.array([[8, 2, 0, 0], [1, 3, 0, 0], [1, 0, 4, 1], [0, 0, 0, 0]]))
    assert found.accuracy == 15 / 20
    assert found.sen[:3] == pytest.approx([8 / 10, 3 / 4, 4 / 6])
    assert found.ppr == pytest.approx([8 / 10, 3 / 5, 1.0, 0.0])
    assert found.f1 == pytest.approx([16 / 20, 6 / 9, 8 / 10, 0.0])
    assert found.macro_f1 == pytest.approx((0.8 + 6 / 9 + 0.8 + 0.0) / 4)
    assert np.isnan(found.sen[3])


def test_class_that_never_occurs_has_no_f1() -> None:
    found = protocol.scores(np.diag([5, 0, 5, 0]))
    assert np.isnan(found.f1).tolist() == [False, True, False, True]
    assert found.macro_f1 == 1.0


def test_empty_matrix_is_nan_not_an_error() -> None:
    assert np.isnan(protocol.scores(np.zeros((4, 4), np.int64)).accuracy)


def test_gross_and_average_differ_as_ec57_says() -> None:
    big = np.diag([90, 0, 10, 0])
    small = np.array([[8, 0, 0, 0], [0, 0, 0, 0], [2, 0, 0, 0], [0, 0, 0, 0]])
    found = protocol.summarise({"a": big, "b": small})
    assert found.gross.accuracy == pytest.approx(108 / 110)
    assert found.gross.sen[2] == pytest.approx(10 / 12)
    assert found.average.accuracy == pytest.approx((1.0 + 0.8) / 2)
    assert found.average.sen[2] == pytest.approx((1.0 + 0.0) / 2)
    # b predicts no V at all, so that V's predictivity is a's alone.
    assert found.average.ppr[2] == 1.0
    assert list(found.subjects) == ["a", "b"]


def test_nobody_to_summarise() -> None:
    with pytest.raises(ValueError, match="no subjects"):
        protocol.summarise({})


def test_balanced_takes_turns_between_patients() -> None:
    label = [0] * 20 + [1] * 6 + [2] * 12 + [3]
    record = ["a"] * 20 + ["a", "a", "a", "a", "b", "c"] + ["a"] * 10 + ["b"] * 2 + ["a"]
    pool = make(label, record=record)
    chosen = pool.take(protocol.balanced(pool, 14, seed=3))
    assert np.bincount(chosen.label).tolist() == [4, 4, 3, 3]
    assert {"a", "b", "c"} == set(chosen.record[chosen.label == 1])
    assert {"a", "b"} == set(chosen.record[chosen.label == 2])


def test_balanced_is_deterministic() -> None:
    pool = make([0, 1, 2, 3] * 30)
    assert (protocol.balanced(pool, 16, 1) == protocol.balanced(pool, 16, 1)).all()
    assert (protocol.balanced(pool, 16, 1) != protocol.balanced(pool, 16, 2)).any()


def test_balanced_among_some_classes() -> None:
    pool = make([0, 1, 2, 0, 1, 2])
    assert np.bincount(pool.take(protocol.balanced(pool, 7, 0, "NSV")).label).tolist() == [3, 2, 2]


@pytest.mark.parametrize(("label", "n"), [([0, 1, 2], 8), ([0, 1, 2, 3], 3)])
def test_balanced_refuses(label: list[int], n: int) -> None:
    with pytest.raises(ValueError, match="balanced choice"):
        protocol.balanced(make(label), n, 0)
