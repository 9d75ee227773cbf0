"""The network that reads a beat step by step: its rule files, what it keeps, what a wrong word answers."""

import json

import numpy as np
import pytest

from synapcc.examples.ecg import evaluate, study
from synapcc.examples.ecg.choices import RECURRENT, STEPS
from synapcc.gen.compile import compile_model
from synapcc.gen.errors import SynapccError
from synapcc.gen.rules import options
from synapcc.gen.spec import load_spec
from synapcc.host.cli import main
from synapcc.host.pages.footprint import memory

RULES = RECURRENT["gru"]


def test_rule_files_hold_the_best_rates_of_the_study() -> None:
    results = json.loads(study.RESULTS.read_text(encoding="utf-8"))
    folder, written = evaluate.rule_folder("gru"), dict(study.rule_files(results, "gru", "A"))
    assert (
        sorted(p.name for p in folder.glob("*.toml")) == sorted(written) == sorted(f"{r}.toml" for r in RULES)
    )
    tried = dict(study.rates("gru"))
    for rule in RULES:
        assert (folder / f"{rule}.toml").read_text(encoding="utf-8") == written[f"{rule}.toml"]
        spec = load_spec(folder / f"{rule}.toml", options())
        label = f"{rule} 2^-{spec.rate}"
        assert (spec.layers, spec.options) == (tried[label].layers, tried[label].options)
        scores = [study.known_score(results, "gru", name, "A") for name in tried if name.split()[0] == rule]
        assert None not in scores and study.known_score(results, "gru", label, "A") == max(
            filter(None, scores)
        )


def test_it_learns_from_every_step_in_little_memory() -> None:
    """Under bptt it keeps 3 bytes a unit of each of the ten steps; under dftt nothing."""
    rng = np.random.default_rng(3)
    data = {"beat": rng.uniform(-1.5, 1.5, (80, 151)).astype(np.float32), "label": np.arange(80) % 4}
    kept = {}
    for rule in ("dftt", "bptt"):
        compiled = compile_model(evaluate.model_path("gru"), evaluate.rule_spec(rule, "gru"), data)
        assert [n.op for n in compiled.graph.nodes if n.name in compiled.learned] == ["recurrent", "dense"]
        kept[rule] = memory(compiled.plan)["of_which_history"]
    assert kept == {"dftt": 0, "bptt": STEPS * 24 * 3}


def test_a_rule_of_other_networks_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["eval", "ecg", "--model", "gru", "--rule", "hebbian"]) == 2
    said = capsys.readouterr().err
    assert '"hebbian" is neither a rule nor a file; rules of gru: float_bp, bptt, dfa, dftt, last' in said
    with pytest.raises(SynapccError, match="base models of protocol B: mlp, mlp_rr, cnn"):
        evaluate.model_path("gru", "B")
