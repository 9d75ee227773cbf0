"""docs/rpeak.svg: a synthetic patient whose electrode begins to move, and what the detector says of it."""

from __future__ import annotations

import numpy as np
from markupsafe import Markup

from synapcc.host.pages.html import element

from .detect import detect, front_end, quality
from .hard import patient
from .match import WINDOW, matched
from .noise import noisy

PLOT = "rpeak.svg"
"""The plot beside the page."""
WIDTH, HEIGHT, MIDDLE, FOOT = 960, 250, 100, 200
RATE, SEED, DECIBEL, NOISE = 250.0, 5, 0.0, 28.0
FROM, TO = 22.0, 38.0
"""Seconds that are shown; `NOISE` is where it begins."""
STYLE = """
text{font:13px system-ui,sans-serif;fill:#333}
path{stroke:#333;fill:none;stroke-width:1.2}
circle{fill:#1d4ed8}
.missed,.false{fill:#c2410c}
rect{fill:#fb923c;opacity:.35}
@media(prefers-color-scheme:dark){text{fill:#ddd}path{stroke:#ddd}circle{fill:#93c5fd}.missed,.false{fill:#fb923c}}
"""


def _across(sample: float) -> int:
    return round(WIDTH * (sample / RATE - FROM) / (TO - FROM))


def plot() -> str:
    """The drawing: the lead, dots where R peaks are found, crosses where one is missed or false, the flag."""
    of = patient(SEED, RATE, 60)
    x = noisy(of.x, of.rpeak, RATE, ("electrode",), DECIBEL, SEED, NOISE)
    front = front_end(RATE, of.gain)
    rpeak, (_, doubtful) = np.sort(detect(x, front).at), quality(x, front)
    of_truth, of_found = matched(of.rpeak, rpeak, round(WINDOW * RATE))
    first, last = round(FROM * RATE), round(TO * RATE)
    scale = 90 / float(np.abs(x[first:last] - np.median(x[first:last])).max())
    level = float(np.median(x[first:last]))

    def down(sample: int) -> int:
        return round(MIDDLE - scale * (float(x[sample]) - level))

    points = [f"{_across(t)} {down(t)}" for t in range(first, last)]
    marks = [("found", r) for r in rpeak[of_found >= 0]] + [("false", r) for r in rpeak[of_found < 0]]
    marks += [("missed", r) for r in of.rpeak[of_truth < 0]]
    shown = sorted((int(r), kind) for kind, r in marks if first <= r < last)
    count = {kind: sum(k == kind for _, k in shown) for kind in ("found", "missed", "false")}
    words = (
        f"A synthetic lead, electrode motion at {DECIBEL:g} dB from second {NOISE:g} on: "
        + ", ".join(f"{n} {kind}" for kind, n in count.items())
        + "; shaded where the signal is doubtful"
    )
    parts = [element("title", None, words), element("style", None, Markup(STYLE))]
    flags = np.flatnonzero(np.diff(np.concatenate([[0], doubtful[first:last].astype(int), [0]])))
    for start, stop in flags.reshape(-1, 2).tolist():
        place = {"x": _across(first + start), "width": _across(stop) - _across(start), "y": 0, "height": FOOT}
        parts.append(element("rect", place))
    parts.append(element("path", {"d": "M" + "L".join(points)}))
    for at, kind in shown:
        if kind == "found":
            parts.append(element("circle", {"cx": _across(at), "cy": FOOT + 12, "r": 4}))
        else:
            spot = {"class": kind, "x": _across(at), "y": FOOT + 17, "text-anchor": "middle"}
            parts.append(element("text", spot, "×" if kind == "false" else "○"))
    parts.append(element("text", {"x": 4, "y": HEIGHT - 8}, "● found  × false  ○ missed; shaded: doubtful"))
    frame = {"xmlns": "http://www.w3.org/2000/svg", "viewBox": f"0 0 {WIDTH} {HEIGHT}", "role": "img"}
    return f"{element('svg', frame, *parts)}\n"
