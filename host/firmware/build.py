"""Builds the firmware of an output folder and reads from the ELF what it needs: flash, RAM, stack,
libraries."""

from __future__ import annotations

import configparser
import hashlib
import json
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile

from synapcc.gen.errors import CompileError, SynapccError
from synapcc.gen.files.userfile import read_file, read_text
from synapcc.gen.target.boards import Board, board_names, load_board, parse_board

from ..terminal.files import locked
from . import elf as thumb
from . import linkmap, platformio, stack
from .linkmap import Linked
from .platformio import BuildError
from .stack import StackReport

__all__ = ["BuildError", "BuildResult", "build", "project_board"]

TOOLCHAINS = ("gcc", "zig")
MAX_BOARD, MAX_SOURCE, MAX_REPORT = 1 << 20, 1 << 28, 1 << 28
_SOURCES = ("src", "include", "lib", "platforms")
_OVERFLOW = re.compile(r"region [`'](\w+)'(?::)? overflowed by (\d+) bytes")
_ERROR = re.compile(
    r"^(\S.*?:\d+(?::\d+)?: (?:fatal )?error: .*|.*undefined reference to .*|ld\.lld: error: .*)$", re.M
)


@dataclass(frozen=True, slots=True)
class BuildResult:
    """What was built. `flash` and `ram` (initialised and zeroed data, without the stack) are in bytes;
    `guard` is what notices a stack that overflows, empty where nothing does."""

    elf: Path
    board: str
    toolchain: str
    flash: int
    ram: int
    stack: StackReport
    linked: Linked
    guard: str

    def to_dict(self) -> dict[str, Any]:
        """Everything, ready for JSON."""
        return {**asdict(self), "elf": str(self.elf)}


def project_board(project: Path) -> Board:
    """The board that `project` was compiled for. Raises BuildError if that is no output folder."""
    ini = configparser.ConfigParser(interpolation=None)
    try:
        ini.read_string(read_text(project / "platformio.ini", MAX_BOARD))
        name = ini["platformio"]["default_envs"].strip()
        path = project / "platforms" / "synapcc" / "boards" / f"{name}.json"
        return parse_board(json.loads(read_text(path, MAX_BOARD))["synapcc"], path.name)
    except CompileError:
        raise
    except (SynapccError, configparser.Error, KeyError, TypeError, ValueError, RecursionError):
        if (project / "plan.json").is_file() and not (project / "platformio.ini").exists():
            hint = "take its lib into a project (synapcc docs PACKAGES), or compile for a board with a link"
            raise BuildError(str(project), f"holds the library only: {_why_alone(project)}", hint) from None
        hint = "give the folder that `synapcc compile ... -o FOLDER` wrote"
        raise BuildError(str(project), "is not an output folder of synapcc", hint) from None


def _why_alone(project: Path) -> str:
    """Why there is no firmware in an output folder, by the name of its board where the report says that."""
    try:
        name = json.loads(read_text(project / "report.json", MAX_REPORT))["board"]
        board = load_board(name) if name in board_names() else None
    except (SynapccError, KeyError, TypeError, ValueError, RecursionError):
        board = None
    if board is None:
        return "its board has no [link], or it infers only"
    return "it infers only" if board.link else f"its board {board.name} has no [link]"


def build(project: Path, toolchain: str | None = None) -> BuildResult:
    """Compiles and links `project`, unless that is done already, with `toolchain`: "gcc" or "zig"; None: what
    was used last, or what its platformio.ini says.

    Raises BuildError with one clear line: no toolchain, an error of the compiler, too large for the board.
    """
    if toolchain not in (None, *TOOLCHAINS):
        raise BuildError(
            "build", f'there is no toolchain "{toolchain}"', f"toolchains: {', '.join(TOOLCHAINS)}"
        )
    project = Path(os.path.realpath(project))
    board = project_board(project)
    folder = project / ".pio" / "build" / board.name
    try:
        with locked(project / ".pio" / "synapcc.lock"):
            sources = _fingerprint(project)
            known = _recall(folder, sources, toolchain)
            if known is not None:
                return known
            chosen = _run(project, board, folder, toolchain)
            result = inspect(folder / "firmware.elf", board, chosen["version"])
            _remember(folder, sources, chosen["name"], result)
            return result
    except OSError as error:
        raise BuildError(
            str(project), f"cannot build here: {error.strerror or error}", "is the folder writable?"
        ) from None


