"""synapcc boards"""

from __future__ import annotations

import argparse
import json

from synapcc.gen.boards import GENERIC, board_dict, list_boards
from synapcc.host.text import table

HELP = "list the boards"


def arguments(p: argparse.ArgumentParser) -> None:
    p.add_argument("--json", action="store_true", help="as JSON")


def run(args: argparse.Namespace) -> int:
    boards = list_boards()
    if args.json:
        print(json.dumps([board_dict(b) for b in boards]))
        return 0
    rows = [
        [
            b.name,
            b.title,
            b.core.cpu,
            f"{b.flash.size // 1024} KB",
            f"{b.ram.size // 1024} KB",
            f"{b.clock_hz / 1e6:g} MHz",
            ", ".join(
                n for n, has in (("unicorn", b.emulator.unicorn), ("qemu", bool(b.emulator.qemu))) if has
            )
            or "none",
        ]
        for b in boards
    ]
    print("\n".join(table(["board", "what it is", "core", "flash", "RAM", "clock", "emulators"], rows)))
    print(f"\n{GENERIC}: any other chip, for the library alone: --core cortex-m4 --flash 512K --ram 128K")
    return 0
