"""[anomaly]: an autoencoder's own error as a score, a threshold that follows it, votes, early stopping."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from ctools import UNDEFINED, HostBatch
from head_nets import SIZE, Data, perceptron
from onnx import helper, numpy_helper
from play import play

from synapcc.gen.compile import Compiled, compile_model
from synapcc.gen.errors import CompileError, SynapccError
from synapcc.gen.ops.loss import LOSS_FRAC, TOP
from synapcc.gen.spec import Anomaly, Decay, Freeze, Loss, Momentum, Replay, RuleSpec, Store
from synapcc.gen.stages.state_check import fault
from synapcc.host.run.emulator import Emulator

ITSELF = Loss("mse", target="input")
USUAL = Anomaly()
MIX = np.random.default_rng(8).normal(0, 1 / np.sqrt(SIZE), (3, SIZE))


def usual(n: int, seed: int) -> Data:
    """Samples near a plane of three dimensions."""
    rng = np.random.default_rng(seed)
    return {"x": (2 * rng.normal(0, 1, (n, 3)) @ MIX + rng.normal(0, 0.05, (n, SIZE))).astype(np.float32)}


def unlike(n: int, seed: int) -> Data:
    """As large, and not near it."""
    return {"x": np.random.default_rng(seed).normal(0, 1, (n, SIZE)).astype(np.float32)}


DATA = usual(400, 1)


def compiled(rule: str = "bp", anomaly: Anomaly | None = USUAL, rate: int = 6, **more: Any) -> Compiled:
    spec = RuleSpec(rule, rate=rate, loss=ITSELF, anomaly=anomaly, **more)
    return compile_model(perceptron(SIZE), spec, DATA)


def learn(machine: Emulator, data: Data, i: int) -> None:
    machine.run("learn_input", inputs={"x": data["x"][i : i + 1]})


def score(machine: Emulator, data: Data, i: int) -> int:
    return int(machine.score({"x": data["x"][i : i + 1]}).score[0])


def weights(machine: Emulator) -> list[bytes]:
    return [machine[t.name].tobytes() for t in machine.plan.tensors if t.learned]


@pytest.mark.parametrize("rule", ["last", "dfa", "fa", "bp", "hebbian", "sign"])
def test_what_is_unlike_scores_higher_once_the_rest_is_learned(rule: str) -> None:
    c = compiled(rule, rate=8 if rule in ("dfa", "fa") else 6)
    machine = Emulator(c.plan)
    for i in range(800):
        learn(machine, DATA, i % 400)
    one, other = usual(40, 2), unlike(40, 3)
    normal = [score(machine, one, i) for i in range(40)]
    strange = [score(machine, other, i) for i in range(40)]
    assert np.median(strange) > (4 if rule == "last" else 20) * np.median(normal)
    assert all(weights(machine)[k] == w for k, w in enumerate(weights(machine)))


def test_a_score_is_half_the_sum_of_squares() -> None:
    """Of the real error, in units of the power of two next to what inputs differ by."""
    c = compiled()
    machine, plan = Emulator(c.plan), c.plan
    _, step = next((p, s) for p, _, s in plan.ops() if s.kernel == "loss.squares")
    unit = float(next(s for _, s in c.abstract.steps() if s.kernel == "loss.squares").attrs["large"])
    assert set(step.attrs) == {"drop", "shift"}
    for i in range(20):
        said = score(machine, DATA, i)
        z = machine.infer({"x": DATA["x"][i : i + 1]}).scores * plan[plan.logits].meaning.step
        exact = float(np.square((z - DATA["x"][i]) / unit).sum() / 2)
        assert said * 2.0**-LOSS_FRAC == pytest.approx(exact, rel=0.1, abs=0.02)


@pytest.mark.parametrize("quantile", [0.8, 0.95])
def test_the_threshold_tracks_the_quantile(quantile: float) -> None:
    """While learning makes scores smaller, and behind that."""
    anomaly = Anomaly(quantile, votes=1, of=1, least=2**32 - 1)  # never an alarm
    machine, above = Emulator(compiled(anomaly=anomaly).plan), []
    for i in range(1600):
        learn(machine, DATA, i % 400)
        above.append(int(machine["anomaly_history"][0, 0]))
    assert machine["anomaly_mean"][0, 0] < machine.plan["anomaly_mean"].hi / 1000
    assert abs(np.mean(above[400:]) - (1 - quantile)) < 0.3 * (1 - quantile)


def votes(machine: Emulator) -> int:
    return int(machine["anomaly_history"][0, 0]).bit_count()


def test_an_alarm_pauses_learning_and_the_threshold() -> None:
    c = compiled(anomaly=Anomaly(votes=3, of=5, least=50), decay=Decay(12, 1))
    machine = Emulator(c.plan)
    for i in range(400):
        learn(machine, DATA, i)
    assert machine["anomaly_learned"][0, 0] > 380 and not machine["anomaly_alarm"].any()
    other, tracked = unlike(8, 3), ("anomaly_threshold", "anomaly_mean", "anomaly_ratio", "anomaly_learned")
    machine.run("reset")
    for i in range(2):
        learn(machine, other, i)
        assert votes(machine) == i + 1 and not machine["anomaly_alarm"].any()
    taught = weights(machine)
    learn(machine, other, 2)  # the alarm's first sample is one above the threshold, as any
    assert machine.scored.alarm[0] and taught == weights(machine)
    before = [*taught, *(machine[n].tobytes() for n in tracked)]
    for i in range(3, 8):
        learn(machine, other, i)
        assert machine.scored.alarm[0] and machine.scored.score[0] > machine.scored.threshold[0]
        assert before == [*weights(machine), *(machine[n].tobytes() for n in tracked)]
    said = machine.score({"x": other["x"][:1]})
    assert said.alarm[0] and before[-1] == machine["anomaly_learned"].tobytes()
    machine.run("reset")
    assert votes(machine) == 0 and not machine.scored.alarm[0]
    learn(machine, DATA, 0)
    assert before[: len(weights(machine))] != weights(machine)  # it goes on


def test_no_alarm_before_enough_is_learned() -> None:
    machine = Emulator(compiled(anomaly=Anomaly(0.5, votes=1, of=1, least=30)).plan)
    alarms = []
    for i in range(200):
        learn(machine, DATA, i)
        alarms.append(bool(machine.scored.alarm[0]))
        assert not alarms[-1] or machine["anomaly_learned"][0, 0] >= 30
    assert any(alarms)


def test_learning_ends_after_the_most_and_begins_again() -> None:
    machine = Emulator(compiled(anomaly=Anomaly(least=0, most=20, votes=32, of=32)).plan)
    for i in range(20):
        learn(machine, DATA, i)
    before, threshold = weights(machine), machine["anomaly_threshold"].copy()
    for i in range(20, 40):
        learn(machine, DATA, i)
    assert weights(machine) == before and machine["anomaly_learned"][0, 0] == 20
    assert not np.array_equal(threshold, machine["anomaly_threshold"])  # it goes on following
    machine.run("relearn")
    learn(machine, DATA, 0)
    assert machine["anomaly_learned"][0, 0] == 1 and weights(machine) != before


def test_early_stopping_goes_back_to_the_best_block() -> None:
    """Against the same kept here: means of blocks of scores, the weights of the best one at the end."""
    anomaly = Anomaly(votes=32, of=32, block=16, gain=2.0**-4, patience=3)
    machine = Emulator(compiled(anomaly=anomaly, rate=5).plan)
    best, kept, stale, ended = 0, weights(machine), 0, 0
    for block in range(200):
        total = 0
        for i in range(16):
            last = weights(machine)
            learn(machine, DATA, (16 * block + i) % 400)
            total += int(machine["anomaly_score"][0, 0]) >> 4
        if not best or total < best - (best >> 4):
            best, kept, stale = total, last, 0
        else:
            stale += 1
        if stale == 3:
            ended = block
            break
        assert int(machine["anomaly_best"][0, 0]) == best and int(machine["anomaly_stale"][0, 0]) == stale
    assert ended and weights(machine) == kept and machine["anomaly_learned"][0, 0] == 2**32 - 1
    learn(machine, DATA, 0)
    assert weights(machine) == kept


def test_the_most_ends_with_the_best_block_too() -> None:
    anomaly = Anomaly(least=0, votes=32, of=32, most=40, block=16, gain=2.0**-1, patience=200)
    machine = Emulator(compiled(anomaly=anomaly, rate=11).plan)
    first = b""
    for i in range(60):
        if i == 15:
            first = b"".join(weights(machine))
        learn(machine, DATA, i)
    assert b"".join(weights(machine)) == first  # no block was better by half than the first one


def test_what_is_watched_is_part_of_the_state() -> None:
    c = compiled(anomaly=Anomaly(block=16))
    machine = Emulator(c.plan)
    for i in range(60):
        learn(machine, DATA, i)
    saved = machine.state[0].tobytes()
    assert not fault(c.plan, saved)
    for name, value in (
        ("threshold", TOP + 1),
        ("alarm", 2),
        ("history", 32),
        ("phase", 16),
        ("ratio", 2**25),
    ):
        other = Emulator(c.plan)
        other.state[0] = np.frombuffer(saved, np.uint8)
        other[f"anomaly_{name}"][...] = value
        assert f"anomaly_{name}" in fault(c.plan, other.state[0].tobytes())


def convolutional(path: Path) -> Path:
    """1 x 32 values through a convolution of stride 2 and a transposed one, and as many again."""
    rng = np.random.default_rng(1)
    shapes = {"c1": (6, 1, 5), "c2": (4, 6, 5), "t1": (4, 6, 4), "c3": (1, 6, 5)}
    constants, nodes, x = [], [], "x"
    for name, shape in shapes.items():
        outputs = shape[1] if name == "t1" else shape[0]
        w = rng.normal(0, 1 / np.sqrt(np.prod(shape[1:])), shape).astype(np.float32)
        values = {f"{name}_w": w, f"{name}_b": np.zeros(outputs, np.float32)}
        constants += [numpy_helper.from_array(v, n) for n, v in values.items()]
        op, border = ("ConvTranspose", 1) if name == "t1" else ("Conv", 2)
        own = {"kernel_shape": [shape[2]], "pads": [border] * 2, "strides": [1 + (name in ("c2", "t1"))]}
        y = "again" if name == "c3" else name
        nodes.append(helper.make_node(op, [x, *values], [y], name=name, **own))
        x = f"{name}_relu"
        if y != "again":
            nodes.append(helper.make_node("Relu", [y], [x], name=x))
    ends = [
        [helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, ["batch", 1, 32])] for n in ("x", "again")
    ]
    graph = helper.make_graph(nodes, "convolutional", *ends, constants)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.write_bytes(made.SerializeToString())
    return path


def test_a_convolutional_network_gives_its_input_again(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    wave = np.sin(2 * np.pi * (2 * np.arange(32) / 32 + rng.uniform(0, 1, (200, 1))))[:, None]
    data = {"x": (wave + rng.normal(0, 0.05, wave.shape)).astype(np.float32)}
    spec = RuleSpec("bp", layers="all", rate=8, loss=ITSELF, anomaly=Anomaly(votes=1, of=2, least=4))
    c = compile_model(convolutional(tmp_path / "conv.onnx"), spec, data)
    assert {s.kernel for _, _, s in c.plan.ops()} >= {"conv2d.update", "anomaly.watch", "mse_error.input"}
    machine, scores = Emulator(c.plan), []
    for i in range(160):
        learn(machine, data, i)
        scores.append(int(machine["anomaly_score"][0, 0]))
    assert np.mean(scores[-30:]) < np.mean(scores[:15]) / 2
    batch = HostBatch([c.plan], tmp_path / "c", "-O1", *UNDEFINED)
    try:
        assert play(batch, 0, 0) > 5
    finally:
        batch.close()


def test_chips_watch_alike(tmp_path: Path) -> None:
    specs = [
        RuleSpec(
            "dfa", loss=ITSELF, anomaly=Anomaly(0.5, votes=1, of=2, least=2, block=16), decay=Decay(5, 2)
        ),
        RuleSpec("bp", loss=ITSELF, anomaly=Anomaly(0.6, 0.5, 2, 3, 1, most=9), momentum=Momentum(2)),
        RuleSpec("last", loss=replace(ITSELF, clip=0.5), anomaly=Anomaly(0.7, votes=1, of=1, least=0)),
    ]
    plans = [
        compile_model(replace(perceptron(SIZE), name=f"m{i}"), s, DATA).plan for i, s in enumerate(specs)
    ]
    batch = HostBatch(plans, tmp_path / "c", "-O1", *UNDEFINED)
    try:
        assert all(play(batch, i, i) > 5 for i in range(len(plans)))
    finally:
        batch.close()


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        (RuleSpec("bp", anomaly=Anomaly()), "takes the error of an input that the network says again"),
        (RuleSpec("bp", loss=Loss("mse"), anomaly=Anomaly()), "takes the error of an input"),
        (RuleSpec("bp", loss=ITSELF, anomaly=Anomaly(), freeze=Freeze(0.5)), r"and there is \[freeze\]"),
        (RuleSpec("bp", loss=ITSELF, anomaly=Anomaly(), replay=Replay(4)), r"and there is \[replay\]"),
        (
            RuleSpec("bp", loss=ITSELF, anomaly=Anomaly(), store=Store(4, drop="oldest")),
            r"counts each sample once, and there is \[store\]",
        ),
    ],
)
def test_what_cannot_watch_is_refused(spec: RuleSpec, said: str) -> None:
    data = DATA if spec.loss.kind == "mse" else DATA | {"label": np.arange(400) % SIZE}
    with pytest.raises(CompileError, match=said) as told:
        compile_model(perceptron(SIZE), spec, data)
    assert told.value.where == "anomaly" and "\n" not in told.value.line


def test_who_watches_for_nothing_says_so() -> None:
    machine = Emulator(compiled(anomaly=None).plan)
    with pytest.raises(SynapccError, match=r"watches for no anomalies; compile it with \[anomaly\]"):
        machine.score({"x": DATA["x"][:1]})
