"""The mean of each window, channel by channel. Padding counts as zeros, or does not count.

A mean is a sum times m = round(2^k / n), n the number of values, brought back by a shift. Where n differs
from window to window, m is a constant tensor, one factor a window.

Where a model file brought the integers, the node's `rounds` says whose mean it is: gen/ops/_means.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from .. import numeric
from ..ir.graph import Attr, Node
from ..ir.plan import PlanTensor
from ..ir.program import Value
from ..ir.tape import Tape
from ..sets import MVE
from . import (
    Accumulator,
    Arrays,
    Attrs,
    Bounds,
    Case,
    Cost,
    Format,
    Kernel,
    Known,
    Layer,
    Variant,
    _mean_loops,
    _means,
    _mve,
    _requantise,
    _zeros,
)
from ._bench import MAP, STEPS, Alone, Line, window
from ._contract import BETWEEN, INT8, INT16, REQUANTISED, SIZE, Range, Tensors, either, takes, within
from ._folding import Border, Pair
from ._loops import WINDOWED, Loop
from ._pooling import divisors, pool_misfit, pool_window, random_attrs, random_window
from ._shifts import MAX_SHIFT, requantising
from ._window import WINDOW, Window, padding, wider

MAX_FACTOR = 2**15 - 1
MAX_FRAC = 23  # of a factor: 128 n m < 2^31 / 2


class AvgPool(Layer):
    op = "avgpool2d"
    channelwise = True
    holds = True

    def shape(self, node: Node, shapes: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
        return pool_window(node, shapes[0]).pooled

    def commutes(self, node: Node, pair: Pair) -> bool:
        exact = "total" not in node.attrs and not (node.attrs["count_padding"] and any(padding(node)))
        return exact or not np.any(pair[1])

    def padded(self, node: Node, border: Border, least: float) -> Mapping[str, Attr] | None:
        if "rounds" in node.attrs:
            return None
        around = wider(node, border[0])
        counts = node.attrs["count_padding"] or not any(padding(node))
        return {"padding": around, "count_padding": 1} if around and border[1] == 0 and counts else None

    def homogeneous(self, node: Node) -> bool:
        return True

    def forward(self, tape: Tape, node: Node) -> None:
        given = tape.given(node.output)
        ends = _requantise.held_within(given, node) if given else {}
        factors = self._factors(tape, node, "multiplier" if given else "factor")
        args = {"x": tape.value(node.inputs[0])} | factors | {"y": tape.activation(node)}
        self._step(tape, node, "avgpool2d.forward", args, **ends)

    def feedback(self, tape: Tape, node: Node, teach: str, matrix: str | None) -> dict[str, str]:
        g = tape.teach(f"{node.name}_input", tape.shape(node.inputs[0]))
        args = {"d": teach, "g": g} | self._factors(tape, node)
        self._step(tape, node, "avgpool2d.feedback", args)
        return {node.inputs[0]: g}

    def sample(
        self, rng: np.random.Generator, shapes: Sequence[tuple[int, ...]]
    ) -> tuple[Node, dict[str, np.ndarray]] | None:
        if len(shapes[0]) != 3:
            return None
        attrs: dict[str, Attr] = {**random_attrs(rng, shapes[0]), "count_padding": int(rng.integers(2))}
        return Node("avgpool2d", "", ("in0",), "out", attrs), {}

    @staticmethod
    def _factors(tape: Tape, node: Node, role: Literal["factor", "multiplier"] = "factor") -> dict[str, str]:
        """The operand `m` where one factor does not do for all windows."""
        window = pool_window(node, tape.shape(node.inputs[0]))
        if len(np.unique(divisors(window, node.attrs))) == 1:
            return {}
        shape = (window.positions,)
        return {"m": tape.b.once(Value(f"{node.name}_{role}", shape, "const", role))}

    @staticmethod
    def _step(tape: Tape, node: Node, kernel: str, args: dict[str, str], **ends: float) -> None:
        window = pool_window(node, tape.shape(node.inputs[0]))
        count_padding = node.whole("count_padding")
        ends |= {"total": 1} if "total" in node.attrs else {}
        tape.step(kernel, node, args, count_padding=count_padding, **window.attrs, **ends)


def _factors(a: Attrs) -> tuple[int, NDArray[np.int64]]:
    """(k, m [out_height, out_width]): m = round(2^k / n), k the largest at which no m is too large."""
    counts = divisors(Window.from_attrs(a), a)
    least = int(counts.min())
    k = next(k for k in range(MAX_FRAC, -1, -1) if _rounded(2**k, least) <= MAX_FACTOR)
    return k, _rounded(2**k, counts)


def _rounded(x: int, n: Any) -> Any:
    return (2 * x + n) // (2 * n)


OWN = ("rounds", "offset", "y_zero")
"""Attributes of a step whose integers are a file's."""


