"""synapcc eval ecg --protocol A|B"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from synapcc.examples.ecg.choices import (
    DEFAULT_MODEL,
    FRONTS,
    MODELS,
    PROTOCOLS,
    RECURRENT,
    STREAM,
    STREAM_MODEL,
    USUAL,
)
from synapcc.gen.errors import SynapccError
from synapcc.host.terminal.arguments import result_option
from synapcc.host.terminal.progress import Progress
from synapcc.host.terminal.results import Results

HELP = "patients of the MIT-BIH Arrhythmia Database: five minutes of each are learned, 25 tested"


def arguments(p: argparse.ArgumentParser) -> None:
    p.add_argument(
        "--protocol",
        choices=sorted(PROTOCOLS),
        default="A",
        help="; ".join(f"{n}: {doc}" for n, doc in PROTOCOLS.items()) + " (default: %(default)s)",
    )
    p.add_argument(
        "--model",
        action="append",
        help=f"{', '.join((*MODELS, *RECURRENT))} or an .onnx; may be repeated (default: {DEFAULT_MODEL})",
    )
    p.add_argument(
        "--front",
        choices=FRONTS,
        default=USUAL,
        help="what the network sees of a beat: "
        + "; ".join(f"{n}: {doc}" for n, doc in FRONTS.items())
        + " (default: %(default)s)",
    )
    p.add_argument(
        "--stream",
        action="store_const",
        dest="front",
        const=STREAM,
        help=f"--front {STREAM}: raw samples in, what was missed and what is no beat counted (default model: "
        f"{STREAM_MODEL})",
    )
    p.add_argument(
        "--rule", action="append", help="a rule, float_bp or a rule file; may be repeated (default: all)"
    )
    p.add_argument(
        "--weights",
        action="append",
        choices=["int16", "int8"],
        help="of the learned layers; may be repeated (default: int16)",
    )
    p.add_argument(
        "--passes", default="1,10", help="passes over the five minutes, with commas (default: %(default)s)"
    )
    p.add_argument(
        "--replay",
        choices=["both", "on", "off"],
        default="both",
        help="base examples mixed in (default: %(default)s)",
    )
    p.add_argument(
        "--seeds", type=int, default=1, help="of feedback matrices and rounding (default: %(default)s)"
    )
    p.add_argument(
        "--jobs", type=int, default=min(2, os.cpu_count() or 1), help="processes (default: %(default)s)"
    )
    p.add_argument(
        "--anomaly",
        action="store_true",
        help="no classes: an autoencoder learns each wearer's normal beats, and tells S and V by its own "
        "error; of the other options --patients and --json count",
    )
    p.add_argument("--patients", action="store_true", help="also print every patient, before and after")
    result_option(p, "--html", metavar="FILE", help="write a report there")


def run(args: argparse.Namespace, out: Results) -> int:
    from synapcc.examples.processes import one_blas_thread

    one_blas_thread()
    if args.anomaly:
        from synapcc.examples.ecg import anomaly_eval

        return anomaly_eval.run(out, args.patients)
    from synapcc.examples.ecg import evaluate, protocol
    from synapcc.examples.ecg.eval_report import document, overview, per_patient
    from synapcc.host.pages import html
    from synapcc.host.pages.eval import eval_html

    usual = STREAM_MODEL if args.front == STREAM else DEFAULT_MODEL
    models = args.model or [usual]
    names = {model: args.rule or evaluate.rules_of(model) for model in models}
    for model, name in ((m, n) for m in models for n in names[m]):
        known = evaluate.rule_names(model)
        if name not in known and not Path(name).is_file():
            hint = f"rules of {model}: {', '.join(known)}"
            raise SynapccError("--rule", f'"{name}" is neither a rule nor a file', hint)
    replays = {"both": (False, True), "on": (True,), "off": (False,)}[args.replay]
    if args.seeds < 1 or args.jobs < 1:
        raise SynapccError("--seeds, --jobs", "must be 1 or more", "give a whole number from 1")
    chosen = protocol.PROTOCOLS[args.protocol]
    tasks = evaluate.plan_tasks(
        chosen.name, names, args.weights or ["int16"], _passes(args.passes), replays, args.seeds,
        curve=bool(args.json or args.html), front=args.front,
    )  # fmt: skip
    with Progress("learning", sum(t.work for t in tasks)) as bar:
        rows = evaluate.evaluate(chosen.name, tasks, models, args.jobs, bar.step)
    result = document(rows, chosen, args.front)
    if args.html:
        html.write(Path(args.html), eval_html(result))
    out.give("eval", result)
    out.say(overview(rows, chosen, args.front))
    if args.patients:
        out.say(per_patient(rows, chosen.labels))
    return 0


def _passes(text: str) -> list[int]:
    try:
        passes = sorted({int(p) for p in text.split(",")})
    except ValueError:
        passes = [0]
    if passes[0] < 1:
        raise SynapccError("--passes", f'"{text}"', "give whole numbers from 1, such as 1,10")
    return passes
