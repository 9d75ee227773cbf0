"""Kernel sets: which one a board gets, how constants are relaid, and what no set may change."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ctools import GET_ARENA, GET_STATE, INIT, RUN_OP, SET_ARENA, ChipBatch, HostBatch
from one_step import batch_plan, emulator
from projects import case, refusal
from random_nets import ANY, accepted

from synapcc.gen.emit import render, render_library
from synapcc.gen.emit.flash import stored
from synapcc.gen.errors import CompileError
from synapcc.gen.ir.graph import Node
from synapcc.gen.ir.plan import PlanTensor
from synapcc.gen.numeric import multiplier
from synapcc.gen.ops import Attrs, Case, Kernel, Variant, kernel
from synapcc.gen.ops._window import Window
from synapcc.gen.sets import AUTO, CHOICES, DSP, M0, MVE, REF, SETS, KernelSet, able, chain, select
from synapcc.gen.sets.dsp import power_of_two
from synapcc.gen.sets.layouts import (
    HIGH_ROW,
    bias_of_dual,
    channel_lanes,
    channels_of_lanes,
    dual_bias,
    dual_fits,
    dual_rows,
    rounded_bias,
    rows_of_dual,
    with_scales,
    without_scales,
)
from synapcc.gen.target.boards import load_board
from synapcc.host.bench.kernel_sets import kernel_sets
from synapcc.host.cli import main

RNG = np.random.default_rng(5)


# ---- another set ----------------------------------------------------------------------------------------


@pytest.fixture
def own(monkeypatch: pytest.MonkeyPatch) -> str:
    """A set of a Cortex-M55 that prints nothing itself, and so all as `mve`, `dsp` and then `ref` do."""
    monkeypatch.setitem(SETS, "own", KernelSet("own", "unit of its own", ("cortex-m55",), "", MVE))
    return "own"


def test_another_set_falls_back_on_the_ones_below(own: str) -> None:
    assert chain(own) == ("own", "mve", "dsp", "ref") and chain(DSP) == ("dsp", "ref")
    assert chain(REF) == ("ref",)
    printed = set()
    for c, _ in accepted(ANY, 12):
        library = {s: render_library(c.plan, "a test", "a test", {}, s) for s in (own, MVE)}
        printed |= {v.kernel_set for v in stored(c.plan, own).variants}
        for name, text in library[MVE].items():
            renamed = library[own][name].replace('"own"', '"mve"').replace(" set own,", " set mve,")
            assert renamed.replace("kernel set own needs", "kernel set mve needs") == text
    assert printed == {REF, DSP, MVE}


def test_another_set_is_asked_first(own: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One kernel of its own, in a plan whose other kernels are printed by the sets below."""
    kind = type(kernel("counter.tick"))
    usual = kind.variant

    def variant(self: Kernel, kernels: str, t: Mapping[str, PlanTensor], a: Attrs) -> Variant:
        return Variant("tick", own) if kernels == own else usual(self, kernels, t, a)

    monkeypatch.setattr(kind, "variant", variant)
    plan = next(c.plan for c, _ in accepted(ANY, 12) if "learn" in c.plan.entries)
    by = {s.kernel: v.kernel_set for (_, _, s), v in zip(plan.ops(), stored(plan, own).variants, strict=True)}
    assert by["counter.tick"] == own and {*by.values()} <= {own, MVE, DSP, REF} and len({*by.values()}) > 1
    assert own not in {v.kernel_set for v in stored(plan, MVE).variants}


def test_a_board_gets_the_fastest_set_of_its_core(own: str) -> None:
    m55, m4, m3 = (load_board(name) for name in ("mps2_an547", "mps2_an386", "mps2_an385"))
    assert [select(AUTO, b) for b in (m55, m4, m3, None)] == [own, DSP, REF, REF]
    assert able(m55) == (REF, DSP, MVE, own) == kernel_sets(m55) and able(m4) == (REF, DSP)
    assert select(own, None) == own and select(DSP, m55) == DSP
    with pytest.raises(CompileError, match="a cortex-m4 has no unit of its own; take --kernels auto or dsp"):
        select(own, m4)
    with pytest.raises(CompileError, match="sets: auto, ref, m0, dsp, mve, own"):
        select("neon", m4)


# ---- which set ----------------------------------------------------------------------------------------


