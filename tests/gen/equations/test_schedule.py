"""A schedule beside equations: each product falls as often as the rate stands in it."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from equations import drawn
from head_nets import perceptron, samples

from synapcc.gen.compile import Compiled, compile_model
from synapcc.gen.equations import placed
from synapcc.gen.errors import CompileError
from synapcc.gen.ir.program import Step
from synapcc.gen.spec import RuleSpec, Schedule
from synapcc.gen.spec.own import Update
from synapcc.host.run.emulator import Emulator

DATA = samples(60, 5, 1)
PLAIN = "-rate * teach[o] * pre[i]"
CHANGES = ("statement.matrix", "statement.change")
FALLS = Schedule((3, 6), 2)


def compiled(update: Update, schedule: Schedule | None = FALLS, **more: object) -> Compiled:
    spec = RuleSpec("own", rate=6, update=update, schedule=schedule, **more)  # type: ignore[arg-type]
    return compile_model(perceptron(5), spec, DATA)


def numbers(step: Step) -> list[Fraction]:
    """What a step of a Plan makes of its terms, in units of what it changes."""
    a, kept = step.attrs, Fraction(1, 2 ** (step.attrs["drop"] + step.attrs["shift"]))
    return [Fraction(a[f"c{k}"]) * 2 ** a[f"s{k}"] * kept for k in range(6) if f"c{k}" in a]


def said(step: Step) -> list[int]:
    """How often the rate stands in the terms of a step."""
    return [int(step.attrs.get(f"n{k}", 0)) for k in range(6) if f"c{k}" in step.attrs]


@pytest.mark.parametrize("count", [12, pytest.param(300, marks=pytest.mark.long)])
def test_terms_fall_as_often_as_the_rate_stands_in_them(count: int) -> None:
    seen: set[int] = set()
    made = seed = 0
    while made < count:
        rng = np.random.default_rng([31, seed])
        seed += 1
        assert seed < 8 + 4 * count, "too much is refused"
        update, teach, trace = drawn(rng)
        try:
            c = compiled(update, teach=teach, trace=trace, rounding="stochastic")
        except CompileError as error:
            assert "\n" not in error.line
            continue
        made += 1
        changes = {
            s.args[role]: said(s)
            for p, s in c.abstract.steps()
            if p == "correct" and s.kernel in CHANGES
            for role in ("w", "y")
            if role in s.args
        }
        programs = {n: [i for i in p.items if isinstance(i, Step)] for n, p in c.plan.programs.items()}
        for target, rates in changes.items():
            copies = []
            for name in ("correct", "correct_1", "correct_2"):
                (step,) = (
                    s
                    for s in programs[name]
                    if s.kernel in CHANGES and target in (s.args.get("w"), s.args.get("y"))
                )
                copies.append(numbers(step))
            for fall, found in enumerate(copies):
                for k, rate in enumerate(rates):
                    assert found[k] == copies[0][k] / 2 ** (fall * FALLS.shift * rate), (seed, target)
                    seen.add(rate)
    assert seen == {0, 1, 2}


def test_a_step_behind_a_fall_is_one_at_the_smaller_rate() -> None:
    """The copy of the last fall is what the equation says at the rate that is left."""
    update = Update(f"{PLAIN} - 2^-3 * rate * W[o,i]")
    falling, slow = compiled(update), Emulator(compiled(update, None).plan)
    machine = Emulator(falling.plan)
    slower = compiled(Update(f"2^-4 * ({PLAIN} - 2^-3 * rate * W[o,i])", "-2^-4 * rate * teach[o]"), None)
    assert [t.meaning for t in slower.plan.tensors if t.name == "fc2_weight"] == [
        t.meaning for t in falling.plan.tensors if t.name == "fc2_weight"
    ]
    for i in range(12):
        one = {"x": DATA["x"][i : i + 1]}, [int(DATA["label"][i])]
        if i == 6:
            slow = Emulator(slower.plan)
            for t in slower.plan.space("state"):
                slow[t.name][...] = machine[t.name]
        machine.learn(*one)
        slow.learn(*one)
        if i < 3 or i >= 6:
            assert np.array_equal(machine["fc2_weight"], slow["fc2_weight"]), i


def test_decay_by_the_rate_falls_and_another_one_stays() -> None:
    def kernels(weight: str) -> list[str]:
        c = compiled(Update(weight))
        return [s.kernel for p, s in c.abstract.steps() if p == "correct_1"]

    assert kernels("-2^-3 * rate * W[o,i]") == ["statement.matrix"] * 2
    assert "dense.update" in kernels(PLAIN)
    assert "statement.matrix" in kernels("-rate * rate * 2^5 * teach[o] * pre[i]")


def test_a_schedule_without_a_rate_is_refused() -> None:
    with pytest.raises(CompileError, match="lets rates fall, and no equation names the rate") as told:
        compiled(Update("-2^-6 * teach[o] * pre[i]"))
    assert told.value.where == "schedule" and "leave [schedule] out" in told.value.hint


def test_what_is_too_slow_behind_a_fall_is_shown() -> None:
    update = Update(f"{PLAIN} - 2^-9 * W[o,i]")
    spec = RuleSpec("own", rate=6, update=update, rounding="nearest", schedule=Schedule((3, 6), 7))
    with pytest.raises(CompileError) as told:
        compile_model(perceptron(5), spec, DATA)
    error = placed(told.value, spec)
    assert "behind fall" in error.what and "can change nothing" in error.what
    assert error.excerpt.splitlines()[1].index("^") == error.excerpt.index("teach")
