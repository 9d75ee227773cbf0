"""verify: no byte differs where chip and emulator agree, and where not, it says which op made it so."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from projects import Case, arrays, case, compiled, save, write_rule
from verifying import Capsys, keep_nothing, reported, verified

from synapcc.examples.ecg import protocol
from synapcc.gen.errors import SynapccError
from synapcc.gen.ir.plan import Plan
from synapcc.gen.target.messages import PROTOCOL_VERSION, Flag, Region
from synapcc.host import engine
from synapcc.host.cli import main
from synapcc.host.link.client import Client
from synapcc.host.run import engines, learning
from synapcc.host.run.plans import read_plan
from synapcc.host.run.sides import Sides

ROOT = Path(__file__).resolve().parents[3]
RULES = [(rule, weights) for rule in ("hebbian", "dfa") for weights in ("int8", "int16")]
QEMU = pytest.mark.skipif(not shutil.which("qemu-system-arm"), reason="qemu-system-arm is not installed")


@pytest.mark.parametrize(
    ("rule", "weights"),
    [pytest.param(*p, marks=pytest.mark.long if i in (1, 2) else ()) for i, p in enumerate(RULES)],
)
def test_nothing_differs(rule: str, weights: str, tmp_path: Path, capsys: Capsys) -> None:
    more = "[store]\nsamples = 5\n[replay]\nsamples = 6\nevery = 2\n[decay]\nshift = 8\nevery = 4\n"
    c, out = compiled(tmp_path, rule, weights, more)
    for device, steps in (("process:undefined", 150), ("unicorn", 20)):
        code, lines = verified(out, c.data, steps, device, capsys)
        assert code == 0 and lines[-1] == f"verify: {steps} steps, 0 differing bytes"
        assert "programs learn, rehearse" in lines[-2] and lines[-2].endswith("equal")


@pytest.mark.parametrize(
    ("more", "broken", "said"),
    (
        (["--slices"], False, "emulator: numpy;"),
        ([], False, "emulator: compiled;"),
        ([], True, "emulator: numpy (compiled code cannot be loaded: OSError full);"),
    ),
)
def test_what_ran_the_steps_is_said(
    more: list[str], broken: bool, said: str, tmp_path: Path, capsys: Capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("numba", reason="numba is not installed: pip install 'synapcc[fast]'")

    def full(self: engine.Engine, *_: object) -> None:
        raise OSError("full")

    monkeypatch.setattr(engines, "PAYS", 20)
    if broken:
        monkeypatch.setattr(engine.Engine, "tape", full)
    c, out = compiled(tmp_path, "dfa", "int8")
    _, lines = verified(out, c.data, 40, "process", capsys, *more)
    assert next(line for line in lines if line.startswith("emulator: ")).startswith(said), lines


def test_a_sample_larger_than_what_one_exchange_takes(
    tmp_path: Path, capsys: Capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The chip takes no batch then, and where it keeps no samples one step goes after the other."""
    c = case(tmp_path, sizes=(1200, 3))
    assert main(c.words(tmp_path / "out")) == 0
    for kept in (True, False):
        if not kept:
            keep_nothing(monkeypatch)
        for batch in ("0", "1", "4"):
            code, lines = verified(tmp_path / "out", c.data, 5, "process", capsys, "--batch", batch)
            assert code == 0 and lines[-1] == "verify: 5 steps, 0 differing bytes"


@QEMU
@pytest.mark.parametrize("board", ["mps2_an385", "mps2_an386"])
def test_nothing_differs_in_qemu(board: str, tmp_path: Path, capsys: Capsys) -> None:
    c = case(tmp_path)
    assert main(c.words(tmp_path / "out", "--board", board)) == 0
    code, lines = verified(tmp_path / "out", c.data, 20, "qemu", capsys)
    assert code == 0 and lines[-1] == "verify: 20 steps, 0 differing bytes"


def test_steps_may_be_none_and_the_model_may_learn_nothing(tmp_path: Path, capsys: Capsys) -> None:
    c, out = compiled(tmp_path / "a")
    assert verified(out, c.data, 0, "process", capsys)[1][-1] == "verify: 0 steps, 0 differing bytes"
    c = case(tmp_path / "b")
    c.rule.write_text('rule = "none"\n')
    assert main(c.words(tmp_path / "b" / "out")) == 0
    save(c.data, {"input": arrays()["input"]})
    code, lines = verified(tmp_path / "b" / "out", c.data, 10, "process", capsys)
    assert code == 0 and lines[-1] == "verify: 0 steps, 0 differing bytes" and "infer" in lines[-2]


