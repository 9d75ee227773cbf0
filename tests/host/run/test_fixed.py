"""An emulator that remembers what the frozen front said is, byte for byte, one that computes it anew."""

from dataclasses import replace

import numpy as np
import pytest
from play import emulate
from random_nets import ANY, accepted, life

from synapcc.gen.compile import compile_model
from synapcc.gen.ir.graph import Graph, Node, Tensor
from synapcc.gen.ir.plan import Plan
from synapcc.gen.spec import RuleSpec, Store
from synapcc.host.run.emulator import Emulator, classify
from synapcc.host.run.front_cache import FixedPart


@pytest.fixture
def plan() -> Plan:
    """Three dense layers of which the last two learn, and two kept samples."""
    rng = np.random.default_rng(0)
    tensors = {"x": Tensor("x", (6,))}
    nodes, at = [], "x"
    for i, (inputs, outputs) in enumerate(((6, 5), (5, 4), (4, 3))):
        w, b, y = f"w{i}", f"b{i}", f"y{i}"
        tensors |= {
            w: Tensor(w, (outputs, inputs), rng.normal(size=(outputs, inputs))),
            b: Tensor(b, (outputs,), rng.normal(size=outputs)),
            y: Tensor(y, (outputs,)),
        }
        nodes.append(Node("dense", f"fc{i}", (at, w, b), y))
        at = y
    graph = Graph("net", ("x",), at, tensors, tuple(nodes))
    calibration = {"x": rng.normal(size=(50, 6)), "label": rng.integers(0, 3, 50)}
    return compile_model(graph, RuleSpec("bp", layers=("fc1", "fc2"), store=Store(2)), calibration).plan


def test_only_what_reads_nothing_learned_is_fixed(plan: Plan) -> None:
    part = FixedPart(plan)
    assert [s.node for s in part.steps] == ["fc0"]
    assert (part.inputs, part.outputs) == (("x",), ("fc0",))


def test_a_device_with_another_input_gets_its_own_answer(plan: Plan) -> None:
    part, rng = FixedPart(plan), np.random.default_rng(1)
    plain, quick = Emulator(plan, 3), Emulator(plan, 3, fixed=part)
    pool = rng.integers(-128, 128, (5, 6)).astype(np.int8)
    for step in range(40):
        x, y = pool[rng.integers(0, 5, 3)], rng.integers(0, 3, 3)
        active = rng.integers(0, 2, 3).astype(bool) if step % 2 else None
        for machine in (plain, quick):
            machine.learn({"x": x}, y, active)
            machine.run("rehearse", active)
        assert (plain.state == quick.state).all()
    state = plain.state[1]
    assert (classify(plan, state, {"x": pool}) == classify(plan, state, {"x": pool}, 2, part)).all()


def test_a_batch_that_comes_again_runs_nothing_of_the_front(
    plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    part, rng = FixedPart(plan), np.random.default_rng(2)
    pool = rng.integers(-128, 128, (7, 6)).astype(np.int8)
    first, second = Emulator(plan), Emulator(plan)
    second.learn({"x": pool[:1]}, [1])
    want = [emulator.infer_many({"x": pool}) for emulator in (first, second)]
    ran: list[str] = []
    step = Emulator._step
    monkeypatch.setattr(Emulator, "_step", lambda m, s, *rest: (ran.append(s.node), step(m, s, *rest))[1])
    for emulator, said in zip((first, second, first), (*want, want[0]), strict=True):
        emulator.fixed = part
        for a, b in zip(said, emulator.infer_many({"x": pool}), strict=True):
            assert np.array_equal(a, b)
    assert ran.count("fc0") == 1 and ran.count("fc1") == 3


def test_every_random_model_lives_the_same_life() -> None:
    fixed = 0
    for compiled, seed in accepted(ANY, 25):
        plan = compiled.plan
        part = FixedPart(plan)
        fixed += len(part) > 0
        # The third finds everything in the memory of the second.
        machines = [Emulator(plan), Emulator(plan, fixed=part), Emulator(plan, fixed=part)]
        for deed in life(plan, seed):
            for machine in machines:
                emulate(machine, deed)
            for machine in machines[1:]:
                assert (machine.state == machines[0].state).all(), f"seed {seed}, {deed.what}"
                if deed.what == "infer":
                    assert (machine[plan.logits] == machines[0][plan.logits]).all(), f"seed {seed}"
    assert fixed >= 3


def test_key_tells_other_constants_apart(plan: Plan) -> None:
    weight = plan["fc0_weight"]
    assert weight.data is not None
    other = replace(weight, data=bytes([weight.data[0] ^ 1]) + weight.data[1:])
    tensors = tuple(other if t is weight else t for t in plan.tensors)
    assert FixedPart(replace(plan, tensors=tensors, _by_name={})).key != FixedPart(plan).key
    assert FixedPart(plan).key == FixedPart(plan).key
