"""The plug-in in projects of users: tests that pass, that fail by a chip, and that lack what they ask for."""

from __future__ import annotations

import subprocess
import sys
import xml.etree.ElementTree as ET
from importlib import metadata
from pathlib import Path

import pytest
from projects import Case, compiled, refusal

from synapcc.host import pytest_plugin
from synapcc.host.cli import main

TESTS = """
import numpy as np
import pytest
from synapcc.gen.errors import SynapccError
from synapcc.host import Emulator

SAMPLES = {"input": np.zeros((3, 12), np.int8), "label": np.arange(3)}


def test_all_of_it(synapcc_plan, synapcc_device, assert_exact):
    verdict = assert_exact(synapcc_plan, synapcc_device, "data.npz", steps=20)
    assert verdict.steps == 20 and verdict.programs == ("learn",)


def test_it_starts_as_compiled(synapcc_plan, synapcc_device):
    want = Emulator(synapcc_plan).infer({"input": SAMPLES["input"][:1]})
    assert list(synapcc_device.infer(bytes(12)).scores) == want.scores[0].tolist()
    assert synapcc_device.stats().learned == 0


def test_of_arrays(synapcc_plan, synapcc_device, assert_exact):
    assert assert_exact(synapcc_plan, synapcc_device, SAMPLES, steps=4).steps == 4


@pytest.mark.parametrize("steps", [0, -3])
def test_steps_that_teach_nothing(steps, synapcc_plan, synapcc_device, assert_exact):
    with pytest.raises(SynapccError, match="nothing would be learned"):
        assert_exact(synapcc_plan, synapcc_device, "data.npz", steps=steps)


def test_data_that_do_not_fit(synapcc_plan, synapcc_device, assert_exact):
    with pytest.raises(SynapccError, match="label is missing"):
        assert_exact(synapcc_plan, synapcc_device, {"input": SAMPLES["input"]})
"""


def ran(folder: Path, *words: str) -> tuple[int, str]:
    """pytest in a project of its own: exit code and what it said."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", *words]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Case:
    """A project with an output folder, data and tests."""
    c, _ = compiled(tmp_path_factory.mktemp("project"))
    (c.folder / "test_chip.py").write_text(TESTS)
    (c.folder / "pytest.ini").write_text("[pytest]\nsynapcc_out = out\nsynapcc_device = process\n")
    return c


def wrong_chip(folder: Path, out: Path) -> Path:
    """The output folder with an update that does nothing; the digest stays."""
    copy = folder / "wrong"
    subprocess.run(["cp", "-r", out, copy], check=True)
    source = copy / "lib" / "net" / "src" / "net.c"
    text = source.read_text()
    begin = text.index("static void net_fc2_update(net_t *m)\n{")
    end = text.index("\n}\n", begin)
    source.write_text(text[:begin] + "static void net_fc2_update(net_t *m)\n{\n    (void)m;" + text[end:])
    return copy


def test_it_is_there_where_synapcc_is_installed() -> None:
    (point,) = (p for p in metadata.entry_points(group="pytest11") if p.name == "synapcc")
    assert point.load() is pytest_plugin


def test_tests_of_a_project(made: Case) -> None:
    code, said = ran(made.folder, "--junit-xml", "j.xml")
    assert code == 0 and "6 passed" in said, said
    assert len(list(ET.parse(made.folder / "j.xml").iter("testcase"))) == 6


def test_a_chip_that_differs(made: Case) -> None:
    wrong_chip(made.folder, made.folder / "out")
    code, said = ran(made.folder, "--synapcc-out", "wrong", "-k", "all_of_it")
    assert code == 1 and "AssertionError: verify: " in said, said
    assert "(learn): fc2_" in said and "first op that differs: dense.update of fc2" in said
    words = ["verify", str(made.folder / "wrong"), "--data", str(made.data), "--device", "process"]
    assert main([*words, "--junit", str(made.folder / "v.xml")]) == 1
    (failure,) = ET.parse(made.folder / "v.xml").iter("failure")
    assert failure.attrib["message"].startswith("step ") and "fc2_" in failure.attrib["message"]
    assert "dense.update of fc2" in (failure.text or "")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        pytest.param(["--synapcc-out", "absent"], "synapcc: absent", marks=pytest.mark.long),
        (["--synapcc-device", "abacus"], "there is no such kind; kinds: process"),
        (["-c", "none.ini"], "no output folder; give --synapcc-out OUT of synapcc compile"),
    ],
)
def test_what_is_missing_fails_with_a_line(words: list[str], says: str, made: Case) -> None:
    (made.folder / "none.ini").write_text("[pytest]\n")
    code, said = ran(made.folder, "-k", "as_compiled", *words)
    assert code == 1 and says in said and "Traceback" not in said and "1 error" in said, said
    assert said.count("\nsynapcc: ") == 1 and "SynapccError" not in said, said


ELSEWHERE = """
import os, pytest
from synapcc.host.devices import DeviceError
from synapcc.host import Client

@pytest.fixture(scope="session", autouse=True)
def somewhere_else(tmp_path_factory):
    os.chdir(tmp_path_factory.mktemp("else"))

def test_plan(synapcc_plan):
    assert synapcc_plan.learning

def reset(client):
    raise DeviceError("the chip", "fell silent")

@pytest.fixture
def silent(monkeypatch):
    monkeypatch.setattr(Client, "reset", reset)
    monkeypatch.setattr(Client, "close", lambda client, close=Client.close: (close(client), print("let go")))

def test_silent(silent, synapcc_device):
    pass
"""


def test_where_the_output_folder_is(made: Case, tmp_path: Path) -> None:
    """Of the command line from where pytest was started, of settings from their file, whatever the root is
    and wherever a test goes; and a chip that fails at the reset is let go, in one line."""
    inner = made.folder / "inner"
    (inner / "ci").mkdir(parents=True)
    (inner / "test_else.py").write_text(ELSEWHERE)
    (inner / "ci" / "set.ini").write_text("[pytest]\nsynapcc_out = ../../out\nsynapcc_device = process\n")
    settings = ("-c", "ci/set.ini", "--rootdir", str(tmp_path), "test_else.py")
    code, said = ran(inner, *settings)
    assert code == 1 and "1 passed, 1 error" in said, said
    assert said.count("\nsynapcc: the chip: fell silent") == 1 and "Traceback" not in said, said
    assert "let go" in said
    code, said = ran(inner, *settings, "-k", "plan", "--synapcc-out", "../out")
    assert code == 0 and "1 passed" in said, said


def test_where_no_report_can_be(made: Case, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["verify", str(made.folder / "out"), "--data", str(made.data), "--device", "process"]
    assert "there is no folder" in refusal([*words, "--junit", str(made.folder / "x" / "y.xml")], capsys)
    same = str(made.folder / "same")
    assert "two results would be one file" in refusal([*words, "--junit", same, "--json", same], capsys)
    assert not (made.folder / "same").exists()
