"""[accumulate] and [momentum]: changes of several samples add up, exactly, before one rounding makes them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ctools import UNDEFINED, HostBatch
from head_nets import OLD, perceptron, samples
from play import play
from random_nets import gathers, random_parts

from synapcc.gen.compile import Compiled, compile_model
from synapcc.gen.errors import CompileError
from synapcc.gen.ir.program import Step
from synapcc.gen.ops import kernel
from synapcc.gen.ops._weighted import GATHERED
from synapcc.gen.rules import rules
from synapcc.gen.spec import Accumulate, Decay, Momentum, RuleSpec, Schedule
from synapcc.gen.spec.own import Teach, Update
from synapcc.gen.stages.calibrate import Runs
from synapcc.gen.stages.state_check import fault
from synapcc.gen.stages.stride import largest
from synapcc.host.link.saturation import saturation
from synapcc.host.run.emulator import Emulator

DATA = samples(200, OLD, 1)
LAYERS = ("fc1", "fc2")
Learned = dict[str, np.ndarray]


def compiled(rule: str = "bp", **more: Any) -> Compiled:
    return compile_model(perceptron(), RuleSpec(rule, rate=6, **more), DATA)


def learn(machine: Emulator, i: int, after: Any = None) -> None:
    machine.load({"x": DATA["x"][i : i + 1]}, DATA["label"][i : i + 1])
    machine.run("learn", **({"after": after} if after else {}))


def products(machine: Emulator, i: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Learns sample i; d x^T and d of each layer as exact integers, of the signals that its update reads."""
    found = {}

    def look(program: str, position: int) -> None:
        step = machine.plan.programs[program].items[position]
        if isinstance(step, Step) and step.kernel == "dense.update":
            x, d = (machine[step.args[role]][0].astype(np.int64) for role in ("x", "d"))
            found[step.node] = np.outer(d, x), d

    learn(machine, i, look)
    return found


def optimiser(c: Compiled, layer: str) -> Step:
    return next(s for _, _, s in c.plan.ops() if s.kernel == "optimiser.step" and s.node == layer)


def nearest(v: np.ndarray, shift: int) -> np.ndarray:
    return np.floor(v / 2.0**shift + 0.5).astype(np.int64)


# ---- what it means --------------------------------------------------------------------------------------


@pytest.mark.parametrize("k", [2, 7])
def test_a_change_is_the_sum_of_those_of_its_samples(k: int) -> None:
    """All of them at the same weights: products are summed as they are, and the sum is rounded once."""
    c = compiled(accumulate=Accumulate(k), rounding="nearest")
    plain = compiled(rounding="nearest")
    machine, changed = Emulator(c.plan), 0
    for first in range(0, 6 * k, k):
        before: Learned = {n: machine[f"{n}_weight"][0].astype(np.int64) for n in LAYERS}
        biases: Learned = {n: machine[f"{n}_bias"][0].astype(np.int64) for n in LAYERS}
        totals: dict[str, list[Any]] = {n: [0, 0] for n in LAYERS}
        for i in range(first, first + k):
            assert all(np.array_equal(machine[f"{n}_weight"][0], before[n]) for n in LAYERS), "changed early"
            single = Emulator(plain.plan)  # learns this sample alone, from the same weights
            for name in (f"{n}_{what}" for n in LAYERS for what in ("weight", "bias")):
                assert c.plan[name].meaning == plain.plan[name].meaning
                single[name][...] = machine[name]
            single["step"][...] = machine["step"]
            for n, parts in products(single, i).items():
                totals[n] = [t + p for t, p in zip(totals[n], parts, strict=True)]
            learn(machine, i)
        for n in LAYERS:
            a, w, b = optimiser(c, n).attrs, machine[f"{n}_weight"][0], machine[f"{n}_bias"][0]
            other = next(s for _, _, s in plain.plan.ops() if s.kernel == "dense.update" and s.node == n)
            assert (a["shift"], a["bias_shift"]) == (other.attrs["shift"], other.attrs["bias_shift"])
            wanted = np.clip(before[n] - nearest(totals[n][0], a["shift"]), a["lo"], a["hi"])
            assert np.array_equal(w, wanted)
            bias = totals[n][1] * 2.0 ** -a["bias_shift"]
            assert np.array_equal(
                b, biases[n] - np.floor(bias + 0.5 * (a["bias_shift"] > 0)).astype(np.int64)
            )
            assert not machine[f"{n}_weight_sum"].any() and not machine[f"{n}_bias_sum"].any()
            changed += int(np.count_nonzero(w != before[n]))
    assert changed > 100 and not machine["accumulate_phase"].any()


