"""The signal-quality flag against windows of ten seconds in which the detector's F1 is low."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from synapcc.gen.spec.frontend import FrontEnd

from .data import START, Recording
from .detect import Samples, detect, quality
from .match import WINDOW, Count, matched

SECONDS = 10.0
LOW = 0.9
"""F1 below which a window is bad."""


class Windows(NamedTuple):
    """Of each window: whether F1 is below `LOW`, its mean loudness (0..1), its share of doubtful samples."""

    bad: NDArray[np.bool_]
    loudness: NDArray[np.float64]
    doubtful: NDArray[np.float64]


def joined(parts: Iterable[Windows]) -> Windows:
    """Several recordings' as one."""
    return Windows(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def windows(of: Recording, x: Samples, front: FrontEnd) -> Windows:
    """Of samples x of the recording, with noise or without, from `START` on, without windows that touch a
    flutter. A window without a beat of either kind is good."""
    size, n = round(SECONDS * of.rate), len(x)
    starts = np.arange(round(START * of.rate), n - size + 1, size)
    places = np.sort(detect(x, front).at)
    of_truth, of_found = matched(of.rpeak, places, round(WINDOW * of.rate))
    window_of_truth, window_of_found = (
        np.where(v < starts[-1] + size, np.searchsorted(starts, v, "right") - 1, -1)
        for v in (of.rpeak, places)
    )
    bad, kept = np.zeros(len(starts), np.bool_), np.ones(len(starts), np.bool_)
    for i, start in enumerate(starts):
        truth, told = of_truth[window_of_truth == i], of_found[window_of_found == i]
        count = Count(int((truth >= 0).sum()), int((truth < 0).sum()), int((told < 0).sum()))
        bad[i] = count.f1 < LOW
        kept[i] = not any(a < start + size and b >= start for a, b in of.flutter)
    inside = slice(starts[0], starts[-1] + size)
    loudness, doubtful = (v[inside].reshape(-1, size).mean(axis=1) for v in quality(x, front))
    return Windows(bad[kept], loudness[kept], doubtful[kept])


def auc(score: NDArray[np.float64], bad: NDArray[np.bool_]) -> float:
    """Area under the curve of sensitivity over 1 - specificity: Mann and Whitney's U over its most."""
    _, place, times = np.unique(score, return_inverse=True, return_counts=True)
    rank = (np.cumsum(times) - (times - 1) / 2)[place]
    few, many = int(bad.sum()), int((~bad).sum())
    if not few or not many:
        return float("nan")
    return float((rank[bad].sum() - few * (few + 1) / 2) / (few * many))


def told_apart(flagged: NDArray[np.bool_], bad: NDArray[np.bool_]) -> tuple[float, float]:
    """(share of the bad windows that are flagged, share of the others that are not)."""
    return float(flagged[bad].mean()), float((~flagged[~bad]).mean())
