"""Texts that are no equations, or say nothing that can be done: one clear line, and a caret."""

from __future__ import annotations

import re
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from equations import DIRECT, DOWN, INPUTS, OUTPUTS, SCORES, SHAPES, TRACES, drawn
from head_nets import perceptron, samples
from projects import case

from synapcc.gen.compile import compile_model
from synapcc.gen.equations import rule_of
from synapcc.gen.equations.text import DEEPEST, MOST
from synapcc.gen.errors import CompileError, TermError
from synapcc.gen.ops._terms import aligned
from synapcc.gen.rules import options
from synapcc.gen.spec import RuleSpec, parse_spec
from synapcc.gen.spec.own import Teach, Update
from synapcc.host.cli import main

PLAIN = "-rate * teach[o] * pre[i]"
HIDDEN = "(R.T @ next) * df(z)"
FUZZED, LONG = 1500, 40000
SOON = 2.0  # seconds of CPU that reading an equation may take, a hundred times what the slowest takes
DATA = samples(40, 5, 1)


def refusal(spec: RuleSpec) -> CompileError:
    with pytest.raises(CompileError) as caught:
        compile_model(perceptron(5), spec, DATA)
    return caught.value


def hold(error: CompileError, texts: list[str]) -> None:
    """One line; below it, a piece of the text and a caret under a character of it, or just behind it."""
    assert "\n" not in error.line and len(error.line) < 500 and error.line.isprintable()
    if error.excerpt:
        shown, caret = error.excerpt.split("\n")
        plain = [f"  {''.join(c if ' ' <= c <= '~' else '_' for c in t)}" for t in texts]
        assert any(shown.strip(" ") in t for t in plain) and caret.strip() == "^"
        assert 2 <= caret.index("^") <= len(shown)


@pytest.mark.parametrize(
    ("text", "under", "says"),
    [
        ("-rate * teach[o] * pe[i]", "pe[i]", 'did you mean "pre"? known are teach, post, z, pre, W, rate'),
        ("-rate * teach[o]", "teach", "this product has no axis i; it needs a factor as pre[i]"),
        ("-rate * pre[i]", "pre", "this product has no axis o"),
        ("-rate * teach[i] * pre[i]", "teach", "teach has no axes [i]; write teach[o]"),
        ("W[o,i] * W[o,i] * pre[i]", "W[o,i] *", "is a product of two matrices"),
        ("-2^-9 * R * pre", "R", "the matrix R has no place in update.weight"),
        ("-rate * next * pre", "next", 'it reaches this one through a matrix, "R.T @ next"'),
        ("-rate * df(z) * teach * pre", "df", "is taken in [teach]"),
        ("-rate * W.T * pre", "W", "is a matrix without a signal"),
        ("-0.1 * teach * pre", "teach", "has the factor -0.1, which no shift is; take a power of two"),
        ("-rate * teach * pre +", "", "ends too early"),
        ("-rate * (teach * pre", "", 'ends too early; here comes ")"'),
        ("-rate * teach pre", "pre", '"pre" cannot stand here; here comes +, -, * or the end'),
        ("-rate * teach * 2pre", "2", '"2" cannot stand here'),
        ("teach * pre / post", "post", "is no number to divide by"),
        ("rate * sigmoid(post) * pre", "sigmoid", 'there is no function "sigmoid"'),
        ("rate * sing(post) * pre", "sing", 'did you mean "sign"?'),
        ("rate * clip(post, 1) * pre", "clip", "clip has 2 arguments; it takes 3"),
        ("rate * clip(post, 1, -1) * pre", "1, -1", "its limits are 1 and -1"),
        ("rate * sign(post * pre) * pre", "post", "sign takes a signal along one axis, this has [o,i]"),
        ("rate * sign(W) * pre", "W", "sign takes no W"),
        ("teach * pre - teach * pre", "teach", "is always 0"),
        ("rate^3 * post * pre", "rate", "has the rate more than twice"),
        ("post^4 * pre", "4", "4 is no power of a signal"),
        ("rate * (post * pre", "", "ends too early"),
        (
            "-rate * teach * pre - 1e99 * 1e99 * W",
            "1e99",
            "is too large; numbers from 2^-64 to 2^64 are read",
        ),
        ("post * pre / 2^-40 / 2^-64 - 1e-30 * W", "1e-30", "is too small"),
        ("64^64 * post * pre", "64", "is too large"),
        ("0.12345678901234567 * teach * pre", "0", "is a number of too many digits; up to 15 stand"),
        ("2^99 * post * pre", "99", "is too far"),
        ("(" * 60 + "post" + ")" * 60, None, "is nested too deeply"),
        ("post * pre * (post + z)^3 * (pre + 2^-1)^3 * (post - 2^-2 * z)^3", None, "makes too many products"),
        ("x" * 2000, None, "has 2000 characters"),
        ("-rate * teach * pre - 2^-30 * W", "W", "can change nothing"),
        ("2^18 * teach * pre", "teach", "2^30 are possible; take a smaller factor"),
        ("2^26 * rate * teach * pre", "teach", "2^30 are possible; take a smaller factor, or a smaller rate"),
        ("-2^-25 * rate * teach * pre", "teach", "a rate of 2^-31 can change nothing"),
        ("-2^-25 * rate * teach * pre", "teach", "or larger; rate and numbers of a term count together"),
        (
            "-rate * sign(teach, 2^20) * pre",
            "teach",
            "nothing reaches the threshold of 1.05e+06: the largest is",
        ),
        ("rate * sign(post, 2^20) * pre", "post", "nothing reaches the threshold of 1.05e+06"),
        ("-rate * clip(teach, -2^-40, 2^-40) * pre", "teach", "2^30 are possible; take wider limits"),
        ("2^20 * post * pre", "post", "this term is too large"),
        ("-2^10 * post * pre * post * W * post - 2^-20 * pre * post", "post", "could overflow"),
    ],
)
def test_a_weight_that_says_nothing(text: str, under: str | None, says: str) -> None:
    spec = RuleSpec("own", rounding="nearest", update=Update(text))
    error = refusal(spec)
    assert says in error.line and error.where.startswith("update.weight"), error.line
    assert "rate" in text or "smaller rate" not in error.line
    hold(error, [text])
    if under is not None:
        assert error.excerpt.split("\n")[1].index("^") - 2 == (text.index(under) if under else len(text))


