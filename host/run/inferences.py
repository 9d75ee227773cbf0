"""Inferences on both sides: class, margin and all scores."""

from __future__ import annotations

from .locate import Difference, first_op
from .sides import Sides

INFERENCES = 100
"""Compared before and after learning, where there are as many samples."""


def compare_inferences(sides: Sides, step: int, most: int = INFERENCES) -> Difference | None:
    """The first number of the first samples, at most `most` of them, that differs."""
    samples = sides.samples
    for i in range(min(most, len(samples))):
        winner, margin, scores = sides.machine.infer(samples.one(i))
        got = sides.client.infer(samples.packed(i))
        expected = [int(winner[0]), int(margin[0]), *map(int, scores[0])]
        for at, (want, have) in enumerate(zip(expected, [got.winner, got.margin, *got.scores], strict=True)):
            if want != have:
                what = ("winner", "margin")[at] if at < 2 else "scores"
                sides.client.abort()
                op = first_op(sides, sides.machine.state.copy(), "infer", i)
                return Difference(
                    step, "infer", what, (max(at - 2, 0),), want, have, 1, f"inference of sample {i}: {op}"
                )
    return None
