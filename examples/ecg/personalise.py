"""Learns many wearers at once: one emulated (or float) device each, beat by beat.

One pass is what a streaming device does. Each further pass is the program `rehearse` over the beats that the
device kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from synapcc.gen.compile import Compiled
from synapcc.gen.ir.plan import Plan
from synapcc.gen.ir.program import Call, Item, Program, Step, Value, When
from synapcc.gen.stages.float_run import RealMachine
from synapcc.host.run.emulator import Emulator, classify
from synapcc.host.run.front_cache import FixedPart
from synapcc.host.run.inputs import quantise_inputs

from .beats import Beats
from .protocol import LEARN_SECONDS
from .records import FS


@dataclass(frozen=True)
class Wearers:
    """What the devices of a run get to learn, and what they are tested on, by record."""

    learn: Mapping[str, Beats]
    test: Mapping[str, Beats]

    @property
    def steps(self) -> int:
        """Samples that the longest wearer learns in one pass."""
        return max(len(b) for b in self.learn.values())


_fixed: dict[bytes, FixedPart] = {}


def fixed_part(plan: Plan) -> FixedPart:
    """What the plan's frozen layers said of the beats so far; plans with the same frozen layers share it."""
    part = FixedPart(plan)
    return _fixed.setdefault(part.key, part)


def _stack(
    wearers: Wearers, names: tuple[str, ...]
) -> tuple[dict[str, NDArray[np.float32]], NDArray[np.uint8], NDArray[np.bool_]]:
    """Inputs [steps, wearers, size], labels and who has a sample at a step, both [steps, wearers]."""
    parts, steps = list(wearers.learn.values()), wearers.steps
    inputs = {}
    for name in names:
        size = parts[0].inputs()[name].shape[1]
        inputs[name] = np.zeros((steps, len(parts), size), np.float32)
        for i, p in enumerate(parts):
            inputs[name][: len(p), i] = p.inputs()[name]
    labels = np.zeros((steps, len(parts)), np.uint8)
    active = np.zeros((steps, len(parts)), bool)
    for i, p in enumerate(parts):
        labels[: len(p), i], active[: len(p), i] = p.label, True
    return inputs, labels, active


def _learned(wearers: Wearers, minutes: Sequence[int]) -> NDArray[np.int64]:
    """How many beats each wearer has learned when each of the minutes is over, [minutes, wearers]."""
    counts = [[int((b.sample < m * 60 * FS).sum()) for b in wearers.learn.values()] for m in minutes]
    return np.array(counts, np.int64).reshape(len(minutes), len(wearers.learn))


def _moments(wearers: Wearers, minutes: Sequence[int]) -> dict[int, list[tuple[int, int]]]:
    """Beats learned -> (index of the minute, wearer) whose minute is over with that beat."""
    over: dict[int, list[tuple[int, int]]] = {}
    for (m, w), count in np.ndenumerate(_learned(wearers, minutes)):
        over.setdefault(int(count), []).append((m, w))
    return over


def learn_integer(
    plan: Plan,
    wearers: Wearers,
    passes: Sequence[int],
    minutes: Sequence[int] = (),
) -> Iterator[tuple[float, NDArray[np.uint8]]]:
    """(k, states [wearers, state_bytes]) after each number of passes k in `passes`: 1 or more, ascending.

    Before them come k = m / 5 for the minutes m of the first pass in `minutes`, ascending, each wearer's own
    clock. The states are those of the devices: they change when the next ones are asked for.
    """
    inputs, labels, active = _stack(wearers, plan.inputs)
    steps, devices = active.shape
    flat = {n: x.reshape(steps * devices, -1) for n, x in inputs.items()}
    quantised = {n: q.reshape(steps, devices, -1) for n, q in quantise_inputs(plan, flat).items()}
    machine = Emulator(plan, devices, fixed=fixed_part(plan))
    beat, begin = np.arange(steps)[:, None], np.zeros(devices, np.int64)
    # Devices know nothing of each other: each goes as far as its own clock says.
    for minute, end in zip(minutes, _learned(wearers, minutes), strict=True):
        machine.learn_many(quantised, labels, active & (begin <= beat) & (beat < end))
        begin = end
        yield minute * 60 / LEARN_SECONDS, machine.state
    machine.learn_many(quantised, labels, active & (begin <= beat))
    for k in range(1, max(passes) + 1):
        if k > 1:
            machine.run("rehearse")
        if k in passes:
            yield k, machine.state


def predict_integer(plan: Plan, states: NDArray[np.uint8], wearers: Wearers) -> dict[str, NDArray[np.int64]]:
    """Classes of every wearer's test beats, through that wearer's state."""
    return {
        name: classify(plan, state, _only(plan.inputs, beats), fixed=fixed_part(plan)).astype(np.int64)
        for (name, beats), state in zip(wearers.test.items(), states, strict=True)
    }


State = dict[str, NDArray[np.generic]]


def learn_float(
    compiled: Compiled,
    wearers: Wearers,
    passes: Sequence[int],
    minutes: Sequence[int] = (),
) -> Iterator[tuple[float, State]]:
    """The same programs in float32, the baseline of a rule: (k, states by tensor [wearers, ...]) for each k,
    as `learn_integer`."""
    inputs, labels, active = _stack(wearers, compiled.plan.inputs)
    steps, devices = active.shape
    values, programs = compiled.abstract.values, compiled.abstract.programs
    machine = RealMachine(values, programs, devices, dtype=np.float32)
    flat = compiled.real({n: x.reshape(steps * devices, -1) for n, x in inputs.items()})
    inputs = {n: x.reshape(steps, devices, -1) for n, x in flat.items()}
    over = _moments(wearers, minutes)
    seen = [{n: v.copy() for n, v in machine.state.items()} for _ in minutes]
    for t in range(steps):
        machine.load({n: x[t] for n, x in inputs.items()} | {"label": labels[t][:, None]})
        machine.run("learn", None if active[t].all() else np.flatnonzero(active[t]))
        for m, w in over.get(t + 1, ()):
            for name, v in machine.state.items():
                seen[m][name][w] = v[w]
    for minute, state in zip(minutes, seen, strict=True):
        yield minute * 60 / LEARN_SECONDS, state
    for k in range(1, max(passes) + 1):
        if k > 1:
            machine.run("rehearse")
        if k in passes:
            yield k, machine.state


class FloatTest:
    """Classifies every wearer's test beats in float, after each number of passes.

    The leading steps of `forward` that read no state say the same of a beat every time. They run once, on the
    same beats side by side as without this class, so that no sum is added up in another order.
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
        """Classes of every wearer's test beats, by record, through that wearer's float weights."""
        out = {}
        for i, (name, beats) in enumerate(self._wearers.test.items()):
            machine = RealMachine(
                self._compiled.abstract.values, self._programs, len(beats), shared=True, dtype=np.float32
            )
            machine.state = {n: v[i : i + 1] for n, v in learned.items()}
            if name not in self._said:
                machine.load(self._compiled.real(_only(self._compiled.plan.inputs, beats)))
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


def _only(names: tuple[str, ...], beats: Beats) -> dict[str, NDArray[np.float32]]:
    return {n: x for n, x in beats.inputs().items() if n in names}
