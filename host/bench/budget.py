"""What a front end and its network take of a battery: the time awake, the mean current, days of a cell.

The model: the core works at the board's clock whenever there is something to do, and draws the current of its
board file then; else it sleeps. Sensor, radio, regulator and memory that is not the chip's are not in it, and
a cell gives all of its charge.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from synapcc.gen.errors import SynapccError
from synapcc.gen.ir.plan import Plan
from synapcc.gen.stages.stream import clock_of

HOURS = 24.0
MINUTE = 60.0


@dataclass(frozen=True)
class Cell:
    """charge: of the cell, in mAh; sleep: what the chip draws asleep, in uA; events: to a minute, where
    windows stand about events; labels: windows that are learned, an hour"""

    charge: float
    sleep: float
    events: float = 75.0
    labels: float = 0.0

    def check(self) -> None:
        """Raises SynapccError for what no cell is, or no wearer."""
        if not 0 < self.charge <= 1e6:
            raise SynapccError("--cell", f"{self.charge:g} mAh", "give the charge of a cell, above 0")
        for name, value, most in (("sleep", self.sleep, 1e6), ("events", self.events, 1e4)):
            if not 0 <= value <= most:
                raise SynapccError(f"--{name}", f"{value:g}", f"give 0 to {most:g}")
        if not 0 <= self.labels <= 1e6:
            raise SynapccError("--labels", f"{self.labels:g} an hour", "give 0 to 1000000")


def budget(plan: Plan, front: Mapping[str, Any], report: Mapping[str, Any], cell: Cell) -> dict[str, Any]:
    """The budget of a Plan with a front end.

    front: as the report of the compilation has it; report: of bench
    Raises SynapccError where there is no current of the board, or no cycles.
    """
    cell.check()
    power = report["power"]
    if power is None:
        what = f"board {report['board']} has no [power]"
        raise SynapccError("--cell", what, "give the current of its data sheet in the board file")
    total, clock = report["total"], clock_of(plan)
    if total["push"]["cycles"] is None:
        what = f"nothing here tells which instructions a {report['core']} ran"
        raise SynapccError("--cell", what, "take --device unicorn, or a board on serial")
    frames = total["push"]["frames"]
    pushes = front["rate"] / frames
    every = clock.hop and pushes * clock.frames / clock.hop
    verdicts = every or cell.events / MINUTE
    learned = cell.labels / 3600 if "learn" in total else 0.0
    cycles = {
        "front end": pushes * total["push"]["cycles"],
        "verdicts": verdicts * total["infer"]["cycles"],
        "learning": learned * total["learn"]["cycles"] if learned else 0.0,
    }
    awake = sum(cycles.values()) / report["clock_hz"]
    run = power["microamp_per_mhz"] * report["clock_hz"] / 1e6
    current = awake * run + max(0.0, 1 - awake) * cell.sleep
    return {
        "rate": front["rate"],
        "frame_instructions": _per(total["push"]["instructions"], frames),
        "verdict_instructions": total["infer"]["instructions"],
        "verdicts": verdicts,
        "clocked": bool(every),
        "cycles": cycles,
        "awake": awake,
        "run_microamp": run,
        "mean_microamp": current,
        "days": cell.charge * 1000 / current / HOURS,
        "cell": {"mAh": cell.charge, "sleep_microamp": cell.sleep, "labels_an_hour": cell.labels},
    }


def _per(count: int | None, frames: int) -> float | None:
    return None if count is None else count / frames


def text(found: Mapping[str, Any]) -> str:
    """The budget as a person reads it."""
    cell, cycles = found["cell"], found["cycles"]
    whole = sum(cycles.values())
    parts = ", ".join(f"{what} {100 * c / whole:.0f} %" for what, c in cycles.items() if c)
    frame = found["frame_instructions"]
    a_frame = "" if frame is None else f"{frame:.0f} instructions a sample at {found['rate']:g} Hz, "
    count = found["verdict_instructions"]
    verdict = "" if count is None else f"{count:,} a verdict, "
    how = "by its hop" if found["clocked"] else "by --events"
    asleep = 100 * max(0.0, 1 - found["awake"])
    late = "" if found["awake"] <= 1 else "; IT CANNOT KEEP UP: take a faster clock or do less"
    return "\n".join(
        [
            f"budget: {a_frame}{verdict}{60 * found['verdicts']:.3g} verdicts a minute ({how}): "
            f"asleep {asleep:.2f} % of the time ({parts}){late}",
            f"mean current {found['mean_microamp']:.4g} uA ({found['run_microamp']:.4g} awake, "
            f"{cell['sleep_microamp']:g} asleep): {found['days']:.4g} days of {cell['mAh']:g} mAh",
            "of the core alone: sensor, radio and regulator are not in it, and the cell gives all it has",
        ]
    )
