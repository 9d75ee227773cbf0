"""`synapcc eval ecg --anomaly`: beats unlike a wearer's own, on the 22 patients of DS2."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from synapcc.gen.importers import load_model
from synapcc.gen.spec import RuleSpec
from synapcc.host.terminal.progress import Progress
from synapcc.host.terminal.results import Results
from synapcc.host.terminal.text import table

from . import anomaly, protocol
from .anomaly import (
    MODEL,
    PASSES,
    RATES,
    Outcome,
    compiled,
    in_float,
    personalised,
    rates,
    samples,
    spec,
)
from .beats import Beats

PUBLISHED = ("ArrythML 2026, int8 autoencoder on an ESP32-S3", 84.0, 79.0)
"""Recall and F1 in per cent, as published; on beats and by a split of its own."""
Wearers = Mapping[str, tuple[Beats, Beats]]


@dataclass(frozen=True)
class Row:
    """One way to learn, and what each wearer's device said. No alarms: where only a score is known."""

    what: str
    wearers: Mapping[str, Outcome]
    alarms: bool = True

    @property
    def areas(self) -> list[float]:
        return [o.area for o in self.wearers.values() if not np.isnan(o.area)]

    def to_dict(self) -> dict[str, Any]:
        """As the document has it."""
        each = {
            name: {"auc": o.area, "beats": len(o.score), "anomalies": int(o.anomaly.sum())}
            | ({"recall": rates(*o.counts)[0], "f1": rates(*o.counts)[2]} if self.alarms else {})
            for name, o in self.wearers.items()
        }
        return {"what": self.what, "wearers": each, **self.summary()}

    def summary(self) -> dict[str, float]:
        """Means over the wearers with anomalies enough, and rates of all beats together, in per cent."""
        found = {"auc": float(np.mean(self.areas)), "auc_worst": min(self.areas)}
        if not self.alarms:
            return found
        every = rates(*np.sum([o.counts for o in self.wearers.values()], axis=0))
        own = [rates(*o.counts)[2] for o in self.wearers.values() if not np.isnan(o.area)]
        return found | {
            "recall": every[0],
            "precision": every[1],
            "f1": every[2],
            "f1_mean": float(np.mean(own)),
        }


def run(out: Results, patients: bool) -> int:
    """Prints the table; with `patients` each of them, too."""
    chosen = protocol.A
    pool = chosen.pool()
    wearers = {name: protocol.split(b) for name, b in chosen.load(chosen.test).items()}
    with Progress("learning", _work(wearers)) as bar:
        rows = evaluated(pool, wearers, bar.step)
    out.give("eval.anomaly", {"rows": [r.to_dict() for r in rows], "published": _published()})
    for line in text(rows):
        out.say(line)
    for line in by_patient(rows[1]) if patients else ():
        out.say(line)
    return 0


def evaluated(pool: Beats, wearers: Wearers, step: Callable[[int], None]) -> list[Row]:
    """Every row: the base, rules in integers, float beside them, and less that is told."""

    def row(what: str, asked: RuleSpec, **how: Any) -> Row:
        said = personalised(compiled(MODEL, pool, asked), wearers, step=step, **how)
        return Row(what, said, how.get("passes") != 0)

    usual, *others = [spec(rule, rate) for rule, rate in RATES.items()]
    rows = [row("the base, nothing learned", usual, passes=0)]
    rows += [row(f"{s.rule}, int16", s) for s in (usual, *others)]
    rows.append(_float(wearers, usual.rate))
    rows.append(row(f"{usual.rule}, int8", replace(usual, weights="int8")))
    rows.append(row(f"{usual.rule}, int16, goes on learning", usual, follows=True))
    rows.append(row(f"{usual.rule}, int16, told nothing", usual, told=False, follows=True))
    return rows


def _float(wearers: Wearers, rate: int) -> Row:
    graph = load_model(MODEL, None, None)
    weights = [
        value
        for node in graph.nodes
        for name in node.inputs[1:]
        if (value := graph.tensors[name].value) is not None
    ]
    said = {}
    for name, (early, later) in wearers.items():
        tested = anomaly.tested(later)
        score = in_float(weights, samples(anomaly.normal(early)), samples(tested), rate)
        none = np.zeros(len(score), bool)
        said[name] = Outcome(score, np.zeros(len(score)), none, tested.label != anomaly.N, len(early))
    return Row("bp, float", said, alarms=False)


def _work(wearers: Wearers) -> int:
    """Steps of all rows in lockstep."""
    early = max(len(anomaly.normal(e)) for e, _ in wearers.values())
    later = max(len(anomaly.tested(b)) for _, b in wearers.values())
    ways = len(RATES) + 2
    return ways * PASSES * early + (ways + 2) * later + max(len(e) for e, _ in wearers.values())


def _published() -> dict[str, Any]:
    return dict(zip(("what", "recall", "f1"), PUBLISHED, strict=True))


def text(rows: list[Row]) -> list[str]:
    """The table, a line each."""
    names = ("auc", "auc_worst", "recall", "precision", "f1", "f1_mean")
    cells = []
    for r in rows:
        s = r.summary()
        cells.append(
            [r.what, *(f"{s[n]:.4f}" if n in names[:2] else f"{s[n]:.1f}" if n in s else "" for n in names)]
        )
    cells.append([PUBLISHED[0], "", "", f"{PUBLISHED[1]:.1f}", "", f"{PUBLISHED[2]:.1f}", ""])
    first = rows[0].wearers
    counted = sum(not np.isnan(o.area) for o in first.values())
    beats, found = (
        sum(len(o.score) for o in first.values()),
        sum(int(o.anomaly.sum()) for o in first.values()),
    )
    return [
        f"{len(first)} patients of DS2: {beats} beats of minutes 5 to 30, {found} of them S or V;",
        f"{PASSES} passes over the normal beats of the first 5 minutes",
        "",
        *table(["learned by", "AUC", "worst", "recall", "precision", "F1", "F1 by patient"], cells),
        "",
        f"AUC and F1 by patient: means of the {counted} with {anomaly.FEWEST} anomalies or more;",
        "recall, precision and F1: of all beats, at each device's own threshold.",
        "The published figures are of other data or another split.",
    ]


def by_patient(row: Row) -> list[str]:
    """Each patient of one row."""
    cells = []
    for name, o in row.wearers.items():
        recall, precision, f1 = rates(*o.counts)
        auc = "" if np.isnan(o.area) else f"{o.area:.4f}"
        known = [f"{v:.1f}" for v in (recall, precision, f1)] if o.anomaly.any() else ["", "", ""]
        cells.append([name, str(len(o.score)), str(int(o.anomaly.sum())), auc, *known])
    return [
        "",
        f"{row.what}:",
        *table(["patient", "beats", "S or V", "AUC", "recall", "precision", "F1"], cells),
    ]
