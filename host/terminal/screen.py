"""The border to the terminal: what could steer it is shown as text instead.

Names of files, arrays, layers and boards, and what a chip says, come from outside and stand in what we print.
A terminal obeys some characters (colours, titles, the clipboard, the direction of writing), so none of them
passes. `guarded` puts both output streams behind that border; nothing that prints has to think of it.
"""

from __future__ import annotations

import sys
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO, cast

from synapcc.gen.errors import SynapccError

REFUSED = 2  # exit code of bad input

_LINES = "\n\t"


def one_line(text: object) -> str:
    """What it says, without line breaks."""
    return " ".join(str(text).split())


def complain(command: str, error: object) -> None:
    """Says in one line on standard error what a command refuses; below it, an excerpt if there is one."""
    said, excerpt = (error.line, error.excerpt) if isinstance(error, SynapccError) else (error, "")
    print(
        f"synapcc {command}: {one_line(said)}{notes(error)}", *excerpt.splitlines(), sep="\n", file=sys.stderr
    )


def notes(error: object) -> str:
    """What was added to an error on its way (`add_note`), to be said behind it in the same line."""
    return "".join(f"; {one_line(note)}" for note in getattr(error, "__notes__", ()))


def neutral(text: str, lines: bool = True) -> str:
    """`text` with every control, format, surrogate and unassigned character as its escape, such as \\x1b.

    lines: line breaks and tabs stay; else they are escaped too, for what must not begin a line of its own.
    """
    if (text.replace("\n", "").replace("\t", "") if lines else text).isprintable():
        return text
    return "".join(c if _harmless(c, lines) else _escape(c) for c in text)


def _harmless(c: str, lines: bool) -> bool:
    return c.isprintable() or unicodedata.category(c) == "Zs" or (lines and c in _LINES)


def _escape(c: str) -> str:
    return c.encode("unicode_escape").decode("ascii")


class Guarded:
    """A text stream whose `write` lets nothing through that a terminal obeys; else it is the stream."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        self.stream.write(neutral(text))
        return len(text)

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def steer(self, text: str) -> None:
        """Writes text of ours that is meant to move the cursor."""
        self.stream.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


def steer(stream: TextIO, text: str) -> None:
    """Writes text of ours, no part of which comes from outside, past the border; and at once."""
    (stream.steer if isinstance(stream, Guarded) else stream.write)(text)
    stream.flush()


@contextmanager
def guarded() -> Iterator[None]:
    """Puts standard output and standard error behind the border for as long as it lasts."""
    former = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (s if isinstance(s, Guarded) else cast(TextIO, Guarded(s)) for s in former)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = former
