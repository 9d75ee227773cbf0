"""Every command as a user runs it, what --json holds, the Python API, and networks with awkward names."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_models as om
import pytest
from projects import Case, arrays, case, compiled, refusal, save, spawn

from synapcc.examples.ecg import beats, evaluate, protocol
from synapcc.gen import Compiled, compile_model, load_plan
from synapcc.gen.rules import rules
from synapcc.gen.target.boards import board_names
from synapcc.host import Emulator, connect
from synapcc.host.cli import ORDER, main, parser
from synapcc.host.devices import process

Capsys = pytest.CaptureFixture[str]
STORE = "[store]\nsamples = 8\n[replay]\nsamples = 6\nevery = 2\n"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> tuple[Case, Path]:
    return compiled(tmp_path_factory.mktemp("project"), more=STORE)


def told(words: list[str], capsys: Capsys, code: int = 0) -> Any:
    """What a command prints with --json -: the document, and nothing else."""
    capsys.readouterr()
    assert main([*words, "--json", "-"]) == code
    return json.loads(capsys.readouterr().out)


# ---- commands -----------------------------------------------------------------------------------------


def test_every_command_is_found_and_explains_itself(capsys: Capsys) -> None:
    for name in ORDER:
        with pytest.raises(SystemExit) as stopped:
            parser().parse_args([name, "--help"])
        assert stopped.value.code == 0 and "usage: synapcc" in capsys.readouterr().out
    with pytest.raises(SystemExit) as stopped:
        main(["--version"])
    assert stopped.value.code == 0 and capsys.readouterr().out.startswith("synapcc ")


def test_compile_writes_a_project_and_tells_what_it_is(tmp_path: Path, capsys: Capsys) -> None:
    c = case(tmp_path)
    report = told(c.words(tmp_path / "a" / "out", "--quantiser", "--name", "Heart 1"), capsys)
    assert set(report) == {
        "board", "budget", "calibration", "digest", "file", "keep", "kernels", "layers", "learned",
        "learning",
        "memory", "model", "network", "notes", "peaks", "programs", "proofs", "quantise", "ranges", "rule",
        "schema", "tensors", "timeline", "warnings",
    }  # fmt: skip
    assert report["model"] == "heart_1" and report["learned"] == ["fc1", "fc2"]
    out = tmp_path / "a" / "out"
    for name in (
        "plan.json", "report.json", "report.txt", "report.html", "platformio.ini", "include/model_binding.h",
        "include/protocol.h", "lib/heart_1/library.json", "lib/heart_1/src/heart_1.c",
        "lib/heart_1/src/heart_1_quantise.h", "src/main.c",
        "src/hal/cmsdk.c", "platforms/synapcc/platform.json",
    ):  # fmt: skip
        assert (out / name).is_file(), name
    assert load_plan((out / "plan.json").read_bytes(), "").digest.hex() == report["digest"]
    assert json.loads((out / "report.json").read_text()) == report
    assert main(c.words(tmp_path / "plain")) == 0
    assert "next, synapcc verify" in capsys.readouterr().out


def test_inspect(project: tuple[Case, Path], capsys: Capsys) -> None:
    c, out = project
    found = told(["inspect", str(out)], capsys)
    assert set(found) == {"digest", "memory", "model", "programs", "report", "schema", "tensors"}
    assert {"name", "dtype", "shape", "space", "offset", "bytes", "frac", "limits"} == set(
        found["tensors"][0]
    )
    assert [p["program"] for p in found["programs"]] == ["infer", "learn", "rehearse"]
    assert main(["inspect", str(out)]) == 0
    text = capsys.readouterr().out
    assert "rehearse (entry)" in text and "Memory:" in text and "fc1_weight" in text
    assert main(["inspect", str(out / "plan.json")]) == 0
    layers = told(["inspect", str(c.model)], capsys)
    assert [x["op"] for x in layers["layers"]] == ["dense", "clip", "dense"] and layers["inputs"] == {
        "input": [12]
    }


def test_build(project: tuple[Case, Path], capsys: Capsys) -> None:
    _, out = project
    built = told(["build", str(out)], capsys)
    assert {"elf", "board", "toolchain", "flash", "ram", "stack", "linked", "guard", "schema"} == set(built)
    assert 0 < built["stack"]["bytes"] < 4096 and (out / built["elf"]).is_file()
    assert main(["build", str(out)]) == 0
    text = capsys.readouterr().out
    assert "flash" in text and "bytes at worst" in text and "no heap, no floating point" in text
    assert built["guard"] == "MPU" and "guard  the MPU" in text


def test_verify(project: tuple[Case, Path], capsys: Capsys) -> None:
    c, out = project
    words = ["verify", str(out), "--data", str(c.data), "--device", "process", "--steps", "90"]
    verdict = told(words, capsys)
    assert verdict["steps"] == 90 and verdict["differing"] == 0 and verdict["difference"] is None
    assert verdict["programs"] == ["learn", "rehearse"]
    assert main(words) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "verify: 90 steps, 0 differing bytes"


def test_emulate(project: tuple[Case, Path], tmp_path: Path, capsys: Capsys) -> None:
    c, out = project
    results: list[Mapping[str, np.ndarray]] = []
    for more in ([], ["--learn"], ["--learn", "--passes", "3"], ["--learn", "--samples"]):
        path = tmp_path / f"{len(results)}.npz"
        said = told(["emulate", str(out), "--data", str(c.data), "-o", str(path), *more], capsys)
        assert said["samples"] == 60 and said["learned"] == bool(more) and 0 <= said["accuracy"] <= 1
        results.append(dict(np.load(path)))
    plain, once, thrice, whole = results
    assert {"winner", "margin", "scores"} == set(plain) and plain["scores"].shape == (60, 3)
    tensors = Emulator(out).plan.space("state")
    assert set(whole) - set(plain) == {f"state_{t.name}" for t in tensors}
    stored = {f"state_{t.name}" for t in tensors if t.use == "stored"}
    assert stored and set(whole) - set(once) == stored, "samples of the wearer only if asked for"
    assert once["state_step"][0] >= 60 and thrice["state_step"][0] > once["state_step"][0]
    assert not np.array_equal(once["state_fc1_weight"], thrice["state_fc1_weight"])
    machine = Emulator(out)
    for i in range(60):
        machine.learn({"input": arrays()["input"][i : i + 1]}, arrays()["label"][i : i + 1])
    assert np.array_equal(machine["fc1_weight"][0], once["state_fc1_weight"])


def test_lists(capsys: Capsys) -> None:
    assert {b["name"] for b in told(["boards"], capsys)["boards"]} == set(board_names())
    found = told(["rules"], capsys)["rules"]
    assert {r["name"] for r in found} == set(rules()) >= {"hebbian", "dfa", "fa", "last", "bp"}
    assert all(set(r) == {"name", "doc", "source", "storages", "inits"} for r in found)
    checks = told(["doctor"], capsys)["checks"]
    assert {"zig", "unicorn", "boards"} <= {x["name"] for x in checks}
    for command in ("boards", "rules", "doctor"):
        assert main([command]) == 0
        assert len(capsys.readouterr().out.splitlines()) >= 3


def test_a_command_as_a_process(tmp_path: Path) -> None:
    c = case(tmp_path)
    assert spawn(c.words(tmp_path / "out")).returncode == 0
    done = spawn(
        ["verify", str(tmp_path / "out"), "--data", str(c.data), "--device", "process", "--steps", "5"]
    )
    assert (done.returncode, done.stderr) == (0, "") and done.stdout.endswith(
        "verify: 5 steps, 0 differing bytes\n"
    )


# ---- eval ---------------------------------------------------------------------------------------------


def few(names: tuple[str, ...], per_class: int = 12) -> dict[str, beats.Beats]:
    """Patients of noisy templates: half of the beats within the first five minutes."""
    rng = np.random.default_rng(3)
    shapes = np.random.default_rng(4).normal(0, 0.5, (4, 151))
    out = {}
    for name in names:
        label = np.repeat(np.arange(4), per_class)
        rng.shuffle(label)
        n = len(label)
        out[name] = beats.Beats(
            beat=(shapes[label] + rng.normal(0, 0.2, (n, 151))).astype(np.float32),
            rr=rng.normal(0, 0.3, (n, 4)).astype(np.float32),
            label=label.astype(np.uint8),
            symbol=np.array(["NAVF"[i] for i in label]),
            sample=np.linspace(0, 600 * 360, n, dtype=np.int64),
            record=np.array([name] * n),
        )
    return out


@pytest.fixture
def few_patients(monkeypatch: pytest.MonkeyPatch) -> None:
    evaluate.wearers.cache_clear()
    evaluate.calibration.cache_clear()
    patients = few(("100", "232"))
    monkeypatch.setattr(protocol.beats, "load", lambda *_, **__: patients)
    yield
    evaluate.wearers.cache_clear()
    evaluate.calibration.cache_clear()


def test_eval_writes_the_rows_that_the_format_says(
    few_patients: None, tmp_path: Path, capsys: Capsys
) -> None:
    path = tmp_path / "rows.json"
    words = [
        "eval",
        "ecg",
        "--protocol",
        "A",
        "--rule",
        "hebbian",
        "--rule",
        "float_bp",
        "--passes",
        "1,2",
        "--jobs",
        "1",
    ]
    assert main([*words, "--replay", "off", "--json", str(path)]) == 0
    assert "protocol A: 2 patients" in capsys.readouterr().out
    result = json.loads(path.read_text())
    assert set(result) == {"schema", "protocol", "labels", "rows", "words", "published"}
    assert result["protocol"] == "A" and result["words"]["subject"] == "patient"
    assert result["labels"] == ["N", "S", "V", "F"]
    keys = {"model", "rule", "weights", "passes", "replay", "seed", "accuracy", "macro_f1", "f1", "subjects"}
    for row in result["rows"]:
        assert keys <= set(row) and set(row["f1"]) == {"N", "S", "V", "F"}
        moments = [point["passes"] for point in row["curve"]]
        assert moments == [0, 0.2, 0.4, 0.6, 0.8, 1, 2][: {0: 1, 1: 6, 2: 7}[row["passes"]]]
        assert row["curve"][-1]["accuracy"] == row["accuracy"]
        right = sum(row["confusion"][c][c] for c in range(4)) / sum(map(sum, row["confusion"]))
        assert right == pytest.approx(row["accuracy"])
        assert set(row["subjects"]) == {"100", "232"}
        assert all(set(p) >= {"before", "after"} for p in row["subjects"].values())
    assert [(r["rule"], r["passes"]) for r in result["rows"]] == [
        ("none", 0), ("float_bp", 1), ("float_bp", 2), ("hebbian", 1), ("hebbian", 2),
    ]  # fmt: skip
    none = result["rows"][0]
    assert all(p["before"] == p["after"] for p in none["subjects"].values())


def test_eval_that_cannot_be(few_patients: None, tmp_path: Path, capsys: Capsys) -> None:
    assert "neither a rule nor a file" in refusal(["eval", "ecg", "--rule", "hebian"], capsys)
    assert "neither a base model nor a file" in refusal(
        ["eval", "ecg", "--model", "x", "--rule", "last"], capsys
    )
    assert "--passes" in refusal(["eval", "ecg", "--passes", "0"], capsys)
    assert "--seeds" in refusal(["eval", "ecg", "--seeds", "0"], capsys)
    assert "there is no folder" in refusal(["eval", "ecg", "--json", str(tmp_path / "no" / "x.json")], capsys)


# ---- the Python API -----------------------------------------------------------------------------------


def test_the_python_api(tmp_path: Path, project: tuple[Case, Path]) -> None:
    c, out = project
    made = compile_model(c.model, c.rule, c.data, "mps2_an386")
    assert isinstance(made, Compiled) and made.plan.digest == Emulator(str(out)).plan.digest
    assert made.plan.digest == compile_model(str(c.model), str(c.rule), arrays()).plan.digest
    machine = Emulator(made.plan, devices=2)
    x, y = arrays()["input"][:2], arrays()["label"][:2]
    with connect(str(out), "process") as chip:
        machine.learn({"input": x}, y)
        packed = Emulator(made.plan)
        packed.load({"input": x[:1]})
        sample = packed["input"][0].tobytes()
        chip.learn(sample, int(y[0]))
        winner, margin, scores = machine.infer({"input": np.stack([x[0], x[0]])})
        got = chip.infer(sample)
        assert (got.winner, got.margin, got.scores) == (winner[0], margin[0], tuple(scores[0]))
    with connect(out, "process") as chip:
        assert chip.info.model == "net"


# ---- names --------------------------------------------------------------------------------------------


def renamed(**names: str) -> onnx.ModelProto:
    """A perceptron whose input, nodes, output or parameters are called otherwise."""
    proto = om.mlp((12, 8, 3))
    graph = proto.graph
    for node in graph.node:
        node.name = names.get(node.name.strip("/").split("/")[0], node.name)
        for kind in (node.input, node.output):
            for i, name in enumerate(kind):
                kind[i] = names.get(name, name)
    for part in (graph.input, graph.output, graph.initializer):
        for value in part:
            value.name = names.get(value.name, value.name)
    return proto


# Strings, split: the formatter would give every name a line.
COLLISIONS = """
    label verdict step error taught fc1 fc1_weight fc1_bias fc2_shift fc2_feedback fc1_direct_feedback
    fc2_input_teach relu1 forward infer learn state arena m x y replay_label replay_index replay_due
    replay_valid replay_input store_label store_count store_next store_x rehearse_valid rehearse_next
    rehearse_index decay_due decay_phase int class uint8_t linux memcpy NULL opaque ALIGNED init program
    nothing
