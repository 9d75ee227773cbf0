"""Beats unlike a wearer's own, without labels: an autoencoder that learns each wearer's normal beats.

A sample is a beat's window and its four RR features side by side, [155]. The base has learned to say the
normal beats of DS1 again. A wearer's device then learns those of the first five minutes, and scores the other
25 minutes' beats: S and V are the anomalies, F is neither. Which beats of the five minutes are normal, a
label says, as somebody would say "this is me at rest"; or nothing is told, every beat is learned as it comes,
and learning pauses while one is above the threshold. Settings were chosen on the folds of DS1:
docs/ANOMALY.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synapcc.gen.compile import compile_model
from synapcc.gen.ir.graph import Graph
from synapcc.gen.ir.plan import Plan
from synapcc.gen.spec import Anomaly, Loss, RuleSpec
from synapcc.host.run.emulator import Emulator

from .beats import Beats
from .records import CLASSES

HERE = Path(__file__).parent
MODEL = HERE / "models" / "ecg_autoencoder.onnx"
CALIBRATION = 1024
PASSES = 4
RATES = {"bp": 8, "hebbian": 8, "fa": 9, "dfa": 9, "last": 8}
WATCH = Anomaly(quantile=0.99, step=2.0**-6, votes=1, of=1, least=64)
FEWEST = 5
"""Anomalies of a wearer, below which an area under the curve says nothing."""
N, S, V = (CLASSES.index(c) for c in "NSV")
Step = Callable[[int], None]


@dataclass(frozen=True)
class Outcome:
    """A wearer's tested beats.

    score, threshold  float64[n]; alarm bool[n]
    anomaly           bool[n]: S or V
    learned           how many beats were learned
    """

    score: NDArray[np.float64]
    threshold: NDArray[np.float64]
    alarm: NDArray[np.bool_]
    anomaly: NDArray[np.bool_]
    learned: int

    @property
    def area(self) -> float:
        """Under the receiver operating characteristic; nan with too few anomalies."""
        return area(self.score, self.anomaly)

    @property
    def counts(self) -> tuple[int, int, int]:
        """Anomalies found, anomalies missed, normal beats taken for one."""
        found = int((self.alarm & self.anomaly).sum())
        return found, int(self.anomaly.sum()) - found, int((self.alarm & ~self.anomaly).sum())


def area(score: NDArray[np.float64], anomaly: NDArray[np.bool_]) -> float:
    """The share of pairs, an anomaly and a normal sample, that the score puts in order; ties half."""
    more = int(anomaly.sum())
    less = len(anomaly) - more
    if more < FEWEST or not less:
        return float("nan")
    _values, place, count = np.unique(score, return_inverse=True, return_counts=True)
    rank = (np.cumsum(count) - (count - 1) / 2)[place]
    return float((rank[anomaly].sum() - more * (more + 1) / 2) / (more * less))


def rates(found: int, missed: int, false: int) -> tuple[float, float, float]:
    """Recall, precision and F1, in per cent."""
    recall = 100 * found / max(1, found + missed)
    precision = 100 * found / max(1, found + false)
    return recall, precision, 2 * recall * precision / max(1e-9, recall + precision)


def normal(some: Beats) -> Beats:
    """Those that are called normal."""
    return some.take(some.label == N)


def tested(some: Beats) -> Beats:
    """Normal ones and anomalies: F is neither."""
    return some.take(np.isin(some.label, (N, S, V)))


def samples(some: Beats) -> NDArray[np.float32]:
    """Beats as the autoencoder takes them, float32[n, 155]."""
    return np.concatenate([some.beat, some.rr], axis=1)


def calibration(pool: Beats) -> dict[str, NDArray[np.float32]]:
    """Normal beats of all patients of the base alike."""
    mine = normal(pool)
    names = mine.record
    own = CALIBRATION // len(np.unique(names)) + 1
    chosen = [np.flatnonzero(names == name) for name in np.unique(names)]
    spread = [of[np.linspace(0, len(of) - 1, min(own, len(of))).astype(int)] for of in chosen]
    return {"x": samples(mine.take(np.concatenate(spread)))}


def spec(rule: str, rate: int, watch: Anomaly = WATCH, **more: Any) -> RuleSpec:
    """What a wearer's device learns by."""
    return RuleSpec(rule, layers="all", rate=rate, loss=Loss("mse", target="input"), anomaly=watch, **more)


