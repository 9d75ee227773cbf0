"""The firmware as a process of this computer: the same C, the HAL of standard input and output.

`process` compiles with what a C compiler finds wrong as an error; `process:undefined` and
`process:address,undefined` add sanitizers, which end the process at the first offence.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import select
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import IO

from synapcc.gen.files.userfile import read_file
from synapcc.gen.target.boards import Board

from . import WRITE_SECONDS, ClosingDevice, Device, DeviceError, not_here, stuck

# The last flag cures a miscompilation (gcc 12.2, x86-64, -O1 and -O2): where a loop walks an int8 and an
# int16 array of one struct, induction variables leave an address without a base, which then counts as a null
# pointer. So the store is undefined, its function without effect, and calls of it are dropped.
_FLAGS = (
    "-std=c99",
    "-O2",
    "-g",
    "-Wall",
    "-Wextra",
    "-Wconversion",
    "-Werror",
    "-fno-delete-null-pointer-checks",
)
_HAL = "process.c"
_SHAPE = "flash_shape.h"  # of a project whose firmware has a store
_RESET = 75
"""The exit status that asks to be started again: firmware/hal/process.c."""
MAX_SOURCE = 1 << 28
_CHUNK = 1 << 16
_SANITIZERS = ("address", "undefined")


@cache
def host_compiler() -> tuple[str, ...]:
    """The command of the C compiler: $CC, cc, gcc, clang, or zig from PyPI. DeviceError if there is none."""
    named = shlex.split(os.environ.get("CC", ""))
    if named:
        if shutil.which(named[0]) is None:
            raise DeviceError(
                "process", f"$CC names {named[0]}, which is not there", "unset CC or install it"
            )
        return tuple(named)
    for name in ("cc", "gcc", "clang"):
        if path := shutil.which(name):
            return (path,)
    if importlib.util.find_spec("ziglang"):
        return (sys.executable, "-m", "ziglang", "cc")
    raise DeviceError("process", "no C compiler found", "install gcc or clang, or `pip install ziglang`")


def sources(project: Path) -> tuple[list[Path], list[Path]]:
    """C files to compile and folders to search for headers, in the output folder `project`."""
    folder = project / "src"
    libraries = sorted((project / "lib").glob("*/src"))
    files = [path for path in sorted(folder.glob("*.c")) if path.name != "startup.c"]
    files += [folder / "hal" / _HAL]
    kept = (project / "include" / _SHAPE).is_file()
    files += [folder / "store" / ("kept.c" if kept else "none.c")]
    files += [folder / "hal" / "flash" / "simulated.c"] if kept else []
    files += [path for library in libraries for path in sorted(library.glob("*.c"))]
    missing = [path for path in (folder / "main.c", folder / "hal" / _HAL) if not path.is_file()]
    if missing or not libraries:
        what = f"no {(missing or [project / 'lib'])[0].relative_to(project)}"
        raise DeviceError(str(project), what, "is this a folder that `synapcc compile` wrote?")
    return files, [project / "include", folder, *libraries]


def build(project: Path, sanitizers: Sequence[str] = (), flags: Sequence[str] = ()) -> Path:
    """The compiled program, from OUT/.build/process if these very sources were compiled before.

    `flags` are added to the compiler's. Raises DeviceError where the compiler is missing or refuses.
    """
    files, include = sources(project)
    command = [*host_compiler(), *_FLAGS, '-DSYNAPCC_BOARD="process"', "-DSYNAPCC_CLOCK_HZ=0u"]
    if sanitizers:
        command += [f"-fsanitize={','.join(sanitizers)}", "-fno-sanitize-recover=all"]
    elif "ziglang" in command:
        command += ["-fno-sanitize=all"]
    command += flags
    digest = hashlib.sha256("\0".join(command).encode())
    for path in sorted({*files, *(header for folder in include for header in folder.rglob("*.h"))}):
        digest.update(f"\0{path.relative_to(project).as_posix()}\0".encode())
        digest.update(read_file(path, MAX_SOURCE, DeviceError, "compile the model again"))
    program = project / ".build" / "process" / digest.hexdigest()[:16] / "firmware"
    if program.is_file():
        return program
    program.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=program.parent) as scratch:
        output = Path(scratch) / program.name
        command += [f"-I{folder}" for folder in include] + [str(path) for path in files] + ["-o", str(output)]
        result = subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace", check=False)
        if result.returncode:
            lines = [
                line for line in result.stderr.splitlines() if "error" in line
            ] or result.stderr.splitlines()
            what = lines[0] if lines else f"exit status {result.returncode}"
            raise DeviceError(
                "process", f"the firmware does not compile: {what}", f"the compiler was {command[0]}"
            )
        os.replace(output, program)  # whole or not at all, for others that build the same
    return program


class ProcessDevice(ClosingDevice):
    """A child process whose standard input and output are the link.

    resets: how often the firmware has reset itself; what stands for its flash is a file that outlives that
    """

    def __init__(self, program: Path, name: str = "process") -> None:
        self.name = name
        self.resets = 0
        self._program = program
        self._flash: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - open as long as the device
        self._complaints: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - open as long as the child
        self._child: subprocess.Popen[bytes] | None = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        try:
            return subprocess.Popen(
                [self._program],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._complaints,
                bufsize=0,
                pass_fds=(self._flash.fileno(),),
                env={**os.environ, "SYNAPCC_FLASH": str(self._flash.fileno())},
            )
        except OSError as error:
            raise DeviceError(self.name, f"{self._program.name} does not start: {error.strerror}") from error

    def _running(self) -> subprocess.Popen[bytes]:
        if self._child is None:
            raise DeviceError(self.name, "the device is closed")
        return self._child

    def write(self, data: bytes) -> None:
        child = self._running()
        assert child.stdin is not None
        try:
            while data:
                if not select.select([], [child.stdin], [], WRITE_SECONDS)[1]:
                    raise stuck(self.name, "reset the device: its firmware neither reads nor ends")
                data = data[os.write(child.stdin.fileno(), data[: select.PIPE_BUF]) :]
        except BrokenPipeError:
            self._ended(child)  # what was not written yet is lost, as on a chip

    def read(self, timeout: float) -> bytes:
        child = self._running()
        assert child.stdout is not None
        ready, _, _ = select.select([child.stdout], [], [], max(0.0, timeout))
        if not ready:
            return b""
        received = os.read(child.stdout.fileno(), _CHUNK)
        if not received:
            self._ended(child)
        return received

    def _ended(self, child: subprocess.Popen[bytes]) -> None:
        """Starts a firmware again that has reset itself. Raises DeviceError for any other end."""
        try:
            reset = child.wait(timeout=5) == _RESET
        except subprocess.TimeoutExpired:
            reset = False
        if not reset:
            raise self._death(child)
        self.resets += 1
        self._restart()

    def _death(self, child: subprocess.Popen[bytes]) -> DeviceError:
        try:
            status = child.wait(timeout=5)
        except subprocess.TimeoutExpired:
            child.kill()
            return DeviceError(self.name, "the firmware closed the link and hangs")
        if status < 0:
            how = f"died of signal {-status} ({signal.strsignal(-status)})"
        else:
            how = f"ended with exit status {status}"
        self._complaints.seek(0)
        said = self._complaints.read().decode(errors="replace").strip().splitlines()
        return DeviceError(
            self.name, f"the firmware {how}" + (f", saying {said[-1].strip()!r}" if said else "")
        )

    def reset(self) -> None:
        self._running()
        self._restart()

    def _restart(self) -> None:
        self._end()
        self._complaints = tempfile.TemporaryFile()  # noqa: SIM115
        self._child = self._start()

    def close(self) -> None:
        self._end()
        self._flash.close()

    def _end(self) -> None:
        child, self._child = self._child, None
        if child is None:
            return
        child.kill()
        child.wait()
        for pipe in (child.stdin, child.stdout):
            if pipe is not None:
                pipe.close()
        self._complaints.close()


def open(project: Path, argument: str, board: Board | None) -> Device:
    """Compiles the firmware for this computer, unless that was done before, and starts it.

    `argument`: sanitizers, separated by commas. `board` does not matter. Raises DeviceError.
    """
    if sys.platform == "win32":
        raise not_here("process")
    sanitizers = tuple(name for name in argument.split(",") if name)
    unknown = [name for name in sanitizers if name not in _SANITIZERS]
    if unknown:
        raise DeviceError(
            f"process:{argument}", f"no sanitizer {unknown[0]!r}", f"there are {', '.join(_SANITIZERS)}"
        )
    return ProcessDevice(build(project, sanitizers), f"process:{argument}" if argument else "process")
