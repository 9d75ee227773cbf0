"""docs/RESULTS.md: tables of what was found."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from synapcc.gen.spec import INFERENCE_ONLY

from ..results import Result
from . import heartbeats
from .rows import DEEP_RULES, DEPTHS, SEEDS, WIDTH, Row
from .train import CALIBRATION, CONFIRMED

PLOT = "depth.svg"
"""The plot beside the page."""


@dataclass(frozen=True)
class Found:
    """A row and the results of its seeds that are known."""

    row: Row
    results: list[Result]

    @property
    def percent(self) -> list[float]:
        """The accuracies."""
        return [100 * r["accuracy"] for r in self.results]

    @property
    def cell(self) -> str:
        """Mean and sample standard deviation, and of how many seeds where these are not all."""
        few = f" ({len(self.results)} of {len(SEEDS)} seeds)" if len(self.results) < len(SEEDS) else ""
        spread = f" ± {statistics.stdev(self.percent):.2f}" if len(self.results) > 1 else ""
        return f"{statistics.fmean(self.percent):.2f}{spread}{few}"

    @property
    def asked(self) -> str:
        """The bar, and whether it is reached."""
        if self.row.bar is None:
            return ""
        return f"{self.row.bar}{'' if statistics.fmean(self.percent) >= self.row.bar else ': missed'}"


def text(found: Sequence[Found], beats: Sequence[heartbeats.Learned]) -> str:
    """The page; what was not measured is not on it."""
    parts = [HEAD]
    for part, title, told in PARTS:
        if of := [f for f in found if f.row.part == part]:
            parts += [f"## {title}\n", told, *(_depth(of) if part == "depth" else _rows(of)), ""]
    if beats:
        parts += ["## ECG\n", ECG, *_beats(beats), ""]
    return "\n".join(parts)


def _rows(found: Iterable[Found]) -> list[str]:
    lines = [["network", "data", "rule", "accuracy, %", "asked for", "published, integers", "passes", "RAM"]]
    for f in found:
        ram = f"{max(r['ram'] for r in f.results):,}"
        published, passes = f.row.record, str(f.row.runs[0].passes)
        lines.append(
            [f.row.network, f.row.data, f.row.rule, f.cell, f.asked, published, passes, ram],
        )
    return _table(lines, left=3)


def _depth(found: Iterable[Found]) -> list[str]:
    cells = {(f.row.rule, f.row.depth): f.cell for f in found}
    rules = [rule for rule in DEEP_RULES if any(r == rule for r, _ in cells)]
    head = ["rule", *(f"{depth} hidden layers" for depth in DEPTHS)]
    lines = [head, *([rule, *(cells.get((rule, d), "") for d in DEPTHS)] for rule in rules)]
    return [*_table(lines, left=1), "", f"![Accuracy by depth, of each rule]({PLOT})"]


def _beats(beats: Iterable[heartbeats.Learned]) -> list[str]:
    lines = [
        [
            "rule",
            "accuracy, %",
            "macro-F1, %",
            "the base's own beats, %",
            "RAM beyond inference",
            "instructions",
        ]
    ]
    for b in beats:
        of, learns = b.result, b.rule != INFERENCE_ONLY
        shares = [f"{100 * of[key]:.2f}" for key in ("accuracy", "macro_f1", "base")]
        costs = [f"{of[key]:,}" if learns else "" for key in ("ram", "instructions")]
        lines.append([b.rule if learns else "before learning", *shares, *costs])
    return _table(lines, left=1)


def _table(lines: Sequence[Sequence[str]], left: int) -> list[str]:
    ruler = ["---" if i < left else "---:" for i in range(len(lines[0]))]
    return [f"| {' | '.join(cells)} |" for cells in (lines[0], ruler, *lines[1:])]


HEAD = f"""# What learns, and how well

Networks that start from nothing (`init`) and learn in integers alone, as a Cortex-M does: int16 weights, int8
activations, stochastic rounding, one image at a time, rates that fall by powers of two (`[schedule]`).
Accuracy on the 10,000 test images: the mean of {len(SEEDS)} seeds and their standard deviation. A seed
decides the start, the feedback, the rounding and the order of the images.

    python -m synapcc.examples.learning FILE.md

prints this page; it keeps what it has found and how far a run has come, and goes on from there.
`--parts dense` prints one table, `--measured` what is known. A row that was not measured is not here. The
emulator's compiled engine makes the runs; the first {CONFIRMED:,} learning steps of each are repeated in
emitted C, and no byte of the state may differ after any.

* Rule files: `examples/learning/rules`. Rates, passes and schedules were chosen on the last 5,000 training
  images, by networks that had learned the other 55,000 (`--held-out`); the runs here learn all 60,000. The
  test images are asked once, at the end.
* Pixels are 0 .. 1; perceptrons see them less the mean of all training pixels. No image is moved, mirrored or
  made. {CALIBRATION:,} training images choose the number formats.
* RAM: bytes that firmware takes at least on the board `mps2_an386`, a Cortex-M4: weights, learned feedback,
  arena, link, stack.
"""

DENSE = """\
Published: NITRO-D (Pirillo, Colombo, Roveri, arXiv:2407.11698, 2024), PocketNN (Song, Lin, tinyML 2022).
ReLU; under `dfa` on Fashion-MNIST max(-1, min(z, 1)), beside which ReLU ran into the limits of its weights.
"""

CONVOLUTIONAL = """\
All layers learn: twice a convolution of 5 x 5, ReLU and a max pool of 2 x 2, then a dense layer.
Untied: each position of both convolutions has weights of its own (`untied`), more than a Cortex-M4 of that
size holds; Amit 2019 claims that they learn as well.
"""

DEPTH = f"""\
784-({WIDTH} x depth)-10 on Fashion-MNIST, max(-1, min(z, 1)) as Amit 2019 has it, 10 passes, one rule file
for all (`depth.toml`, the rate of the perceptrons above). Amit claims that fixed feedback falls behind
backpropagation as networks become deeper, and that learned feedback does not. With ReLU and this rate fixed
feedback, and learned feedback of six layers, run into the limits of their weights.
"""

ECG = f"""\
Protocol A ([ECG.md](ECG.md)), network `{heartbeats.MODEL}`, one seed: a base from 22 patients, in float; each
of 22 others learns five minutes in {heartbeats.PASSES} passes, and is tested on the other 25. Accuracy and
macro-F1 over all their beats. What the base forgets: {heartbeats.BASE:,} beats of its own patients, asked
again of each patient's weights, the mean. RAM beyond inference, no beat kept; instructions of one learning
step on a Cortex-M4, the longest of {heartbeats.COUNTED}. Rates are those of ECG.md, chosen on the base's
patients; `sign` has that of `bp`, `sdfa` half and `drtp` an eighth of that of `dfa`: not tuned further.
"""

PARTS = (
    ("dense", "Perceptrons", DENSE),
    ("convolutional", "Convolutions", CONVOLUTIONAL),
    ("depth", "Depth", DEPTH),
)
