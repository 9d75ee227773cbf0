"""What a board is, and which boards cannot be."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from .errors import CompileError

HALS = Path(__file__).resolve().parents[1] / "firmware" / "hal"

NOT_FOR_CHIPS = "process"  # the HAL of the host's own processes
RESETS = ("none", "dtr", "rts")
UPLOADERS = ("platformio", "pyocd")
_PIN = re.compile(r"P(?:([A-K])([0-9]|1[0-5])|([01])\.([0-2][0-9]|3[01]))")
_TAKES_PINS = "SYNAPCC_TX_PIN"  # a HAL that reads this macro cannot do without
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
}
"""The cores that both toolchains are told how to compile for, each with the FPUs it may have."""

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


@dataclass(frozen=True, slots=True)
class Region:
    """A stretch of memory, in bytes."""

    origin: int
    size: int

    @property
    def end(self) -> int:
        return self.origin + self.size


@dataclass(frozen=True, slots=True)
class Link:
    """The serial link: `hal` is the stem of a file in firmware/hal, `reset` the line that resets the chip.

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
    flash: Region
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
            hint = f"add [link] to the board file; `{NEW_BOARD}` writes one to fill in"
            raise CompileError(self.name, "the board has no [link], so there is no firmware for it", hint)
        return self.link

    @property
    def uart_clock_hz(self) -> int:
        """The clock that feeds the UART."""
        return self.port.clock_hz or self.clock_hz


def pin_number(name: str) -> int:
    """The number that HALs know a pin by: ST counts 16 to a port (PB3 is 19), Nordic 32 (P1.10 is 42).

    Raises ValueError if `name` is no pin.
    """
    found = _PIN.fullmatch(name)
    if found is None:
        raise ValueError(name)
    letter, number, port, pin = found.groups()
    return 16 * (ord(letter) - ord("A")) + int(number) if letter else 32 * int(port) + int(pin)


def hals() -> tuple[str, ...]:
    """The HALs that a chip can have, by the stems of their files."""
    return tuple(sorted(p.stem for p in HALS.glob("*.c") if p.stem != NOT_FOR_CHIPS))


def check_board(board: Board, where: str) -> None:
    """Raises CompileError for a board that cannot be, however well typed its file is."""
    _check_texts(board, where)
    _check_core(board.core, where)
    _check_memory(board, where)
    if board.clock_hz <= 0:
        raise CompileError(
            where, f"clock_hz = {board.clock_hz}", "the core clock in Hz, e.g. clock_hz = 25_000_000"
        )
    if board.link:
        _check_link(board.link, where)
    if not board.local and not board.platformio.framework:
        raise CompileError(
            where,
            "platformio.framework is missing",
            'a registry platform brings start-up code with a framework, e.g. "cmsis"',
        )
    if board.upload:
        _check_upload(board.upload, where)
    if board.power and (board.power.microamp_per_mhz <= 0 or not board.power.source):
        raise CompileError(
            where, "[power] needs a positive current and its source", "name the data sheet and the table"
        )


def _check_texts(board: Board, where: str) -> None:
    if not re.fullmatch(r"[a-z][a-z0-9_]*", board.name):
        raise CompileError(
            where,
            f'name "{board.name}" cannot be used in C and file names',
            "use a-z, 0-9 and _, a letter first",
        )
    for label, text in {
        "title": board.title,
        "url": board.url,
        "platform": board.platformio.platform,
        "platformio.board": board.platformio.board or "-",
        "platformio.framework": board.platformio.framework or "-",
        "emulator.qemu": board.emulator.qemu or "-",
        "upload.pyocd": (board.upload.pyocd if board.upload else "") or "-",
    }.items():
        if not text.strip() or any(not c.isprintable() or c in '"\\' for c in text):
            raise CompileError(
                where,
                f"`{label}` is empty or holds a quote, a backslash or a line break",
                "write one plain line",
            )


def _check_core(core: Core, where: str) -> None:
    if core.cpu not in CORES:
        raise CompileError(where, f'core.cpu "{core.cpu}" is unknown', f"cores: {', '.join(CORES)}")
    known = ", ".join(CORES[core.cpu]) or "none, leave it out"
    if core.fpu and core.fpu not in CORES[core.cpu]:
        raise CompileError(
            where, f'core.fpu "{core.fpu}" does not exist for a {core.cpu}', f"FPUs of this core: {known}"
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
                f"origin and size must be multiples of {PAGE}",
            )
    if board.flash.origin < board.ram.end and board.ram.origin < board.flash.end:
        raise CompileError(where, "flash and ram overlap", "correct the origins and sizes")
    if board.stack % 8 or not 256 <= board.stack < board.ram.size:
        raise CompileError(
            where,
            f"stack = {board.stack}",
            f"a multiple of 8, at least 256 and below ram.size = {board.ram.size}",
        )


def _check_link(link: Link, where: str) -> None:
    if link.hal not in hals():
        raise CompileError(
            where,
            f'link.hal "{link.hal}" is not there',
            f"firmware/hal has {', '.join(hals())}; add {link.hal}.c",
        )
    if link.baud <= 0 or link.clock_hz < 0 or not 0 <= link.uart_base < 2**32 or link.uart_base % 4:
        raise CompileError(
            where,
            "link.baud, link.clock_hz or link.uart_base is impossible",
            "baud is positive; uart_base is the address of a register block",
        )
    if link.reset not in RESETS:
        raise CompileError(where, f'link.reset "{link.reset}" is unknown', f"one of {', '.join(RESETS)}")
    for label, name in (("tx", link.tx), ("rx", link.rx)):
        if name and _PIN.fullmatch(name) is None:
            raise CompileError(where, f'link.{label} "{name}" is no pin', "write it as PA2, or P0.06")
        if not name and _TAKES_PINS in (HALS / f"{link.hal}.c").read_text(encoding="utf-8"):
            raise CompileError(
                where, f"link.{label} is missing", f"the HAL {link.hal} must know the pin, e.g. PA2 or P0.06"
            )


def _check_upload(upload: Upload, where: str) -> None:
    if upload.tool not in UPLOADERS:
        raise CompileError(where, f'upload.tool "{upload.tool}" is unknown', f"one of {', '.join(UPLOADERS)}")
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
