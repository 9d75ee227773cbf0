"""What a device keeps: saved, found by another device in the same flash, forgotten; refusals in one line."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from projects import Case, case, compiled, refusal, write_rule

from synapcc.gen.target.messages import Kept
from synapcc.host.cli import main
from synapcc.host.link.client import Client
from synapcc.host.link.state import joined, load
from synapcc.host.link.store import ANSWERS, BEGAN
from synapcc.host.run.plans import read_plan

Capsys = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> tuple[Case, Path]:
    folder = tmp_path_factory.mktemp("save")
    made, out = case(folder), folder / "out"
    assert main(made.words(out, "--keep", "--board", "mps2_an386")) == 0
    return made, out


def told(path: Path) -> dict[str, object]:
    found: dict[str, object] = json.loads(path.read_text())
    return found


def test_a_saved_state_is_found_by_another_device(
    project: tuple[Case, Path], tmp_path: Path, capsys: Capsys
) -> None:
    (c, out), flash, said = project, tmp_path / "w.flash", tmp_path / "said.json"
    more = ["--flash", str(flash), "--json", str(said)]
    assert main(["save", str(out), "--on", "process", "--learn", str(c.data), *more]) == 0
    saved = told(said)
    assert (saved["found"], saved["erases"], saved["blocks"]) == ("empty", 1, 3)
    assert main(["restore", str(out), "--device", "unicorn", *more]) == 0
    restored = told(said)
    assert restored["state_digest"] == saved["state_digest"] and not restored["erased"]
    assert main(["save", str(out), "--device", "process", *more]) == 0  # nothing was learned since
    assert (told(said)["found"], told(said)["state_digest"]) == ("ok", saved["state_digest"])
    assert main(["restore", str(out), "--device", "process", "--erase", *more]) == 0
    assert told(said)["erased"] is True
    before = flash.read_bytes()
    line = refusal(["restore", str(out), "--device", "process", "--flash", str(flash)], capsys)
    assert line.startswith("process: RESTORE: nothing is kept") and len(flash.read_bytes()) == len(before)


def test_a_virtual_device_without_a_file_says_what_is_lost(
    project: tuple[Case, Path], capsys: Capsys
) -> None:
    assert main(["save", str(project[1]), "--device", "process"]) == 0
    assert "a virtual device takes its flash with it" in capsys.readouterr().out


def test_refusals(project: tuple[Case, Path], tmp_path: Path, capsys: Capsys) -> None:
    out, wrong = project[1], tmp_path / "wrong"
    wrong.write_bytes(b"flash")
    save = ["save", str(out), "--device", "process", "--flash"]
    assert "holds 5 bytes, the flash of this project's virtual devices has" in refusal(
        [*save, str(wrong)], capsys
    )
    assert wrong.read_bytes() == b"flash"
    assert "there is no folder" in refusal([*save, str(tmp_path / "no" / "w")], capsys)
    _, plain = compiled(tmp_path / "plain")
    for command in (["save"], ["restore"], ["restore", "--erase"]):
        line = refusal([command[0], str(plain), "--device", "process", *command[1:]], capsys)
        assert "its firmware has no store in flash; compile with --keep" in line
    assert "no such file" in refusal([*save[:4], "--learn", str(tmp_path / "none.npz")], capsys).lower()


def test_what_could_not_be_read_is_not_written_over(
    project: tuple[Case, Path], tmp_path: Path, capsys: Capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A start that failed to read its flash: what lies there may be more than what the chip has learned."""
    file = tmp_path / "w.flash"
    words = ["save", str(project[1]), "--device", "process", "--flash", str(file)]
    assert main(words) == 0
    before = file.read_bytes()
    monkeypatch.setattr(Client, "restore", lambda *_: (Kept.IO, b""))
    line = refusal(words, capsys)
    assert "its flash could not be read when it started" in line and "reset it" in line
    assert file.read_bytes() == before


def test_every_answer_of_a_store_has_its_words() -> None:
    assert {*ANSWERS} == {*Kept} - {Kept.OK, Kept.NONE}
    assert {*BEGAN} == {*Kept} - {Kept.OK, Kept.NONE, Kept.EMPTY, Kept.WORN, Kept.UNUSABLE, Kept.IO}
    assert all("\n" not in part and part for answer in ANSWERS.values() for part in answer)


def test_an_update_takes_over_what_is_kept(tmp_path: Path, capsys: Capsys) -> None:
    """Firmware of another rule finds the flash of the old one, and has what `synapcc migrate` says."""
    keep = "[keep]\nmigrate = true\n"
    c = case(tmp_path, more=keep)
    old, new, flash, said = (tmp_path / n for n in ("old", "new", "w.flash", "said.json"))
    assert main(c.words(old, "--board", "mps2_an386")) == 0
    write_rule(c.rule, "bp", "int8", keep)
    assert main(c.words(new, "--board", "mps2_an386")) == 0
    on = ["--device", "process", "--flash", str(flash), "--json", str(said)]
    assert main(["save", str(old), "--learn", str(c.data), *on]) == 0
    learned, kept = told(said)["state_digest"], tmp_path / "kept.npz"
    words = ["emulate", str(old), "--data", str(c.data), "-o", str(tmp_path / "r.npz"), "--learn"]
    assert main([*words, "--state-out", str(kept)]) == 0
    moved = tmp_path / "moved.npz"
    assert main(["migrate", str(old), str(new), str(kept), "-o", str(moved)]) == 0
    plan = read_plan(new)
    want = hashlib.sha256(joined(plan, load(plan, moved)[0])).hexdigest()
    before = flash.read_bytes()
    assert main(["restore", str(new), *on]) == 0
    assert told(said)["migrated"] is True and told(said)["state_digest"] == want
    assert "was taken over" in capsys.readouterr().out
    assert main(["restore", str(old), *on]) == 0 and flash.read_bytes() == before
    assert told(said)["state_digest"] == learned and told(said)["migrated"] is False
    capsys.readouterr()
    assert main(["save", str(new), *on]) == 0 and told(said)["found"] == "migrated"
    assert "warning: process began with what could be taken over" in capsys.readouterr().out
    assert main(["restore", str(new), *on]) == 0
    assert (told(said)["migrated"], told(said)["state_digest"]) == (False, want)
