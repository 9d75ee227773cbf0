"""What `synapcc bench` says of a folder or of one kernel, as JSON has it and as a person reads it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from synapcc.gen import emit
from synapcc.gen.errors import SynapccError
from synapcc.gen.ir.plan import Plan
from synapcc.gen.ir.program import Step
from synapcc.gen.rules import rules
from synapcc.gen.sets import AUTO
from synapcc.gen.target.boards import Board, load_board

from ..firmware.build import BuildResult, build, project_board
from ..run.plans import read_plan
from ..run.samples import Samples, load_samples
from ..terminal.text import table
from .kernel_sets import compiled_with, kernel_sets
from .kernel_spec import parse
from .measure import PHASES, Bench, random_samples
from .meter import Meter, Overrun, open_meter
from .options import SAMPLES, SEED

VOLT = 3.0
"""The supply at which energy is given: data sheets state currents, which hardly depend on it."""

Measure = Callable[[Meter], tuple[dict[str, dict[str, Any]], list[dict[str, Any]]]]


def bench_project(
    project: Path, device: str, data: Path | None = None, samples: int = SAMPLES, seed: int = SEED
) -> dict[str, Any]:
    """Every op of `infer` and `learn`, and every entry program, of an output folder.

    data: an .npz whose first `samples` samples are run; None: noise by `seed`. Raises SynapccError.
    """
    plan = read_plan(project)
    if data is None:
        picked, source = random_samples(plan, samples, seed), f"noise, seed {seed}"
        clipped: dict[str, float] = {}
    else:
        found = load_samples(plan, data, labels=bool(plan.learning))
        picked = Samples(
            {n: x[:samples] for n, x in found.inputs.items()}, found.labels, targets=found.targets
        )
        clipped = dict(found.clipped)
        source = f"the first of {data.name}, which holds {found}"

    def measure(meter: Meter) -> tuple[dict[str, dict[str, Any]], list[dict[str, Any]]]:
        at = Bench(plan, meter, picked)
        programs = {name: at.program(name) for name in PHASES if at.program(name)}
        phases = {name: at.phase(name) for name in programs}
        total = {name: figures for name, (figures, _) in phases.items()}
        total |= {name: at.other(name) for name in plan.entries if name not in programs.values()}
        return total, [row for _, rows in phases.values() for row in rows]

    return _report(project, plan, device, measure) | {
        "data": f"{len(picked)} samples: {source}",
        "clipped": clipped,
    }


def bench_kernel(
    kernel: str,
    device: str,
    *,
    board: str = "mps2_an386",
    kernels: str = "",
    phase: str = "",
    weights: str = "int8",
    rounding: str = "stochastic",
    rule: str = "dfa",
) -> dict[str, Any]:
    """One kernel alone, compiled into a folder that goes away again: on noise without a zero.

    kernel, phase: see docs/BENCH.md; "" is the kernel's first phase, or both for a whole network
    kernels: the kernel set; "" the fastest of the board
    Raises SynapccError.
    """
    spec = parse(kernel)
    phase = phase or ("" if spec.whole else spec.phases[0])
    if phase and phase not in spec.phases:
        raise SynapccError("--phase", f"{spec.text!r} has no {phase}", f"it has {', '.join(spec.phases)}")
    if rule not in rules():
        raise SynapccError("--rule", f"no rule {rule!r}", f"rules: {', '.join(sorted(rules()))}")
    target = load_board(board)
    if kernels and kernels not in kernel_sets(target):
        what = f"{target.name} has no kernel set {kernels!r}"
        raise SynapccError("--kernels", what, f"it has {', '.join(kernel_sets(target))}")
    compiled = spec.compile(
        target, rule, weights, rounding, learns=phase != "infer", kernel_set=kernels or AUTO
    )
    files = emit.render(
        compiled.plan, target, f"synapcc bench --kernel {spec.text!r}", kernel_set=compiled.kernel_set
    )
    with tempfile.TemporaryDirectory(prefix="synapcc-bench-") as folder:
        out = Path(folder) / "out"
        emit.write(files, out)
        report = bench_project(out, device) if spec.whole else _alone(out, device, phase, spec.wanted)
    return {"spec": spec.text, **report}


def _alone(project: Path, device: str, phase: str, wanted: Callable[[Step], bool]) -> dict[str, Any]:
    plan = read_plan(project)

    def measure(meter: Meter) -> tuple[dict[str, dict[str, Any]], list[dict[str, Any]]]:
        rows = Bench(plan, meter, random_samples(plan, 1, SEED)).alone(phase, wanted)
        sums = {key: [row[key] for row in rows] for key in ("macs", "instructions", "cycles")}
        return {phase: {k: None if None in v else sum(v) for k, v in sums.items()}}, rows

    return _report(project, plan, device, measure) | {"data": "noise without a zero"}


def _report(project: Path, plan: Plan, device: str, measure: Measure) -> dict[str, Any]:
    board, built = project_board(project), build(project)
    try:
        how, total, ops = _measured(project, plan, board, device, measure, long=False)
    except Overrun:
        if device != "qemu":
            raise
        how, total, ops = _measured(project, plan, board, device, measure, long=True)
    for figures in total.values():
        figures |= _price(figures["cycles"], board)
    return {
        "model": plan.model,
        "digest": plan.digest.hex(),
        "board": board.name,
        "core": board.core.cpu,
        "clock_hz": board.clock_hz,
        "device": device,
        "counted": how,
        "kernels": compiled_with(project, plan),
        "toolchain": built.toolchain,
        "power": _power(board),
        "ops": ops,
        "total": total,
        **_memory(built),
    }


def _measured(
    project: Path, plan: Plan, board: Board, device: str, measure: Measure, long: bool
) -> tuple[str, dict[str, dict[str, Any]], list[dict[str, Any]]]:
    with open_meter(device, project, board, plan, long) as meter:
        return meter.how, *measure(meter)


def _memory(built: BuildResult) -> dict[str, Any]:
    return {"flash": built.flash, "ram": built.ram, "stack": built.stack.bytes}


def _power(board: Board) -> dict[str, Any] | None:
    if board.power is None:
        return None
    return {"microamp_per_mhz": board.power.microamp_per_mhz, "source": board.power.source, "volt": VOLT}


def _price(cycles: int | None, board: Board) -> dict[str, float | None]:
    """Time, and energy where the board's current is known: 1 uA/MHz is 1 pC a cycle."""
    if cycles is None:
        return {"milliseconds": None, "microjoule": None}
    joule = cycles * board.power.microamp_per_mhz * VOLT * 1e-6 if board.power else None
    return {"milliseconds": 1e3 * cycles / board.clock_hz, "microjoule": joule}


