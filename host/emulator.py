"""Runs a Plan in numpy, bit for bit as the chip does: one arena, the planner's offsets, many devices."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from synapcc.gen.errors import SynapccError
from synapcc.gen.machine import Active, choose, selection, walk
from synapcc.gen.ops import kernel
from synapcc.gen.plan import Plan, PlanTensor, load_plan
from synapcc.gen.program import Step
from synapcc.gen.state_check import fault, labelled_programs

from .fixed import FORWARD, FixedPart

Inputs = Mapping[str, ArrayLike]


class Emulator:
    """`devices` copies of one Plan. Every tensor has the fleet axis first; a mask says which take part.

    plan: a Plan, an output folder of `synapcc compile`, or a plan.json.
    read_only: all devices share one state, which must not change: many samples through one network at once.
    fixed: remembers what the frozen front of the network said; give the same one to several emulators.
    """

    def __init__(
        self,
        plan: Plan | Path | str,
        devices: int = 1,
        read_only: bool = False,
        fixed: FixedPart | None = None,
    ) -> None:
        self.plan = plan if isinstance(plan, Plan) else read_plan(Path(plan))
        self.devices, self.read_only, self.fixed = devices, read_only, fixed
        self.arena = np.zeros((devices, self.plan.arena_bytes), np.uint8)
        self.state = np.zeros((1 if read_only else devices, self.plan.state_bytes), np.uint8)
        self._labelled = labelled_programs(self.plan)
        self._views: dict[str, NDArray[Any]] = {}
        for t in self.plan.tensors:
            if t.space == "const":
                self._views[t.name] = self._const(t)
            else:
                self._views[t.name] = self._view(self.state if t.space == "state" else self.arena, t)
        self.reset()

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

        Writing to it changes the machine.
        """
        return self._views[name]

    def reset(self) -> None:
        """State as compiled, arena zero."""
        self.arena[...] = 0
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
        if wrong := fault(self.plan, block):
            raise SynapccError(self.plan.model, wrong, "its memory was overwritten: take another copy")
        self.state[...] = np.frombuffer(block, np.uint8)

    # -- what a user calls ----------------------------------------------------------------------------------

    def infer(
        self, inputs: Inputs, active: ArrayLike | None = None
    ) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int16]]:
        """(winner [devices], margin [devices], scores [devices, classes]) of one sample a device."""
        self.load(inputs, active=active)
        self.run("infer", active)
        verdict = self["verdict"]
        return verdict[:, 0].copy(), verdict[:, 1].copy(), self[self.plan.logits].copy()

    def learn(self, inputs: Inputs, labels: ArrayLike, active: ArrayLike | None = None) -> None:
        """One labelled sample a device: float32 or int8 inputs [devices, ...], labels [devices]."""
        self.load(inputs, labels, active)
        self.run("learn", active)

    def load(self, inputs: Inputs, labels: ArrayLike | None = None, active: ArrayLike | None = None) -> None:
        """Puts inputs (quantised if they are float) and labels into the arena and runs nothing."""
        rows = slice(None) if active is None else np.asarray(active, bool)
        arrays = quantise_inputs(self.plan, inputs, self.devices)
        if labels is not None:
            if "label" not in self.plan:
                raise SynapccError(
                    self.plan.model, "was compiled for inference only", "compile it with a learning rule"
                )
            y = np.broadcast_to(np.asarray(labels), (self.devices,))
            self._check_label(y[rows])
            self._views["label"][rows, 0] = y[rows]
        for name, x in arrays.items():
            self._views[name][rows] = x[rows]

    def _check_label(self, labels: NDArray[Any]) -> None:
        wrong = labels[(labels < 0) | (labels >= self.plan.classes)]
        if len(wrong):
            raise SynapccError(
                "label", f"{wrong[0]} is no class", f"classes are 0 to {self.plan.classes - 1}"
            )

    def run(
        self, program: str, active: ArrayLike | None = None, after: Callable[[str, int], None] | None = None
    ) -> None:
        """Runs a program on the active devices ([devices] bool; None: all).

        after(program, position) is told of each step. Raises SynapccError if there is no such program, or
        where it reads a label from the arena that is no class: load one first, another program overwrote it.
        """
        if program not in self.plan.programs:
            raise SynapccError(
                program, "the plan has no such program", f"programs: {', '.join(self.plan.programs)}"
            )
        chosen: Active = None
        if active is not None:
            mask = np.asarray(active, bool)
            chosen = None if mask.all() else np.flatnonzero(mask)
            if chosen is not None and not len(chosen):
                return
        if program in self._labelled:
            self._check_label(self._views["label"][slice(None) if chosen is None else chosen, 0])

        def step(name: str, position: int, item: Step, devices: Active) -> None:
            if self.fixed and name == FORWARD and position < len(self.fixed):
                if position == 0:
                    self.fixed.run(self._views, self.devices, devices, self._step)
            else:
                self._step(item, devices)
            if after:
                after(name, position)

        walk(
            self.plan.programs,
            program,
            step,
            lambda name, devices: choose(self._views[name], devices),
            chosen,
        )

    def run_step(self, program: str, position: int) -> None:
        """Runs one step alone, on all devices."""
        item = self.plan.programs[program].items[position]
        assert isinstance(item, Step)
        if any(item.args.get(role) == "label" for role in kernel(item.kernel).reads):
            self._check_label(self._views["label"][:, 0])
        self._step(item, None)

    def _step(self, step: Step, active: Active) -> None:
        k = kernel(step.kernel)
        t = {role: self._views[name] for role, name in step.args.items()}
        if active is None:
            k.integer(t, step.attrs)
            return
        chosen = selection(active)
        part = {role: v if len(v) == 1 < self.devices else v[chosen] for role, v in t.items()}
        k.integer(part, step.attrs)
        if isinstance(chosen, slice):
            return  # the parts are views
        for role in k.updates + k.writes:
            if role in step.args:
                t[role][chosen] = part[role]


