"""The page of an evaluation, from the document of `synapcc eval`: rules side by side, learning curves, every
subject before and after, confusion matrices. What is classified, the document says."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from synapcc.host.pages import charts, html
from synapcc.host.pages.charts import Line, Mark, Reference, Row
from synapcc.host.pages.ways import (
    FLOAT,
    NONE,
    WHOLE,
    Json,
    PublishedScores,
    Way,
    Words,
    base_of,
    curve,
    labels,
    shown,
    subjects,
    ways,
)

_CURVES = 6  # as many as stay apart by colour and dash


def eval_html(result: Json) -> str:
    """The page of a document.

    It holds `protocol`; `labels`, the classes in the order of the matrices; `rows`; `words`, as Words has
    them; `published`: `results`, as PublishedScores has them, and what to say `about` them.
    """
    words = Words(**result["words"])
    records = [PublishedScores(**r) for r in result["published"]["results"]]
    found = ways(result["rows"])
    chosen = shown(found)
    names, short = labels(found), labels(chosen, brief=True)
    learned = [w for w in chosen if w.learns]
    best = max((w for w in learned if w.rule != FLOAT), key=_accuracy, default=None)
    classes: list[str] = result["labels"]
    rare = [c for c in classes[1:] if any(w.values(c) for w in found)]
    scores = (*WHOLE, *rare)
    return html.render(
        "eval.html.j2",
        {
            "words": words,
            "protocol": result["protocol"],
            "seeds": max(len(w.rows) for w in found),
            "samples": sum(map(sum, result["rows"][0]["confusion"]))
            + sum(result["rows"][0].get("missed", [])),
            "subjects": len(result["rows"][0]["subjects"]),
            "ways": len(found),
            "best": best,
            "before": _percent(_mean_of(base_of(found, best), "accuracy")) if best else "",
            "after": _percent(best.mean("accuracy")) if best else "",
            "best_name": names[best] if best else "",
            "changes": _changes(best) if best else None,
            "cards": _cards(best, base_of(found, best), rare, words) if best else [],
            "charts": [_scores(chosen, short, s, words.title(s), records) for s in scores],
            "kinds": charts.dots(_kinds(chosen)),
            "curves": _curves(found, _drawn(learned), short, words, records),
            "people": [(names[w], _subjects(w, classes, words)) for w in _first(best, learned)],
            "matrices": [
                (names[w], _matrices(w, base_of(found, w), classes), _ratios(w, classes, words))
                for w in _first(best, learned)
            ],
            "table": _table(found, names, classes, words),
            "forgotten": [(names[w], _percent(w.rows[0]["base"])) for w in chosen if w.rows[0].get("base")],
            "published": result["published"]["about"],
            "records": [(r.label, _record(r, (*WHOLE, *classes), words)) for r in records],
        },
    )


def _drawn(learned: Sequence[Way]) -> Sequence[Way]:
    """The ways with the highest accuracy, those without replay if there are any."""
    chosen = [w for w in learned if not w.replay] or learned
    return sorted(chosen, key=_accuracy, reverse=True)[:_CURVES]


def _accuracy(way: Way) -> float:
    return way.mean("accuracy") or 0.0


def _first(best: Way | None, rest: Sequence[Way]) -> list[Way]:
    return ([best] if best else []) + [w for w in rest if w is not best]


def _mean_of(way: Way | None, score: str) -> float | None:
    return way.mean(score) if way else None


def _changes(way: Way) -> dict[str, Any]:
    """How many subjects got better and worse, and by how much at the most."""
    gains = {n: after - before for n, (before, after) in subjects(way).items()}
    worst = min(gains, key=lambda n: gains[n])
    return {
        "better": sum(g > 0 for g in gains.values()),
        "worse": sum(g < 0 for g in gains.values()),
        "subjects": len(gains),
        "worst": worst,
        "loss": -gains[worst],
    }


def _cards(best: Way, before: Way | None, classes: Sequence[str], words: Words) -> list[dict[str, Any]]:
    cards = []
    for score in (*WHOLE, *classes[:2]):
        old, new = _mean_of(before, score), best.mean(score)
        if new is not None:
            cards.append(
                {
                    "title": words.title(score),
                    "before": _percent(old),
                    "after": _percent(new),
                    "shares": [100 * (old or 0.0), 100 * new],
                }
            )
    return cards


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
    chosen: Sequence[Way],
    names: Mapping[Way, str],
    score: str,
    title: str,
    records: Sequence[PublishedScores],
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
    return charts.rows(lines, scale, title, references=references)


def _kinds(chosen: Sequence[Way]) -> dict[str, str]:
    used = {_tone(w) for w in chosen}
    return {tone: what for tone, what in _KINDS.items() if tone in used}


def _references(score: str, records: Sequence[PublishedScores]) -> list[Reference]:
    out = []
    for r, tone in zip(records, ("c4", "ink", "c3", "c5"), strict=False):
        if score in r.scores:
            out.append(Reference(f"{r.label}: {_percent(r.scores[score])}", r.scores[score], tone))
    return out


def _curves(
    found: Sequence[Way],
    drawn: Sequence[Way],
    names: Mapping[Way, str],
    words: Words,
    records: Sequence[PublishedScores],
) -> list[Markup]:
    """Learning curves, accuracy and macro-F1."""
    out = []
    for score in WHOLE:
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
            out.append(charts.chart(lines, [], x, y, words.title(score), told, references))
    return out


def _at(line: Line, i: int) -> str:
    return _percent(line.points[i][1])


def _subjects(way: Way, classes: Sequence[str], words: Words) -> Markup:
    """Every subject before and after, and the table."""
    found = subjects(way)
    lines, table = [], []
    for name, (before, after) in found.items():
        tone = "c1" if after >= before else "c2"
        marks = [Mark("link", tone, before, after), Mark("ring", "grey", before), Mark("dot", tone, after)]
        lines.append(Row(name, marks, f"{_percent(before)} → {_percent(after)}"))
        f1 = [_spread(_of_subject(way, name, c)) for c in classes]
        change = f"{100 * (after - before):+.1f}"
        table.append([name, _percent(before), _percent(after), change, *_turned(way, name), *f1])
    least = min(min(pair) for pair in found.values())
    scale = charts.axis(least, 1, "", charts.percent)
    keys = {"c1": "after, better or equal", "c2": "after, worse"}
    chart = charts.rows(
        lines, scale, f"Accuracy of each {words.subject}: ring before, dot after", keys, key="dot"
    )
    turned = ["mended", "broken"] if _turned(way, next(iter(found))) else []
    head = [words.subject, "before", "after", "change", *turned, *(f"F1({c})" for c in classes)]
    return chart + html.fold("The same in figures, F1 in percent", html.table(head, table))


def _turned(way: Way, name: str) -> list[str]:
    """How many of a subject's samples learning mended and broke, of the first seed, where it was counted."""
    of = way.rows[0]["subjects"][name]
    return [str(of["mended"]), str(of["broken"])] if "mended" in of else []


