"""Entry programs of a rule's own: inputs that are not the network's, a label that comes late, and `reset`."""

from __future__ import annotations

import ctypes
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ctools import run
from projects import arrays, case, spawn

from synapcc.gen.errors import SynapccError
from synapcc.gen.ir.plan import Plan
from synapcc.gen.ir.program import Entry
from synapcc.gen.stages.plan_file import load_plan
from synapcc.host.devices.process import host_compiler
from synapcc.host.run.emulator import Emulator
from synapcc.host.run.plans import read_plan

OUTSIDE = Path(__file__).parents[2] / "support" / "outside"
RAW, ROWS, PIECES = 7, 2, 9
ADDED = "[accumulate]\nsamples = 2\n"  # which reset leaves


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network under the rule `late`, compiled."""
    folder = tmp_path_factory.mktemp("late")
    c = case(folder, "late", more=f"[options]\nraw = {RAW}\nrows = {ROWS}\n[store]\nsamples = 4\n{ADDED}")
    done = spawn([*c.words(folder / "out", "--kernels", "ref"), "--rule-path", str(OUTSIDE)])
    assert done.returncode == 0, done.stderr
    return folder / "out"


@pytest.fixture(scope="module")
def plan(out: Path) -> Plan:
    return read_plan(out)


def pieces(plan: Plan, devices: int = 1) -> list[dict[str, np.ndarray]]:
    rng = np.random.default_rng(5)
    return [
        {
            "raw": rng.integers(-(2**15), 2**15, (devices, RAW)).astype(np.int16),
            "pushed_input": rng.integers(-128, 128, (devices, plan["input"].count)).astype(np.int8),
        }
        for _ in range(PIECES)
    ]


def test_entries_say_what_they_take(plan: Plan) -> None:
    assert plan.entry_points == (
        Entry("infer", ("input",)),
        Entry("learn", ("input",), label=True),
        Entry("rehearse"),
        Entry("push", ("raw", "pushed_input")),
        Entry("late", label=True),
        Entry("reset"),
    )
    assert plan.inputs == ("input",) and load_plan(plan.canonical, "plan.json") == plan
    assert (plan["raw"].dtype, plan.q(plan["raw"]), plan["raw"].shape) == ("int16", "Q8", (RAW,))
    assert plan.q(plan["pushed_input"]) == plan.q(plan["input"])
    assert {t.name for t in plan.tensors if t.use == "input"} == {"input", "raw", "pushed_input"}


def test_verify_runs_them_on_drawn_inputs(out: Path) -> None:
    words = ["verify", str(out), "--data", str(out.parent / "data.npz"), "--steps", "30"]
    done = spawn([*words, "--device", "process"])
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("verify: 30 steps, 0 differing bytes\n")
    assert "programs learn, rehearse, push, late, reset, and all" in done.stdout


def test_a_chip_that_keeps_another_row_is_found(out: Path, tmp_path: Path) -> None:
    """The step of `push` that differs is named: both sides get the same drawn inputs again."""
    broken = tmp_path / "out"
    broken.mkdir()
    for file in out.rglob("*"):
        if file.is_file():
            (broken / file.relative_to(out)).parent.mkdir(parents=True, exist_ok=True)
            (broken / file.relative_to(out)).write_bytes(file.read_bytes())
    source = next(broken.glob("lib/*/src/*.c"))
    text = source.read_text()
    begin = text.index("static void net_push_write(net_t *m)\n{")
    end = text.index("\n}\n", begin)
    body = text[begin:end].replace(f"{2 * RAW}u);", f"{2 * RAW - 1}u);")
    assert body != text[begin:end]
    source.write_text(text[:begin] + body + text[end:])
    words = ["verify", str(broken), "--data", str(out.parent / "data.npz"), "--steps", "2"]
    done = spawn([*words, "--device", "process"])
    assert done.returncode == 1 and "(push): raw_ring[" in done.stdout
    assert "first op that differs: samples.write of push" in done.stdout


def library(out: Path, folder: Path) -> ctypes.CDLL:
    """The emitted library, alone, as a program of somebody else links it."""
    source = next(out.glob("lib/*/src/*.c"))
    run([*host_compiler(), "-std=c99", "-O1", "-fPIC", "-shared", source, "-o", folder / "net.so"])
    return ctypes.CDLL(str(folder / "net.so"))


def test_the_emitted_functions_do_what_the_emulator_does(out: Path, plan: Plan, tmp_path: Path) -> None:
    net, machine = library(out, tmp_path), Emulator(plan)
    memory = ctypes.create_string_buffer(plan.ram_bytes)
    assert net.net_init(memory) == 0
    rng = np.random.default_rng(0)
    start = machine.state.copy()
    for at, piece in enumerate(pieces(plan)):
        struct = piece["raw"].tobytes() + piece["pushed_input"].tobytes()  # no padding: 14 bytes, then int8
        assert net.net_push(memory, struct + b"\0") == 0
        machine.run("push", inputs=piece)
        label = int(rng.integers(plan.classes))
        assert net.net_late(memory, label) == 0
        machine.run("late", labels=[label])
        assert memory.raw[: plan.state_bytes] == machine.state[0].tobytes(), at
        assert machine["push_next"][0, 0] == (at + 1) % ROWS
        assert np.array_equal(machine["raw_ring"][0, at % ROWS], piece["raw"][0])
    assert machine["step"][0, 0] == PIECES and not np.array_equal(start, machine.state)
    assert net.net_late(memory, plan.classes) == 2  # BAD_LABEL, and nothing was changed
    assert memory.raw[: plan.state_bytes] == machine.state[0].tobytes()


def test_reset_forgets_what_is_no_weight(plan: Plan) -> None:
    machine = Emulator(plan, devices=2)
    for piece in pieces(plan, 2):
        machine.run("push", inputs=piece)
        machine.run("late", labels=[0, 1])
    before = {n: machine[n].copy() for n in machine}
    machine.run("reset", active=[True, False])
    changed = {t.name for t in plan.space("state") if not np.array_equal(before[t.name], machine[t.name])}
    assert changed == {"push_next"} and before["push_last"][0, 0] == 0  # an odd number of pieces, two rows
    assert machine["push_next"][:, 0].tolist() == [0, before["push_next"][1, 0]]
    assert np.array_equal(before["fc2_weight"], machine["fc2_weight"])
    assert before["accumulate_phase"].all() and before["fc2_weight_sum"].any()  # half full, and it stays so


def test_a_late_label_teaches_what_an_early_one_does(plan: Plan) -> None:
    """`push` and then `late` leave the weights as `learn` does on the same input."""
    x = arrays()
    early, late = Emulator(plan), Emulator(plan)
    for at in range(20):
        early.run("learn", inputs={"input": x["input"][at : at + 1]}, labels=[x["label"][at]])
        machine = Emulator(plan)
        machine.load({"input": x["input"][at : at + 1]})
        piece = {"raw": np.zeros((1, RAW), np.int16), "pushed_input": machine["input"]}
        late.run("push", inputs=piece)
        late.run("late", labels=[x["label"][at]])
    learned = [t.name for t in plan.space("state") if t.role in ("weight", "bias")]
    assert learned and all(np.array_equal(early[n], late[n]) for n in learned)


@pytest.mark.parametrize(
    ("program", "given", "said"),
    [
        ("push", {}, "push got nothing; it takes raw, pushed_input"),
        ("push", {"inputs": {"raw": [[0] * RAW]}}, "push got raw; it takes raw, pushed_input"),
        ("push", {"inputs": {"raw": [["a"] * RAW], "pushed_input": [[0] * 12]}}, "give int16, or float, of"),
        ("push", {"inputs": {"raw": [[129.0] * RAW], "pushed_input": [[0] * 12]}}, "beyond int16"),
        ("push", {"inputs": {"raw": [[np.nan] * RAW], "pushed_input": [[0] * 12]}}, "beyond int16"),
        ("push", {"inputs": {"raw": [[1 << 15] * RAW], "pushed_input": [[0] * 12]}}, "beyond int16"),
        ("push", {"inputs": {"raw": [[0] * 3], "pushed_input": [[0] * 12]}}, r"of shape \[1, 3\]"),
        ("push", {"labels": [0]}, "push takes no label"),
        ("late", {"inputs": {}}, "late takes a label"),
        ("late", {"labels": [3]}, "3"),
        ("none", {"labels": [0]}, "no entry program none|no such program"),
    ],
)
def test_what_an_entry_does_not_take_is_refused(
    plan: Plan, program: str, given: dict[str, Any], said: str
) -> None:
    machine = Emulator(plan)
    before = machine.arena.copy(), machine.state.copy()
    with pytest.raises(SynapccError, match=said) as caught:
        machine.give(program, **given)
    assert "\n" not in str(caught.value)
    assert np.array_equal(before[0], machine.arena) and np.array_equal(before[1], machine.state)


def test_a_damaged_plan_is_refused(plan: Plan) -> None:
    j = json.loads(plan.canonical)

    def refused(said: str, **change: Any) -> None:
        text = json.dumps({**j, **change}, sort_keys=True, separators=(",", ":")).encode()
        with pytest.raises(SynapccError, match=said):
            load_plan(text, "plan.json")

    def entries(name: str, **change: Any) -> list[dict[str, Any]]:
        return [{**e, **change} if e["name"] == name else e for e in j["entries"]]

    def tensors(name: str, **change: Any) -> list[dict[str, Any]]:
        return [{**t, **change} if t["name"] == name else t for t in j["tensors"]]

    refused("is an input, or is none", entries=entries("push", inputs=["raw"]))
    more = [*entries("push", inputs=["raw"]), {"name": "keep", "inputs": ["pushed_input"], "label": False}]
    refused("push reads inputs that it does not take", entries=more)
    refused("late reads inputs that it does not take", entries=entries("late", label=False))
    refused("takes what is none", entries=entries("late", label=1))
    refused("takes what is none", entries=entries("push", inputs=["raw", "raw", "pushed_input"]))
    refused("infer takes other inputs", entries=entries("infer", label=True))
    refused("learn takes other inputs", entries=entries("learn", inputs=[]))
    refused("there is no tensor", entries=entries("reset", inputs=["nothing"]))
    refused("two entry programs have one name", entries=[*j["entries"], j["entries"][-1]])
    refused("raw is no input", tensors=tensors("raw", hi=2**15 - 2))
    refused("raw is an input, or is none", tensors=tensors("raw", use=""))


BAD = """
from synapcc.gen.rules import Rule
class Bad(Rule):
    name = "bad"
    doc = "none"
    source = "none"
    def programs(self, tape):
        {body}
    def correct(self, tape):
        tape.backward(lambda node: None)
