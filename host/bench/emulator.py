"""Learning steps a second: the emulator's engines, and the emitted C on this computer, state against state.

Every device learns from samples of its own, one device after the other, by all three. The C is the kernel set
`ref` at -O2 on one core; the compiled engine uses all cores.
"""

from __future__ import annotations

import platform
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
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

STEPS = 6000
"""Learning steps of one measurement, of all devices together."""
DEVICES = (1, 100, 1000)
REPEATS = 3
FLAGS = ("-std=c99", "-O2", "-fno-delete-null-pointer-checks")
Networks = Iterable[tuple[str, Plan, Sequence[int]]]
Samples = dict[str, NDArray[Any]]


def bench_emulator(networks: Networks, steps: int = STEPS) -> dict[str, Any]:
    """A row for each network, (title, Plan, numbers of devices), and number. Raises SynapccError: a Plan that
    learns from no labelled sample, or where the engines differ."""
    rows = [
        _row(title, plan, devices, max(1, steps // devices))
        for title, plan, each in networks
        for devices in each
    ]
    cores = engine.cores()  # a device runs on one
    peaks = {n: roofline.peaks(n) for n in sorted({cores, *(min(cores, r["devices"]) for r in rows)})}
    rows = [r | {"peaks": peaks[min(cores, r["devices"])]} for r in rows]
    return {"rows": rows, "cores": cores, "peaks": peaks[cores], "versions": versions()}


def versions() -> dict[str, str]:
    """What was measured with."""
    said = subprocess.run([*host_compiler(), "--version"], capture_output=True, text=True, check=False)
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
            f"{r['compiled'] / r['c']:.2f}" if r["compiled"] else r["reason"],
            *roofline.shares(r, r["peaks"]),
            str(r["differing"]),
        ]
        for r in report["rows"]
    ]
    told = ", ".join(f"{name} {version}" for name, version in report["versions"].items())
    lines = [f"learning steps a second; compiled on {report['cores']} cores, C on one", *table(head, rows)]
    return "\n".join([*lines, roofline.told(report["peaks"]), told])


def _row(title: str, plan: Plan, devices: int, steps: int) -> dict[str, Any]:
    if plan.learning != "learn":
        raise SynapccError(plan.model, "learns from no labelled sample", "compile it with a learning rule")
    samples = _samples(plan, devices, steps)
    known, want = _emulated(plan, samples, NUMPY, 1)
    reason = "; ".join(engine.missing(plan)) or engine.unusable()[0]
    rates = {NUMPY: known, COMPILED: 0.0}
    differing = 0
    if not reason:
        rates[COMPILED], got = _emulated(plan, samples, COMPILED, REPEATS)
        differing += int((got != want).sum())
    rates["c"], got = _in_c(plan, samples)
    differing += int((got != want).sum())
    if differing:
        raise SynapccError(title, f"{differing} bytes of states differ", "report this: it must be none")
    row = {"network": title, "devices": devices, "reason": reason, "differing": differing}
    return row | rates | roofline.work(plan, steps)


def _samples(plan: Plan, devices: int, steps: int) -> Samples:
    """Noise, [steps, devices, size] by input, and `label` [steps, devices]."""
    rng = np.random.default_rng(1)
    found: Samples = {
        n: rng.integers(-128, 128, (steps, devices, plan[n].shape[0])).astype(np.int8) for n in plan.inputs
    }
    return found | {"label": rng.integers(0, min(plan.classes, 256), (steps, devices)).astype(np.uint8)}


def _best(run: Callable[[], float], repeats: int) -> float:
    return min(run() for _ in range(repeats))


def _emulated(plan: Plan, samples: Samples, chosen: str, repeats: int) -> tuple[float, NDArray[np.uint8]]:
    """Steps a second, and the states in the end."""
    steps, devices = samples["label"].shape
    machine = Emulator(plan, devices, engine=chosen)
    inputs = {n: samples[n] for n in plan.inputs}
    machine.learn_many({n: x[:1] for n, x in inputs.items()}, samples["label"][:1])  # compiled, pages touched

    def run() -> float:
        machine.reset()
        start = time.perf_counter()
        machine.learn_many(inputs, samples["label"])
        return time.perf_counter() - start

    return steps * devices / _best(run, repeats), machine.state


def _in_c(plan: Plan, samples: Samples) -> tuple[float, NDArray[np.uint8]]:
    """The same of the emitted C."""
    steps, devices = samples["label"].shape
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        files = render_library(plan, "a benchmark", "a benchmark", {}, REF)
        main = environment().get_template("steps.c.j2").render(m=plan.model)
        for name, content in {**files, "steps.c": main}.items():
            (folder / name).write_text(content, encoding="utf-8")
        given, states = folder / "samples.bin", folder / "states.bin"
        whole = np.concatenate([samples[n].swapaxes(0, 1) for n in plan.inputs], axis=2)
        given.write_bytes(whole.tobytes() + samples["label"].T.tobytes())
        program = folder / "steps"
        sources = [str(p) for p in sorted(folder.glob("*.c"))]
        _call([*host_compiler(), *FLAGS, f"-I{folder}", *sources, "-o", str(program)])
        command = [str(program), str(devices), str(steps), str(given), str(states)]
        seconds = _best(lambda: int(_call(command)) / 1e9, REPEATS)
        found = np.frombuffer(states.read_bytes(), np.uint8).reshape(devices, -1)
    return steps * devices / seconds, found[:, : plan.state_bytes]


def _call(command: Sequence[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stderr.splitlines() or [f"exit status {done.returncode}"])[0]
        raise SynapccError(Path(command[0]).name, said, "the emitted C could not be measured")
    return done.stdout
