"""synapcc flash OUT [--port PORT] [--with pyocd]"""

from __future__ import annotations

import argparse
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

    done = flash(Path(args.project), args.tool, args.port or "")
    out.give("flash", done.to_dict())
    out.say(done.text())
    port = args.port or "PORT"
    hint = "" if args.port else f"   (ports here: {serial.ports()})"
    out.say(f"next: synapcc verify {args.project} --data DATA.npz --device serial:{port}{hint}")
    return 0
