"""What the R-peak detector of a front end reaches on MIT-BIH: counts, latency, noise, other rates, bad input.

    python -m synapcc.examples.ecg.rpeak                       measures what is missing, prints the page
    python -m synapcc.examples.ecg.rpeak --measured FILE.md    the page of what is known, written there

The block `r_peak` (gen/frontends/r_peak.py) runs from the first sample of each record; minutes 5 to 30 count.
Its settings were chosen on DS1 (choose.py) before any other record was read. Results are kept in
measured.json, each under the digest of what it follows from, so that a detector is measured once.
"""

from __future__ import annotations

import sys
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

from synapcc.gen.errors import SynapccError
from synapcc.gen.frontends.r_peak import RPeakBlock
from synapcc.host.run.kept import Result, Results, key
from synapcc.host.terminal.arguments import Parser
from synapcc.host.terminal.files import check_target, write_whole
from synapcc.host.terminal.progress import Progress
from synapcc.host.terminal.screen import guarded

from . import hard, measure, page, plot, trust
from .choose import PROCESSES, mark, text
from .measure import cases, is_result

RESULTS = Path(__file__).parent / "measured.json"


def known(results: Results, only: bool) -> dict[str, Result]:
    """Every case by its name, from what is kept or anew; those that are not known are left out if `only`."""
    defaults = {o.name: o.default for o in RPeakBlock.options}
    follows = mark(), text(measure), text(hard), text(trust), defaults
    names = {case: key(*follows, case.name) for case in cases()}
    found: dict[str, Result] = {}
    with (
        ProcessPoolExecutor(PROCESSES, get_context("spawn")) as pool,
        Progress("rpeak", len(names)) as bar,
    ):
        for case, name in names.items():
            if name in results.found or not only:
                result = results.get(name, partial(measure.result, case, pool.map))
                found[case.name] = result["found"]
            bar.step()
    return found


@guarded()
def main(arguments: list[str] | None = None) -> int:
    """Command line; 0, or 2 with one line on stderr."""
    parser = Parser(prog="python -m synapcc.examples.ecg.rpeak", description=(__doc__ or "").split("\n")[0])
    parser.add_argument(
        "file", nargs="?", type=Path, metavar="FILE.md", help="also write the page and its plot there"
    )
    parser.add_argument("--measured", action="store_true", help="run nothing: print what was found before")
    options = parser.parse_args(arguments)
    if options.file:
        check_target(options.file)
    found = known(Results(RESULTS, is_result), options.measured)
    if not found:
        raise SynapccError(str(RESULTS), "holds nothing of this detector", "leave --measured out")
    words = page.text(found)
    if options.file:
        write_whole(options.file, words.encode())
        write_whole(options.file.with_name(plot.PLOT), plot.plot().encode())
    print(words, end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
