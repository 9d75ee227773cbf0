"""A guard: which samples it holds back, that what it undoes is undone to the last byte, what it promises."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ctools import UNDEFINED, HostBatch
from head_nets import Data, perceptron, samples
from numpy.typing import NDArray
from play import play

from synapcc.gen.compile import Compiled, compile_model
from synapcc.gen.emit.flash import stored
from synapcc.gen.errors import CompileError
from synapcc.gen.ir.plan import Plan
from synapcc.gen.ops import kernel
from synapcc.gen.spec import (
    BALANCED,
    OLDEST,
    Accumulate,
    Guard,
    Head,
    Loss,
    Momentum,
    RuleSpec,
    Store,
    parse_spec,
)
from synapcc.host.pages.facts import learned
from synapcc.host.run.emulator import Emulator

CLASSES = 5
RULES = ("last", "hebbian", "bp", "dfa", "dkp", "prototype", "spsa")
SMALL = Guard(every=2, samples=12, gain=0.0, base=10, period=5)
TRACE = """
rate = "2^-6"
layers = "all"
[trace]
old = "old - 2^-2 * old + pre"
[update]
weight = "-rate * teach[o] * old[i]"
[guard]
samples = 12
every = 2
period = 5
"""


def made(rule: str, guard: Guard | None = SMALL, **more: Any) -> Compiled:
    spec = RuleSpec(rule, layers="all", rate=6, store=Store(20), guard=guard, **more)
    return compile_model(trained(), spec, samples(60, CLASSES, 1))


def trained() -> Any:
    """A perceptron that knows some of its classes: its last layer is least squares over few samples."""
    graph, data = perceptron(CLASSES), samples(25, CLASSES, 5)
    w, b = (graph.tensors[n].value for n in ("fc1_w", "fc1_b"))
    assert w is not None and b is not None
    h = np.maximum(data["x"] @ w.T + b, 0)
    wanted = 2.0 * (data["label"][:, None] == np.arange(CLASSES)) - 1
    last = np.linalg.lstsq(h, wanted, rcond=None)[0].T
    tensors = {**graph.tensors, "fc2_w": replace(graph.tensors["fc2_w"], value=last)}
    return replace(graph, tensors=tensors)


def rolled(plan: Plan) -> list[str]:
    """What goes back: every tensor that has a place in the good state, without the counts of answers."""
    good = [t.name.removeprefix("good_") for t in plan.space("state") if t.use == "good"]
    return [n for n in good if not n.endswith("_right")]


def taken(machine: Emulator, names: list[str]) -> dict[str, NDArray[Any]]:
    return {n: machine[n].copy() for n in names}


def equal(a: Mapping[str, NDArray[Any]], b: Mapping[str, NDArray[Any]]) -> bool:
    return all(np.array_equal(a[n], b[n]) for n in a)


def live(machine: Emulator, data: Data, passes: int = 2) -> None:
    for x, label in zip(data["x"], data["label"], strict=True):
        machine.learn({"x": x[None]}, [int(label)])
    for _ in range(passes):
        machine.run("rehearse")


# ---- what is held back ----------------------------------------------------------------------------------


def turns(labels: NDArray[np.intp], every: int) -> list[bool]:
    """Of each class the second sample, and then one of so many."""
    seen = dict.fromkeys(range(CLASSES), 0)
    out = []
    for label in labels:
        seen[int(label)] += 1
        out.append((seen[int(label)] - 2) % every == 0)
    return out


@pytest.mark.parametrize("every", [2, 3, 7])
def test_held_samples_are_neither_learned_nor_kept_in_the_store(every: int) -> None:
    """What is left is learned as without a guard, in the same formats, byte for byte."""
    guard = replace(SMALL, every=every, samples=100, period=1000, base=0)
    plan, bare = made("hebbian", guard).plan, made("hebbian", None).plan
    machine, other = Emulator(plan), Emulator(bare)
    data = samples(50, CLASSES, every)
    held = turns(data["label"], every)
    live(machine, data, 0)
    live(other, {n: v[~np.array(held)] for n, v in data.items()}, 0)
    assert 0 < sum(held) == int(machine["guard_count"][0, 0])
    kept = data["label"][held]
    assert machine["guard_label"][0, : len(kept), 0].tolist() == kept.tolist()
    for t in bare.space("state"):
        assert np.array_equal(machine[t.name], other[t.name]), t.name


def test_a_sample_of_each_class_in_turn_is_not_always_of_one_class() -> None:
    machine = Emulator(made("last", replace(SMALL, every=CLASSES)).plan)
    live(machine, {"x": np.zeros((40, 16), np.float32), "label": np.arange(40) % CLASSES}, 0)
    n = int(machine["guard_count"][0, 0])
    assert set(machine["guard_label"][0, :n, 0]) == set(range(CLASSES))


@pytest.mark.parametrize("drop", [BALANCED, OLDEST])
def test_a_full_ring_lets_go_as_a_store_does(drop: str) -> None:
    plan = made("last", replace(SMALL, samples=4, drop=drop)).plan
    machine = Emulator(plan)
    labels = np.array([0, 0, 1, 1, *[2] * 12])
    live(machine, {"x": np.zeros((16, 16), np.float32), "label": labels}, 0)
    found = sorted(machine["guard_label"][0, :, 0].tolist())
    assert found == ([0, 1, 2, 2] if drop == BALANCED else [2, 2, 2, 2])


# ---- what is undone -------------------------------------------------------------------------------------


def spoil(machine: Emulator, names: list[str], seed: int) -> None:
    """Anything that tensors may hold in the place of what was learned."""
    rng = np.random.default_rng(seed)
    for name in names:
        t = machine.plan[name]
        machine[name][...] = rng.integers(t.lo, min(t.hi, 2**31 - 1) + 1, machine[name].shape)


@pytest.mark.parametrize("rule", [*RULES, "trace", "sums"])
def test_what_is_worse_goes_back_to_the_last_byte(rule: str) -> None:
    if rule == "trace":
        c = compile_model(trained(), parse_spec(TRACE, "trace", {}), samples(60, CLASSES, 1))
    elif rule == "sums":  # with how many samples are in them
        c = made("bp", accumulate=Accumulate(3), momentum=Momentum(2))
        assert {"accumulate_phase", "fc1_weight_sum", "fc2_bias_sum"} <= {*rolled(c.plan)}
    else:
        c = made(rule)
    names = rolled(c.plan)
    first = {s for _, _, step in c.plan.ops() for s in step.args.values() if s.startswith("first_")}
    assert {f"first_{n}" for n in names} == first
    assert {n for n in names if c.plan[n].role == "trace"} == ({"fc1_old", "fc2_old"} & {*names})
    machine = Emulator(c.plan)
    good = taken(machine, names)
    for x, label in zip(*samples(24, CLASSES, 2).values(), strict=True):
        machine.learn({"x": x[None]}, [int(label)])
    undone = 0
    for seed in range(4):
        spoil(machine, names, seed)
        before, kept = taken(machine, names), {n: machine[f"good_{n}"].copy() for n in names}
        rest = [t.name for t in c.plan.space("state") if not t.name.startswith(("good_", "guard_"))]
        rest = [n for n in rest if n not in (*names, "rollbacks")]
        others, count = taken(machine, rest), int(machine["rollbacks"][0, 0])
        machine.run("settle")
        now = taken(machine, names)
        assert equal(now, {n: machine[f"good_{n}"] for n in names}), "settle leaves one state"
        chosen = [equal(now, state) for state in (before, kept, good)]
        assert any(chosen)
        assert equal(others, taken(machine, rest)), "stored samples and clocks go on"
        undone += not chosen[0]
        assert int(machine["rollbacks"][0, 0]) >= count + (not chosen[0])
    assert undone >= 2, "four states drawn at random were good"


# ---- what a judgement says ------------------------------------------------------------------------------

HALF = 1 << 14  # of a share in 2^-15
JUDGED = {  # (right, good, held, trusted), (gain, margin, final): (keep, undo, trusted)
    "one more is luck": ((9, 8, 10, 0), (0, HALF, 0), (0, 0, 0)),
    "two more are trusted": ((10, 8, 10, 0), (0, HALF, 0), (1, 0, 1)),
    "a gain asks for more than its share": ((5, 0, 10, 0), (HALF, HALF, 0), (0, 0, 0)),
    "one more than that": ((6, 0, 10, 0), (HALF, HALF, 0), (1, 0, 1)),
    "trusted, as many are kept": ((8, 8, 10, 1), (HALF, 0, 0), (1, 0, 1)),
    "trusted, one less goes on": ((7, 8, 10, 1), (0, HALF, 0), (0, 0, 1)),
    "within the margin": ((3, 8, 10, 1), (0, HALF, 0), (0, 0, 1)),
    "beyond the margin": ((2, 8, 10, 1), (0, HALF, 0), (0, 1, 1)),
    "without a margin": ((7, 8, 10, 1), (0, 0, 0), (0, 1, 1)),
    "in the end what is not kept is undone": ((7, 8, 10, 1), (0, HALF, 1), (0, 1, 1)),
    "in the end as many are kept": ((8, 8, 10, 1), (0, 0, 1), (1, 0, 1)),
}
FORGOTTEN = {  # (base right, of the good state, the best), with a margin of 2: (keep, undo)
    "no less than the best": ((10, 10, 10), (1, 0)),
    "two less": ((8, 10, 10), (1, 0)),
    "three less": ((7, 10, 10), (0, 1)),
    "less than a best that is gone": ((7, 7, 10), (0, 1)),
    "less than the good one of now": ((7, 10, 0), (0, 1)),
}


def judged(values: Mapping[str, int], **numbers: int) -> dict[str, int]:
    """What guard.judge makes of counts."""
    kinds = {"keep": np.uint8, "undo": np.uint8}
    t = {role: np.array([[v]], kinds.get(role, np.uint32)) for role, v in values.items()}
    t |= {role: np.zeros((1, 1), np.uint8) for role in kinds}
    kernel("guard.judge").integer(t, {"rows": 20, "base_rows": 20, "base_margin": 2, **numbers})
    return {role: int(v[0, 0]) for role, v in t.items()}


@pytest.mark.parametrize("said", JUDGED)
def test_a_judgement_by_the_ring(said: str) -> None:
    counts, (gain, margin, final), wanted = JUDGED[said]
    got = judged(
        dict(zip(("right", "good_right", "held", "trusted"), counts, strict=True)),
        gain=gain, margin=margin, final=final,
    )  # fmt: skip
    assert (got["keep"], got["undo"], got["trusted"]) == wanted


@pytest.mark.parametrize("said", FORGOTTEN)
def test_a_judgement_by_base_examples(said: str) -> None:
    counts, wanted = FORGOTTEN[said]
    known = {"right": 8, "good_right": 8, "held": 10, "trusted": 1}
    base = dict(zip(("base_right", "good_base_right", "base_best"), counts, strict=True))
    got = judged(known | base, gain=0, margin=0, final=0)
    assert (got["keep"], got["undo"]) == wanted and got["base_best"] == max(counts[1:])


def test_the_numbers_of_the_table_reach_the_judge() -> None:
    guard = Guard(every=2, samples=20, gain=0.1, margin=0.05, base=10, base_margin=0.3, period=7)
    plan = made("bp", guard).plan
    judges = [s for _, _, s in plan.ops() if s.kernel == "guard.judge"]
    assert sorted(s.attrs["final"] for s in judges) == [0, 1]
    for s in judges:
        a = s.attrs
        assert (20 * a["gain"] >> 15, 20 * a["margin"] >> 15, a["base_margin"]) == (2, 1, 3)
        assert (a["rows"], a["base_rows"]) == (20, 10)


def test_what_is_spoilt_goes_back_at_the_next_turn_and_behind_each_pass() -> None:
    c = made("bp", replace(SMALL, margin=0.0, base=0, period=6))
    machine, data = Emulator(c.plan), samples(60, CLASSES, 3)
    live(machine, data, 0)
    spoilt = [n for n in rolled(c.plan) if n.endswith(("_weight", "_bias"))]
    for program in ("learn", "rehearse"):
        spoil(machine, spoilt, 5)
        count, phase, learned = (int(machine[n][0, 0]) for n in ("rollbacks", "guard_learned", "step"))
        if program == "rehearse":
            machine.run("rehearse")
        else:
            for x, label in zip(data["x"], data["label"], strict=True):
                machine.learn({"x": x[None]}, [int(label)])
                if int(machine["rollbacks"][0, 0]) > count:
                    break
            assert int(machine["step"][0, 0]) - learned == 6 - phase
        assert int(machine["rollbacks"][0, 0]) == count + 1
        assert equal(taken(machine, spoilt), {n: machine[f"good_{n}"] for n in spoilt})


def test_who_went_back_to_the_first_state_learns_again() -> None:
    """A first state that knows little, and base examples: what a state that is gone had right of them binds
    nobody."""
    graph, right = perceptron(CLASSES), samples(400, CLASSES, 2)
    guard = Guard(every=2, samples=12, gain=0.0, base=20, base_margin=0.1, period=10)
    c = compile_model(graph, RuleSpec("bp", layers="all", rate=6, guard=guard), samples(60, CLASSES, 1))
    machine, first = Emulator(c.plan), Emulator(c.plan)
    live(machine, {n: v[:150] for n, v in right.items()}, 0)
    assert machine["guard_trusted"][0, 0] == 1 and machine["guard_base_best"][0, 0] > 10
    said = first.infer_many({"x": right["x"][:80]}).winner
    live(machine, {"x": right["x"][:80], "label": said}, 0)
    machine.run("settle")
    names = rolled(c.plan)
    assert equal(taken(machine, names), taken(first, names)), "the ring holds what the first state says"
    assert machine["guard_trusted"][0, 0] == machine["guard_base_best"][0, 0] == 0
    live(machine, right, 0)
    assert np.mean(machine.infer_many({"x": right["x"]}).winner == right["label"]) > 0.9


# ---- what is promised -----------------------------------------------------------------------------------


def lives(seed: int) -> Data:
    """A wearer's samples: right labels, some or all of them wrong, one class only, ten samples only."""
    rng = np.random.default_rng(seed)
    data = samples(int(rng.choice([10, 60])), CLASSES, seed)
    share = float(rng.choice([0.0, 0.2, 1.0]))
    flipped = rng.random(len(data["label"])) < share
    label = np.where(flipped, rng.integers(0, CLASSES, len(flipped)), data["label"])
    if not rng.integers(4):
        label[:] = rng.integers(CLASSES)
    return {"x": data["x"] * np.float32(rng.choice([0.5, 1, 2])), "label": label}


