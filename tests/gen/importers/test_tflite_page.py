"""docs/IMPORT_TFLITE.md lists the operators that are taken."""

from __future__ import annotations

from pathlib import Path

from synapcc.gen.importers._tflite_operators import FLOAT_ROWS, TFLITE_OPERATORS
from synapcc.gen.importers._tflite_pointwise import IN_FLOAT

PAGE = Path(__file__).resolve().parents[3] / "docs" / "IMPORT_TFLITE.md"
HEAD = "| operator | int8 | float32 |\n|---|---|---|\n"


def table() -> str:
    """The operators and the numbers that they are taken in."""
    lines = [
        f"| {name} | {'yes' if name in TFLITE_OPERATORS else 'between' if name in IN_FLOAT else ''} | yes |\n"
        for name in sorted({*TFLITE_OPERATORS, *FLOAT_ROWS})
    ]
    return "".join(lines)


def test_the_page_lists_exactly_the_operators_of_the_tables() -> None:
    inside = PAGE.read_text().split(HEAD)[1].split("\n\n")[0] + "\n"
    assert inside == table(), f"put this behind the table's head:\n{table()}"
