"""A chip behind a serial port: `serial:/dev/ttyACM0`, `serial:COM3`, a pty, or any URL of pyserial's
(`socket://host:port`).

The firmware must be on the chip already; whether it is the right one, the digest in its greeting tells.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import serial  # type: ignore[import-untyped,unused-ignore]
from serial.tools import list_ports  # type: ignore[import-untyped,unused-ignore]

from synapcc.gen.target.boards import Board
from synapcc.host.firmware.build import project_board

from . import WRITE_SECONDS, ClosingDevice, DeviceError, stuck

_CHUNK = 1 << 16
_PULSE_SECONDS = 0.1
SETTLE_SECONDS = 5.0
"""How long a board's port may be away behind a flash, before it is missed."""
STEADY_SECONDS = 1.5
"""How long the ports of this computer must be the same before the board counts as started."""
_LOOK_SECONDS = 0.1


class SerialDevice(ClosingDevice):
    """`reset_line`: "dtr" or "rts" if that line of the port resets the chip, else "none"."""

    def __init__(self, port: str, baud: int, reset_line: str = "none") -> None:
        self.name = f"serial:{port}"
        self._reset_line = reset_line
        try:
            self._port: Any = serial.serial_for_url(port, baudrate=baud, do_not_open=True)
            self._port.timeout, self._port.write_timeout = 0, WRITE_SECONDS
            if os.name == "posix" and "://" not in port:
                self._port.exclusive = True
            self._port.open()
            self._port.reset_input_buffer()
        except (OSError, ValueError) as error:  # SerialException is an OSError
            raise self._refusal(port, error) from None

    def _refusal(self, port: str, error: OSError | ValueError) -> DeviceError:
        number, text = getattr(error, "errno", None), str(error)
        if isinstance(error, ValueError):
            return DeviceError(self.name, f"is not a port: {text}", f"ports here: {ports()}")
        if number == errno.ENOENT or "FileNotFoundError" in text:
            return DeviceError(self.name, "there is no such port", f"ports here: {ports()}")
        if number == errno.EACCES:
            return DeviceError(
                self.name,
                "no permission to open the port",
                "add yourself to the group that owns it (dialout, uucp)",
            )
        if number in (errno.EBUSY, errno.EAGAIN) or "exclusively lock" in text or "PermissionError" in text:
            return DeviceError(
                self.name,
                "another program uses the port",
                "close it: a monitor, a modem manager, another synapcc",
            )
        if "Connection refused" in text:
            return DeviceError(self.name, "nobody listens there", "start the emulator or the bridge first")
        return DeviceError(self.name, f"cannot be opened: {text}", f"ports here: {ports()}")

    def write(self, data: bytes) -> None:
        port = self._opened()
        try:
            port.write(data)
        except serial.SerialTimeoutException:
            raise stuck(self.name, "is flow control on?") from None
        except (
            OSError,
            TypeError,
        ) as error:  # pyserial trips over its own None when a port goes while in use
            raise self._gone(error) from None

    def read(self, timeout: float) -> bytes:
        port = self._opened()
        try:
            port.timeout = max(0.0, timeout)
            data: bytes = port.read(1)
            if data:
                port.timeout = 0
                data += port.read(_CHUNK)
            return data
        except (OSError, TypeError) as error:
            raise self._gone(error) from None

    def reset(self) -> None:
        """Pulses the board's reset line. Raises DeviceError if it has none on its port."""
        port = self._opened()
        if self._reset_line == "none":
            raise DeviceError(
                self.name, "this board cannot be reset through its port", "press its reset button"
            )
        try:
            setattr(port, self._reset_line, True)
            time.sleep(_PULSE_SECONDS)
            setattr(port, self._reset_line, False)
            time.sleep(_PULSE_SECONDS)
            port.reset_input_buffer()
        except OSError as error:
            raise self._gone(error) from None

    def close(self) -> None:
        port, self._port = self._port, None
        if port is not None:
            port.close()

    def _opened(self) -> Any:
        if self._port is None:
            raise DeviceError(self.name, "the device is closed")
        return self._port

    def _gone(self, error: Exception) -> DeviceError:
        return DeviceError(self.name, f"the port went away: {error}", "was it unplugged?")


def listed() -> list[str]:
    """The ports of this computer."""
    return sorted(port.device for port in list_ports.comports())


def ports() -> str:
    """The ports of this computer, in one line."""
    return ", ".join(listed()) or "none"


def settled(port: str, before: Sequence[str]) -> str:
    """The name that `port` has after its board started anew; "" where that cannot be told.

    before: the ports that were `listed` then. A USB port goes, and may come back under another name: that is
    the one that is new. It may still be there at first, and another device's come meanwhile: so what counts
    is what is there once nothing has come or gone for a moment. A port that was not listed, or one by URL, is
    taken as it is.
    """
    if port not in before:
        return port
    begun = since = time.monotonic()
    now = listed()
    while True:
        new = [p for p in now if p not in before]
        at = time.monotonic()
        late = at >= begun + SETTLE_SECONDS
        if late or (at >= since + STEADY_SECONDS and (port in now or new)):
            return port if port in now else new[0] if len(new) == 1 else ""
        time.sleep(_LOOK_SECONDS)
        former, now = now, listed()
        if now != former:
            since = time.monotonic()


def open(project: Path, argument: str, board: Board | None) -> SerialDevice:
    """The port `argument`, at the speed of the board that `project` was compiled for."""
    if not argument:
        raise DeviceError("serial", "which port?", f"write serial:PORT; ports here: {ports()}")
    board = board or project_board(project)
    return SerialDevice(argument, board.port.baud, board.port.reset)
