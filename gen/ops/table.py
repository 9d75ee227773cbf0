"""y = f(x) for smooth activations: a table of f for every int8, and one of its derivative for the feedback.

The functions are ONNX's, with ONNX's alpha and beta.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import CompileError
from ..ir.format import Scaled
from ..ir.graph import Attr, Node
from ..ir.program import Value
from ..ir.tape import Tape
from . import (
    Arrays,
    Attrs,
    Bounds,
    Case,
    Format,
    Kernel,
    Known,
    Layer,
    _between,
    _table_loops,
    pointwise16,
)
from ._contract import takes
from ._litert import entries
from ._loops import Loop
from ._parts import Applied, Part, decoded, evaluated
from ._table_loops import FIRST
from ._tables import ENTRIES, MAX_SLOPE, Slopes, table_bounds, taken

Real = NDArray[np.floating[Any]]
LEAST = 2.0**-10  # below it, and where there is none, log and 1 / sqrt are what they are there
MOST = 40.0  # above it exp is what it is there
CUBE, ROOT_2_PI = 0.044715, math.sqrt(2.0 / math.pi)

_erf = np.vectorize(math.erf, otypes=[np.float64])


def _sigmoid(x: Real) -> Real:
    small: Real = np.exp(-np.abs(x))  # never overflows
    y: Real = np.where(x < 0, small, 1.0) / (1.0 + small)
    return y


def _normal(x: Real) -> Real:
    """The share of a standard normal distribution below x."""
    share: Real = 0.5 * (1.0 + _erf(x / math.sqrt(2.0)).astype(x.dtype))
    return share


def _density(x: Real) -> Real:
    density: Real = np.exp(-0.5 * x * x) / math.sqrt(2.0 * math.pi)
    return density


def _cubic(x: Real) -> Real:
    """What the tanh in the approximation of GELU is of."""
    argument: Real = ROOT_2_PI * (x + CUBE * x * x * x)
    return argument


def _softplus(x: Real) -> Real:
    y: Real = np.maximum(x, 0.0) + np.log1p(np.exp(-np.abs(x)))
    return y


def _below(x: Real, alpha: float) -> Real:
    """x / alpha where x is negative."""
    y: Real = np.minimum(x, 0.0) / alpha
    return y


def _away(x: Real) -> Real:
    """x, not nearer to 0 than LEAST."""
    y: Real = np.where(np.abs(x) < LEAST, np.where(x < 0.0, -LEAST, LEAST), x)
    return y


def _base(x: Real, power: float) -> Real:
    """What x counts as where it is raised to a power: not negative where that is broken, and not near 0
    where that is negative."""
    y: Real = x if power == int(power) else np.maximum(x, 0.0)
    return _away(y) if power < 0.0 else y


@dataclass(frozen=True, slots=True)
class Function:
    """`value` and `slope`, its derivative, of x, alpha and beta. At a kink the slope is that of one side.

    floor: of alpha, a number barely below 0 that the function is never below; None if it is no such function
    """

    name: str
    value: Callable[[Real, float, float], Real]
    slope: Callable[[Real, float, float], Real]
    floor: Callable[[float], float] | None = None


# fmt: off
FUNCTIONS = (  # a step knows its function by its place here: add behind the last one
    Function("sigmoid",
             lambda x, alpha, beta: _sigmoid(x),
             lambda x, alpha, beta: _sigmoid(x) * _sigmoid(-x)),
    Function("tanh",
             lambda x, alpha, beta: np.tanh(x),
             lambda x, alpha, beta: 1.0 - np.tanh(x) ** 2),
    Function("hardsigmoid",
             lambda x, alpha, beta: np.clip(alpha * x + beta, 0.0, 1.0),
             lambda x, alpha, beta: np.where(np.abs(alpha * x + beta - 0.5) < 0.5, alpha, 0.0)),
    Function("hardswish",
             lambda x, alpha, beta: x * np.clip(x / 6.0 + 0.5, 0.0, 1.0),
             lambda x, alpha, beta: np.where(x < -3.0, 0.0, np.where(x < 3.0, x / 3.0 + 0.5, 1.0)),
             lambda alpha: -0.375),
    Function("leaky_relu",
             lambda x, alpha, beta: np.where(x < 0.0, alpha * x, x),
             lambda x, alpha, beta: np.where(x < 0.0, alpha, 1.0)),
    Function("elu",
             lambda x, alpha, beta: np.where(x < 0.0, alpha * np.expm1(np.minimum(x, 0.0)), x),
             lambda x, alpha, beta: np.where(x < 0.0, alpha * np.exp(np.minimum(x, 0.0)), 1.0),
             lambda alpha: -max(alpha, 0.0)),
    Function("silu",
             lambda x, alpha, beta: x * _sigmoid(x),
             lambda x, alpha, beta: _sigmoid(x) * (1.0 + x * _sigmoid(-x)),
             lambda alpha: -0.2785),
    Function("gelu",
             lambda x, alpha, beta: x * _normal(x),
             lambda x, alpha, beta: _normal(x) + x * _density(x),
             lambda alpha: -0.17),
    Function("softplus",
             lambda x, alpha, beta: _softplus(x),
             lambda x, alpha, beta: _sigmoid(x)),
    Function("identity",  # from one number format to another
             lambda x, alpha, beta: x,
             lambda x, alpha, beta: np.ones_like(x)),
    Function("abs",
             lambda x, alpha, beta: np.abs(x),
             lambda x, alpha, beta: np.where(x < 0.0, -1.0, 1.0)),
    Function("neg",
             lambda x, alpha, beta: -x,
             lambda x, alpha, beta: np.full_like(x, -1.0)),
    Function("exp",
             lambda x, alpha, beta: np.exp(np.minimum(x, MOST)),
             lambda x, alpha, beta: np.where(x < MOST, np.exp(np.minimum(x, MOST)), 0.0)),
    Function("log",
             lambda x, alpha, beta: np.log(np.maximum(x, LEAST)),
             lambda x, alpha, beta: np.where(x < LEAST, 0.0, 1.0 / np.maximum(x, LEAST))),
    Function("sqrt",
             lambda x, alpha, beta: np.sqrt(np.maximum(x, 0.0)),
             lambda x, alpha, beta: np.where(x < LEAST, 0.0, 0.5 / np.sqrt(np.maximum(x, LEAST)))),
    Function("rsqrt",
             lambda x, alpha, beta: 1.0 / np.sqrt(np.maximum(x, LEAST)),
             lambda x, alpha, beta: np.where(x < LEAST, 0.0, -0.5 * np.maximum(x, LEAST) ** -1.5)),
    Function("gelu_tanh",  # GELU by its approximation with tanh
             lambda x, alpha, beta: 0.5 * x * (1.0 + np.tanh(_cubic(x))),
             lambda x, alpha, beta: 0.5 * (1.0 + np.tanh(_cubic(x)))
             + 0.5 * x * (1.0 - np.tanh(_cubic(x)) ** 2) * ROOT_2_PI * (1.0 + 3 * CUBE * x * x),
             lambda alpha: -0.1701),
    Function("erf",
             lambda x, alpha, beta: _erf(x).astype(x.dtype),
             lambda x, alpha, beta: 2.0 / math.sqrt(math.pi) * np.exp(-x * x)),
    Function("softsign",
             lambda x, alpha, beta: x / (1.0 + np.abs(x)),
             lambda x, alpha, beta: (1.0 + np.abs(x)) ** -2.0),
    Function("celu",
             lambda x, alpha, beta: np.where(x < 0.0, alpha * np.expm1(_below(x, alpha)), x),
             lambda x, alpha, beta: np.where(x < 0.0, np.exp(_below(x, alpha)), 1.0),
             lambda alpha: -alpha if alpha > 0.0 else -math.inf),
    Function("mish",
             lambda x, alpha, beta: x * np.tanh(_softplus(x)),
             lambda x, alpha, beta: np.tanh(_softplus(x))
             + x * (1.0 - np.tanh(_softplus(x)) ** 2) * _sigmoid(x),
             lambda alpha: -0.3089),
    Function("thresholded_relu",
             lambda x, alpha, beta: np.where(x > alpha, x, 0.0),
             lambda x, alpha, beta: np.where(x > alpha, 1.0, 0.0)),
    Function("shrink",  # by bias beta towards 0, and 0 up to alpha on both sides
             lambda x, alpha, beta: np.where(np.abs(x) > alpha, x - beta * np.sign(x), 0.0),
             lambda x, alpha, beta: np.where(np.abs(x) > alpha, 1.0, 0.0)),
    Function("reciprocal",
             lambda x, alpha, beta: 1.0 / _away(x),
             lambda x, alpha, beta: np.where(np.abs(x) < LEAST, 0.0, -(_away(x) ** -2.0))),
    Function("power",  # x to the alpha
             lambda x, alpha, beta: _base(x, alpha) ** alpha,
             lambda x, alpha, beta: np.where(
                 _base(x, alpha - 1.0) == x, alpha * _base(x, alpha - 1.0) ** (alpha - 1.0), 0.0)),
    Function("sign",
             lambda x, alpha, beta: np.sign(x),
             lambda x, alpha, beta: np.zeros_like(x)),
    Function("floor",
             lambda x, alpha, beta: np.floor(x),
             lambda x, alpha, beta: np.zeros_like(x)),
    Function("ceil",
             lambda x, alpha, beta: np.ceil(x),
             lambda x, alpha, beta: np.zeros_like(x)),
    Function("round",  # halves to even
             lambda x, alpha, beta: np.round(x),
             lambda x, alpha, beta: np.zeros_like(x)),
    Function("sin",
             lambda x, alpha, beta: np.sin(x),
             lambda x, alpha, beta: np.cos(x)),
    Function("cos",
             lambda x, alpha, beta: np.cos(x),
             lambda x, alpha, beta: -np.sin(x)),
    Function("atan",
             lambda x, alpha, beta: np.arctan(x),
             lambda x, alpha, beta: 1.0 / (1.0 + x * x)),
)
# fmt: on
NAMES = tuple(f.name for f in FUNCTIONS)
PAIRS = {f.name: (f.value, f.slope) for f in FUNCTIONS}
STEPS = ("sign", "floor", "ceil", "round")
"""Functions that are flat wherever they do not jump, whatever their parameters."""
SAMPLED = {  # alpha and beta of functions that tests draw
    "celu": (0.5, 0.0),
    "elu": (1.0, 0.0),
    "hardsigmoid": (0.2, 0.5),
    "leaky_relu": (0.1, 0.0),
    "power": (2.0, 0.0),
    "shrink": (0.5, 0.25),
    "thresholded_relu": (0.25, 0.0),
}


class Table(Layer):
    op = "table"
    pointwise = True
    holds = True

    def shape(self, node: Node, shapes: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
        if node.attrs["fn"] not in NAMES:
            what = f"{node.attrs['fn']} is no function it knows"
            raise CompileError(node.name, what, f"there are {', '.join(NAMES)}")
        parameters = _attrs(node)
        if not all(math.isfinite(v) for v in parameters.values()):
            what = f"alpha {parameters['alpha']} or beta {parameters['beta']} is not finite"
            raise CompileError(node.name, what, "export the layer with finite parameters")
        return shapes[0]

    def ends(self, node: Node) -> str:
        return "sigmoid" if node.attrs["fn"] == "sigmoid" else ""

    def steps(self, node: Node) -> bool:
        return node.attrs["fn"] in STEPS

    def applied(self, node: Node, constants: Sequence[np.ndarray]) -> Applied | None:
        if "even" in node.attrs or "between" in node.attrs:
            return None
        return Applied(str(node.attrs["fn"]), node.number("alpha"), node.number("beta"))

    def doing(self, parts: Sequence[Part]) -> Mapping[str, Attr] | None:
        first = parts[0].applied
        alone = len(parts) == 1 and first.name in NAMES
        return {"fn": first.name, "alpha": first.alpha, "beta": first.beta} if alone else None

    def rescaling(self) -> Mapping[str, Attr]:
        return {"fn": "identity", "alpha": 0.0, "beta": 0.0}

    def forward(self, tape: Tape, node: Node) -> None:
        if pointwise16.taken(tape, node, NAMES.index(str(node.attrs["fn"]))):
            return
        value_step(tape, node, str(node.attrs["fn"]), _attrs(node))

    def feedback(self, tape: Tape, node: Node, teach: str, matrix: str | None) -> dict[str, str]:
        if node.attrs["fn"] == "identity":
            return {node.inputs[0]: teach}
        pointwise16.check_feedback(tape, node)
        return slope_step(tape, node, teach, str(node.attrs["fn"]), _attrs(node))

    def sample(
        self, rng: np.random.Generator, shapes: Sequence[tuple[int, ...]]
    ) -> tuple[Node, dict[str, np.ndarray]] | None:
        fn = str(rng.choice(NAMES))
        alpha, beta = SAMPLED.get(fn, (0.0, 0.0))
        return Node("table", "", ("in0",), "out", {"fn": fn, "alpha": alpha, "beta": beta}), {}


def value_step(tape: Tape, node: Node, of: str, attrs: Mapping[str, float]) -> None:
    """Emits y = f(x), and the table for it. of: what a reader calls f."""
    x, y = tape.value(node.inputs[0]), tape.activation(node)
    table = Value(f"{node.name}_table", (ENTRIES,), "const", "table", note=f"{of} of -128 .. 127")
    tape.step("table.forward", node, {"x": x, "table": tape.add(table), "y": y}, **attrs)


def slope_step(tape: Tape, node: Node, teach: str, of: str, attrs: Mapping[str, float]) -> dict[str, str]:
    """Emits g = d f'(x), and the table for it."""
    x = tape.value(node.inputs[0])
    g = tape.teach(f"{node.name}_input", tape.shape(node.inputs[0]))
    table = Value(f"{node.name}_slope", (ENTRIES,), "const", "table", note=f"slope of {of} at -128 .. 127")
    args = {"x": x, "d": teach, "table": tape.b.once(table), "g": g}
    tape.step("table.feedback", node, args, **attrs)
    return {node.inputs[0]: g}


