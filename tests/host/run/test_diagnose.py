"""Diagnostics of learning: angles from backpropagation, dead updates, saturations; nothing is disturbed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx_models as om
import pytest
from onnx.reference import ReferenceEvaluator
from projects import Case, arrays, case, compiled, refusal, save, write_rule
from random_nets import ANY, accepted

from synapcc.gen.errors import SynapccError
from synapcc.gen.ir.program import Step
from synapcc.gen.ops import kernels
from synapcc.gen.stages import choose, looks, room
from synapcc.host.cli import main
from synapcc.host.run.diagnose import Diagnosis, angle
from synapcc.host.run.emulator import Emulator
from synapcc.host.run.network import read_network
from synapcc.host.run.plans import read_plan
from synapcc.host.run.samples import Samples, load_samples

Capsys = pytest.CaptureFixture[str]
WIDE = (12, 64, 3)


def diagnosed(folder: Path, *args: Any, **kwargs: Any) -> tuple[Diagnosis, Samples]:
    return diagnose(case(folder, *args, **kwargs), folder / "out")


def diagnose(c: Case, out: Path) -> tuple[Diagnosis, Samples]:
    """A case compiled to `out`, and what its rule does to its samples."""
    assert main(c.words(out)) == 0
    plan = read_plan(out)
    samples = load_samples(plan, c.data, labels=True)
    diagnosis = Diagnosis(plan, read_network(out, plan), json.loads((out / "report.json").read_text()))
    diagnosis.learn(samples)
    return diagnosis, samples


def by_layer(found: dict[str, Any]) -> dict[str, Any]:
    return {x["layer"]: x for x in found["layers"]}


# ---- angles -------------------------------------------------------------------------------------------


def test_angle() -> None:
    x, y = np.array([[1.0, 0.0]]), np.array([[1.0, 1.0]])
    assert angle(x, 3 * x) == 0.0 and angle(x, -x) == 180.0
    assert angle(x, y) == pytest.approx(45.0)
    assert np.isnan(angle(x, 0 * x))


def fitting(folder: Path, weights: str, more: str, seed: int) -> dict[str, Any]:
    """What is found of `bp` where the network fits its data: labels are its own verdicts, and it is sure."""
    model = om.save(om.mlp((12, 64, 24, 3), seed=seed, scale=1.25), folder)
    data = arrays()
    scores = np.asarray(ReferenceEvaluator(str(model)).run(None, {"input": data["input"]})[0])
    data["label"] = scores.argmax(axis=1)
    c = Case(model, write_rule(folder / "rule.toml", "bp", weights, more), save(folder / "data.npz", data))
    return diagnose(c, folder / "out")[0].to_dict()


@pytest.mark.parametrize("weights", ["int16", "int8"])
def test_backpropagation_is_close_to_itself(
    weights: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is left is int8 activations: a unit that rounds to zero is off for the chip alone.

    No room is left for growth, which would take a bit of them, and no formats are chosen for the answers,
    which may take some more: the networks have learned already, and answer as in float. How often a
    unit lies near zero differs from start to start, so the mean is that of several.
    """
    grown: list[object] = []
    monkeypatch.setattr(looks, "grown", lambda *given: grown.append(room.grown(*given)))
    monkeypatch.setattr(choose, "LEAST", len(arrays()["input"]) + 1)
    more = '[loss]\nkind = "hinge"\n' if weights == "int8" else ""
    means = []
    for seed in range(4):
        folder = tmp_path / str(seed)
        folder.mkdir()
        found = fitting(folder, weights, more, seed)
        assert [x["layer"] for x in found["layers"]] == ["fc1", "fc2", "fc3"]
        assert all(x["angle"]["first"] < 20 for x in found["layers"]), found
        means.append([x["angle"]["mean"] for x in found["layers"]])
    assert np.all(np.mean(means, axis=0) < 10), means
    assert grown == [None] * 4