@pytest.mark.parametrize(
    ("text", "under", "says"),
    [
        ("-rate * error[c]", "error", "this product has no axis o; it needs a factor as teach[o] or post[o]"),
        ("-rate * teach[o] * post[o]", "teach", "this product has no axis c; it needs a factor as error"),
        ("-rate * error[o] * post[o]", "error", "error has no axes [o]; write error[c]"),
        ("-rate * error * post - 2^-9 * R", "R", "the matrix that it changes, which is B"),
        (
            "-rate * error * pre",
            "pre",
            "pre has the axis i, and update.feedback changes B[c,o]; here are known",
        ),
        ("-rate * error * pro", "pro", "known are teach, post, z, error, target, B, rate"),
        ("-rate * target[o] * post", "target", "target has no axes [o]; write target[c]"),
        ("-rate * error * post - 2^-30 * B", "B", "can change nothing"),
        ("2^26 * error * post * post", "error", "this term is too large"),
    ],
)
def test_a_matrix_of_the_error_that_says_nothing(text: str, under: str, says: str) -> None:
    teach = Teach(hidden="(B.T @ error) * df(z)")
    spec = RuleSpec("own", rounding="nearest", update=Update(PLAIN, "", text), teach=teach)
    error = refusal(spec)
    assert says in error.line and error.where.startswith("update.feedback"), error.line
    hold(error, [text])
    assert error.excerpt.split("\n")[1].index("^") - 2 == text.index(under)


