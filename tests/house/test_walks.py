"""Pages of docs/ that one starts with: each command runs, in an empty folder, and prints what they say."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from walks import DOCS, ELSEWHERE, WALKED, Block, blocks, says, walk

from synapcc.gen import discovery
from synapcc.host.cli import main

TESTS = Path(__file__).resolve().parents[1]


@pytest.fixture
def known() -> Iterator[None]:
    """Rules from outside are forgotten again."""
    before = list(discovery._paths)
    yield
    discovery._paths[:] = before
    for found in (discovery._outside, discovery._instances):
        found.cache_clear()


def run(line: str, capsys: pytest.CaptureFixture[str]) -> str:
    """What a command prints; it must succeed."""
    program, *words = shlex.split(line)
    if program == "python":
        done = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{line}\n{done.stderr}"
        return done.stdout
    assert program == "synapcc", f"{line}: who runs it? a row of ELSEWHERE"
    capsys.readouterr()
    code = main(words)
    said = capsys.readouterr()
    assert code == 0, f"{line}\n{said.err}"
    return said.out


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of START.md, as the other pages take them."""
    folder = tmp_path_factory.mktemp("start")
    titled = {b.title: b for b in blocks("START") if b.title}
    for name, block in titled.items():
        (folder / name).write_text(block.text, encoding="utf-8")
    subprocess.run([sys.executable, "network.py"], cwd=folder, check=True)
    words = ["compile", "net.onnx", "--rule", "rule.toml", "--calibrate", "cal.npz", "-o", "out"]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main(words) == 0
    return folder


@pytest.mark.usefixtures("known", "unoptimised")
@pytest.mark.parametrize("page", WALKED)
def test_every_command_of_a_page_runs(
    page: str,
    begun: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    place = tmp_path / "walk"
    if page == "START":
        place.mkdir()
    else:
        shutil.copytree(begun, place)
    monkeypatch.chdir(place)
    ran = walk((DOCS / f"{page}.md").read_text(encoding="utf-8"), place, lambda line: run(line, capsys))
    assert len(ran) >= 4 and any(line.startswith("synapcc verify") for line in ran), ran


def test_commands_that_run_elsewhere_are_on_a_page_and_tested() -> None:
    shown = {line for page in WALKED for b in blocks(page) if b.kind == "sh" for line in b.lines}
    assert not ELSEWHERE.keys() - shown
    for file, what in ELSEWHERE.values():
        assert what in (TESTS / file).read_text(encoding="utf-8"), (file, what)


def test_what_setup_installs() -> None:
    """`make setup` and the wheel bring the same extras, and `make` says so."""
    make = (TESTS.parent / "Makefile").read_text(encoding="utf-8")
    assert re.search(r"^setup: .*## install synapcc", make, re.M)
    installed = re.search(r"install -e '\.\[([a-z,]+)\]'", make)
    assert installed and {"virtual", "fast"} <= set(installed[1].split(","))


def test_a_page_that_lies_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    printed = "verify: 100 steps,   0 differing bytes\nplan 0123\n"
    assert says(printed, "verify: 100 steps, 0 differing bytes") and says(printed, "plan ...")
    assert not says(printed, "verify: 10 steps, 0 differing bytes") and not says(printed, "0 differing")
    assert Block("sh", "", "a\n\nb\n").lines == ["a", "b"]
    assert {p.stem for p in DOCS.glob("OWN_*.md")} | {"START"} == set(WALKED)
