"""Convolution over a map [height, width, channels] -> [out_height, out_width, filters], weights tied.

W [filters, kernel_h * kernel_w * channels / groups], the taps of a row in the order (ky, kx, channel). A
one-dimensional convolution has height 1; a depthwise one as many groups as channels.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from .. import numeric
from ..errors import CompileError, SynapccError
from ..ir.graph import Attr, Node
from ..ir.plan import PlanTensor
from ..ir.program import Step, Value
from ..ir.tape import Tape
from ..sets import DSP, MVE
from ..sets.dsp import power_of_two
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
    _columns,
    _conv_loops,
    _depthwise_loops,
    _kept_loops,
    _long_loops,
    _mve,
)
from . import _chosen as chosen
from . import _onto as onto
from . import _packed as bits
from ._bench import HOLES, LINE, MAP, STEPS, Alone, Line, window
from ._contract import REQUANTISED, SIZE, Tensors, takes, within
from ._dsp import depthwise, windows
from ._folding import Border, Pair, Shape, affine_columns, per_channel
from ._loops import RATES, WINDOWED, Loop, narrow, row_tables
from ._places import NOTE as PLACES
from ._places import places
from ._requantise import TWICE, centred, random_ending, scaled, summed
from ._tying import SUMMED, Matmul, Tied, copies, grouped, parts
from ._weighted import Change, Every, WeightedForward, WeightedLayer, WeightedUpdate, update_case, wide_case
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
    w="int8|int16|int32 [rows, taps]",
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

    def fan_out(self, node: Node, shapes: Sequence[tuple[int, ...]]) -> int:
        g = Window.of(node, shapes[0])
        return shapes[1][0] // self.tying.each(g) * g.kernel_h * g.kernel_w

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
        return {"acc": tape.b.once(Value(f"{node.name}_update_sum", (taps,), "arena", "scratch"))}

    def statement(self, tape: Tape, node: Node, bias: bool = False) -> tuple[str, dict[str, int]]:
        geometry = self.geometry(tape, node)
        summed = {"summed": Window.from_attrs(geometry).positions}
        return ("statement2d.bias", summed) if bias else ("statement2d.tied", geometry | summed)

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


_FOLDED = Loop(
    _kept_loops.forward,
    {**WINDOWED, **chosen.FOLDED},
    _conv_loops.turned,
    narrow,
    Loop(_kept_loops.long, {**WINDOWED, **chosen.FOLDED}, takes=_long_loops.takes),
)


class Forward(WeightedForward):
    name = "conv2d.forward"
    loop = Loop(
        _depthwise_loops.forward,
        WINDOWED,
        _depthwise_loops.by_tap,
        _depthwise_loops.takes,
        Loop(
            _conv_loops.forward,
            WINDOWED,
            _conv_loops.turned,
            narrow,
            Loop(_long_loops.conv, WINDOWED, takes=_long_loops.takes, otherwise=_FOLDED),
        ),
    )
    writes = ("y", "row", "at")
    optional = ("m", "r", "s", "row", "at")
    trails = ("x", "y")
    tying: ClassVar[type[Tied]] = Tied
    operands = takes(
        x="int8|int16 [input]",
        w="int8|int16 [rows, taps]",
        b="int32 [rows]",
        m="int32 [rows]",
        r="uint32 [rows]",
        s="uint8 [rows]",
        y="int8|int16 [outputs]",
        row="=y [filters]",
        at="uint8 [chosen]",
    )
    attributes = within(GEOMETRY, WeightedForward.attributes, chosen.ATTRIBUTES, chosen.CLIPPED)
    spare = (*WeightedForward.spare, *chosen.ATTRIBUTES, *chosen.CLIPPED)

    def sizes(self, a: Attrs) -> dict[str, int]:
        return conv_sizes(a, self.tying) | chosen.sizes(a) | {"filters": a["filters"]}

    def misfit(self, t: Tensors, a: Attrs) -> str:
        untied = "" if self.tying is Tied or "row" not in t else "untied filters pool nothing"
        return conv_misfit(a) or untied or chosen.fold_misfit(t, a) or super().misfit(t, a)

    def absorbed(self, step: Step, second: Step, row: str) -> Step | None:
        return chosen.absorbed(step, second, row) if self.tying is Tied else None

    def _sums(self, t: Arrays, x: NDArray[Any], a: Attrs, matmul: Matmul) -> NDArray[Any]:
        g = Window.from_attrs(a)
        out = [
            self.tying.forward(g, copies(t["w"], part), see(g, x[part]), matmul) for part in parts(len(x), g)
        ]
        return np.concatenate(out)

    @staticmethod
    def _every(sums: int) -> Every:
        """A value a row, [copies, rows], as one a sum."""
        return lambda row: np.tile(row, (1, sums // row.shape[1]))

    def integer(self, t: Arrays, a: Attrs) -> None:
        acc = self._sums(t, centred(t["x"], a), a, partial(numeric.matmul, dtype=summed(a)))
        every = self._every(acc.shape[1])
        self._write(self.ended(acc + every(t["b"]), t, a, every), t, a)

    def real(self, t: Arrays, a: Attrs) -> None:
        sums = self._sums(t, t["x"], a, np.matmul)
        self._write(self.held(sums + self._every(sums.shape[1])(t["b"]), a), t, a)

    @staticmethod
    def _write(y: NDArray[Any], t: Arrays, a: Attrs) -> None:
        if "row" in t:
            chosen.fold(y, t, a)
        else:
            t["y"][...] = y

    def gram(self, x: NDArray[Any], a: Attrs) -> NDArray[Any] | None:
        if self.tying is not Tied:
            return None
        g = Window.from_attrs(a)
        total = np.zeros((g.groups, g.taps, g.taps))
        for part in parts(len(x), g, SUMMED):
            seen = see(g, x[part]).swapaxes(0, 1).reshape(g.groups, -1, g.taps)
            total += np.matmul(seen.swapaxes(1, 2), seen)
        return total

    def bounds(self, k: Mapping[str, Known], a: Attrs) -> Bounds:
        sums, written = super().bounds(k, a)
        if "row" not in k:
            return sums, written
        lo, hi, _ = written["y"]
        clipped = [min(max(end, a["clip_lo"]), a["clip_hi"]) for end in (lo, hi)]
        written["y"] = (*clipped, k["y"].shape[0] * max(abs(end) for end in clipped))
        written["row"] = (lo, hi, k["row"].shape[0] * max(-lo, hi))
        return sums, written | ({"at": bits.anything(k["at"].shape[0])} if "at" in k else {})

    def lead(self, read: int, written: int, a: Attrs) -> int:
        if "pool_h" in a:
            return chosen.sizes(a)["outputs"] * written  # a window is written to from several rows: no place
        return Window.from_attrs(a).lead(int(a["channels"]) * read, int(a["filters"]) * written)

    def cost(self, shapes: Mapping[str, tuple[int, ...]], a: Attrs) -> Cost:
        g = Window.from_attrs(a)
        return Cost(macs=g.positions * int(a["filters"]) * g.taps, reads=shapes["w"][0] * shapes["w"][1])

    def variant(self, kernel_set: str, t: Mapping[str, PlanTensor], a: Attrs) -> Variant:
        """mve: windows as runs of any length, or copied; dsp: as runs of whole words where they lie so, or
        copied; depthwise."""
        g = Window.from_attrs(a)
        quick = None
        if kernel_set == DSP and self.tying is Tied and t["x"].dtype == "int8":
            quick = windows(g, t, a) if g.groups == 1 else depthwise(g, t, a)
        elif kernel_set == MVE and self.tying is Tied and t["x"].dtype == "int8":
            quick = _mve.depthwise(g, t, a) or _mve.windows(g, t, a)
        return quick or self._plain(super().variant(kernel_set, t, a), g, t, a)

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
        case = self._plain_case(rng)
        if self.tying is not Tied or case.attrs["groups"] != 1 or rng.integers(2):
            return case
        arrays, attrs = chosen.random_fold(rng, case.arrays, case.attrs)
        return replace(case, arrays=arrays, attrs=attrs)

    def _plain_case(self, rng: np.random.Generator) -> Case:
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
            if rng.integers(2):
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
    signals; with `at` d is that of _chosen.py.
    """

    name = "conv2d.transposed"
    loop = Loop(
        _conv_loops.transposed,
        {**WINDOWED, **onto.ADDED},
        otherwise=Loop(_kept_loops.transposed, {**WINDOWED, **onto.ADDED, **chosen.POOLED}),
    )
    reads = ("d", "at", "m", "onto")
    writes = ("acc", "g")
    optional = ("at", "onto")
    inplace = ("onto", "g")
    trails = ("d", "g")
    tying: ClassVar[type[Tied]] = Tied
    operands = takes(
        d="int16 [outputs]",
        at="uint8 [chosen]",
        m="int8|int16 [rows, taps]",
        onto="int16 [input]",
        acc="int32 [channels]",
        g="int16 [input]",
    )
    attributes = within(GEOMETRY, REQUANTISED, onto.ATTRIBUTES, chosen.ATTRIBUTES)
    spare = (*onto.ATTRIBUTES, *chosen.ATTRIBUTES)

    def sizes(self, a: Attrs) -> dict[str, int]:
        return conv_sizes(a, self.tying) | chosen.sizes(a)

    def misfit(self, t: Tensors, a: Attrs) -> str:
        untied = "" if self.tying is Tied or "at" not in t else "untied filters hear every place"
        return conv_misfit(a) or untied or chosen.misfit(t, a) or onto.misfit(t, a) or super().misfit(t, a)

    def sparse(self, step: Step, made: Step) -> Step | None:
        return chosen.read(step, made) if self.tying is Tied else None

    def joined(self, step: Step, second: Step) -> Step | None:
        return onto.added(step, second)

    def lead(self, read: int, written: int, a: Attrs) -> int:
        if "pool_h" in a:
            return Window.from_attrs(a).input_size * written  # a window is heard from several rows: no place
        return Window.from_attrs(a).back_lead(int(a["filters"]) * read, int(a["channels"]) * written)

    def _sums(self, t: Arrays, a: Attrs, matmul: Matmul) -> NDArray[Any]:
        g, d = Window.from_attrs(a), chosen.signals(t, a)
        out = [
            spread(g, self.tying.transposed(g, copies(t["m"], part), d[part], matmul))
            for part in parts(len(d), g)
        ]
        return np.concatenate(out)

    def integer(self, t: Arrays, a: Attrs) -> None:
        sums = self._sums(t, a, numeric.matmul)
        t["acc"][...] = sums[:, -int(a["channels"]) :]
        signal = numeric.saturate(numeric.shift_round(sums, a["shift"]), a["lo"], a["hi"])
        t["g"][...] = onto.finish(signal, t, a)

    def real(self, t: Arrays, a: Attrs) -> None:
        g = Window.from_attrs(a)
        for part in parts(len(t["d"]), g):
            sums = self.tying.felt(g, copies(t["m"], part), t["d"][part])
            t["g"][part] = sums + t["onto"][part] if "onto" in t else sums

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

    def variant(self, kernel_set: str, t: Mapping[str, PlanTensor], a: Attrs) -> Variant:
        """dsp: eight channels and two filters at a time; four channels are words of all rows."""
        whole = a["groups"] == 1 and a["channels"] % 4 == 0 and t["m"].aligned
        if kernel_set != DSP or self.tying is not Tied or "at" in t or not whole:
            return super().variant(kernel_set, t, a)
        numbers = {
            "wide": int(t["m"].dtype == "int16"),
            "even": int(a["filters"] % 2 == 0 and t["d"].aligned),
            "bits": power_of_two(a["lo"], a["hi"]),
            "half": (1 << a["shift"]) >> 1,
        }
        return Variant("transposed", DSP, {}, numbers)

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
        if self.tying is Tied and rng.integers(2):
            arrays, attrs = chosen.random(rng, arrays, attrs)
        if rng.integers(2):
            added, more = onto.random(rng, arrays["g"].shape)
            return Case({**arrays, **added}, attrs | more, {})
        return Case(arrays, attrs, {})


