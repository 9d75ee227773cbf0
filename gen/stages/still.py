"""Features that never moved in calibration, and that a network's own normalisation blew up.

A deviation of 0 gives such a feature a huge scale, and rounding of its mean a constant beside which the
features that do move are small. The constant belongs into the layers behind, where it costs no range.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..ir.graph import Graph, Node, Tensor
from ..ir.quantiser import Quantiser
from ..ir.rewrite import Wires, fresh, pruned, renamed
from ..ops import scaling
from .passes import affine_behind_view, fold_affine_before


def settle(graph: Graph, samples: Mapping[str, NDArray[Any]]) -> Graph:
    """`graph` with the constants that would take the range of others moved out of its quantisers.

    samples: raw inputs by name, [n, *shape]. A feature stays as it is where the layers behind cannot take it.
    """
    for name, quantiser in graph.quantisers.items():
        x = np.asarray(samples[name], np.float32).reshape(len(samples[name]), -1)
        values = quantiser.real(x)
        still = np.all(values == values[0], axis=0)
        top = np.max(np.abs(values[:, ~still]), initial=0.0)
        loud = still & np.isfinite(values[0]) & (np.abs(values[0]) > top)
        if top > 0 and np.any(loud):
            offset, scale = quantiser.each(x.shape[1])
            changed = Quantiser.of(np.where(loud, x[0], offset), scale)
            constants = np.where(loud, values[0], 0.0).astype(np.float64)
            graph = _moved(graph, name, changed, constants, np.flatnonzero(loud)) or graph
    return graph


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
    listed = ", ".join(map(str, which[:6])) + (f" and {len(which) - 6} more" if len(which) > 6 else "")
    graph = renamed(graph, name, behind)
    graph = replace(
        graph,
        nodes=(node, *graph.nodes),
        tensors={**graph.tensors, **tensors},
        quantisers={**graph.quantisers, name: quantiser},
        notes=(*graph.notes, f"input {name}: features that never moved became constants: {listed}"),
    )
    while new := affine_behind_view(Wires(graph)) or fold_affine_before(Wires(graph)):
        graph = pruned(new)
    return None if any(n.name == behind for n in graph.nodes) else graph