""".split()  # noqa: SIM905
EVERYTHING = STORE + "[decay]\nshift = 8\nevery = 4\n"


@pytest.mark.usefixtures("unoptimised")
@pytest.mark.parametrize(
    "what, rule",
    [
        pytest.param("input", "hebbian", marks=pytest.mark.long),
        ("fc1", "dfa"),
        pytest.param("input", "dfa", marks=pytest.mark.long),
        pytest.param("fc1", "hebbian", marks=pytest.mark.long),
    ],
)
def test_names_that_are_ours_compile_or_are_told(
    what: str, rule: str, tmp_path: Path, capsys: Capsys
) -> None:
    """An input or a layer with a name that synapcc, C or the firmware uses already."""
    built = 0
    for name in COLLISIONS:
        folder = tmp_path / name
        c = case(folder, rule, more=EVERYTHING)
        new = (
            {what: name}
            if what == "input"
            else {"fc1": f"/{name}/Gemm", "fc1.weight": f"{name}.weight", "fc1.bias": f"{name}.bias"}
        )
        proto = renamed(**new)
        c.model.write_bytes(proto.SerializeToString())
        samples = arrays()
        graph_input = told(["inspect", str(c.model)], capsys)["inputs"]
        key = next(iter(graph_input))
        save(c.data, {key: samples["input"], "label": samples["label"]})
        if main(c.words(folder / "out")) != 0:
            line = capsys.readouterr().err
            assert line.count("\n") == 1 and ("rename" in line or "two tensors" in line), line
            continue
        built += 1
        words = ["verify", str(folder / "out"), "--data", str(c.data), "--device", "process", "--steps", "3"]
        if name in ("label", "error", "program", "init", "class"):
            assert main(words) == 0, name
    assert built > len(COLLISIONS) // 2


FIRMWARE = Path(__file__).parents[3] / "firmware"
MODEL_NAMES = """
    int int8 string stdint model hal proto protocol main class features linux size
    ../../x 9lives ÄÖ a"b MODEL_BINDING model_binding t requant m
