"""docs/RESULTS.md: tables of what was found."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from synapcc.examples.images.data import VALIDATION
from synapcc.gen.spec import INFERENCE_ONLY
from synapcc.host.run.kept import Result

from . import heartbeats
from .rows import DEEP_RULES, DEPTHS, SEEDS, WIDTH, Row
from .train import CALIBRATION, CONFIRMED, IMAGES

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


def held_out(found: Sequence[Found]) -> str:
    """Tables of accuracy on the last training images, which are no results: settings are chosen by them."""
    parts = [HELD_OUT]
    for part, title, _ in PARTS:
        if of := [f for f in found if f.row.part == part]:
            lines = [["network", "data", "rule", "accuracy, %", "passes"]]
            lines += [[f.row.network, f.row.data, f.row.rule, f.cell, str(f.row.runs[0].passes)] for f in of]
            parts += [f"## {title}\n", *_table(lines, left=3), ""]
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
emulator's compiled engine makes the runs. When one is measured, emitted C repeats its first {CONFIRMED:,}
learning steps, and no byte of the state may differ after any; the steps after them run in the emulator alone.

* Rule files: `examples/learning/rules`. Rates, passes, schedules and, of the perceptrons, activations were
  chosen on the last {VALIDATION:,} training images, by networks that had learned the others, most of them
  before there was this command; `--held-out` makes such runs, with rates that fall after the same share of
  the run. The runs here learn all {IMAGES:,}. A run meets the test images once, at its end; what was seen of
  them before a choice stands beside the table.
* Pixels are 0 .. 1; perceptrons see them less the mean of all training pixels. No image is moved, mirrored or
  made. {CALIBRATION:,} training images choose the number formats.
* RAM: bytes that firmware takes at least on the board `mps2_an386`, a Cortex-M4: weights, learned feedback,
  arena, link, stack.
"""

DENSE = """\
Published: NITRO-D (Pirillo, Colombo, Roveri, arXiv:2407.11698, 2024), PocketNN (Song, Lin, tinyML 2022).
ReLU; under `dfa` on Fashion-MNIST max(-1, min(z, 1)), the better of both on the held-out training images.
"""

HELD_OUT = f"""\
# Held out: to choose settings by

Accuracy on the last {VALIDATION:,} training images, of networks that learned the others in as many passes;
rates fall after the same share of the run. The test images are not read.
"""

CONVOLUTIONAL = """\
All layers learn: twice a convolution of 5 x 5, ReLU and a max pool of 2 x 2, then a dense layer; or three
times one of 3 x 3 in a border of zeros, and so on.
Untied: each position of both convolutions has weights of its own (`untied`), more than a Cortex-M4 of that
size holds; Amit 2019 claims that they learn as well. Before pixels were left as they are here, two seeds of
the first row had been tested on the test images with the mean taken off. When two convolutions had missed
the bar on Fashion-MNIST, three were taken: of seven networks, one seed each, the best on the held-out images,
91.7 % after 90.6 % of those two; the rule file is the same.
"""

DEPTH = f"""\
784-({WIDTH} x depth)-10 on Fashion-MNIST, max(-1, min(z, 1)) as Amit 2019 has it, 10 passes, one rule file
for all (`depth.toml`, the rate of `hebbian` on Fashion-MNIST above, tuned for no row here). Amit claims that
fixed feedback falls behind backpropagation as networks become deeper, and that learned feedback does not.
The activation was not chosen blindly: with ReLU, ten of these networks had been tested on the test images,
one seed each, before this one was taken for all.
"""

ECG = f"""\
Protocol A ([ECG.md](ECG.md)), network `{heartbeats.MODEL}`, one seed: a base from 22 patients, in float; each
of 22 others learns five minutes in {heartbeats.PASSES} passes, and is tested on the other 25. Accuracy and
macro-F1 over all their beats. What the base forgets: {heartbeats.BASE:,} beats of its own patients, asked
again of each patient's weights, the mean. RAM beyond inference, no beat kept; instructions of one learning
step on a virtual Cortex-M4, the longest of {heartbeats.COUNTED} beats, each under every label that the base
does not give (where it is right, a step may do next to nothing). Rates are those of ECG.md, chosen on the
base's patients; `sign` has that of `bp`, `sdfa` half and `drtp` an eighth of that of `dfa`. The emulator
learns and tests; emitted C repeats the learning steps of the first patient's first pass, compared byte for
byte after each, when instructions are counted: no other patient's, and no rehearsal.
"""

PARTS = (
    ("dense", "Perceptrons", DENSE),
    ("convolutional", "Convolutions", CONVOLUTIONAL),
    ("depth", "Depth", DEPTH),
)