def text(report: Mapping[str, Any]) -> str:
    """The report as a person reads it: ops in their order, then totals, memory, and how it was counted."""
    rows = [_op_cells(op, report["total"][op["phase"]]) for op in report["ops"]]
    head = ["phase", "node", "kernel", "runs", "MACs", "instructions", "per MAC", "share", "cycles"]
    clock = f"{report['clock_hz'] / 1e6:g} MHz"
    lines = [
        f"{report['model']} on {report['board']} ({report['core']}, {clock}), kernels {report['kernels']}, "
        f"{report['toolchain']}",
        "",
        *table(head, rows),
        "",
        *(_total_line(name, figures) for name, figures in report["total"].items()),
        f"flash {report['flash']}, RAM {report['ram']} without the stack, stack {report['stack']} at worst",
        f"counted: {report['counted']}; {report['data']}",
    ]
    return "\n".join([*lines, _cycles_line(report)])


def _op_cells(op: Mapping[str, Any], total: Mapping[str, Any]) -> list[str]:
    key = "instructions" if total["instructions"] is not None else "cycles"
    count, macs = op["instructions"], op["macs"]
    return [
        op["phase"],
        op["node"],
        op["kernel"],
        str(op["runs"]),
        str(macs or ""),
        _number(count),
        f"{count / macs:.2f}" if macs and count is not None else "",
        f"{100 * op[key] / total[key]:.1f} %" if total[key] else "",
        _number(op["cycles"]),
    ]


def _number(value: int | None) -> str:
    return "" if value is None else f"{value:,}"


def _total_line(name: str, total: Mapping[str, Any]) -> str:
    parts = [f"{name:<8}"]
    if total["instructions"] is not None:
        parts.append(f"{total['instructions']:,} instructions")
    if total["cycles"] is not None:
        parts.append(f"{total['cycles']:,} cycles, {total['milliseconds']:.3f} ms")
    if total["microjoule"] is not None:
        parts.append(f"{total['microjoule']:.3f} uJ")
    key = "instructions" if total["instructions"] is not None else "cycles"
    if "frames" in total:
        parts.append(f"{total[key] / total['frames']:.0f} for each of {total['frames']} frames, no verdict")
    if "worst" in total:
        parts.append(f"least of {total['samples']} samples {total['min'][key]:,}")
        parts.append(f"worst case {total['worst'][key]:,} {key}")
    if "slice" in total:
        longest = total["slice"]
        parts.append(f"longest slice {longest[key]:,} ({longest['kernel']} of {longest['node']})")
    if "learned" in total:
        parts.append(f"after {total['learned']} learned samples" if total["learned"] else "as compiled")
    return ", ".join(parts).replace(f"{name:<8}, ", f"{name:<8} ")


def _cycles_line(report: Mapping[str, Any]) -> str:
    totals = report["total"].values()
    if any(figures["cycles"] is None for figures in totals):
        return f"cycles: none, nothing here tells which instructions a {report['core']} ran"
    line = "cycles: measured"
    if any(figures["instructions"] is not None for figures in totals):
        line = f"cycles: estimated by the model of the {report['core']} in synapcc docs BENCH"
    if report["power"]:
        power = report["power"]
        line += f"; energy at {power['volt']:g} V, {power['microamp_per_mhz']:g} uA/MHz ({power['source']})"
    return line
