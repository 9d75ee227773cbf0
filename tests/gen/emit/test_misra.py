"""The list of MISRA deviations, and what `make lint` does with it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from misra import LIST, check, deviations, idle, unlisted


def test_every_row_of_the_list_is_read_and_has_a_reason() -> None:
    text = LIST.read_text(encoding="utf-8")
    rows = re.findall(r"^\| `", text, flags=re.MULTILINE)
    names = re.findall(r"^\| `([^`]*)`", text, flags=re.MULTILINE)
    listed = deviations(text)
    assert len(set(names)) == len(names) == len(rows) > 30
    assert listed["emitted"] | listed["firmware"] == set(names)
    assert "misra-15.6" in listed["firmware"] and "misra-15.6" not in listed["emitted"]


def test_a_finding_that_is_not_listed_and_one_that_is_listed_for_nothing_fail() -> None:
    found = {"misra-1.1": ["a.c:3 x", "a.c:4 x"], "misra-2.2": ["b.c:1 x"]}
    assert unlisted(found, {"misra-2.2"}, "emitted") == [
        "emitted: misra-1.1 is not listed in docs/MISRA.md: a.c:3 x, and 1 more"
    ]
    assert unlisted(found, set(found), "emitted") == idle(found, set(found), "emitted") == []
    assert idle(found, {*found, "misra-3.1"}, "firmware") == [
        "firmware: misra-3.1 is listed, but nothing violates it"
    ]


def test_what_the_add_on_leaves_where_it_runs_goes_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cppcheck = tmp_path / "cppcheck"
    cppcheck.write_text("#!/bin/sh\ntouch 1.ctu-info\necho 'misra-c2012-1.1|a.c|3|x' >&2\n")
    cppcheck.chmod(0o755)
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    assert check(str(cppcheck), [tmp_path / "a.c"], ()) == {"misra-1.1": ["a.c:3 x"]}
    assert list(here.iterdir()) == []
