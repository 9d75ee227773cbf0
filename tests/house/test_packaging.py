"""What is installed is what is in the repository: same files, same relative paths; and it compiles models."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tarfile
import tomllib
import venv
import zipfile
from argparse import ArgumentTypeError
from pathlib import Path

import pytest
from projects import case, refusal
from release import DATA, FOLDERS, contents, interpreter, metadata, run

from synapcc.host.cli import main

REPO = Path(__file__).resolve().parents[2]


def ours(*folders: str) -> set[str]:
    """Every file of these folders that is part of the program."""
    return {
        f"synapcc/{path.relative_to(REPO).as_posix()}"
        for folder in folders
        for path in (REPO / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and not path.name.startswith(".")
    }


def built(tmp_path: Path, *what: str) -> list[Path]:
    """What `python -m build` makes of a copy of the repository: a build writes beside the sources."""
    source = tmp_path / "source"
    keep = ("pyproject.toml", "README.md", "LICENSE", *FOLDERS)
    source.mkdir()
    for name in keep:
        if (REPO / name).exists():
            subprocess.run(["cp", "-r", REPO / name, source / name], check=True)
    if not (source / "README.md").exists():
        (source / "README.md").write_text("not written yet\n")
    out = tmp_path / "dist"
    command = [sys.executable, "-m", "build", *what, "-o", str(out), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode and "No module named build" in done.stderr:
        pytest.skip("build is not installed: pip install build")
    if done.returncode and any(
        s in done.stdout + done.stderr for s in ("No matching distribution", "Max retries")
    ):
        pytest.skip("setuptools cannot be fetched: no package index within reach")
    assert done.returncode == 0, (done.stdout + done.stderr)[-2000:]
    return sorted(out.iterdir())


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """An sdist of the repository, and a wheel made of that sdist."""
    files = built(tmp_path_factory.mktemp("packaging"))
    return {"sdist" if f.name.endswith(".tar.gz") else "wheel": f for f in files}


def test_the_wheel_is_complete(dist: dict[str, Path]) -> None:
    inside = {n for n in zipfile.ZipFile(dist["wheel"]).namelist() if ".dist-info/" not in n}
    wanted = ours(*FOLDERS)
    assert not wanted - inside, f"missing: {sorted(wanted - inside)[:10]}"
    assert not inside - wanted, f"too many: {sorted(inside - wanted)[:10]}"


def test_a_release_would_take_them(dist: dict[str, Path], tmp_path: Path) -> None:
    """What `make release` asks of packages before it installs them, and that it would find what is wrong."""
    wheel, sdist = dist["wheel"], dist["sdist"]
    assert contents(wheel, sdist) == []
    said = metadata(wheel)
    classifiers = said["Classifier"]
    assert {"Framework :: Pytest", "Programming Language :: Python :: 3.11"} <= set(classifiers)
    homes = [url.split(", ")[1] for url in said["Project-URL"]]
    assert len(homes) == 4 and all(home.startswith("https://example.com/") for home in homes)
    for name, what in (
        ("tests/t.py", "tests"),
        ("synapcc/docs/beats.npz", "data"),
        ("other/x.py", "other/x.py"),
    ):
        spoilt = tmp_path / wheel.name
        spoilt.write_bytes(wheel.read_bytes())
        with zipfile.ZipFile(spoilt, "a") as archive:
            archive.writestr(name, "")
        assert any(what in line for line in contents(spoilt, sdist))
    bare = tmp_path / "bare" / wheel.name
    bare.parent.mkdir()
    with zipfile.ZipFile(bare, "w") as archive, zipfile.ZipFile(wheel) as whole:
        kept = [n for n in whole.namelist() if not n.startswith("synapcc/boards/")]
        for name in kept:
            archive.writestr(name, whole.read(name))
    assert contents(bare, sdist) == ["the wheel lacks a board: synapcc/boards/mps2_an386.toml"]
    assert ".npz" in DATA


def test_classifiers_say_what_was_tried() -> None:
    """Versions and systems that no row of docs/VERSIONS.md has are not promised."""
    page = (REPO / "docs" / "VERSIONS.md").read_text(encoding="utf-8").split("## What it was tried on")[1]
    rows = [[cell.strip() for cell in line.split("|")[1:3]] for line in page.splitlines() if "|" in line]
    tried = [what for what, done in rows[2:] if "nothing was run" not in done]
    said = tomllib.loads((REPO / "pyproject.toml").read_text(encoding="utf-8"))["project"]["classifiers"]
    pythons = {c.rsplit(" ", 1)[1] for c in said if re.search(r":: Python :: 3\.\d+$", c)}
    assert pythons == set(re.findall(r"Python (3\.\d+)", " ".join(tried))) and "3.11" in pythons
    systems = {c.rsplit(" ", 1)[1] for c in said if c.startswith("Operating System")}
    assert systems == {"Linux"} and all("Linux" in what for what in tried)


def test_a_release_fails_with_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a program does; and a Python by a path from here is found from elsewhere."""
    for words, seconds, says in (
        (["-c", "import time; time.sleep(60)"], 0.2, "did not end in 0.2 s"),
        (["-c", "print(3); raise SystemExit(4)"], 60, "exit status 4\n3"),
    ):
        with pytest.raises(SystemExit, match=f"release: .*{says}"):
            run([sys.executable, *words], tmp_path, seconds=seconds)
    with pytest.raises(SystemExit, match="none: No such file"):
        run([tmp_path / "none"], tmp_path)
    monkeypatch.chdir(Path(sys.executable).parent)
    found = interpreter(os.path.join(".", Path(sys.executable).name))
    assert run([found, "-c", "print(1)"], tmp_path) == "1\n" and Path(found).samefile(sys.executable)
    with pytest.raises(ArgumentTypeError, match=r"there is no program \./none"):
        interpreter("./none")


