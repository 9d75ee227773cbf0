"""Which engine runs whole programs of a machine: numpy, step by step, or compiled code (host/engine).

Both say the same, byte for byte. What stops between steps is run by numpy: runs in slices, steps alone, and
runs that tell someone of each step.
"""

from __future__ import annotations

import sys
from functools import cached_property

from synapcc.gen.errors import SynapccError
from synapcc.gen.ir.plan import Plan

from .. import engine

AUTO, NUMPY, COMPILED = "auto", "numpy", "compiled"
ENGINES = (AUTO, NUMPY, COMPILED)
PAYS = 4000
"""Runs of a device after which compiled code has paid for being loaded: seconds, where it lies there."""


class Engines:
    """The engine of one machine.

    engine: "numpy"; "compiled"; or "auto": numpy at first, and compiled code as soon as more than PAYS runs
            of a device are done and asked for, where numba can be imported, every kernel of the Plan has a
            loop form, and what is compiled can be loaded
    ran:    what ran last, "" at first

    Raises SynapccError where "compiled" cannot be.
    """

    def __init__(self, plan: Plan, chosen: str) -> None:
        if chosen not in ENGINES:
            raise SynapccError(plan.model, f"engine {chosen!r}", f"take {', '.join(ENGINES)}")
        self.plan, self.chosen, self.ran = plan, chosen, ""
        self._runs = self._expected = 0
        self._failed = ("", "")
        if chosen == COMPILED and self.reason[0]:
            raise SynapccError(plan.model, f"cannot be compiled: {self.reason[0]}", self.reason[1])

    @property
    def reason(self) -> tuple[str, str]:
        """Why the Plan cannot be compiled, and what to do; two empty texts if it can. Imports numba."""
        return self._failed if self._failed[0] else self._lacking

    @cached_property
    def _lacking(self) -> tuple[str, str]:
        if names := engine.missing(self.plan):
            return f"kernel {names[0]} has no loop form for it", 'take engine = "numpy"'
        return engine.unusable()

    @property
    def instead(self) -> str:
        """Why numpy runs what compiled code would have run; "" where that is not so."""
        return self.reason[0] if self.chosen == AUTO and self._pays(0) else ""

    def name(self, runs: int) -> str:
        """What runs a whole program next, on a device so many times: each of several devices counts."""
        if self.chosen == AUTO:
            return COMPILED if self._pays(runs) and not self.reason[0] else NUMPY
        return self.chosen

    def _pays(self, runs: int) -> bool:
        return max(self._runs + runs, self._expected) > PAYS

    def expects(self, runs: int) -> None:
        """So many runs of a device will come: compiled code then pays from the first of them on."""
        self._expected = max(self._expected, self._runs + runs)

    def take(self, program: str, runs: int, first: str = "") -> engine.Engine | None:
        """The compiled engine for so many runs of `program`, each on one device and behind `first` if
        there is one; None: numpy runs it."""
        self.ran = self.name(runs)
        self._runs += runs
        if self.ran == NUMPY:
            return None
        try:
            self._engine.load(program, first)
        except engine.Unusable as error:
            if self.chosen == COMPILED:
                raise
            self._failed, self.ran = (error.what, error.hint), NUMPY
            return None
        return self._engine

    def stepped(self) -> None:
        """A step ran by itself, which numpy does."""
        self.ran = NUMPY

    @cached_property
    def _engine(self) -> engine.Engine:
        return engine.Engine(self.plan, _say)


def _say(text: str) -> None:
    """A word about seconds that pass, for who sits at a terminal."""
    if sys.stderr.isatty():
        print(text, file=sys.stderr)
