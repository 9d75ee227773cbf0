"""Signals as equations make them: steps on a tape that leave one value along an axis."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from fractions import Fraction

from ..ir.graph import Node
from ..ir.program import root
from ..ops import _terms
from ..ops.statement import OF_VECTOR, SIGNALS
from ..rules import RuleTape
from .terms import ABS, CLIP, DERIVATIVE, MOST_POWER, SIGN, Applied, Factor, Leaf, Projected, Term, Terms
from .text import Equation

DF, ONE = Leaf(DERIVATIVE), Fraction(1)
Signs = dict[tuple[str, float], str]
Signed = tuple[int, str]
"""A value, and 1, or -1 where its opposite is meant."""


class Maker:
    """Makes the signals of one layer.

    leaves:    the values of the signals that equations name
    signs:     of values, by threshold, that there are already
    projected: what comes through a matrix
    """

    def __init__(
        self,
        tape: RuleTape,
        node: Node,
        equation: Equation,
        leaves: Mapping[str, Signed],
        signs: Signs,
        projected: Callable[[Projected], str] | None = None,
    ) -> None:
        self.tape, self.node, self.equation = tape, node, equation
        self.leaves, self.signs, self.projected = leaves, signs, projected
        self._made: dict[Factor, Signed] = {}

    def signal(self, terms: Terms) -> str:
        """The value of a sum that learning passes on: int16, and not its opposite."""
        sign, value = self.sum(terms)
        if sign > 0 and self.passes(value):
            return value
        return self._emit([(Term(Fraction(sign), at=terms[0].at), {value: 1})])

    def passes(self, value: str) -> bool:
        """Whether a value is a signal of 16 bits."""
        return self.tape.b.values[value].role in ("teach", "error")

    def coarse(self, value: str) -> bool:
        """Whether a signal is whole numbers, as signs are, which a small rate leaves nothing of: products of
        weights' updates are shifted to the right alone."""
        values = self.tape.b.values
        of = root(values, value)
        return values[of].role == "error" and of != self.tape.error

    def finer(self, value: str, at: int) -> str:
        """The same signal in a format of its own."""
        return self._emit([(Term(ONE, at=at), {value: 1})])

    def operand(self, factor: Factor) -> Signed:
        if isinstance(factor, Leaf):
            return self.leaves[factor.name]
        if factor not in self._made:
            self._made[factor] = (
                self._applied(factor) if isinstance(factor, Applied) else self._through(factor)
            )
        return self._made[factor]

    def _through(self, factor: Projected) -> Signed:
        assert self.projected is not None
        return 1, self.projected(factor)

    def sum(self, terms: Terms) -> Signed:
        if any(DF in t.factors for t in terms):
            inner = self.signal(tuple(t.without(DF) for t in terms))
            return 1, self.tape.derived(self.node, inner)
        first = terms[0]
        if len(terms) == len(first.factors) == 1 and abs(first.coefficient) == 1:
            sign, value = self.operand(first.factors[0])
            return sign * int(first.coefficient), value
        return 1, self._emit([(t, self.powers(t)) for t in map(self.signed, terms)])

    def signed(self, term: Term) -> Term:
        """The term with the signs of its operands in its number."""
        sign = 1
        for factor in term.factors:
            sign *= self.operand(factor)[0]
        return Term(term.coefficient * sign, term.rates, term.factors, term.at)

    def powers(self, term: Term) -> dict[str, int]:
        """How often each value stands in a product. Two names may be one value."""
        found = Counter(self.operand(factor)[1] for factor in term.factors)
        if found and (most := max(found.values())) > MOST_POWER:
            what = f"has one signal {most} times in a product at layer {self.node.name}"
            hint = f"up to {MOST_POWER} are possible; z and post are one where no activation follows"
            raise self.equation.error(term.at, what, hint)
        return dict(found)

    def _applied(self, factor: Applied) -> Signed:
        if factor.function == CLIP:
            return 1, self._clipped(factor)
        sign, value = self.sum(factor.inner)
        at = factor.inner[0].at
        threshold = float(factor.numbers[0]) if factor.numbers else 0.0
        signs = self._signs(value, threshold, at)
        if factor.function == SIGN:
            return sign, signs
        if factor.function == ABS:  # x * sign(x)
            return 1, self._emit([(Term(ONE, at=at), {value: 1, signs: 1})])
        half = ONE / 2  # 1 of a sign 1, 0 of 0 and -1
        return 1, self._emit([(Term(half * sign, at=at), {signs: 1}), (Term(half, at=at), {signs: 2})])

    def _clipped(self, factor: Applied) -> str:
        lo, hi = (float(n) for n in factor.numbers)
        terms = factor.inner
        if any(DF in t.factors for t in terms):
            parts = [(Term(ONE, at=terms[0].at), {self.signal(terms): 1})]
        else:
            parts = [(t, self.powers(t)) for t in map(self.signed, terms)]
        return self._emit(parts, least=lo, most=hi)

    def _signs(self, value: str, threshold: float, at: int) -> str:
        key = value, threshold
        if key not in self.signs:
            node = "loss" if value == self.tape.error else self.node
            self.signs[key] = self.tape.ternary(value, threshold, node)
            self.tape.b.mark((self.equation.number, at))
        return self.signs[key]

    def _emit(self, parts: list[tuple[Term, dict[str, int]]], **limits: float) -> str:
        values = list(dict.fromkeys(v for _, powers in parts for v in powers))
        if len(values) > len(SIGNALS):
            what = f"names {len(values)} signals"
            raise self.equation.error(parts[0][0].at, what, f"a sum has up to {len(SIGNALS)} of them")
        roles = dict(zip(values, SIGNALS, strict=False))
        out = self.tape.teach(f"{self.node.name}_signal", (self.tape.b.values[values[0]].size,))
        attrs = encoded(self.equation, parts, roles, OF_VECTOR, 0) | limits
        args = {role: value for value, role in roles.items()} | {"y": out}
        self.tape.step("statement.signal", self.node, args, **attrs)
        self.tape.b.mark((self.equation.number, parts[0][0].at))
        return out


def encoded(
    equation: Equation,
    parts: list[tuple[Term, dict[str, int]]],
    roles: Mapping[str, str],
    order: tuple[str, ...],
    rate: int,
    sign: int = 1,
) -> dict[str, float]:
    """The attributes of a statement's step: numbers and factors of its terms, their places, and how often the
    rate stands in them.

    parts: terms, and the values in them with their powers; roles: of these values; rate: k of 2^-k
    """
    attrs: dict[str, float] = {"said": equation.number}
    for k, (term, powers) in enumerate(parts):
        named = {roles[value]: p for value, p in powers.items()}
        number = float(sign * term.coefficient) * 2.0 ** (-rate * term.rates)
        attrs |= {f"c{k}": number, f"f{k}": _terms.code(named, order), f"at{k}": term.at}
        attrs |= {f"n{k}": term.rates, "fall": 0} if term.rates else {}
    return attrs
