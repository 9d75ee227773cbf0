"""A start to learn from: a trained base is moved to where a few steps on a wearer's beats lead furthest.

First-order MAML: Finn C, Abbeel P, Levine S, ICML 2017. An episode draws one patient of the base's, walks
some steps of SGD on beats of the first five minutes, and takes the gradient there, on beats of the rest; Adam
moves the start along the mean of several patients' gradients. The rest of a patient is drawn with its classes
in equal shares, as the base's training draws them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from . import protocol
from .beats import Beats
from .records import FS
from .train import Model


@dataclass(frozen=True)
class Episodes:
    """Settings: how often the start moves, patients a move, Adam's rate; steps of a wearer, beats a step and
    their rate; beats of the rest that a wearer is judged by."""

    moves: int = 150
    patients: int = 4
    rate: float = 3e-4
    steps: int = 20
    batch: int = 32
    inner: float = 2.0**-4
    judged: int = 128


USUAL = Episodes()

Wearer = tuple[NDArray[np.int64], NDArray[np.int64]]


def tune(model: Model, pool: Beats, seed: int, settings: Episodes = USUAL) -> None:
    """Moves the weights of `model`, in place; pool: beats of its patients. Same arguments, same weights."""
    rng = np.random.default_rng(seed)
    wearers = [w for name in np.unique(pool.record) if (w := _wearer(pool, name)) is not None]
    start = [p for p in model.parameters() if p.requires_grad]
    optimiser = torch.optim.Adam(start, settings.rate)
    model.eval()
    for _ in range(settings.moves):
        chosen = rng.choice(len(wearers), min(settings.patients, len(wearers)), replace=False)
        optimiser.zero_grad()
        gradients = [_episode(model, pool, wearers[i], rng, settings) for i in chosen]
        for value, *parts in zip(start, *gradients, strict=True):
            value.grad = torch.stack(parts).mean(0)
        optimiser.step()


def _wearer(pool: Beats, name: str) -> Wearer | None:
    """Where in the pool a patient's first five minutes are, and the rest; None where either is missing."""
    mine = np.flatnonzero(pool.record == name)
    early = pool.sample[mine] < protocol.LEARN_SECONDS * FS
    return (mine[early], mine[~early]) if early.any() and not early.all() else None


def _episode(
    model: Model, pool: Beats, wearer: Wearer, rng: np.random.Generator, s: Episodes
) -> list[Tensor]:
    """The gradient after a wearer's steps; the model has its start back then."""
    told, rest = wearer
    values = [p for p in model.parameters() if p.requires_grad]
    start = [p.detach().clone() for p in values]
    for _ in range(s.steps):
        for value, slope in zip(values, _slopes(model, pool, rng.choice(told, s.batch)), strict=True):
            value.data -= s.inner * slope
    share = 1.0 / np.bincount(pool.label[rest])[pool.label[rest]]
    found = _slopes(model, pool, rng.choice(rest, s.judged, p=share / share.sum()))
    for value, old in zip(values, start, strict=True):
        value.data.copy_(old)
    return found


def _slopes(model: Model, pool: Beats, which: NDArray[np.int64]) -> list[Tensor]:
    """The derivative of the mean cross-entropy of some beats by each parameter."""
    given = [torch.from_numpy(pool.inputs()[name][which]) for name in model.inputs]
    label = torch.from_numpy(pool.label[which].astype(np.int64))
    loss = nn.functional.cross_entropy(model(*given), label)
    return list(torch.autograd.grad(loss, [p for p in model.parameters() if p.requires_grad]))
