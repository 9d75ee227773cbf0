"""Backpropagation through time of a GRU and a dense layer behind it, in float64: oracle of local rules."""

from __future__ import annotations

import numpy as np

from synapcc.gen.ir.graph import Graph

Real = np.ndarray


def _sigmoid(v: Real) -> Real:
    return np.asarray(1.0 / (1.0 + np.exp(-v)))


class Unrolled:
    """Learns a sample at a time; keeps the history of its window."""

    def __init__(self, graph: Graph, rate: float) -> None:
        nodes = [n for n in graph.nodes if n.op in ("recurrent", "dense")]
        names = [name for n in nodes for name in n.inputs[1:]]
        self.values = [np.array(graph.tensors[name].value) for name in names]
        self.units, self.rate = self.values[2].shape[1], rate

    def scores(self, x: Real) -> Real:
        """[samples, classes] of windows [samples, steps, inputs]."""
        return np.asarray(self._run(x)[0] @ self.values[4].T + self.values[5])

    def _run(self, x: Real) -> tuple[Real, list[tuple[Real, ...]]]:
        (w, b, u, c), n = self.values[:4], self.units
        h, history = np.zeros((len(x), n)), []
        for now in x.swapaxes(0, 1):
            p, q = now @ w.T + b, h @ u.T + c
            z, r = (_sigmoid(p[:, k : k + n] + q[:, k : k + n]) for k in (0, n))
            new = np.tanh(p[:, 2 * n :] + r * q[:, 2 * n :])
            history.append((now, h, z, r, new, q[:, 2 * n :]))
            h = new + z * (h - new)
        return h, history

    def learn(self, x: Real, label: int) -> None:
        h, history = self._run(x[None])
        scores = h @ self.values[4].T + self.values[5]
        e = np.exp(scores - scores.max())
        e /= e.sum()
        e[0, label] -= 1.0
        d, changes = e @ self.values[4], [np.zeros_like(v) for v in self.values]
        changes[4], changes[5] = e.T @ h, e[0]
        for now, before, z, r, new, q in history[::-1]:
            of_n = d * (1 - z) * (1 - new * new)
            first = d * (before - new) * z * (1 - z), of_n * q * r * (1 - r)
            g, gq = (np.concatenate([*first, last], axis=1) for last in (of_n, of_n * r))
            for k, change in enumerate((g.T @ now, g[0], gq.T @ before, gq[0])):
                changes[k] = changes[k] + change
            d = d * z + gq @ self.values[2]
        for value, change in zip(self.values, changes, strict=True):
            value -= self.rate * change
