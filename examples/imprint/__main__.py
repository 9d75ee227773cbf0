"""Measures imprinted classes and prints the page (needs the extra `[ecg]` and the data).

python -m synapcc.examples.imprint docs/IMPRINT.md
python -m synapcc.examples.imprint --tasks ECG
"""

from __future__ import annotations

import sys
import warnings
from functools import partial
from pathlib import Path

from synapcc.gen.errors import DataWarning, SynapccError
from synapcc.host import cache
from synapcc.host.terminal.arguments import Parser
from synapcc.host.terminal.files import check_target, write_whole
from synapcc.host.terminal.screen import guarded

from . import study, tasks


@guarded()
def main(arguments: list[str] | None = None) -> int:
    """Command line; 0, or 2 with one line on stderr."""
    parser = Parser(prog="imprint", description="Measure classes that are imprinted from few samples.")
    parser.add_argument("file", nargs="?", type=Path, metavar="FILE.md", help="also write the page there")
    parser.add_argument("--tasks", default="", metavar="NAMES", help="with commas between (default: all)")
    kept = cache.folder() / "imprint" / "shares.json"
    parser.add_argument("--kept", type=Path, default=kept, metavar="FILE.json", help="what was found so far")
    options = parser.parse_args(arguments)
    warnings.simplefilter("ignore", DataWarning)  # a white pixel is one step more than Q7 holds
    try:
        chosen = tasks.named([name for name in options.tasks.split(",") if name])
        if options.file:
            check_target(options.file)
        found: dict[str, dict[str, study.Shares]] = {}
        known = study.Kept(options.kept)
        for task in chosen:
            data = task.load()
            found[task.name] = {}
            for left in task.left:
                print(f"{task.name} without {left}", file=sys.stderr)
                number = task.classes.index(left)
                found[task.name][left] = known.get(task, left, partial(study.measure, data, number))
        page = study.text(found)
        if options.file:
            write_whole(options.file, page.encode())
    except SynapccError as error:
        print(error, file=sys.stderr)
        return 2
    print(page, end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
