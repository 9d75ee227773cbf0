"""The label of a sample, as kernels take it: a byte, or 16 bits where there are more than 256 classes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

LABEL = "uint8|uint16 [1]"


def draw(rng: np.random.Generator, classes: int) -> NDArray[np.unsignedinteger]:
    """A label [1] for a test case, now and then the first that is no class, in a type that holds it."""
    label = rng.integers(0, classes + 1, 1)
    return label.astype(np.uint16 if classes >= 2**8 or rng.integers(2) else np.uint8)
