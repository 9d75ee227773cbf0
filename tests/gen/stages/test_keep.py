"""What learning keeps of a map in its place: the same bits in less memory, or the map itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ctools import UNDEFINED, HostBatch
from play import emulate, play
from pooled_nets import FORMS, pooled, samples
from random_nets import ANY, accepted, life, random_model
from residual_nets import data, residual

from synapcc.gen.compile import Compiled, compile_model
from synapcc.gen.ir.plan import Plan
from synapcc.gen.spec import RuleSpec
from synapcc.gen.stages import lower
from synapcc.gen.stages.keep import fewest
from synapcc.host.run.emulator import Emulator

RULES = ("bp", "hebbian", "fa", "dfa")
Make = Callable[[int], Compiled]


def net(seed: int) -> Compiled:
    rng = np.random.default_rng(seed)
    graph = replace(pooled(rng, FORMS[seed % len(FORMS)]), name=f"pooled{seed}")
    spec = RuleSpec(RULES[seed // len(FORMS) % 4], layers="all", weights="int16", rate=6)
    return compile_model(graph, spec, samples(rng, graph))


def made(monkeypatch: pytest.MonkeyPatch, make: Make, seed: int, every: bool) -> Compiled:
    """The compilation with all sites, or with none."""
    with monkeypatch.context() as m:
        m.setattr(lower, "fewest", lambda count, needed: tuple(range(count if every else 0)))
        return make(seed)


def marks(plan: Plan) -> set[tuple[str, str]]:
    """The kernels that read or write what is kept, or pool what they make."""
    roles = ("mask", "at", "row")
    return {(s.kernel, r) for _, _, s in plan.ops() for r in roles if r in s.args}


def same_life(one: Plan, other: Plan, seed: int) -> None:
    machines = Emulator(one), Emulator(other)
    for deed in life(one, seed):
        for machine in machines:
            emulate(machine, deed)
        assert machines[0].state.tobytes() == machines[1].state.tobytes(), (one.model, seed, deed.what)
        assert np.array_equal(machines[0][one.logits], machines[1][other.logits])


@pytest.mark.parametrize("count", [2 * len(FORMS), pytest.param(4 * len(FORMS), marks=pytest.mark.long)])
def test_what_is_kept_teaches_the_same_bits(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    seen = set[tuple[str, str]]()
    for seed in range(count):
        every, none = (made(monkeypatch, net, seed, all_) for all_ in (True, False))
        assert marks(every.plan) and not marks(none.plan)
        seen |= marks(every.plan)
        same_life(every.plan, none.plan, seed)
    pairs = {("clip", "mask"), ("maxpool2d", "at")}
    pools = {("conv2d.forward", "row"), ("conv2d.forward", "at")}
    assert seen == pools | {
        (f"{op}.{way}", role) for op, role in pairs for way in ("forward", "feedback")
    } | {
        ("conv2d.update", "at"),
        ("conv2d.transposed", "at"),
    }


@pytest.mark.parametrize(
    ("first", "count"),
    [(ANY, 15), *(pytest.param(ANY + 1000 * n, 100, marks=pytest.mark.long) for n in range(4))],
)
def test_random_networks_learn_the_same_bits(first: int, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = 0
    for c, seed in accepted(first, count):
        every, none = (made(monkeypatch, random_model, seed, all_).plan for all_ in (True, False))
        if marks(every) and "target" not in every:  # nobody fills a target in a life
            kept += 1
            same_life(every, none, seed)
        assert c.plan.arena_bytes <= none.arena_bytes
    assert kept > count / 8


@pytest.mark.parametrize("setting", [("ref", "-O0", *UNDEFINED), ("dsp", "-O0")])
def test_c_and_emulator_live_the_same_life(
    setting: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    chosen = range(len(FORMS)) if setting[0] == "ref" else range(0, len(FORMS), 2)
    plans = [made(monkeypatch, net, seed, True).plan for seed in chosen]
    batch = HostBatch(plans, tmp_path, *setting[1:], kernels=setting[0])
    try:
        assert sum(play(batch, i, i) for i in range(len(plans))) > 20
    finally:
        batch.close()


@pytest.mark.parametrize("form", ["clip-pool", "pool-clip", "of three"])
def test_what_learning_in_front_of_a_pooling_needs(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Less than a third of the arena that whole maps need."""

    def whole(seed: int) -> Compiled:
        rng = np.random.default_rng(seed)
        graph = pooled(rng, form, 16, 8)
        return compile_model(graph, RuleSpec("bp", layers="all"), samples(rng, graph))

    less, maps = whole(3).plan.arena_bytes, made(monkeypatch, whole, 3, False).plan.arena_bytes
    assert less < maps / 3


def test_inference_alone_holds_no_map_in_front_of_a_pooling(monkeypatch: pytest.MonkeyPatch) -> None:
    def frozen(seed: int) -> Compiled:
        rng = np.random.default_rng(seed)
        graph = pooled(rng, "clip-pool", 16, 8)
        return compile_model(graph, RuleSpec("last"), samples(rng, graph))

    less, maps = frozen(3).plan, made(monkeypatch, frozen, 3, False).plan
    assert ("conv2d.forward", "row") in marks(less) and less.arena_bytes < 0.7 * maps.arena_bytes
    same_life(less, maps, 3)


def test_nothing_is_kept_where_the_peak_lies_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    def chain(seed: int) -> Compiled:
        rng = np.random.default_rng(seed)
        spec = RuleSpec("last", weights="int16", rate=6)
        return compile_model(residual(rng, 8, 3, (1,)), spec, data(rng, 8))

    assert chain(1).plan.digest == made(monkeypatch, chain, 1, False).plan.digest


def test_the_fewest_sites_that_save_as_much() -> None:
    bytes_of = {(): 100, (0, 1, 2): 50, (1, 2): 50, (2,): 70, (1,): 50}
    assert fewest(3, lambda chosen: bytes_of[chosen]) == (1,)
    assert fewest(2, lambda chosen: 100 - len(chosen)) == ()  # too little for what it costs
    assert fewest(0, lambda chosen: 7) == ()