# ---- chips that are wrong -----------------------------------------------------------------------------


def plain(folder: Path) -> tuple[Case, Path]:
    """A case and its output folder, printed by the set `ref`: a test finds a shift there and changes it."""
    c, out = case(folder), folder / "out"
    assert main(c.words(out, "--kernels", "ref")) == 0
    return c, out


def broken(out: Path, function: str, old: str, new: str) -> None:
    """Changes `old` to `new` in one function of the emitted C; the digest stays."""
    source = next(out.glob("lib/*/src/*.c"))
    text = source.read_text()
    begin = text.index(f"static void net_{function}(net_t *m)\n{{")
    end = text.index("\n}\n", begin)
    body = text[begin:end]
    assert re.search(old, body), body
    source.write_text(text[:begin] + re.sub(old, new, body, count=1) + text[end:])


def test_a_wrong_update_is_found(tmp_path: Path, capsys: Capsys) -> None:
    c, out = plain(tmp_path)
    steps = {s.node: s for _, _, s in read_plan(out).ops() if s.kernel == "dense.update"}
    shift = steps["fc2"].attrs["shift"]
    broken(out, "fc2_update", rf"\b{shift}u", f"{shift + 1}u")
    code, lines = verified(out, c.data, 50, "process", capsys)
    place = reported(lines)
    assert code == 1 and place[2] == "learn" and place[3].startswith("fc2_")
    assert re.match(
        r"first op that differs: dense\.update of fc2 \(op \d+\), its (twin fc2_feedback|w fc2_weight)\[",
        place[7],
    ), place[7]
    assert lines[-1].startswith(f"verify: {place[1]} steps, ")


def test_a_wrong_signal_is_found_where_it_is_made_and_not_where_it_is_seen(
    tmp_path: Path, capsys: Capsys
) -> None:
    """The error changes fc1's weights, the cause lies in what carried the signal there."""
    c, out = plain(tmp_path)
    step = next(s for _, _, s in read_plan(out).ops() if s.kernel == "project.matrix")
    broken(out, f"{step.node}_project", rf"\b{step.attrs['shift']}u", f"{step.attrs['shift'] + 1}u")
    code, lines = verified(out, c.data, 50, "process", capsys)
    place = reported(lines)
    assert code == 1 and place[3].startswith("fc1_")
    assert f"project.matrix of {step.node}" in place[7] and f"its g {step.args['g']}[" in place[7]


def test_a_wrong_inference_is_found(tmp_path: Path, capsys: Capsys) -> None:
    c, out = plain(tmp_path)
    step = next(s for _, _, s in read_plan(out).ops() if s.node == "fc1")
    shift = step.attrs["shift"]
    broken(out, "fc1_forward", rf"\b{shift}u", f"{shift - 1}u")
    code, lines = verified(out, c.data, 50, "process", capsys)
    place = reported(lines)
    assert code == 1 and place[2] == "infer" and place[3] in ("winner", "margin", "scores")
    assert "first op that differs: dense.forward of fc1" in place[7]


def test_a_wrong_rehearsal_is_found(tmp_path: Path, capsys: Capsys) -> None:
    c, out = compiled(
        tmp_path, more='[store]\nsamples = 5\ndrop = "oldest"\n'
    )  # else `learn` has such a loop
    source = next(out.glob("lib/*/src/*.c"))
    text = source.read_text()
    assert text.count("i < 5u") == 1
    source.write_text(text.replace("i < 5u", "i < 4u"))
    code, lines = verified(out, c.data, 20, "process", capsys)
    place = reported(lines)
    assert code == 1 and place[2] == "rehearse"


STORE = "[store]\nsamples = 40\n"


@pytest.fixture(scope="module")
def storing(tmp_path_factory: pytest.TempPathFactory) -> tuple[Case, Path]:
    """A model that keeps samples; tests do not change its folder."""
    return compiled(tmp_path_factory.mktemp("storing"), more=STORE)


FLIPS = [
    ("fc1_weight", (2, 3)),
    ("store_input", (39, 5)),
]  # one that every step writes, one that none does yet


