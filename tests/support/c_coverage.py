"""How much of the firmware's C the tests run, by gcov: lines and branches of each file.

    python tests/support/c_coverage.py

The server with emitted models under mutated frames, with a counter for COUNT and without, the firmware as a
process, the store of flash whose power is cut, and the same over the link. Not measured, since no computer
runs them: the HALs of chips and the drivers of their flash, startup.c, and the part of ticks.c for Cortex-M;
unicorn and QEMU do, in tests/host/devices.
"""

from __future__ import annotations

import gzip
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import link_cuts
import numpy as np
from bad_line import small_nets
from fuzz_server import HERE, fuzz, fuzzed
from golden_nets import golden_plan
from keep_cuts import FIRMWARE, FLASHES, STORE, cuts, kept
from migrations import MIGRATE, MIGRATING, Case, perceptrons, taken_over
from random_nets import KEPT, extreme_state

from synapcc.gen.emit import render, write
from synapcc.gen.ir.plan import Plan
from synapcc.gen.spec import Keep
from synapcc.gen.target import messages
from synapcc.gen.target.boards import load_board
from synapcc.host.devices import process
from synapcc.host.link.protocol import encode_request

LINES, BRANCHES = 0.95, 0.85
"""The least shares of all files together."""

FRAMES, MODELS = 20_000, 2
FLAGS = ("-std=c99", "-O0", "--coverage", "-DFUZZ_STACK_BYTES=81920u", "-DSYNAPCC_CLOCK_HZ=0u")


@dataclass
class Covered:
    """Of one file: how often each line ran, and each way of each branch, by (line, number)."""

    lines: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    branches: dict[tuple[int, int], int] = field(default_factory=lambda: defaultdict(int))


Coverage = dict[str, Covered]


def sources() -> list[str]:
    """Files of firmware/ that a computer can run."""
    folder = HERE.parents[1] / "firmware"
    own = [p.name for pattern in ("*.c", "store/*.c") for p in folder.glob(pattern) if p.name != "startup.c"]
    return sorted([*own, "simulated.c"])


def missing() -> str:
    """Why nothing can be measured here; "" if it can."""
    compiler = process.host_compiler()
    said = subprocess.run([*compiler, "--version"], capture_output=True, text=True, check=False).stdout
    if "Free Software Foundation" not in said:
        return "the C compiler is not gcc"
    return "" if shutil.which("gcov") else "gcov is not installed: it comes with gcc"


def built(out: Path, folder: Path, *flags: str) -> Path:
    """The firmware of `out`, counting what it runs into `folder`."""
    files, include = process.sources(out)
    return _counting(files, include, folder, *flags)


def _counting(files: Sequence[Path], include: Sequence[Path], folder: Path, *flags: str) -> Path:
    """A program that counts what it runs into `folder`, which this makes."""
    folder.mkdir()
    words = [
        *process.host_compiler(),
        *FLAGS,
        *flags,
        '-DSYNAPCC_BOARD="process"',
        *(f"-I{f}" for f in include),
    ]
    for i, file in enumerate(files):
        subprocess.run([*words, "-c", str(file), "-o", f"{i}.o"], cwd=folder, check=True)
    objects = [f"{i}.o" for i in range(len(files))]
    subprocess.run([*words, *objects, "-o", "program"], cwd=folder, check=True)
    return folder / "program"


def counted(folder: Path, names: Sequence[str], into: Coverage) -> None:
    """Adds what gcov says of what ran in `folder`, of these files."""
    notes = [p.name for p in folder.glob("*.gcda")]
    subprocess.run(
        ["gcov", "--json-format", "--branch-probabilities", *notes],
        cwd=folder,
        check=True,
        capture_output=True,
    )
    for path in folder.glob("*.gcov.json.gz"):
        for file in json.loads(gzip.decompress(path.read_bytes()))["files"]:
            name = Path(file["file"]).name
            if name not in names:
                continue
            found = into.setdefault(name, Covered())
            for line in file["lines"]:
                found.lines[line["line_number"]] += line["count"]
                for i, branch in enumerate(line["branches"]):
                    found.branches[line["line_number"], i] += branch["count"]


