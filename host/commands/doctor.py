"""synapcc doctor"""

from __future__ import annotations

import argparse
import json

from synapcc.host import doctor

HELP = "say which toolchains, emulators, boards and data are there, and how to get what is not"


def arguments(p: argparse.ArgumentParser) -> None:
    p.add_argument("--json", action="store_true", help="as JSON")


def run(args: argparse.Namespace) -> int:
    checks = doctor.report()
    print(json.dumps([c.to_dict() for c in checks]) if args.json else doctor.table(checks))
    return 0 if all(c.found or not c.needed for c in checks) else 1
