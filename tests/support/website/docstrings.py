"""Our docstrings are plain text; the site takes them for Markdown. What stands between is here.

A paragraph whose lines begin with `name: ` becomes a list, and what Markdown would take for markup, and is
none, is text: `<model>_learn`, `[n, *shape]`.
"""

from __future__ import annotations

import re
from typing import Any

import griffe

NAMED = re.compile(r"^(\*{0,2}\w+(?:, \*{0,2}\w+)*):\s+(.*)$")


def markdown(text: str) -> str:
    """A docstring as Markdown."""
    return "\n\n".join(_paragraph(p) for p in re.split(r"\n\s*\n", text))


def _paragraph(text: str) -> str:
    lines = text.split("\n")
    if all(line.startswith("    ") for line in lines):  # a formula, or an example
        return text
    if lines[0].startswith("* "):  # a list already
        return "\n".join(
            f"* {_plain(x[2:])}" if x.startswith("* ") else f"    {_plain(x.strip())}" for x in lines
        )
    if not NAMED.match(lines[0]):
        return _plain(text)
    out: list[str] = []
    for line in lines:
        if found := NAMED.match(line):
            out.append(f"* **{_plain(found[1])}**: {_plain(found[2])}")
        else:
            out.append(f"    {_plain(line.strip())}")
    return "\n".join(out)


def _plain(text: str) -> str:
    """Text outside of backticks, without what is markup to Markdown."""
    parts = text.split("`")
    for i in range(0, len(parts), 2):
        parts[i] = re.sub(r"([*_\\])", r"\\\1", parts[i]).replace("<", "&lt;")
    return "`".join(parts)


class Docstrings(griffe.Extension):
    def on_object(self, *, obj: Any, **_: Any) -> None:
        if obj.docstring:
            obj.docstring.value = markdown(obj.docstring.value)
