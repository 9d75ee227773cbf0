"""What rules share that try out changes: directions of layers, moves along them, and the loss of a sample.

Nothing of a direction is kept: gen/ops/perturb.py makes it again from the seed and the number of the trial.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..ir.graph import Node
from ..ir.program import Value
from ..spec.options import Option, PowerOfTwo
from ._tape import RuleTape


def epsilon(start: float) -> Option:
    """The option of how far a trial goes, `start` where a rule file does not say."""
    doc = "how far weights are moved, in units of their root mean square"
    return PowerOfTwo("epsilon", doc, -10, -1, start)


EPSILON, KEPT = epsilon(2.0**-3), epsilon(2.0**-8)  # of moves that are undone, and of moves that may stay


@dataclass(frozen=True, slots=True)
class Trial:
    """Moves of `nodes` along one random direction, a new one after each `tick`.

    A step down a slope is as long as one of backpropagation at the same rate would be: a slope along u of
    n values has the length of a gradient, u itself that of sqrt(n), so the rate is divided by sqrt(n), to a
    power of two. Longer, and what a sample does not say about the others is a walk that destroys a network.

    epsilon: how far, by the root mean square of a layer's weights at the start; where these are all zero, as
    of a new classifier, by that of Glorot's uniform weights. To a power of two.
    """

    tape: RuleTape
    nodes: Sequence[Node]
    epsilon: float

    def __post_init__(self) -> None:
        for node in self.nodes:
            self.tape.refuse_unheard(node)

    @property
    def _number(self) -> str:
        return self.tape.counter("trial", "directions tried")

    @property
    def _spread(self) -> int:
        """log2 of the square root of how many weights and biases move."""
        shapes = [self.tape.constant(node.inputs[1]).shape for node in self.nodes]
        values = sum(math.prod(shape) + shape[0] for shape in shapes)
        return round(math.log2(values) / 2)

    def _common(self, node: Node) -> tuple[dict[str, str], dict[str, float]]:
        weight = self.tape.constant(node.inputs[1])
        rms = float(np.sqrt(np.mean(np.square(weight)))) or math.sqrt(2 / sum(weight.shape))
        epsilon = 2.0 ** round(math.log2(self.epsilon * rms))
        args = {"step": self._number, "w": f"{node.name}_weight", "b": f"{node.name}_bias"}
        tensor = self.tape.tensor_id(f"{node.name}_direction")
        return args, {"epsilon": epsilon, "seed": self.tape.spec.seed, "tensor": tensor}

    def move(self, times: int) -> None:
        """Every weight and bias `times` epsilon along the direction."""
        for node in self.nodes:
            args, attrs = self._common(node)
            self.tape.step("perturb.apply", node, args, times=times, **attrs)

    def settle(self, slope: str, times: int, power: int, rated: bool) -> None:
        """`times` epsilon along the direction, and against it the slope times epsilon^power, and if `rated`
        the learning rate."""
        for node in self.nodes:
            args, attrs = self._common(node)
            note = f"how often a learned value of {node.name} met its limit"
            args |= {"d": slope, "saturated": self.tape.counter(f"{node.name}_saturated", note)}
            rounding = self.tape.rounding(f"{node.name}_weight")
            attrs |= {"rounding": rounding["rounding"], "turn": rounding["tensor"]}
            gain = 2.0 ** -(self.tape.rate(node) + self._spread) if rated else 1.0
            self.tape.step("perturb.settle", node, args, times=times, gain=gain, power=power, **attrs)

    def tick(self) -> None:
        self.tape.step("counter.tick", "trial", {"count": self._number})

    def slope(self) -> str:
        """The value that says what a trial found."""
        return self.tape.b.once(Value("slope", (1,), "arena", "error"))


def probe(tape: RuleTape, nodes: Sequence[Node], epsilon: float, sign: bool, times: int) -> None:
    """As many trials: the loss on both sides of where the weights are, and a step down the slope.

    sign: a step is as large as the rate, whatever the slope; else the slope is half the difference of the
    losses, no more than 1, by epsilon
    """
    trial = Trial(tape, nodes, epsilon)
    with tape.b.program("probe", "the loss on both sides along one direction, and a step down"):
        trial.move(1)
        tape.emit_forward()
        plus = tape.measure("loss_plus")
        trial.move(-2)
        tape.emit_forward()
        minus = tape.measure("loss_minus")
        found = {"plus": plus, "minus": minus, "d": trial.slope()}
        tape.step("compare.slope", "trial", found, sign=int(sign))
        trial.settle(trial.slope(), 1, 0 if sign else -1, rated=True)
        trial.tick()
    tape.b.repeat(times, "probe")
