"""A release: a wheel and an sdist of what git knows, each installed anew and tried where no repository is.

`make release` runs it. With --python PATH, which may be given several times, other versions of Python try
them. Prints a line for each installation; exit code 1, and nothing in dist/, where one fails.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from walks import WALKED, walk

REPO = Path(__file__).resolve().parents[2]
FOLDERS = ("gen", "host", "templates", "firmware", "boards", "docs", "examples")
"""What is installed; all else is for whoever works on it."""

EXTRAS = "virtual"
PYTEST = "pytest>=8"
DATA = (".atr", ".csv", ".dat", ".gz", ".hea", ".mat", ".npy", ".npz", ".parquet", ".pkl", ".zip")
"""Endings of data; none of them is in a package, wherever it lies."""

ROOMS = {
    "synapcc/templates/model.c.j2": "a template",
    "synapcc/templates/ops/dense.c.j2": "the C of an op",
    "synapcc/boards/mps2_an386.toml": "a board",
    "synapcc/firmware/startup.c": "start-up code",
    "synapcc/firmware/platform/platform.json": "the local PlatformIO platform",
    "synapcc/docs/RULES.md": "a page",
    "synapcc/docs/VERSIONS.md": "what a version promises",
    "synapcc/examples/ecg/models/ecg_mlp_rr.onnx": "a base network",
    "synapcc/examples/ecg/rules/mlp_rr/hebbian.toml": "its rule file",
    "synapcc/gen/py.typed": "that it has types",
}
"""One of each, by where a wheel has it."""

TRIAL = """
import sys
from pathlib import Path
import numpy as np
import synapcc.host
from synapcc.gen.version import VERSION
assert Path(synapcc.host.__file__).is_relative_to(sys.prefix), synapcc.host.__file__
assert VERSION == sys.argv[1], VERSION
rng = np.random.default_rng(1)
beat, rr = rng.normal(0, 1, (60, 151)), rng.normal(0, 1, (60, 4))
np.savez("data.npz", beat=beat.astype("float32"), rr=rr.astype("float32"), label=np.arange(60) % 4)
print(Path(synapcc.host.__file__).parents[1])
"""
"""Says where it is installed, and writes samples that no heart made."""


PLUGIN = """
def test_the_firmware_is_its_emulator(synapcc_plan, synapcc_device, assert_exact):
    verdict = assert_exact(synapcc_plan, synapcc_device, "data.npz", steps=10)
    assert verdict.steps == 10
"""
"""A user's test: the plug-in is known by its entry point alone."""


def fail(text: str) -> NoReturn:
    raise SystemExit(f"release: {text}")


def run(words: Sequence[object], folder: Path, *, seconds: float = 1200) -> str:
    """What a program says that must end well, started where nothing of the repository is near."""
    left_out = ("PYTHONPATH", "SYNAPCC_DATA", "VIRTUAL_ENV")
    env = {k: v for k, v in os.environ.items() if k not in left_out}
    command = [str(w) for w in words]
    try:
        done = subprocess.run(
            command, cwd=folder, env=env, capture_output=True, text=True, check=False, timeout=seconds
        )
    except subprocess.TimeoutExpired:
        fail(f"{' '.join(command[:6])} ...: did not end in {seconds:g} s")
    except OSError as error:
        fail(f"{command[0]}: {error.strerror or error}")
    if done.returncode:
        said = "\n".join((done.stdout + done.stderr).splitlines()[-25:])
        fail(f"{' '.join(command[:6])} ...: exit status {done.returncode}\n{said}")
    return done.stdout


def copied(folder: Path) -> Path:
    """What git knows, as it lies in the work tree: a build writes beside the sources."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=REPO, capture_output=True, text=True, check=True)
    for name in filter(None, listed.stdout.split("\0")):
        source, target = REPO / name, folder / name
        if source.is_file() and not source.is_symlink():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
    changed = subprocess.run(
        ["git", "status", "--porcelain"], cwd=REPO, capture_output=True, text=True, check=True
    )
    if changed.stdout:
        print(f"note: {len(changed.stdout.splitlines())} files differ from the last commit")
    return folder


def build(source: Path, out: Path) -> tuple[Path, Path]:
    """(wheel, sdist); the wheel is made of the sdist."""
    run([sys.executable, "-m", "build", "-q", "-o", out, source], source)
    (wheel,), (sdist,) = out.glob("*.whl"), out.glob("*.tar.gz")
    return wheel, sdist


# ---- what they hold ---------------------------------------------------------------------------------------


def names_of(package: Path) -> set[str]:
    """The files of a wheel, or of an sdist without the folder around them."""
    if package.suffix == ".whl":
        with zipfile.ZipFile(package) as archive:
            return {n for n in archive.namelist() if not n.endswith("/")}
    with tarfile.open(package) as tar:
        return {m.name.split("/", 1)[1] for m in tar.getmembers() if m.isfile()}


def contents(wheel: Path, sdist: Path) -> list[str]:
    """What is wrong with what the packages hold; none."""
    wrong = []
    inside = names_of(wheel)
    wrong += [f"the wheel lacks {what}: {name}" for name, what in ROOMS.items() if name not in inside]
    outside = {n for n in inside if not n.startswith(tuple(f"synapcc/{f}/" for f in FOLDERS))}
    wrong += [f"the wheel holds {n}" for n in sorted(outside) if ".dist-info/" not in n]
    for package in (wheel, sdist):
        names = names_of(package)
        wrong += [f"{package.name} holds data: {n}" for n in sorted(names) if n.lower().endswith(DATA)]
        tests = [n for n in names if "tests" in n.split("/")[:-1]]
        wrong += [f"{package.name} holds tests: {min(tests)}"] if tests else []
    said = metadata(wheel)
    for key in (
        "Classifier",
        "Project-URL",
        "License-Expression",
        "Requires-Python",
        "Description-Content-Type",
    ):
        wrong += [] if said.get(key) else [f"the wheel says no {key}"]
    return wrong


def metadata(wheel: Path) -> dict[str, list[str]]:
    """The headers of METADATA, by name."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
        text = archive.read(name).decode()
    found: dict[str, list[str]] = {}
    for line in text.split("\n\n", 1)[0].splitlines():
        key, separator, value = line.partition(": ")
        if separator and not key.startswith(" "):
            found.setdefault(key, []).append(value)
    return found


