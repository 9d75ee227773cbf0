"""An equation as a sum of products, and the axes of what it names.

Axes: o numbers the outputs of a layer, i its inputs, c the scores. A signal has one, a matrix [o, i].
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction

from ..errors import CompileError
from ..words import nearest, short
from .text import Call, Equation, Name, Node, Number, Power, Product, Sum, Through

MANTISSA = 127  # the largest odd factor of a number beside its power of two
EXPONENT = 40  # of that power
MOST_TERMS = 6
MOST_PRODUCTS = 64  # that writing out an equation may make
MOST_POWER = 3  # of a signal in a product
MOST_RATES = 2  # in a product
MOST_FACTORS = 64  # in the argument of a function, those of functions in it too
MOST_BITS = 512  # of a number on the way, above and below the line
ABS, CLIP, SIGN, STEP = "abs", "clip", "sign", "step"
FUNCTIONS: Mapping[str, tuple[int, int]] = {ABS: (1, 1), CLIP: (3, 3), SIGN: (1, 2), STEP: (1, 1)}
"""Functions of a signal, with the least and the most arguments."""
RATE, DERIVATIVE, NEXT, ERROR, TARGET = "rate", "df", "next", "error", "target"
MATRICES = ("W", "R", "B")
WHERE: Mapping[str, str] = {
    NEXT: 'is the signal of the layer above: it reaches this one through a matrix, "R.T @ next"',
    ERROR: 'is the error of the scores: in [teach] it reaches a layer through a matrix, "B.T @ error"',
    TARGET: 'has a place for each score: in [teach] it reaches a layer through a matrix, "B.T @ target"',
    DERIVATIVE: "is taken in [teach] hidden: the signal `teach` has passed it already",
    RATE: "belongs to [update]",
    "teach": "belongs to [update]: it is what [teach] says",
    "pre": "is what a layer reads: [teach] makes signals of its outputs",
}
"""What is said of a name that another place knows."""


@dataclass(frozen=True, slots=True)
class Leaf:
    """A signal, or the matrix that an equation changes, by its name."""

    name: str


@dataclass(frozen=True, slots=True)
class Applied:
    """A function of a signal. numbers: its other arguments"""

    function: str
    inner: Terms
    numbers: tuple[Fraction, ...]


@dataclass(frozen=True, slots=True)
class Projected:
    """A signal through a transposed matrix. signs: of the matrix's signs alone"""

    matrix: str
    signs: bool
    inner: Terms


Factor = Leaf | Applied | Projected


@dataclass(frozen=True, slots=True)
class Term:
    """coefficient * rate^rates * factors. at: its place in the text"""

    coefficient: Fraction
    rates: int = 0
    factors: tuple[Factor, ...] = ()
    at: int = field(default=0, compare=False, repr=False)

    def times(self, other: Term) -> Term:
        factors = tuple(sorted((*self.factors, *other.factors), key=str))
        at = self.at if self.factors or not other.factors else other.at
        return Term(self.coefficient * other.coefficient, self.rates + other.rates, factors, at)

    def without(self, *gone: Factor) -> Term:
        rest = list(self.factors)
        for factor in gone:
            rest.remove(factor)
        return replace(self, factors=tuple(rest))


Terms = tuple[Term, ...]


@dataclass(frozen=True, slots=True)
class Scope:
    """What an equation may name.

    signals: names by axis
    own:     the matrix, or vector, that it changes; "" if none
    project: the names that reach this layer through a matrix, each with the matrices that take it there
    rate:    whether the rate may stand in it
    derive:  whether df(z) may
    alone:   signals that no function but sign and step takes
    apart:   names by axis that stand in other equations beside these, not here
    """

    signals: Mapping[str, str]
    own: str = ""
    own_axes: tuple[str, ...] = ()
    project: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    rate: bool = False
    derive: bool = False
    alone: tuple[str, ...] = ()
    apart: Mapping[str, str] = field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        more = [self.own] * bool(self.own) + [RATE] * self.rate
        return [*self.signals, *more, *dict.fromkeys(m for ms in self.project.values() for m in ms)]


