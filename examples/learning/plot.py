"""The plot of docs/RESULTS.md."""

from __future__ import annotations

from collections.abc import Sequence

from ..curves import Curve, drawn
from .page import Found
from .rows import DEEP_RULES, DEPTHS

LOOKS = {
    "fa": ("#c2410c", "#fb923c", "2 4"),
    "hebbian": ("#1d4ed8", "#93c5fd", ""),
    "bp": ("#4d7c0f", "#a3e635", "8 4"),
}


def depth(found: Sequence[Found]) -> str:
    """Accuracy over depth, a curve a rule; each point a mean over seeds."""
    means = {(f.row.rule, f.row.depth): f.mean for f in found if f.row.depth}
    curves = [
        Curve(rule, {n: means[rule, n] for n in DEPTHS if (rule, n) in means}, *LOOKS[rule])
        for rule in DEEP_RULES
    ]
    return drawn(curves, DEPTHS, "hidden layers of 100", _told(means), 96)


def _told(means: dict[tuple[str, int], float]) -> str:
    """The plot in words."""
    curves = [
        f"{rule} " + ", ".join(f"{means[rule, n]:.2f} at {n}" for n in DEPTHS if (rule, n) in means)
        for rule in DEEP_RULES
    ]
    return f"Accuracy in percent by number of hidden layers: {'; '.join(curves)}"
