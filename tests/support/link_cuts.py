"""Cuts the power of a chip that saves, restores or erases over the link, at every operation of its flash.

    python tests/support/link_cuts.py

The whole firmware, on a process, in unicorn and in QEMU, whose flash is firmware/hal/flash/simulated.c: a cut
is a reset of the chip, in front of, within or behind an operation, and some of the boots behind it are cut
themselves. What the host then finds over the link is the old state or the new one, and the same at each boot.
"""

from __future__ import annotations

import struct
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from golden_nets import golden_plan

from synapcc.gen.emit import render, write
from synapcc.gen.ir.plan import Plan
from synapcc.gen.spec import Keep
from synapcc.gen.target.boards import Board, load_board
from synapcc.gen.target.messages import ERASE, RESTORE, SAVE, Kept, Region, Request, Status
from synapcc.host.devices import Device, open_device
from synapcc.host.link.client import Client, connect
from synapcc.host.link.protocol import Receiver, Reply, encode_fields, encode_request

DEVICES = ("process", "unicorn", "qemu")
BEFORE, MIDDLE, AFTER = WAYS = (1, 2, 3)
MOODS = (0, 1, 2)
CONTROL = struct.Struct("<10I")
"""magic, operations, cut, way, mood, dice, boots, bytes, again, mistakes: control_t of simulated.c."""
_SILENCE, _PATIENCE = 0.3, 20.0


def small_flash(word: int = 4, block: int = 512) -> Board:
    """A virtual board whose flash has small blocks: quick to send, and soon full."""
    board = load_board("mps2_an386")
    return replace(board, flash=replace(board.flash, word=word, block=block))


def project(folder: Path, board: Board, name: str = "pair") -> tuple[Plan, Path]:
    """An output folder with a store."""
    plan = golden_plan(name)
    write(render(plan, board, "a test", "a test", keep=Keep()), folder / "out")
    return plan, folder / "out"


@dataclass(frozen=True)
class Cut:
    """The power goes at operation `at` of a request, and at operation `again` of the boot behind, or not."""

    request: Request
    at: int
    way: int
    mood: int
    again: int = 0


def _greeted(device: Device, plan: Plan) -> Client:
    """A client that greets often, since a boot loses what comes early, and then waits long.

    On a machine that is busy QEMU takes seconds for a frame of a kilobyte. Frames that are sent again
    meanwhile are work in front of the answer, and make it later still.
    """
    client = connect(device, plan, timeout=0.3, attempts=40)
    client.timeout, client.attempts = 20.0, 3
    return client


