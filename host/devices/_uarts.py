"""The UARTs that unicorn's chips have, with what a HAL must set up before they carry anything.

They are strict: clocks, pins, enable bits and the baud rate must be right, and a register that a model does
not have ends the run. A HAL that works here has still not run on silicon, but it has forgotten nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from synapcc.gen.target.boards import Board

_POLLS_WHEN_WAITING = 3
"""A sender looks at the state register before each byte; only who waits for input looks so often without
moving a byte."""
_BAUD_TOLERANCE = 0.02
"""What two UARTs may differ and still understand each other, halved for the other side's error."""


@dataclass(slots=True)
class Line:
    """The host's side of a UART, and what the UART tells the run."""

    received: bytearray
    sent: bytearray
    stop: Callable[[], None]
    fail: Callable[[str], None]
    next: int = 0
    waiting: bool = False

    def available(self) -> bool:
        return self.next < len(self.received)

    def take(self) -> int:
        byte = self.received[self.next]
        self.next += 1
        if self.next == len(self.received):
            self.received.clear()
            self.next = 0
        return byte

    def wait(self) -> None:
        """The firmware has nothing to do until a byte comes."""
        self.waiting = True
        self.stop()


class Uart(Protocol):
    """A UART and the peripherals around it, by absolute addresses. `pages` are the 4 KB pages they lie in."""

    pages: tuple[int, ...]

    def read(self, address: int) -> int: ...

    def write(self, address: int, value: int) -> None: ...


def page(address: int) -> int:
    """The 4 KB page of `address`."""
    return address & ~0xFFF


class Cmsdk:
    """UART of the Cortex-M System Design Kit: DATA, STATE, CTRL, INTSTATUS, BAUDDIV."""

    _SMALLEST_DIVIDER = 16

    def __init__(self, line: Line, board: Board) -> None:
        self._line, self._base = line, board.port.uart_base
        self._control = self._divider = self._polls = 0
        self.pages: tuple[int, ...] = (page(self._base),)

    def read(self, address: int) -> int:
        line, offset = self._line, address - self._base
        if offset == 4:
            if line.available() and self._works(2):
                return 2
            self._polls += 1
            if self._polls >= _POLLS_WHEN_WAITING:
                line.wait()
            return 0
        if offset == 0:
            self._polls = 0
            return line.take() if line.available() and self._works(2) else 0
        if offset == 8:
            return self._control
        if offset == 16:
            return self._divider
        if offset != 12:
            line.fail(f"reads UART register {offset:#x}, which the model of the UART does not have")
        return 0

    def write(self, address: int, value: int) -> None:
        offset = address - self._base
        self._polls = 0
        if offset == 0:
            if self._works(1):
                self._line.sent.append(value & 0xFF)
        elif offset == 8:
            self._control = value & 0x7F
        elif offset == 16:
            self._divider = value & 0xFFFFF
        elif offset not in (4, 12):  # there, ones clear flags that this UART never sets
            self._line.fail(f"writes UART register {offset:#x}, which the model of the UART does not have")

    def _works(self, enable: int) -> bool:
        return bool(self._control & enable) and self._divider >= self._SMALLEST_DIVIDER


class _Registers:
    """Registers that keep what is written to them, in named blocks; any other address ends the run."""

    def __init__(self, line: Line, blocks: Mapping[str, range]) -> None:
        self._line, self._blocks = line, blocks
        self._values: dict[int, int] = {}
        self.pages = tuple(sorted({page(a) for block in blocks.values() for a in block[::0x400]}))

    def __getitem__(self, address: int) -> int:
        return self._values.get(address, 0)

    def __setitem__(self, address: int, value: int) -> None:
        self._values[address] = value

    def read(self, address: int) -> int:
        self._known("reads", address)
        return self[address]

    def write(self, address: int, value: int) -> None:
        self._known("writes", address)
        self[address] = value

    def _known(self, verb: str, address: int) -> None:
        if not any(address in block for block in self._blocks.values()):
            self._line.fail(f"{verb} {address:#010x}, which the model of the chip does not have")


