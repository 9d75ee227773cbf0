"""Learns many wearers at once: one emulated (or float) device each, sample by sample.

One pass is what a streaming device does. Each further pass is the program `rehearse` over the samples that
the device kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from synapcc.gen.compile import Compiled
from synapcc.gen.ir.plan import UNLABELLED, Plan
from synapcc.gen.ir.program import Call, Item, Program, Step, Value, When
from synapcc.gen.ir.roles import label_dtype
from synapcc.gen.stages.float_run import RealMachine

from .emulator import Emulator, classify
from .front_cache import FixedPart
from .inputs import quantise_inputs


class Labelled(Protocol):
    """Samples of one wearer, in the order of time."""

    @property
    def label(self) -> NDArray[Any]:
        """[n], the class of each."""

    def inputs(self) -> Mapping[str, NDArray[Any]]:
        """The model's inputs by name, [n, size] each."""

    def __len__(self) -> int: ...


@dataclass(frozen=True)
class Wearers:
    """What the devices of a run get to learn, and what they are tested on, by wearer."""

    learn: Mapping[str, Labelled]
    test: Mapping[str, Labelled]

    @property
    def steps(self) -> int:
        """Samples that the longest wearer learns in one pass."""
        return max(len(b) for b in self.learn.values())


Mark = tuple[float, NDArray[np.int64]]
"""(k, [wearers]): a place within the first pass, 0 < k < 1, and how many samples each has learned there."""

_fixed: dict[bytes, FixedPart] = {}


def fixed_part(plan: Plan) -> FixedPart:
    """What the frozen layers said of the samples so far; plans with the same frozen layers share it."""
    part = FixedPart(plan)
    return _fixed.setdefault(part.key, part)


def _stack(
    wearers: Wearers, names: tuple[str, ...], classes: int
) -> tuple[dict[str, NDArray[Any]], NDArray[np.unsignedinteger], NDArray[np.bool_]]:
    """Inputs [steps, wearers, size], labels and who has a sample at a step, both [steps, wearers]."""
    parts, steps = list(wearers.learn.values()), wearers.steps
    inputs = {}
    for name in names:
        first = parts[0].inputs()[name]
        inputs[name] = np.zeros((steps, len(parts), first.shape[1]), first.dtype)
        for i, p in enumerate(parts):
            inputs[name][: len(p), i] = p.inputs()[name]
    labels = np.zeros((steps, len(parts)), label_dtype(classes))
    active = np.zeros((steps, len(parts)), bool)
    for i, p in enumerate(parts):
        labels[: len(p), i], active[: len(p), i] = p.label, True
    return inputs, labels, active


def _moments(marks: Sequence[Mark]) -> dict[int, list[tuple[int, int]]]:
    """Samples learned -> (index of the mark, wearer) that is reached with that sample."""
    over: dict[int, list[tuple[int, int]]] = {}
    for m, (_, counts) in enumerate(marks):
        for w, count in enumerate(counts):
            over.setdefault(int(count), []).append((m, w))
    return over


