"""synapcc docs [PAGE]"""

from __future__ import annotations

import argparse

from synapcc.host.terminal import docs
from synapcc.host.terminal.results import Results
from synapcc.host.terminal.text import table

HELP = "list the pages of the documentation, or print one: synapcc docs RULES"


def arguments(p: argparse.ArgumentParser) -> None:
    p.add_argument("page", nargs="?", metavar="PAGE", help="its name, such as RULES or NUMERICS")
    p.add_argument("--path", action="store_true", help="print where the file lies, not what it says")


def run(args: argparse.Namespace, out: Results) -> int:
    if args.page:
        path = docs.page(args.page)
        text = path.read_text(encoding="utf-8")
        place = {"path": str(path)} if args.path else {}
        out.give("docs.page", {"page": path.stem, "text": text, **place})
        out.say(str(path) if args.path else text.removesuffix("\n"))
        return 0
    pages = docs.pages()
    place = {"path": str(docs.FOLDER)} if args.path else {}
    out.give("docs", {"pages": [{"page": name, "about": about} for name, about in pages.items()], **place})
    listed = table(["page", "what it is about"], [list(row) for row in pages.items()])
    out.say(str(docs.FOLDER) if args.path else "\n".join(listed))
    return 0
