"""Rules and ops from outside the repository: by path, and as an installed package; with the same proof."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import onnx_models as om
import pytest
from onnx.reference import ReferenceEvaluator
from projects import Case, case, spawn

OUTSIDE = Path(__file__).parents[2] / "support" / "outside"
TWICE = (OUTSIDE / "passes.py").read_text().replace('"passes"\n', '"dfa"\n')


def proven(folder: Path, rule: str, more: str, **environment: object) -> subprocess.CompletedProcess[str]:
    """Compiles a small net under the rule and verifies 40 steps on this computer's C."""
    c = case(folder, rule, more=more)
    path = [] if environment else ["--rule-path", str(OUTSIDE)]
    done = spawn([*c.words(folder / "out"), *path], **environment)
    assert done.returncode == 0, done.stderr
    words = ["verify", str(folder / "out"), "--data", str(c.data), "--steps", "40", "--device", "process"]
    done = spawn([*words, *path], **environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("verify: 40 steps, 0 differing bytes\n")
    return done


@pytest.mark.parametrize(
    ("rule", "more"),
    [
        pytest.param("sign_error", "[options]\nthreshold = 0.125\n", marks=pytest.mark.long),
        ("sign_error", '[feedback]\nstorage = "generated"\n[replay]\nsamples = 6\n'),
        ("passes", "[options]\npasses = 2\n[store]\nsamples = 5\n"),
        pytest.param("last", "[options]\ndepth = 2\n", marks=pytest.mark.long),
    ],
)
def test_a_rule_from_a_path_learns_bit_for_bit(rule: str, more: str, tmp_path: Path) -> None:
    proven(tmp_path, rule, more)


def test_options_change_the_plan(tmp_path: Path) -> None:
    plans = []
    for i, passes in enumerate((1, 2)):
        c = case(tmp_path / str(i), "passes", more=f"[options]\npasses = {passes}\n")
        done = spawn([*c.words(tmp_path / str(i) / "out"), "--rule-path", str(OUTSIDE / "passes.py")])
        assert done.returncode == 0, done.stderr
        plans.append((tmp_path / str(i) / "out" / "plan.json").read_bytes())
    assert plans[0] != plans[1]


@pytest.mark.parametrize(
    ("rule", "more", "said"),
    [
        ("passes", "[options]\npases = 2\n", 'did you mean "passes"? allowed in [options] are passes'),
        ("passes", "[options]\npasses = 9\n", "options.passes is 9; give a whole number from 1 to 8"),
        ("hebbian", "[options]\ndepth = 2\n", "rule hebbian has none; drop [options]"),
        ("sign_error", "[options]\nthreshold = 0.3\n", 'give a power of two, "2^-7" to "2^0"'),
    ],
)
def test_wrong_options_are_one_line(rule: str, more: str, said: str, tmp_path: Path) -> None:
    c = case(tmp_path, rule, more=more)
    done = spawn([*c.words(tmp_path / "out"), "--rule-path", str(OUTSIDE)])
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and said in done.stderr, done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("broken.py", "def (", "cannot be loaded (SyntaxError"),
        ("raises.py", "1 / 0", "cannot be loaded (ZeroDivisionError: division by zero)"),
        (
            "twice.py",
            (OUTSIDE / "passes.py").read_text().replace('"passes"\n', '"dfa"\n'),
            "is there already",
        ),
        ("none.txt", "", "holds no Python file"),
    ],
)
def test_what_cannot_be_loaded_is_one_line(name: str, text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / name).write_text(text)
    done = spawn(["rules", "--rule-path", str(tmp_path / "rules")])
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and said in done.stderr, done.stderr


