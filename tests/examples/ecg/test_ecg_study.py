"""The rule files of the ECG example say what the study on the folds found, and nothing else chose them."""

import json
from dataclasses import replace

import pytest

from synapcc.examples.ecg import evaluate, protocol, study
from synapcc.gen.rules import options
from synapcc.gen.spec import load_spec

BASES = [(model, name) for name in protocol.PROTOCOLS for model in evaluate.MODELS]


@pytest.mark.parametrize(("model", "name"), BASES)
def test_rule_files_hold_the_best_rates_of_the_study(model: str, name: str) -> None:
    results = json.loads(study.RESULTS.read_text(encoding="utf-8"))
    folder = evaluate.rule_folder(model, name)
    written = dict(study.rule_files(results, model, name))
    assert sorted(p.name for p in folder.glob("*.toml")) == sorted(written)
    for file, content in written.items():
        assert (folder / file).read_text(encoding="utf-8") == content, file


@pytest.mark.parametrize(("model", "name"), BASES)
@pytest.mark.parametrize("rule", study.RULES)
def test_every_rate_is_one_that_the_study_tried(model: str, name: str, rule: str) -> None:
    results = json.loads(study.RESULTS.read_text(encoding="utf-8"))
    best = evaluate.rule_spec(rule, model, name).rate
    score = study.known_score(results, model, f"{rule} 2^-{best}", name)
    assert score is not None
    others = [study.known_score(results, model, f"{rule} 2^-{k}", name) for k in study.RATES]
    assert score == max(s for s in others if s is not None)


@pytest.mark.parametrize(("model", "name"), BASES)
@pytest.mark.parametrize("rule", ["dfa", "hebbian"])
def test_aligned_feedback_takes_the_rate_of_backpropagation(model: str, name: str, rule: str) -> None:
    spec = evaluate.rule_spec(f"{rule}_aligned", model, name)
    rate = evaluate.rule_spec("bp", model, name).rate
    assert (spec.rule, spec.feedback.init, spec.rate) == (rule, "aligned", rate)


@pytest.mark.parametrize("rule", [p.stem for p in sorted(evaluate.more_folder().glob("*.toml"))])
def test_files_of_the_other_rules_hold_the_best_that_the_study_tried(rule: str) -> None:
    results = json.loads(study.RESULTS.read_text(encoding="utf-8"))
    written, folder = dict(study.more_files(results)), evaluate.more_folder()
    assert sorted(p.name for p in folder.glob("*.toml")) == sorted(written)
    assert (folder / f"{rule}.toml").read_text(encoding="utf-8") == written[f"{rule}.toml"]
    spec, tried = load_spec(folder / f"{rule}.toml", options()), dict(study.more())
    label = f"{rule} 2^-{study.best_rate(results, study.DEFAULT_MODEL, rule)}"
    assert replace(spec, store=None) == tried[label]
    own = [name for name in tried if name.split()[0] == rule]
    assert all(f"{study.DEFAULT_MODEL} | {name} | int16 | 10" in results for name in own), "each was tried"
    scores = [study.known_score(results, study.DEFAULT_MODEL, name, "A") for name in own]
    assert study.known_score(results, study.DEFAULT_MODEL, label, "A") == max(s for s in scores if s)


def test_a_setting_that_is_refused_says_why_and_has_no_score() -> None:
    results = json.loads(study.RESULTS.read_text(encoding="utf-8"))
    refused = {key: r for key, r in results.items() if study.REFUSED in r}
    for key, r in refused.items():
        assert [*r] == [study.REFUSED] and f"{key}: refused: {r[study.REFUSED]}" in study.show(results)
        base, label, *_ = key.split(" | ")
        assert study.known_score(results, base, label, "A") is None
    assert "mlp | ssg 2^-3 | int16 | 10" in refused


def test_the_other_rules_take_the_best_of_what_was_tried() -> None:
    """One setting a rule and number; a rule of which not all were tried has no file."""
    labels = [label for label, _ in study.more()]
    assert len({*labels}) == len(labels) == sum(len(study.tried(r)) for r in (*study.MORE, *study.OPTIONS))
    assert all(spec.rule == label.split()[0] for label, spec in study.more())
    one = {"accuracy": 0.9, "macro_f1": 0.7, "f1": {}}
    found = {
        study._key("mlp", f"{rule} 2^-{k}", "int16", 10): one | {"accuracy": 0.95 if k in (11, 6) else 0.9}
        for rule in ("sign", "es", "dkp")
        for k in study.tried(rule)
    }
    del found[study._key("mlp", "dkp 2^-13", "int16", 10)]
    files = dict(study.more_files(found))
    assert sorted(files) == ["es.toml", "sign.toml"]
    assert 'rate = "2^-11"' in files["sign.toml"] and 'epsilon = "2^-6"' in files["es.toml"]
