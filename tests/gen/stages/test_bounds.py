"""Proven intervals: never left in emulation, whatever the state holds, and refused where they do not fit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from counts import counted
from random_nets import ANY, accepted, extreme_state

from synapcc.gen import numeric
from synapcc.gen.compile import Compiled, compile_model
from synapcc.gen.errors import CompileError
from synapcc.gen.ir.graph import Graph, Node, Tensor
from synapcc.gen.ir.plan import Plan
from synapcc.gen.ops import changed
from synapcc.gen.spec import RuleSpec
from synapcc.gen.stages.bounds import Proof, prove
from synapcc.host.run.emulator import Emulator

pytestmark = pytest.mark.anywhere

NOTHING = 1 << 62  # what has been seen where nothing has: an interval need not hold zero
ROUNDINGS = ("shift_round", "round_stochastic", "round_dither")


class Watch:
    """Sees every number that a kernel hands to a rounding: the sums that bounds speaks of."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.low, self.high, self.count = NOTHING, -NOTHING, 0
        for name in ROUNDINGS:
            monkeypatch.setattr(numeric, name, self._wrapped(getattr(numeric, name)))

    def _wrapped(self, primitive: Callable[..., Any]) -> Callable[..., Any]:
        def watched(x: Any, s: Any, *rest: Any) -> Any:
            wide = np.asarray(x, np.int64)
            self.low = min(self.low, int(wide.min(initial=NOTHING)))
            self.high = max(self.high, int(wide.max(initial=-NOTHING)))
            self.count += wide.size
            return primitive(x, s, *rest)

        return watched

    def forget(self) -> tuple[int, int]:
        seen, self.low, self.high = (self.low, self.high), NOTHING, -NOTHING
        return seen


def extreme_inputs(c: Compiled, rng: np.random.Generator) -> dict[str, np.ndarray]:
    kind = rng.integers(3)
    fill = {0: [-128], 1: [127], 2: [-128, 127]}[int(kind)]
    return {n: rng.choice(np.array(fill, np.int8), (1, c.plan[n].shape[0])) for n in c.plan.inputs}


class Witness:
    """Holds each step of a machine, once it ran, against what was proven of it."""

    def __init__(self, compiled: Compiled, watch: Watch) -> None:
        self.plan, self.watch = compiled.plan, watch
        self.machine = Emulator(self.plan)
        self.closest = 0.0  # how near a sum came to the end of its interval
        self._proofs: dict[tuple[str, int], Proof] = {}
        for proof in compiled.proofs:
            items = self.plan.programs[proof.program].items
            at = next(i for i, item in enumerate(items) if item is proof.step)
            self._proofs[proof.program, at] = proof

    def run(self, program: str) -> None:
        self.watch.forget()
        self.machine.run(program, after=self._look)

    def _look(self, program: str, position: int) -> None:
        low, high = self.watch.forget()
        proof = self._proofs[program, position]
        sums = proof.accumulators
        where = f"{self.plan.model}: {proof.step.kernel} of {proof.step.node}"
        if sums:
            lo, hi = min(a.lo for a in sums), max(a.hi for a in sums)
            assert lo <= low and high <= hi, f"{where}: {low} .. {high} against {sums}"
            self.closest = max(self.closest, high / max(hi, 1))
        outputs = [self.plan[n] for n in changed(proof.step).values()]
        written = {t.offset: t.name for t in outputs if t.space == "arena"}
        for name in proof.step.args.values():
            t, v = self.plan[name], self.machine[name]
            if t.space == "arena" and written.get(t.offset, name) != name:
                continue  # it was overwritten in place
            held = t.role in ("counter", "verdict") or (t.lo <= int(v.min()) and int(v.max()) <= t.hi)
            assert held, f"{where}: {name} leaves {t.lo} .. {t.hi}"


@counted(16, 200)
def test_no_proven_interval_is_ever_left(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = [c for c, _ in accepted(ANY, count)]
    watch = Watch(monkeypatch)
    closest = 0.0
    for c in compiled:
        rng, witness = np.random.default_rng(c.spec.seed), Witness(c, watch)
        for _ in range(6):
            witness.machine.state[0] = np.frombuffer(extreme_state(c.plan, rng), np.uint8)
            labels = [int(rng.integers(c.plan.classes))] if "label" in c.plan else None
            inputs = extreme_inputs(c, rng)
            for program in c.plan.entries:
                witness.machine.load(inputs, labels)
                witness.run(program)
        closest = max(closest, witness.closest)
    assert watch.count > 10_000
    assert closest > 0.9, "no sum came near its proven interval: the states are not extreme"


def wide_graph(n: int, scale: float = 0.1) -> Graph:
    rng = np.random.default_rng(0)
    tensors = {
        "x": Tensor("x", (n,)),
        "w": Tensor("w", (3, n), rng.normal(0, scale, (3, n))),
        "b": Tensor("b", (3,), np.zeros(3)),
        "z": Tensor("z", (3,)),
    }
    return Graph("wide", ("x",), "z", tensors, (Node("dense", "fc", ("x", "w", "b"), "z"),))


def test_an_interval_may_lie_off_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bias that is larger than all that is added to it: what was seen of that is no zero."""
    graph = wide_graph(4)
    biased = replace(graph.tensors["b"], value=np.array([60.0, 55.0, 50.0]))
    data = {"x": np.random.default_rng(1).normal(size=(20, 4))}
    c = compile_model(replace(graph, tensors={**graph.tensors, "b": biased}), RuleSpec("none"), data)
    (proof,) = (p for p in c.proofs if p.step.kernel == "dense.forward")
    assert min(a.lo for a in proof.accumulators) > 0
    witness = Witness(c, Watch(monkeypatch))
    witness.machine.load({"x": np.full((1, 4), 127, np.int8)}, None)
    witness.run("infer")
    assert 0 < witness.closest <= 1


def test_limits_shrink_where_many_inputs_meet() -> None:
    rng = np.random.default_rng(1)
    tops = []
    for n in (64, 1024, 8192):
        c = compile_model(wide_graph(n), RuleSpec("last", rate=4), {"x": rng.normal(size=(20, n))})
        tops.append(c.plan["fc_weight"].hi)
        widest = max(a.hi for p in c.proofs for a in p.accumulators)
        assert widest < 2**31 and n * 128 * c.plan["fc_weight"].hi < 2**31
    assert tops[0] == 32767 and tops[0] > tops[1] > tops[2]


def test_too_many_inputs_are_refused() -> None:
    n = 1 << 21
    with pytest.raises(CompileError, match="could overflow"):
        compile_model(
            wide_graph(n, 1e-3), RuleSpec("last", weights="int8", rate=4), {"x": np.ones((2, n), np.float32)}
        )


def test_an_unprovable_sum_is_refused() -> None:
    """The proof itself, with a format that quantise would never choose."""
    c = compile_model(
        wide_graph(64), RuleSpec("last", rate=4), {"x": np.random.default_rng(1).normal(size=(20, 64))}
    )

    def limited(name: str, lo: int, hi: int) -> Plan:
        tensors = (replace(t, lo=lo, hi=hi) if t.name == name else t for t in c.plan.tensors)
        return replace(c.plan, tensors=tuple(tensors), _by_name={})

    assert [p.step for p in prove(c.plan)] == [p.step for p in c.proofs]
    with pytest.raises(CompileError, match=r"fc: an accumulator could overflow: the sum of dense\.forward"):
        prove(limited("fc_bias", -(2**31), 2**31 - 1))
    with pytest.raises(CompileError, match="its format allows -5 to 5"):
        prove(limited("fc", -5, 5))
