"""Recurrent cells over a window [steps, inputs]: RNN, GRU and LSTM as ONNX defines them, forward in time.

A step of time is a program that runs as often as the window has steps: the inputs of one step are taken, two
dense steps make the sums of the gates, from these inputs and from the hidden state, and a kernel of the cell
moves the state. So nothing is unrolled, and no memory grows with time but the window itself.

The hidden state h is int8 Q7 for the sums of the next step: |h| <= 1 for any length, since it is a tanh, a
sigmoid times a tanh, or lies between a tanh and what it was. A GRU carries it in int16 Q15, an LSTM its
cell's state in int16 Q11, held within -16 .. 16.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from .. import numeric
from ..errors import CompileError
from ..ir.graph import Attr, Node
from ..ir.plan import PlanTensor
from ..ir.program import Space, Value
from ..ir.roles import HISTORY, STREAM, Role
from ..ir.tape import Tape
from . import Accumulator, Arrays, Attrs, Bounds, Case, Cost, Format, Kernel, Known, Layer, _recurrent_loops
from ._contract import SIZE, Range, Tensors, takes, within
from ._loops import Loop
from ._recurrent_loops import CELL_FRAC, GATE_FRAC, GATE_TOP, HIDDEN_FRAC, STATE_FRAC, UP

EARLY = "gru_early"
"""A GRU whose reset gate stands in front of the product with the hidden state, not behind it."""
GATES: Mapping[str, int] = {"rnn": 1, "gru": 3, EARLY: 3, "lstm": 4}
"""How many sums a unit of each cell has: a GRU's are z, r, n, an LSTM's i, o, f, g."""
STATES: Mapping[str, Format] = {
    **dict.fromkeys(("gru", EARLY), Format("int16", STATE_FRAC, -(2**15) + 1, 2**15 - 1)),
    "lstm": Format("int16", CELL_FRAC, -(2**15), 2**15 - 1),
}
"""What a cell carries beside the hidden state that its sums read."""
HIDDEN = Format("int8", HIDDEN_FRAC, -128, 127)


class Recurrent(Layer):
    """Attributes: cell, a name of GATES; all, 1 where every step's hidden state is given, 0 the last one."""

    op = "recurrent"
    constants = 4
    timed = True

    def shape(self, node: Node, shapes: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
        x, w, b, u, c = shapes
        rows = GATES[str(node.attrs["cell"])] * u[-1]
        if len(x) != 2 or w != (rows, x[1]) or b != (rows,) or u[0] != rows or c != (rows,):
            what = f"window {x}, weights {w} and {u}, biases {b} and {c} do not fit"
            raise CompileError(node.name, what, "a recurrent layer takes a window [steps, inputs]")
        return (x[0], u[1]) if node.whole("all") else (u[1],)

    def picked(self, node: Node, shape: tuple[int, ...], places: NDArray[Any]) -> Mapping[str, Attr] | None:
        """Of every step the last one alone."""
        if not node.whole("all"):
            return None
        last = np.arange((shape[0] - 1) * shape[1], shape[0] * shape[1])
        return {**node.attrs, "all": 0} if np.array_equal(places, last) else None

    def forward(self, tape: Tape, node: Node) -> None:
        if tape.graph.output == node.output:
            what = "its hidden state would be the scores"
            raise CompileError(node.source or node.name, what, "put a dense layer behind it")
        steps, inputs = tape.shape(node.inputs[0])
        units, x = tape.shape(node.inputs[3])[1], tape.value(node.inputs[0])

        def held(name: str, size: int, fmt: Format | None = None, tie: str = "") -> str:
            return tape.add(Value(f"{node.name}{name}", (size,), "arena", "activation", format=fmt, tie=tie))

        every = node.whole("all")
        out = held("", steps * units if every else units, HIDDEN)
        if every:
            held("_hidden", units, tie=out)
        tape.bind(node.output, out)
        if (cell := str(node.attrs["cell"])) in STATES:
            held("_state", units, STATES[cell])
        tape.counter(f"{node.name}_time", "step of time", space="arena")
        if tape.spec.state:
            for now in _carried(node):
                nothing, note = np.zeros(units, np.int64), "what the last window left"
                v = Value(_lasting(now), (units,), "state", "activation", ints=nothing, note=note)
                tape.add(replace(v, tie=now, use=STREAM))
        _begin(tape, node)
        again = tape.is_learned(node) or tape.wants_teach(node.inputs[0])
        if tape.spec.state and again:
            for now in _carried(node):
                first = Value(f"{now}_first", (units,), "arena", "activation", tie=now, use=HISTORY)
                _copy(tape, node, _lasting(now), tape.add(first))
        with tape.b.program(f"{node.name}_step", f"one step of time of {node.name}"):
            held("_input", inputs, tie=x)
            tape.step("recurrent.take", node, {"x": x, **_taken(node)}, steps=steps)
            own, early = _constants(tape, node), cell == EARLY
            for kind in KINDS:
                _add_sums(tape, node, kind, own[kind])
                _sum(tape, node, kind)
            if early:
                reset = held("_reset", units, HIDDEN)
                tape.step("recurrent.reset", node, {**_gates(node), "y": reset})
                _add_sums(tape, node, CANDIDATE, own[CANDIDATE])
                _sum(tape, node, CANDIDATE)
            last = {"k": f"{node.name}_{CANDIDATE}sums"} if early else {}
            tape.step(f"recurrent.{cell}", node, {**_gates(node), **last, "y": _hidden(node)})
            if every:
                told = {"x": _hidden(node), "cursor": f"{node.name}_time", "y": out}
                tape.step("recurrent.put", node, told, steps=steps)
        tape.b.repeat(steps, f"{node.name}_step")
        for now in _carried(node) if tape.spec.state else ():
            told = {"x": now, "cursor": f"{node.name}_time", "y": _lasting(now)}
            tape.step("history.put", node, told, rows=1)

    def update(self, tape: Tape, node: Node, teach: str, rate: int, twin: str | None) -> None:
        """By the signal of its output: where that is the last hidden state, in the last step alone."""
        if twin:
            raise CompileError(node.name, "its weights have no twin", "take dfa or dftt")
        _refuse_early(node)
        steps = tape.shape(node.inputs[0])[0]
        _begin(tape, node, again=True)
        if not node.whole("all"):
            if steps > 1:
                tape.b.repeat(steps - 1, f"{node.name}_step")
            self._taught(tape, node, teach, rate)
            tape.b.call(f"{node.name}_learn_step")
            return
        now = tape.teach(f"{node.name}_now", (tape.shape(node.output)[1],), tie=teach)
        self._taught(tape, node, now, rate, of=teach)
        tape.b.repeat(steps, f"{node.name}_learn_step")

    def through_time(self, tape: Tape, node: Node, teach: str, rate: int) -> None:
        """In every step by the same signal of the hidden state."""
        _refuse_early(node)
        _begin(tape, node, again=True)
        self._taught(tape, node, teach, rate)
        tape.b.repeat(tape.shape(node.inputs[0])[0], f"{node.name}_learn_step")

    def unrolled(self, tape: Tape, node: Node, teach: str, rate: int, steps: int) -> dict[str, str]:
        """The window once more, each step keeping the state that it began from in row t mod `steps`; then the
        last `steps` again from the end, each by its own signal and by what the step behind it passes on."""
        whole, units = tape.shape(node.inputs[0])[0], tape.shape(node.inputs[3])[1]
        if node.attrs["cell"] == EARLY:
            _refuse_early(node, "passes no signal down through time")
        back = min(steps, whole)
        history = _history(tape, node, back)
        _begin(tape, node, again=True)
        with tape.b.program(f"{node.name}_keep_step", f"one step of time of {node.name} that is kept"):
            for now, kept in history.items():
                told = {"x": now, "cursor": f"{node.name}_time", "y": kept}
                tape.step("history.put", node, told, rows=back)
            _move(tape, node)
        tape.b.repeat(whole, f"{node.name}_keep_step")
        signals = _signals(tape, node, teach, units)
        past = {"past": signals.past, **({"carry": signals.carry} if signals.carry else {})}
        if not tape.wants_teach(node.inputs[0]):
            window = ""
        else:
            window = tape.teach(f"{node.name}_input", tape.shape(node.inputs[0]))
            past["window"] = window
        tape.step("history.clear", node, past)
        if not node.whole("all"):
            told = {"x": teach, "cursor": f"{node.name}_time", "y": signals.past}
            tape.step("history.take", node, told, rows=1)
        with tape.b.program(f"{node.name}_back_step", f"one step of time of {node.name}, heard from its end"):
            tape.step("history.back", node, {"cursor": f"{node.name}_time"}, steps=whole)
            for now, kept in history.items():
                told = {"x": kept, "cursor": f"{node.name}_time", "y": now}
                tape.step("history.take", node, told, rows=back)
            _heard(tape, node, teach, signals)
            _pass_on(tape, node, signals, window)
            if tape.is_learned(node):
                _change(tape, node, rate, signals.of)
            if signals.passed != signals.past:
                told = {"left": signals.passed, "right": signals.carry, "g": signals.past}
                tape.step("accumulate.add", node, told)
        tape.b.repeat(back, f"{node.name}_back_step")
        return {node.inputs[0]: window} if window else {}

    @staticmethod
    def _taught(tape: Tape, node: Node, teach: str, rate: int, of: str = "") -> None:
        """Writes the program of a step of time that learns: weights change by what the state before it and
        its inputs were. of: the signals of all steps, of which it takes its own"""
        steps, cell = tape.shape(node.inputs[0])[0], str(node.attrs["cell"])
        rows = tape.shape(node.inputs[2])[0]
        signals = {"g": tape.add(Value(f"{node.name}_signals", (rows,), "arena", "trace"))}
        if cell == "gru":
            signals["gq"] = tape.add(Value(f"{node.name}_recurrent_signals", (rows,), "arena", "trace"))
        with tape.b.program(f"{node.name}_learn_step", f"one step of time that {node.name} learns from"):
            if of:
                told = {"x": of, "cursor": f"{node.name}_time", "y": teach}
                tape.step("recurrent.take", node, told, steps=steps, still=1)
            tape.step("recurrent.take", node, {"x": tape.value(node.inputs[0]), **_taken(node)}, steps=steps)
            for kind in KINDS:
                _sum(tape, node, kind)
            tape.step(f"gates.{cell}", node, {**_gates(node), "d": teach, **signals})
            _change(tape, node, rate, (signals["g"], [*signals.values()][-1]))
            tape.step(f"recurrent.{cell}", node, {**_gates(node), "y": _hidden(node)})
            tape.step("counter.tick", node, {"count": _moments(tape, node)})

    def feedback(self, tape: Tape, node: Node, teach: str, matrix: str | None) -> dict[str, str]:
        what = "no teaching signal passes down through time: no history is kept"
        raise CompileError(node.name, what, "let only layers behind it learn")

    def sample(
        self, rng: np.random.Generator, shapes: Sequence[tuple[int, ...]]
    ) -> tuple[Node, dict[str, np.ndarray]] | None:
        if len(shapes[0]) != 2:
            return None
        cell, units = str(rng.choice(list(GATES))), int(rng.integers(1, 9))
        rows, inputs = GATES[cell] * units, shapes[0][1]
        attrs: dict[str, Attr] = {"cell": cell, "all": int(rng.integers(2))}
        consts = {
            "w": rng.normal(0, 1 / np.sqrt(inputs), (rows, inputs)),
            "b": rng.normal(0, 0.3, rows),
            "u": rng.normal(0, 1 / np.sqrt(units), (rows, units)),
            "c": rng.normal(0, 0.3, rows),
        }
        return Node("recurrent", "", ("in0", "w", "b", "u", "c"), "out", attrs), consts


KINDS = ("", "recurrent_")
"""What the names of the weights, biases and sums begin with: from the inputs, from the hidden state."""


CANDIDATE = "candidate_"
"""Of a GRU whose reset gate stands in front: what the candidate's sums from the hidden state begin with."""


def _refuse_early(node: Node, cannot: str = "learns nothing") -> None:
    if node.attrs["cell"] == EARLY:
        what = f"is a GRU that resets its state before the product, and {cannot}"
        hint = "train it with linear_before_reset = 1 (Keras: reset_after=True), or let other layers learn"
        raise CompileError(node.name, what, hint)


def _moments(tape: Tape, node: Node) -> str:
    """The counter by which rounding is keyed."""
    return tape.counter(f"{node.name}_moments", "steps of time learned from")


def _change(tape: Tape, node: Node, rate: int, signals: Sequence[str]) -> None:
    """How weights and biases of both sums change in one step, by the signals of each."""
    for kind, signal in zip(KINDS, signals, strict=True):
        name = f"{node.name}_{kind}weight"
        args = {
            "x": _read(node, kind),
            "d": signal,
            "step": _moments(tape, node),
            "w": name,
            "b": f"{node.name}_{kind}bias",
            "saturated": tape.saturations(node),
        }
        tape.step("dense.update", node, args, rate=rate, **tape.rounding(name))


def _constants(tape: Tape, node: Node) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Weight and bias of each kind of sum."""
    w, b, u, c = (tape.constant(name) for name in node.inputs[1:])
    if node.attrs["cell"] != EARLY:
        return {"": (w, b), "recurrent_": (u, c)}
    first = 2 * u.shape[1]
    return {"": (w, b), "recurrent_": (u[:first], c[:first]), CANDIDATE: (u[first:], c[first:])}


def _hidden(node: Node) -> str:
    """The value that holds the hidden state which sums read."""
    return f"{node.name}_hidden" if node.whole("all") else node.name


def _read(node: Node, kind: str) -> str:
    """What the sums of that kind read."""
    if kind == CANDIDATE:
        return f"{node.name}_reset"
    return _hidden(node) if kind else f"{node.name}_input"


def _taken(node: Node) -> dict[str, str]:
    return {"cursor": f"{node.name}_time", "y": f"{node.name}_input"}


def _state(node: Node) -> dict[str, str]:
    return {"h": f"{node.name}_state"} if node.attrs["cell"] in STATES else {}


def _gates(node: Node) -> dict[str, str]:
    """Both sums, and what the cell carries."""
    sums = (f"{node.name}_{kind}sums" for kind in KINDS)
    return {**dict(zip(("p", "q"), sums, strict=True)), **_state(node)}


@dataclass(frozen=True)
class _Signals:
    """The values that hold signals while a window is heard from its end, all in one format.

    of:    of the sums from the inputs and from the hidden state
    past:   of the hidden state that the step at hand leaves, as later steps make it
    own:    of that state by itself, where every state is given; else ""
    now:    both together; `past` where there is no `own`
    passed: what comes to the state before the step through the recurrent weights; `past` but of a GRU
    carry:  of an LSTM's own state; what passes a GRU's update gate; "" of an RNN
    """

    of: tuple[str, str]
    past: str
    own: str
    now: str
    passed: str
    carry: str


def _signals(tape: Tape, node: Node, teach: str, units: int) -> _Signals:
    rows, cell = tape.shape(node.inputs[2])[0], str(node.attrs["cell"])

    def tied(name: str, size: int) -> str:
        return tape.teach(f"{node.name}_{name}", (size,), tie=teach)

    g = tied("sums", rows)
    of = g, tied("recurrent_sums", rows) if cell == "gru" else g
    past = tied("later", units)
    own, now = (tied("own", units), tied("now", units)) if node.whole("all") else ("", past)
    passed = tied("passed", units) if cell == "gru" else past
    return _Signals(of, past, own, now, passed, tied("carried", units) if cell in STATES else "")


def _history(tape: Tape, node: Node, rows: int) -> dict[str, str]:
    """What keeps `rows` of the states that steps begin from, by the value that holds such a state."""
    units = tape.shape(node.inputs[3])[1]

    def kept(now: str) -> str:
        like = Value(f"{now}_kept", (rows * units,), "arena", "activation", tie=now, use=HISTORY)
        return tape.add(like)

    return {now: kept(now) for now in _carried(node)}


def _move(tape: Tape, node: Node) -> None:
    """One step of time forward."""
    tape.step("recurrent.take", node, _window(tape, node), steps=tape.shape(node.inputs[0])[0])
    for kind in KINDS:
        _sum(tape, node, kind)
    tape.step(f"recurrent.{node.attrs['cell']}", node, {**_gates(node), "y": _hidden(node)})


def _heard(tape: Tape, node: Node, teach: str, signals: _Signals) -> None:
    """The signals of a step's sums, from the state that it began from, and of what it carried."""
    steps = {"steps": tape.shape(node.inputs[0])[0], "still": 1}
    tape.step("recurrent.take", node, _window(tape, node), **steps)
    for kind in KINDS:
        _sum(tape, node, kind)
    if signals.own:
        told = {"x": teach, "cursor": f"{node.name}_time", "y": signals.own}
        tape.step("recurrent.take", node, told, **steps)
        told = {"left": signals.own, "right": signals.past, "g": signals.now}
        tape.step("accumulate.add", node, told)
    own = dict(zip(("g", "gq"), dict.fromkeys(signals.of), strict=False))
    own |= {"k": signals.carry} if signals.carry else {}
    tape.step(f"gates.{node.attrs['cell']}", node, {**_gates(node), "d": signals.now, **own})


def _pass_on(tape: Tape, node: Node, signals: _Signals, window: str) -> None:
    """Of the state before the step, and, into its row of `window`, of what it has read."""
    weights = [f"{node.name}_{kind}weight" for kind in KINDS]
    for weight in weights if window else weights[1:]:
        tape.alike(weight)
    tape.project(node, signals.of[1], weights[1], signals.passed)
    if window:
        steps, inputs = tape.shape(node.inputs[0])
        row = tape.teach(f"{node.name}_read", (inputs,), tie=window)
        tape.project(node, signals.of[0], weights[0], row)
        told = {"x": row, "cursor": f"{node.name}_time", "y": window}
        tape.step("history.put", node, told, rows=steps)


def _window(tape: Tape, node: Node) -> dict[str, str]:
    return {"x": tape.value(node.inputs[0]), **_taken(node)}


def _carried(node: Node) -> list[str]:
    """The values that go from one step of time to the next."""
    return [_hidden(node), *_state(node).values()]


def _lasting(now: str) -> str:
    """The value that goes from one window to the next, of one that goes from step to step."""
    return f"{now}_lasting"


def _copy(tape: Tape, node: Node, x: str, y: str) -> None:
    tape.step("history.take", node, {"x": x, "cursor": f"{node.name}_time", "y": y}, rows=1)


def _begin(tape: Tape, node: Node, again: bool = False) -> None:
    """The state that a window begins from: none, or where state is kept, what the window before it left.
    again: of a window that has run, and begins once more from where it began
    """
    every = {"out": node.name} if node.whole("all") else {}
    args = {"hidden": _hidden(node), "cursor": f"{node.name}_time", **_state(node), **every}
    tape.step("recurrent.begin", node, args)
    for now in _carried(node) if tape.spec.state else ():
        _copy(tape, node, f"{now}_first" if again else _lasting(now), now)


def _add_sums(tape: Tape, node: Node, kind: str, pair: tuple[np.ndarray, np.ndarray]) -> None:
    """Adds a weight and a bias, and the sums that they make for the gates."""
    name, learned = f"{node.name}_{kind}", tape.is_learned(node)
    space: Space = "state" if learned else "const"
    roles: tuple[Role, Role] = ("weight", "bias")
    for role, real in zip(roles, pair, strict=True):
        tape.add(Value(name + role, real.shape, space, role, real, learned=learned))
    rows = pair[1].shape
    tape.add(Value(f"{name}sums", rows, "arena", "gate"))
    if not learned:
        tape.add(Value(f"{name}shift", rows, "const", "shift"))


def _sum(tape: Tape, node: Node, kind: str) -> None:
    name = f"{node.name}_{kind}"
    shift = {"s": f"{name}shift"} if not tape.is_learned(node) else {}
    args = {"x": _read(node, kind), "w": f"{name}weight", "b": f"{name}bias", **shift, "y": f"{name}sums"}
    tape.step("dense.forward", node, args)


class Begin(Kernel):
    """The state of before the first step: all zero, and so is the step's number."""

    name = "recurrent.begin"
    loop = Loop(_recurrent_loops.begin)
    writes = ("hidden", "cursor", "h", "out")
    optional = ("h", "out")
    operands = takes(hidden="int8 [units]", cursor="uint32 [1]", h="int16 [units]", out="int8 [all]")

    def integer(self, t: Arrays, a: Attrs) -> None:
        for array in t.values():
            array[...] = 0

    real = integer

    def bounds(self, k: Mapping[str, Known], a: Attrs) -> Bounds:
        return [], dict.fromkeys(k, (0, 0, 0))

    def case(self, rng: np.random.Generator) -> Case:
        n = int(rng.integers(1, 9))
        arrays: dict[str, NDArray[Any]] = {"hidden": np.zeros(n, np.int8), "cursor": np.zeros(1, np.uint32)}
        if rng.integers(2):
            arrays["h"] = np.zeros(n, np.int16)
        if rng.integers(2):
            arrays["out"] = np.zeros(n * int(rng.integers(1, 4)), np.int8)
        return Case(arrays, {}, {})


class _Turn(Kernel):
    """One step of time of a window of `steps`. many, one: the roles of the window and of its part."""

    attributes: ClassVar[Mapping[str, Range]] = within(steps=SIZE)
    many: ClassVar[str]
    one: ClassVar[str]

    def misfit(self, t: Tensors, a: Attrs) -> str:
        many, one = t[self.many].shape[0], t[self.one].shape[0]
        return "" if many == a["steps"] * one else f"{many} values are no {a['steps']} steps of {one}"

    def ranges(self, a: Attrs) -> dict[str, tuple[int, int]]:
        return {"cursor": (0, a["steps"] - 1)}

    def _window(self, t: Arrays, a: Attrs) -> NDArray[Any]:
        """[D, steps, n]"""
        many = t[self.many]
        return many.reshape(len(many), a["steps"], -1)

    def _case(self, rng: np.random.Generator) -> Case:
        steps, n = int(rng.integers(1, 6)), int(rng.integers(1, 9))
        arrays: dict[str, NDArray[Any]] = {
            "x": rng.integers(-128, 128, n).astype(np.int8),
            "cursor": rng.integers(0, steps, 1).astype(np.uint32),
            "y": np.zeros(n, np.int8),
        }
        arrays[self.many] = rng.integers(-128, 128, steps * n).astype(np.int8)
        return Case(arrays, {"steps": steps}, {})


class Take(_Turn):
    """y = row `cursor` of the window x; unless `still`, cursor goes on, behind the last row to the first."""

    name = "recurrent.take"
    loop = Loop(_recurrent_loops.take)
    reads = ("x",)
    updates = ("cursor",)
    writes = ("y",)
    operands = takes(x="int8|int16 [window]", cursor="uint32 [1]", y="=x [n]")
    attributes: ClassVar[Mapping[str, Range]] = within(steps=SIZE, still=(1, 1))
    spare = ("still",)
    moves = True
    many, one = "x", "y"

    def integer(self, t: Arrays, a: Attrs) -> None:
        window, at = self._window(t, a), t["cursor"][:, 0].astype(np.intp)
        t["y"][...] = window[np.arange(len(at)) if len(window) > 1 else 0, at]
        if "still" not in a:
            t["cursor"][:, 0] = (at + 1) % a["steps"]

    real = integer

    def bounds(self, k: Mapping[str, Known], a: Attrs) -> Bounds:
        x, n = k["x"], k["y"].shape[0]
        return [], {"y": (x.lo, x.hi, min(x.l1, n * x.mag))}

    def cost(self, shapes: Mapping[str, tuple[int, ...]], a: Attrs) -> Cost:
        return Cost(reads=shapes["y"][0])

    def case(self, rng: np.random.Generator) -> Case:
        case, still = self._case(rng), {"still": 1} if rng.integers(2) else {}
        wide = {role: v.astype(np.int16) * 3 if role in "xy" else v for role, v in case.arrays.items()}
        return Case(wide if rng.integers(2) else case.arrays, {**case.attrs, **still}, {})


class Put(_Turn):
    """Row `cursor` - 1 of the window y, the last one where cursor is 0, is x."""

    name = "recurrent.put"
    loop = Loop(_recurrent_loops.put_row)
    reads = ("x", "cursor")
    updates = ("y",)
    operands = takes(x="int8 [n]", cursor="uint32 [1]", y="int8 [window]")
    many, one = "y", "x"

    def integer(self, t: Arrays, a: Attrs) -> None:
        at = (t["cursor"][:, 0].astype(np.intp) + a["steps"] - 1) % a["steps"]
        self._window(t, a)[np.arange(len(at)), at] = t["x"]

    real = integer

    def bounds(self, k: Mapping[str, Known], a: Attrs) -> Bounds:
        return [], {}

    def cost(self, shapes: Mapping[str, tuple[int, ...]], a: Attrs) -> Cost:
        return Cost(writes=shapes["x"][0])

    def case(self, rng: np.random.Generator) -> Case:
        return self._case(rng)


def up_shifts(f: Mapping[str, Format], where: str, roles: tuple[str, ...] = ("p", "q")) -> dict[str, int]:
    """How far the sums of gates go to the left, to be arguments."""
    found = {f"{role}_up": GATE_FRAC - f[role].frac for role in roles}
    if not all(0 <= up <= UP for up in found.values()):
        held = " and ".join(f"Q{f[role].frac}" for role in roles)
        what = f"its gates' sums are {held}: they reach far beyond {GATE_TOP}"
        late = f"{roles[-1]}_up"
        hint = (
            "scale the inputs down"
            if 0 <= found[late] <= UP
            else "its recurrent weights are too large: train it again"
        )
        raise CompileError(where, what, hint)
    return found


def gate_arguments(t: Arrays, a: Attrs, gates: int) -> tuple[list[numeric.Int], list[numeric.Int]]:
    """Of each gate what p and q have of its argument, in Q12."""
    sides = (t[role].astype(np.int32) << np.int32(a[f"{role}_up"]) for role in ("p", "q"))
    first, second = (np.split(side, gates, axis=-1) for side in sides)
    return first, second


def state_low(h: PlanTensor) -> str:
    """Whether a state may hold -2^15, whose way to a candidate would leave 32 bits: what to say of it."""
    return "" if h.lo > -(2**15) else f"{h.name} may hold {h.lo}"


class OfSums(Kernel):
    """What reads p and q, the sums of a step's gates, [gates * units] each.

    gates: of a unit; each: the role that holds a value for each unit
    """

    gates: ClassVar[int]
    each: ClassVar[str]

    def misfit(self, t: Tensors, a: Attrs) -> str:
        gates, units = t["p"].shape[0], t[self.each].shape[0]
        return "" if gates == self.gates * units else f"{gates} sums are not {self.gates} of {units} units"

    def lower(self, f: Mapping[str, Format], a: Attrs, where: str) -> dict[str, int]:
        return up_shifts(f, where)

    def _parts(self, t: Arrays, a: Attrs) -> tuple[list[numeric.Int], list[numeric.Int]]:
        return gate_arguments(t, a, self.gates)

    def _reals(self, t: Arrays) -> tuple[list[Any], list[Any]]:
        first, second = (np.split(t[role], self.gates, axis=-1) for role in ("p", "q"))
        return first, second


class _Cell(OfSums):
    """p and q, the sums from the inputs and from the hidden state, are brought to Q12 by a shift to the left
    each, added, and held within -16 .. 16: a gate's argument."""

    reads: ClassVar[tuple[str, ...]] = ("p", "q")
    writes: ClassVar[tuple[str, ...]] = ("y",)
    attributes: ClassVar[Mapping[str, Range]] = within(p_up=(0, UP), q_up=(0, UP))
    operands = takes(p="int16 [gates]", q="int16 [gates]", y="int8 [units]")
    each = "y"

    def bounds(self, k: Mapping[str, Known], a: Attrs) -> Bounds:
        top = (k["p"].mag << a["p_up"]) + (k["q"].mag << a["q_up"])
        return [Accumulator("gate's sum", -top, top), *self._moved(k, a)], {
            "y": (-128, 127, 128 * k["y"].shape[0])
        }

    def _moved(self, k: Mapping[str, Known], a: Attrs) -> list[Accumulator]:
        return []

    def cost(self, shapes: Mapping[str, tuple[int, ...]], a: Attrs) -> Cost:
        return Cost(macs=2 * shapes["p"][0])

    def case(self, rng: np.random.Generator) -> Case:
        n = int(rng.integers(1, 20))
        wide = 2 ** int(rng.integers(8, 16))
        arrays: dict[str, NDArray[Any]] = {
            role: rng.integers(-wide, wide, self.gates * n).astype(np.int16) for role in ("p", "q")
        }
        limits = {}
        if "h" in self.updates:
            arrays["h"] = rng.integers(-(2**15) + 1, 2**15, n).astype(np.int16)
            limits["h"] = (-(2**15) + 1, 2**15 - 1)
        arrays["y"] = np.zeros(n, np.int8)
        return Case(arrays, {"p_up": int(rng.integers(UP + 1)), "q_up": int(rng.integers(UP + 1))}, limits)


def real_sigmoid(x: NDArray[Any]) -> NDArray[Any]:
    half: NDArray[Any] = 0.5 + 0.5 * np.tanh(0.5 * x)
    return half


def _rounded(v: numeric.Int, shift: int) -> numeric.Int:
    return numeric.saturate(numeric.shift_round(v, shift), -128, 127)


class Rnn(_Cell):
    """h = tanh(p + q)."""

    name = "recurrent.rnn"
    loop = Loop(_recurrent_loops.rnn)
    gates = 1

    def integer(self, t: Arrays, a: Attrs) -> None:
        (p,), (q,) = self._parts(t, a)
        t["y"][...] = _rounded(numeric.gate_tanh(p + q), STATE_FRAC - HIDDEN_FRAC)

    def real(self, t: Arrays, a: Attrs) -> None:
        t["y"][...] = np.tanh(t["p"] + t["q"])


class Gru(_Cell):
    """z = sigmoid(p_z + q_z), r = sigmoid(p_r + q_r), n = tanh(p_n + r q_n), h = n + z (h - n)."""

    name = "recurrent.gru"
    loop = Loop(_recurrent_loops.gru)
    updates = ("h",)
    operands = takes(_Cell.operands, h="int16 [units]")
    gates = 3

    def misfit(self, t: Tensors, a: Attrs) -> str:
        return super().misfit(t, a) or state_low(t["h"])

    def integer(self, t: Arrays, a: Attrs) -> None:
        p, q = self._parts(t, a)
        z, r = numeric.gate_sigmoid(p[0] + q[0]), numeric.gate_sigmoid(p[1] + q[1])
        own = t["q"].astype(np.int32)[:, 2 * len(z[0]) :]
        n = numeric.gate_tanh(p[2] + numeric.shift_round(r * own, STATE_FRAC - a["q_up"]))
        h = n + numeric.shift_round(z * (t["h"].astype(np.int32) - n), STATE_FRAC)
        t["h"][...] = h
        t["y"][...] = _rounded(h, STATE_FRAC - HIDDEN_FRAC)

    def real(self, t: Arrays, a: Attrs) -> None:
        p, q = self._reals(t)
        z, r = real_sigmoid(p[0] + q[0]), real_sigmoid(p[1] + q[1])
        n = np.tanh(p[2] + r * q[2])
        t["h"][...] = n + z * (t["h"] - n)
        t["y"][...] = t["h"]

    def _moved(self, k: Mapping[str, Known], a: Attrs) -> list[Accumulator]:
        one, half = 2**STATE_FRAC - 1, 1 << (STATE_FRAC - 1)
        product = one * k["q"].mag
        far = one * (one + k["h"].mag)
        top = (k["p"].mag << a["p_up"]) + (product >> (STATE_FRAC - a["q_up"])) + 1
        return [
            Accumulator("reset times sum", -product, product + half),
            Accumulator("sum of the candidate", -top, top),
            Accumulator("way to the candidate", -far, far + half),
        ]


class _Early(_Cell):
    """Of a GRU that resets its state before the product: q has the sums of z and r alone."""

    def misfit(self, t: Tensors, a: Attrs) -> str:
        shapes = [t[role].shape[0] for role in ("p", "q", "y")]
        fits = shapes[:2] == [3 * shapes[2], 2 * shapes[2]]
        return ("" if fits else f"{shapes[:2]} sums are not 3 and 2 of {shapes[2]} units") or state_low(
            t["h"]
        )

    @staticmethod
    def _gate(t: Arrays, a: Attrs, number: int) -> numeric.Int:
        """The argument of z, 0, or r, 1."""
        n = t["y"].shape[-1]
        at = slice(number * n, (number + 1) * n)
        p, q = (t[role].astype(np.int32)[:, at] << np.int32(a[f"{role}_up"]) for role in ("p", "q"))
        argument: numeric.Int = p + q
        return argument

    def case(self, rng: np.random.Generator) -> Case:
        case = Gru().case(rng)
        n = case.arrays["y"].shape[0]
        arrays = {role: case.arrays[role] for role in ("p", "q", "h", "y")}
        arrays["q"] = arrays["q"][: 2 * n]
        return Case(arrays, case.attrs, case.limits)


class Reset(_Early):
    """y = r h, r = sigmoid(p_r + q_r)."""

    name = "recurrent.reset"
    loop = Loop(_recurrent_loops.reset)
    reads = ("p", "q", "h")
    operands = takes(p="int16 [gates]", q="int16 [both]", h="int16 [units]", y="int8 [units]")

    def integer(self, t: Arrays, a: Attrs) -> None:
        r = numeric.gate_sigmoid(self._gate(t, a, 1))
        t["y"][...] = _rounded(r * t["h"].astype(np.int32), 2 * STATE_FRAC - HIDDEN_FRAC)

    def real(self, t: Arrays, a: Attrs) -> None:
        n = t["y"].shape[-1]
        t["y"][...] = real_sigmoid(t["p"][:, n : 2 * n] + t["q"][:, n:]) * t["h"]

    def _moved(self, k: Mapping[str, Known], a: Attrs) -> list[Accumulator]:
        top = (2**STATE_FRAC - 1) * k["h"].mag
        return [Accumulator("gate times state", -top, top + (1 << (2 * STATE_FRAC - HIDDEN_FRAC - 1)))]


class GruEarly(_Early):
    """z = sigmoid(p_z + q_z), n = tanh(p_n + k), h = n + z (h - n); k has the sums of what was reset."""

    name = "recurrent.gru_early"
    loop = Loop(_recurrent_loops.gru_early)
    reads = ("p", "q", "k")
    updates = ("h",)
    operands = takes(Reset.operands, k="int16 [units]")
    attributes = within(_Cell.attributes, k_up=(0, UP))

    def lower(self, f: Mapping[str, Format], a: Attrs, where: str) -> dict[str, int]:
        return up_shifts(f, where, ("p", "q", "k"))

    def integer(self, t: Arrays, a: Attrs) -> None:
        units = t["y"].shape[-1]
        own = t["k"].astype(np.int32) << np.int32(a["k_up"])
        n = numeric.gate_tanh((t["p"].astype(np.int32)[:, 2 * units :] << np.int32(a["p_up"])) + own)
        z = numeric.gate_sigmoid(self._gate(t, a, 0))
        h = n + numeric.shift_round(z * (t["h"].astype(np.int32) - n), STATE_FRAC)
        t["h"][...] = h
        t["y"][...] = _rounded(h, STATE_FRAC - HIDDEN_FRAC)

    def real(self, t: Arrays, a: Attrs) -> None:
        units = t["y"].shape[-1]
        z = real_sigmoid(t["p"][:, :units] + t["q"][:, :units])
        n = np.tanh(t["p"][:, 2 * units :] + t["k"])
        t["h"][...] = n + z * (t["h"] - n)
        t["y"][...] = t["h"]

    def _moved(self, k: Mapping[str, Known], a: Attrs) -> list[Accumulator]:
        one, half = 2**STATE_FRAC - 1, 1 << (STATE_FRAC - 1)
        far, top = one * (one + k["h"].mag), (k["p"].mag << a["p_up"]) + (k["k"].mag << a["k_up"])
        return [
            Accumulator("sum of the candidate", -top, top),
            Accumulator("way to the candidate", -far, far + half),
        ]

    def case(self, rng: np.random.Generator) -> Case:
        case = super().case(rng)
        wide = 2 ** int(rng.integers(8, 16))
        own = rng.integers(-wide, wide, case.arrays["y"].shape[0]).astype(np.int16)
        return Case({**case.arrays, "k": own}, {**case.attrs, "k_up": int(rng.integers(UP + 1))}, case.limits)


class Lstm(_Cell):
    """i, o, f = sigmoid(p + q), g = tanh(p + q), c = f c + i g, h = o tanh(c); operand h holds c."""

    name = "recurrent.lstm"
    loop = Loop(_recurrent_loops.lstm)
    updates = ("h",)
    operands = takes(_Cell.operands, h="int16 [units]")
    gates = 4

    def integer(self, t: Arrays, a: Attrs) -> None:
        p, q = self._parts(t, a)
        i, o, f = (numeric.gate_sigmoid(p[k] + q[k]) for k in range(3))
        fresh = numeric.shift_round(i * numeric.gate_tanh(p[3] + q[3]), STATE_FRAC - CELL_FRAC)
        c = numeric.shift_round(f * t["h"].astype(np.int32) + fresh, STATE_FRAC)
        c = numeric.saturate(c, -(2**15), 2**15 - 1)
        t["h"][...] = c
        t["y"][...] = _rounded(
            o * numeric.gate_tanh(c << np.int32(GATE_FRAC - CELL_FRAC)), 2 * STATE_FRAC - HIDDEN_FRAC
        )

    def real(self, t: Arrays, a: Attrs) -> None:
        p, q = self._reals(t)
        i, o, f = (real_sigmoid(p[k] + q[k]) for k in range(3))
        t["h"][...] = f * t["h"] + i * np.tanh(p[3] + q[3])
        t["y"][...] = o * np.tanh(t["h"])

    def _moved(self, k: Mapping[str, Known], a: Attrs) -> list[Accumulator]:
        one, half = 2**STATE_FRAC - 1, 1 << (2 * STATE_FRAC - HIDDEN_FRAC - 1)
        far = one * k["h"].mag + (one * one >> (STATE_FRAC - CELL_FRAC)) + 1
        return [
            Accumulator("gate times gate", -one * one, one * one + half),
            Accumulator("cell's state", -far, far + (1 << (STATE_FRAC - 1))),
        ]