@pytest.mark.parametrize(
    ("key", "text", "says"),
    [
        ("hidden", "next", 'it reaches this one through a matrix, "R.T @ next"'),
        ("hidden", "(R @ next) * df(z)", "R @ takes a signal up; signals pass down: write R.T"),
        ("hidden", "(B.T @ next) * df(z)", "B does not take next here; R.T or W.T does"),
        ("hidden", "(R.T @ error) * df(z)", "R does not take error here; B.T does"),
        ("hidden", "(R.T @ next) * df(post)", "is no derivative; there is df(z) alone"),
        ("hidden", "(R.T @ next) * df(z) + post", "has no df(z), and another product has"),
        ("hidden", "df(z)", "is a derivative and no signal"),
        ("hidden", "(R.T @ next) * df(z) * df(z)", "takes df(z) twice"),
        ("hidden", "((R.T @ next) + (W.T @ next)) * df(z)", "takes two signals down from the layer above"),
        ("hidden", "(sign(R).T @ next) * df(z)", "matrices are W.T, R.T, B.T and sign(W).T"),
        ("hidden", "rate * (W.T @ next) * df(z)", "rate belongs to [update]"),
        ("hidden", "2^-3", "this product has no axis o"),
        ("hidden", "(B[c,o].T @ error) * df(z)", "the T comes before the axes: B.T[c,o]"),
        ("hidden", "(B.T[o,i] @ error) * df(z)", "B has no axes [o, i]; write B.T[c,o]"),
        ("hidden", "(W.T[c,o] @ next) * df(z)", "W has no axes [c, o]; write W.T[o,i]"),
        ("output", "err", 'did you mean "error"?'),
        ("output", "B.T @ error", "no matrix takes signals in teach.output"),
        ("bias", "-rate * pre", "pre has the axis i, and update.bias changes b[o]; here are known teach"),
        ("hidden", "pre * df(z)", "pre is what a layer reads"),
        ("bias", "-rate * error", 'in [teach] it reaches a layer through a matrix, "B.T @ error"'),
        ("bias", "-rate * teach * W", "the matrix W has no place in update.bias"),
        ("feedback", "-rate * teach * pre - 2^-9 * W", "the matrix W has no place in update.feedback"),
        ("feedback", PLAIN, "changes R, and no signal passes through it"),
        ("feedback", "-rate * error * post", "error says that B learns, and no signal passes through B"),
        ("feedback", "-2^-8 * B", '[teach] hidden = "(B.T @ error) * df(z)" does'),
        ("trace", "seen + pre", "seen keeps 1 of itself, and grows without end"),
        ("trace", "seen - 3 * seen + pre", "seen keeps -2 of itself"),
        ("trace", "2^-30 * seen + pre", "seen forgets 1 of itself, which no shift is; let it forget a power"),
        ("trace", "127 * 2^-14 * seen + pre", "seen forgets 0.992249 of itself, which no shift is"),
        ("trace", "seen - 0.1 * seen + pre", "seen forgets 0.1 of itself, which no shift is"),
        ("trace", "seen - 2^-3 * seen + 0.1 * pre", "has the factor 0.1, which no shift is"),
        ("trace", "0.5 * seen", "is a trace of nothing"),
        ("trace", "0.5 * seen + per", '"per" is not known here; did you mean "pre"?'),
        ("trace", "0.5 * seen + error", "error is the error of the scores"),
        ("trace", "0.5 * seen + pre + teach", "this product has no axis i"),
        ("trace", "seen - 2^-3 * pre * seen + pre", "seen forgets by a signal"),
        ("trace", "0.5 * seen + pre", "nothing reads the trace seen"),
    ],
)
def test_other_equations_that_say_nothing(key: str, text: str, says: str) -> None:
    update, teach = {"weight": PLAIN}, {}
    if key in ("bias", "feedback"):
        update[key] = text
    elif key != "trace":
        teach[key] = text
    trace = (("seen", text),) if key == "trace" else ()
    error = refusal(RuleSpec("own", update=Update(**update), teach=Teach(**teach), trace=trace))
    assert says in error.line, error.line
    hold(error, [text])
    assert error.excerpt


@pytest.mark.parametrize(
    ("hidden", "text", "says"),
    [
        (HIDDEN, "-rate * error * post", "error says that B learns, and no signal passes through B"),
        ("(R.T @ next) * df(z) + (B.T @ error) * df(z)", "-rate * post * target", "take R.T out of [teach]"),
    ],
)
def test_a_matrix_that_does_not_learn_is_not_changed(hidden: str, text: str, says: str) -> None:
    error = refusal(RuleSpec("own", update=Update(PLAIN, "", text), teach=Teach(hidden=hidden)))
    assert says in error.line and error.where == "update.feedback", error.line
    hold(error, [text])


