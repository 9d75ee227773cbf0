"""`synapcc verify` in this process, and what it says of a difference."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from synapcc.host.cli import main
from synapcc.host.link import client as client_module
from synapcc.host.link.client import Hello

Capsys = pytest.CaptureFixture[str]
LAST = re.compile(r"verify: (\d+) steps, (\d+) differing bytes")
PLACE = re.compile(r"step (\d+) \((\w+)\): (\w+)((?:\[\d+\])*) expected (-?\d+), got (-?\d+); (.*)")


def verified(
    out: Path, data: Path, steps: int, device: str, capsys: Capsys, *more: str
) -> tuple[int, list[str]]:
    capsys.readouterr()
    words = ["verify", str(out), "--data", str(data), "--steps", str(steps), "--device", device, *more]
    code = main(words)
    said = capsys.readouterr()
    assert "Traceback" not in said.err
    return code, said.out.splitlines()


def reported(lines: list[str]) -> re.Match[str]:
    last = LAST.fullmatch(lines[-1])
    place = PLACE.fullmatch(lines[-2])
    assert last and int(last[2]) > 0 and place, lines
    assert int(place[5]) != int(place[6])
    return place


def keep_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a chip says that has no RAM for samples."""
    fields = dataclasses.fields(client_module.Hello)
    monkeypatch.setattr(
        client_module,
        "Hello",
        lambda **said: Hello(**{f.name: 0 if f.name == "kept" else said[f.name] for f in fields}),
    )
