"""synapcc migrate: a state goes on under another compilation, and everything else is one line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from projects import Case, case, compiled, refusal, write_rule

from synapcc.host.cli import main
from synapcc.host.link.state import ABOUT

Capsys = pytest.CaptureFixture[str]
KEEP = "[keep]\nmigrate = true\n"


@pytest.fixture(scope="module")
def projects(tmp_path_factory: pytest.TempPathFactory) -> tuple[Case, Path, Path]:
    """A project, one of the same network behind it, and a state of the first that has learned."""
    folder = tmp_path_factory.mktemp("projects")
    c, old = compiled(folder, more=KEEP)
    write_rule(c.rule, "bp", "int8", KEEP)
    assert main(c.words(folder / "new")) == 0
    words = ["emulate", str(old), "--data", str(c.data), "-o", str(folder / "r.npz"), "--learn"]
    assert main([*words, "--state-out", str(folder / "s.npz")]) == 0
    return c, old, folder / "new"


def test_what_was_learned_goes_on(projects: tuple[Case, Path, Path], tmp_path: Path, capsys: Capsys) -> None:
    c, old, new = projects
    target, document = tmp_path / "s2.npz", tmp_path / "d.json"
    words = ["migrate", str(old), str(new), str(c.folder / "s.npz"), "-o", str(target)]
    assert main([*words, "--json", str(document)]) == 0
    told = json.loads(document.read_text())
    assert told["schema"] == "synapcc.migrate/1" and "step" in told["taken"] and told["as_compiled"]
    before, after = np.load(c.folder / "s.npz"), np.load(target)
    formats = [json.loads(str(f[ABOUT]))["tensors"] for f in (before, after)]
    weight = next(n for n in told["taken"] if n.endswith("weight"))
    a, b = (f[weight] * 2.0 ** -t[weight]["frac"] for f, t in zip((before, after), formats, strict=True))
    assert np.max(np.abs(a - b)) <= 2.0 ** -formats[1][weight]["frac"] and np.any(before[weight])
    more = ["emulate", str(new), "--data", str(c.data), "-o", str(tmp_path / "r.npz")]
    assert main([*more, "--state", str(target)]) == 0
    capsys.readouterr()
    assert main(["pull", str(new), "--state", str(target), "--npz", str(tmp_path / "again.npz")]) == 0


def test_refusals(projects: tuple[Case, Path, Path], tmp_path: Path, capsys: Capsys) -> None:
    c, old, new = projects
    state, out = str(c.folder / "s.npz"), str(tmp_path / "s2.npz")
    without = compiled(tmp_path / "without")[1]
    other = case(tmp_path / "other", more=KEEP, sizes=(12, 6, 3))
    assert main(other.words(tmp_path / "other" / "out")) == 0
    spoilt = compiled(tmp_path / "spoilt", more=KEEP)[1]
    report = spoilt / "report.json"
    for words, said in (
        ([str(new), str(old), state], "holds a state of Plan"),
        ([str(old), str(without), state], "does not say what its layers hear"),
        ([str(old), str(tmp_path / "other" / "out"), state], "knows nothing of what"),
        ([str(old), str(tmp_path / "none"), state], "none"),
        ([str(old), str(new), str(report)], "report.json"),
    ):
        assert said in refusal(["migrate", *words, "-o", out], capsys), words
        assert not Path(out).exists()
    text = json.loads(report.read_text())
    for broken in ("[1, 2", "{}", json.dumps(text | {"keep": {"heard": {"fc1": [1.5, []]}}}), "[" * 100_000):
        report.write_text(broken)
        assert "is no report" in refusal(["migrate", str(old), str(spoilt), state, "-o", out], capsys)
    report.write_text(json.dumps(text | {"digest": "00"}))
    assert "belongs to another Plan" in refusal(["migrate", str(old), str(spoilt), state, "-o", out], capsys)


def test_a_rule_file_says_whether(capsys: Capsys, tmp_path: Path) -> None:
    c = case(tmp_path, more="[keep]\nmigrate = 1\n")
    assert "keep.migrate is 1" in refusal(c.words(tmp_path / "out"), capsys)
