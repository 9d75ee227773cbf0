"""Trains from scratch and prints the page (needs the extra `[ecg]`, the data, and a C compiler).

python -m synapcc.examples.learning docs/RESULTS.md
python -m synapcc.examples.learning --parts dense --held-out      what settings are chosen by: no page
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

from ..processes import one_blas_thread

one_blas_thread()

from synapcc.gen.errors import DataWarning, SynapccError  # noqa: E402
from synapcc.host import cache  # noqa: E402
from synapcc.host.run.kept import Results  # noqa: E402
from synapcc.host.terminal.arguments import Parser  # noqa: E402
from synapcc.host.terminal.files import check_target, write_whole  # noqa: E402
from synapcc.host.terminal.screen import guarded  # noqa: E402

from . import heartbeats, page, plot, rows, train  # noqa: E402
from .rows import ECG  # noqa: E402


def say(text: str) -> None:
    """A line of progress."""
    print(text, file=sys.stderr, flush=True)


@guarded()
def main(arguments: list[str] | None = None) -> int:
    """Command line; 0, or 2 with one line on stderr."""
    parser = Parser(prog="learning", description="Train networks from scratch in integers, and test them.")
    parser.add_argument("file", nargs="?", type=Path, metavar="FILE.md", help="also write the page there")
    parser.add_argument("--parts", default="", metavar="NAMES", help="with commas between (default: all)")
    parser.add_argument(
        "--held-out", action="store_true", help="test on the last training images: to choose settings by"
    )
    parser.add_argument("--measured", action="store_true", help="train nothing: print what was found before")
    kept = cache.folder() / "learning" / "results.json"
    parser.add_argument("--kept", type=Path, default=kept, metavar="FILE.json", help="what was found so far")
    options = parser.parse_args(arguments)
    warnings.simplefilter("ignore", DataWarning)  # a few pixels lie beyond the format that the most ask for
    try:
        parts = rows.parts([name for name in options.parts.split(",") if name], options.held_out)
        if options.file and options.held_out:
            raise SynapccError("--held-out", "makes no page", f"leave out {options.file}")
        if options.file:
            check_target(options.file)
        results = Results(options.kept, lambda r: train.is_result(r) or heartbeats.is_result(r))
        found = [page.Found(row, []) for row in rows.ROWS if row.part in parts]
        for seed in rows.SEEDS:  # a table of one seed is there soon, and the others make it better
            for row, got in ((f.row, f.results) for f in found):
                say(f"{row.network}, {row.data}, {row.rule}, seed {seed}")
                run = next(run for run in row.runs if run.seed == seed)
                result = train.measured(run, results, say, options.held_out, options.measured)
                got += [result] if result else []
        found = [f for f in found if f.results]
        beats = list(heartbeats.measured(results, say, options.measured)) if ECG in parts else []
        text = page.held_out(found) if options.held_out else page.text(found, beats)
        if options.file:
            write_whole(options.file, text.encode())
            if any(f.row.depth for f in found):
                write_whole(options.file.with_name(page.PLOT), plot.depth(found).encode())
    except SynapccError as error:
        print(error, file=sys.stderr)
        return 2
    print(text, end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
