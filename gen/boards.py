"""Boards: one TOML file each, read into a frozen `Board`, and what PlatformIO needs to know of them."""

from __future__ import annotations

import difflib
import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields, is_dataclass
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, get_args, get_type_hints

from .errors import CompileError

BOARDS = Path(__file__).resolve().parents[1] / "boards"
HALS = Path(__file__).resolve().parents[1] / "firmware" / "hal"

LOCAL_PLATFORM = "synapcc"
"""The platform that travels inside the output folder, so that no registry is needed."""

CORES: Mapping[str, tuple[str, ...]] = {
    "cortex-m0": (),
    "cortex-m0plus": (),
    "cortex-m3": (),
    "cortex-m4": ("fpv4-sp-d16",),
    "cortex-m7": ("fpv5-sp-d16", "fpv5-d16"),
    "cortex-m33": ("fpv5-sp-d16",),
}
"""The cores that both toolchains are told how to compile for, each with the FPUs it may have."""

RESETS = ("none", "dtr", "rts")
PAGE = 1024  # the smallest page an emulated Cortex-M can map: memory must begin and end on one
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Core:
    """The processor: `cpu` as compilers name it, `fpu` empty when there is none."""

    cpu: str
    fpu: str = ""


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
    """The serial link: `hal` is the stem of a file in firmware/hal, `reset` the line that resets the chip."""

    hal: str
    uart_base: int
    baud: int = 115200
    reset: str = "none"


@dataclass(frozen=True, slots=True)
class PlatformIO:
    """Which PlatformIO platform builds for the board; `board` is its name there (default: the same name)."""

    platform: str
    board: str = ""
    framework: str = ""


@dataclass(frozen=True, slots=True)
class Emulator:
    """`qemu`: a machine of qemu-system-arm, or empty. `unicorn`: whether unicorn can run it, as the board's
    core."""

    qemu: str = ""
    unicorn: bool = False


@dataclass(frozen=True, slots=True)
class Power:
    """Supply current while running, for estimates, and the data sheet that says so."""

    microamp_per_mhz: float
    source: str


@dataclass(frozen=True, slots=True)
class Board:
    """A board as its TOML file describes it. `stack` is the room kept for the stack, in bytes."""

    name: str
    title: str
    url: str
    clock_hz: int
    stack: int
    core: Core
    flash: Region
    ram: Region
    link: Link
    platformio: PlatformIO
    emulator: Emulator = Emulator()
    power: Power | None = None

    @property
    def local(self) -> bool:
        """True if the platform inside the output folder builds for it."""
        return self.platformio.platform == LOCAL_PLATFORM


def board_names() -> tuple[str, ...]:
    """The names of the boards that come with synapcc."""
    return tuple(sorted(p.stem for p in BOARDS.glob("*.toml")))


def list_boards() -> tuple[Board, ...]:
    """Every board that comes with synapcc, by name. Raises CompileError if one of the files is wrong."""
    return tuple(load_board(name) for name in board_names())


def load_board(name_or_path: str | Path) -> Board:
    """The board of that name, or the one that a TOML file of the user's describes.

    Raises CompileError: no such board or file, not TOML, unknown or missing key, wrong type or value.
    """
    text = str(name_or_path)
    if not (isinstance(name_or_path, Path) or text.endswith(".toml") or "/" in text or "\\" in text):
        if text not in board_names():
            near = difflib.get_close_matches(text, board_names(), 1)
            hint = f"did you mean {near[0]}? " if near else ""
            raise CompileError(
                text,
                "there is no such board",
                f"{hint}boards: {', '.join(board_names())}; or give a path to a .toml file",
            )
        path, where = BOARDS / f"{text}.toml", f"boards/{text}.toml"
    else:
        path = Path(name_or_path)
        where = path.name
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "is not UTF-8 text"
        raise CompileError(
            str(path), f"cannot read the board file: {reason}", f"boards: {', '.join(board_names())}"
        ) from None
    except tomllib.TOMLDecodeError as error:
        raise CompileError(where, f"is not TOML: {error}", "see boards/mps2_an386.toml for a board") from None
    board = parse_board(data, where)
    if board.name != path.stem:
        raise CompileError(
            where, f'name is "{board.name}"', f'a board has the name of its file: name = "{path.stem}"'
        )
    return board


def parse_board(data: Mapping[str, Any], where: str) -> Board:
    """A validated Board from the tables of a TOML (or JSON) file; `where` names the file in errors."""
    board = _table(Board, data, where, "")
    _check(board, where)
    return board


def platformio_board(board: Board) -> str:
    """The board file PlatformIO wants, as JSON text; its `synapcc` part is the whole Board for
    `parse_board`."""
    description = {
        "name": board.title,
        "vendor": "synapcc",
        "url": board.url,
        "frameworks": [board.platformio.framework] if board.platformio.framework else [],
        "build": {
            "mcu": board.name,
            "cpu": board.core.cpu,
            "fpu": board.core.fpu,
            "f_cpu": f"{board.clock_hz}L",
        },
        "upload": {"maximum_size": board.flash.size, "maximum_ram_size": board.ram.size},
        "synapcc": board_dict(board),
    }
    return json.dumps(description, indent=2) + "\n"


