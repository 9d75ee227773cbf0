"""Files that somebody else made: only regular ones are read, and none that is larger than its kind can be.

A path that a user gives may name a device that never ends or a pipe that never begins. Everything that reads
a file from outside opens it here.
"""

from __future__ import annotations

import io
import os
import stat
from pathlib import Path
from typing import BinaryIO

from ..errors import SynapccError

_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)
# A pipe that took the file's place between the look and the opening is not waited for.
_FLAGS = os.O_RDONLY | sum(getattr(os, f"O_{n}", 0) for n in ("NONBLOCK", "NOCTTY", "CLOEXEC", "BINARY"))


def kind_of(mode: int) -> str:
    """What a file that is not a regular one is, from its st_mode; "" for a regular one."""
    if stat.S_ISREG(mode):
        return ""
    return next((name for test, name in _KINDS if test(mode)), "no regular file")


def open_file(
    path: Path, most: int, error: type[SynapccError] = SynapccError, hint: str = "check the path"
) -> BinaryIO:
    """`path`, open for reading, if it is a regular file of at most `most` bytes.

    Raises `error`, with `hint` where the file is none that could be meant.
    """
    try:
        _check(path, os.stat(path), most, error, hint)
        handle = os.fdopen(os.open(path, _FLAGS), "rb")
    except FileNotFoundError:
        raise error(str(path), "there is no such file", hint) from None
    except (OSError, ValueError) as e:  # ValueError: a NUL in the path
        reason = e.strerror if isinstance(e, OSError) and e.strerror else str(e)
        raise error(str(path), f"cannot be read: {reason}", "check the path and permissions") from None
    try:
        _check(path, os.fstat(handle.fileno()), most, error, hint)
    except SynapccError:
        handle.close()
        raise
    return handle


def _check(path: Path, found: os.stat_result, most: int, error: type[SynapccError], hint: str) -> None:
    if kind := kind_of(found.st_mode):
        raise error(str(path), f"is {kind}, not a file", hint)
    if found.st_size > most:
        raise error(str(path), f"is larger than {_size(most)}", hint)


def read_file(
    path: Path, most: int, error: type[SynapccError] = SynapccError, hint: str = "check the path"
) -> bytes:
    """The content of `path`. Raises `error` as `open_file` does, and where reading fails."""
    with open_file(path, most, error, hint) as handle:
        try:
            content = handle.read(most + 1)
        except OSError as e:
            raise error(str(path), f"cannot be read: {e.strerror or e}", "check the disk") from None
    if content is None or len(content) > most:  # a file of the system's, without a size and without an end
        raise error(str(path), f"is larger than {_size(most)}, or never ends", hint)
    return content


def read_text(
    path: Path, most: int, error: type[SynapccError] = SynapccError, hint: str = "check the path"
) -> str:
    """The content of `path` as text. Raises `error` as `read_file` does, and where it is not UTF-8."""
    try:
        content = read_file(path, most, error, hint).decode("utf-8")
    except UnicodeDecodeError:
        raise error(str(path), "is not UTF-8 text", hint) from None
    return io.IncrementalNewlineDecoder(None, translate=True).decode(content, final=True)


def _size(most: int) -> str:
    return f"{most >> 20} MB" if most >= 1 << 20 else f"{most >> 10} KB"