@pytest.mark.parametrize(
    ("layers", "hidden", "text", "says"),
    [
        (("fc2",), HIDDEN, PLAIN, "changes R, and no layer that learns passes a signal to another one"),
        (("fc1",), HIDDEN, PLAIN, "let one learn that lies below, or drop the equation"),
        (
            ("fc2",),
            "(B.T @ error) * df(z)",
            "-rate * error * post",
            "every layer that learns makes the scores",
        ),
    ],
)
def test_a_matrix_that_no_layer_has_is_not_changed(
    layers: tuple[str, ...], hidden: str, text: str, says: str
) -> None:
    spec = RuleSpec("own", layers=layers, update=Update(PLAIN, "", text), teach=Teach(hidden=hidden))
    error = refusal(spec)
    assert says in error.line and error.where == "update.feedback", error.line
    hold(error, [text])
    assert compile_model(perceptron(5), replace(spec, update=Update(PLAIN)), DATA).learned == layers


def test_a_trace_stands_alone_in_functions() -> None:
    trace, clipped = (("seen", "0.5 * seen + pre"),), "rate * post * clip(seen, -1, 1)"
    error = refusal(RuleSpec("own", update=Update(clipped), trace=trace))
    assert "clip takes no trace: calibration does not see how large it becomes" in error.line


@pytest.mark.parametrize("name", ["weight", "bias", "saturated", "feedback"])
def test_a_trace_has_a_name_of_its_own(name: str) -> None:
    """Whatever of a layer has that name, and whether it is made before or after the trace."""
    text = f"0.5 * {name} + pre"
    update = Update(f"-rate * teach * {name} - 2^-9 * W", feedback=PLAIN)
    error = refusal(RuleSpec("own", update=update, teach=Teach(hidden=HIDDEN), trace=((name, text),)))
    assert re.search(f"its vectors would be called fc[12]_{name}, and something else is", error.line)
    assert error.where == f"trace.{name}" and error.hint == "give the trace another name"
    hold(error, [text])


def test_what_nothing_reads_is_refused() -> None:
    error = refusal(RuleSpec("own", update=Update("rate * post * pre"), teach=Teach(hidden=HIDDEN)))
    assert "says what `teach` is, and nothing reads it" in error.line


def test_a_command_shows_the_place_and_leaves_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    c = case(tmp_path)
    c.rule.write_text('[update]\nweight = "-rate * teach[o] * pe[i]"\n')
    assert main(c.words(tmp_path / "out")) == 2
    line, shown, caret = capsys.readouterr().err.splitlines()
    assert line.startswith('synapcc compile: update.weight: "pe" is not known here')
    assert shown == "  -rate * teach[o] * pe[i]" and caret.index("^") == shown.index("pe[i]")
    assert not (tmp_path / "out").exists()


# ---- fuzz ------------------------------------------------------------------------------------------------

WORDS = [
    *" +-*@/^()[],.",
    "2^-3",
    "0.5",
    "1e9",
    "127",
    "3 *",
    "rate",
    "W",
    "R",
    "B",
    "b",
    "teach",
    "pre",
    "post",
]
WORDS += [
    "z",
    "next",
    "error",
    "target",
    "df(z)",
    "sign(",
    "clip(",
    "step(",
    "abs(",
    "[o]",
    "[i]",
    "[o,i]",
    ".T",
]
WORDS += [*OUTPUTS, *INPUTS, *DOWN, *DIRECT, *SCORES, *SHAPES, "é", "\x00", "seen", "{}"]


def spoilt(rng: np.random.Generator, text: str) -> str:
    """A text with words put in, left out or in the place of others; or one of words alone."""
    if not rng.integers(6):
        text = ""
    for _ in range(int(rng.integers(1, 5))):
        at, to = sorted(int(i) for i in rng.integers(0, len(text) + 1, 2))
        word = str(rng.choice(WORDS)) if rng.integers(4) else ""
        text = text[:at] + word + text[to if rng.integers(2) else at :]
    return text or "*"