def right(machine: Emulator, x: NDArray[Any], label: NDArray[Any]) -> int:
    return int(np.sum(machine.infer_many({"x": x}).winner == label)) if len(label) else 0


def guards(rng: np.random.Generator) -> Guard:
    return Guard(
        every=int(rng.integers(2, 5)),
        samples=int(rng.integers(2, 20)),
        drop=str(rng.choice([BALANCED, OLDEST])),
        gain=float(rng.choice([0, 0.03, 0.2])),
        margin=float(rng.choice([0, 0.1, 1])),
        base=int(rng.choice([0, 12])),
        base_margin=float(rng.choice([0, 0.25])),
        period=int(rng.integers(1, 30)),
    )


@pytest.mark.parametrize("count", [1, pytest.param(12, marks=pytest.mark.long)])
@pytest.mark.parametrize("rule", RULES)
def test_nobody_ends_worse_on_the_guard_than_as_compiled(rule: str, count: int) -> None:
    lived = trusted = seed = 0
    while lived < 4 * count:
        seed += 1
        assert seed < 6 + 3 * count, "too much is refused"
        rng = np.random.default_rng([seed, *rule.encode()])
        guard = guards(rng)
        spec = RuleSpec(rule, layers="all", rate=int(rng.integers(3, 8)), store=Store(20), guard=guard)
        try:
            plan = compile_model(trained(), spec, samples(60, CLASSES, 1)).plan
        except CompileError:  # the rate is too large
            continue
        for life in range(4):
            machine, first = Emulator(plan), Emulator(plan)
            live(machine, lives(1000 * seed + life))
            machine.run("settle")
            n = int(machine["guard_count"][0, 0])
            x, label = machine["guard_x"][0, :n], machine["guard_label"][0, :n, 0]
            assert right(machine, x, label) >= right(first, x, label)
            if guard.base:
                x, label = (plan[f"guard_base_{n}"].array() for n in ("x", "label"))
                allowed = int(len(x) * guard.base_margin)
                assert right(machine, x, label[:, 0]) >= right(first, x, label[:, 0]) - allowed
            trusted += int(machine["guard_trusted"][0, 0])
            lived += 1
    assert trusted or count == 1, "no life in which learning was kept"


