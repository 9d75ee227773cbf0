"""Labels as people give them, late: windows that were answered wait in the state for one.

mark       (entry)  with a label and how many raw frames ago its moment was: the window that is nearest to
                    that goes back into the network's inputs, and learns. Without one near enough nothing is
                    learned, and `mark_found` says so
mark_learn          the window out of its row, and learn
deny       (entry)  as mark, with a class that the window was not, where [mark] asks for it
deny_learn          the window out of its row, and learn_but: the likeliest other class is its label
forget_learn        the oldest window, for which no label has come: learn_unlabelled, where there is [pseudo]

The moment of a window about an event is the event's; of one that a clock ends, the middle.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from ..errors import CompileError
from ..frontends import Feed, FrontTape, Sliding
from ..ir.plan import DENY, LEARNING, MARK
from ..ir.program import Entry, Value
from ..ir.roles import STREAM
from ..ops.pending import MOST
from ..rules import RuleTape
from .tables import read_row, write_row

TEACH, FORGET = "mark_learn", "forget_learn"
DENIED, ALL_BUT = "deny_learn", "learn_but"
AGO, FOUND = "mark_ago", "mark_found"


class Pending:
    """The windows that wait, in tables of the state, a row each."""

    def __init__(self, tape: RuleTape, made: FrontTape, feeds: Sequence[Feed]) -> None:
        mark = tape.spec.mark
        assert mark is not None
        self.tape, self.made, self.b, self.rows = tape, made, tape.b, mark.pending
        if LEARNING[0] not in tape.b.programs:
            what = "labels windows, and this rule learns none from a label"
            raise CompileError("mark", what, "leave [mark] out, or take a rule that does")
        first = next(f for f in feeds if isinstance(f, Sliding))
        front = made.front
        ratio = Fraction(front.push, first.x.frames)  # raw frames of one of the window
        behind = round((first.after if first.at else first.length // 2) * ratio)
        self.numbers = {"rows": self.rows, "frames": front.push}
        self.enters = {"every": ratio.numerator, "part": ratio.denominator, "behind": behind}
        self.within = round(mark.within * front.rate / 1000)
        if max(self.within, behind) > MOST:
            raise CompileError("mark", f"within = {mark.within:g} ms is too long", "give less")
        self.inputs = [(tape.value(f.input), f"pending_{f.input}") for f in feeds]
        for x, table in self.inputs:
            size = self.b.values[x].size
            role, empty = self.b.values[x].role, np.zeros((self.rows, size), np.int8)
            tape.add(Value(table, empty.shape, "state", role, ints=empty, tie=x, use=STREAM))
        self.clock = made.counter("pending_clock", "pushes so far")
        self.next = made.counter("pending_next", "the row of the next window")
        self.open = made.counter("pending_open", "1 for each row without a label", size=self.rows)
        self.moments = made.counter("pending_moments", "frames at which each window stands", size=self.rows)

    def tick(self) -> None:
        """A push has come."""
        self.b.step("counter.tick", "pending", {"count": self.clock})

    def enter(self) -> None:
        """The inputs take a row."""
        for x, table in self.inputs:
            write_row(self.b, "pending", x, self.next, table)
        args = {"clock": self.clock, "ago": "push_ago", "moments": self.moments, "open": self.open}
        self.b.step("pending.enter", "pending", args | {"next": self.next}, **self.numbers, **self.enters)

    def forget(self, unlabelled: str) -> None:
        """What has no label when its row is needed learns under the network's own."""
        due = self.tape.flag("pending_due")
        args = {"open": self.open, "next": self.next, "flag": due}
        self.b.step("pending.oldest", "pending", args, rows=self.rows)
        self.b.when(due, FORGET)
        with self.b.program(FORGET, "the oldest window, which nobody labelled"):
            self._take(self.next)
            self.b.call(unlabelled)

    def entries(self) -> list[Entry]:
        """The entry programs `mark` and, where it is asked for, `deny`."""
        ago = self.b.add(Value(AGO, (1,), "arena", "counter", use="input"))
        due, index = (
            self.tape.flag("mark_due"),
            self.made.counter("mark_row", "the row that was labelled last"),
        )
        found = self.made.counter(FOUND, "1 where the last label found its window")
        args = {"ago": ago, "clock": self.clock, "moments": self.moments, "open": self.open}
        args |= {"found": found, "row": index, "flag": due}
        mark = self.tape.spec.mark
        said = [(MARK, TEACH, LEARNING[0], "a label for", "labelled")]
        if mark and mark.deny:
            said.append((DENY, DENIED, ALL_BUT, "a class that is denied of", "denied a class"))
        for entry, then, learn, what, done in said:
            with self.b.program(entry, f"{what} the window that stood so many raw frames before"):
                self.b.step("pending.find", entry, args, **self.numbers, within=self.within)
                self.b.when(due, then)
            with self.b.program(then, f"the window that was {done}, learned"):
                self._take(index)
                self.b.call(learn)
        return [Entry(entry, (ago,), label=True) for entry, *_ in said]

    def _take(self, index: str) -> None:
        """A row into the inputs."""
        for x, table in self.inputs:
            read_row(self.b, "pending", table, index, x)