def test_a_board_gets_the_set_of_its_core() -> None:
    assert select(AUTO, load_board("mps2_an386")) == DSP and select(AUTO, load_board("mps2_an385")) == REF
    assert select(AUTO, None) == REF and select(DSP, None) == DSP
    assert select(REF, load_board("mps2_an386")) == REF
    with pytest.raises(CompileError, match="cortex-m3 has no DSP instructions"):
        select(DSP, load_board("mps2_an385"))
    with pytest.raises(CompileError, match='no kernel set "neon"'):
        select("neon", None)


def test_helium_is_asked_of_the_board_and_not_of_its_core_alone() -> None:
    m55 = load_board("mps2_an547")
    without = replace(m55, core=replace(m55.core, mve=False))
    assert select(AUTO, m55) == MVE and select(MVE, None) == MVE
    assert select(AUTO, without) == DSP and able(without) == (REF, DSP)
    for board, core in ((without, "m55"), (load_board("mps2_an386"), "m4")):
        with pytest.raises(CompileError, match=f"a cortex-{core} has no Helium; take --kernels auto or dsp"):
            select(MVE, board)


def test_a_core_without_long_products_gets_a_set_of_its_own() -> None:
    for name in ("microbit", "rp2040"):
        assert select(AUTO, load_board(name)) == M0 and able(load_board(name)) == (REF, M0)
    assert select(M0, None) == M0 and chain(M0) == (M0, REF)
    with pytest.raises(CompileError, match="a cortex-m4 has no need of products of 32 bits; take --kernels"):
        select(M0, load_board("mps2_an386"))


