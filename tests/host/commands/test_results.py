"""What commands share: no abbreviations, one --json, results that are new files, a state to go on from."""

from __future__ import annotations

import argparse
import ast
import json
import os
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from projects import Case, case, compiled, listing, refusal, spawn

from synapcc.host import commands
from synapcc.host.cli import ORDER, main, parser
from synapcc.host.run.emulator import Emulator
from synapcc.host.terminal import results
from synapcc.host.terminal.arguments import REPORTS
from synapcc.host.terminal.results import SCHEMAS, document, schema

Capsys = pytest.CaptureFixture[str]
REPO = Path(__file__).parents[3]
SOURCES = [p for room in ("gen", "host", "examples") for p in sorted((REPO / room).rglob("*.py"))]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> tuple[Case, Path]:
    return compiled(tmp_path_factory.mktemp("project"), more="[store]\nsamples = 4\n")


def parsers(top: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    yield top
    for action in top._actions:
        if isinstance(action, argparse._SubParsersAction):
            for sub in action.choices.values():
                yield from parsers(sub)


# ---- options ------------------------------------------------------------------------------------------


def test_no_option_is_known_by_a_part_of_its_name() -> None:
    for p in parsers(parser()):
        bare = type(p)(add_help=False)
        for action in p._actions:
            if action.option_strings:
                action.required = False
                bare._add_action(action)
        names = {s for a in p._actions for s in a.option_strings if s.startswith("--")}
        parts = {name[:end] for name in names for end in range(3, len(name))} - names
        for part in parts:
            assert bare.parse_known_args([part, "x"])[1] == [part, "x"], (p.prog, part)


def test_an_abbreviation_is_refused_in_a_line(capsys: Capsys) -> None:
    for words in (["emulate", "OUT", "--dat", "d.npz", "-o", "r"], ["doctor", "--pat"], ["--vers"]):
        with pytest.raises(SystemExit) as stopped:
            main(words)
        said = capsys.readouterr()
        assert stopped.value.code == 2 and said.err.count("\n") == 1 and "--help" in said.err


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(REPO)))
def test_every_parser_is_ours(path: Path) -> None:
    """Scripts too: whoever parses words does it with Parser, which takes no abbreviations."""
    if path == REPO / "host" / "arguments.py":
        return
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            assert name not in ("ArgumentParser", "OptionParser", "getopt"), path


# ---- documents ----------------------------------------------------------------------------------------


def calls(c: Case, out: Path, folder: Path) -> dict[str, list[str]]:
    """A call of every command that needs no chip, by the document that it gives."""
    data, result = ["--data", str(c.data)], ["-o", str(folder / "r.npz")]
    return {
        "boards": ["boards"],
        "rules": ["rules"],
        "doctor": ["doctor"],
        "docs": ["docs"],
        "docs.page": ["docs", "RULES"],
        "build": ["build", str(out)],
        "inspect": ["inspect", str(out)],
        "inspect.model": ["inspect", str(c.model)],
        "inspect.learn": ["inspect", str(out), "--learn", str(c.data)],
        "emulate": ["emulate", str(out), *data, *result],
        "personalise": ["personalise", str(out), "--learn", str(c.data), "--test", str(c.data)],
        "verify": ["verify", str(out), *data, "--device", "process", "--steps", "5"],
        "pull": ["pull", str(out), "--device", "process", "--npz", str(folder / "s.npz")],
        "push": ["push", str(out), str(folder / "s.npz"), "--device", "process"],
        "bench": ["bench", str(out), "--device", "unicorn", "--samples", "1"],
    }


def test_every_document_has_a_schema_and_comes_out_the_same_again(
    project: tuple[Case, Path], tmp_path: Path, capsys: Capsys
) -> None:
    c, out = project
    for kind, words in calls(c, out, tmp_path).items():
        target = tmp_path / "d.json"
        capsys.readouterr()
        assert main([*words, "--json", "-"]) == 0, kind
        printed = capsys.readouterr().out
        assert main([*words, "--json", str(target)]) == 0
        assert capsys.readouterr().out != "", kind
        assert target.read_text() == printed, kind
        found = json.loads(printed)
        assert next(iter(found)) == "schema" and found["schema"] == schema(kind), kind
        assert str(tmp_path) not in printed and str(out.parent) not in printed, kind
        assert not re.search(r'": "/', printed) and '"seconds"' not in printed, kind
        assert printed.isascii()


def test_compile_gives_the_report_of_the_folder(tmp_path: Path, capsys: Capsys) -> None:
    c, out = case(tmp_path / "in"), tmp_path / "out"
    assert main(c.words(out, "--json", str(tmp_path / "d.json"))) == 0
    assert (tmp_path / "d.json").read_bytes() == (out / "report.json").read_bytes()
    assert json.loads((out / "report.json").read_text())["schema"] == "synapcc.compile/1"
    same = str(tmp_path / "x")
    assert "two results would be one file" in refusal(c.words(Path(same), "--json", same), capsys)