@pytest.mark.parametrize("shift", [1, 3])
def test_a_velocity_keeps_a_share_of_itself(shift: int) -> None:
    """v <- (1 - 2^-shift) v + product, W <- W - rate v: within a unit a step of real numbers, on sums of
    thousands, and never further than where what is lost to rounding settles."""
    c = compiled(momentum=Momentum(shift), rounding="nearest")
    machine, real, met = Emulator(c.plan), {n: np.zeros(()) for n in LAYERS}, 0
    for i in range(40):
        before = {n: machine[f"{n}_weight"][0].astype(np.int64) for n in LAYERS}
        found = products(machine, i)
        for n in LAYERS if found else ():  # a sample without an error changes nothing
            velocity = real[n] + found[n][0]
            real[n] = velocity * (1 - 2.0**-shift)
            a = optimiser(c, n).attrs
            change = before[n] - machine[f"{n}_weight"][0]
            inner = np.abs(machine[f"{n}_weight"][0].astype(np.int64)) < a["hi"]
            away = np.abs(change - velocity / 2.0 ** a["shift"])[inner]
            assert away.max() <= 0.5 + 2.0**shift / 2.0 ** a["shift"]
            assert np.abs(-machine[f"{n}_weight_sum"][0] - real[n]).max() <= 2.0**shift
            met += int(np.count_nonzero(change))
    assert met > 1000


def step_alone(sums: list[int], forget: int, times: int) -> np.ndarray:
    """What sums [n] become where nothing is added to them."""
    n = len(sums)
    arrays = {
        "sum": np.array([[sums]], np.int32),
        "step": np.zeros((1, 1), np.uint32),
        "w": np.zeros((1, 1, n), np.int16),
        "saturated": np.zeros((1, 1), np.uint32),
    }
    attrs = {"shift": 20, "rate": 0, "lo": -32768, "hi": 32767, "forget": forget}
    attrs |= {"rounding": 0, "seed": 0, "tensor": 0}
    for _ in range(times):
        kernel("optimiser.step").integer(arrays, attrs)
    found: np.ndarray = arrays["sum"][0, 0]
    return found


