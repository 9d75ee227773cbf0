"""verify: no byte differs where chip and emulator agree, and where not, it says which op made it so."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from projects import Case, arrays, case, compiled, save, write_rule

from synapcc.examples.ecg import protocol
from synapcc.gen.errors import SynapccError
from synapcc.gen.target.messages import Region
from synapcc.host.cli import main
from synapcc.host.link.client import Client
from synapcc.host.run.plans import read_plan

ROOT = Path(__file__).resolve().parents[3]
RULES = [(rule, weights) for rule in ("hebbian", "dfa") for weights in ("int8", "int16")]
QEMU = pytest.mark.skipif(not shutil.which("qemu-system-arm"), reason="qemu-system-arm is not installed")
Capsys = pytest.CaptureFixture[str]
LAST = re.compile(r"verify: (\d+) steps, (\d+) differing bytes")
PLACE = re.compile(r"step (\d+) \((\w+)\): (\w+)((?:\[\d+\])*) expected (-?\d+), got (-?\d+); (.*)")


def verified(out: Path, data: Path, steps: int, device: str, capsys: Capsys) -> tuple[int, list[str]]:
    capsys.readouterr()
    words = ["verify", str(out), "--data", str(data), "--steps", str(steps), "--device", device]
    code = main(words)
    said = capsys.readouterr()
    assert "Traceback" not in said.err
    return code, said.out.splitlines()


@pytest.mark.parametrize(("rule", "weights"), RULES)
def test_nothing_differs(rule: str, weights: str, tmp_path: Path, capsys: Capsys) -> None:
    more = "[store]\nsamples = 5\n[replay]\nsamples = 6\nevery = 2\n[decay]\nshift = 8\nevery = 4\n"
    c, out = compiled(tmp_path, rule, weights, more)
    for device, steps in (("process:undefined", 150), ("unicorn", 20)):
        code, lines = verified(out, c.data, steps, device, capsys)
        assert code == 0 and lines[-1] == f"verify: {steps} steps, 0 differing bytes"
        assert "programs learn, rehearse" in lines[-2] and lines[-2].endswith("equal")


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


def reported(lines: list[str]) -> re.Match[str]:
    last = LAST.fullmatch(lines[-1])
    place = PLACE.fullmatch(lines[-2])
    assert last and int(last[2]) > 0 and place, lines
    assert int(place[5]) != int(place[6])
    return place


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
    c, out = compiled(tmp_path, more="[store]\nsamples = 5\n")
    source = next(out.glob("lib/*/src/*.c"))
    text = source.read_text()
    assert "i < 5u" in text
    source.write_text(text.replace("i < 5u", "i < 4u"))
    code, lines = verified(out, c.data, 20, "process", capsys)
    place = reported(lines)
    assert code == 1 and place[2] == "rehearse"


def test_a_bit_that_flips_between_steps_is_told_as_such(
    tmp_path: Path, capsys: Capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    c, out = compiled(tmp_path)
    weight = read_plan(out)["fc1_weight"]
    learn, count = Client.learn, []

    def flipped(self: Client, x: bytes, label: int, digest: bool = True) -> bytes | None:
        count.append(1)
        if len(count) == 7:
            at = weight.offset + 2 * (2 * weight.row + 3)
            byte = self.read(Region.STATE, at, 1)[0]
            self.write(Region.STATE, at, bytes([byte ^ 1]))
        return learn(self, x, label, digest)

    monkeypatch.setattr(Client, "learn", flipped)
    code, lines = verified(out, c.data, 50, "process", capsys)
    place = reported(lines)
    assert code == 1 and int(place[1]) == 7 and place[3] == "fc1_weight" and place[4] == "[2][3]"
    assert "the state changed between steps" in place[7]


def test_a_digest_that_lies_is_told(tmp_path: Path, capsys: Capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    c, out = compiled(tmp_path)
    learn = Client.learn
    monkeypatch.setattr(Client, "learn", lambda self, x, label: learn(self, x, label) and bytes(32))
    capsys.readouterr()
    words = ["verify", str(out), "--data", str(c.data), "--steps", "5", "--device", "process"]
    assert main(words) == 2
    assert "step 1: the digest differs and the state read back does not" in capsys.readouterr().err


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
