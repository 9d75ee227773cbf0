"""docs/GUARD.md is what guarded.json says, and that is of every case; how cases are measured."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from synapcc.examples.ecg import guard_page, guarded
from synapcc.examples.ecg.guarded import RESULTS, Case, Outcome
from synapcc.gen.spec import Guard

DOCS = Path(__file__).parents[3] / "docs"
KEPT = {r["of"]: r for r in json.loads(RESULTS.read_text(encoding="utf-8")).values()}


def known(cases: list[Case]) -> list[Outcome]:
    return [Outcome(c, KEPT[c.name]) for c in cases]


def test_every_case_has_a_name_of_its_own_and_is_in_the_file() -> None:
    every = [*guarded.cases(), *guarded.choices()]
    names = [c.name for c in every]
    assert len({*names}) == len(names)
    assert {*KEPT} == {*names}
    assert all(guarded.is_result(r) for r in KEPT.values())


def test_the_page_is_what_the_file_says() -> None:
    found = known([*guarded.cases()])
    text = guard_page.text(found, known([*guarded.choices()]))
    assert (DOCS / "GUARD.md").read_text(encoding="utf-8") == text
    assert (DOCS / guard_page.PLOT).read_text(encoding="utf-8") == guard_page.plot(found)
    root = ET.fromstring(guard_page.plot(found))
    assert len([e for e in root if e.tag.endswith("path")]) == 2 * len(guarded.SHOWN)


def test_the_margin_for_own_verdicts_is_the_one_that_the_folds_chose() -> None:
    """The best mean accuracy of the rules, among margins at which verdicts are learned."""
    means = {
        margin: np.mean(
            [
                Outcome(c, KEPT[c.name]).accuracy
                for c in guarded.choices()
                if c.pseudo == margin and c.told < 1
            ]
        )
        for margin in guarded.MARGINS
        if margin is not None
    }
    assert max(means, key=lambda m: means[m]) == guarded.OWN


def test_the_page_tells_the_worst_patient_and_who_is_below() -> None:
    result = {
        "tested": [200, 100, 100],
        "before": [100, 50, 90],
        "after": [150, 49, 90],
        "base": [0.5, 0.5, 0.5],
        "base_before": [0.75, 0.75, 0.75],
        "of": "",
    }
    found = [Outcome(Case("mlp", "bp", 0.0, g), result) for g in (None, Guard())]
    assert found[0].change.tolist() == [25.0, -1.0, 0.0]
    text = guard_page.text(found)
    assert "| before learning | 60.00 |  |  |  |  |  | 75.0 |  |" in text
    assert "| bp | 72.25 | 72.25 | -1.00 | -1.00 | 1 / 1 | 1 / 1 | 50.0 | 50.0 |" in text
    assert "Labels that are missing" not in text, "it was not measured"


@pytest.mark.parametrize("guard", [None, Guard(), Guard(margin=0.125)])
def test_a_case_is_the_rule_file_of_the_example_with_its_own_tables(guard: Guard | None) -> None:
    case = Case("mlp", "drtp", 0.2, guard, seed=2, told=0.1, pseudo=4.0)
    spec = case.spec(99)
    assert spec.rule == "drtp" and spec.guard == guard and spec.seed == 2
    assert spec.store and spec.store.samples == 99 and spec.pseudo and spec.pseudo.margin == 4.0
    assert "0.2 wrong" in case.name and "0.1 labelled, others own verdicts beyond 4" in case.name
