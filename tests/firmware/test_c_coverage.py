"""The firmware's C is run by its tests: lines and branches, by gcov."""

from __future__ import annotations

from pathlib import Path

import pytest
from bad_line import small_nets
from c_coverage import BRANCHES, FRAMES, LINES, MODELS, Covered, measured, missing, shares, sources, table


def test_shares_count_what_ran() -> None:
    found = {"a.c": Covered({1: 3, 2: 0}, {(1, 0): 2, (1, 1): 0}), "b.c": Covered({5: 1}, {})}
    rows = shares(found)
    assert rows == {"a.c": (1, 2, 1, 2), "b.c": (1, 1, 0, 0), "all": (2, 3, 1, 2)}
    assert table(rows).splitlines()[-1].split() == ["all", "2/", "3", "66.7", "%", "1/", "2", "50.0", "%"]


@pytest.mark.long
def test_the_firmware_is_covered(tmp_path: Path) -> None:
    if why := missing():
        pytest.skip(f"no coverage of C: {why}")
    found = measured(small_nets(70_000, MODELS), tmp_path, FRAMES)
    assert {*found} == {*sources()}, "each file is run by something"
    rows = shares(found)
    ran, lines, taken, ways = rows["all"]
    assert lines > 500 and ways > 200
    assert ran >= LINES * lines and taken >= BRANCHES * ways, table(rows)
