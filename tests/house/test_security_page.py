"""docs/SECURITY.md names files and tests that are there."""

from __future__ import annotations

import re
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
NAMED = r"((?:`[\w.]+`(?:, | and )?)+) of `((?:host|firmware)/[\w/.]+)`"
PAGE = (REPO / "docs" / "SECURITY.md").read_text(encoding="utf-8")


def test_the_places_are_there() -> None:
    named = set(re.findall(r"`(?:python )?((?:gen|host|firmware|tests)/[\w./]+)", PAGE))
    assert len(named) > 25
    assert not [name for name in named if not (REPO / name).exists()]


def test_the_functions_are_there() -> None:
    """What a row of the table of boundaries calls by name stands in the file that it names."""
    rows = [line.split("|") for line in PAGE.splitlines() if line.startswith("| ") and " of `" in line]
    assert len(rows) == 16
    for row in rows:
        for names, file in re.findall(
            r"((?:`[\w.]+`(?:, | and )?)+) of `((?:host|firmware)/[\w/.]+)`", row[2]
        ):
            text = (REPO / file).read_text(encoding="utf-8")
            for name in re.findall(r"`([\w.]+)`", names):
                assert name.split(".")[-1] in text, (name, file)
