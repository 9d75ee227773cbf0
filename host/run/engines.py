"""Which engine runs whole programs of a machine: numpy, step by step, or compiled code (host/engine).

Both say the same, byte for byte. What stops between steps is run by numpy: runs in slices, steps alone, and
runs that tell someone of each step.
"""

from __future__ import annotations

import sys
from functools import cached_property

from synapcc.gen.errors import SynapccError
from synapcc.gen.ir.plan import Plan
from synapcc.gen.ir.program import Step, reached
from synapcc.gen.ops import changed

from .. import engine

AUTO, NUMPY, COMPILED = "auto", "numpy", "compiled"
ENGINES = (AUTO, NUMPY, COMPILED)
PAYS = 4000
"""Runs of a device after which compiled code has paid for being loaded: seconds, where it lies there."""


class Engines:
    """The engine of one machine.

    engine: "numpy"; "compiled"; or "auto": numpy at first, and compiled code as soon as more than PAYS runs
            of a device are done and asked for, where numba is installed, every kernel of the Plan has a loop
            form and the state is no shared one

    Raises SynapccError where "compiled" cannot be.
    """

    def __init__(self, plan: Plan, chosen: str, read_only: bool) -> None:
        if chosen not in ENGINES:
            raise SynapccError(plan.model, f"engine {chosen!r}", f"take {', '.join(ENGINES)}")
        self.plan, self.chosen, self.read_only = plan, chosen, read_only
        self._runs = self._expected = 0
        if chosen == COMPILED and self.reason[0]:
            raise SynapccError(plan.model, f"cannot be compiled: {self.reason[0]}", self.reason[1])

    @cached_property
    def reason(self) -> tuple[str, str]:
        """Why the Plan cannot be compiled, and what to do; two empty texts if it can."""
        if names := engine.missing(self.plan):
            return f"kernel {names[0]} has no loop form for it", 'take engine = "numpy"'
        return ("", "") if engine.installed() else ("numba is not installed", engine.HINT)

    def name(self, runs: int) -> str:
        """What runs a whole program next, on a device so many times: each of several devices counts."""
        if self.chosen == AUTO:
            late = max(self._runs + runs, self._expected) > PAYS
            return COMPILED if late and not self.read_only and not self.reason[0] else NUMPY
        return self.chosen

    def expects(self, runs: int) -> None:
        """So many runs of a device will come: compiled code then pays from the first of them on."""
        self._expected = self._runs + runs

    def take(self, program: str, runs: int) -> engine.Engine | None:
        """The compiled engine for so many runs of `program`, each on one device; None: numpy runs it."""
        name = self.name(runs)
        self._runs += runs
        if name == NUMPY:
            return None
        if self.read_only and self._changes(program):
            what = f"{program} changes the state, which all devices share"
            raise SynapccError(self.plan.model, what, "make the emulator without read_only")
        return self._engine

    @cached_property
    def _engine(self) -> engine.Engine:
        return engine.Engine(self.plan, _say)

    def _changes(self, program: str) -> bool:
        """Whether a program writes what persists."""
        items = [i for p in reached(self.plan.programs, program) for i in self.plan.programs[p].items]
        written = {name for i in items if isinstance(i, Step) for name in changed(i).values()}
        return any(self.plan[name].space == "state" for name in written)


def _say(text: str) -> None:
    """A word about seconds that pass, for who sits at a terminal."""
    if sys.stderr.isatty():
        print(text, file=sys.stderr)
