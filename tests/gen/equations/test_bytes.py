"""Random equations on random networks: numpy, compiled engine and emitted C hold the same bytes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ctools import UNDEFINED, ChipBatch, HostBatch
from equations import drawn
from play import emulate, play
from random_nets import life, random_calibration, random_graph, random_spec

from synapcc.gen.compile import Compiled, compile_model
from synapcc.gen.errors import CompileError
from synapcc.gen.ops import layer
from synapcc.gen.spec import Feedback, Loss, Schedule
from synapcc.host.run.emulator import Emulator

MODELS, LONG = 6, 300
REFUSED = 0.5  # the largest share that a compilation may refuse: tiny networks whose formats lie far apart


def model(seed: int) -> Compiled:
    """A random network under random equations; CompileError where they do not fit each other."""
    rng = np.random.default_rng([2711, seed])
    graph = random_graph(rng, f"own{seed}")
    spec = random_spec(rng, graph)
    layers = tuple(n.name for n in graph.nodes if layer(n.op).weighted)
    whole = seed % 4 != 0
    update, teach, trace = drawn(rng, whole)
    chosen = tuple(n for n in layers if rng.integers(4)) or layers[-1:]
    falls = sorted({int(n) for n in rng.integers(1, 6, int(rng.integers(1, 3)))})
    falling = whole and not rng.integers(4)
    rates = tuple((n, k) for n, k in spec.rates if n in chosen)
    loss = Loss() if spec.loss.kind == "mse" else spec.loss
    made = replace(
        spec,
        rule="own",
        options=(),
        update=update,
        teach=teach,
        trace=trace,
        feedback=Feedback(),
        schedule=Schedule(tuple(falls), int(rng.integers(1, 3))) if falling else None,
        loss=loss,
        layers=chosen if whole else "all",
        rates=rates if whole else (),
    )
    data = random_calibration(rng, graph)
    try:
        return compile_model(graph, made, data)
    except CompileError as error:
        if "drop the equation" not in error.hint:
            raise
    return compile_model(graph, replace(made, update=replace(update, feedback="")), data)


def models(first: int, count: int) -> list[tuple[Compiled, int]]:
    """So many compilations and their seeds. The refusals between them are one line and a caret at most."""
    made: list[tuple[Compiled, int]] = []
    seed = first
    while len(made) < count:
        try:
            made.append((model(seed), seed))
        except CompileError as error:
            assert "\n" not in error.line and error.excerpt.count("\n") == (1 if error.excerpt else 0)
        seed += 1
        assert seed - first < 8 + count / (1 - REFUSED), "too much is refused"
    return made


@pytest.mark.parametrize("count", [MODELS, pytest.param(LONG, marks=pytest.mark.long)])
@pytest.mark.parametrize("kernels, flags", [("ref", ("-O1", *UNDEFINED)), ("dsp", ("-O0", *UNDEFINED))])
def test_emitted_c_is_the_emulator(kernels: str, flags: tuple[str, ...], count: int, tmp_path: Path) -> None:
    some = models(1000 * (kernels == "dsp"), count)
    found = {s.kernel for c, _ in some for _, s in c.abstract.steps()}
    assert {"statement.matrix", "statement.change", "statement.signal", "ternary.forward"} <= found
    mapped = {"statement2d.tied", "statement2d.untied", "statement2d.bias"}
    assert mapped <= found if count > MODELS else mapped & found
    batch = HostBatch([c.plan for c, _ in some], tmp_path, *flags, kernels=kernels)
    try:
        assert sum(play(batch, i, seed) for i, (_, seed) in enumerate(some)) >= 8 * count
    finally:
        batch.close()


def test_emitted_c_on_the_virtual_m4(tmp_path: Path) -> None:
    some = models(5000, 4)
    batch = ChipBatch([c.plan for c, _ in some], tmp_path, "gcc", "ref")
    assert sum(play(batch, i, seed) for i, (_, seed) in enumerate(some)) >= 32


@pytest.mark.long
@pytest.mark.parametrize("count", [6])
def test_the_compiled_engine_is_numpy(count: int) -> None:
    pytest.importorskip("numba", reason="numba is not installed: pip install 'synapcc[fast]'")
    for c, seed in models(9000, count):
        one, other = Emulator(c.plan), Emulator(c.plan, engine="compiled")
        for deed in life(c.plan, seed):
            emulate(one, deed)
            emulate(other, deed)
            assert one.state.tobytes() == other.state.tobytes(), f"seed {seed}, {deed.what}"
