"""Pages that are walked through: files and commands of a page of docs/, and what it says they print.

A fenced block with a title is a file, one of `sh` is commands, one of `text` is what the commands print.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

DOCS = Path(__file__).resolve().parents[2] / "docs"
WALKED = ("START", "OWN_NETWORK", "OWN_DATA", "OWN_RULE", "OWN_BOARD")
_BLOCK = re.compile(r'^```(\w+)(?: title="([^"\n]+)")?\n(.*?)^```$', re.M | re.S)


@dataclass(frozen=True)
class Block:
    """`title`: of a file, else ""."""

    kind: str
    title: str
    text: str

    @property
    def lines(self) -> list[str]:
        return [line for line in self.text.splitlines() if line.strip()]


def blocks(page: str) -> Iterator[Block]:
    """The fenced blocks of a page, in their order."""
    text = (DOCS / f"{page}.md").read_text(encoding="utf-8")
    for kind, title, content in _BLOCK.findall(text):
        yield Block(kind, title, content)


def says(printed: str, line: str) -> bool:
    """Whether a line of `printed` is `line`, however wide its columns are; "..." stands for anything."""
    form = re.escape(" ".join(line.split())).replace(r"\.\.\.", ".*")
    return any(re.fullmatch(form, " ".join(p.split())) for p in printed.splitlines())
