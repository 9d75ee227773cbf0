"""synapcc flash OUT [--port PORT] [--with pyocd]"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from synapcc.gen.target.board import UPLOADERS
from synapcc.host.terminal.results import Results

HELP = "build the firmware and put it onto the board"


def arguments(p: argparse.ArgumentParser) -> None:
    p.add_argument("project", metavar="OUT", help="output folder of synapcc compile")
    p.add_argument("--port", help="serial port of the board; some uploads need it")
    p.add_argument(
        "--with", dest="tool", choices=UPLOADERS, help="what uploads (default: what the board file says)"
    )


def run(args: argparse.Namespace, out: Results) -> int:
    from synapcc.host.devices import serial
    from synapcc.host.firmware.flash import flash

    before = serial.listed()
    done = flash(Path(args.project), args.tool, args.port or "")
    out.give("flash", done.to_dict())
    out.say(done.text())
    out.say(following(args.project, args.port or "", before))
    return 0


def following(project: str, given: str, before: Sequence[str]) -> str:
    """The next command, on the port that the board has now; `given`, "" or the one that it had `before`."""
    from synapcc.host.devices import serial

    port = serial.settled(given, before) if given else ""
    hint = ""
    if not port:
        hint = f"   ({f'{given} is gone; ' if given else ''}ports here: {serial.ports()})"
    elif port != given:
        hint = f"   (the board's port is {port} now)"
    return f"next: synapcc verify {project} --data DATA.npz --device serial:{port or 'PORT'}{hint}"
