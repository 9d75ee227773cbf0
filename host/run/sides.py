"""A Plan on a chip and in the emulator, which are given the same and must have the same state."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from synapcc.gen.ir.plan import Plan
from synapcc.gen.target.messages import Flag, Region

from ..link.checksum import SUMS, Checksum
from ..link.client import Client, Sample, packed
from .emulator import Emulator
from .given import Given
from .samples import Samples


def digest(machine: Emulator) -> bytes:
    """SHA-256 of the state of an emulator's first device."""
    return hashlib.sha256(machine.state[0].tobytes()).digest()


class Sides:
    """Both sides, and the samples that they learn from; sample i is the i-th of these."""

    def __init__(self, plan: Plan, client: Client, machine: Emulator, samples: Samples) -> None:
        self.plan, self.client, self.machine, self.samples = plan, client, machine, samples
        self._checksum = Checksum(plan.state_bytes)
        self.room = min(client.info.kept, len(samples))
        self._kept = np.zeros(self.room, bool)

    def proof(self, kind: Flag) -> bytes:
        """What the chip has to say of its state."""
        return self._checksum(self.machine.state[0]) if kind == Flag.CHECKSUM else digest(self.machine)

    def sample(self, i: int) -> Sample:
        """Sample i as the chip takes it."""
        return self.samples.packed(i), self.label(i)

    def label(self, i: int) -> int:
        return int(self.samples.labels[i]) if self.samples.labels is not None else 0

    def load(self, i: int) -> None:
        """Sample i into both arenas."""
        self.machine.load(self.samples.one(i), [self.label(i)] if "label" in self.plan else None)
        self.client.load(self.samples.packed(i), self.label(i))

    def give(self, program: str, given: Given) -> None:
        """What an entry program takes into both arenas."""
        self.machine.give(program, given.inputs, given.label)
        self.client.give(self.plan, program, given.inputs, given.label)

    def learn(self, i: int) -> None:
        """Sample i, in the emulator."""
        assert self.samples.labels is not None
        self.machine.learn(self.samples.one(i), self.samples.labels[i : i + 1])

    def learn_many(self, chosen: Sequence[int]) -> list[bytes]:
        """Samples one after the other, in the emulator; what a chip has to say of its state after each."""
        assert self.samples.labels is not None
        rows = np.asarray(chosen)
        checksums = np.zeros((len(rows), 1, SUMS), np.uint64)
        inputs = {name: x[rows, None] for name, x in self.samples.inputs.items()}
        self.machine.learn_many(inputs, self.samples.labels[rows], checksums=checksums)
        return [row.astype("<u8").tobytes() for row in checksums]

    def ask(self, chosen: Sequence[int], meanwhile: Callable[[], object]) -> list[bytes]:
        """The same on the chip, which keeps those below `room` from the first time on.

        Raises Refused where one that it keeps has a label no more that is a class.
        """
        first, count = chosen[0], len(chosen)
        if chosen[-1] >= self.room:
            given = [self.sample(i) for i in chosen]
            return self.client.learn_many(given, Flag.CHECKSUM, meanwhile, seconds=0.0)
        missing = first + np.flatnonzero(~self._kept[first : first + count])
        for run in np.split(missing, np.flatnonzero(np.diff(missing) > 1) + 1):
            if len(run):
                self.client.keep(int(run[0]), [self.sample(int(i)) for i in run])
        self._kept[missing] = True
        return self.client.learn_kept(first, count, Flag.CHECKSUM, meanwhile, seconds=0.0)

    def keeps(self, i: int) -> bool:
        """Whether `ask` has the chip keep sample i."""
        return i < self.room

    def kept_bytes(self, i: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Sample i, which the chip keeps, as it was sent, and as the chip's RAM has it."""
        want, got = packed(*self.sample(i)), self.client.kept_sample(i)
        return np.frombuffer(want, np.uint8), np.frombuffer(got, np.uint8)

    def one_word(self, got: bytes) -> NDArray[np.uint8] | None:
        """The state, [state_bytes], that differs from the emulator's in one word and has this checksum."""
        return self._checksum.one_word(self.machine.state[0], got)

    def begin_from(self, state: NDArray[np.uint8]) -> None:
        """Both sides hold `state`, [1, state_bytes], and nothing is in progress."""
        self.client.abort()
        self.machine.abort()
        self.machine.state[...] = state
        self.client.write(Region.STATE, 0, state[0].tobytes())

    def read_back(self) -> NDArray[np.uint8]:
        """The chip's state, [state_bytes]."""
        return np.frombuffer(self.client.read(Region.STATE, 0, self.plan.state_bytes), np.uint8)
