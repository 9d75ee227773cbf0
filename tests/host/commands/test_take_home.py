"""What a chip learned goes home and onto another chip: the same bytes and inferences, or one clear line."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_models as om
import pytest
from onnx.reference import ReferenceEvaluator
from projects import Case, arrays, compiled, refusal, save

from synapcc.gen.errors import SynapccError
from synapcc.gen.importers import load_model
from synapcc.gen.ir.plan import Plan
from synapcc.host.cli import main
from synapcc.host.devices import Device, DeviceError, open_device
from synapcc.host.firmware.build import project_board
from synapcc.host.link import state
from synapcc.host.link.client import connect
from synapcc.host.run.emulator import Emulator
from synapcc.host.run.network import adapted, read_network
from synapcc.host.run.plans import read_plan
from synapcc.host.run.samples import load_samples

MORE = "[store]\nsamples = 6\n[decay]\nshift = 8\nevery = 4\n"
Capsys = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> tuple[Case, Path]:
    return compiled(tmp_path_factory.mktemp("project"), more=MORE, sizes=(12, 60, 3))


@pytest.fixture(scope="module")
def pulled(project: tuple[Case, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The three files of a process that learned 60 samples."""
    c, out = project
    folder = tmp_path_factory.mktemp("pulled")
    files = {"npz": folder / "w.npz", "onnx": folder / "w.onnx", "quantised": folder / "q.onnx"}
    words = ["--samples", *(w for kind, path in files.items() for w in (f"--{kind}", str(path)))]
    assert main(["pull", str(out), "--device", "process", "--learn", str(c.data), *words]) == 0
    return files


def test_samples_of_the_wearer_are_kept_only_if_asked_for(
    project: tuple[Case, Path], pulled: dict[str, Path], tmp_path: Path, capsys: Capsys
) -> None:
    """What was learned is the same; the store is empty, and learning goes on from there."""
    plan, file = read_plan(project[1]), tmp_path / "w.npz"
    words = ["pull", str(project[1]), "--state", str(pulled["npz"]), "--npz", str(file)]
    assert main([*words, "--json", str(tmp_path / "w.json")]) == 0
    assert "left out 6 samples of the wearer that the chip keeps: --samples writes" in capsys.readouterr().out
    assert json.loads((tmp_path / "w.json").read_text())["samples"] == {"kept": 6, "written": 0}
    (whole, _), (without, _) = state.load(plan, pulled["npz"]), state.load(plan, file)
    differing = {n for n in whole if not np.array_equal(whole[n], without[n])}
    stored = {t.name for t in plan.space("state") if t.use == "stored"}
    assert stored and stored < differing and all(not without[n].any() for n in differing)
    assert differing - stored <= {"store_next", "store_count", "rehearse_next"}
    assert state.kept_samples(plan, without) == 0
    machine = Emulator(plan)
    machine.state[0] = np.frombuffer(state.joined(plan, without), np.uint8)
    samples = load_samples(plan, project[0].data, labels=True)
    assert samples.labels is not None
    for i in range(7):
        machine.learn(samples.one(i), samples.labels[i : i + 1])
    machine.run("rehearse")
    assert int(machine["store_count"][0, 0]) == 6
    assert main([*words, "--samples"]) == 0
    said = capsys.readouterr().out
    assert f"{file} holds 6 samples of the wearer: treat it as data about a person" in said
    assert file.read_bytes() == pulled["npz"].read_bytes()


def test_what_a_guard_judges_by_is_not_left_out_unsaid(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capsys
) -> None:
    c, out = compiled(tmp_path / "in", more="[guard]\nsamples = 4\nevery = 4\n")
    words = [
        "pull",
        str(out),
        "--device",
        "process",
        "--learn",
        str(c.data),
        "--npz",
        str(tmp_path / "w.npz"),
    ]
    with monkeypatch.context() as patch:  # nothing is learned first, and then lost
        patch.setattr("synapcc.host.commands.pull.open_device", None)
        line = refusal(words, capsys)
    assert line.startswith("net: a guard judges by the samples that it holds back; give --samples")
    assert not (tmp_path / "w.npz").exists()
    assert main([*words, "--samples"]) == 0


