"""The changes that equations say: by the layer's own update where that is one, else by statements."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from ..ir.graph import Node
from ..ir.program import Value
from ..ops import layer
from ..ops.decay import MAX_SHIFT
from ..ops.statement import COLUMNS, OF_MATRIX, OF_VECTOR, ROWS, SIGNALS
from ..rules import RuleTape
from .read import POST, PRE, TEACH, Equations, Said, Z
from .signals import Maker, Signed, Signs, encoded
from .terms import ERROR, TARGET, Factor, Leaf, Term, Terms, leaves, split

Part = tuple[Term, dict[str, int]]
MOST_RATE = 2**8


@dataclass(frozen=True, slots=True)
class Plain:
    """-2^-k signal[o] pre[i]: what a layer's own update does. signal: the value"""

    signal: str
    k: int


class Changes:
    """Changes layers on one tape."""

    def __init__(self, tape: RuleTape, said: Equations) -> None:
        self.tape, self.said = tape, said
        self.signs: Signs = {}
        self._opposite = ""
        self.below = {n.name for n in tape.learned_nodes if tape.wants_teach(n.inputs[0])}

    def target(self, said: Said) -> Signed:
        """What scores should be: a target of numbers, or the opposite of -1 for the class of the label."""
        if self.tape.spec.itself:
            at = next(t.at for t in said.terms if TARGET in leaves(t))
            raise said.equation.error(at, 'names target, and loss.target is "input"', "take the error")
        if self.tape.spec.numbers:
            return 1, self.tape.target
        self._opposite = self._opposite or self.tape.target_error()
        return -1, self._opposite

    def change(self, node: Node, teach: str) -> None:
        """A layer's traces, weights, biases and feedback matrix; `teach` is its signal."""
        said = self.said
        twin = self._feedback(node)
        self._traces(node, teach)
        maker = self._maker(node, said.weight, teach)
        usual = self._usual_bias()
        bias = usual if said.bias is None else said.bias.terms
        plain = self._plain(node, said.weight.terms, maker)
        joined = (
            twin is not None
            and said.feedback is not None
            and said.matrix == "R"
            and alike(said.weight.terms, said.feedback.terms)
        )
        if plain and bias == usual:
            layer(node.op).update(self.tape, node, plain.signal, plain.k, twin if joined else None)
            self.tape.b.mark((said.weight.equation.number, said.weight.terms[0].at))
        else:
            joined = False
            self._matrix(node, said.weight, f"{node.name}_weight", "W", maker)
            self._bias(node, said.bias or said.weight, bias, maker)
        if twin is not None and said.feedback is not None and not joined:
            maker = self._maker(node, said.feedback, teach)
            if said.matrix == "R" or not self._followed(node, said.feedback, twin, maker):
                self._matrix(node, said.feedback, twin, said.matrix, maker)

    def _feedback(self, node: Node) -> str | None:
        """The matrix that learns beside a layer's weights; None if none does."""
        if not self.said.feedback:
            return None
        if self.said.matrix == "B":
            return None if self.tape.scoring(node) else self.tape.learned_matrix(node)
        return self.tape.twin(node) if node.name in self.below else None

    def _followed(self, node: Node, said: Said, matrix: str, maker: Maker) -> bool:
        """Whether B changed by -2^-k SIGNAL[c] post[o] as `dkp` changes it."""
        term = said.terms[0]
        if len(said.terms) > 1 or len(term.factors) != 2 or Leaf(POST) not in term.factors:
            return False
        (signal,) = term.without(Leaf(POST)).factors
        exact = power(-term.coefficient)
        if exact is None or signal == Leaf("B") or not self._along_scores(signal):
            return False
        k = self.tape.rate(node) * term.rates - exact
        sign, value = maker.operand(signal)
        if sign < 0 or not 0 <= k < MOST_RATE or not self._falls(term):
            return False
        if not maker.passes(value) or maker.coarse(value):
            return False
        self.tape.follow(node, matrix, value, k)
        self.tape.b.mark((said.equation.number, term.at))
        return True

    def _falls(self, term: Term) -> bool:
        """Whether a schedule does to a product what it does to the rate of an update."""
        return not self.tape.spec.schedule or term.rates == 1

    def _maker(self, node: Node, said: Said, teach: str) -> Maker:
        tape = self.tape
        near: dict[str, Signed] = {
            PRE: (1, tape.value(node.inputs[0])),
            POST: (1, tape.value(tape.injection(node))),
            Z: (1, tape.value(node.output)),
        }
        near |= {TEACH: (1, teach)} if teach else {}
        near |= {ERROR: (1, tape.error)} if said is self.said.feedback else {}
        near |= {TARGET: self.target(said)} if any(TARGET in leaves(t) for t in said.terms) else {}
        near |= {name: (1, f"{node.name}_{name}") for name in self.said.traces}
        return Maker(tape, node, said.equation, near, self.signs)

    def _plain(self, node: Node, terms: Terms, maker: Maker) -> Plain | None:
        term = terms[0]
        if len(terms) > 1 or len(term.factors) != 2 or Leaf(PRE) not in term.factors:
            return None
        (signal,) = term.without(Leaf(PRE)).factors
        exact = power(-term.coefficient)
        if exact is None or signal in (Leaf(PRE), Leaf("W")) or self._along_inputs(signal):
            return None
        k = self.tape.rate(node) * term.rates - exact
        sign, value = maker.operand(signal)
        if sign < 0 or not 0 <= k < MOST_RATE or not maker.passes(value) or not self._falls(term):
            return None
        if not maker.coarse(value):
            return Plain(value, k)
        return None if layer(node.op).fully else Plain(maker.finer(value, term.at), k)

    def _usual_bias(self) -> Terms:
        """What a bias does where the file does not say: the terms of the weights with pre = 1.

        Nothing where that has no meaning: where signals along i are others, or W stands beside a signal.
        """
        found: list[Term] = []
        for term in self.said.weight.terms:
            if term.factors == (Leaf("W"),):
                continue
            rest = term.without(Leaf(PRE)) if Leaf(PRE) in term.factors else term
            if rest is term or Leaf("W") in rest.factors or any(map(self._along_inputs, rest.factors)):
                return ()
            found.append(rest)
        return tuple(found)

    def _along_inputs(self, factor: Factor) -> bool:
        """Whether a signal has the axis i."""
        if isinstance(factor, Leaf):
            said = self.said.traces.get(factor.name)
            return factor.name == PRE or bool(said and said.axis == "i")
        return any(self._along_inputs(f) for t in factor.inner for f in t.factors)

    def _along_scores(self, factor: Factor) -> bool:
        """Whether a signal has the axis c."""
        if isinstance(factor, Leaf):
            return factor.name in (ERROR, TARGET)
        return any(self._along_scores(f) for t in factor.inner for f in t.factors)

    def _matrix(self, node: Node, said: Said, matrix: str, own: str, maker: Maker) -> None:
        tape, rate = self.tape, self.tape.rate(node)
        rounding = tape.rounding(matrix if own == "B" else f"{node.name}_weight")
        k = decays(said.terms, own, rate)
        if k is not None and not (tape.spec.schedule and said.terms[0].rates):  # its shift does not fall
            args = {"w": matrix, "step": tape.samples_learned}
            tape.step("decay.apply", matrix, args, shift=k, **rounding)
            tape.b.mark((said.equation.number, said.terms[0].at))
            return
        down: list[str] = []
        across: list[str] = []
        parts: list[Part] = []
        for term in said.terms:
            signals = term.without(Leaf(own)) if Leaf(own) in term.factors else term
            signed, powers = maker.signed(signals), maker.powers(signals)
            for factor in signals.factors:
                value = maker.operand(factor)[1]
                columns = not self._along_scores(factor) if own == "B" else self._along_inputs(factor)
                side = across if columns else down
                side += [value] * (value not in side)
            powers |= {matrix: 1} if signals is not term else {}
            parts.append((signed, powers))
        for side, most in ((down, ROWS), (across, COLUMNS)):
            if len(side) > len(most):
                what = f"names {len(side)} signals along one axis"
                raise said.equation.error(said.terms[0].at, what, f"up to {len(most)} are possible")
        roles = dict(zip(down, ROWS, strict=False)) | dict(zip(across, COLUMNS, strict=False)) | {matrix: "w"}
        args = {role: value for value, role in roles.items()}
        args |= {"step": tape.samples_learned, "saturated": self._saturated(node)}
        kernel, more = ("statement.matrix", {}) if own == "B" else layer(node.op).statement(tape, node)
        attrs = encoded(said.equation, parts, roles, OF_MATRIX, rate, -1) | more
        tape.step(kernel, node, args, **attrs, **rounding)
        tape.b.mark((said.equation.number, said.terms[0].at))

    def _saturated(self, node: Node) -> str:
        note = f"how often a learned value of {node.name} met its limit"
        return self.tape.counter(f"{node.name}_saturated", note)

    def _bias(self, node: Node, said: Said, terms: Terms, maker: Maker) -> None:
        if terms:
            counted = {"saturated": self._saturated(node)}
            self._vector(node, said, terms, f"{node.name}_bias", "b", maker, counted, -1)

    def _vector(
        self,
        node: Node,
        said: Said,
        terms: Terms,
        target: str,
        own: str,
        maker: Maker,
        more: dict[str, str],
        sign: int,
    ) -> None:
        """target -= the sum, or += where sign is -1."""
        tape = self.tape
        parts: list[Part] = []
        for term in terms:
            mine = Leaf(own) in term.factors
            signals = term.without(Leaf(own)) if mine else term
            parts.append((maker.signed(signals), maker.powers(signals) | ({target: 1} if mine else {})))
        values = list(dict.fromkeys(v for _, powers in parts for v in powers if v != target))
        if len(values) > len(SIGNALS):
            what = f"names {len(values)} signals"
            raise said.equation.error(terms[0].at, what, f"up to {len(SIGNALS)} are possible")
        roles = dict(zip(values, SIGNALS, strict=False)) | {target: "y"}
        args = {role: value for value, role in roles.items()} | {"step": tape.samples_learned} | more
        kernel, geometry = (
            layer(node.op).statement(tape, node, bias=True) if own == "b" else ("statement.change", {})
        )
        attrs = encoded(said.equation, parts, roles, OF_VECTOR, tape.rate(node), sign) | geometry
        tape.step(kernel, node, args, **attrs, **tape.rounding(target))
        tape.b.mark((said.equation.number, terms[0].at))

    def _traces(self, node: Node, teach: str) -> None:
        tape = self.tape
        for name, said in self.said.traces.items():
            of = node.inputs[0] if said.axis == "i" else node.output
            size, target = int(np.prod(tape.shape(of))), f"{node.name}_{name}"
            note = f"trace {name} of layer {node.name}"
            tape.add(Value(target, (size,), "state", "trace", note=note))
            maker = self._maker(node, said, teach)
            self._vector(node, said, said.terms, target, name, maker, {}, 1)


def alike(weight: Terms, feedback: Terms) -> bool:
    """Whether a feedback matrix changes by exactly what the weights change by."""
    return set(weight) == set(feedback) and not any(Leaf("W") in t.factors for t in weight)


def power(number: Fraction) -> int | None:
    """e of 2^e; None of another number."""
    if number <= 0:
        return None
    m, e = split(number)
    return e if m == 1 else None


def decays(terms: Terms, own: str, rate: int) -> int | None:
    """k where all that is said is that a matrix loses 2^-k of itself."""
    if len(terms) != 1 or terms[0].factors != (Leaf(own),):
        return None
    exact = power(-terms[0].coefficient)
    k = None if exact is None else rate * terms[0].rates - exact
    return k if k is not None and 0 < k <= MAX_SHIFT else None
