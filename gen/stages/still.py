"""Features that never moved in calibration, and that a network's own normalisation blew up.

A deviation of 0 gives such a feature a huge scale, and rounding of its mean a constant beside which the
features that do move are small. The constant belongs into the layers behind, where it costs no range of the
input's. A network that was trained behind such a constant has weights that depend on it: then it fills the
outputs of those layers, and is told by name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..ir.graph import Graph, Node, Tensor
from ..ir.program import Abstract, reached, root
from ..ir.quantiser import NAMED, UNEVEN, Quantiser
from ..ir.rewrite import Wires, fresh, pruned, renamed
from ..ops import changed, scaling
from .calibrate import Runs, widest
from .outliers import Held
from .passes import affine_behind_view, fold_affine_before

MOST = UNEVEN  # as between features of an input: less than eight of 255 steps are left to what moves
LOST = 0.02  # the share of classes that may change for it


@dataclass(frozen=True, slots=True)
class Still:
    """Features of an input that never moved, and whose constants are larger than all that moves.

    features: their places in the input, flat
    constant: what the network's own normalisation makes of the one that is largest
    moved:    whether the layers behind took the constants in
    """

    input: str
    features: tuple[int, ...]
    constant: float
    moved: bool

    def warning(self, what: str, ratio: float) -> str:
        """One line on what value `what` holds: constants `ratio` times larger than what moves."""
        which, one = ("features", "one") if len(self.features) > 1 else ("feature", "it")
        return (
            f"input {self.input}: {which} {listed(self.features)} never moved in calibration, and the "
            f"network's own normalisation makes {self.constant:.4g} of {one}: {what} holds constants "
            f"{ratio:.0f} times larger than what moves, which keeps few of the 255 steps; leave out what "
            "never moves, or train with a deviation of 1 for it"
        )


def listed(features: Sequence[int]) -> str:
    """Features for a person, the first few."""
    more = f" and {len(features) - NAMED} more" if len(features) > NAMED else ""
    return ", ".join(map(str, features[:NAMED])) + more


def settle(graph: Graph, samples: Mapping[str, NDArray[Any]]) -> tuple[Graph, tuple[Still, ...]]:
    """`graph` with the constants that would take the range of others moved out of its quantisers, and what
    was found.

    samples: raw inputs by name, [n, *shape]. A feature stays as it is where the layers behind cannot take it.
    """
    found = []
    for name, quantiser in graph.quantisers.items():
        x = np.asarray(samples[name], np.float32).reshape(len(samples[name]), -1)
        values = quantiser.real(x)
        still = np.all(values == values[0], axis=0)
        top = np.max(np.abs(values[:, ~still]), initial=0.0)
        loud = still & np.isfinite(values[0]) & (np.abs(values[0]) > top)
        if top > 0 and np.any(loud):
            offset, scale = quantiser.each(x.shape[1])
            settled = Quantiser.of(np.where(loud, x[0], offset), scale)
            constants = np.where(loud, values[0], 0.0).astype(np.float64)
            which = np.flatnonzero(loud)
            moved = _moved(graph, name, settled, constants, which)
            largest = float(constants[np.argmax(np.abs(constants))])
            found.append(Still(name, tuple(which.tolist()), largest, moved is not None))
            graph = moved or graph
    return graph, tuple(found)


def drowned(found: Sequence[Still], runs: Runs) -> list[str]:
    """A line for each of `found` whose constants leave few steps to what moves, where they are now, and cost
    answers of the network."""
    told = []
    for still in found:
        names = _behind(runs.abstract, still.input) if still.moved else [still.input]
        with np.errstate(over="ignore", invalid="ignore"):  # what overflows is refused with its formats
            ratio, top, name = max((*_ratio(runs, n), n) for n in names)
            if ratio > MOST and _lost(runs, name, top) > LOST:
                told.append(still.warning(name, ratio))
    return told


def _behind(abstract: Abstract, name: str) -> list[str]:
    """The values whose formats decide what the first layers behind an input may hold."""
    moves, found = {name}, dict[str, None]()
    forward = reached(abstract.programs, "forward")
    for program, step in abstract.steps():
        if program in forward and moves & set(step.args.values()):
            for written in changed(step).values():
                of = root(abstract.values, written)
                if of == name:
                    moves.add(written)
                else:
                    found[of] = None
    return list(found)


def _ratio(runs: Runs, name: str) -> tuple[float, float]:
    """(the largest magnitude of a value, by the deviation of those of its elements that move; itself)."""
    x = np.concatenate([machine.real(name) for _, machine in runs.forward()])
    variance, top = np.var(x, axis=0), float(np.max(np.abs(x)))
    moving = variance[variance > 0]
    return (top / float(np.sqrt(np.mean(moving))) if len(moving) else 0.0), top


def _lost(runs: Runs, name: str, top: float) -> float:
    """The share of samples whose class changes if the value is held in int8, and nothing else is."""
    lost = 0
    for rows, machine in runs.forward():
        held = runs.machine(rows, Held)
        assert isinstance(held, Held)
        held.fracs = {name: widest(127, top)}
        if name in runs.abstract.inputs:
            held.hold(name)
        held.run("infer")
        lost += int(np.sum(held.arena["verdict"][:, 0] != machine.arena["verdict"][:, 0]))
    return lost / len(runs)


def _moved(
    graph: Graph, name: str, quantiser: Quantiser, constants: NDArray[np.float64], which: NDArray[np.intp]
) -> Graph | None:
    """The graph with another quantiser and `constants` [size] in the layers behind; None if one cannot."""
    behind, one, shift = (fresh(graph, f"{name}_{what}") for what in ("still", "still_scale", "still_shift"))
    tensors = {
        behind: Tensor(behind, graph.tensors[name].shape),
        one: Tensor(one, constants.shape, np.ones_like(constants)),
        shift: Tensor(shift, constants.shape, constants),
    }
    node = Node(scaling(), behind, (name, one, shift), behind, {}, f"what never moved in {name}")
    moved = listed(which.tolist())
    graph = renamed(graph, name, behind)
    graph = replace(
        graph,
        nodes=(node, *graph.nodes),
        tensors={**graph.tensors, **tensors},
        quantisers={**graph.quantisers, name: quantiser},
        notes=(*graph.notes, f"input {name}: features that never moved became constants: {moved}"),
    )
    while new := affine_behind_view(Wires(graph)) or fold_affine_before(Wires(graph)):
        graph = pruned(new)
    return None if any(n.name == behind for n in graph.nodes) else graph
