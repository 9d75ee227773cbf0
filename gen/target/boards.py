"""Boards: one TOML file each, read into a frozen `Board`, and what PlatformIO needs to know of them."""

from __future__ import annotations

import difflib
import json
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, asdict, fields, is_dataclass, replace
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, get_args, get_type_hints

from ..errors import CompileError
from ..files.userfile import read_text
from ..words import short, what_is
from .board import (
    CORES,
    GENERIC,
    LOCAL_PLATFORM,
    PORTABLE,
    WORD,
    Board,
    Core,
    Emulator,
    Flash,
    Link,
    PlatformIO,
    Power,
    Region,
    Upload,
    check_board,
)
from .hals import hals, is_own, pin_number, read_hal

__all__ = [
    "BOARDS",
    "CORES",
    "GENERIC",
    "LOCAL_PLATFORM",
    "Board",
    "Core",
    "Emulator",
    "Flash",
    "Link",
    "PlatformIO",
    "Power",
    "Region",
    "Upload",
    "board_dict",
    "board_names",
    "generic_board",
    "hals",
    "list_boards",
    "load_board",
    "parse_board",
    "pin_number",
    "platformio_board",
]

BOARDS = Path(__file__).resolve().parents[2] / "boards"
MAX_FILE = 1 << 20
_T = TypeVar("_T")


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
        if text == GENERIC:
            hint = "--core cortex-m4 --flash 512K --ram 128K"
            raise CompileError(text, "is a board whose core, flash and RAM you name", hint)
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
    text = read_text(path, MAX_FILE, CompileError, f"boards: {', '.join(board_names())}")
    try:
        data = tomllib.loads(text)
    # TOMLDecodeError is a ValueError; so is an integer of 5,000 digits.
    except (ValueError, RecursionError) as error:
        reason = str(error) if isinstance(error, ValueError) else "it is nested too deeply"
        raise CompileError(
            where, f"is not TOML: {reason}", "see boards/mps2_an386.toml for a board"
        ) from None
    board = parse_board(data, where)
    if board.link and is_own(board.link.hal):
        board = replace(board, link=replace(board.link, code=read_hal(path.parent / board.link.hal)))
        check_board(board, where)
    if board.name != path.stem:
        raise CompileError(
            where, f'name is "{board.name}"', f'a board has the name of its file: name = "{path.stem}"'
        )
    return board


def generic_board(core: str, flash: int, ram: int, stack: int = 0) -> Board:
    """Any chip with that core, and that much flash and RAM in bytes: for the library and a look whether it
    fits. `stack` is kept for the stack; 0: 4096, and at most a quarter of the RAM.

    Raises CompileError: no such core, impossible sizes.
    """
    stack = stack or min(4096, ram // 4 // 8 * 8)
    board = Board(
        name=GENERIC,
        title=f"Any {'core of 32 bits' if core == PORTABLE else core.replace('cortex-m', 'Cortex-M')}",
        url="https://developer.arm.com/Processors",
        clock_hz=1_000_000,  # nothing reads it: times need a board
        stack=stack,
        core=Core(core),
        flash=Flash(0, flash),
        ram=Region(0x2000_0000, ram),
    )
    check_board(board, GENERIC)
    return board


def parse_board(data: Mapping[str, Any], where: str) -> Board:
    """A validated Board from the tables of a TOML (or JSON) file; `where` names the file in errors."""
    board = _table(Board, data, where, "")
    check_board(board, where)
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
    tables = {key: value for key, value in asdict(board).items() if value is not None}
    if board.link:
        del tables["link"]["code"]
    return tables


def _table(kind: type[_T], data: Mapping[str, Any], where: str, table: str) -> _T:
    """`data` as the dataclass `kind`, every key and type checked against its fields."""
    at = f"{where} [{table}]" if table else where
    keys = [f for f in fields(kind) if f.metadata.get("key", True)]  # type: ignore[arg-type]
    hints = {f.name: get_type_hints(kind)[f.name] for f in keys}
    for key in data:
        if key not in hints:
            near = difflib.get_close_matches(key, hints, 1, 0.5)
            hint = f"did you mean `{near[0]}`?" if near else f"keys here: {', '.join(hints)}"
            raise CompileError(at, f"unknown key `{short(key)}`", hint)
    values: dict[str, Any] = {}
    for field in keys:
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
    if type(value) is int and abs(value) > WORD:
        raise CompileError(at, f"`{key}` is {what_is(value)}", f"change `{key}` in the board file")
    if wanted is float and type(value) is int:
        return float(value)
    if type(value) is not wanted:
        names = {int: "a whole number", float: "a number", str: "a text in quotes", bool: "true or false"}
        raise CompileError(
            at,
            f"`{key}` is {what_is(value)}, it must be {names[wanted]}",
            f"change `{key}` in the board file",
        )
    return value