class _Mean(Kernel):
    """What both directions have in common: the factors.

    Attributes: the window's, count_padding; lowered also those of the requantisation, and `factor` where one
    is enough for all windows and there is no m.
    """

    optional: ClassVar[tuple[str, ...]] = ("m",)
    spare: ClassVar[tuple[str, ...]] = ("factor", "total")
    attributes: ClassVar[Mapping[str, Range]] = within(
        WINDOW, REQUANTISED, count_padding=(0, 1), factor=(1, MAX_FACTOR), total=(1, 1)
    )

    def sizes(self, a: Attrs) -> dict[str, int]:
        return Window.from_attrs(a).sizes

    def misfit(self, t: Tensors, a: Attrs) -> str:
        return Window.from_attrs(a).misfit or pool_misfit(a) or either("factor", "m", t, a)

    @staticmethod
    def _largest(k: Mapping[str, Known], a: Attrs) -> NDArray[np.int64]:
        """The largest factor that each window may have, [out_height, out_width]; where it is 0, too, a sum
        must fit its register."""
        window = Window.from_attrs(a)
        places = window.out_height, window.out_width
        if "m" not in k:
            return np.full(places, a["factor"], np.int64)
        m = k["m"]
        exact = np.full(places, m.mag) if m.data is None else m.data.astype(np.int64).reshape(places)
        least: NDArray[np.int64] = np.maximum(np.abs(exact), 1)
        return least

    def derived(
        self, role: str, f: Mapping[str, Format], a: Attrs, where: str
    ) -> tuple[Format, NDArray[np.int64]]:
        k, m = _factors(a)
        return Format("int16", k, 0, int(m.max())), m.ravel()

    @staticmethod
    def _factor(t: Arrays, a: Attrs) -> NDArray[np.int32] | np.int32:
        """m of each window, to be broadcast over [D, out_height, out_width, channels]."""
        if "m" not in t:
            return np.int32(a["factor"])
        window = Window.from_attrs(a)
        return t["m"].reshape(len(t["m"]), window.out_height, window.out_width, 1).astype(np.int32)

    @staticmethod
    def _lowered(a: Attrs, shift: int, y: Format, m: bool, where: str) -> dict[str, int]:
        requantising(shift, where, "rescale the layer before it")
        lowered = {k: int(v) for k, v in a.items()} | {"shift": shift, "lo": y.lo, "hi": y.hi}
        return lowered if m else lowered | {"factor": int(_factors(a)[1].flat[0])}

    def cost(self, shapes: Mapping[str, tuple[int, ...]], a: Attrs) -> Cost:
        window = Window.from_attrs(a)
        return Cost(macs=int(window.counts().sum()) * window.channels)


