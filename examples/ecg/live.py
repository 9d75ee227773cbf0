"""Whom `synapcc demo ecg --live` shows: a patient's raw samples, what was annotated, words for the page."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from synapcc.gen.errors import SynapccError
from synapcc.host.live.page import Words
from synapcc.host.live.recording import UNKNOWN, Recording

from . import protocol, records, synthetic
from .choices import LIVE
from .demo import HOW_TO_GET_DATA, SYNTHETIC, check_name
from .streamed import GAIN, samples

LIVE_SYNTHETIC = f"{SYNTHETIC}13"
"""Who is shown where no data are."""
MEANING = ("normal", "early, atrial", "ventricular", "fusion")
NORMAL, NOT_NORMAL = 0, "This was not normal"
"""The class that one press denies, and what it says."""
SYNTHETIC_MINUTES = 10.0


@dataclass(frozen=True)
class Shown:
    """A patient: what the page says, what is streamed, and which data these are, in a sentence."""

    name: str
    real: bool
    told: str
    words: Words
    recording: Recording


def shown(name: str, device: str) -> Shown:
    """A patient of DS2, or a synthetic one; "" for one that shows the effect, synthetic where there are no
    data. SynapccError: no such patient, or none whose data are here."""
    if name:
        check_name(name)
    if name.startswith(SYNTHETIC):
        return _synthetic(name, "as asked for", device)
    try:
        folder = records.find(download=False)
        record = records.read(name or next(iter(LIVE)), folder)
    except (records.DataError, ImportError) as error:
        what = getattr(error, "what", None) or f"{error}: pip install 'synapcc[ecg]'"
        if name:
            hint = f"or choose a synthetic one: --patient {LIVE_SYNTHETIC}; {HOW_TO_GET_DATA}"
            raise SynapccError(f"patient {name}", f"needs MIT-BIH: {what}", hint) from None
        return _synthetic(LIVE_SYNTHETIC, "because the real ones are not here", device)
    why = LIVE.get(record.name, "The chip has never seen this heart. It learns it from who corrects it.")
    words = _words(f"Patient {record.name}", why, "", device)
    told = f"record {record.name} of the MIT-BIH Arrhythmia Database, from {folder}"
    return Shown(record.name, True, told, words, _recording(record))


def _synthetic(name: str, why: str, device: str) -> Shown:
    record = synthetic.record(int(name.removeprefix(SYNTHETIC)), SYNTHETIC_MINUTES)
    told = f"a SYNTHETIC patient, drawn from an equation, {why}"
    about = "The chip has never seen this heart. It learns it from who corrects it."
    notice = f"This is {told}. No result on it stands for one on a recorded heart."
    words = _words(f"Synthetic patient {record.name.removeprefix(SYNTHETIC)}", about, notice, device)
    return Shown(name, False, told, words, _recording(record))


def _words(title: str, about: str, notice: str, device: str) -> Words:
    return Words(title, about, notice, device, ("beat", "beats"), MEANING, NORMAL, NOT_NORMAL)


def _recording(record: records.Record) -> Recording:
    label = record.label().astype(np.int64)
    label[label >= len(protocol.LABELS)] = UNKNOWN
    return Recording(samples(record), records.FS, GAIN, "mV", record.rpeak, label, protocol.LABELS)
