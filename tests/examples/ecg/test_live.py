"""`synapcc demo ecg --live`: whom it shows, what it refuses, and a whole run without a page and with one."""

from __future__ import annotations

import json
import re
import resource
import socket
from pathlib import Path

import live_page
import numpy as np
import pytest
from projects import refusal

from synapcc.examples.ecg import live, live_model, records
from synapcc.gen.errors import SynapccError
from synapcc.host import cache
from synapcc.host.cli import main

RUN = ["demo", "ecg", "--live"]


@pytest.fixture
def no_data(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing of MIT-BIH, a cache of its own, and few synthetic patients for the formats."""

    def find(download: bool = True) -> Path:
        raise records.DataError("mitdb", "not found")

    monkeypatch.setattr(records, "find", find)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(live_model, "SYNTHETIC_MINUTES", 2.0)
    monkeypatch.setattr(live, "SYNTHETIC_MINUTES", 1.0)


@pytest.mark.usefixtures("no_data", "unoptimised")
def test_a_synthetic_patient_says_so_first_and_last(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And the project is made once: a second run finds it."""
    words = [
        *RUN,
        "--learn",
        "--speed",
        "max",
        "--minutes",
        "0.4",
        "--engine",
        "numpy",
        "--json",
        str(tmp_path / "live.json"),
    ]
    assert main(words) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "SYNTHETIC" in lines[0] and "SYNTHETIC" in lines[-1]
    assert re.fullmatch(r"open http://127\.0\.0\.1:\d+/\S{24}/", lines[1])
    said = json.loads((tmp_path / "live.json").read_text())
    assert said["schema"] == "synapcc.demo.live/1" and said["differing"] == 0
    assert said["pushes"] == 360 and said["labels"] == said["learned"] > 10 and said["judged"] > 15
    assert lines[-2] == (
        f"live: 360 pushes and {said['labels']} labels on process, 0.4 minutes of signal, 0 differing bytes"
    )
    (project,) = (cache.folder() / "live").iterdir()
    out = live_model.copied(project, tmp_path / "out")
    assert (out / "platformio.ini").read_bytes() == (project / "platformio.ini").read_bytes()
    assert live_model.copied(project, out) == out and not list(out.rglob(".build"))
    made = (project / "plan.json").stat().st_mtime_ns
    assert live_model.project(False, "hebbian", "mps2_an386") == project
    assert (project / "plan.json").stat().st_mtime_ns == made


def test_the_page_says_that_a_patient_is_synthetic() -> None:
    who = live.shown("synthetic-5", "A chip")
    assert not who.real and "SYNTHETIC" in who.words.notice and who.words.title == "Synthetic patient 5"
    assert who.recording.names[who.words.denied] == "N" and (np.diff(who.recording.at) > 0).all()
    assert len(who.words.meaning) == len(who.recording.names)


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--patient", "999"], 'there is no record "999"'),
        (["--patient", "101"], "belongs to DS1"),
        (["--patient", "100", "--patient", "103"], "2 patients; a live page shows one"),
        (["--patient", "100"], "patient 100: needs MIT-BIH"),
        (["--speed", "fast"], '"fast"; give 0.1 to 1000, or max'),
        (["--speed", "nan"], '"nan"; give 0.1'),
        (["--speed", "0"], '"0"; give 0.1'),
        (["--minutes", "-3"], "-3; give more than 0"),
        (["--minutes", "nan"], "nan; give more than 0"),
        (["--rule", "nobody.toml"], "nobody.toml: there is no such file"),
        (["--device", "abacus"], '--device: there is no kind "abacus"'),
        (["--passes", "3"], "--passes: is not of the live page; leave it out, or leave out --live"),
        (["--timing"], "--timing: is not of the live page"),
        (["--board", "none.toml"], "none.toml"),
    ],
)
@pytest.mark.usefixtures("no_data")
def test_what_cannot_be_shown(more: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(live_model, "project", lambda *_: _refuse(more))
        assert says in refusal([*RUN, *more], capsys)


def _refuse(more: list[str]) -> Path:
    from synapcc.gen.target.boards import load_board

    rule = more[1] if "--rule" in more else "hebbian"
    live_model.rule_spec(rule)
    load_board(more[1] if "--board" in more else "mps2_an386")
    raise AssertionError(f"{more} was not refused")


def test_options_of_the_page_say_that_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    for more in (["--speed", "2"], ["--http-port", "8000"], ["--learn"]):
        assert refusal([*RUN[:2], *more], capsys) == f"{more[0]}: is of the live page; add --live"


def test_a_rule_that_learns_nothing(tmp_path: Path) -> None:
    (tmp_path / "rule.toml").write_text('rule = "none"\n')
    with pytest.raises(SynapccError, match="learns nothing; choose a rule that learns"):
        live_model.rule_spec(str(tmp_path / "rule.toml"))


def test_a_port_that_is_taken(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = str(other.getsockname()[1])
        said = refusal([*RUN, "--http-port", port], capsys)
        assert said.startswith(f"--http-port: {port} cannot be had (Address already in use); give another")


@pytest.mark.long
@pytest.mark.skipif(bool(live_page.missing()), reason=f"the live page for an hour: {live_page.missing()}")
def test_an_hour_of_signal_with_a_page_open() -> None:
    """Of CPU time, which others on the machine do not change: 20 times real time, and a first beat within 5 s
    once it was compiled. No growth of memory, here or in the page. Ctrl-C ends it as it should."""
    words = ["--learn", "--minutes", "60", "--speed", "max"]
    heap = "return performance.memory.usedJSHeapSize"
    for first in (True, False):
        before = spent()
        with live_page.command(["--minutes", "0.2", "--speed", "10"]) as it:
            assert it.end() == 0
        assert first or spent() < before + 5
    with live_page.command([]) as it:
        it.interrupt()
        assert it.end() == 0 and "0 differing bytes" in it.lines[-1] and "Traceback" not in "".join(it.lines)
    with live_page.browser() as browser, live_page.command(words) as it:
        before = spent()
        browser.get(it.address)
        it.until(live_page.FIRST)
        started = browser.execute_script(heap)
        told = it.until(r"(60\.0 minutes of signal in .*)")
        assert browser.execute_script(heap) < started + 30e6
        assert it.end() == 0 and ", 0 differing bytes" in "\n".join(it.lines)
        assert spent() < before + 3600 / 20
    early, late = (float(v) for v in re.findall(r"([\d.]+) MB", told))
    assert late < 1.03 * early + 2, told


def spent() -> float:
    """CPU seconds of the programs that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
