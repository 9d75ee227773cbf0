"""The rule that equations of a rule file say, as a Rule: what an existing kernel does becomes that kernel."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from fractions import Fraction

from ..errors import CompileError
from ..ir.graph import Node
from ..ops import layer
from ..rules import Rule, RuleTape
from ..spec import RuleSpec
from ..spec.own import OWN
from .read import DF, POST, Equations, Said, Z, read_all
from .signals import Maker, Signed
from .statements import Changes
from .terms import ERROR, NEXT, TARGET, Leaf, Projected, Term, Terms, leaves, projections

NEXT_ONE = (Term(Fraction(1), 0, (Leaf(NEXT),)),)


class OwnRule(Rule):
    """Signals go their way as [teach] says, and each layer changes as [update] says.

    Without `hidden` only the last of the chosen layers learns; where nothing reads `teach`, all of them do.
    """

    name = OWN
    doc = "what the equations of the rule file say"
    source = "the rule file"

    def __init__(self, spec: RuleSpec) -> None:
        self.said: Equations = read_all(spec)

    @property
    def passes(self) -> bool:  # type: ignore[override]
        return self.said.taught and (not self.said.hidden or reads_next(self.said.hidden))

    @property
    def waits(self) -> bool:
        return self.said.taught and not self.said.traces

    def watched(self, tape: RuleTape) -> frozenset[str]:
        """What z names: layers' outputs before their activations, and the scores before the last one."""
        said = self.said
        near = [said.weight, said.bias, said.feedback, said.hidden, *said.traces.values()]
        watched = {n.output for n in tape.learned_nodes} if reads_z(near) else set()
        return frozenset(watched | ({scores_before(tape)} if reads_z([said.output]) else set()))

    def narrow(self, learned: tuple[str, ...], spec: RuleSpec) -> tuple[str, ...]:
        return learned[-1:] if self.said.taught and not self.said.hidden else learned

    def check(self, tape: RuleTape) -> None:
        hidden = self.said.hidden
        used = {p.matrix for p in projections(hidden.terms)} if hidden else set()
        fixed = "B" in used or ("R" in used and not self.said.feedback)
        storages = ("ram",) if self.said.feedback else ("flash", "generated")
        if fixed or self.said.feedback:
            self.refuse_feedback(tape, storages, ("random", "ternary", "aligned"))
        self._refuse_idle(tape)

    def _refuse_idle(self, tape: RuleTape) -> None:
        """Refuses an equation of a feedback matrix that no layer has."""
        said, nodes = self.said.feedback, tape.learned_nodes
        if said is None:
            return
        if self.said.matrix == "B" and all(tape.scoring(n) for n in nodes):
            what, hint = "changes B, and every layer that learns makes the scores", "let a hidden layer learn"
        elif self.said.matrix == "R" and not any(tape.wants_teach(n.inputs[0]) for n in nodes):
            what = "changes R, and no layer that learns passes a signal to another one"
            hint = "let one learn that lies below"
        else:
            return
        raise said.equation.error(0, what, f"{hint}, or drop the equation")

    def correct(self, tape: RuleTape) -> None:
        try:
            self._correct(tape)
        except CompileError as error:  # of a name that something of the layer has already
            traces = {
                f"{n.name}_{name}": said
                for n in tape.learned_nodes
                for name, said in self.said.traces.items()
            }
            if error.where not in traces:
                raise
            what = f"its vectors would be called {error.where}, and something else is"
            raise traces[error.where].equation.error(0, what, "give the trace another name") from None

    def _correct(self, tape: RuleTape) -> None:
        changes = Changes(tape, self.said)
        if not self.said.taught:
            for node in reversed(tape.learned_nodes):
                changes.change(node, "")
            return
        _Teaching(tape, self.said, changes).teach()


