"""A chip and its emulator on the same stream: every persistent byte is compared behind every call."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from synapcc.gen.errors import SynapccError
from synapcc.gen.ir.plan import DENY, Plan
from synapcc.gen.ir.program import Step
from synapcc.gen.ops.pseudo import OTHERS
from synapcc.gen.stages.stream import clock_of

from ..link.client import Client, Stats
from ..run.emulator import Emulator
from ..run.engines import NUMPY, PAYS
from ..run.locate import Difference
from ..run.samples import Samples
from ..run.sides import Sides
from ..run.streaming import marked, push_size, pushed

_TURN = 2**32 - 1


class Differs(Exception):
    """Chip and emulator are not the same any more."""

    def __init__(self, difference: Difference) -> None:
        super().__init__(str(difference))
        self.difference = difference


@dataclass(frozen=True)
class Answer:
    """What the chip says of an event.

    row:    of the table in which its window waits for a label
    at:     the sample of the stream that it lies at
    said:   the class; margin: how far its score is above the next one, in real units
    before: the class that the network says which has learned nothing
    """

    row: int
    at: int
    said: int
    margin: float
    before: int


class Beside:
    """Both sides of a Plan with [frontend] and [mark].

    size: samples of a push; pushes, marks: what was compared so far, all of it the same

    SynapccError where the Plan has no stream, no labels for it, or more than one channel. Methods raise
    Differs, and DeviceError where the chip fails.
    """

    def __init__(self, plan: Plan, client: Client, engine: str = NUMPY) -> None:
        if not plan.streams or not plan.marks:
            raise SynapccError(plan.model, "has no stream to label", "compile it with [frontend] and [mark]")
        if clock_of(plan).channels != 1:
            raise SynapccError(plan.model, "has a stream of several channels", "give one")
        self.plan, self.client, self.size = plan, client, push_size(plan)
        self.machine, unlearned = (Emulator(plan, read_only=r, engine=engine) for r in (False, True))
        for emulator in (self.machine, unlearned):
            emulator.expects(PAYS + 1)  # "auto" is compiled from the first push on, where it can be
        self.pushes = self.marks = 0
        client.reset()
        nothing = {i.name: np.zeros((1, plan[i.name].count), plan[i.name].dtype) for i in plan.interface}
        label = np.zeros(1, plan["label"].dtype)
        self._sides = Sides(plan, client, self.machine, Samples(nothing, label))
        self._unlearned = unlearned
        self._tables = {i.name: f"pending_{i.name}" for i in plan.interface}

    @property
    def newest(self) -> int:
        """The number of the newest sample; -1 before the first one."""
        return self.pushes * self.size - 1

    def push(self, row: NDArray[np.int16]) -> Answer | None:
        """The next samples; what the chip says, where a window ended in them."""
        other = pushed(self._sides, row, self.pushes + 1)
        if other:
            raise Differs(other)
        self.pushes += 1
        return self._answer() if self.machine["push_made"][0, 0] else None

    def _answer(self) -> Answer:
        m, plan = self.machine, self.plan
        waiting = m["pending_open"].shape[1]
        row = (int(m["pending_next"][0, 0]) - 1) % waiting
        late = (self.newest + 1 - int(m["pending_moments"][0, row])) & _TURN
        winner, margin = (int(v) for v in m["verdict"][0, :2])
        seen = {name: m[table][:, row] for name, table in self._tables.items()}
        before = int(self._unlearned.infer(seen).winner[0])
        real = float(plan[plan.logits].meaning.real(np.array(margin)))
        return Answer(row, self.newest + 1 - late, winner, real, before)

    def mark(self, label: int, ago: int) -> bool:
        """A label for the event `ago` samples before the newest one; whether there was one to learn."""
        other = marked(self._sides, label, ago, self.pushes)
        if other:
            raise Differs(other)
        self.marks += 1
        return bool(self.machine["mark_found"][0, 0])

    def deny(self, label: int, ago: int) -> int | None:
        """A class that the event `ago` samples before the newest one was not; that which it was learned as,
        None where there was none to learn. SynapccError where the Plan takes no denials."""
        if not self.plan.denies:
            raise SynapccError(self.plan.model, "takes no denials", "compile it with deny = true in [mark]")
        taught = self._instead(label, ago)
        other = marked(self._sides, label, ago, self.pushes, DENY)
        if other:
            raise Differs(other)
        self.marks += 1
        return taught if self.machine["mark_found"][0, 0] else None

    def _instead(self, label: int, ago: int) -> int | None:
        """The class that a denial chooses, on a copy: later, others may take the bytes of the label."""
        trial, heard = Emulator(self.plan), list[int]()
        trial.state[:] = self.machine.state

        def after(program: str, position: int) -> None:
            step = self.plan.programs[program].items[position]
            if isinstance(step, Step) and step.kernel in OTHERS:
                heard.append(int(trial["label"][0, 0]))

        (name,) = self.plan.entry(DENY).inputs
        trial.run(DENY, inputs={name: np.array([[ago]])}, labels=[label], after=after)
        return heard[0] if heard else None

    def waits(self, row: int) -> bool:
        """Whether the window in a row has no label yet."""
        return bool(self.machine["pending_open"][0, row])

    def stats(self) -> Stats:
        """What the chip has counted."""
        return self.client.stats()
