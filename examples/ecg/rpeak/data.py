"""MIT-BIH as a detector gets it: the ADC's own integers, all 48 records, at their rate or another one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .. import records
from ..protocol import DS1, DS2
from ..records import AAMI, FS, PACED, DataError

ALL = tuple(sorted((*DS1, *DS2, *PACED)))
START = 300.0
"""Seconds from which on beats count; the detector runs from the first sample."""


@dataclass(frozen=True)
class Recording:
    """x: int16[n], lead MLII (V5 of 102 and 104, which have none); rpeak: int64[beats], as annotated;
    flutter: spans of samples without annotated beats; gain: units of the ADC a mV; rate in Hz."""

    name: str
    x: NDArray[np.int16]
    rpeak: NDArray[np.int64]
    flutter: tuple[tuple[int, int], ...]
    gain: float
    rate: float = FS

    @property
    def inverted(self) -> Recording:
        """As if the lead were worn the other way round."""
        return replace(self, x=~self.x)


@lru_cache(maxsize=48)
def recording(name: str, folder: Path | None = None) -> Recording:
    """Raises DataError if the record is absent or cannot be read."""
    import wfdb

    where = folder or records.find()
    if absent := records.missing(where, (name,)):
        hint = f"python -c \"import wfdb; wfdb.dl_database('mitdb', 'DIR', records=['{name}'])\""
        raise DataError(str(where), f"{absent[0]} is absent or cut short", hint)
    path = where / name
    try:
        names = wfdb.rdheader(str(path)).sig_name
        lead = wfdb.rdrecord(
            str(path), channel_names=["MLII" if "MLII" in names else names[0]], physical=False
        )
        notes = wfdb.rdann(str(path), "atr")
    except (OSError, ValueError, IndexError) as error:
        raise DataError(
            str(path), f"cannot be read ({error})", "check the files against SHA256SUMS.txt"
        ) from error
    symbol, sample = np.array(notes.symbol, dtype=np.str_), notes.sample.astype(np.int64)
    spans = zip(sample[symbol == "["].tolist(), sample[symbol == "]"].tolist(), strict=True)
    beat = np.isin(symbol, list(AAMI))
    x = np.ascontiguousarray(lead.d_signal[:, 0], dtype=np.int16)
    return Recording(name, x, sample[beat], tuple(spans), float(lead.adc_gain[0]))


def at_rate(of: Recording, rate: int) -> Recording:
    """Resampled by a polyphase filter (needs SciPy, which wfdb brings)."""
    from scipy.signal import resample_poly

    ratio = Fraction(rate) / Fraction(of.rate)
    middle = float(of.x[0])
    x = resample_poly(of.x - middle, ratio.numerator, ratio.denominator) + middle

    def moved(sample: int) -> int:
        return round(sample * ratio)

    return replace(
        of,
        x=np.clip(np.round(x), -32768, 32767).astype(np.int16),
        rpeak=np.array([moved(int(r)) for r in of.rpeak], np.int64),
        flutter=tuple((moved(a), moved(b)) for a, b in of.flutter),
        rate=float(rate),
    )
