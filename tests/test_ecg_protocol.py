"""Protocol A: folds, split, confusion matrices and the ratios of EC57, on examples worked out by hand."""

import numpy as np
import pytest

from synapcc.examples.ecg import protocol
from synapcc.examples.ecg.beats import Beats


def make(label: list[int], sample: list[int] | None = None, record: list[str] | None = None) -> Beats:
    n = len(label)
    return Beats(
        beat=np.zeros((n, 151), np.float32),
        rr=np.zeros((n, 4), np.float32),
        label=np.array(label, np.uint8),
        symbol=np.array(["NAVF"[c] for c in label]),
        sample=np.array(sample or range(n), np.int64),
        record=np.array(record or ["1"] * n),
    )


def test_sets_are_disjoint_and_whole() -> None:
    assert len(set(protocol.DS1)) == len(set(protocol.DS2)) == 22
    assert not set(protocol.DS1) & set(protocol.DS2)


def test_folds_cover_ds1_once() -> None:
    dealt = [name for fold in protocol.DS1_FOLDS for name in fold]
    assert sorted(dealt) == sorted(protocol.DS1)
    assert {len(fold) for fold in protocol.DS1_FOLDS} == {4, 5}


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
    assert list(found.patients) == ["a", "b"]


def test_nobody_to_summarise() -> None:
    with pytest.raises(ValueError, match="no patients"):
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
