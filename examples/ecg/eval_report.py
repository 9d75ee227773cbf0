"""The rows of an evaluation as a document, and as text: ways of learning beside what is published, and every
patient."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from synapcc.host.run.scores import Row
from synapcc.host.terminal.text import table

from . import protocol
from .choices import USUAL
from .front import FRONTS

WORDS: Mapping[str, Any] = {
    "command": "synapcc eval ecg",
    "sample": "beat",
    "samples": "beats",
    "subject": "patient",
    "subjects": "patients",
    "taught": "five labelled minutes of each patient",
    "tested": "beats of the other minutes",
    "lesson": "the five minutes",
    "ratios": [
        {"key": "sen", "short": "Sen", "name": "sensitivity"},
        {"key": "ppr", "short": "Ppr", "name": "positive predictivity"},
        {"key": "f1", "short": "F1", "name": "F1"},
    ],
    "warning": "Not a medical device.",
}
"""What the page of an evaluation calls things, as host/pages/ways.py says."""

_PUBLISHED = (
    "None of them in integers or on a microcontroller; "
    "their features and base networks differ from those here."
)


CAVEATS = {
    False: "R peaks are the annotated ones.",
    True: "R peaks are those that the chip found: what it missed counts as wrong, what is no beat for Ppr.",
}
"""Whether a chip finds the beats itself, and what is said of that."""


def document(rows: Iterable[Row], chosen: protocol.Protocol, front: str = USUAL) -> dict[str, Any]:
    """The document of an evaluation, of which its page is made. front: by its name in `choices.FRONTS`"""
    return {
        "protocol": chosen.name,
        "labels": chosen.labels,
        "rows": [r.to_dict() for r in rows],
        "words": {**WORDS, "caveats": [CAVEATS[FRONTS[front].streamed]]},
        "published": {"about": _PUBLISHED, "results": [_published(p) for p in chosen.published]},
    }


def _published(p: protocol.Published) -> dict[str, Any]:
    """Scores from 0 to 1; F1 from Sen and Ppr."""
    whole = {"accuracy": p.accuracy, "macro_f1": p.macro_f1} | {label: p.f1(label) for label in p.sen}
    return {"label": p.what, "scores": {name: v / 100 for name, v in whole.items() if v is not None}}


def _spread(values: Iterable[float]) -> str:
    v = list(values)
    return f"{statistics.fmean(v):.4f}" + (f" ±{statistics.stdev(v):.4f}" if len(v) > 1 else "")


Groups = dict[tuple[str, str, str, int, bool], list[Row]]


def overview(rows: list[Row], chosen: protocol.Protocol, front: str = USUAL) -> str:
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
        own = _spread(r.base for r in group if r.base is not None)
        whole = [str(len(group)), _spread(g.accuracy for g in gross), average, macro]
        body.append([*_cells(way), *whole, *f1, own])
    for p in chosen.published:
        f1 = [f"{p.f1(c) / 100:.3f}" if c in p.sen else "" for c in chosen.labels]
        whole = ["" if v is None else f"{v / 100:.3f}" for v in (p.accuracy, p.macro_f1)]
        body.append([p.what, "", "", "", "", "", whole[0], "", whole[1], *f1, ""])
    head = ["model", "rule", "weights", "passes", "replay", "seeds", "accuracy", "by patient", "macro F1"]
    matrix, n = rows[0].summary.matrix, len(chosen.labels)
    found = f", {matrix[:n, n:].sum()} of them missed; {matrix[n:].sum()} found that are none"
    told = f"{len(rows[0].summary.subjects)} patients, {matrix[:n].sum()} test beats"
    lines = [f"protocol {chosen.name}: {told}{found if len(matrix) > n else ''}", ""]
    lines += table([*head, *(f"F1({c})" for c in chosen.labels), "base's own"], body)
    lines += [
        "",
        *_sensitivity(groups, chosen),
        "",
        *_called(groups, chosen),
        "base's own: beats of the base's patients, asked again of each patient's weights: what is forgotten.",
        f"±: standard deviation over the seeds. {CAVEATS[FRONTS[front].streamed]} {WORDS['warning']}",
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


def _called(groups: Groups, chosen: protocol.Protocol) -> list[str]:
    """What the chip found and is none: how many of it are called what, means over the seeds; nothing where
    the beats are the annotated ones."""
    n, body = len(chosen.labels), []
    for way, group in groups.items():
        if len(group[0].summary.matrix) > n:
            counts = np.mean([r.summary.matrix[n, :n] for r in group], axis=0)
            body.append([*_cells(way), *(f"{v:.1f}" for v in counts)])
    heads = [f"none, called {c}" for c in chosen.labels]
    return [*table(["model", "rule", "weights", "passes", "replay", *heads], body), ""] if body else []


def per_patient(rows: list[Row], labels: tuple[str, ...]) -> str:
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
            for n, s in r.summary.subjects.items()
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
