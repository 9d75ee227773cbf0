"""Streams of raw samples: what a front end is given push by push, and both sides on the same stream.

After every push the checksum of the state is compared, which holds every filter, ring and clock of the front
end; where it ended in a verdict, winner, margin and scores too.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from synapcc.gen.errors import SynapccError
from synapcc.gen.files.npz import load_arrays
from synapcc.gen.ir.inputs import listed
from synapcc.gen.ir.plan import DENY, MARK, PUSH, Plan
from synapcc.gen.stages.stream import Clock, clock_of
from synapcc.gen.target.messages import Flag, Region

from .given import Given
from .learning import SHA_STEPS
from .locate import Difference, Place, first_op, first_place, locate
from .sides import Sides

WINDOWS = 3
"""That a drawn stream lasts."""
MARKED, LATE = 8, 3
"""One push in so many is followed by a label, up to so many windows late."""
BEATS, RAILS = 14, 2
"""That a drawn stream holds for a front end that looks for some, and rails in its second half."""
SAMPLES = "samples"
INT16 = np.iinfo(np.int16)


def push_size(plan: Plan) -> int:
    """How many int16 values a push takes."""
    return plan[plan.entry(PUSH).inputs[0]].count


def drawn_stream(plan: Plan, rng: np.random.Generator) -> NDArray[np.int16]:
    """Samples for a few windows, [pushes, values]: noise of all sizes, steps, rails and silence."""
    clock = clock_of(plan)
    if clock.pace:
        return _drawn_beats(plan, clock, rng)
    pushes = -(-(clock.most + WINDOWS * clock.hop) // clock.frames) + 1
    rows = []
    for _ in range(pushes):
        size, top = push_size(plan), int(2 ** rng.integers(0, 16)) - 1
        noise = rng.integers(-top - 1, top + 1, size)
        rails = rng.choice([INT16.min, INT16.max], size)
        step = np.full(size, rng.integers(INT16.min, INT16.max + 1))
        rows.append((noise, rails, step, np.zeros(size))[int(rng.choice(4, p=[0.6, 0.15, 0.15, 0.1]))])
    return np.array(rows).astype(np.int16)


def _drawn_beats(plan: Plan, clock: Clock, rng: np.random.Generator) -> NDArray[np.int16]:
    """What finds events finds them in: peaks of all heights upon noise, and here and there a rail."""
    size = push_size(plan)
    pushes = -(-(clock.most + WINDOWS * clock.hop + BEATS * clock.pace) // clock.frames) + 1
    frames = pushes * size // clock.channels
    every = frames / (pushes * clock.frames)  # raw ones to one of the events' signal
    pace = every * clock.pace
    peaks = np.cumsum(pace * rng.uniform(0.5, 1.5, round(2 * frames / pace) + 2))
    top = 2.0 ** rng.uniform(13, 14.5)
    heights = top * rng.uniform(0.6, 1, len(peaks)) * rng.choice([-1, 1])
    at = (np.arange(frames)[:, None] - peaks) / (pace / 60)
    x = (heights * np.exp(-(at**2))).sum(axis=1)[:, None] + rng.normal(0, top / 60, (frames, clock.channels))
    for _ in range(RAILS):
        first = int(rng.integers(frames // 2, frames))
        x[first : first + max(1, round(pace / 40))] = rng.choice([INT16.min, INT16.max])
    held = np.clip(np.round(x), INT16.min, INT16.max)
    found: NDArray[np.int16] = held.astype(np.int16).reshape(pushes, size)
    return found


def load_stream(plan: Plan, path: Path) -> NDArray[np.int16]:
    """The array `samples` of an .npz file as pushes, [pushes, values]: int16, [n] or [n, channels]. What is
    left behind the last whole push is left out.

    Raises SynapccError for anything else.
    """
    x = read_stream(path)
    size, channels = push_size(plan), clock_of(plan).channels
    if x.size < size:
        what = f"{SAMPLES} holds {x.size} values, and a push takes {size}"
        raise SynapccError(str(path), what, "give a longer stream")
    if x.size // len(x) != channels:
        what = f"{SAMPLES} has shape {list(x.shape)}"
        raise SynapccError(str(path), what, f"give [n, {channels}], a column for each channel")
    return x.reshape(-1)[: x.size // size * size].reshape(-1, size)


def read_stream(path: Path) -> NDArray[np.int16]:
    """The array `samples` of an .npz file, [n] or [n, channels], as int16; SynapccError for anything else."""
    arrays = load_arrays(path)
    if SAMPLES not in arrays:
        what = f"there is no array {SAMPLES}, but {listed(arrays)}"
        raise SynapccError(str(path), what, f"give raw samples as {SAMPLES}, int16 [n] or [n, channels]")
    x = arrays[SAMPLES]
    if x.ndim not in (1, 2) or x.dtype.kind not in "iu" or not x.size:
        what = f"{SAMPLES} is {x.dtype} of shape {list(x.shape)}"
        raise SynapccError(str(path), what, "give int16, [n] or [n, channels], as the converter has them")
    if x.min() < INT16.min or x.max() > INT16.max:
        what = f"{SAMPLES} holds {x.min()} to {x.max()}"
        raise SynapccError(str(path), what, "give what fits int16")
    return x.astype(np.int16)


def follow(sides: Sides, stream: NDArray[np.int16]) -> tuple[Difference | None, int]:
    """Both sides on a stream, [pushes, values]; the first difference, if there is any, whose step is the
    number of its push, and how many verdicts there were. Where windows may be labelled late, some are."""
    plan, rng, verdicts = sides.plan, np.random.default_rng(0), 0
    sides.machine.expects(len(stream))
    for at, row in enumerate(stream, 1):
        kind = Flag.DIGEST if at % SHA_STEPS == 0 or at == len(stream) else Flag.CHECKSUM
        other = pushed(sides, row, at, kind)
        verdicts += other is None and bool(sides.machine["push_made"][0, 0])
        if other is None and plan.marks and rng.integers(MARKED) == 0:
            other = _marked(sides, at, rng)
        if other is not None:
            return other, verdicts
    return None, verdicts


def pushed(sides: Sides, row: NDArray[np.int16], at: int, kind: Flag = Flag.CHECKSUM) -> Difference | None:
    """Both sides on a push, [values], the `at`-th of its stream; the first difference, if there is any.

    kind: which proof of its state the chip is asked for
    """
    (name,) = sides.plan.entry(PUSH).inputs
    before, given = sides.machine.state.copy(), Given({name: row[None]}, None)
    if found := _both(sides, PUSH, given, at, kind):
        return found
    if sides.machine["push_made"][0, 0] and (place := _other_answer(sides)):
        return Difference(at, PUSH, *place, first_op(sides, before, PUSH, 0, given))
    return None


def marked(sides: Sides, label: int, back: int, at: int, entry: str = MARK) -> Difference | None:
    """Both sides on a label for the window `back` raw frames before push `at`: as `pushed`. What `mark_found`
    of the emulator then holds says whether there was one. entry: MARK, or DENY for a class that it was not"""
    (name,) = sides.plan.entry(entry).inputs
    return _both(sides, entry, Given({name: np.array([[back]], np.uint32)}, label), at, Flag.CHECKSUM)


def _both(sides: Sides, program: str, given: Given, at: int, kind: Flag) -> Difference | None:
    """Both sides on an entry program; the first byte of the state that differs behind it."""
    before = sides.machine.state.copy()
    sides.give(program, given)
    sides.machine.run(program)
    if sides.client.run(sides.plan.entries.index(program), kind) != sides.proof(kind):
        return locate(sides, before, program, 0, at, given)
    return None


def _marked(sides: Sides, at: int, rng: np.random.Generator) -> Difference | None:
    """A label for a window of some pushes before, behind push `at`; often there is none."""
    plan = sides.plan
    clock = clock_of(plan)
    frames = push_size(plan) // clock.channels
    back = int(rng.integers(0, 1 + LATE * max(clock.hop, clock.pace, frames)))
    entry = DENY if plan.denies and rng.integers(2) else MARK
    return marked(sides, int(rng.integers(plan.classes)), back, at, entry)


def _other_answer(sides: Sides) -> Place | None:
    """The first place where the verdicts or the scores of both sides differ."""
    for name in ("verdict", sides.plan.logits):
        t = sides.plan[name]
        want = np.ascontiguousarray(sides.machine[name][0]).view(np.uint8)
        got = np.frombuffer(sides.client.read(Region.ARENA, t.offset, t.nbytes), np.uint8)
        if found := first_place(t, want, got):
            return name, *found, int(np.count_nonzero(got != want))
    return None