class Forward(_Mean):
    """y = sum * m / 2^shift; where the integers are a file's, (sum - offset) * m / 2^shift + y_zero.

    Where x or y has a zero point beside a power of two, y = (sum of (x - x_zero)) * m / 2^shift + y_zero.
    """

    name = "avgpool2d.forward"
    loop = Loop(_mean_loops.forward, WINDOWED)
    reads = ("x", "m")
    writes = ("y",)
    trails = ("x", "y")
    operands = takes(x="int8|int16 [input]", m="int16|int32 [positions]", y="int8|int16 [pooled]")
    attributes: ClassVar[Mapping[str, Range]] = within(
        _Mean.attributes,
        BETWEEN,
        shift=(0, 62),
        rounds=(1, 2),
        offset=(-(2**31), 2**31 - 1),
        x_zero=INT8,
        y_zero=INT16,
        multiplier=(0, _requantise.MULTIPLIER_TOP),
    )
    spare: ClassVar[tuple[str, ...]] = ("factor", "total", "multiplier", "x_zero", *OWN)

    def misfit(self, t: Tensors, a: Attrs) -> str:
        own = {k: v for k, v in a.items() if k != "y_zero"} if "rounds" not in a else a
        if "rounds" in a and "x_zero" in a:
            return "it has x_zero beside an offset"
        if "total" in a and ("rounds" not in a or "m" in t):
            return "it gives sums, and not of a file's integers by one factor"
        form = _requantise.form_misfit(own, OWN, MAX_SHIFT)
        if form or "rounds" not in a:
            return form or super().misfit(t, a) or ("it has a multiplier" if "multiplier" in a else "")
        if "m" in t and (t["m"].space != "const" or t["m"].dtype != "int32" or t["m"].lo < 0):
            return f"{t['m'].name} holds no multipliers"
        if a["count_padding"] or "factor" in a:
            return "it counts places beyond the map, or has a factor"
        return Window.from_attrs(a).misfit or pool_misfit(a) or either("multiplier", "m", t, a)

    def lead(self, read: int, written: int, a: Attrs) -> int:
        channels = int(a["channels"])
        return Window.from_attrs(a).lead(channels * read, channels * written)

    def integer(self, t: Arrays, a: Attrs) -> None:
        if "rounds" in a:
            total = self._sums(t["x"], a, np.int32) - np.int32(a["offset"])
            m = self._factor(t, a) if "m" in t else a["multiplier"]
            t["y"][...] = _requantise.finish(total, m, a["shift"], a).reshape(t["y"].shape)
            return
        total = self._sums(_requantise.centred(t["x"], a), a, np.int32)
        mean = numeric.shift_round(total * self._factor(t, a), a["shift"]) + np.int32(a.get("y_zero", 0))
        t["y"][...] = numeric.saturate(mean, a["lo"], a["hi"]).reshape(t["y"].shape)

    def zeros(self, args: Mapping[str, Value], a: Attrs) -> tuple[str, ...]:
        """Not that of x where 255 n m is no smaller than 2^30."""
        if "rounds" in a:
            return ()
        return ("x", "y") if _factors(a)[0] < MAX_FRAC else ("y",)

    def least(self, least: Mapping[str, float], a: Attrs) -> float:
        return min(least["x"], 0.0)  # padding may count as 0

    def real(self, t: Arrays, a: Attrs) -> None:
        counts = divisors(Window.from_attrs(a), a)[..., None]
        y = (self._sums(t["x"], a, t["x"].dtype) / counts).reshape(t["y"].shape)
        t["y"][...] = _requantise.held(y, a)

    @staticmethod
    def _sums(flat: NDArray[Any], a: Attrs, dtype: Any) -> NDArray[Any]:
        """Of each window, [D, out_height, out_width, channels]."""
        window = Window.from_attrs(a)
        x, sums = window.inputs(flat), np.zeros((len(flat), *window.pooled), dtype)
        for seen, there in window.regions():
            sums[seen] += x[there]
        return sums

    def cap(self, f: Mapping[str, Format], a: Attrs) -> dict[str, int]:
        return {} if "rounds" in a else {"y": f["x"].power + _factors(a)[0]}

    def derived(
        self, role: str, f: Mapping[str, Format], a: Attrs, where: str
    ) -> tuple[Format, NDArray[np.int64]]:
        if "rounds" not in a:
            return super().derived(role, f, a, where)
        m, _ = _means.multipliers(f, divisors(Window.from_attrs(a), a), int(a["rounds"]), where)
        return Format("int32", 0, 0, _requantise.MULTIPLIER_TOP), m.ravel()

    def lower(self, f: Mapping[str, Format], a: Attrs, where: str) -> dict[str, int]:
        if "rounds" in a:
            own = {k: int(v) for k, v in a.items() if k not in ("least", "most")}
            if "total" in own:
                return own | _means.summed(f, Window.from_attrs(own).counts(), own["rounds"], where)
            counts = divisors(Window.from_attrs(own), own)
            return own | _means.lowered(f, counts, own["rounds"], where)
        shift = f["x"].power + _factors(a)[0] - f["y"].power
        return self._lowered(a, shift, f["y"], "m" in f, where) | _zeros.zeros(f)

    def bounds(self, k: Mapping[str, Known], a: Attrs) -> Bounds:
        if "rounds" in a:
            counts = Window.from_attrs(a).counts()
            top = k["y"].shape[0] * max(-a["lo"], a["hi"])
            return _means.sums(k, counts, a), {"y": (a["lo"], a["hi"], top)}
        most = _requantise.reach(k["x"].lo, k["x"].hi, zero) if (zero := a.get("x_zero", 0)) else k["x"].mag
        top = int((Window.from_attrs(a).counts() * self._largest(k, a)).max()) * most
        sums = [Accumulator("sum times factor", -top, top + ((1 << a["shift"]) >> 1))]
        return sums, {"y": (a["lo"], a["hi"], k["y"].shape[0] * max(-a["lo"], a["hi"]))}

    def case(self, rng: np.random.Generator) -> Case:
        if not rng.integers(2):
            return _scaled_case(rng)
        window, attrs, arrays = _case(rng)
        size = window.input_size
        arrays["x"] = rng.integers(-128, 128, size).astype(np.int8)
        arrays["y"] = np.zeros(int(np.prod(window.pooled)), np.int8)
        shift = max(_factors(attrs)[0] + int(rng.integers(-3, 3)), 0)
        drawn = {name: int(rng.choice([-128, int(rng.integers(-128, 128))])) for name in _requantise.ZEROS}
        zeros = {name: z for name, z in drawn.items() if z and not rng.integers(3)}
        return Case(arrays, attrs | {"shift": shift, "lo": -128, "hi": 127} | zeros, {})

    def variant(self, kernel_set: str, t: Mapping[str, PlanTensor], a: Attrs) -> Variant:
        """mve: eight channels at a time."""
        plain = super().variant(kernel_set, t, a)
        if kernel_set == MVE and (quick := _mve.means(Window.from_attrs(a), t, a)):
            return quick
        if "rounds" in a:
            return replace(plain, numbers=_requantise.printed(t, a)[1])
        counts = Window.from_attrs(a).counts()
        if not a.get("x_zero") or np.any(counts != counts.flat[0]):  # each input gives its own zero point
            return plain
        return replace(plain, numbers={"offset": a["x_zero"] * int(counts.flat[0])})


