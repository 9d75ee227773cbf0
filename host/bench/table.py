"""Writes docs/BENCHMARKS.md: `python -m synapcc.host.bench.table FILE`. All figures are of `synapcc bench`.

Rows whose op, and cores whose board, this synapcc does not have are left out, and so is what does not fit a
board.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from synapcc.gen.errors import SynapccError
from synapcc.gen.target.boards import Board, board_names, load_board

from ..terminal.arguments import Parser
from ..terminal.files import check_target, write_whole
from ..terminal.progress import Progress
from ..terminal.screen import guarded
from .kernel_sets import kernel_sets
from .kernel_spec import parse
from .peers import CMSIS_NN, TRAINING, UPDATE_PER_WEIGHT
from .report import bench_kernel

CORES = {"M4": "mps2_an386", "M3": "mps2_an385", "M0": "microbit", "M55": "mps2_an547"}
RULES = ("dfa", "bp", "hebbian")
UPDATE = "update 256 128"
CONVOLUTIONS = (
    "conv2d-update 16x16x16 3x3->16 same",
    "conv2d-update 16x16x32 1x1->32",
    "conv1d-update 64x16 k5->32 s2 same",
    "conv1d-update 128x1 k7->16 s2 same",
    "conv2d-back 16x16x16 3x3->16 same",
    "conv2d-back 16x16x32 1x1->32",
)
ROUNDINGS = ("nearest", "stochastic", "dither")
WEIGHTS = ("int16", "int8")
_TOO_LARGE = ("too many", "bytes more flash", "bytes more RAM")
"""What compilation and build say of what does not fit into a board."""

_HEAD = """\
# Benchmarks

Written by `make bench`. Figures of synapcc are printed by the command above their table, with the words of
the row in place of the capitals, and are equal at every run; BENCH.md says how they are counted. Those of
others were counted once, in QEMU, compiled by arm-none-eabi-gcc 12.2.
"""
_KERNELS = """\
## {core}: kernels

Instructions of one forward pass, int8 weights and activations, and in brackets instructions a
multiply-accumulate. CMSIS-NN is Arm's own library, at -O3.

    {command}
"""
_TRAINING = """\
## M4: one training step

Instructions to learn one sample, batch 1, int16 weights: the longest of 8 samples of noise, and the worst
case; bytes of RAM of the whole firmware without its stack. Others' steps skip no zeros: hold them against the
worst case.

    {command}
"""
_UPDATE = """\
## M4: the update of the weights alone

Instructions of `{kernel}`, and in brackets instructions a weight, with no zero in the teaching signal.
TinyEngine needs {peer} a weight (int8, -O3).

    {command}
"""
_CONVOLUTIONS = """\
## M4: what convolutions learn and pass back

Instructions, and in brackets instructions a multiply-accumulate, with no zero in the teaching signal; what is
learned has int16 weights and stochastic rounding, what signals pass through is frozen.

    {command}
