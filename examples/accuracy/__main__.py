"""Measures the twelve networks and prints the page (needs the extras `[accuracy,ecg]` and the data).

python -m synapcc.examples.accuracy docs/ACCURACY.md
python -m synapcc.examples.accuracy --networks mnist_mlp,ecg_cnn --samples 2000
"""

from __future__ import annotations

import sys
from pathlib import Path

from synapcc.gen.errors import SynapccError
from synapcc.host import cache
from synapcc.host.terminal.arguments import Parser
from synapcc.host.terminal.files import check_target, write_whole
from synapcc.host.terminal.screen import guarded

from . import networks, table

LEAST = 100  # samples: with fewer a standard error says nothing


@guarded()
def main(arguments: list[str] | None = None) -> int:
    """Command line; 0, or 2 with one line on stderr."""
    parser = Parser(prog="accuracy", description="Measure agreement with float, beside onnxruntime.")
    parser.add_argument("file", nargs="?", type=Path, metavar="FILE.md", help="also write the page there")
    parser.add_argument("--samples", type=int, default=10_000, help="of each test, at most (%(default)s)")
    parser.add_argument("--networks", default="", metavar="NAMES", help="with commas between (default: all)")
    parser.add_argument("--kept", type=Path, default=cache.folder() / "accuracy", help="folder of counts")
    options = parser.parse_args(arguments)
    try:
        chosen = networks.named([name for name in options.networks.split(",") if name])
        if options.samples < LEAST:
            raise SynapccError("--samples", f"is {options.samples}", f"give {LEAST} or more")
        if options.file:
            check_target(options.file)
        try:
            from . import measure, ort
        except ModuleNotFoundError as error:
            raise SynapccError(str(error.name), "is not installed", "pip install synapcc[accuracy]") from None
        rows = [
            measure.measure(n, n.load(options.samples), options.kept, lambda t: print(t, file=sys.stderr))
            for n in chosen
        ]
        page = table.text(rows, ort.VERSION)
        if options.file:
            write_whole(options.file, page.encode())
    except SynapccError as error:
        print(error, file=sys.stderr)
        return 2
    print(page, end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
