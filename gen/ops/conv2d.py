"""Convolution over a map [height, width, channels] -> [out_height, out_width, filters], weights tied.

W [filters, kernel_h * kernel_w * channels / groups], the taps of a row in the order (ky, kx, channel). A
one-dimensional convolution has height 1; a depthwise one as many groups as channels.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from .. import numeric
from ..errors import CompileError
from ..ir.graph import Attr, Node
from ..ir.plan import PlanTensor
from ..ir.program import Step, Value
from ..ir.tape import Tape
from ..sets import DSP
from . import (
    Accumulator,
    Arrays,
    Attrs,
    Bounds,
    Case,
    Cost,
    Format,
    Known,
    Relaid,
    Variant,
)
from . import _onto as onto
from ._bench import MAP, STEPS, Alone, Line, window
from ._contract import REQUANTISED, SIZE, Tensors, takes, within
from ._dsp import depthwise
from ._dsp import windows as dual_windows
from ._folding import Border, Pair, Shape, affine_columns, per_channel
from ._loops import (
    RATES,
    LANES,
    WINDOWED,
    Cells,
    Loop,
    Number,
    change_row,
    end_row,
    helper,
    lanes,
    row_tables,
    row_words,
    stream_key,
    tiled,
    windows,
    write_signal,
)
from ._onto import write_onto
from ._places import NOTE as PLACES
from ._places import places
from ._requantise import TWICE, centred, random_ending, scaled
from ._tying import Matmul, Tied, copies, grouped, parts
from ._weighted import BIAS_TOP, Change, Every, WeightedForward, WeightedLayer, WeightedUpdate, update_case, wide_case
from ._window import WINDOW, Window, padding, see, spread, wider
from ._zeros import with_zeros, zeroed
from .project import Projection

GEOMETRY = within(WINDOW, filters=SIZE)
"""Attributes that every step of a convolution has."""
UPDATED = takes(
    x="int8 [input]",
    d="int16 [outputs]",
    step="uint32 [1]",
    saturated="uint32 [1]",
    w="int8|int16 [rows, taps]",
    b="int32 [rows]",
    twin="=w [rows, taps]",
)
"""Operands of an update."""


def conv_sizes(a: Attrs, tying: type[Tied]) -> dict[str, int]:
    g = Window.from_attrs(a)
    return g.sizes | {"rows": a["filters"] * tying.each(g), "outputs": g.positions * a["filters"]}


def conv_misfit(a: Attrs) -> str:
    """What of its geometry is none; "" if nothing."""
    g, filters = Window.from_attrs(a), a["filters"]
    return g.misfit or (f"{filters} filters in {g.groups} groups" if filters % g.groups else "")


class Conv2d(WeightedLayer):
    op = "conv2d"
    untied = "local2d"
    tying: ClassVar[type[Tied]] = Tied

    def shape(self, node: Node, shapes: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
        x, w, b = shapes
        g = Window.of(node, x)
        each = self.tying.each(g)
        if len(w) != 2 or w[1] != g.taps or b != (w[0],) or w[0] % (each * g.groups):
            what = f"input {x}, weight {w} and bias {b} do not fit {g.kernel_h} x {g.kernel_w}"
            hint = "a row of the weight has as many values as a window"
            raise CompileError(node.name, f"{what} in {g.groups} groups", hint)
        return (g.out_height, g.out_width, w[0] // each)

    def takes_in(self, node: Node, shifted: bool) -> bool:
        return not (shifted and any(padding(node)))  # the border is 0, not the shift

    def before(self, node: Node, constants: Pair, pair: Pair, shape: Shape) -> Pair | None:
        each = per_channel(pair, shape[-1])
        if each is None or not self.takes_in(node, bool(np.any(each[1]))):
            return None
        rows, columns = constants[0].shape
        groups = Window.of(node, shape).groups
        seen = (np.tile(v.reshape(groups, -1), (1, columns * groups // shape[-1])) for v in each)
        scale, shift = (v.repeat(rows // groups, axis=0) for v in seen)
        return affine_columns(constants, scale, shift)

    def padded(self, node: Node, border: Border, least: float) -> Mapping[str, Attr] | None:
        around = wider(node, border[0])
        return {"padding": around} if around and border[1] == 0 else None

    def geometry(self, tape: Tape, node: Node) -> dict[str, int]:
        g = Window.of(node, tape.shape(node.inputs[0]))
        return g.attrs | {"filters": tape.shape(node.output)[-1]}

    def feedback(self, tape: Tape, node: Node, teach: str, matrix: str | None) -> dict[str, str]:
        x, through = node.inputs[0], self.passes(tape, node, matrix)
        g = tape.teach(f"{node.name}_input", tape.shape(x))
        acc = tape.add(Value(f"{g}_sum", (tape.shape(x)[-1],), "arena", "scratch"))
        args = {"d": teach, "m": tape.stored(node, through), "acc": acc, "g": g}
        tape.step(f"{self.op}.transposed", node, args, **self.geometry(tape, node))
        return {x: g}

    def scratch(self, tape: Tape, node: Node) -> dict[str, str]:
        taps = tape.shape(node.inputs[1])[1]
        return {"acc": tape.add(Value(f"{node.name}_update_sum", (taps,), "arena", "scratch"))}

    def sample(
        self, rng: np.random.Generator, shapes: Sequence[tuple[int, ...]]
    ) -> tuple[Node, dict[str, np.ndarray]] | None:
        if len(shapes[0]) != 3:
            return None
        node = replace(sample_window(rng, shapes[0]), op=self.op)
        g = Window.of(node, shapes[0])
        m = g.groups * int(rng.integers(1, 9 if g.groups == 1 else 3)) * self.tying.each(g)
        scale = 2.0 ** rng.integers(-3, 3) / np.sqrt(g.taps)
        return node, {"w": rng.normal(0, scale, (m, g.taps)), "b": rng.normal(0, 0.3, m)}


def sample_window(rng: np.random.Generator, shape: tuple[int, ...]) -> Node:
    """A random convolution of any kind on a map: strides, dilation, padding on any side, groups."""
    height, width, channels = shape
    kernel = int(rng.integers(1, min(height, 4) + 1)), int(rng.integers(1, min(width, 5) + 1))
    dilation = tuple(
        int(rng.integers(1, 3)) if (k - 1) * 2 < n else 1 for k, n in zip(kernel, shape[:2], strict=True)
    )
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    sides = reach * 2 if rng.integers(2) else [1] * 4
    groups = int(rng.choice([n for n in range(1, channels + 1) if channels % n == 0]))
    attrs: dict[str, Attr] = {
        "kernel": kernel,
        "stride": (int(rng.integers(1, 4)), int(rng.integers(1, 4))),
        "dilation": dilation,
        "padding": tuple(int(rng.integers(0, r)) for r in sides),
        "groups": groups if rng.integers(2) else 1,
    }
    return Node("conv2d", "", ("in0", "w", "b"), "out", attrs)


@helper
def runs_of(window: Any) -> Any:
    """(runs of taps that lie side by side, taps of one, rows of the map and elements of one, with padding).

    A window of all channels without dilation is one run a row, any other one a run a tap.
    """
    height, width, channels, out_h, out_w, kernel_h, kernel_w, step_h, step_w, apart_h, apart_w, top, left, groups = (
        window
    )
    down = max(height + top, (out_h - 1) * step_h + (kernel_h - 1) * apart_h + 1)
    across = max(width + left, (out_w - 1) * step_w + (kernel_w - 1) * apart_w + 1) * channels
    if groups == 1 and apart_w == 1:
        return kernel_h, kernel_w * channels, down, across
    return kernel_h * kernel_w, channels // groups, down, across


@helper
def run_offsets(window: Any) -> Any:
    """Where the runs of a window begin, in elements behind the window's first."""
    _, _, channels, _, _, kernel_h, _, _, _, apart_h, apart_w, _, _, _ = window
    runs, _, _, across = runs_of(window)
    offsets, each = np.empty(runs, np.int64), runs // kernel_h
    for r in range(runs):
        offsets[r] = r // each * apart_h * across + r % each * apart_w * channels
    return offsets


