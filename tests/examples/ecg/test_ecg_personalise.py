"""What a fleet of wearers learns at once is what each of them learns beat by beat, to the byte."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from synapcc.examples.ecg import beats, evaluate, synthetic
from synapcc.examples.ecg.records import FS
from synapcc.examples.processes import THREADS
from synapcc.gen.compile import compile_model
from synapcc.gen.ir.plan import Plan
from synapcc.gen.ir.program import Step
from synapcc.gen.ir.walk import Active
from synapcc.gen.spec import Store
from synapcc.gen.stages.float_run import RealMachine
from synapcc.host.run import engines, wearers
from synapcc.host.run.emulator import Emulator
from synapcc.host.run.inputs import quantise_inputs
from synapcc.host.run.wearers import Wearers

MINUTES = (1, 2, 4)


@pytest.fixture(scope="module")
def people() -> Wearers:
    """Three wearers, every tenth beat of each: one stops after two minutes, another after six seconds."""
    ends = {"a": 5.0, "b": 2.0, "c": 0.1}
    whole = {n: beats.extract(synthetic.record(seed, 6)) for seed, n in enumerate(ends, 1)}
    whole = {n: b.take(np.arange(len(b)) % 10 == 0) for n, b in whole.items()}
    learn = {n: b.take(b.sample < ends[n] * 60 * FS) for n, b in whole.items()}
    return Wearers(learn, {n: b.take(b.sample >= 5 * 60 * FS) for n, b in whole.items()})


@pytest.fixture(scope="module")
def plan(people: Wearers) -> Plan:
    pool = beats.join(people.test.values())
    spec = replace(evaluate.rule_spec("hebbian", "mlp"), store=Store(people.steps))
    return compile_model(evaluate.model_path("mlp"), spec, {**pool.inputs(), "label": pool.label}).plan


def alone(plan: Plan, mine: beats.Beats, passes: int) -> dict[float, np.ndarray]:
    """The states of one device that learns beat by beat, after each minute and each pass."""
    machine, found = Emulator(plan, engine="numpy"), {}
    x = quantise_inputs(plan, {n: v for n, v in mine.inputs().items() if n in plan.inputs})
    minutes = mine.sample / (60 * FS)
    for before, minute in itertools.pairwise((0, *MINUTES, 5)):
        for t in np.flatnonzero((before <= minutes) & (minutes < minute)):
            machine.learn({n: v[t : t + 1] for n, v in x.items()}, mine.label[t : t + 1])
        found[minute / 5] = machine.state[0].copy()
    for k in range(2, passes + 1):
        machine.run("rehearse")
        found[k] = machine.state[0].copy()
    return found


@pytest.mark.parametrize("pays", [0, pytest.param(1 << 40, marks=pytest.mark.long)])
def test_wearers_learn_as_each_alone(
    plan: Plan, people: Wearers, pays: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "PAYS", pays)
    want = [alone(plan, mine, 3) for mine in people.learn.values()]
    got = {
        k: s.copy()
        for k, s in wearers.learn_integer(plan, people, (1, 3), evaluate.minute_marks(people, MINUTES))
    }
    assert sorted(got) == [0.2, 0.4, 0.8, 1, 3]
    for k, states in got.items():
        for device, mine in enumerate(want):
            assert np.array_equal(states[device], mine[k]), (k, device)
    assert len({s[0].tobytes() for s in got.values()}) == len(got)


def test_blas_is_told_of_one_thread_before_numpy_is_there() -> None:
    """Told later it would have no effect, and as many pools of threads as processes fight over the cores."""
    code = """
import os, sys
from synapcc.examples import processes
from synapcc.host.cli import main
told, seen = processes.one_blas_thread, []
processes.one_blas_thread = lambda: (seen.append("numpy" in sys.modules), told())
assert main(["eval", "ecg", "--rule", "none_of_these"]) == 2
print(seen, [os.environ[name] for name in processes.THREADS])
"""
    environment = {n: v for n, v in os.environ.items() if n not in THREADS}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout.strip() == "[False] ['1', '1', '1']"


def test_the_frozen_front_speaks_once(people: Wearers, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second test in float runs no convolution, and says what one of all layers says, to the byte."""
    pool = beats.join(people.test.values())
    c = compile_model(
        evaluate.model_path("cnn"), evaluate.rule_spec("bp", "cnn"), {**pool.inputs(), "label": pool.label}
    )
    ran: list[str] = []
    step = RealMachine._step

    def counted(self: RealMachine, program: str, position: int, s: Step, active: Active) -> None:
        ran.append(s.kernel)
        step(self, program, position, s, active)

    monkeypatch.setattr(RealMachine, "_step", counted)
    state = RealMachine(c.abstract.values, c.abstract.programs, len(people.learn), dtype=np.float32).state
    test = wearers.FloatTest(c, people)
    first, began = test.predict(state), len(ran)
    second = test.predict(state)
    assert "conv2d.forward" in ran[:began]
    assert "conv2d.forward" not in ran[began:]
    for name, mine in people.test.items():
        whole = RealMachine(c.abstract.values, c.abstract.programs, len(mine), shared=True, dtype=np.float32)
        whole.load(c.real({n: x for n, x in mine.inputs().items() if n in c.plan.inputs}))
        whole.run("infer")
        verdict = whole.arena["verdict"][:, 0].astype(np.int64)
        assert first[name].tobytes() == second[name].tobytes() == verdict.tobytes()


def test_float_weights_that_were_learned_are_asked(people: Wearers) -> None:
    """Weights of the scores turned round: all answers of that wearer are others, and nobody else's."""
    pool = beats.join(people.test.values())
    data = {**pool.inputs(), "label": pool.label}
    c = compile_model(evaluate.model_path("mlp"), evaluate.rule_spec("bp", "mlp"), data)
    machine = RealMachine(c.abstract.values, c.abstract.programs, len(people.learn), dtype=np.float32)
    before = wearers.FloatTest(c, people).predict(machine.state)
    last = max(n for n in machine.state if n.endswith("_weight")).removesuffix("_weight")
    turned = {n: v.copy() for n, v in machine.state.items()}
    first, *others = people.test
    for name in (f"{last}_weight", f"{last}_bias"):
        turned[name][0] *= -1
    after = wearers.FloatTest(c, people).predict(turned)
    assert not np.any(after[first] == before[first])
    assert all(np.array_equal(after[name], before[name]) for name in others)
