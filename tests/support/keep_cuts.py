"""Cuts the power of the store in flash at every operation, and prints what that was and what the store costs.

    python tests/support/keep_cuts.py

The unmodified firmware/keep.c runs on a flash (c/keepsim.c) whose power goes before, in the middle of and
after every operation; what is half done reads as it likes until it is erased.
"""

from __future__ import annotations

import json
import shutil
import struct
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ctools import HERE, compile_host, run
from golden_nets import golden_plan

from synapcc.gen.emit.keep import COPIES, slot_bytes, spans
from synapcc.gen.ir.plan import Plan
from synapcc.gen.spec.keep import Keep

FIRMWARE = HERE.parents[1] / "firmware"
STORE = (FIRMWARE / "keep.c", FIRMWARE / "crc32.c")
STATES = 4
CODE_BYTES, RAM_BYTES = 2560, 64
"""What the store may take on a Cortex-M0: flash of keep.c, and RAM beside one word."""


@dataclass(frozen=True, slots=True)
class Flash:
    """A flash as its chip has it. blocks: how many the store gets, if a save does not need more."""

    word: int
    block: int
    blocks: int
    erased: int = 0xFF
    ecc: bool = False

    def fitted(self, kept: int) -> int:
        """As many blocks as a state of so many bytes needs, `blocks` at least."""
        return max(self.blocks, COPIES * -(-slot_bytes(kept, self.word) // self.block))


FLASHES: Mapping[str, Flash] = {
    "STM32F4: few large sectors, bytes": Flash(1, 16384, 3),
    "STM32F4: few large sectors, words": Flash(4, 16384, 3),
    "nRF52: pages of 4 KB, words": Flash(4, 4096, 4),
    "STM32L4: pages of 2 KB, double words with ECC": Flash(8, 2048, 6, ecc=True),
    "STM32H7: words of 32 bytes with ECC": Flash(32, 8192, 3, ecc=True),
    "STM32L0: erased bytes are zero": Flash(4, 256, 6, erased=0),
}


@dataclass(frozen=True, slots=True)
class Kept:
    """A model whose state is kept: the pieces, and bytes of the whole state."""

    name: str
    pieces: tuple[tuple[int, int], ...]
    state: int

    @property
    def bytes(self) -> int:
        return sum(size for _, size in self.pieces)


def models() -> tuple[Kept, ...]:
    """Four networks that learn, one of them with samples; and two more choices of what is kept."""
    plans = [golden_plan(name) for name in ("ring", "byte", "pair")]
    found = [kept(plan, Keep()) for plan in plans]
    return (*found, kept(plans[0], Keep(samples=True)), Kept("large", ((0, 1200), (1216, 1500)), 2720))


def kept(plan: Plan, keep: Keep) -> Kept:
    """What a store keeps of a Plan's state."""
    pieces = tuple((s.offset, s.bytes) for s in spans(plan, keep))
    return Kept(f"{plan.model}{', samples' if keep.samples else ''}", pieces, plan.state_bytes)


def simulator(folder: Path, *flags: str) -> Path:
    """The program that cuts."""
    return compile_host(
        [HERE / "c" / "keepsim.c", *STORE], folder / "keepsim", "-O2", f"-I{FIRMWARE}", *flags
    )


def cuts(program: Path, folder: Path, flash: Flash, model: Kept, seed: int, every: int = 1) -> dict[str, int]:
    """What the cuts of one flash and model were; AssertionError where the store fails.

    every: of the operations that write content and are alike, one of so many
    """
    rng = np.random.default_rng(seed)
    content = struct.pack("<II", len(model.pieces), model.state)
    content += b"".join(struct.pack("<II", *p) for p in model.pieces)
    content += rng.integers(0, 256, (STATES, model.state), np.uint8).tobytes() + bytes(range(32))
    path = folder / "content"
    path.write_bytes(content)
    shape = [flash.word, flash.block, flash.fitted(model.bytes), flash.erased, int(flash.ecc)]
    done = subprocess.run(
        [str(a) for a in (program, *shape, path, seed, every)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{flash} {model.name} seed {seed}: {done.stdout}{done.stderr}"
    found: dict[str, int] = json.loads(done.stdout)
    return found


def sizes(folder: Path, source: Path = STORE[0]) -> tuple[int, int] | None:
    """(code of keep.c or another source, sizeof keep_t) on a Cortex-M0 at -Os; None without its GCC."""
    if not shutil.which("arm-none-eabi-gcc"):
        return None
    probe = folder / "probe.c"
    probe.write_text('#include "keep.h"\nchar ram[sizeof(keep_t)];\n')
    flags = ["-mcpu=cortex-m0", "-mthumb", "-Os", "-std=c99", f"-I{FIRMWARE}", "-c"]
    found = []
    for file, section in ((source, 0), (probe, 2)):
        run(["arm-none-eabi-gcc", *flags, file, "-o", folder / "size.o"])
        done = subprocess.run(
            ["arm-none-eabi-size", str(folder / "size.o")], capture_output=True, text=True, check=True
        )
        found.append(int(done.stdout.splitlines()[1].split()[section]))
    return found[0], found[1]


def main() -> int:
    total = dict.fromkeys(("operations", "cuts", "nested", "chained", "failures", "old", "new"), 0)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        program = simulator(folder)
        for title, flash in FLASHES.items():
            for model in models():
                if model.name == "large" and flash.word == 1:
                    continue  # as many operations again, all alike
                found = cuts(program, folder, flash, model, seed=1)
                for key in total:
                    total[key] += found[key]
                print(
                    f"{title}; {model.name}, {model.bytes} bytes: {found['operations']} operations, "
                    f"{found['cuts']} cuts and {found['nested']} more in the mount behind, at most "
                    f"{found['most_reads']} reads of {found['reads_allowed']}",
                    flush=True,
                )
        size = sizes(folder)
    every = total["cuts"] + total["nested"] + total["chained"]
    print(
        f"{every} cuts ({total['cuts']} of saves and erasures, {total['nested']} of the mount behind, "
        f"{total['chained']} in chains of up to six) and {total['failures']} failures: the old state "
        f"{total['old']} times, the new one {total['new']} times, never another"
    )
    if size is None:
        print("sizes: arm-none-eabi-gcc is not installed")
        return 0
    print(
        f"keep.c on a Cortex-M0: {size[0]} bytes of code of {CODE_BYTES}, "
        f"{size[1]} bytes of RAM of {RAM_BYTES}"
    )
    return int(size[0] > CODE_BYTES or size[1] > RAM_BYTES)


if __name__ == "__main__":
    sys.exit(main())
