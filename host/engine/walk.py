"""Walks a tape: what the compiled engine runs, one function for all Plans.

A tape is [rows, 4] int64: STEP function parameters; LOOP slot times; NEXT slot target; UNLESS space offset
target; TAKE; END. Targets are rows. host/engine/jit.py compiles it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..link.checksum import sums
from .jit import call, cells, copied, words

STEP, LOOP, NEXT, UNLESS, TAKE, END = range(6)
CONST, STATE, ARENA = range(3)
"""Where an operand lies: at an address, or at an offset in a device's state or arena."""


def walk(
    tape: Any, devices: Any, strides: Any, bases: Any, feeds: Any, active: Any, slots: int, times: int,
    size: int, checksums: Any, takes: Any,
) -> int:  # fmt: skip
    """Runs a tape `times` times on each of `devices`, one device after the other. Returns -1, or the row of a
    step that failed, after which nothing more ran.

    bases, strides: [3], addresses of device 0's memory by place, and bytes from one to the next
    feeds:  [inputs, 6], what is copied before each run: offset in a device's memory, bytes, address, bytes
            from one run to the next, bytes from one device to the next, place of the memory
    takes:  [outputs, 6], the same of what is copied out at a TAKE; what was fed is then fed again
    active: [times, all devices] uint8, which take part in a run; empty for all
    checksums: [times, all devices, SUMS] uint64, the checksum of the state, of `size` bytes, after each run
               goes there; empty if nobody wants it
    """
    base, left = np.zeros(3, np.int64), np.zeros(max(slots, 1), np.int64)
    for device in devices:
        for place in range(3):
            base[place] = bases[place] + device * strides[place]
        for run in range(times):
            if len(active) and not active[run, device]:
                continue
            for f in range(len(feeds)):
                given = feeds[f, 2] + run * feeds[f, 3] + device * feeds[f, 4]
                copied(base[feeds[f, 5]] + feeds[f, 0], given, feeds[f, 1])
            at = 0
            while tape[at, 0] != END:
                op, a, b, c = tape[at, 0], tape[at, 1], tape[at, 2], tape[at, 3]
                at += 1
                if op == STEP:
                    if call(a, b, base.ctypes.data) != 0:
                        return at - 1
                elif op == LOOP:
                    left[a] = b
                elif op == NEXT:
                    left[a] -= 1
                    if left[a] > 0:
                        at = b
                elif op == TAKE:
                    for f in range(len(takes)):
                        out = takes[f, 2] + run * takes[f, 3] + device * takes[f, 4]
                        copied(out, base[takes[f, 5]] + takes[f, 0], takes[f, 1])
                    for f in range(len(feeds)):
                        given = feeds[f, 2] + run * feeds[f, 3] + device * feeds[f, 4]
                        copied(base[feeds[f, 5]] + feeds[f, 0], given, feeds[f, 1])
                elif not cells(base[a] + b, 1)[0]:
                    at = c
            if len(checksums):
                sums(cells(base[STATE], size), words(base[STATE], size), checksums[run, device])
    return -1
