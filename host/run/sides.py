"""A Plan on a chip and in the emulator, which are given the same and must have the same state."""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

from synapcc.gen.ir.plan import Plan
from synapcc.gen.target.messages import Flag, Region

from ..link.checksum import Checksum
from ..link.client import Client
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

    def proof(self, kind: Flag) -> bytes:
        """What the chip has to say of its state."""
        return self._checksum(self.machine.state[0]) if kind == Flag.CHECKSUM else digest(self.machine)

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

    def begin_from(self, state: NDArray[np.uint8]) -> None:
        """Both sides hold `state`, [1, state_bytes], and nothing is in progress."""
        self.client.abort()
        self.machine.abort()
        self.machine.state[...] = state
        self.client.write(Region.STATE, 0, state[0].tobytes())

    def read_back(self) -> NDArray[np.uint8]:
        """The chip's state, [state_bytes]."""
        return np.frombuffer(self.client.read(Region.STATE, 0, self.plan.state_bytes), np.uint8)
