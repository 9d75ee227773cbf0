"""Learns the same samples on a device and in the emulator; compares every persistent byte after every step.

The device answers each step with the checksum of its persistent tensors (host/link/checksum.py), and now and
then with their SHA-256. Where that differs from the emulator's, the state is read back, the first differing
tensor and element are named, and the step is repeated op by op from the state before it to find the first op
that differs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synapcc.gen.errors import SynapccError
from synapcc.gen.ir.plan import PUSH, Plan

from ..devices import DeviceError
from ..link.client import Client, Stats
from ..link.saturation import Saturation, counts, saturation, warning
from . import resume
from .emulator import Emulator
from .given import drawn, own_inputs
from .inferences import INFERENCES, compare_inferences
from .learning import Learning, in_slices, run_given
from .locate import Difference, state_difference
from .samples import Samples
from .sides import Sides
from .streaming import drawn_stream, follow

TURNS = 5  # of an entry program with inputs of its own


@dataclass(frozen=True)
class Verdict:
    """What a verification saw. `differing`: bytes in all persistent tensors over all steps compared.

    stats: what the firmware counted until the end
    saturation: of each learned layer, at the end; both sides count alike as long as nothing differs
    resumed: of the steps, how many an earlier run compared
    engine: of the emulator, what ran the last learning step, or inference where nothing learns
    instead: why numpy ran what compiled code would have; "" where that is not so
    pushes: how often a front end was given samples, unless something differs
    verdicts: in how many of these it ended in one
    """

    steps: int
    differing: int
    inferences: int
    programs: tuple[str, ...]
    state_bytes: int
    difference: Difference | None
    stats: Stats
    saturation: tuple[Saturation, ...] = ()
    resumed: int = 0
    engine: str = "numpy"
    instead: str = ""
    pushes: int = 0
    verdicts: int = 0

    @property
    def line(self) -> str:
        return f"verify: {self.steps} steps, {self.differing} differing bytes"

    @property
    def agreement(self) -> str:
        """What was found equal beside the learning steps."""
        programs = ", ".join(self.programs) or "infer"
        programs += f" ({self.pushes} pushes, {self.verdicts} verdicts)" if self.pushes else ""
        return (
            f"{self.inferences} inferences, programs {programs}, "
            f"and all {self.state_bytes} persistent bytes read back: equal"
        )

    def to_dict(self) -> dict[str, Any]:
        told = {"saturation": [x.to_dict() for x in self.saturation], "warning": warning(self.saturation)}
        return asdict(self) | told


def verify(
    plan: Plan,
    client: Client,
    samples: Samples,
    steps: int,
    tick: Callable[[int], None] = lambda count: None,
    slices: bool = False,
    batch: int = 0,
    kept: Path | None = None,
    stream: NDArray[np.int16] | None = None,
) -> Verdict:
    """Runs `steps` learning steps, then every other entry program once, and inferences before and after.

    Samples come in order, again from the first after the last. tick(count) when learning begins, with the
    steps that an earlier run compared, and after so many more. Stops at the first difference. Raises
    DeviceError if the device or the link fails.

    slices: programs run in slices, compared after every slice, with an inference before each where `infer`
            has an arena of its own
    batch:  steps in one exchange, at most what the chip takes; 0: as many as that
    kept:   the file from which the run goes on, if it is there, and which it writes (host/run/resume.py);
            SynapccError if it is none of this run
    stream: [pushes, values] int16, what a front end is given; None: drawn samples, for a few windows
    """
    if steps < 0:
        raise SynapccError("steps", f"is {steps}", "give 0 or more")
    client.reset()
    sides = Sides(plan, client, Emulator(plan), samples)
    before = resume.begin(kept, sides, steps) if kept else 0
    difference = compare_inferences(sides, before)
    programs: list[str] = []
    if stream is None and plan.streams:
        stream = drawn_stream(plan, np.random.default_rng(len(plan.entries)))
    done, learning = before, plan.learning
    if difference is None and learning:
        programs.append(learning)
        if not slices:  # numpy runs slices, whatever is expected
            sides.machine.expects(steps - before)
        run = Learning(sides, learning, batch, slices, before, resume.keeper(kept, sides))
        tick(before)
        difference = run.run(steps, tick)
        done = run.done
    verdicts = 0
    ran, instead = sides.machine.ran, sides.machine.instead
    for number, program in enumerate(plan.entries):
        if difference or program in ("infer", learning):
            continue
        programs.append(program)
        difference, ended = _run(sides, number, done, slices, stream)
        verdicts += ended
    difference = difference or compare_inferences(sides, done)
    if difference is None and (found := state_difference(plan, sides.machine.state[0], sides.read_back())):
        difference = Difference(done, "read back", *found, "no op: only the state read back differs")
    stats = client.stats()
    if difference is None:
        _hold_counts(sides, stats)
    checked = 2 * min(INFERENCES, len(samples)) if not difference else 0
    return Verdict(
        done,
        difference.bytes if difference else 0,
        checked,
        tuple(programs),
        plan.state_bytes,
        difference,
        stats,
        saturation(plan, sides.machine.state[0]),
        before,
        ran,
        "" if slices else instead,
        len(stream) if stream is not None and not (slices or difference) else 0,
        verdicts,
    )


def _hold_counts(sides: Sides, told: Stats) -> None:
    """What the chip's statistics say of a state that was found equal is what that state counts."""
    wanted = counts(sides.plan, sides.machine.state[0])
    if (told.learned, told.saturated) != wanted:
        got = f"{told.learned} samples learned and {told.saturated} updates at a limit"
        what = f"its statistics say {got}, its state {wanted[0]} and {wanted[1]}"
        raise DeviceError(sides.client.device.name, what, "build and flash this project")


def _run(
    sides: Sides, number: int, step: int, slices: bool, stream: NDArray[np.int16] | None
) -> tuple[Difference | None, int]:
    """An entry program on the first sample; one with inputs of its own, TURNS times on drawn numbers; a front
    end on a stream, unless it runs in slices, and how many verdicts there were."""
    program, rng = sides.plan.entries[number], np.random.default_rng(number)
    if stream is not None and program == PUSH and not slices:
        return follow(sides, stream)
    entry = sides.plan.entry(program)
    for _ in range(TURNS if own_inputs(sides.plan, entry) else 1):
        given = drawn(sides.plan, entry, sides.samples, rng)
        run = in_slices if slices else run_given
        if found := run(sides, program, 0, step, given):
            return found, 0
    return None, 0
