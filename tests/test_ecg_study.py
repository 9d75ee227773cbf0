"""The rule files of the ECG example say what the study on DS1 found, and nothing else chose them."""

import json

import pytest

from synapcc.examples.ecg import evaluate, study


@pytest.mark.parametrize("model", evaluate.MODELS)
@pytest.mark.parametrize("rule", study.RULES)
def test_rates_are_the_best_of_the_study(model: str, rule: str) -> None:
    results = json.loads(study.RESULTS.read_text(encoding="utf-8"))
    assert evaluate.rule_spec(rule, model).rate == study.best_rate(results, model, rule)


@pytest.mark.parametrize("model", evaluate.MODELS)
@pytest.mark.parametrize("rule", ["dfa", "hebbian"])
def test_aligned_feedback_takes_the_rate_of_backpropagation(model: str, rule: str) -> None:
    spec = evaluate.rule_spec(f"{rule}_aligned", model)
    assert (spec.rule, spec.feedback.init, spec.rate) == (
        rule,
        "aligned",
        evaluate.rule_spec("bp", model).rate,
    )
