"""Power in bands as wide as an ear hears them: what networks that listen are trained on."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..ops.spectrum import BANDS
from ..spec.frontend import BlockSpec
from ..spec.options import Integer, Quantity
from . import Block
from ._spectrum import FRAMES, LEAST, frame_of, octaves
from ._tape import FrontTape, Signal


class Mel(Block):
    """`bands` triangles, evenly spaced on the mel scale, 2595 log10(1 + f / 700), each from the middle of the
    one before to the middle of the next one, where it is 1; log2 of the power in each. (Davis and
    Mermelstein, Comparison of parametric representations for monosyllabic word recognition, 1980; the scale
    as in Young et al., The HTK book, 2006.)"""

    kind = "mel"
    doc = "the power in bands of the mel scale, frame by frame, in octaves: of sound"
    options = (
        *FRAMES,
        Integer("bands", "how many", 1, BANDS[1], 40),
        Quantity("low", "where the first band begins", 0.0, 1e5, 20.0, "Hz"),
        Quantity("high", "where the last one ends; 0: half the rate", 0.0, 1e5, 0.0, "Hz"),
    )

    def write(self, tape: FrontTape, own: BlockSpec, x: Signal) -> Signal:
        frame = frame_of(tape, own, x)
        low, high = float(own["low"]), float(own["high"]) or x.rate / 2
        if not low < high <= x.rate / 2:
            what = f"bands from {low:g} to {high:g} Hz, and its signal has {x.rate:g} samples a second"
            raise tape.error(own, what, f"give low below high, and both up to {x.rate / 2:g} Hz")
        edges, size = _hertz(np.linspace(_mel(low), _mel(high), int(own["bands"]) + 2)), frame[2]
        bins = np.arange(size // 2) * x.rate / size
        weights = np.array([_triangle(bins, *edges[i : i + 3]) for i in range(len(edges) - 2)])
        for i, w in enumerate(weights):
            if w.sum() < LEAST:
                what = (
                    f"band {i + 1}, {edges[i]:.4g} to {edges[i + 2]:.4g} Hz, has less than a quarter of a bin"
                )
                what += f", {x.rate / size:.4g} Hz"
                raise tape.error(own, what, "give fewer bands, a larger size, or a higher low")
        return octaves(tape, own, x, frame, weights)


def _mel(f: float) -> float:
    return 2595 * float(np.log10(1 + f / 700))


def _hertz(mel: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(700 * (10 ** (mel / 2595) - 1))


def _triangle(f: NDArray[np.float64], low: float, middle: float, high: float) -> NDArray[np.float64]:
    rise, fall = (f - low) / (middle - low), (high - f) / (high - middle)
    return np.asarray(np.clip(np.minimum(rise, fall), 0, 1))
