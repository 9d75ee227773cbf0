"""A small network behind a front end on a chip, beside its emulator, and a recording for both."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from projects import case

from synapcc.host.cli import main
from synapcc.host.devices import open_device
from synapcc.host.link.client import connect
from synapcc.host.live.beside import Beside
from synapcc.host.live.page import Words
from synapcc.host.live.recording import Recording
from synapcc.host.run.plans import read_plan

RATE, HOP, NAMES = 100, 80, ("N", "S", "V")
WORDS = Words(
    "Somebody", "A window every .8 s.", "", "A process", ("beat", "beats"), ("normal", "early", "wide"), 0,
    "This was not normal",
)  # fmt: skip
MORE = """
[mark]
pending = 6
within = 100
deny = true
[frontend]
rate = 100
push = 5
[[frontend.block]]
name = "base"
kind = "one_pole"
shape = "high"
frequency = 0.5
[[frontend.block]]
name = "input"
kind = "window"
length = 400
hop = 800
scale = 0.01
"""


def project(folder: Path) -> Path:
    """The compiled network."""
    c = case(folder, "hebbian", sizes=(40, 6, len(NAMES)), more=MORE)
    assert main(c.words(folder / "out")) == 0
    return folder / "out"


@contextmanager
def beside(project: Path) -> Iterator[Beside]:
    """Both sides of it, the chip as a process."""
    plan = read_plan(project)
    with open_device("process", project) as device:
        yield Beside(plan, connect(device, plan))


def recording(seconds: int = 60, annotated: bool = True) -> Recording:
    """Bumps of two sizes; the middle of each window is annotated by which it is in."""
    rng, n = np.random.default_rng(3), seconds * RATE
    wave = np.sin(np.arange(n) * 2 * np.pi / HOP) ** 8 * 300 + rng.normal(0, 15, n)
    at = np.arange(20, n, HOP)
    label = rng.integers(0, 2, len(at))
    for place, k in zip(at, label, strict=True):
        wave[max(0, place - 25) : place + 25] *= 1 - 2 * k
    at, label = (at, label) if annotated else (at[:0], label[:0])
    return Recording(np.round(wave).astype(np.int16), RATE, 200.0, "mV", at, label, NAMES)