class Feedback(_Mean):
    """Each input of a window hears d * m / 2^before; g is their sum / 2^shift.

    Where windows overlap, `before` makes the sum of all windows fit g's 16 bits, else it is 0.
    """

    name = "avgpool2d.feedback"
    loop = Loop(_mean_loops.feedback, WINDOWED)
    reads = ("d", "m")
    writes = ("g",)
    operands = takes(d="int16 [pooled]", m="int16 [positions]", g="int16 [input]")
    attributes = within(_Mean.attributes, before=(0, MAX_SHIFT), overlap=SIZE)

    def integer(self, t: Arrays, a: Attrs) -> None:
        d = Window.from_attrs(a).outputs(t["d"]).astype(np.int32) * self._factor(t, a)
        g = numeric.shift_round(self._spread(numeric.shift_round(d, a["before"]), a), a["shift"])
        t["g"][...] = numeric.saturate(g, a["lo"], a["hi"]).reshape(t["g"].shape)

    def real(self, t: Arrays, a: Attrs) -> None:
        window = Window.from_attrs(a)
        d = window.outputs(t["d"]) / divisors(window, a)[..., None]
        t["g"][...] = self._spread(d.astype(t["d"].dtype), a).reshape(t["g"].shape)

    @staticmethod
    def _spread(d: NDArray[Any], a: Attrs) -> NDArray[Any]:
        """The sums [D, height, width, channels] of d over the windows that see each input."""
        window = Window.from_attrs(a)
        g = np.zeros((len(d), window.height, window.width, window.channels), d.dtype)
        for seen, there in window.regions():
            g[there] += d[seen]
        return g

    @staticmethod
    def _before(d: Format, a: Attrs) -> int:
        """The least shift at which the signals of all windows that see one input add up within 16 bits."""
        top = int(_factors(a)[1].max()) * max(-d.lo, d.hi)
        return Window.from_attrs(a).fitting_shift(top)

    def cap(self, f: Mapping[str, Format], a: Attrs) -> dict[str, int]:
        return {"g": f["d"].frac + _factors(a)[0] - self._before(f["d"], a)}

    def lower(self, f: Mapping[str, Format], a: Attrs, where: str) -> dict[str, int]:
        before = self._before(f["d"], a)
        shift = f["d"].frac + _factors(a)[0] - before - f["g"].frac
        return self._lowered(a, shift, f["g"], "m" in f, where) | {
            "before": before,
            "overlap": Window.from_attrs(a).overlap,
        }

    def bounds(self, k: Mapping[str, Known], a: Attrs) -> Bounds:
        top = int(self._largest(k, a).max()) * k["d"].mag
        sums = [Accumulator("product", -top, top + ((1 << max(a["before"], a["shift"])) >> 1))]
        overlap = Window.from_attrs(a).overlap
        if overlap > 1:
            part = overlap * ((top + ((1 << a["before"]) >> 1)) >> a["before"])
            sums.append(Accumulator("sum of windows", -part, part, 16))
        return sums, {"g": (a["lo"], a["hi"], k["g"].shape[0] * max(-a["lo"], a["hi"]))}

    def case(self, rng: np.random.Generator) -> Case:
        window, attrs, arrays = _case(rng)
        arrays["d"] = rng.integers(-(2**15), 2**15, int(np.prod(window.pooled))).astype(np.int16)
        arrays["g"] = np.zeros(window.input_size, np.int16)
        before = self._before(Format("int16", 0, -(2**15), 2**15 - 1), attrs)
        shift = int(rng.integers(0, 4)) if before else int(rng.integers(10, 20))
        attrs |= {"overlap": window.overlap, "before": before, "shift": shift}
        return Case(arrays, attrs | {"lo": -(2**13), "hi": 2**13 - 1}, {})


