"""A learning program in an order that needs less memory: the same bits, and never more memory."""

from __future__ import annotations

import numpy as np
import pytest
from counts import counted
from random_nets import accepted, life, random_model
from residual_nets import data, residual

from synapcc.gen.compile import Compiled, compile_model
from synapcc.gen.ir.program import Program, Step
from synapcc.gen.ops import changed
from synapcc.gen.spec import RuleSpec
from synapcc.gen.stages import lower
from synapcc.gen.stages.memory import Piece
from synapcc.gen.stages.order import ordered
from synapcc.host.run.emulator import Emulator

SIDE = 8


@pytest.fixture(autouse=True)
def _whole_maps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which maps are kept follows from what all else needs: here none is left out, so that Plans compare."""
    monkeypatch.setattr(lower, "fewest", lambda count, needed: ())


def net(seed: int) -> Compiled:
    """A network with branches: the rules differ in what they keep for how long."""
    rng = np.random.default_rng(seed)
    rule = ("bp", "hebbian", "fa", "dfa")[seed % 4]
    spec = RuleSpec(rule, layers="all", weights="int16", rate=6)
    return compile_model(residual(rng, SIDE, 3, (2, 1, 2)[: 1 + seed % 3]), spec, data(rng, SIDE))


@counted(8, 60)
def test_another_order_learns_the_same_bits_in_no_more_memory(
    count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved = 0
    made = [(net(seed), net, seed) for seed in range(8)]
    made += [(c, random_model, seed) for c, seed in accepted(9000, count)]
    for one, make, seed in made:
        with monkeypatch.context() as m:
            m.setattr(lower, "ordered", lambda programs, *_: programs)
            other = make(seed)
        assert one.plan.arena_bytes <= other.plan.arena_bytes
        if one.plan.programs == other.plan.programs:
            continue
        moved += 1
        for name, program in one.plan.programs.items():
            assert sorted(map(repr, program.items)) == sorted(map(repr, other.plan.programs[name].items))
        assert one.plan.programs["forward"] == other.plan.programs["forward"]
        machines = Emulator(one.plan), Emulator(other.plan)
        for deed in life(one.plan, seed):
            for machine in machines:
                if deed.what == "state":
                    machine.state[0] = np.frombuffer(deed.state, np.uint8)
                    continue
                if deed.inputs:
                    machine.load(deed.inputs, [deed.label] if "label" in machine.plan else None)
                machine.run(deed.what)
            assert machines[0].state.tobytes() == machines[1].state.tobytes(), (one.plan.model, deed.what)
    assert moved >= 4


def copy(source: str, target: str) -> Step:
    return Step("concat.slice", "n", {"d": source, "g": target}, {})


def test_random_programs_keep_who_reads_what() -> None:
    """Whoever writes or reads a tensor does so between the same writers as before."""
    moved = 0
    for seed in range(300):
        rng = np.random.default_rng(seed)
        names = [f"t{i}" for i in range(6)]
        pieces = {n: Piece(n, int(rng.integers(1, 100)), "int16") for n in names}
        pairs = [rng.choice(names, 2, replace=False) for _ in range(int(rng.integers(2, 12)))]
        # Nodes are numbers, so that equal steps can be told apart.
        steps = tuple(
            Step("concat.slice", str(i), {"d": str(d), "g": str(g)}, {}) for i, (d, g) in enumerate(pairs)
        )
        programs = {"infer": Program("infer", "", ()), "learn": Program("learn", "", steps)}
        found = ordered(programs, ["infer", "learn"], pieces, [names[0]])["learn"].items
        assert sorted(found, key=lambda s: int(s.node)) == list(steps)  # type: ignore[union-attr]
        moved += found != steps
        for name in names:
            assert history(found, name) == history(steps, name)
    assert moved > 20


def history(items: tuple[object, ...], name: str) -> list[tuple[str, frozenset[str]]]:
    """Who changes a tensor, one after the other, and who reads what each left."""
    out: list[tuple[str, frozenset[str]]] = [("", frozenset())]
    for step in items:
        assert isinstance(step, Step)
        if name in changed(step).values():
            out.append((step.node, frozenset()))
        elif name in step.args.values():
            out[-1] = (out[-1][0], out[-1][1] | {step.node})
    return out


def test_what_frees_memory_goes_first() -> None:
    """Two branches that end in something small: each is walked to its end before the other begins."""
    sizes = {"x": 10, "a": 90, "b": 80, "small_a": 5, "small_b": 5}
    pieces = {n: Piece(n, size, "int16") for n, size in sizes.items()}
    steps = (copy("x", "a"), copy("x", "b"), copy("a", "small_a"), copy("b", "small_b"))
    programs = {"infer": Program("infer", "", ()), "learn": Program("learn", "", steps)}
    found = ordered(programs, ["infer", "learn"], pieces, ["small_a", "small_b"])["learn"].items
    assert [s.args["g"] for s in found if isinstance(s, Step)] in (
        ["a", "small_a", "b", "small_b"],
        ["b", "small_b", "a", "small_a"],
    )
    assert (
        ordered({"infer": Program("infer", "", steps)}, ["infer"], pieces, ["small_a"])["infer"].items
        == steps
    )
