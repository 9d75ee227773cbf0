"""docs/IMPORT_ONNX.md lists the operators that are taken."""

from __future__ import annotations

from pathlib import Path

from synapcc.gen.importers.onnx.fold import FOLDABLE
from synapcc.gen.importers.onnx.operators import supported

PAGE = Path(__file__).resolve().parents[3] / "docs" / "IMPORT_ONNX.md"
HEAD = "| operator | of it |\n|---|---|\n"


def test_the_page_lists_exactly_the_operators_of_the_table() -> None:
    rows = PAGE.read_text().split(HEAD)[1].split("\n\n")[0].splitlines()
    assert [row.split("|")[1].strip() for row in rows] == sorted(supported())


def test_the_page_lists_what_else_constants_are_computed_by() -> None:
    (line,) = (text for text in PAGE.read_text().splitlines() if text.startswith("Constants may be computed"))
    words = set(line.replace(",", " ").replace(".", " ").split())
    assert {op for op in FOLDABLE if op not in supported()} | {"ConstantOfShape"} <= words