@pytest.mark.parametrize("forget", range(9))
def test_a_velocity_to_which_nothing_is_added_comes_to_rest(forget: int) -> None:
    sums = [0, 1, -1, 2, -2, 127, -128, 1000, -1000, GATHERED, -GATHERED]
    once = step_alone(sums, forget, 1)
    for v, left in zip(sums, once, strict=True):
        assert left == v - np.sign(v) * -(-abs(v) // 2**forget)  # away from zero
    assert not step_alone(sums, forget, 1 if forget == 0 else 30 * 2**forget).any()


@pytest.mark.parametrize("forget", [1, 3, 8])
@pytest.mark.parametrize("samples", [None, 3])
def test_a_sum_has_room_for_the_largest_products_for_ever(samples: int | None, forget: int) -> None:
    """The limit that a Plan gives is what such a sum tends to, and it never meets it from outside."""
    c = compiled(accumulate=Accumulate(samples) if samples else None, momentum=Momentum(forget))
    for n in LAYERS:
        step = next(s for _, _, s in c.plan.ops() if s.kernel == "dense.update" and s.node == n)
        x, d = c.plan[step.args["x"]], c.plan[step.args["d"]]
        each = (samples or 1) * max(-d.lo, d.hi)
        for name, top in ((f"{n}_weight_sum", each * max(-x.lo, x.hi)), (f"{n}_bias_sum", each)):
            limit = c.plan[name].hi
            assert limit == min(top << forget, GATHERED) and c.plan[name].lo == -limit
            if limit == GATHERED:
                continue
            v = limit - limit // 8 - top
            for _ in range(24 * 2**forget):
                v += top
                assert v <= limit
                v = int(step_alone([v], forget, 1)[0])
            assert v >= limit - top - 2 ** (forget + 1)


# ---- beside everything else -----------------------------------------------------------------------------


def models(first: int, count: int, **more: Any) -> Iterator[tuple[Compiled, Compiled]]:
    """Random networks under rules whose changes add up: as they are drawn, and with `more`."""
    made = tried = 0
    while made < count:
        graph, spec, calibration, mode = random_parts(first + tried)
        tried += 1
        assert tried < 20 + 20 * count
        if not gathers(spec):
            continue
        spec = replace(spec, accumulate=None, momentum=None)
        try:
            plain = compile_model(graph, spec, calibration, quantise=mode)
        except CompileError:
            continue
        made += 1
        yield plain, compile_model(graph, replace(spec, **more), calibration, quantise=mode)


def together(machines: list[Emulator], seed: int, steps: int) -> None:
    plan, rng = machines[0].plan, np.random.default_rng(seed)
    for _ in range(steps):
        x = {n: rng.integers(-128, 128, (1, plan[n].shape[0])).astype(plan[n].dtype) for n in plan.inputs}
        label = [int(rng.integers(plan.classes))] if "label" in plan else None
        more = {}
        if "target" in plan and plan.learning == "learn_target":
            more = {"target": rng.integers(-99, 100, (1, plan["target"].shape[0])).astype(np.int16)}
        for machine in machines:
            machine.run(plan.learning, inputs=x | more, labels=label)


@pytest.mark.parametrize("count", [7, pytest.param(150, marks=pytest.mark.long)])
def test_sums_of_one_sample_are_what_there_was_without(count: int) -> None:
    """The same bytes of all that is learned, whatever the rule, the rounding and what else a file says."""
    seen, moved = set(), 0
    for i, (plain, one) in enumerate(models(61_000, count, accumulate=Accumulate(1))):
        machines = [Emulator(plain.plan), Emulator(one.plan)]
        together(machines, i, 6)
        seen |= {plain.spec.rule}
        for t in plain.plan.space("state"):
            if t.role in ("weight", "bias"):
                assert np.array_equal(machines[0][t.name], machines[1][t.name]), (plain.plan.model, t.name)
                moved += not np.array_equal(machines[0][t.name][0], t.array())
        assert not any(machines[1][t.name].any() for t in one.plan.space("state") if t.role == "sum")
    assert len(seen) >= 4 and moved > count


TEACHING = (
    "hebbian",
    "dfa",
    "dkp",
    "sdfa",
    "drtp",
    "fa",
    "sign",
    "ssg",
    "pepita",
    "last",
    "bp",
    "bptt",
    "dftt",
)


@pytest.mark.parametrize("chosen", [TEACHING[:3], pytest.param(TEACHING[3:], marks=pytest.mark.long)])
def test_chips_add_up_alike(chosen: tuple[str, ...], tmp_path: Path) -> None:
    """Every rule whose changes add up, beside schedules, decay and rates of layers; extreme states, too."""
    gathered = [
        RuleSpec(
            rule,
            rate=5,
            rates=(("fc2", 7),),
            weights=("int8", "int16")[i % 2],
            rounding=("stochastic", "nearest", "dither")[i % 3],
            accumulate=Accumulate(2 + i % 2) if i % 3 else None,
            momentum=None if i % 3 == 1 else Momentum(1 + i % 8),
            schedule=Schedule((2, 4), 1) if i % 4 == 0 else None,
            decay=Decay(6, 2) if i % 4 == 1 else None,
        )
        for i, rule in enumerate(chosen)
    ]
    assert set(TEACHING) == {n for n in rules() if gathers(RuleSpec(n))}
    plans = [
        compile_model(replace(perceptron(), name=f"m{i}"), spec, DATA).plan for i, spec in enumerate(gathered)
    ]
    batch = HostBatch(plans, tmp_path / "c", "-O1", *UNDEFINED)
    try:
        assert all(play(batch, i, i) > 5 for i in range(len(plans)))
    finally:
        batch.close()


def test_rates_fall_where_changes_are_made() -> None:
    c = compiled(accumulate=Accumulate(2), schedule=Schedule((4, 8), 3))
    shifts = [
        s.attrs["shift"]
        for name in ("optimise", "optimise_1", "optimise_2")
        for s in c.plan.programs[name].items
        if isinstance(s, Step) and s.node == "fc1"
    ]
    assert np.diff(shifts).tolist() == [3, 3]
    assert "correct_1" not in c.plan.programs


def test_equations_of_ones_own_add_up() -> None:
    """Where they are a layer's own update: the same bytes as the built-in rule's."""
    own = Update("-rate * teach[o] * pre[i]"), Teach(hidden="(W.T @ next) * df(z)")
    more: dict[str, Any] = {"accumulate": Accumulate(3), "momentum": Momentum(2)}
    machines = [
        Emulator(compiled("own", update=own[0], teach=own[1], **more).plan),
        Emulator(compiled("bp", **more).plan),
    ]
    for i in range(12):
        for machine in machines:
            learn(machine, i)
    assert machines[0].state.tobytes() == machines[1].state.tobytes()


@pytest.mark.parametrize("key", ["accumulate", "momentum"])
@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ("spsa", "what rule spsa does is none"),
        ("es", "what rule es does is none"),
        ("hybrid", "what rule hybrid does is none"),
        ("prototype", "decides itself what a learning step does"),
        ("ff", "one change of a layer at a step, and rule ff makes two of fc1"),
    ],
)
def test_what_does_not_add_up_is_refused(key: str, rule: str, said: str) -> None:
    more: dict[str, Any] = {"accumulate": Accumulate(4)} if key == "accumulate" else {"momentum": Momentum(3)}
    with pytest.raises(CompileError, match=said) as told:
        compiled(rule, **more)
    assert told.value.where == key and "\n" not in told.value.line and f"leave [{key}] out" in told.value.hint


