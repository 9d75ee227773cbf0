"""A file of kernels and of what a peer needs for each: counted here, one by one, and held against it."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from synapcc.gen.errors import SynapccError
from synapcc.gen.files.userfile import read_text
from synapcc.gen.target.boards import load_board

from ..terminal.progress import Progress
from ..terminal.text import table

MOST_BYTES = 1 << 16
_KERNEL, _BOARD = "kernel", "board"
_HINT = "the first line names its columns: kernel,m4,m55"


@dataclass(frozen=True, slots=True)
class Shape:
    """A row of the file. peer: instructions on the core of the board; None where nobody counted."""

    kernel: str
    peer: int | None


def read_shapes(path: Path, core: str) -> list[Shape]:
    """The rows of a .csv with the column `kernel` and one for the core, such as m55 for cortex-m55.

    Other columns are for other cores and not looked at. Raises SynapccError.
    """
    where, column = str(path), core.removeprefix("cortex-")
    reader = csv.DictReader(io.StringIO(read_text(path, MOST_BYTES, SynapccError, _HINT)), strict=True)
    try:
        rows, names = list(reader), reader.fieldnames or ()
    except csv.Error as error:
        raise SynapccError(where, f"line {reader.reader.line_num}: {error}", "write it as .csv") from None
    for name in (_KERNEL, column):
        if name not in names:
            raise SynapccError(where, f"has no column {name}", _HINT)
    if not rows:
        raise SynapccError(where, "names no kernel", 'write lines such as "dense 256 128",17118')
    return [_shape(where, number, row, column) for number, row in enumerate(rows, 1)]


def _shape(where: str, number: int, row: Mapping[str, str | None], column: str) -> Shape:
    kernel, count = (row[name] or "" for name in (_KERNEL, column))
    if not kernel.strip():
        raise SynapccError(where, f"row {number} names no kernel", "name one or take the row out")
    if count and not (count.isascii() and count.isdigit() and int(count) > 0):
        raise SynapccError(where, f"{kernel!r}: {count!r} is no count", "write instructions as an integer")
    return Shape(kernel, int(count) if count else None)


def bench_shapes(
    path: Path, device: str, measure: Callable[..., dict[str, Any]], **options: Any
) -> dict[str, Any]:
    """Every kernel of the file on the board, and how many need fewer instructions than the peer does.

    measure: bench_kernel, which gets `device` and `options`
    A kernel that synapcc cannot say, compile or fit into the board stands in the report with the reason.
    Raises SynapccError: a file that is none, a device that counts no instructions, or no kernel that could be
    counted.
    """
    if device.startswith("serial"):
        raise SynapccError("--shapes", "a chip counts cycles, no instructions", "take a virtual device")
    board = load_board(options[_BOARD])
    shapes = read_shapes(path, board.core.cpu)
    rows = []
    with Progress("counting kernels", len(shapes)) as bar:
        for shape in shapes:
            rows.append(_row(shape, device, measure, options))
            bar.step(note=shape.kernel)
    counted = [row for row in rows if row["instructions"] is not None]
    if not counted:
        what = f"no kernel could be counted; {rows[0]['kernel']!r}: {rows[0]['refused']}"
        raise SynapccError(str(path), what, "check --device and --board")
    both = [row for row in counted if row["peer"] is not None]
    return {
        "board": board.name,
        "core": board.core.cpu,
        "device": device,
        "kernels": counted[0]["kernels"],
        "shapes": rows,
        "counted": len(counted),
        "compared": len(both),
        "fewer": sum(row["instructions"] < row["peer"] for row in both),
    }


def _row(
    shape: Shape, device: str, measure: Callable[..., dict[str, Any]], options: Mapping[str, Any]
) -> dict[str, Any]:
    row: dict[str, Any] = {"kernel": shape.kernel, "peer": shape.peer}
    try:
        report = measure(shape.kernel, device, **options)
    except SynapccError as error:
        return {**row, "macs": None, "instructions": None, "kernels": None, "refused": error.what}
    total = next(iter(report["total"].values()))
    got = {key: total[key] for key in ("macs", "instructions")}
    return {**row, **got, "kernels": report["kernels"], "refused": None}


def text(report: Mapping[str, Any]) -> str:
    """A line a kernel, ours beside the peer's, and how many are ahead; then what was not counted, and why."""
    head = ["kernel", "MACs", "peer", "synapcc", "per MAC", "of the peer's"]
    refused = [row for row in report["shapes"] if row["refused"] is not None]
    counted = [row for row in report["shapes"] if row["refused"] is None]
    first = f"{report['board']} ({report['core']}), kernels {report['kernels']}: instructions"
    last = f"{report['fewer']} of {report['compared']} need fewer instructions than the peer"
    reasons = [f"not counted: {row['kernel']}: {row['refused']}" for row in refused]
    return "\n".join([first, "", *table(head, [_cells(row) for row in counted]), "", last, *reasons])


def _cells(row: Mapping[str, Any]) -> list[str]:
    ours, peer, macs = row["instructions"], row["peer"], row["macs"]
    return [
        row["kernel"],
        f"{macs:,}" if macs else "",
        f"{peer:,}" if peer is not None else "",
        f"{ours:,}",
        f"{ours / macs:.2f}" if macs else "",
        f"{ours / peer:.2f}" if peer is not None else "",
    ]