class Bench:
    """A device with a store, its client, and two states: the old one, which is kept, and the new one.

    told: what the cuts found; `reach`: operations of each request
    """

    def __init__(self, device: Device, plan: Plan, seed: int = 1) -> None:
        self.device, self.plan = device, plan
        self.client = _greeted(device, plan)
        self.told: Counter[str] = Counter()
        self._rng = np.random.default_rng(seed)
        self._x = self._rng.integers(-60, 60, self.client.info.input_bytes).astype(np.int8).tobytes()
        self.client.learn(self._x, 0)
        assert self.client.save()[0] == Kept.OK
        self.old = self.client.digest()
        self.image = self.client.read(Region.FLASH, 0, self.client.info.flash_bytes)
        self.client.learn(self._x, 1)
        self.new = self.client.digest()
        assert self.new != self.old

    def _control(self) -> tuple[int, ...]:
        return CONTROL.unpack(self.client.read(Region.FLASH, 0, CONTROL.size))

    def operations(self, request: Request) -> int:
        """Of the flash, in a request that nothing cuts."""
        self._begin(None)
        before = self._control()[1]
        assert self._ask(request)
        return self._control()[1] - before

    def _begin(self, cut: Cut | None) -> None:
        """The old state is kept, the new one in RAM, and the cut waits."""
        fields = list(CONTROL.unpack_from(self.image))
        if cut:
            fields[2] = fields[1] + cut.at
            fields[3], fields[4], fields[5], fields[8] = (
                cut.way,
                cut.mood,
                int(self._rng.integers(2**32)),
                cut.again,
            )
        self.client.write(Region.FLASH, 0, CONTROL.pack(*fields) + self.image[CONTROL.size :])
        answer, state = self.client.restore()
        assert (answer, state) == (Kept.OK, self.old)
        assert self.client.learn(self._x, 1) == self.new

    def _ask(self, request: Request) -> bool:
        """Asks, and waits for the answer or the end of the chip; whether it answered."""
        client = self.client
        flags = {"flags": 0} if request.ask.fields else {}
        resets = getattr(self.device, "resets", None)
        sequence = client._sequence + 1
        self.device.write(
            encode_request(request, client._session, sequence, encode_fields(request.ask, flags))
        )
        receiver, heard, end = Receiver(), time.monotonic(), time.monotonic() + _PATIENCE
        while time.monotonic() < end:
            data = self.device.read(0.06)
            heard = time.monotonic() if data else heard
            for item in receiver.feed(data):
                if isinstance(item, Reply) and item.sequence == sequence and item.status == Status.OK:
                    assert item.payload[0] == Kept.OK
                    client._sequence = sequence
                    return True
            if resets is None and time.monotonic() - heard > _SILENCE:
                return False
            if resets is not None and self.device.resets > resets:  # type: ignore[attr-defined]
                return False
        raise AssertionError("neither an answer nor a reset")

    def _greet(self) -> None:
        """Whatever the boot does, it ends, and the chip answers."""
        self.client = _greeted(self.device, self.plan)

    def _reboot(self) -> None:
        """A loss of power in front of the next operation, which never comes."""
        fields = list(self._control())
        fields[2], fields[3], fields[8] = fields[1] + 1, BEFORE, 0
        self.client.write(Region.FLASH, 4, CONTROL.pack(*fields)[4:])
        self.client.restore()  # looks at what was written
        assert not self._ask(ERASE)
        self._greet()

    def cut(self, cut: Cut) -> bool:
        """One cut; False where the request was done before it came."""
        self._begin(cut)
        if self._ask(cut.request):
            return False
        self._greet()
        first = self._found(cut)
        for _ in range(2):
            self._reboot()
            assert self._found(cut) == first, f"{cut}: {first}, and then another"
        assert self._control()[9] == 0, f"{cut}: a word was programmed twice"
        self.client.learn(self._x, 1)
        answer, state = self.client.save()
        assert answer == Kept.OK and self.client.restore() == (Kept.OK, state), cut
        self.told[first] += 1
        self.told[f"{cut.request.name} {first}"] += 1
        return True

    def _found(self, cut: Cut) -> str:
        """Which state the start has found."""
        found, state = Kept.find(self.client.info.found), self.client.digest()
        if found == Kept.EMPTY and cut.request is ERASE:
            return "nothing"
        assert found == Kept.OK, f"{cut}: {found!r}"
        assert state in (self.old, self.new), f"{cut}: neither the old state nor the new one"
        assert state == self.old or cut.request is SAVE, cut
        return "old" if state == self.old else "new"


def cuts(reach: Callable[[Request], int], every: int, seed: int) -> Iterator[Cut]:
    """Of SAVE and ERASE every `every`-th operation in each way and mood, the first and the last ones always;
    one in three of the boots behind is cut, too."""
    rng = np.random.default_rng(seed)
    for request in (SAVE, ERASE):
        count = reach(request)
        for at in range(1, count + 1):
            if at % every and 3 < at <= count - 5:
                continue
            for way in WAYS:
                moods: Sequence[int] = MOODS if every == 1 or at > count - 4 else (int(rng.integers(3)),)
                for mood in moods:
                    again = int(rng.integers(1, 40)) if rng.integers(3) == 0 else 0
                    yield Cut(request, at, way, mood, again)


def run(bench: Bench, every: int = 1, seed: int = 1) -> Counter[str]:
    """What all of the cuts found; each came before its request was done."""
    for cut in cuts(bench.operations, every, seed):
        assert bench.cut(cut), cut
        bench.told["cuts"] += 1
    assert RESTORE.number  # cut by what a boot has to put right: `again`
    return bench.told


def main() -> int:
    with tempfile.TemporaryDirectory() as name:
        plan, out = project(Path(name), small_flash())
        for spec in DEVICES:
            with open_device(spec, out) as device:
                told = run(Bench(device, plan), 1 if spec == "process" else 4)
                print(f"{device.name}: " + ", ".join(f"{n} {k}" for k, n in sorted(told.items())), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