def named(pattern: str) -> set[str]:
    """Pages of the documentation that some file of the program names by `pattern`."""
    texts = [
        (REPO / name.removeprefix("synapcc/")).read_text(encoding="utf-8")
        for name in ours(*FOLDERS)
        if Path(name).suffix in (".py", ".j2", ".c", ".h", ".toml", ".md", ".in")
    ]
    return {page for text in texts for page in re.findall(pattern, text)}


def test_the_wheel_holds_every_page_that_the_program_names(dist: dict[str, Path]) -> None:
    inside = zipfile.ZipFile(dist["wheel"]).namelist()
    pages = named(r"\bdocs/([A-Za-z_]+)\.md\b") | named(r"\bsynapcc docs ([A-Z][A-Z_]+)\b") - {"PAGE"}
    assert {"RULES", "BOARDS", "PROTOCOL", "BENCH"} <= pages
    assert not {page for page in pages if f"synapcc/docs/{page}.md" not in inside}


def test_messages_name_pages_by_the_command_that_prints_them() -> None:
    """Whoever installed a wheel has no folder docs/; docstrings and comments of Python are for us."""
    for name in ours("gen", "host", "examples"):
        path = REPO / name.removeprefix("synapcc/")
        if path.suffix != ".py":
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        docstrings = {id(n.value) for n in ast.walk(tree) if isinstance(n, ast.Expr)}
        said = [n.value for n in ast.walk(tree) if isinstance(n, ast.Constant) and id(n) not in docstrings]
        assert not [text for text in said if isinstance(text, str) and re.search(r"docs/\w+\.md", text)], path
    for name in ours("templates", "firmware", "boards"):
        text = (REPO / name.removeprefix("synapcc/")).read_text(encoding="utf-8")
        assert not re.search(r"docs/\w+\.md", text), name


def test_the_command_prints_each_page(capsys: pytest.CaptureFixture[str]) -> None:
    for page in (REPO / "docs").glob("*.md"):
        for name in (page.stem, page.stem.lower(), page.name, f"docs/{page.name}"):
            assert main(["docs", name]) == 0
            assert capsys.readouterr().out == page.read_text(encoding="utf-8")
    assert main(["docs"]) == 0
    assert {line.split()[0] for line in capsys.readouterr().out.splitlines()[2:]} == {
        page.stem for page in (REPO / "docs").glob("*.md")
    }
    assert main(["docs", "RULES", "--path"]) == 0
    assert Path(capsys.readouterr().out.strip()).samefile(REPO / "docs" / "RULES.md")
    assert 'did you mean "RULES"? there are:' in refusal(["docs", "RULE"], capsys)


def test_the_sdist_holds_the_licence_and_the_sources(dist: dict[str, Path]) -> None:
    with tarfile.open(dist["sdist"]) as archive:
        names = {n.split("/", 1)[1] for n in archive.getnames() if "/" in n}
    assert {
        "LICENSE",
        "pyproject.toml",
        "gen/compile.py",
        "firmware/startup.c",
        "templates/model.c.j2",
    } <= names


INSTALLED = """
import sys, json
from pathlib import Path
import synapcc.gen, synapcc.host
from synapcc.host.cli import main
assert Path(synapcc.gen.__file__).is_relative_to(sys.prefix), synapcc.gen.__file__
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.long
def test_an_installed_wheel_compiles_builds_and_learns(dist: dict[str, Path], tmp_path: Path) -> None:
    c = case(tmp_path / "in")
    home = tmp_path / "venv"
    venv.create(home, with_pip=True)
    python = home / ("Scripts" if os.name == "nt" else "bin") / "python"
    command = [
        python,
        "-m",
        "pip",
        "install",
        "-q",
        "--disable-pip-version-check",
        f"{dist['wheel']}[virtual]",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode and "No matching distribution" in done.stderr:
        pytest.skip("no package index within reach")
    assert done.returncode == 0, done.stderr[-2000:]
    out = tmp_path / "out"
    env = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    for words in (
        c.words(out),
        ["build", str(out)],
        ["verify", str(out), "--data", str(c.data), "--steps", "10", "--device", "unicorn"],
    ):
        run = subprocess.run(
            [python, "-c", INSTALLED, *words],
            cwd=tmp_path,
            env=env,
            capture_output=True,
            text=True,
            check=False,
        )
        assert run.returncode == 0, run.stdout + run.stderr
    assert run.stdout.endswith("verify: 10 steps, 0 differing bytes\n")
