"""synapcc inspect OUT [--learn DATA.npz], or MODEL [--scores NAME]"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synapcc.gen.errors import SynapccError
from synapcc.gen.sets import REF
from synapcc.host.terminal.arguments import result_option
from synapcc.host.terminal.progress import Progress
from synapcc.host.terminal.results import Results
from synapcc.host.terminal.text import table

if TYPE_CHECKING:
    from synapcc.gen.ir.plan import Plan

HELP = "show programs, tensors, Q formats, ranges, memory map and cost of OUT; or the layers of a model"


def arguments(p: argparse.ArgumentParser) -> None:
    p.add_argument(
        "project", metavar="OUT", help="output folder of synapcc compile, a plan.json, or a model file"
    )
    p.add_argument(
        "--learn",
        metavar="DATA.npz",
        help="learn these samples in the emulator and tell what saturates, what rounding loses, "
        "and how far the rule is from backpropagation",
    )
    p.add_argument(
        "--scores", metavar="NAME", help="of a model with several outputs, the one with the scores"
    )
    result_option(p, "--html", metavar="FILE", help="with --learn: write a report there")


def run(args: argparse.Namespace, out: Results) -> int:
    from synapcc.gen.emit import memory_map
    from synapcc.host.pages.facts import costs, program_text, summary
    from synapcc.host.pages.report_file import read_report
    from synapcc.host.run.plans import read_plan

    path = Path(args.project)
    if args.learn:
        return _learn(path, Path(args.learn), args.html, out)
    if args.html:
        raise SynapccError("--html", "is for --learn", "what compile found stands in OUT/report.html")
    if path.suffix.lower() not in ("", ".json") and not path.is_dir():
        return _model(path, args.scores, out)
    if args.scores is not None:
        raise SynapccError("--scores", "is for a model file", "OUT has the scores that compile chose")
    plan = read_plan(path)
    report = read_report(path, plan)
    kernel_set = report["kernels"] if report else REF
    out.give("inspect", _plan_document(plan, report, kernel_set))
    if report:
        out.say(f"{summary(report)}\n")
    out.say(f"{program_text(plan)}\n")
    out.say("\n".join(memory_map(plan, kernel_set)))
    rows = [
        [e["program"], s["node"], s["kernel"], str(s["macs"]), str(s["reads"]), str(s["writes"])]
        for e in costs(plan)
        for s in e["steps"]
        if s["macs"]
    ]
    out.say("\n".join(table(["program", "node", "kernel", "MACs", "weights read", "weights written"], rows)))
    return 0


def _plan_document(plan: Plan, report: dict[str, Any] | None, kernel_set: str) -> dict[str, Any]:
    from synapcc.host.pages.facts import costs, memory

    tensors = [
        {
            "name": t.name,
            "dtype": t.dtype,
            "shape": t.shape,
            "space": t.space,
            "offset": t.offset,
            "bytes": t.nbytes,
            **t.meaning.to_json(),
            "limits": [t.lo, t.hi],
        }
        for t in plan.tensors
    ]
    return {
        "model": plan.model,
        "digest": plan.digest.hex(),
        "memory": memory(plan, kernel_set),
        "tensors": tensors,
        "programs": costs(plan),
        "report": report,
    }


def _learn(path: Path, data: Path, picture: str | None, out: Results) -> int:
    """Diagnostics of learning: a table, or JSON to the output or into a file; and a page."""
    from synapcc.host.pages import html
    from synapcc.host.pages.learn import learn_html
    from synapcc.host.pages.report_file import needed_report
    from synapcc.host.run.diagnose import Diagnosis, text
    from synapcc.host.run.network import read_network
    from synapcc.host.run.plans import read_plan
    from synapcc.host.run.samples import load_samples

    plan = read_plan(path)
    report = needed_report(path, plan)
    diagnosis = Diagnosis(plan, read_network(path, plan), report)
    samples = load_samples(plan, data, labels=True)
    with Progress("learning", len(samples)) as bar:
        diagnosis.learn(samples, bar.step)
    found = diagnosis.to_dict() | {"clipped": dict(samples.clipped)}
    if picture:
        html.write(Path(picture), learn_html(found))
    out.give("inspect.learn", found)
    out.say(f"{samples}\n{text(found)}")
    return 0


def _model(path: Path, scores: str | None, out: Results) -> int:
    from synapcc.gen.importers import load_model

    graph = load_model(path, output=scores)
    rows = [[n.name, n.op, "x".join(map(str, graph.tensors[n.output].shape)), n.source] for n in graph.nodes]
    body = {
        "name": graph.name,
        "inputs": {i: graph.tensors[i].shape for i in graph.inputs},
        "layers": [dict(zip(("name", "op", "shape", "source"), r, strict=True)) for r in rows],
        "notes": graph.notes,
    }
    out.give("inspect.model", body)
    inputs = ", ".join(f"{i} {list(i.shape)}" for i in graph.interface)
    out.say(f"{graph.name}: inputs {inputs}; output {graph.output} {list(graph.tensors[graph.output].shape)}")
    out.say(
        "\n".join(
            [*table(["layer", "op", "output", "in the file"], rows), *(f"note: {n}" for n in graph.notes)]
        )
    )
    return 0