def inspect(elf: Path, board: Board, toolchain: str) -> BuildResult:
    """Sizes, stack and library functions of `elf` and the objects beside it. Raises BuildError if it does not
    fit."""
    objects = sorted(elf.parent.rglob("*.o"))
    try:
        image = thumb.read_image(elf)
        deepest = stack.analyse(image, objects, sorted(elf.parent.rglob("*.su")), bool(board.core.fpu))
        linked = linkmap.inspect(image, stack.read_references(objects).own)
        flash = _flash_bytes(elf, board)
    except ELFError as error:
        raise BuildError(
            str(elf), f"is not a sound ELF file: {error}", "delete the folder .pio and build again"
        ) from None
    in_ram = range(board.ram.origin, board.ram.end)
    ram = sum(size for name, (at, size) in image.sections.items() if at in in_ram and "stack" not in name)
    missing = (deepest.bytes or 0) - board.stack
    if flash > board.flash.size:
        raise _too_large(board, "flash", flash - board.flash.size, objects)
    if missing > 0:
        what = (
            f"the stack may need {deepest.bytes} bytes, the board file keeps {board.stack}: {missing} too few"
        )
        raise BuildError(board.name, what, f"raise `stack` in the board file; deepest: {deepest.text()}")
    return BuildResult(elf, board.name, toolchain, flash, ram, deepest, linked, board.core.guard)


def _flash_bytes(elf: Path, board: Board) -> int:
    with elf.open("rb") as handle:
        segments = [s.header for s in ELFFile(handle).iter_segments() if s["p_type"] == "PT_LOAD"]
    inside = range(board.flash.origin, board.flash.end)
    return sum(int(s["p_filesz"]) for s in segments if s["p_paddr"] in inside)


@cache
def _judges() -> bytes:
    """SHA-256 over the files that say what a build needs and links: another synapcc may say otherwise."""
    found = sorted(Path(__file__).parent.glob("*.py"))
    return hashlib.sha256(b"".join(path.read_bytes() for path in found)).digest()