"""


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (
            'with tape.entry("look", "looks"): tape.emit_forward()',
            "look: the entry program reads input, which its caller does not give",
        ),
        ('tape.sample("raw", 4)', "raw: no entry program takes this input"),
        (
            'with tape.entry("look", "looks", ("verdict",)): pass',
            "look: verdict is no input; inputs are input",
        ),
        (
            'x = tape.sample("raw", 4)\n        with tape.entry("load", "loads", (x,)): pass',
            "load: net_load is something else in the emitted library",
        ),
        ('with tape.entry("infer", "infers"): pass', "'infer' is no name for an entry program of a rule"),
        ('with tape.entry("Push", "pushes"): pass', "'Push' is no name for an entry program of a rule"),
        ('with tape.entry("learn", "learns"): pass', "'learn' is no name for an entry program of a rule"),
        ('with tape.entry("forward", "runs"): pass', "forward: there is a program of this name already"),
        ('with tape.entry("late", "learns"): tape.b.call("adapt")', "reads input, label, which"),
    ],
)
def test_a_rule_that_asks_for_what_cannot_be_is_one_line(body: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text(BAD.format(body=body))
    c = case(tmp_path / "case", "bad")
    done = spawn([*c.words(tmp_path / "out"), "--rule-path", str(tmp_path / "bad.py")])
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and said in done.stderr, done.stderr
    assert not (tmp_path / "out").exists()


def test_the_emitted_header_declares_them(out: Path) -> None:
    header = next(out.glob("lib/*/src/*.h")).read_text()
    struct = re.search(r"typedef struct \{([^}]*)\} net_push_inputs_t;", header)
    assert struct and f"int16_t raw[{RAW}]; /* Q8 */" in struct[1] and "int8_t pushed_input[12];" in struct[1]
    assert "net_status net_push(net_t *m, const net_push_inputs_t *x);" in header
    assert "net_status net_late(net_t *m, uint8_t label);" in header
    assert "net_reset" not in header and "#define NET_PROGRAM_RESET 5" in header