def test_an_equation_with_more_than_products_is_refused() -> None:
    update = Update("-rate * teach[o] * pre[i] - 2^-3 * W[o,i] * pre[i] * post[o]")
    with pytest.raises(CompileError, match=r"rule own does is none: statement.matrix of fc\d in correct"):
        compiled("own", update=update, accumulate=Accumulate(4))


# ---- the state ------------------------------------------------------------------------------------------


def test_a_half_full_sum_is_part_of_the_state() -> None:
    """Saved and loaded it goes on where it was; at the start it is empty; beyond its limit it is refused."""
    c = compiled(accumulate=Accumulate(4), momentum=Momentum(2))
    whole, part = Emulator(c.plan), Emulator(c.plan)
    assert not any(whole[t.name].any() for t in c.plan.space("state") if t.role == "sum")
    for i in range(6):
        learn(whole, i)
        learn(part, i)
    assert part["accumulate_phase"][0, 0] == 2 and part["fc1_weight_sum"].any()
    saved = part.state[0].tobytes()
    assert not fault(c.plan, saved)
    other = Emulator(c.plan)
    other.state[0] = np.frombuffer(saved, np.uint8)
    for i in range(6, 12):
        learn(whole, i)
        learn(other, i)
    assert whole.state.tobytes() == other.state.tobytes()
    for name, value in (("fc1_weight_sum", c.plan["fc1_weight_sum"].hi + 1), ("accumulate_phase", 4)):
        wrong = Emulator(c.plan)
        wrong.state[0] = np.frombuffer(saved, np.uint8)
        wrong[name][...] = value
        assert name in fault(c.plan, wrong.state[0].tobytes())


def test_a_sample_without_an_error_is_not_counted() -> None:
    c = compiled(accumulate=Accumulate(3), loss=replace(RuleSpec("bp").loss, skip_below=0.25))
    machine, added = Emulator(c.plan), 0
    for i in range(60):
        before = int(machine["accumulate_phase"][0, 0]), machine["fc2_weight_sum"].copy()
        taught = bool(products(machine, i))
        added += taught
        assert machine["accumulate_phase"][0, 0] == (before[0] + taught) % 3
        assert taught or np.array_equal(machine["fc2_weight_sum"], before[1])
    assert 0 < added < 60


# ---- what is told ---------------------------------------------------------------------------------------


def test_a_rate_that_is_too_large_is_told_as_before() -> None:
    """Of what a sample changes in the end: with momentum 2^shift times as much."""
    found = []
    for more in ({}, {"accumulate": Accumulate(4)}, {"momentum": Momentum(3)}):
        c = compile_model(perceptron(), RuleSpec("bp", rate=1, **more), DATA)  # type: ignore[arg-type]
        runs = Runs(c.abstract, c.calibration)
        told = largest(runs, np.zeros(len(runs), bool))
        assert told is not None and told.rate == 1
        found.append(told.change)
    assert found[0] == pytest.approx(found[1]) and found[2] == pytest.approx(8 * found[0])


def test_updates_are_the_changes_that_are_made() -> None:
    machine = Emulator(compiled(accumulate=Accumulate(4)).plan)
    for i in range(20):
        learn(machine, i)
    for told in saturation(machine.plan, machine.state[0]):
        w, b = machine[f"{told.layer}_weight"][0], machine[f"{told.layer}_bias"][0]
        assert told.updates == 20 // 4 * (w.size + b.size) and told.rate == 6
