"""Files that are there whole or not at all."""

from __future__ import annotations

import io
import os
import secrets
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synapcc.gen.errors import SynapccError
from synapcc.gen.files.userfile import kind_of

if TYPE_CHECKING:
    from numpy.typing import NDArray


def check_target(path: Path) -> None:
    """Raises SynapccError where `write_whole` could not write: before an hour of work, not after it."""
    if path.is_dir():
        raise SynapccError(str(path), "is a folder", "give the name of a file")
    if not path.parent.is_dir():
        raise SynapccError(str(path), f"there is no folder {path.parent}", "make it, or give another path")
    if not os.access(path.parent, os.W_OK):
        raise SynapccError(str(path), "the folder cannot be written to", "check its permissions")
    if path.exists() and (kind := kind_of(path.stat().st_mode)):
        raise SynapccError(str(path), f"is {kind}, which a file would take the place of", "give a file")


def check_new(path: Path) -> None:
    """Raises SynapccError where `write_whole` could not write once the folders for it were made."""
    if path.is_dir():
        raise SynapccError(str(path), "is a folder", "give the name of a file")
    nearest = next(p for p in path.absolute().parents if p.exists())
    check_target(path if nearest == path.absolute().parent else nearest / path.name)


def write_whole(path: Path, content: bytes) -> None:
    """Writes beside `path` and takes its name. Raises SynapccError, with nothing changed, if that fails."""
    check_target(path)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        temporary.write_bytes(content)
        os.replace(temporary, path)
    except OSError as e:
        hint = "check the folder, its permissions and the disk"
        raise SynapccError(str(path), f"cannot be written ({e.strerror or e})", hint) from None
    finally:
        temporary.unlink(missing_ok=True)


def packed(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """The content of an .npz file."""
    import numpy as np  # commands that write none start without it

    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()


def check_distinct(*names: str | None) -> None:
    """Raises SynapccError if two of the results would be one file. None and "-" name no file."""
    paths = [os.path.realpath(name) for name in names if name not in (None, "-")]
    if len(set(paths)) < len(paths):
        twice = next(p for p in paths if paths.count(p) > 1)
        raise SynapccError(twice, "two results would be one file", "give each a name of its own")


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Holds an exclusive lock on the file `path` (made if missing); other processes and threads wait."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b") as handle:
        if sys.platform == "win32":
            import msvcrt

            while True:
                try:
                    handle.seek(0)
                    msvcrt.locking(handle.fileno(), msvcrt.LK_NBLCK, 1)
                    break
                except OSError:
                    time.sleep(0.05)
        else:
            import fcntl

            fcntl.flock(handle, fcntl.LOCK_EX)
        yield  # closing the file lets go of the lock
