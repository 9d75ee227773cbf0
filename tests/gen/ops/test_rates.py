"""A rate that a layer's number formats do not take: the refusal names one that they do, if there is any."""

from __future__ import annotations

import re

import numpy as np
import pytest

from synapcc.gen.errors import CompileError
from synapcc.gen.ir.format import Format
from synapcc.gen.ops import kernel
from synapcc.gen.spec import MAX_RATE_SHIFT
from synapcc.host.link.saturation import MOST, Saturation, warning

UPDATES = ("dense.update", "local2d.update")


def refusal(name: str, formats: dict[str, Format], rate: int, rounding: int) -> str:
    try:
        kernel(name).lower(formats, {"rate": rate, "rounding": rounding}, "fc")
    except CompileError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("name", UPDATES)
def test_advice_is_a_rate_that_is_taken(name: str) -> None:
    rng, named = np.random.default_rng(4), 0
    for _ in range(250):
        w = str(rng.choice(["int8", "int16"]))
        d, x, weight, b = (int(n) for n in rng.integers((-4, -12, -12, -12), (24, 24, 36, 40)))
        top = int(2 ** rng.integers(1, 16)) - 1
        formats = {
            "d": Format("int16", d, -top, top),
            "x": Format("int8", x, -128, 127),
            "w": Format(w, weight, -127, 127),
            "b": Format("int32", b, -(2**30), 2**30 - 1),
        }
        rate, rounding = int(rng.integers(MAX_RATE_SHIFT + 1)), int(rng.integers(3))
        what = refusal(name, formats, rate, rounding)
        if not what:
            continue
        advice = re.search(r"take 2\^-(\d+) or", what)
        possible = [k for k in range(MAX_RATE_SHIFT + 1) if not refusal(name, formats, k, rounding)]
        assert bool(advice) == bool(possible), what
        if advice:
            named += 1
            assert int(advice[1]) in (possible[0], possible[-1]), what
    assert named > 25


def test_a_chip_that_saturates_is_told_no_rate_beyond_the_last() -> None:
    for rate in range(MAX_RATE_SHIFT + 1):
        told = re.search(r"2\^-(\d+) or", warning([Saturation("fc", 90, 100, 2 * MOST, rate)]))
        assert told is None or int(told[1]) <= MAX_RATE_SHIFT
        assert (told is None) == (rate > MAX_RATE_SHIFT - 2)
