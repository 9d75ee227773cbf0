"""Networks that float computes without loss, and whose integers one bad scaling may break."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from drawn import Drawn

from synapcc.gen.ir.graph import Graph, Node, Tensor
from synapcc.gen.stages.passes import simplify

Rng = np.random.Generator
Draw = Callable[[int], np.ndarray]

SHAPES = ("small", "wide", "deep", "conv1d", "conv2d", "depthwise", "residual")
KINDS = (
    "usual",
    "rows",  # rows of a layer times a factor, undone in the next layer
    "weight",  # one weight larger than all others
    "variance",  # a batch norm of which one variance was tiny, in front of the ReLU
    "variance behind",
    "last",  # the last layer times a small factor
    "bias",  # a channel's bias huge, undone in the next layer's
    "dead",  # channels that are never above zero
    "twins",  # channels that are the same
    "gamma",  # a batch norm of which one gamma is 0
    "margins",  # the scores have most in common
    "offset",  # the scores have a large offset in common
    "feature",  # an input feature 10^4 times the others, undone in the first layer
    "faint",  # one 10^-5 times the others
)
INF = math.inf


class _Spoilt(Drawn):
    """A chain of layers of which one is spoilt."""

    def __init__(self, rng: Rng, form: str, kind: str) -> None:
        maps = {"conv1d": (1, 12, 3), "conv2d": (6, 6, 2), "depthwise": (6, 6, 4), "residual": (6, 6, 4)}
        flat = {"small": (8,), "wide": (16,), "deep": (10,)}
        super().__init__(rng, maps.get(form) or flat[form])
        self.form, self.kind = form, kind
        self.factor = float(10.0 ** rng.uniform(1, 5))
        self.undone: np.ndarray | None = None  # what the next layer's columns are divided by
        self.shift: np.ndarray | None = None  # what of its inputs its biases take back
        self.feature = np.ones(self.shape[-1])
        if kind in ("feature", "faint"):
            self.feature[rng.integers(self.shape[-1])] = 1e4 if kind == "feature" else 1e-5
            self.undone = self.feature

    def drawn(self, rows: int, columns: int, each: int = 1) -> tuple[np.ndarray, np.ndarray]:
        """Weights and biases; the layer before is made up for. each: taps of a channel."""
        w, b = self.weights(rows, columns)
        if self.undone is not None:
            undone = self.undone
            w = w / (undone[:, None] if columns == each else np.tile(undone, columns // len(undone)))
        if self.shift is not None:
            shift = self.shift
            b = b - (w.sum(axis=1) * shift if columns == each else w @ np.tile(shift, columns // len(shift)))
        self.undone = self.shift = None
        return w, b

    def hidden(self, rows: int, spoilt: bool, depthwise: bool = False) -> None:
        """A layer with what follows it."""
        channels, maps = self.shape[-1], len(self.shape) == 3
        height = 3 if maps and self.shape[0] > 1 else 1
        taps = 3 * height if maps else 1
        w, b = self.drawn(rows, taps if depthwise else channels * taps, taps if depthwise else 0)
        at = self.rng.choice(rows, int(self.rng.integers(1, 3)), replace=False)
        if spoilt:
            self._spoil(w, b, at)
        if maps:
            around, groups = (height // 2, 1, height // 2, 1), channels if depthwise else 1
            to = (*self.shape[:2], rows)
            self.put("conv2d", to, w, b, kernel=(height, 3), padding=around, groups=groups)
        else:
            self.put("dense", (rows,), w, b)
        if spoilt and self.kind in ("variance", "gamma"):
            self.variance(min(self.factor, 1e3) if self.kind == "variance" else 0.0)
        self.put("clip", self.shape, lo=0.0, hi=INF)
        if spoilt and self.kind == "variance behind":
            self.variance(min(self.factor, 1e3))

    def _spoil(self, w: np.ndarray, b: np.ndarray, at: np.ndarray) -> None:
        if self.kind == "rows":
            self.undone = np.ones(len(w))
            self.undone[at] = self.factor
            w *= self.undone[:, None]
            b *= self.undone
        if self.kind == "weight":
            w[at[0], self.rng.integers(w.shape[1])] *= min(self.factor, 1e3)
        if self.kind == "bias":
            self.shift = np.zeros(len(w))
            self.shift[at[0]] = min(self.factor, 1e3)
            b += self.shift
        if self.kind == "dead":
            w[at], b[at] = w[at] * self.rng.integers(2), -10.0
        if self.kind == "twins":
            w[at], b[at] = w[0], b[0]

    def last(self) -> None:
        if len(self.shape) == 3:
            size = math.prod(self.shape)
            for name in ("undone", "shift"):
                each = getattr(self, name)
                setattr(self, name, None if each is None else np.tile(each, size // len(each)))
            self.put("reshape", (size,), shape=(size,))
        w, b = self.drawn(int(self.rng.integers(3, 6)), self.shape[0])
        if self.kind == "last":
            w, b = w / self.factor, b / self.factor
        if self.kind == "margins":
            near = min(self.factor, 100.0)
            w, b = w[0] + (w - w[0]) / near, b[0] + (b - b[0]) / near
        if self.kind == "offset":
            b = b + min(self.factor, 1e3)
        self.put("dense", (len(b),), w, b)

    def add(self, other: str) -> None:
        name = f"add{len(self.nodes)}"
        self.tensors[name] = Tensor(name, self.shape)
        self.nodes.append(Node("add", name, (self.end, other), name, {}))
        self.end = name


def spoilt(rng: Rng, form: str, kind: str) -> tuple[Graph, Draw]:
    """A network of a form, spoilt at one place, and what draws samples [n, *shape] for it."""
    net = _Spoilt(rng, form, kind)
    rows = {
        "small": [6],
        "wide": [12],
        "deep": [12, 10, 8],
        "conv1d": [6, 8],
        "conv2d": [6, 8],
        "depthwise": [4, 4, 8],
        "residual": [4, 4, 4],
    }[form]
    place = int(rng.integers(len(rows)))
    for number, each in enumerate(rows):
        before = net.end
        net.hidden(each, number == place, depthwise=form == "depthwise" and number < 2)
        if form == "residual" and number == 1:
            if net.undone is not None or net.shift is not None:  # the sum is what the next layer reads
                net.undone = net.shift = None
            net.add(before)
    net.last()
    shape, feature = net.tensors["x"].shape, net.feature
    return simplify(net.graph), lambda n: (rng.normal(0, 1, (n, *shape)) * feature).astype(np.float32)