def test_learning_is_trusted_where_it_helps_and_not_where_it_hurts() -> None:
    plan = made("bp", Guard()).plan
    data = samples(200, CLASSES, 3)
    rng = np.random.default_rng(4)
    flipped = np.where(rng.random(200) < 0.3, rng.integers(0, CLASSES, 200), data["label"])
    test = samples(400, CLASSES, 9)
    ends = []
    for lesson in (data, data | {"label": flipped}):
        machine = Emulator(plan)
        live(machine, lesson)
        machine.run("settle")
        ends.append(np.mean(machine.infer_many({"x": test["x"]}).winner == test["label"]))
    start = np.mean(Emulator(plan).infer_many({"x": test["x"]}).winner == test["label"])
    assert ends[0] > start + 0.02 and min(ends) >= start - 0.02, (start, ends)


# ---- the same bytes everywhere --------------------------------------------------------------------------


def some() -> list[Plan]:
    plans = [made("bp").plan, made("hebbian", replace(SMALL, base=0), head=Head("+2", imprint=3)).plan]
    return [replace(p, model=f"guard{i}") for i, p in enumerate(plans)]


def test_c_and_emulator_live_alike(tmp_path: Path) -> None:
    plans = some()
    batch = HostBatch(plans, tmp_path / "c", "-O1", *UNDEFINED)
    try:
        assert sum(play(batch, i, seed) for i in range(len(plans)) for seed in (1, 2)) >= 32
    finally:
        batch.close()


