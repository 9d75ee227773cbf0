"""synapcc sweep SWEEP.toml"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synapcc.gen.errors import SynapccError
from synapcc.host.terminal.arguments import result_option
from synapcc.host.terminal.progress import Progress
from synapcc.host.terminal.results import STDOUT, Results

if TYPE_CHECKING:
    from synapcc.host.sweep.plan import Sweep

HELP = "many settings of learning on many wearers: folds choose, and who is tested is asked once"


def arguments(p: argparse.ArgumentParser) -> None:
    p.add_argument(
        "sweep", metavar="SWEEP.toml", help="models, data, folds, grid: synapcc docs HOWTO has one"
    )
    p.add_argument(
        "--jobs", type=int, default=os.cpu_count() or 1, help="processes (default: one a core, %(default)s)"
    )
    p.add_argument(
        "--engine",
        default="processes",
        metavar="ENGINE",
        help="processes of this computer, or dask:ADDRESS of a scheduler (default: %(default)s)",
    )
    p.add_argument(
        "--kept",
        metavar="FILE.json",
        help="what was found, and where the same sweep goes on (default: SWEEP.results.json beside it)",
    )
    result_option(p, "--html", metavar="FILE", help="write a report there")


def run(args: argparse.Namespace, out: Results) -> int:
    from synapcc.host.pages import html
    from synapcc.host.pages.sweep import sweep_html
    from synapcc.host.run.kept import Results as Kept
    from synapcc.host.sweep.outcome import document, text
    from synapcc.host.sweep.plan import read_sweep
    from synapcc.host.sweep.run import Runner
    from synapcc.host.sweep.search import run_all

    if args.jobs < 1:
        raise SynapccError("--jobs", f"{args.jobs} processes", "give 1 or more")
    sweep = read_sweep(Path(args.sweep))
    kept = Path(args.kept) if args.kept else sweep.file.with_suffix(".results.json")
    _check_results(args, [*sweep.files, kept])
    results = Kept(kept, _is_one)
    if results.strange:
        raise SynapccError(
            str(kept), "holds no result of this kind", "name another: it would be written over"
        )
    runner = Runner(sweep, results, args.engine, args.jobs)
    with Progress("running", _units(sweep)) as bar:
        found = run_all(sweep, runner, bar.step)
    result = document(sweep, found)
    if args.html:
        html.write(Path(args.html), sweep_html(result))
    out.give("sweep", result)
    out.say(text(sweep, found))
    return 0


def _check_results(args: argparse.Namespace, read: Sequence[Path]) -> None:
    """SynapccError where a result would replace what the sweep reads, or what was found so far."""
    for option in ("json", "html"):
        target = getattr(args, option)
        if target in (None, STDOUT):
            continue
        for path in read:
            if os.path.realpath(target) == os.path.realpath(path):
                what = f"is read by the sweep, and --{option} would replace it"
                raise SynapccError(target, what, "give the result a name of its own")
    for path in read[:-1]:
        if os.path.realpath(read[-1]) == os.path.realpath(path):
            raise SynapccError(str(path), "is read by the sweep", "give --kept another name")


def _units(sweep: Sweep) -> int:
    """How many units there will be, but for those of the tests."""
    settings = sweep.search.trials if sweep.search else len(sweep.settings)
    return settings * len(sweep.seeds) * len(sweep.folds)


def _is_one(found: Any) -> bool:
    """Whether it is what is kept of a unit."""
    return isinstance(found, dict) and ("refused" in found or {"digest", "before", "after"} <= found.keys())
