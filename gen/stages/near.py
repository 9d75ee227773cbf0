"""Samples near those of calibration, where these are few: what new ones may be like.

What is chosen by few samples fits these, and few say little: of 100 answers 98 that stay may be .95 of all.
A smoothed bootstrap has more to ask: a sample, moved by a share of the difference of two others, so by what
samples differ in, however they are distributed (Silverman, Young, The bootstrap: to smooth or not to smooth?,
1987). What never moves stays; labels are of no use here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from .calibrate import LARGEST, Runs

ENOUGH = 512  # samples to choose by that need no others beside them
LEAST = 3  # without which there are no two others
NUDGE = 0.2  # of the difference of two: squares of deviations grow by 8 %
GOLDEN = (math.sqrt(5.0) - 1.0) / 2.0  # turns that never come back to where others were

Reals = Mapping[str, NDArray[np.float64]]


def denser(runs: Runs, data: Reals, usual: NDArray[np.intp]) -> Runs:
    """`runs` with samples near them, ENOUGH in all; as they are where there are that many, or a large network
    runs a part of them only.

    data:  the inputs by name as the float programs take them, [n, *shape], of which `runs` was made
    usual: the samples of `runs` that are no outliers
    """
    if not few(runs, usual):
        return runs
    return Runs(runs.abstract, nearby({n: data[n] for n in runs.abstract.inputs}, usual))


def few(runs: Runs, usual: NDArray[np.intp], enough: int = ENOUGH) -> bool:
    """Whether others near them have more to say than they."""
    return len(runs) == runs.given < enough and len(usual) >= LEAST


def nearby(
    data: Reals, usual: NDArray[np.intp], enough: int = ENOUGH, turn: int = 0
) -> dict[str, NDArray[np.float64]]:
    """Samples by name, [n, *shape] each, and behind them others near those of `usual`: `enough` in all.

    turn: another number gives other samples
    """
    of = np.arange(max(0, enough - len(next(iter(data.values())))))
    first, turned = usual[of % len(usual)], of // len(usual) + 1 + turn * enough
    second, third = (usual[(of + _offset(turned * k, len(usual))) % len(usual)] for k in (1, 2))
    return {
        name: np.concatenate([x, np.clip(x[first] + NUDGE * (x[second] - x[third]), -LARGEST, LARGEST)])
        for name, x in ((n, np.asarray(v, np.float64)) for n, v in data.items())
    }


def _offset(turns: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Places from a sample to another one, 1 .. count - 1, spread evenly over all turns."""
    return np.asarray(1 + np.floor((turns * GOLDEN % 1.0) * (count - 1)), np.int64)
