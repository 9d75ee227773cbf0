"""An equation as text: read into a tree whose every node knows its place, which a caret shows.

sum     = ["-"] product {("+" | "-") product}
product = factor {("*" | "@" | "/") factor}
factor  = "-" factor | primary ["^" ["-"] whole]
primary = number | NAME [".T"] ["[" axes "]"] | NAME "(" sum {"," sum} ")" [".T"] | "(" sum ")"
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

from ..errors import CompileError, TermError
from ..spec import RuleSpec
from ..words import short

MOST = 1000  # characters of an equation
DEEPEST = 40  # brackets within brackets
FAR = 64  # the largest exponent, and that of two beyond which there is no number
WIDTH = 100  # characters of an excerpt

_TOKEN = re.compile(
    r"\s*(?:(?P<number>(?:\d{1,15}\.?\d{0,15}|\.\d{1,15})(?:[eE][+-]?\d{1,2})?)(?![\w.])"
    r"|(?P<long>(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?)(?![\w.])"
    r"|(?P<name>[A-Za-z_]\w{0,39})(?!\w)|(?P<sign>[-+*@/^()\[\],.])|(?P<other>\S))",
    re.ASCII,
)


@dataclass(frozen=True, slots=True)
class Number:
    value: Fraction
    at: int


@dataclass(frozen=True, slots=True)
class Name:
    """axes: what stands in square brackets behind it; None if nothing does"""

    name: str
    axes: tuple[str, ...] | None
    transposed: bool
    at: int


@dataclass(frozen=True, slots=True)
class Call:
    name: str
    args: tuple[Node, ...]
    transposed: bool
    at: int


@dataclass(frozen=True, slots=True)
class Product:
    factors: tuple[Node, ...]
    at: int


@dataclass(frozen=True, slots=True)
class Power:
    """base^exponent, of what is no number"""

    base: Node
    exponent: int
    at: int


@dataclass(frozen=True, slots=True)
class Sum:
    parts: tuple[Node, ...]
    at: int


@dataclass(frozen=True, slots=True)
class Through:
    """matrix @ signal"""

    matrix: Node
    signal: Node
    at: int


Node = Number | Name | Call | Product | Power | Sum | Through


@dataclass(frozen=True, slots=True)
class Equation:
    """One equation of a rule file. key: what it is called there; number: which of RuleSpec.equations"""

    key: str
    text: str
    number: int

    def error(self, at: int, what: str, hint: str) -> CompileError:
        return CompileError(self.key, what, hint, excerpt(self.text, at))


def excerpt(text: str, at: int) -> str:
    """The equation, or as much of it as a line holds, and a caret under place `at`."""
    shown = "".join(c if c.isascii() and c.isprintable() else "_" for c in text)
    first = max(0, min(at - WIDTH // 2, len(shown) - WIDTH))
    return f"  {shown[first : first + WIDTH]}\n  {' ' * (at - first)}^"


def placed(error: CompileError, spec: RuleSpec) -> CompileError:
    """The error; where a term of the rule file's equations is to blame, with the place of that."""
    if not isinstance(error, TermError):
        return error
    key, text = spec.equations[error.said]
    return CompileError(f"{key}: {error.where}", error.what, error.hint, excerpt(text, error.at))


def read(equation: Equation) -> Node:
    """The tree of an equation. CompileError, with a caret, for what is none."""
    if len(equation.text) > MOST:
        what = f"has {len(equation.text)} characters"
        raise CompileError(equation.key, what, f"an equation has up to {MOST}")
    reader = _Reader(equation)
    tree = reader.sum()
    if reader.kind != "end":
        raise reader.unexpected("+, -, * or the end")
    return tree