@pytest.mark.long
def test_both_engines_live_alike() -> None:
    for plan in some():
        machines = [Emulator(plan, engine=e) for e in ("numpy", "compiled")]
        for machine in machines:
            live(machine, samples(40, CLASSES, 8))
            machine.run("settle")
        assert np.array_equal(machines[0].state, machines[1].state)


def test_a_row_that_is_imprinted_is_one_of_both_states() -> None:
    c = made("bp", head=Head("+2", imprint=2))
    machine = Emulator(c.plan)
    assert not [t for t in c.plan.tensors if t.use == "first"], "it would take the rows away again"
    start = machine["fc2_weight"].copy()
    x = samples(60, CLASSES + 2, 6)
    for i in np.flatnonzero(x["label"] == CLASSES)[:2]:
        machine.load({"x": x["x"][i : i + 1]}, [CLASSES])
        machine.run("imprint")
    assert not np.array_equal(machine["fc2_weight"][0, CLASSES], start[0, CLASSES])
    for name in rolled(c.plan):
        assert np.array_equal(machine[name], machine[f"good_{name}"]), name
    assert {"fc2_imprinted"} <= {*rolled(c.plan)}


# ---- what it costs, and what is told --------------------------------------------------------------------


def test_three_states_lie_in_flash_once() -> None:
    c = made("hebbian")
    names = rolled(c.plan)
    found = stored(c.plan)
    once = sum(c.plan[n].nbytes for n in names)
    assert sum(t.nbytes for t in found.tensors if t.name.removeprefix("first_") in names) == once
    assert {*found.alike} == {*names, *(f"good_{n}" for n in names)}
    assert not [row for row in learned(c) if row["tensor"].startswith("good_")]


REFUSED: dict[str, tuple[RuleSpec, str]] = {
    "numbers": (
        RuleSpec("last", loss=Loss("mse"), guard=Guard()),
        "guard: counts right answers.*neither right nor wrong",
    ),
    "no labels": (
        RuleSpec("last", guard=Guard()),
        r"guard\.base: the calibration data have no labels.*base = 0",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_guarded_is_refused(case: str) -> None:
    spec, says = REFUSED[case]
    with pytest.raises(CompileError, match=says):
        compile_model(perceptron(), spec, {"x": samples(20, CLASSES, 1)["x"]})
