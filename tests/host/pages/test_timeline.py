"""Who lives where when, and what a Plan takes: against the planner, the emulator and the board's limits."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from projects import arrays, case
from random_nets import ANY, accepted

from synapcc.gen.compile import Compiled, compile_model
from synapcc.gen.emit.flash import stored
from synapcc.gen.errors import CompileError
from synapcc.gen.ir.plan import Plan
from synapcc.gen.ir.program import Step
from synapcc.gen.ops import inplace, trailing
from synapcc.gen.stages.float_run import RealMachine, spread
from synapcc.gen.target.boards import Board, Region, load_board
from synapcc.host.pages import footprint
from synapcc.host.pages.facts import ranges
from synapcc.host.pages.timeline import moments, timeline
from synapcc.host.run.emulator import Emulator

MODELS = 40
MORE = "[store]\nsamples = 8\n[replay]\nsamples = 6\nevery = 2\n"


@pytest.fixture(scope="module")
def models() -> list[Compiled]:
    return [c for c, _ in accepted(ANY, MODELS)]


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Compiled:
    c = case(tmp_path_factory.mktemp("timeline"), more=MORE)
    return compile_model(c.model, c.rule, c.data, "mps2_an386")


def shares_bytes(plan: Plan, a: str, b: str) -> bool:
    x, y = plan[a], plan[b]
    return x.offset < y.offset + y.nbytes and y.offset < x.offset + x.nbytes


def test_nothing_that_lives_is_overwritten(models: list[Compiled]) -> None:
    """Two tensors alive in one step share no byte, but for the operand and the result of one step."""
    pairs = 0
    for c in models:
        for entry in c.plan.entries:
            for m in moments(c.plan, entry):
                shared = [{*pair} for pair in [*inplace(m.step), trailing(m.step)] if pair]
                for a, b in itertools.combinations(sorted(m.alive), 2):
                    pairs += 1
                    assert not shares_bytes(c.plan, a, b) or {a, b} in shared, (c.plan.model, a, b)
    assert pairs > 1000


def test_whatever_a_step_touches_is_alive(models: list[Compiled]) -> None:
    for c in models:
        arena = {t.name for t in c.plan.space("arena")}
        for entry in c.plan.entries:
            for m in moments(c.plan, entry):
                assert arena & set(m.step.args.values()) <= m.alive


def test_an_inference_runs_these_steps(models: list[Compiled]) -> None:
    for c in models:
        ran: dict[tuple[str, int], Step] = {}  # the body of a repetition once, as moments have it

        def after(name: str, position: int, plan: Plan = c.plan, ran: dict[Any, Step] = ran) -> None:
            item = plan.programs[name].items[position]
            assert isinstance(item, Step)
            ran.setdefault((name, position), item)

        Emulator(c.plan).run("infer", after=after)
        assert [m.step for m in moments(c.plan, "infer")] == [*ran.values()]


def test_spans_and_bytes_are_those_of_the_moments(compiled: Compiled) -> None:
    plan = compiled.plan
    for entry in plan.entries:
        line, trace = timeline(plan, entry), moments(plan, entry)
        spans = {a["tensor"]: a["spans"] for a in line["arena"]}
        for i, m in enumerate(trace):
            assert {n for n, s in spans.items() if any(a <= i <= b for a, b in s)} == m.alive
            covered = np.zeros(plan.arena_bytes, bool)
            for name in m.alive:
                covered[plan[name].offset : plan[name].offset + plan[name].nbytes] = True
            assert line["steps"][i]["bytes"] == covered.sum() <= plan.arena_bytes
    times = {s["times"] for s in timeline(plan, "rehearse")["steps"]}
    assert times == {1, 8}


def test_every_byte_has_a_layer_and_a_kind(models: list[Compiled]) -> None:
    for c in models:
        rows = footprint.network(c)
        total = sum(n for x in rows for n in x["bytes"].values())
        flash = stored(c.plan, c.kernel_set)
        assert total == sum(
            t.nbytes for t in (*flash.constants, *c.plan.space("state"), *c.plan.space("arena"))
        )
        assert sum(x["flash"] for x in rows) == sum(
            footprint.memory(c.plan, c.kernel_set)[k] for k in ("constants", "initial_state")
        )
        assert sum(x["ram"] for x in rows) == sum(t.nbytes for t in c.plan.space("state"))
        assert [x["node"] for x in rows][: len(c.graph.nodes)] == [n.name for n in c.graph.nodes]


def test_kinds_follow_use(compiled: Compiled) -> None:
    kinds = footprint.kinds(compiled.plan)
    assert kinds["fc1_weight"] == kinds["fc2_bias"] == "weights" and kinds["fc2_feedback"] == "feedback"
    assert kinds["store_input"] == kinds["replay_input"] == kinds["replay_label"] == "samples"
    assert kinds["fc1"] == "activations" and kinds["error"] == "teaching" and kinds["step"] == "other"


@pytest.mark.parametrize("region", ["flash", "ram"])
def test_the_budget_is_what_the_compiler_asks_for(compiled: Compiled, region: str, tmp_path: Path) -> None:
    """A board with as much compiles, a board with a byte less does not."""
    board = load_board("mps2_an386")
    found = footprint.budget(compiled.plan, board, compiled.kernel_set)
    assert found
    parts = {k: v for k, v in found[region].items() if k not in ("size", "needs")}
    assert sum(parts.values()) == found[region]["needs"] and found[region]["size"] == 0x400000
    c = case(tmp_path, more=MORE)
    assert compile_model(c.model, c.rule, c.data, sized(board, region, found[region]["needs"])).plan
    with pytest.raises(CompileError, match="1 too many"):
        compile_model(c.model, c.rule, c.data, sized(board, region, found[region]["needs"] - 1))


def sized(board: Board, region: str, size: int) -> Board:
    fitted = Region(getattr(board, region).origin, size)
    return replace(board, flash=fitted) if region == "flash" else replace(board, ram=fitted)


def test_without_a_board_there_is_no_budget(compiled: Compiled) -> None:
    assert footprint.budget(compiled.plan, None, compiled.kernel_set) is None


def test_ranges_are_what_calibration_saw(compiled: Compiled) -> None:
    machine = RealMachine(compiled.abstract.values, compiled.abstract.programs, 60, shared=True)
    machine.load({"input": compiled.calibration["input"]})
    seen: dict[str, np.ndarray] = {}
    for turn in range(3):
        label = (compiled.calibration["label"].astype(int) + turn) % 3
        machine.load({"label": label[:, None]})
        machine.run("infer")
        machine.run("adapt")
        for name in machine.arena:
            seen[name] = np.concatenate(
                [seen.get(name, np.zeros((0, 1))).ravel(), machine.real(name).ravel()]
            )
    found = {x["tensor"]: x for x in ranges(compiled)}
    assert {"input", "fc1", "relu1", "fc2", "error", "relu1_input_teach"} <= set(found)
    for name, x in found.items():
        assert x["seen"] == pytest.approx([seen[name].min(), seen[name].max()], rel=1e-12)
        t = compiled.plan[name]
        assert x["holds"] == [t.lo / 2**t.frac, t.hi / 2**t.frac]
        scaled = np.rint(seen[name] * 2.0**t.frac)
        assert x["clipped"] == np.mean((scaled < t.lo) | (scaled > t.hi)) and x["aside"] == 0
    assert found["input"]["seen"] == [float(arrays()["input"].min()), float(arrays()["input"].max())]
    assert found["fc1"]["shares"] == "relu1" and found["relu1"]["shares"] == ""


def test_clipped_values_are_counted(tmp_path: Path) -> None:
    """One value far beyond the others costs less clipped than a coarser format for all."""
    c, data = case(tmp_path, sizes=(12, 8, 3)), arrays(4000)
    data["input"] = np.clip(data["input"], -0.9, 0.9)
    data["input"][0, 0] = 2.5
    found = next(x for x in ranges(compile_model(c.model, c.rule, data)) if x["tensor"] == "input")
    used = data["input"][spread(4000)]
    count = np.sum(np.abs(used) > found["holds"][1] + 2.0 ** -int(found["q"][1:]) / 2)
    assert found["clipped"] == count / used.size > 0
