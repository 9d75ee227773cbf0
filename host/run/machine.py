"""The memory of a Plan's devices, and the programs that run in it: one arena, the planner's offsets."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from synapcc.gen.errors import SynapccError
from synapcc.gen.ir.inputs import check_labels
from synapcc.gen.ir.plan import Plan, PlanTensor
from synapcc.gen.ir.program import Step, reached
from synapcc.gen.ir.walk import Active, choose, masked, steps
from synapcc.gen.ops import changed, kernel
from synapcc.gen.stages.op_check import Held, held, op_fault
from synapcc.gen.stages.state_check import fault, labelled

from ..link.checksum import Checksum
from .engines import Engines
from .front_cache import FORWARD, FixedPart
from .slices import Busy, Place, Slices


def changes(plan: Plan, program: str) -> bool:
    """Whether a program writes what persists."""
    items = [i for p in reached(plan.programs, program) for i in plan.programs[p].items]
    return any(isinstance(i, Step) and _writes(plan, i) for i in items)


def _writes(plan: Plan, step: Step) -> bool:
    return any(plan[name].space == "state" for name in changed(step).values())


class Unproven(SynapccError):
    """Refused, and nothing changed: a step alone would meet values that no program leaves for it."""


class Machine:
    """`devices` copies of one Plan, bit for bit as chips. Every tensor has the fleet axis first.

    What is given to it lies in its arena already: see Emulator, which puts it there.
    """

    def __init__(
        self, plan: Plan, devices: int, read_only: bool, fixed: FixedPart | None, engine: str | Engines
    ) -> None:
        if devices < 1:
            raise SynapccError(plan.model, f"{devices} devices", "give 1 or more")
        self.plan, self.devices, self.read_only, self.fixed = plan, devices, read_only, fixed
        self._arena = np.zeros((devices, plan.arena_bytes), np.uint8)
        self._infer_arena = np.zeros((devices, plan.infer_arena_bytes), np.uint8)
        self._state = np.zeros((1 if read_only else devices, plan.state_bytes), np.uint8)
        self._engines = engine if isinstance(engine, Engines) else Engines(plan, engine)
        self._slices: Slices | None = None
        self._labelled: dict[str, bool] = {}
        self._changing: dict[str, bool] = {}
        self._look()
        self.reset()

    # Views and both engines know these arrays: whoever has new bytes writes into them.

    @property
    def arena(self) -> NDArray[np.uint8]:
        """[devices, arena_bytes]; to change it, write into it."""
        return self._arena

    @property
    def infer_arena(self) -> NDArray[np.uint8]:
        """[devices, infer_arena_bytes], empty rows where `infer` has none of its own."""
        return self._infer_arena

    @property
    def state(self) -> NDArray[np.uint8]:
        """[devices, state_bytes], of a read-only machine [1, state_bytes]; to change it, write into it."""
        return self._state

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

    def __copy__(self) -> Self:
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

    # -- programs --------------------------------------------------------------------------------------------

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
        self._engines.stepped()
        if more := self._slices.run(lambda item, devices: self._step(item, devices, self._views)):
            return more
        self._slices = None
        return False

    def abort(self) -> None:
        """Gives up a run in slices. What its slices changed stays changed, every value within its limits."""
        self._slices = None

    @property
    def engine(self) -> str:
        """What runs the next whole program, once: "numpy" or "compiled". Both do the same, byte for byte."""
        return self._engines.name(self.devices)

    def expects(self, runs: int) -> None:
        """So many runs of a program will come: "auto" then need not wait to see them."""
        self._engines.expects(runs * self.devices)

    @property
    def ran(self) -> str:
        """What ran last: "numpy" or "compiled"; "" where nothing did."""
        return self._engines.ran

    @property
    def instead(self) -> str:
        """Why numpy runs what "auto" would have given to compiled code; "" where that is not so."""
        return self._engines.instead

    @property
    def in_slices(self) -> bool:
        """Whether a run in slices is in progress."""
        return self._slices is not None

    def _free(self) -> None:
        """Raises SynapccError while a run in slices is in progress."""
        if self._slices is not None:
            raise Busy(self.plan.model, "a run in slices is in progress", "step until it ends, or abort it")

    def run_step(self, program: str, position: int) -> None:
        """Runs one step alone, on all devices.

        Raises Unproven where the arena of one holds what no program leaves there for the step: sums could
        overflow.
        """
        self._free()
        item = self.plan.programs[program].items[position]
        assert isinstance(item, Step)
        if self.read_only and _writes(self.plan, item):
            self._may(program)
        if wrong := op_fault(self._held[program, position], self._views):
            raise Unproven(self.plan.model, wrong, f"run program {program} up to this step")
        if any(item.args.get(role) == "label" for role in kernel(item.kernel).reads):
            check_labels(self._views["label"][:, 0], self.plan.classes, self.plan.model)
        self._step(item, None, self._views)

    @cached_property
    def _held(self) -> dict[tuple[str, int], tuple[Held, ...]]:
        """What each step, when it runs alone, wants of the arena."""
        conditions = held(self.plan)
        return {(program, i): conditions[n] for n, (program, i, _) in enumerate(self.plan.ops())}

    def _execute(
        self,
        program: str,
        active: ArrayLike | None,
        views: Mapping[str, NDArray[Any]],
        after: Callable[[str, int], None] | None = None,
    ) -> None:
        """Runs a program in the arena that `views` show."""
        self._may(program)
        compiled = None if after else self._engines.take(program, self.devices)
        if compiled:
            chosen = self._chosen(program, active, views)
            everyone = np.arange(self.devices)
            own = views is self._infer_views and not self.plan.shared
            arena = self.infer_arena if own else self.arena
            compiled.run(program, self.state, arena, everyone if chosen is None else chosen)
            return
        self._interpret(program, active, views, after)

    def _interpret(
        self,
        program: str,
        active: ArrayLike | None,
        views: Mapping[str, NDArray[Any]],
        after: Callable[[str, int], None] | None = None,
    ) -> None:
        """The same in numpy, step by step, all devices in lockstep."""
        for name, position, item, devices in self._steps(program, active, views):
            if self.fixed and name == FORWARD and position < len(self.fixed):
                if position == 0:
                    self.fixed.run(views, self.devices, devices, lambda s, d: self._step(s, d, views))
            elif not (self.fixed and name in self.fixed.inside):
                self._step(item, devices, views)
            if after:
                after(name, position)

    def _execute_many(
        self,
        program: str,
        given: Mapping[str, NDArray[Any]],
        active: NDArray[np.bool_],
        checksums: NDArray[np.uint64] | None = None,
        first: str = "",
        said: Mapping[str, NDArray[Any]] | None = None,
    ) -> None:
        """Runs a program once for each row of `given`, tensors of the arena by name [n, devices, size], on
        the devices `active`, [n, devices]. Labels are classes. checksums: as of Emulator.learn_many.

        first: a program that each of these rows is given to before; said: what it leaves in tensors of arena
               or state by name goes there, [n, devices, size]
        """
        self._may(program)
        compiled = self._engines.take(program, active.size * (2 if first else 1), first)
        if compiled:
            devices = np.arange(self.devices)
            compiled.run(program, self.state, self.arena, devices, given, active, checksums, first, said)
            return
        summed = Checksum(self.plan.state_bytes)
        for i, rows in enumerate(active):
            for before in (first, program) if first else (program,):
                for name, values in given.items():
                    self._views[name][rows] = values[i][rows]
                self._interpret(before, rows, self._views)
                if before == first:
                    for name, values in (said or {}).items():
                        values[i][rows] = self._views[name][rows]
            if checksums is not None:
                for device in np.flatnonzero(rows):
                    checksums[i, device] = np.frombuffer(summed(self.state[device]), "<u8")

    def _steps(
        self, program: str, active: ArrayLike | None, views: Mapping[str, NDArray[Any]]
    ) -> Iterator[Place]:
        """The steps of a program, to be run as they come; what `run` raises, before the first of them."""
        self._may(program)
        chosen = self._chosen(program, active, views)
        if chosen is not None and not len(chosen):
            return iter(())
        return steps(self.plan.programs, program, lambda name, devices: choose(views[name], devices), chosen)

    def _chosen(self, program: str, active: ArrayLike | None, views: Mapping[str, NDArray[Any]]) -> Active:
        """The devices that take part; SynapccError where one of them has a label that is no class."""
        mask = self._mask(active)
        chosen = None if mask is None or mask.all() else np.flatnonzero(mask)
        if self._reads_label(program) and (chosen is None or len(chosen)):
            check_labels(
                views["label"][slice(None) if chosen is None else chosen, 0],
                self.plan.classes,
                self.plan.model,
            )
        return chosen

    def _reads_label(self, program: str) -> bool:
        if program not in self._labelled:
            self._labelled[program] = labelled(self.plan, program)
        return self._labelled[program]

    def _may(self, program: str) -> None:
        """Raises SynapccError where there is no such program, or it writes a state that all devices share."""
        self._known(program)
        if self.read_only and self._changes(program):
            what = f"{program} changes the state, which all devices share"
            raise SynapccError(self.plan.model, what, "make the emulator without read_only")

    def _changes(self, program: str) -> bool:
        if program not in self._changing:
            self._changing[program] = changes(self.plan, program)
        return self._changing[program]

    def _known(self, program: str) -> None:
        if program not in self.plan.programs:
            raise SynapccError(
                program, "the plan has no such program", f"programs: {', '.join(self.plan.programs)}"
            )

    def _step(self, step: Step, active: Active, views: Mapping[str, NDArray[Any]]) -> None:
        k = kernel(step.kernel)
        arrays = {role: views[name] for role, name in step.args.items()}
        masked(lambda t: k.integer(t, step.attrs), arrays, changed(step), self.devices, active)
