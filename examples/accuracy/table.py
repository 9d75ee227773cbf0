"""The arithmetic of the table, and its text. No network is run here."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

OURS = ("fast", "best")
"""Ways of choosing number formats that the compiler may have, in the order of the columns."""

POINT = 0.1
"""How far, in percentage points, the accuracy of a network on images may lie below the float network's."""


@dataclass(frozen=True)
class Count:
    """Of n samples: how many get the float network's class, and how many their label."""

    agree: int
    right: int


@dataclass(frozen=True)
class Row:
    """One network.

    n:       test samples
    floats:  samples that the float network has right
    ours:    by way, those of `OURS` that there are
    ort:     by way of onnxruntime
    images:  whether `POINT` holds it
    """

    name: str
    n: int
    floats: int
    ours: dict[str, Count]
    ort: dict[str, Count]
    images: bool

    @property
    def rival(self) -> str:
        """The way of onnxruntime that agrees most often with float: the first of equal ones."""
        return max(self.ort, key=lambda way: self.ort[way].agree)

    @property
    def error(self) -> float:
        """Standard error of that share."""
        return standard_error(self.ort[self.rival].agree, self.n)

    def level(self, way: str) -> bool:
        """Whether ours agrees with float as often as onnxruntime's best, less one standard error."""
        return (self.ours[way].agree - self.ort[self.rival].agree) / self.n >= -self.error

    def below(self, way: str) -> float:
        """Percentage points of accuracy on labels that ours lies below float."""
        return 100 * (self.floats - self.ours[way].right) / self.n

    def close(self, way: str) -> bool:
        """Whether that is at most `POINT`, counted in samples."""
        return 100 * (self.floats - self.ours[way].right) <= POINT * self.n


def standard_error(hits: int, n: int) -> float:
    """Of a share hits / n: sqrt(p (1 - p) / n)."""
    p = hits / n
    return math.sqrt(p * (1 - p) / n)


def text(rows: Sequence[Row], ort_version: str) -> str:
    """The page, as docs/ACCURACY.md: what agrees with float, and what is right by the labels."""
    ways = [way for way in OURS if all(way in row.ours for row in rows)]
    return "\n".join([*_head(ort_version), *_agreement(rows, ways), "", *_labels(rows, ways), ""])


def _head(version: str) -> list[str]:
    return f"""\
# Accuracy

How often the integers give the class of the float network, beside onnxruntime {version} static int8.
`python -m synapcc.examples.accuracy FILE.md` prints this page (extra `[accuracy]`, and three data sets).

* Networks: the six base models of [examples/ecg](../examples/ecg/BASES.md) before they learn, and six of
  [examples/images](../examples/images/MODELS.md), chosen before anything was measured. `rule = "none"`.
* Every tool gets the same float inputs and the same 1,024 calibration samples, spread evenly over the
  training side: DS1, the 100-series, the first 55,000 training images. Tested: beats of the patients of the
  test after their first five minutes, evenly spread; the test images.
* onnxruntime: QDQ, weights QInt8 with a scale a channel, ranges by MinMax, Entropy or Percentile, activations
  QInt8 or QUInt8: of these six the one that agrees best on the test itself, which favours it. s.e.: the
  standard error of that share, sqrt(p (1 - p) / n).
* Ours: int8 activations and weights, int16 scores; scales are powers of two. It is level where it is at most
  one s.e. below.

""".splitlines()


def _agreement(rows: Sequence[Row], ways: Sequence[str]) -> list[str]:
    lines = ["## Class of the float network, %", ""]
    heads = ["network", "samples", *(f"`{way}`" for way in ways), "onnxruntime", "s.e.", "its way"]
    lines += _heads([*heads, *(f"`{way}` level?" for way in ways)])
    for row in rows:
        ours = [_percent(row.ours[way].agree, row.n) for way in ways]
        rival = [_percent(row.ort[row.rival].agree, row.n), f"{100 * row.error:.2f}", row.rival]
        lines.append(_line([row.name, f"{row.n:,}", *ours, *rival, *(_word(row.level(w)) for w in ways)]))
    counts = [f"`{way}` on {sum(row.level(way) for row in rows)} of {len(rows)} networks" for way in ways]
    return [*lines, "", f"Level with onnxruntime: {', '.join(counts)}."]


def _labels(rows: Sequence[Row], ways: Sequence[str]) -> list[str]:
    lines = ["## Right by the labels, %", ""]
    heads = ["network", "float", *(f"`{way}`" for way in ways), "onnxruntime"]
    lines += _heads([*heads, *(f"`{way}` below float, points" for way in ways)])
    for row in rows:
        ours = [_percent(row.ours[way].right, row.n) for way in ways]
        rival = _percent(row.ort[row.rival].right, row.n)
        below = [f"{row.below(way):+.2f}" for way in ways]
        lines.append(_line([row.name, _percent(row.floats, row.n), *ours, rival, *below]))
    images = [row for row in rows if row.images]
    if not images:
        return lines
    counts = [f"`{way}` on {sum(row.close(way) for row in images)} of {len(images)}" for way in ways]
    return [*lines, "", f"At most {POINT} points below float on images: {', '.join(counts)} networks."]


def _percent(part: int, n: int) -> str:
    return f"{100 * part / n:.2f}"


def _word(yes: bool) -> str:
    return "yes" if yes else "**no**"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _heads(cells: Sequence[str]) -> list[str]:
    return [_line(cells), f"|{'---|' * len(cells)}"]
