"""The firmware in qemu-system-arm: the board's machine, its UART on a socket that only the two of us have.

`qemu:icount=6`: virtual time goes by instructions executed, 2^6 ns each, so that SysTick counts them.
"""

from __future__ import annotations

import re
import select
import shutil
import socket
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import IO

from synapcc.gen.target.boards import Board
from synapcc.host.firmware.build import build, project_board

from . import WRITE_SECONDS, ClosingDevice, DeviceError, not_here, stuck

_PROGRAM = "qemu-system-arm"
_CHUNK = 1 << 16
# QEMU offers the UART a byte only when something wakes its main loop, and a chip that turns its UART on does
# not: a byte sent before that would stay where it is. A line break to the monitor, which answers with a
# prompt, is such a wake-up.
_WAKE_SECONDS = 0.05
# QEMU lives on when its parent is killed; this outlives the parent by the time that it takes to notice
_GUARD = 'read -r _; kill -9 "$0" 2>/dev/null'


@cache
def find_qemu() -> tuple[str, str]:
    """(path, version) of qemu-system-arm. Raises DeviceError if it is not there."""
    path = shutil.which(_PROGRAM)
    if path is None:
        hint = (
            "apt install qemu-system-arm, brew install qemu, or use the device unicorn, which needs only pip"
        )
        raise DeviceError("qemu", f"{_PROGRAM} is not installed", hint)
    said = subprocess.run(
        [path, "--version"], capture_output=True, encoding="utf-8", errors="replace", check=False
    ).stdout.split()
    return path, said[said.index("version") + 1] if "version" in said else "unknown"


class QemuDevice(ClosingDevice):
    """A QEMU of its own for each device; it dies with `close`, or with this process.

    `shift`: an instruction takes 2^shift ns of virtual time, which SysTick counts; None: as it comes.
    """

    def __init__(self, elf: Path, board: Board, shift: int | None = None) -> None:
        program, version = find_qemu()
        self.name = f"qemu {version}"
        if not board.emulator.qemu:
            raise DeviceError("qemu", f"QEMU has no machine for {board.name}", "try another device")
        if not hasattr(socket, "AF_UNIX"):
            raise DeviceError("qemu", "this system has no Unix sockets", "use the device unicorn")
        self._command = [
            program,
            "-M",
            board.emulator.qemu,
            "-kernel",
            str(elf),
            "-nodefaults",
            "-nic",
            "none",
        ]
        self._command += ["-display", "none", "-monitor", "chardev:monitor", "-serial", "chardev:link"]
        if shift is not None:
            self._command += ["-icount", f"shift={shift},align=off,sleep=off"]
        self._open = True
        self._start()

    def _start(self) -> None:
        self._socket, theirs = socket.socketpair()
        self._socket.settimeout(WRITE_SECONDS)
        self._monitor, monitor = socket.socketpair()
        self._monitor.setblocking(False)
        sockets = {"link": theirs.fileno(), "monitor": monitor.fileno()}
        self._complaints: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 (lives as long as QEMU)
        # both in sessions of their own: Ctrl-C is for the host program, which then closes them in order
        with theirs, monitor:
            self._child = subprocess.Popen(
                self._command
                + [
                    word for name, fd in sockets.items() for word in ("-chardev", f"socket,id={name},fd={fd}")
                ],
                stdin=subprocess.DEVNULL,
                stdout=self._complaints,
                stderr=self._complaints,
                pass_fds=tuple(sockets.values()),
                start_new_session=True,
            )
        self._guard = subprocess.Popen(
            ["/bin/sh", "-c", _GUARD, str(self._child.pid)], stdin=subprocess.PIPE, start_new_session=True
        )

    def _stop(self) -> None:
        self._guard.kill()
        self._guard.wait()
        if self._guard.stdin is not None:
            self._guard.stdin.close()
        self._child.kill()
        self._child.wait()
        self._socket.close()
        self._monitor.close()
        self._complaints.close()

    def write(self, data: bytes) -> None:
        self._check()
        try:
            self._socket.sendall(data)
        except TimeoutError:
            raise stuck(self.name, "reset the device: its firmware does not read") from None
        except OSError:
            raise self._death() from None

    def read(self, timeout: float) -> bytes:
        self._check()
        left = max(0.0, timeout)
        while not select.select([self._socket], [], [], min(left, _WAKE_SECONDS))[0]:
            left -= _WAKE_SECONDS
            if left <= 0:
                return b""
            self._wake()
        try:
            data = self._socket.recv(_CHUNK)
        except OSError:
            data = b""
        if not data:
            raise self._death()
        return data

    def _wake(self) -> None:
        try:
            self._monitor.send(b"\n")
            self._monitor.recv(_CHUNK)
        except OSError:
            pass  # it has not answered yet, or is dead, which the link tells

    def reset(self) -> None:
        """A new QEMU: power off, power on."""
        self._check()
        self._stop()
        self._start()

    def close(self) -> None:
        if self._open:
            self._open = False
            self._stop()

    def _check(self) -> None:
        if not self._open:
            raise DeviceError(self.name, "the device is closed")

    def _death(self) -> DeviceError:
        try:
            status = self._child.wait(timeout=5)
        except subprocess.TimeoutExpired:
            return DeviceError(self.name, "QEMU closed the link")
        self._complaints.seek(0)
        lines = self._complaints.read().decode(errors="replace").strip().splitlines()
        # a crash ends in a dump of registers; the reason stands before it
        said = next((line for line in lines if "fatal" in line or "error" in line), lines[0] if lines else "")
        return DeviceError(
            self.name, f"QEMU ended with status {status}" + (f": {said.strip()}" if said else "")
        )


def open(project: Path, argument: str, board: Board | None) -> QemuDevice:
    """The firmware of `project`, built if need be. `argument`: nothing, or `icount=SHIFT`, 0 to 10."""
    found = re.fullmatch(r"(?:icount=(\d|10))?", argument)
    if not found:
        raise DeviceError(f"qemu:{argument}", f"no option {argument!r}", "write qemu or qemu:icount=6")
    if sys.platform == "win32":
        raise not_here("qemu")
    find_qemu()
    shift = int(found[1]) if found[1] else None
    return QemuDevice(build(project).elf, board or project_board(project), shift)
