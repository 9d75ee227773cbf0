"""synapcc rules"""

from __future__ import annotations

import argparse

from synapcc.host.terminal.results import Results
from synapcc.host.terminal.text import table

HELP = "list the learning rules"


def arguments(p: argparse.ArgumentParser) -> None:
    """None of its own."""


def run(args: argparse.Namespace, out: Results) -> int:
    from synapcc.gen.rules import rules

    found = rules().values()
    keys = ("name", "doc", "source", "storages", "inits")
    out.give("rules", {"rules": [{key: getattr(r, key) for key in keys} for r in found]})
    rows = [[r.name, r.doc, ", ".join(r.storages) or "none needed", r.source] for r in found]
    out.say("\n".join(table(["rule", "what it does", "feedback in", "source"], rows)))
    out.say("\nor equations of your own, in the rule file: synapcc docs RULES")
    return 0