@pytest.mark.parametrize("weights", ['"balanced"', '[1, "2^-2", 0.5]'])
def test_backpropagation_hears_the_same_error(weights: str, tmp_path: Path) -> None:
    """Weighed and clipped as the Plan has it: what the report says of it may be a word."""
    more = f'[loss]\nclass_weights = {weights}\nclip = 0.25\nskip_below = "2^-6"\n'
    found = fitting(tmp_path, "int16", more, 1)
    assert all(x["angle"]["first"] < 20 for x in found["layers"]), found


def test_aligned_feedback_begins_as_backpropagation(tmp_path: Path) -> None:
    for rule in ("hebbian", "fa"):
        found = diagnosed(tmp_path / rule, rule, more='[feedback]\ninit = "aligned"\n', sizes=WIDE)[
            0
        ].to_dict()
        assert by_layer(found)["fc1"]["angle"]["first"] < 10


def test_random_feedback_begins_at_right_angles(tmp_path: Path) -> None:
    firsts = []
    for seed in range(3):
        found = diagnosed(tmp_path / str(seed), "dfa", more=f"seed = {seed}\n", sizes=WIDE)[0].to_dict()
        layers = by_layer(found)
        assert layers["fc2"]["angle"]["first"] < 5  # the error itself
        firsts += [point["angle"] for point in layers["fc1"]["curve"][:5]]
    assert abs(np.mean(firsts) - 90) < 15 and np.min(firsts) > 50


@pytest.mark.parametrize("rule", ["spsa", "es", "prototype"])
def test_what_has_no_products_is_refused(rule: str, tmp_path: Path, capsys: Capsys) -> None:
    c, out = compiled(tmp_path, rule)
    said = refusal(["inspect", str(out), "--learn", str(c.data)], capsys)
    assert f"learns by rule {rule}" in said and "emulate --learn" in said


# ---- counts -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("trials", [1, 5])
@pytest.mark.parametrize("replay", ["", "[replay]\nsamples = 6\nevery = 2\n"])
def test_a_trial_is_no_step(trials: int, replay: str, tmp_path: Path) -> None:
    """A sample is one learning step and so is a replayed one, however often forward runs in it."""
    more = f'layers = "all"\n{replay}[options]\ntrials = {trials}\n'
    diagnosis, samples = diagnosed(tmp_path, "hybrid", more=more, sizes=WIDE)
    found = diagnosis.to_dict()
    assert found["steps"] == int(diagnosis.emulator["step"][0, 0]) == len(samples) * (3 if replay else 2) // 2
    layer = found["layers"][-1]
    assert len(diagnosis.layers[layer["layer"]].angle) == found["steps"] and layer["products"] > 0
    assert layer["angle"]["first"] < 5  # the error itself, taken before anything moved


def test_dead_updates_are_counted(tmp_path: Path) -> None:
    """Against the same count made of the update's definition."""
    more = 'rounding = "nearest"\n'
    diagnosis, samples = diagnosed(tmp_path, "bp", "int8", more, sizes=WIDE)
    plan = diagnosis.plan
    dead, moved = dict.fromkeys(("fc1", "fc2"), 0), dict.fromkeys(("fc1", "fc2"), 0)
    machine = Emulator(plan)

    def after(program: str, position: int) -> None:
        step = plan.programs[program].items[position]
        assert isinstance(step, Step)
        if step.kernel == "dense.update":
            x, d = (machine[step.args[r]][0].astype(np.int64) for r in ("x", "d"))
            p, s = np.outer(d, x), step.attrs["shift"]
            dead[step.node] += np.count_nonzero((p != 0) & ((p + (1 << s - 1)) >> s == 0))
            moved[step.node] += np.count_nonzero(p)

    assert samples.labels is not None
    for i in range(len(samples)):
        machine.load(samples.one(i), samples.labels[i : i + 1])
        machine.run("learn", after=after)
    found = by_layer(diagnosis.to_dict())
    assert not any(machine[f"{n}_saturated"][0, 0] for n in dead), "limits would make the counts differ"
    for name in dead:
        assert found[name]["products"] == moved[name] > 0
        assert 0 < found[name]["dead"] == dead[name] / moved[name]