class Reader:
    """Writes trees out as sums of products."""

    def __init__(self, equation: Equation, scope: Scope) -> None:
        self.equation, self.scope = equation, scope

    def error(self, at: int, what: str, hint: str) -> CompileError:
        return self.equation.error(at, what, hint)

    def terms(self, node: Node, free: Leaf | None = None) -> Terms:
        """The sum that a tree is: products that differ by more than a number, none of them zero.

        free: what may stand alone with a number that no shift is
        """
        found: dict[tuple[int, tuple[Factor, ...]], Term] = {}
        for term in self._expanded(node):
            key = term.rates, term.factors
            same = found.get(key)
            found[key] = replace(same, coefficient=same.coefficient + term.coefficient) if same else term
        kept = tuple(t for t in found.values() if t.coefficient)
        if len(kept) > MOST_TERMS:
            raise self.error(
                kept[MOST_TERMS].at, "is one product too many", f"a sum has up to {MOST_TERMS} of them"
            )
        return tuple(t if t.factors == (free,) else self._checked(t) for t in kept)

    def _checked(self, term: Term) -> Term:
        try:
            mantissa, exponent = split(term.coefficient)
        except ValueError:
            k = max(-EXPONENT, _log2(abs(term.coefficient)) - 5)
            near = round(term.coefficient / Fraction(2) ** k)
            hint = f"take a power of two, or up to {MANTISSA} times one: {near} * 2^{k}"
            raise self.error(
                term.at, f"has the factor {float(term.coefficient):g}, which no shift is", hint
            ) from None
        if abs(exponent) > EXPONENT:
            what = f"has the factor {mantissa} * 2^{exponent}"
            raise self.error(term.at, what, f"powers from 2^-{EXPONENT} to 2^{EXPONENT} are possible")
        return term

    def _expanded(self, node: Node) -> list[Term]:
        if isinstance(node, Number):
            return [Term(node.value, at=node.at)]
        if isinstance(node, Sum):
            return [t for part in node.parts for t in self._expanded(part)]
        if isinstance(node, Product):
            return self._product((self._expanded(factor), factor.at) for factor in node.factors)
        if isinstance(node, Power):
            return self._product([(self._expanded(node.base), node.at)] * node.exponent)
        if isinstance(node, Through):
            return [Term(Fraction(1), 0, (self._projected(node),), self._start(node))]
        if isinstance(node, Call):
            return [self._call(node)]
        return [self._name(node)]

    def _product(self, factors: Iterable[tuple[list[Term], int]]) -> list[Term]:
        """The products of sums, each given with its place."""
        found: list[Term] = []
        for terms, at in factors:
            if len(terms) * max(len(found), 1) > MOST_PRODUCTS:
                raise self.error(at, "makes too many products", f"up to {MOST_PRODUCTS} are made")
            found = [a.times(b) for a in found for b in terms] if found else terms
        for term in found:
            self._single(term)
        return found

    @staticmethod
    def _start(node: Node) -> int:
        while isinstance(node, Through):
            node = node.matrix
        return node.at

    def _single(self, term: Term) -> None:
        """Refuses what no sum of products can have, before it grows further."""
        number = term.coefficient
        if max(number.numerator.bit_length(), number.denominator.bit_length()) > MOST_BITS:
            raise self.error(term.at, "has a number of too many digits", "take a power of two")
        if term.rates > MOST_RATES:
            raise self.error(term.at, "has the rate more than twice", "write what you mean as 2^-k")
        count = Counter(term.factors)
        for factor, power in count.items():
            if power > MOST_POWER:
                raise self.error(term.at, f"has a signal {power} times in a product", "up to 3 are possible")
            matrix = isinstance(factor, Leaf) and len(self._axes(factor)) > 1
            if power > 1 and (matrix or factor == Leaf(DERIVATIVE)):
                what = "is a product of two matrices" if matrix else "takes df(z) twice"
                raise self.error(term.at, what, "it may stand once in a product")

    def _axes(self, factor: Factor) -> tuple[str, ...]:
        if isinstance(factor, Leaf):
            if self.scope.own and factor.name == self.scope.own:
                return self.scope.own_axes
            return (self.scope.signals.get(factor.name, "o"),)
        if isinstance(factor, Projected):
            return ("o",)
        return self.axes(factor.inner[0])

    def axes(self, term: Term) -> tuple[str, ...]:
        """The axes of a product, o before i."""
        return tuple(sorted({a for f in term.factors for a in self._axes(f)}, reverse=True))

    def _name(self, node: Name) -> Term:
        scope, name = self.scope, node.name
        if node.transposed:
            what = f"{short(name)}.T is a matrix without a signal"
            raise self.error(node.at, what, 'a matrix takes a signal down: "R.T @ next"')
        if name == RATE and scope.rate:
            return Term(Fraction(1), 1, (), node.at)
        if name not in scope.signals and name != scope.own:
            raise self._unknown(node)
        axes = self._axes(Leaf(name))
        if node.axes is not None and node.axes != axes:
            what = f"{name} has no axes [{short(', '.join(node.axes))}]"
            raise self.error(node.at, what, f"write {name}[{','.join(axes)}]")
        return Term(Fraction(1), 0, (Leaf(name),), node.at)

    def _unknown(self, node: Name | Call) -> CompileError:
        name, known = node.name, self.scope.names
        if name in MATRICES:
            held = self.scope.own in MATRICES and f", which is {self.scope.own}"
            what = f"the matrix {name} has no place in {self.equation.key}"
            return self.error(node.at, what, f"an equation knows the matrix that it changes{held or ''}")
        if name in self.scope.apart:
            what = f"{name} has the axis {self.scope.apart[name]}, and {self.equation.key} changes "
            what += f"{self.scope.own}[{','.join(self.scope.own_axes)}]"
            return self.error(node.at, what, f"here are known {', '.join(known)}")
        if name in WHERE:
            return self.error(node.at, f"{name} {WHERE[name]}", f"here are known {', '.join(known)}")
        what = f'"{short(name)}" is not known here'
        return self.error(node.at, what, f"{nearest(name, known)}known are {', '.join(known)}")

    def _call(self, node: Call) -> Term:
        if node.name == DERIVATIVE:
            return self._derivative(node)
        if node.name not in FUNCTIONS:
            if node.name in (*self.scope.names, *MATRICES):
                raise self.error(node.at, f"{short(node.name)} is no function", "a product is written with *")
            known = [*FUNCTIONS, *([DERIVATIVE] if self.scope.derive else [])]
            what = f'there is no function "{short(node.name)}"'
            raise self.error(node.at, what, f"{nearest(node.name, known)}known are {', '.join(known)}")
        least, most = FUNCTIONS[node.name]
        if node.transposed:
            raise self.error(node.at, "is no matrix", "only sign(W).T @ next takes a function of one")
        if not least <= len(node.args) <= most:
            wanted = f"{least}" if least == most else f"{least} or {most}"
            raise self.error(node.at, f"{node.name} has {len(node.args)} arguments", f"it takes {wanted}")
        numbers = [self._number(arg) for arg in node.args[1:]]
        self._limits(node, numbers)
        inner = Reader(self.equation, replace(self.scope, rate=False)).terms(node.args[0])
        self._takes(node, inner)
        return Term(Fraction(1), 0, (Applied(node.name, inner, tuple(numbers)),), node.at)

    def _limits(self, node: Call, numbers: Sequence[Fraction]) -> None:
        if node.name == CLIP and not numbers[0] < numbers[1]:
            what = f"its limits are {float(numbers[0]):g} and {float(numbers[1]):g}"
            raise self.error(node.args[1].at, what, "the lower one comes first")
        if node.name == CLIP and not numbers[0] <= 0 <= numbers[1]:
            raise self.error(node.args[1].at, "0 lies outside of its limits", "a silent signal must stay 0")
        if node.name == SIGN and numbers and numbers[0] < 0:
            raise self.error(node.args[1].at, "its threshold is below 0", "give the least magnitude")

    def _takes(self, node: Call, inner: Terms) -> None:
        """Refuses what is no signal along one axis."""
        if not inner:
            raise self.error(node.args[0].at, "is always 0", "give a signal")
        if factors(inner) > MOST_FACTORS:
            what = f"{node.name} takes a sum of {factors(inner)} factors"
            raise self.error(node.at, what, f"up to {MOST_FACTORS} are possible")
        first = self.axes(inner[0])
        for term in inner:
            axes = self.axes(term)
            if any(isinstance(f, Leaf) and f.name == self.scope.own for f in term.factors):
                raise self.error(term.at, f"{node.name} takes no {self.scope.own}", "give it a signal")
            if len(axes) != 1 or axes != first:
                what = f"{node.name} takes a signal along one axis, this has [{','.join(axes) or 'none'}]"
                raise self.error(term.at, what, "o, i and c number different things")
        held = [f for t in inner for f in t.factors if isinstance(f, Leaf) and f.name in self.scope.alone]
        plain = len(inner) == 1 and len(inner[0].factors) == 1 and node.name in (SIGN, STEP)
        if held and not plain:
            what = f"{node.name} takes no trace: calibration does not see how large it becomes"
            raise self.error(node.at, what, "sign(TRACE) and step(TRACE) are possible")

    def _number(self, node: Node) -> Fraction:
        found = self._expanded(node)
        if len(found) != 1 or found[0].factors or found[0].rates:
            raise self.error(node.at, "is no number", "limits and thresholds are numbers")
        return found[0].coefficient

    def _derivative(self, node: Call) -> Term:
        if not self.scope.derive:
            raise self._unknown(node)
        plain = len(node.args) == 1 and isinstance(node.args[0], Name) and node.args[0].name == "z"
        if not plain or node.transposed:
            raise self.error(node.at, "is no derivative", "there is df(z) alone")
        return Term(Fraction(1), 0, (Leaf(DERIVATIVE),), node.at)

    def _projected(self, node: Through) -> Projected:
        matrix, signs = node.matrix, False
        if isinstance(matrix, Call) and matrix.name == SIGN and len(matrix.args) == 1:
            signs, matrix = (
                True,
                replace(matrix.args[0], transposed=matrix.transposed)
                if isinstance(matrix.args[0], Name)
                else matrix.args[0],
            )
        if not isinstance(matrix, Name) or matrix.name not in MATRICES or (signs and matrix.name != "W"):
            raise self.error(self._start(node), "is no matrix", "matrices are W.T, R.T, B.T and sign(W).T")
        if not matrix.transposed:
            hint = f"signals pass down: write {'sign(W)' if signs else matrix.name}.T"
            raise self.error(matrix.at, f"{matrix.name} @ takes a signal up", hint)
        axes = ("c" if matrix.name == "B" else "o", "o" if matrix.name == "B" else "i")
        if matrix.axes is not None and matrix.axes not in (axes, axes[::-1]):
            what = f"{matrix.name} has no axes [{short(', '.join(matrix.axes))}]"
            raise self.error(matrix.at, what, f"write {matrix.name}.T[{','.join(axes)}]")
        inner_scope = Scope({name: "c" if name != NEXT else "o" for name in self.scope.project})
        if not self.scope.project:
            raise self.error(
                node.at, f"no matrix takes signals in {self.equation.key}", "[teach] hidden does"
            )
        inner = Reader(self.equation, inner_scope).terms(node.signal)
        names = {n for t in inner for n in leaves(t)}
        for name in sorted(names):
            if matrix.name not in self.scope.project[name]:
                takes = " or ".join(f"{m}.T" for m in self.scope.project[name])
                raise self.error(matrix.at, f"{matrix.name} does not take {name} here", f"{takes} does")
        if len({n == NEXT for n in names}) != 1 or not all(t.factors for t in inner):
            raise self.error(node.at, "takes no signal", '"R.T @ next" and "B.T @ error" do')
        return Projected(matrix.name, signs, inner)


