"""What runs the firmware: one interface, one module per kind, found by its file name.

A module of this folder has `open(project: Path, argument: str, board: Board | None) -> Device`; `argument` is
what follows the colon in `serial:PORT`.
"""

from __future__ import annotations

import importlib
import pkgutil
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self, cast

from synapcc.gen.errors import SynapccError
from synapcc.gen.target.boards import Board


class DeviceError(SynapccError):
    """The device, or what is at the other end of the link, does not do what it should."""


WRITE_SECONDS = 10.0
"""How long a device may take none of the bytes that it is sent."""


def stuck(name: str, hint: str) -> DeviceError:
    """What a device raises that takes no bytes."""
    return DeviceError(name, f"took no bytes for {WRITE_SECONDS:g} s", hint)


def not_here(name: str) -> DeviceError:
    """What a device raises whose link is pipes to wait for, or sockets handed to a child: not on Windows."""
    return DeviceError(name, "has a link that Windows does not know", "take unicorn, or serial:PORT")


class Device(Protocol):
    """A link to running firmware: bytes in, bytes out. Methods raise DeviceError once it is dead."""

    name: str
    """As in error messages: `process`, `serial:/dev/ttyACM0`."""

    def write(self, data: bytes) -> None:
        """Sends all of `data`. Raises DeviceError where the device takes no bytes for WRITE_SECONDS."""

    def read(self, timeout: float) -> bytes:
        """What has arrived, waiting at most `timeout` seconds for the first byte; b"" if nothing came."""

    def reset(self) -> None:
        """Cycles the power, or what comes next to it. Raises DeviceError where the device cannot."""

    def close(self) -> None:
        """Gives up the link. May be called twice."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class ClosingDevice:
    """Base of devices: leaving a `with` block closes."""

    def close(self) -> None:
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Module(Protocol):
    def open(self, project: Path, argument: str, board: Board | None) -> Device: ...


def device_kinds() -> tuple[str, ...]:
    """The kinds of device that this installation knows."""
    return tuple(
        sorted(module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_"))
    )


def open_device(spec: str, project: Path, board: Board | None = None) -> Device:
    """Starts or opens a device that runs the firmware of the output folder `project`.

    `spec` is a kind, or `kind:argument`. Raises DeviceError: no such kind, or whatever keeps the device from
    starting.
    """
    kind, _, argument = spec.partition(":")
    if kind not in device_kinds():
        raise DeviceError(f"device {spec!r}", "there is no such kind", f"kinds: {', '.join(device_kinds())}")
    module = cast(_Module, importlib.import_module(f"{__name__}.{kind}"))
    return module.open(project, argument, board)
