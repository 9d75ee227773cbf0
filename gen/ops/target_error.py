"""The target in the place of an error: e = -onehot(label), the sign that the error of that class has.

Of one output, -1 for label 1 and 1 for label 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import Arrays, Attrs, Bounds, Case, Format, Kernel, Known, _labels
from ._contract import takes
from ._loops import Cells, Loop


def _forward(label: Cells, e: Cells) -> None:
    if len(e) == 1:
        e[0] = 1 - 2 * np.int32(label[0] != 0)
    else:
        for i in range(len(e)):
            e[i] = -np.int32(i == label[0])


class Forward(Kernel):
    name = "target_error.forward"
    loop = Loop(_forward)
    reads = ("label",)
    writes = ("e",)
    operands = takes(label=_labels.LABEL, e="int16 [n]")

    def _error(self, t: Arrays) -> NDArray[Any]:
        n = t["e"].shape[1]
        if n == 1:
            return np.where(t["label"] != 0, -1, 1)
        return np.where(np.arange(n) == t["label"], -1, 0)  # a label that is no class meets none

    def integer(self, t: Arrays, a: Attrs) -> None:
        t["e"][...] = self._error(t)

    def real(self, t: Arrays, a: Attrs) -> None:
        t["e"][...] = self._error(t)

    def fixed(self, a: Attrs) -> dict[str, Format]:
        return {"e": Format("int16", 0, -1, 1)}

    def bounds(self, k: Mapping[str, Known], a: Attrs) -> Bounds:
        return [], {"e": (-1, 1 if k["e"].shape[0] == 1 else 0, 1)}

    def case(self, rng: np.random.Generator) -> Case:
        n = int(rng.choice([1, int(rng.integers(2, 12)), 300]))
        return Case({"label": _labels.draw(rng, max(n, 2)), "e": np.zeros(n, np.int16)}, {}, {})
