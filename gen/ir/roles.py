"""What a value may be for, and what follows from it alone: the one table of roles."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import DTypeLike

Role = Literal[
    "activation",  # int8, range from calibration
    "sample",  # int8 or int16, what a caller gives beside the network's inputs, in a declared format
    "signal",  # int32, what a front end makes of samples, and what it keeps of them; in a declared format
    "logits",  # int16, range from calibration
    "gate",  # int16, the sums of a recurrent cell's gates, range from calibration over all steps of time
    "error",  # int16, fixed by the loss kernel
    "loss",  # int32, of one sample, fixed by its kernel
    "teach",  # int16, range from calibration, limit from its consumers
    "trace",  # int16, what a rule keeps of a signal from step to step; its format follows from the signal's
    "sum",  # int32, what changes of learned values add up to; its format follows from that of their products
    "weight",  # frozen: int8, one frac per row; learned: int8 or int16, one frac
    "bias",  # int32 at the frac of its accumulator
    "shift",  # uint8, the requantising shift of each row of a frozen layer
    "multiplier",  # int32, what the sums of each row are multiplied with before that shift
    "table",  # int8 or int16, a function's value for every int8
    "factor",  # int16, what a sum at each place is multiplied with
    "matrix",  # a feedback matrix: fixed: int8; learned: int8 or int16
    "gain",  # int8, the factors of an affine layer
    "constant",  # int8, what is added to an activation or multiplied with it, in a format of its own
    "index",  # uint32, which places of an axis are taken
    "counter",  # uint32
    "flag",  # uint8, 0 or 1
    "label",  # uint8, or uint16 where bytes cannot number the classes
    "verdict",  # int32 [2]: winner and margin
    "scratch",  # int32, partial sums of one step
    "kept",  # uint8, small numbers side by side: what learning keeps of a map
    "relaid",  # a constant in the layout of a kernel set: words, made when the C is emitted
]

Use = Literal["", "input", "stored", "replayed", "again", "good", "first", "stream", "history"]

USES: Mapping[str, str] = {
    "": "",
    "input": "input",
    "stored": "kept samples of the wearer",
    "replayed": "base examples",
    "again": "a second forward pass",
    "good": "of the last good state",
    "first": "as compiled, for the guard",
    "stream": "of the stream of samples",
    "history": "of earlier steps of time",
}
"""What a value is there for beside its role, in words: a caller fills it, it is kept, it came along, a second
forward pass writes it, a guard goes back to it, a front end keeps it from push to push, learning through time
keeps it within a window."""

STORED: Use = "stored"
AGAIN: Use = "again"
GOOD: Use = "good"
FIRST: Use = "first"
STREAM: Use = "stream"
HISTORY: Use = "history"


@dataclass(frozen=True, slots=True)
class RoleFacts:
    """What a role decides.

    dtype:   the type that it has in every Plan; "" where the network decides
    real:    its type when programs run in real numbers; None: that of the run
    top:     its largest value where that is less than its type's
    derived: a constant that follows from the number formats of its step
    scaled:  its integers stand for real numbers, so that a Q format says something
    kind:    what reports call it: "activations", "teaching", "weights" or "other"
    """

    dtype: str = ""
    real: DTypeLike | None = None
    top: int | None = None
    derived: bool = False
    scaled: bool = True
    kind: str = "other"

    @property
    def index(self) -> bool:
        """Whether it is a number of something in every kind of run, not an amount."""
        return self.real is not None


ROLES: Mapping[str, RoleFacts] = {
    "activation": RoleFacts(kind="activations"),
    "sample": RoleFacts(kind="activations"),
    "signal": RoleFacts(kind="activations"),
    "logits": RoleFacts(kind="activations"),
    "gate": RoleFacts(kind="activations"),
    "error": RoleFacts(kind="teaching"),
    "loss": RoleFacts(kind="teaching"),
    "teach": RoleFacts(kind="teaching"),
    "trace": RoleFacts(kind="teaching"),
    "sum": RoleFacts(kind="teaching"),
    "weight": RoleFacts(kind="weights"),
    "bias": RoleFacts(kind="weights"),
    "matrix": RoleFacts(kind="weights"),
    "gain": RoleFacts(kind="weights"),
    "constant": RoleFacts(kind="weights"),
    "shift": RoleFacts(derived=True, scaled=False, kind="weights"),
    "multiplier": RoleFacts(derived=True, scaled=False, kind="weights"),
    "table": RoleFacts(derived=True),
    "factor": RoleFacts(derived=True, scaled=False),
    "index": RoleFacts("uint32", np.uint32, scaled=False),
    "counter": RoleFacts("uint32", np.uint32, scaled=False),
    "flag": RoleFacts("uint8", np.uint8, top=1, scaled=False),
    "label": RoleFacts(real=np.uint16, scaled=False),
    "verdict": RoleFacts("int32", scaled=False),
    "scratch": RoleFacts("int32", scaled=False),
    "kept": RoleFacts("uint8", np.uint8, scaled=False),
    "relaid": RoleFacts(scaled=False),
}


LEARNED: tuple[Role, ...] = ("weight", "bias", "matrix")
"""What learning changes, where it lies in the state."""

MAX_CLASSES = 2**16
"""That labels can number."""


def label_dtype(classes: int) -> str:
    """The type of a label: a byte for as many classes as it can number. None has one beyond MAX_CLASSES."""
    return "uint8" if classes <= 2**8 else "uint16" if classes <= MAX_CLASSES else "uint32"