def leaves(term: Term) -> set[str]:
    """The names in a product, those within functions and behind matrices too."""
    found: set[str] = set()
    for factor in term.factors:
        if isinstance(factor, Leaf):
            found.add(factor.name)
        else:
            found = found.union(*(leaves(t) for t in factor.inner))
    return found


def factors(terms: Terms) -> int:
    """How many factors stand in a sum, those within functions and behind matrices too."""
    each = (f for t in terms for f in t.factors)
    return sum(1 if isinstance(f, Leaf) else 1 + factors(f.inner) for f in each)


def projections(terms: Terms) -> list[Projected]:
    """What takes a signal through a matrix, wherever it stands."""
    found: list[Projected] = []
    for factor in (f for t in terms for f in t.factors):
        if isinstance(factor, Projected):
            found.append(factor)
        elif isinstance(factor, Applied):
            found += projections(factor.inner)
    return found


def split(number: Fraction) -> tuple[int, int]:
    """(m, e) of m * 2^e, m odd and no larger than MANTISSA. ValueError for a number that is none."""
    m, n = number.numerator, number.denominator
    if n & (n - 1) or not m:
        raise ValueError(number)
    e = -(n.bit_length() - 1)
    while not m % 2:
        m, e = m // 2, e + 1
    if abs(m) > MANTISSA:
        raise ValueError(number)
    return m, e


def _log2(number: Fraction) -> int:
    """The exponent of the largest power of two that is no larger."""
    k = number.numerator.bit_length() - number.denominator.bit_length()
    return k if Fraction(2) ** k <= number else k - 1