def test_changes_that_add_up_are_the_same_changes(tmp_path: Path) -> None:
    """Of a first sample the products are what they are without; a sum loses none of them."""
    added = diagnosed(tmp_path / "added", "bp", more="[accumulate]\nsamples = 4\n", sizes=WIDE)[0]
    plain = by_layer(diagnosed(tmp_path / "plain", "bp", sizes=WIDE)[0].to_dict())
    for name, found in by_layer(added.to_dict()).items():
        assert found["angle"]["first"] == pytest.approx(plain[name]["angle"]["first"])
        assert found["angle_stored"] == found["angle"]
        assert found["dead"] == 0 and found["products"] > 0


def test_saturations_are_the_counters(tmp_path: Path) -> None:
    more = "headroom = 1.0\n[feedback]\ngain = 8\n"
    found = diagnosed(tmp_path, "fa", "int8", more.replace("headroom", "seed = 4\nheadroom"))[0]
    told = found.to_dict()
    held = {x["layer"]: x["saturated"] for x in told["layers"]}
    assert held == {n: int(found.emulator[f"{n}_saturated"][0, 0]) for n in ("fc1", "fc2")}
    assert sum(held.values()) > 0 and sum(x["at_limits"] for x in told["tensors"]) > 0


@pytest.mark.parametrize("terms", ["-rate*teach*pre", "-rate*teach*pre - 2^-16*W"])
def test_equations_are_diagnosed_as_the_rule_that_they_say(tmp_path: Path, terms: str) -> None:
    """Of statements as of updates: the angle is that of what they change by, whatever else they forget."""
    c = case(tmp_path, "bp")
    want = diagnose(c, tmp_path / "bp")[0].to_dict()
    said = f'rate = "2^-6"\nupdate.weight = "{terms}"\nteach.hidden = "(W.T@next)*df(z)"\n'
    c.rule.write_text(said)
    found = diagnose(c, tmp_path / "own")[0].to_dict()
    assert [x["layer"] for x in found["layers"]] == [x["layer"] for x in want["layers"]] == ["fc1", "fc2"]
    for x, y in zip(found["layers"], want["layers"], strict=True):
        assert x["angle"]["first"] == pytest.approx(y["angle"]["first"], abs=2.0)
        assert x["products"] > 0 and x["saturated_share"] == y["saturated_share"] == 0.0


def test_a_feedback_matrix_that_learns_is_no_layer(tmp_path: Path) -> None:
    """Its statement changes what no layer runs forward with: backpropagation knows nothing of it."""
    c = case(tmp_path, "bp")
    own = "-rate*sign(teach)*pre - 2^-10*{}"
    c.rule.write_text(
        f'rate = "2^-6"\nupdate.weight = "{own.format("W")}"\nupdate.feedback = "{own.format("R")}"\n'
        'teach.hidden = "(R.T@next)*df(z)"\n'
    )
    found = diagnose(c, tmp_path / "own")[0].to_dict()
    assert [x["layer"] for x in found["layers"]] == ["fc1", "fc2"]
    assert all(x["products"] > 0 for x in found["layers"])


def test_steps_without_an_error_are_told(tmp_path: Path) -> None:
    """A hinge error is zero once a sample is right by the margin; replayed samples are steps too."""
    more = '[loss]\nkind = "hinge"\nmargin = 0.3\n[replay]\nsamples = 6\nevery = 2\n'
    found = diagnosed(tmp_path, "bp", more=more)[0].to_dict()
    assert found["samples"] == 60 and found["steps"] == 90
    assert 0 < found["without_error"] < 90
    for x in found["layers"]:
        assert x["idle_steps"] >= found["without_error"] and x["curve"][-1]["step"] == 90


