"""docs/BASES.md is what bases.json says; what goes on was chosen by it; learning in float is SGD."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from synapcc.examples.ecg import bases, bases_page, choices, protocol
from synapcc.examples.ecg.bases import BASES, FINAL, RESULTS, Case
from synapcc.examples.ecg.front import FRONTS

DOCS = Path(__file__).parents[3] / "docs"
KEPT = {r["of"]: r for r in json.loads(RESULTS.read_text(encoding="utf-8")).values()}
KNOWN = {c: KEPT[c.name] for c in (*bases.screened(), *bases.finals()) if c.name in KEPT}
BEATS: dict[object, object] = {}


def mean_score(name: str, base: str, cases: list[Case]) -> float:
    chosen = protocol.PROTOCOLS[name]
    mine = [c for c in cases if (c.protocol, c.base) == (name, base)]
    return float(np.mean([bases_page.score(chosen, KNOWN[c]) for c in mine]))


def test_the_file_holds_cases_and_nothing_else() -> None:
    """Each with every patient of its folds, and as many beats of each as there are to test."""
    cases = [*bases.screened(), *bases.finals()]
    assert len({c.name for c in cases}) == len(cases)
    assert {*KEPT} == {c.name for c in KNOWN}
    assert all(bases.is_result(r) for r in KEPT.values()) and KNOWN
    for case, result in KNOWN.items():
        folds = protocol.PROTOCOLS[case.protocol].folds
        assert [*result["patients"]] == [f"{rule} 2^-{k}" for rule, k in bases.SETTINGS]
        for patients in result["patients"].values():
            assert {*patients} == {name for f in case.folds for name in folds[f]}
            beats = {name: np.sum(m) for name, m in patients.items()}
            assert beats == BEATS.setdefault((case.protocol, case.folds), beats)


def test_the_page_is_what_the_file_says() -> None:
    text = bases_page.text(KNOWN)
    assert (DOCS / "BASES.md").read_text(encoding="utf-8") == text
    assert all(f"| {c.base} |" in text for c in KNOWN)


@pytest.mark.parametrize(("name", "leads"), [("A", "short z"), ("B", bases.SHIPPED)])
def test_who_leads_on_all_folds_and_seeds(name: str, leads: str) -> None:
    """As the page says. In A that is level with the convolutional network, which is shipped."""
    last = [*bases.finals()]
    others = {c.base for c in last if c.protocol == name} - {leads}
    assert others and bases.SHIPPED in {c.base for c in last if c.protocol == name}
    assert all(mean_score(name, leads, last) > mean_score(name, b, last) for b in others)


@pytest.mark.parametrize("name", FINAL)
def test_who_leads_the_first_comparison_is_in_the_second(name: str) -> None:
    """The best two, and all that is ahead of the shipped one."""
    first = [*bases.screened()]
    if FINAL[name]:
        by_score = sorted(bases.COMPARED[name], key=lambda b: -mean_score(name, b, first))
        ahead = by_score[: by_score.index(bases.SHIPPED)]
        assert {*by_score[:2]} - {bases.SHIPPED} <= {*FINAL[name]} and {*ahead} <= {*FINAL[name]}
    else:
        assert {c.name for c in first if c.protocol == name} - {c.name for c in KNOWN}, (
            "all are known: choose"
        )


def test_every_front_end_has_a_name_and_a_line() -> None:
    assert FRONTS.keys() == choices.FRONTS.keys()
    assert {b.front for b in BASES.values()} <= FRONTS.keys()


@pytest.fixture(scope="module")
def loops() -> ModuleType:
    pytest.importorskip("numba")
    from synapcc.examples.ecg import float_loops

    return float_loops


@pytest.mark.long
@pytest.mark.parametrize("rule", ["bp", "last", "hebbian"])
def test_a_step_is_one_of_gradient_descent(rule: str, loops: ModuleType) -> None:
    """Against the sums written out in float64; hebbian with the feedback that its seed draws."""
    rng, sizes = np.random.default_rng(5), (7, 6, 5, 3)
    layers = [
        rng.normal(0, 0.5, shape).astype(np.float32) for n, m in pairwise(sizes) for shape in ((m, n), (m,))
    ]
    x, label, rate = rng.normal(size=(1, 7)).astype(np.float32), np.array([2]), 2.0**-3
    made = loops.learned(layers, x, label, rule, rate, 4, 1)
    w1, b1, w2, b2, w3, b3 = (v.astype(np.float64) for v in layers)
    h1 = np.maximum(w1 @ x[0] + b1, 0)
    h2 = np.maximum(w2 @ h1 + b2, 0)
    scores = np.exp(w3 @ h2 + b3)
    e3 = scores / scores.sum() - np.eye(3)[2]
    back = [w2, w3]
    if rule == "hebbian":
        draw = np.random.default_rng(1004)
        back = [(draw.random(w.shape) * 2 - 1) * np.sqrt(3 * (w**2).mean()) for w in back]
    e2 = back[1].T @ e3 * (h2 > 0)
    e1 = back[0].T @ e2 * (h1 > 0)
    steps = [np.outer(e1, x[0]), e1, np.outer(e2, h1), e2, np.outer(e3, h2), e3]
    for i, (before, after, step) in enumerate(zip(layers, made, steps, strict=True)):
        moves = 0.0 if rule == "last" and i < 4 else rate
        np.testing.assert_allclose(after, before - moves * step, atol=1e-5)
        assert (after != before).any() == (moves > 0)


def test_answers_are_those_of_the_layers(loops: ModuleType) -> None:
    eye, none = np.eye(3, dtype=np.float32), np.zeros(3, np.float32)
    layers = [eye, none, eye, none, eye[::-1].copy(), np.array([0, 0, 0.5], np.float32)]
    x = np.array([[3, 1, 0], [0, 1, 3], [-5, 0.2, -5]], np.float32)
    assert loops.answers(layers, x).tolist() == [2, 0, 2]
