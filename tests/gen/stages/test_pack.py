"""What lies where in the arena: results trail behind what they are made of, in less RAM, bit for bit."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
from ctools import UNDEFINED, HostBatch
from mobile_nets import NETS, Net, inverted, keywords, mobilenet, pooled, samples
from play import play
from residual_nets import data, residual

from synapcc.gen.compile import compile_model
from synapcc.gen.ir.plan import Plan
from synapcc.gen.ir.program import Program, Step
from synapcc.gen.ops import trailing
from synapcc.gen.ops._window import Window
from synapcc.gen.spec import RuleSpec
from synapcc.gen.stages import lower, memory
from synapcc.gen.stages.memory import Piece, clash, place
from synapcc.gen.stages.pack import Near, ends, lowest, searched
from synapcc.host.pages.peak import peaks

pytestmark = pytest.mark.usefixtures("whole_maps")
SETTINGS = {"ref": ("ref", "-O2"), "dsp": ("dsp", "-O0", *UNDEFINED)}


@pytest.fixture
def whole_maps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pools fold into no convolution here, and nothing less than a map is kept."""
    monkeypatch.setattr(lower, "fewest", lambda count, needed: ())


def compiled(net: Net, size: tuple[int, int], rule: RuleSpec) -> Plan:
    graph = net(*size)
    return compile_model(graph, rule, samples(graph)).plan


@pytest.mark.parametrize(
    ("net", "size", "apart", "trailed"),
    [
        (mobilenet, (32, 8), 8_204, 4_132),
        (inverted, (32, 8), 26_636, 15_220),
        (keywords, (25, 64), 19_212, 11_916),
        (pooled, (28, 8), 7_852, 6_324),
    ],
)
def test_what_inference_needs(
    net: Net, size: tuple[int, int], apart: int, trailed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bytes of the arena, each result beside what it is made of, and behind it."""
    assert compiled(net, size, RuleSpec("bp", layers=["fc"])).arena_bytes <= trailed
    monkeypatch.setattr(memory, "trailing", lambda step: None)
    assert compiled(net, size, RuleSpec("bp", layers=["fc"])).arena_bytes == apart


def test_signals_trail_where_no_update_needs_them_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    """A residual network under `fa`, whose updates may come before the signal goes on; `bp` needs the weights
    for the signal before they change, and so both signals of a layer at a time."""
    rng = np.random.default_rng(1)
    graph, rule = residual(rng, 16, 8, (1, 2, 2)), RuleSpec("fa", layers="all", weights="int16", rate=8)
    given = data(rng, 16)
    assert peaks(compile_model(graph, rule, given).plan)[1]["of_infer"] < 2.06
    monkeypatch.setattr(memory, "trailing", lambda step: None)
    assert peaks(compile_model(graph, rule, given).plan)[1]["of_infer"] > 2.38


@pytest.mark.parametrize("setting", SETTINGS)
def test_networks_whose_results_trail_live_alike(setting: str, tmp_path: Path) -> None:
    """Emitted C and the emulator. In `around` a signal is added to that which it is made of."""
    learned = ["fc"], ["fc"], ["stem", "fc"], ["fc"], ["stem", "fc"]
    rules = [RuleSpec("bp", layers=layers, weights="int16", rate=6) for layers in learned]
    plans = [compiled(net, (8, 4), rule) for net, rule in zip(NETS, rules, strict=True)]
    plans = [replace(p, model=f"m{i}", _by_name={}) for i, p in enumerate(plans)]
    assert sum(any(overlaps(p, *pair) for pair in pairs(p)) for p in plans) >= 4
    kernels, *flags = SETTINGS[setting]
    batch = HostBatch(plans, tmp_path, *flags, kernels=kernels)
    try:
        for i in range(len(plans)):
            assert play(batch, i, i) > 5
    finally:
        batch.close()


def pairs(plan: Plan) -> list[tuple[str, str]]:
    return [pair for _, _, step in plan.ops() if (pair := trailing(step))]


def overlaps(plan: Plan, a: str, b: str) -> bool:
    x, y = plan[a], plan[b]
    return x.space == y.space == "arena" and y.offset < x.offset < y.offset + y.nbytes


def test_who_comes_too_close_clashes() -> None:
    """A pool of 2 x 2 over [4, 6, 5]: its result, 30 bytes, begins 5 bytes before its input, in words 8."""
    g = Window(4, 6, 5, 2, 3, 2, 2, 2, 2)
    step = Step("maxpool2d.forward", "n", {"x": "x", "y": "y"}, g.attrs)
    pieces = {"x": Piece("x", 120, "int8"), "y": Piece("y", 30, "int8")}
    programs, entries = {"p": Program("p", "", (step,))}, {"p": ["x"]}
    offsets, size = place(programs, entries, pieces, ["y"])
    assert offsets == {"x": 8, "y": 0} and size == 128
    for x, y, fine in (
        (8, 0, True),
        (4, 0, False),
        (0, 0, False),
        (0, 8, False),
        (0, 120, True),
        (32, 0, True),
    ):
        found = clash(programs, entries, pieces, ["y"], {"x": x, "y": y})
        assert found is None if fine else {*(found or ())} == {"x", "y"}
    offsets, size = place(programs, entries, pieces, ["x", "y"])  # somebody reads x afterwards
    assert size == 152 and offsets == {"x": 0, "y": 120}


def random_boxes(rng: np.random.Generator) -> tuple[list[int], list[Near]]:
    """Boxes some of which stay apart and some of which begin so much before another."""
    n = int(rng.integers(2, 7))
    sizes = [int(s) * 4 for s in rng.integers(1, 30, n)]
    near: list[dict[int, tuple[int, int]]] = [{} for _ in sizes]
    for i in range(n):
        for j in range(i):
            if (kind := rng.integers(3)) == 1:
                near[i][j], near[j][i] = (sizes[i], sizes[j]), (sizes[j], sizes[i])
            elif kind == 2:  # j begins at least so much before i
                lead = int(rng.integers(0, sizes[j] // 4)) * 4
                near[i][j], near[j][i] = (sizes[i], lead), (lead, sizes[i])
    return sizes, near


def test_boxes_keep_apart_and_need_no_more_than_any_order_leaves() -> None:
    for seed in range(60):
        rng = np.random.default_rng(seed)
        sizes, near = random_boxes(rng)
        at = searched(sizes, near, [], low=0, floor=0)
        for i, others in enumerate(near):
            for j, (before, behind) in others.items():
                assert at[i] <= at[j] - before or at[i] >= at[j] + behind
        least = min(ends(sizes, lowest(sizes, near, order), 0) for order in permutations(range(len(sizes))))
        assert ends(sizes, at, 0)[0] <= 1.1 * least[0]