class Update(WeightedUpdate):
    """The sum of a weight is that of signal times tap over all positions, of a bias that of the signals.

    acc holds the sums of one row, and zeros in the end. With `at` d is that of _chosen.py.
    """

    name = "conv2d.update"
    loop = Loop(
        _conv_loops.update,
        {**WINDOWED, **RATES},
        row_tables,
        otherwise=Loop(_kept_loops.update, {**WINDOWED, **RATES, **chosen.POOLED}, row_tables),
    )
    reads = ("x", "d", "at", "step")
    writes = ("acc",)
    optional = ("at", "twin")
    operands = takes(UPDATED, at="uint8 [chosen]", acc="int32 [taps]")
    attributes = within(GEOMETRY, WeightedUpdate.attributes, chosen.ATTRIBUTES)
    spare = (*WeightedUpdate.spare, *chosen.ATTRIBUTES)

    def sizes(self, a: Attrs) -> dict[str, int]:
        return conv_sizes(a, Tied) | chosen.sizes(a)

    def misfit(self, t: Tensors, a: Attrs) -> str:
        return conv_misfit(a) or chosen.misfit(t, a) or super().misfit(t, a)

    def sparse(self, step: Step, made: Step) -> Step | None:
        return chosen.read(step, made)

    def terms(self, a: Attrs) -> int:
        return Window.from_attrs(a).positions

    def changes(self, t: Arrays, a: Attrs) -> tuple[NDArray[np.bool_], Change]:
        t["acc"][...] = 0
        whole = chosen.signals(t, a)
        d = whole.reshape(len(whole), -1, int(a["filters"]))
        product = self._products({**t, "x": centred(t["x"], a), "d": whole}, a, numeric.matmul)
        total = d.sum(axis=1, dtype=np.int32)
        return np.any(d, axis=1), lambda device, row: (product[device, row], total[device, row])

    def gradient(self, t: Arrays, a: Attrs) -> tuple[np.ndarray, np.ndarray]:
        whole = chosen.signals(t, a)
        d = whole.reshape(len(whole), -1, int(a["filters"]))
        return self._products({**t, "d": whole}, a, np.matmul), d.sum(axis=1)

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

    def variant(self, kernel_set: str, t: Mapping[str, PlanTensor], a: Attrs) -> Variant:
        """dsp: four taps of many positions, once for all filters."""
        quick = _columns.columns(Window.from_attrs(a), t, a) if kernel_set == DSP else None
        return quick or super().variant(kernel_set, t, a)

    def case(self, rng: np.random.Generator) -> Case:
        g, m, attrs = random_case(rng, Tied)
        size, signals = g.height * g.width * g.channels, g.positions * attrs["filters"]
        case = update_case(rng, (size, signals, m, g.taps), attrs)
        arrays: Arrays = {**case.arrays, "acc": np.zeros(g.taps, np.int32)}
        if rng.integers(2):
            return Case(*chosen.random(rng, arrays, case.attrs), case.limits)
        return Case(arrays, case.attrs, case.limits)


