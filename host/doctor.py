"""What synapcc finds on this machine, and how to get what is not there. Looking never fails."""

from __future__ import annotations

import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from importlib import metadata
from typing import Any

from synapcc.gen.errors import SynapccError
from synapcc.gen.target.boards import list_boards

from . import examples, weights
from .firmware import platformio

_SECONDS = 20.0
_Found = tuple[str, str]
"""What was found, and where; both empty where nothing was."""

NUMBA = "numba"
_PACKAGES = (
    # distribution, what for, needed by the base install, how to get it
    ("numpy", "compiler and emulator", True, "pip install numpy"),
    ("onnx", "reading .onnx models", True, "pip install onnx"),
    ("tflite", "reading .tflite models", True, "pip install tflite"),
    ("flatbuffers", "reading .tflite models", True, "pip install flatbuffers"),
    ("jinja2", "printing C", True, "pip install jinja2"),
    ("tomli-w", "writing rule files", True, "pip install tomli-w"),
    ("platformio", "building firmware", True, "pip install platformio"),
    ("scons", "building firmware", True, "pip install scons"),
    ("pyelftools", "sizes and stack of firmware", True, "pip install pyelftools"),
    ("unicorn", "device unicorn", False, "pip install 'synapcc[virtual]'"),
    ("pyserial", "device serial", True, "pip install pyserial"),
    ("pyocd", "flashing boards", False, "pip install 'synapcc[flash]'"),
    ("ai-edge-litert", "comparing with LiteRT in tests", False, "pip install 'synapcc[tflite]'"),
    (NUMBA, "the emulator's compiled engine", False, "pip install 'synapcc[fast]'"),
    ("wfdb", "ECG records", False, "pip install 'synapcc[ecg]'"),
)


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked for. `needed`: nothing works without it; otherwise it is one way of several.

    place: where on this machine it is, or why it cannot be looked for.
    """

    name: str
    found: bool
    detail: str
    needed: bool
    hint: str
    place: str = ""

    def to_dict(self, paths: bool = False) -> dict[str, Any]:
        """Ready for JSON. paths: with `place`, which is this machine's."""
        whole = asdict(self)
        return whole if paths else {k: v for k, v in whole.items() if k != "place"}


def report() -> list[Check]:
    """All checks, in the order of the table."""
    checks = [
        Check("python", sys.version_info >= (3, 11), platform.python_version(), True, "Python 3.11 or newer")
    ]
    checks += [_package(*package) for package in _PACKAGES]
    looked: tuple[tuple[str, Callable[[], _Found], str], ...] = (
        (
            "arm-none-eabi-gcc",
            lambda: _program("arm-none-eabi-gcc", "-dumpfullversion"),
            "apt install gcc-arm-none-eabi, or use zig",
        ),
        ("zig", _zig, "pip install 'synapcc[virtual]'"),
        (
            "qemu-system-arm",
            _qemu,
            "apt install qemu-system-arm, brew install qemu, or use the device unicorn",
        ),
        ("host C compiler", _host_compiler, "apt install gcc, or pip install 'synapcc[virtual]'"),
        ("platformio folder", _platformio_folder, "set PLATFORMIO_CORE_DIR to a folder that can be written"),
        ("openocd", lambda: ("", shutil.which("openocd") or ""), "apt install openocd, or flash with pyocd"),
        ("boards", lambda: (", ".join(board.name for board in list_boards()), ""), "install synapcc again"),
        ("serial ports", _ports, "plug a board in; Linux: be a member of the group that owns the port"),
    )
    checks += [
        _look(name, find, hint, name in ("platformio folder", "boards")) for name, find, hint in looked
    ]
    checks += _data()
    builds = [check for check in checks if check.name in ("arm-none-eabi-gcc", "zig") and check.found]
    detail = builds[0].name if builds else "neither arm-none-eabi-gcc nor zig"
    checks.append(
        Check("a compiler for Cortex-M", bool(builds), detail, True, "pip install 'synapcc[virtual]'")
    )
    return checks


def weight_table(parts: Mapping[str, weights.Weight]) -> str:
    """What is installed of each part, as lines of text; parts of which nothing is there are left out."""
    rows = [(name, w) for name, w in parts.items() if w.packages]
    width = max(len(name) for name, _ in rows)
    lines = [f"{n:<{width}}  {w.megabytes:>6.0f} MB  {', '.join(w.heaviest)}".rstrip() for n, w in rows]
    return "\n".join(["what is installed, and what each extra adds to it:", *lines])


def table(checks: Iterable[Check]) -> str:
    """The checks as lines of text; what is missing says how to get it."""
    rows = list(checks)
    width = max((len(check.name) for check in rows), default=0)
    lines = []
    for check in rows:
        mark = "ok" if check.found else "MISSING" if check.needed else "no"
        told = ", ".join(filter(None, (check.detail, check.place)))
        tail = told if check.found else "; ".join(filter(None, (told, check.hint)))
        lines.append(f"{check.name:<{width}}  {mark:<7}  {tail}".rstrip())
    return "\n".join(lines)


def _look(name: str, find: Callable[[], _Found], hint: str, needed: bool) -> Check:
    try:
        detail, place = find()
    except Exception as error:  # whatever is broken on this machine is what the table is to show
        return Check(name, False, "", needed, hint, " ".join(str(error).split()))
    return Check(name, bool(detail or place), detail, needed, hint, place)


def _package(name: str, purpose: str, needed: bool, hint: str) -> Check:
    """A distribution; numba, which depends on numpy's version and brings LLVM, must also be importable."""
    if name == NUMBA:
        from . import engine  # brings numpy, which commands that start processes must not have yet

        reason, how = engine.unusable()
        if reason:
            return Check(name, False, f"{purpose}; {reason}", needed, how)
    try:
        return Check(name, True, f"{metadata.version(name)}, {purpose}", needed, hint)
    except metadata.PackageNotFoundError:
        return Check(name, False, purpose, needed, hint)


def _program(name: str, *words: str) -> _Found:
    path = shutil.which(name)
    if path is None:
        return "", ""
    done = subprocess.run(
        [path, *words], capture_output=True, encoding="utf-8", errors="replace", check=True, timeout=_SECONDS
    )
    return done.stdout.strip().splitlines()[0], path


def _zig() -> _Found:
    try:
        return f"{metadata.version('ziglang')}, from PyPI", ""
    except metadata.PackageNotFoundError:
        return _program("zig", "version")


def _qemu() -> _Found:
    from .devices import qemu

    path, version = qemu.find_qemu()
    return version, path


def _host_compiler() -> _Found:
    from .devices import process

    return "", " ".join(process.host_compiler())


def _platformio_folder() -> _Found:
    core = platformio.core_dir()
    platformio.prepare(core)
    return "", str(core)


def _ports() -> _Found:
    from .devices import serial

    return "", serial.ports()


def _data() -> list[Check]:
    """What the examples look for; an example that is broken is a row itself."""
    try:
        return [_look(data.NAME, _place(data.find), data.HINT, False) for data in examples.data()]
    except SynapccError as error:
        return [Check("examples", False, f"{error.where}: {error.what}", False, error.hint)]


def _place(find: Callable[[], str]) -> Callable[[], _Found]:
    return lambda: ("", find())
