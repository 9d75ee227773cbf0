"""What the HALs of firmware/hal can be given: what else their C code refuses, or would do wrong with.

A HAL of one's own needs no row here; with one, its boards are refused in a line instead of by the C compiler.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..errors import CompileError
from ..files.userfile import read_text
from ..words import short

HALS = Path(__file__).resolve().parents[2] / "firmware" / "hal"
NOT_FOR_CHIPS = "process"  # the HAL of the host's own processes
TAKES_PINS = "SYNAPCC_TX_PIN"  # a HAL that reads this macro cannot do without

MAX_HAL = 1 << 20  # bytes of a HAL's text

SLOWEST, FASTEST = 300, 20_000_000  # baud that any link can mean

ST, NORDIC = "PA2", "P0.06"  # how makers write a pin
PINS: Mapping[str, re.Pattern[str]] = {
    ST: re.compile(r"P([A-K])([0-9]|1[0-5])"),
    NORDIC: re.compile(r"P([01])\.([0-2][0-9]|3[01])"),
}


@dataclass(frozen=True, slots=True)
class Needs:
    """clock_hz: the one that the HAL sets up, of the core and of the UART (0: it sets none up).
    uarts: addresses of the UARTs that it knows (none listed: it takes any).
    pins: how its chips' maker writes them, "" where there is nothing to choose.
    baud_hz: what the baud rate is made of (0: the UART's clock), by a divider of `least` to `most`.
    """

    clock_hz: int = 0
    uarts: tuple[int, ...] = ()
    pins: str = ""
    baud_hz: int = 0
    least: int = 1
    most: int = 2**32 - 1

    def bauds(self, uart_hz: int) -> tuple[int, int]:
        """The slowest and the fastest baud rate, with a UART's clock of `uart_hz`; the first is above the
        second where there is none."""
        clock = self.baud_hz or uart_hz
        return max(SLOWEST, clock // (self.most + 1) + 1), min(FASTEST, clock // self.least)


_USARTS = (0x4000_4400, 0x4000_4800, 0x4000_4C00, 0x4000_5000)  # 2, 3, 4 and 5
_HSI = 16_000_000

NEEDS: Mapping[str, Needs] = {
    "cmsdk": Needs(least=16, most=2**20 - 1),
    "nrf5": Needs(uarts=(0x4000_2000,), pins=NORDIC, baud_hz=16_000_000, least=16),
    "stm32f4": Needs(_HSI, (*_USARTS, 0x4000_7800, 0x4000_7C00, 0x4001_1000, 0x4001_1400), ST, _HSI, 16),
    "stm32l4": Needs(_HSI, (*_USARTS, 0x4001_3800), ST, 4_000_000, 16),
}
"""By the stem of the HAL's file. stm32l4 may have to stay on the 4 MHz that it wakes up with."""


def hals() -> tuple[str, ...]:
    """The HALs that a chip can have, by the stems of their files."""
    return tuple(sorted(p.stem for p in HALS.glob("*.c") if p.stem != NOT_FOR_CHIPS))


def takes_pins(hal: str, code: str = "") -> bool:
    """Whether the HAL must be told which pins the UART has. code: of one that is no file of ours."""
    text = code if is_own(hal) else (HALS / f"{hal}.c").read_text(encoding="utf-8")
    return TAKES_PINS in _without_comments(text)


def _without_comments(code: str) -> str:
    return re.sub(r"/\*.*?\*/|//[^\n]*", " ", code, flags=re.S)


def is_own(hal: str) -> bool:
    """Whether a board file means a HAL of its own: a file beside it."""
    return hal.endswith(".c")


def check_hal(hal: str, where: str) -> None:
    """Raises CompileError for the name of a HAL of one's own that cannot stand in a project beside ours."""
    stem = hal.removesuffix(".c")
    if not re.fullmatch(r"[a-z][a-z0-9_]*", stem):
        hint = "a file beside the board's: a-z, 0-9 and _, a letter first, then .c"
        raise CompileError(where, f'link.hal "{short(hal)}" is no name of such a file', hint)
    if stem in (*hals(), NOT_FOR_CHIPS):
        what = f"link.hal {hal} has the name of a HAL that synapcc has"
        raise CompileError(where, what, "rename the file, or leave .c out to take synapcc's")


def functions() -> tuple[str, ...]:
    """What a HAL defines: the functions of hal.h."""
    return tuple(re.findall(r"^\w[\w ]*\b(hal_\w+)\(", (HALS / "hal.h").read_text(encoding="utf-8"), re.M))


def read_hal(path: Path) -> str:
    """The text of a HAL of one's own. Raises CompileError: no file, not filled in, a function missing."""
    text = read_text(path, MAX_HAL, CompileError, "synapcc new-board NAME --hal writes one to fill in")
    for number, line in enumerate(text.splitlines(), 1):
        if re.search(r"FILL[ _]IN", line):
            hint = "take it from the chip's reference manual"
            raise CompileError(path.name, f"line {number} still says FILL IN", hint)
    code = _without_comments(text)
    missing = [f for f in functions() if not re.search(rf"^\s*\w[\w \t]*[ \t*]{f}[ \t]*\(", code, re.M)]
    if missing:
        hint = "hal.h says what each must do: synapcc docs OWN_BOARD"
        raise CompileError(path.name, f"defines no {' and no '.join(missing)}", hint)
    return text


def pin_number(name: str) -> int:
    """The number that HALs know a pin by: ST counts 16 to a port (PB3 is 19), Nordic 32 (P1.10 is 42).

    Raises ValueError if `name` is no pin.
    """
    if st := PINS[ST].fullmatch(name):
        return 16 * (ord(st[1]) - ord("A")) + int(st[2])
    if nordic := PINS[NORDIC].fullmatch(name):
        return 32 * int(nordic[1]) + int(nordic[2])
    raise ValueError(name)
