"""What the set `mve` prints: the bytes of the emulator, on this computer and on a virtual Cortex-M55."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from c_layout import faults
from ctools import UNDEFINED, HeliumBatch, HostBatch
from one_step import batch_plan, cases, compare

from synapcc.gen.emit import render_library
from synapcc.gen.emit.flash import stored
from synapcc.gen.ir.graph import Node
from synapcc.gen.ops import Case, avgpool2d, kernel, maxpool2d
from synapcc.gen.ops._mve import ALWAYS, BORDER, NEVER
from synapcc.gen.ops._pooling import pool_window, random_attrs
from synapcc.gen.ops._weighted import WeightedForward
from synapcc.gen.ops._window import Window
from synapcc.gen.ops._zeros import with_zeros
from synapcc.gen.sets import DSP, MVE, REF
from synapcc.gen.sets.mve_deep import from_lanes, in_lanes

KERNELS = ("conv2d.forward", "dense.forward")
"""Layers with weights that the set speeds up."""
OTHERS = ("avgpool2d.forward", "maxpool2d.forward")


WINDOWS = [
    ((5, 6, 16), 9, (3, 3), (1, 1), (1, 1), (1, 1, 1, 1), 1),
    ((7, 5, 24), 5, (3, 2), (2, 1), (2, 1), (2, 1, 0, 0), 1),
    ((1, 30, 16), 8, (1, 5), (1, 2), (1, 1), (0, 2, 0, 2), 1),
    ((4, 4, 33), 3, (1, 1), (1, 1), (1, 1), (0, 0, 0, 0), 1),
    ((9, 7, 1), 16, (7, 4), (2, 2), (1, 1), (3, 1, 3, 2), 1),
    ((6, 9, 20), 6, (2, 3), (1, 1), (1, 2), (1, 2, 0, 2), 1),
    ((5, 5, 36), 12, (3, 3), (1, 1), (1, 1), (1, 1, 1, 1), 2),
    ((6, 7, 8), 8, (3, 3), (1, 1), (1, 1), (1, 1, 1, 1), 8),
    ((5, 6, 20), 20, (2, 5), (1, 1), (1, 1), (0, 2, 0, 2), 20),
    ((7, 6, 3), 3, (3, 3), (2, 1), (1, 1), (0, 0, 0, 0), 3),
    ((4, 4, 7), 7, (4, 4), (1, 1), (1, 1), (0, 0, 0, 0), 7),
    ((9, 8, 12), 12, (3, 2), (1, 1), (2, 3), (2, 0, 1, 3), 12),
    ((4, 5, 150), 150, (3, 3), (1, 2), (1, 1), (1, 1, 1, 1), 150),
    ((1, 20, 9), 9, (1, 7), (1, 2), (1, 1), (0, 3, 0, 3), 9),
    ((5, 6, 16), 16, (3, 2), (1, 1), (1, 1), (0, 0, 0, 0), 16),
    ((5, 5, 8), 8, (3, 8), (1, 1), (1, 1), (1, 4, 1, 4), 8),
]
"""Map, filters, window, stride, dilation, padding, groups: runs of any length, also of several vectors."""


def windows(rng: np.random.Generator) -> Iterator[tuple[str, Case]]:
    """Larger windows than random cases have, with each kind of end."""
    for shape, filters, size, stride, dilation, padding, groups in WINDOWS:
        node = Node("conv2d", "c", ("x", "w", "b"), "y", {
            "kernel": size, "stride": stride, "dilation": dilation, "padding": padding, "groups": groups,
        })  # fmt: skip
        g = Window.of(node, shape)
        arrays = {
            "x": rng.integers(-128, 128, g.input_size).astype(np.int8),
            "b": rng.integers(-(2**14), 2**14, filters).astype(np.int32),
            "w": rng.integers(-127, 128, (filters, g.taps)).astype(np.int8),
            "s": rng.integers(4, 14, filters).astype(np.uint8),
            "y": np.zeros(g.positions * filters, np.int8),
        }
        attrs = g.attrs | {"filters": filters}
        shifted = Case(arrays, attrs | {"lo": -128, "hi": 127}, {"w": (-127, 127)})
        held = Case(arrays, attrs | {"lo": -3, "hi": 90}, {"w": (-127, 127)})
        plain = {role: array for role, array in arrays.items() if role != "s"}
        learned = Case(plain, attrs | {"lo": -128, "hi": 127, "shift": 9}, {})
        for case in (
            shifted, held, learned, with_zeros(rng, shifted),
            *(WeightedForward.scaled_case(rng, arrays, attrs) for _ in range(4)),
        ):  # fmt: skip
            yield "conv2d.forward", case


def many_channels(rng: np.random.Generator) -> Window:
    """A window of a pooling on a map of 7 to 40 channels, all of the map now and then."""
    shape = int(rng.choice([1, 4, 5])), int(rng.integers(3, 8)), int(rng.integers(7, 41))
    return pool_window(Node("", "", (), "", random_attrs(rng, shape)), shape)


def drawn(rng: np.random.Generator, each: int) -> list[tuple[str, Case]]:
    """Larger windows, more channels than random cases of poolings have, and random cases."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (avgpool2d, maxpool2d):
            patch.setattr(module, "random_window", many_channels)
        pooled = cases(rng, each, OTHERS)
    return [*windows(rng), *pooled, *cases(rng, each, KERNELS)]