@pytest.mark.parametrize("count", [FUZZED, pytest.param(LONG, marks=pytest.mark.long)])
def test_any_text_is_a_rule_or_one_clear_line(count: int) -> None:
    kept = 0
    for seed in range(count):
        rng = np.random.default_rng([4, seed])
        update, teach, trace = drawn(rng)
        texts = {
            "weight": update.weight,
            "bias": update.bias,
            "feedback": update.feedback,
            "hidden": teach.hidden,
        }
        texts |= {"output": teach.output, "seen": dict(trace).get("seen", "") or TRACES["seen"][0]}
        key = str(rng.choice(list(texts)))
        texts[key] = spoilt(rng, texts[key])
        trace = (("seen", texts["seen"]),) if trace or key == "seen" else ()
        spec = RuleSpec(
            "own",
            update=Update(texts["weight"], texts["bias"], texts["feedback"]),
            teach=Teach(texts["output"], texts["hidden"]),
            trace=trace,
        )
        try:
            rule_of(spec)
            if seed % 8 == 0:
                compile_model(perceptron(5), spec, DATA)
            kept += 1
        except CompileError as error:
            hold(error, list(texts.values()))
    assert count / 50 < kept < count / 2


def test_three_lines_are_a_rule() -> None:
    """A Hebbian rule of the error's sign, with decay."""
    text = (
        'update.weight   = "-rate * sign(teach[o]) * pre[i] - 2^-10 * W[o,i]"\n'
        'update.feedback = "-rate * sign(teach[o]) * pre[i] - 2^-10 * R[o,i]"\n'
        'teach.hidden    = "(R.T @ next) * df(z)"\n'
    )
    c = compile_model(perceptron(5), parse_spec(text, "rule.toml", options()), DATA)
    kinds = [s.kernel for p, s in c.abstract.steps() if p == "correct"]
    assert kinds.count("statement.matrix") == 3 and kinds.count("statement.change") == 2


GROWING = ("rate", "post", "1e9", "0.3", "(post - pre)", "(post + 2^-40)", "-0.7 * z")
ROUND = ("{}^3", "{}^2", "abs({})", "abs({})^3", "clip({}, -1e9, 1e9)^2", "({} * 1e15)", "({} - z)^3")
ROUND += ("(2^-1 * {})^3", "step({})^3 + 2^-2 * {}", "{} * {}")


@pytest.mark.parametrize("count", [150, pytest.param(5000, marks=pytest.mark.long)])
def test_no_text_takes_long_to_read(count: int) -> None:
    """Powers within powers, of all that can grow, as deep as a text may be."""
    verdicts = set()
    for seed in range(count):
        rng = np.random.default_rng([10, seed])
        texts = [str(rng.choice(GROWING))]
        few = [str(r) for r in rng.choice(ROUND, int(rng.integers(1, 4)))]
        while len(texts[-1]) < MOST - 40 and texts[-1].count("(") < 2 * DEEPEST and len(texts) < 36:
            texts.append(f"({str(rng.choice(few)).replace('{}', texts[-1])})")
        text = f"-rate * teach * pre + 2^-3 * teach * pre * {texts[-1]}"
        number = f"-rate * clip(teach, -1, {texts[-1]}) * pre"
        for weight in (text, number):
            started = time.process_time()
            try:
                rule_of(RuleSpec("own", update=Update(weight)))
                verdicts.add("read")
            except CompileError as error:
                hold(error, [weight])
                verdicts.add(error.what)
            assert time.process_time() - started < SOON, weight
    assert len(verdicts) > 5


def test_a_sum_of_a_built_in_rule_that_does_not_fit_is_told_without_a_place() -> None:
    """Rules of ours write statements too, and no rule file has their text."""
    terms = {"c0": 1.0, "f0": 1, "c1": -1.0, "f1": 4}
    fracs, mags = {"v0": 3, "v1": 3, "y": 26}, {"v0": 128, "v1": 128, "y": 32768}
    with pytest.raises(
        CompileError, match="dense11: in what the rule computes this term is too large"
    ) as told:
        aligned(terms, tuple(f"v{i}" for i in range(8)), fracs, mags, 26, 0, "dense11")
    assert not isinstance(told.value, TermError)
    said = terms | {"said": 1, "at0": 2, "at1": 5}
    with pytest.raises(TermError, match="dense11: this term is too large"):
        aligned(said, tuple(f"v{i}" for i in range(8)), fracs, mags, 26, 0, "dense11")
