"""Forward passes of samples that carry a label, and how good layers find them: `passed`, `goodness`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from ..errors import CompileError
from ..ir.graph import Graph, Node
from ..ops.goodness import MOST
from ..spec import RuleSpec
from ._modulation import ModulationTape


class GoodnessTape(ModulationTape):
    """A Tape that runs the network on samples with a label."""

    def __init__(self, graph: Graph, spec: RuleSpec, learned: tuple[str, ...]) -> None:
        super().__init__(graph, spec, learned)
        self._carriers: dict[str, str] = {}

    @contextmanager
    def passed(self, nodes: Sequence[Node], target: str, share: float) -> Iterator[None]:
        """Runs forward on x + F target up to what lies behind these layers' activations; inside, `value` is
        this pass's. All such passes write the same values, and leave those of the first pass alone."""
        first = dict(self._bound)
        wanted = {self.value(self.injection(n)) for n in nodes} | {self.value(n.inputs[0]) for n in nodes}
        steps = self._leading_to(wanted)
        twice = self._carrying(target, self._names(steps) | wanted, share)
        self._rerun(steps, twice, self._once_again)
        self._bound = {tensor: twice.get(name, name) for tensor, name in first.items()}
        yield
        self._bound = first

    def _once_again(self, name: str) -> str:
        again = f"{name}_again"
        return again if again in self.b.values else self._again(name)

    def _carrying(self, target: str, used: set[str], share: float) -> dict[str, str]:
        twice = {}
        for tensor in self.graph.inputs:
            x = self.value(tensor)
            if x in used:
                g = self.teach(f"{x}_label", self.shape(tensor))
                self.project(x, target, self._carrier(tensor, x, self.b.values[target].size, share), g)
                twice[x] = self._once_again(x)
                self.step("add.forward", x, {"left": x, "right": g, "y": twice[x]})
        return twice

    def _carrier(self, tensor: str, x: str, scores: int, share: float) -> str:
        """F of an input, [C, n]: random, of `share` of the input's root mean square."""
        if tensor not in self._carriers:
            ideal = np.full((scores, self.graph.tensors[tensor].size), self._input_sizes()[tensor] * share)
            self._carriers[tensor] = self.fixed(f"{x}_label", ideal)
        return self._carriers[tensor]

    def goodness(self, node: Node, threshold: float, wrong: bool) -> str:
        """What a layer hears of its own goodness in the pass that is open."""
        self.refuse_unheard(node)
        at = self.injection(node)
        h = self.value(at)
        if (size := self.b.values[h].size) > MOST:
            what = f"has {size} activities, and ff adds the squares of up to {MOST}"
            raise CompileError(node.name, what, "leave it out of `layers`")
        g = self.teach(f"{node.name}_{'wrong' if wrong else 'right'}", self.shape(at))
        log = (size - 1).bit_length()
        self.step("goodness.teach", node, {"h": h, "g": g}, threshold=threshold, wrong=int(wrong), log=log)
        return g
