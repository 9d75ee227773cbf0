"""synapcc doctor"""

from __future__ import annotations

import argparse

from synapcc.host import doctor, weights
from synapcc.host.terminal.results import Results

HELP = "say which toolchains, emulators, boards and data are there, and how to get what is not"


def arguments(p: argparse.ArgumentParser) -> None:
    p.add_argument("--paths", action="store_true", help="with --json: also where things are")


def run(args: argparse.Namespace, out: Results) -> int:
    checks = doctor.report()
    parts = weights.weigh()
    told = {name: weight.to_dict() for name, weight in parts.items()}
    out.give("doctor", {"checks": [c.to_dict(args.paths) for c in checks], "weights": told})
    out.say(f"{doctor.table(checks)}\n\n{doctor.weight_table(parts)}")
    return 0 if all(c.found or not c.needed for c in checks) else 1
