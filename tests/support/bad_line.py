"""A line that loses, doubles, cuts, delays and damages bytes both ways, and a chip that loses its power.

    python tests/support/bad_line.py FAULTS [SEED]      so many faults, and what became of them

Bytes stay in order, as on every serial line: what is late makes all behind it late.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from link_model import LinkModel
from random_nets import KEPT as KEPT_NETWORKS
from random_nets import accepted

from synapcc.gen.emit import render, write
from synapcc.gen.ir.plan import Plan
from synapcc.gen.target.boards import load_board
from synapcc.gen.target.messages import MAX_PAYLOAD, Flag, Region
from synapcc.host.devices import ClosingDevice, Device, DeviceError, process
from synapcc.host.link import state
from synapcc.host.link.client import connect, packed

Rng = np.random.Generator
RATE, POWER = 0.25, 0.01
"""How often a piece of the stream meets a fault, and a request a loss of power."""

PATIENCE, ATTEMPTS = 0.01, 80
"""Seconds of an attempt, and attempts: far more than faults come in a row."""


class BadLine(ClosingDevice):
    """A device behind such a line. `faults` counts what was done to it."""

    def __init__(self, device: Device, rng: Rng) -> None:
        self.device, self.rng, self.name = device, rng, device.name
        self.faults: Counter[str] = Counter()
        self._late = {"sent": b"", "received": b""}

    @property
    def resets(self) -> int:
        return sum(n for kind, n in self.faults.items() if kind.startswith("power"))

    def write(self, data: bytes) -> None:
        power = self.rng.random() < POWER
        before = power and self.rng.random() < 0.5
        if before:
            self.reset()
            self.faults["power before a request"] += 1
        self.device.write(self._through("sent", data))
        if power and not before:  # while it learns, or just before its answer
            self.reset()
            self.faults["power within a request"] += 1

    def read(self, timeout: float) -> bytes:
        return self._through("received", self.device.read(timeout))

    def reset(self) -> None:
        self.device.reset()

    def close(self) -> None:
        self.device.close()

    def _through(self, way: str, data: bytes) -> bytes:
        data, self._late[way] = self._late[way] + data, b""
        if not data or self.rng.random() > RATE:
            return data
        kind, spoilt = self._spoilt(data)
        self.faults[f"{way}: {kind}"] += 1
        if kind == "late":
            self._late[way] = data[len(spoilt) :]
        return spoilt

    def _spoilt(self, data: bytes) -> tuple[str, bytes]:
        g, at = self.rng, int(self.rng.integers(len(data) + 1))
        some = int(g.integers(1, 9))
        match int(g.integers(9)):
            case 0:
                return "all lost", b""
            case 1:
                return "some lost", data[:at] + data[at + some :]
            case 2:
                return "cut", data[:at]
            case 3:
                return "cut in front", data[at:]
            case 4:
                return "doubled", data + data
            case 5:
                return "some doubled", data[: at + some] + data[at:]
            case 6:
                return "late", data[:at]
            case 7:
                return "noise", data[:at] + g.bytes(some) + data[at:]
            case _:
                damaged = bytearray(data)
                for _ in range(some):
                    damaged[int(g.integers(len(data)))] ^= 1 << int(g.integers(8))
                return "damaged", bytes(damaged)


class Life:
    """A chip behind a bad line beside the model of it: what a host asks, and what came of it."""

    def __init__(self, plan: Plan, line: BadLine, rng: Rng) -> None:
        self.plan, self.line, self.rng = plan, line, rng
        self.seen: Counter[str] = Counter()
        self._begin()

    def _begin(self) -> None:
        """A new session with a chip that has just got its power, and a model as it has to be."""
        while True:
            resets = self.line.resets
            try:
                self.client = connect(self.line, self.plan, PATIENCE, ATTEMPTS)
                break
            except DeviceError as error:
                assert self.line.resets > resets, f"a link that was only bad is given up: {error}"
        self.known = self.line.resets
        self.model, self.learns = LinkModel(self.plan, counts=False), 0
        self.model.keeps(self.client.info.kept)

    def live(self, faults: int) -> None:
        """Deeds until so many faults have come; the chip is held against the model after each."""
        deeds = (self._learn, self._learn_many, self._learn_kept, self._infer, self._run, self._slices)
        while self.line.faults.total() < faults:
            deed = deeds[int(self.rng.integers(len(deeds)))]
            if self._tried(deed):
                self.seen[deed.__name__] += 1
            else:
                self._recover()

    def _tried(self, deed: Callable[[], None]) -> bool:
        """Whether it was done. A link that is only bad is no reason for less."""
        try:
            deed()
            assert self.client.digest() == self.model._digest(), f"another state after {deed.__name__}"
        except DeviceError as error:
            assert self.line.resets > self.known, f"{deed.__name__}: {error}"
            return False
        return True

    def _recover(self) -> None:
        """After a loss of power: as compiled, or half of the time with what the host knows was learned."""
        known = self.model.machine.state[0].tobytes()
        self._begin()
        again = bool(self.rng.integers(2))
        while not self._tried((lambda: self._restore(known)) if again else self._as_compiled):
            self._begin()

    def _as_compiled(self) -> None:
        assert self.client.stats().learns == 0

    def _restore(self, known: bytes) -> None:
        state.push(self.plan, self.client, state.split(self.plan, known))
        self.model._write(Region.STATE, 0, known)

    def look(self) -> None:
        """Every byte of the state, read back over the bad line."""
        while not self._tried(self._read_back):
            self._recover()

    def _read_back(self) -> None:
        got = self.client.read(Region.STATE, 0, self.plan.state_bytes)
        assert got == self.model.machine.state[0].tobytes()

    # -- deeds: on the chip, and only where that says it was done, in the model --------------------------

    def _sample(self) -> tuple[bytes, int]:
        x = self.rng.integers(0, 256, len(self.model.input)).astype(np.uint8).tobytes()
        return x, int(self.rng.integers(self.plan.classes))

    def _proof(self) -> Flag:
        return (Flag.CHECKSUM, Flag.DIGEST)[int(self.rng.integers(2))]

    def _learn(self) -> None:
        (x, label), proof = self._sample(), self._proof()
        got = self.client.learn(x, label, proof)
        assert got == self.model._learn(label, proof, x)
        self._learned(1)

    def _learn_many(self) -> None:
        most, proof = min(self.client.info.batch, 8), self._proof()
        if not most:
            return
        samples = [self._sample() for _ in range(int(self.rng.integers(1, most + 1)))]
        got = self.client.learn_many(samples, proof)
        assert b"".join(got) == self.model._learn_many(proof, b"".join(packed(x, y) for x, y in samples))
        self._learned(len(samples))

    def _learn_kept(self) -> None:
        samples = [self._sample() for _ in range(3)]
        self.client.keep(1, samples)
        content = b"".join(packed(x, y) for x, y in samples)
        got = self.client.learn_kept(1, 3, Flag.CHECKSUM)
        self.model._write(Region.SAMPLES, len(content) // 3, content)
        assert b"".join(got) == self.model._learn_kept(1, 3, Flag.CHECKSUM)
        self._learned(3)

    def _learned(self, count: int) -> None:
        self.learns += count
        assert self.client.stats().learns == self.learns, "learned twice, or not at all"

    def _infer(self) -> None:
        x, _ = self._sample()
        got = self.client.infer(x)
        self.model._infer(x)
        want = self.model.output
        assert got.winner.to_bytes(4, "little") == want[:4]
        assert np.array(got.scores, "<i2").tobytes() == want[8:]

    def _run(self) -> None:
        """The learning program, by number: `accepted` comes first."""
        (x, label), program = self._sample(), self.plan.entries.index("learn")
        self.client.load(x, label)
        got = self.client.run(program, Flag.DIGEST, timeout=20 * PATIENCE)
        self.model._load(label, x)
        assert got == self.model._run(program, Flag.DIGEST)

    def _slices(self) -> None:
        (x, label), program = self._sample(), self.plan.entries.index("learn")
        self.client.load(x, label)
        self.client.begin(program)
        told, more = [], True
        while more:
            more, proof = self.client.step(Flag.CHECKSUM)
            told.append(proof)
        self.model._load(label, x)
        self.model._begin(program)
        for proof in told:
            assert self.model._step(Flag.CHECKSUM)[1:] == proof
        assert not self.model.machine.in_slices


def small_nets(first: int, count: int) -> list[Plan]:
    """Networks that learn classes, and whose state goes over the line in a few frames."""
    found = (
        c.plan
        for c, _ in accepted(first, 12 * count)
        if "learn" in c.plan.entries and c.plan.state_bytes <= 2 * MAX_PAYLOAD
    )
    return [plan for plan, _ in zip(found, range(count), strict=False)]


def suffer(
    plan: Plan, folder: Path, faults: int, seed: int, said: Callable[[Any], None] = lambda _: None
) -> BadLine:
    """A chip of this Plan, as a process, through so many faults."""
    out = folder / plan.model
    write(render(plan, load_board("mps2_an386"), "a test", "a test"), out)
    rng = np.random.default_rng([7, seed])
    with process.open(out, "", None) as device:
        line = BadLine(device, rng)
        life = Life(plan, line, rng)
        life.live(faults)
        life.look()
    said(life.seen)
    return line


def main() -> None:
    faults, seed = int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0
    total: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        os.environ.setdefault(KEPT_NETWORKS, folder)
        plans = small_nets(70_000, 4)
        for i, plan in enumerate(plans):
            total += suffer(plan, Path(folder), -(-faults // len(plans)), seed + i, print).faults
    for kind, count in sorted(total.items()):
        print(f"{count:6} {kind}")
    print(f"{total.total()} faults on {len(plans)} models: nothing learned twice, nothing lost")


if __name__ == "__main__":
    main()
