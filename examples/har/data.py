"""Seven shoulder exercises of ten wearers of a watch: where the recordings lie, how they are fetched.

Data: Burns DM, Leung N, Hardisty M, Whyne CM, Henry P, McLachlin S, Physiol Meas 39(7):075007, 2018
(arXiv:1802.01489): acceleration and rotation rate along three axes, 50 Hz, sets of 20 repetitions. They come
in the wheel of the Python package seglearn 1.2.5 (BSD-3-Clause, (c) 2017-2018 David Burns), as a pickled
array. The wheel is neither installed nor imported, and no other name of the pickle is looked up than those
that arrays need. The repository never holds the data.
"""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache as remembered
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from synapcc.gen.errors import SynapccError
from synapcc.gen.files.userfile import read_file
from synapcc.host import cache

WHEEL = "seglearn-1.2.5-py3-none-any.whl"
SHA256 = "ec6b952c85c9627050102854b372d85951563d3b990df677d7c55547e87413dd"
MEMBER = "seglearn/data/watch_dataset.npy"
FOLDER = "seglearn"

FS = 50
"""Samples a second."""

AXES = ("ax", "ay", "az", "wx", "wy", "wz")
EXERCISES = ("PEN", "ABD", "FEL", "IR", "ER", "TRAP", "ROW")
"""Pendulum, abduction, forward elevation, internal and external rotation, trapezius extension, upright row; a
label is an index into this tuple."""

WEARERS = tuple(str(n) for n in range(1, 11))

CITATION = """\
seglearn 1.2.5, a Python package (BSD-3-Clause), whose wheel holds the recordings
cite: Burns DM, Leung N, Hardisty M, Whyne CM, Henry P, McLachlin S. Shoulder physiotherapy exercise
      recognition: machine learning the inertial signals from a smartwatch.
      Physiol Meas 39(7):075007 (2018)."""

_MOST = 1 << 26
_HINT = f"pip download --no-deps seglearn==1.2.5 -d DIR/{FOLDER}, then SYNAPCC_DATA=DIR"
_NAMES = {
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("_codecs", "encode"),
}


class DataError(SynapccError):
    """Recordings that are absent, or not what they claim to be."""


@dataclass(frozen=True)
class Recording:
    """One set of repetitions. signal: float32 [samples, 6], in the order of AXES; wearer: of WEARERS."""

    wearer: str
    exercise: int
    signal: NDArray[np.float32]


class _Arrays(pickle.Unpickler):
    """A pickle of arrays, and of nothing that could do anything."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _NAMES:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return super().find_class("numpy._core.multiarray" if "multiarray" in module else module, name)


def candidates() -> list[Path]:
    """Files in which the recordings are looked for, in this order."""
    named = os.environ.get("SYNAPCC_DATA")
    beside = Path(__file__).resolve().parents[3] / "shared" / "data"
    folders = [*([Path(named)] if named else []), beside, cache.folder()]
    return [folder / FOLDER / WHEEL for folder in folders]


def find(download: bool = True) -> Path:
    """The wheel; if there is none and `download`, pip fetches it into the cache.

    Raises DataError if `$SYNAPCC_DATA` is set but names no folder, or where no wheel can be had.
    """
    named = os.environ.get("SYNAPCC_DATA")
    if named and not Path(named).is_dir():
        what = "SYNAPCC_DATA names it, and there is no such folder"
        raise DataError(named, what, f"give the folder that holds {FOLDER}, or unset SYNAPCC_DATA")
    files = candidates()
    for file in files:
        if file.is_file():
            _check(file)
            return file
    if not download:
        raise DataError(WHEEL, f"not found in {', '.join(str(f.parent) for f in files)}", _HINT)
    fetch(files[-1])
    return files[-1]


def _check(file: Path) -> None:
    found = hashlib.sha256(read_file(file, _MOST, DataError, _HINT)).hexdigest()
    if found != SHA256:
        raise DataError(str(file), f"has the SHA-256 {found}", f"expected {SHA256}: fetch it again; {_HINT}")


def fetch(target: Path) -> None:
    """Lets pip download the wheel (11 MB) to `target`, whole or not at all; DataError where it cannot."""
    print(CITATION, file=sys.stderr)
    target.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix="seglearn-", suffix=".part", dir=target.parent))
    words = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "--dest",
        str(part),
        "seglearn==1.2.5",
    ]
    try:
        done = subprocess.run(
            words, capture_output=True, encoding="utf-8", errors="replace", check=False, timeout=600
        )
        if done.returncode or not (part / WHEEL).is_file():
            last = done.stderr.strip().splitlines()[-1:] or ["pip gave no wheel"]
            raise DataError("seglearn", f"no local copy, and pip cannot fetch it ({last[0]})", _HINT)
        _check(part / WHEEL)
        (part / WHEEL).replace(target)
    except subprocess.TimeoutExpired:
        raise DataError("seglearn", "no local copy, and pip did not fetch it in ten minutes", _HINT) from None
    finally:
        shutil.rmtree(part, ignore_errors=True)


def read(file: Path) -> tuple[Recording, ...]:
    """All 140 recordings, in the order of the file; DataError where it holds others."""
    try:
        with zipfile.ZipFile(io.BytesIO(read_file(file, _MOST, DataError, _HINT))) as wheel:
            content = io.BytesIO(wheel.read(MEMBER))
        npy.read_magic(content)
        npy.read_array_header_1_0(content)
        found = _Arrays(content).load().item()
        names = tuple(found["X_labels"]), tuple(found["y_labels"])
        rows = zip(found["subject"].tolist(), found["y"].tolist(), found["X"], strict=True)
        recordings = tuple(Recording(str(int(s)), int(y), np.asarray(x, np.float32)) for s, y, x in rows)
    except Exception as error:  # a wheel of another content than the one that the digest is of
        raise DataError(str(file), f"cannot be read ({type(error).__name__}: {error})", _HINT) from None
    if names != (AXES, EXERCISES) or {r.wearer for r in recordings} != set(WEARERS):
        raise DataError(str(file), f"holds {names[0]} of {names[1]}", f"expected {AXES} of {EXERCISES}")
    return recordings


@remembered
def load() -> tuple[Recording, ...]:
    """The recordings, wherever they are."""
    return read(find())


def of(recordings: Sequence[Recording], wearer: str) -> list[Recording]:
    """Those of one wearer, in the order of the file."""
    return [r for r in recordings if r.wearer == wearer]
