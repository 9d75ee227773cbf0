"""From a recording to what the network sees: windows of two seconds, a second apart, 64 features each.

With x_a[n] one of the six axes in a window of N = 100 samples, and |a| the length of the acceleration:

1. of each axis: mean, standard deviation, least, most, mean of |x[n] - x[n-1]|, root mean square, the share
   of n at which x crosses its mean, and the lower, middle and upper quartile                          6 x 10
2. the correlation of ax with ay, of ax with az, and of ay with az; 0 where one of both stands still        3
3. the standard deviation of |a|                                                                            1

A feature is what it is: the network's first step takes off the mean of its training windows and divides by
their standard deviation, and synapcc lifts that into the input's quantiser.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .data import FS, Recording

LENGTH, STRIDE = 2 * FS, FS
FEATURES = 64
SHARE = 0.25
"""The part of each recording, from its beginning, that a wearer's device learns."""


@dataclass(frozen=True)
class Windows:
    """features: float32 [n, 64]; label: uint8 [n]; wearer: [n]"""

    features: NDArray[np.float32]
    label: NDArray[np.uint8]
    wearer: NDArray[np.str_]

    def __len__(self) -> int:
        return len(self.label)

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """As an .npz file holds them."""
        return {"features": self.features, "label": self.label, "wearer": self.wearer}


def features(windows: NDArray[np.float32]) -> NDArray[np.float32]:
    """windows [n, N, 6] -> [n, 64]."""
    x = windows.astype(np.float64)
    mean, deviation = x.mean(1), x.std(1)
    above = x > mean[:, None]
    each = [
        mean, deviation, x.min(1), x.max(1), np.abs(np.diff(x, axis=1)).mean(1), np.sqrt((x * x).mean(1)),
        (above[:, 1:] != above[:, :-1]).mean(1), *np.quantile(x, (0.25, 0.5, 0.75), axis=1),
    ]  # fmt: skip
    pairs = []
    for a, b in ((0, 1), (0, 2), (1, 2)):
        both = ((x[..., a] - mean[:, None, a]) * (x[..., b] - mean[:, None, b])).mean(1)
        scale = deviation[:, a] * deviation[:, b]
        pairs.append(np.divide(both, scale, out=np.zeros_like(both), where=scale > 0))
    length = np.sqrt((x[..., :3] ** 2).sum(-1)).std(1)
    return np.concatenate([*each, np.stack([*pairs, length], axis=1)], axis=1).astype(np.float32)


def cut(signal: NDArray[np.float32]) -> NDArray[np.float32]:
    """[samples, 6] -> the whole windows in it, [n, N, 6]; none where it is shorter than one."""
    starts = range(0, len(signal) - LENGTH + 1, STRIDE)
    parts = [signal[at : at + LENGTH] for at in starts]
    return np.stack(parts) if parts else np.zeros((0, LENGTH, signal.shape[1]), np.float32)


def windows(recordings: Sequence[Recording]) -> Windows:
    """All windows of whole recordings."""
    return _join([(r, r.signal) for r in recordings])


def split(recordings: Sequence[Recording]) -> tuple[Windows, Windows]:
    """(learn, test): windows that lie within the first quarter of a recording, and within the rest."""
    ends = [(r, round(SHARE * len(r.signal))) for r in recordings]
    return _join([(r, r.signal[:end]) for r, end in ends]), _join([(r, r.signal[end:]) for r, end in ends])


def _join(parts: Sequence[tuple[Recording, NDArray[np.float32]]]) -> Windows:
    cuts = [(r, cut(signal)) for r, signal in parts]
    label = np.concatenate([np.full(len(w), r.exercise, np.uint8) for r, w in cuts])
    wearer = np.concatenate([np.full(len(w), r.wearer) for r, w in cuts])
    return Windows(features(np.concatenate([w for _, w in cuts])), label, wearer)
