"""synapcc personalise OUT --learn LEARN.npz --test TEST.npz [--wearer-key subject]"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from synapcc.gen.errors import SynapccError
from synapcc.host.terminal.arguments import result_option
from synapcc.host.terminal.progress import Progress
from synapcc.host.terminal.results import Results

if TYPE_CHECKING:
    from synapcc.gen.ir.plan import Plan

PASSES = 10
BESIDE = ("last", "float_bp")
HELP = "does it get better on my data? every wearer before and after learning, in the emulator"


def arguments(p: argparse.ArgumentParser) -> None:
    p.add_argument("project", metavar="OUT", help="output folder of synapcc compile")
    p.add_argument(
        "--learn",
        required=True,
        metavar="LEARN.npz",
        help="inputs by name and `label`: what is learned, in order",
    )
    p.add_argument(
        "--test", required=True, metavar="TEST.npz", help="the same: what is asked before and after"
    )
    p.add_argument(
        "--wearer-key",
        metavar="NAME",
        help="array of both files that says whose each sample is (default: all are of one wearer)",
    )
    p.add_argument(
        "--passes",
        type=int,
        metavar="N",
        help=f"over what is learned (default: {PASSES}, or 1 where the device keeps no samples)",
    )
    p.add_argument(
        "--beside",
        action="append",
        choices=(*BESIDE, "none"),
        help="other ways to learn the same, may be repeated: the last layer alone, float backpropagation "
        "(default: both)",
    )
    p.add_argument(
        "--base",
        metavar="BASE.npz",
        help="samples of what the network was trained on: what is forgotten (default: --calibrate's, where "
        "they have labels)",
    )
    p.add_argument(
        "--flip",
        type=float,
        default=0.0,
        metavar="PERCENT",
        help="so many of the labels that are learned become wrong ones (default: %(default)s)",
    )
    p.add_argument("--classes", metavar="NAMES", help="what the classes are called, with commas between")
    p.add_argument(
        "--calibrate",
        metavar="CAL.npz",
        help="chooses number formats of the others beside (default: what is learned)",
    )
    result_option(p, "--html", metavar="FILE", help="write a report there")


def run(args: argparse.Namespace, out: Results) -> int:
    from synapcc.gen.files.npz import load_arrays
    from synapcc.gen.ir.inputs import LABEL
    from synapcc.gen.stages.given import check_calibration
    from synapcc.host.pages import html
    from synapcc.host.pages.eval import eval_html
    from synapcc.host.pages.report_file import needed_report, spec_of
    from synapcc.host.run.network import read_network
    from synapcc.host.run.personalise import Trial, text
    from synapcc.host.run.plans import read_plan
    from synapcc.host.run.wearer_data import ONE, by_wearer, flipped, load_wearers, together

    project = Path(args.project)
    plan = read_plan(project)
    report = needed_report(project, plan)
    labels, passes = _labels(args.classes, plan), _passes(args.passes, plan)
    if not 0 <= args.flip <= 100:
        raise SynapccError("--flip", f"{args.flip:g} %", "give 0 to 100")
    people = load_wearers(plan, Path(args.learn), Path(args.test), args.wearer_key or "")
    spec, network = spec_of(report, str(project)), read_network(project, plan)
    people = flipped(people, args.flip / 100, plan.classes) if args.flip else people
    calibration = load_arrays(Path(args.calibrate)) if args.calibrate else together(people.learn.values())
    if args.calibrate:
        check_calibration(network, calibration, args.calibrate, spec)
    asked = args.base or (args.calibrate if LABEL in calibration else None)
    own = load_arrays(Path(args.base)) if args.base else calibration
    base = by_wearer(plan, own, asked)[ONE] if asked else None
    learned = tuple(report["learned"])
    trial = Trial(
        plan, spec, network, learned, people, passes, calibration, base, labels, bool(args.calibrate)
    )
    beside = BESIDE if args.beside is None else tuple(b for b in BESIDE if b in args.beside)
    with Progress("learning", trial.places * len({trial.spec.rule, *beside})) as bar:
        found = trial.run(beside, bar.step)
    result = found.to_dict() | {"model": plan.model, "digest": plan.digest.hex(), "flipped": args.flip}
    if args.html:
        html.write(Path(args.html), eval_html(result))
    out.give("personalise", result)
    out.say(text(found))
    return 0


def _labels(text: str | None, plan: Plan) -> tuple[str, ...]:
    """Names of the classes; none where none are given."""
    names = tuple(text.split(",")) if text is not None else ()
    if text is not None and (len(names) != plan.classes or len(set(names)) < len(names) or "" in names):
        what = f"{text!r} is not {plan.classes} names"
        raise SynapccError("--classes", what, "give one for each class, with commas between")
    return names


def _passes(given: int | None, plan: Plan) -> int:
    many = "rehearse" in plan.entries
    if given is not None and (given < 1 or (given > 1 and not many)):
        hint = "give 1 or more; more than one needs [store] in the rule file"
        raise SynapccError("--passes", f"{given} passes", hint)
    return given or (PASSES if many else 1)