@dataclass(frozen=True, slots=True)
class Stm32Family:
    """Where a family of STM32 has what its USART needs. Offsets of registers; `clocks`: by the USART's
    address, the register and bit of its clock; `ports`: the register that clocks the GPIO ports."""

    gpio: int
    ports: int
    clocks: Mapping[int, tuple[int, int]]
    control: int
    enables: int
    divider: int
    state: int
    clear: int | None
    receive: int
    transmit: int
    wakes_at: int


_APB1 = {0x40004400 + 0x400 * n: 17 + n for n in range(4)}
STM32F4 = Stm32Family(
    gpio=0x40020000, ports=0x40023830,
    clocks={a: (0x40023840, bit) for a, bit in _APB1.items()}
    | {0x40011000: (0x40023844, 4), 0x40011400: (0x40023844, 5)},
    control=0x0C, enables=1 << 13 | 1 << 3 | 1 << 2, divider=0x08, state=0x00, clear=None,
    receive=0x04, transmit=0x04, wakes_at=16_000_000,
)  # fmt: skip
STM32L4 = Stm32Family(
    gpio=0x48000000, ports=0x4002104C,
    clocks={a: (0x40021058, bit) for a, bit in _APB1.items()} | {0x40013800: (0x40021060, 14)},
    control=0x00, enables=1 << 3 | 1 << 2 | 1 << 0, divider=0x0C, state=0x1C, clear=0x20,
    receive=0x24, transmit=0x28, wakes_at=4_000_000,
)  # fmt: skip