def learn_integer(
    plan: Plan,
    wearers: Wearers,
    passes: Sequence[int],
    marks: Sequence[Mark] = (),
    told: Mapping[str, NDArray[np.bool_]] | None = None,
) -> Iterator[tuple[float, NDArray[np.uint8]]]:
    """(k, states [wearers, state_bytes]) after each number of passes k in `passes`: 1 or more, ascending.

    told: by wearer, which samples have a label, where not all do; the others are for `learn_unlabelled`, or
          for nothing where the rule file has no [pseudo]. There are no marks then (ValueError).
    They are settled where the rule file has a guard; learning goes on from where it was.
    Before them come the places within the first pass that `marks` names, ascending. The states are those of
    the devices: they change when the next ones are asked for.
    """
    if told is not None and (marks or any(len(told[n]) != len(p) for n, p in wearers.learn.items())):
        raise ValueError("told is of every sample of every wearer, and leaves no room for marks")
    inputs, labels, active = _stack(wearers, plan.inputs, plan.classes)
    steps, devices = active.shape
    flat = {n: x.reshape(steps * devices, -1) for n, x in inputs.items()}
    quantised = {n: q.reshape(steps, devices, -1) for n, q in quantise_inputs(plan, flat).items()}
    machine = Emulator(plan, devices, fixed=fixed_part(plan))
    sample, begin = np.arange(steps)[:, None], np.zeros(devices, np.int64)
    # Devices know nothing of each other: each goes as far as its own mark says.
    if told is not None:
        _partly_told(machine, quantised, labels, active, [told[name] for name in wearers.learn])
        begin = np.full(devices, steps)
    for k, end in marks:
        machine.learn_many(quantised, labels, active & (begin <= sample) & (sample < end))
        begin = end
        yield k, _settled(machine)
    machine.learn_many(quantised, labels, active & (begin <= sample))
    for n in range(1, max(passes) + 1):
        if n > 1:
            machine.run("rehearse")
        if n in passes:
            yield n, _settled(machine)


def _partly_told(
    machine: Emulator,
    inputs: Mapping[str, NDArray[Any]],
    labels: NDArray[np.unsignedinteger],
    active: NDArray[np.bool_],
    told: Sequence[NDArray[np.bool_]],
) -> None:
    """One pass over samples of which some have a label. told: of each device, [samples]."""
    itself = UNLABELLED in machine.plan.entries
    for t, there in enumerate(active):
        given = np.array([t < len(who) and bool(who[t]) for who in told])
        x = {name: v[t] for name, v in inputs.items()}
        if np.any(there & given):
            machine.learn(x, labels[t], there & given)
        if itself and np.any(there & ~given):
            machine.run(UNLABELLED, there & ~given, inputs=x)


def _settled(machine: Emulator) -> NDArray[np.uint8]:
    """The states as a device has them that stops learning here: with a guard it settles for the best."""
    if "settle" not in machine.plan.entries:
        return machine.state
    going_on = machine.state.copy()
    machine.run("settle")
    settled = machine.state.copy()
    machine.state[...] = going_on
    return settled


def predict_integer(plan: Plan, states: NDArray[np.uint8], wearers: Wearers) -> dict[str, NDArray[np.int64]]:
    """Classes of every wearer's test samples, through that wearer's state."""
    return {
        name: classify(plan, state, _only(plan.inputs, part), fixed=fixed_part(plan)).astype(np.int64)
        for (name, part), state in zip(wearers.test.items(), states, strict=True)
    }


State = dict[str, NDArray[np.generic]]


def learn_float(
    compiled: Compiled,
    wearers: Wearers,
    passes: Sequence[int],
    marks: Sequence[Mark] = (),
) -> Iterator[tuple[float, State]]:
    """The same programs in float32, the baseline of a rule: (k, states by tensor [wearers, ...]) for each k,
    as `learn_integer`."""
    inputs, labels, active = _stack(wearers, compiled.plan.inputs, compiled.plan.classes)
    steps, devices = active.shape
    values, programs = compiled.abstract.values, compiled.abstract.programs
    machine = RealMachine(values, programs, devices, dtype=np.float32)
    flat = compiled.real({n: x.reshape(steps * devices, -1) for n, x in inputs.items()})
    inputs = {n: x.reshape(steps, devices, -1) for n, x in flat.items()}
    over = _moments(marks)
    seen = [{n: v.copy() for n, v in machine.state.items()} for _ in marks]
    for t in range(steps):
        machine.load({n: x[t] for n, x in inputs.items()} | {"label": labels[t][:, None]})
        machine.run("learn", None if active[t].all() else np.flatnonzero(active[t]))
        for m, w in over.get(t + 1, ()):
            for name, v in machine.state.items():
                seen[m][name][w] = v[w]
    for (k, _), state in zip(marks, seen, strict=True):
        yield k, _settled_real(machine, state)
    for n in range(1, max(passes) + 1):
        if n > 1:
            machine.run("rehearse")
        if n in passes:
            yield n, _settled_real(machine, machine.state)


