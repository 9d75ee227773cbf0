"""Counts what an op or a program takes on a device: instructions where a device tells, cycles where there is
a chip. docs/BENCH.md says how, and how exact each way is.

Every figure is the difference of two counts that were taken the same way: what counting costs cancels.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from synapcc.gen.errors import SynapccError
from synapcc.gen.ir.plan import Plan
from synapcc.gen.target.boards import Board
from synapcc.gen.target.messages import Counter, Region, Subject

from ..devices import Device, DeviceError, open_device
from ..devices._counter import Profile, Runs
from ..devices.unicorn import UnicornDevice
from ..link.aside import put_aside
from ..link.client import SYSTICK_BITS, Client, Count, connect
from ..run.given import Given
from . import cycles
from .options import KINDS

FINE, COARSE = 6, 1
"""With 2^6 ns of virtual time an instruction, SysTick tells each from the next on every board, and ends after
some ten million; with 2^1 ns it lasts 32 times as long."""

_TURNS = 100_000  # of the loop that tells what a tick is
_CLOCK_STEP = 10_000  # Hz: clocks of emulated boards are multiples of it
_RANGE = 1 << SYSTICK_BITS

_RETURN = (Runs(b"\x70\x47", 1, 1),)
"""What op number `ops` is: BX LR."""
_NO_TURN = (Runs(b"\x00\x28\x01\xd0", 1, 1), *_RETURN)
"""What the loop is that turns no turn: CMP, BEQ, BX LR."""


class Overrun(SynapccError):
    """The counter went past its end; another meter may reach further."""


def _overrun(client: Client, subject: Subject, number: int) -> Overrun:
    what = f"{subject.name.lower()} {number} outlasts its counter"
    return Overrun(client.device.name, what, "bench it in unicorn, or on a core with a counter of 32 bits")


@dataclass(frozen=True, slots=True)
class Reading:
    """What one run took. None: this device cannot tell."""

    instructions: int | None
    cycles: float | None
    classes: dict[str, int] | None = None


class Meter:
    """Running firmware that can be timed. `how` says in one line, for a reader, how it counts."""

    how: str

    def __init__(self, clients: list[Client]) -> None:
        self.clients = clients

    def op(self, number: int) -> Reading:
        """Runs one op on the arena as it is. Its call does not count, its return does."""
        return self._reading(Subject.OP, number)

    def program(self, number: int) -> Reading:
        """Runs an entry program on the arena as it is, by the call that a user makes."""
        return self._reading(Subject.PROGRAM, number)

    def _reading(self, subject: Subject, number: int) -> Reading:
        raise NotImplementedError

    # Devices that count together do the same all the time.

    def reset(self) -> None:
        """Weights as compiled."""
        for client in self.clients:
            client.reset()

    def load(self, x: bytes, label: int) -> None:
        """Inputs and label into the arena."""
        for client in self.clients:
            client.load(x, label)

    def give(self, plan: Plan, program: str, given: Given) -> None:
        """What an entry program takes into the arena."""
        for client in self.clients:
            client.give(plan, program, given.inputs, given.label)

    def write(self, region: Region, offset: int, content: bytes) -> None:
        for client in self.clients:
            client.write(region, offset, content)

    def read(self, region: Region, offset: int, count: int) -> bytes:
        return self.clients[0].read(region, offset, count)


def _nothing(client: Client, subject: Subject) -> tuple[Subject, int, Profile]:
    """What to count to learn what counting `subject` costs, and the code that this runs itself."""
    return (Subject.OP, client.info.ops, _RETURN) if subject is Subject.OP else (Subject.LOOP, 0, _NO_TURN)


class UnicornMeter(Meter):
    """Sees every block that runs: exact instructions, their classes, and cycles by the model of the core."""

    def __init__(self, client: Client, device: UnicornDevice, core: str) -> None:
        super().__init__([client])
        self._client, self._device, self._model = client, device, cycles.MODELS.get(core)
        self.how = f"{device.name}, each block of code counted as it runs"

    def _reading(self, subject: Subject, number: int) -> Reading:
        runs = self._profile(subject, number)
        empty, which, own = _nothing(self._client, subject)
        called = self._profile(empty, which)
        parts = [cycles.classes(p) for p in (runs, own, called)]
        kinds = {k: parts[0][k] + parts[1][k] - parts[2][k] for k in cycles.CLASSES}
        taken = None
        if self._model:
            run, ran, call = (cycles.estimate(p, self._model) for p in (runs, own, called))
            taken = run + ran - call
        return Reading(sum(kinds.values()), taken, kinds)

    def _profile(self, subject: Subject, number: int) -> Profile:
        self._client.count(subject, number)
        return self._device.counter.profile


class QemuMeter(Meter):
    """SysTick under -icount. `clients`: one with the fine tick and, for what that cannot hold, a coarse one.

    `shadow` runs the same in unicorn, where that has the core: for classes and cycles, and as a second count.
    """

    def __init__(self, clients: list[Client], name: str, shadow: UnicornMeter | None) -> None:
        super().__init__([*clients, *(shadow.clients if shadow else [])])
        self._timed, self._shadow = clients, shadow
        self.how = f"{name} under -icount, instructions by SysTick"
        if shadow:
            self.how += f"; classes and cycles by {shadow.how}"
        self._rate = self._calibrate(clients[0])

    @staticmethod
    def _calibrate(client: Client) -> Fraction:
        """Ticks an instruction, from a loop of known length; DeviceError where they do not fit together."""
        ticks = [client.count(Subject.LOOP, n).ticks for n in (*range(9), _TURNS)]
        hertz = Fraction(ticks[-1] - ticks[0], 2 * _TURNS) * 10**9 / 2**FINE
        rate = Fraction(round(hertz / _CLOCK_STEP) * _CLOCK_STEP * 2**FINE, 10**9)
        counted = [_instructions(t, rate) for t in ticks] if rate >= 1 else [0]
        if [n - counted[0] for n in counted] != [2 * n for n in (*range(9), _TURNS)]:
            raise DeviceError(
                client.device.name, "its SysTick does not count instructions", "use the device unicorn"
            )
        return rate

    def _reading(self, subject: Subject, number: int) -> Reading:
        empty, which, own = _nothing(self.clients[0], subject)
        count = self._count(subject, number) - self._count(empty, which) + sum(cycles.classes(own).values())
        if self._shadow is None:
            return Reading(count, None)
        second = self._shadow._reading(subject, number)
        if second.instructions != count:
            what = (
                f"{subject.name.lower()} {number} took {count} instructions, {second.instructions} in unicorn"
            )
            raise DeviceError(self.clients[0].device.name, what, "report this: one of them counts wrong")
        return second

    def _count(self, subject: Subject, number: int) -> int:
        fine, *more = [client.count(subject, number) for client in self._timed]
        if not fine.overrun:
            return _instructions(fine.ticks, self._rate)
        if not more or more[0].overrun:
            raise _overrun(self.clients[0], subject, number)
        coarse = self._rate / 2 ** (FINE - COARSE)
        least, most = more[0].ticks / coarse - 1, (more[0].ticks + 1) / coarse + 1
        turns = range(math.ceil(most * self._rate / _RANGE) + 1)
        fits = [
            n for k in turns if least <= (n := _instructions(fine.ticks + k * _RANGE, self._rate)) <= most
        ]
        assert len(fits) == 1
        return fits[0]


def _instructions(ticks: int, rate: Fraction) -> int:
    """The only count from which QEMU's SysTick has gone so far: it stops just short of a whole tick."""
    return math.floor((ticks + 1) / rate)


