"""A note is a comment, nothing is decided by it; what a value is used for is a field."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from counts import counted
from random_nets import accepted, life, random_model

from synapcc.gen.emit import render_library
from synapcc.gen.errors import SynapccError
from synapcc.gen.ir.inputs import TARGET
from synapcc.gen.ir.plan import Plan
from synapcc.gen.ir.program import Builder, Value
from synapcc.gen.ir.roles import STREAM, USES
from synapcc.gen.stages.plan_file import load_plan
from synapcc.host.run.emulator import Emulator


def without_comments(plan: Plan) -> dict[str, str]:
    """The emitted C without comments, without the digest, and without white space that comments made."""
    out = {}
    for name, text in render_library(plan, "a test", "a test", {}).items():
        bare = re.sub(r"/\*.*?\*/", " ", text, flags=re.DOTALL).replace(plan.digest.hex(), "")
        out[name] = " ".join(bare.split())
    return out


def states(plan: Plan, seed: int) -> list[bytes]:
    """What a life leaves behind, deed by deed."""
    machine = Emulator(plan)
    out = []
    for deed in life(plan, seed):
        if deed.what == "learn":
            machine.learn(deed.inputs, [deed.label])
        elif deed.what == "infer":
            machine.infer(deed.inputs)
        elif deed.what == "state":
            machine.put_state(deed.state)
        else:
            if deed.inputs:
                machine.load(deed.inputs, [deed.label] if "label" in plan else None)
            machine.run(deed.what)
        out.append(machine.state.tobytes() + machine.arena.tobytes())
    return out


@counted(10, 24)
@pytest.mark.parametrize("word", ["", "input", "store", "replay", "rows alike"])
def test_notes_change_nothing_but_comments(word: str, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    before = list(accepted(600, count))
    add: Callable[[Builder, Value], str] = Builder.add
    monkeypatch.setattr(Builder, "add", lambda self, value: add(self, replace(value, note=word)))
    noted = 0
    for c, seed in before:
        made = random_model(seed)
        plan = made.plan
        assert {t.note for t in plan.tensors if t.name in made.abstract.values} == {word}
        noted += any(t.note for t in c.plan.tensors)
        bare = [replace(p, tensors=tuple(replace(t, note="") for t in p.tensors)) for p in (c.plan, plan)]
        assert bare[0].canonical == bare[1].canonical
        assert without_comments(c.plan) == without_comments(plan)
        if not word:
            assert states(c.plan, seed) == states(plan, seed)
    assert noted > count // 2


# tests/gen/frontends has the stream's, tests/gen/stages/test_lasting.py what lasts
DRAWN = {*USES} - {STREAM}


def test_what_a_tensor_is_used_for_is_in_the_plan() -> None:
    """In the plans of random networks, 24 and then as many as it takes to meet every use."""
    seen: set[str] = set()
    for n, (c, _) in enumerate(accepted(600, 120)):
        if n >= 24 and seen == DRAWN:
            break
        for t in c.plan.tensors:
            seen |= {t.use} - {STREAM}
            assert (t.use == "input") == (t.name in (*c.plan.inputs, TARGET))
            assert (t.use == "stored") == (
                t.name.startswith(("store_", "guard_"))
                and t.space == "state"
                and t.role not in ("counter", "scratch")
            )
            assert (t.use == "good") == t.name.startswith("good_")
            assert USES[t.use] in t.about
    assert seen == DRAWN


def test_a_plan_with_a_wrong_use_is_refused() -> None:
    plan = next(accepted(600, 1))[0].plan
    text = json.loads(plan.canonical)
    for at, t in enumerate(text["tensors"]):
        for use in ("inputs", None, "stored" if t["use"] == "input" else "input"):
            changed = [*text["tensors"][:at], {**t, "use": use}, *text["tensors"][at + 1 :]]
            packed = json.dumps({**text, "tensors": changed}, sort_keys=True, separators=(",", ":")).encode()
            with pytest.raises(SynapccError, match=r"is used as|is an input, or is none"):
                load_plan(packed, "plan.json")


def test_rows_that_are_alike_have_one_format() -> None:
    """Comments say so: "Q by row" stands only where the rows of a weight differ."""
    kinds = set()
    for c, _ in accepted(600, 24):
        for _, _, step in c.plan.ops():
            if {"s", "w"} <= step.args.keys() and c.plan[step.args["w"]].space == "const":
                w = c.plan[step.args["w"]]
                differ = len(np.unique(c.plan[step.args["s"]].array())) > 1
                kinds.add(differ)
                assert c.plan.q(w) == ("Q by row" if differ else f"Q{w.frac}")
                if c.abstract.values[w.name].rows_alike:
                    assert not differ
    assert kinds == {False, True}