def wheel(folder: Path) -> Path:
    """A wheel whose package brings the op, its template and both rules under our entry points."""
    path = folder / "strangers-1.0-py3-none-any.whl"
    info = "strangers-1.0.dist-info"
    points = (
        "[synapcc.rules]\nsign_error = strangers.sign_error\npasses = strangers.passes\n"
        "[synapcc.ops]\nsign_error = strangers.sign_error\nabsolute = strangers.absolute\n"
    )
    with zipfile.ZipFile(path, "w") as z:
        z.writestr("strangers/__init__.py", "")
        for file in OUTSIDE.iterdir():
            if file.is_file():
                z.write(file, f"strangers/{file.name}")
        z.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: strangers\nVersion: 1.0\n")
        z.writestr(
            f"{info}/WHEEL",
            "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        )
        z.writestr(f"{info}/entry_points.txt", points)
        z.writestr(f"{info}/RECORD", "")
    return path


def test_an_installed_package_brings_ops_and_rules(tmp_path: Path) -> None:
    there = tmp_path / "site"
    pip = [
        sys.executable,
        "-m",
        "pip",
        "--disable-pip-version-check",
        "install",
        "-q",
        "--no-index",
        "--no-deps",
    ]
    subprocess.run([*pip, "--target", str(there), str(wheel(tmp_path))], check=True)
    env = {"PYTHONPATH": str(there), "PATH": "/usr/bin:/bin"}
    assert "sign_error" in spawn(["rules"], env=env).stdout
    assert "sign_error" not in spawn(["rules"]).stdout
    proven(tmp_path, "sign_error", "", env=env)
    shutil.rmtree(there)


# ---- an op that model files hold ----------------------------------------------------------------------


def with_abs(folder: Path) -> Case:
    """A perceptron whose activation is the absolute value, as an ONNX file, with two layers that learn."""
    rng = np.random.default_rng(5)
    constants = {
        name: rng.normal(0, 0.4, shape).astype(np.float32)
        for name, shape in {"w1": (8, 12), "b1": (8,), "w2": (3, 8), "b2": (3,)}.items()
    } | {"last": np.array([2])}
    nodes = [
        om.node("Gemm", "input w1 b1", "h", "fc1", transB=1),
        om.node("Unsqueeze", "h last", "h3", "rows"),
        om.node("GlobalLpPool", "h3", "a3", "size", p=1),
        om.node("Squeeze", "a3 last", "a", "flat"),
        om.node("Gemm", "a w2 b2", "y", "fc2", transB=1),
    ]
    c = case(folder, "bp")
    om.save(om.model(nodes, {"input": ["N", 12]}, {"y": ["N", 3]}, constants), folder, c.model.name)
    return c


def done(words: Sequence[object], code: int = 0) -> subprocess.CompletedProcess[str]:
    ran = spawn([str(w) for w in words])
    assert ran.returncode == code, ran.stderr
    return ran


def test_an_op_from_a_path_is_imported_exported_and_benchmarked(tmp_path: Path) -> None:
    """By rows that its own file brings: no file of ours names it."""
    c, out, path = with_abs(tmp_path), tmp_path / "out", ("--rule-path", OUTSIDE)
    said = done(c.words(tmp_path / "none"), 2).stderr
    assert "operator GlobalLpPool is not supported" in said and said.count("\n") == 1
    done([*c.words(out), *path])
    words = ["verify", out, "--data", c.data, "--steps", 40, "--device", "process", *path]
    assert done(words).stdout.endswith("verify: 40 steps, 0 differing bytes\n")
    emulated = ["emulate", out, "--data", c.data, "-o", tmp_path / "scores.npz", *path]
    done(emulated)
    scores = np.load(tmp_path / "scores.npz")["scores"]
    for option, name in (("--onnx", "net.onnx"), ("--quantised", "integers.onnx")):
        done(["pull", out, "--device", "process", option, tmp_path / name, *path])
    samples = {"input": np.load(c.data)["input"]}
    for name in ("net.onnx", "integers.onnx"):
        assert "Abs" in {n.op_type for n in onnx.load(tmp_path / name).graph.node}
    ran = ReferenceEvaluator(onnx.load(tmp_path / "integers.onnx")).run(["scores"], samples)
    assert np.array_equal(np.asarray(ran[0]), scores)
    counted = done(["bench", "--kernel", "absolute 64", "--json", "-", *path]).stdout
    assert [op["kernel"] for op in json.loads(counted)["ops"]] == ["absolute.forward"]


def test_a_row_that_is_there_already_is_one_line(tmp_path: Path) -> None:
    c = with_abs(tmp_path)
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "twice.py").write_text('ONNX_OPERATORS = {"Relu": print}\n')
    said = done([*c.words(tmp_path / "out"), "--rule-path", tmp_path / "more"], 2).stderr
    assert 'ONNX_OPERATORS has "Relu" already' in said and said.count("\n") == 1


def test_an_op_that_does_not_say_what_it_takes_is_told_where_to_read(tmp_path: Path) -> None:
    c, folder = with_abs(tmp_path), tmp_path / "more"
    shutil.copytree(OUTSIDE, folder)
    lines = (OUTSIDE / "absolute.py").read_text().splitlines(keepends=True)
    (folder / "absolute.py").write_text("".join(x for x in lines if not x.startswith("    operands =")))
    said = done([*c.words(tmp_path / "out"), "--rule-path", folder], 2).stderr
    assert "it does not say what operand x is" in said and "synapcc docs RULES" in said
    assert said.count("\n") == 1
