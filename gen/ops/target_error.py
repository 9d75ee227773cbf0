"""The target in the place of an error: e = -onehot(label), the sign that the error of that class has.

Of one output, -1 for label 1 and 1 for label 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import numeric
from . import Arrays, Attrs, Bounds, Case, Format, Kernel, Known, _labels
from ._contract import WORD, Tensors, takes, within
from ._loops import Cells, Loop, stream_key


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


def _wrong(label: Cells, step: Cells, e: Cells, seed: int, tensor: int) -> None:
    if len(e) == 1:
        e[0] = 2 * np.int32(label[0] != 0) - 1
    else:
        drawn = numeric.scale_index(stream_key(seed, step[0], tensor), numeric.uint32(len(e) - 1))
        other = np.int64(drawn) + (1 if np.int64(drawn) >= np.int64(label[0]) else 0)
        for i in range(len(e)):
            e[i] = -np.int32(i == other)


class Wrong(Kernel):
    """e = -onehot(w), w a class other than the label's, each as likely: a function of seed, step and tensor.

    Of one output, 1 for label 1 and -1 for label 0.
    """

    name = "target_error.wrong"
    loop = Loop(_wrong)
    reads = ("label", "step")
    writes = ("e",)
    operands = takes(label=_labels.LABEL, step="uint32 [1]", e="int16 [n]")
    attributes = within(seed=WORD, tensor=WORD)

    def misfit(self, t: Tensors, a: Attrs) -> str:
        n = t["e"].shape[0]
        return f"{n} classes, a draw knows {2**16}" if n > 2**16 else ""

    def integer(self, t: Arrays, a: Attrs) -> None:
        n, label = t["e"].shape[1], t["label"].astype(np.int64)
        if n == 1:
            t["e"][...] = np.where(label != 0, 1, -1)
            return
        word = numeric.mix(
            numeric.mix(np.uint32(a["seed"]), t["step"].astype(np.uint32)), np.uint32(a["tensor"])
        )
        drawn = numeric.scale_index(word, np.full_like(word, n - 1)).astype(np.int64)
        t["e"][...] = np.where(np.arange(n) == drawn + (drawn >= label), -1, 0)

    real = integer

    def fixed(self, a: Attrs) -> dict[str, Format]:
        return {"e": Format("int16", 0, -1, 1)}

    def bounds(self, k: Mapping[str, Known], a: Attrs) -> Bounds:
        return [], {"e": (-1, 1 if k["e"].shape[0] == 1 else 0, 1)}

    def case(self, rng: np.random.Generator) -> Case:
        n = int(rng.choice([1, int(rng.integers(2, 12)), 300]))
        arrays: dict[str, NDArray[Any]] = {
            "label": _labels.draw(rng, max(n, 2)),
            "step": rng.integers(0, 2**32, 1).astype(np.uint32),
            "e": np.zeros(n, np.int16),
        }
        return Case(arrays, {"seed": int(rng.integers(2**32)), "tensor": int(rng.integers(64))}, {})
