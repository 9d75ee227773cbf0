"""synapcc docs [PAGE]"""

from __future__ import annotations

import argparse

from synapcc.host import docs
from synapcc.host.text import table

HELP = "list the pages of the documentation, or print one: synapcc docs RULES"


def arguments(p: argparse.ArgumentParser) -> None:
    p.add_argument("page", nargs="?", metavar="PAGE", help="its name, such as RULES or NUMERICS")
    p.add_argument("--path", action="store_true", help="print where the file lies, not what it says")


def run(args: argparse.Namespace) -> int:
    if args.page:
        path = docs.page(args.page)
        print(path if args.path else path.read_text(encoding="utf-8"), end="\n" if args.path else "")
    elif args.path:
        print(docs.FOLDER)
    else:
        print("\n".join(table(["page", "what it is about"], [list(row) for row in docs.pages().items()])))
    return 0
