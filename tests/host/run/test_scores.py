"""What a confusion matrix says, of many subjects and of many classes."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator

import numpy as np
import pytest

from synapcc.host.run.scores import Matrix, confusion, summarise


def subjects(count: int, classes: int) -> Iterator[tuple[str, Matrix]]:
    for i in range(count):
        rng = np.random.default_rng(i)
        yield str(i), confusion(rng.integers(0, classes, 30), rng.integers(0, classes, 30), classes)


def test_one_matrix_is_held_at_a_time() -> None:
    """Of 300 classes each has 720,000 bytes."""
    tracemalloc.start()
    found = summarise(subjects(20, 300))
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 5 * found.matrix.nbytes and found.matrix.sum() == 600


def test_an_iterator_says_what_a_mapping_says() -> None:
    one, other = summarise(subjects(5, 4)), summarise(dict(subjects(5, 4)))
    assert np.array_equal(one.matrix, other.matrix) and one.average.accuracy == other.average.accuracy
    assert [s.f1.tolist() for s in one.subjects.values()] == [s.f1.tolist() for s in other.subjects.values()]
    assert one.matrix.sum() == 150 and one.gross.accuracy == np.trace(one.matrix) / 150
    with pytest.raises(ValueError, match="no subjects"):
        summarise({})
