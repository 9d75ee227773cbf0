"""The rows of docs/RESULTS.md: which networks learn what, and what is asked of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from synapcc.gen.errors import SynapccError
from synapcc.gen.ir.graph import Graph

from .networks import convolutional, perceptron
from .train import Run

SEEDS = (1, 2, 3)
NAMES = {"mnist": "MNIST", "fashion-mnist": "Fashion-MNIST"}
UNTIED, BELOW = ", untied", 0.5
DEPTHS, DEEP_RULES, WIDTH = (2, 4, 6, 8), ("fa", "hebbian", "bp"), 100


@dataclass(frozen=True)
class Row:
    """Runs of several seeds.

    bar:    the accuracy asked for, in percent
    below:  or how far below that of the same network, tied, it may lie
    record: what others published
    """

    part: str
    network: str
    data: str
    rule: str
    runs: tuple[Run, ...]
    bar: float | None = None
    record: str = ""
    depth: int = 0
    below: float | None = None

    def of(self, run: Run, held_out: bool = False) -> str:
        """What the file of results calls one of its runs."""
        parts = (self.network, self.data, self.rule, f"seed {run.seed}", *["held out"] * held_out)
        return " | ".join(parts)


def _dense(
    data: str,
    rule: str,
    file: str,
    sizes: Sequence[int],
    passes: int,
    bar: float | None = None,
    record: str = "",
) -> Row:
    graph = perceptron(sizes, bounded=file == "fashion_dfa")
    runs = tuple(Run(data, graph, file, passes, seed) for seed in SEEDS)
    return Row("dense", "-".join(map(str, sizes)), NAMES[data], rule, runs, bar, record)


def _deep(rule: str, depth: int) -> Row:
    sizes = (784, *[WIDTH] * depth, 10)
    graph = perceptron(sizes, bounded=True)
    runs = tuple(Run("fashion-mnist", graph, "depth", 10, seed, rule) for seed in SEEDS)
    return Row("depth", f"784-({WIDTH} x {depth})-10", NAMES["fashion-mnist"], rule, runs, depth=depth)


def _conv(data: str, file: str, graph: Graph, said: str, passes: int, bar: float | None = None) -> Row:
    runs = tuple(Run(data, graph, file, passes, seed, centred=False) for seed in SEEDS)
    how, below = (UNTIED, BELOW) if file.endswith("untied") else ("", None)
    return Row("convolutional", f"{said}, dense{how}", NAMES[data], "hebbian", runs, bar, below=below)


SMALL = convolutional(8, 16), "convolutions of 8 and 16 filters"
WIDER = convolutional(16, 32), "convolutions of 16 and 32 filters"
THREE = convolutional(12, 24, 52, kernel=3, border=1), "convolutions of 12, 24 and 52 filters"
MNIST, FASHION = (784, 100, 50, 10), (784, 200, 100, 50, 10)
ROWS = (
    _dense("mnist", "hebbian", "mnist_hebbian", MNIST, 12, 97.7, "NITRO-D 97.36"),
    _dense("mnist", "dfa", "mnist_dfa", MNIST, 12, 97.0, "PocketNN 96.98"),
    _dense("mnist", "pepita", "mnist_pepita", MNIST, 12),
    _dense("mnist", "ff", "mnist_ff", MNIST, 12),
    _dense("fashion-mnist", "hebbian", "fashion_hebbian", FASHION, 20, 89.2, "NITRO-D 88.66"),
    _dense("fashion-mnist", "dfa", "fashion_dfa", FASHION, 20, 87.8, "PocketNN 87.7"),
    _conv("mnist", "cnn_mnist", *SMALL, 6, 98.8),
    _conv("mnist", "cnn_mnist_untied", *SMALL, 6),
    _conv("fashion-mnist", "cnn_fashion", *WIDER, 14, 90.5),
    _conv("fashion-mnist", "cnn_fashion", *THREE, 14, 90.5),
    _conv("fashion-mnist", "cnn_fashion", *SMALL, 14),
    _conv("fashion-mnist", "cnn_fashion_untied", *SMALL, 14),
    *(_deep(rule, depth) for depth in DEPTHS for rule in DEEP_RULES),
)
ECG = "ecg"
PARTS = (*dict.fromkeys(row.part for row in ROWS), ECG)


def parts(wanted: Sequence[str], held_out: bool = False) -> Sequence[str]:
    """These parts, or all that there are (of those with held-out images). SynapccError names another one."""
    there = tuple(part for part in PARTS if not held_out or part != ECG)
    for part in wanted:
        if part not in there:
            what = "has no held-out images" if part in PARTS else "is no part of the results"
            raise SynapccError(part, what, f"there are {', '.join(there)}")
    return wanted or there
