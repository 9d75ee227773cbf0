"""The compiled engine of the emulator: a Plan's programs device by device, without Python between steps.

numba compiles it and is optional (the extra `fast`); nothing here imports it before an engine is made. The
numpy form of each kernel remains the reference: tests/host/engine holds numpy, engine and C together.
"""

from __future__ import annotations

import importlib.util
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from synapcc.gen.errors import SynapccError
from synapcc.gen.ir.plan import Plan
from synapcc.gen.ir.program import Step
from synapcc.gen.ops import kernel

if TYPE_CHECKING:
    from .tape import Tape

HINT = "pip install 'synapcc[fast]'"
Memory = NDArray[np.uint8]
PARTS = 8
"""Of the devices, for each core: one core that has less time than the others then takes fewer of them."""


class Unusable(SynapccError):
    """Nothing ran: compiled code cannot be made, or not be loaded."""


@cache
def unusable() -> tuple[str, str]:
    """Why nothing can be compiled here, and what to do; two empty texts if it can. Imports numba."""
    if importlib.util.find_spec("numba") is None:
        return "numba is not installed", HINT
    try:
        from . import tape  # noqa: F401
    except Exception as error:  # an installation may be broken in any way
        return f"numba cannot be imported: {_told(error)}", 'install it again, or take engine = "numpy"'
    return "", ""


def _told(error: Exception) -> str:
    """An exception in a line."""
    return f"{type(error).__name__} {' '.join(str(error).split())[:200]}".strip()


def missing(plan: Plan) -> tuple[str, ...]:
    """Kernels of a Plan that have no loop form, or none for a step: where there are any, numpy runs it."""
    return tuple(sorted({s.kernel for _, _, s in plan.ops() if not _known(plan, s)}))


def _known(plan: Plan, step: Step) -> bool:
    loop = vars(type(kernel(step.kernel))).get("loop")
    return loop is not None and loop.form({r: plan[n] for r, n in step.args.items()}, step.attrs) is not None


class Engine:
    """Runs programs of one Plan on memory that its caller holds. `missing` is empty for the Plan.

    say: is told where something must be compiled first, which takes seconds
    """

    def __init__(self, plan: Plan, say: Callable[[str], None]) -> None:
        self.plan, self.say = plan, say
        self._tapes: dict[tuple[str, str], Tape] = {}

    def __getstate__(self) -> dict[str, Any]:
        """For copy and pickle: tapes hold addresses."""
        return vars(self) | {"_tapes": {}}

    def load(self, program: str, first: str = "") -> None:
        """Compiles what a program needs, or finds it. Raises Unusable."""
        from .jit import walker

        try:
            self.tape(program, first)
            walker().entry()
        except Exception as error:  # of numba, LLVM or the disk
            what = f"compiled code cannot be loaded: {_told(error)}"
            raise Unusable(self.plan.model, what, 'take engine = "numpy"') from error

    def tape(self, program: str, first: str = "") -> Tape:
        from .tape import sources, tape

        if (program, first) not in self._tapes:
            needed = [s for p in (first, program) if p for s in sources(self.plan, p)]
            new = {s.path for s in needed if not s.compiled}
            if new:
                self.say(f"compiling {len(new)} kernels of the emulator; the next run finds them")
            self._tapes[program, first] = tape(self.plan, program, first)
        return self._tapes[program, first]

    def run(
        self,
        program: str,
        state: Memory,
        arena: Memory,
        devices: NDArray[np.intp],
        feeds: Mapping[str, NDArray[Any]] | None = None,
        active: NDArray[np.bool_] | None = None,
        checksums: NDArray[np.uint64] | None = None,
        first: str = "",
        said: Mapping[str, NDArray[Any]] | None = None,
    ) -> None:
        """Runs a program on `devices`, whose memory are rows of state and arena; one row of state is that of
        all of them.

        feeds:  tensors of the arena by name that are given before each run, [times, all devices, size]
        active: which devices take part in each of these runs, [times, all devices]; None: all
        checksums: that of each state after each of these runs goes there, [times, all devices, SUMS]
        first: a program that runs on the same feeds before each of these runs, `program` on them anew
        said: where tensors of the arena by name go as `first` left them, [times, all devices, size]
        Raises Unusable; SynapccError where a step fails, and then states are half-way.
        """
        from .jit import walker

        self.load(program, first)
        tape = self.tape(program, first)
        given = {n: np.ascontiguousarray(v) for n, v in (feeds or {}).items()}
        times = len(next(iter(given.values()))) if given else 1
        fed, takes = self._copies(given), self._copies(said or {})
        mask = np.zeros((0, 0), np.uint8) if active is None else np.ascontiguousarray(active, np.uint8)
        shared = len(state) == 1 < len(arena)
        strides = np.array([0, 0 if shared else state.shape[1], arena.shape[1]], np.int64)
        bases = np.array([0, state.ctypes.data, arena.ctypes.data], np.int64)
        out = np.zeros((0, 0, 0), np.uint64) if checksums is None else checksums
        walk = walker().entry()

        def part(chosen: NDArray[np.int64]) -> None:
            if (
                walk(
                    tape.rows,
                    chosen,
                    strides,
                    bases,
                    fed,
                    mask,
                    tape.slots,
                    times,
                    state.shape[1],
                    out,
                    takes,
                )
                >= 0
            ):
                hint = "states are half-way: reset, and run fewer devices at once"
                raise SynapccError(self.plan.model, f"{program} stopped, out of memory", hint)

        parts = max(1, min(cores() * PARTS, len(devices)))
        _threads(part, np.array_split(devices.astype(np.int64), parts))

    def _copies(self, arrays: Mapping[str, NDArray[Any]]) -> NDArray[np.int64]:
        """Tensors of arena or state and [times, all devices, size], as host/engine/walk.py copies them."""
        from .walk import ARENA, STATE

        rows = []
        for n, v in arrays.items():
            t = self.plan[n]
            place = STATE if t.space == "state" else ARENA
            rows.append([t.offset, v[0, 0].nbytes, v.ctypes.data, v.strides[0], v.strides[1], place])
        return np.array(rows, np.int64).reshape(-1, 6)


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _threads(part: Callable[[NDArray[np.int64]], None], parts: Sequence[NDArray[np.int64]]) -> None:
    """part(parts[i]) for all i, on all cores: each takes the next one. Raises what one of them raised, or all
    of several as a group; a core where something was raised takes no more."""
    errors: list[Exception] = []
    left = iter(parts)

    def run() -> None:
        try:
            for chosen in left:
                part(chosen)
        except Exception as error:
            errors.append(error)

    others = [threading.Thread(target=run) for _ in range(min(cores(), len(parts)) - 1)]
    for thread in others:
        thread.start()
    run()
    for thread in others:
        thread.join()
    if len({str(e) for e in errors}) > 1:
        raise ExceptionGroup("threads of the compiled engine failed", errors)
    if errors:
        raise errors[0]