"""
_TAIL = """\
Compiled by {toolchain}; {counted}.
"""

Measure = Callable[..., dict[str, Any]]


def pages(measure: Measure) -> Iterator[str]:
    """The parts of the page; `measure` is `bench_kernel`, or counts how often that will be called."""
    yield _HEAD
    for core, name in CORES.items():
        if name in board_names():
            yield from _kernel_table(measure, core, load_board(name))
    yield from _training_table(measure)
    yield from _update_table(measure)
    yield from _convolution_table(measure)
    one = measure("dense 64 32", "unicorn", board=CORES["M4"])
    yield _TAIL.format(toolchain=one["toolchain"], counted=one["counted"])


def _kernel_table(measure: Measure, core: str, board: Board) -> Iterator[str]:
    sets, device = kernel_sets(board), _device(board)
    rows = []
    for kernel, counts in CMSIS_NN.items():
        if core not in counts or not _exists(kernel):
            continue
        found = [_try(measure, kernel, device, board=board.name, kernels=k) for k in sets]
        if all(found):
            rows.append(_kernel_row(kernel, counts[core], [f for f in found if f]))
    if not rows:
        return
    command = f"synapcc bench --kernel KERNEL --board {board.name} --kernels SET --device {device}"
    yield _KERNELS.format(core=core, command=command)
    head = ["kernel", "MACs", "CMSIS-NN", *(f"synapcc, {k}" for k in sets)]
    yield _markdown(head, rows)


def _kernel_row(kernel: str, peer: int, found: Sequence[Mapping[str, Any]]) -> list[str]:
    totals = [next(iter(f["total"].values())) for f in found]
    macs = totals[0]["macs"]
    counts = [_per(n, macs) for n in (peer, *(t["instructions"] for t in totals))]
    return [f"`{kernel}`", f"{macs:,}" if macs else "", *counts]


def _training_table(measure: Measure) -> Iterator[str]:
    board = load_board(CORES["M4"])
    best = kernel_sets(board)[-1]
    words = f"--rule RULE --weights int16 --board {board.name} --kernels {best}"
    yield _TRAINING.format(command=f"synapcc bench --kernel NETWORK {words}")
    rows = []
    for network, steps in TRAINING.items():
        for step in steps:
            ram = f"{step.ram:,}" if step.ram else ""
            rows.append([f"`{network}`", step.who, f"{step.instructions:,}", "", ram])
        for rule in RULES:
            given = {"board": board.name, "rule": rule, "weights": "int16", "kernels": best}
            found = measure(network, _device(board), **given)
            learn = found["total"]["learn"]
            counts = [f"{n:,}" for n in (learn["instructions"], learn["worst"]["instructions"], found["ram"])]
            rows.append([f"`{network}`", f"synapcc, {rule}, kernels {best}", *counts])
    yield _markdown(["network", "whose step", "instructions", "worst case", "RAM"], rows)


def _update_table(measure: Measure) -> Iterator[str]:
    board = load_board(CORES["M4"])
    sets = kernel_sets(board)
    words = f"--weights WEIGHTS --rounding ROUNDING --board {board.name} --kernels SET"
    command = f'synapcc bench --kernel "{UPDATE}" {words}'
    yield _UPDATE.format(kernel=UPDATE, peer=UPDATE_PER_WEIGHT, command=command)
    rows = []
    for weights in WEIGHTS:
        for rounding in ROUNDINGS:
            cells = []
            for kernels in sets:
                given = {"weights": weights, "rounding": rounding, "board": board.name, "kernels": kernels}
                learn = measure(UPDATE, _device(board), **given)["total"]["learn"]
                cells.append(_per(learn["instructions"], learn["macs"]))
            rows.append([weights, rounding, *cells])
    yield _markdown(["weights", "rounding", *(f"synapcc, {k}" for k in sets)], rows)


def _convolution_table(measure: Measure) -> Iterator[str]:
    board = load_board(CORES["M4"])
    sets = kernel_sets(board)
    words = f"--rule bp --weights int16 --board {board.name} --kernels SET"
    yield _CONVOLUTIONS.format(command=f"synapcc bench --kernel KERNEL {words}")
    rows = []
    for kernel in CONVOLUTIONS:
        given = {"weights": "int16", "board": board.name, "rule": "bp"}
        found = [measure(kernel, _device(board), kernels=k, **given)["total"]["learn"] for k in sets]
        macs = found[0]["macs"]
        rows.append([f"`{kernel}`", f"{macs:,}", *(_per(f["instructions"], macs) for f in found)])
    yield _markdown(["kernel", "MACs", *(f"synapcc, {k}" for k in sets)], rows)


def _device(board: Board) -> str:
    return "unicorn" if board.emulator.unicorn else "qemu"


def _exists(kernel: str) -> bool:
    """Whether this synapcc has the op of the kernel."""
    try:
        parse(kernel)
    except SynapccError:
        return False
    return True


def _try(measure: Measure, kernel: str, device: str, **options: str) -> dict[str, Any] | None:
    """None where the kernel does not fit into the board."""
    try:
        return measure(kernel, device, **options)
    except SynapccError as error:
        if not any(words in error.what for words in _TOO_LARGE):
            raise
        return None


def _per(count: int, macs: int) -> str:
    return f"{count:,} ({count / macs:.2f})" if macs else f"{count:,}"


def _markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * min(2, len(head)) + ["---:"] * (len(head) - 2), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def write(path: Path) -> None:
    """Measures everything and writes the page. Raises SynapccError."""
    check_target(path)
    total = 0

    def count(*_words: str, **_options: str) -> dict[str, Any]:
        nonlocal total
        total += 1
        figures = {"instructions": 1, "macs": 1, "worst": {"instructions": 1}}
        return {"total": {"learn": figures}, "ram": 1, "toolchain": "", "counted": ""}

    for _ in pages(count):
        pass
    with Progress("counting", total) as bar:

        def measure(kernel: str, device: str, **options: str) -> dict[str, Any]:
            report = bench_kernel(kernel, device, **options)
            bar.step(note=kernel)
            return report

        page = "\n".join(pages(measure))
    write_whole(path, page.encode())


@guarded()
def main() -> int:
    parser = Parser(prog="python -m synapcc.host.bench.table", description=__doc__)
    parser.add_argument("file", type=Path, help="where the page goes")
    try:
        write(parser.parse_args().file)
    except SynapccError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