def test_new_board_gives_a_document(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["new-board", "mine", "--json", "d.json"]) == 0
    assert json.loads(Path("d.json").read_text()) == {
        "schema": "synapcc.new-board/1", "file": "mine.toml", "name": "mine",
    }  # fmt: skip


def test_every_command_has_a_document_and_the_option() -> None:
    assert {k.split(".")[0] for k in SCHEMAS} == set(ORDER)
    for p in list(parsers(parser()))[1:]:
        (found,) = [a for a in p._actions if "--json" in a.option_strings]
        assert found.metavar == "FILE" and found.nargs is None, p.prog


def test_a_command_that_forgets_its_document_is_a_fault(tmp_path: Path) -> None:
    with pytest.raises(AssertionError):
        results.Results(str(tmp_path / "d.json")).finish()
    with pytest.raises(KeyError):
        document("nothing", {})


def test_times_are_told_where_they_are_asked_for(project: tuple[Case, Path], capsys: Capsys) -> None:
    c, out = project
    words = ["verify", str(out), "--data", str(c.data), "--device", "process", "--steps", "5", "--timing"]
    capsys.readouterr()
    assert main([*words, "--json", "-"]) == 0
    assert len(json.loads(capsys.readouterr().out)["seconds"]) == 5
    assert main(["doctor", "--paths", "--json", "-"]) == 0
    assert '"place"' in capsys.readouterr().out


def test_what_is_no_json_becomes_json() -> None:
    body = {"b": np.float32("nan"), "a": (np.int8(3), {2: None, 1: float("inf")}), "c": "\x1b\u202e"}
    text = document("rules", body)
    assert text.isascii() and json.loads(text) == {
        "schema": "synapcc.rules/1", "a": [3, {"1": None, "2": None}], "b": None, "c": "\x1b\u202e",
    }  # fmt: skip


# ---- results are new files ----------------------------------------------------------------------------


def test_results_replace_nothing_that_is_read(
    project: tuple[Case, Path], tmp_path: Path, capsys: Capsys
) -> None:
    c, out = project
    words = ["emulate", str(out), "--data", str(c.data)]
    before = c.data.read_bytes()
    state = tmp_path / "s.npz"
    assert main([*words, "-o", str(tmp_path / "r.npz"), "--state-out", str(state)]) == 0
    held = state.read_bytes()
    (tmp_path / "link").symlink_to(c.data)
    for more, says in (
        (["-o", str(c.data)], "would replace it"),
        (["-o", str(tmp_path / "r"), "--json", str(tmp_path / "link")], "would replace it"),
        (["-o", str(state), "--state", str(state)], "would replace it"),
        (["-o", str(tmp_path / "r"), "--json", str(tmp_path / "x" / ".." / "r")], "there is no folder"),
        (["-o", str(tmp_path / "r"), "--json", f"{tmp_path}/./r"], "two results would be one file"),
        (["-o", str(tmp_path / "r"), "--state-out", str(tmp_path / "r")], "two results would be one file"),
    ):
        assert says in refusal([*words, *more], capsys)
    assert c.data.read_bytes() == before and state.read_bytes() == held
    assert not (tmp_path / "r").exists()


def test_results_are_regular_files(project: tuple[Case, Path], tmp_path: Path, capsys: Capsys) -> None:
    c, out = project
    os.mkfifo(tmp_path / "pipe")
    for target in (str(tmp_path / "pipe"), "/dev/null", "/dev/full"):
        for words in (["boards", "--json"], ["inspect", str(out), "--learn", str(c.data), "--html"]):
            assert "take the place of" in refusal([*words, target], capsys)
    assert listing(tmp_path) == {"pipe"} and Path("/dev/null").is_char_device()


# ---- a state that learning goes on from ---------------------------------------------------------------


def test_emulate_goes_on_from_a_state(project: tuple[Case, Path], tmp_path: Path, capsys: Capsys) -> None:
    """Twice 60 samples are 120: the state between them is read, never written where it is not asked for."""
    c, out = project
    learn = ["emulate", str(out), "--data", str(c.data), "--learn", "-o", str(tmp_path / "r.npz")]
    first, second = tmp_path / "1.npz", tmp_path / "2.npz"
    assert main([*learn, "--state-out", str(first)]) == 0
    held = first.read_bytes()
    assert main([*learn, "--state", str(first), "--state-out", str(second)]) == 0
    assert first.read_bytes() == held
    machine = Emulator(out)
    with np.load(c.data) as z:
        x, y = z["input"], z["label"]
    for i in [*range(60), *range(60)]:
        machine.infer({"input": x[i : i + 1]})
        machine.learn({"input": x[i : i + 1]}, y[i : i + 1])
    with np.load(second) as z:
        for t in machine.plan.space("state"):
            assert np.array_equal(z[t.name], machine[t.name][0]), t.name
    assert main([*learn, "--state", str(first), "--state-out", str(first)]) == 0
    with np.load(first) as z, np.load(second) as w:
        assert all(np.array_equal(z[n], w[n]) for n in z.files if n != "synapcc.about")
    assert main([*learn[:4], *learn[5:], "--state", str(first)]) == 0
    with np.load(first) as z, np.load(tmp_path / "r.npz") as r:
        assert int(z["step"][0]) == 120 and set(r.files) == {"winner", "margin", "scores"}
    _, other = compiled(tmp_path / "other", "dfa")
    words = [*learn[:1], str(other), *learn[2:]]
    assert "holds a state of Plan" in refusal([*words, "--state", str(first)], capsys)
    assert "is no state" in refusal([*learn, "--state", str(c.data)], capsys)
    assert "there is no such file" in refusal([*learn, "--state", str(tmp_path / "none")], capsys)


