"""[pseudo]: samples without a label are learned under the network's own verdict, where it leads by enough."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ctools import UNDEFINED, HostBatch
from head_nets import OLD, perceptron, samples
from play import play

from synapcc.gen.compile import Compiled, compile_model
from synapcc.gen.errors import CompileError
from synapcc.gen.spec import Guard, Head, Loss, Pseudo, Replay, RuleSpec, Store
from synapcc.host.run.emulator import Emulator

DATA = samples(200, OLD, 1)


def compiled(margin: float, rule: str = "bp", **more: Any) -> Compiled:
    return compile_model(perceptron(), RuleSpec(rule, rate=6, pseudo=Pseudo(margin), **more), DATA)


def margin_of(c: Compiled, i: int) -> float:
    """The verdict's lead on sample i, in real numbers."""
    machine = Emulator(c.plan)
    found = machine.infer({"x": DATA["x"][i : i + 1]}).margin[0]
    return float(found) * 2.0 ** -c.plan[c.plan.logits].frac


@pytest.mark.parametrize("rule", ["bp", "hebbian", "es", "prototype"])
def test_a_sure_verdict_is_learned_as_a_label_is(rule: str) -> None:
    """The same bytes as `learn` under the winner; nothing changes where it leads by less."""
    half = sorted(margin_of(compiled(0.0, rule), i) for i in range(20))[10]
    c, learned = compiled(half, rule), 0
    for i in range(20):
        itself, told = Emulator(c.plan), Emulator(c.plan)
        x = {"x": DATA["x"][i : i + 1]}
        before, winner = itself.state.copy(), told.infer(x).winner
        itself.run("learn_unlabelled", inputs=x)
        if margin_of(c, i) >= half:
            told.learn(x, winner)
            learned += 1
        assert itself.state.tobytes() == told.state.tobytes()
        assert (itself.state.tobytes() != before.tobytes()) == (margin_of(c, i) >= half)
    assert 0 < learned < 20


def test_the_margin_is_the_one_that_the_file_says() -> None:
    c = compiled(0.0)
    exact = margin_of(c, 3)
    for margin, takes in ((exact, 1), (exact + 2.0**-12, 0)):
        machine = Emulator(compiled(margin).plan)
        machine.run("learn_unlabelled", inputs={"x": DATA["x"][3:4]})
        assert int(machine["step"][0, 0]) == takes


def test_it_is_not_kept_nor_held_back_but_judged() -> None:
    guard = Guard(every=2, samples=8, base=0, period=4)
    c = compiled(0.0, "hebbian", guard=guard, store=Store(16), replay=Replay(8, 2))
    machine = Emulator(c.plan)
    for i in range(11):
        machine.run("learn_unlabelled", inputs={"x": DATA["x"][i : i + 1]})
    assert not machine["store_count"][0, 0] and not machine["guard_count"][0, 0]
    assert int(machine["guard_learned"][0, 0]) == 11 % 4
    assert int(machine["step"][0, 0]) == 11 + 11 // 2  # with a replayed example behind every second


def test_chips_teach_themselves_alike(tmp_path: Path) -> None:
    specs = [
        RuleSpec("bp", rate=5, pseudo=Pseudo(0.25)),
        RuleSpec("dfa", rate=5, pseudo=Pseudo(0.0), guard=Guard(every=2, samples=4, base=4, period=3)),
        RuleSpec("spsa", pseudo=Pseudo(1.0)),
    ]
    plans = [
        compile_model(replace(perceptron(), name=f"m{i}"), spec, DATA).plan for i, spec in enumerate(specs)
    ]
    batch = HostBatch(plans, tmp_path / "c", "-O1", *UNDEFINED)
    try:
        assert all(play(batch, i, i) > 5 for i in range(len(plans)))
    finally:
        batch.close()


def test_a_classifier_that_starts_at_nothing_may_be_asked() -> None:
    """Its scores lead by nothing now, and by more once it has learned."""
    c = compiled(0.25, "bp", head=Head(OLD))
    machine, taken = Emulator(c.plan), []
    for i in range(120):
        x = {"x": DATA["x"][i : i + 1]}
        before = int(machine["step"][0, 0])
        machine.run("learn_unlabelled", inputs=x)
        taken.append(int(machine["step"][0, 0]) - before)
        machine.learn(x, DATA["label"][i : i + 1])
    assert taken[0] == 0 and sum(taken[-40:]) > 20


@pytest.mark.parametrize(
    ("margin", "more", "said"),
    [
        (3e4, {}, "a margin of 30000 is never reached: scores lead by"),
        (1.0, {"loss": Loss("mse")}, 'pseudo: is a label, and loss.kind is "mse"'),
    ],
)
def test_what_cannot_be_is_refused(margin: float, more: dict[str, Any], said: str) -> None:
    with pytest.raises(CompileError) as told:
        compiled(margin, **more)
    assert said in told.value.line and "\n" not in told.value.line
