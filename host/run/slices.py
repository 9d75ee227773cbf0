"""A run that may be left behind every step and gone on with later: what the chip does in slices."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from synapcc.gen.errors import SynapccError
from synapcc.gen.ir.program import Step
from synapcc.gen.ir.walk import Active

Place = tuple[str, int, Step, Active]
"""Where a run is: program, position, step, and the devices that take part."""


class Busy(SynapccError):
    """Refused, and nothing changed: a run in slices is in progress."""


class Slices:
    """A run that stops before each step. What lies between two, flags and calls, belongs to the first."""

    def __init__(self, places: Iterator[Place]) -> None:
        self._places = places
        self._next = next(places, None)

    def run(self, step: Callable[[Step, Active], None]) -> bool:
        """Runs the next step with `step`; whether another one follows."""
        if self._next is not None:
            _, _, item, devices = self._next
            step(item, devices)
            self._next = next(self._places, None)
        return self._next is not None
