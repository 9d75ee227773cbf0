"""Random networks under random rule files: emitted C at every optimisation level against the emulator."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from counts import ONE_TOOLCHAIN
from ctools import UNDEFINED, ChipBatch, HostBatch
from play import play
from random_nets import accepted, random_calibration, random_graph, random_spec

from synapcc.gen import numeric
from synapcc.gen.compile import compile_model
from synapcc.gen.errors import CompileError
from synapcc.gen.ir.format import PowerOfTwo
from synapcc.gen.ir.plan import Plan
from synapcc.gen.ir.program import Step
from synapcc.gen.rules import rules
from synapcc.gen.spec import INFERENCE_ONLY, Feedback, Loss
from synapcc.host.run.emulator import Emulator

SETTINGS = {
    "O0": ("ref", "-O0"),
    "O2": ("ref", "-O2"),
    "Os": ("ref", "-Os"),
    "sanitized": ("ref", "-O0", *UNDEFINED),
    "dsp": ("dsp", "-O0", *UNDEFINED),
}
PER_BATCH = 16  # of each setting; test-long plays thousands
LONG = 2000


def play_all(first: int, count: int, folder: Path, kernels: str, *flags: str) -> int:
    models = list(accepted(first, count))
    batch = HostBatch([c.plan for c, _ in models], folder, *flags, kernels=kernels)
    try:
        return sum(play(batch, i, seed) for i, (_, seed) in enumerate(models))
    finally:
        batch.close()


@pytest.mark.parametrize(
    "setting", [pytest.param(s, marks=pytest.mark.long) if s in ("O0", "O2", "Os") else s for s in SETTINGS]
)
def test_random_models_on_this_computer(setting: str, tmp_path: Path) -> None:
    first = 1000 * list(SETTINGS).index(setting)
    assert play_all(first, PER_BATCH, tmp_path, *SETTINGS[setting]) >= 8 * PER_BATCH


@pytest.mark.parametrize("kernels", [pytest.param("ref", marks=pytest.mark.long), "dsp"])
@pytest.mark.parametrize("toolchain", ONE_TOOLCHAIN)
def test_random_models_on_the_virtual_m4(toolchain: str, kernels: str, tmp_path: Path) -> None:
    count = 6
    models = list(accepted(10_000, count))
    batch = ChipBatch([c.plan for c, _ in models], tmp_path, toolchain, kernels)
    assert sum(play(batch, i, seed) for i, (_, seed) in enumerate(models)) >= 8 * count


@pytest.mark.long
@pytest.mark.parametrize("part", range(LONG // 40))
def test_many_random_models(part: int, tmp_path: Path) -> None:
    setting = list(SETTINGS)[part % len(SETTINGS)]
    assert play_all(100_000 + 100 * part, 40, tmp_path, *SETTINGS[setting]) >= 320


OF_FILES = (
    "choice.",
    "curve16.",
    "div.",
    "div16.",
    "lookup.",
    "matmul16.",
    "pointwise16.",
    "root16.",
    "softmax16.",
    "squared_difference.",
    "unit_length.",
)
"""Kernels of .tflite files alone: test_lite_files.py and test_wide_files.py draw their random networks."""
OF_EQUATIONS = ("statement.", "statement2d.")
"""Those of rules in a rule file: tests/gen/equations."""
OF_FRONTS = (
    *("signal.", "filter.", "ring.", "lead_off.", "logarithm.", "power.", "ratio.", "resample.", "spectrum."),
    *("beat.", "event.", "pending.", "qrs.", "sums."),
)
"""Those of front ends: tests/gen/frontends."""
RARE = "matmul.feedback_right"
"""In less than one of 700: tests/gen/ops/test_matmul_learned.py has it."""


@pytest.mark.long
def test_the_random_models_reach_every_kernel_and_rule() -> None:
    """Otherwise a green run would say nothing about what was left out."""
    from synapcc.gen.ops import kernels

    files = {k for k in kernels() if k.startswith((*OF_FILES, *OF_EQUATIONS, *OF_FRONTS))}
    left: set[object] = (set(kernels()) - files - {RARE}) | {*rules(), INFERENCE_ONLY, -128, "int8", "int16"}
    left |= {*numeric.Rounding.NAMES}
    for c, _ in accepted(0, 300):
        left -= {step.kernel for _, step in c.abstract.steps()}
        left -= {c.spec.rule, c.spec.weights, c.spec.rounding}
        left -= {t.meaning.zero for t in c.plan.tensors if isinstance(t.meaning, PowerOfTwo)}
        if not left:
            break
    assert not left, f"never drawn: {left}"


# ---- what rules promise -------------------------------------------------------------------------------


def variants(
    first: int, change: list[dict[str, object]], count: int, **fixed: object
) -> Iterator[list[Plan]]:
    """Plans of the same network, calibration and rule file but for `change`, where all of them compile."""
    found, seed = 0, first
    while found < count:
        rng = np.random.default_rng([20240611, seed])
        graph = random_graph(rng, f"m{seed}")
        spec = replace(random_spec(rng, graph), **fixed)  # type: ignore[arg-type]
        calibration = random_calibration(rng, graph)
        seed += 1
        assert seed < first + 40 * count
        try:
            plans = [compile_model(graph, replace(spec, **c), calibration).plan for c in change]  # type: ignore[arg-type]
        except CompileError:
            continue
        found += 1
        yield plans


def learn_together(plans: list[Plan], steps: int, seed: int) -> list[Emulator]:
    machines = [Emulator(p) for p in plans]
    rng = np.random.default_rng(seed)
    for _ in range(steps):
        inputs = {
            n: rng.integers(-128, 128, (1, plans[0][n].shape[0])).astype(np.int8) for n in plans[0].inputs
        }
        label = int(rng.integers(plans[0].classes))
        for machine in machines:
            machine.learn(inputs, [label])
    return machines


def learned(plan: Plan) -> list[str]:
    return [
        t.name
        for t in plan.space("state")
        if t.role in ("weight", "bias") and not t.name.endswith("_feedback")
    ]


@pytest.mark.parametrize("rule", ["dfa", "fa"])
@pytest.mark.parametrize("init", ["random", "ternary"])
def test_generated_feedback_is_stored_feedback(rule: str, init: str) -> None:
    change: list[dict[str, object]] = [
        {"feedback": Feedback(init, storage)} for storage in ("flash", "generated")
    ]
    used = changed = 0
    for seed, plans in enumerate(variants(2000, change, 8, rule=rule, layers="all", rates=())):
        stored, generated = learn_together(plans, 12, seed)
        used += any(step.kernel == "project.generated" for _, _, step in plans[1].ops())
        for name in [t.name for t in plans[0].space("state")]:
            assert np.array_equal(stored[name], generated[name]), f"{plans[0].model}: {name}"
            changed += not np.array_equal(stored[name][0], plans[0][name].array())
    assert used >= 3 and changed > 10


def test_hebbian_that_begins_aligned_is_backpropagation() -> None:
    """As long as nothing saturates: weights and feedback then move by the identical product."""
    change: list[dict[str, object]] = [
        {"rule": "bp"},
        {"rule": "hebbian", "feedback": Feedback("aligned", "ram")},
    ]
    compared = twins = 0
    for seed, plans in enumerate(
        variants(3000, change, 30, layers="all", decay=None, headroom=4.0, rate=8, rates=(), weights="int16")
    ):
        bp, hebbian = learn_together(plans, 8, seed)
        if any(hebbian[t.name].any() for t in plans[1].space("state") if t.name.endswith("_saturated")):
            continue
        compared += 1
        for name in learned(plans[0]):
            assert np.array_equal(bp[name], hebbian[name]), f"{plans[0].model}: {name}"
            if f"{name.removesuffix('_weight')}_feedback" in plans[1]:
                twin = name.removesuffix("_weight") + "_feedback"
                assert np.array_equal(hebbian[name], hebbian[twin])
                twins += not np.array_equal(hebbian[twin][0], plans[1][twin].array())
    assert compared >= 10 and twins >= 10


def errors_of(machine: Emulator, samples: list[dict[str, np.ndarray]], label: int) -> int:
    """Learns from the samples; how many of them had an error."""
    count = 0

    def look(program: str, position: int) -> None:
        nonlocal count
        step = machine.plan.programs[program].items[position]
        if isinstance(step, Step) and step.kernel == "hinge_error.forward":
            count += bool(machine[step.args["e"]].any())

    for inputs in samples:
        machine.load(inputs, [label])
        machine.run("learn", after=look)
    return count


@pytest.mark.parametrize("rule", sorted(set(rules()) - {"prototype", "ff"}))  # they learn without one
def test_no_error_changes_nothing_but_counters(rule: str) -> None:
    """A hinge loss whose margins are kept: the last layer is set so that every sample is right by far."""
    checked = 0
    storage = (rules()[rule].storages or ("flash",))[0]
    fixed: dict[str, object] = {
        "rule": rule,
        "layers": "all",
        "loss": Loss("hinge", 0.3),
        "decay": None,
        "replay": None,
        "feedback": Feedback("random", storage),
        "rates": (),
    }
    for plans in variants(4000, [{}], 40, **fixed):
        if checked == 4:
            break
        plan = plans[0]
        last = next(step for _, _, step in reversed(plan.ops()) if step.kernel == "dense.forward")
        if last.args["y"] != plan.logits or plan[last.args["w"]].space != "state":
            continue
        machine = Emulator(plan)
        label = 1
        machine[last.args["w"]][...] = 0
        machine[last.args["b"]][...] = plan[last.args["b"]].lo
        machine[last.args["b"]][:, label] = plan[last.args["b"]].hi
        before = {t.name: machine[t.name].copy() for t in plan.space("state")}
        rng = np.random.default_rng(1)
        samples = [
            {n: rng.integers(-128, 128, (1, plan[n].shape[0])).astype(np.int8) for n in plan.inputs}
            for _ in range(5)
        ]
        if not errors_of(machine, samples, label):
            checked += 1
            changed = {
                t.name for t in plan.space("state") if not np.array_equal(before[t.name], machine[t.name])
            }
            assert "step" in changed and all(
                plan[n].role in ("counter", "label") or plan[n].use == "stored" for n in changed
            ), changed
            assert not any(n.endswith("_saturated") for n in changed)
    assert checked >= 2


# ---- determinism --------------------------------------------------------------------------------------

WRITER = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from random_nets import random_model
from synapcc.gen.target.boards import load_board
from synapcc.gen.emit import render, write
write(render(random_model({seed}).plan, load_board("mps2_an386"), "a test", "a test"), Path("out"))
"""


def folder_digest(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        digest.update(f"{path.relative_to(folder).as_posix()}\0".encode() + path.read_bytes())
    return digest.hexdigest()


def test_two_compilations_write_the_same_bytes(tmp_path: Path) -> None:
    for c, seed in accepted(2, 3):
        digests = []
        for hash_seed, place in (("0", "here"), ("4711", "some where/else")):
            folder = tmp_path / str(seed) / place
            folder.mkdir(parents=True)
            environment = {
                **os.environ,
                "PYTHONHASHSEED": hash_seed,
                "PYTHONPATH": os.pathsep.join(p for p in sys.path if p),
            }
            script = WRITER.format(tests=str(Path(__file__).resolve().parents[1] / "support"), seed=seed)
            subprocess.run([sys.executable, "-c", script], cwd=folder, env=environment, check=True)
            assert (folder / "out" / "plan.json").read_bytes() == c.plan.canonical
            digests.append(folder_digest(folder / "out"))
        assert digests[0] == digests[1]
