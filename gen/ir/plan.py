"""The Plan: tensors and named programs in integers. All that C and emulator share, beside gen.numeric.

Canonical form: JSON with sorted keys and no white space; tensor contents as base64 of their little-endian
bytes. The digest is the SHA-256 of that text. Equal inputs give equal bytes, and no byte depends on the
choice of kernels.
"""

from __future__ import annotations

import base64
import difflib
import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import SynapccError, shown
from ..numeric import NUMERIC_VERSION
from .format import Meaning
from .inputs import Input
from .program import Call, Entry, Item, Program, Repeat, Space, Step, When, reached
from .quantiser import InputQuantiser, Quantiser, plain
from .roles import GOOD, LEARNED, ROLES, USES, Use

PLAN_VERSION = 2
LEARNING = ("learn", "learn_target", "learn_input")
"""Entry programs that learn from a sample: its class, numbers given for it, or the sample itself."""
UNLABELLED = "learn_unlabelled"
"""The entry program that learns from a sample under the network's own verdict."""
PUSH, MARK, DENY = "push", "mark", "deny"
"""The entry programs of a front end: one takes raw samples, one labels a window late, one says late which
class a window was not."""
SCORE = "score"
"""The entry program that scores a sample without learning it, where anomalies are watched for."""
SETTLE = "settle"
"""The entry program that a guard adds: the best of the states that it knows is kept."""
EMPTY_STATE = 4  # bytes of a state of nothing: C has no empty struct
ROW_ALIGN = 4  # elements; the layout of tensors with rows is the same on every core


