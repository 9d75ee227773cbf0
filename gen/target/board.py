"""What a board is, and which boards cannot be."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from ..errors import CompileError
from ..words import short
from .hals import (
    FASTEST,
    NEEDS,
    PINS,
    SLOWEST,
    Needs,
    check_hal,
    hals,
    is_own,
    pin_number,
    takes_pins,
)

RESETS = ("none", "dtr", "rts")
UPLOADERS = ("platformio", "pyocd")
WORD = 2**32  # what C holds in 32 bits ends below it
MOST_POWER = 1e6  # microampere per MHz; a Cortex-M needs some hundred
LONGEST_NAME, LONGEST_TEXT = 48, 200
_DEVICES, _SYSTEM = (0x4000_0000, 0x6000_0000), (0xE000_0000, 2**32)  # where a Cortex-M has no memory
# Words that become an argument of somebody else's program, which would read more into a comma or a colon.
_WORD = r"[A-Za-z0-9][A-Za-z0-9_.+-]*"
_FORMS = {
    "platformio.platform": (
        rf"(?:{_WORD}/)?{_WORD}(?:@[~^]?[0-9][A-Za-z0-9_.+-]*)?",
        'a name of the registry, e.g. "ststm32" or "ststm32@17.0.0": one from elsewhere could run anything',
    ),
    "platformio.board": (_WORD, "the board's name in its platform"),
    "platformio.framework": (_WORD, 'the name of a framework, e.g. "cmsis"'),
    "emulator.qemu": (_WORD, "the name of a machine alone: qemu-system-arm -M help lists them"),
    "upload.pyocd": (_WORD, "the chip as `pyocd list --targets` names it"),
}
WIDEST_WORD, LARGEST_BLOCK, MOST_CYCLES = 256, 1 << 20, 1 << 21  # of a flash: firmware/keep.c
UART_BYTES = 4096  # no HAL reaches further into a UART's registers
PAGE = 1024  # the smallest page an emulated Cortex-M can map: memory must begin and end on one

LOCAL_PLATFORM = "synapcc"
"""The platform that travels inside the output folder, so that no registry is needed."""

CORES: Mapping[str, tuple[str, ...]] = {
    "cortex-m0": (),
    "cortex-m0plus": (),
    "cortex-m3": (),
    "cortex-m4": ("fpv4-sp-d16",),
    "cortex-m7": ("fpv5-sp-d16", "fpv5-d16"),
    "cortex-m33": ("fpv5-sp-d16",),
    "cortex-m55": ("fpv5-d16",),
    "portable": (),
}
"""The cores that both toolchains know how to compile for, each with the FPUs it may have; and PORTABLE."""

PORTABLE = "portable"
"""Any core of 32 bits: the library alone, in C99 and nothing else."""

MVE_CORES = ("cortex-m55",)

GUARDS: Mapping[str, str] = {
    "cortex-m3": "MPU",
    "cortex-m4": "MPU",
    "cortex-m7": "MPU",
    "cortex-m33": "MSPLIM",
    "cortex-m55": "MSPLIM",
}
"""What start-up closes the memory below the stack with; a core that is not here has nothing for it."""

NEW_BOARD = "synapcc new-board NAME"
GENERIC = "generic"
"""The board whose core, flash and RAM the user names: `generic_board`. It has no file."""


@dataclass(frozen=True, slots=True)
class Core:
    """The processor: `cpu` as compilers name it, `fpu` empty when there is none, `mve`: it has Helium."""

    cpu: str
    fpu: str = ""
    mve: bool = False

    @property
    def guard(self) -> str:
        """What notices a stack that overflows: "MPU", "MSPLIM", or nothing."""
        return GUARDS.get(self.cpu, "")

    @property
    def portable(self) -> bool:
        """Whether it may be any core, and so nothing is known of its instructions or its compiler."""
        return self.cpu == PORTABLE


@dataclass(frozen=True, slots=True)
class Region:
    """A stretch of memory, in bytes."""

    origin: int
    size: int

    @property
    def end(self) -> int:
        return self.origin + self.size


@dataclass(frozen=True, slots=True)
class Flash(Region):
    """Flash, and what a store in it must know; all 0 where it is not known.

    word: bytes that are programmed at once; block: those that are erased at once, where a store would lie
    cycles: erases that the maker promises for each block; source: the data sheet that says so
    simulated: RAM stands for it, on a virtual board
    """

    word: int = 0
    block: int = 0
    cycles: int = 0
    source: str = ""
    simulated: bool = False


@dataclass(frozen=True, slots=True)
class Link:
    """The serial link: `hal` is the stem of a file in firmware/hal, or NAME.c, a file beside the board's,
    whose text is `code`; `reset` is the line that resets the chip.

    `clock_hz` feeds the UART (0: the core's clock does); `tx` and `rx` are the chip's pins as its maker
    writes them, PA2 or P0.06, where the HAL has to choose them.
    """

    hal: str
    uart_base: int
    baud: int = 115200
    reset: str = "none"
    clock_hz: int = 0
    tx: str = ""
    rx: str = ""
    code: str = field(default="", metadata={"key": False}, repr=False)  # not of the board's file

    @property
    def hal_stem(self) -> str:
        """The HAL's file in src/hal of an output folder, without its suffix."""
        return self.hal.removesuffix(".c")

    @property
    def pins(self) -> tuple[int, int] | None:
        """(transmit, receive) by the numbers that HALs use; None where the chip leaves no choice."""
        return (pin_number(self.tx), pin_number(self.rx)) if self.tx and self.rx else None


@dataclass(frozen=True, slots=True)
class PlatformIO:
    """Which PlatformIO platform builds for the board; `board` is its name there (default: the same name)."""

    platform: str = LOCAL_PLATFORM
    board: str = ""
    framework: str = ""


@dataclass(frozen=True, slots=True)
class Emulator:
    """`qemu`: a machine of qemu-system-arm, or empty. `unicorn`: whether unicorn can run it, as the board's
    core."""

    qemu: str = ""
    unicorn: bool = False


@dataclass(frozen=True, slots=True)
class Upload:
    """How the firmware gets onto the chip. `command` is what PlatformIO's upload runs ($SOURCE is the ELF,
    $BUILD_DIR/firmware.bin its image, $UPLOAD_PORT the port), `pyocd` the chip as pyOCD names it; either may
    be empty. `tool`: which of them `synapcc flash` takes, "platformio" or "pyocd"."""

    command: str = ""
    pyocd: str = ""
    tool: str = "platformio"


@dataclass(frozen=True, slots=True)
class Power:
    """Supply current while running, for estimates, and the data sheet that says so."""

    microamp_per_mhz: float
    source: str


@dataclass(frozen=True, slots=True)
class Board:
    """A board as its TOML file describes it. `stack` is the room kept for the stack, in bytes.

    Without a `link` there is nothing to talk to: the library is compiled and held against the memory, and no
    firmware comes with it. Without an `upload` the board is virtual.
    """

    name: str
    title: str
    url: str
    clock_hz: int
    stack: int
    core: Core
    flash: Flash
    ram: Region
    link: Link | None = None
    platformio: PlatformIO = PlatformIO()
    emulator: Emulator = Emulator()
    upload: Upload | None = None
    power: Power | None = None

    @property
    def local(self) -> bool:
        """True if the platform inside the output folder builds for it."""
        return self.platformio.platform == LOCAL_PLATFORM

    @property
    def port(self) -> Link:
        """The link of a board that has one. Raises CompileError for one that has none."""
        if self.link is None:
            hint = (
                f"take the library, `synapcc compile ... --board {self.name} --package KIND`, or add [link]"
            )
            what = "the board has no [link], so there is no firmware for it"
            raise CompileError(self.name, what, f"{hint} to a board file: `{NEW_BOARD}` writes one")
        return self.link

    @property
    def uart_clock_hz(self) -> int:
        """The clock that feeds the UART."""
        return self.port.clock_hz or self.clock_hz


def check_board(board: Board, where: str) -> None:
    """Raises CompileError for a board that cannot be, however well typed its file is."""
    _check_texts(board, where)
    _check_core(board.core, where)
    _check_memory(board, where)
    _check_blocks(board.flash, where)
    if not 0 < board.clock_hz < WORD:
        hint = "the core clock in Hz, below 2^32, e.g. clock_hz = 25_000_000"
        raise CompileError(where, f"clock_hz = {board.clock_hz}", hint)
    if board.link:
        if board.core.portable:
            hint = "leave [link] out: the library alone is for any core"
            raise CompileError(where, f"there is no firmware for the core {PORTABLE}", hint)
        _check_link(board, board.link, where)
    if not board.local and not board.platformio.framework:
        raise CompileError(
            where,
            "platformio.framework is missing",
            'a registry platform brings start-up code with a framework, e.g. "cmsis"',
        )
    if board.upload:
        _check_upload(board.upload, where)
    if board.power and (not 0 < board.power.microamp_per_mhz <= MOST_POWER or not board.power.source):
        hint = f"name the data sheet and the table; microamp_per_mhz is at most {MOST_POWER:g}"
        raise CompileError(where, "[power] needs a positive current and its source", hint)


def _check_texts(board: Board, where: str) -> None:
    if not re.fullmatch(r"[a-z][a-z0-9_]*", board.name) or len(board.name) > LONGEST_NAME:
        raise CompileError(
            where,
            f'name "{short(board.name)}" cannot be used in C and file names',
            f"use a-z, 0-9 and _, a letter first, {LONGEST_NAME} characters at most",
        )
    source = board.power.source if board.power else "-"
    texts = {"title": board.title, "url": board.url, "power.source": source or "-"}
    if board.flash.block:
        texts["flash.source"] = board.flash.source
    for label, text in texts.items():
        if not text.strip() or any(not c.isprintable() or c in '"\\' for c in text):
            raise CompileError(
                where,
                f"`{label}` is empty or holds a quote, a backslash or a line break",
                "write one plain line",
            )
        if len(text) > LONGEST_TEXT:
            raise CompileError(where, f"`{label}` has {len(text)} characters", f"{LONGEST_TEXT} at most")
    for label, text in {
        "platformio.platform": board.platformio.platform,
        "platformio.board": board.platformio.board,
        "platformio.framework": board.platformio.framework,
        "emulator.qemu": board.emulator.qemu,
        "upload.pyocd": board.upload.pyocd if board.upload else "",
    }.items():
        form, hint = _FORMS[label]
        needed = label == "platformio.platform"
        if (text or needed) and (re.fullmatch(form, text) is None or len(text) > LONGEST_TEXT):
            raise CompileError(where, f'{label} "{short(text)}" is no name', f"give {hint}")


def _check_core(core: Core, where: str) -> None:
    if core.cpu not in CORES:
        raise CompileError(where, f'core.cpu "{short(core.cpu)}" is unknown', f"cores: {', '.join(CORES)}")
    known = ", ".join(CORES[core.cpu]) or "none, leave it out"
    if core.fpu and core.fpu not in CORES[core.cpu]:
        raise CompileError(
            where,
            f'core.fpu "{short(core.fpu)}" does not exist for a {core.cpu}',
            f"FPUs of this core: {known}",
        )
    if core.mve and core.cpu not in MVE_CORES:
        raise CompileError(
            where, f"core.mve: a {core.cpu} has no vectors", f"only {', '.join(MVE_CORES)} has"
        )
    if core.mve and not core.fpu:
        raise CompileError(
            where, "core.mve needs core.fpu, whose registers the vectors are", f"FPUs of this core: {known}"
        )


def _check_memory(board: Board, where: str) -> None:
    for label, region in (("flash", board.flash), ("ram", board.ram)):
        if (
            region.size <= 0
            or region.size % PAGE
            or region.origin % PAGE
            or not 0 <= region.origin <= 2**32 - region.size
        ):
            raise CompileError(
                where,
                f"{label} at {region.origin:#x} of {region.size} bytes",
                f"origin and size must be multiples of {PAGE}, within 2^32",
            )
        for low, high in () if board.core.portable else (_DEVICES, _SYSTEM):
            if region.origin < high and low < region.end:
                what = f"{label} at {region.origin:#x} of {region.size} bytes reaches where no memory is"
                hint = "0x40000000 to 0x5fffffff are peripherals, from 0xe0000000 on there is the core itself"
                raise CompileError(where, what, hint)
    if board.flash.origin < board.ram.end and board.ram.origin < board.flash.end:
        raise CompileError(where, "flash and ram overlap", "correct the origins and sizes")
    if board.stack % 8 or not 256 <= board.stack < board.ram.size:
        raise CompileError(
            where,
            f"stack = {board.stack}",
            f"a multiple of 8, at least 256 and below ram.size = {board.ram.size}",
        )


def _check_blocks(flash: Flash, where: str) -> None:
    """What a store is told of the flash: all of it, or nothing."""
    if not (flash.word or flash.block or flash.cycles or flash.source or flash.simulated):
        return
    if not 1 <= flash.word <= WIDEST_WORD or flash.word & (flash.word - 1):
        hint = f"a power of two up to {WIDEST_WORD}: the bytes that are programmed at once"
        raise CompileError(where, f"flash.word = {flash.word}", hint)
    if not 0 < flash.block <= min(LARGEST_BLOCK, flash.size) or flash.block % max(flash.word, 4):
        most = min(LARGEST_BLOCK, flash.size)
        hint = f"the bytes that are erased at once: a multiple of word and of 4, at most {most}"
        raise CompileError(where, f"flash.block = {flash.block}", hint)
    if not 0 < flash.cycles < MOST_CYCLES:
        hint = f"erases of a block that the data sheet promises, below {MOST_CYCLES}"
        raise CompileError(where, f"flash.cycles = {flash.cycles}", hint)


def _check_link(board: Board, link: Link, where: str) -> None:
    if is_own(link.hal):
        check_hal(link.hal, where)
    elif link.hal not in hals():
        raise CompileError(
            where,
            f'link.hal "{short(link.hal)}" is not there',
            f'synapcc has {", ".join(hals())}; one of your own is a file beside the board\'s, hal = "mine.c"',
        )
    if link.reset not in RESETS:
        what = f'link.reset "{short(link.reset)}" is unknown'
        raise CompileError(where, what, f"one of {', '.join(RESETS)}")
    needs = NEEDS.get(link.hal, Needs())
    _check_pins(link, needs, where)
    _check_clocks(board, link, needs, where)
    _check_uart(board, link, needs, where)


def _check_clocks(board: Board, link: Link, needs: Needs, where: str) -> None:
    """The UART's clock, and the baud rate that is divided from it."""
    if not 0 <= link.clock_hz < WORD:
        hint = "positive and below 2^32, or leave it out: the core's clock"
        raise CompileError(where, f"link.clock_hz = {link.clock_hz}", hint)
    for key, clock in (("clock_hz", board.clock_hz), ("link.clock_hz", board.uart_clock_hz)):
        if needs.clock_hz and clock != needs.clock_hz:
            hint = f"{needs.clock_hz} is the clock that the HAL {link.hal} sets up"
            raise CompileError(where, f"{key} = {clock}", hint)
    slow, fast = needs.bauds(board.uart_clock_hz)
    if not slow <= link.baud <= fast:
        rates = f"the HAL {link.hal} reaches {slow} to {fast} baud"
        none = f"with a UART's clock of {board.uart_clock_hz} Hz there is no rate from {SLOWEST} to {FASTEST}"
        raise CompileError(where, f"link.baud = {link.baud}", rates if slow <= fast else none)


def _check_uart(board: Board, link: Link, needs: Needs, where: str) -> None:
    """The registers: aligned, where peripherals can be, and a UART that the HAL knows."""
    base = link.uart_base
    in_memory = any(base < r.end and r.origin < base + UART_BYTES for r in (board.flash, board.ram))
    if base % 4 or not _DEVICES[0] <= base <= WORD - UART_BYTES or in_memory:
        what = f"link.uart_base = {base:#x} is no address of a UART's registers"
        hint = f"a multiple of 4 from {_DEVICES[0]:#x} on, outside of flash and RAM"
        raise CompileError(where, what, hint)
    if needs.uarts and base not in needs.uarts:
        known = ", ".join(f"{u:#x}" for u in needs.uarts)
        raise CompileError(where, f"link.uart_base = {base:#x}", f"the HAL {link.hal} knows {known}")


def _check_pins(link: Link, needs: Needs, where: str) -> None:
    ways = [needs.pins] if needs.pins else list(PINS)
    for label, name in (("tx", link.tx), ("rx", link.rx)):
        if name and not any(PINS[way].fullmatch(name) for way in ways):
            what = f'link.{label} "{short(name)}" is no pin'
            raise CompileError(where, what, f"write it as {', or '.join(ways)}")
        if not name and takes_pins(link.hal, link.code):
            hint = f"the HAL {link.hal} must know the pin, e.g. {' or '.join(ways)}"
            raise CompileError(where, f"link.{label} is missing", hint)
    if link.tx and link.tx == link.rx:
        raise CompileError(where, f"link.tx and link.rx are both {link.tx}", "give each its own pin")


def _check_upload(upload: Upload, where: str) -> None:
    if upload.tool not in UPLOADERS:
        raise CompileError(
            where, f'upload.tool "{short(upload.tool)}" is unknown', f"one of {', '.join(UPLOADERS)}"
        )
    command = upload.command
    if any(not c.isprintable() or c in "\\;#" for c in command) or "${" in command:
        raise CompileError(
            where,
            "upload.command holds ; # ${ a backslash or a line break, which platformio.ini would not keep",
            "write one command line; variables are $SOURCE, $BUILD_DIR and $UPLOAD_PORT",
        )
    if not (upload.command if upload.tool == "platformio" else upload.pyocd):
        key = "command" if upload.tool == "platformio" else "pyocd"
        raise CompileError(
            where,
            f'[upload] has tool = "{upload.tool}" and no `{key}`',
            f"add {key} = ..., or leave [upload] out",
        )
