"""The report of a compilation: what it claims, against the Plan and another way of computing it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from projects import Case, arrays, case

from synapcc.gen.compile import Compiled, compile_model
from synapcc.gen.ir.plan import Plan
from synapcc.gen.ir.program import Repeat, Step
from synapcc.gen.spec import RuleSpec
from synapcc.host.pages.facts import costs, measure, memory, program_text, summary
from synapcc.host.pages.timeline import timeline
from synapcc.host.run.emulator import Emulator

MORE = "[store]\nsamples = 8\n[replay]\nsamples = 6\nevery = 2\n"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Case:
    return case(tmp_path_factory.mktemp("report"), more=MORE)


@pytest.fixture(scope="module")
def compiled(files: Case) -> Compiled:
    return compile_model(files.model, files.rule, files.data, "mps2_an386")


def test_memory_adds_up(compiled: Compiled) -> None:
    plan = compiled.plan
    m = memory(plan)
    assert m["state"] == plan.state_bytes >= sum(t.nbytes for t in plan.space("state"))
    assert m["arena"] == plan.arena_bytes and m["of_which_samples"] == 8 * (12 + 1)
    assert m["constants"] == sum(len(t.data or b"") for t in plan.space("const"))
    assert m["initial_state"] <= m["state"]


def test_layers_are_measured_on_the_calibration_data(compiled: Compiled) -> None:
    report = measure(compiled)
    layers = {x["output"]: x for x in report["layers"]}
    logits = layers[compiled.plan.logits]
    machine = Emulator(compiled.plan, 60, read_only=True)
    _, _, scores = machine.infer({"input": arrays()["input"]})
    weight = {t.name: np.asarray(t.value) for t in compiled.graph.tensors.values() if t.value is not None}
    hidden = np.maximum(arrays()["input"] @ weight["fc1_weight"].T + weight["fc1_bias"], 0)
    want = hidden @ weight["fc2_weight"].T + weight["fc2_bias"]
    error = np.sqrt(np.mean((scores * logits["scale"] - want) ** 2))
    assert logits["rms_error"] == pytest.approx(error, rel=1e-6) and 0 < error < 0.1 * logits["rms"]
    assert logits["headroom"] == pytest.approx(logits["range"][1] * logits["scale"] / np.abs(want).max())
    assert report["calibration"]["samples"] == 60 and report["calibration"]["same_class_as_float"] > 0.9
    assert all(0 <= x["saturated"] < 0.02 for x in report["layers"])


def test_a_model_for_inference_alone_is_measured_too(files: Case) -> None:
    """Measuring the layers runs them again, over the bytes of the verdict: that read as 0 % agreement."""
    report = measure(compile_model(files.model, RuleSpec("none"), files.data))
    assert report["calibration"]["same_class_as_float"] > 0.9


def test_saturation_that_calibration_shows_is_told(files: Case) -> None:
    data = arrays()
    data["input"][0] = 50 * np.sign(data["input"][0])
    report = measure(compile_model(files.model, files.rule, data))
    assert max(x["rms_error"] for x in report["layers"]) > 0


def test_every_learned_tensor_and_every_proof_is_there(compiled: Compiled) -> None:
    report = measure(compiled)
    learned = {x["tensor"]: x for x in report["learning"]}
    for name in ("fc1_weight", "fc1_bias", "fc2_weight", "fc2_bias", "fc2_feedback"):
        t = compiled.plan[name]
        assert learned[name]["limit"] == t.hi and learned[name]["dtype"] == t.dtype
        assert learned[name]["headroom"] is None or learned[name]["headroom"] >= 1
    sums = {(s.node, s.kernel) for _, _, s in compiled.plan.ops() if s.kernel.startswith("dense.")}
    assert sums <= {(x["node"], x["kernel"]) for x in report["proofs"]} and len(sums) == 4
    assert all(0 <= x["used"] <= 1 and x["lo"] <= x["hi"] for x in report["proofs"])


def macs(plan: Plan, program: str) -> int:
    """The multiply-accumulates of a program by walking it, repeats included."""
    total = 0
    for item in plan.programs[program].items:
        if isinstance(item, Step):
            w = (
                plan[item.args["w"]].shape
                if "w" in item.args
                else plan[item.args["m"]].shape
                if "m" in item.args
                else ()
            )
            total += int(np.prod(w)) if item.kernel.startswith(("dense.", "project.")) else 0
        else:
            total += macs(plan, item.program) * (item.times if isinstance(item, Repeat) else 1)
    return total


def test_costs_are_those_of_the_programs(compiled: Compiled) -> None:
    found = {c["program"]: c for c in costs(compiled.plan)}
    assert list(found) == list(compiled.plan.entries)
    assert found["infer"]["macs"] == 12 * 8 + 8 * 3
    for entry in compiled.plan.entries:
        assert found[entry]["macs"] == macs(compiled.plan, entry)
    assert found["rehearse"]["macs"] > 7 * found["learn"]["macs"] / 2


def test_copies_that_take_turns_cost_as_one(tmp_path: Path) -> None:
    """A step runs one copy of what learns, and a step more for each asks whose turn it is."""
    plans = [
        compile_model(c.model, c.rule, arrays()).plan
        for c in (case(tmp_path / "a"), case(tmp_path / "b", more="[schedule]\nat = [3, 5, 9]\n"))
    ]
    plain, paced = (costs(plan)[1] for plan in plans)
    assert plain["program"] == paced["program"] == "learn"
    assert [plain[k] for k in ("macs", "reads", "writes")] == [paced[k] for k in ("macs", "reads", "writes")]
    assert paced["slices"] == plain["slices"] + 4
    by_layer = [
        sum(s["macs"] * s["times"] for s in timeline(plan, "learn")["steps"] if not s["other"])
        for plan in plans
    ]
    assert by_layer == [plain["macs"], plain["macs"]]


def test_a_report_is_json_and_text_without_surprises(compiled: Compiled) -> None:
    report = measure(compiled)
    assert json.loads(json.dumps(report, allow_nan=False)) == json.loads(json.dumps(measure(compiled)))
    text = summary(report)
    assert "rule hebbian" in text and "fc1" in text and "proven sum" in text and "nan" not in text
    listed = program_text(compiled.plan)
    assert (
        "learn (entry)" in listed and "repeat 8 rehearse_next" in listed and "when taught correct" in listed
    )


def test_constant_networks_and_dead_layers_have_reports_too(tmp_path: Path) -> None:
    """Zero weights, zero inputs, one sample: no division by nothing."""
    c = case(tmp_path)
    data = {"input": np.zeros((1, 12), np.float32), "label": np.zeros(1, int)}
    report = measure(compile_model(c.model, c.rule, data))
    json.dumps(report, allow_nan=False)
    assert summary(report)
