"""The fullest step of a program, and why each tensor lies in the arena then: against the steps themselves."""

from __future__ import annotations

from random_nets import ANY, accepted

from synapcc.gen.ops import changed, kernel, operands
from synapcc.host.pages.peak import peak_text, peaks
from synapcc.host.pages.timeline import moments, timeline

MODELS = 40


def test_the_fullest_step_is_the_fullest() -> None:
    for compiled, _ in accepted(ANY, MODELS):
        plan = compiled.plan
        found = peaks(plan)
        assert [p["program"] for p in found] == [e for e in plan.entries if moments(plan, e)]
        for p in found:
            steps = timeline(plan, p["program"])["steps"]
            here = steps[p["step"]]
            assert (here["kernel"], here["node"]) == (p["kernel"], p["node"])
            assert p["bytes"] == max(s["bytes"] for s in steps) == here["bytes"] <= plan.arena_bytes
            assert p["of_infer"] == p["bytes"] / found[0]["bytes"]
            assert {t["tensor"] for t in p["tensors"]} == moments(plan, p["program"])[p["step"]].alive


def test_whatever_waits_is_needed_by_the_step_that_is_named() -> None:
    """The next step that touches it reads it; what no step needs, a caller, a condition or a round does."""
    named = 0
    for compiled, _ in accepted(ANY, MODELS):
        plan = compiled.plan
        for p in peaks(plan):
            trace = moments(plan, p["program"])
            step = trace[p["step"]].step
            for t in p["tensors"]:
                name, following = t["tensor"], t["next"]
                assert bool(t["use"]) == (name in step.args.values())
                assert (t["use"] in ("writes", "changes")) == (name in changed(step).values())
                between = trace[p["step"] + 1 : following["step"] if following else None]
                touching = [m.step for m in between if name in m.step.args.values()]
                if following:
                    named += 1
                    reader = trace[following["step"]].step
                    k = kernel(reader.kernel)
                    assert name in operands(reader, k.reads + k.updates).values() and not touching
                    assert (reader.kernel, reader.node) == (following["kernel"], following["node"])
                else:
                    assert all(name in operands(s, kernel(s.kernel).writes).values() for s in touching[:1])
    assert named > MODELS


def test_whatever_lies_there_was_made_by_the_step_that_is_named() -> None:
    """Between it and the fullest step nothing makes it anew; what no step makes, no step before writes."""
    named = 0
    for compiled, _ in accepted(ANY, MODELS):
        plan = compiled.plan
        for p in peaks(plan):
            trace = moments(plan, p["program"])
            for t in p["tensors"]:
                name, made = t["tensor"], t["since"]
                before = trace[(made["step"] + 1 if made else 0) : p["step"] + 1]
                assert all(name in m.alive for m in before if made)
                assert not [
                    m for m in before if name in operands(m.step, kernel(m.step.kernel).writes).values()
                ]
                if made:
                    named += made["step"] < p["step"]
                    maker = trace[made["step"]].step
                    assert (maker.kernel, maker.node) == (made["kernel"], made["node"])
                    assert name in changed(maker).values()
    assert named > MODELS


def test_the_text_names_every_tensor_once_and_its_reason() -> None:
    for compiled, _ in accepted(ANY, 10):
        found = peaks(compiled.plan)
        text = peak_text(found)
        titles = [line for line in text if line.startswith("arena of ")]
        assert titles[0].startswith("arena of infer") and "times those of infer" not in titles[0]
        assert sum(len(line.split(": ")[0].split(" and ")) for line in titles) == len(found)
        rows = [line.split()[:3] for line in text]
        for p in found:
            for t in p["tensors"]:
                assert [t["tensor"], t["dtype"], str(t["bytes"])] in rows
