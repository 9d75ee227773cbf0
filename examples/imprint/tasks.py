"""The data of the study, and a perceptron that never saw one of their classes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from synapcc.examples.ecg.protocol import A
from synapcc.examples.images import data as images
from synapcc.gen.errors import SynapccError
from synapcc.gen.ir.graph import Graph, Node, Tensor

HIDDEN = 64
TRAINED = 12_000  # samples a pass, the classes alike
PASSES, BATCH, RATE = 3, 50, 0.2  # of stochastic gradient descent
TESTED = 200  # samples of each class, at most
KEPT = 300  # samples of each class that the wearer's are drawn from, none of them trained on

Real = NDArray[np.float64]


@dataclass(frozen=True)
class Data:
    """x: float32 [n, inputs]; y: the class of each. The wearer's samples, `own`, are of the training set and
    none is trained on."""

    train_x: NDArray[np.float32]
    train_y: NDArray[np.intp]
    own_x: NDArray[np.float32]
    own_y: NDArray[np.intp]
    test_x: NDArray[np.float32]
    test_y: NDArray[np.intp]


@dataclass(frozen=True)
class Task:
    """left: the classes that are left out, one at a time, by name in `classes`"""

    name: str
    classes: tuple[str, ...]
    left: tuple[str, ...]
    load: Callable[[], Data]


def _images(name: str) -> Data:
    folder = images.find(name)
    (x, y), (test_x, test_y) = (images.read(folder, part) for part in ("train", "t10k"))
    return _parted(x.reshape(len(x), -1), y, test_x.reshape(len(test_x), -1), test_y)


def _ecg() -> Data:
    """Protocol A: base and own samples are beats of DS1, the test is of other patients, DS2."""
    base, test = A.pool(), A.load(A.test).values()
    x = np.concatenate([base.beat, base.rr], axis=1)
    test_x = np.concatenate([np.concatenate([b.beat, b.rr], axis=1) for b in test])
    return _parted(x, base.label, test_x, np.concatenate([b.label for b in test]))


def _parted(
    x: NDArray[np.float32],
    y: NDArray[np.unsignedinteger],
    test_x: NDArray[np.float32],
    test_y: NDArray[np.unsignedinteger],
) -> Data:
    """Of each class the last samples, at most half of them, are the wearer's."""
    own = np.zeros(len(y), bool)
    for c in np.unique(y):
        of = np.flatnonzero(y == c)
        own[of[-min(KEPT, len(of) // 2) :]] = True
    chosen = np.concatenate([_spread(np.flatnonzero(test_y == c), TESTED) for c in np.unique(y)])
    kinds = y.astype(np.intp), test_y.astype(np.intp)
    return Data(x[~own], kinds[0][~own], x[own], kinds[0][own], test_x[chosen], kinds[1][chosen])


def _spread(places: NDArray[np.intp], most: int) -> NDArray[np.intp]:
    return places[np.linspace(0, len(places) - 1, min(most, len(places))).round().astype(np.intp)]


DIGITS = tuple("0123456789")
CLOTHES = ("T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "boot")
TASKS = (
    Task("MNIST", DIGITS, DIGITS, lambda: _images("mnist")),
    Task("Fashion-MNIST", CLOTHES, CLOTHES, lambda: _images("fashion-mnist")),
    Task("ECG", A.labels, A.labels[1:], _ecg),
)


def named(names: list[str]) -> list[Task]:
    """The tasks of these names, or all. SynapccError names one that there is not."""
    known = {t.name: t for t in TASKS}
    for name in names:
        if name not in known:
            raise SynapccError(name, "is none of the study's data", f"there are {', '.join(known)}")
    return [known[name] for name in names] or list(TASKS)


def trained(x: NDArray[np.float32], y: NDArray[np.intp], classes: int, rng: np.random.Generator) -> Graph:
    """inputs-64-classes, ReLU between, trained in float on samples of which every class has as many."""
    n = x.shape[1]
    w1, b1 = rng.normal(0, np.sqrt(2 / n), (HIDDEN, n)), np.zeros(HIDDEN)
    w2, b2 = rng.normal(0, 0.1, (classes, HIDDEN)), np.zeros(classes)
    places = [np.flatnonzero(y == c) for c in range(classes)]
    for _ in range(PASSES * TRAINED // BATCH):
        rows = np.array([rng.choice(places[c]) for c in rng.integers(classes, size=BATCH)])
        h = np.maximum(x[rows] @ w1.T + b1, 0)
        z = h @ w2.T + b2
        p = np.exp(z - z.max(axis=1, keepdims=True))
        e = (p / p.sum(axis=1, keepdims=True) - np.eye(classes)[y[rows]]) * (RATE / BATCH)
        g = (e @ w2) * (h > 0)
        w2, b2 = w2 - e.T @ h, b2 - e.sum(axis=0)
        w1, b1 = w1 - g.T @ x[rows], b1 - g.sum(axis=0)
    return _graph({"w1": w1, "b1": b1, "w2": w2, "b2": b2})


def _graph(values: dict[str, Real]) -> Graph:
    classes, n = len(values["b2"]), values["w1"].shape[1]
    sizes = {"x": n, "hidden": HIDDEN, "rectified": HIDDEN, "scores": classes}
    tensors = {name: Tensor(name, v.shape, v) for name, v in values.items()}
    tensors |= {name: Tensor(name, (size,)) for name, size in sizes.items()}
    nodes = (
        Node("dense", "hidden", ("x", "w1", "b1"), "hidden"),
        Node("clip", "rectified", ("hidden",), "rectified", {"lo": 0.0, "hi": np.inf}),
        Node("dense", "scores", ("rectified", "w2", "b2"), "scores"),
    )
    return Graph("imprinted", ("x",), "scores", tensors, nodes)
