"""Graphs that grow at their end."""

from __future__ import annotations

import math

import numpy as np

from synapcc.gen.ir.graph import Graph, Node, Tensor

Rng = np.random.Generator


class Drawn:
    """A graph that grows at its end."""

    def __init__(self, rng: Rng, shape: tuple[int, ...]) -> None:
        self.rng, self.shape, self.end = rng, shape, "x"
        self.tensors, self.nodes = {"x": Tensor("x", shape)}, list[Node]()

    def put(self, op: str, to: tuple[int, ...], *constants: np.ndarray, **attrs: object) -> str:
        name = f"{op}{len(self.nodes)}"
        names = [f"{name}_{i}" for i in range(len(constants))]
        self.tensors |= {n: Tensor(n, c.shape, c) for n, c in zip(names, constants, strict=True)}
        self.tensors[name] = Tensor(name, to)
        self.nodes.append(Node(op, name, (self.end, *names), name, attrs))  # type: ignore[arg-type]
        self.end, self.shape = name, to
        return name

    def weights(self, rows: int, columns: int) -> tuple[np.ndarray, np.ndarray]:
        return self.rng.normal(0, np.sqrt(2 / columns), (rows, columns)), self.rng.normal(0, 0.1, rows)

    def variance(self, factor: float) -> None:
        """A batch normalisation of which one channel was far smaller than the others."""
        scale = self.rng.uniform(0.7, 1.4, self.shape[-1])
        scale[self.rng.integers(len(scale))] = factor
        each = [np.tile(v, math.prod(self.shape[:-1])) for v in (scale, self.rng.normal(0, 0.1, len(scale)))]
        self.put("affine", self.shape, *each)

    @property
    def graph(self) -> Graph:
        return Graph("net", ("x",), self.end, self.tensors, tuple(self.nodes))