def random_case(rng: np.random.Generator, tying: type[Tied]) -> tuple[Window, int, dict[str, int]]:
    """(geometry, rows of the weight, attributes) of a small convolution."""
    shape = tuple(int(rng.integers(1, n)) for n in (6, 9, 9))
    if not rng.integers(3):
        shape = (1, *shape[1:])
    g = Window.of(sample_window(rng, shape), shape)
    filters = g.groups * int(rng.integers(1, 10 if g.groups == 1 else 4))
    return g, filters * tying.each(g), g.attrs | {"filters": filters}


GROUPS = r"(?: g(?P<g>\d+))?"


class Conv2dAlone(Alone):
    name = "conv2d"
    grammar = MAP + r"->(?P<m>\d+)" + STEPS + HOLES + GROUPS
    example = "conv2d 16x16x16 3x3->16 same"
    kernels = "conv2d."

    def write(self, line: Line, words: Mapping[str, str]) -> None:
        attrs, channels = window(line, words, 1), int(words["c"])
        groups = int(words.get("g", 1)) if "m" in words else channels
        filters = int(words.get("m", channels))
        if groups < 1 or channels % groups or filters % groups:
            what = f"{channels} channels and {filters} filters in {groups} groups"
            raise SynapccError(line.where, what, "they must divide evenly")
        weight = filters, math.prod(attrs["kernel"]) * channels // groups  # type: ignore[arg-type]
        line.add("conv2d", attrs={"dilation": (1, 1), **attrs, "groups": groups}, weight=weight)
        line.classes()


