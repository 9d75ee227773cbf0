"""Synthetic wearers of a watch, as examples/har reads real ones."""

from __future__ import annotations

import numpy as np

from synapcc.examples.har import data
from synapcc.examples.har.data import Recording


def recordings(wearers: tuple[str, ...] = data.WEARERS) -> tuple[Recording, ...]:
    """Each exercise a turning of its own, each wearer at a pace of their own; 24 seconds."""
    found = []
    for wearer in wearers:
        rng = np.random.default_rng(int(wearer))
        pace, lean = rng.uniform(0.7, 1.4), rng.normal(0, 0.2, 6)
        for exercise in range(len(data.EXERCISES)):
            t = np.arange(24 * data.FS) / data.FS
            ways = np.random.default_rng(100 + exercise).normal(0, 1, (2, 6))
            x = ways[0] + ways[1] * np.sin(2 * np.pi * 0.5 * pace * t)[:, None] + lean
            found.append(Recording(wearer, exercise, (x + rng.normal(0, 0.1, x.shape)).astype(np.float32)))
    return tuple(found)