@helper
def padded_map(x: Cells, window: Any, zero: Any) -> Any:
    """The map as int16, less its zero point, with all that windows see beyond it as 0; and one value more,
    since a run of odd length is read in pairs."""
    height, width, channels, _, _, _, _, _, _, _, _, top, left, _ = window
    _, _, down, across = runs_of(window)
    seen = np.zeros(down * across + 1, np.int16)
    for iy in range(height):
        first, given = (iy + top) * across + left * channels, iy * width * channels
        for i in range(width * channels):
            seen[first + i] = np.int16(np.int32(x[given + i]) - zero)
    return seen


def _turned(t: Tensors, a: Attrs) -> dict[str, NDArray[Any]]:
    """`factors`, [groups, runs, pairs, 2 n]: a constant weight as `windows` takes it; else empty."""
    window = tuple(a[name] for name in WINDOWED["window"])
    if t["w"].space != "const":
        return {"factors": np.zeros((0, 0, 0, 0), np.int16)}
    groups, (runs, run, _, _) = a["groups"], runs_of(window)
    rows = a["filters"] // groups
    w = np.zeros((groups, lanes(rows), runs, run + run % 2), np.int16)
    w[:, :rows, :, :run] = t["w"].array().reshape(groups, rows, runs, run)
    pairs = w.reshape(groups, lanes(rows), runs, -1, 2).transpose(0, 2, 3, 1, 4)
    return {"factors": pairs.reshape(groups, runs, pairs.shape[2], -1)}


