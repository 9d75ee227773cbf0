"""A second forward pass over inputs that the error has moved: `modulated`, `difference`.

Its values are the first pass's with a name and a place of their own and the same number formats, so that both
can be subtracted and no step needs a shift of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace

import numpy as np

from ..errors import CompileError
from ..ir.graph import Graph, Node
from ..ir.program import Item, Repeat, Step, Value
from ..ir.roles import AGAIN
from ..ops import changed, kernel
from ..ops._terms import code
from ..ops.statement import OF_VECTOR
from ..spec import RuleSpec
from ._matrices import FeedbackTape

SHARE = 2.0**-5
"""The root mean square of what an error of 1 adds to an input, in units of the input's own.

The rule lets W F e grow by itself, by rate |F e|^2 a step: with 2^-3 MNIST is not learned in real numbers
either. With less than 2^-6 most of F e is below half a unit of an int8 input.
"""


class ModulationTape(FeedbackTape):
    """A Tape that runs the network again on other inputs."""

    def __init__(self, graph: Graph, spec: RuleSpec, learned: tuple[str, ...]) -> None:
        super().__init__(graph, spec, learned)
        self._first: dict[str, str] = {}

    def refuse_modulation(self) -> None:
        """Raises CompileError for a network whose integers are a file's: what is added to an input, and the
        difference of two activations, need formats of ours."""
        held = [n for n in self.graph.tensors if self.given(n) is not None]
        if held:
            what = f"moves the inputs, and the model file brings the number format of {held[0]}"
            raise CompileError("rule", f"{self.spec.rule} {what}", "take dfa, or a float model")

    @contextmanager
    def modulated(self, error: str, nodes: Sequence[Node]) -> Iterator[None]:
        """Runs forward on x + F error up to what these layers read, and what lies behind their activations;
        inside, `value` is the second pass's. The first pass's values stay."""
        first = dict(self._bound)
        behind = {self.injection(node) for node in nodes} - {self.graph.output}
        wanted = {self.value(tensor) for tensor in behind | {node.inputs[0] for node in nodes}}
        steps = self._leading_to(wanted)
        twice = self._moved_inputs(error, self._names(steps) | wanted)
        self._rerun(steps, twice, self._again)
        self._bound = {tensor: twice.get(name, name) for tensor, name in first.items()}
        self._first = first
        yield
        self._bound = first

    def difference(self, node: Node) -> str:
        """What a layer hears inside `modulated`: its first pass less its second, behind its activation."""
        self.refuse_unheard(node)
        at = self.injection(node)
        out = self.teach(f"{node.name}_difference", self.shape(at))
        terms = {"c0": 1.0, "f0": code({"v0": 1}, OF_VECTOR), "c1": -1.0, "f1": code({"v1": 1}, OF_VECTOR)}
        args = {"v0": self._first[at], "v1": self.value(at), "y": out}
        self.step("statement.signal", node, args, **terms)
        return out

    def _leading_to(self, wanted: set[str]) -> list[Item]:
        """The items of the forward program that these values need, in order."""
        needed, found = set(wanted), list[Item]()
        for item in reversed(self.b.programs["forward"].items):
            inside = self._inside(item)
            if needed.isdisjoint(name for step in inside for name in changed(step).values()):
                continue
            found.append(item)
            for step in inside:
                needed |= {step.args[role] for role in kernel(step.kernel).reads if role in step.args}
        return found[::-1]

    def _inside(self, item: Item) -> list[Step]:
        """The steps of an item: of a loop, those of its program."""
        if isinstance(item, Step):
            return [item]
        return [step for inner in self.b.programs[item.program].items for step in self._inside(inner)]

    def _names(self, items: Sequence[Item]) -> set[str]:
        """The values that the steps of these items name."""
        return {name for item in items for step in self._inside(item) for name in step.args.values()}

    def _rerun(self, items: Sequence[Item], twice: dict[str, str], again: Callable[[str], str]) -> None:
        """Emits these items anew, on the values in `twice`; what they write joins these, by `again`."""
        for item in items:
            inside = self._inside(item)
            for name in (n for step in inside for n in changed(step).values()):
                if name not in twice:  # several steps may fill one value
                    twice[name] = again(name)
            if isinstance(item, Step):
                self._on_others(item, twice)
                continue
            assert isinstance(item, Repeat)
            program = f"{item.program}_again"
            if program not in self.b.programs:
                with self.b.program(program, self.b.programs[item.program].doc):
                    for step in inside:
                        self._on_others(step, twice)
            self.b.repeat(item.times, program)

    def _on_others(self, step: Step, twice: Mapping[str, str]) -> None:
        args = {role: twice.get(name, name) for role, name in step.args.items()}
        self.step(step.kernel, step.node, args, **step.attrs)

    def _moved_inputs(self, error: str, used: set[str]) -> dict[str, str]:
        """x + F error of each input that is used, by the input's name. It saturates where x does."""
        twice = {}
        for tensor in self.graph.inputs:
            x = self.value(tensor)
            if x not in used:
                continue
            g = self.teach(f"{x}_modulation", self.shape(tensor))
            self.project(x, error, self._modulation(tensor, self.b.values[error].size), g)
            twice[x] = self._again(x)
            self.step("add.forward", x, {"left": x, "right": g, "y": twice[x]})
        return twice

    def _modulation(self, tensor: str, scores: int) -> str:
        """F of an input, [C, n]: random, an error of 1 moves it by SHARE of its root mean square."""
        size = self._input_sizes()[tensor] * SHARE
        return self.fixed(f"{tensor}_modulation", np.full((scores, self.graph.tensors[tensor].size), size))

    def _again(self, name: str) -> str:
        value = self.b.values[name]
        again = Value(f"{name}_again", value.shape, "arena", value.role, tie=name, use=AGAIN)
        return self.b.add(replace(again, format=value.format))