class _Reader:
    def __init__(self, equation: Equation) -> None:
        self.equation, self.depth = equation, 0
        self.tokens: list[tuple[str, str, int]] = []
        for found in _TOKEN.finditer(equation.text):
            kind = str(found.lastgroup)
            self.tokens.append((kind, found[kind], found.start(kind)))
        self.tokens.append(("end", "", len(equation.text)))
        self.next = 0

    @property
    def kind(self) -> str:
        return self.tokens[self.next][0]

    @property
    def word(self) -> str:
        return self.tokens[self.next][1]

    @property
    def at(self) -> int:
        return self.tokens[self.next][2]

    def take(self, *words: str) -> str:
        """The next sign if it is one of these, and on behind it; else ""."""
        if self.kind == "sign" and self.word in words:
            self.next += 1
            return self.tokens[self.next - 1][1]
        return ""

    def demand(self, word: str) -> None:
        if not self.take(word):
            raise self.unexpected(f'"{word}"')

    def unexpected(self, wanted: str) -> CompileError:
        if self.kind == "end":
            return self.equation.error(self.at, "ends too early", f"here comes {wanted}")
        return self.equation.error(self.at, f'"{short(self.word)}" cannot stand here', f"here comes {wanted}")

    def sum(self) -> Node:
        self.depth += 1
        if self.depth > DEEPEST:
            raise self.equation.error(self.at, "is nested too deeply", f"up to {DEEPEST} brackets are read")
        at, parts = self.at, [self.product()]
        while sign := self.take("+", "-"):
            place = self.at
            part = self.product()
            parts.append(part if sign == "+" else Product((Number(Fraction(-1), place), part), place))
        self.depth -= 1
        return parts[0] if len(parts) == 1 else Sum(tuple(parts), at)

    def product(self) -> Node:
        at, left = self.at, [self.factor()]
        while sign := self.take("*", "@", "/"):
            place = self.at
            right = self.factor()
            if sign == "@":
                left = [*left[:-1], Through(left[-1], right, place)]
            elif sign == "*":
                left.append(right)
            else:
                left.append(self._inverse(right))
        return left[0] if len(left) == 1 else Product(tuple(left), at)

    def _inverse(self, node: Node) -> Number:
        if not isinstance(node, Number) or node.value == 0:
            raise self.equation.error(node.at, "is no number to divide by", "a chip multiplies: take 2^-k")
        return Number(1 / node.value, node.at)

    def factor(self) -> Node:
        signs, at = 0, self.at
        while self.take("-"):
            signs += 1
        node = self.primary()
        if self.take("^"):
            node = self._power(node)
        if not signs % 2:
            return node
        return (
            Number(-node.value, at)
            if isinstance(node, Number)
            else Product((Number(Fraction(-1), at), node), at)
        )

    def _power(self, base: Node) -> Node:
        at, sign = self.at, -1 if self.take("-") else 1
        if self.kind != "number" or not self.word.isdigit():
            raise self.unexpected("a whole number")
        exponent = sign * int(self.word)
        self.next += 1
        if isinstance(base, Number):
            if abs(exponent) > FAR or base.value == 0 or abs(base.value) > FAR:
                raise self.equation.error(at, "is too far", f"give 2^k, k from -{FAR} to {FAR}")
            return self._sized(base.value**exponent, base.at)
        if not 1 <= exponent <= 3:
            raise self.equation.error(at, f"{exponent} is no power of a signal", "possible are 1, 2 and 3")
        return Power(base, exponent, base.at)

    def primary(self) -> Node:
        kind, word, at = self.tokens[self.next]
        if kind == "number":
            self.next += 1
            return self._sized(Fraction(word), at)
        if kind == "long":
            hint = "up to 15 stand behind the point, and 2 in an exponent"
            raise self.equation.error(at, "is a number of too many digits", hint)
        if kind == "name":
            self.next += 1
            if self.take("("):
                args = [self.sum()]
                while self.take(","):
                    args.append(self.sum())
                self.demand(")")
                return Call(word, tuple(args), self._transposed(), at)
            transposed, axes = self._transposed(), self._axes()
            if axes and self.kind == "sign" and self.word == ".":
                hint = f"the T comes before the axes: {short(word)}.T[{short(','.join(axes))}]"
                raise self.equation.error(self.at, "stands behind axes", hint)
            return Name(word, axes, transposed, at)
        if self.take("("):
            inner = self.sum()
            self.demand(")")
            return inner
        raise self.unexpected("a name, a number or (")

    def _sized(self, value: Fraction, at: int) -> Number:
        """A number of the text, neither so large nor so small that none of a chip is meant."""
        if value and not Fraction(1, 2**FAR) <= abs(value) <= 2**FAR:
            far = "large" if abs(value) > 1 else "small"
            raise self.equation.error(at, f"is too {far}", f"numbers from 2^-{FAR} to 2^{FAR} are read")
        return Number(value, at)

    def _transposed(self) -> bool:
        if not self.take("."):
            return False
        if self.word != "T":
            raise self.unexpected('"T"')
        self.next += 1
        return True

    def _axes(self) -> tuple[str, ...] | None:
        if not self.take("["):
            return None
        axes: list[str] = []
        while not axes or self.take(","):
            if self.kind != "name":
                raise self.unexpected("an axis: o, i or c")
            axes.append(self.word)
            self.next += 1
        self.demand("]")
        return tuple(axes)
