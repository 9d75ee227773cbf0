"""What a block of a front end is. Every other file of this folder is one block: found by looking, registered
nowhere.

A block turns a signal into another one, step by step on a FrontTape, and knows of its rate, channels and
limits, of no network. It brings no arithmetic and no C: kernels of gen/ops do what it says. Frequencies and
times stand in Hz and ms; what these are in samples is settled here, for the rate that the signal has.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar

from .. import discovery
from ..ops.signal import MOST_CHANNELS
from ..spec.frontend import BlockSpec
from ..spec.options import Option
from ._feeds import Beat, Feed, Input, Rhythm, Sliding, Window
from ._tape import FRAC, INT16, Event, FrontTape, Signal

__all__ = [
    "FRAC",
    "INT16",
    "Beat",
    "Block",
    "Event",
    "Feed",
    "FrontTape",
    "Input",
    "Rhythm",
    "Signal",
    "Sliding",
    "Window",
    "block_options",
    "blocks",
    "write",
]


class Block(ABC):
    """One kind of block. `kind` is what a rule file writes; here, it is the file's stem.

    options: what a table [[frontend.block]] may say beside name, kind and from
    most:    channels that its signal may have
    """

    kind: ClassVar[str]
    doc: ClassVar[str]
    options: ClassVar[tuple[Option, ...]] = ()
    most: ClassVar[int] = MOST_CHANNELS

    @abstractmethod
    def write(self, tape: FrontTape, own: BlockSpec, x: Signal) -> Signal | None:
        """Emits the steps that make the block's signal of x; None of what has none, as a window.

        Raises CompileError where the signal's rate, limits or channels do not allow it.
        """


def blocks() -> dict[str, Block]:
    """Every block by kind."""
    found: dict[str, Block] = discovery.instances(Block, "kind", __name__, __path__, "synapcc.frontends")
    return found


def block_options() -> dict[str, Sequence[Option]]:
    """The options of every kind of block: what gen.spec reads a front end with."""
    return {kind: block.options for kind, block in blocks().items()}


def write(tape: FrontTape) -> None:
    """Emits every block of the tape's front end, in their order; `tape.feeds` is what ends in the network."""
    made: dict[str, Signal] = {}
    before = tape.samples()
    made[tape.SAMPLES] = before
    tape.made = made
    known: Mapping[str, Block] = blocks()
    for own in tape.front.blocks:
        if own.source and own.source not in made:
            what = f'reads "{own.source}", which has no signal'
            hint = f'a window stands about events by at = "{own.source}"' if own.source in tape.events else ""
            raise tape.error(own, what, hint or f"signals before it are {', '.join(made)}")
        block, x = known[own.kind], made[own.source] if own.source else before
        if x.channels > block.most:
            what = f"its signal has {x.channels} channels, and {block.most} are the most for {own.kind}"
            raise tape.error(own, what, "take fewer bands, or put it before these")
        found = block.write(tape, own, x)
        if found is not None:
            before = made[own.name] = found
