"""Tables of samples on a tape: rings of the wearer's labelled ones in RAM, and base examples in flash."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from ..errors import CompileError
from ..ir.program import Builder, Value
from ..rules import RuleTape
from ..spec import BALANCED
from .float_run import spread
from .probe import balanced

Tables = list[tuple[str, str]]
"""What a sample is made of, and the table that holds as many of each."""


@dataclass(frozen=True, slots=True)
class Table:
    """Samples of one kind: `name` begins the names of their values.

    count: the value that says how many there are
    """

    name: str
    tables: Tables
    rows: int
    count: str

    def read(self, tape: RuleTape, node: str, index: str) -> None:
        """Emits what brings the sample that `index` names into the arena."""
        for x, table in self.tables:
            tape.step("samples.read", node, {"table": table, "index": index, "x": x})


def write_row(b: Builder, node: str, x: str, index: str, table: str) -> None:
    """The step that puts x into the row of a table that `index` says."""
    b.step("samples.write", node, {"x": x, "index": index, "table": table})


def read_row(b: Builder, node: str, table: str, index: str, x: str) -> None:
    """The step that takes x out of that row."""
    b.step("samples.read", node, {"table": table, "index": index, "x": x})


def ring(tape: RuleTape, name: str, rows: int, drop: str, program: tuple[str, str]) -> Table:
    """A ring in the state; `program` (its name, what it does) puts the sample in the arena into it."""
    following = tape.counter(f"{name}_next", "where the next sample is kept")
    count = tape.counter(f"{name}_count", "samples kept")
    inputs = [(tape.value(n), f"{name}_{n}") for n in tape.graph.inputs]
    tables = [*inputs, (tape.wanted, f"{name}_{tape.wanted}")] if tape.wanted else inputs
    for x, table in tables:
        tape.memory(table, x, rows)
    with tape.b.program(*program):
        if drop == BALANCED:
            held = tape.add(Value(f"{name}_held", (tape.classes,), "arena", "scratch"))
            sought = {"label": tape.label, "labels": f"{name}_{tape.label}", "count": count}
            tape.step("samples.seek", name, sought | {"next": following, "held": held}, rows=rows)
        for x, table in tables:
            tape.step("samples.write", name, {"x": x, "index": following, "table": table})
        tape.step("samples.advance", name, {"next": following, "count": count}, rows=rows)
    return Table(name, tables, rows, count)


def examples(
    tape: RuleTape, calibration: Mapping[str, np.ndarray], samples: int, name: str, asked: tuple[str, str]
) -> Table:
    """Class-balanced examples of the calibration data, in flash. asked: what of the rule file wants them, and
    how it says that it does not."""
    what = tape.wanted
    if what and what not in calibration:
        hint = f"add an array `{what}`, or {asked[1]}"
        raise CompileError(asked[0], f"the calibration data have no {what}s", hint)
    given = len(calibration[tape.graph.inputs[0]])
    wanted = calibration.get(what)
    alike = wanted is None or tape.spec.numbers
    chosen = spread(given, samples) if alike else balanced(calibration[what], samples)
    rows = len(chosen)
    tables = [(tape.value(n), f"{name}_{n}") for n in tape.graph.inputs]
    for x, table in tables:
        data = calibration[x].reshape(len(calibration[x]), -1)[chosen]
        tape.add(Value(table, data.shape, "const", "activation", data, tie=x, use="replayed"))
    if wanted is not None:
        kept = Value(f"{name}_{what}", (rows, tape.b.values[what].size), "const", tape.b.values[what].role)
        if tape.spec.numbers:
            tape.add(replace(kept, real=wanted[chosen], tie=what, use="replayed"))
        else:
            tape.add(replace(kept, ints=wanted[chosen].astype(np.intp)[:, None]))
        tables.append((what, f"{name}_{what}"))
    return Table(name, tables, rows, tape.counter(f"{name}_count", "base examples in flash", rows, "const"))