@pytest.mark.parametrize("where", ["host", "helium"])
@pytest.mark.parametrize("each", [10, pytest.param(400, marks=pytest.mark.long)])
def test_nothing_differs(where: str, each: int, tmp_path: Path) -> None:
    rng = np.random.default_rng([each, where == "host"])
    plan, placed = batch_plan("cases", drawn(rng, each), rng, as_models=0.8)
    batch = (
        HostBatch([plan], tmp_path, "-O0", *UNDEFINED, kernels=MVE)
        if where == "host"
        else HeliumBatch([plan], tmp_path, kernels=MVE)
    )
    try:
        compare(batch, plan, placed)
    finally:
        batch.close()


def test_cases_reach_every_way_of_printing() -> None:
    rng = np.random.default_rng(3)
    plan, _ = batch_plan("cases", drawn(rng, 250), rng, as_models=0.8)
    seen: set[object] = set()
    for (_, _, step), variant in zip(plan.ops(), stored(plan, MVE).variants, strict=True):
        if variant.kernel_set != MVE:
            continue
        n = variant.numbers
        if step.kernel in OTHERS:
            seen.add((step.kernel, step.attrs.get("rounds", 0)))
            continue
        assert not variant.unread and step.kernel in KERNELS
        if variant.macro == "forward_deep":
            seen.add(("conv2d.forward", "deep", bool(n["copied"]), bool(n["across"])))
        end = step.attrs.get("rounds", 0), "s" in step.args, bool(n["full"]), plan[step.args["y"]].itemsize
        seen |= {
            (step.kernel, "end", *end),
            (step.kernel, "wide", n["wide"]),
            (step.kernel, "less", n["less"]),
        }
        seen |= {(step.kernel, key, bool(n.get(key))) for key in ("across", "patch", "places") if key in n}
    every: set[object] = {(k, "wide", w) for k in KERNELS for w in (0, 1)}
    every |= {("maxpool2d.forward", 0), *(("avgpool2d.forward", rounds) for rounds in range(3))}
    every |= {(k, "less", less) for k in KERNELS for less in (NEVER, ALWAYS)}
    every |= {("conv2d.forward", "less", BORDER), ("conv2d.forward", "patch", True)}
    every |= {("conv2d.forward", "across", across) for across in (True, False)}
    every |= {("conv2d.forward", "deep", *ways) for ways in ((True, True), (True, False), (False, False))}
    every |= {
        (k, "end", rounds, each, full, 1) for k in KERNELS for rounds in (1, 2) for each in (True, False)
        for full in (True, False)
    }  # fmt: skip
    assert seen >= every, every - seen


def test_the_layout_is_that_of_one_hand() -> None:
    rng = np.random.default_rng(8)
    plan, _ = batch_plan("cases", drawn(rng, 4), rng, as_models=0.8)
    assert faults(render_library(plan, "a test", "a test", {}, MVE)["cases.c"]) == []


def test_what_it_does_not_print_the_sets_below_do() -> None:
    """Rows that must be shifted left, 16 bits of activations, filters of a place each."""
    rng = np.random.default_rng(4)
    plan, _ = batch_plan("cases", cases(rng, 60, [*KERNELS, "local2d.forward", "dense.update"]), rng)
    by: dict[str, set[str]] = {}
    for (_, _, step), variant in zip(plan.ops(), stored(plan, MVE).variants, strict=True):
        by.setdefault(step.kernel, set()).add(variant.kernel_set)
        wide = step.kernel in KERNELS and plan[step.args["x"]].dtype == "int16"
        assert not (wide and variant.kernel_set == MVE)
    assert by["dense.forward"] >= {MVE, REF} and by["local2d.forward"] == {REF}
    assert by["dense.update"] == {DSP, REF} and all(kernel(name) for name in by)


def test_constants_are_read_as_the_plan_has_them() -> None:
    """But for biases, which take in what rounds and zero points, and what is left of shifts: flash is not
    more."""
    rng = np.random.default_rng(5)
    plan, _ = batch_plan("cases", cases(rng, 40, KERNELS), rng, as_models=1.0)
    for variant in stored(plan, MVE).variants:
        if variant.kernel_set == MVE:
            relaid = {"b", "s"} if variant.macro == "forward" else {"b", "m", "s", "w"}
            assert set(variant.relaid) <= relaid


def test_lanes_can_be_taken_apart_again() -> None:
    rng = np.random.default_rng(6)
    for shape in ((8,), (20,), (3, 9), (17, 4)):
        values = rng.integers(-128, 128, shape).astype(np.int8)
        lanes = in_lanes(values)
        assert lanes.shape[:2] == (-(-shape[0] // 8), 8) and np.array_equal(
            from_lanes(lanes, shape[0]), values
        )
    assert in_lanes(np.arange(10)).tolist() == [[0, 2, 4, 6, 1, 3, 5, 7], [8, 0, 0, 0, 9, 0, 0, 0]]
