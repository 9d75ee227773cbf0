"""Arrays from an .npz file that nobody vouches for: nothing is made before its size is known to be right."""

from __future__ import annotations

import math
import warnings
import zipfile
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from ..errors import CompileError
from ..words import short
from .userfile import open_file

MAX_ARRAYS = 1 << 31  # bytes, unpacked
MAX_MEMBERS = 4096
_SUFFIX = ".npy"
_ENCRYPTED = 1  # of a member's flags
_SAMPLES = "give an .npz with the model's inputs by name"
_HINT = "write it with numpy.savez(path, input=..., label=...)"
_HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}


class _Unreadable(Exception):
    """What is wrong with a member, in words."""


def load_arrays(path: Path, hint: str = "") -> dict[str, NDArray[Any]]:
    """The arrays of an .npz file, by name.

    hint: what to give instead, where it is not samples that are looked for

    Raises CompileError if it cannot be read, or one of its members is no array of numbers or texts.
    """
    with open_file(path, MAX_ARRAYS, CompileError, hint or _SAMPLES) as handle:
        try:
            with warnings.catch_warnings(), zipfile.ZipFile(handle) as archive:
                warnings.simplefilter("ignore")  # headers of Python 2
                members = archive.infolist()
                _check(path, members, hint)
                return {m.filename.removesuffix(_SUFFIX): _member(archive, m) for m in members}
        except CompileError:
            raise
        # zipfile, zlib, the header's parser and numpy each have their own for a damaged file.
        except Exception as e:
            told = str(e) if isinstance(e, _Unreadable) else f"{type(e).__name__}: {short(str(e))}"
            raise CompileError(str(path), f"cannot be read as .npz ({told})", hint or _HINT) from None


def _check(path: Path, members: list[zipfile.ZipInfo], hint: str) -> None:
    """What can be told from the archive's directory."""
    size = sum(m.file_size for m in members)
    if size > MAX_ARRAYS:
        what = f"holds {size >> 20} MB of arrays, {MAX_ARRAYS >> 20} MB can be read"
        raise CompileError(str(path), what, hint or "give fewer samples")
    if len(members) > MAX_MEMBERS:
        raise _Unreadable(f"it has {len(members)} members, {MAX_MEMBERS} can be read")
    names: set[str] = set()
    for m in members:
        if not m.filename.endswith(_SUFFIX):
            raise _Unreadable(f'its member "{short(m.filename)}" is no {_SUFFIX}')
        if m.filename in names:
            raise _Unreadable(f'it has two members "{short(m.filename)}"')
        names.add(m.filename)
        if m.flag_bits & _ENCRYPTED:
            raise _Unreadable(f'its member "{short(m.filename)}" is encrypted')


def _member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> NDArray[Any]:
    """One array; its bytes must be as many as its header says, before there is room for them."""
    name = f'its member "{short(member.filename)}"'
    with archive.open(member) as stream:
        shape, fortran, dtype, header = _header(stream, name)  # type: ignore[arg-type]
        count = math.prod(shape)
        if dtype.hasobject or dtype.names is not None or not dtype.itemsize:
            raise _Unreadable(f"{name} holds objects or records: arrays of numbers can be read")
        if member.file_size - header != count * dtype.itemsize:
            there = f"{member.file_size - header} bytes"
            raise _Unreadable(f"{name} has {there}, shape {short(str(shape))} of {dtype} needs others")
        content = bytearray(stream.read())  # reads to the end, where the checksum is compared
    if len(content) != count * dtype.itemsize:
        raise _Unreadable(f"{name} is truncated")
    flat = np.frombuffer(content, dtype, count) if content else np.zeros(count, dtype)
    return flat.reshape(shape[::-1]).T if fortran else flat.reshape(shape)


def _header(stream: BinaryIO, name: str) -> tuple[tuple[int, ...], bool, np.dtype[Any], int]:
    """(shape, whether it lies in Fortran's order, type, bytes before the content)."""
    try:
        version = npy.read_magic(stream)
    except ValueError:
        raise _Unreadable(f"{name} is no {_SUFFIX}") from None
    if version not in _HEADERS:  # (3, 0) is for names of fields that are no ASCII
        raise _Unreadable(f"{name} holds objects or records: arrays of numbers can be read")
    shape, fortran, dtype = _HEADERS[version](stream)
    if any(isinstance(n, bool) or n < 0 for n in shape):
        raise _Unreadable(f"{name} has the impossible shape {short(str(shape))}")
    return shape, fortran, dtype, stream.tell()