def taught(plan: Plan, c: Case) -> Emulator:
    samples = load_samples(plan, c.data, labels=True)
    machine = Emulator(plan)
    assert samples.labels is not None
    for i in range(len(samples)):
        machine.learn(samples.one(i), samples.labels[i : i + 1])
    return machine


# ---- there and back -----------------------------------------------------------------------------------


def test_what_is_pulled_is_what_was_learned(project: tuple[Case, Path], pulled: dict[str, Path]) -> None:
    plan = read_plan(project[1])
    tensors, about = state.load(plan, pulled["npz"])
    machine = taught(plan, project[0])
    assert state.joined(plan, tensors) == machine.state[0].tobytes()
    assert any(np.any(tensors[t.name] != t.array()) for t in plan.space("state"))
    assert (about["device"], about["board"], about["model"]) == ("process", "process", "net")
    assert about["tensors"]["fc1_weight"]["frac"] == plan["fc1_weight"].frac


def test_the_emulators_state_is_the_same_file(
    project: tuple[Case, Path], pulled: dict[str, Path], tmp_path: Path
) -> None:
    (c, out), plan = project, read_plan(project[1])
    words = ["emulate", str(out), "--data", str(c.data), "--learn", "-o", str(tmp_path / "r.npz")]
    assert main([*words, "--state-out", str(tmp_path / "e.npz")]) == 0
    of_chip, of_emulator = (state.load(plan, f)[0] for f in (pulled["npz"], tmp_path / "e.npz"))
    assert state.joined(plan, of_chip) == state.joined(plan, of_emulator)