def board_dict(board: Board) -> dict[str, Any]:
    """The tables of the board's TOML file, defaults filled in: `parse_board` takes them back."""
    return {key: value for key, value in asdict(board).items() if value is not None}


def _table(kind: type[_T], data: Mapping[str, Any], where: str, table: str) -> _T:
    """`data` as the dataclass `kind`, every key and type checked against its fields."""
    at = f"{where} [{table}]" if table else where
    hints = get_type_hints(kind)
    for key in data:
        if key not in hints:
            near = difflib.get_close_matches(key, hints, 1, 0.5)
            hint = f"did you mean `{near[0]}`?" if near else f"keys here: {', '.join(hints)}"
            raise CompileError(at, f"unknown key `{key}`", hint)
    values: dict[str, Any] = {}
    for field in fields(kind):  # type: ignore[arg-type]
        wanted = hints[field.name]
        if isinstance(wanted, UnionType):
            wanted = next(t for t in get_args(wanted) if t is not type(None))
        if field.name not in data:
            if field.default is MISSING:
                what = f"table [{field.name}]" if is_dataclass(wanted) else f"key `{field.name}`"
                raise CompileError(
                    at, f"{what} is missing", "see boards/mps2_an386.toml for a complete board"
                )
            continue
        values[field.name] = _value(wanted, data[field.name], at, field.name)
    return kind(**values)


def _value(wanted: Any, value: Any, at: str, key: str) -> Any:
    if is_dataclass(wanted) and isinstance(wanted, type):
        if not isinstance(value, Mapping):
            raise CompileError(at, f"`{key}` must be a table", f"write it as [{key}] with keys below it")
        return _table(wanted, value, at, key)
    if wanted is float and type(value) is int:
        return float(value)
    if type(value) is not wanted:
        names = {int: "a whole number", float: "a number", str: "a text in quotes", bool: "true or false"}
        raise CompileError(
            at, f"`{key}` is {value!r}, it must be {names[wanted]}", f"change `{key}` in the board file"
        )
    return value


def _check(board: Board, where: str) -> None:
    """Raises CompileError for a board that cannot be, however well typed its file is."""

    def refuse(what: str, hint: str) -> None:
        raise CompileError(where, what, hint)

    if not re.fullmatch(r"[a-z][a-z0-9_]*", board.name):
        refuse(
            f'name "{board.name}" cannot be used in C and file names', "use a-z, 0-9 and _, a letter first"
        )
    for label, text in {
        "title": board.title,
        "url": board.url,
        "platform": board.platformio.platform,
        "platformio.board": board.platformio.board or "-",
        "platformio.framework": board.platformio.framework or "-",
        "emulator.qemu": board.emulator.qemu or "-",
    }.items():
        if not text.strip() or any(not c.isprintable() or c in '"\\' for c in text):
            refuse(
                f"`{label}` is empty or holds a quote, a backslash or a line break", "write one plain line"
            )
    if board.core.cpu not in CORES:
        refuse(f'core.cpu "{board.core.cpu}" is unknown', f"cores: {', '.join(CORES)}")
    if board.core.fpu and board.core.fpu not in CORES[board.core.cpu]:
        known = ", ".join(CORES[board.core.cpu]) or "none, leave it out"
        refuse(
            f'core.fpu "{board.core.fpu}" does not exist for a {board.core.cpu}',
            f"FPUs of this core: {known}",
        )
    for label, region in (("flash", board.flash), ("ram", board.ram)):
        if (
            region.size <= 0
            or region.size % PAGE
            or region.origin % PAGE
            or not 0 <= region.origin <= 2**32 - region.size
        ):
            refuse(
                f"{label} at {region.origin:#x} of {region.size} bytes",
                f"origin and size must be multiples of {PAGE}",
            )
    if board.flash.origin < board.ram.end and board.ram.origin < board.flash.end:
        refuse("flash and ram overlap", "correct the origins and sizes")
    if board.stack % 8 or not 256 <= board.stack < board.ram.size:
        refuse(
            f"stack = {board.stack}", f"a multiple of 8, at least 256 and below ram.size = {board.ram.size}"
        )
    if board.clock_hz <= 0:
        refuse(f"clock_hz = {board.clock_hz}", "the core clock in Hz, e.g. 25_000_000")
    if board.link.baud <= 0 or not 0 <= board.link.uart_base < 2**32 or board.link.uart_base % 4:
        refuse(
            "link.baud or link.uart_base is impossible",
            "baud is positive; uart_base is the address of a register block",
        )
    if board.link.reset not in RESETS:
        refuse(f'link.reset "{board.link.reset}" is unknown', f"one of {', '.join(RESETS)}")
    hals = sorted(p.stem for p in HALS.glob("*.c"))
    if board.link.hal not in hals:
        refuse(
            f'link.hal "{board.link.hal}" is not there',
            f"firmware/hal has {', '.join(hals) or 'nothing'}; add {board.link.hal}.c",
        )
    if not board.local and not board.platformio.framework:
        refuse(
            "platformio.framework is missing",
            'a registry platform brings start-up code with a framework, e.g. "cmsis"',
        )
    if board.power and (board.power.microamp_per_mhz <= 0 or not board.power.source):
        refuse("[power] needs a positive current and its source", "name the data sheet and the table")