""".split()  # noqa: SIM905
MODEL_NAMES += sorted(p.stem for p in FIRMWARE.glob("*.h"))
MODEL_NAMES += sorted(
    name for p in FIRMWARE.glob("*.h") for name in re.findall(r"^\} (\w+)_t;", p.read_text(), re.MULTILINE)
)  # "request" makes a type of its own: request_t
STRANGE_NAMES = ["x y;z", "*/ #error", "a" * 300]


@pytest.mark.usefixtures("unoptimised")
@pytest.mark.parametrize("name", MODEL_NAMES + STRANGE_NAMES)
def test_names_of_models(name: str, tmp_path: Path, capsys: Capsys) -> None:
    """Whatever a model is called, its firmware compiles, for this computer and the chip, and learns right."""
    c, out = case(tmp_path / "in"), tmp_path / "out"
    assert main(c.words(out, f"--name={name}")) == 0
    device = "unicorn" if name in ("model", "string", "hal", "frame", "stdint") else "process"
    words = ["verify", str(out), "--data", str(c.data), "--device", device, "--steps", "3"]
    assert main(words) == 0, capsys.readouterr()


def test_layers_that_share_a_name_and_names_that_are_c(tmp_path: Path, capsys: Capsys) -> None:
    """Names of nodes go into comments: what ends a comment, a line or a string must not get out of it."""
    c = case(tmp_path / "in")
    proto = om.mlp((12, 8, 3))
    evil = ["*/ int evil(void); /*", 'a"; system("x"); //', "line\nbreak \\", "??/", "../../../etc/passwd"]
    for node, name in zip(proto.graph.node, evil, strict=False):
        node.name = name
    proto.producer_name = "*/"
    proto.doc_string = "*/"
    c.model.write_bytes(proto.SerializeToString())
    out = tmp_path / "out"
    assert main(c.words(out)) == 0
    process.build(out)
    text = (out / "lib" / "net" / "src" / "net.c").read_text()
    assert "evil(void)" in text and "*/ int evil" not in text


def test_graphs_made_by_hand_are_told_of_names_too(project: tuple[Case, Path]) -> None:
    from synapcc.gen.errors import CompileError
    from synapcc.gen.importers import load_model

    graph = load_model(project[0].model)
    old = graph.inputs[0]
    for name in ("verdict", "step", "fc2_feedback", "taught"):
        tensors = {
            (name if k == old else k): replace(t, name=name if k == old else k)
            for k, t in graph.tensors.items()
        }
        nodes = tuple(
            replace(n, inputs=tuple(name if i == old else i for i in n.inputs)) for n in graph.nodes
        )
        clash = replace(graph, inputs=(name,), tensors=tensors, nodes=nodes)
        with pytest.raises(CompileError, match="two tensors would have this name"):
            compile_model(clash, project[0].rule, {name: arrays()["input"], "label": arrays()["label"]})