def _case(rng: np.random.Generator) -> tuple[Window, dict[str, int], dict[str, NDArray[Any]]]:
    """A window, its attributes, and the operand m where it needs one."""
    window = random_window(rng)
    attrs = window.attrs | {"count_padding": int(rng.integers(2))}
    m = _factors(attrs)[1]
    if len(np.unique(m)) == 1:
        return window, attrs | {"factor": int(m.flat[0])}, {}
    return window, attrs, {"m": m.ravel().astype(np.int16)}


def _scaled_case(rng: np.random.Generator) -> Case:
    """A case of the forward kernel in a file's integers."""
    window, wide, rounds = random_window(rng), bool(rng.integers(2)), int(rng.integers(1, 3))
    x, y = _requantise.random_formats(rng, 2, wide)
    attrs = window.attrs | {"count_padding": 0, "rounds": rounds}
    if len(np.unique(window.counts())) == 1 and not rng.integers(4):  # y has numbers of its own
        attrs, rounds = attrs | {"total": 1, "rounds": _requantise.ONCE}, _requantise.TWICE
    formats = {"x": x, "y": x if rounds == _requantise.ONCE else y}
    if rounds == _requantise.TWICE and len(np.unique(window.counts())) > 1:
        attrs["rounds"], formats["y"] = _requantise.ONCE, x
    arrays: dict[str, NDArray[Any]] = {
        "x": rng.integers(-128, 128, window.input_size).astype(np.int8),
        "y": np.zeros(int(np.prod(window.pooled)), np.int8),
    }
    if wide:
        arrays = {role: _requantise.widened(rng, v) for role, v in arrays.items()}
    if len(np.unique(window.counts())) > 1:
        formats["m"], m = Forward().derived("m", formats, attrs, "")
        arrays["m"] = m.astype(np.int32)
    return Case(arrays, Forward().lower(formats, attrs, ""), {}, ("m",))


class AvgPoolAlone(Alone):
    name = "avgpool"
    grammar = MAP + STEPS
    example = "avgpool 16x16x16 2x2"
    phases = ("infer",)
    kernels = "avgpool2d."

    def write(self, line: Line, words: Mapping[str, str]) -> None:
        attrs = window(line, words, int(words["kw"]))
        line.add("avgpool2d", attrs={**attrs, "count_padding": 0})
        line.classes()


class GlobalAvgAlone(AvgPoolAlone):
    name = "globalavg"
    grammar = r"(?P<h>\d+)x(?P<w>\d+)x(?P<c>\d+)"
    example = "globalavg 25x5x64"

    def write(self, line: Line, words: Mapping[str, str]) -> None:
        super().write(line, {**words, "kh": words["h"], "kw": words["w"]})