@dataclass(frozen=True, slots=True)
class PlanTensor:
    """A tensor in bytes.

    shape:  logical; the last axis of a tensor with rows is padded to `row` elements
    offset: bytes from the start of its space
    meaning: what its integers stand for; `frac` where v stands for v * 2^-frac
    lo, hi: the saturation limits; every value lies between them at all times
    use:    what it is there for beside its role: "input" is what a caller fills
    note:   a comment; nothing is decided by it
    data:   content of a constant, or what `init` puts into the state
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    row: int
    space: Space
    offset: int
    meaning: Meaning
    lo: int
    hi: int
    role: str
    use: Use = ""
    note: str = ""
    data: bytes | None = None

    @property
    def frac(self) -> int:
        """The n of v / 2^n; NoPowerOfTwo, a CompileError, where the meaning is another."""
        return self.meaning.frac

    @property
    def itemsize(self) -> int:
        return np.dtype(self.dtype).itemsize

    @property
    def stored(self) -> tuple[int, ...]:
        """The shape in memory, rows padded."""
        return (*self.shape[:-1], self.row)

    @property
    def count(self) -> int:
        return math.prod(self.stored)

    @property
    def nbytes(self) -> int:
        return self.count * self.itemsize

    @property
    def about(self) -> str:
        """What comments and tables say of it; may be empty."""
        return ", ".join(text for text in (USES[self.use], self.note) if text)

    @property
    def learned(self) -> bool:
        """Whether learning changes it: a weight, bias or feedback matrix of the state, and no copy of one."""
        return self.space == "state" and self.role in LEARNED and self.use != GOOD

    @property
    def aligned(self) -> bool:
        """True if it begins at a multiple of four bytes on every chip: its words can be read at once."""
        return self.space == "const" or self.offset % 4 == 0

    def array(self) -> NDArray[Any]:
        """The content in logical shape."""
        if self.data is None:
            raise ValueError(f"{self.name} has no content")
        stored = np.frombuffer(self.data, np.dtype(self.dtype).newbyteorder("<")).reshape(self.stored)
        return stored[..., : self.shape[-1]].astype(self.dtype)


def row_length(shape: tuple[int, ...], role: str) -> int:
    """Elements from one row to the next: those of tensors that have rows begin at multiples of four; vectors
    are packed."""
    if len(shape) == 2 and role != "label":
        return -(-shape[1] // ROW_ALIGN) * ROW_ALIGN
    return shape[-1]


def padded(array: NDArray[Any], row: int) -> bytes:
    """Little-endian bytes of `array` with its last axis padded with zeros to `row`."""
    out = np.zeros((*array.shape[:-1], row), array.dtype.newbyteorder("<"))
    out[..., : array.shape[-1]] = array
    return out.tobytes()


@dataclass(frozen=True)
class Plan:
    """A compiled model.

    entry_points: programs that a caller may start, numbered as the C numbers them; `entries`, their names
    inputs:  the network's inputs, in the order of the C struct; `input_shapes` of one sample, and
             `input_sources`, their names, as the model file has them
    logits:  the tensor of `classes` scores; of one, where something learns and there are two classes
    infer_arena_bytes: of the arena that `infer` has of its own, at the same offsets as in the one of all
             programs; 0 where it shares that one
    quantisers: of the inputs that the network normalises; `quantiser` gives that of any
    """

    model: str
    tensors: tuple[PlanTensor, ...]
    programs: Mapping[str, Program]
    entry_points: tuple[Entry, ...]
    inputs: tuple[str, ...]
    input_shapes: tuple[tuple[int, ...], ...]
    input_sources: tuple[str, ...]
    logits: str
    classes: int
    state_bytes: int
    arena_bytes: int
    head: str = "none"
    numeric_version: int = NUMERIC_VERSION
    quantisers: Mapping[str, Quantiser] = field(default_factory=dict)
    infer_arena_bytes: int = 0
    _by_name: dict[str, PlanTensor] = field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        # one for each: `replace` would hand a Plan of other tensors the dict of this one
        object.__setattr__(self, "_by_name", {t.name: t for t in self.tensors})

    def __getitem__(self, name: str) -> PlanTensor:
        """A tensor; NoSuchTensor, a KeyError, names those that there are."""
        if name not in self._by_name:
            raise NoSuchTensor(self, name)
        return self._by_name[name]

    def __contains__(self, name: str) -> bool:
        return name in self._by_name

    @cached_property
    def entries(self) -> tuple[str, ...]:
        """The names of the entry programs."""
        return tuple(e.name for e in self.entry_points)

    def entry(self, name: str) -> Entry:
        """The entry program of that name, which must be one of `entries`."""
        return self.entry_points[self.entries.index(name)]

    def quantiser(self, name: str) -> InputQuantiser:
        """How input `name` becomes integers."""
        return self.quantisers.get(name) or plain(self[name].meaning, self[name].dtype)

    @cached_property
    def learning(self) -> str:
        """The entry program that learns from one sample; "" where nothing learns."""
        return next((name for name in LEARNING if name in self.entries), "")

    @property
    def numbers(self) -> bool:
        """Whether numbers are learned, and no classes."""
        return self.learning in LEARNING[1:]

    @property
    def streams(self) -> bool:
        """Whether a front end takes raw samples: the entry program `push`, which says whether it ended in a
        verdict."""
        return PUSH in self.entries and {"push_made", "push_ago"} <= self._by_name.keys()

    @property
    def watches(self) -> bool:
        """Whether anomalies are watched for: the entry program `score`."""
        said = {f"anomaly_{name}" for name in ("score", "threshold", "alarm")}
        return SCORE in self.entries and said <= self._by_name.keys()

    @property
    def marks(self) -> bool:
        """Whether windows of a front end may be labelled late: the entry program `mark`."""
        return MARK in self.entries and {"mark_ago", "mark_found"} <= self._by_name.keys()

    @property
    def denies(self) -> bool:
        """Whether somebody may say late which class a window was not: the entry program `deny`."""
        return self.marks and DENY in self.entries

    @property
    def scores(self) -> int:
        """How many scores there are: one a class, or one for two classes."""
        return self[self.logits].shape[0]

    @property
    def shared(self) -> bool:
        """Whether `infer` works where every program does, and so must wait until that has ended."""
        return not self.infer_arena_bytes

    @cached_property
    def of_infer(self) -> frozenset[str]:
        """The arena tensors that program `infer` reads or writes, inputs included."""
        return of_program(self.programs, "infer", self.inputs) & {t.name for t in self.space("arena")}

    @cached_property
    def depth(self) -> int:
        """How deep calls nest at most in an entry program; at least 2, as compilers want room below."""

        def below(name: str) -> int:
            items = self.programs[name].items
            return 1 + max((below(i.program) for i in items if not isinstance(i, Step)), default=0)

        return max(2, *map(below, self.entries))

    @property
    def run_bytes(self) -> int:
        """Bytes in RAM that say what runs, and where a run in slices is: 6 a level of calls, and marks."""
        return -(-(6 * self.depth + 2 + (not self.shared)) // 4) * 4

    @property
    def ram_bytes(self) -> int:
        """Bytes of RAM of a model: sizeof(<model>_t)."""
        return (self.state_bytes or EMPTY_STATE) + self.arena_bytes + self.infer_arena_bytes + self.run_bytes

    @cached_property
    def interface(self) -> tuple[Input, ...]:
        """What a caller fills, as data files name and shape it."""
        return tuple(map(Input, self.inputs, self.input_shapes, self.input_sources))

    @cached_property
    def by_row(self) -> frozenset[str]:
        """Weights and biases whose rows differ in Q format: their steps shift each row by its own number."""
        found = set()
        for _, _, step in self.ops():
            shift = self._by_name.get(step.args.get("s", ""))
            if shift and shift.role == "shift" and np.ptp(shift.array()):
                found |= {step.args[role] for role in ("w", "b") if role in step.args}
        return frozenset(name for name in found if self[name].space == "const")

    def q(self, t: PlanTensor) -> str:
        """The Q format of a tensor as text; empty for what is counted, packed or an index and has none."""
        if not ROLES[t.role].scaled:
            return ""
        return "Q by row" if t.name in self.by_row else str(t.meaning)

    def space(self, space: Space) -> tuple[PlanTensor, ...]:
        return tuple(t for t in self.tensors if t.space == space)

    def ops(self) -> tuple[tuple[str, int, Step], ...]:
        """Every step once: (program, position, step), numbered as the emitted C numbers them."""
        return tuple(
            (p.name, i, item)
            for p in self.programs.values()
            for i, item in enumerate(p.items)
            if isinstance(item, Step)
        )

    @cached_property
    def canonical(self) -> bytes:
        return json.dumps(_to_json(self), sort_keys=True, separators=(",", ":")).encode()

    @cached_property
    def digest(self) -> bytes:
        """SHA-256 of the canonical form, 32 bytes."""
        return hashlib.sha256(self.canonical).digest()


def of_program(programs: Mapping[str, Program], name: str, inputs: Iterable[str]) -> frozenset[str]:
    """What a run of program `name` reads or writes, its inputs included, in any space."""
    items = [i for p in reached(programs, name) for i in programs[p].items]
    operands = {operand for i in items if isinstance(i, Step) for operand in i.args.values()}
    return frozenset({*operands, *(i.flag for i in items if isinstance(i, When)), *inputs})


class NoSuchTensor(SynapccError, KeyError):
    """A name that no tensor of a Plan has. The message has those that are nearest, and all that persist."""

    def __init__(self, plan: Plan, name: object) -> None:
        near = difflib.get_close_matches(str(name), [t.name for t in plan.tensors], 3)
        meant = f"did you mean {' or '.join(near)}? " if near else ""
        others = [t.name for t in plan.tensors if t.space == "arena"]
        state = ", ".join(t.name for t in plan.space("state")) or "none"
        hint = f"{meant}persistent tensors: {state}; of one run: {', '.join(others)}"
        super().__init__(plan.model, f"there is no tensor {shown(repr(name))}", hint)

    def __str__(self) -> str:  # a KeyError shows the repr of its argument
        return Exception.__str__(self)


def _item_json(item: Item) -> dict[str, Any]:
    if isinstance(item, Step):
        return {"kernel": item.kernel, "node": item.node, "args": dict(item.args), "attrs": dict(item.attrs)}
    if isinstance(item, Call):
        return {"call": item.program}
    if isinstance(item, Repeat):
        return {"repeat": item.program, "times": item.times}
    return {"when": item.flag, "call": item.program}


def _to_json(plan: Plan) -> dict[str, Any]:
    tensors = [
        {
            "name": t.name,
            "dtype": t.dtype,
            "shape": t.shape,
            "row": t.row,
            "space": t.space,
            "offset": t.offset,
            **t.meaning.to_json(),
            "lo": t.lo,
            "hi": t.hi,
            "role": t.role,
            "use": t.use,
            "note": t.note,
            "data": None if t.data is None else base64.b64encode(t.data).decode(),
        }
        for t in plan.tensors
    ]
    programs = [
        {"name": p.name, "doc": p.doc, "items": [_item_json(i) for i in p.items]}
        for p in plan.programs.values()
    ]
    return {
        "plan_version": PLAN_VERSION,
        "numeric_version": plan.numeric_version,
        "model": plan.model,
        "tensors": tensors,
        "programs": programs,
        "entries": [{"name": e.name, "inputs": e.inputs, "label": e.label} for e in plan.entry_points],
        "inputs": plan.inputs,
        "input_shapes": plan.input_shapes,
        "input_sources": plan.input_sources,
        "logits": plan.logits,
        "classes": plan.classes,
        "state_bytes": plan.state_bytes,
        "arena_bytes": plan.arena_bytes,
        "infer_arena_bytes": plan.infer_arena_bytes,
        "head": plan.head,
        "quantisers": {n: q.to_json() for n, q in plan.quantisers.items()},
    }
