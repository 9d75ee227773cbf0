"""The controllers of flash that unicorn's chips have, for a store that the firmware keeps in its own flash.

They are strict: keys, mode bits, the size of an access and the block must be right, a controller that is busy
takes nothing, and a word that is programmed twice between two erases ends the run. Only the store may change.
Sources: ST RM0090, RM0383, RM0390 (STM32F4) and RM0351 (STM32L4), "Embedded Flash memory"; Nordic's product
specifications of nRF51822 and nRF52840, "NVMC".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

_ERASED = b"\xff"
_BUSY_POLLS = 3
"""How often a status register says busy behind each operation."""


@dataclass(slots=True)
class Cells:
    """The store's part of the flash, and what ends the run.

    read, write: memory of the chip; operations: blocks erased and words programmed
    """

    store: range
    read: Callable[[int, int], bytes]
    write: Callable[[int, bytes], None]
    fail: Callable[[str], None]
    operations: int = 0

    def erase(self, address: int, size: int) -> None:
        """Erases a block, which must be the store's."""
        if not (address in self.store and address + size <= self.store.stop):
            self.fail(f"erases the block at {address:#010x}, which is not the store's")
            return
        self.operations += 1
        self.write(address, _ERASED * size)

    def blank(self, address: int, size: int) -> bool:
        return self.read(address, size) == _ERASED * size

    def check(self, address: int, size: int) -> None:
        """What every controller asks of a word that is programmed: aligned, the store's, erased."""
        if address % size or not (address in self.store and address + size <= self.store.stop):
            self.fail(f"programs {size} bytes at {address:#010x}, which are no word of the store")
        elif not self.blank(address, size):
            self.fail(f"programs {size} bytes at {address:#010x}, which are not erased")
        self.operations += 1


class Controller(Protocol):
    """Registers by absolute addresses, and what a store of the core to the flash does: `program` comes before
    the bytes change, which are then what the core wrote."""

    registers: range

    def read(self, address: int) -> int: ...

    def write(self, address: int, value: int) -> None: ...

    def program(self, address: int, size: int, value: int) -> None: ...


class Stm32:
    """What STM32F4 and STM32L4 have in common: keys, a lock, errors, and a start bit. `_PROGRAM`: bit 0."""

    _KEYS = (0x45670123, 0xCDEF89AB)
    _LOCK, _START, _PROGRAM, _ERASE, _BUSY = 1 << 31, 1 << 16, 1, 2, 1 << 16
    _KEYR, _SR, _CR = 0x04, 0x0C, 0x10
    base = 0

    def __init__(self, cells: Cells) -> None:
        self._cells = cells
        self.registers = range(self.base, self.base + 0x1C)
        self._control, self._status, self._busy, self._acr = self._LOCK, 0, 0, 0
        self._given: tuple[int, ...] = ()

    def read(self, address: int) -> int:
        match address - self.base:
            case self._SR:
                self._busy = max(0, self._busy - 1)
                return self._status | (self._BUSY if self._busy else 0)
            case self._CR:
                return self._control
            case 0x00:
                return self._acr
            case 0x18:
                return 0  # no bit was ever bad
        self._cells.fail(f"reads {address:#010x}, which the model of the flash does not have")
        return 0

    def write(self, address: int, value: int) -> None:
        match address - self.base:
            case 0x00:
                self._acr = value
            case self._KEYR:
                self._key(value)
            case self._SR:
                self._status &= ~value
            case self._CR:
                self._set(value)
            case _:
                self._cells.fail(f"writes {address:#010x}, which the model of the flash does not have")

    def _key(self, value: int) -> None:
        self._given = (*self._given, value)[-2:]
        if self._given == self._KEYS:
            self._control &= ~self._LOCK
        elif value not in self._KEYS:
            self._cells.fail(f"gives the flash {value:#010x}, which is no key")

    def _set(self, value: int) -> None:
        if self._control & self._LOCK:
            if value != self._LOCK:
                self._cells.fail(f"writes {value:#x} to the flash's control register, which is locked")
            return
        if self._busy:
            self._cells.fail("writes to the flash's control register while it is busy")
        self._control = value & ~self._START
        if value & self._START:
            if not value & self._ERASE or value & self._PROGRAM:
                self._cells.fail(f"starts with {value:#x} in the flash's control register: no erase")
                return
            self._cells.erase(*self._block(value))
            self._worked()
        if value & self._LOCK:
            self._given = ()

    def _worked(self) -> None:
        self._busy = _BUSY_POLLS

    def _ready(self, size: int, word: int) -> bool:
        """Whether the core may write: unlocked, in the mode of programming, idle, of the right size."""
        for wrong, what in (
            (self._control & self._LOCK, "is locked"),
            (not self._control & self._PROGRAM or self._control & self._ERASE, "is in no mode to program"),
            (self._busy, "is busy"),
            (size != word, f"takes {word} bytes at once, not {size}"),
        ):
            if wrong:
                self._cells.fail(f"writes to the flash, which {what}")
                return False
        return True

    def _block(self, control: int) -> tuple[int, int]:
        """(address, size) of the block that the control register names."""
        raise NotImplementedError