def compiled(model: Path | Graph, pool: Beats, asked: RuleSpec) -> Plan:
    """The Plan of a base, calibrated by normal beats of its own patients."""
    return compile_model(model, asked, calibration(pool)).plan


def personalised(
    plan: Plan,
    wearers: Mapping[str, tuple[Beats, Beats]],
    passes: int = PASSES,
    told: bool = True,
    follows: bool = False,
    step: Step = lambda n: None,
) -> dict[str, Outcome]:
    """What the devices of all wearers say, in lockstep, bit for bit. wearers: beats to learn, and to test.

    told:    which beats of the five minutes are normal; else all of them are learned, once, as they come
    follows: beats of the test are learned, too, as they come, and the threshold follows them
    """
    machine = Emulator(plan, len(wearers))
    kept = [normal(early) if told else early for early, _ in wearers.values()]
    for _ in range(passes if told else 1):
        _each(machine, "learn_input", [samples(k) for k in kept], step)
    machine.run("reset")
    asked = [tested(later) for _, later in wearers.values()]
    said = _each(machine, "learn_input" if follows else "score", [samples(t) for t in asked], step)
    learned = machine["anomaly_learned"][:, 0]
    found = {}
    for i, (name, t) in enumerate(zip(wearers, asked, strict=True)):
        score, threshold, alarm = said[i]
        n = len(t)
        found[name] = Outcome(score[:n], threshold[:n], alarm[:n], t.label != N, int(learned[i]))
    return found


def _each(
    machine: Emulator, program: str, given: Sequence[NDArray[np.float32]], step: Step
) -> list[tuple[NDArray[Any], NDArray[Any], NDArray[np.bool_]]]:
    """Each device's samples through a program; score, threshold (before it) and alarm of each."""
    most = max(map(len, given))
    shape = (len(given), most)
    score, threshold, alarm = np.zeros(shape), np.zeros(shape), np.zeros(shape, bool)
    whole = np.zeros((most, len(given), given[0].shape[1]), np.float32)
    for i, mine in enumerate(given):
        whole[: len(mine), i] = mine
    lengths = np.array([len(mine) for mine in given])
    for k in range(most):
        threshold[:, k] = machine.scored.threshold
        machine.run(program, lengths > k, inputs={"x": whole[k]})
        score[:, k], _, alarm[:, k] = machine.scored
        step(1)
    return list(zip(score, threshold, alarm, strict=True))


Floats = list[NDArray[np.float64]]


def in_float(
    weights: Sequence[NDArray[np.floating[Any]]], normal: NDArray[np.float32], later: NDArray[np.float32],
    rate: int, passes: int = PASSES,
) -> NDArray[np.float64]:  # fmt: skip
    """Scores of `later` once float backpropagation has learned `normal`: the same steps, in the same order.

    weights: [outputs, inputs] and biases of the dense layers in turn, ReLU between them.
    """
    w: Floats = [np.array(v, np.float64) for v in weights]
    for x in np.tile(normal.astype(np.float64), (passes, 1)):
        acts = _forward(w, x[None])
        signal = acts[-1] - x
        for i in range(len(w) - 2, -1, -2):
            passed = signal @ w[i]
            w[i] -= 2.0**-rate * signal.T @ acts[i // 2]
            w[i + 1] -= 2.0**-rate * signal[0]
            signal = passed * (acts[i // 2] > 0)
    x = later.astype(np.float64)
    return np.asarray(np.square(_forward(w, x)[-1] - x).sum(axis=1) / 2)


def _forward(w: Floats, x: NDArray[np.float64]) -> Floats:
    """What each layer sees, and the output."""
    acts = [x]
    for i in range(0, len(w), 2):
        z = acts[-1] @ w[i].T + w[i + 1]
        acts.append(z if i == len(w) - 2 else np.maximum(z, 0))
    return acts
