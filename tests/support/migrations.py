"""Pairs of Plans of which one follows the other on a chip, and firmware/migrate.c between them."""

from __future__ import annotations

import struct
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from ctools import HERE, compile_host
from head_nets import perceptron, samples
from keep_cuts import FIRMWARE, STORE
from numpy.typing import NDArray
from random_nets import random_guard, random_options, random_parts, random_spec

from synapcc.gen.compile import Compiled, compile_model
from synapcc.gen.emit.keep import content, slot_bytes
from synapcc.gen.errors import CompileError
from synapcc.gen.ir.graph import Graph
from synapcc.gen.ir.plan import Plan
from synapcc.gen.spec import Guard, Keep, Momentum, RuleSpec, Store
from synapcc.host.link.state import joined, split
from synapcc.host.run.migrate import as_compiled

Rng = np.random.Generator
OK, OTHER, CORRUPT, MIGRATED = 0, 3, 7, 9
MIGRATE = Keep(migrate=True)


def follower(seed: int) -> Compiled | None:
    """What comes behind random network `seed`: other rule, rates, formats, or guard. None where refused."""
    graph, spec, calibration, mode = random_parts(seed)
    rng = np.random.default_rng([71, seed])
    kind = int(rng.integers(5))
    if kind == 0:
        spec = random_spec(rng, graph)
        known = random_options(rng, spec.rule)
        spec = replace(spec, options=tuple(o for o in known if o[0] != "depth"))
    elif kind == 1:
        spec = replace(spec, rate=spec.rate % 9 + 2, rates=(), seed=spec.seed ^ 1)
    elif kind == 2:
        spec = replace(spec, weights="int8" if spec.weights == "int16" else "int16")
    elif kind == 3:
        spec = random_guard(rng, replace(spec, guard=None), calibration)
    if kind in (1, 2, 4):
        scale = float(rng.choice([0.1, 0.5, 3.0, 20.0]))
        calibration = {n: v * np.float32(scale) if n in graph.inputs else v for n, v in calibration.items()}
    try:
        return compile_model(graph, spec, calibration, quantise=mode)
    except CompileError:
        return None


def taller(graph: Graph, hidden: int) -> Graph:
    """A perceptron of two layers whose hidden one has another size."""
    tensors = dict(graph.tensors)
    for name, shape in {"fc1_w": (hidden, 16), "fc1_b": (hidden,), "fc2_w": (5, hidden)}.items():
        if name == "fc1_w":
            shape = (hidden, tensors["x"].shape[0])
        if name == "fc2_w":
            shape = (tensors["fc2_w"].shape[0], hidden)
        value = np.resize(tensors[name].value, shape)  # type: ignore[arg-type]
        tensors[name] = replace(tensors[name], shape=shape, value=value)
    for name in ("fc1", "relu1"):
        tensors[name] = replace(tensors[name], shape=(hidden,))
    return replace(graph, tensors=tensors)


def perceptrons() -> dict[str, Compiled]:
    """A small network, and what its makers may have done to it since."""
    every = RuleSpec("bp", layers="all", rate=6)
    guard = Guard(every=2, samples=8, base=0, period=4)
    retrained = perceptron(5, layers=2, seed=9)
    cases: dict[str, tuple[Graph, RuleSpec, int]] = {
        "first": (perceptron(5), every, 5),
        "rate": (perceptron(5), replace(every, rate=4, weights="int8"), 5),
        "rule": (perceptron(5), replace(every, rule="dfa"), 5),
        "last layer": (perceptron(5), RuleSpec("last", rate=6), 5),
        "momentum": (perceptron(5), replace(every, momentum=Momentum(3)), 5),
        "guard": (perceptron(5), replace(every, store=Store(12), guard=guard), 5),
        "a class more": (perceptron(6), every, 6),
        "a layer more": (perceptron(5, layers=3), every, 5),
        "another size": (taller(perceptron(5), 20), every, 5),
        "retrained": (retrained, RuleSpec("last", rate=6), 5),
    }
    return {
        name: compile_model(graph, spec, samples(60, classes, 1), name=name.replace(" ", "_"))
        for name, (graph, spec, classes) in cases.items()
    }


@dataclass(frozen=True, slots=True)
class Case:
    """A state that one Plan's firmware keeps, and the Plan that comes behind it."""

    old: Compiled
    state: bytes
    new: Compiled
    old_keep: Keep = MIGRATE
    new_keep: Keep = MIGRATE
    damages: int = 0


def _side(compiled: Compiled, keep: Keep, state: bytes) -> bytes:
    held = content(compiled.plan, keep, compiled.heard)
    out = struct.pack("<II", len(held.spans), len(held.packed))
    out += b"".join(struct.pack("<II", s.offset, s.bytes) for s in held.spans) + held.packed
    out += struct.pack("<II", compiled.plan.numeric_version, held.layout) + compiled.plan.digest
    return out + struct.pack("<I", len(state)) + state


def block_of(plan: Plan, tensors: Mapping[str, NDArray[Any]]) -> bytes:
    return joined(plan, tensors)


def packed(case: Case, rng: Rng) -> bytes:
    """A case as c/migratesim.c reads it, in a flash of some shape, its slot somewhere in the ring."""
    plan, held = case.new.plan, content(case.new.plan, case.new_keep, case.new.heard)
    assert held.manifest is not None
    word = int(rng.choice([1, 4, 8, 32]))
    block = int(rng.choice([256, 1024, 4096]))
    most = max(slot_bytes(held.bytes, word), slot_bytes(
        content(case.old.plan, case.old_keep, case.old.heard).bytes, word))  # fmt: skip
    blocks = 3 * -(-most // block) + int(rng.integers(3))
    out = struct.pack("<5I", case.damages, word, block, blocks, int(rng.integers(1, 7)))
    out += _side(case.old, case.old_keep, case.state)
    out += _side(case.new, case.new_keep, block_of(plan, as_compiled(plan)))
    entries, needs = held.manifest.entries, held.manifest.needs
    plain = struct.unpack("<I", held.packed[-12:-8])[0]
    out += struct.pack("<4I", len(entries), held.manifest.always, len(needs), plain)
    for e in entries:
        t = plan[e.name]
        out += struct.pack("<3I", t.offset, t.lo % 2**32, t.hi % 2**32)
    return out + b"".join(struct.pack("<2H", *pair) for pair in needs)


MIGRATING = (HERE / "c" / "migratesim.c", FIRMWARE / "migrate.c")


def simulator(folder: Path, *flags: str) -> Path:
    return compile_host([*MIGRATING, *STORE], folder / "migratesim", "-O1", f"-I{FIRMWARE}", *flags)


def taken_over(
    program: Path, cases: list[Case], seed: int
) -> Iterator[tuple[int, int, dict[str, NDArray[Any]]]]:
    """Of each case the answer, how many tensors were taken, and the state behind it, as C has it."""
    rng = np.random.default_rng(seed)
    done = subprocess.run(
        [program], input=b"".join(packed(c, rng) for c in cases), capture_output=True, check=False
    )
    assert done.returncode == 0, f"status {done.returncode}: {done.stderr.decode()[-500:]}"
    at = 0
    for case in cases:
        status, taken = struct.unpack_from("<II", done.stdout, at)
        end = at + 8 + case.new.plan.state_bytes
        yield status, taken, split(case.new.plan, done.stdout[at + 8 : end])
        at = end
    assert at == len(done.stdout)
