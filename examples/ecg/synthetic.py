"""Synthetic patients, so that everything runs without any recorded data.

Model: ECGSYN, McSharry PE, Clifford GD, Tarassenko L, Smith LA, IEEE Trans Biomed Eng 50(3):289-294, 2003.
A point runs around a limit cycle once a beat; each of the waves P Q R S T pulls z at its own angle,

    dz/dt = - sum_i a_i d_i exp(-d_i^2 / (2 b_i^2)) - (z - z_0(t)),   d_i = theta - theta_i in -pi..pi

and the heart rate carries a respiratory (0.25 Hz) and a Mayer (0.1 Hz) rhythm. On the cycle the fast part of
the equation has the closed form z = sum_i A_i exp(-d_i^2 / (2 b_i^2)), which is used here with angles turned
into times around each R peak (P and T move with the square root of the RR interval, as in the paper); the
baseline z_0 is a respiratory sine.

To the sinus beats (N) are added: V, premature, wide, no P wave, T against the QRS, then a compensatory pause;
S, premature with a P wave of another shape, QRS as the sinus beats; F, a sinus beat fused with V. Shapes
differ from patient to patient and vary a little from beat to beat. No result on these patients stands for one
on recorded data.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .records import FS, Record

SYMBOLS = ("N", "A", "V", "F")
"""MIT-BIH symbols that occur, in the order of the labels N S V F."""

# Waves P Q R S T of a beat at 60 a minute, after table 1 of the paper: seconds from the R peak, standard
# deviation in seconds, height in mV.
_SINUS = np.array(
    [
        [-0.190, -0.036, 0.0, 0.036, 0.270],
        [0.024, 0.010, 0.011, 0.010, 0.050],
        [0.15, -0.12, 1.20, -0.25, 0.30],
    ]
)
# A ventricular beat: the excitation creeps from muscle to muscle, so that all is two to three times as wide.
_VENTRICULAR = np.array(
    [
        [-0.190, -0.075, 0.0, 0.085, 0.280],
        [0.024, 0.026, 0.030, 0.034, 0.065],
        [0.0, -0.20, 1.50, -0.60, -0.45],
    ]
)
_P, _R, _T = 0, 2, 4
_REACH = round(0.6 * FS)


@dataclass(frozen=True)
class Patient:
    """Shapes and rhythm of one synthetic patient.

    waves   float64[4, 3, 5], per class N S V F: time (s), width (s), height (mV) of P Q R S T
    share   float64[4], probability of each class; F, V, S never directly follow one another
    rr      mean RR interval, s
    early   float64[2], RR of S and of V beats as a fraction of `rr`
    noise   standard deviation of the white noise, mV
    """

    waves: NDArray[np.float64]
    share: NDArray[np.float64]
    rr: float
    early: NDArray[np.float64]
    noise: float


def draw_patient(seed: int) -> Patient:
    """A patient from a seed: the same seed gives the same patient."""
    rng = np.random.default_rng([seed, 0])

    def vary(waves: NDArray[np.float64], spread: float) -> NDArray[np.float64]:
        return waves * np.exp(spread * rng.standard_normal(waves.shape))

    sinus = vary(_SINUS, 0.15)
    # Some have what a base model has hardly met: a broad QRS, a deep S wave, T upside down, a flat P wave.
    sinus[1, 1:4] *= rng.choice([1.0, 1.0, 2.0])
    sinus[2, 3] *= rng.choice([1.0, 1.0, 3.5])
    sinus[2, _T] *= rng.choice([1.0, 1.0, -0.8])
    sinus[2, _P] *= rng.choice([1.0, 0.5])
    atrial = sinus.copy()
    atrial[0, _P] *= rng.uniform(0.6, 0.85)
    atrial[2, _P] *= rng.choice([-0.8, 0.3, 1.6])
    ventricular = vary(_VENTRICULAR, 0.15)
    ventricular[2] *= rng.choice([1.0, -1.0]) * rng.uniform(0.5, 1.1)
    fusion = 0.55 * sinus + 0.45 * ventricular
    share = np.array([0.0, rng.uniform(0.04, 0.09), rng.uniform(0.04, 0.10), rng.uniform(0.01, 0.025)])
    share[0] = 1 - share.sum()
    return Patient(
        waves=np.stack([sinus, atrial, ventricular, fusion]),
        share=share,
        rr=rng.uniform(0.7, 1.05),
        early=np.array([rng.uniform(0.78, 0.92), rng.uniform(0.60, 0.90)]),
        noise=rng.uniform(0.008, 0.02),
    )


def draw_rhythm(
    patient: Patient, seconds: float, rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """(R peaks in seconds float64[n], classes int64[n]) of one recording."""
    time, kind = [0.5 * patient.rr], [0]
    phase = rng.uniform(0, 2 * np.pi, 2)
    pause = 0.0
    while time[-1] < seconds:
        now = time[-1]
        breath = 0.03 * np.sin(2 * np.pi * 0.25 * now + phase[0])
        mayer = 0.02 * np.sin(2 * np.pi * 0.1 * now + phase[1])
        sinus = patient.rr * (1 + breath + mayer + 0.015 * rng.standard_normal())
        c = int(rng.choice(4, p=patient.share)) if kind[-1] == 0 else 0
        jitter = 1 + 0.03 * rng.standard_normal()
        interval = sinus * patient.early[c - 1] * jitter if c in (1, 2) else sinus + pause
        # After V the sinus node keeps its beat (full pause); after S it starts anew (short pause).
        pause = {1: 0.1 * sinus, 2: sinus - interval}.get(c, 0.0)
        time.append(now + interval)
        kind.append(c)
    # The last beat may lie beyond the end.
    return np.array(time[:-1]), np.array(kind[:-1], dtype=np.int64)


def record(seed: int, minutes: float = 30.0) -> Record:
    """Synthetic patient `seed` as a record "synthetic-<seed>" of `minutes`; the same seed gives the same."""
    patient = draw_patient(seed)
    rng = np.random.default_rng([seed, 1])
    samples = round(minutes * 60 * FS)
    time, kind = draw_rhythm(patient, minutes * 60, rng)
    rpeak = np.minimum(np.round(time * FS).astype(np.int64), samples - 1)
    clock = np.arange(samples) / FS
    signal = patient.noise * rng.standard_normal(samples)
    signal += 0.08 * np.sin(2 * np.pi * 0.25 * clock) + 0.10 * np.sin(2 * np.pi * 0.05 * clock)
    interval = np.diff(time, prepend=time[0] - patient.rr)
    for at, c, rr in zip(rpeak, kind, interval, strict=True):
        start, stop = max(at - _REACH, 0), min(at + _REACH, samples)
        shape = patient.waves[c] * (1 + 0.04 * rng.standard_normal((3, 5)))
        signal[start:stop] += _beat(shape, rr, clock[start:stop] - at / FS)
    symbol = np.array(SYMBOLS)[kind]
    return Record(f"synthetic-{seed}", signal.astype(np.float32), rpeak, symbol)


def _beat(waves: NDArray[np.float64], rr: float, clock: NDArray[np.float64]) -> NDArray[np.float64]:
    """Waves float64[3, 5], RR in s, time from the R peak float64[n] in s -> mV float64[n]."""
    time, width, height = waves
    stretch = np.array([np.sqrt(rr), 1.0, 1.0, 1.0, np.sqrt(rr)])
    distance = clock[:, None] - time * stretch
    return np.asarray(np.exp(-0.5 * (distance / width) ** 2) @ height)
