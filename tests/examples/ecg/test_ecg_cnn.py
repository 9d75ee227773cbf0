"""The convolutional bases: what they cost to learn on, and that their frozen front answers from memory."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from synapcc.examples.ecg import beats, evaluate, protocol, synthetic
from synapcc.gen.compile import compile_model
from synapcc.gen.importers import load_model
from synapcc.gen.ir.plan import Plan
from synapcc.gen.spec import RuleSpec, Store
from synapcc.host.run.emulator import Emulator, classify
from synapcc.host.run.front_cache import FixedPart
from synapcc.host.run.inputs import quantise_inputs
from synapcc.host.run.wearers import fixed_part

LEARNING_RAM = 12 * 1024
"""Bytes beyond inference that two dense layers may take to learn, without kept beats."""


@pytest.fixture(scope="module")
def pool() -> beats.Beats:
    return beats.join([beats.extract(synthetic.record(seed, minutes=3)) for seed in (1, 2)])


@pytest.fixture(scope="module")
def calibration(pool: beats.Beats) -> dict[str, np.ndarray]:
    """Every sixth beat: a large network is run with each candidate of a format."""
    some = pool.take(np.arange(len(pool)) % 6 == 0)
    return {**some.inputs(), "label": some.label}


def ram(plan: Plan) -> int:
    return int(plan.state_bytes + plan.arena_bytes)


@pytest.fixture(scope="module")
def bases(calibration: dict[str, np.ndarray]) -> Callable[[str, str], Plan]:
    """A base model that does not learn, by the names of the model and of its protocol."""
    none = RuleSpec("none")
    return cache(lambda model, name: compile_model(evaluate.model_path(model, name), none, calibration).plan)


@pytest.mark.parametrize("name", protocol.PROTOCOLS)
def test_base_has_the_outputs_of_its_protocol(name: str) -> None:
    for model in evaluate.MODELS:
        graph = load_model(evaluate.model_path(model, name))
        assert graph.tensors[graph.output].shape == (len(protocol.PROTOCOLS[name].labels),)


@pytest.mark.parametrize("name", protocol.PROTOCOLS)
def test_two_dense_layers_learn_in_little_memory(
    name: str, calibration: dict[str, np.ndarray], bases: Callable[[str, str], Plan]
) -> None:
    path = evaluate.model_path("cnn", name)
    learning = compile_model(path, RuleSpec("hebbian", weights="int8", rate=8), calibration)
    assert [n.op for n in learning.graph.nodes if n.name in learning.learned] == ["dense", "dense"]
    assert 8 * 1024 < ram(learning.plan) - ram(bases("cnn", name)) < LEARNING_RAM


def test_convolutions_run_once_per_beat(pool: beats.Beats, calibration: dict[str, np.ndarray]) -> None:
    spec = replace(evaluate.rule_spec("hebbian", "cnn"), store=Store(8))
    plan = compile_model(evaluate.model_path("cnn"), spec, calibration).plan
    part = FixedPart(plan)
    assert {s.kernel for s in part.steps} >= {"conv2d.forward", "maxpool2d.forward"}
    assert not [s for s in part.steps if s.kernel.startswith("dense")]
    some = pool.take(np.arange(24))
    x = quantise_inputs(plan, some.inputs())
    plain, quick = Emulator(plan, 3), Emulator(plan, 3, fixed=part)
    for machine in (plain, quick):
        for t in range(8):
            machine.learn({n: v[3 * t : 3 * t + 3] for n, v in x.items()}, some.label[3 * t : 3 * t + 3])
        machine.run("rehearse")
    assert (plain.state == quick.state).all()
    verdicts = [classify(plan, plain.state[0], x, fixed=memory) for memory in (None, part)]
    assert (verdicts[0] == verdicts[1]).all()


def test_plans_with_the_same_front_share_its_memory(calibration: dict[str, np.ndarray]) -> None:
    path = evaluate.model_path("cnn")
    plans = [compile_model(path, evaluate.rule_spec(r, "cnn"), calibration).plan for r in ("bp", "fa")]
    assert plans[0].digest != plans[1].digest
    assert fixed_part(plans[0]) is fixed_part(plans[1])
