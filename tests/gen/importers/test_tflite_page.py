"""docs/IMPORT_TFLITE.md lists the operators that are taken."""

from __future__ import annotations

from pathlib import Path

from synapcc.gen.importers.tflite.functions import IN_FLOAT
from synapcc.gen.importers.tflite.operators import FLOAT_ROWS, TFLITE_OPERATORS
from synapcc.gen.importers.tflite.values import SELECTS
from synapcc.gen.importers.tflite.wide import WIDE_OPERATORS

PAGE = Path(__file__).resolve().parents[3] / "docs" / "IMPORT_TFLITE.md"
HEAD = "| operator | int8 | int16 | float32 |\n|---|---|---|---|\n"


def table() -> str:
    """The operators and the numbers that they are taken in."""
    lines = [
        f"| {name} | {_int8(name)} | {_yes(name in WIDE_OPERATORS)} | yes |\n"
        for name in sorted({*TFLITE_OPERATORS, *FLOAT_ROWS})
    ]
    return "".join(lines)


def _yes(taken: bool) -> str:
    return "yes" if taken else ""


def test_the_page_lists_exactly_the_operators_of_the_tables() -> None:
    inside = PAGE.read_text().split(HEAD)[1].split("\n\n")[0] + "\n"
    assert inside == table(), f"put this behind the table's head:\n{table()}"


def _int8(name: str) -> str:
    """Between: in float32, from int8 to int8."""
    return "between" if name in IN_FLOAT else _yes(name in (*TFLITE_OPERATORS, *SELECTS))
