"""Backpropagation through time of a GRU and a dense layer behind it, in float64: oracle of local rules.

    python tests/support/through_time.py

prints what docs/RULES.md says of `dftt`: of 500 windows that were not learned, whose class is the order of
two pulses in 20 steps, the share that is right after two passes over 3,000; and what the Plan keeps.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
from recurrent_nets import PULSES, pulses, recurrent_file

from synapcc.gen.compile import Compiled, compile_model
from synapcc.gen.importers import load_model
from synapcc.gen.ir.graph import Graph
from synapcc.gen.ir.program import Program, Step
from synapcc.gen.spec import RuleSpec
from synapcc.gen.stages.float_run import RealMachine
from synapcc.host.run.emulator import Emulator

Real = np.ndarray
RATES = {"last": 5, "dfa": 5, "bptt": 4, "dftt": 7}
"""Of each rule, as 2^-k."""
UNROLLED = "unrolled"
SLOW = 20  # a rate of 2^-20: the weights of all steps are the same


def _slowed(program: Program) -> Program:
    """The program at a rate of 2^-SLOW, which no integers could have."""
    items = tuple(
        replace(i, attrs={**i.attrs, "rate": SLOW}) if isinstance(i, Step) and "rate" in i.attrs else i
        for i in program.items
    )
    return replace(program, items=items)


def changes(
    c: Compiled, x: Real, label: int = 2, earlier: Sequence[Real] = ()
) -> tuple[RealMachine, dict[str, Real]]:
    """A learning step in real numbers at so small a rate, and what it changed, over its rate.

    earlier: windows that are classified first
    """
    programs = {n: _slowed(p) for n, p in c.abstract.programs.items()}
    machine = RealMachine(c.abstract.values, programs, 1)
    for window in earlier:
        machine.load({"x": window.reshape(1, -1)})
        machine.run("infer")
    before = {n: v[0].copy() for n, v in machine.state.items()}
    machine.load({"x": x.reshape(1, -1), "label": np.array([[label]], np.uint16)})
    machine.run("learn")
    return machine, {n: (before[n] - machine.state[n][0]) * 2.0**SLOW for n in before}


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


def order_of_pulses() -> tuple[dict[str, float], int]:
    """The share of unseen windows that each rule of RATES, and the oracle, gets right; the bytes of state and
    arena under `dftt`."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "net.onnx"
        onnx.save(recurrent_file("GRU", "last", 1, PULSES, 3), path)
        graph = load_model(path)
    x, label = pulses(3000, 5)
    calibration, (unseen, right) = pulses(300, 6), pulses(500, 7)
    found, size = {}, 0
    for rule, rate in RATES.items():
        options = (("steps", PULSES.steps),) if rule == "bptt" else ()
        spec = RuleSpec(rule, layers="all", rate=rate, options=options)
        plan = compile_model(graph, spec, {"x": calibration[0], "label": calibration[1]}).plan
        machine, size = Emulator(plan), plan.state_bytes + plan.arena_bytes
        for _ in range(2):
            machine.learn_many({"x": x[:, None]}, label)
        tester = Emulator(plan, len(unseen))
        tester.state[...] = machine.state[0]
        found[rule] = float(np.mean(tester.infer({"x": unseen})[0] == right))
    unrolled = Unrolled(graph, 2.0**-4)
    for _ in range(2):
        for one, which in zip(x.astype(np.float64), label, strict=True):
            unrolled.learn(one, int(which))
    found[UNROLLED] = float(np.mean(unrolled.scores(unseen).argmax(axis=1) == right))
    return found, size


def main() -> int:
    found, size = order_of_pulses()
    for rule, share in found.items():
        print(f"{rule:<10}{share:.3f}")
    print(f"dftt: {size} bytes of state and arena")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