def _attrs(node: Node) -> dict[str, float]:
    """The attributes of its steps: the function by number, alpha, beta; `even`: its entries are ONNX's;
    `between`: those of a function in float32 between DEQUANTIZE and QUANTIZE of a .tflite file."""
    alpha, beta = (node.attrs[key] for key in ("alpha", "beta"))
    assert isinstance(alpha, int | float) and isinstance(beta, int | float)
    found = {"fn": NAMES.index(str(node.attrs["fn"])), "alpha": float(alpha), "beta": float(beta)}
    return found | {key: 1.0 for key in ("even", "between") if key in node.attrs}


def _parameters(a: Attrs) -> tuple[float, float]:
    return float(a["alpha"]), float(a["beta"])


def _value(x: Real, a: Attrs) -> Real:
    """f(x) of a step."""
    if "parts" in a:
        return evaluated(decoded(a, NAMES), x, PAIRS)[0]
    return FUNCTIONS[int(a["fn"])].value(x, *_parameters(a))


def _slope(x: Real, a: Attrs) -> Real:
    """f'(x) of a step."""
    if "parts" in a:
        return evaluated(decoded(a, NAMES), x, PAIRS)[1]
    return FUNCTIONS[int(a["fn"])].slope(x, *_parameters(a))


def _name(a: Attrs) -> str:
    return "what several layers make" if "parts" in a else NAMES[int(a["fn"])]


