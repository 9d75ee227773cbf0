"""Counts the blocks of code that unicorn runs, and shows the count to the chip as its SysTick.

Every instruction of a block that is entered counts, those whose condition fails too: as QEMU counts, and as a
core spends a cycle on each.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

_CSR, _RVR, _CVR = 0x10, 0x14, 0x18
_ENABLE, _COUNTFLAG = 1, 1 << 16
_RANGE = 1 << 24


@dataclass(frozen=True, slots=True)
class Runs:
    """How often a block of code ran, and how often something else followed than what lies behind it."""

    code: bytes
    times: int
    taken: int


Profile = tuple[Runs, ...]


class Counter:
    """`instructions` ran since the reset; `profile` and `counted` are of what SysTick timed last."""

    def __init__(self) -> None:
        self.instructions = 0
        self.profile: Profile = ()
        self.counted = 0
        self._blocks: dict[tuple[int, int], list[int]] = {}  # times, taken, instructions, end
        self._code: dict[tuple[int, int], bytes] = {}
        self._last = [0, 0, 0, 0]
        self._control = self._begin = 0

    def block(self, uc: Any, address: int, size: int, _data: object) -> None:
        """The hook: a block is about to run."""
        entry = self._blocks.get((address, size))
        if entry is None:
            code = self._code[address, size] = bytes(uc.mem_read(address & ~1, size))
            entry = self._blocks[address, size] = [0, 0, sum(1 for _ in lengths(code)), address + size]
        if self._last[3] != address:
            self._last[1] += 1
        entry[0] += 1
        self.instructions += entry[2]
        self._last = entry

    def read(self, offset: int) -> int | None:
        """A register of SysTick; None where it has none."""
        if offset == _CVR:
            self.counted = self.instructions - self._begin
            self.profile = tuple(
                Runs(self._code[at], times, taken) for at, (times, taken, *_) in self._blocks.items() if times
            )
            return -self.counted % _RANGE
        if offset == _CSR:
            return self._control | (_COUNTFLAG if self.counted >= _RANGE else 0)
        return _RANGE - 1 if offset == _RVR else None

    def write(self, offset: int, value: int) -> bool:
        """Whether SysTick has this register."""
        if offset == _CSR:
            if value & _ENABLE and not self._control & _ENABLE:
                self._begin, self.counted = self.instructions, 0
                for entry in self._blocks.values():
                    entry[0] = entry[1] = 0
            self._control = value & 7
        return offset in (_CSR, _RVR, _CVR)


def lengths(code: bytes) -> Iterator[int]:
    """Bytes of each Thumb instruction of `code`."""
    at = 0
    while at < len(code):
        length = 4 if code[at + 1] >= 0xE8 else 2
        yield length
        at += length
