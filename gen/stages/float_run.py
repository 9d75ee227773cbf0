"""Runs abstract programs in real numbers: ranges for calibration, Jacobians, float baselines of rules."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ..errors import SynapccError
from ..ir.program import Program, Step, Value
from ..ir.roles import ROLES
from ..ir.walk import Active, choose, masked, walk
from ..ops import changed, kernel

ROOM = 1 << 23  # real numbers that a run holds at once: 64 MB, and as much again for the windows of a step
SAMPLES = 1024  # calibration samples that are run, evenly spread over all that are given


def spread(given: int, most: int = SAMPLES) -> NDArray[np.intp]:
    """Which of `given` samples are run: all, or `most` evenly spread ones."""
    return np.linspace(0, given - 1, min(given, most)).round().astype(np.intp)


def chunks(values: Mapping[str, Value], samples: int, copies: int = 1) -> Iterator[slice]:
    """All samples, as many at a time as leave ROOM for their arenas, of which a caller keeps `copies`."""
    each = copies * sum(v.size for v in values.values() if v.space == "arena")
    n = max(1, ROOM // each)
    return (slice(at, min(at + n, samples)) for at in range(0, samples, n))


class RealMachine:
    """`devices` copies in lockstep, arrays [devices, *shape].

    peaks:  [devices, 2], the least and the largest number that each value had which steps of time write anew
    shared: constants and state are one copy for all devices and no step may change the state; steps that
    would are left out.
    """

    def __init__(
        self,
        values: Mapping[str, Value],
        programs: Mapping[str, Program],
        devices: int,
        shared: bool = False,
        dtype: DTypeLike = np.float64,
    ) -> None:
        self.values, self.programs = values, programs
        self.devices, self.shared, self.dtype = devices, shared, dtype
        self.const = {v.name: self._initial(v, 1) for v in values.values() if v.space == "const"}
        self.state = {
            v.name: self._initial(v, 1 if shared else devices) for v in values.values() if v.space == "state"
        }
        self.arena = {v.name: self._initial(v, devices) for v in values.values() if v.space == "arena"}
        gates = (v.name for v in values.values() if v.role == "gate")
        self.peaks = {name: np.zeros((devices, 2)) for name in gates}

    def _initial(self, v: Value, copies: int) -> NDArray[np.generic]:
        dtype = ROLES[v.role].real or self.dtype
        if v.real is None and v.ints is None:  # pages that nothing touches cost nothing
            return np.zeros((copies, *v.shape), dtype)
        start = v.real if v.real is not None else v.ints
        return np.broadcast_to(np.asarray(start, dtype), (copies, *v.shape)).copy()

    def load(self, arrays: Mapping[str, NDArray[np.generic]]) -> None:
        """Puts arrays [devices, size] into the arena; SynapccError for any other shape."""
        for name, array in arrays.items():
            if np.shape(array) != self.arena[name].shape:
                what = f"{name} has shape {np.shape(array)}"
                raise SynapccError("float run", what, f"give {list(self.arena[name].shape)}")
            self.arena[name][...] = array

    def real(self, name: str) -> NDArray[np.float64]:
        """An arena value of real numbers, [devices, size]; not a copy where they are float64."""
        return self.arena[name].astype(np.float64, copy=False)

    def run(self, program: str, active: Active = None) -> None:
        walk(self.programs, program, self._step, lambda name, act: choose(self.arena[name], act), active)

    def array(self, name: str) -> NDArray[np.generic]:
        """A value as it is now: a caller may have put a state of its own in the place of this one's."""
        return next(space[name] for space in (self.arena, self.state, self.const) if name in space)

    def _step(self, program: str, position: int, step: Step, active: Active) -> None:
        k = kernel(step.kernel)
        changes = changed(step)
        if self.shared and any(name in self.state for name in changes.values()):
            return
        arrays = {role: self.array(name) for role, name in step.args.items()}
        masked(lambda t: k.real(t, step.attrs), arrays, changes, self.devices, active)
        for name in self.peaks.keys() & {*changes.values()}:
            seen, now = self.peaks[name], self.arena[name]
            seen[:, 0] = np.minimum(seen[:, 0], np.min(now, axis=1))
            seen[:, 1] = np.maximum(seen[:, 1], np.max(now, axis=1))
