"""Where learning will bring a network that has not learned yet: what number formats must leave room for.

The activations, scores and signals of a random start are far smaller than those of the same network once it
is trained. Formats that fit the start alone would clip what is learned; what is clipped cannot answer its
error, and the weights run into their limits. So the network is *grown*: brought to where any start ends up,
in two steps, and calibration looks at it as well.

1. Each learned layer that makes its input smaller than the usual start would is lifted to that (He, Zhang,
   Ren, Sun, Delving deep into rectifiers, 2015; on data, as Mishkin and Matas, All you need is a good init,
   2016).
2. All learned weights are scaled alike until the scores are as far apart as the loss asks for: gradient
   descent lets the layers of a network grow together (Du, Hu, Lee, Algorithmic regularization in learning
   deep homogeneous models, 2018).

A network that already fits its calibration data stays as it is, and so does one whose integers a model file
brought: it had learned before it was quantised, and what its layers can hold is settled; a new classifier
behind them had not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from .. import numeric
from ..ir.program import Abstract, Step, Value, root
from ..ir.walk import Active
from ..ops import kernel
from ..spec import MSE, RuleSpec
from .calibrate import Runs
from .float_run import RealMachine, spread

SAMPLES = 256  # of the calibration data; the largest score does not need more
HELD = 1 << 25  # real numbers at once: 256 MB
SPAN = {"softmax": 16.0, "hinge": 8.0, MSE: 1.0}  # the largest score of a network that has learned;
# hinge: in margins; mse: the largest target instead
GAIN = 2.0  # mean square of a layer's sums by that of its inputs and their number, at the usual start
ROUNDS = 4  # of scaling: one is exact where all layers are linear or rectified
MOST = 2.0**10  # by which a weight is scaled at most in one round
SPREADS = 2.0 ** np.arange(-2, 13, 0.25)  # that are tried of a sample's scores, where they are widest

Real = NDArray[np.float64]
Reals = Mapping[str, Real]


def grown(abstract: Abstract, spec: RuleSpec, runs: Runs, aside: NDArray[np.bool_]) -> Abstract | None:
    """`abstract` with its learned weights as large as learning will make them; None where it fits the data.

    Scores may be small though they are right. Learning will make them larger, and int16 weights have the bits
    to leave room for that; int8 weights have not, and such a network counts as fitting its data.
    aside: which of the samples in `runs` are outliers, and not looked at here
    """
    loss, values = spec.loss, abstract.values.values()
    learned = [v for v in values if v.learned and v.role == "weight" and not v.reach]
    if spec.head:  # what lies below it had learned before
        last = {
            s.args["w"] for _, s in abstract.steps() if s.args.get("y") == abstract.logits and "w" in s.args
        }
        learned = [v for v in learned if root(abstract.values, v.name) in last]
    given = any(v.format for v in values if v.role == "activation")
    if not learned or (given and spec.head is None):
        return None
    beside = [v for v in values if v.learned and v.role == "matrix"]  # which follows the weights
    numbers = loss.kind == MSE
    inputs, labels, targets = _samples(runs, aside)
    machine = _Lift(abstract, len(next(iter(inputs.values()))), spec.seed, [*learned, *beside])
    machine.load(inputs)
    machine.run("infer")
    scores = machine.arena[abstract.logits]
    fits = _near(scores, targets) if numbers else _fits(scores, labels, spec.weights == "int8")
    if fits:
        return None
    machine.lifting = True
    machine.run("infer")
    machine.lifting = False
    span = SPAN[loss.kind] * (loss.margin if loss.kind == "hinge" else 1.0)
    if numbers and targets is not None:
        span = float(np.max(np.abs(targets)))
    depth = len({root(abstract.values, v.name) for v in learned})
    for _ in range(ROUNDS):
        top = float(np.max(np.abs(machine.arena[abstract.logits])))
        if not 0.0 < top < span:
            break
        machine.scale(min((span / top) ** (1.0 / depth), MOST))
        machine.run("infer")
    larger = {v.name: replace(v, real=machine.state[v.name][0].copy()) for v in (*learned, *beside)}
    return replace(abstract, values={**abstract.values, **larger})


def _samples(runs: Runs, aside: NDArray[np.bool_]) -> tuple[Reals, NDArray[np.intp] | None, Real | None]:
    """Inputs by name, labels and targets of up to SAMPLES samples, as many as are held at once."""
    usual = np.flatnonzero(~aside)
    each = sum(v.size for v in runs.abstract.values.values() if v.space == "arena")
    chosen = usual[spread(len(usual), max(1, min(SAMPLES, HELD // each)))]
    labels = None if runs.label is None else runs.label[chosen]
    targets = None if runs.target is None else runs.target[chosen]
    return {n: x[chosen] for n, x in runs.inputs.items()}, labels, targets


def _near(scores: NDArray[np.generic], targets: Real | None) -> bool:
    """Whether the squared error is below half of that of the mean; without targets nothing is missed."""
    if targets is None:
        return True
    error = np.mean(np.square(scores.astype(np.float64) - targets))
    return bool(error < 0.5 * np.mean(np.square(targets - targets.mean(axis=0))))


def _fits(scores: NDArray[np.generic], labels: NDArray[np.intp] | None, at_any_scale: bool) -> bool:
    """Whether the cross-entropy of the data is below half of what knowing nothing costs.

    Without labels the network's own verdicts stand for them, and the scale of the scores is all there is to
    go by: a trained network is sure of what it says.
    """
    if scores.shape[1] == 1:  # two classes: the other one's score is zero
        scores = np.concatenate([np.zeros_like(scores), scores], axis=1)
    z = scores.astype(np.float64) - np.max(scores, axis=1, keepdims=True)
    right = z.argmax(axis=1) if labels is None else labels
    free = at_any_scale and labels is not None
    least = _calibrated(z, right) if free else _cross_entropy(z, right)
    return bool(least < 0.5 * np.log(z.shape[1]))


def _cross_entropy(z: Real, labels: NDArray[np.intp]) -> float:
    """The mean over scores z [n, classes], the largest of each sample 0."""
    mine = z[np.arange(len(z)), labels]
    return float(np.mean(np.log(np.sum(np.exp(z), axis=1)) - mine))


def _calibrated(z: Real, labels: NDArray[np.intp]) -> float:
    """The least cross-entropy at any scale of the scores (Guo, Pleiss, Sun, Weinberger, On calibration of
    modern neural networks, 2017)."""
    lo = float(np.min(z))
    if lo == 0.0:
        return _cross_entropy(z, labels)
    return min(_cross_entropy(z * wide / -lo, labels) for wide in SPREADS)


class _Lift(RealMachine):
    """A float run whose learned weights can be made larger. While `lifting`, each layer is as it runs."""

    def __init__(self, abstract: Abstract, devices: int, seed: int, learned: list[Value]) -> None:
        super().__init__(abstract.values, abstract.programs, devices, shared=True)
        self.lifting, self.seed = False, seed
        self.groups: dict[str, list[str]] = {}
        for v in learned:
            self.groups.setdefault(root(abstract.values, v.name), []).append(v.name)

    def scale(self, factor: float) -> None:
        for group in self.groups.values():
            for name in group:
                np.multiply(self.state[name], factor, out=self.state[name])

    def _step(self, program: str, position: int, step: Step, active: Active) -> None:
        super()._step(program, position, step, active)
        weight = step.args.get("w", "")
        if not self.lifting or weight not in self.groups or "y" not in kernel(step.kernel).writes:
            return
        self._start(weight)
        super()._step(program, position, step, active)
        x, y = (np.mean(np.square(self.arena[step.args[role]])) for role in ("x", "y"))
        usual = GAIN * x
        if 0.0 < y < usual:
            for name in self.groups[weight]:
                np.multiply(self.state[name], np.sqrt(usual / y), out=self.state[name])
            super()._step(program, position, step, active)

    def _start(self, weight: str) -> None:
        """Weights that are all zero become random ones, small, or as large as a feedback matrix that shares
        their format: the lift does the rest."""
        w = self.state[weight][0]
        if not np.any(w):
            rows, cols = w.shape
            beside = max(float(np.max(np.abs(self.state[name]))) for name in self.groups[weight])
            w[...] = numeric.feedback_matrix(self.seed, 0, rows, cols, False) * ((beside or 2.0**-13) / 2**7)
