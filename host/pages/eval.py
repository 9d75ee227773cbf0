"""The page of an evaluation, from the rows that `synapcc eval --json` writes: rules side by side, learning
curves, every patient before and after, confusion matrices."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from markupsafe import Markup

from synapcc.host.pages import charts, html
from synapcc.host.pages.charts import Line, Mark, Reference, Row

NONE, FLOAT = "none", "float_bp"
"""The rows of the base model before learning, and of the float baseline."""

_NAMES = {"accuracy": "Accuracy, all beats", "macro_f1": "Macro-F1"}
_CURVES = 6  # as many as stay apart by colour and dash
_Json = Mapping[str, Any]


@dataclass(frozen=True)
class PublishedScores:
    """A published result: `scores` by "accuracy", "macro_f1" or the class whose F1 it is, each 0 to 1."""

    label: str
    scores: Mapping[str, float]


@dataclass(frozen=True, eq=False)
class Way:
    """One way of learning and its rows, a row a seed."""

    model: str
    rule: str
    weights: str
    passes: int
    replay: bool
    rows: tuple[_Json, ...]

    @property
    def learns(self) -> bool:
        return self.rule != NONE

    def values(self, score: str) -> list[float]:
        """A score of each seed that has it: "accuracy", "macro_f1", or the F1 of a class."""
        found = [r[score] if score in _NAMES else r["f1"].get(score) for r in self.rows]
        return [v for v in found if v is not None]

    def mean(self, score: str) -> float | None:
        values = self.values(score)
        return statistics.fmean(values) if values else None


def ways(rows: Iterable[_Json]) -> list[Way]:
    """The rows by way of learning, in their order."""
    groups: dict[tuple[str, str, str, int, bool], list[_Json]] = {}
    for r in rows:
        key = (_stem(r["model"]), _stem(r["rule"]), r["weights"], r["passes"], r["replay"])
        groups.setdefault(key, []).append(r)
    return [Way(*key, tuple(group)) for key, group in groups.items()]


def labels(found: Sequence[Way], brief: bool = False) -> dict[Way, str]:
    """What to call the ways of `found`; brief: no more than tells one from the other."""
    own = [w for w in found if w.learns and w.rule != FLOAT]
    out = {}
    for w in found:
        passes = f"{w.passes} pass{'' if w.passes == 1 else 'es'}"
        words = [w.model] if len({x.model for x in found}) > 1 else []
        words.append(w.rule if w.learns else "before learning")
        words += [w.weights] if w.learns and (not brief or len({x.weights for x in own}) > 1) else []
        words += [passes] if w.learns and (not brief or len({x.passes for x in own}) > 1) else []
        out[w] = ", ".join([*words, "replay"] if w.replay else words)
    return out


def _stem(name: str) -> str:
    return PurePath(name).stem


def shown(found: Sequence[Way]) -> list[Way]:
    """Of each model, rule, weights and replay the way with the most passes, whatever its scores."""
    most: dict[tuple[str, str, str, bool], Way] = {}
    for w in found:
        key = (w.model, w.rule, w.weights, w.replay)
        if key not in most or w.passes > most[key].passes:
            most[key] = w
    return list(most.values())


def eval_html(result: _Json, records: Sequence[PublishedScores] = ()) -> str:
    """The page; `result` holds `protocol`, `labels` (the classes in the order of the matrices) and `rows`."""
    found = ways(result["rows"])
    chosen = shown(found)
    names, short = labels(found), labels(chosen, brief=True)
    learned = [w for w in chosen if w.learns]
    best = max((w for w in learned if w.rule != FLOAT), key=_accuracy, default=None)
    classes: list[str] = result["labels"]
    rare = [c for c in classes[1:] if any(w.values(c) for w in found)]
    return html.render(
        "eval.html.j2",
        {
            "protocol": result["protocol"],
            "seeds": max(len(w.rows) for w in found),
            "beats": sum(map(sum, result["rows"][0]["confusion"])),
            "patients": len(result["rows"][0]["patients"]),
            "ways": len(found),
            "best": best,
            "before": _percent(_mean_of(_before(found, best), "accuracy")) if best else "",
            "after": _percent(best.mean("accuracy")) if best else "",
            "best_name": names[best] if best else "",
            "changes": _changes(best) if best else None,
            "cards": _cards(best, _before(found, best), rare) if best else [],
            "charts": [_scores(chosen, short, score, records) for score in (*_NAMES, *rare)],
            "kinds": charts.dots(_kinds(chosen)),
            "curves": _curves(found, [w for w in learned if not w.replay] or learned, short, records),
            "people": [(names[w], _patients(w, classes)) for w in _first(best, learned)],
            "matrices": [
                (names[w], _matrices(w, _before(found, w), classes), _ratios(w, classes))
                for w in _first(best, learned)
            ],
            "table": _table(found, names, classes),
            "records": [(r.label, _record(r)) for r in records],
        },
    )


def _accuracy(way: Way) -> float:
    return way.mean("accuracy") or 0.0


def _first(best: Way | None, rest: Sequence[Way]) -> list[Way]:
    return ([best] if best else []) + [w for w in rest if w is not best]


def _before(found: Sequence[Way], way: Way) -> Way | None:
    """The base model that a way starts from."""
    return next((w for w in found if not w.learns and w.model == way.model), None)


def _mean_of(way: Way | None, score: str) -> float | None:
    return way.mean(score) if way else None


def _changes(way: Way) -> dict[str, Any]:
    """How many patients got better and worse, and by how much at the most."""
    gains = {n: after - before for n, (before, after) in people(way).items()}
    worst = min(gains, key=lambda n: gains[n])
    return {
        "better": sum(g > 0 for g in gains.values()),
        "worse": sum(g < 0 for g in gains.values()),
        "patients": len(gains),
        "worst": worst,
        "loss": -gains[worst],
    }


def people(way: Way) -> dict[str, tuple[float, float]]:
    """(before, after) accuracy of each patient, means over the seeds."""
    return {
        name: (
            statistics.fmean(r["patients"][name]["before"] for r in way.rows),
            statistics.fmean(r["patients"][name]["after"] for r in way.rows),
        )
        for name in sorted(way.rows[0]["patients"])
    }


def _cards(best: Way, before: Way | None, classes: Sequence[str]) -> list[dict[str, Any]]:
    cards = []
    for score in (*_NAMES, *classes[:2]):
        old, new = _mean_of(before, score), best.mean(score)
        if new is not None:
            cards.append(
                {
                    "title": _title(score),
                    "before": _percent(old),
                    "after": _percent(new),
                    "shares": [100 * (old or 0.0), 100 * new],
                }
            )
    return cards


def _title(score: str) -> str:
    return _NAMES.get(score, f"F1 of class {score}")


def _percent(v: float | None) -> str:
    return "–" if v is None else f"{100 * v:.1f}\u00a0%"


def _spread(values: Sequence[float]) -> str:
    """Mean, and standard deviation over the seeds where there are several, in percent."""
    if not values:
        return "–"
    mean = f"{100 * statistics.fmean(values):.2f}"
    return f"{mean} ±{100 * statistics.stdev(values):.2f}" if len(values) > 1 else mean


# ---- charts -------------------------------------------------------------------------------------------

_KINDS = {"c1": "integer rules", "c2": "float backpropagation", "grey": "before learning"}


def _tone(way: Way) -> str:
    return {NONE: "grey", FLOAT: "c2"}.get(way.rule, "c1")


def _scores(
    chosen: Sequence[Way], names: Mapping[Way, str], score: str, records: Sequence[PublishedScores]
) -> Markup:
    """One score of every way, and its spread over the seeds, with the published ones as lines."""
    lines, least = [], 1.0
    for w in chosen:
        if values := w.values(score):
            mean = statistics.fmean(values)
            spread = statistics.stdev(values) if len(values) > 1 else 0.0
            marks = [Mark("link", _tone(w), mean - spread, mean + spread), Mark("dot", _tone(w), mean)]
            lines.append(Row(names[w], marks, f"{_spread(values)} %"))
            least = min(least, mean - spread)
    references = _references(score, records)
    scale = charts.axis(max(0.0, min([least, *(r.at for r in references)])), 1, "", charts.percent, count=3)
    return charts.rows(lines, scale, _title(score), references=references)


def _kinds(chosen: Sequence[Way]) -> dict[str, str]:
    used = {_tone(w) for w in chosen}
    return {tone: what for tone, what in _KINDS.items() if tone in used}


def _references(score: str, records: Sequence[PublishedScores]) -> list[Reference]:
    out = []
    for r, tone in zip(records, ("c4", "ink", "c3", "c5"), strict=False):
        if score in r.scores:
            out.append(Reference(f"{r.label}: {_percent(r.scores[score])}", r.scores[score], tone))
    return out


def curve(found: Sequence[Way], way: Way, score: str) -> list[tuple[float, float]]:
    """(passes, score), means over the seeds: from the rows' own `curve` where they have one, else from the
    rows of the same way with fewer passes."""
    if all("curve" in r for r in way.rows):
        points: dict[float, list[float]] = {}
        for r in way.rows:
            for p in r["curve"]:
                points.setdefault(p["passes"], []).append(p[score])
        return [(k, statistics.fmean(v)) for k, v in sorted(points.items())]
    same = [
        w for w in found if (w.model, w.rule, w.weights, w.replay) == _kind(way) and w.passes <= way.passes
    ]
    start = _before(found, way)
    means = [(w.passes, w.mean(score)) for w in ([start] if start else []) + same]
    return sorted((k, v) for k, v in means if v is not None)


def _kind(way: Way) -> tuple[str, str, str, bool]:
    return way.model, way.rule, way.weights, way.replay


def _curves(
    found: Sequence[Way], chosen: Sequence[Way], names: Mapping[Way, str], records: Sequence[PublishedScores]
) -> list[Markup]:
    """Learning curves of the best ways, accuracy and macro-F1."""
    drawn = sorted(chosen, key=_accuracy, reverse=True)[:_CURVES]
    out = []
    for score in _NAMES:
        lines = [
            Line(names[w], tone, curve(found, w, score), dots=True)
            for w, tone in zip(drawn, charts.SERIES, strict=False)
        ]
        if any(len(line.points) > 1 for line in lines):
            references = _references(score, records)
            least = min(y for line in lines for _, y in line.points)
            last = max(x for line in lines for x, _ in line.points)
            x = charts.axis(0, last, "passes", exact=True)
            y = charts.axis(least, 1, "", charts.percent)
            told = "; ".join(f"{line.label}: from {_at(line, 0)} to {_at(line, -1)}" for line in lines)
            out.append(charts.chart(lines, [], x, y, _title(score), told, references))
    return out


def _at(line: Line, i: int) -> str:
    return _percent(line.points[i][1])


def _patients(way: Way, classes: Sequence[str]) -> Markup:
    """Every patient before and after, and the table."""
    found = people(way)
    lines, table = [], []
    for name, (before, after) in found.items():
        tone = "c1" if after >= before else "c2"
        marks = [Mark("link", tone, before, after), Mark("ring", "grey", before), Mark("dot", tone, after)]
        lines.append(Row(name, marks, f"{_percent(before)} → {_percent(after)}"))
        f1 = [_spread(_of_patient(way, name, c)) for c in classes]
        table.append([name, _percent(before), _percent(after), f"{100 * (after - before):+.1f}", *f1])
    least = min(min(pair) for pair in found.values())
    scale = charts.axis(least, 1, "", charts.percent)
    keys = {"c1": "after, better or equal", "c2": "after, worse"}
    chart = charts.rows(lines, scale, "Accuracy of each patient: ring before, dot after", keys, key="dot")
    head = ["patient", "before", "after", "change", *(f"F1({c})" for c in classes)]
    return chart + html.fold("The same in figures, F1 in percent", html.table(head, table))


def _of_patient(way: Way, name: str, label: str) -> list[float]:
    found = [r["patients"][name]["f1"].get(label) for r in way.rows]
    return [v for v in found if v is not None]


def _matrices(way: Way, before: Way | None, classes: Sequence[str]) -> Markup:
    """Confusion matrices before and after, of the first seed."""
    sides = [("before learning", before)] if before else []
    sides.append(("after learning", way))
    pictures = [html.confusion(w.rows[0]["confusion"], classes, title) for title, w in sides]
    return html.div("pair", *pictures)


def _ratios(way: Way, classes: Sequence[str]) -> Markup:
    """Sensitivity, positive predictivity and F1 of each class, gross and average."""
    body = []
    for c in classes:
        cells = []
        for part in ("gross", "average"):
            sources = [r if part == "gross" else r["average"] for r in way.rows]
            for ratio in ("sen", "ppr", "f1"):
                cells.append(_spread([s[ratio][c] for s in sources if s[ratio].get(c) is not None]))
        body.append([c, *cells])
    heads = [f"{name} {part}" for part in ("gross", "average") for name in ("Sen", "Ppr", "F1")]
    return html.table(["class", *heads], body)


def _table(found: Sequence[Way], names: Mapping[Way, str], classes: Sequence[str]) -> Markup:
    body = []
    for w in found:
        average = [r["average"]["accuracy"] for r in w.rows]
        scores = [_spread(w.values(c)) for c in (*_NAMES, *classes)]
        body.append([names[w], len(w.rows), scores[0], _spread(average), *scores[1:]])
    head = ["way of learning", "seeds", "accuracy", "by patient", "macro-F1", *(f"F1({c})" for c in classes)]
    return html.table(head, body)


def _record(record: PublishedScores) -> str:
    return ", ".join(f"{_title(score)} {_percent(v)}" for score, v in record.scores.items())
