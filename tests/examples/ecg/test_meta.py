"""A base is moved to where five minutes of a wearer lead furthest: it does, and does so each time."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest

from synapcc.examples.ecg import beats
from synapcc.examples.ecg.records import FS

TORCH = importlib.util.find_spec("torch") is not None
if TORCH:
    import torch

    from synapcc.examples.ecg import meta, train

    SETTINGS = meta.Episodes(moves=40, rate=3e-3, steps=10, inner=2.0**-3)

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(not TORCH, reason="torch is not installed: pip install 'synapcc[train]'"),
]


def patients(n: int = 4) -> beats.Beats:
    """Patients of two classes each whose sign only their first five minutes tell."""
    rng, parts = np.random.default_rng(3), []
    for k in range(n):
        label = rng.integers(0, 2, 200).astype(np.uint8)
        beat = rng.normal(0, 0.1, (200, beats.WINDOW)).astype(np.float32)
        beat[:, 10] += (2.0 * label - 1) * (-1) ** k
        sample = np.linspace(0, 1500 * FS, 200).astype(np.int64)
        rr, symbol = np.zeros((200, 4), np.float32), np.array(["N"] * 200)
        parts.append(beats.Beats(beat, rr, label, symbol, sample, np.array([f"p{k}"] * 200)))
    return beats.join(parts)


def after_learning(model: train.Model, pool: beats.Beats) -> float:
    """The mean cross-entropy of patients' rests, each after the steps of an episode, of seed 9."""
    rng, found = np.random.default_rng(9), []
    values = [p for p in model.parameters() if p.requires_grad]
    start = [p.detach().clone() for p in values]
    for name in np.unique(pool.record):
        told, rest = meta._wearer(pool, name)
        for _ in range(SETTINGS.steps):
            for p, slope in zip(values, meta._slopes(model, pool, rng.choice(told, 32)), strict=True):
                p.data -= SETTINGS.inner * slope
        with torch.no_grad():
            scores = model(torch.from_numpy(pool.beat[rest]))
        label = torch.from_numpy(pool.label[rest].astype(np.int64))
        found.append(float(torch.nn.functional.cross_entropy(scores, label)))
        for p, old in zip(values, start, strict=True):
            p.data.copy_(old)
    return float(np.mean(found))


def test_the_start_leads_further_and_is_the_same_each_time() -> None:
    pool, made = patients(), []
    for _ in range(2):
        torch.manual_seed(0)
        model = train.Mlp(2)
        before = after_learning(model, pool)
        meta.tune(model, pool, 1, SETTINGS)
        made.append([v.tobytes() for v in train.weights(model)])
    assert after_learning(model, pool) < before / 2
    assert made[0] == made[1]


def test_an_episode_leaves_the_model_as_it_was() -> None:
    pool = patients(1)
    torch.manual_seed(0)
    model = train.MlpZ(2)
    model.fit(pool)
    before = [v.numpy().tobytes() for v in model.state_dict().values()]
    slopes = meta._episode(model, pool, meta._wearer(pool, "p0"), np.random.default_rng(0), SETTINGS)
    assert [v.numpy().tobytes() for v in model.state_dict().values()] == before
    assert len(slopes) == 6 and all(s.abs().max() > 0 for s in slopes)


def test_a_patient_without_five_minutes_or_a_rest_teaches_nothing() -> None:
    pool = patients(1)
    early = pool.sample < 300 * FS
    assert meta._wearer(pool.take(early), "p0") is None
    assert meta._wearer(pool.take(~early), "p0") is None
