"""synapcc new-board NAME"""

from __future__ import annotations

import argparse
import os
import re
from pathlib import Path

from synapcc.gen.errors import SynapccError
from synapcc.gen.target.boards import CORES, GENERIC, board_names, hals
from synapcc.host.terminal.files import check_distinct, write_whole
from synapcc.host.terminal.results import Results

HELP = "write a board file to fill in"


def arguments(p: argparse.ArgumentParser) -> None:
    p.add_argument("name", metavar="NAME", help="the board's name: a-z, 0-9 and _; the file is NAME.toml")
    p.add_argument(
        "--hal",
        action="store_true",
        help="also NAME_uart.c, a driver to fill in for a UART that no HAL knows",
    )


def run(args: argparse.Namespace, out: Results) -> int:
    from synapcc.gen.emit.templates import environment

    if not re.fullmatch(r"[a-z][a-z0-9_]*", args.name):
        raise SynapccError(args.name, "is no name for a board", "use a-z, 0-9 and _, a letter first")
    if args.name in (*board_names(), GENERIC):
        hint = f"compile with --board {args.name}, or choose another name"
        raise SynapccError(args.name, "is a board that synapcc has", hint)
    path = Path(f"{args.name}.toml")
    check_distinct(str(path), args.json)
    code = path.with_name(f"{args.name}_uart.c") if args.hal else None
    for file in (path, code):
        if file and os.path.lexists(file):
            raise SynapccError(str(file), "exists already", "choose another name, or remove it")
    env = environment()
    hal = code.name if code else ""
    text = env.get_template("board.toml.j2").render(name=args.name, cores=CORES, hals=hals(), hal=hal)
    if code:
        write_whole(code, env.get_template("hal.c.j2").render(name=args.name).encode())
    write_whole(path, text.encode())
    out.give("new-board", {"file": path.name, "name": args.name, **({"hal": hal} if hal else {})})
    both = f"{path} and {code}: fill them in" if code else f"{path}: fill it in"
    out.say(f"wrote {both}, then synapcc compile ... --board {path}")
    return 0
