"""What a full store lets go: a sample of a class that has most, the same one in emulator and C."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ctools import GET_STATE, INIT, LEARN, UNDEFINED, HostBatch
from head_nets import SIZE, perceptron, samples
from numpy.typing import NDArray

from synapcc.gen.compile import compile_model
from synapcc.gen.errors import CompileError
from synapcc.gen.ir.plan import Plan
from synapcc.gen.spec import BALANCED, OLDEST, Loss, RuleSpec, Store
from synapcc.host.run.emulator import Emulator

Labels = NDArray[np.intp]
KINDS = [(1, 2), (2, 3), (5, 2), (7, 3), (8, 5), (12, 5)]  # rows, classes


def plan_of(rows: int, classes: int, drop: str = BALANCED) -> Plan:
    spec = RuleSpec("last", rate=7, store=Store(rows, drop=drop))
    graph = replace(perceptron(classes), name=f"store{rows}")
    return compile_model(graph, spec, samples(40, classes, rows)).plan


def lives(rng: np.random.Generator, classes: int, count: int, length: int) -> Labels:
    """Labels [count, length] of wearers whose classes are rare or common, some for a while only."""
    rare = rng.dirichlet(np.full(classes, 0.4), count)
    chosen = [rng.choice(classes, length, p=p) for p in rare]
    for life in chosen[::3]:
        life[length // 2 :] = rng.integers(classes)
    return np.array(chosen)


def kept(labels: Labels, rows: int) -> list[list[int]]:
    """What a store of `rows` holds behind each sample, by its number, as docs/RULES.md says it."""
    ring: list[int] = []
    last, out = -1, []
    for i, label in enumerate(labels):
        if len(ring) < rows:
            ring.append(i)
            last = len(ring) - 1
        else:
            has = Counter([labels[k] for k in ring] + [label])
            most = {c for c, n in has.items() if n == max(has.values())}
            last = next(p % rows for p in range(last + 1, last + 1 + rows) if labels[ring[p % rows]] in most)
            ring[last] = i
        out.append(list(ring))
    return out


def numbered(i: int) -> NDArray[np.int8]:
    """An input that says which sample it is."""
    x = np.zeros(SIZE, np.int8)
    x[:2] = i % 100, i // 100
    return x


@pytest.mark.parametrize(("rows", "classes"), KINDS)
@pytest.mark.parametrize("engine", ["numpy", "compiled"])
def test_the_emulator_keeps_what_is_said(rows: int, classes: int, engine: str) -> None:
    plan, rng = plan_of(rows, classes), np.random.default_rng([rows, classes])
    labels = lives(rng, classes, 9, 70)
    machine = Emulator(plan, len(labels), engine=engine)
    wanted = [kept(life, rows) for life in labels]
    for i in range(labels.shape[1]):
        machine.learn({"x": np.tile(numbered(i), (len(labels), 1))}, labels[:, i])
        for d, life in enumerate(labels):
            n, ring = int(machine["store_count"][d, 0]), wanted[d][i]
            x = machine["store_x"][d, :n].astype(int)
            assert (x[:, 0] + 100 * x[:, 1]).tolist() == ring
            assert machine["store_label"][d, :n, 0].tolist() == [life[k] for k in ring]


@pytest.mark.parametrize(("rows", "classes"), KINDS)
def test_a_rare_class_stays(rows: int, classes: int) -> None:
    """No class gives up a sample while another one has more, nor one of its share of the rows."""
    rng = np.random.default_rng([rows, classes, 1])
    for life in lives(rng, classes, 60, 150):
        before: Counter[int] = Counter()
        for i, ring in enumerate(kept(life, rows)):
            now = Counter(life[k] for k in ring)
            for c, n in before.items():
                if now[c] < n:
                    assert n == max((before + Counter([life[i]])).values())
                    assert now[c] >= rows // len(set(life[: i + 1]))
            before = now


def test_c_keeps_the_same(tmp_path: Path) -> None:
    plans = [plan_of(rows, classes) for rows, classes in KINDS]
    batch = HostBatch(plans, tmp_path / "c", "-O1", *UNDEFINED)
    try:
        for index, (plan, (rows, classes)) in enumerate(zip(plans, KINDS, strict=True)):
            machine = Emulator(plan)
            batch.ask(index, INIT)
            [life] = lives(np.random.default_rng([rows, classes, 2]), classes, 1, 60)
            for i, label in enumerate(life):
                machine.learn({"x": numbered(i)[None]}, [label])
                assert batch.ask(index, LEARN, int(label), numbered(i).tobytes())[0] == 0
                assert batch.ask(index, GET_STATE)[1] == machine.state[0].tobytes(), f"{rows} rows, step {i}"
    finally:
        batch.close()


def test_the_oldest_goes_where_that_is_asked_for() -> None:
    plan = plan_of(4, 3, OLDEST)
    machine = Emulator(plan)
    for i, label in enumerate([0, 1, 2, 1, 1, 1]):
        machine.learn({"x": numbered(i)[None]}, [label])
    assert machine["store_label"][0, :, 0].tolist() == [1, 1, 2, 1]
    assert not any(s.kernel == "samples.seek" for _, _, s in plan.ops())
    assert plan_of(4, 3).state_bytes == plan.state_bytes, "balance needs no state"


def test_numbers_have_no_classes_to_balance() -> None:
    spec = RuleSpec("last", rate=7, loss=Loss("mse"), store=Store(4))
    with pytest.raises(CompileError, match=r"store\.drop.*numbers have no classes"):
        compile_model(perceptron(), spec, {"x": samples(20, 3, 1)["x"]})
