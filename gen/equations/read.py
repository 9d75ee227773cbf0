"""The equations of a rule file, read and held against one another: what each may name, and what each says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction

from ..spec import RuleSpec
from .terms import (
    DERIVATIVE,
    ERROR,
    MANTISSA,
    NEXT,
    TARGET,
    Applied,
    Leaf,
    Reader,
    Scope,
    Term,
    Terms,
    leaves,
    projections,
    split,
)
from .text import Call, Equation, Name, Node, Number, Power, Product, Sum, read

TEACH, PRE, POST, Z = "teach", "pre", "post", "z"
SIGNALS: Mapping[str, str] = {TEACH: "o", POST: "o", Z: "o", PRE: "i"}
"""What equations of [update] and [trace] may name, with their axes."""
DF = Leaf(DERIVATIVE)


@dataclass(frozen=True, slots=True)
class Said:
    """An equation and the sum that it says. axis: of a trace"""

    equation: Equation
    terms: Terms
    axis: str = ""


@dataclass(slots=True)
class Equations:
    """All that a rule file says. What it does not say is None; traces by their names, in its order.

    matrix: what `feedback` changes, R or B
    """

    weight: Said
    bias: Said | None = None
    feedback: Said | None = None
    output: Said | None = None
    hidden: Said | None = None
    matrix: str = "R"
    traces: dict[str, Said] = field(default_factory=dict)

    @property
    def taught(self) -> bool:
        """Whether anything reads a teaching signal."""
        said = [self.weight, self.bias, self.feedback, *self.traces.values()]
        return any(TEACH in leaves(t) for s in said if s for t in s.terms)


def read_all(spec: RuleSpec) -> Equations:
    """The equations of a rule file. CompileError, with a caret, where one says nothing that can be done."""
    texts = {key: Equation(key, text, i) for i, (key, text) in enumerate(spec.equations)}
    traces: dict[str, Said] = {}
    for key in texts:
        if key.startswith("trace."):
            name = key.removeprefix("trace.")
            traces[name] = _trace(texts[key], name, {n: s.axis for n, s in traces.items()})
    signals = {**SIGNALS, **{name: said.axis for name, said in traces.items()}}
    alone = tuple(traces)
    found = Equations(_matrix(texts["update.weight"], signals, "W", alone), traces=traces)
    if (equation := texts.get("update.bias")) is not None:
        along, apart = _by_axis(signals)
        scope = Scope(along, "b", ("o",), rate=True, alone=alone, apart=apart)
        found.bias = _along(equation, scope, ("o",), empty=True)
    if equation := texts.get("teach.output"):
        found.output = _along(equation, Scope(dict.fromkeys((ERROR, TARGET, Z, POST), "c")), ("c",))
    if equation := texts.get("teach.hidden"):
        found.hidden = _hidden(equation)
    if equation := texts.get("update.feedback"):
        _feedback(found, equation, signals, alone)
    _together(found, texts)
    return found


def _feedback(
    found: Equations, equation: Equation, signals: Mapping[str, str], alone: tuple[str, ...]
) -> None:
    """Of R, or of B where signals pass through that alone: B has a row for each score."""
    used = {p.matrix for p in projections(found.hidden.terms)} if found.hidden else set()
    if "B" not in used or "R" in used:
        _refuse_scores(equation, signals, "B" in used)
        found.feedback = _matrix(equation, signals, "R", alone)
        return
    found.matrix = "B"
    along, apart = _by_axis(signals)
    along |= {ERROR: "c", TARGET: "c"}
    scope = Scope(along, "B", ("c", "o"), rate=True, alone=alone, apart=apart)
    found.feedback = _along(equation, scope, ("c", "o"))


def _by_axis(signals: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """Signals along the outputs of a layer, and along its inputs."""
    along, apart = ({n: axis for n, axis in signals.items() if axis == side} for side in "oi")
    return along, apart


def _refuse_scores(equation: Equation, signals: Mapping[str, str], both: bool) -> None:
    """Refuses what only a learned B knows, where R learns. both: whether signals pass through B as well"""
    for node in _names(read(equation)):
        if node.name in (ERROR, TARGET, "B") and node.name not in signals:
            what = f"{node.name} says that B learns, and no signal passes through B"
            hint = '[teach] hidden = "(B.T @ error) * df(z)" does'
            if both:
                what = f"{node.name} says that B learns, and where signals pass through R as well, R does"
                hint = "take R.T out of [teach] hidden"
            raise equation.error(node.at, what, hint)


def _matrix(equation: Equation, signals: Mapping[str, str], own: str, alone: tuple[str, ...]) -> Said:
    scope = Scope(signals, own, ("o", "i"), rate=True, alone=alone)
    return _along(equation, scope, ("o", "i"))


def _along(
    equation: Equation, scope: Scope, axes: tuple[str, ...], empty: bool = False, own: Leaf | None = None
) -> Said:
    """An equation whose every product has these axes. empty: whether it may say that nothing changes; own:
    a signal that may stand in it with any number"""
    tree, reader = read(equation), Reader(equation, scope)
    terms = reader.terms(tree, own)
    if not terms and not empty:
        raise reader.error(tree.at, "is always 0", "nothing would change")
    for term in terms:
        found = reader.axes(term)
        if missing := [axis for axis in axes if axis not in found]:
            near = {"o": "teach[o] or post[o]", "i": "pre[i]", "c": ERROR}[missing[0]]
            raise reader.error(
                term.at, f"this product has no axis {missing[0]}", f"it needs a factor as {near}"
            )
        if more := [axis for axis in found if axis not in axes]:
            what = f"this product has an axis {more[0]}, and {equation.key} has [{','.join(axes)}]"
            raise reader.error(term.at, what, "leave out what has that axis")
    return Said(equation, terms)


def _hidden(equation: Equation) -> Said:
    takes = {NEXT: ("R", "W"), ERROR: ("B",), TARGET: ("B",)}
    scope = Scope({POST: "o", Z: "o"}, project=takes, derive=True)
    said = _along(equation, scope, ("o",))
    _derived(said.equation, said.terms)
    from_above = {p for p in projections(said.terms) if NEXT in {n for t in p.inner for n in leaves(t)}}
    if len(from_above) > 1:
        raise equation.error(said.terms[0].at, "takes two signals down from the layer above", "it has one")
    return said


def _derived(equation: Equation, terms: Terms) -> None:
    """Refuses df(z) where it is no factor of the whole sum."""
    having = [DF in t.factors for t in terms]
    if any(having) and not all(having):
        term = terms[having.index(False)]
        raise equation.error(term.at, "has no df(z), and another product has", "write (...) * df(z)")
    for term in terms:
        if DF in term.factors and len(term.factors) == 1:
            raise equation.error(term.at, "is a derivative and no signal", "multiply a signal with it")
        for factor in term.factors:
            if isinstance(factor, Applied):
                _derived(equation, factor.inner)


def _trace(equation: Equation, name: str, earlier: Mapping[str, str]) -> Said:
    signals = {**SIGNALS, **earlier}
    if name in (*signals, ERROR, TARGET, NEXT, "rate", "b", DERIVATIVE):
        raise equation.error(0, f"{name} has a meaning already", "give the trace another name")
    tree = read(equation)
    axes = [signals[n.name] for n in _names(tree) if n.name in signals]
    if not axes:
        Reader(equation, Scope(signals, name, ("o",), rate=True)).terms(tree)  # what it does not know
        raise equation.error(0, "is a trace of nothing", f'"{name} - 2^-3 * {name} + pre" is one of pre')
    scope = Scope(signals, name, (axes[0],), rate=True, alone=tuple(earlier))
    own, rest, kept = Leaf(name), [], Fraction(0)
    for term in _along(equation, scope, (axes[0],), own=own).terms:
        if own not in term.factors:
            rest.append(term)
        elif term.factors == (own,) and not term.rates:
            kept = term.coefficient
        else:
            raise equation.error(term.at, f"{name} forgets by a signal", "it forgets a share, as 2^-3")
    if not 0 < 1 - kept < 2:
        what = f"{name} keeps {float(kept):g} of itself, and grows without end"
        raise equation.error(0, what, f"let it forget: {name} - 2^-3 * {name}")
    if not rest:
        raise equation.error(0, "is a trace of nothing", f'"{name} - 2^-3 * {name} + pre" is one of pre')
    try:
        split(1 - kept)
    except ValueError:
        what = f"{name} forgets {float(1 - kept):g} of itself, which no shift is"
        hint = f"let it forget a power of two, or up to {MANTISSA} times one: {name} - 2^-3 * {name}"
        raise equation.error(0, what, hint) from None
    return Said(equation, (Term(1 - kept, 0, (own,)), *(t.times(Term(Fraction(-1))) for t in rest)), axes[0])


def _names(node: Node) -> list[Name]:
    """Names in a tree, in their order."""
    if isinstance(node, Name):
        return [node]
    if isinstance(node, Number):
        return []
    if isinstance(node, Power):
        return _names(node.base)
    held = node.args if isinstance(node, Call) else node.factors if isinstance(node, Product) else ()
    held = node.parts if isinstance(node, Sum) else held
    return [name for part in held for name in _names(part)]


def _together(found: Equations, texts: Mapping[str, Equation]) -> None:
    """Refuses what nothing reads."""
    for key in ("teach.output", "teach.hidden"):
        if key in texts and not found.taught:
            raise texts[key].error(
                0, "says what `teach` is, and nothing reads it", "drop it, or use teach[o]"
            )
    used = {p.matrix for p in projections(found.hidden.terms)} if found.hidden else set()
    if found.feedback and found.matrix not in used:
        hint = '[teach] hidden = "(R.T @ next) * df(z)" does'
        raise found.feedback.equation.error(0, "changes R, and no signal passes through it", hint)
    for name, said in found.traces.items():
        others = [s for s in (found.weight, found.bias, found.feedback) if s]
        others += [s for other, s in found.traces.items() if other != name]
        if not any(name in leaves(t) for s in others for t in s.terms):
            raise said.equation.error(0, f"nothing reads the trace {name}", "use it in [update], or drop it")