def measured(plans: Sequence[Plan], folder: Path, frames: int) -> Coverage:
    """What frames and a process run of firmware/."""
    names, found = sources(), Coverage()
    for i, plan in enumerate(plans):
        for ticks in (False, True):
            place = folder / f"{plan.model}{ticks}"
            out = fuzzed(plan, place)
            if ticks:
                (out / "src" / "ticks.c").write_bytes((HERE / "c" / "fuzz" / "ticks.c").read_bytes())
            fuzz(built(out, place / "counts"), frames, i)
            own = {"main.c", "ticks.c"} if ticks else {"main.c"}  # of these two the fuzzer has its own
            counted(place / "counts", [n for n in names if n not in own], found)
    out = folder / "process"
    write(render(plans[0], load_board("mps2_an386"), "a test", "a test"), out)
    program = built(out, folder / "counts")
    asked = encode_request(messages.HELLO, 7, 1) + encode_request(messages.STATS, 7, 2)
    subprocess.run([program], input=asked, check=True, capture_output=True)
    counted(folder / "counts", names, found)
    _stored(folder, names, found)
    _linked(folder, names, found)
    return found


def _linked(folder: Path, names: Sequence[str], found: Coverage) -> None:
    """The store over the link: requests that the power is cut in, and what no flash takes."""
    plan, out = link_cuts.project(folder / "linked", link_cuts.small_flash())
    with process.ProcessDevice(built(out, folder / "links", "-D_exit=exit")) as device:
        bench = link_cuts.Bench(device, plan)
        link_cuts.run(bench, every=97)
    counted(folder / "links", names, found)


def _stored(folder: Path, names: Sequence[str], found: Coverage) -> None:
    """The store: some of the cuts of three flashes, and the cases of bad blocks, damage and wrong calls."""
    simulator = _counting([HERE / "c" / "keepsim.c", *STORE], [FIRMWARE], folder / "cuts")
    for flash in list(FLASHES.values())[2:5]:
        cuts(simulator, folder, flash, kept(golden_plan("pair"), Keep()), seed=3, every=997)
    counted(folder / "cuts", names, found)
    cases = _counting([HERE / "c" / "keepcases.c", *STORE], [FIRMWARE], folder / "cases")
    subprocess.run([cases], check=True, capture_output=True)
    counted(folder / "cases", names, found)
    moved = _counting([*MIGRATING, *STORE], [FIRMWARE], folder / "moved")
    nets, rng = perceptrons(), np.random.default_rng(4)
    every = [
        Case(a, extreme_state(a.plan, rng), b, keep, damages=24)
        for a in nets.values()
        for b in nets.values()
        for keep in (MIGRATE, Keep())
    ]
    for _ in taken_over(moved, every, 1):
        pass
    counted(folder / "moved", names, found)


def shares(found: Coverage) -> dict[str, tuple[int, int, int, int]]:
    """Of each file and of all: lines that ran, lines, ways of branches that were taken, ways."""
    rows = {
        name: (
            sum(n > 0 for n in c.lines.values()),
            len(c.lines),
            sum(n > 0 for n in c.branches.values()),
            len(c.branches),
        )
        for name, c in sorted(found.items())
    }
    ran, lines, taken, ways = (sum(row[i] for row in rows.values()) for i in range(4))
    return rows | {"all": (ran, lines, taken, ways)}


def table(rows: dict[str, tuple[int, int, int, int]]) -> str:
    """As a person reads it."""
    head = f"{'file':12} {'lines':>9} {'':8} {'branches':>9}"
    told = [
        f"{name:12} {a:4}/{b:4} {100 * a / b:6.1f} % {c:4}/{d:4} {100 * c / d if d else 100:6.1f} %"
        for name, (a, b, c, d) in rows.items()
    ]
    return "\n".join([head, *told])


def main() -> int:
    if why := missing():
        print(f"nothing measured: {why}", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as name:
        os.environ.setdefault(KEPT, name)
        found = measured(small_nets(70_000, MODELS), Path(name), FRAMES)
    rows = shares(found)
    print(table(rows))
    for file in sorted(set(sources()) - set(found)):
        print(f"not measured: {file}, which nothing here runs")
    for file, covered in sorted(found.items()):
        if never := [str(line) for line, n in sorted(covered.lines.items()) if not n]:
            print(f"never run: {file} {', '.join(never)}")
    ran, lines, taken, ways = rows["all"]
    return 0 if ran >= LINES * lines and taken >= BRANCHES * ways else 1


if __name__ == "__main__":
    sys.exit(main())
