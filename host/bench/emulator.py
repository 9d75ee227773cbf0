"""Learning steps a second: the emulator's engines, and the emitted C on this computer, state against state.

Every device learns from samples of its own, one device after the other, by all three. The C is the kernel set
`ref` at -O2 on one core; the compiled engine uses all cores. They take turns, so that a computer that is
slower for a while is so for both; before, both have learned a sample with each device: its memory was met.
"""

from __future__ import annotations

import platform
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synapcc.gen.emit import render_library
from synapcc.gen.emit.templates import environment
from synapcc.gen.errors import SynapccError
from synapcc.gen.ir.plan import Plan
from synapcc.gen.sets import REF

from .. import engine
from ..devices.process import host_compiler
from ..run.emulator import Emulator
from ..run.engines import COMPILED, NUMPY
from ..terminal.text import table
from . import roofline

STEPS, LEAST = 6000, 24
"""Learning steps of one measurement, of all devices together; and of each device at least."""
DEVICES = (1, 100, 1000)
REPEATS = 7
FLAGS = ("-std=c99", "-O2", "-fno-delete-null-pointer-checks")
Networks = Iterable[tuple[str, Plan, Sequence[int]]]
Samples = dict[str, NDArray[Any]]


def bench_emulator(networks: Networks, steps: int = STEPS) -> dict[str, Any]:
    """A row for each network, (title, Plan, numbers of devices), and number. Raises SynapccError: a Plan that
    learns from no labelled sample, or where the engines differ."""
    rows = [
        _row(title, plan, devices, max(steps // devices, min(steps, LEAST)))
        for title, plan, each in networks
        for devices in each
    ]
    cores = engine.cores()  # a device runs on one
    peaks = {n: roofline.peaks(n) for n in sorted({cores, *(min(cores, r["devices"]) for r in rows)})}
    rows = [r | {"peaks": peaks[min(cores, r["devices"])]} for r in rows]
    return {"rows": rows, "cores": cores, "peaks": peaks[cores], "versions": versions()}


def versions() -> dict[str, str]:
    """What was measured with."""
    said = subprocess.run(
        [*host_compiler(), "--version"], capture_output=True, encoding="utf-8", errors="replace", check=False
    )
    lines = said.stdout.splitlines() or ["unknown"]
    numba = engine.unusable()[0] or metadata.version("numba")
    return {
        "C": f"{lines[0]}, {' '.join(FLAGS)}",
        "numba": numba,
        "numpy": np.__version__,
        "python": platform.python_version(),
    }


def text(report: dict[str, Any]) -> str:
    """As a person reads it."""
    head = [
        "network",
        "devices",
        "numpy",
        "compiled",
        "C",
        "compiled / C",
        "of macs",
        "of memory",
        "differing",
    ]
    rows = [
        [
            r["network"],
            str(r["devices"]),
            f"{r['numpy']:.0f}",
            f"{r['compiled']:.0f}" if r["compiled"] else "-",
            f"{r['c']:.0f}",
            "{:.2f} ({:.2f} to {:.2f})".format(*r["ratio"]) if r["ratio"] else r["reason"],
            *roofline.shares(r, r["peaks"]),
            str(r["differing"]),
        ]
        for r in report["rows"]
    ]
    told = ", ".join(f"{name} {version}" for name, version in report["versions"].items())
    what = f"learning steps a second, the median of {REPEATS}; compiled on {report['cores']} cores, C on one"
    lines = [what, *table(head, rows)]
    return "\n".join([*lines, roofline.told(report["peaks"]), told])


def _row(title: str, plan: Plan, devices: int, steps: int) -> dict[str, Any]:
    if plan.learning != "learn":
        raise SynapccError(plan.model, "learns from no labelled sample", "compile it with a learning rule")
    samples = _samples(plan, devices, steps)
    numpy = _Emulated(plan, samples, NUMPY)
    reason = "; ".join(engine.missing(plan)) or engine.unusable()[0]
    rates, differing = {NUMPY: numpy.rate(), COMPILED: 0.0}, 0
    with tempfile.TemporaryDirectory() as scratch:
        sides: dict[str, _Emulated | _InC] = {"c": _InC(plan, samples, Path(scratch))}
        if not reason:
            sides[COMPILED] = _Emulated(plan, samples, COMPILED)
        turns = [{name: side.rate() for name, side in sides.items()} for _ in range(REPEATS)]
        for name, side in sides.items():
            rates[name] = statistics.median(turn[name] for turn in turns)
            differing += int((side.states != numpy.states).sum())
    if differing:
        raise SynapccError(title, f"{differing} bytes of states differ", "report this: it must be none")
    ratios = sorted(turn[COMPILED] / turn["c"] for turn in turns) if not reason else []
    ratio = [statistics.median(ratios), ratios[0], ratios[-1]] if ratios else []
    row = {"network": title, "devices": devices, "steps": steps, "reason": reason, "differing": differing}
    return row | rates | {"ratio": ratio} | roofline.work(plan, steps)


def _samples(plan: Plan, devices: int, steps: int) -> Samples:
    """Noise, [steps, devices, size] by input, and `label` [steps, devices]."""
    rng = np.random.default_rng(1)
    found: Samples = {
        n: rng.integers(-128, 128, (steps, devices, plan[n].shape[0])).astype(np.int8) for n in plan.inputs
    }
    return found | {"label": rng.integers(0, min(plan.classes, 256), (steps, devices)).astype(np.uint8)}


class _Emulated:
    """A machine that learns these samples, again and again; `states` as it has them in the end."""

    def __init__(self, plan: Plan, samples: Samples, chosen: str) -> None:
        self.samples = {n: samples[n] for n in plan.inputs}
        self.label = samples["label"]
        self.machine = Emulator(plan, self.label.shape[1], engine=chosen)
        self.machine.learn_many({n: x[:1] for n, x in self.samples.items()}, self.label[:1])  # and compiled

    def rate(self) -> float:
        """Steps a second."""
        self.machine.reset()
        start = time.perf_counter()
        self.machine.learn_many(self.samples, self.label)
        return self.label.size / (time.perf_counter() - start)

    @property
    def states(self) -> NDArray[np.uint8]:
        return self.machine.state


class _InC:
    """The same of the emitted C, a process for each time."""

    def __init__(self, plan: Plan, samples: Samples, folder: Path) -> None:
        self.label, self.size = samples["label"], plan.state_bytes
        files = render_library(plan, "a benchmark", "a benchmark", {}, REF)
        main = environment().get_template("steps.c.j2").render(m=plan.model)
        for name, content in {**files, "steps.c": main}.items():
            (folder / name).write_text(content, encoding="utf-8", newline="\n")
        given, self.found = folder / "samples.bin", folder / "states.bin"
        whole = np.concatenate([samples[n].swapaxes(0, 1) for n in plan.inputs], axis=2)
        given.write_bytes(whole.tobytes() + self.label.T.tobytes())
        sources = [str(p) for p in sorted(folder.glob("*.c"))]
        program = str(folder / "steps")
        _call([*host_compiler(), *FLAGS, f"-I{folder}", *sources, "-o", program])
        steps, devices = self.label.shape
        self.command = [program, str(devices), str(steps), str(given), str(self.found)]

    def rate(self) -> float:
        return self.label.size / (int(_call(self.command)) / 1e9)

    @property
    def states(self) -> NDArray[np.uint8]:
        devices = self.label.shape[1]
        return np.frombuffer(self.found.read_bytes(), np.uint8).reshape(devices, -1)[:, : self.size]


def _call(command: Sequence[str]) -> str:
    done = subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace", check=False)
    if done.returncode:
        said = (done.stderr.splitlines() or [f"exit status {done.returncode}"])[0]
        raise SynapccError(Path(command[0]).name, said, "the emitted C could not be measured")
    return done.stdout
