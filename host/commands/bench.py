"""synapcc bench OUT --device unicorn|qemu|serial:PORT; or --kernel SPEC, --shapes FILE or --emulator [OUT]"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from synapcc.gen.errors import SynapccError
from synapcc.host.bench.options import KINDS, SAMPLES, SEED
from synapcc.host.terminal.arguments import result_option
from synapcc.host.terminal.results import Results

HELP = "count what each op and program costs: instructions, cycles, time, energy, flash, RAM, stack"
OF_CELL = {"sleep": 2.0, "events": 75.0, "labels": 0.0}
"""What --cell goes by, where nothing else is said."""


def arguments(p: argparse.ArgumentParser) -> None:
    p.add_argument("project", nargs="?", metavar="OUT", help="output folder of synapcc compile")
    p.add_argument(
        "--device",
        default="unicorn",
        help=f"{', '.join(KINDS)}; serial takes a port, serial:/dev/ttyACM0 (default: %(default)s)",
    )
    result_option(p, "--html", metavar="FILE", help="write a report there")
    p.add_argument(
        "--emulator",
        action="store_true",
        help="learning steps a second of the emulator, numpy and compiled, and of the C on this computer; "
        "without OUT, of the examples' networks",
    )
    of_out = p.add_argument_group("of OUT")
    of_out.add_argument("--data", metavar="FILE.npz", help="samples to run (default: noise)")
    of_out.add_argument("--samples", type=int, help=f"how many samples are run (default: {SAMPLES})")
    of_out.add_argument("--seed", type=int, help=f"of the noise (default: {SEED})")
    of_out.add_argument(
        "--cell", type=float, metavar="MAH", help="of a front end: days that a cell of this charge lasts"
    )
    of_out.add_argument("--sleep", type=float, metavar="UA", help="what the chip draws asleep (default: 2)")
    of_out.add_argument(
        "--events", type=float, metavar="N", help="to a minute, where windows stand about them (default: 75)"
    )
    of_out.add_argument("--labels", type=float, metavar="N", help="windows learned an hour (default: 0)")
    alone = p.add_argument_group("of one kernel alone")
    alone.add_argument(
        "--kernel",
        metavar="SPEC",
        help='such as "dense 256 128" or "mlp 64 32 5"; all kinds: synapcc docs BENCH',
    )
    alone.add_argument(
        "--shapes", metavar="FILE.csv", help="every kernel of a file beside what a peer needs for it"
    )
    alone.add_argument("--weights", choices=("int8", "int16"), help="int16 ones are learned (default: int8)")
    alone.add_argument("--phase", choices=("infer", "learn"), help="its forward pass, or learning one sample")
    alone.add_argument("--rule", help="rule by which mlp learns (default: dfa)")
    alone.add_argument(
        "--rounding", choices=("stochastic", "nearest", "dither"), help="(default: stochastic)"
    )
    alone.add_argument("--board", help="name or .toml (default: mps2_an386)")
    alone.add_argument("--kernels", help="kernel set (default: the board's fastest)")


def run(args: argparse.Namespace, out: Results) -> int:
    from synapcc.host.bench.report import bench_kernel, text
    from synapcc.host.pages import html
    from synapcc.host.pages.bench import bench_html

    if args.emulator:
        return _emulator(args, out)
    if sum(given is not None for given in (args.project, args.kernel, args.shapes)) != 1:
        raise SynapccError("OUT", "what shall be counted?", "give either OUT or --kernel or --shapes")
    alone = args.project is None
    # Options of one way to use the command, with what they are where they are not given.
    of_kernel: dict[str, Any] = dict(bench_kernel.__kwdefaults__ or {})
    of_out: dict[str, Any] = {"data": "", "samples": SAMPLES, "seed": SEED, "cell": None, **OF_CELL}
    mine, other = (of_kernel, of_out) if alone else (of_out, of_kernel)
    for name in other:
        if getattr(args, name) is not None:
            what, hint = ("OUT", "leave it out") if alone else ("--kernel", "OUT has its own")
            raise SynapccError(f"--{name}", f"belongs to {what}", hint)
    chosen = {n: default if getattr(args, n) is None else getattr(args, n) for n, default in mine.items()}
    if args.shapes is not None:
        return _shapes(args, chosen, out)
    battery = None if alone or chosen["cell"] is None else _battery(Path(args.project), chosen)
    report = bench_kernel(args.kernel, args.device, **chosen) if alone else _project(args, chosen)
    told = text(report)
    if battery:
        found, lines = battery(report)
        report, told = {**report, "battery": found}, f"{told}\n{lines}"
    if args.html:
        html.write(Path(args.html), bench_html(report))
    out.give("bench", report)
    out.say(told)
    return 0


def _battery(
    project: Path, chosen: dict[str, Any]
) -> Callable[[Mapping[str, Any]], tuple[dict[str, Any], str]]:
    """What makes the budget of a bench report, and the text of that; all that can be refused before something
    is counted is."""
    from synapcc.host.bench import budget
    from synapcc.host.pages.report_file import read_report
    from synapcc.host.run.plans import read_plan

    cell = budget.Cell(chosen["cell"], *(chosen[name] for name in OF_CELL))
    cell.check()
    plan = read_plan(project)
    compiled = read_report(project, plan)
    if compiled is None:
        what = "there is no report.json beside the Plan, which says the front end's rate"
        raise SynapccError(str(project), what, "give the output folder of synapcc compile")
    front = compiled["rule"].get("frontend")
    if front is None:
        raise SynapccError("--cell", f"{plan.model} has no front end", "compile it with [frontend]")

    def made(report: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
        found = budget.budget(plan, front, report, cell)
        return found, budget.text(found)

    return made


def _emulator(args: argparse.Namespace, out: Results) -> int:
    from synapcc.host import examples
    from synapcc.host.bench.emulator import DEVICES, bench_emulator, text
    from synapcc.host.run.plans import read_plan

    given = [
        name
        for name in ("kernel", "shapes", "html", "data", "samples", "seed", "cell", *OF_CELL)
        if getattr(args, name) is not None
    ]
    if given:
        raise SynapccError(f"--{given[0]}", "belongs to another way to use bench", "leave it out")
    plan = read_plan(Path(args.project)) if args.project else None
    report = bench_emulator([(plan.model, plan, DEVICES)] if plan else examples.networks())
    out.give("bench.emulator", report)
    out.say(text(report))
    return 0


def _shapes(args: argparse.Namespace, chosen: dict[str, Any], out: Results) -> int:
    from synapcc.host.bench.report import bench_kernel
    from synapcc.host.bench.shapes import bench_shapes, text

    if args.html:
        raise SynapccError("--html", "belongs to another way to use bench", "leave it out")
    report = bench_shapes(Path(args.shapes), args.device, bench_kernel, **chosen)
    out.give("bench.shapes", report)
    out.say(text(report))
    return 0


def _project(args: argparse.Namespace, chosen: dict[str, Any]) -> dict[str, Any]:
    from synapcc.host.bench.report import bench_project

    if chosen["samples"] < 1 or chosen["seed"] < 0:
        name = "samples" if chosen["samples"] < 1 else "seed"
        raise SynapccError(f"--{name}", f"{chosen[name]}", "give 1 or more samples and a seed of 0 or more")
    more = [name for name in OF_CELL if chosen[name] != OF_CELL[name]]
    if chosen["cell"] is None and more:
        raise SynapccError(f"--{more[0]}", "goes with --cell", "give the charge of a cell, too")
    data = Path(chosen["data"]) if chosen["data"] else None
    return bench_project(Path(args.project), args.device, data, chosen["samples"], chosen["seed"])
