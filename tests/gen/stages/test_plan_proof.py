"""A Plan that was edited is refused in one line, or it runs: no exception, no overflow, C as the emulator."""

from __future__ import annotations

import json
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from counts import counted
from ctools import UNDEFINED, HostBatch
from lite_nets import accepted_lite, lite_model
from mutate import mutated
from one_step import cases
from play import play
from random_nets import ANY, accepted, extreme_state, life

from synapcc.gen.compile import Compiled
from synapcc.gen.errors import CompileError, SynapccError
from synapcc.gen.ir.format import PowerOfTwo
from synapcc.gen.ir.plan import Plan, PlanTensor, padded, row_length
from synapcc.gen.ir.program import Repeat
from synapcc.gen.ops import kernel, kernels
from synapcc.gen.stages.plan_file import load_plan
from synapcc.host.run.emulator import Emulator

MODELS, EACH = 12, 40
LONG = 40
TURNS = 1000  # of a repeated program that a test waits for


Models = Callable[[int, int], Iterator[tuple[Compiled, int]]]


def passed(first: int, models: int, each: int, seen: Counter[str], draw: Models = accepted) -> Iterator[Plan]:
    """The edited Plans that are taken. `seen` counts the reasons for which the others were not."""
    for c, seed in draw(first, models):
        rng = np.random.default_rng([41, seed])
        for _ in range(each):
            text = mutated(c.plan, rng)
            try:
                plan = load_plan(text, "plan.json")
            except SynapccError as error:
                said = str(error)
                assert said.startswith("plan.json: ") and said.isprintable() and len(said) < 500, said
                seen[said] += 1
            else:
                assert plan.canonical == text
                if plan.digest != c.plan.digest:
                    yield plan


def live(plan: Plan, seed: int) -> None:
    """A life with extremes, where numpy may neither warn nor fail."""
    if any(isinstance(i, Repeat) and i.times > TURNS for p in plan.programs.values() for i in p.items):
        return
    rng, machine = np.random.default_rng(seed), Emulator(plan)
    with warnings.catch_warnings(), np.errstate(all="raise"):
        warnings.simplefilter("error")
        for deed in life(plan, seed):
            if deed.what == "infer":
                machine.infer(deed.inputs)
            elif deed.what == "learn":
                machine.learn(deed.inputs, [deed.label])
            elif deed.what == "state":
                machine.state[0] = np.frombuffer(extreme_state(plan, rng), np.uint8)
        for e in plan.entry_points:
            inputs = {n: np.full((1, plan[n].shape[0]), plan[n].lo, plan[n].dtype) for n in e.inputs}
            machine.run(e.name, inputs=inputs or None, labels=[0] if e.label else None)
    for t in plan.space("state"):
        v = machine[t.name].astype(np.int64)
        assert t.lo <= v.min() and v.max() <= t.hi, t.name


def hunt(first: int, models: int, each: int, draw: Models = accepted) -> Counter[str]:
    seen: Counter[str] = Counter()
    for number, plan in enumerate(passed(first, models, each, seen, draw)):
        live(plan, number)
        seen["taken"] += 1
    return seen


def test_an_edited_plan_is_refused_in_one_line_or_runs() -> None:
    seen = hunt(50_600, MODELS, EACH)
    taken = seen.pop("taken")
    assert taken > 20 and seen.total() > MODELS * EACH // 2
    for reason in ("attribute", "operand", "limits", "overflow", "same bytes", "missing", "has shape"):
        assert any(reason in text for text in seen), f"never refused for {reason}"


