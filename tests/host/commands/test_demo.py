"""synapcc demo ecg: a synthetic patient with few beats, in a process; and whatever can be given wrong."""

import json
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pages import sound

from synapcc.examples.ecg import beats, demo, demo_report, protocol, records, synthetic
from synapcc.gen.target.messages import Region
from synapcc.host.cli import main
from synapcc.host.devices import DeviceError
from synapcc.host.devices.process import host_compiler
from synapcc.host.link.client import Client, Inference

PATIENT = "synthetic-13"
LINE = re.compile(r"demo: (\d+) learning steps on process, 0 differing bytes")


@pytest.fixture(autouse=True)
def somewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of its own, and calibration beats from one synthetic patient instead of six."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(demo, "_CALIBRATION_SEEDS", range(1001, 1002))
    monkeypatch.setattr(protocol, "CALIBRATION", 64)
    return tmp_path


@pytest.fixture
def compiler() -> None:
    try:
        host_compiler()
    except DeviceError as absent:
        pytest.skip(str(absent))


@pytest.fixture
def no_data(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(download: bool = True) -> Path:
        raise records.DataError("mitdb", "not a single file", "look elsewhere")

    monkeypatch.setattr(records, "find", absent)


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Patients of whom every seventh beat is known: some sixty to learn."""
    extract = beats.extract
    monkeypatch.setattr(beats, "extract", lambda r: (b := extract(r)).take(np.arange(0, len(b), 7)))


def demonstrate(*words: str) -> int:
    return main(["demo", "ecg", "--device", "process", "--minutes", "8", *words])


@pytest.mark.usefixtures("compiler", "few")
def test_demo(somewhere: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (somewhere / "out").mkdir()
    assert demonstrate("--patient", PATIENT, "--passes", "2", "--json", "out/ecg.json") == 0
    lines = capsys.readouterr().out.splitlines()
    assert "SYNTHETIC" in lines[0] and "SYNTHETIC" in lines[-1] and "wfdb" in lines[0]
    steps = next(int(m[1]) for line in lines if (m := LINE.fullmatch(line)))
    result = json.loads((somewhere / "out" / "ecg.json").read_text())
    one = result["patients"][PATIENT]
    assert not result["real"] and result["steps"] == steps == one["learned"]
    assert result["rehearsals"] == one["rehearsals"] == 1
    assert result["inferences"] == 2 * one["tested"] + 2 * one["learned"]
    for side in ("before", "after"):
        matrix = np.array(one[side]["confusion"])
        assert matrix.sum() == one["tested"]
        assert one[side]["accuracy"] == pytest.approx(np.trace(matrix) / matrix.sum())
    change = np.trace(np.array(one["after"]["confusion"]) - np.array(one["before"]["confusion"]))
    assert one["fixed"] - one["broken"] == change
    text = (somewhere / "report" / "ecg.html").read_text(encoding="utf-8")
    sound(text)
    assert "synthetic" in text and LINE.search(text) and "Not a medical device" in text


@pytest.mark.usefixtures("compiler", "few", "no_data")
def test_without_data_the_patients_are_synthetic_and_said_to_be(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo, "SHOWN_SYNTHETIC", {PATIENT: "one is enough"})
    assert demonstrate("--passes", "1") == 0
    lines = capsys.readouterr().out.splitlines()
    for line in (lines[0], lines[-1]):
        assert "SYNTHETIC" in line and "not a single file" in line and "SYNAPCC_DATA" in line


@dataclass
class Liar:
    """Changes what the chip says of one request, the `at`th."""

    at: int
    calls: int = 0

    def due(self) -> bool:
        self.calls += 1
        return self.calls == self.at


@pytest.mark.usefixtures("compiler", "few")
def test_another_byte_is_told_and_ends_the_demo(
    somewhere: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    liar, learn = Liar(3), Client.learn

    def spoilt(self: Client, x: bytes, label: int, digest: bool = True) -> bytes | None:
        answer = learn(self, x, label, digest)
        if liar.due():
            tensor = next(t for t in self.tensors() if t.name.endswith("weight"))
            old = self.read(Region.STATE, tensor.offset, 1)
            self.write(Region.STATE, tensor.offset, bytes([old[0] ^ 1]))
            return self.digest()
        return answer

    monkeypatch.setattr(Client, "learn", spoilt)
    assert demonstrate("--patient", PATIENT, "--passes", "1") == 1
    lines = capsys.readouterr().out.splitlines()
    assert re.search(
        r"step 3 \(learn\): fc\d_weight\[0\]\[0\] expected -?\d+, got -?\d+; no op differs", lines[-2]
    )
    assert lines[-1] == "demo: 3 learning steps on process, 1 differing bytes"
    assert not (somewhere / "report").exists()


@pytest.mark.usefixtures("compiler", "few")
def test_another_score_is_told(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    liar, infer = Liar(5), Client.infer

    def spoilt(self: Client, x: bytes) -> Inference:
        said = infer(self, x)
        return said._replace(margin=said.margin + 1) if liar.due() else said

    monkeypatch.setattr(Client, "infer", spoilt)
    assert demonstrate("--patient", PATIENT) == 1
    assert "margin[0] expected" in capsys.readouterr().out.splitlines()[-2]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("--patient 201", "belongs to DS1"),
        ("--patient 102", "paced"),
        ("--patient 999", 'no record "999"'),
        ("--patient synthetic-x", "and a number"),
        ("--patient 232 --patient 232", "twice"),
        ("--patient 232 --patient synthetic-1", "one kind"),
        ("--passes 0", "give 1 or more"),
        ("--minutes 5", "more than 5"),
        ("--minutes nan", "more than 5"),
        ("--rule hebian", "neither a rule nor a file"),
        ("--model nope --patient synthetic-1", "neither a base model nor a file"),
        ("--board nope --patient synthetic-1", "no such board"),
        ("--device nope", "no kind"),
        ("--html .", "is a folder"),
        ("--json .", "is a folder"),
    ],
)
def test_bad_input(words: str, told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert demonstrate(*words.split()) == 2
    said = capsys.readouterr().err.splitlines()
    assert told in said[-1] and said[-1].startswith("synapcc demo: ")


@pytest.mark.usefixtures("no_data")
def test_a_real_patient_without_data(capsys: pytest.CaptureFixture[str]) -> None:
    assert demonstrate("--patient", "232") == 2
    assert "patient 232: needs MIT-BIH: not a single file" in capsys.readouterr().err


def test_a_rule_that_learns_nothing(somewhere: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (somewhere / "frozen.toml").write_text('rule = "none"\n')
    assert demonstrate("--patient", PATIENT, "--rule", "frozen.toml") == 2
    assert "learns nothing" in capsys.readouterr().err


def test_a_patient_without_labels_in_the_five_minutes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    draw = synthetic.record

    def late(seed: int, minutes: float = 30.0) -> Any:
        whole = draw(seed, minutes)
        kept = whole.rpeak > 6 * 60 * records.FS
        return replace(whole, rpeak=whole.rpeak[kept], symbol=whole.symbol[kept])

    monkeypatch.setattr(synthetic, "record", late)
    assert demonstrate("--patient", PATIENT) == 2
    assert "0 annotated beats before minute 5" in capsys.readouterr().err


@pytest.mark.usefixtures("compiler", "few")
def test_a_kept_project_is_met_again_and_another_is_not_overwritten(
    somewhere: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--patient", PATIENT, "--passes", "1", "--out", "kept")
    assert demonstrate(*words) == 0
    plan = (somewhere / "kept" / "plan.json").read_bytes()
    assert demonstrate(*words) == 0
    assert demonstrate(*words, "--rule", "last") == 2
    assert "exists already" in capsys.readouterr().err
    assert (somewhere / "kept" / "plan.json").read_bytes() == plan


@pytest.mark.usefixtures("compiler", "few")
def test_the_first_wrong_op_is_found(somewhere: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Behind a concatenation, whose parts leave bytes of earlier runs beside them: these are no result."""
    words = ("--patient", PATIENT, "--passes", "1", "--out", "kept")
    assert demonstrate(*words) == 0
    source = next((somewhere / "kept" / "lib").rglob("*.c"))
    text = source.read_text()
    assert "state.step[0]++;" in text
    source.write_text(text.replace("state.step[0]++;", "state.step[0] += 2u;"))
    assert demonstrate(*words) == 1
    lines = capsys.readouterr().out.splitlines()
    assert (
        "step 1 (learn): step[0] expected 1, got 2; first op that differs: counter.tick of step" in lines[-2]
    )
    assert lines[-1] == "demo: 1 learning steps on process, 1 differing bytes"


def test_what_got_worse_is_told() -> None:
    patient = beats.extract(synthetic.record(1, 1)).take(np.arange(6))
    patient = replace(patient, label=np.array([0, 0, 1, 1, 2, 2], np.uint8))
    before, after = np.array([0, 1, 1, 1, 2, 0]), np.array([0, 0, 0, 0, 2, 2])
    lesson = demo.Lesson("x", patient, patient, before, after, before, before, 0, 0, 0.0, b"")
    assert demo_report.worse(lesson) == "S 80.0 -> 0.0"
    assert list(lesson.fixed) == [1, 5] and list(lesson.broken) == [2, 3]
    assert "2 fixed, 2 broken" in demo_report.text(lesson, 1)
