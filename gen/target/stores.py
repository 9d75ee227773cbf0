"""Where the firmware's store in flash lies, and which file of firmware/hal/flash drives it.

The linker script gives the end of the flash to nobody else: as many blocks as the store has. On a virtual
board a piece of RAM stands for it, of which a cut may leave bits loose: so it is twice as large, and a
control block stands before.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from .boards import Board
from .hals import HALS

SIMULATED = "simulated"
CONTROL_BYTES = 40
"""Before the cells of a simulated flash: firmware/hal/flash/simulated.c."""


@dataclass(frozen=True, slots=True)
class Driver:
    """What a driver of real flash can be given: words and blocks in bytes; `low`, `high`: addresses between
    which all blocks are of that size (0, 0: everywhere)."""

    words: tuple[int, ...]
    blocks: tuple[int, ...]
    low: int = 0
    high: int = 0


DRIVERS: Mapping[str, Driver] = {
    "nrf5": Driver((4,), (0x400, 0x1000)),
    "stm32f4": Driver((1,), (0x2_0000,), 0x0802_0000, 0x0810_0000),
    "stm32l4": Driver((8,), (0x800,)),
}
"""By the stem of the HAL, whose flash firmware/hal/flash/STEM.c drives. STM32F4: sectors 5 to 11."""


@dataclass(frozen=True, slots=True)
class Place:
    """A store of so many blocks: where it begins, how many bytes the linker script sets aside, in RAM if
    `simulated`."""

    driver: str
    blocks: int
    origin: int
    bytes: int

    @property
    def simulated(self) -> bool:
        return self.driver == SIMULATED


def place(board: Board, blocks: int) -> Place:
    """Where the store's blocks lie. Raises ValueError, saying why the firmware can have none."""
    flash = board.flash
    if not flash.block:
        raise ValueError(f"the [flash] of {board.name} says no word and block")
    if not board.local:
        raise ValueError(f"{board.name} is built with a linker script that is not ours")
    size = blocks * flash.block
    if flash.simulated:
        size = CONTROL_BYTES + 2 * size
        return Place(SIMULATED, blocks, board.ram.end - size, size)
    stem, origin = board.port.hal, flash.end - size
    driver = DRIVERS.get(stem)
    if driver is None or not (HALS / "flash" / f"{stem}.c").is_file():
        raise ValueError(f"the HAL {stem} has no driver for flash")
    if flash.word not in driver.words or flash.block not in driver.blocks:
        raise ValueError(
            f"the flash driver of {stem} knows no blocks of {flash.block} in words of {flash.word}"
        )
    if driver.high and not driver.low <= origin <= flash.end <= driver.high:
        raise ValueError(f"not all blocks from {origin:#x} on have {flash.block} bytes")
    return Place(stem, blocks, origin, size)
