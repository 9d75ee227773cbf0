"""Results that trail: how far behind what a step reads they may begin, told from the loops of its C."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ctools import UNDEFINED, HostBatch
from one_step import batch_plan, cases, compare

from synapcc.gen.ir.program import Step
from synapcc.gen.ops import kernels, trailing
from synapcc.gen.ops._window import Window
from synapcc.gen.ops.conv2d import sample_window

TRAILING = sorted(name for name, k in kernels().items() if k.trails)
SETTINGS = {"ref": ("ref", "-O2"), "dsp": ("dsp", "-O0", *UNDEFINED)}


def windows(count: int) -> Iterator[Window]:
    for seed in range(count):
        rng = np.random.default_rng(seed)
        shape = tuple(int(n) for n in rng.integers(1, (8, 9, 4)))
        yield Window.of(sample_window(rng, shape), shape)


def sees(g: Window, y: int, x: int) -> Iterator[int]:
    """The places of the map, row by row, that the window of output (y, x) sees."""
    for ky in range(g.kernel_h):
        for kx in range(g.kernel_w):
            row = y * g.stride_h - g.pad_top + ky * g.dilation_h
            column = x * g.stride_w - g.pad_left + kx * g.dilation_w
            if 0 <= row < g.height and 0 <= column < g.width:
                yield row * g.width + column


def least(made_of: list[list[int]], read: int, written: int) -> int:
    """The least lead at which no result, made in turn of places, lies on one of its own or of later ones."""
    lead = 0
    for i in range(len(made_of)):
        for place in (p for later in made_of[i:] for p in later):
            lead = max(lead, (i + 1) * written - place * read)
    return lead


def test_leads_are_the_least_at_which_nothing_unread_is_overwritten() -> None:
    seen = set()
    for g in windows(150):
        outputs = [(y, x) for y in range(g.out_height) for x in range(g.out_width)]
        places = [[*sees(g, *at)] for at in outputs]
        heard: list[list[int]] = [[] for _ in range(g.height * g.width)]
        for output, inputs in enumerate(places):
            for place in inputs:
                heard[place].append(output)
        for read, written in ((1, 1), (4, 8), (6, 2)):
            assert g.lead(read, written) == least(places, read, written), g
            assert g.back_lead(read, written) == least(heard, read, written), g
            seen.add(g.lead(read, written) < len(places) * written)
    assert seen == {True, False}


@pytest.mark.parametrize("setting", SETTINGS)
def test_c_and_numpy_agree_where_results_trail(setting: str, tmp_path: Path) -> None:
    """Most cases of these kernels lie so: see one_step.py. Few are left disjoint."""
    kernel_set, *flags = SETTINGS[setting]
    rng = np.random.default_rng(len(setting))
    plan, placed = batch_plan("trails", cases(rng, 16, TRAILING), rng, as_models=0.8)
    over = 0
    for p in placed:
        k = kernels()[p.kernel]
        assert k.trails
        a, b = (plan[p.tensors[role]] for role in k.trails)
        over += a.space == b.space == "arena" and b.offset < a.offset < b.offset + b.nbytes
    assert over > 3 * len(TRAILING)
    batch = HostBatch([plan], tmp_path, *flags, kernels=kernel_set)
    try:
        compare(batch, plan, placed)
    finally:
        batch.close()


def test_an_operand_that_a_step_reads_in_another_role_too_is_not_overwritten() -> None:
    args = {"d": "d", "m": "m", "onto": "d", "acc": "acc", "g": "g"}
    step = Step("conv2d.transposed", "n", args, {})
    assert trailing(step) is None
    assert trailing(replace(step, args={**args, "onto": "s"})) == ("d", "g")
