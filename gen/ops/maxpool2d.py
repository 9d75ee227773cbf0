"""The largest value of each window, channel by channel. Padding never wins.

What learning needs of the map is where in each window its maximum lies: `at`, in the few bits of _packed.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import numeric
from ..errors import CompileError
from ..ir.graph import Attr, Node
from ..ir.plan import PlanTensor
from ..ir.program import Step
from ..ir.tape import Tape
from ..sets import MVE
from . import (
    Accumulator,
    Arrays,
    Attrs,
    Bounds,
    Case,
    Format,
    Kept,
    Kernel,
    Known,
    Layer,
    Variant,
    _kept_loops,
)
from . import _packed as bits
from ._bench import LINE, MAP, STEPS, Alone, Line, window
from ._contract import REQUANTISED, SIZE, Tensors, takes, within
from ._folding import Border, Pair
from ._loops import WINDOWED, Loop
from ._pool_loops import max_feedback, max_forward
from ._pooling import pool_misfit, pool_window, random_attrs, random_window
from ._shifts import MAX_SHIFT, requantising
from ._window import WINDOW, Window, wider


class MaxPool(Layer):
    op = "maxpool2d"
    channelwise = True
    follows = True

    def shape(self, node: Node, shapes: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
        return pool_window(node, shapes[0]).pooled

    def commutes(self, node: Node, pair: Pair) -> bool:
        return bool(np.all(pair[0] > 0))

    def padded(self, node: Node, border: Border, least: float) -> Mapping[str, Attr] | None:
        around = wider(node, border[0])
        return {"padding": around} if around and least >= border[1] else None

    def homogeneous(self, node: Node) -> bool:
        return True

    def forward(self, tape: Tape, node: Node) -> None:
        x, y = tape.value(node.inputs[0]), tape.activation(node)
        tape.share_format(x, y)
        window = pool_window(node, tape.shape(node.inputs[0]))
        tape.step("maxpool2d.forward", node, {"x": x, "y": y}, **window.attrs)

    def feedback(self, tape: Tape, node: Node, teach: str, matrix: str | None) -> dict[str, str]:
        shape = tape.shape(node.inputs[0])
        window = pool_window(node, shape)
        tie = teach if window.overlap == 1 else ""  # else sums, which have a range of their own
        g = tape.teach(f"{node.name}_input", shape, tie=tie)
        args = {"x": tape.value(node.inputs[0]), "y": tape.value(node.output), "d": teach, "g": g}
        tape.step("maxpool2d.feedback", node, args, **window.attrs)
        return {node.inputs[0]: g}

    def sample(
        self, rng: np.random.Generator, shapes: Sequence[tuple[int, ...]]
    ) -> tuple[Node, dict[str, np.ndarray]] | None:
        if len(shapes[0]) != 3:
            return None
        return Node("maxpool2d", "", ("in0",), "out", random_attrs(rng, shapes[0])), {}


def holds_places(window: Window) -> bool:
    """Whether the places of a window can be numbered: it has few, all of them in the map."""
    return window.kernel_h * window.kernel_w <= bits.MOST and not window.beyond


def places_width(a: Attrs) -> int:
    """Bits of the number of a place in a window."""
    return bits.width(int(a["kernel_h"]) * int(a["kernel_w"]))


def _seen(a: Attrs) -> bool:
    """Whether each window has a place in the map."""
    return int(Window.from_attrs(a).counts().min()) > 0


def _sizes(a: Attrs) -> dict[str, int]:
    sizes = Window.from_attrs(a).sizes
    if a["kernel_h"] * a["kernel_w"] > bits.MOST:
        return sizes
    return sizes | {"chosen": bits.size(sizes["pooled"], places_width(a))}


def _unpacked(t: Tensors, a: Attrs) -> str:
    """Whether places are told of windows that have too many, or some beyond the map."""
    fits = "at" not in t or holds_places(Window.from_attrs(a))
    return "" if fits else "the places of its windows have no numbers"


class Forward(Kernel):
    name = "maxpool2d.forward"
    loop = Loop(max_forward, WINDOWED, otherwise=Loop(_kept_loops.pool_forward, WINDOWED))
    reads = ("x",)
    writes = ("y", "at")
    optional = ("at",)
    trails = ("x", "y")
    moves = True
    operands = takes(x="int8|int16 [input]", y="=x [pooled]", at="uint8 [chosen]")
    attributes = WINDOW

    def sizes(self, a: Attrs) -> dict[str, int]:
        return _sizes(a)

    def misfit(self, t: Tensors, a: Attrs) -> str:
        return Window.from_attrs(a).misfit or pool_misfit(a) or _unpacked(t, a)

    def lead(self, read: int, written: int, a: Attrs) -> int:
        channels = int(a["channels"])
        return Window.from_attrs(a).lead(channels * read, channels * written)

    def integer(self, t: Arrays, a: Attrs) -> None:
        window = Window.from_attrs(a)
        x, kind = window.inputs(t["x"]), t["y"].dtype
        least = np.iinfo(kind).min if kind.kind == "i" else -np.inf
        y = np.full((len(x), *window.pooled), least, kind)
        for seen, there in window.regions():
            np.maximum(y[seen], x[there], out=y[seen])
        if "at" in t:
            t["at"][...] = bits.packed(self._first(window, x, y).reshape(t["y"].shape), places_width(a))
        t["y"][...] = y.reshape(t["y"].shape)

    @staticmethod
    def _first(window: Window, x: NDArray[Any], y: NDArray[Any]) -> NDArray[np.uint8]:
        """Which place of its window, counted row by row, each maximum has first."""
        at, waiting = np.zeros(y.shape, np.uint8), np.ones(y.shape, bool)
        for place, (seen, there) in enumerate(window.regions()):
            here = waiting[seen] & (x[there] == y[seen])
            at[seen][here] = place
            waiting[seen] &= ~here
        return at

    real = integer

    def lower(self, f: Mapping[str, Format], a: Attrs, where: str) -> dict[str, int]:
        if f["x"].meaning != f["y"].meaning:
            what = f"its input has {f['x'].meaning}, its output {f['y'].meaning}: a maximum does not rescale"
            raise CompileError(where, what, "report this model")
        return super().lower(f, a, where)

    def variant(self, kernel_set: str, t: Mapping[str, PlanTensor], a: Attrs) -> Variant:
        """mve: all channels of a place at once."""
        plain = super().variant(kernel_set, t, a)
        vectors = kernel_set == MVE and t["x"].dtype == "int8" and "at" not in t
        return replace(plain, kernel_set=MVE) if vectors and _seen(a) else plain

    def bounds(self, k: Mapping[str, Known], a: Attrs) -> Bounds:
        written = {"y": (k["x"].lo, k["x"].hi, k["y"].shape[0] * k["x"].mag)}
        return [], written | ({"at": bits.anything(k["at"].shape[0])} if "at" in k else {})

    def case(self, rng: np.random.Generator) -> Case:
        window = random_window(rng)
        x = _random(rng, window)
        arrays = {"x": x, "y": _largest(window, x)}
        if holds_places(window) and rng.integers(2):
            arrays["at"] = np.zeros(_sizes(window.attrs)["chosen"], np.uint8)
        return Case(arrays, window.attrs, {})


class Feedback(Kernel):
    """The signal of a window goes to the first place, row by row, that holds its maximum; g is their sum.

    Where windows overlap the signals are halved `before` times first, so that the sums of all windows fit g's
    16 bits. With `at` it goes to the place told there; nowhere if the window has no such place.
    """

    name = "maxpool2d.feedback"
    loop = Loop(max_feedback, WINDOWED, otherwise=Loop(_kept_loops.pool_feedback, WINDOWED))
    reads = ("x", "y", "at", "d")
    writes = ("g",)
    optional = ("x", "y", "at")
    operands = takes(
        x="int8|int16 [input]",
        y="int8|int16 [pooled]",
        at="uint8 [chosen]",
        d="int16 [pooled]",
        g="int16 [input]",
    )
    attributes = within(WINDOW, REQUANTISED, before=(0, MAX_SHIFT), overlap=SIZE)

    def sizes(self, a: Attrs) -> dict[str, int]:
        return _sizes(a)

    def misfit(self, t: Tensors, a: Attrs) -> str:
        """Where no windows overlap, signals are moved as they are."""
        moved = a["shift"] == 0 and a["lo"] <= t["d"].lo and t["d"].hi <= a["hi"]
        wrong = Window.from_attrs(a).misfit or pool_misfit(a) or _unpacked(t, a)
        if {"x", "y", "at"} & t.keys() not in ({"x", "y"}, {"at"}):
            wrong = wrong or "it takes operands x and y, or at"
        if "at" not in t and t["x"].dtype != t["y"].dtype:
            wrong = wrong or f"operand y, {t['y'].name}, is {t['y'].dtype}, not {t['x'].dtype}"
        return wrong or ("" if a["overlap"] > 1 or moved else "signals that only move are shifted or held")

    def kept(self, step: Step, made: Step, fresh: Callable[[str], str]) -> Kept | None:
        window = Window.from_attrs(step.attrs)
        read = {role: step.args.get(role) for role in ("x", "y")}
        if made.kernel != Forward.name or read != {role: made.args[role] for role in read}:
            return None
        if not holds_places(window):
            return None
        name = fresh(f"{made.args['y']}_at")
        writer = Step(made.kernel, made.node, {**made.args, "at": name}, made.attrs)
        reader = Step(step.kernel, step.node, {"at": name, **bits.without(step, "x", "y")}, step.attrs)
        return Kept(writer, reader, name, made.args["y"], places_width(step.attrs))

    def behind(self, step: Step, second: Step, signal: str) -> tuple[Step, Step] | None:
        """A clip's derivative where the maximum lies is that of the maximum: clipped signals are spread."""
        args = second.args
        if (
            second.kernel != "clip.feedback"
            or args.get("y") != step.args.get("x")
            or args["d"] != step.args["g"]
        ):
            return None
        first = Step(
            second.kernel,
            second.node,
            {**args, "y": step.args["y"], "d": step.args["d"], "g": signal},
            second.attrs,
        )
        return first, Step(step.kernel, step.node, {**step.args, "d": signal, "g": args["g"]}, step.attrs)

    def integer(self, t: Arrays, a: Attrs) -> None:
        d = numeric.shift_round(t["d"].astype(np.int32), a["before"])
        total = self._spread(t, d, a).reshape(t["g"].shape)
        t["g"][...] = numeric.saturate(numeric.shift_round(total, a["shift"]), a["lo"], a["hi"])

    def real(self, t: Arrays, a: Attrs) -> None:
        t["g"][...] = self._spread(t, t["d"], a).reshape(t["g"].shape)

    @staticmethod
    def _spread(t: Arrays, d: NDArray[Any], a: Attrs) -> NDArray[Any]:
        """The sums [D, height, width, channels] of d over the windows whose maximum lies there."""
        window = Window.from_attrs(a)
        d = window.outputs(d)
        total = np.zeros((len(d), window.height, window.width, window.channels), d.dtype)
        if "at" in t:
            at = window.outputs(bits.unpacked(t["at"], d[0].size, places_width(a)))
            for place, (seen, there) in enumerate(window.regions()):
                total[there] += np.where(at[seen] == place, d[seen], d.dtype.type(0))
            return total
        x, y = window.inputs(t["x"]), window.outputs(t["y"])
        waiting = np.ones(y.shape, bool)
        for seen, there in window.regions():
            here = waiting[seen] & (x[there] == y[seen])
            total[there] += np.where(here, d[seen], d.dtype.type(0))
            waiting[seen] &= ~here
        return total

    def cap(self, f: Mapping[str, Format], a: Attrs) -> dict[str, int]:
        return {"g": f["d"].frac - self._before(f["d"], a)}

    @staticmethod
    def _before(d: Format, a: Attrs) -> int:
        return Window.from_attrs(a).fitting_shift(max(-d.lo, d.hi))

    def lower(self, f: Mapping[str, Format], a: Attrs, where: str) -> dict[str, int]:
        before = self._before(f["d"], a)
        shift = f["d"].frac - before - f["g"].frac
        requantising(shift, where, "report this model")
        return super().lower(f, a, where) | {
            "before": before,
            "overlap": Window.from_attrs(a).overlap,
            "shift": shift,
            "lo": f["g"].lo,
            "hi": f["g"].hi,
        }

    def bounds(self, k: Mapping[str, Known], a: Attrs) -> Bounds:
        d, n, overlap = k["d"], k["g"].shape[0], Window.from_attrs(a).overlap
        half = (1 << a["before"]) >> 1
        signal = Accumulator("signal and its rounding", d.lo, d.hi + half)
        lo, hi = overlap * ((d.lo + half) >> a["before"]), overlap * ((d.hi + half) >> a["before"])
        lo, hi = min(lo, 0), max(hi, 0)
        sums = [signal, Accumulator("sum of windows", lo, hi, 16)]
        lo, hi = max(lo, a["lo"]), min(hi, a["hi"])
        l1 = min(d.l1, n * max(-lo, hi))  # a signal goes to one place, and no shift makes it larger
        return sums, {"g": (lo, hi, l1)}

    def case(self, rng: np.random.Generator) -> Case:
        window = random_window(rng)
        x = _random(rng, window)
        d = rng.integers(-(2**15), 2**15, np.prod(window.pooled)).astype(np.int16)
        d[rng.integers(0, 2, d.shape) == 0] = 0
        attrs = window.attrs | {"overlap": window.overlap, "before": window.fitting_shift(2**15)}
        if window.overlap == 1:
            attrs |= {"shift": 0, "lo": -(2**15), "hi": 2**15 - 1}
        else:
            attrs |= {"shift": int(rng.integers(0, 4)), "lo": -(2**13), "hi": 2**13 - 1}
        arrays: dict[str, NDArray[Any]] = {"d": d, "g": np.zeros(x.shape, np.int16)}
        if holds_places(window) and rng.integers(2):
            arrays["at"] = rng.integers(0, 256, _sizes(attrs)["chosen"]).astype(np.uint8)
        else:
            arrays |= {"x": x, "y": _largest(window, x)}
        return Case(arrays, attrs, {})


class MaxPoolAlone(Alone):
    name = "maxpool"
    grammar = MAP + STEPS
    example = "maxpool 16x16x16 2x2"
    phases = ("infer",)
    kernels = "maxpool2d."

    def write(self, line: Line, words: Mapping[str, str]) -> None:
        line.add("maxpool2d", attrs=window(line, words, int(words["kw"])))
        line.classes()


class MaxPool1dAlone(MaxPoolAlone):
    name = "maxpool1d"
    grammar = LINE + STEPS
    example = "maxpool1d 64x32 k2"


def _random(rng: np.random.Generator, window: Window) -> NDArray[Any]:
    """A map with many equal values."""
    top = int(rng.choice([2, 128]))
    n = window.input_size
    return rng.integers(-top, top, n).astype(np.int16 if rng.integers(2) else np.int8)


def _largest(window: Window, x: NDArray[Any]) -> NDArray[Any]:
    y: NDArray[Any] = np.zeros((1, int(np.prod(window.pooled))), x.dtype)
    Forward().integer({"x": x[None], "y": y}, window.attrs)
    return y.ravel()