def read_plan(path: Path) -> Plan:
    """The Plan of an output folder or a plan.json; SynapccError if there is none."""
    file = path / "plan.json" if path.is_dir() else path
    try:
        plan = load_plan(file.read_bytes(), str(file))
        header = file.parent / "lib" / plan.model / "src" / f"{plan.model}.h"
        if header.is_file() and plan.digest.hex() not in header.read_text(encoding="utf-8", errors="replace"):
            what = f"is not the Plan that {header.relative_to(file.parent)} was emitted from"
            raise SynapccError(str(file), what, "compile the model again")
        return plan
    except OSError as e:
        raise SynapccError(
            str(file), f"cannot be read ({e.strerror or e})", "give the output folder of `synapcc compile`"
        ) from None


def quantise(x: NDArray[Any], frac: int) -> NDArray[np.int8]:
    """The input quantiser: rint(x * 2^frac) (ties to even) in float32, within int8. The scaling is exact."""
    scaled = np.ldexp(np.asarray(x, np.float32), frac)
    return np.clip(np.rint(scaled), -128, 127).astype(np.int8)


def quantise_inputs(plan: Plan, inputs: Inputs, count: int | None = None) -> dict[str, NDArray[np.int8]]:
    """Inputs as the chip takes them, int8 [n, size]: float ones are quantised, int8 ones pass.

    Raises SynapccError where one is missing, of another shape or dtype, or not finite.
    """
    out: dict[str, NDArray[np.int8]] = {}
    for name, shape in zip(plan.inputs, plan.input_shapes, strict=True):
        if name not in inputs:
            raise SynapccError(
                name, "this input is missing", f"the model's inputs are {', '.join(plan.inputs)}"
            )
        x, size = np.asarray(inputs[name]), plan[name].shape[0]
        n = len(x) if x.ndim else 0
        if n == 0 or x.size != n * size or (count is not None and n != count):
            raise SynapccError(
                name,
                f"shape {x.shape}",
                f"give [{count if count is not None else 'n'}, {', '.join(map(str, shape))}]",
            )
        if x.dtype == np.int8:
            out[name] = x.reshape(n, size)
        elif x.dtype.kind == "f":
            if not np.all(np.isfinite(x)):
                raise SynapccError(name, "NaN or infinite values", "remove the samples that hold them")
            out[name] = quantise(x, plan[name].frac).reshape(n, size)
        else:
            raise SynapccError(name, f"dtype {x.dtype}", "give float32, or int8 as the chip takes it")
    return out


def classify(
    plan: Plan,
    state: NDArray[np.uint8],
    inputs: Inputs,
    block: int = 4096,
    fixed: FixedPart | None = None,
) -> NDArray[np.int32]:
    """Winners [n] of many samples through one device's state ([state_bytes] uint8); `fixed` as above."""
    arrays = quantise_inputs(plan, inputs)
    n = len(next(iter(arrays.values())))
    out = np.empty(n, np.int32)
    for at in range(0, n, block):
        part = {k: v[at : at + block] for k, v in arrays.items()}
        machine = Emulator(plan, len(next(iter(part.values()))), read_only=True, fixed=fixed)
        machine.state[0] = state
        out[at : at + block] = machine.infer(part)[0]
    return out
