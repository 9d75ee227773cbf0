"""What the frozen front of a network says of an input, computed once: its answers, by the input's bytes.

Where the first layers are frozen, many passes over the same samples run them again and again with the same
outcome. An emulator with a `FixedPart` looks the outcome up; whatever a later step reads is the same, byte
for byte, and only the scratch of the skipped steps differs.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synapcc.gen.ir.plan import Plan
from synapcc.gen.ir.program import Item, Repeat, Step
from synapcc.gen.ir.walk import Active
from synapcc.gen.ops import changed

FORWARD = "forward"
ROOM = 1 << 28  # bytes of answers to samples that are kept, and of answers to batches


class Kept:
    """Answers by what they answer: at most `room` bytes of both, the oldest go first."""

    def __init__(self, room: int) -> None:
        self.room, self.size = room, 0
        self._held: dict[bytes, bytes] = {}

    def __len__(self) -> int:
        return len(self._held)

    def get(self, key: bytes) -> bytes | None:
        return self._held.get(key)

    def put(self, key: bytes, answer: bytes) -> None:
        if key in self._held:
            return
        self._held[key] = answer
        self.size += len(key) + len(answer)
        while self.size > self.room:
            oldest = next(iter(self._held))
            self.size -= len(oldest) + len(self._held.pop(oldest))


class FixedPart:
    """The leading items of `forward` that read nothing but inputs, constants and each other's results.

    steps:   their steps as they run, those of a loop once a turn; none if the first reads what can change,
             or none reads an input
    inside:  the programs of its loops, whose steps are among these
    inputs:  the plan's inputs that they read
    outputs: what they write and any other step reads
    key:     equal for plans whose fixed parts come to the same: steps, constants and formats
    """

    def __init__(self, plan: Plan) -> None:
        made: set[str] = set()
        items: list[Step | Repeat] = []
        for item in plan.programs[FORWARD].items:
            inside = self._inside(plan, item)
            if inside is None or not all(self._adds(plan, step, made) for step in inside):
                break
            assert isinstance(item, Step | Repeat)
            items.append(item)
        once = [step for item in items for step in self._inside(plan, item) or ()]
        if not {name for s in once for name in s.args.values()} & {*plan.inputs}:
            items, once = [], []
        made = {name for step in once for name in changed(step).values()}
        self._items = len(items)
        self.inside = frozenset(item.program for item in items if isinstance(item, Repeat))
        turns = [(item.times if isinstance(item, Repeat) else 1, self._inside(plan, item)) for item in items]
        steps = [step for times, inside in turns for step in (inside or ()) * times]
        self.steps = tuple(steps)
        read = {name for s in once for name in s.args.values()}
        self.inputs = tuple(n for n in plan.inputs if n in read)
        rest = [s for _, _, s in plan.ops() if not any(s is own for own in once)]
        wanted = {name for s in rest for name in s.args.values()}
        self.outputs = tuple(t.name for t in plan.tensors if t.name in made & wanted)
        self.key = _digest(plan, [(n, inside or ()) for n, inside in turns], sorted(read), self.outputs)
        self._known = Kept(ROOM)
        self._blocks = Kept(ROOM)  # whole batches come again: one look-up for all

    def __len__(self) -> int:
        """How many items of `forward` it stands for."""
        return self._items

    @staticmethod
    def _inside(plan: Plan, item: Item) -> tuple[Step, ...] | None:
        """The step itself, or those of a loop; None where there is more in it."""
        if isinstance(item, Step):
            return (item,)
        found = plan.programs[item.program].items if isinstance(item, Repeat) else ()
        steps = tuple(i for i in found if isinstance(i, Step))
        return steps if found and len(steps) == len(found) else None

    def _adds(self, plan: Plan, step: Step, made: set[str]) -> bool:
        """Whether a step may stand behind those that made `made`, which what it writes joins then."""
        fixed = self._fixed(plan, step, made)
        made |= {*changed(step).values()} if fixed else set()
        return fixed

    @staticmethod
    def _fixed(plan: Plan, step: Step, made: set[str]) -> bool:
        known = made | set(plan.inputs) | set(changed(step).values())
        return all(
            plan[name].space == "const" or (plan[name].space == "arena" and name in known)
            for name in step.args.values()
        )

    def run(
        self,
        views: Mapping[str, NDArray[Any]],
        devices: int,
        active: Active,
        step: Callable[[Step, Active], None],
    ) -> None:
        """Fills `outputs` of the active devices; `step` runs a step for those whose inputs are new."""
        rows = np.arange(devices) if active is None else active
        given = np.concatenate([views[n][rows] for n in self.inputs], axis=1)
        block = hashlib.sha256(given.tobytes()).digest()
        whole = self._blocks.get(block)
        if whole is None:
            whole = self._answers(given, views, rows, step)
            self._blocks.put(block, whole)
        answers = np.frombuffer(whole, np.uint8).reshape(len(rows), -1)
        at = 0
        for name in self.outputs:
            view = views[name]
            width = view[:1].nbytes
            part = np.ascontiguousarray(answers[:, at : at + width]).view(view.dtype)
            view[rows] = part.reshape(len(rows), *view.shape[1:])
            at += width

    def _answers(
        self,
        given: NDArray[Any],
        views: Mapping[str, NDArray[Any]],
        rows: NDArray[np.intp],
        step: Callable[[Step, Active], None],
    ) -> bytes:
        """`outputs` of the devices `rows`, whose inputs are `given`, a row each."""
        keys = [row.tobytes() for row in given]
        known = [self._known.get(key) for key in keys]
        if new := [i for i, answer in enumerate(known) if answer is None]:
            for item in self.steps:
                step(item, rows[new])
            found = [_bytes(views[n][rows[new]]) for n in self.outputs]
            for i, answer in zip(new, np.concatenate(found, axis=1), strict=True):
                known[i] = answer.tobytes()
                self._known.put(keys[i], answer.tobytes())
        return b"".join(answer for answer in known if answer is not None)


def _bytes(array: NDArray[Any]) -> NDArray[np.uint8]:
    return np.ascontiguousarray(array).reshape(len(array), -1).view(np.uint8)


def _digest(
    plan: Plan, turns: Sequence[tuple[int, tuple[Step, ...]]], names: list[str], outputs: tuple[str, ...]
) -> bytes:
    text = [[n, [[s.kernel, dict(s.args), dict(s.attrs)] for s in steps]] for n, steps in turns]
    tensors = [
        [n, plan[n].dtype, plan[n].shape, plan[n].lo, plan[n].hi, plan[n].meaning.to_json()] for n in names
    ]
    mark = hashlib.sha256(json.dumps([text, tensors, outputs], sort_keys=True).encode())
    for name in names:
        mark.update(plan[name].data or b"")
    return mark.digest()
