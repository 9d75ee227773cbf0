"""A second signal of a block, which one of its options names."""

from __future__ import annotations

from ..spec.frontend import BlockSpec
from ..words import nearest, short
from ._tape import FrontTape, Signal


def named(tape: FrontTape, own: BlockSpec, key: str, x: Signal) -> Signal:
    """The signal that option `key` names, frame by frame beside x; CompileError where it is none."""
    name = str(own[key])
    if name not in tape.made:
        what = f'{key} = "{short(name)}" is no signal before it' if name else f"{key} is missing"
        raise tape.error(own, what, f"{nearest(name, tuple(tape.made))}those are {', '.join(tape.made)}")
    found = tape.made[name]
    if (found.frames, found.channels) != (x.frames, x.channels):
        told = (f"{s.frames} frames of {s.channels} channels" for s in (found, x))
        what = "{} has {} with a push, and its own signal {}".format(name, *told)
        raise tape.error(own, what, "name a signal of the same rate and channels")
    return found
