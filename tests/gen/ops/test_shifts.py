"""The check of requantising shifts: one function, one form of message, for every op."""

from __future__ import annotations

import numpy as np
import pytest

from synapcc.gen import ops
from synapcc.gen.errors import CompileError
from synapcc.gen.ops import Format, Kernel
from synapcc.gen.ops._shifts import MAX_SHIFT, requantising


@pytest.mark.parametrize(
    ("shifts", "fits"), [(0, True), (30, True), (-1, False), (31, False), ([0, 30], True)]
)
def test_what_is_possible(shifts: int | list[int], fits: bool) -> None:
    if fits:
        requantising(shifts, "fc", "rescale")
        return
    with pytest.raises(CompileError, match=f"fc: needs a requantising shift of {shifts}, 0 to {MAX_SHIFT}"):
        requantising(shifts, "fc", "rescale")


def test_several_are_told_as_a_range() -> None:
    with pytest.raises(CompileError, match="fc: needs requantising shifts of -2 to 31, 0 to 30 are possible"):
        requantising([3, -2, 31], "fc", "rescale")


# a softmax has the arithmetic of a file's, its shift goes to a fixed point; a normalisation's is a row's
REQUANTISING = [
    name
    for name, k in ops.kernels().items()
    if type(k).cap is not Kernel.cap
    and name not in ("softmax.forward", "softmax.log", "normalise.forward", "normalise.feedback")
]


BEFORE = {"goodness.teach": {"log": 3, "threshold": 1.0}}
"""What a step says in real numbers until it is lowered."""


@pytest.mark.parametrize("name", REQUANTISING)
def test_every_kernel_that_requantises_says_it_in_the_same_words(name: str) -> None:
    """The outputs are far finer than the operands: no shift to the right gets there."""
    kernel = ops.kernel(name)
    rng = np.random.default_rng(1)
    cases = (kernel.case(rng) for _ in range(99))
    case = next(c for c in cases if "rounds" not in c.attrs)  # else a multiplier does it
    written = kernel.changing
    formats = {
        role: Format(str(x.dtype), 90 if role in written else 0, int(np.min(x)), int(np.max(x)) + 1)
        for role, x in case.arrays.items()
    }
    with pytest.raises(CompileError, match=r"here: needs (a requantising shift|requantising shifts) of -\d+"):
        kernel.lower(formats, BEFORE.get(name, {}) | case.attrs, "here")
