"""What only reads options imports nothing that computes; and the examples that commands find."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

import pytest
from projects import refusal

from synapcc.examples.ecg import demo_run
from synapcc.host import commands, doctor, examples
from synapcc.host.cli import main, parser
from synapcc.host.terminal.results import Results

LOADED = """
import contextlib, io, json, sys
before = set(sys.modules)
from synapcc.host.cli import main
found = {}
for line in json.load(sys.stdin):
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        try:
            code = main(line)
        except SystemExit as end:
            code = end.code
    new = {name.split(".")[0] for name in set(sys.modules) - before}
    strange = new - set(sys.stdlib_module_names) - {"synapcc"} | new & {"ssl", "asyncio", "http", "unittest"}
    found[" ".join(line)] = [code, sorted(strange)]
print(json.dumps(found))
"""


def test_help_version_and_wrong_options_load_no_package_but_ours() -> None:
    lines = [["--help"], ["--version"], [], ["nonsense"], ["--nonsense"]]
    for name in commands.names():
        lines += [[name, "--help"], [name, "--no-such-option"]]
    for name, command in (("ecg", "demo"), ("ecg", "eval"), ("nobody", "demo"), ("nobody", "eval")):
        lines += [[command, name, "--help"], [command, name, "--no-such-option"]]
    done = subprocess.run(
        [sys.executable, "-c", LOADED], input=json.dumps(lines), capture_output=True, text=True, check=True
    )
    found = json.loads(done.stdout)
    assert {line: strange for line, (_, strange) in found.items() if strange} == {}
    helps = {line: code for line, (code, _) in found.items() if line.endswith(("help", "version"))}
    wrong = {line: code for line, (code, _) in found.items() if "such" in line or "nonsense" in line}
    assert {line for line, code in helps.items() if code} == {"demo nobody --help", "eval nobody --help"}
    assert set(wrong.values()) == {2} and len(wrong) > len(commands.names())


def test_each_command_is_what_the_interface_says() -> None:
    for name in commands.names():
        found = commands.command(name)
        assert found.HELP[0].islower() and not found.HELP.endswith("."), name
        assert callable(found.arguments) and callable(found.run)
    whole = parser().parse_args(["demo", "ecg", "--passes", "3"])
    assert (whole.command, whole.example, whole.passes) == ("demo", "ecg", 3)


# ---- examples -----------------------------------------------------------------------------------------

SAYS = """
HELP = "{name}"

def arguments(p):
    p.add_argument("--word", default="none")

def run(args, out):
    out.give("{command}", {"word": args.word})
    out.say(f"{name} {command}: {args.word}")
    return 0
"""
LOOKS = """
NAME, HINT = "{name} data", "draw some"

def find():
    return "a place"
"""


def example(folder: Path, name: str, **files: str) -> Path:
    """A package that is an example, with these files in its `commands`."""
    home = folder / name / "commands"
    home.mkdir(parents=True)
    for path in (home.parent, home):
        (path / "__init__.py").write_text("")
    for command, text in files.items():
        (home / f"{command}.py").write_text(text.replace("{name}", name).replace("{command}", command))
    return home.parent


def distribution(folder: Path, **points: str) -> None:
    """The metadata of an installed distribution with entry points."""
    info = folder / "other-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: other\nVersion: 1.0\n")
    lines = [f"{name} = {module}" for name, module in points.items()]
    (info / "entry_points.txt").write_text("\n".join([f"[{examples.GROUP}]", *lines, ""]))


@pytest.fixture(params=["folder", "distribution"])
def other(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A second example: a folder among ours, or a package that another distribution names."""
    name = f"other_{request.param}"
    example(tmp_path, name, demo=SAYS, eval=SAYS, doctor=LOOKS)
    if request.param == "folder":
        ours = sys.modules[examples.PACKAGE]
        monkeypatch.setattr(ours, "__path__", [*ours.__path__, str(tmp_path)])
    else:
        distribution(tmp_path, **{name: name})
        monkeypatch.syspath_prepend(tmp_path)
    return name


def test_a_second_example_is_found(other: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("demo", "eval"):
        ours = {"demo": ["anomaly", "ecg", "har"], "eval": ["ecg", "har"]}[command]
        assert set(examples.commands(command)) == {*ours, other}
        assert main([command, other, "--word", "hello"]) == 0
        assert capsys.readouterr().out == f"{other} {command}: hello\n"
        target = tmp_path / f"{command}.json"
        for words in ([command, other, "--json", str(target)], [command, "--json", str(target), other]):
            if words[1] == other or command == "eval":  # demo takes what begins with an option as ours
                assert main(words) == 0 and json.loads(target.read_text())["word"] == "none"
                target.unlink()
        capsys.readouterr()
        said = refusal([command, "nobody"], capsys)
        assert f"there are: {', '.join(ours)}, {other}" in said
        assert f'did you mean "{other}"?' in refusal([command, other[:-1]], capsys)
        with pytest.raises(SystemExit) as stopped:
            main([command, "--help"])
        assert stopped.value.code == 0 and other in capsys.readouterr().out
    checks = {check.name: check for check in doctor.report()}
    assert checks[f"{other} data"].found and "mitdb (ECG data)" in checks


def test_an_example_may_bring_one_command_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    example(tmp_path, "half", demo=SAYS)
    distribution(tmp_path, half="half")
    monkeypatch.syspath_prepend(tmp_path)
    assert "half" in examples.commands("demo") and "half" not in examples.commands("eval")
    assert len(examples.data()) == 2, "of ours"


@pytest.mark.parametrize(
    ("points", "text", "says"),
    [
        ({"bad": "bad"}, "import nothing_of_this_name\n" + SAYS, "bad.commands.demo: cannot be imported (No"),
        ({"bad": "bad"}, "from os import nothing\n" + SAYS, "bad.commands.demo: cannot be imported (cannot"),
        ({"bad": "bad"}, 'HELP = "x"\n', "bad.commands.demo: has no arguments; such a file brings HELP"),
        ({"bad": "bad"}, SAYS.replace("word", "json"), "example bad: has an option twice (argument --json:"),
        ({"bad": "gone"}, SAYS, "gone.commands.demo: cannot be imported (No module named 'gone')"),
        ({"ecg": "bad"}, SAYS, "example ecg: is the name of two packages, synapcc.examples.ecg and bad"),
    ],
)
def test_a_broken_example_is_one_line_and_no_other_command_minds(
    points: dict[str, str], text: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    for name in [n for n in sys.modules if n.split(".")[0] == "bad"]:
        monkeypatch.delitem(sys.modules, name)
    example(tmp_path, "bad", demo=text, doctor="NAME = 3\n")
    distribution(tmp_path, **points)
    monkeypatch.syspath_prepend(tmp_path)
    assert says in refusal(["demo"], capsys)
    assert main(["rules"]) == 0
    assert any(check.name == "examples" and not check.found for check in doctor.report())


@pytest.mark.parametrize("words", [[], ["--device", "process"], ["ecg", "--device", "process"]])
def test_demo_alone_starts_the_first_example(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def given(args: argparse.Namespace, _: Results) -> int:
        seen.append(args)
        return 7

    monkeypatch.setattr(demo_run, "run", given)
    assert main(["demo", *words]) == 7
    assert seen[0].example == "ecg" and seen[0].device == ("process" if words else None)
