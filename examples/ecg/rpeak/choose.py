"""Chooses the settings of the block `r_peak` on the 22 records of DS1; no other record is read.

    nice -n 15 python -m synapcc.examples.ecg.rpeak.choose

One setting after the other takes the best of its values, through all of them until nothing changes. What
counts is

    missed / .001 + false / .004                     minutes 5 to 30, as the aims have it: Se .999, PPV .996
    + (missed + false) / .04                         minutes 5 to 7, noise of all three kinds at 12 dB

each a share of the annotated beats. The start was found so, too, among fewer values. Then the quality flag:
that part of a beat and that share of time, by which most 10 s windows of minutes 5 to 30 are told apart, with
noise of each kind at 12, 6 and 0 dB: those in which F1 is below .9, and the others, by the mean of both
shares.
Every result is kept in choice.json, so that a run that broke off goes on; the last line is what the block has
for defaults, digit by digit (a test compares).
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, replace
from functools import cache, partial
from hashlib import sha256
from multiprocessing import get_context
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from synapcc.gen.spec.options import Setting
from synapcc.host.run.kept import Result, Results, key
from synapcc.host.terminal.arguments import Parser
from synapcc.host.terminal.screen import guarded

from ..protocol import DS1
from . import data, detect, hard, match, noise, quality
from .data import START, Recording, recording
from .detect import front_end
from .match import Count, counted
from .noise import KINDS, SPELL, noisy
from .quality import auc, joined, told_apart, windows

RESULTS = Path(__file__).parent / "choice.json"
PARTS = data, match, noise, quality
PROCESSES = 2
ROUNDS = 4
"""At most."""
DECIBELS = (12, 6, 0)
DECIBEL, SEED = 12.0, 7
VALUES: dict[str, tuple[int, ...]] = {
    "share": (18, 19, 20, 21, 22, 23, 24),
    "noise": (24, 28, 32, 36, 40, 44),
    "back_share": (14, 16, 18, 20, 22, 24),
    "back_noise": (24, 28, 32, 36, 40, 44, 48),
    "due": (120, 128, 136, 144, 152, 160, 168),
    "soon": (300, 330, 360, 400),
    "soon_share": (28, 32, 36, 40, 44, 48),
    "steep": (36, 40, 44, 48, 52, 56),
    "low": (10, 14, 17, 20, 22),
    "high": (110, 130, 150, 180, 220),
    "diff": (10, 12, 14, 16, 18),
    "sum": (90, 100, 110, 120),
    "apart": (180, 200, 220, 240),
    "around": (60, 70, 80, 90, 100, 110, 120),
    "clip": (32, 48, 64, 80, 96),
    "refractory": (200, 210, 220, 230, 240),
}
"""In the order in which they are gone through."""
LOUD = (4, 5, 6, 8)
BAD = tuple(range(8, 64, 4))
BEGIN: dict[str, Setting] = {
    "low": 17, "high": 150, "diff": 14, "sum": 110, "apart": 200, "around": 80, "share": 21, "noise": 36,
    "soon": 330, "soon_share": 36, "steep": 48, "due": 144, "back_share": 20, "back_noise": 32, "clip": 48,
    "refractory": 220,
}  # fmt: skip
"""Found on DS1 the same way, from what was found by hand; some of these were the last of fewer values."""


def mark() -> str:
    """What all results follow from, beside the settings: what the block says of synthetic patients, and the
    text of what counts it, without what only readers see of that."""
    said = sha256()
    full: dict[str, Setting] = BEGIN | {"loud": 5, "bad": 32}  # whatever the defaults are
    for seed, rate, settings in (
        (0, 360.0, full),
        (1, 360.0, full),
        (2, 250.0, full | {"noise": 8, "loud": 20}),
    ):
        of = hard.patient(seed, rate)
        x = noisy(of.x, of.rpeak, rate, tuple(KINDS), DECIBEL, SEED, 10.0)
        front = front_end(rate, of.gain, settings)
        found, (loud, doubtful) = detect.detect(x, front), detect.quality(x, front)
        for array in (found.at, found.age, np.round(loud * detect.WHOLE).astype(np.int64), doubtful):
            said.update(np.ascontiguousarray(array).tobytes())
    return key(said.hexdigest(), [text(part) for part in PARTS], DS1)


def text(part: ModuleType) -> str:
    """A module's statements."""
    tree = ast.parse(Path(str(part.__file__)).read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            said = [n for n in body if not (isinstance(n, ast.Expr) and isinstance(n.value, ast.Constant))]
            node.body = said or [ast.Pass()]  # type: ignore[attr-defined]
    return ast.dump(tree)


@cache
def _with_noise(name: str) -> Recording:
    """The first minutes that count, all of them with noise."""
    of = recording(name)
    end = round((START + 2 * SPELL) * of.rate)
    x = noisy(of.x[:end], of.rpeak[of.rpeak < end], of.rate, tuple(KINDS), DECIBEL, SEED, START)
    return replace(of, x=x[: round((START + SPELL) * of.rate)])


def counts(settings: detect.Settings, of: Recording) -> Count:
    """Of a whole recording, from `START` on."""
    found = detect.detect(of.x, front_end(of.rate, of.gain, settings), "compiled").at
    return counted(of.rpeak[of.rpeak < len(of.x)], found, of.rate, START, of.flutter)


def _both(settings: detect.Settings, name: str) -> tuple[Count, Count]:
    return counts(settings, recording(name)), counts(settings, _with_noise(name))


Each = Callable[[Callable[[str], Any], Iterable[str]], Iterable[Any]]
"""`map`, or that of several processes."""


def measured(settings: detect.Settings, each: Each) -> Result:
    """What counts, of all of DS1."""
    of_all = [*each(partial(_both, settings), DS1)]
    clean, hard = (sum(column, Count()) for column in zip(*of_all, strict=True))
    return {"clean": asdict(clean), "noise": asdict(hard)}


def cost(result: Result) -> float:
    """What is to be least (above)."""
    clean, few = Count(**result["clean"]), Count(**result["noise"])
    beats = clean.found + clean.missed
    hard = (few.missed + few.false) / (few.found + few.missed) / 0.04
    return clean.missed / beats / 0.001 + clean.false / beats / 0.004 + hard


def _windows(settings: detect.Settings, name: str) -> quality.Windows:
    of, every = recording(name), []
    front = front_end(of.rate, of.gain, settings)
    for kind in KINDS:
        for decibel in DECIBELS:
            x = noisy(of.x, of.rpeak, of.rate, (kind,), decibel, SEED, START)
            every.append(windows(of, x, front))
    return joined(every)


def _told(settings: detect.Settings, each: Each) -> Result:
    of_all = joined(each(partial(_windows, settings), DS1))
    limits = {b: told_apart(of_all.loudness > b / 64, of_all.bad) for b in BAD}
    return {"auc": auc(of_all.loudness, of_all.bad), "limits": [[b, *both] for b, both in limits.items()]}


def is_result(found: Any) -> bool:
    """Whether it is what is kept of settings."""
    return isinstance(found, dict) and found.keys() in ({"clean", "noise"}, {"auc", "limits"})


def chosen(results: Results, say: Callable[[str], None], each: Each = map) -> dict[str, Setting]:
    """The best of what was gone through; `say` is told of each that was settled."""
    follows, best = mark(), BEGIN

    def of(settings: dict[str, Setting]) -> float:
        return cost(results.get(key(follows, settings), lambda: measured(settings, each)))

    least = of(best)
    for turn in range(ROUNDS):
        before = best
        for name, values in VALUES.items():
            for value in values:
                other = best | {name: value}
                if (found := of(other)) < least:
                    best, least = other, found
            say(f"{turn + 1} {name:12} {best[name]:5}  {least:.4f}")
        if best == before:
            break
    ways = []
    for loud in LOUD:
        other = best | {"loud": loud}
        told = results.get(key(follows, "quality", other), partial(_told, other, each))
        bad, *both = max(told["limits"], key=lambda row: row[1] + row[2])
        ways.append((sum(both), other | {"bad": bad}))
        say(f"loud {loud}, bad {bad}: {both[0]:.3f} {both[1]:.3f}, AUC {told['auc']:.3f}")
    return max(ways, key=lambda way: way[0])[1]


@guarded()
def main(arguments: list[str] | None = None) -> int:
    """Command line; 0, or 2 with one line on stderr."""
    Parser(prog="rpeak.choose", description=(__doc__ or "").split("\n")[0]).parse_args(arguments)
    with ProcessPoolExecutor(PROCESSES, get_context("spawn")) as pool:
        found = chosen(Results(RESULTS, is_result), partial(print, flush=True), pool.map)
    print(found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
