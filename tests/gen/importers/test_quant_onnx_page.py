"""docs/IMPORT_ONNX.md names the operators on integers that are taken."""

from __future__ import annotations

import re
from pathlib import Path

from synapcc.gen.importers.onnx.qlinear import TOLD
from synapcc.gen.importers.onnx.quant import INTEGER

PAGE = Path(__file__).resolve().parents[3] / "docs" / "IMPORT_ONNX.md"


def test_the_page_names_exactly_the_operators_on_integers() -> None:
    told = set(re.findall(r"\b(?:QLinear[A-Z]\w+|QGemm|\w+Integer)\b", PAGE.read_text()))
    assert told == {*(op for _, op in TOLD), *INTEGER}
