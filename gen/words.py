"""What came from outside, as a message may quote it: cut to a line, and the nearest word that there is."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

SHOWN = 60


def what_is(value: object) -> str:
    """A value as TOML would show it, cut to what fits a line."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f'"{short(value)}"'
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, int) and abs(value) >= 10**20:
        return "a number of more than 20 digits"
    return short(str(value))


def short(text: str) -> str:
    """`text` fit to stand in a one-line message."""
    text = "".join(c if c.isprintable() else "_" for c in text)
    return text if len(text) <= SHOWN else text[: SHOWN - 3] + "..."


def nearest(word: str, known: Sequence[str]) -> str:
    """The beginning of a hint that names what is most like `word`, or nothing."""
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f'did you mean "{near[0]}"? ' if near else ""
