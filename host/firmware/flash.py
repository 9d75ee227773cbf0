"""Puts the firmware of an output folder onto a board, with PlatformIO's upload or with pyOCD."""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import shutil
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from synapcc.gen.errors import SynapccError
from synapcc.gen.target.board import UPLOADERS, Board, Upload

from ..terminal.files import locked
from . import platformio, tools
from .build import build, project_board

_, PYOCD = UPLOADERS
UPLOAD_SECONDS = 600.0
"""How long an upload may take, all that it starts included."""

_HINTS = {
    "openocd": "install it (apt install openocd, brew install openocd), or --with pyocd",
    "bossac": "it comes with Arduino's board package for Mbed OS Nano",
}
# what openocd, bossac and pyocd say when there is nothing to write to
_ABSENT = re.compile(
    r"no connected debug probes|no target device available|open failed|unable to find a matching"
    r"|no j-link device found|init mode failed|no device found",
    re.I,
)
# openocd: Error: text; pyocd: 0001249 E text [module]
_COMPLAINT = re.compile(r"^(?:Error: |\d+ [EC] )(.+?)(?: \[\w+\])?$", re.M)
_PYOCD_UNKNOWN = re.compile(r"target type \S+ not recognized", re.I)


class FlashError(SynapccError):
    """The firmware could not be put onto the board."""


@dataclass(frozen=True, slots=True)
class Flashed:
    """What was put onto which board, and with what: `flash` bytes of it."""

    board: str
    flash: int
    tool: str

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return asdict(self)

    def text(self) -> str:
        """One line for a person."""
        return f"{self.board}: {self.flash} bytes of flash written with {self.tool}"


def flash(project: Path, tool: str | None = None, port: str = "") -> Flashed:
    """Builds `project` if need be and uploads it.

    `tool`: "platformio" or "pyocd", None: what the board's file says. Raises SynapccError with one clear
    line: nothing to flash (a virtual board), no such tool, no board, whatever else the tool complains about.
    """
    board = project_board(project)
    if board.upload is None and board.local:
        hint = f"synapcc verify {project} ... runs it in an emulator; a real board's file has [upload]"
        raise FlashError(board.name, "is a virtual board: there is nothing to flash", hint)
    upload = board.upload or Upload()
    tool = tool or upload.tool
    command = _with_pyocd(board, upload) if tool == PYOCD else _with_platformio(board, upload, port)
    built = build(project)
    folder = Path(os.path.realpath(project))
    log = folder / ".pio" / "upload.log"
    with locked(folder / ".pio" / "synapcc.lock"):
        try:
            if tool == PYOCD:
                done = tools.run([*command, str(built.elf)], folder, seconds=UPLOAD_SECONDS)
            else:
                # the toolchain of the last build: another one would build once more
                name = built.toolchain.split()[0].removeprefix("arm-none-eabi-")
                extra = {"SYNAPCC_TOOLCHAIN": name} if board.local else {}
                done = platformio.run(folder, *command, extra=extra, seconds=UPLOAD_SECONDS)
        except tools.Hung as error:
            log.write_text(error.said, encoding="utf-8", newline="\n")
            last = next((line.strip() for line in reversed(error.said.splitlines()) if line.strip()), "")
            what = f"{tool} {error}" + (f", and last said: {last}" if last else "")
            hint = f"unplug the board, plug it in again, and flash once more; whole output: {log}"
            raise FlashError(board.name, what, hint) from None
        log.write_text(done.stdout, encoding="utf-8", newline="\n")
    if done.returncode != 0:
        raise _explain(done.stdout, board, upload, tool, log)
    return Flashed(board.name, built.flash, tool)


def _with_platformio(board: Board, upload: Upload, port: str) -> list[str]:
    """The words behind `pio`. Raises FlashError if the tool that they start is missing, or its port."""
    words = ["run", "-e", board.name, "-t", "upload", *(["--upload-port", port] if port else [])]
    command = upload.command
    if not command and not board.local:  # the registry's platform knows how
        return words
    if not command:
        raise FlashError(board.name, "its board file has no upload.command", "synapcc flash OUT --with pyocd")
    program = shlex.split(command)[0]
    if shutil.which(program) is None:
        hint = _HINTS.get(program, "install it, or change upload.command in the board file")
        raise FlashError(board.name, f"{program} is not on PATH, and its upload takes it", hint)
    if "$UPLOAD_PORT" in command and not port:
        raise FlashError(board.name, f"{program} must know the port", "synapcc flash OUT --port PORT")
    return words


def _with_pyocd(board: Board, upload: Upload) -> list[str]:
    """The command but for the file. Raises FlashError if pyOCD is missing, or the chip's name for it."""
    if not upload.pyocd:
        raise FlashError(
            board.name, "its board file has no upload.pyocd", "pyocd list --targets has the names"
        )
    if importlib.util.find_spec("pyocd") is not None:
        start = [sys.executable, "-m", "pyocd"]
    elif path := shutil.which("pyocd"):
        start = [path]
    else:
        raise FlashError(board.name, "pyocd is not installed", "pip install 'synapcc[flash]'")
    return [*start, "load", "--no-wait", "-t", upload.pyocd]


def _explain(output: str, board: Board, upload: Upload, tool: str, log: Path) -> FlashError:
    """The one line of the tool's output that tells most."""
    said = [match.strip() for match in _COMPLAINT.findall(output)]
    what = said[0] if said else f"{tool} failed and did not say why"
    if _PYOCD_UNKNOWN.search(output):
        hint = f"once: pyocd pack install {upload.pyocd}"
        return FlashError(board.name, f"pyocd does not know the chip {upload.pyocd} yet", hint)
    if found := _ABSENT.search(output):
        what = next((line for line in said if _ABSENT.search(line)), found[0])
        hint = f"is the board plugged in, and may you open it? whole output: {log}"
        return FlashError(board.name, f"{tool} finds no board: {what}", hint)
    return FlashError(board.name, what, f"whole output: {log}")