class Faulty:
    """A bit of a chip's state turns before step `step`, once, or is set then and ever after."""

    def __init__(self, plan: Plan, tensor: str, index: tuple[int, int], step: int, once: bool) -> None:
        t = plan[tensor]
        self.at = t.offset + t.itemsize * (index[0] * t.row + index[1])
        self.left, self.once, self.done = step, once, False

    def before(self, client: Client, count: int) -> None:
        """`count` steps follow, the faulty one among them or not."""
        self.left -= count
        if self.left <= 0 and not (self.done and self.once):
            byte = client.read(Region.STATE, self.at, 1)[0]
            client.write(Region.STATE, self.at, bytes([byte ^ 1 if self.once else byte | 1]))
            self.done = True


def install(fault: Faulty, monkeypatch: pytest.MonkeyPatch) -> None:
    learn, learn_kept = Client.learn, Client.learn_kept

    def one(self: Client, *args: Any, **more: Any) -> bytes:
        fault.before(self, 1)
        return learn(self, *args, **more)

    def many(self: Client, first: int, count: int, *args: Any, **more: Any) -> list[bytes]:
        fault.before(self, count)
        return learn_kept(self, first, count, *args, **more)

    monkeypatch.setattr(Client, "learn", one)
    monkeypatch.setattr(Client, "learn_kept", many)