def test_the_set_changes_the_text_and_not_the_plan(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    c = case(tmp_path)
    reports = {}
    for choice in (one for one in CHOICES if one not in (M0, MVE)):  # which the case's board has not
        out = tmp_path / choice
        assert main(c.words(out, "--kernels", choice)) == 0
        reports[choice] = json.loads((out / "report.json").read_text())
        library = json.loads((out / "lib" / "net" / "library.json").read_text())
        header = (out / "lib" / "net" / "src" / "net.h").read_text()
        assert library["kernels"] == reports[choice]["kernels"]
        assert f'#define NET_KERNELS "{library["kernels"]}"' in header
        assert (f"--kernels {choice}" in header) == (choice != AUTO)
    assert reports[AUTO]["kernels"] == DSP and reports[REF]["kernels"] == REF
    plans = {(tmp_path / choice / "plan.json").read_bytes() for choice in reports}
    assert len(plans) == 1
    texts = [(tmp_path / k / "lib" / "net" / "src" / "net.c").read_text() for k in (REF, DSP)]
    assert "smlad(" not in texts[0] and "smlad(" in texts[1]
    said = refusal(c.words(tmp_path / "m3", "--board", "mps2_an385", "--kernels", "dsp"), capsys)
    assert (
        said == "mps2_an385: kernel set dsp: a cortex-m3 has no DSP instructions; take --kernels auto or ref"
    )
    assert not (tmp_path / "m3").exists()


def test_a_library_without_a_board_is_plain_c() -> None:
    plan = next(iter(accepted(ANY, 1)))[0].plan
    files = render(plan, None, "a test")
    text = files[f"lib/{plan.model}/src/{plan.model}.c"].decode()
    assert not any(word in text for word in ("__ARM_FEATURE_DSP", "may_alias", "#pragma"))


# ---- layouts ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pairs", [1, 2, 4])
def test_dual_rows_can_be_taken_apart_again(pairs: int) -> None:
    for m, n in [(1, 1), (2, 4), (7, 5), (8, 16), (15, 3), (16, 9), (33, 31)]:
        w = RNG.integers(-127, 128, (m, n)).astype(np.int8)
        words = dual_rows(w, pairs)
        assert words.dtype == np.uint32 and words.size == -(-m // 2) * -(-n // 4) * 2
        assert np.array_equal(rows_of_dual(words, pairs, (m, n)), w)


def test_starts_of_dual_rows_can_be_taken_apart_again() -> None:
    for m in (1, 2, 9, 16):
        start = RNG.integers(-HIGH_ROW, HIGH_ROW, m).astype(np.int32)
        start[0::2] = RNG.integers(-(2**31), 2**31, len(start[0::2]))
        assert np.array_equal(bias_of_dual(dual_bias(start), m), start)
    halves = rounded_bias(np.array([5, 5, 5], np.int32), np.array([0, 1, 30], np.uint8))
    assert halves.tolist() == [5, 6, 5 + 2**29]


def test_starts_with_scales_can_be_taken_apart_again() -> None:
    for rows, blocks, each in [(1, 1, 2), (9, 5, 2), (16, 8, 2), (7, 7, 1), (12, 3, 4)]:
        start = RNG.integers(-(2**31), 2**31, blocks * each).astype(np.int32)
        scales = RNG.integers(0, 2**31, (rows, 2)).astype(np.int32)
        words = with_scales(start, scales, blocks)
        assert words.size == start.size + 2 * blocks * -(-rows // blocks)
        assert words[: each + 2].tolist() == [*start[:each], *scales[0]]
        again = without_scales(words, rows, blocks)
        assert np.array_equal(again[0], start) and np.array_equal(again[1], scales)


def test_lanes_of_channels_can_be_taken_apart_again() -> None:
    for shape in [(4, 1), (8, 9), (32, 25)]:
        w = RNG.integers(-128, 128, shape).astype(np.int8)
        words = channel_lanes(w)
        assert words.size == w.size // 2 and np.array_equal(channels_of_lanes(words, shape), w)


def test_which_rows_fit_a_pair() -> None:
    w = np.full((2, 500), 127, np.int8)
    top = 128 * 127 * 500
    for start, fits in [([0, 0], True), ([2**30, 0], True), ([0, HIGH_ROW - top], False)]:
        assert dual_fits(w, np.array(start, np.int32)) is fits
    assert dual_fits(w, np.array([0, HIGH_ROW - top - 1], np.int32))
    assert not dual_fits(np.full((2, 2), -128, np.int8), np.zeros(2, np.int32))


def test_limits_that_ssat_knows() -> None:
    assert [power_of_two(lo, hi) for lo, hi in [(-128, 127), (-(2**15), 2**15 - 1), (-1, 0)]] == [8, 16, 1]
    assert [power_of_two(lo, hi) for lo, hi in [(-127, 127), (0, 127), (-128, 126), (-5, 4)]] == [0] * 4


# ---- the edges that random cases rarely meet ----------------------------------------------------------


def edges() -> list[tuple[str, Case]]:
    """Sums at their limits, rows too wide for a pair, every weight held, none, and rows without a signal."""
    out: list[tuple[str, Case]] = []
    for rows, cols, bias in [
        (9, 500, 0),
        (9, 500, HIGH_ROW),
        (2, 4, -HIGH_ROW),
        (1, 3, 2**30),
        (16, 64, 7),
        (6, 20, 9),
    ]:
        for value in (-128, 127):
            arrays: dict[str, np.ndarray] = {
                "x": np.full(cols, value, np.int8),
                "w": np.where(np.arange(rows * cols) // cols % 3 == 1, -127, 127)
                .reshape(rows, cols)
                .astype(np.int8),
                "b": np.full(rows, bias, np.int32),
                "s": np.arange(rows).astype(np.uint8) % 16,
                "y": np.zeros(rows, np.int8),
            }
            out.append(("dense.forward", Case(arrays, {"lo": -128, "hi": 127}, {})))
    for dtype, bits in [(np.int16, 16), (np.int16, 15), (np.int16, 10), (np.int8, 8)]:
        lo, hi = -(1 << bits - 1), (1 << bits - 1) - 1
        for rounding in range(3):
            for i, shift in enumerate((8, 12, 16, 17, 24)):
                twin = (i + rounding) % 2 == 1
                out.append(("dense.update", _update(dtype, lo, hi, rounding, shift, twin)))
    out += [("conv2d.forward", c) for c in _convolutions()]
    out += [("conv2d.update", c) for c in _learned_convolutions()]
    out += [("conv2d.transposed", c) for c in _passed_back()]
    frozen = [(name, case) for name, case in out if "s" in case.arrays]
    return out + [(name, c) for i, (name, case) in enumerate(frozen) for c in _scaled(case, i)]


ENDS = [  # rounds, one multiplier a row, powers of two, zero points of input and output, limits
    (2, True, False, -128, -9, (-128, 127)),
    (1, True, False, 5, 127, (-20, 127)),
    (2, False, False, 7, -128, (-128, 90)),
    (1, False, False, -3, 0, (-128, 127)),
    (1, False, True, 0, 3, (-7, 99)),
    (1, True, True, 127, 1, (-128, 127)),
]


def _scaled(case: Case, number: int) -> Iterator[Case]:
    """The same sums, ended by multipliers; every second one with a weight that no dual pair can have."""
    w, b = case.arrays["w"].astype(np.int64), case.arrays["b"].astype(np.int64)
    usual = 127 / (np.abs(w).sum(axis=1) * 48 + np.abs(b))
    for i, (rounds, own, halves, x_zero, y_zero, (lo, hi)) in enumerate(ENDS, number):
        factors = usual * RNG.uniform(0.5, 2, usual.shape)
        if halves:
            factors = np.exp2(np.rint(np.log2(factors)))
        m, n = zip(*(multiplier(float(v)) for v in factors), strict=True)
        attrs = {**case.attrs, "rounds": rounds, "x_zero": x_zero, "y_zero": y_zero, "lo": lo, "hi": hi}
        kept = {role: array.copy() for role, array in case.arrays.items() if role != "s"}
        if i % 2:
            kept["w"][-1, 0] = -128
        if own:
            kept |= {"m": np.array(m, np.int32), "s": np.array(n, np.uint8)}
        else:
            attrs |= {"multiplier": m[0], "shift": n[0]}
        yield Case(kept, attrs, {}, flash=("w", "b", "m", "s"))


def _convolutions() -> Iterator[Case]:
    """Maps of whole words and of odd sizes, windows beyond every side, steps, holes, many filters or one."""
    every = [
        ((5, 6, 4), 9, (3, 3), (1, 1), (1, 1), (1, 1, 1, 1), 1),
        ((7, 5, 8), 17, (3, 2), (2, 1), (2, 1), (2, 1, 0, 0), 1),
        ((1, 12, 16), 8, (1, 5), (1, 2), (1, 1), (0, 2, 0, 2), 1),
        ((1, 9, 20), 3, (1, 3), (1, 1), (1, 1), (0, 0, 0, 2), 1),
        ((4, 4, 12), 1, (1, 1), (1, 1), (1, 1), (0, 0, 0, 0), 1),
        ((1, 20, 1), 16, (1, 7), (1, 2), (1, 1), (0, 3, 0, 3), 1),
        ((6, 5, 3), 10, (3, 3), (1, 2), (1, 2), (1, 2, 1, 2), 1),
        ((4, 9, 4), 5, (2, 2), (1, 1), (1, 3), (1, 0, 1, 2), 1),
        ((6, 6, 40), 4, (3, 3), (3, 3), (1, 2), (0, 0, 0, 0), 1),
        ((6, 7, 8), 8, (3, 3), (1, 1), (1, 1), (1, 1, 1, 1), 8),
        ((8, 6, 4), 4, (5, 4), (2, 1), (1, 1), (4, 0, 1, 3), 4),
        ((1, 16, 12), 12, (1, 3), (1, 2), (1, 1), (0, 1, 0, 0), 12),
        ((6, 6, 4), 4, (2, 2), (1, 1), (2, 1), (0, 0, 0, 0), 4),
        ((5, 5, 4), 8, (3, 3), (1, 1), (1, 1), (0, 0, 0, 0), 2),
        ((6, 5, 2), 5, (3, 4), (1, 1), (1, 1), (1, 2, 1, 1), 1),
        ((6, 9, 1), 8, (2, 4), (2, 1), (2, 1), (0, 0, 0, 0), 1),
        ((5, 9, 3), 3, (2, 3), (1, 2), (1, 1), (0, 0, 0, 0), 1),
    ]
    for shape, filters, size, stride, dilation, padding, groups in every:
        node = Node("conv2d", "c", ("x", "w", "b"), "y", {
            "kernel": size, "stride": stride, "dilation": dilation, "padding": padding, "groups": groups,
        })  # fmt: skip
        g = Window.of(node, shape)
        attrs = g.attrs | {"filters": filters, "lo": -128, "hi": 127}
        arrays: dict[str, np.ndarray] = {
            "x": RNG.integers(-128, 128, int(np.prod(shape))).astype(np.int8),
            "b": RNG.integers(-(2**14), 2**14, filters).astype(np.int32),
            "y": np.zeros(g.positions * filters, np.int8),
        }
        w = RNG.integers(-127, 128, (filters, g.taps))
        shifts = RNG.integers(4, 12, filters).astype(np.uint8)
        yield Case(arrays | {"w": w.astype(np.int8), "s": shifts}, attrs, {"w": (-127, 127)})
        for dtype, scale in [(np.int8, 1), (np.int16, 200)]:
            yield Case(arrays | {"w": (scale * w).astype(dtype)}, attrs | {"shift": 9}, {})


def _learned_convolutions() -> Iterator[Case]:
    """Positions for one round and for several, an odd number and one; filters odd and even, heard and not;
    taps that fill no word, steps, holes, borders; weights at their limits, of all types."""
    every = [
        ((9, 9, 4), 6, (3, 3), (1, 1), (1, 1), (1, 1, 1, 1)),
        ((9, 11, 8), 3, (3, 2), (1, 1), (1, 2), (2, 1, 0, 2)),
        ((1, 70, 1), 5, (1, 7), (1, 1), (1, 1), (0, 3, 0, 3)),
        ((1, 150, 3), 20, (1, 5), (1, 2), (1, 1), (0, 2, 0, 2)),
        ((12, 13, 16), 33, (1, 1), (1, 1), (1, 1), (0, 0, 0, 0)),
        ((14, 7, 4), 18, (5, 4), (2, 1), (2, 1), (4, 0, 1, 3)),
        ((5, 6, 3), 2, (3, 3), (2, 2), (1, 1), (1, 1, 1, 1)),
        ((3, 3, 2), 7, (3, 3), (1, 1), (1, 1), (0, 0, 0, 0)),
        ((8, 8, 1), 2, (3, 1), (1, 1), (1, 1), (0, 0, 0, 0)),
        ((11, 12, 2), 4, (1, 1), (1, 1), (1, 1), (0, 0, 0, 0)),
        ((5, 9, 2), 6, (1, 2), (1, 1), (1, 1), (0, 0, 0, 1)),
    ]
    kinds = [(np.int16, 16), (np.int8, 8), (np.int16, 11), (np.int32, 24)]
    for number, (shape, filters, size, stride, dilation, padding) in enumerate(every):
        node = Node("conv2d", "c", ("x", "w", "b"), "y", {
            "kernel": size, "stride": stride, "dilation": dilation, "padding": padding, "groups": 1,
        })  # fmt: skip
        g = Window.of(node, shape)
        for turn, (dtype, bits) in enumerate(kinds):
            rounding, shift = (number + turn) % 3, (17, 9, 16, 24, 1)[(number + 2 * turn) % 5]
            case = _update(dtype, -(1 << bits - 1), (1 << bits - 1) - 1, rounding, shift, turn % 2 == 1)
            top = min(2**15 - 1, 2**30 // (256 * g.positions))
            d = RNG.integers(-top, top + 1, (g.positions, filters)) >> RNG.integers(0, 10)
            if turn % 2:
                d *= RNG.integers(0, 2, (g.positions, filters))
            d[:, number % filters] = 0
            d *= turn != 3 or number % 2  # no signal at all
            lo, hi = case.attrs["lo"], case.attrs["hi"]
            arrays = case.arrays | {
                "x": RNG.integers(-128, 128, int(np.prod(shape))).astype(np.int8),
                "d": d.ravel().astype(np.int16),
                "b": np.zeros(filters, np.int32),
                "acc": np.zeros(g.taps, np.int32),
            }
            for role in {"w", "twin"} & arrays.keys():
                near = RNG.choice([lo, lo + 1, hi, hi - 1, 0, 0, 0], (filters, g.taps))
                arrays[role] = near.astype(dtype)
            zero = {"x_zero": int(RNG.integers(-128, 128))} if (number + turn) % 2 else {}
            yield Case(
                arrays, case.attrs | g.attrs | {"filters": filters} | zero, {"w": (lo, hi), "twin": (lo, hi)}
            )


def _passed_back() -> Iterator[Case]:
    """Eight channels, four and both; filters odd, even and one; steps, holes, borders, unseen places;
    signals that are zero or at their limits; sums added onto others, of all limits."""
    every = [
        ((5, 6, 8), 6, (3, 3), (1, 1), (1, 1), (1, 1, 1, 1)),
        ((7, 5, 12), 5, (3, 2), (2, 1), (2, 1), (2, 1, 0, 0)),
        ((1, 12, 4), 1, (1, 5), (1, 2), (1, 1), (0, 2, 0, 2)),
        ((1, 9, 20), 3, (1, 3), (1, 3), (1, 1), (0, 0, 0, 0)),
        ((4, 4, 16), 8, (1, 1), (1, 1), (1, 1), (0, 0, 0, 0)),
        ((4, 6, 24), 2, (4, 6), (1, 1), (1, 1), (0, 0, 0, 0)),
        ((6, 8, 4), 10, (2, 3), (1, 1), (3, 2), (0, 2, 1, 2)),
    ]
    for number, (shape, filters, size, stride, dilation, padding) in enumerate(every):
        node = Node("conv2d", "c", ("x", "w", "b"), "y", {
            "kernel": size, "stride": stride, "dilation": dilation, "padding": padding, "groups": 1,
        })  # fmt: skip
        g = Window.of(node, shape)
        for dtype, top in ((np.int8, 127), (np.int16, 2**12)):
            most = min(2**15 - 1, 2**30 // (top * filters * max(g.overlap, 1)))
            d = RNG.choice([most, -most, 0, 0, 1, -1], g.positions * filters).astype(np.int16)
            arrays = {
                "d": d,
                "m": RNG.integers(-top, top + 1, (filters, g.taps)).astype(dtype),
                "acc": np.zeros(g.channels, np.int32),
                "g": np.zeros(int(np.prod(shape)), np.int16),
            }
            hi = (2**15 - 1, 2**13 - 1, 999)[number % 3]
            attrs = g.attrs | {"filters": filters, "shift": (0, 7, 13)[number % 3], "lo": -hi - 1, "hi": hi}
            if number % 2:
                arrays["onto"] = RNG.integers(-(2**15), 2**15, int(np.prod(shape))).astype(np.int16)
                attrs |= {"onto_shift": 1, "sum_shift": 2, "sum_lo": -(2**15), "sum_hi": 2**15 - 1}
            yield Case(arrays, attrs, {})


def _update(dtype: type, lo: int, hi: int, rounding: int, shift: int, twin: bool) -> Case:
    m, n = int(RNG.integers(1, 9)), int(RNG.integers(1, 40))
    d = RNG.choice([-32768, 32767, 0, 0, 1, -1, 300], m).astype(np.int16)
    arrays: dict[str, np.ndarray] = {
        "x": RNG.choice([-128, 127, 0, 1], n).astype(np.int8),
        "d": d,
        "step": np.array([7], np.uint32),
        "w": RNG.choice([lo, lo + 1, hi, hi - 1, 0], (m, n)).astype(dtype),
        "b": np.zeros(m, np.int32),
        "saturated": np.array([2**32 - 3], np.uint32),
    }
    if twin:
        arrays["twin"] = RNG.choice([lo, hi, 0], (m, n)).astype(dtype)
    attrs = {
        "shift": shift, "bias_shift": 3, "rate": 0, "lo": lo, "hi": hi, "bias_lo": -(2**10),
        "bias_hi": 2**10 - 1, "rounding": rounding, "seed": 3, "tensor": 1,
    }  # fmt: skip
    return Case(arrays, attrs, {})


CHIPS = [pytest.param(t, marks=pytest.mark.long) for t in ("gcc", "zig")]


@pytest.mark.parametrize("where", ["host", *CHIPS])
def test_the_edges_of_dsp_kernels(where: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(
        ["host", "gcc", "zig"].index(where)
    )  # other operands begin between words each time
    plan, placed = batch_plan("edges", edges(), rng, as_models=1.0)
    batch: HostBatch | ChipBatch = (
        HostBatch([plan], tmp_path, "-O0", kernels=DSP)
        if where == "host"
        else ChipBatch([plan], tmp_path, where, DSP)
    )
    machine = emulator(plan)
    batch.ask(0, INIT)
    batch.ask(0, SET_ARENA, payload=machine.arena[0].tobytes())
    for op in range(len(placed)):
        batch.ask(0, RUN_OP, op)
    machine.run("infer")
    assert batch.ask(0, GET_STATE)[1] == machine.state[0].tobytes()
    assert batch.ask(0, GET_ARENA)[1] == machine.arena[0].tobytes()


def test_the_edges_reach_every_dsp_macro() -> None:
    seen, ways = set(), set()
    learned, words = set(), set()
    plan, _ = batch_plan("edges", edges(), np.random.default_rng(1), as_models=1.0)
    for _, _, step in plan.ops():
        operands = {role: plan[name] for role, name in step.args.items()}
        variant = kernel(step.kernel).variant(DSP, operands, step.attrs)
        seen |= {(step.kernel, variant.kernel_set, variant.macro)}
        if variant.macro == "update_columns":
            rounding, many = step.attrs["rounding"], 0 < variant.numbers["pairs"] * 2 < step.attrs["filters"]
            learned |= {(key, bool(variant.numbers[key])) for key in LEARNED} | {("many", many)}
            learned |= {("paired", bool(variant.numbers["paired"]), rounding)}
        if variant.macro == "update_words":
            words.add((variant.numbers["quad"], variant.numbers["wide"]))
        if "rounds" in step.attrs and variant.kernel_set == DSP:
            of = {key: bool(value) for key, value in variant.numbers.items()}
            how = step.kernel, variant.macro
            ways |= {(*how, step.attrs["rounds"], key) for key in WAYS if of.get(key)}
            ways |= {(*how, key, of["beyond"]) for key in ("edge", "direct") if of.get(key)}
            ways |= {(*how, "patch", of["beyond"])} if of.get("runs") is False and not of["direct"] else set()
    assert learned >= {(key, is_so) for key in (*LEARNED, "many") for is_so in (True, False)}
    assert learned >= {("paired", is_so, rounding) for is_so in (True, False) for rounding in range(3)}
    dense = {"dense.forward": ("dual", "rows"), "conv2d.forward": ("dual", "rows", "depthwise")}
    wanted = {(k, DSP, f"forward_{name}") for k, names in dense.items() for name in names}
    wanted |= {("dense.update", DSP, "update_row"), ("dense.update", DSP, "update_two_rows")}
    wanted |= {("conv2d.update", DSP, "update_columns"), ("dense.update", DSP, "update_words")}
    wanted |= {("conv2d.transposed", DSP, "transposed")}
    assert words >= {(quad, wide) for quad, wide in ((0, 0), (0, 1), (1, 0))}
    assert seen >= wanted | {("conv2d.forward", REF, "forward")}, wanted - seen
    printed = [(k, f"forward_{name}") for k, names in dense.items() for name in names]
    every = {(*how, 1, key) for how in printed for key in ("each", "fused", "exact", "second", "unsigned")}
    every |= {(*how, 2, key) for how in printed for key in ("each", "fused", "second")}
    sums = [how for how in printed[2:] if how[1] != "forward_depthwise"]
    every |= {(*how, "edge", True) for how in printed[2:]} | {(*how, "direct", True) for how in sums}
    every |= {(*how, key, beyond) for how in sums for key in ("direct", "patch") for beyond in (True, False)}
    every |= {(*how, 2, "single") for how in printed if how[1] == "forward_dual"}
    assert ways >= every, every - ways


LEARNED = ("pairs", "local", "whole", "even", "wide", "zero")
"""The same of an update of a convolution."""
WAYS = ("each", "fused", "exact", "second", "unsigned", "single")
"""Numbers of a step that ends with a multiplier which say that it is printed in another way."""


def test_a_constant_read_in_two_ways_is_there_twice_and_one_read_in_one_way_once() -> None:
    plan = next(
        c.plan
        for c, _ in accepted(ANY, 60)
        if any(s.kernel == "dense.forward" and "s" in s.args for _, _, s in c.plan.ops())
    )
    text = render_library(plan, "", "", {}, DSP)[f"{plan.model}.c"]
    for _, _, step in plan.ops():
        if step.kernel != "dense.forward" or "s" not in step.args:
            continue
        name = step.args["w"]
        alike = [s for _, _, s in plan.ops() if s.kernel == step.kernel and "s" in s.args]  # `again`, too
        others = [s for _, _, s in plan.ops() if s not in alike and name in s.args.values()]
        dual = text.count(f"{plan.model}_{name}_dual[")
        natural = text.count(f"{plan.model}_{name}[")
        assert dual <= 1 and (natural > 0) == (bool(others) or not dual)
