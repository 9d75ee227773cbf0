"""The inputs that a package's example is fed with, until its user has a sensor: a few samples as integers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..ir.inputs import TARGET
from ..ir.plan import Plan
from .interface import label_type
from .views import rows

MOST_SAMPLES, MOST_BYTES = 16, 4096
"""An example holds no more samples, and of several no more than so many bytes: they lie in flash."""
ROUNDS = 2
"""How often the stub of a sensor goes through them: the second round shows what the first has taught."""


@dataclass(frozen=True)
class Example:
    """Samples for an example, chosen.

    inputs:  by name, [n, size] in the integers that the chip takes
    labels:  [n], each below the number of classes
    targets: [n, scores] in the scores' format; None where no numbers are learned
    given:   whether labels or targets come from data; else they mean nothing
    drawn:   whether the inputs themselves come from no data
    """

    inputs: dict[str, NDArray[Any]]
    labels: NDArray[Any]
    targets: NDArray[Any] | None
    given: bool
    drawn: bool = False

    def __len__(self) -> int:
        return len(self.labels)


def chosen(
    plan: Plan,
    inputs: dict[str, NDArray[Any]],
    labels: NDArray[Any] | None = None,
    targets: NDArray[Any] | None = None,
) -> Example:
    """Evenly spread ones of samples in integers, [n, size] by input; labels one class after the other where
    there are none, and targets of zero."""
    total = len(next(iter(inputs.values())))
    room = MOST_BYTES // (sum(plan[name].nbytes for name in plan.inputs) + _told_bytes(plan))
    count = max(1, min(total, MOST_SAMPLES, room))
    at = np.arange(count) * total // count
    given = (targets if plan.numbers else labels) is not None
    if plan.learning == "learn_target" and targets is None:
        targets = np.zeros((total, plan[TARGET].count), plan[TARGET].dtype)
    return Example(
        {name: x[at] for name, x in inputs.items()},
        labels[at] if labels is not None else np.arange(count) % max(plan.classes, 1),
        targets[at] if targets is not None else None,
        given,
    )


def _told_bytes(plan: Plan) -> int:
    """Bytes of what a sample's learning step is told, which lies beside its inputs."""
    if plan.learning == "learn":
        return 1 if label_type(plan) == "uint8_t" else 2
    return plan[TARGET].nbytes if plan.learning == "learn_target" else 0


def drawn(plan: Plan) -> Example:
    """Without data, where a file brings all integers: numbers from a fixed seed, within the limits."""
    rng = np.random.default_rng(0)
    inputs = {}
    for name in plan.inputs:
        t = plan[name]
        inputs[name] = rng.integers(t.lo, t.hi + 1, (MOST_SAMPLES, t.count)).astype(t.dtype)
    found = chosen(plan, inputs)
    return Example(found.inputs, found.labels, found.targets, given=False, drawn=True)


def initialisers(plan: Plan, example: Example) -> list[list[list[str]]]:
    """Each sample's inputs as C initialisers: a list of lines for each input."""
    return [
        [
            _braced(example.inputs[name][i].reshape(shape))
            for name, shape in zip(plan.inputs, plan.input_shapes, strict=True)
        ]
        for i in range(len(example))
    ]


def braced_rows(array: NDArray[Any]) -> list[list[str]]:
    """The rows of an array [n, size] as C initialisers, each a list of lines."""
    return [_braced(row) for row in array]


def _braced(array: NDArray[Any]) -> list[str]:
    """An array as the nested initialiser of a C array of its shape, with a comma behind it."""
    if array.ndim <= 1:
        lines = rows(map(str, array.reshape(-1).tolist()))
        if len(lines) == 1:
            return [f"{{ {lines[0].removesuffix(',')} }},"]
        return ["{", *_indented(lines), "},"]
    return ["{", *_indented(line for part in array for line in _braced(part)), "},"]


def _indented(lines: Iterable[str]) -> Iterator[str]:
    return (f"    {line}" for line in lines)