# ---- installed --------------------------------------------------------------------------------------------


def installed(package: Path, python: str, folder: Path) -> Path:
    """The Python of a fresh environment that has this package and what it needs."""
    home = folder / "env"
    run([python, "-m", "venv", home], folder)
    found = home / ("Scripts" if os.name == "nt" else "bin") / "python"
    words = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    run([found, *words, f"{package}[{EXTRAS}]", PYTEST], folder)
    return found


def tried(python: Path, version: str, folder: Path) -> str:
    """Demo, compilation, firmware and a learning chip, all in `folder`; what to say of it."""
    synapcc = python.with_name("synapcc" + python.suffix)
    place = Path(run([python, "-c", TRIAL, version], folder).strip())
    if run([synapcc, "--version"], folder).strip() != f"synapcc {version}":
        fail(f"{synapcc} --version says another one than {version}")
    run([synapcc, "doctor"], folder)
    words = ["--patient", "synthetic-1", "--passes", "1", "--minutes", "6", "--html", "ecg.html"]
    demo = run([synapcc, "demo", "ecg", *words], folder)
    if "learning steps on unicorn, 0 differing bytes" not in demo or "SYNTHETIC" not in demo:
        fail(f"the demo said\n{demo}")
    ecg = place / "examples" / "ecg"
    files = [ecg / "models" / "ecg_mlp_rr.onnx", "--rule", ecg / "rules" / "mlp_rr" / "hebbian.toml"]
    run(
        [synapcc, "compile", *files, "--calibrate", "data.npz", "--board", "arduino_nano33ble", "-o", "out"],
        folder,
    )
    run([synapcc, "build", "out"], folder)
    verified = run([synapcc, "verify", "out", "--data", "data.npz", "--steps", "20"], folder).splitlines()[-1]
    if verified != "verify: 20 steps, 0 differing bytes":
        fail(f"verify said {verified}")
    (folder / "test_board.py").write_text(PLUGIN, encoding="utf-8", newline="\n")
    words = ["-p", "no:cacheprovider", "--synapcc-out", "out", "test_board.py"]
    tests = run([python, "-m", "pytest", *words], folder).splitlines()[-1].strip("= ")
    if not tests.startswith("1 passed"):
        fail(f"pytest said {tests}")
    steps = next(line for line in demo.splitlines() if line.startswith("demo: "))
    return f"{steps}; {verified}; pytest: 1 passed; {walked(python, folder)} commands of {len(WALKED)} pages"


def walked(python: Path, folder: Path) -> int:
    """Runs the pages of the package in a folder for each; how many commands that were."""
    first, *others = WALKED
    count = len(through(first, python, folder / first))
    for page in others:  # these go on from what the first one made
        shutil.copytree(folder / first, folder / page)
        count += len(through(page, python, folder / page))
    return count


def through(page: str, python: Path, place: Path) -> list[str]:
    """The commands of an installed page, run in a folder which is made if it is not there."""
    place.mkdir(exist_ok=True)
    programs = {"python": [python], "synapcc": [python, "-m", "synapcc.host"]}

    def one(line: str) -> str:
        program, *words = shlex.split(line)
        return run([*programs[program], *words], place)

    try:
        return walk(run([*programs["synapcc"], "docs", page], place), place, one)
    except AssertionError as error:
        fail(f"{page}: {error}")


def interpreter(path: str) -> str:
    """A Python, by a path from here or by a name; it will be started elsewhere."""
    found = shutil.which(path)
    if not found:
        raise argparse.ArgumentTypeError(f"there is no program {path}")
    return os.path.abspath(found)  # links stay: an environment's Python is one


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument(
        "--python", action="append", type=interpreter, metavar="PATH", help="default: the one that runs this"
    )
    words.add_argument("--out", type=Path, default=REPO / "dist", help="default: dist/")
    args = words.parse_args()
    with tempfile.TemporaryDirectory(prefix="synapcc-release-") as name:
        folder = Path(name)
        wheel, sdist = build(copied(folder / "source"), folder / "dist")
        if wrong := contents(wheel, sdist):
            fail("\n  ".join(["the packages are not whole:", *wrong]))
        version = wheel.name.split("-")[1]
        if not (REPO / "tests" / "data" / version).is_dir():
            fail(f"nothing is kept of {version}; run tests/support/kept_version.py")
        print(f"{wheel.name}: {len(names_of(wheel))} files; {sdist.name}: {len(names_of(sdist))} files")
        for python in args.python or [sys.executable]:
            for package in (wheel, sdist):
                with tempfile.TemporaryDirectory(prefix="synapcc-fresh-") as fresh:
                    told = tried(installed(package, python, Path(fresh)), version, Path(fresh))
                which = run(
                    [python, "-c", "import platform; print(platform.python_version())"], folder
                ).strip()
                print(f"{package.name} on Python {which}: {told}", flush=True)
        args.out.mkdir(parents=True, exist_ok=True)
        for package in (wheel, sdist):
            shutil.copyfile(package, args.out / package.name)
    print(f"release: {args.out / wheel.name}, {args.out / sdist.name}")


if __name__ == "__main__":
    main()
