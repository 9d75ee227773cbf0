"""synapcc rules"""

from __future__ import annotations

import argparse
import json

from synapcc.host.text import table

HELP = "list the learning rules"


def arguments(p: argparse.ArgumentParser) -> None:
    p.add_argument("--json", action="store_true", help="as JSON")


def run(args: argparse.Namespace) -> int:
    from synapcc.gen.rules import rules

    found = rules().values()
    if args.json:
        print(
            json.dumps(
                [
                    {
                        "name": r.name,
                        "doc": r.doc,
                        "source": r.source,
                        "storages": r.storages,
                        "inits": r.inits,
                    }
                    for r in found
                ]
            )
        )
        return 0
    rows = [[r.name, r.doc, ", ".join(r.storages) or "none needed", r.source] for r in found]
    print("\n".join(table(["rule", "what it does", "feedback in", "source"], rows)))
    return 0