def _of_subject(way: Way, name: str, label: str) -> list[float]:
    found = [r["subjects"][name]["f1"].get(label) for r in way.rows]
    return [v for v in found if v is not None]


def _matrices(way: Way, before: Way | None, classes: Sequence[str]) -> Markup:
    """Confusion matrices before and after, of the first seed."""
    sides = [("before learning", before)] if before else []
    sides.append(("after learning", way))
    pictures = [html.confusion(w.rows[0]["confusion"], classes, title) for title, w in sides]
    return html.div("pair", *pictures)


def _ratios(way: Way, classes: Sequence[str], words: Words) -> Markup:
    """The ratios of each class, gross and average."""
    keys = [r["key"] for r in words.ratios]
    body = []
    for c in classes:
        cells = []
        for part in ("gross", "average"):
            sources = [r if part == "gross" else r["average"] for r in way.rows]
            for ratio in keys:
                cells.append(_spread([s[ratio][c] for s in sources if s[ratio].get(c) is not None]))
        body.append([c, *cells])
    heads = [f"{r['short']} {part}" for part in ("gross", "average") for r in words.ratios]
    return html.table(["class", *heads], body)


def _table(found: Sequence[Way], names: Mapping[Way, str], classes: Sequence[str], words: Words) -> Markup:
    body = []
    for w in found:
        average = [r["average"]["accuracy"] for r in w.rows]
        scores = [_spread(w.values(c)) for c in (*WHOLE, *classes)]
        body.append([names[w], len(w.rows), scores[0], _spread(average), *scores[1:]])
    head = ["way of learning", "seeds", "accuracy", f"by {words.subject}", "macro-F1"]
    head += [f"F1({c})" for c in classes]
    return html.table(head, body)


def _record(record: PublishedScores, scores: Sequence[str], words: Words) -> str:
    known = [s for s in scores if s in record.scores]
    return ", ".join(f"{words.title(s)} {_percent(record.scores[s])}" for s in known)
