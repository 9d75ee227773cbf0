"""What `synapcc eval har` prints."""

from __future__ import annotations

import argparse
from pathlib import Path

from synapcc.gen.errors import SynapccError
from synapcc.host.pages import html
from synapcc.host.pages.eval import eval_html
from synapcc.host.run.personalise import NONE, WORDS, Personalisation
from synapcc.host.run.scores import Row
from synapcc.host.terminal.progress import Progress
from synapcc.host.terminal.results import Results
from synapcc.host.terminal.text import table

from . import data
from .evaluate import streamed, usual

PENDING = 8
"""Windows that wait for a label in stream.toml."""
SAMPLES, STREAM = "windows cut on the host", "raw samples on the chip"


def run(args: argparse.Namespace, out: Results) -> int:
    """0. Raises SynapccError: bad input, no data."""
    names = args.wearer or list(data.WEARERS)
    for name in names:
        if name not in data.WEARERS or names.count(name) > 1:
            raise SynapccError("--wearer", f'"{name}"', f"wearers: {', '.join(data.WEARERS)}, each once")
    if args.passes < 1:
        raise SynapccError("--passes", f"{args.passes} passes", "give 1 or more")
    if not 0 <= args.late < PENDING:
        what = f"{args.late} s, and {PENDING} windows, one a second, wait for a label"
        raise SynapccError("--late", what, f"give 0 to {PENDING - 1}")
    recordings = data.load()
    out.tell(f"synapcc eval har: data: {data.find()}")
    ways: dict[str, Personalisation] = {}
    with Progress("learning", len(names) * (2 if args.stream else 1)) as bar:
        ways[SAMPLES] = usual(recordings, names, args.passes, bar.step)
        if args.stream:
            ways[STREAM], counts = streamed(recordings, names, args.passes, args.late, bar.step)
    out.say(_text(ways, len(names)))
    result = {way: found.to_dict() | {"words": _WORDS} for way, found in ways.items()}
    told: dict[str, object] = {"ways": result}
    if args.stream:
        told["labels"] = {"given": counts.given, "found": counts.found}
        out.say(f"{counts.found} of {counts.given} labels, {args.late} s late, found their window")
    if args.html:
        html.write(Path(args.html), eval_html(result[STREAM if args.stream else SAMPLES]))
        out.say(f"report: {args.html}")
    out.give("eval", told)
    return 0


def _text(ways: dict[str, Personalisation], wearers: int) -> str:
    head = ["windows", "passes", "tested", "accuracy", "by wearer", "macro F1", "worst change"]
    rows = [_row(way, row) for way, found in ways.items() for row in found.rows]
    lines = [f"{wearers} wearer{'s' * (wearers > 1)}", "", *table(head, rows)]
    if len(ways) > 1:
        lines.append("")
        for one, other in zip(ways[SAMPLES].rows, ways[STREAM].rows, strict=True):
            apart = 100 * (other.summary.gross.accuracy - one.summary.gross.accuracy)
            lines.append(f"the chip's own windows, {_when(one)}: {apart:+.2f} points of accuracy")
    return "\n".join(lines)


def _when(row: Row) -> str:
    return "before learning" if row.rule == NONE else f"after {row.passes} pass{'es' * (row.passes > 1)}"


def _row(way: str, row: Row) -> list[str]:
    gross, mean = row.summary.gross, row.summary.average
    change = [s.accuracy - row.before[name] for name, s in row.summary.subjects.items()]
    worst = "" if row.rule == NONE else f"{100 * min(change):.2f}"
    shares = [f"{share:.4f}" for share in (gross.accuracy, mean.accuracy, gross.macro_f1)]
    return [way, str(row.passes), str(int(row.summary.matrix.sum())), *shares, worst]


_WORDS = dict(WORDS) | {
    "command": "synapcc eval har",
    "sample": "window",
    "samples": "windows",
    "taught": "the first quarter of each recording of each wearer",
    "tested": "windows of the rest",
    "lesson": "the first quarters",
}
