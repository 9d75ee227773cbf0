"""synapcc boards"""

from __future__ import annotations

import argparse

from synapcc.gen.target.boards import GENERIC, board_dict, list_boards
from synapcc.host.terminal.results import Results
from synapcc.host.terminal.text import table

HELP = "list the boards"


def arguments(p: argparse.ArgumentParser) -> None:
    """None of its own."""


def run(args: argparse.Namespace, out: Results) -> int:
    boards = list_boards()
    out.give("boards", {"boards": [board_dict(b) for b in boards]})
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
            "yes" if b.link else "library",
        ]
        for b in boards
    ]
    out.say(
        "\n".join(
            table(["board", "what it is", "core", "flash", "RAM", "clock", "emulators", "firmware"], rows)
        )
    )
    out.say("\nlibrary: no firmware of ours; `compile --package KIND` makes it one of your build system")
    out.say(f"{GENERIC}: any other chip, for the library alone: --core cortex-m4 --flash 512K --ram 128K")
    return 0
