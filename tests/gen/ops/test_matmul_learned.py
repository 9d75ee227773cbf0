"""Products of two activations below which layers learn: signals reach either side, whichever lies turned."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from ctools import UNDEFINED, HostBatch
from play import play

from synapcc.gen.compile import Compiled, compile_model
from synapcc.gen.ir.graph import Graph, Node, Tensor
from synapcc.gen.spec import RuleSpec

SIDES = (2, 3, 4)  # a batch of maps [3, 4]


def attention(first: int, alone: bool, seed: int) -> Compiled:
    """x -> two dense layers (one, if `alone`) -> their product, the side `first` turned -> dense."""
    rng = np.random.default_rng(seed)
    tensors = {"x": Tensor("x", (6,))}
    nodes: list[Node] = []

    def put(op: str, name: str, size: tuple[int, ...], inputs: tuple[str, ...], **attrs: object) -> str:
        tensors[name] = Tensor(name, size)
        nodes.append(Node(op, f"n_{name}", inputs, name, attrs))  # type: ignore[arg-type]
        return name

    def dense(name: str, rows: int, columns: int, of: str) -> str:
        for part, shape in (("w", (rows, columns)), ("b", (rows,))):
            tensors[name + part] = Tensor(name + part, shape, rng.normal(0, columns**-0.5, shape))
        return put("dense", name, (rows,), (of, name + "w", name + "b"))

    maps = []
    for name in "p" if alone else "pq":
        maps.append(put("reshape", f"{name}m", SIDES, (dense(name, 24, 6, "x"),), shape=SIDES))
    inner = (SIDES[0], SIDES[1 + first], SIDES[1 + first])
    turned = (first, 1 - first)
    product = put("matmul", "y", inner, (maps[0], maps[-1]), turned=turned, scale=0.5)
    flat = put("reshape", "f", (int(np.prod(inner)),), (product,), shape=(int(np.prod(inner)),))
    out = dense("z", 3, int(np.prod(inner)), flat)
    graph = Graph(f"net{seed}", ("x",), out, tensors, tuple(nodes))
    data = {"x": rng.normal(size=(60, 6)).astype(np.float32), "label": rng.integers(0, 3, 60)}
    return compile_model(graph, RuleSpec("bp", layers="all", rate=6), data)


def test_emitted_c_is_the_emulator(tmp_path: Path) -> None:
    found = [attention(first, alone, 2 * first + alone) for first in (0, 1) for alone in (False, True)]
    kernels = [{s.kernel for _, s in c.abstract.steps() if s.kernel.startswith("matmul")} for c in found]
    assert all("matmul.feedback" in k for k in kernels[:2])
    assert all("matmul.feedback_right" in k for k in kernels[2:])
    batch = HostBatch([c.plan for c in found], tmp_path, "-O0", *UNDEFINED)
    try:
        assert sum(play(batch, i, i) for i in range(len(found))) > 20
    finally:
        batch.close()