class Conv1dAlone(Conv2dAlone):
    name = "conv1d"
    grammar = LINE + r"->(?P<m>\d+)" + STEPS + HOLES + GROUPS
    example = "conv1d 64x16 k5->32 s2 same"


class DepthwiseAlone(Conv2dAlone):
    name = "depthwise"
    grammar = MAP + STEPS + HOLES
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


class UpdateConv2dAlone(Conv2dAlone):
    name = "conv2d-update"
    example = "conv2d-update 16x16x16 3x3->16 same"
    phases = ("learn",)
    kernels = "conv2d.update"


class UpdateConv1dAlone(Conv1dAlone):
    name = "conv1d-update"
    example = "conv1d-update 64x16 k5->32 s2 same"
    phases = ("learn",)
    kernels = "conv2d.update"


class BackConv2dAlone(Conv2dAlone):
    """What a convolution passes back to a layer of one tap in front of it, which learns (`--rule bp`)."""

    name = "conv2d-back"
    grammar = MAP + r"->(?P<m>\d+)" + STEPS
    example = "conv2d-back 16x16x16 3x3->16 same"
    phases = ("learn",)

    def write(self, line: Line, words: Mapping[str, str]) -> None:
        attrs, channels = window(line, words, 1), int(words["c"])
        line.add("conv2d", attrs={"kernel": (1, 1)}, weight=(channels, channels))
        weight = int(words["m"]), math.prod(attrs["kernel"]) * channels  # type: ignore[arg-type]
        line.add("conv2d", "behind", {**attrs, "dilation": (1, 1)}, weight)
        line.classes()

    def counts(self, step: Step) -> bool:
        return step.kernel == "conv2d.transposed"
