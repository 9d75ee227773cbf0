"""The firmware's server, compiled for this computer with sanitizers, fed with mutated frames.

    python tests/support/fuzz_server.py FRAMES [SEED]      so many frames, and what became of them

tests/support/c/fuzz/main.c takes the place of the firmware's main and HAL: it makes the frames, a function of
the seed, and holds the server to its promises after each. docs/SECURITY.md lists them.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from bad_line import small_nets
from random_nets import KEPT

from synapcc.gen.emit import render, write
from synapcc.gen.ir.plan import Plan
from synapcc.gen.target.boards import load_board
from synapcc.gen.target.messages import REQUESTS
from synapcc.host.devices import process

HERE = Path(__file__).resolve().parent
SANITIZERS = ("address", "undefined")
NAMES = {r.number: r.name for r in REQUESTS}


def fuzzed(plan: Plan, folder: Path) -> Path:
    """The output folder of a Plan, its main and HAL the fuzzer's."""
    out = folder / plan.model
    write(render(plan, load_board("mps2_an386"), "a test", "a test"), out)
    (out / "src" / "main.c").write_bytes((HERE / "c" / "fuzz" / "main.c").read_bytes())
    (out / "src" / "hal" / "process.c").write_text("/* the HAL stands in main.c */\ntypedef int nothing;\n")
    return out


def fuzzer(
    plan: Plan,
    folder: Path,
    flags: Sequence[str] = (),
    sanitizers: Sequence[str] = SANITIZERS,
    change: Callable[[Path], object] = lambda out: None,
) -> Path:
    """The program for a Plan, whose output folder `change` may change before. DeviceError: there is no
    compiler, or it has no such sanitizer."""
    out = fuzzed(plan, folder)
    change(out)
    return process.build(out, sanitizers, flags)


def fuzz(program: Path, frames: int, seed: int) -> Counter[str]:
    """Frames, refusals, bad frames, and how many of each request were done; AssertionError: a finding."""
    # nothing allocates, and to look for leaks asks for rights that a container may not give
    environment = {**os.environ, "ASAN_OPTIONS": "detect_leaks=0"}
    words = [str(program), str(frames), str(seed)]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"seed {seed}: status {done.returncode}: {done.stderr[-3000:]}"
    said = done.stdout.split()
    told = Counter({said[i]: int(said[i + 1]) for i in range(0, 6, 2)})
    for pair in said[6:]:
        number, count = map(int, pair.split(":"))
        told[NAMES[number]] += count
    return told


def main() -> None:
    frames, seed = int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0
    total: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        os.environ.setdefault(KEPT, folder)
        plans = small_nets(70_000, 4)
        for i, plan in enumerate(plans):
            total += fuzz(fuzzer(plan, Path(folder)), -(-frames // len(plans)), seed + i)
    for name, count in total.most_common():
        print(f"{count:9,} {name}")
    print(f"{total['frames']:,} frames on {len(plans)} models under {' and '.join(SANITIZERS)}: no report")


if __name__ == "__main__":
    main()
