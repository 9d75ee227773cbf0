"""Every kernel alone: emitted C against the emulator over all memory, and fleets against single devices."""

from __future__ import annotations

import re
from pathlib import Path

import jinja2
import numpy as np
import pytest
from counts import ONE_TOOLCHAIN
from ctools import UNDEFINED, ChipBatch, HostBatch
from one_step import CONSTANT, batch_plan, cases, compare, emulator, unfinished

from synapcc.gen.emit.templates import ROOT
from synapcc.gen.ops import Known, kernel, kernels, layers

OF_FILES = ("choice", "composed", "div", "lookup", "masked", "squared_difference", "unit_length")
"""Ops of a file's integers alone: tests/gen/importers/test_tflite_ops.py, test_tflite_composed.py."""
CASES = 5  # of each kernel and compiler setting
SETTINGS = {
    "O0": ("ref", "-O0"),
    "O2": ("ref", "-O2"),
    "Os": ("ref", "-Os"),
    "sanitized": ("ref", "-O0", *UNDEFINED),
    "dsp": ("dsp", "-O0", *UNDEFINED),
    "m0": ("m0", "-O2", *UNDEFINED),
    "mve": ("mve", "-O0", *UNDEFINED),
}


def test_nothing_is_unfinished() -> None:
    assert unfinished() == [], "an op without case() or sample() is not found; finish it"
    rng = np.random.default_rng(0)
    shapes: list[list[tuple[int, ...]]]
    for op, layer in layers().items():
        if op in OF_FILES:
            continue
        shapes = [[(6,)], [(2, 3)], [(6,), (5,)], [(6,), (5,), (1,)], [(4, 5, 2)]]
        samples = [layer.sample(rng, s) for s in shapes]
        assert any(samples), f"layer {op}: sample() fits no shape that the property tests have"


def test_every_kernel_has_a_macro_and_every_macro_a_kernel() -> None:
    environment = jinja2.Environment()
    for stem in {name.split(".")[0] for name in kernels()}:
        path = ROOT / "templates" / "ops" / f"{stem}.c.j2"
        assert path.is_file(), f"gen/ops/{stem}.py has kernels, but there is no templates/ops/{stem}.c.j2"
        environment.parse(path.read_text())
        macros = set(re.findall(r"{%-? macro (\w+)\(s[,)]", path.read_text()))
        wanted = {name.split(".")[1] for name in kernels() if name.startswith(f"{stem}.")}
        assert wanted <= macros, (
            f"templates/ops/{stem}.c.j2 has no macro {', '.join(sorted(wanted - macros))}(s)"
        )
    templates = {p.name.removesuffix(".c.j2") for p in (ROOT / "templates" / "ops").glob("*.c.j2")}
    assert templates == {name.split(".")[0] for name in kernels()}, "a template belongs to no op"


@pytest.mark.parametrize("name", sorted(kernels()))
def test_cases_are_legal(name: str) -> None:
    """No accumulator of a case can leave its register, and its results stay where bounds says."""
    k, rng = kernel(name), np.random.default_rng(len(name))
    for _ in range(100):
        case = k.case(rng)
        known = {}
        for role, array in case.arrays.items():
            wide = array.astype(np.int64)
            lo, hi = case.limits.get(role, (int(wide.min()), int(wide.max())))
            assert lo <= wide.min() and wide.max() <= hi, f"{role} leaves its limits {lo} .. {hi}"
            l1 = int(np.prod(array.shape)) * max(-lo, hi) if role in case.limits else int(np.abs(wide).sum())
            fixed = role in CONSTANT and role not in k.updates + k.writes
            known[role] = Known(array.shape, lo, hi, l1, array if fixed else None)
        accumulators, written = k.bounds(known, case.attrs)
        for acc in accumulators:
            assert -(2 ** (acc.bits - 1)) <= acc.lo <= acc.hi < 2 ** (acc.bits - 1), f"{acc}"
        arrays = {role: a[None].copy() for role, a in case.arrays.items()}
        k.integer(arrays, case.attrs)
        for role, (lo, hi, l1) in written.items():
            got = arrays[role].astype(np.int64)
            assert lo <= got.min() and got.max() <= hi, (
                f"{role}: {got.min()} .. {got.max()} outside {lo} .. {hi}"
            )
            assert np.abs(got).sum() <= l1, f"{role}: l1 {np.abs(got).sum()} above {l1}"
        for role in k.reads:
            assert role not in arrays or np.array_equal(arrays[role][0], case.arrays[role]), (
                f"{role} is read only"
            )


@pytest.mark.parametrize("count", [CASES, pytest.param(80, marks=pytest.mark.long)])
@pytest.mark.parametrize(
    "setting",
    [
        pytest.param(s, marks=pytest.mark.long) if s in ("O0", "O2", "Os", "m0", "mve") else s
        for s in SETTINGS
    ],
)
def test_every_kernel_on_this_computer(setting: str, count: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(list(SETTINGS).index(setting))
    plan, placed = batch_plan("cases", cases(rng, count), rng)
    kernels, *flags = SETTINGS[setting]
    batch = HostBatch([plan], tmp_path, *flags, kernels=kernels)
    try:
        compare(batch, plan, placed)
    finally:
        batch.close()


@pytest.mark.parametrize("kernels", [pytest.param("ref", marks=pytest.mark.long), "dsp"])
@pytest.mark.parametrize("toolchain", ONE_TOOLCHAIN)
def test_every_kernel_on_the_virtual_m4(toolchain: str, kernels: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(100)
    plan, placed = batch_plan("cases", cases(rng, 4), rng)
    compare(ChipBatch([plan], tmp_path, toolchain, kernels), plan, placed)


@pytest.mark.parametrize("name", sorted(kernels()))
def test_many_devices_are_as_many_single_ones(name: str) -> None:
    rng = np.random.default_rng(len(name))
    devices = 5
    plan, placed = batch_plan("cases", cases(rng, 12, [name]), rng)
    fleet = emulator(plan, devices)
    for p in placed:
        for role, tensor in p.tensors.items():
            if plan[tensor].space != "const":
                for d in range(1, devices):  # other values that are as legal: the same ones in another order
                    flat = (
                        rng.permutation(p.case.arrays[role].ravel())
                        if role not in kernel(name).writes
                        else fleet[tensor][d].ravel()
                    )
                    if role == "step":
                        flat = rng.integers(0, 2**32, flat.shape, np.uint32) if d % 2 else flat
                    fleet[tensor][d] = flat.reshape(fleet[tensor][d].shape)
    before = fleet.state.copy(), fleet.arena.copy()
    active = np.array([True, False, True, True, False])
    fleet.run("infer", active)
    for d in range(devices):
        single = emulator(plan)
        single.state[0], single.arena[0] = before[0][d], before[1][d]
        if active[d]:
            single.run("infer")
        assert np.array_equal(fleet.state[d], single.state[0]) and np.array_equal(
            fleet.arena[d], single.arena[0]
        ), f"device {d}"
    fleet.state[...], fleet.arena[...] = before
    fleet.run("infer")
    for d in range(devices):
        single = emulator(plan)
        single.state[0], single.arena[0] = before[0][d], before[1][d]
        single.run("infer")
        assert np.array_equal(fleet.state[d], single.state[0]) and np.array_equal(
            fleet.arena[d], single.arena[0]
        ), f"device {d}"