def _settled_real(machine: RealMachine, state: State) -> State:
    """As `_settled`, of a state that the machine may have left behind."""
    if "settle" not in machine.programs:
        return state
    going_on, machine.state = machine.state, {name: v.copy() for name, v in state.items()}
    machine.run("settle")
    settled, machine.state = machine.state, going_on
    return settled


class FloatTest:
    """Classifies every wearer's test samples in float, after each number of passes.

    The leading steps of `forward` that read no state say the same of a sample every time. They run once, on
    the same samples side by side as without this class, so that no sum is added up in another order.
    """

    def __init__(self, compiled: Compiled, wearers: Wearers) -> None:
        self._compiled, self._wearers = compiled, wearers
        values, programs = compiled.abstract.values, compiled.abstract.programs
        forward, fixed = programs["forward"], _front(values, programs)
        front, rest = (replace(forward, items=i) for i in (fixed, forward.items[len(fixed) :]))
        behind = {**programs, "forward": rest}
        self._programs = {**behind, "front": front}
        made = {name for step in fixed for name in step.args.values()}
        read = {name for p in behind.values() for item in p.items for name in _reads(item)}
        kept = (made | set(compiled.plan.inputs)) & (read | {"verdict"})
        self._border = [n for n, v in values.items() if n in kept and v.space == "arena"]
        self._said: dict[str, dict[str, NDArray[np.generic]]] = {}

    def predict(self, learned: State) -> dict[str, NDArray[np.int64]]:
        """Classes of every wearer's test samples, by record, through that wearer's float weights."""
        out = {}
        for i, (name, part) in enumerate(self._wearers.test.items()):
            machine = RealMachine(
                self._compiled.abstract.values, self._programs, len(part), shared=True, dtype=np.float32
            )
            machine.state = {n: v[i : i + 1] for n, v in learned.items()}
            if name not in self._said:
                machine.load(self._compiled.real(_only(self._compiled.plan.inputs, part)))
                machine.run("front")
                self._said[name] = {n: machine.arena[n].copy() for n in self._border}
            else:
                machine.load(self._said[name])
            machine.run("infer")
            out[name] = machine.arena["verdict"][:, 0].astype(np.int64)
        return out


def _front(values: Mapping[str, Value], programs: Mapping[str, Program]) -> tuple[Step, ...]:
    """The leading steps of `forward` without state, if that is what `infer` begins with and runs once."""
    first, *others = programs["infer"].items
    if first != Call("forward") or not all(isinstance(item, Step) for item in others):
        return ()
    found: list[Step] = []
    for item in programs["forward"].items:
        if not isinstance(item, Step) or any(values[n].space == "state" for n in item.args.values()):
            break
        found.append(item)
    return tuple(found)


def _reads(item: Item) -> tuple[str, ...]:
    """The values that an item of a program itself names."""
    if isinstance(item, Step):
        return tuple(item.args.values())
    return (item.flag,) if isinstance(item, When) else ()


def _only(names: tuple[str, ...], part: Labelled) -> dict[str, NDArray[Any]]:
    return {n: x for n, x in part.inputs().items() if n in names}


def right_in_integers(plan: Plan, states: NDArray[np.uint8], base: Labelled) -> float:
    """The mean over the wearers of how often samples of the base's own data are right: what is forgotten.
    states: [wearers, state_bytes]."""
    x, fixed = base.inputs(), fixed_part(plan)
    x = {name: x[name] for name in plan.inputs}
    return float(np.mean([classify(plan, s, x, fixed=fixed) == base.label for s in states]))


def right_in_float(compiled: Compiled, state: State, people: Wearers, base: Labelled) -> float:
    """As `right_in_integers`, of what `learn_float` gives."""
    everyone = Wearers(people.learn, dict.fromkeys(people.test, base))
    test = FloatTest(compiled, everyone).predict(state)
    return float(np.mean([said == base.label for said in test.values()]))