class Stm32:
    """A USART of STM32F4 or STM32L4, with the clocks and pins that it needs."""

    _RX_FULL, _TX_EMPTY = 1 << 5, 1 << 7
    _WATCHDOG = 0x40003000
    _USART_BYTES, _AF_FIRST, _AF_LATER, _ALTERNATE = 0x2C, 7, 8, 2
    # STM32L4: RCC_CR and RCC_CFGR, which the other family's HAL leaves alone
    _CR, _CFGR, _HSI_ON, _HSI_READY, _HSI_HZ = 0x40021000, 0x40021008, 1 << 8, 1 << 10, 16_000_000

    def __init__(self, family: Stm32Family, line: Line, board: Board) -> None:
        self._family, self._line, self._link = family, line, board.port
        self._polls = 0
        base = self._link.uart_base
        clock = page(family.ports)
        self._registers = _Registers(
            line,
            {
                "USART": range(base, base + self._USART_BYTES),
                "GPIO": range(family.gpio, family.gpio + 0x2C00),
                "RCC": range(clock, clock + 0x1000),
                "IWDG": range(self._WATCHDOG, self._WATCHDOG + 4),
            },
        )
        self.pages = self._registers.pages

    def read(self, address: int) -> int:
        line, offset = self._line, address - self._link.uart_base
        if offset == self._family.state:
            if line.available() and self._works():
                return self._RX_FULL | self._TX_EMPTY
            self._polls += 1
            if self._polls >= _POLLS_WHEN_WAITING:
                line.wait()
            return self._TX_EMPTY
        if offset == self._family.receive:
            self._polls = 0
            return line.take() if line.available() and self._works() else 0
        return self._registers.read(address)

    def write(self, address: int, value: int) -> None:
        if address == self._WATCHDOG:
            return  # none runs, and who pets it may still be waiting
        self._polls = 0
        offset, registers = address - self._link.uart_base, self._registers
        if offset == self._family.transmit:
            if self._works():
                self._line.sent.append(value & 0xFF)
            return
        registers.write(address, value)
        if self._family is STM32L4 and address == self._CR and value & self._HSI_ON:
            registers[address] |= self._HSI_READY
        if self._family is STM32L4 and address == self._CFGR and registers[self._CR] & self._HSI_READY:
            registers[address] = value & ~(3 << 2) | (value & 3) << 2  # the switch reports where it stands

    def _works(self) -> bool:
        family, link, registers = self._family, self._link, self._registers
        register, bit = family.clocks[link.uart_base]
        divider = registers[link.uart_base + family.divider]
        clock = self._HSI_HZ if registers[self._CFGR] >> 2 & 3 == 1 else family.wakes_at
        return (
            bool(registers[register] >> bit & 1)
            and registers[link.uart_base + family.control] & family.enables == family.enables
            and divider >= 16
            and abs(clock / divider / link.baud - 1) < _BAUD_TOLERANCE
            and all(self._joined(pin) for pin in link.pins or ())
        )

    def _joined(self, pin: int) -> bool:
        """Whether `pin` is the USART's: its port has a clock, its mode and alternate function are right."""
        registers, (port, bit) = self._registers, divmod(pin, 16)
        at = self._family.gpio + 0x400 * port
        first = self._link.uart_base in (0x40011000, 0x40013800, 0x40004400, 0x40004800)  # USART1, 2 and 3
        return (
            bool(registers[self._family.ports] >> port & 1)
            and registers[at] >> 2 * bit & 3 == self._ALTERNATE
            and registers[at + 0x20 + 4 * (bit // 8)] >> 4 * (bit % 8) & 15
            == (self._AF_FIRST if first else self._AF_LATER)
        )


class Nrf5:
    """The UART of nRF51 and nRF52: tasks, events, pins by number."""

    _START_RX, _START_TX, _RX_READY, _TX_READY, _RX_DATA, _TX_DATA = 0x000, 0x008, 0x108, 0x11C, 0x518, 0x51C
    _ENABLE, _TX_PIN, _RX_PIN, _BAUD_RATE = 0x500, 0x50C, 0x514, 0x524
    _CLOCK_START, _CLOCK_STARTED = 0x40000000, 0x40000100
    _GPIO, _OUTPUT, _INPUT_OFF = 0x50000000, 1, 2

    def __init__(self, line: Line, board: Board) -> None:
        self._line, self._link = line, board.port
        base = self._link.uart_base
        self._registers = _Registers(
            line,
            {
                "CLOCK": range(0x40000000, 0x40001000),
                "UART": range(base, base + 0x1000),
                "GPIO": range(self._GPIO, self._GPIO + 0x1000),
                "WDT": range(0x40010600, 0x40010620),
            },
        )
        self.pages = self._registers.pages

    def read(self, address: int) -> int:
        line, offset = self._line, address - self._link.uart_base
        if offset == self._RX_READY:
            if line.available() and self._works(self._START_RX):
                return 1
            line.wait()
            return 0
        if offset == self._RX_DATA:
            return line.take() if line.available() and self._works(self._START_RX) else 0
        return self._registers.read(address)

    def write(self, address: int, value: int) -> None:
        offset = address - self._link.uart_base
        self._registers.write(address, value)
        if address == self._CLOCK_START:
            self._registers[self._CLOCK_STARTED] = 1
        if offset == self._TX_DATA and self._works(self._START_TX):
            self._line.sent.append(value & 0xFF)
            self._registers[address - self._TX_DATA + self._TX_READY] = 1

    def _works(self, start: int) -> bool:
        link, registers = self._link, self._registers
        base = link.uart_base
        rate = registers[base + self._BAUD_RATE] * 16_000_000 / 2**32
        return (
            bool(registers[base + start] and registers[self._CLOCK_STARTED])
            and registers[base + self._ENABLE] == 4
            and abs(rate / link.baud - 1) < _BAUD_TOLERANCE
            and (registers[base + self._TX_PIN], registers[base + self._RX_PIN]) == link.pins
            and bool(self._pin(link.pins[0]) & self._OUTPUT)
            and not self._pin(link.pins[1]) & (self._OUTPUT | self._INPUT_OFF)
        )

    def _pin(self, pin: int) -> int:
        port, bit = divmod(pin, 32)
        return self._registers[self._GPIO + 0x300 * port + 0x700 + 4 * bit]


UARTS: Mapping[str, Callable[[Line, Board], Uart]] = {
    "cmsdk": Cmsdk,
    "nrf5": Nrf5,
    "stm32f4": lambda line, board: Stm32(STM32F4, line, board),
    "stm32l4": lambda line, board: Stm32(STM32L4, line, board),
}
"""By the stem of the HAL that drives them."""
