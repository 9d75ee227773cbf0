"""Learning in slices, and inferences that interrupt it: nothing of either shows in the other."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from ctools import GET_STATE, INIT, LEARN, SET_STATE, ChipBatch, output_bytes
from play import BUSY, OK, packed
from projects import case, compiled
from random_nets import ANY, Deed, accepted, extreme_state, random_calibration, random_graph, random_spec

from synapcc.gen.compile import compile_model
from synapcc.gen.emit import render_library
from synapcc.gen.emit.fits import least_ram
from synapcc.gen.errors import CompileError, SynapccError
from synapcc.gen.ir.plan import Plan
from synapcc.gen.ir.walk import steps
from synapcc.gen.spec import Arena
from synapcc.gen.stages.plan_file import load_plan
from synapcc.gen.stages.state_check import outside
from synapcc.gen.target.boards import load_board
from synapcc.host.cli import main
from synapcc.host.pages.facts import costs
from synapcc.host.run.emulator import Emulator
from synapcc.host.run.slices import Busy

Rng = np.random.Generator
OWN = "[arena]\nshared = false\n"
FULL = "[store]\nsamples = 5\n[replay]\nsamples = 6\nevery = 2\n[decay]\nshift = 8\nevery = 4\n"


def learners(first: int, count: int, shared: bool) -> list[Plan]:
    """Random models that learn, whose `infer` shares the arena or not."""
    found: list[Plan] = []
    for seed in range(first, first + 40 * count):
        rng = np.random.default_rng([20240611, seed])
        graph = random_graph(rng, f"m{seed}")
        spec = replace(random_spec(rng, graph), arena=Arena(shared))
        try:
            found.append(compile_model(graph, spec, random_calibration(rng, graph)).plan)
        except CompileError:
            continue
        if len(found) == count:
            break
    return found


def sample(plan: Plan, rng: Rng) -> Deed:
    inputs = {n: rng.integers(-128, 128, (1, plan[n].shape[0])).astype(np.int8) for n in plan.inputs}
    return Deed("learn", inputs, int(rng.integers(plan.classes)))


# ---- interrupts ---------------------------------------------------------------------------------------


class Interrupted:
    """Models on the virtual chip, interrupted by inferences while they learn. Made before anything runs."""

    def __init__(self, batch: ChipBatch) -> None:
        self.batch, self.chip = batch, batch.chip
        self.uc, self.arm = self.chip._uc, self.chip._arm
        self.seen: list[int] = []
        self._ran, self._stop = 0, -1
        self.uc.hook_add(4, self._instruction)

    def _instruction(self, *_: object) -> None:
        if self._ran == self._stop:
            self.uc.emu_stop()
        else:
            self._ran += 1

    def learn(self, index: int, deed: Deed, rng: Rng, most: int) -> None:
        """Learns one sample, interrupted before `most` of its instructions, drawn anew each time."""
        plan, m = self.batch.plans[index], self.batch._memory[index]
        before = self.chip.read(m, plan.ram_bytes)
        self._ran = 0
        assert self.batch.ask(index, LEARN, deed.label, packed(plan, deed))[0] == OK
        total = self._ran
        self.chip.write(m, before)
        self._begin(index, deed)
        self._ran = 0
        for stop in np.sort(rng.choice(np.arange(1, total), min(most, total - 1), replace=False)):
            self._go(int(stop))
            ran = self._ran
            self._interrupt(index, rng)
            self._ran = ran
        self._go(-1)

    def _begin(self, index: int, deed: Deed) -> None:
        chip, arm, plan = self.chip, self.arm, self.batch.plans[index]
        chip.write(self.batch._x, packed(plan, deed))
        for register, value in (
            (arm.UC_ARM_REG_R0, self.batch._memory[index]),
            (arm.UC_ARM_REG_R1, self.batch._x),
            (arm.UC_ARM_REG_R2, deed.label),
            (arm.UC_ARM_REG_SP, chip.RAM + chip.RAM_BYTES - 4096),
            (arm.UC_ARM_REG_LR, chip.END | 1),
            (arm.UC_ARM_REG_PC, chip.symbols[f"{plan.model}_learn"] | 1),
        ):
            self.uc.reg_write(register, value)

    def _go(self, stop: int) -> None:
        """On, up to instruction `stop` of this call; -1: to its end."""
        self._stop = stop
        self.uc.emu_start(self.uc.reg_read(self.arm.UC_ARM_REG_PC) | 1, self.chip.END)
        self._stop = -1

    def _interrupt(self, index: int, rng: Rng) -> None:
        """An inference, as an exception would start it; registers come back, and the stack is another."""
        plan, m = self.batch.plans[index], self.batch._memory[index]
        deed, chip = sample(plan, rng), self.chip
        context = self.uc.context_save()
        before = chip.read(m, plan.ram_bytes)
        state = before[: plan.state_bytes]
        x, y = self.batch._x + 0x8000, self.batch._y
        chip.write(x, packed(plan, deed))
        status = chip.call(f"{plan.model}_infer", m, x, y)
        self.seen.append(status)
        assert not outside(plan, state), "a torn element"
        if status == OK:
            answer = chip.read(y, output_bytes(plan))
            want = Emulator(plan)
            want.state[0] = np.frombuffer(state, np.uint8)
            said = want.infer(deed.inputs)
            assert answer[:8] == np.array([said.winner[0], said.margin[0]], "<i4").tobytes()
            assert answer[8 : 8 + 2 * plan.classes] == said.scores[0].astype("<i2").tobytes()
        else:
            assert status == BUSY and chip.read(m, plan.ram_bytes) == before
        self.uc.context_restore(context)


@pytest.mark.parametrize(
    "kernels, shared",
    [
        pytest.param("ref", True, marks=pytest.mark.long),
        ("dsp", False),
        pytest.param("dsp", True, marks=pytest.mark.long),
        pytest.param("ref", False, marks=pytest.mark.long),
    ],
)
def test_an_inference_interrupts_learning_at_any_instruction(
    kernels: str, shared: bool, tmp_path: Path
) -> None:
    """With an arena of its own it answers from the weights as they are just then; else it is refused."""
    plans = learners(33_000, 4, shared)
    batch, rng = ChipBatch(plans, tmp_path, kernels=kernels), np.random.default_rng(4)
    chip = Interrupted(batch)
    for index, plan in enumerate(plans):
        batch.ask(index, INIT)
        machine = Emulator(plan)
        machine.state[0] = np.frombuffer(extreme_state(plan, rng), np.uint8)
        batch.ask(index, SET_STATE, payload=machine.state[0].tobytes())
        for _ in range(2):
            deed = sample(plan, rng)
            chip.learn(index, deed, rng, 40)
            machine.learn(deed.inputs, [deed.label])
            assert batch.ask(index, GET_STATE)[1] == machine.state[0].tobytes(), plan.model
    assert set(chip.seen) <= ({OK, BUSY} if shared else {OK})
    assert not shared or chip.seen.count(BUSY) > 60 * len(plans)


def test_an_arena_of_its_own_changes_no_bit_and_costs_what_is_said(tmp_path: Path) -> None:
    """Plans that differ in `shared` alone live the same life; arenas are as large as they have to be."""
    rng = np.random.default_rng(9)
    pairs = list(zip(learners(34_000, 8, True), learners(34_000, 8, False), strict=True))
    for one, own in pairs:
        assert one.model == own.model and one.digest != own.digest and one.shared and not own.shared
        assert own.infer_arena_bytes <= own.arena_bytes and one.infer_arena_bytes == 0
        ends = [own[n].offset + own[n].nbytes for n in own.of_infer]
        assert max(ends) <= own.infer_arena_bytes < max(ends) + 4
        a, b = Emulator(one), Emulator(own)
        for _ in range(4):
            deed = sample(one, rng)
            a.learn(deed.inputs, [deed.label])
            b.learn(deed.inputs, [deed.label])
            arena = b.arena.copy()
            assert all(
                np.array_equal(p, q) for p, q in zip(a.infer(deed.inputs), b.infer(deed.inputs), strict=True)
            )
            assert np.array_equal(b.arena, arena), "infer left its arena"
        names = {t.name for t in own.space("state")}
        assert all(np.array_equal(a[n], b[n]) for n in names)
        header = render_library(own, "", "", {})[f"{own.model}.h"]
        assert (
            f"_INFER_ARENA_BYTES {own.infer_arena_bytes} " in header
            and "infer_arena" not in render_library(one, "", "", {})[f"{one.model}.h"]
        )
    assert sum(own.infer_arena_bytes < own.arena_bytes for _, own in pairs) > 4, "it could be smaller"


# ---- the emulator's twin -------------------------------------------------------------------------------


def test_slices_are_the_steps_in_their_order_and_leave_the_same_bytes() -> None:
    for c, seed in accepted(ANY, 20):
        plan, rng = c.plan, np.random.default_rng(seed)
        whole, sliced = Emulator(plan), Emulator(plan)
        for program in plan.entries:
            deed = sample(plan, rng)
            for machine in (whole, sliced):
                machine.load(deed.inputs, [deed.label] if "label" in plan else None)
            ran = Counter[tuple[str, int]]()
            whole.run(program, after=partial(_counted, ran))
            sliced.begin(program)
            count = 1
            while sliced.step():
                count += 1
            assert count == max(ran.total(), 1) and not sliced.in_slices
            assert np.array_equal(whole.state, sliced.state) and np.array_equal(whole.arena, sliced.arena)
            at_most = {p["program"]: p["slices"] for p in costs(plan)}
            assert count <= at_most[program]


def _counted(ran: Counter[tuple[str, int]], program: str, position: int) -> None:
    ran[program, position] += 1


@pytest.mark.parametrize("shared", [True, False])
def test_what_may_happen_between_slices(shared: bool) -> None:
    (plan,) = learners(36_000, 1, shared)
    machine, rng = Emulator(plan), np.random.default_rng(1)
    deed = sample(plan, rng)
    with pytest.raises(SynapccError, match="no run in slices is in progress; begin one first"):
        machine.step()
    with pytest.raises(SynapccError, match="no such program"):
        machine.begin("nothing")
    machine.learn_begin(deed.inputs, [deed.label])
    machine.step()
    before = machine.state.copy(), machine.arena.copy()
    refused: list[Callable[[], object]] = [
        lambda: machine.learn(deed.inputs, [0]),
        lambda: machine.learn_begin(deed.inputs, [0]),
        lambda: machine.load(deed.inputs),
        lambda: machine.run("learn"),
        lambda: machine.begin("infer"),
        lambda: machine.run_step("forward", 0),
        lambda: machine.put_state(before[0][0].tobytes()),
    ]
    if shared:
        refused.append(lambda: machine.infer(deed.inputs))
    else:
        machine.infer(deed.inputs)
    for call in refused:
        with pytest.raises(Busy, match="in progress; step until it ends, or abort it"):
            call()
    assert np.array_equal(machine.state, before[0]) and np.array_equal(machine.arena, before[1])
    machine.abort()
    assert not machine.in_slices and np.array_equal(machine.state, before[0])
    machine.learn(deed.inputs, [deed.label])
    machine.learn_begin(deed.inputs, [deed.label])
    machine.reset()
    assert not machine.in_slices


def test_the_longest_slice_is_a_step_that_runs() -> None:
    for c, _ in accepted(ANY, 10):
        for told in costs(c.plan):
            walked = steps(c.plan.programs, told["program"], lambda _, active: active)
            # Of a schedule's copies, alike in size, one runs.
            ran = [step for program, _, step, _ in walked if not program.startswith("correct_")]
            assert told["slices"] == len(ran)
            longest = told["longest_slice"]
            assert (longest["node"], longest["kernel"]) in {(s.node, s.kernel) for s in ran}
            assert longest["macs"] == max(s["macs"] for s in told["steps"])


# ---- rule file, Plan, memory ---------------------------------------------------------------------------


def test_a_plan_whose_infer_could_leave_its_arena_is_refused() -> None:
    drawn = learners(36_000, 8, False)  # of which some change weights in trials alone
    plan = next(p for p in drawn if any("update" in s.kernel for _, _, s in p.ops()))
    j = json.loads(plan.canonical)
    for bad in (3, -4, 4, plan.infer_arena_bytes - 4, plan.arena_bytes + 4, True, None, "8", 1.5):
        text = json.dumps({**j, "infer_arena_bytes": bad}, sort_keys=True, separators=(",", ":")).encode()
        with pytest.raises(SynapccError, match="not a plan"):
            load_plan(text, "plan.json")
    program = next(p for p in j["programs"] if p["name"] == "forward")
    update = next(i for p in j["programs"] for i in p["items"] if "args" in i and "update" in i["kernel"])
    program["items"].append(update)
    text = json.dumps(j, sort_keys=True, separators=(",", ":")).encode()
    with pytest.raises(SynapccError, match=r"outside of infer's arena|changes the state"):
        load_plan(text, "plan.json")


def test_an_arena_of_its_own_is_in_the_budget_and_in_the_report(tmp_path: Path) -> None:
    board = load_board("mps2_an386")
    needs, reports = [], []
    for name, more in (("one", ""), ("own", OWN)):
        c = case(tmp_path / name, more=more)
        assert main(c.words(tmp_path / name / "out", "--board", "mps2_an386")) == 0
        reports.append(json.loads((tmp_path / name / "out" / "report.json").read_text()))
        needs.append(least_ram(compile_model(c.model, c.rule, c.data).plan, board))
        assert reports[-1]["budget"]["ram"]["needs"] == needs[-1]
        parts = reports[-1]["budget"]["ram"]
        assert parts["needs"] == sum(v for k, v in parts.items() if k not in ("size", "needs"))
    extra = reports[1]["memory"]["infer_arena"]
    assert extra > 0 == reports[0]["memory"]["infer_arena"]
    assert needs[1] - needs[0] >= extra and reports[1]["rule"]["arena"] == {"shared": False}
    assert f"{extra} B arena of infer" in (tmp_path / "own" / "out" / "report.txt").read_text()
    assert "longest slice" in (tmp_path / "own" / "out" / "report.html").read_text()


# ---- verify ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("more", [pytest.param("", marks=pytest.mark.long), OWN])
def test_verify_in_slices(more: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    c, out = compiled(tmp_path, more=FULL + more)
    words = [
        "verify",
        str(out),
        "--data",
        str(c.data),
        "--steps",
        "25",
        "--device",
        "process:undefined",
        "--slices",
    ]
    assert main(words) == 0
    assert capsys.readouterr().out.endswith("verify: 25 steps, 0 differing bytes\n")
    source = next(out.glob("lib/*/src/*.c"))
    text = source.read_text()
    at = text.index("}", text.index("static void net_step_tick(net_t *m"))
    source.write_text(f"{text[:at]}    m->state.fc2_weight[3]++;\n{text[at:]}")
    assert main(words) == 1
    said = capsys.readouterr().out
    assert "step 1 (learn): fc2_weight[0][3] expected" in said and "first op that differs" not in said
