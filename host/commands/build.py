"""synapcc build OUT"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from synapcc.gen.errors import SynapccError
from synapcc.host.terminal.results import Results

if TYPE_CHECKING:
    from synapcc.host.firmware.build import BuildResult

_GUARDS = {
    "MPU": "the MPU, where the chip has one: a stack that overflows faults and is told",
    "MSPLIM": "MSPLIM: a stack that overflows faults and is told",
    "": "none: this core has nothing that stops a stack that overflows, so the bound above must hold",
}

HELP = "build the firmware with PlatformIO; print flash, RAM and worst-case stack"


def arguments(p: argparse.ArgumentParser) -> None:
    p.add_argument("project", metavar="OUT", help="output folder of synapcc compile")
    p.add_argument("--toolchain", help="gcc or zig (default: gcc where arm-none-eabi-gcc is found)")


def run(args: argparse.Namespace, out: Results) -> int:
    from synapcc.host.firmware.build import build

    project = Path(args.project)
    result = build(project, args.toolchain)
    if result.linked.offending:
        hint = "report this model and toolchain"
        raise SynapccError(
            str(result.elf), f"links what no chip should need: {', '.join(result.linked.offending)}", hint
        )
    out.give(
        "build", result.to_dict() | {"elf": result.elf.relative_to(os.path.realpath(project)).as_posix()}
    )
    out.say(text(result, project))
    return 0


def text(result: BuildResult, project: Path) -> str:
    """The result as a person reads it."""
    from synapcc.host.firmware.build import project_board

    board = project_board(project)
    stack = result.stack.bytes

    def share(used: int, room: int) -> str:
        return f"{used:>8} of {room} bytes ({100 * used / room:.1f} %)"

    lines = [
        f"{board.name}, {result.toolchain}: {result.elf}",
        f"flash  {share(result.flash, board.flash.size)}",
        f"RAM    {share(result.ram, board.ram.size)}, without the stack",
        f"stack  {stack if stack is not None else '?':>8} bytes at worst: {result.stack.text()}",
        f"guard  {_GUARDS[result.guard]}",
        f"linked {result.linked.text()}",
    ]
    return "\n".join(lines)
