"""MIT-BIH Arrhythmia Database: where it lies, how it is fetched, and one record as arrays.

Data: Moody GB, Mark RG, IEEE Eng in Med and Biol 20(3):45-50, 2001; Goldberger AL et al., Circulation
101(23):e215-e220, 2000. Open Data Commons Attribution License v1.0. The repository never holds the data.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from synapcc.gen.errors import SynapccError
from synapcc.host import cache

FS = 360
"""Sampling rate of every record, in Hz."""

CLASSES = ("N", "S", "V", "F", "Q")
"""AAMI EC57 beat classes; a label is an index into this tuple."""

AAMI = {
    **dict.fromkeys("NLRej", 0),
    **dict.fromkeys("AaJS", 1),
    **dict.fromkeys("VE", 2),
    "F": 3,
    **dict.fromkeys("/fQ", 4),
}
"""Beat annotation symbol -> label. Every other symbol (rhythm, noise, flutter wave, comment) is no beat."""

PACED = ("102", "104", "107", "217")
"""Records with paced beats, which AAMI EC57 leaves out."""

RECORDS = tuple(
    # One string: the formatter would give every name a line.
    "100 101 103 105 106 108 109 111 112 113 114 115 116 117 118 119 121 122 123 124 200 201 202 203 205 207 "  # noqa: SIM905
    "208 209 210 212 213 214 215 219 220 221 222 223 228 230 231 232 233 234".split()
)
"""The 44 records that AAMI EC57 evaluates."""

CITATION = """\
MIT-BIH Arrhythmia Database 1.0.0, https://physionet.org/content/mitdb/1.0.0/ (DOI 10.13026/C2F305)
licence: Open Data Commons Attribution License v1.0 (ODC-By 1.0)
cite:    Moody GB, Mark RG. The impact of the MIT-BIH Arrhythmia Database.
         IEEE Eng in Med and Biol 20(3):45-50 (2001).
         Goldberger AL, et al. PhysioBank, PhysioToolkit, and PhysioNet.
         Circulation 101(23):e215-e220 (2000)."""

_PROBE_URL = "https://physionet.org/files/mitdb/1.0.0/RECORDS"
_PROBE_SECONDS = 5.0
# Two 12-bit leads of 650,000 samples (WFDB format 212): a shorter file is a broken download.
_DAT_BYTES = 650_000 * 2 * 12 // 8
_LEAST_BYTES = {"dat": _DAT_BYTES, "hea": 100, "atr": 2_000}


class DataError(SynapccError):
    """Data that are absent, incomplete or not what they claim to be."""


@dataclass(frozen=True)
class Record:
    """One half-hour record (or a synthetic one of any length).

    name    record name, "232" or "synthetic-7"
    signal  float32[samples], lead MLII in mV at `FS`
    rpeak   int64[beats], sample index of each annotated beat, ascending
    symbol  str[beats], MIT-BIH beat symbol, one character each
    """

    name: str
    signal: NDArray[np.float32]
    rpeak: NDArray[np.int64]
    symbol: NDArray[np.str_]

    def label(self, junctional: str = "N") -> NDArray[np.uint8]:
        """AAMI class of each beat, uint8[beats]: 0..4 = N S V F Q.

        `junctional` = "N" counts the escape beats `e` and `j` as N (AAMI EC57, de Chazal 2004), "S" as S.
        """
        if junctional not in ("N", "S"):
            raise ValueError(f"junctional is {junctional!r}; choose 'N' or 'S'")
        table = AAMI | dict.fromkeys("ej", CLASSES.index(junctional))
        return np.array([table[s] for s in self.symbol], dtype=np.uint8)


def missing(folder: Path, records: tuple[str, ...] = RECORDS) -> list[str]:
    """Names of the files of `records` that are not in `folder` or are too short to be whole."""
    wanted = ((folder / f"{name}.{ext}", least) for name in records for ext, least in _LEAST_BYTES.items())
    return [path.name for path, least in wanted if not path.is_file() or path.stat().st_size < least]


def candidates() -> list[Path]:
    """Folders in which the database is looked for, in this order."""
    repository = Path(__file__).resolve().parents[2]
    named = os.environ.get("SYNAPCC_DATA")
    folders = [Path(named) / "mitdb"] if named else []
    return [*folders, repository.parent / "shared" / "data" / "mitdb", cache.folder() / "mitdb"]


def find(download: bool = True) -> Path:
    """Folder that holds all of `RECORDS`; if there is none and `download`, they are fetched into the cache.

    Raises DataError if `$SYNAPCC_DATA` is set but names no folder, or an incomplete one (a silent fallback
    would hide the mistake), or if there are no data and none can be fetched.
    """
    named = os.environ.get("SYNAPCC_DATA")
    if named and not Path(named).is_dir():
        what = "SYNAPCC_DATA names it, and there is no such folder"
        raise DataError(named, what, "give the folder that holds mitdb, or unset SYNAPCC_DATA")
    folders = candidates()
    for folder in folders:
        absent = missing(folder)
        if not absent:
            return folder
        if folder.is_dir() and os.environ.get("SYNAPCC_DATA") and folder is folders[0]:
            raise DataError(
                str(folder),
                f"{len(absent)} files absent or cut short, first {absent[0]}",
                "complete the folder or unset SYNAPCC_DATA",
            )
    if not download:
        looked = ", ".join(str(folder) for folder in folders)
        raise DataError("mitdb", f"not found in {looked}", _HINT)
    fetch(folders[-1])
    return folders[-1]


_HINT = (
    "download it once with `python -c \"import wfdb; wfdb.dl_database('mitdb', 'DIR/mitdb')\"` and set "
    "SYNAPCC_DATA=DIR, or use synthetic patients, which need no data"
)


def fetch(target: Path) -> None:
    """Download `RECORDS` from PhysioNet (about 90 MB) into `target`, whole or not at all.

    Raises DataError within seconds if PhysioNet cannot be reached, and after a download that is incomplete.
    """
    try:
        urllib.request.urlopen(_PROBE_URL, timeout=_PROBE_SECONDS).close()
    except (urllib.error.URLError, OSError) as error:
        raise DataError(
            "mitdb", f"no local copy, and PhysioNet cannot be reached ({error})", _HINT
        ) from error
    import wfdb

    print(CITATION, file=sys.stderr)
    target.parent.mkdir(parents=True, exist_ok=True)
    # Beside the target, so that the rename stays on one file system and is atomic.
    part = Path(tempfile.mkdtemp(prefix="mitdb-", suffix=".part", dir=target.parent))
    try:
        try:
            wfdb.dl_database("mitdb", str(part), records=list(RECORDS), annotators=["atr"])
        except Exception as error:  # wfdb lets the errors of several network libraries through
            raise DataError("mitdb", f"download broke off ({error})", "try again, or: " + _HINT) from error
        absent = missing(part)
        if absent:
            raise DataError("mitdb", f"download incomplete, first absent file {absent[0]}", "try again")
        if target.exists():
            shutil.rmtree(target)
        part.rename(target)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def read(name: str, folder: Path | None = None) -> Record:
    """Record `name` from `folder` (default: `find()`): lead MLII by name, beats only.

    Raises DataError if the record is absent, unreadable, not at `FS`, or has no lead MLII.
    """
    import wfdb

    path = (folder or find()) / name
    try:
        header = wfdb.rdheader(str(path))
        if "MLII" not in header.sig_name:
            raise DataError(
                str(path), f"no lead MLII, only {', '.join(header.sig_name)}", "choose another record"
            )
        lead = wfdb.rdrecord(str(path), channel_names=["MLII"])
        notes = wfdb.rdann(str(path), "atr")
    except (OSError, ValueError, IndexError) as error:
        raise DataError(
            str(path), f"cannot be read ({error})", "check the files against SHA256SUMS.txt"
        ) from error
    if lead.fs != FS or lead.units != ["mV"]:
        raise DataError(str(path), f"{lead.fs} Hz in {lead.units}", f"expected {FS} Hz in mV")
    symbol = np.array(notes.symbol, dtype=np.str_)
    beat = np.isin(symbol, list(AAMI))
    signal = np.ascontiguousarray(lead.p_signal[:, 0], dtype=np.float32)
    return Record(name, signal, notes.sample[beat].astype(np.int64), symbol[beat])
