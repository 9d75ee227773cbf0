"""The page of a sweep, from the document of `synapcc sweep`: settings by score on the folds, and tests."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from synapcc.host.pages import charts, html
from synapcc.host.pages.charts import Mark, Row

_Json = Mapping[str, Any]
_DRAWN = 60  # settings in the picture: those that score best
_NAMES = {"accuracy": "accuracy", "macro_f1": "macro-F1", "mean": "mean of accuracy and macro-F1"}


def sweep_html(result: _Json) -> str:
    """The page of a document, as host/sweep/outcome.py makes it."""
    scored = [s for s in result["settings"] if "score" in s]
    people = len(next(iter(result["tests"]))["wearers"]) if result["tests"] else 0
    return html.render(
        "sweep.html.j2",
        {
            "r": result,
            "score": _NAMES[result["score"]],
            "passes": max(result["passes"]),
            "scored": len(scored),
            "refused": [(s["setting"], s["refused"]) for s in result["settings"] if "refused" in s],
            "picture": _picture(scored[:_DRAWN]) if scored else "",
            "drawn": min(len(scored), _DRAWN),
            "table": _settings(scored),
            "people": people,
            "tests": _tests(result["tests"]) if people else "",
            "wearers": [(t["rule"], _wearers(t)) for t in result["tests"]],
            "runs": _runs(result["runs"]),
        },
    )


def _percent(v: float) -> str:
    return f"{100 * v:.2f}"


def _spread(values: Sequence[float]) -> str:
    """Mean, and standard deviation over the seeds where there are several, in percent."""
    mean = _percent(statistics.fmean(values))
    return f"{mean} ±{_percent(statistics.stdev(values))}" if len(values) > 1 else mean


def _picture(scored: Sequence[_Json]) -> Markup:
    lines, least = [], 1.0
    for s in scored:
        tone = "c2" if s["chosen"] else "c1"
        off = statistics.stdev(s["seeds"]) if len(s["seeds"]) > 1 else 0.0
        marks = [Mark("link", tone, s["score"] - off, s["score"] + off), Mark("dot", tone, s["score"])]
        lines.append(Row(s["setting"], marks, f"{_spread(s['seeds'])} %"))
        least = min(least, s["score"] - off)
    scale = charts.axis(max(0.0, least), 1, "", charts.percent, count=3)
    keys = {"c2": "chosen, the best of its rule", "c1": "others"}
    return charts.rows(lines, scale, "Score on the folds", keys, key="dot")


def _settings(scored: Sequence[_Json]) -> Markup:
    body = [[s["setting"], "chosen" if s["chosen"] else "", _spread(s["seeds"])] for s in scored]
    return html.table(["setting", "", "score, %"], body, left=2)


def _tests(tests: Sequence[_Json]) -> Markup:
    body = []
    for t in tests:
        name = t["title"]
        for k, of in sorted(t["after"].items(), key=lambda item: int(item[0])):
            worst = f"{100 * of['worst']:+.2f}" if "worst" in of else ""
            shares = [_spread(of[figure]) for figure in ("accuracy", "by_wearer", "macro_f1")]
            body.append([name, k, *shares, worst, _spread(of["base"]) if of.get("base") else ""])
    return html.table(
        ["setting", "passes", "accuracy", "by wearer", "macro-F1", "worst wearer, points", "base's own"], body
    )


def _wearers(t: _Json) -> Markup:
    lines = []
    for name, (before, after) in sorted(t["wearers"].items()):
        tone = "c1" if after >= before else "c2"
        marks = [Mark("link", tone, before, after), Mark("ring", "grey", before), Mark("dot", tone, after)]
        lines.append(Row(name, marks, f"{_percent(before)} → {_percent(after)} %"))
    scale = charts.axis(min(min(pair) for pair in t["wearers"].values()), 1, "", charts.percent)
    keys = {"c1": "after, better or equal", "c2": "after, worse"}
    return charts.rows(lines, scale, "Accuracy of each wearer: ring before, dot after", keys, key="dot")


def _runs(runs: Sequence[_Json]) -> Markup:
    body = []
    for r in runs:
        told = (
            [r["refused"], "", ""]
            if "refused" in r
            else [r["digest"][:12], r["passes"], _percent(r["accuracy"])]
        )
        body.append([r["setting"], r["seed"], r["fold"], *told])
    return html.table(["setting", "seed", "fold", "plan", "passes", "accuracy, %"], body)