class _Teaching:
    """The way of signals on one tape."""

    def __init__(self, tape: RuleTape, said: Equations, changes: Changes) -> None:
        self.tape, self.said, self.changes = tape, said, changes
        self.below = {n.name for n in tape.learned_nodes if tape.wants_teach(n.inputs[0])}
        self._errors: dict[Terms, str] = {}

    def teach(self) -> None:
        tape, output = self.tape, self._output()
        hidden = self.said.hidden
        ways = projections(hidden.terms) if hidden else []
        way = next((p for p in ways if NEXT in names_in(p)), None)
        for node in tape.learned_nodes if way or not hidden else ():
            tape.refuse_steps(node)
        if not hidden or (way and self._plain(hidden, way)):
            tape.backward(lambda node: self._matrix(node, way), visit=self._visit, error=output)
        elif way:
            self._down(hidden, way, output)
        else:
            for direct in ways:
                self._sent(tape.learned_nodes[-1], hidden, direct)
            for node in reversed(tape.learned_nodes):
                scoring = tape.scoring(node)
                taught = tape.derived(node, output) if scoring else self._signal(node, hidden, "")
                self.changes.change(node, taught)

    @staticmethod
    def _plain(hidden: Said, way: Projected) -> bool:
        """Whether hidden signals are what comes down, times the derivative, and nothing else."""
        one = hidden.terms[0]
        same = len(hidden.terms) == 1 and one.coefficient == 1 and set(one.factors) == {way, DF}
        return same and len(one.factors) == 2 and way.inner == NEXT_ONE

    def _visit(self, node: Node, teach: str) -> None:
        if self.tape.is_learned(node):
            self.changes.change(node, teach)

    def _matrix(self, node: Node, way: Projected | None) -> str | None:
        """What a signal passes through on its way down: as the built-in rules have it."""
        tape = self.tape
        if way is None or not tape.is_learned(node):
            return None
        if way.signs:
            return tape.signs(node)
        if way.matrix == "W":
            return None
        if not self.said.feedback:
            return tape.fixed_matrix(node.name, node.inputs[0], like=node)
        return tape.twin(node) if node.name in self.below else None

    def _output(self) -> str:
        """The signal at the scores."""
        if not self.said.output:
            return self.tape.error
        node = next(n for n in self.tape.graph.nodes if n.output == self.tape.graph.output)
        near = {Z: (1, self.tape.value(scores_before(self.tape))), POST: (1, self.tape.logits)}
        return self._maker(node, self.said.output, near).signal(self.said.output.terms)

    def _maker(self, node: Node, said: Said, near: dict[str, Signed], came: str = "") -> Maker:
        """came: the signal that has come through a matrix from the layer above"""
        errors = {ERROR: (1, self.tape.error)}
        if TARGET in {n for t in said.terms for n in leaves(t)}:
            errors[TARGET] = self.changes.target(said)
        projected = self._through(node, said, came)
        return Maker(self.tape, node, said.equation, {**errors, **near}, self.changes.signs, projected)

    def _through(self, node: Node, said: Said, came: str) -> Callable[[Projected], str]:
        """What makes a layer's signal of what passes a matrix."""

        def projected(way: Projected) -> str:
            if NEXT in names_in(way):
                return came
            learns = self.said.feedback and self.said.matrix == "B"
            matrix = self.tape.learned_matrix(node) if learns else None
            return self.tape.injected(node, self._sent(node, said, way), matrix)

        return projected

    def _sent(self, node: Node, said: Said, way: Projected) -> str:
        """What is sent to hidden layers directly, the same to all of them."""
        if way.inner not in self._errors:
            maker = self._maker(node, Said(said.equation, way.inner), {})
            self._errors[way.inner] = maker.signal(way.inner)
        return self._errors[way.inner]

    def _signal(self, node: Node, hidden: Said, came: str) -> str:
        """A hidden layer's signal, from what came down to behind its activation."""
        tape = self.tape
        behind = tape.value(tape.injection(node))
        near = {Z: (1, tape.value(node.output)), POST: (1, behind)}
        return self._maker(node, hidden, near, came).signal(hidden.terms)

    def _down(self, hidden: Said, way: Projected, output: str) -> None:
        """As RuleTape.backward, each hidden layer's signal made where it arrives behind the activation."""
        tape = self.tape
        behind = {tape.injection(n): n for n in tape.learned_nodes if not tape.scoring(n)}
        signals = {tape.graph.output: output}
        for node in reversed(tape.graph.nodes):
            teach = signals.pop(node.output, None)
            if teach is None:
                continue
            if learner := behind.pop(node.output, None):
                teach = self._signal(learner, hidden, teach)
                if learner is not node:  # what lies between has been passed
                    signals[learner.output] = teach
                    continue
            passed: dict[str, str] = {}
            if any(tape.wants_teach(i) for i in node.inputs if i in tape.graph.tensors):
                passed = self._passed(node, way, teach)
            self._visit(node, teach)
            for name, signal in passed.items():
                if tape.wants_teach(name):
                    signals[name] = tape.sum(name, signals[name], signal) if name in signals else signal

    def _passed(self, node: Node, way: Projected, teach: str) -> dict[str, str]:
        held = layer(node.op)
        if self.tape.is_learned(node) and way.inner != NEXT_ONE:
            assert self.said.hidden
            said = Said(self.said.hidden.equation, way.inner)
            teach = self._maker(node, said, {NEXT: (1, teach)}).signal(way.inner)
        matrix = self._matrix(node, way) if held.weighted else None
        return held.feedback(self.tape, node, teach, matrix)


def reads_z(said: Iterable[Said | None]) -> bool:
    return any(Z in leaves(t) for s in said if s for t in s.terms)


def reads_next(hidden: Said) -> bool:
    """Whether hidden signals are made of what comes down from the layer above."""
    return any(NEXT in names_in(p) for p in projections(hidden.terms))


def scores_before(tape: RuleTape) -> str:
    """The tensor that z is at the scores: the layer's output that becomes them by an activation; else they
    themselves."""
    graph = tape.graph
    making = [n.output for n in graph.nodes if layer(n.op).weighted and tape.scoring(n)]
    return making[-1] if making else graph.output


def names_in(way: Projected) -> set[str]:
    """The names of what passes through a matrix."""
    return {n for t in way.inner for n in leaves(t)}