def _inputs(f: Format, where: str) -> Real:
    """What the entries of a table stand for."""
    if f.dtype != "int8":
        what = f"its input is {f.dtype}, a table has an entry for each int8"
        raise CompileError(where, what, "put a layer with weights behind it")
    return f.meaning.real(np.arange(FIRST, FIRST + ENTRIES))


class Forward(Kernel):
    """y = table[x + 128], table[i] = f((i - 128) / 2^x.frac) at y's frac; where both sides have scales and
    zero points the entries are TensorFlow Lite's, or ONNX's (`even`)."""

    name = "table.forward"
    loop = Loop(_table_loops.forward)
    reads = ("x", "table")
    writes = ("y",)
    inplace = ("x", "y")
    operands = takes(x="int8 [n]", table=f"int8|int16 [{ENTRIES}]", y="=table [n]")

    def integer(self, t: Arrays, a: Attrs) -> None:
        t["y"][...] = taken(t)

    def real(self, t: Arrays, a: Attrs) -> None:
        t["y"][...] = _value(t["x"], a)

    def derived(
        self, role: str, f: Mapping[str, Format], a: Attrs, where: str
    ) -> tuple[Format, NDArray[np.int64]]:
        x, y = f["x"].meaning, f["y"]
        if isinstance(x, Scaled) and isinstance(y.meaning, Scaled):
            if "even" in a:
                return y, _between.even(FUNCTIONS[int(a["fn"])].value, _parameters(a), x, y)
            if "between" in a:
                name = FUNCTIONS[int(a["fn"])].name
                return y, _between.entries(name, float(a["alpha"]), x, y, where)
            given = entries(FUNCTIONS[int(a["fn"])].name, float(a["alpha"]), x, y.meaning, where)
            return y, np.clip(given, y.lo, y.hi)
        exact = _value(_inputs(f["x"], where), a)
        zero, one = y.meaning.real([0.0, 1.0]).tolist()
        return y, np.clip(np.floor((exact - zero) / (one - zero) + 0.5), y.lo, y.hi).astype(np.int64)

    def zeros(self, args: Mapping[str, Value], a: Attrs) -> tuple[str, ...]:
        return ("y",) if "parts" not in a and FUNCTIONS[int(a["fn"])].floor else ()

    def least(self, least: Mapping[str, float], a: Attrs) -> float:
        floor = None if "parts" in a else FUNCTIONS[int(a["fn"])].floor
        return floor(float(a["alpha"])) if floor else -math.inf

    def lower(self, f: Mapping[str, Format], a: Attrs, where: str) -> dict[str, int]:
        return {}

    def bounds(self, k: Mapping[str, Known], a: Attrs) -> Bounds:
        return table_bounds(k)

    def case(self, rng: np.random.Generator) -> Case:
        dtype, top = (np.int16, 2**15) if rng.integers(2) else (np.int8, 2**7)
        x = rng.integers(-128, 128, int(rng.integers(1, 50))).astype(np.int8)
        table = rng.integers(-top, top, ENTRIES).astype(dtype)
        return Case({"x": x, "table": table, "y": np.zeros(x.shape, dtype)}, {}, {})