class SerialMeter(Meter):
    """A chip: its own clock cycles, with everything that memory and caches cost."""

    def __init__(self, client: Client) -> None:
        super().__init__([client])
        self._client = client
        number = client.count(Subject.LOOP, 0).counter
        counter = Counter.find(number)
        name = counter.name if counter is not None else f"counter {number}"
        self.how = f"{client.device.name}, clock cycles of the chip by {name}"

    def _reading(self, subject: Subject, number: int) -> Reading:
        empty, which, _ = _nothing(self._client, subject)
        taken = self._count(subject, number)
        nothing = self._count(empty, which)
        if taken < nothing:  # an interrupt may have come, or a cache have been cold: it changes nothing
            nothing = self._count(empty, which)
        if taken < nothing:
            what = f"counts {taken} cycles for {subject.name.lower()} {number}, and {nothing} for nothing"
            raise DeviceError(self._client.device.name, what, "its counter does not count its core's cycles")
        return Reading(None, float(taken - nothing))

    def _count(self, subject: Subject, number: int) -> int:
        count: Count = self._client.count(subject, number)
        if count.overrun:
            raise _overrun(self._client, subject, number)
        return count.ticks


@contextmanager
def open_meter(spec: str, project: Path, board: Board, plan: Plan, long: bool = False) -> Iterator[Meter]:
    """A meter on a device: `qemu`, `unicorn` or `serial:PORT`. `long`: for what outlasts the counter of QEMU.

    A chip gets its state back at the end (`put_aside`). Raises DeviceError.
    """
    kind = spec.partition(":")[0]
    if spec not in ("qemu", "unicorn") and kind != "serial":
        raise DeviceError(f"device {spec!r}", "nothing counts there", f"devices: {', '.join(KINDS)}")
    with ExitStack() as stack:

        def start(device: str) -> tuple[Device, Client]:
            opened = stack.enter_context(open_device(device, project, board))
            return opened, connect(opened, plan)

        def in_unicorn() -> UnicornMeter:
            device, client = start("unicorn:count")
            assert isinstance(device, UnicornDevice)
            return UnicornMeter(client, device, board.core.cpu)

        if kind == "unicorn":
            yield in_unicorn()
        elif kind == "qemu":
            shifts = (FINE, COARSE) if long else (FINE,)
            opened = [start(f"qemu:icount={shift}") for shift in shifts]
            shadow = in_unicorn() if board.emulator.unicorn else None
            yield QemuMeter([client for _, client in opened], opened[0][0].name, shadow)
        else:
            device, client = start(spec)
            with put_aside(
                device, client, plan, lambda file: f"synapcc push {project} {file} --device {spec}"
            ):
                yield SerialMeter(client)