def _fingerprint(project: Path) -> str:
    """SHA-256 over every file that the firmware is made of, and over what looks at it then."""
    digest = hashlib.sha256(_judges())
    files = [
        p
        for folder in _SOURCES
        for p in (project / folder).rglob("*")
        if not p.is_dir() and "__pycache__" not in p.parts
    ]
    for path in sorted([*files, project / "platformio.ini"]):
        content = read_file(path, MAX_SOURCE, BuildError, "compile the model again")
        digest.update(f"{path.relative_to(project).as_posix()}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()


def _remember(folder: Path, sources: str, name: str, result: BuildResult) -> None:
    stamp = {"sources": sources, "elf": _hash(result.elf), "name": name, "result": result.to_dict()}
    (folder / "synapcc.json").write_text(json.dumps(stamp), encoding="utf-8", newline="\n")


def _recall(folder: Path, sources: str, toolchain: str | None) -> BuildResult | None:
    elf = folder / "firmware.elf"
    try:
        stamp = json.loads((folder / "synapcc.json").read_text(encoding="utf-8"))
        if (
            stamp["sources"] != sources
            or stamp["elf"] != _hash(elf)
            or toolchain not in (None, stamp["name"])
        ):
            return None
        known = stamp["result"]
        deep, linked = known.pop("stack"), known.pop("linked")
        deep["chain"], deep["library"] = (tuple((n, b) for n, b in deep[k]) for k in ("chain", "library"))
        deep["problems"] = tuple(deep["problems"])
        return BuildResult(
            **{**known, "elf": elf},
            stack=StackReport(**deep),
            linked=Linked(**{k: tuple(v) for k, v in linked.items()}),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None  # no stamp, or one of another version: build again


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _run(project: Path, board: Board, folder: Path, toolchain: str | None) -> dict[str, str]:
    """Runs PlatformIO; the toolchain it took, by `name` and `version`."""
    # SCons does not notice that somebody else wrote to what it made.
    for name in ("firmware.elf", "firmware.bin"):
        (folder / name).unlink(missing_ok=True)
    extra: Mapping[str, str] = {"SYNAPCC_TOOLCHAIN": toolchain} if toolchain else {}
    done = platformio.run(project, "run", "-e", board.name, extra=extra)
    log = project / ".pio" / "build.log"
    log.write_text(done.stdout, encoding="utf-8", newline="\n")
    if done.returncode != 0 or not (folder / "firmware.elf").is_file():
        raise _explain(done.stdout, board, log, folder, _set_aside(project, board))
    if not board.local:
        return {"name": "registry", "version": f"PlatformIO {board.platformio.platform}"}
    chosen: dict[str, str] = json.loads((folder / "toolchain.json").read_text(encoding="utf-8"))
    return chosen


def _set_aside(project: Path, board: Board) -> tuple[str, int]:
    """Where the linker script keeps bytes for the store, flash or ram, and how many."""
    ini = configparser.ConfigParser(interpolation=None)
    ini.read_string(read_text(project / "platformio.ini", MAX_BOARD))
    own = ini[f"env:{board.name}"]
    try:
        return own.get("custom_store_in", "flash"), own.getint("custom_store", 0)
    except ValueError:
        return "flash", 0  # somebody else's number, which the build itself refuses


def _explain(output: str, board: Board, log: Path, folder: Path, aside: tuple[str, int]) -> BuildError:
    """The one line of a failed build's output that tells most."""
    excess: dict[str, int] = {}
    for region, count in _OVERFLOW.findall(output):
        excess[region.lower()] = max(excess.get(region.lower(), 0), int(count))
    if excess:
        region, count = max(excess.items(), key=lambda item: item[1])
        return _too_large(board, region, count, sorted(folder.rglob("*.o")), aside)
    if found := _ERROR.search(output):
        return BuildError("build", found[1].strip(), f"whole output: {log}")
    if found := re.search(r"^Error: ([^:]*): (.*)$", output, re.M):
        return BuildError("build", found[1], found[2])
    lines = [line for line in output.splitlines() if line.strip() and not line.startswith(("=", "***"))]
    return BuildError(
        "build", lines[-1].strip() if lines else "PlatformIO said nothing", f"whole output: {log}"
    )


def _too_large(
    board: Board, region: str, excess: int, objects: Iterable[Path], aside: tuple[str, int] = ("flash", 0)
) -> BuildError:
    size, kept = (
        (board.flash.size, "")
        if region == "flash"
        else (board.ram.size, f", {board.stack} kept for the stack")
    )
    if aside[1] and aside[0] == region:
        kept += f", {aside[1]} set aside for the store"
    largest = ", ".join(f"{name} {n}" for name, n in _largest(objects, region != "flash"))
    label = "flash" if region == "flash" else "RAM"
    what = f"the firmware needs {excess} bytes more {label} than the board has ({size} bytes{kept})"
    return BuildError(board.name, what, f"largest: {largest}; take a smaller model or another board")


def _largest(objects: Iterable[Path], writable: bool) -> list[tuple[str, int]]:
    found: dict[str, int] = {}
    for path in objects:
        with path.open("rb") as handle:
            file: Any = ELFFile(handle)
            table = file.get_section_by_name(".symtab")
            for symbol in table.iter_symbols() if table else ():
                index = symbol["st_shndx"]
                if symbol["st_info"]["type"] not in ("STT_OBJECT", "STT_FUNC") or not isinstance(index, int):
                    continue
                if bool(file.get_section(index)["sh_flags"] & 1) == writable:  # SHF_WRITE
                    found[symbol.name] = symbol["st_size"]
    return sorted(found.items(), key=lambda item: -item[1])[:3]