class Feedback(Slopes):
    """g = d * table[x + 128] / 2^shift, table[i] = f'((i - 128) / 2^x.frac) in 16 bits."""

    name = "table.feedback"
    loop = Loop(_table_loops.feedback)

    def real(self, t: Arrays, a: Attrs) -> None:
        t["g"][...] = t["d"] * _slope(t["x"], a)

    @staticmethod
    def _slopes(x: Format, a: Attrs, where: str) -> tuple[int, Real]:
        """(frac, slopes): the largest frac at which all of them fit 16 bits."""
        slopes = _slope(_inputs(x, where), a)
        top = float(np.abs(slopes).max())
        return min(math.floor(math.log2(MAX_SLOPE / top)), 30) if top else 15, slopes

    def derived(
        self, role: str, f: Mapping[str, Format], a: Attrs, where: str
    ) -> tuple[Format, NDArray[np.int64]]:
        frac, slopes = self._slopes(f["x"], a, where)
        if not np.any(slopes):
            what = f"{_name(a)} is flat wherever its int8 input can be: nothing below it can learn"
            hint = "check its alpha and beta, or freeze the layers below it"
            if _name(a) in STEPS:
                hint = "comparisons and steps pass no teaching signal: freeze the layers below it"
            raise CompileError(where, what, hint)
        return Format("int16", frac, -MAX_SLOPE, MAX_SLOPE), np.floor(slopes * 2.0**frac + 0.5).astype(
            np.int64
        )

    def cap(self, f: Mapping[str, Format], a: Attrs) -> dict[str, int]:
        return {"g": f["d"].frac + self._slopes(f["x"], a, "table")[0]}