class Stm32F4(Stm32):
    base = 0x4002_3C00
    _SIZES: Mapping[int, int] = {0: 1, 1: 2, 2: 4, 3: 8}

    def program(self, address: int, size: int, value: int) -> None:
        del value
        if self._ready(size, self._SIZES[self._control >> 8 & 3]):
            self._cells.check(address, size)
            self._worked()

    def _block(self, control: int) -> tuple[int, int]:
        sector = control >> 3 & 31
        small = 0x0800_0000 + 0x4000 * sector
        if sector < 4:
            return small, 0x4000
        return (0x0801_0000, 0x1_0000) if sector == 4 else (0x0802_0000 + 0x2_0000 * (sector - 5), 0x2_0000)


class Stm32L4(Stm32):
    base = 0x4002_2000
    _KEYR, _SR, _CR = 0x08, 0x10, 0x14

    def __init__(self, cells: Cells) -> None:
        super().__init__(cells)
        self._first: int | None = None

    def program(self, address: int, size: int, value: int) -> None:
        del value
        if not self._ready(size, 4):
            return
        if self._first is None:
            self._first = address
            self._cells.check(address, 8)
            return
        if address != self._first + 4:
            self._cells.fail(f"programs {address:#010x} behind {self._first:#010x}: no double word")
        self._first = None
        self._worked()

    def _block(self, control: int) -> tuple[int, int]:
        page = (control >> 3 & 255) + 256 * (control >> 11 & 1)
        return 0x0800_0000 + 0x800 * page, 0x800


class Nrf5:
    """NVMC of nRF51 and nRF52; `page`: bytes of one."""

    _READY, _CONFIG, _ERASE_PAGE = 0x400, 0x504, 0x508
    _WRITE, _ERASE = 1, 2
    base = 0x4001_E000

    def __init__(self, cells: Cells, page: int) -> None:
        self._cells, self._page = cells, page
        self.registers = range(self.base, self.base + 0x1000)
        self._mode = self._busy = 0

    def read(self, address: int) -> int:
        match address - self.base:
            case self._READY:
                self._busy = max(0, self._busy - 1)
                return int(not self._busy)
            case self._CONFIG:
                return self._mode
        self._cells.fail(f"reads {address:#010x}, which the model of the flash does not have")
        return 0

    def write(self, address: int, value: int) -> None:
        if self._busy:
            self._cells.fail("writes to the flash's controller while it is busy")
        match address - self.base:
            case self._CONFIG:
                self._mode = value
            case self._ERASE_PAGE:
                if self._mode != self._ERASE or value % self._page:
                    self._cells.fail(f"erases {value:#010x} in mode {self._mode}")
                    return
                self._cells.erase(value, self._page)
                self._busy = _BUSY_POLLS
            case _:
                self._cells.fail(f"writes {address:#010x}, which the model of the flash does not have")

    def program(self, address: int, size: int, value: int) -> None:
        del value
        if self._mode != self._WRITE or self._busy or size != 4:
            self._cells.fail(f"writes {size} bytes to the flash in mode {self._mode}")
            return
        self._cells.check(address, size)
        self._busy = _BUSY_POLLS


CONTROLLERS: Mapping[str, Callable[[Cells, int], Controller]] = {
    "nrf5": Nrf5,
    "stm32f4": lambda cells, _block: Stm32F4(cells),
    "stm32l4": lambda cells, _block: Stm32L4(cells),
}
"""By the stem of the HAL whose driver they are for: the cells, and bytes of a block."""
