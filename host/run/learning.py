"""Learning steps on both sides: the checksum of the state is compared after each, its SHA-256 now and then.

A batch goes to the chip in one exchange, and the emulator learns it while the chip does. The chip keeps the
samples where it has RAM for them, so that each is sent once. Where a checksum of a batch differs, its sample
is read back if the chip keeps it, and its step is repeated alone, from the state before it. Where a SHA-256
differs although no checksum did, all steps since the last one that agreed are repeated, each with its
SHA-256: so that step is found, too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from synapcc.gen.target.messages import PROOFS, Flag, Status

from ..link.session import Refused
from .given import Given
from .inferences import compare_inferences
from .locate import NO_OP, Difference, damaged, locate, passing, state_difference, unreliable
from .sides import Sides

SHA_STEPS = 1000
"""Steps from one SHA-256 to the next; there is one after the last step, too."""

SLOWER = 8
"""How much longer than the fastest one all steps of an exchange may take before the link asks again: an
exchange waits no longer than its timeout, so that a chip which hangs is told as soon as in any other."""

State = NDArray[np.uint8]


class Learning:
    """A run of learning steps: `done` agreed; `state` is that after step `agreed`, where SHA-256 last did.

    batch: steps in one exchange, at most what the chip takes, and answers soon; 0: as many as that
    slices: steps run in slices; keep(step, state) is told where SHA-256 agreed
    """

    def __init__(
        self,
        sides: Sides,
        program: str,
        batch: int,
        slices: bool,
        done: int = 0,
        keep: Callable[[int, State], None] = lambda step, state: None,
    ) -> None:
        self.sides, self.program, self.slices, self.keep = sides, program, slices, keep
        self.batch = batch if program == "learn" and not slices else 1
        self.fastest = 0.0  # seconds that the chip takes for a step, as far as is known
        self.done = self.agreed = done
        self.state = sides.machine.state.copy()

    def run(self, steps: int, tick: Callable[[int], None]) -> Difference | None:
        """Steps until `steps` are done, or one differs; tick(count) after each exchange."""
        while self.done < steps:
            end = min(steps, (self.done // SHA_STEPS + 1) * SHA_STEPS)
            first, last = self.done + 1, min(self.done + self._most(), end)
            difference = self._exchange(first, last)
            each = self.sides.client.took / (last - self.done)
            self.fastest = min(self.fastest or each, each)
            if difference is None and last == end:
                difference = self._settle(last)
            tick(last - self.done)
            if difference:
                self.done = difference.step
                return difference
            self.done = last
        return None

    def one(self, step: int, kind: Flag) -> Difference | None:
        """One step on both sides, and what the chip says of its state after it."""
        sides, i = self.sides, self._sample(step)
        given = None if self.program == "learn" else Given(sides.samples.taught(i), None)
        if self.slices:
            return in_slices(sides, self.program, i, step, given, kind)
        if given:
            return run_given(sides, self.program, i, step, given, kind)
        before = sides.machine.state.copy()
        if not self.fastest:  # the emulator may load its engine now: that must not count as the chip's time
            sides.learn(i)
            got = sides.client.learn(*sides.sample(i), kind)
        else:
            got = sides.client.learn(*sides.sample(i), kind, lambda: sides.learn(i))
        return None if got == sides.proof(kind) else locate(sides, before, "learn", i, step)

    def _sample(self, step: int) -> int:
        return (step - 1) % len(self.sides.samples)

    def _exchange(self, first: int, last: int) -> Difference | None:
        """Steps `first` to `last`. A lone sample that the chip keeps is not sent again either."""
        lone = self.batch == 1 or not self.fastest or not self.sides.keeps(self._sample(first))
        return self.one(first, Flag.CHECKSUM) if first == last and lone else self._many(first, last)

    def _most(self) -> int:
        """Steps of the next exchange: of samples that the chip keeps, or of such as it does not keep.

        The first step of a run is alone: it tells how long one takes. More are not asked for at once than
        the chip does in a part of the link's timeout.
        """
        sides, i = self.sides, self._sample(self.done + 1)
        if self.batch == 1 or not self.fastest:
            return 1
        kept = sides.keeps(i)
        most, left = (PROOFS, sides.room - i) if kept else (sides.client.info.batch, len(sides.samples) - i)
        soon = int(sides.client.timeout / (SLOWER * self.fastest))
        return max(1, min(self.batch or most, most, left, soon))

    def _many(self, first: int, last: int) -> Difference | None:
        """A batch of steps, `first` to `last`."""
        sides = self.sides
        chosen = [self._sample(step) for step in range(first, last + 1)]
        before = sides.machine.state.copy()
        wanted: list[bytes] = []
        try:
            said = sides.ask(chosen, lambda: wanted.extend(sides.learn_many(chosen)))
        except Refused as refused:
            if refused.status != Status.BAD_LABEL or not (found := self._damaged(first, chosen)):
                raise
            return found
        for at, (got, want) in enumerate(zip(said, wanted, strict=True)):
            if got != want:
                damage = self._damaged(first + at, chosen[at : at + 1])
                return damage or self._again(first + at, last, before, chosen[:at], got)
        return None

    def _damaged(self, first: int, chosen: Sequence[int]) -> Difference | None:
        """The first sample that the chip does not keep as it was sent, of steps from `first` on."""
        kept = ((step, i) for step, i in enumerate(chosen, first) if self.sides.keeps(i))
        return next(filter(None, (damaged(self.sides, step, i) for step, i in kept)), None)

    def _again(self, step: int, last: int, before: State, agreed: Sequence[int], got: bytes) -> Difference:
        """A step of a batch whose checksum differed, alone; the chip has learned until `last` by now.

        before: the state at the beginning of the batch; agreed: the samples from there to the step; got: the
        checksum, which gives the place away where one word changed, even if later steps wrote over it
        """
        sides = self.sides
        found = state_difference(sides.plan, sides.machine.state[0], sides.read_back())
        sides.machine.state[...] = before
        if agreed:
            sides.learn_many(agreed)
        sides.begin_from(sides.machine.state.copy())
        if again := self.one(step, Flag.CHECKSUM):
            return again
        word = sides.one_word(got)
        if word is not None and (place := state_difference(sides.plan, sides.machine.state[0], word)):
            return Difference(step, self.program, *place, f"{NO_OP}; its checksum tells the value")
        if found is None:
            raise passing(sides, step, last)
        return Difference(step, self.program, *found, f"{NO_OP}; values are those after step {last}")

    def _settle(self, step: int) -> Difference | None:
        """SHA-256 over all that was learned until `step`."""
        sides = self.sides
        if sides.client.digest() != sides.proof(Flag.DIGEST):
            return self._since(step)
        self.agreed, self.state = step, sides.machine.state.copy()
        self.keep(step, self.state)
        return None

    def _since(self, step: int) -> Difference:
        """The first step that differs of those behind the last SHA-256 that agreed; no checksum did."""
        sides = self.sides
        found = state_difference(sides.plan, sides.machine.state[0], sides.read_back())
        sides.begin_from(self.state)
        for repeated in range(self.agreed + 1, step + 1):
            if again := self.one(repeated, Flag.DIGEST):
                return again
        if found is None:
            raise unreliable(sides, step)
        op = f"no step from {self.agreed + 1} on differs when repeated: the state changed between steps"
        return Difference(step, self.program, *found, op)


def run_given(
    sides: Sides, program: str, i: int, step: int, given: Given, kind: Flag = Flag.CHECKSUM
) -> Difference | None:
    """An entry program on sample i and what it is given beside."""
    before = sides.machine.state.copy()
    sides.load(i)
    sides.give(program, given)
    sides.machine.run(program)
    if sides.client.run(sides.plan.entries.index(program), kind) == sides.proof(kind):
        return None
    return locate(sides, before, program, i, step, given)


def in_slices(
    sides: Sides, program: str, i: int, step: int, given: Given | None = None, kind: Flag = Flag.CHECKSUM
) -> Difference | None:
    """One run of a program, slice by slice on both sides."""
    plan, client, machine = sides.plan, sides.client, sides.machine
    before = machine.state.copy()
    client.abort()
    sides.load(i)
    if given is not None:
        sides.give(program, given)
    machine.begin(program)
    client.begin(plan.entries.index(program))
    more = True
    while more:
        if not plan.shared and (found := compare_inferences(sides, step, 1)):
            return found
        more = machine.step()
        if client.step(kind) != (more, sides.proof(kind)):
            client.abort()
            machine.abort()
            return locate(sides, before, program, i, step, given)
    return None
