"""The firmware in unicorn, inside this process: no root, no sockets, only a Python package. `unicorn:count`
counts instructions, and its SysTick with them.

The memory map is the board's and nothing else: an access beyond it, a stack that leaves RAM, or a register
that is not modelled ends the run with its place. There are no interrupts and, unless instructions are
counted, no clock.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from elftools.elf.elffile import ELFFile

from synapcc.gen.target.boards import Board
from synapcc.host.firmware import elf as thumb
from synapcc.host.firmware.build import build, project_board

from . import ClosingDevice, DeviceError
from ._counter import Counter
from ._flash import CONTROLLERS, Cells, Controller
from ._signals import held_back
from ._uarts import UARTS, Line, Uart
from ._uarts import page as page_of
from ._watchdog import Watchdog

try:
    import unicorn as _unicorn
    from unicorn import arm_const as _arm

    uc_api: Any = _unicorn  # it exports its names without saying so, and has no types
    arm: Any = _arm
except ImportError:
    uc_api = arm = None

_CPUS: Mapping[str, str] = {
    "cortex-m0": "UC_CPU_ARM_CORTEX_M0",
    "cortex-m0plus": "UC_CPU_ARM_CORTEX_M0",
    "cortex-m3": "UC_CPU_ARM_CORTEX_M3",
    "cortex-m4": "UC_CPU_ARM_CORTEX_M4",
    "cortex-m7": "UC_CPU_ARM_CORTEX_M7",
    "cortex-m33": "UC_CPU_ARM_CORTEX_M33",
}
_PAGE = 0x1000
_SCS, _CPACR, _SHCSR, _MPU_TYPE, _DEMCR = 0xE000E000, 0xD88, 0xD24, 0xD90, 0xDFC
_VTOR, _AIRCR, _CFSR = 0xD08, 0xD0C, 0xD28
_AIRCR_RESET = 0x05FA0004
_DWT = 0xE0001000  # without a cycle counter: all zero
_END = 0xFFFFFFFE
_NAP_SECONDS, _SLICE_SECONDS = 0.005, 0.001
_LOOK_SECONDS = 0.5
"""Between looks at whether Ctrl-C was pressed."""
_RUBBISH = b"\xa5\x5a\xc3\x3c"
"""What RAM holds after a reset."""
_WFI = b"\x30\xbf"
_STACK_LIMIT = 19
"""The exception that ARMv8-M's MSPLIM raises."""
_ACCESSES = {"READ": "reads", "WRITE": "writes", "FETCH": "runs"}