def test_the_fault_that_overwrote_what_was_learned(project: tuple[Case, Path], tmp_path: Path) -> None:
    c, out = project
    kept = tmp_path / "s.npz"
    words = ["emulate", str(out), "--data", str(c.data), "-o", str(tmp_path / "r.npz")]
    assert main([*words, "--learn", "--state-out", str(kept)]) == 0
    held = kept.read_bytes()
    assert spawn([*words, "--state", str(kept)]).returncode == 0
    assert spawn([*words, "--state-ou", str(kept)]).returncode == 2
    assert kept.read_bytes() == held


def earlier(folder: Path) -> dict[str, Path]:
    """Reports, and a state, that were there before."""
    found = {kind: folder / f"r.{kind}" for kind in ("json", "html", "junit", "npz")}
    for kind, path in found.items():
        path.write_bytes(REPORTS.get(kind, b"") + b" an earlier run")
    return found


def test_no_report_of_an_earlier_run_is_taken_for_this_one(
    project: tuple[Case, Path], tmp_path: Path, capsys: Capsys
) -> None:
    """Whatever ends it; a report that says why is there in its place."""
    c, out = project
    files = earlier(tmp_path)
    reports = [word for kind in REPORTS for word in (f"--{kind}", str(files[kind]))]
    said = refusal(["verify", str(out), "--data", str(tmp_path / "none.npz"), *reports], capsys)
    assert f"{files['json']} was of an earlier run, and is {files['json']}.old now" in said
    assert not files["json"].exists() and not files["html"].exists() and "r.junit" not in said
    (error,) = ET.parse(files["junit"]).iter("error")
    assert "none.npz: " in error.attrib["message"] and "\n" not in error.attrib["message"]
    assert (tmp_path / "r.html.old").read_text().endswith("an earlier run")
    words = ["verify", str(out), "--data", str(c.data), "--device", "process", "--steps", "2", *reports]
    assert main(words) == 0
    assert not list(ET.parse(files["junit"]).iter("error")) and files["html"].exists()
    assert all(files[kind].read_bytes().startswith(head) for kind, head in REPORTS.items())
    capsys.readouterr()
    assert "r.html.old" in refusal([*words[:-6], "--html", str(files["html"]), "--steps", "-1"], capsys)
    assert b"<!doctype" in (tmp_path / "r.html.old").read_bytes().lower()
    refusal(["pull", str(out), "--device", "serial:/dev/none", "--npz", str(files["npz"])], capsys)
    assert files["npz"].read_text() == " an earlier run"
    files["json"].write_text("notes of mine")
    refusal([*words[:-6], "--json", str(files["json"]), "--steps", "-1"], capsys)
    assert files["json"].read_text() == "notes of mine"
    (tmp_path / "r.html.old").write_text("mine, too")
    assert main(words) == 0 and files["html"].exists()
    capsys.readouterr()
    said = refusal([*words[:-6], "--html", str(files["html"]), "--steps", "-1"], capsys)
    assert f"is {files['html']}.old3 now" in said and not files["html"].exists()
    assert (tmp_path / "r.html.old").read_text() == "mine, too"
    assert main(words) == 0
    capsys.readouterr()
    refusal([*words[:-6], "--html", str(files["html"]), "--steps", "-1"], capsys)
    assert {p.name for p in tmp_path.glob("r.html*")} == {f"r.html.old{n}" for n in ("", 2, 3, 4)}


@pytest.mark.parametrize(
    ("end", "code"), [(KeyboardInterrupt(), 130), (SystemExit(143), 143), (OSError(5, "I/O"), 2)]
)
def test_a_command_that_is_ended_leaves_none_either(
    end: BaseException, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capsys
) -> None:
    def ended(*_: object) -> int:
        raise end

    found = earlier(tmp_path)["json"]
    monkeypatch.setattr(commands.command("boards"), "run", ended)
    words = ["boards", "--json", str(found)]
    try:
        assert main(words) == code
    except SystemExit as error:
        assert error.code == code
    assert not found.exists() and f"is {found}.old now" in capsys.readouterr().err
