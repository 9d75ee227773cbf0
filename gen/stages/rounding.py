"""Rounds the weights of frozen layers so that sums, not weights, are least wrong; then corrects their biases.

A row's columns are rounded one after another, and the error of each is made up for by those that are still to
come, as far as the inputs that calibration saw let them (Frantar, Ashkboos, Hoefler, Alistarh, GPTQ, 2022;
Hassibi, Stork, Optimal brain surgeon, 1993). What is then left of a row's mean error goes into its bias
(Nagel et al., 2019). Layers come in the network's order, each with the integers of those before it: so it
makes up for what these lost as well. It costs no byte and no instruction.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ..ir.program import Step
from ..ir.walk import Active
from ..ops import Format, kernel
from ..ops._weighted import WeightedForward
from .calibrate import Runs
from .float_run import ROOM, RealMachine, spread
from .quantise import Quantised
from .simulate import Simulated, inferred

SAMPLES = 512  # of the calibration data
DAMPING = 0.01  # of the mean of the diagonal: what calibration did not see may come
BLOCK = 1024  # columns that make up for one another

Real = NDArray[np.float64]


def rounded(quantised: Quantised, runs: Runs, usual: NDArray[np.intp]) -> Quantised:
    """`quantised` with other integers of frozen weights and biases, all within the same limits.

    usual: the samples of `runs` that are no outliers
    """
    each = sum(v.size for v in runs.abstract.values.values() if v.space == "arena")
    chosen = usual[spread(len(usual), max(1, min(SAMPLES, ROOM // each)))]
    real, machine = runs.machine(chosen), runs.machine(chosen, _Rounding)
    assert isinstance(machine, _Rounding)
    with np.errstate(over="ignore", invalid="ignore"):
        real.run("infer")
        machine.start(quantised, real)
        machine.enter(quantised, inferred(runs.abstract), runs.abstract.inputs)
        machine.run("infer")
    return replace(quantised, data={**quantised.data, **machine.data})


class _Rounding(Simulated):
    """A simulated run that rounds the weights of each frozen layer before it runs.

    data: the integers that were chosen, by value
    """

    data: dict[str, NDArray[np.generic]]
    _formats: Mapping[str, Format]
    _want: RealMachine

    def start(self, quantised: Quantised, want: RealMachine) -> None:
        """want: the float network behind the same samples."""
        self.data, self._formats, self._want = {}, quantised.formats, want

    def _step(self, program: str, position: int, step: Step, active: Active) -> None:
        k = kernel(step.kernel)
        if isinstance(k, WeightedForward) and self.values[step.args["w"]].space == "const":
            self._weights(k, step)
            RealMachine._step(self, program, position, step, active)  # not held within y's format
            self._bias(step)
        super()._step(program, position, step, active)

    def _weights(self, k: WeightedForward, step: Step) -> None:
        name = step.args["w"]
        gram, real = k.gram(self.real(step.args["x"]), step.attrs), self.values[name].real
        if gram is None or real is None:
            return
        fmt = self._formats[name]
        units = real / fmt.meaning.real(np.ones(real.shape))
        groups = units.reshape(len(gram), -1, units.shape[1])
        integers = np.concatenate(
            [compensated(u, h, fmt.lo, fmt.hi) for u, h in zip(groups, gram, strict=True)]
        )
        self._keep(name, integers)

    def _bias(self, step: Step) -> None:
        name = step.args["b"]
        fmt, bias = self._formats[name], self.array(name)[0]
        missing = self._want.real(step.args["y"]) - self.real(step.args["y"])
        better = bias + np.mean(missing.reshape(-1, bias.size), axis=0)
        self._keep(name, np.clip(fmt.meaning.units(better), fmt.lo, fmt.hi))

    def _keep(self, name: str, integers: Real) -> None:
        fmt = self._formats[name]
        self.data[name] = integers.astype(fmt.dtype)
        self.array(name)[...] = fmt.meaning.real(integers)


def compensated(units: Real, gram: Real, lo: int, hi: int) -> Real:
    """Integers within lo .. hi near `units` [rows, columns], whose sums over inputs of this gram matrix
    [columns, columns] are nearest to theirs."""
    found = np.clip(np.rint(units), lo, hi)
    order = np.argsort(-np.diagonal(gram), kind="stable")
    for at in range(0, len(order), BLOCK):
        part = order[at : at + BLOCK]
        found[:, part] = _block(units[:, part], gram[np.ix_(part, part)], lo, hi)
    return found


def _block(units: Real, gram: Real, lo: int, hi: int) -> Real:
    mean = float(np.mean(np.diagonal(gram)))
    plain = np.clip(np.rint(units), lo, hi)
    if not (mean > 0.0 and np.isfinite(mean)):
        return plain
    inverse = np.linalg.inv(gram / mean + DAMPING * np.eye(len(gram)))
    upper = np.linalg.cholesky((inverse + inverse.T) / 2).T
    left, found = units.copy(), np.empty_like(units)
    for j in range(units.shape[1]):
        found[:, j] = np.clip(np.rint(left[:, j]), lo, hi)
        error = (left[:, j] - found[:, j]) / upper[j, j]
        left[:, j:] -= np.outer(error, upper[j, j:])
    worse = _lost(found - units, gram) > _lost(plain - units, gram)
    found[worse] = plain[worse]
    return found


def _lost(error: Real, gram: Real) -> Real:
    """The squared errors of the sums of each row."""
    return np.asarray(np.sum((error @ gram) * error, axis=1), np.float64)