def test_nothing_is_disturbed_on_random_networks() -> None:
    steps, kinds = 0, set[str]()
    for made, seed in accepted(ANY, 35):
        plan, rng = made.plan, np.random.default_rng([5, seed])
        if not any(s.kernel.endswith(".update") for _, _, s in plan.ops()) or "learn" not in plan.entries:
            continue
        x = {n: rng.integers(-128, 128, (6, plan[n].shape[0])).astype(np.int8) for n in plan.inputs}
        samples = Samples(x, rng.integers(0, plan.classes, 6).astype(np.uint8))
        if any(s.kernel.startswith("gates.") for _, _, s in plan.ops()):
            with pytest.raises(SynapccError, match="through time or below it"):
                Diagnosis(plan, made.graph, {"rule": made.spec.to_dict()})
            continue
        diagnosis = Diagnosis(plan, made.graph, {"rule": made.spec.to_dict()})
        diagnosis.learn(samples)
        machine = Emulator(plan)
        assert samples.labels is not None
        for i in range(len(samples)):
            machine.learn(samples.one(i), samples.labels[i : i + 1])
        assert machine.state.tobytes() == diagnosis.emulator.state.tobytes(), seed
        json.dumps(diagnosis.to_dict(), allow_nan=False)
        steps += diagnosis.steps
        kinds |= {s.kernel for _, _, s in plan.ops() if s.kernel.endswith(".update")}
    assert steps > 100 and kinds == {k for k in kernels() if k.endswith(".update")}


# ---- the command --------------------------------------------------------------------------------------


def test_the_command(tmp_path: Path, capsys: Capsys) -> None:
    c, out = compiled(tmp_path)
    capsys.readouterr()
    assert main(["inspect", str(out), "--learn", str(c.data), "--json", str(tmp_path / "d.json")]) == 0
    said = capsys.readouterr().out
    assert "rule hebbian: 60 samples, 60 steps" in said and "angle first" in said
    assert main(["inspect", str(out), "--learn", str(c.data), "--json", "-"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told == json.loads((tmp_path / "d.json").read_text())
    assert set(told) == {
        "schema", "model", "digest", "rule", "samples", "steps", "without_error", "layers", "tensors",
        "clipped", "warning",
    }  # fmt: skip
    assert set(told["layers"][0]) == {
        "layer", "weights", "saturated", "saturated_share", "idle_steps", "products", "dead", "angle",
        "angle_stored", "curve",
    }  # fmt: skip
    assert told["layers"][0]["weights"] == 8 * 12 and len(told["layers"][0]["curve"]) == 60


def test_what_cannot_be_diagnosed(tmp_path: Path, capsys: Capsys) -> None:
    c, out = compiled(tmp_path / "a")
    with np.load(c.data) as z:
        bare = save(tmp_path / "bare.npz", {"input": z["input"]})
    words = ["inspect", str(out), "--learn"]
    assert "label is missing" in refusal([*words, str(bare)], capsys)
    assert "there is no folder" in refusal([*words, str(c.data), "--json", str(tmp_path / "x" / "d")], capsys)
    (out / "network.onnx").unlink()
    assert "network.onnx: there is no such file" in refusal([*words, str(c.data)], capsys)
    report = json.loads((out / "report.json").read_text())
    (out / "report.json").write_text(json.dumps(report | {"rule": {**report["rule"], "loss": {"what": 1}}}))
    assert "is no report of this Plan" in refusal([*words, str(c.data)], capsys)
    (out / "report.json").unlink()
    assert "has no report.json" in refusal([*words, str(c.data)], capsys)
    fixed = case(tmp_path / "b")
    fixed.rule.write_text('rule = "none"\n')
    assert main(fixed.words(tmp_path / "b" / "out")) == 0
    words = ["inspect", str(tmp_path / "b" / "out"), "--learn", str(fixed.data)]
    assert "inference only" in refusal(words, capsys)
