"""Tables as text."""

from __future__ import annotations

from collections.abc import Sequence


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines with aligned columns; columns of numbers are set to the right."""
    cells = [list(head), *[list(map(str, r)) for r in rows]]
    widths = [max(len(r[i]) for r in cells) for i in range(len(head))]
    right = [bool(rows) and all(_number(r[i]) for r in rows) for i in range(len(head))]
    lines = []
    for row in cells:
        columns = zip(row, widths, right, strict=True)
        lines.append("  ".join(c.rjust(w) if r else c.ljust(w) for c, w, r in columns).rstrip())
    return [lines[0], "  ".join("-" * w for w in widths), *lines[1:]]


def _number(text: str) -> bool:
    return text == "" or (text[0] in "-.0123456789" and not any(c.isalpha() for c in text))
