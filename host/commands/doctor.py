"""synapcc doctor"""

from __future__ import annotations

import argparse

from synapcc.host import doctor
from synapcc.host.terminal.results import Results

HELP = "say which toolchains, emulators, boards and data are there, and how to get what is not"


def arguments(p: argparse.ArgumentParser) -> None:
    p.add_argument("--paths", action="store_true", help="with --json: also where things are")


def run(args: argparse.Namespace, out: Results) -> int:
    checks = doctor.report()
    out.give("doctor", {"checks": [c.to_dict(args.paths) for c in checks]})
    out.say(doctor.table(checks))
    return 0 if all(c.found or not c.needed for c in checks) else 1