class UnicornDevice(ClosingDevice):
    """`limit`: seconds that the firmware may compute before it asks for input again. `counter` counts the
    instructions if `count`, and nothing otherwise."""

    def __init__(self, elf: Path, board: Board, *, count: bool = False, limit: float = 900.0) -> None:
        if uc_api is None:
            raise DeviceError(
                "unicorn", "the Python package unicorn is missing", "pip install 'synapcc[virtual]'"
            )
        self.name = f"unicorn {uc_api.__version__}"
        if not board.emulator.unicorn or board.port.hal not in UARTS:
            what = f"{board.name} does not run in unicorn"
            raise DeviceError("unicorn", what, f"UARTs it has: {', '.join(UARTS)}; try another device")
        self._elf, self._board, self._count, self._limit = elf, board, count, limit
        with elf.open("rb") as handle:
            segments = [
                s for s in ELFFile(handle).iter_segments() if s["p_type"] == "PT_LOAD" and s["p_filesz"]
            ]
            self._segments = [(int(s["p_paddr"]), bytes(s.data())) for s in segments]
        self._store = thumb.span(elf, "_sstore", "_estore")
        self._kept = b""  # what a loss of power leaves of it
        self.resets = 0
        self._open = True
        self._watchdog = Watchdog(lambda: self._uc.emu_stop())
        self.reset()

    def reset(self) -> None:
        """Power off and on: RAM holds rubbish, nothing received or sent remains, the store keeps what it
        has."""
        if not self._open:
            raise DeviceError(self.name, "the device is closed")
        if self._kept:
            self._kept = self._memory(self._store.start, len(self._store))
        board, cpu = self._board, getattr(arm, _CPUS[self._board.core.cpu])
        # not UC_MODE_MCLASS: with it unicorn takes a Cortex-M33 whatever the model
        uc = uc_api.Uc(uc_api.UC_ARCH_ARM, uc_api.UC_MODE_THUMB, cpu)
        assert uc.ctl_get_cpu_model() == cpu
        self._uc, self._fault, self._seconds = uc, "", 0.0
        self._resetting = False
        self.counter = Counter()
        self._line = Line(bytearray(), bytearray(), uc.emu_stop, self._fail)
        flash = self._controller(uc)
        rights = uc_api.UC_PROT_ALL if flash else uc_api.UC_PROT_READ | uc_api.UC_PROT_EXEC
        uc.mem_map(board.flash.origin, board.flash.size, rights)
        uc.mem_map(board.ram.origin, board.ram.size, uc_api.UC_PROT_ALL)
        uc.mem_write(board.ram.origin, _RUBBISH * (board.ram.size // len(_RUBBISH)))
        if len(self._store):
            # RAM that stands for a flash holds rubbish at first, as all of it does
            new = b"\xff" if flash else _RUBBISH[:1]
            self._kept = self._kept or new * len(self._store)
            uc.mem_write(self._store.start, self._kept)
        try:
            for address, content in self._segments:
                uc.mem_write(address, content)
        except uc_api.UcError:
            raise DeviceError(
                self.name, "the firmware does not lie within the board's flash", "build it again"
            ) from None
        uart = UARTS[board.port.hal](self._line, board)

        def answers(address: int) -> Uart | Controller:
            return flash if flash and address in flash.registers else uart

        for page in sorted({*uart.pages, *([page_of(flash.registers.start)] if flash else [])}):
            uc.mmio_map(
                page, _PAGE,
                lambda _uc, at, _size, base: answers(base + at).read(base + at), page,
                lambda _uc, at, _size, value, base: answers(base + at).write(base + at, value), page,
            )  # fmt: skip
        uc.mmio_map(_SCS, _PAGE, self._read_scs, None, self._write_scs, None)
        uc.mmio_map(_DWT, _PAGE, lambda *_: 0, None, lambda *_: None, None)
        uc.hook_add(uc_api.UC_HOOK_INTR, self._interrupt)
        uc.hook_add(uc_api.UC_HOOK_MEM_INVALID, self._invalid)
        if self._count:
            uc.hook_add(uc_api.UC_HOOK_BLOCK, self.counter.block)
        stack, start = struct.unpack("<II", uc.mem_read(board.flash.origin, 8))
        uc.reg_write(arm.UC_ARM_REG_SP, stack)
        self._pc = start

    def _controller(self, uc: Any) -> Controller | None:
        """The controller of the chip's own flash, where the firmware has a store in it."""
        flash, hal = self._board.flash, self._board.port.hal
        if not len(self._store) or not flash.origin <= self._store.start < flash.end:
            return None
        self.cells = Cells(
            self._store, lambda at, size: bytes(uc.mem_read(at, size)), uc.mem_write, self._fail
        )
        made = CONTROLLERS[hal](self.cells, flash.block)

        def program(_uc: Any, _kind: int, address: int, size: int, value: int, _data: object) -> None:
            made.program(address, size, value)

        uc.hook_add(uc_api.UC_HOOK_MEM_WRITE, program, None, flash.origin, flash.end - 1)
        return made

    def write(self, data: bytes) -> None:
        self._check()
        self._line.received += data
        self._line.waiting = False
        self._seconds = 0.0

    def read(self, timeout: float) -> bytes:
        self._check()
        deadline = time.monotonic() + timeout
        while not self._line.sent and not self._line.waiting:
            left = deadline - time.monotonic()
            if left <= 0:
                break
            # A stop by time may come between a block and its count, which would then count twice.
            most = self._limit if self._count else min(left, _LOOK_SECONDS)
            with held_back(self._uc.emu_stop):
                self._run(min(most, max(self._limit - self._seconds, _SLICE_SECONDS)))
        data = bytes(self._line.sent)
        self._line.sent.clear()
        # It will never say anything by itself, but who asks again should not spin.
        if not data and self._line.waiting:
            time.sleep(max(0.0, min(timeout, _NAP_SECONDS)))
        return data

    def content(self, symbol: str, count: int) -> bytes:
        """`count` bytes of memory from where the ELF has `symbol`. DeviceError if it has not just one."""
        with self._elf.open("rb") as handle:
            table: Any = ELFFile(handle).get_section_by_name(".symtab")
            places = [int(s["st_value"]) for s in table.iter_symbols() if s.name == symbol]
        if len(places) != 1:
            what = f"{len(places)} symbols of the firmware are called {symbol}"
            raise DeviceError(self.name, what, "name one of its own")
        return self._memory(places[0], count)

    def stack_used(self) -> int:
        """Bytes of the stack, which lies lowest in RAM, that no longer hold what the reset put there.

        How deep it has been, unless the firmware writes to free stack itself, as one does that paints it.
        """
        origin = self._board.ram.origin
        (top,) = struct.unpack("<I", self._memory(self._board.flash.origin, 4))
        content = self._memory(origin, top - origin)
        free = 0
        while content.startswith(_RUBBISH, free):
            free += len(_RUBBISH)
        return len(content) - free

    def close(self) -> None:
        self._open = False

    def _check(self) -> None:
        if not self._open:
            raise DeviceError(self.name, "the device is closed")
        if self._fault:
            raise DeviceError(self.name, self._fault, "reset the device to start again")

    def _run(self, seconds: float) -> None:
        """Lets the chip run until it waits for input, or for `seconds`."""
        begin = time.monotonic()
        try:
            with self._watchdog.within(seconds):
                self._uc.emu_start(self._pc | 1, _END)
        except uc_api.UcError as error:
            self._fail(f"cannot go on: {error}")
        self._pc = self._uc.reg_read(arm.UC_ARM_REG_PC)
        self._seconds += time.monotonic() - begin
        if self._resetting:
            self._again()
            return
        if not self._line.waiting and not self._fault:
            if self._memory((self._pc & ~1) - 2, 2) == _WFI:
                self._fail("sleeps until an interrupt, and unicorn has none")
            elif self._seconds >= self._limit:
                self._fail(f"did not ask for input within {self._limit:g} s")
        if self._fault:
            self._fault = f"the firmware {self._fault}{self._place()}"
            if not self._line.sent:
                self._check()

    def _again(self) -> None:
        """The chip has asked for its own reset, which RAM outlives."""
        self.resets += 1
        self._resetting = False
        self._line.received.clear()
        self._line.next, self._line.waiting = 0, False
        stack, self._pc = struct.unpack("<II", self._memory(self._board.flash.origin, 8))
        self._uc.reg_write(arm.UC_ARM_REG_SP, stack)

    def _fail(self, what: str) -> None:
        self._fault = self._fault or what
        self._uc.emu_stop()

    def _place(self) -> str:
        """Where the chip stands, by the names in the ELF."""
        image = thumb.read_image(self._elf)
        places = []
        for label, register in (("PC", arm.UC_ARM_REG_PC), ("LR", arm.UC_ARM_REG_LR)):
            value = self._uc.reg_read(register)
            function = image.at(value & ~1)
            places.append(f"{label} {value & ~1:#010x}" + (f" in {function.name}" if function else ""))
        stack = self._uc.reg_read(arm.UC_ARM_REG_SP)
        if not self._board.ram.origin <= stack <= self._board.ram.end:
            places.append(f"SP {stack:#010x} outside RAM: stack overflow")
        return f" ({', '.join(places)})"

    def _memory(self, address: int, size: int) -> bytes:
        try:
            return bytes(self._uc.mem_read(address, size))
        except uc_api.UcError:
            return b""

    def _read_scs(self, _uc: Any, offset: int, _size: int, _data: object) -> int:
        if self._count and (value := self.counter.read(offset)) is not None:
            return value
        if offset not in (_CPACR, _SHCSR, _CFSR, _MPU_TYPE, _DEMCR):  # an MPU without regions: there is none
            self._fail(f"reads {_SCS + offset:#010x}, which this device does not model")
        return 0

    def _write_scs(self, _uc: Any, offset: int, _size: int, value: int, _data: object) -> None:
        if self._count and self.counter.write(offset, value):
            return
        if (offset, value) == (_AIRCR, _AIRCR_RESET):
            self._resetting = True
            self._uc.emu_stop()
            return
        # unicorn's FPU is always on, and it takes neither faults nor interrupts
        if offset not in (_VTOR, _CPACR, _SHCSR, _DEMCR):
            self._fail(f"writes {_SCS + offset:#010x}, which this device does not model")

    def _interrupt(self, uc: Any, number: int, _data: object) -> None:
        if number == _STACK_LIMIT:
            at = uc.reg_read(arm.UC_ARM_REG_SP)
            self._fail(f"would go below its stack's limit from {at:#010x}: stack overflow")
        self._fail(f"raised exception {number}")

    def _invalid(self, uc: Any, access: int, address: int, size: int, _value: int, _data: object) -> bool:
        kinds = [
            (f"UC_MEM_{kind}_{why}", verb) for kind, verb in _ACCESSES.items() for why in ("UNMAPPED", "PROT")
        ]
        verb = next((verb for name, verb in kinds if getattr(uc_api, name) == access), "uses")
        self._fail(f"{verb} {size} bytes at {address:#010x}, where the board does not let it")
        return False


def open(project: Path, argument: str, board: Board | None) -> UnicornDevice:
    """The firmware of `project`, built if need be. `argument`: nothing or `count`."""
    if argument not in ("", "count"):
        raise DeviceError(f"unicorn:{argument}", f"no option {argument!r}", "write unicorn or unicorn:count")
    return UnicornDevice(build(project).elf, board or project_board(project), count=argument == "count")
