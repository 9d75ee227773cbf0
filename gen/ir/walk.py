"""Walks programs: the control flow that emulator, float runs and traces share.

What a step does is the caller's business.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .program import Call, Program, Repeat, Step

Active = NDArray[np.intp] | None  # the devices that take part; None: all of them


def walk(
    programs: Mapping[str, Program],
    name: str,
    step: Callable[[str, int, Step, Active], None],
    flag: Callable[[str, Active], Active],
    active: Active = None,
) -> None:
    """Runs program `name` on the devices `active`.

    step(program, position, step, active) is called for each step; flag(tensor, active) gives the devices
    whose flag is set (None for all, an empty array for none).
    """
    for place in steps(programs, name, flag, active):
        step(*place)


def steps(
    programs: Mapping[str, Program],
    name: str,
    flag: Callable[[str, Active], Active],
    active: Active = None,
) -> Iterator[tuple[str, int, Step, Active]]:
    """The steps of program `name` as `walk` calls them, one at a time: what runs a step takes the next one.

    A flag is read when the step before it has been run, and the next one is asked for.
    """
    for position, item in enumerate(programs[name].items):
        if isinstance(item, Step):
            yield name, position, item, active
        elif isinstance(item, Call):
            yield from steps(programs, item.program, flag, active)
        elif isinstance(item, Repeat):
            for _ in range(item.times):
                yield from steps(programs, item.program, flag, active)
        else:
            chosen = flag(item.flag, active)
            if chosen is None or len(chosen):
                yield from steps(programs, item.program, flag, chosen)


def selection(active: NDArray[np.intp]) -> slice | NDArray[np.intp]:
    """What indexes the fleet axis: a slice, so a view and no copy, where the devices stand side by side."""
    first, last = int(active[0]), int(active[-1])
    return slice(first, last + 1) if last - first + 1 == len(active) else active


def choose(flags: NDArray[np.generic], active: Active) -> Active:
    """Devices of `active` whose flag [devices, 1] is set; None if these are all devices."""
    if active is None:
        every = np.flatnonzero(flags[:, 0])
        return None if len(every) == len(flags) else every
    chosen: NDArray[np.intp] = active[flags[active, 0] != 0]
    return chosen


def masked(
    call: Callable[[dict[str, NDArray[Any]]], None],
    arrays: Mapping[str, NDArray[Any]],
    changes: Iterable[str],
    devices: int,
    active: Active,
) -> None:
    """Runs a kernel on the active devices alone: `call` gets their part of `arrays`, by role.

    An array of one row is shared by all devices. `changes`: the roles whose parts are put back.
    """
    if active is None:
        call(dict(arrays))
        return
    chosen = selection(active)
    part = {role: a if len(a) == 1 < devices else a[chosen] for role, a in arrays.items()}
    call(part)
    if isinstance(chosen, slice):
        return  # the parts are views
    for role in changes:
        arrays[role][chosen] = part[role]