@pytest.mark.parametrize(("tensor", "index"), FLIPS)
@pytest.mark.parametrize("batch", ["1", "5"])
def test_a_bit_that_flips_between_steps_is_told_as_such(
    tensor: str, index: tuple[int, int], batch: str, storing: tuple[Case, Path], capsys: Capsys,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """A tensor that steps write, and one that they do not touch; in a batch, its first step is named."""
    c, out = storing
    install(Faulty(read_plan(out), tensor, index, 7, once=True), monkeypatch)
    code, lines = verified(out, c.data, 30, "process", capsys, "--batch", batch)
    place = reported(lines)
    place_of = "".join(f"[{i}]" for i in index)
    assert code == 1 and place[3] == tensor and place[4] == place_of
    assert int(place[1]) == 7  # the first step goes alone, and then five together: 2 to 6, 7 to 11
    assert "the state changed between steps" in place[7]
    assert ("its checksum tells the value" in place[7]) == (batch == "5")


def test_a_fault_that_changed_more_than_a_word_in_a_batch_is_told_with_later_values(
    storing: tuple[Case, Path], capsys: Capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scores move by it, and with them updates of step 7."""
    c, out = storing
    fault = Faulty(read_plan(out), "fc2_bias", (0, 0), 7, once=True)
    fault.at += 1  # the second byte
    install(fault, monkeypatch)
    code, lines = verified(out, c.data, 30, "process", capsys, "--batch", "5")
    place = reported(lines)
    assert code == 1 and int(place[1]) == 7 and "values are those after step 11" in place[7]


def test_a_step_that_writes_where_it_should_not_is_named_exactly(tmp_path: Path, capsys: Capsys) -> None:
    """From its 11th step on the chip's own code changes a kept sample that no step may touch yet."""
    c, out = compiled(tmp_path, more=STORE)
    source = next(out.glob("lib/*/src/*.c"))
    text = source.read_text()
    call = re.search(r"^static void net_step_tick\(net_t \*m\)\n\{\n", text, re.M)
    assert call, text
    stray = "    if (m->state.step[0] >= 10u) { m->state.store_input[200] = 77; }\n"
    source.write_text(text[: call.end()] + stray + text[call.end() :])
    for batch in ("1", "4", "0"):
        code, lines = verified(out, c.data, 30, "process", capsys, "--batch", batch)
        place = reported(lines)
        assert code == 1 and int(place[1]) == 11 and place[3] == "store_input" and place[6] == "77"


@pytest.mark.parametrize("method", ["learn", "learn_kept", "learn_many"])
def test_a_checksum_that_lies_is_told(
    method: str, storing: tuple[Case, Path], capsys: Capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    c, out = storing
    said = getattr(Client, method)

    def lies(self: Client, *args: Any, **more: Any) -> Any:
        return bytes(16) if isinstance(got := said(self, *args, **more), bytes) else [bytes(16) for _ in got]

    monkeypatch.setattr(Client, method, lies)
    if method == "learn_many":
        keep_nothing(monkeypatch)
    capsys.readouterr()
    words = ["verify", str(out), "--data", str(c.data), "--steps", "5", "--device", "process"]
    assert main([*words, "--batch", "1" if method == "learn" else "5"]) == 2
    step = 1 if method == "learn" else 2
    told = capsys.readouterr().err
    if method == "learn":
        assert f"step {step}: the digest differs and the state read back does not" in told
    else:
        assert (
            f"step {step}: the checksum after it differs; the state read back after step 5 does not" in told
        )
        assert "--batch 1" in told


@pytest.mark.parametrize("once", [True, False])
def test_what_no_checksum_shows_is_found_by_sha256(
    once: bool, storing: tuple[Case, Path], capsys: Capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Checksums that always agree; the fault comes once, or again when its steps are repeated."""
    c, out = storing
    monkeypatch.setattr(learning, "SHA_STEPS", 10)
    fault = Faulty(read_plan(out), *FLIPS[1], 13, once)
    install(fault, monkeypatch)
    proof = Sides.proof

    def agrees(self: Sides, kind: Flag) -> bytes:
        return bytes(16) if kind == Flag.CHECKSUM else proof(self, kind)

    learn, ask, learn_many = Client.learn, Sides.ask, Sides.learn_many

    def alone(self: Client, x: bytes, label: int, kind: Flag, *args: Any) -> bytes:
        said = learn(self, x, label, kind, *args)
        return bytes(16) if kind == Flag.CHECKSUM else said

    monkeypatch.setattr(Client, "learn", alone)
    monkeypatch.setattr(Sides, "proof", agrees)
    for name, method in (("ask", ask), ("learn_many", learn_many)):
        monkeypatch.setattr(
            Sides, name, lambda self, *args, method=method: [bytes(16) for _ in method(self, *args)]
        )
    code, lines = verified(out, c.data, 30, "process", capsys, "--batch", "2")
    place = reported(lines)
    assert code == 1 and place[3] == "store_input"
    assert int(place[1]) == (20 if once else 11)
    if once:
        assert "no step from 11 on differs when repeated" in place[7]


# ---- a run that goes on -------------------------------------------------------------------------------


def test_a_run_goes_on_where_it_stopped(
    storing: tuple[Case, Path], tmp_path: Path, capsys: Capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    c, out = storing
    monkeypatch.setattr(learning, "SHA_STEPS", 20)
    kept, words = tmp_path / "run.npz", ("--resume", str(tmp_path / "run.npz"), "--batch", "3")
    ask, asked = Sides.ask, []

    def interrupted(self: Sides, chosen: Sequence[int], *args: Any) -> list[bytes]:
        asked.append(len(chosen))
        if sum(asked) > 50:
            raise KeyboardInterrupt
        return ask(self, chosen, *args)

    with monkeypatch.context() as patch:
        patch.setattr(Sides, "ask", interrupted)
        with suppress(KeyboardInterrupt):
            verified(out, c.data, 90, "process", capsys, *words)
    assert sum(asked) > 50 and kept.exists()
    again: list[int] = []

    def counted(self: Sides, chosen: Sequence[int], *args: Any) -> list[bytes]:
        again.append(len(chosen))
        return ask(self, chosen, *args)

    monkeypatch.setattr(Sides, "ask", counted)
    code, lines = verified(out, c.data, 90, "process", capsys, *words, "--json", str(tmp_path / "v.json"))
    assert code == 0 and lines[-1] == "verify: 90 steps, 0 differing bytes"
    found = json.loads((tmp_path / "v.json").read_text())
    assert found["resumed"] == 40 and sum(again) in range(45, 50)  # single steps go by LEARN
    straight = verified(out, c.data, 90, "process", capsys, "--resume", str(tmp_path / "other.npz"))
    assert straight[1][-1] == lines[-1]
    with np.load(kept) as a, np.load(tmp_path / "other.npz") as b:
        assert np.array_equal(a["state"], b["state"])


def test_a_run_that_is_none_of_this_one_is_refused(
    storing: tuple[Case, Path], tmp_path: Path, capsys: Capsys
) -> None:
    c, out = storing
    kept = tmp_path / "run.npz"
    words = ["verify", str(out), "--device", "process", "--resume", str(kept), "--data"]
    assert main([*words, str(c.data), "--steps", "20"]) == 0
    other, rubbish = tmp_path / "other.npz", tmp_path / "rubbish.npz"
    save(other, arrays(seed=5))
    save(rubbish, {"state": np.zeros(3)})
    for more, said in (
        ([str(c.data), "--steps", "10"], "holds a run of 20 steps"),
        ([str(other), "--steps", "30"], "is of other samples"),
        ([str(c.data), "--steps", "30", "--resume", str(rubbish)], "is no verification"),
        ([str(c.data), "--steps", "30", "--resume", str(tmp_path)], "is a folder"),
        ([str(c.data), "--steps", "30", "--batch", "-1"], "--batch: -1 steps"),
    ):
        capsys.readouterr()
        assert main([*words, *more]) == 2
        assert said in (err := capsys.readouterr().err) and err.count("\n") == 1


def test_firmware_of_an_older_version_is_refused(tmp_path: Path, capsys: Capsys) -> None:
    c, out = compiled(tmp_path)
    header = out / "include" / "protocol.h"
    text = header.read_text()
    old = f"#define PROTO_VERSION {PROTOCOL_VERSION}u"
    assert old in text
    header.write_text(text.replace(old, f"#define PROTO_VERSION {PROTOCOL_VERSION - 1}u"))
    capsys.readouterr()
    assert main(["verify", str(out), "--data", str(c.data), "--steps", "5", "--device", "process"]) == 2
    said = capsys.readouterr().err
    assert f"speaks version {PROTOCOL_VERSION - 1} of the protocol" in said and said.count("\n") == 1
    assert "compile and build with this version" in said


# ---- the figures --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ecg(tmp_path_factory: pytest.TempPathFactory) -> dict[str, np.ndarray]:
    """Beats of the base data, class-balanced."""
    try:
        data = protocol.A.calibration()
    except SynapccError as error:
        pytest.skip(str(error))
    return {k: data[k] for k in ("beat", "rr", "label")}


DEVICES = [
    ("mps2_an386", "process", 1000),
    ("mps2_an386", "unicorn", 1000),
    pytest.param("mps2_an386", "qemu", 1000, marks=QEMU),
    pytest.param("mps2_an385", "qemu", 200, marks=QEMU),
]


LEARNED, UNTIED = (
    'layers = ["conv3", "fc1", "fc2"]\n',
    'layers = ["conv3", "fc1", "fc2"]\nuntied = ["conv3"]\n',
)
NETWORKS = [
    *(("mlp_rr", "", rule, weights) for rule, weights in RULES),
    *(("cnn", "", rule, weights) for rule, weights in RULES),
    *(("cnn", LEARNED, rule, weights) for rule, weights in RULES),
    ("cnn", UNTIED, "hebbian", "int16"),
    ("cnn", UNTIED, "dfa", "int8"),
]


@pytest.mark.long
@pytest.mark.parametrize(("board", "device", "steps"), DEVICES)
@pytest.mark.parametrize(("network", "more", "rule", "weights"), NETWORKS)
def test_the_ecg_networks_learn_the_same_everywhere(
    network: str, more: str, rule: str, weights: str, board: str, device: str, steps: int,
    ecg: dict[str, np.ndarray], tmp_path: Path, capsys: Capsys,
) -> None:  # fmt: skip
    data = save(tmp_path / "ecg.npz", ecg)
    model = ROOT / "examples" / "ecg" / "models" / f"ecg_{network}.onnx"
    c = Case(model, write_rule(tmp_path / "rule.toml", rule, weights, more), data)
    out = tmp_path / "out"
    assert main(c.words(out, "--board", board)) == 0
    code, lines = verified(out, data, steps, device, capsys)
    assert code == 0 and lines[-1] == f"verify: {steps} steps, 0 differing bytes"
    learned = [t for t in read_plan(out).space("state") if t.role == "weight"]
    assert all(t.dtype == weights for t in learned)
    assert ("conv3_weight" in {t.name for t in learned}) == bool(more)


@QEMU
@pytest.mark.long
def test_the_ecg_cnn_learns_within_16_kilobytes(
    ecg: dict[str, np.ndarray], tmp_path: Path, capsys: Capsys
) -> None:
    """A micro:bit: Cortex-M0, 16 KB of RAM, of which the link and the stack take their part."""
    data = save(tmp_path / "ecg.npz", ecg)
    model = ROOT / "examples" / "ecg" / "models" / "ecg_cnn.onnx"
    c = Case(model, write_rule(tmp_path / "rule.toml", "hebbian", "int8"), data)
    assert main(c.words(tmp_path / "out", "--board", "microbit")) == 0
    code, lines = verified(tmp_path / "out", data, 200, "qemu", capsys)
    assert code == 0 and lines[-1] == "verify: 200 steps, 0 differing bytes"
