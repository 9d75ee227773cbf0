"""The page of `synapcc inspect --learn`, from its JSON: how well a rule teaches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from synapcc.host.pages import charts, html
from synapcc.host.pages.charts import Axis, Line, Reference, percent
from synapcc.host.run.inputs import clipped_text

_Json = Mapping[str, Any]

_CHANCE = 2.0  # degrees around 90 within which a change is unrelated to backpropagation's
_ANGLES = {"angle": "before rounding", "angle_stored": "as stored"}
_DEGREES = Axis(0, 180, (0, 45, 90, 135, 180), "", lambda v: f"{v:.0f}°")
_RIGHT = Axis(0, 90, (0, 30, 60, 90), "", lambda v: f"{v:.0f}°")


def learn_html(found: _Json) -> str:
    """The page. Angles are in degrees; None where there was nothing to compare."""
    return html.render(
        "learn.html.j2",
        {
            "r": found,
            "lead": _lead(found),
            "angles": [
                _curve(found, key, f"Angle to backpropagation, {what}") for key, what in _ANGLES.items()
            ],
            "dead": _dead(found),
            "layers": _layers(found),
            "limits": _limits(found),
            "clipped": clipped_text(found["clipped"]) if "clipped" in found else "",
        },
    )


def _lead(found: _Json) -> dict[str, Any]:
    """The layer that is led worst, and the one that loses most to rounding."""
    seen = [x for x in found["layers"] if x["angle"]["mean"] is not None]
    lost = [x for x in found["layers"] if x["dead"]]
    worst = max(seen, key=lambda x: x["angle"]["mean"], default=None)
    dead = max(lost, key=lambda x: x["dead"], default=None)
    return {
        "worst": worst["layer"] if worst else "",
        "angle": _degrees(worst["angle"]["mean"]) if worst else "",
        "verdict": _verdict(worst["angle"]["mean"]) if worst else "",
        "dead": dead["layer"] if dead else "",
        "share": percent(dead["dead"]) if dead else "",
        "saturated": sum(x["saturated"] for x in found["layers"]),
    }


def _verdict(angle: float) -> str:
    """What a mean angle says, where it is not a good one."""
    if angle < 90 - _CHANCE:
        return ""
    return "which is no better than chance" if angle <= 90 + _CHANCE else "which points away from it"


def _degrees(v: float | None) -> str:
    return "–" if v is None else f"{v:.1f}°"


def _lines(found: _Json, key: str) -> list[Line]:
    return [
        Line(x["layer"], tone, [(p["step"], p[key]) for p in x["curve"] if p[key] is not None])
        for x, tone in zip(found["layers"], _tones(len(found["layers"])), strict=True)
    ]


def _tones(count: int) -> list[str]:
    return [charts.SERIES[i % len(charts.SERIES)] for i in range(count)]


def _steps(lines: list[Line]) -> Axis:
    places = [x for line in lines for x, _ in line.points]
    return charts.axis(min(places), max(places), "step", exact=True)


def _curve(found: _Json, key: str, title: str) -> Markup:
    lines = _lines(found, key)
    values = [y for line in lines for _, y in line.points]
    if not values:
        return Markup("")
    y = _RIGHT if max(values) <= 90 else _DEGREES
    told = "; ".join(
        f"{x['layer']}: {_degrees(x[key]['first'])} to {_degrees(x[key]['last'])}" for x in found["layers"]
    )
    reference = Reference("90°: chance", 90)
    return charts.chart(lines, [], _steps(lines), y, title, told, [reference])


def _dead(found: _Json) -> Markup:
    lines = _lines(found, "dead")
    values = [y for line in lines for _, y in line.points]
    if not values:
        return Markup("")
    told = "; ".join(f"{x['layer']}: {percent(x['dead'] or 0)}" for x in found["layers"])
    y = charts.axis(0, max(max(values), 0.01), "", percent, count=4)
    return charts.chart(lines, [], _steps(lines), y, "Changes that rounding took away", told)


def _layers(found: _Json) -> Markup:
    rows = [
        [
            x["layer"],
            f"{x['weights']:,}",
            f"{x['saturated']:,}",
            percent(x["saturated_share"]),
            percent(x["dead"]) if x["dead"] is not None else "–",
            f"{x['idle_steps']:,}",
            *(_degrees(x[key][when]) for key in _ANGLES for when in ("first", "mean", "last")),
        ]
        for x in found["layers"]
    ]
    angles = [f"{name} {when}" for name in ("angle", "stored") for when in ("first", "mean", "last")]
    return html.table(["layer", "weights", "saturated", "of updates", "dead", "idle steps", *angles], rows)


def _limits(found: _Json) -> Markup:
    rows = [
        [x["tensor"], f"{x['values']:,}", f"{x['at_limits']:,}", charts.share(x["at_limits"], x["values"])]
        for x in found["tensors"]
    ]
    return html.table(["learned tensor", "values", "at a limit at the end", "share"], rows)
