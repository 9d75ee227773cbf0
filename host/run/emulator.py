"""Runs a Plan in numpy, bit for bit as the chip does: what is given to the devices, and what they say."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from os import PathLike, fspath
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from synapcc.gen.errors import SynapccError
from synapcc.gen.ir.inputs import check_labels
from synapcc.gen.ir.plan import DENY, MARK, PUSH, SCORE, Plan
from synapcc.gen.ops import kernel

from ..link import state as states
from ..terminal.files import write_whole
from .engines import AUTO, Engines
from .evaluation import Evaluation, Regression, regression
from .front_cache import FixedPart
from .given import integers
from .inputs import Clipping, Inputs, clipped_text, quantise_inputs
from .machine import Machine, changes
from .many import check_checksums, many_active, many_count, many_inputs, many_labels
from .plans import read_plan
from .samples import Data, read_samples

SHOWN = 8  # tensors in the repr
ROOM = 1 << 26  # bytes of arenas that a batch takes at once


class Inference(NamedTuple):
    """What `infer` says. It unpacks as winner, margin, scores.

    winner: [n] int32, the class with the highest score, the first one of several; of one score where
            classes are learned, 1 if it is above zero, else 0; of any other one score 0
    margin: [n] int32, how far its score is above the second highest, in the scores' format; of one score
            where classes are learned its magnitude; of any other one score 0
    scores: [n, classes] int16, the logits; their frac is that of `plan[plan.logits]`
    """

    winner: NDArray[np.int32]
    margin: NDArray[np.int32]
    scores: NDArray[np.int16]


class Pushed(NamedTuple):
    """What a push says.

    made:   [n] bool, whether a window ended in it
    ago:    [n] int64, how many frames, as the network has them, came after the last one of that window
    answer: of the window; where none ended it is what the arena holds, and means nothing
    """

    made: NDArray[np.bool_]
    ago: NDArray[np.int64]
    answer: Inference


class Scored(NamedTuple):
    """What the last sample was, and the devices' state says, under [anomaly].

    score:     [n] int64, the squared error, Q16, in units of what inputs usually differ by
    threshold: [n] int64, a score above it is a vote
    alarm:     [n] bool, whether enough of the last votes say so
    """

    score: NDArray[np.int64]
    threshold: NDArray[np.int64]
    alarm: NDArray[np.bool_]


class Emulator(Machine):
    """`devices` copies of one Plan, bit for bit as chips. Every tensor has the fleet axis first.

    plan: a Plan, an output folder of `synapcc compile`, or a plan.json.
    read_only: all devices share one state, which must not change: many samples through one network at once.
    fixed: remembers what the frozen front of the network said; give the same one to several emulators.
    engine: "numpy", "compiled", or "auto", which is numpy until compiled code pays (host/run/engines.py);
            `emulator.engine` says which one runs. Or those of another emulator of the Plan.

    There are two axes that a batch may mean, and never both at once:

    * `infer`, `learn`, `load` and `run` work on the **fleet**: one sample a device, arrays [devices, ...],
      each device with weights of its own. `active`, [devices] bool, says which take part; None: all.
    * `infer_many` and `evaluate` put **many samples through one device's weights**, arrays [n, ...], and
      change nothing: neither its state nor what lies in its arena.

    Inputs are float (quantised on the way: int8, as `plan[name].meaning` has it) or int8 as the chip takes
    them, each [n, *shape] as the model file has it, or flat [n, size], by its name or the model file's.
    `clipping` counts what int8 could not hold, and warns (DataWarning) of more than 1 %.
    """

    def __init__(
        self,
        plan: Plan | Path | str,
        devices: int = 1,
        read_only: bool = False,
        fixed: FixedPart | None = None,
        engine: str | Engines = AUTO,
    ) -> None:
        read = plan if isinstance(plan, Plan) else read_plan(Path(plan))
        super().__init__(read, devices, read_only, fixed, engine)
        self.clipping = Clipping(self.plan)

    def __repr__(self) -> str:
        plan = self.plan
        fleet = f"{self.devices} device{'s' * (self.devices > 1)}{', one state for all' * self.read_only}"
        inputs = [f"{i} {list(i.shape)} {plan[i.name].meaning}" for i in plan.interface]
        updated = {s.args[r] for _, _, s in plan.ops() for r in kernel(s.kernel).updates if r in s.args}
        learned = [t for t in plan.tensors if t.name in updated and t.learned]
        shown = [f"{t.name} {t.dtype} {list(t.shape)} {t.meaning}" for t in learned[:SHOWN]]
        own = "" if plan.shared else f"; infer has {plan.infer_arena_bytes} of its own"
        rows = {
            "inputs": f"{', '.join(inputs)}; {plan.classes} {'numbers' if plan.numbers else 'classes'}",
            "programs": ", ".join(plan.entries),
            "learned": ", ".join(shown) + f" and {len(learned) - SHOWN} more" * (len(learned) > SHOWN),
            "state": f"{len(plan.space('state'))} tensors, {plan.state_bytes} bytes a device",
            "arena": f"{len(plan.space('arena'))} tensors, {plan.arena_bytes} bytes a device{own}",
            "clipped": clipped_text(self.clipping.shares) if self.clipping.shares else "",
        }
        lines = "".join(f"\n  {key:<10}{text}" for key, text in rows.items() if text)
        return f"<Emulator of {plan.model}: {fleet}, plan {plan.digest.hex()[:12]}{lines}>"

    def infer(self, inputs: Inputs, active: ArrayLike | None = None) -> Inference:
        """One sample a device, inputs [devices, ...]; n is `devices`.

        Of devices that take no part it has what the arena holds at that place, which means nothing.
        Where `infer` has an arena of its own (`plan.shared` is False), it touches no other, and may be called
        while a run in slices is in progress; else that raises SynapccError.
        """
        views = self._infer_views
        if self.plan.shared:
            self._free()
        self._put(views, inputs, None, self._mask(active))
        self._execute("infer", active, views)
        verdict, scores = views["verdict"], views[self.plan.logits]
        return Inference(verdict[:, 0].copy(), verdict[:, 1].copy(), scores.astype(np.int16))

    def push(self, samples: ArrayLike, active: ArrayLike | None = None) -> Pushed:
        """The next raw samples of each device through the front end, [devices, values], int16 as a converter
        has them; n is `devices`. SynapccError where there is no front end, or another number of values."""
        if not self.plan.streams:
            raise SynapccError(self.plan.model, "has no front end", "compile it with [frontend]")
        (raw,) = self.plan.entry(PUSH).inputs
        self.run(PUSH, active, inputs={raw: samples})
        verdict, scores = self["verdict"], self[self.plan.logits].astype(np.int16)
        answer = Inference(verdict[:, 0].copy(), verdict[:, 1].copy(), scores)
        return Pushed(self["push_made"][:, 0] != 0, self["push_ago"][:, 0].astype(np.int64), answer)

    def score(self, inputs: Inputs, active: ArrayLike | None = None) -> Scored:
        """How unlike what was learned one sample a device is, inputs [devices, ...]; it is not learned. n is
        `devices`. SynapccError where no anomalies are watched for."""
        if not self.plan.watches:
            raise SynapccError(self.plan.model, "watches for no anomalies", "compile it with [anomaly]")
        self.run(SCORE, active, inputs=inputs)
        return self.scored

    @property
    def scored(self) -> Scored:
        """What was said of the last sample of each device, also of one that was learned."""
        if not self.plan.watches:
            raise SynapccError(self.plan.model, "watches for no anomalies", "compile it with [anomaly]")
        score, threshold = (self[f"anomaly_{n}"][:, 0].astype(np.int64) for n in ("score", "threshold"))
        return Scored(score, threshold, self["anomaly_alarm"][:, 0] != 0)

    def mark(self, labels: ArrayLike, ago: ArrayLike, active: ArrayLike | None = None) -> NDArray[np.bool_]:
        """Labels [devices] for the windows whose moments lie `ago` raw frames, [devices], before the newest
        sample: where there is one without a label, as near as [mark] says, it is learned. Returns whether
        there was, [devices]. SynapccError where there is no [mark], or ago is negative."""
        return self._late(MARK, labels, ago, active)

    def deny(self, labels: ArrayLike, ago: ArrayLike, active: ArrayLike | None = None) -> NDArray[np.bool_]:
        """As mark, with classes that the windows were not: each learns as the likeliest of the others.
        SynapccError where there is no `deny` in [mark]."""
        return self._late(DENY, labels, ago, active)

    def _late(
        self, entry: str, labels: ArrayLike, ago: ArrayLike, active: ArrayLike | None
    ) -> NDArray[np.bool_]:
        if not self.plan.marks:
            raise SynapccError(self.plan.model, "keeps no windows for labels", "compile it with [mark]")
        if entry not in self.plan.entries:
            raise SynapccError(self.plan.model, "takes no denials", "compile it with deny = true in [mark]")
        (name,) = self.plan.entry(entry).inputs
        back = np.broadcast_to(np.asarray(ago).reshape(-1, 1), (self.devices, 1))
        if back.dtype.kind not in "iu" or (back < 0).any():
            raise SynapccError(self.plan.model, "ago is no number of frames", "give whole numbers from 0")
        self.run(entry, active, inputs={name: back}, labels=labels)
        found: NDArray[np.bool_] = self["mark_found"][:, 0] != 0
        return found if active is None else found & np.asarray(active, bool)

    def infer_many(self, inputs: Inputs, device: int = 0) -> Inference:
        """Many samples, inputs [n, ...], through the weights of one device. Changes nothing."""
        arrays = quantise_inputs(self.plan, inputs, clipping=self.clipping)
        self.clipping.warn(self.plan.model)
        return _through(
            self.plan,
            self._state_of(device),
            arrays,
            ROOM // self.plan.arena_bytes,
            self.fixed,
            self._engines,
        )

    def evaluate(self, data: Data, device: int = 0) -> Evaluation:
        """How well one device classifies labelled samples. Changes nothing.

        data: an .npz file, a mapping with the inputs and `label` [n], or Samples
        """
        if self.plan.numbers:
            hint = "regression(data) tells how far they are from their targets"
            raise SynapccError(self.plan.model, "learns numbers, not classes", hint)
        samples = read_samples(self.plan, data, labels=True)
        assert samples.labels is not None
        winner = self.infer_many(samples.inputs, device).winner
        return Evaluation(samples.labels, winner, self.plan.classes, samples.clipped)

    def regression(self, data: Data, device: int = 0) -> Regression:
        """How far the scores of one device are from the targets of samples, or from what it was given where
        it learns its own input. Changes nothing.

        data: an .npz file, a mapping with the inputs and, but for that, `target` [n, scores], or Samples
        """
        if self.plan.learning and not self.plan.numbers:
            hint = "evaluate(data) tells how often they are right"
            raise SynapccError(self.plan.model, "learns classes, not numbers", hint)
        samples = read_samples(self.plan, data, labels=True)
        return regression(self.plan, samples, self.infer_many(samples.inputs, device).scores)

    def learn(self, inputs: Inputs, labels: ArrayLike, active: ArrayLike | None = None) -> None:
        """One labelled sample a device: inputs [devices, ...], labels [devices] or one for all."""
        self._takes_label()
        self._may("learn")
        self.load(inputs, labels, active)
        self.run("learn", active)

    def learn_many(
        self,
        inputs: Inputs,
        labels: ArrayLike,
        active: ArrayLike | None = None,
        checksums: NDArray[np.uint64] | None = None,
    ) -> None:
        """n labelled samples a device, one after the other: as `learn` with each, but all at once.

        inputs: [n, devices, ...], float or integers as the chip takes them, for each input;
        labels: [n, devices] integers, or [n] where all devices have the same;
        active: [n, devices] bool, which devices take part in which step: recordings of any length stand side
                by side; what the others are given is not read, but its shape counts
        checksums: [n, devices, 2] uint64, contiguous, where what a chip would say of its state after each
                step goes (host/link/checksum.py)
        Where anything is wrong nothing is learned.
        """
        self._free()
        self._takes_label()
        self._may("learn")
        n = many_count(self.plan, inputs, self.devices)
        mask = many_active(self.plan, active, n, self.devices)
        taught = many_labels(self.plan, labels, mask)
        check_checksums(self.plan, checksums, mask)
        arrays = many_inputs(self.plan, inputs, mask, self.clipping)
        self.clipping.warn(self.plan.model)
        self._execute_many("learn", arrays | {"label": taught[..., None]}, mask, checksums)

    def judge_many(self, inputs: Inputs, labels: ArrayLike) -> Inference:
        """n labelled samples a device, each classified, then learned: what `infer` says of it, [n, devices].

        inputs, labels: as of `learn_many`. Where `infer` has an arena of its own it learns in no such run:
        that raises SynapccError.
        """
        self._free()
        self._takes_label()
        self._may("learn")
        if not self.plan.shared:
            what, hint = "infer has an arena of its own", "call infer and learn with each sample"
            raise SynapccError(self.plan.model, what, hint)
        mask = many_active(self.plan, None, many_count(self.plan, inputs, self.devices), self.devices)
        taught = many_labels(self.plan, labels, mask)
        arrays = many_inputs(self.plan, inputs, mask, self.clipping)
        self.clipping.warn(self.plan.model)
        said = {
            name: np.zeros((*mask.shape, self.plan[name].shape[0]), self.plan[name].dtype)
            for name in ("verdict", self.plan.logits)
        }
        self._execute_many("learn", arrays | {"label": taught[..., None]}, mask, None, "infer", said)
        verdict = said["verdict"]
        return Inference(verdict[..., 0], verdict[..., 1], said[self.plan.logits].astype(np.int16))

    def learn_begin(self, inputs: Inputs, labels: ArrayLike, active: ArrayLike | None = None) -> None:
        """`learn` in slices: see `begin`."""
        self._takes_label()
        self._may("learn")
        self.load(inputs, labels, active)
        self.begin("learn", active)

    def load(
        self,
        inputs: Inputs | str | PathLike[str],
        labels: ArrayLike | None = None,
        active: ArrayLike | None = None,
    ) -> None:
        """Puts one sample a device into the arena and runs nothing; or, given a file, a state into devices.

        inputs: inputs [devices, ...], with labels [devices] or one for all; or a file that `save`,
                `synapcc pull` or `synapcc emulate` wrote, whose state the devices that take part then hold
        """
        self._free()
        mask = self._mask(active)
        if isinstance(inputs, str | PathLike):
            self._load_state(Path(fspath(inputs)), mask)
        else:
            self._put(self._views, inputs, labels, mask)

    def _put(
        self,
        views: Mapping[str, NDArray[Any]],
        inputs: Inputs,
        labels: ArrayLike | None,
        mask: NDArray[np.bool_] | None,
    ) -> None:
        """One sample a device into the arena that `views` show."""
        rows = slice(None) if mask is None else mask
        arrays = quantise_inputs(self.plan, inputs, self.devices, self.clipping)
        self.clipping.warn(self.plan.model)
        chosen = None if labels is None else self._labels(labels, rows)
        for name, x in arrays.items():
            views[name][rows] = x[rows]
        if chosen is not None:
            views["label"][rows, 0] = chosen

    def give(
        self,
        program: str,
        inputs: Inputs | None = None,
        labels: ArrayLike | None = None,
        active: ArrayLike | None = None,
    ) -> None:
        """Puts what the entry program `program` takes into the arena, and runs nothing.

        inputs: those of the network, as `load` takes them; where the program takes some of its own, integers
                of their types, [devices, size] each
        labels: [devices] or one for all, where it takes a label
        """
        if program not in self.plan.entries:
            what = f"there is no entry program {program}"
            raise SynapccError(self.plan.model, what, f"there are {', '.join(self.plan.entries)}")
        self._free()
        entry, mask = self.plan.entry(program), self._mask(active)
        rows = slice(None) if mask is None else mask
        if entry.label != (labels is not None):
            what = f"{program} takes {'a' if entry.label else 'no'} label"
            raise SynapccError(self.plan.model, what, "give it what it takes")
        chosen = None if labels is None else self._labels(labels, rows)
        if entry.inputs == self.plan.inputs and inputs is not None:
            self.load(inputs, active=active)
        else:
            for name, x in integers(self.plan, entry, inputs or {}, self.devices).items():
                self._views[name][rows] = x[rows]
        if chosen is not None:
            self._views["label"][rows, 0] = chosen

    def save(self, path: str | PathLike[str], device: int = 0) -> None:
        """Writes the state of one device as an .npz, as `synapcc pull` does: for `load`, `synapcc push`."""
        tensors = states.split(self.plan, self._state_of(device).tobytes())
        write_whole(Path(fspath(path)), states.save(self.plan, tensors, "emulator", "host"))

    def _load_state(self, path: Path, mask: NDArray[np.bool_] | None) -> None:
        if self.read_only and mask is not None:
            raise SynapccError(self.plan.model, "all devices share one state", "leave `active` out")
        tensors, _ = states.load(self.plan, path)
        self.state[slice(None) if mask is None else mask] = np.frombuffer(
            states.joined(self.plan, tensors), np.uint8
        )

    def _labels(self, labels: ArrayLike, rows: slice | NDArray[np.bool_]) -> NDArray[np.unsignedinteger]:
        """The labels of the devices `rows`, from one for each device or one for all."""
        self._takes_label()
        y = np.asarray(labels)
        if y.ndim == 0 or len(y) == 1:
            y = np.broadcast_to(y, (self.devices, *y.shape[1:]))
        if len(y) != self.devices:
            what = f"label has shape {y.shape}"
            raise SynapccError(self.plan.model, what, f"give [{self.devices}], one a device")
        return check_labels(y[rows], self.plan.classes, self.plan.model)

    def _takes_label(self) -> None:
        """Raises SynapccError where nothing learns from labels."""
        if "label" not in self.plan:
            own = [name for name in self.plan.entries if name.startswith("learn_")]
            what = "takes no label" if own else "was compiled for inference only"
            hint = f'run("{own[0]}", inputs=...)' if own else "compile it with a learning rule"
            raise SynapccError(self.plan.model, what, hint)

    def run(
        self,
        program: str,
        active: ArrayLike | None = None,
        after: Callable[[str, int], None] | None = None,
        inputs: Inputs | None = None,
        labels: ArrayLike | None = None,
    ) -> None:
        """Runs a program on the active devices ([devices] bool; None: all), on the arena as it is, or on what
        `give` puts there of `inputs` and `labels`.

        after(program, position) is told of each step. Raises SynapccError if there is no such program, or
        where it reads a label from the arena that is no class: load one first, another program overwrote it.
        """
        self._free()
        self._known(program)
        if inputs is not None or labels is not None:
            self.give(program, inputs, labels, active)
        self._execute(program, active, self._views, after)


def classify(
    plan: Plan,
    state: NDArray[np.uint8],
    inputs: Inputs,
    block: int = 4096,
    fixed: FixedPart | None = None,
) -> NDArray[np.int32]:
    """Winners [n] of many samples, inputs [n, ...], through one device's state, [state_bytes] uint8.

    block: samples at once; fixed: as Emulator's. `Emulator.infer_many` gives margins and scores, too.
    """
    arrays = quantise_inputs(plan, inputs)
    return _through(plan, state, arrays, block, fixed, Engines(plan, AUTO)).winner


def _through(
    plan: Plan,
    state: NDArray[np.uint8],
    arrays: dict[str, NDArray[Any]],
    block: int,
    fixed: FixedPart | None,
    engines: Engines,
) -> Inference:
    """Samples [n, size] through one state, `block` at a time."""
    if np.shape(state) != (plan.state_bytes,):
        what = f"the state has shape {np.shape(state)}"
        raise SynapccError(plan.model, what, f"give [{plan.state_bytes}] uint8, of one device")
    n = len(next(iter(arrays.values())))
    parts = []
    block = max(1, block)
    engines.expects(n)
    for at in range(0, n, block):
        part = {k: v[at : at + block] for k, v in arrays.items()}
        devices, shared = len(next(iter(part.values()))), not changes(plan, "infer")
        machine = Emulator(plan, devices, read_only=shared, fixed=fixed, engine=engines)
        machine.state[:] = state
        parts.append(machine.infer(part))
    return Inference(*(np.concatenate(found) for found in zip(*parts, strict=True)))