@pytest.mark.parametrize("device", ["process:undefined", "unicorn"])
def test_a_second_chip_goes_on_where_the_first_was(
    device: str, project: tuple[Case, Path], pulled: dict[str, Path], capsys: Capsys
) -> None:
    (c, out), plan = project, read_plan(project[1])
    samples, machine = load_samples(plan, c.data, labels=True), taught(plan, c)
    tensors, _ = state.load(plan, pulled["npz"])
    with open_device(device, out, project_board(out)) as second:
        client = connect(second, plan.digest)
        compiled_scores = client.infer(samples.packed(0)).scores
        assert state.push(plan, client, tensors) == client.digest()
        assert client.infer(samples.packed(0)).scores != compiled_scores
        for i in range(20):
            winner, margin, scores = machine.infer(samples.one(i))
            assert client.infer(samples.packed(i)) == (winner[0], margin[0], tuple(scores[0]))
        assert samples.labels is not None
        machine.learn(samples.one(0), samples.labels[:1])
        client.learn(samples.packed(0), int(samples.labels[0]))
        again = state.pull(plan, client)
    assert state.joined(plan, again) == machine.state[0].tobytes()
    capsys.readouterr()
    assert main(["push", str(out), str(pulled["npz"]), "--device", device, "--json", "-"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["tensors"] == len(plan.space("state")) and told["bytes"] == plan.state_bytes


# ---- the networks -------------------------------------------------------------------------------------


def test_the_adapted_network_holds_what_was_learned(
    project: tuple[Case, Path], pulled: dict[str, Path]
) -> None:
    c, out = project
    plan = read_plan(out)
    tensors, _ = state.load(plan, pulled["npz"])
    graph = load_model(pulled["onnx"])
    learned = graph.tensors["fc2_weight"].value
    assert learned is not None
    assert np.array_equal(learned, tensors["fc2_weight"] * 2.0 ** -plan["fc2_weight"].frac)
    assert [n.name for n in graph.nodes] == [n.name for n in read_network(out, plan).nodes]
    float_model = ReferenceEvaluator(onnx.load(pulled["onnx"]))
    exact_model = ReferenceEvaluator(onnx.load(pulled["quantised"]))
    x = np.load(c.data)["input"]
    scores, winner, margin = exact_model.run(None, {"input": x})
    machine = Emulator(plan, len(x), read_only=True)
    machine.state[0] = np.frombuffer(state.joined(plan, tensors), np.uint8)
    want = machine.infer({"input": x})
    assert all(np.array_equal(g, w) for g, w in zip((winner, margin, scores), want, strict=True))
    real = float_model.run(None, {"input": x})[0]
    error = np.abs(real - scores * 2.0 ** -plan[plan.logits].frac)
    assert error.max() < 0.1 * np.abs(real).max()


def test_files_can_be_made_from_a_file(
    project: tuple[Case, Path], pulled: dict[str, Path], tmp_path: Path
) -> None:
    words = ["pull", str(project[1]), "--state", str(pulled["npz"]), "--onnx", str(tmp_path / "w.onnx")]
    assert main(words) == 0
    assert (tmp_path / "w.onnx").read_bytes() == pulled["onnx"].read_bytes()
    assert [p.name for p in tmp_path.iterdir()] == ["w.onnx"]


def test_what_can_be_written_is_and_every_refusal_is_told(
    project: tuple[Case, Path], pulled: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: Capsys,
) -> None:  # fmt: skip
    out = tmp_path / "out"
    shutil.copytree(project[1], out)
    (out / "network.onnx").unlink()

    def refuses(*_: object) -> bytes:
        raise SynapccError("fc1", "has no form\nin ONNX", "take --onnx")

    monkeypatch.setattr("synapcc.gen.exporters.quantised_onnx.export", refuses)
    files = {kind: tmp_path / kind for kind in ("onnx", "quantised", "npz", "json")}
    words = [w for kind, path in files.items() for w in (f"--{kind}", str(path))]
    capsys.readouterr()
    assert main(["pull", str(out), "--state", str(pulled["npz"]), *words]) == 2
    said = capsys.readouterr()
    assert said.out.endswith(f"wrote {files['npz']}\n")
    first, second = said.err.splitlines()
    assert first.startswith("synapcc pull: ") and "network.onnx" in first
    assert second == "synapcc pull: fc1: has no form in ONNX; take --onnx"
    assert np.load(files["npz"]).files == np.load(pulled["npz"]).files
    told = json.loads(files["json"].read_text())
    assert told["written"] == {"npz": "npz"}
    assert told["refused"].keys() == {"onnx", "quantised"} and str(tmp_path) not in str(told)


# ---- convolutions -------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=["tied", "untied", "sparse"])
def convolved(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Case, Path]:
    """A convolution that learns, tied or not, or two filters of it; and its output folder."""
    folder = tmp_path_factory.mktemp(request.param)
    shapes = {"conv.weight": (5, 2, 3, 3), "conv.bias": (5,), "fc.weight": (3, 30), "fc.bias": (3,)}
    nodes = [
        om.node("Conv", "input conv.weight conv.bias", "c", "/conv/Conv", strides=[2, 2], pads=[1, 1, 1, 0]),
        om.node("Relu", "c", "r", "/relu/Relu"),
        om.node("Flatten", "r", "f", "/Flatten"),
        om.node("Gemm", "f fc.weight fc.bias", "output", "/fc/Gemm", transB=1),
    ]
    weights = {n: om.real(*s) for n, s in shapes.items()}
    model = om.save(om.model(nodes, {"input": ["batch", 2, 5, 4]}, {"output": ["batch", 3]}, weights), folder)
    x = arrays(size=40)
    data = save(folder / "data.npz", {"input": x["input"].reshape(-1, 2, 5, 4), "label": x["label"]})
    rule = folder / "rule.toml"
    more = {"untied": 'untied = ["conv"]\n', "sparse": "[sparse]\nconv = [1, 3]\n"}.get(request.param, "")
    rule.write_text(f'rule = "bp"\nlayers = "all"\nrate = "2^-5"\n{more}')
    c = Case(model, rule, data)
    assert main(c.words(folder / "out")) == 0
    return c, folder / "out"


def test_convolutions_go_home(convolved: tuple[Case, Path], tmp_path: Path) -> None:
    (c, out), plan = convolved, read_plan(convolved[1])
    untied = "untied" in c.rule.read_text()
    files = {kind: tmp_path / f"{kind}.onnx" for kind in ("onnx", "quantised")}
    words = [
        "pull",
        str(out),
        "--device",
        "process",
        "--learn",
        str(c.data),
        "--npz",
        str(tmp_path / "w.npz"),
    ]
    assert main([*words, *(w for kind, path in files.items() for w in (f"--{kind}", str(path)))]) == 0
    tensors, _ = state.load(plan, tmp_path / "w.npz")
    machine = Emulator(plan, 60, read_only=True)
    machine.state[0] = taught(plan, c).state[0]
    assert state.joined(plan, tensors) == machine.state[0].tobytes()
    x = np.load(c.data)["input"]
    winner, margin, scores = machine.infer({"input": x})
    got = ReferenceEvaluator(onnx.load(files["quantised"])).run(None, {"input": x})
    assert all(np.array_equal(g, w) for g, w in zip(got, (scores, winner, margin), strict=True))
    real = ReferenceEvaluator(onnx.load(files["onnx"])).run(None, {"input": x})[0]
    error = np.abs(real - scores * 2.0 ** -plan[plan.logits].frac)
    assert error.max() < 0.1 * np.abs(real).max()
    operators = {n.op_type for n in onnx.load(files["onnx"]).graph.node}
    assert ("Gather" in operators) == untied and ("Conv" in operators) != untied
    if not untied:
        learned = load_model(files["onnx"]).tensors["conv_weight"].value
        assert np.array_equal(learned, tensors["conv_weight"] * 2.0 ** -plan["conv_weight"].frac)


def test_convolutions_are_diagnosed(convolved: tuple[Case, Path], capsys: Capsys) -> None:
    c, out = convolved
    capsys.readouterr()
    assert main(["inspect", str(out), "--learn", str(c.data), "--json", "-"]) == 0
    layers = {x["layer"]: x for x in json.loads(capsys.readouterr().out)["layers"]}
    assert list(layers) == ["conv", "fc"]
    for x in layers.values():
        assert x["angle"]["mean"] < 15 and x["products"] > 0


def test_the_network_of_a_convolution_compiles_to_the_same_plan(
    convolved: tuple[Case, Path], tmp_path: Path
) -> None:
    c, out = convolved
    if sparse := "sparse" in c.rule.read_text():  # the parts of a layer are layers of that file
        c.rule.write_text('rule = "bp"\nlayers = ["conv", "fc"]\nrate = "2^-5"\n')
    words = ["compile", str(out / "network.onnx"), "--rule", str(c.rule), "--calibrate", str(c.data)]
    assert main([*words, "--name", "net", "-o", str(tmp_path / "again")]) == 0
    if sparse:
        again, plan = read_plan(tmp_path / "again"), read_plan(out)
        assert again.state_bytes == plan.state_bytes and again["conv_weight"].shape == (2, 18)
        assert [*again.programs["forward"].items] == [*plan.programs["forward"].items]
        return
    assert read_plan(tmp_path / "again").digest == read_plan(out).digest


# ---- refusals -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compiled(tmp_path_factory.mktemp("other"), "bp", sizes=(12, 60, 3))[1]


def test_another_plans_file_is_refused(other: Path, pulled: dict[str, Path], capsys: Capsys) -> None:
    said = refusal(["push", str(other), str(pulled["npz"]), "--device", "process"], capsys)
    assert "holds a state of Plan" in said and "this project's Plan is" in said


def test_another_plans_chip_is_refused(
    project: tuple[Case, Path], other: Path, pulled: dict[str, Path], monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path, capsys: Capsys,
) -> None:  # fmt: skip
    def foreign(spec: str, folder: Path, board: object) -> Device:
        return open_device(spec, other)

    for command in ("pull", "push"):
        monkeypatch.setattr(f"synapcc.host.commands.{command}.open_device", foreign)
    words = ["pull", str(project[1]), "--device", "process", "--npz", str(tmp_path / "w.npz")]
    assert "this project's Plan is" in refusal(words, capsys)
    assert not list(tmp_path.iterdir())
    words = ["push", str(project[1]), str(pulled["npz"]), "--device", "process"]
    assert "this project's Plan is" in refusal(words, capsys)


def outside(plan: Plan, arrays: dict[str, np.ndarray]) -> None:
    arrays["fc1_bias"] = arrays["fc1_bias"].copy()
    arrays["fc1_bias"][3] = plan["fc1_bias"].hi + 1


SPOILED: dict[str, tuple[Callable[[Plan, dict[str, Any]], object], str]] = {
    "missing": (lambda p, a: a.pop("fc2_weight"), "fc2_weight is missing"),
    "unknown": (lambda p, a: a.update(more=np.zeros(3)), "more is no persistent tensor"),
    "dtype": (lambda p, a: a.update(fc1_weight=a["fc1_weight"].astype(float)), "fc1_weight is float64"),
    "shape": (lambda p, a: a.update(fc1_weight=a["fc1_weight"].T), "fc1_weight is int16 [12, 60]"),
    "limits": (outside, "fc1_bias[3] is"),
    "about": (lambda p, a: a.pop(state.ABOUT), "is no state"),
    "words": (lambda p, a: a.update({state.ABOUT: np.array("[]")}), "is no state"),
    "format": (
        lambda p, a: a.update({state.ABOUT: np.array('{"format": 9, "plan_digest": ""}')}),
        "has format 9",
    ),
}


@pytest.mark.parametrize("how", SPOILED)
def test_a_spoiled_file_reaches_no_chip(
    how: str, project: tuple[Case, Path], pulled: dict[str, Path], tmp_path: Path, capsys: Capsys,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    def none(*_: object) -> Device:
        raise AssertionError("a device was opened")

    monkeypatch.setattr("synapcc.host.commands.push.open_device", none)
    plan = read_plan(project[1])
    with np.load(pulled["npz"]) as z:
        arrays = dict(z)
    spoil, says = SPOILED[how]
    spoil(plan, arrays)
    file = save(tmp_path / "bad.npz", arrays)
    assert says in refusal(["push", str(project[1]), str(file), "--device", "process"], capsys)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--device", "process"], "nothing to write"),
        (["--device", "process", "--npz", "a", "--onnx", "a"], "two results would be one file"),
        (["--state", "w.npz", "--learn", "d.npz", "--npz", "a"], "only a device can learn"),
        (["--device", "process", "--npz", "no/such/folder/w.npz"], "there is no folder"),
        (["--state", "no.npz", "--npz", "a"], "no.npz: there is no such file"),
    ],
)
def test_what_cannot_be_pulled(
    words: list[str], says: str, project: tuple[Case, Path], capsys: Capsys, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert says in refusal(["pull", str(project[1]), *words], capsys)
    assert not list(tmp_path.iterdir())


def test_a_network_of_another_plan_is_refused(
    project: tuple[Case, Path], other: Path, pulled: dict[str, Path], tmp_path: Path, capsys: Capsys
) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "plan.json").write_bytes((project[1] / "plan.json").read_bytes())
    words = ["pull", str(folder), "--state", str(pulled["npz"]), "--onnx", str(tmp_path / "w.onnx")]
    assert "network.onnx: there is no such file" in refusal(words, capsys)
    (folder / "network.onnx").write_bytes((other / "network.onnx").read_bytes())
    assert "network.onnx: belongs to another Plan" in refusal(words, capsys)
    assert not (tmp_path / "w.onnx").exists()


# ---- links that break ---------------------------------------------------------------------------------


class Cut:
    """A device whose link breaks at a write, and is whole again afterwards."""

    def __init__(self, device: Device, writes: int) -> None:
        self.device, self.left, self.name = device, writes, device.name
        self.read, self.close, self.reset = device.read, device.close, device.reset

    def write(self, data: bytes) -> None:
        self.left -= 1
        if self.left == 0:
            raise DeviceError(self.name, "the cable was pulled")
        self.device.write(data)


def test_a_link_that_breaks_is_told_and_a_second_push_repairs(
    project: tuple[Case, Path], pulled: dict[str, Path]
) -> None:
    (_, out), plan = project, read_plan(project[1])
    tensors, _ = state.load(plan, pulled["npz"])
    want = state.joined(plan, tensors)
    assert plan.state_bytes > 2 * 1024
    with open_device("process", out) as device:
        start = connect(device, plan.digest).digest()
        client = connect(Cut(device, 3), plan.digest)  # type: ignore[arg-type]
        with pytest.raises(DeviceError, match=r"cable was pulled; \d+ of \d+ bytes written.*push again"):
            state.push(plan, client, tensors)
        client = connect(device, plan.digest)
        half = state.joined(plan, state.pull(plan, client))
        assert client.digest() != start and half != want and half[:1000] == want[:1000]
        state.push(plan, client, tensors)
        assert state.joined(plan, state.pull(plan, client)) == want


def test_a_chip_that_keeps_something_else_is_told(
    project: tuple[Case, Path], pulled: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    (_, out), plan = project, read_plan(project[1])
    tensors, _ = state.load(plan, pulled["npz"])
    with open_device("process", out) as device:
        client = connect(device, plan.digest)
        write = client.write
        t = plan["fc2_weight"]

        def faulty(region: Any, offset: int, content: bytes) -> None:
            data = bytearray(content)
            if offset <= t.offset < offset + len(data):
                data[t.offset - offset] ^= 1
            write(region, offset, bytes(data))

        monkeypatch.setattr(client, "write", faulty)
        with pytest.raises(DeviceError, match="does not hold what was written to it: fc2_weight;"):
            state.push(plan, client, tensors)


def test_adapted_takes_only_what_was_learned(tmp_path: Path) -> None:
    c, out = compiled(tmp_path, "last")
    plan = read_plan(out)
    graph = read_network(out, plan)
    machine = taught(plan, c)
    tensors = {t.name: machine[t.name][0] for t in plan.space("state")}
    new = adapted(graph, plan, tensors)
    changed = [n for n, t in new.tensors.items() if t is not graph.tensors[n]]
    assert changed == ["fc2_weight", "fc2_bias"]


def test_a_file_that_cannot_be_made_costs_no_other(
    project: tuple[Case, Path],
    pulled: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Capsys,
) -> None:
    monkeypatch.setattr("synapcc.gen.exporters.quantised_onnx.integer_kernels", dict)
    files = {kind: tmp_path / path.name for kind, path in pulled.items()}
    words = [w for kind, path in reversed(files.items()) for w in (f"--{kind}", str(path))]
    words = ["pull", str(project[1]), "--state", str(pulled["npz"]), "--samples", *words]
    error = refusal(words, capsys)
    assert "has no exact form in ONNX" in error
    assert not files["quantised"].exists()
    assert files["onnx"].read_bytes() == pulled["onnx"].read_bytes()
    plan = read_plan(project[1])
    (again, _), (first, _) = (state.load(plan, f["npz"]) for f in (files, pulled))
    assert state.joined(plan, again) == state.joined(plan, first)
