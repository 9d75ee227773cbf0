"""Power in bands of frequencies that the file names: how a wearer moves, how a machine hums."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from ..ops.spectrum import BANDS
from ..spec.frontend import BlockSpec
from ..spec.options import Numbers
from . import Block
from ._spectrum import FRAMES, LEAST, frame_of, octaves
from ._tape import FrontTape, Signal


class Bands(Block):
    """log2 of the power between each edge and the next one: a sine of amplitude A in a band is A^2 / 2
    there. A bin that an edge parts counts in both bands, as much as lies in each."""

    kind = "bands"
    doc = "the power between frequencies, frame by frame, in octaves: of movement"
    options = (
        *FRAMES,
        Numbers("edges", "of the bands, rising: one more than there are bands", 2, BANDS[1] + 1, "Hz"),
    )

    def write(self, tape: FrontTape, own: BlockSpec, x: Signal) -> Signal:
        frame = frame_of(tape, own, x)
        edges = np.array([float(n) for n in str(own["edges"]).split()])
        if edges[0] < 0 or np.any(np.diff(edges) <= 0):
            raise tape.error(
                own, f"edges = [{', '.join(f'{e:g}' for e in edges)}]", "let them rise, from 0 on"
            )
        if edges[-1] > x.rate / 2:
            what = f"edge {edges[-1]:g} Hz, and its signal has {x.rate:g} samples a second"
            raise tape.error(own, what, f"give edges up to {x.rate / 2:g} Hz")
        bins, wide = np.arange(frame[2] // 2), x.rate / frame[2]
        low, high = (bins - 0.5) * wide, (bins + 0.5) * wide
        weights = np.array(
            [np.clip(np.minimum(high, b) - np.maximum(low, a), 0, None) / wide for a, b in pairwise(edges)]
        )
        if np.any(weights.sum(axis=1) < LEAST):
            at = int(np.flatnonzero(weights.sum(axis=1) < LEAST)[0])
            what = (
                f"band {edges[at]:g} to {edges[at + 1]:g} Hz has less than a quarter of a bin, {wide:.4g} Hz"
            )
            raise tape.error(own, what, "give wider bands, or a larger size")
        return octaves(tape, own, x, frame, weights)