def _forward(
    x: Cells, w: Cells, b: Cells, m: Cells, s: Cells, y: Cells, window: Number, filters: int, shift: Number,
    multiplier: Number, x_zero: Number, y_zero: Number, rounds: Number, lo: int, hi: int, factors: Cells,
) -> None:  # fmt: skip
    _, _, channels, out_h, out_w, _, _, step_h, step_w, _, _, _, _, groups = window
    each, rows, seen = channels // groups, filters // groups, padded_map(x, window, np.int32(x_zero))
    runs, run, _, across = runs_of(window)
    if factors.shape[0] == 0:
        factors = np.zeros((groups, runs, (run + 1) // 2, 2 * lanes(rows)), np.int16)
        for g in range(groups):
            for f in range(rows):
                for r in range(runs):
                    for k in range(run):
                        factors[g, r, k // 2, 2 * f + k % 2] = w[g * rows + f, r * run + k]
    offsets, starts = run_offsets(window), np.zeros((groups, lanes(rows)), np.int32)
    acc = np.empty(out_h * out_w * filters + LANES, np.int32)  # the last lanes reach beyond
    for g in range(groups):
        starts[g, :rows] = b[g * rows : (g + 1) * rows]
    together = out_w if groups == 1 else 1
    for oy in range(out_h):
        for ox in range(0, out_w, together):
            for g in range(groups):
                at, first = oy * step_h * across + ox * step_w * channels + g * each, (oy * out_w + ox) * filters
                windows(
                    acc, first + g * rows, filters, starts[g], factors[g], seen, at, step_w * channels, offsets,
                    together,
                )  # fmt: skip
    ends, scales = tiled(s, out_h * out_w), tiled(m, out_h * out_w)
    end_row(y, acc, ends, scales, shift, multiplier, lo, hi, rounds, y_zero)


def _transposed(
    d: Cells, m: Cells, onto: Cells, acc: Cells, g: Cells, window: Number, filters: int, shift: int, lo: int,
    hi: int, added: Number,
) -> None:  # fmt: skip
    height, width, channels, out_h, out_w, _, _, step_h, step_w, _, _, top, left, groups = window
    each, rows = channels // groups, filters // groups
    runs, run, down, across = runs_of(window)
    taps, more = runs * run, lanes(runs * run)
    signals = np.zeros(len(d) + 1, np.int16)
    signals[: len(d)] = d
    factors, start = np.zeros((groups, 1, (rows + 1) // 2, 2 * more), np.int16), np.zeros(more, np.int32)
    for part in range(groups):
        for f in range(rows):
            for k in range(taps):
                factors[part, 0, f // 2, 2 * k + f % 2] = m[part * rows + f, k]
    offsets, sums, none = run_offsets(window), np.empty(out_w * more, np.int32), np.zeros(1, np.int64)
    total = np.zeros(down * across, np.int32)
    for oy in range(out_h):
        for part in range(groups):
            given = oy * out_w * filters + part * rows
            windows(sums, 0, more, start, factors[part], signals, given, filters, none, out_w)
            for ox in range(out_w):
                at = oy * step_h * across + ox * step_w * channels + part * each
                for r in range(runs):
                    first = at + offsets[r]
                    for k in range(run):
                        total[first + k] += sums[ox * more + r * run + k]
    kept, n = np.empty(len(g), np.int32), width * channels
    for iy in range(height):
        first = (iy + top) * across + left * channels
        kept[iy * n : (iy + 1) * n] = total[first : first + n]
    acc[:] = kept[len(g) - channels :]
    if len(onto):
        write_onto(g, kept, shift, lo, hi, onto, added)
    else:
        write_signal(g, kept, shift, lo, hi)


@helper
def sums_over_places(x: Cells, d: Cells, window: Any, filters: Any, zero: Any, g: Any) -> Any:
    """int32 [taps, n]: of each tap and filter of group g the sum of signal times input over all positions."""
    _, _, channels, out_h, out_w, _, _, step_h, step_w, _, _, _, _, groups = window
    positions, each, rows = out_h * out_w, channels // groups, filters // groups
    seen, offsets = padded_map(x, window, zero), run_offsets(window)
    runs, run, _, across = runs_of(window)
    taps, more, pairs = runs * run, lanes(rows), (positions + 1) // 2
    signals, places = np.zeros((1, pairs, 2 * more), np.int16), np.empty(positions, np.int64)
    for oy in range(out_h):
        for ox in range(out_w):
            p = oy * out_w + ox
            places[p] = oy * step_h * across + ox * step_w * channels
            for f in range(rows):
                signals[0, p // 2, 2 * f + p % 2] = d[p * filters + g * rows + f]
    values = np.zeros(taps * 2 * pairs, np.int16)
    for r in range(runs):
        for k in range(run):
            first, row = offsets[r] + k + g * each, (r * run + k) * 2 * pairs
            for p in range(positions):
                values[row + p] = seen[first + places[p]]
    sums, start = np.empty((taps, more), np.int32), np.zeros(more, np.int32)
    windows(sums.reshape(-1), 0, more, start, signals, values, 0, 2 * pairs, np.zeros(1, np.int64), taps)
    return sums


def _update(
    x: Cells, d: Cells, step: Cells, w: Cells, b: Cells, twin: Cells, saturated: Cells, acc: Cells,
    window: Number, filters: int, rates: Number, limits: Number, rounding: int, seed: int, tensor: int,
    x_zero: Number, mul: Cells, add: Cells,
) -> None:  # fmt: skip
    _, _, _, out_h, out_w, _, _, _, _, _, _, _, _, groups = window
    positions, rows = out_h * out_w, filters // groups
    words, base = np.empty(len(mul), np.uint32), stream_key(seed, step[0], tensor)
    totals, active = np.zeros(filters, np.int32), np.zeros(filters, np.uint8)
    for p in range(positions):
        for f in range(filters):
            totals[f] += d[p * filters + f]
            active[f] |= d[p * filters + f] != 0
    top = np.int64(BIAS_TOP) >> (-rates[1] if rates[1] < 0 else 0)
    for g in range(groups):
        sums = sums_over_places(x, d, window, filters, np.int32(x_zero), g)
        for f in range(g * rows, (g + 1) * rows):
            if active[f]:
                for k in range(len(acc)):
                    acc[k] = sums[k, f - g * rows]
                total = totals[f]
                if rates[1] < 0 and positions > 1:  # what is held back here would meet the bias's limit
                    total = np.int32(numeric.saturate(total, -top, top))
                row_words(words, base, f, mul, add)
                change_row(f, acc, total, w, b, twin, saturated, rates, limits, rounding, words)
    acc[:] = 0


class Forward(WeightedForward):
    name = "conv2d.forward"
    loop = Loop(_forward, WINDOWED, _turned)
    tying: ClassVar[type[Tied]] = Tied
    operands = takes(
        x="int8 [input]",
        w="int8|int16 [rows, taps]",
        b="int32 [rows]",
        m="int32 [rows]",
        s="uint8 [rows]",
        y="int8|int16 [outputs]",
    )
    attributes = within(GEOMETRY, WeightedForward.attributes)

    def sizes(self, a: Attrs) -> dict[str, int]:
        return conv_sizes(a, self.tying)

    def misfit(self, t: Tensors, a: Attrs) -> str:
        return conv_misfit(a) or super().misfit(t, a)

    def _sums(self, t: Arrays, x: NDArray[Any], a: Attrs, matmul: Matmul) -> NDArray[Any]:
        g = Window.from_attrs(a)
        out = [
            self.tying.forward(g, copies(t["w"], part), see(g, x[part]), matmul) for part in parts(len(x), g)
        ]
        return np.concatenate(out)

    @staticmethod
    def _every(t: Arrays) -> Every:
        """A value a row, [copies, rows], as one an output."""
        return lambda row: np.tile(row, (1, t["y"].shape[1] // row.shape[1]))

    def integer(self, t: Arrays, a: Attrs) -> None:
        every = self._every(t)
        acc = self._sums(t, centred(t["x"], a), a, numeric.matmul) + every(t["b"])
        t["y"][...] = self.ended(acc, t, a, every)

    def real(self, t: Arrays, a: Attrs) -> None:
        t["y"][...] = self.held(self._sums(t, t["x"], a, np.matmul) + self._every(t)(t["b"]), a)

    def gram(self, x: NDArray[Any], a: Attrs) -> NDArray[Any] | None:
        if self.tying is not Tied:
            return None
        g = Window.from_attrs(a)
        total = np.zeros((g.groups, g.taps, g.taps))
        for part in parts(len(x), g):
            seen = see(g, x[part]).swapaxes(0, 1).reshape(g.groups, -1, g.taps)
            total += np.matmul(seen.swapaxes(1, 2), seen)
        return total

    def cost(self, shapes: Mapping[str, tuple[int, ...]], a: Attrs) -> Cost:
        g = Window.from_attrs(a)
        return Cost(macs=g.positions * int(a["filters"]) * g.taps, reads=shapes["w"][0] * shapes["w"][1])

    def variant(self, kernel_set: str, t: Mapping[str, PlanTensor], a: Attrs) -> Variant:
        """dsp: windows as runs of whole words where they lie so, from a small patch where not; depthwise."""
        g = Window.from_attrs(a)
        chosen = None
        if kernel_set == DSP and self.tying is Tied:
            chosen = dual_windows(g, t, a) if g.groups == 1 else depthwise(g, t, a)
        return chosen or self._plain(super().variant(kernel_set, t, a), g, t, a)

    @staticmethod
    def _plain(plain: Variant, g: Window, t: Mapping[str, PlanTensor], a: Attrs) -> Variant:
        """Where windows reach beyond the map, the zero point is no constant of the row: they start by their
        place, or each tap inside gives its own."""
        if not g.beyond or not a.get("x_zero"):
            return plain
        relaid = {role: made for role, made in plain.relaid.items() if role != "b"}
        if not scaled(a):
            if found := places(g, t, a):
                relaid |= {"b": Relaid("places", found.starts, PLACES)}
                return replace(plain, relaid=relaid, numbers={**plain.numbers, **found.numbers})
            relaid |= zeroed(t, a, border=True)
        return replace(plain, relaid=relaid, numbers={**plain.numbers, "zero": a["x_zero"]})

    def case(self, rng: np.random.Generator) -> Case:
        g, m, attrs = random_case(rng, self.tying)
        arrays: dict[str, NDArray[Any]] = {
            "x": rng.integers(-128, 128, g.height * g.width * g.channels).astype(np.int8),
            "b": rng.integers(-(2**20), 2**20, m).astype(np.int32),
        }
        outputs = g.positions * attrs["filters"]
        if rng.integers(2):
            arrays |= {
                "w": rng.integers(-127, 128, (m, g.taps)).astype(np.int8),
                "s": rng.integers(0, 20, m).astype(np.uint8),
                "y": np.zeros(outputs, np.int8),
            }
            if self.tying is Tied and rng.integers(
                2
            ):  # untied ones are learned: none has a model file's scales
                return self.scaled_case(rng, arrays, attrs)
            return with_zeros(
                rng, wide_case(Case(arrays, attrs | {"lo": -128, "hi": 127}, {"w": (-127, 127)}))
            )
        arrays |= {
            "w": rng.integers(-(2**15), 2**15, (m, g.taps)).astype(np.int16),
            "y": np.zeros(outputs, np.int16),
        }
        ends = random_ending(rng) if rng.integers(2) else {"shift": int(rng.integers(0, 20))}
        return Case(arrays, attrs | {"lo": -32768, "hi": 32767} | ends, {})


class Transposed(Projection):
    """g = the sum over all windows that an input lies in: the convolution with its matrix transposed.

    acc holds the sums of one position, and in the end those of the last. With `onto` g is the sum of both
    signals.
    """

    name = "conv2d.transposed"
    loop = Loop(_transposed, {**WINDOWED, **onto.ADDED})
    reads = ("d", "m", "onto")
    writes = ("acc", "g")
    optional = ("onto",)
    inplace = ("onto", "g")
    tying: ClassVar[type[Tied]] = Tied
    operands = takes(
        d="int16 [outputs]",
        m="int8|int16 [rows, taps]",
        onto="int16 [input]",
        acc="int32 [channels]",
        g="int16 [input]",
    )
    attributes = within(GEOMETRY, REQUANTISED, onto.ATTRIBUTES)
    spare = tuple(onto.ATTRIBUTES)

    def sizes(self, a: Attrs) -> dict[str, int]:
        return conv_sizes(a, self.tying)

    def misfit(self, t: Tensors, a: Attrs) -> str:
        return conv_misfit(a) or onto.misfit(t, a) or super().misfit(t, a)

    def joined(self, step: Step, second: Step) -> Step | None:
        return onto.added(step, second)

    def _sums(self, t: Arrays, a: Attrs, matmul: Matmul) -> NDArray[Any]:
        g = Window.from_attrs(a)
        out = [
            spread(g, self.tying.transposed(g, copies(t["m"], part), t["d"][part], matmul))
            for part in parts(len(t["d"]), g)
        ]
        return np.concatenate(out)

    def integer(self, t: Arrays, a: Attrs) -> None:
        sums = self._sums(t, a, numeric.matmul)
        t["acc"][...] = sums[:, -int(a["channels"]) :]
        signal = numeric.saturate(numeric.shift_round(sums, a["shift"]), a["lo"], a["hi"])
        t["g"][...] = onto.finish(signal, t, a)

    def real(self, t: Arrays, a: Attrs) -> None:
        sums = self._sums(t, a, np.matmul)
        t["g"][...] = sums + t["onto"] if "onto" in t else sums

    def cap(self, f: Mapping[str, Format], a: Attrs) -> dict[str, int]:
        return {"g": f["m"].frac + f["d"].frac}

    def lower(self, f: Mapping[str, Format], a: Attrs, where: str) -> dict[str, int]:
        return {k: int(v) for k, v in a.items()} | self.lowered(f["m"].frac, f, where)

    @staticmethod
    def _terms(a: Attrs) -> int:
        """The most signals that one input hears; 0 where dilation brings every tap beyond the map."""
        g = Window.from_attrs(a)
        return int(a["filters"]) // g.groups * g.overlap

    def limit(
        self, role: str, f: Mapping[str, Format], shapes: Mapping[str, tuple[int, ...]], a: Attrs
    ) -> int:
        if role == "d" and "m" in f:
            return int((2**31 - 2**29) // (max(1, self._terms(a)) * max(-f["m"].lo, f["m"].hi)))
        return 2**31 - 1

    def bounds(self, k: Mapping[str, Known], a: Attrs) -> Bounds:
        top = k["m"].mag * min(k["d"].l1, self._terms(a) * k["d"].mag)
        sums = [Accumulator("feedback sum", -top, top + ((1 << a["shift"]) >> 1))]
        adding, lo, hi = onto.bounds(k, a)
        return sums + adding, {
            "acc": (-top, top, k["acc"].shape[0] * top),
            "g": (lo, hi, k["g"].shape[0] * max(-lo, hi)),
        }

    def cost(self, shapes: Mapping[str, tuple[int, ...]], a: Attrs) -> Cost:
        g = Window.from_attrs(a)
        return Cost(macs=g.positions * int(a["filters"]) * g.taps, reads=shapes["m"][0] * shapes["m"][1])

    def case(self, rng: np.random.Generator) -> Case:
        g, rows, attrs = random_case(rng, self.tying)
        top = 128 if rng.integers(2) else 2**14
        m = rng.integers(1 - top, top, (rows, g.taps)).astype(np.int8 if top == 128 else np.int16)
        signals = g.positions * attrs["filters"]
        arrays: dict[str, NDArray[Any]] = {
            "d": (rng.integers(-(2**9), 2**9, signals) * rng.integers(0, 2, signals)).astype(np.int16),
            "m": m,
            "acc": np.zeros(g.channels, np.int32),
            "g": np.zeros(g.height * g.width * g.channels, np.int16),
        }
        attrs = attrs | {"shift": int(rng.integers(0, 20)), "lo": -(2**15), "hi": 2**15 - 1}
        if rng.integers(2):
            added, more = onto.random(rng, arrays["g"].shape)
            return Case({**arrays, **added}, attrs | more, {})
        return Case(arrays, attrs, {})


class Update(WeightedUpdate):
    """The sum of a weight is that of signal times tap over all positions, of a bias that of the signals.

    acc holds the sums of one row, and zeros in the end.
    """

    name = "conv2d.update"
    loop = Loop(_update, {**WINDOWED, **RATES}, row_tables)
    writes = ("acc",)
    operands = takes(UPDATED, acc="int32 [taps]")
    attributes = within(GEOMETRY, WeightedUpdate.attributes)

    def sizes(self, a: Attrs) -> dict[str, int]:
        return conv_sizes(a, Tied)

    def misfit(self, t: Tensors, a: Attrs) -> str:
        return conv_misfit(a) or super().misfit(t, a)

    def terms(self, a: Attrs) -> int:
        return Window.from_attrs(a).positions

    def changes(self, t: Arrays, a: Attrs) -> tuple[NDArray[np.bool_], Change]:
        t["acc"][...] = 0
        d = t["d"].reshape(len(t["d"]), -1, int(a["filters"]))
        product = self._products({**t, "x": centred(t["x"], a)}, a, numeric.matmul)
        total = d.sum(axis=1, dtype=np.int32)
        return np.any(d, axis=1), lambda device, row: (product[device, row], total[device, row])

    def gradient(self, t: Arrays, a: Attrs) -> tuple[np.ndarray, np.ndarray]:
        d = t["d"].reshape(len(t["d"]), -1, int(a["filters"]))
        return self._products(t, a, np.matmul), d.sum(axis=1)

    @staticmethod
    def _products(t: Arrays, a: Attrs, matmul: Matmul) -> NDArray[Any]:
        """[D, filters, taps]."""
        g = Window.from_attrs(a)
        out = []
        for part in parts(len(t["x"]), g):
            product = matmul(grouped(g, t["d"][part]).swapaxes(-1, -2), see(g, t["x"][part]))
            out.append(product.reshape(len(product), -1, g.taps))
        return np.concatenate(out)

    def bounds(self, k: Mapping[str, Known], a: Attrs) -> Bounds:
        return super().bounds(k, a)[0], {"acc": (0, 0, 0)}

    def case(self, rng: np.random.Generator) -> Case:
        g, m, attrs = random_case(rng, Tied)
        size, signals = g.height * g.width * g.channels, g.positions * attrs["filters"]
        case = update_case(rng, (size, signals, m, g.taps), attrs)
        return Case({**case.arrays, "acc": np.zeros(g.taps, np.int32)}, case.attrs, case.limits)


def random_case(rng: np.random.Generator, tying: type[Tied]) -> tuple[Window, int, dict[str, int]]:
    """(geometry, rows of the weight, attributes) of a small convolution."""
    shape = tuple(int(rng.integers(1, n)) for n in (6, 9, 9))
    if not rng.integers(3):
        shape = (1, *shape[1:])
    g = Window.of(sample_window(rng, shape), shape)
    filters = g.groups * int(rng.integers(1, 10 if g.groups == 1 else 4))
    return g, filters * tying.each(g), g.attrs | {"filters": filters}


class Conv2dAlone(Alone):
    name = "conv2d"
    grammar = MAP + r"->(?P<m>\d+)" + STEPS
    example = "conv2d 16x16x16 3x3->16 same"
    kernels = "conv2d."

    def write(self, line: Line, words: Mapping[str, str]) -> None:
        attrs, channels = window(line, words, 1), int(words["c"])
        groups = 1 if "m" in words else channels
        weight = int(words.get("m", channels)), math.prod(attrs["kernel"]) * channels // groups  # type: ignore[arg-type]
        line.add("conv2d", attrs={**attrs, "dilation": (1, 1), "groups": groups}, weight=weight)
        line.classes()


class Conv1dAlone(Conv2dAlone):
    name = "conv1d"
    grammar = r"(?P<w>\d+)x(?P<c>\d+) k(?P<kw>\d+)->(?P<m>\d+)" + STEPS
    example = "conv1d 64x16 k5->32 s2 same"


class DepthwiseAlone(Conv2dAlone):
    name = "depthwise"
    grammar = MAP + STEPS
    example = "depthwise 16x16x32 3x3 same"


class ScaledConv2dAlone(Conv2dAlone):
    name = "conv2d-scaled"
    example = "conv2d-scaled 16x16x16 3x3->16 same"
    phases = ("infer",)
    rounds = TWICE


class ScaledConv1dAlone(Conv1dAlone):
    name = "conv1d-scaled"
    example = "conv1d-scaled 64x16 k5->32 s2 same"
    phases = ("infer",)
    rounds = TWICE


class ScaledDepthwiseAlone(DepthwiseAlone):
    name = "depthwise-scaled"
    example = "depthwise-scaled 16x16x32 3x3 same"
    phases = ("infer",)
    rounds = TWICE
