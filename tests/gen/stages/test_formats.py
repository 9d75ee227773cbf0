"""Number formats that quantise chooses: integers must mean what the float network computes, on both sides."""

from __future__ import annotations

import numpy as np
import pytest
from counts import counted
from random_nets import random_calibration, random_graph

from synapcc.gen.compile import compile_model
from synapcc.gen.errors import CompileError
from synapcc.gen.ir.graph import Graph, Node, Tensor
from synapcc.gen.spec import Feedback, RuleSpec
from synapcc.gen.stages.float_run import RealMachine
from synapcc.host.run.emulator import Emulator

pytestmark = pytest.mark.anywhere

CLIPS = {"relu": (0.0, np.inf), "narrow": (-1.0, 1.0), "relu6": (0.0, 6.0)}


def two_readers(clips: tuple[str, ...], plain: bool) -> Graph:
    """One dense layer whose output several clips read, and the layer behind them as it is if `plain`."""
    rng = np.random.default_rng(3)
    parts = [*clips, *(["h"] if plain else [])]
    shapes = {"w1": (6, 8), "b1": (6,), "w2": (3, 6 * len(parts)), "b2": (3,)}
    tensors = {n: Tensor(n, s, rng.normal(0, 2, s)) for n, s in shapes.items()}
    tensors |= {"x": Tensor("x", (8,)), "z": Tensor("z", (3,)), "j": Tensor("j", (6 * len(parts),))}
    tensors |= {n: Tensor(n, (6,)) for n in (*clips, "h")}
    limits = [
        Node("clip", f"{c}_clip", ("h",), c, dict(zip(("lo", "hi"), CLIPS[c], strict=True))) for c in clips
    ]
    dense = [Node("dense", f"fc{i}", (x, f"w{i}", f"b{i}"), y) for i, x, y in ((1, "x", "h"), (2, "j", "z"))]
    nodes = (dense[0], *limits, Node("concat", "join", tuple(parts), "j"), dense[1])
    return Graph("readers", ("x",), "z", tensors, nodes)


def compare(graph: Graph, calibration: dict[str, np.ndarray]) -> float:
    """Error of the integer logits against the float network's on the calibration data, by their size."""
    compiled = compile_model(graph, RuleSpec("none"), calibration)
    n = len(calibration[graph.inputs[0]])
    inputs = {i: calibration[i] for i in graph.inputs}
    scores = Emulator(compiled.plan, n).infer(inputs)[2] * 2.0 ** -compiled.plan[compiled.plan.logits].frac
    real = RealMachine(compiled.abstract.values, compiled.abstract.programs, n, shared=True)
    real.load({i: x.reshape(n, -1) for i, x in inputs.items()})
    real.run("infer")
    want = real.arena[compiled.plan.logits]
    return float(np.sqrt(np.mean((scores - want) ** 2)) / max(np.sqrt(np.mean(want**2)), 1e-9))


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize(
    "clips", [("relu",), ("relu", "narrow"), ("narrow", "relu"), ("relu6", "narrow", "relu")]
)
def test_a_tensor_with_several_readers_keeps_its_meaning(clips: tuple[str, ...], plain: bool) -> None:
    """A clip has its input's format; with two clips of other ranges one of them was off by powers of two."""
    x = np.random.default_rng(1).normal(size=(400, 8)).astype(np.float32)
    assert compare(two_readers(clips, plain), {"x": x}) < 0.05


@counted(15, 60)
def test_random_networks_compute_what_their_floats_do(count: int) -> None:
    """Both sides of `verify` run one Plan: a format that is wrong in it is wrong on both."""
    errors = []
    for seed in range(count):
        rng = np.random.default_rng([5, seed])
        graph = random_graph(rng, f"f{seed}")
        try:
            errors.append((compare(graph, random_calibration(rng, graph)), seed))
        except CompileError:
            continue
    assert len(errors) > count / 1.5
    worst = sorted(errors)[-4:]
    print(worst)
    assert np.median([e for e, _ in errors]) < 0.03 and worst[-1][0] < 0.3, worst


@pytest.mark.parametrize("storage", ["flash", "generated"])
def test_signals_through_a_wide_fixed_matrix_get_the_room_that_is_left(storage: str) -> None:
    """600 rows x 127 x 2^15 is more than 2^31: fewer bits for the signal, not a refusal."""
    rng = np.random.default_rng(0)
    sizes = (8, 600, 600, 3)
    tensors = {"x": Tensor("x", (8,))}
    nodes, at = [], "x"
    for i in (1, 2, 3):
        n, m = sizes[i - 1], sizes[i]
        tensors |= {f"w{i}": Tensor(f"w{i}", (m, n), rng.normal(0, n**-0.5, (m, n)))}
        tensors |= {f"b{i}": Tensor(f"b{i}", (m,), np.zeros(m)), f"y{i}": Tensor(f"y{i}", (m,))}
        nodes.append(Node("dense", f"fc{i}", (at, f"w{i}", f"b{i}"), f"y{i}"))
        at = f"y{i}"
    graph = Graph("wide", ("x",), at, tensors, tuple(nodes))
    data = {"x": rng.normal(size=(20, 8)).astype(np.float32), "label": np.arange(20) % 3}
    spec = RuleSpec("fa", feedback=Feedback("random", storage))
    assert compile_model(graph, spec, data).plan["fc3_input_teach"].hi == 2**14 - 1


def test_a_network_that_only_clips_is_refused() -> None:
    tensors = {n: Tensor(n, (4,)) for n in "xy"}
    graph = Graph(
        "only", ("x",), "y", tensors, (Node("clip", "relu", ("x",), "y", {"lo": 0.0, "hi": np.inf}),)
    )
    with pytest.raises(CompileError, match="holds it within limits"):
        compile_model(graph, RuleSpec("none"), {"x": np.ones((3, 4), np.float32)})
