"""synapcc eval ecg --protocol A|B"""

from __future__ import annotations

import argparse
import os
import statistics
from collections.abc import Iterable
from pathlib import Path

from synapcc.examples.ecg import evaluate, protocol
from synapcc.examples.ecg.published import RECORDS
from synapcc.gen.errors import SynapccError
from synapcc.host import page
from synapcc.host.arguments import result_option
from synapcc.host.progress import Progress
from synapcc.host.reports.eval import eval_html
from synapcc.host.results import Results
from synapcc.host.text import table

HELP = (
    "personalise every patient of a protocol in the emulator: accuracy and F1, beside float backpropagation"
)


def arguments(p: argparse.ArgumentParser) -> None:
    p.add_argument("data", choices=["ecg"], help="the data set: ecg is the MIT-BIH Arrhythmia Database")
    p.add_argument(
        "--protocol",
        choices=sorted(protocol.PROTOCOLS),
        default="A",
        help="; ".join(f"{n}: {p.doc}" for n, p in protocol.PROTOCOLS.items()) + " (default: %(default)s)",
    )
    p.add_argument(
        "--model",
        action="append",
        help=f"{', '.join(evaluate.MODELS)} or an .onnx; may be repeated (default: {evaluate.DEFAULT_MODEL})",
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
    p.add_argument("--patients", action="store_true", help="also print every patient, before and after")
    result_option(p, "--html", metavar="FILE", help="write a report there")


def run(args: argparse.Namespace, out: Results) -> int:
    models, names = args.model or [evaluate.DEFAULT_MODEL], args.rule or [evaluate.FLOAT_BP, *evaluate.RULES]
    for name in names:
        if name not in evaluate.rule_names() and not Path(name).is_file():
            known = ", ".join(evaluate.rule_names())
            raise SynapccError("--rule", f'"{name}" is neither a rule nor a file', f"rules: {known}")
    replays = {"both": (False, True), "on": (True,), "off": (False,)}[args.replay]
    if args.seeds < 1 or args.jobs < 1:
        raise SynapccError("--seeds, --jobs", "must be 1 or more", "give a whole number from 1")
    chosen = protocol.PROTOCOLS[args.protocol]
    tasks = evaluate.plan_tasks(
        chosen.name, models, names, args.weights or ["int16"], _passes(args.passes), replays, args.seeds,
        curve=bool(args.json or args.html),
    )  # fmt: skip
    with Progress("learning", sum(t.work for t in tasks)) as bar:
        rows = evaluate.evaluate(chosen.name, tasks, models, args.jobs, bar.step)
    result = {"protocol": chosen.name, "labels": chosen.labels, "rows": [r.to_dict() for r in rows]}
    if args.html:
        page.write(Path(args.html), eval_html(result, RECORDS[chosen.name]))
    out.give("eval", result)
    out.say(overview(rows, chosen))
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


def _spread(values: Iterable[float]) -> str:
    v = list(values)
    return f"{statistics.fmean(v):.4f}" + (f" ±{statistics.stdev(v):.4f}" if len(v) > 1 else "")


Groups = dict[tuple[str, str, str, int, bool], list[evaluate.Row]]


def overview(rows: list[evaluate.Row], chosen: protocol.Protocol) -> str:
    """Means over the seeds, one line for each way of learning; below, what is published."""
    groups: Groups = {}
    for r in rows:
        groups.setdefault(r.way, []).append(r)
    body = []
    for way, group in groups.items():
        gross = [r.summary.gross for r in group]
        f1 = [_spread(g.f1[c] for g in gross) for c in range(len(chosen.labels))]
        average = _spread(r.summary.average.accuracy for r in group)
        macro = _spread(g.macro_f1 for g in gross)
        body.append([*_cells(way), str(len(group)), _spread(g.accuracy for g in gross), average, macro, *f1])
    for p in chosen.published:
        f1 = [f"{p.f1(c) / 100:.3f}" if c in p.sen else "" for c in chosen.labels]
        whole = ["" if v is None else f"{v / 100:.3f}" for v in (p.accuracy, p.macro_f1)]
        body.append([p.what, "", "", "", "", "", whole[0], "", whole[1], *f1])
    head = ["model", "rule", "weights", "passes", "replay", "seeds", "accuracy", "by patient", "macro F1"]
    beats = int(rows[0].summary.matrix.sum())
    lines = [f"protocol {chosen.name}: {len(rows[0].summary.patients)} patients, {beats} test beats", ""]
    lines += table([*head, *(f"F1({c})" for c in chosen.labels)], body)
    lines += [
        "",
        *_sensitivity(groups, chosen),
        "",
        "±: standard deviation over the seeds. R peaks are the annotated ones. Not a medical device.",
    ]
    return "\n".join(lines)


def _cells(way: tuple[str, str, str, int, bool]) -> list[str]:
    model, rule, weights, passes, replay = way
    return [model, Path(rule).stem, weights, str(passes), "yes" if replay else "no"]


def _sensitivity(groups: Groups, chosen: protocol.Protocol) -> list[str]:
    """Sensitivity and positive predictivity in per cent, gross (every beat counts alike) and average (every
    patient who has the ratio counts alike), as AAMI EC57 reports them; means over the seeds."""
    body = []
    abnormal = chosen.labels[1:]
    for way, group in groups.items():
        for kind in ("gross", "average"):
            ratios = []
            for c in range(1, len(chosen.labels)):
                for name in ("sen", "ppr"):
                    values = [getattr(getattr(r.summary, kind), name)[c] for r in group]
                    known = [v for v in values if v == v]  # a class that nobody is said to have: no Ppr
                    ratios.append(f"{100 * statistics.fmean(known):.2f}" if known else "")
            body.append([*_cells(way), kind, *ratios])
    for p in chosen.published:
        stated = [f"{ratio[c]:.1f}" if c in ratio else "" for c in abnormal for ratio in (p.sen, p.ppr)]
        body.append([p.what, "", "", "", "", "gross", *stated])
    heads = [f"{c} {n}" for c in abnormal for n in ("Sen", "Ppr")]
    return table(["model", "rule", "weights", "passes", "replay", "", *heads], body)


def per_patient(rows: list[evaluate.Row], labels: tuple[str, ...]) -> str:
    """Accuracy of every patient before and after, for each way of learning (first seed)."""
    lines: list[str] = []
    for r in rows:
        if r.seed > 1 or r.rule == "none":
            continue
        body = [
            [
                n,
                f"{100 * r.before[n]:.2f}",
                f"{100 * s.accuracy:.2f}",
                *(f"{v:.3f}" if v == v else "" for v in s.f1),
            ]
            for n, s in r.summary.patients.items()
        ]
        title = (
            f"{r.model}, {Path(r.rule).stem}, {r.weights}, {r.passes} passes{', replay' if r.replay else ''}"
        )
        lines += [
            "",
            title,
            *table(["record", "before %", "after %", *(f"F1({c})" for c in labels)], body),
        ]
    return "\n".join(lines)
