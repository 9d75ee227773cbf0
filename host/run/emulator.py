"""Runs a Plan in numpy, bit for bit as the chip does: one arena, the planner's offsets, many devices."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from os import PathLike, fspath
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from synapcc.gen.errors import SynapccError
from synapcc.gen.files.userfile import read_file
from synapcc.gen.ir.inputs import check_labels
from synapcc.gen.ir.plan import Plan, PlanTensor
from synapcc.gen.ir.program import Step
from synapcc.gen.ir.walk import Active, choose, masked, steps
from synapcc.gen.ops import changed, kernel
from synapcc.gen.stages.plan_file import load_plan
from synapcc.gen.stages.state_check import fault, labelled_programs

from ..link import state as states
from ..terminal.files import write_whole
from .evaluation import Evaluation, confusion
from .front_cache import FORWARD, FixedPart
from .given import integers
from .inputs import Clipping, Inputs, clipped_text, quantise_inputs
from .samples import Data, read_samples
from .slices import Busy, Place, Slices

SHOWN = 8  # tensors in the repr
MAX_PLAN = 1 << 28
ROOM = 1 << 26  # bytes of arenas that a batch takes at once


class Inference(NamedTuple):
    """What `infer` says. It unpacks as winner, margin, scores.

    winner: [n] int32, the class with the highest score, the first one of several
    margin: [n] int32, how far its score is above the second highest, in the scores' format
    scores: [n, classes] int16, the logits; their frac is that of `plan[plan.logits]`
    """

    winner: NDArray[np.int32]
    margin: NDArray[np.int32]
    scores: NDArray[np.int16]


class Emulator:
    """`devices` copies of one Plan, bit for bit as chips. Every tensor has the fleet axis first.

    plan: a Plan, an output folder of `synapcc compile`, or a plan.json.
    read_only: all devices share one state, which must not change: many samples through one network at once.
    fixed: remembers what the frozen front of the network said; give the same one to several emulators.

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
    ) -> None:
        self.plan = plan if isinstance(plan, Plan) else read_plan(Path(plan))
        if devices < 1:
            raise SynapccError(self.plan.model, f"{devices} devices", "give 1 or more")
        self.devices, self.read_only, self.fixed = devices, read_only, fixed
        self.clipping = Clipping(self.plan)
        self.arena = np.zeros((devices, self.plan.arena_bytes), np.uint8)
        self.infer_arena = np.zeros((devices, self.plan.infer_arena_bytes), np.uint8)
        self._slices: Slices | None = None
        self.state = np.zeros((1 if read_only else devices, self.plan.state_bytes), np.uint8)
        self._labelled = labelled_programs(self.plan)
        self._look()
        self.reset()

    def _look(self) -> None:
        """Every tensor's view of the memory."""
        self._views: dict[str, NDArray[Any]] = {}
        for t in self.plan.tensors:
            if t.space == "const":
                self._views[t.name] = self._const(t)
            else:
                self._views[t.name] = self._view(self.state if t.space == "state" else self.arena, t)
        self._infer_views = self._views | {
            name: self._view(self.infer_arena, self.plan[name])
            for name in (() if self.plan.shared else self.plan.of_infer)
        }

    def __getstate__(self) -> dict[str, Any]:
        """For copy and pickle: views copied by themselves would no longer be of the copy's memory."""
        if self._slices is not None:
            raise SynapccError(self.plan.model, "a run in slices cannot be copied", "let it end, or abort it")
        return {n: value for n, value in vars(self).items() if n not in ("_views", "_infer_views")}

    def __setstate__(self, saved: dict[str, Any]) -> None:
        vars(self).update(saved)
        self._look()

    def __copy__(self) -> Emulator:
        return deepcopy(self)  # two machines in one memory would be none

    @staticmethod
    def _const(t: PlanTensor) -> NDArray[Any]:
        array = t.array()[None]
        array.flags.writeable = False
        return array

    @staticmethod
    def _view(block: NDArray[np.uint8], t: PlanTensor) -> NDArray[Any]:
        raw = block[:, t.offset : t.offset + t.nbytes].view(np.dtype(t.dtype))
        return raw.reshape(len(block), *t.stored)[..., : t.shape[-1]]

    def __getitem__(self, name: str) -> NDArray[Any]:
        """The tensor's view, [devices, *shape]; [1, *shape] for constants and read-only state.

        Integers; `plan[name].meaning.real` says what they stand for. Writing to it changes the machine. What
        lies in the arena holds until a later step takes its place. Raises NoSuchTensor, a KeyError that lists
        the names.
        """
        return self._views[self.plan[name].name]

    def __contains__(self, name: object) -> bool:
        return name in self._views

    def __iter__(self) -> Iterator[str]:
        """The tensors' names."""
        return iter(self._views)

    def _ipython_key_completions_(self) -> list[str]:
        return list(self)

    def __repr__(self) -> str:
        plan = self.plan
        fleet = f"{self.devices} device{'s' * (self.devices > 1)}{', one state for all' * self.read_only}"
        inputs = [f"{i} {list(i.shape)} {plan[i.name].meaning}" for i in plan.interface]
        updated = {s.args[r] for _, _, s in plan.ops() for r in kernel(s.kernel).updates if r in s.args}
        learned = [t for t in plan.space("state") if t.name in updated and t.role in ("weight", "bias")]
        shown = [f"{t.name} {t.dtype} {list(t.shape)} {t.meaning}" for t in learned[:SHOWN]]
        own = "" if plan.shared else f"; infer has {plan.infer_arena_bytes} of its own"
        rows = {
            "inputs": f"{', '.join(inputs)}; {plan.classes} classes",
            "programs": ", ".join(plan.entries),
            "learned": ", ".join(shown) + f" and {len(learned) - SHOWN} more" * (len(learned) > SHOWN),
            "state": f"{len(plan.space('state'))} tensors, {plan.state_bytes} bytes a device",
            "arena": f"{len(plan.space('arena'))} tensors, {plan.arena_bytes} bytes a device{own}",
            "clipped": clipped_text(self.clipping.shares) if self.clipping.shares else "",
        }
        lines = "".join(f"\n  {key:<10}{text}" for key, text in rows.items() if text)
        return f"<Emulator of {plan.model}: {fleet}, plan {plan.digest.hex()[:12]}{lines}>"

    def reset(self) -> None:
        """State as compiled, arena zero; a run in slices is over."""
        self._slices = None
        self.arena[...] = 0
        self.infer_arena[...] = 0
        self.state[...] = 0
        for t in self.plan.space("state"):
            self._views[t.name][...] = t.array()

    def put_state(self, block: bytes) -> None:
        """Gives every device the persistent state of a chip, [state_bytes].

        Raises SynapccError, and changes nothing, where it is none that the model can reach: what the chip
        refuses, by the same rule.
        """
        if len(block) != self.plan.state_bytes:
            what = f"{len(block)} bytes of state, the Plan has {self.plan.state_bytes}"
            raise SynapccError(self.plan.model, what, "give the state of a chip with this Plan")
        self._free()
        if wrong := fault(self.plan, block):
            raise SynapccError(self.plan.model, wrong, "its memory was overwritten: take another copy")
        self.state[...] = np.frombuffer(block, np.uint8)

    # -- what a user calls ----------------------------------------------------------------------------------

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

    def infer_many(self, inputs: Inputs, device: int = 0) -> Inference:
        """Many samples, inputs [n, ...], through the weights of one device. Changes nothing."""
        arrays = quantise_inputs(self.plan, inputs, clipping=self.clipping)
        self.clipping.warn(self.plan.model)
        return _through(self.plan, self._state_of(device), arrays, ROOM // self.plan.arena_bytes, self.fixed)

    def evaluate(self, data: Data, device: int = 0) -> Evaluation:
        """How well one device classifies labelled samples. Changes nothing.

        data: an .npz file, a mapping with the inputs and `label` [n], or Samples
        """
        samples = read_samples(self.plan, data, labels=True)
        assert samples.labels is not None
        winner = self.infer_many(samples.inputs, device).winner
        return Evaluation(confusion(samples.labels, winner, self.plan.classes), samples.clipped)

    def learn(self, inputs: Inputs, labels: ArrayLike, active: ArrayLike | None = None) -> None:
        """One labelled sample a device: inputs [devices, ...], labels [devices] or one for all."""
        self.load(inputs, labels, active)
        self.run("learn", active)

    def learn_begin(self, inputs: Inputs, labels: ArrayLike, active: ArrayLike | None = None) -> None:
        """`learn` in slices: see `begin`."""
        self.load(inputs, labels, active)
        self.begin("learn", active)

    def begin(self, program: str, active: ArrayLike | None = None) -> None:
        """Begins a run in slices, of one step each, on the devices that take part. `step` does the rest.

        Until then what loads or runs something raises SynapccError, and changes nothing; but `infer` where it
        has an arena of its own, and `reset`.
        """
        self._free()
        self._slices = Slices(self._steps(program, active, self._views))

    def step(self) -> bool:
        """Runs the next slice; True if there are more. Afterwards all is as `run` would have left it."""
        if self._slices is None:
            raise SynapccError(self.plan.model, "no run in slices is in progress", "begin one first")
        if more := self._slices.run(lambda item, devices: self._step(item, devices, self._views)):
            return more
        self._slices = None
        return False

    def abort(self) -> None:
        """Gives up a run in slices. What its slices changed stays changed, every value within its limits."""
        self._slices = None

    @property
    def in_slices(self) -> bool:
        """Whether a run in slices is in progress."""
        return self._slices is not None

    def _free(self) -> None:
        """Raises SynapccError while a run in slices is in progress."""
        if self._slices is not None:
            raise Busy(self.plan.model, "a run in slices is in progress", "step until it ends, or abort it")

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

    def _state_of(self, device: int) -> NDArray[np.uint8]:
        """The state of one device, [state_bytes]."""
        if not 0 <= device < self.devices:
            raise SynapccError(
                self.plan.model, f"there is no device {device}", f"devices are 0 to {self.devices - 1}"
            )
        row: NDArray[np.uint8] = self.state[0 if self.read_only else device]
        return row

    def _mask(self, active: ArrayLike | None) -> NDArray[np.bool_] | None:
        """Which devices take part, [devices] bool; None: all."""
        if active is None:
            return None
        mask = np.asarray(active)
        if mask.shape != (self.devices,) or not np.all((mask == 0) | (mask == 1)):
            what = f"active is {mask.dtype} of shape {mask.shape}"
            raise SynapccError(self.plan.model, what, f"give [{self.devices}] bool, a device each")
        return mask.astype(bool)

    def _labels(self, labels: ArrayLike, rows: slice | NDArray[np.bool_]) -> NDArray[np.uint8]:
        """The labels of the devices `rows`, from one for each device or one for all."""
        if "label" not in self.plan:
            raise SynapccError(
                self.plan.model, "was compiled for inference only", "compile it with a learning rule"
            )
        y = np.asarray(labels)
        if y.ndim == 0 or len(y) == 1:
            y = np.broadcast_to(y, (self.devices, *y.shape[1:]))
        if len(y) != self.devices:
            what = f"label has shape {y.shape}"
            raise SynapccError(self.plan.model, what, f"give [{self.devices}], one a device")
        return check_labels(y[rows], self.plan.classes, self.plan.model)

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

    def _known(self, program: str) -> None:
        if program not in self.plan.programs:
            raise SynapccError(
                program, "the plan has no such program", f"programs: {', '.join(self.plan.programs)}"
            )

    def _execute(
        self,
        program: str,
        active: ArrayLike | None,
        views: Mapping[str, NDArray[Any]],
        after: Callable[[str, int], None] | None = None,
    ) -> None:
        """Runs a program in the arena that `views` show."""
        for name, position, item, devices in self._steps(program, active, views):
            if self.fixed and name == FORWARD and position < len(self.fixed):
                if position == 0:
                    self.fixed.run(views, self.devices, devices, lambda s, d: self._step(s, d, views))
            else:
                self._step(item, devices, views)
            if after:
                after(name, position)

    def _steps(
        self, program: str, active: ArrayLike | None, views: Mapping[str, NDArray[Any]]
    ) -> Iterator[Place]:
        """The steps of a program, to be run as they come; what `run` raises, before the first of them."""
        self._known(program)
        chosen: Active = None
        if (mask := self._mask(active)) is not None:
            chosen = None if mask.all() else np.flatnonzero(mask)
            if chosen is not None and not len(chosen):
                return iter(())
        if program in self._labelled:
            check_labels(
                views["label"][slice(None) if chosen is None else chosen, 0],
                self.plan.classes,
                self.plan.model,
            )

        return steps(self.plan.programs, program, lambda name, devices: choose(views[name], devices), chosen)

    def run_step(self, program: str, position: int) -> None:
        """Runs one step alone, on all devices."""
        self._free()
        item = self.plan.programs[program].items[position]
        assert isinstance(item, Step)
        if any(item.args.get(role) == "label" for role in kernel(item.kernel).reads):
            check_labels(self._views["label"][:, 0], self.plan.classes, self.plan.model)
        self._step(item, None, self._views)

    def _step(self, step: Step, active: Active, views: Mapping[str, NDArray[Any]]) -> None:
        k = kernel(step.kernel)
        arrays = {role: views[name] for role, name in step.args.items()}
        masked(lambda t: k.integer(t, step.attrs), arrays, changed(step), self.devices, active)


def read_plan(path: Path) -> Plan:
    """The Plan of an output folder or a plan.json; SynapccError if there is none."""
    file = path / "plan.json" if path.is_dir() else path
    hint = "give the output folder of `synapcc compile`"
    plan = load_plan(read_file(file, MAX_PLAN, SynapccError, hint), str(file))
    header = file.parent / "lib" / plan.model / "src" / f"{plan.model}.h"
    if os.path.lexists(header) and plan.digest.hex().encode() not in read_file(header, MAX_PLAN):
        what = f"is not the Plan that {header.relative_to(file.parent)} was emitted from"
        raise SynapccError(str(file), what, "compile the model again")
    return plan


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
    return _through(plan, state, arrays, block, fixed).winner


def _through(
    plan: Plan,
    state: NDArray[np.uint8],
    arrays: dict[str, NDArray[np.int8]],
    block: int,
    fixed: FixedPart | None,
) -> Inference:
    """Samples [n, size] through one state, `block` at a time."""
    if np.shape(state) != (plan.state_bytes,):
        what = f"the state has shape {np.shape(state)}"
        raise SynapccError(plan.model, what, f"give [{plan.state_bytes}] uint8, of one device")
    n = len(next(iter(arrays.values())))
    parts = []
    block = max(1, block)
    for at in range(0, n, block):
        part = {k: v[at : at + block] for k, v in arrays.items()}
        machine = Emulator(plan, len(next(iter(part.values()))), read_only=True, fixed=fixed)
        machine.state[0] = state
        parts.append(machine.infer(part))
    return Inference(*(np.concatenate(found) for found in zip(*parts, strict=True)))