def test_an_edited_plan_of_an_int8_file_is_refused_in_one_line_or_runs(tmp_path: Path) -> None:
    seen = hunt(52_000, MODELS // 2, EACH, partial(accepted_lite, folder=tmp_path))
    taken = seen.pop("taken")
    assert taken > 10 and seen.total() > MODELS // 2 * EACH // 2
    for reason in ("attribute", "operand", "limits", "missing", "has shape"):
        assert any(reason in text for text in seen), f"never refused for {reason}"


@pytest.mark.parametrize("rule", ["any", "none"])
def test_the_plan_of_an_int8_file_is_read_again(rule: str, tmp_path: Path) -> None:
    """With a multiplier a row, whose shifts are never 0, and with activations that are held above 0."""
    rows = above = 0
    fixed: dict[str, object] = {} if rule == "any" else {"rule": rule, "layers": ()}
    for seed in range(53_000, 53_050):
        try:
            c = lite_model(seed, tmp_path, **fixed)[0]
        except CompileError:
            continue
        assert load_plan(c.plan.canonical, "plan.json").digest == c.plan.digest, seed
        rows += any(t.role == "shift" for t in c.plan.tensors)
        above += any(t.space == "arena" and t.lo > 0 for t in c.plan.tensors)
    assert rows > 5 and above > 0


def test_a_centre_beside_an_activation_above_zero_is_read_again(tmp_path: Path) -> None:
    """It has the limits of the file's activation, which may leave 0 out."""
    above = 0
    fixed = {"rule": "prototype", "weights": "int16", "decay": None, "options": ()}
    for seed in range(53_000, 53_016):
        try:
            c = lite_model(seed, tmp_path, **fixed)[0]
        except CompileError:
            continue
        assert load_plan(c.plan.canonical, "plan.json").digest == c.plan.digest, seed
        above += any(t.space == "const" and t.role == "activation" and t.lo > 0 for t in c.plan.tensors)
    assert above > 0


@pytest.mark.long
@pytest.mark.parametrize("part", range(LONG))
def test_many_edited_plans(part: int) -> None:
    assert hunt(150_000 + 100 * part, 40, 100)["taken"]


@counted(10, 24)
def test_what_is_taken_is_proven(count: int, tmp_path: Path) -> None:
    """The C of edited Plans does what the emulator does, and no sanitizer finds anything."""
    found = [
        replace(plan, model=f"edited{i}", _by_name={})
        for i, plan in enumerate(passed(51_000, count, 12, Counter()))
        if not any(isinstance(i, Repeat) and i.times > TURNS for p in plan.programs.values() for i in p.items)
    ]
    assert len(found) > 15 * count // 24
    batch = HostBatch(found, tmp_path, "-O0", *UNDEFINED)
    try:
        assert sum(play(batch, i, i) for i in range(len(found))) > 4 * len(found)
    finally:
        batch.close()


# ---- what kernels declare ----------------------------------------------------------------------------------


CONSTANTS = ("index", "m", "s", "table")  # roles that kernels may want in flash


def tensors_of(name: str, rng: np.random.Generator) -> tuple[dict[str, PlanTensor], dict[str, int]]:
    """Operands and attributes of a random case of a kernel, as a Plan has them."""
    ((_, case),) = cases(rng, 1, [name])
    tensors = {}
    for role, array in case.arrays.items():
        top = np.iinfo(array.dtype)
        lo, hi = (0, int(array.max())) if role == "s" else case.limits.get(role, (int(top.min), int(top.max)))
        if role == "count" and name == "samples.draw":
            hi = case.attrs["rows"]
        row = row_length(array.shape, "")
        constant = role in (*CONSTANTS, *case.flash) and role not in kernel(name).changing
        if constant:
            lo, hi = int(array.min()), int(array.max())
        tensors[role] = PlanTensor(
            role,
            str(array.dtype),
            array.shape,
            row,
            "const" if constant else "arena",
            0,
            PowerOfTwo(0),
            lo,
            hi,
            "activation",
            data=padded(array, row) if constant else None,
        )
    return tensors, dict(case.attrs)


@pytest.mark.parametrize("name", sorted(kernels()))
def test_a_kernel_takes_what_it_says(name: str) -> None:
    """Its own cases, and none in which one attribute or operand is missing, of another type or shape."""
    k, rng = kernel(name), np.random.default_rng(len(name))
    assert {*k.operands} == {*k.roles}, "it does not say what it takes"
    for _ in range(40):
        t, a = tensors_of(name, rng)
        assert not k.fault(t, a)
        for attribute, (lo, hi) in k.attributes.items():
            for value in (lo - 1, hi + 1, None, 0.5):
                assert attribute not in a or attribute in k.fault(t, a | {attribute: value})  # type: ignore[dict-item]
            short = {n: v for n, v in a.items() if n != attribute}
            assert attribute in k.spare or attribute not in a or "missing" in k.fault(t, short)
        assert "no attribute extra" in k.fault(t, a | {"extra": 1})
        for role in t:
            without = {r: x for r, x in t.items() if r != role}
            assert role in k.optional or "lacks" in k.fault(without, a)
            assert k.fault(t | {role: replace(t[role], dtype="float32")}, a)
            assert "has shape" in k.fault(t | {role: replace(t[role], shape=(3, 3, 3))}, a)


def refused(plan: Plan, change: Any, match: str) -> None:
    j = json.loads(plan.canonical)
    change(j)
    with pytest.raises(SynapccError, match=match) as caught:
        load_plan(json.dumps(j, sort_keys=True, separators=(",", ":")).encode(), "plan.json")
    assert str(caught.value).isprintable()


def test_a_refusal_names_step_node_and_attribute() -> None:
    plan = next(c.plan for c, _ in accepted(ANY, 60) if "learn" in c.plan.entries)
    at, i, step = next(op for op in plan.ops() if op[2].kernel == "dense.update")

    def attribute(name: str, value: object) -> Any:
        def change(j: Any) -> None:
            program = next(p for p in j["programs"] if p["name"] == at)
            program["items"][i]["attrs"][name] = value

        return change

    where = rf"step dense\.update of {step.node}, in program {at}: "
    refused(plan, attribute("shift", 99), where + "attribute shift is 99, 0 to 24 are possible")
    refused(plan, attribute("rounding", 3), where + "attribute rounding is 3, 0 to 2 are possible")
    refused(plan, attribute("lo", 5), where + "attribute lo is 5")
    refused(plan, attribute("hi", 2**20), where + f"{step.args['w']} would hold")
    refused(plan, attribute("bias_shift", -29), "accumulator could overflow|attribute")


def test_calls_that_multiply_are_refused_at_once() -> None:
    """Sixty programs, each of which calls the next one twice: nobody walks all of that."""
    plan = next(c.plan for c, _ in accepted(ANY, 1))

    def change(j: Any) -> None:
        infer = next(p for p in j["programs"] if p["name"] == "infer")
        infer["items"].append({"call": "p0"})
        j["programs"] += [
            {"name": f"p{n}", "doc": "", "items": [{"call": f"p{n + 1}"}] * 2 if n < 60 else []}
            for n in range(61)
        ]

    refused(plan, change, "has more than 65536 steps")


@pytest.mark.parametrize("levels", [70, 450])
def test_calls_that_nest_deeply_are_refused(levels: int) -> None:
    """Whoever walks a Plan does so recursively, after it was read too; the deepest one is looked at first."""
    plan = next(c.plan for c, _ in accepted(ANY, 1))

    def change(j: Any) -> None:
        infer = next(p for p in j["programs"] if p["name"] == "infer")
        infer["items"] += [{"call": f"p{n}"} for n in reversed(range(levels))]
        j["programs"] += [
            {"name": f"p{n}", "doc": "", "items": [{"call": f"p{n + 1}"}] if n < levels - 1 else []}
            for n in range(levels)
        ]

    refused(plan, change, "nest more than 64 deep")


def test_sizes_are_whole_numbers() -> None:
    """What ends in a traceback where it is used, though it is equal to the number that it should be."""
    plan = next(c.plan for c, _ in accepted(ANY, 1))
    for key, value, what in (
        ("arena_bytes", float(plan.arena_bytes), "its tensors need"),
        ("classes", float(plan.classes), "no number of classes"),
        ("head", "\x1b[31m", "no such head"),
        ("input_shapes", [[-1, -plan[n].shape[0]] for n in plan.inputs], "has a shape that is none"),
        ("input_shapes", [[float(plan[n].shape[0])] for n in plan.inputs], "has a shape that is none"),
    ):
        refused(plan, lambda j, key=key, value=value: j.update({key: value}), what)
