"""rule.toml: every key, every default, and one clear line for everything that is wrong."""

from __future__ import annotations

import inspect
import json
from dataclasses import replace
from math import exp2
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synapcc.gen.errors import CompileError
from synapcc.gen.frontends import block_options
from synapcc.gen.spec import (
    STARTS,
    Accumulate,
    Anomaly,
    Arena,
    Decay,
    Feedback,
    Freeze,
    Guard,
    Head,
    Keep,
    Loss,
    Mark,
    Momentum,
    Pseudo,
    Replay,
    RuleSpec,
    Schedule,
    State,
    Store,
    load_spec,
    parse_spec,
    rule_text,
    select_layers,
)
from synapcc.gen.spec.frontend import ENDS, BlockSpec, FrontEnd
from synapcc.gen.spec.options import Choice, Integer, Numbers, Option, PowerOfTwo, Quantity, Setting, Word
from synapcc.gen.spec.own import Teach, Update

pytestmark = pytest.mark.anywhere

RULES: dict[str, tuple[Option, ...]] = {
    **dict.fromkeys(("hebbian", "dfa", "fa", "bp"), ()),
    "last": (Integer("depth", "how many layers", 1, 64, 1),),
}
FULL = """
rule = "dfa"
layers = ["fc2", "fc1"]
weights = "int8"
rate = { default = "2^-5", fc1 = 0.0078125 }
rounding = "dither"
headroom = 4
seed = 4294967295
[loss]
kind = "hinge"
margin = 0.5
mu = 2
[feedback]
init = "ternary"
storage = "generated"
gain = 0.25
[decay]
shift = 12
every = 64
[replay]
samples = 128
every = 4
[store]
samples = 400
order = "shuffled"
drop = "oldest"
[guard]
every = 4
samples = 32
drop = "balanced"
gain = 0.1
margin = 0
base = 0
base_margin = 1
period = 16
"""


def parse(text: str) -> RuleSpec:
    return parse_spec(text, "rule.toml", RULES, block_options())


def test_defaults() -> None:
    spec = parse('rule = "hebbian"')
    assert spec == RuleSpec("hebbian", "dense", "int16", 6, (), "stochastic", 2.0, 1, Loss(), Feedback())
    assert (spec.decay, spec.replay, spec.store, spec.guard) == (None, None, None, None)
    assert parse('rule = "fa"\n[guard]').guard == Guard()
    assert (spec.loss.kind, spec.feedback.init, spec.feedback.storage, spec.feedback.gain) == (
        "softmax",
        "random",
        "",
        1.0,
    )
    assert parse('rule = "none"').rule == "none"


def test_every_key() -> None:
    spec = parse(FULL)
    assert spec == RuleSpec(
        rule="dfa",
        layers=("fc2", "fc1"),
        weights="int8",
        rate=5,
        rates=(("fc1", 7),),
        rounding="dither",
        headroom=4.0,
        seed=2**32 - 1,
        loss=Loss("hinge", 0.5, 2.0),
        feedback=Feedback("ternary", "generated", 0.25),
        decay=Decay(12, 64),
        replay=Replay(128, 4),
        store=Store(400, "shuffled", "oldest"),
        guard=Guard(4, 32, "balanced", 0.1, 0.0, 0, 1.0, 16),
    )
    assert (spec.rate_of("fc1"), spec.rate_of("fc2")) == (7, 5)


def test_empty_tables_switch_on_defaults() -> None:
    spec = parse('rule = "fa"\n[decay]\n[replay]\nsamples = 3\n[store]\nsamples = 9\n[loss]\n[feedback]')
    assert (spec.decay, spec.replay, spec.store) == (
        Decay(10, 256),
        Replay(3, 1),
        Store(9, "sequential", "balanced"),
    )
    weighed = 'class_weights = [1, "2^-3", 0.5]\nclip = 0.3\nskip_below = "2^-5"'
    spec = parse(f'rule = "fa"\n[loss]\n{weighed}')
    assert spec.loss == Loss(class_weights=(0, 3, 1), clip=0.3, skip_below=2.0**-5)
    assert parse(rule_text(spec.to_dict())) == spec
    numbers = parse('rule = "fa"\n[store]\nsamples = 9\n[loss]\nkind = "mse"')
    assert numbers.store == Store(9, "sequential", "oldest")
    assert parse('rule = "fa"\n[loss]\nkind = "hinge"').loss == Loss("hinge", 1.0, 1.0)


@pytest.mark.parametrize(
    ("rate", "shift"),
    [
        ('"2^-7"', 7),
        ('"2^-0"', 0),
        ('"2^0"', 0),
        ("1", 0),
        ("1.0", 0),
        ("0.5", 1),
        ("0.015625", 6),
        ('"2^-20"', 20),
    ],
)
def test_rates(rate: str, shift: int) -> None:
    assert parse(f'rule = "fa"\nrate = {rate}').rate == shift


@pytest.mark.parametrize("k", range(-6, 7))
def test_every_power_of_two_is_a_number_or_a_text(k: int) -> None:
    """Those of a section, and those that a rule asks for in its options."""
    option = PowerOfTwo("threshold", "the least error", -6, 6, 0.25)
    for value in (f'"2^{k}"', repr(2.0**k)):
        assert parse(f'rule = "fa"\n[feedback]\ngain = {value}').feedback.gain == 2.0**k
        text = f'rule = "sdfa"\n[options]\nthreshold = {value}'
        spec = parse_spec(text, "rule.toml", {"sdfa": (option,)})
        assert dict(spec.options).get("threshold", option.start) == 2.0**k


@pytest.mark.parametrize(
    "value", ['"2^-7"', '"2^7"', "0.3", '"0.5"', '"2^x"', "-1", "0", "nan", "true", "1e999"]
)
def test_what_is_no_power_of_two_in_reach_is_told_in_powers_of_two(value: str) -> None:
    with pytest.raises(CompileError, match=r'give a power of two, "2\^-6" to "2\^6"$'):
        parse(f'rule = "fa"\n[feedback]\ngain = {value}')


def test_rate_table_without_default() -> None:
    spec = parse('rule = "fa"\nrate = { fc1 = "2^-3" }')
    assert (spec.rate_of("fc1"), spec.rate_of("fc9")) == (3, 6)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", 'rule is missing; allowed are "bp", "dfa"'),
        ('rule = "hebian"', 'rule is "hebian"; did you mean "hebbian"? allowed are "bp"'),
        ("rule = 3", "rule is 3; allowed are"),
        ("rule = [[[", "is no TOML"),
        ('rule = "fa"\nrule = "fa"', "is no TOML"),
        ("a = " + "[" * 5000, "is no TOML"),
        ("a = 1" + "0" * 5000, "is no TOML"),
        ('rul = "fa"', 'no key "rul" in a rule file; did you mean "rule"? allowed'),
        ('rule = "fa"\nwieghts = "int8"', 'no key "wieghts" in a rule file; did you mean "weights"? allowed'),
        (
            'rule = "fa"\nzzz = 1',
            'no key "zzz" in a rule file; allowed in a rule file are rule, layers, weights',
        ),
        ('rule = "fa"\n[losses]', 'did you mean "loss"?'),
        ('rule = "fa"\nweights = "int4"', 'weights is "int4"; did you mean "int'),
        ('rule = "fa"\nweights = true', "weights is true"),
        ('rule = "fa"\nrounding = "stochatic"', 'did you mean "stochastic"?'),
        ('rule = "fa"\nlayers = "fc1"', 'layers is "fc1"; give "dense", "all" or a list'),
        ('rule = "fa"\nlayers = []', "layers is []"),
        ('rule = "fa"\nlayers = [1]', "layers is [1]"),
        ('rule = "fa"\nlayers = ["a", "b", "a"]', 'layers names "a" twice'),
        ('rule = "fa"\nrate = 0.3', 'rate is 0.3; give a power of two, "2^-0" to "2^-20"'),
        ('rule = "fa"\nrate = 2', "rate is 2;"),
        ('rule = "fa"\nrate = 0', "rate is 0;"),
        ('rule = "fa"\nrate = nan', "rate is nan"),
        ('rule = "fa"\nrate = true', "rate is true"),
        ('rule = "fa"\nrate = "2^-21"', 'rate is "2^-21"'),
        ('rule = "fa"\nrate = "2^5"', 'rate is "2^5"'),
        ('rule = "fa"\nrate = "fast"', 'rate is "fast"'),
        ('rule = "fa"\nrate = { fc1 = 3 }', "rate.fc1 is 3"),
        ('rule = "fa"\nheadroom = 0.5', "headroom is 0.5; give a number from 1 to 16"),
        ('rule = "fa"\nheadroom = inf', "headroom is inf"),
        ('rule = "fa"\nheadroom = nan', "headroom is nan"),
        ('rule = "fa"\nheadroom = "2"', 'headroom is "2"'),
        ('rule = "fa"\nseed = -1', "seed is -1; give a whole number from 0 to 4294967295"),
        ('rule = "fa"\nseed = 4294967296', "seed is 4294967296"),
        ('rule = "fa"\nseed = 1.0', "seed is 1.0"),
        ('rule = "fa"\nloss = "hinge"', 'loss is "hinge", not a table; write [loss]'),
        ('rule = "fa"\n[loss]\nkind = "hing"', 'loss.kind is "hing"; did you mean "hinge"?'),
        ('rule = "fa"\n[loss]\ntarget = "input"', "loss.target belongs to the mse loss"),
        ('rule = "fa"\n[loss]\nkind = "mse"\ntarget = "inputs"', 'did you mean "input"?'),
        ('rule = "fa"\n[loss]\nkind = "mse"\nmu = 1', "loss.mu belongs to the hinge loss"),
        ('rule = "fa"\n[loss]\nmargin = 1.0', "loss.margin belongs to the hinge loss"),
        ('rule = "fa"\n[loss]\nkind = "hinge"\nmargin = 0', "loss.margin is 0"),
        ('rule = "fa"\n[loss]\nkind = "hinge"\nmargin = -1', "loss.margin is -1"),
        (
            'rule = "fa"\n[loss]\nkind = "hinge"\nmu = 3',
            'loss.mu is 3; give a power of two, "2^-4" to "2^4"',
        ),
        ('rule = "fa"\n[loss]\nkind = "hinge"\nmu = 32', "loss.mu is 32"),
        ('rule = "fa"\n[loss]\nkind = "hinge"\nmy = 1', 'no key "my" in [loss]; did you mean "mu"?'),
        ('rule = "fa"\n[feedback]\ninit = "randm"', 'feedback.init is "randm"; did you mean "random"?'),
        ('rule = "fa"\n[feedback]\nstorage = "rom"', 'feedback.storage is "rom"; did you mean "ram"?'),
        ('rule = "fa"\n[feedback]\ngain = 0', "feedback.gain is 0"),
        (
            'rule = "fa"\n[feedback]\ngain = 1.5',
            'feedback.gain is 1.5; give a power of two, "2^-6" to "2^6"',
        ),
        ('rule = "fa"\n[feedback]\ninit = "aligned"\nstorage = "generated"', "feedback.storage is"),
        ('rule = "fa"\n[decay]\nshift = 0', "decay.shift is 0; give a whole number from 1 to 15"),
        ('rule = "fa"\n[decay]\nevery = 100', "decay.every is 100; give a power of two"),
        ('rule = "fa"\n[replay]', "replay.samples is missing; give a whole number from 1 to 4096"),
        ('rule = "fa"\n[replay]\nsamples = 5000', "replay.samples is 5000"),
        ('rule = "fa"\n[replay]\nsamples = 1\nevery = 0', "replay.every is 0"),
        ('rule = "fa"\n[store]\nsamples = 65536', "store.samples is 65536"),
        ('rule = "fa"\n[store]\nsamples = 5\norder = "random"', 'store.order is "random"'),
        ('rule = "fa"\n[store]\nsamples = 5\ndrop = "newest"', 'store.drop is "newest"'),
        ('rule = "fa"\nguard = true', "guard is true, not a table; write [guard] on a line of its own"),
        ('rule = "fa"\n[guard]\nevery = 1', "guard.every is 1; give a whole number from 2 to 65535"),
        ('rule = "fa"\n[guard]\nsamples = 1', "guard.samples is 1; give a whole number from 2 to 65535"),
        ('rule = "fa"\n[guard]\nmargin = -0.1', "guard.margin is -0.1; give a number from 0 to 1"),
        ('rule = "fa"\n[guard]\ngain = "2^-5"', 'guard.gain is "2^-5"; give a number from 0 to 1'),
        ('rule = "fa"\n[guard]\nbase = -1', "guard.base is -1"),
        ('rule = "fa"\n[guard]\nperiod = 0', "guard.period is 0"),
        ('rule = "fa"\n[guard]\ndrop = "newest"', 'guard.drop is "newest"'),
        ('rule = "fa"\n[guard]\nsample = 3', 'no key "sample" in [guard]; did you mean "samples"?'),
        ('rule = "none"\n[guard]', 'guard is there, and under rule "none" nothing learns; choose a rule'),
        ('rule = "fa"\n[loss]\nclip = 0', "loss.clip is 0"),
        ('rule = "fa"\n[loss]\nskip_below = 0.3', "loss.skip_below is 0.3"),
        ('rule = "fa"\n[loss]\nclass_weights = [0.5, 0.25]', "one of them 1"),
        ('rule = "fa"\n[loss]\nclass_weights = [1, 2]', "one of them 1"),
        ('rule = "fa"\n[loss]\nclass_weights = [1, 0.3]', "one of them 1"),
        ('rule = "fa"\n[loss]\nclass_weights = "even"', 'give "balanced"'),
        ('rule = "fa"\n[loss]\nkind = "mse"\nclass_weights = "balanced"', "belongs to losses of classes"),
        ('rule = "fa"\n[store]\nsample = 5', 'no key "sample" in [store]; did you mean "samples"?'),
        ('rule = "fa"\narena = false', "arena is false, not a table; write [arena] on a line of its own"),
        ('rule = "fa"\n[arena]\nshared = "no"', 'arena.shared is "no"; give true or false, without quotes'),
        ('rule = "fa"\n[arena]\nshared = 0', "arena.shared is 0; give true or false"),
        ('rule = "fa"\n[arena]\nshare = true', 'no key "share" in [arena]; did you mean "shared"?'),
        ('rule = "fa"\nhead = 7', "head is 7, not a table; write [head]"),
        ('rule = "fa"\n[head]', 'head.classes is missing; give the number of classes, or "+2"'),
        ('rule = "fa"\n[head]\nclasses = 0', "head.classes is 0; give a whole number from 1 to 65536"),
        ('rule = "fa"\n[head]\nclasses = 65537', "head.classes is 65537"),
        ('rule = "fa"\n[head]\nclasses = "+0"', 'head.classes is "+0"'),
        ('rule = "fa"\n[head]\nclasses = "2"', 'head.classes is "2"'),
        ('rule = "fa"\n[head]\nclasses = true', "head.classes is true"),
        ('rule = "fa"\n[head]\nclasses = "+1"\nappend = true', "has no rows to keep"),
        ('rule = "fa"\n[head]\nimprint = 5\nappend = true', "head.classes is missing"),
        ('rule = "fa"\n[head]\nclasses = 3\ninit = "prototype"', 'did you mean "prototypes"?'),
        ('rule = "fa"\n[head]\nclasses = 3\nimprint = 9', "head.imprint is 9; give a whole number from 0"),
        ('rule = "fa"\ninit = "glorott"', 'did you mean "glorot"?'),
        ('rule = "none"\ninit = "he"', 'under rule "none" nothing learns'),
        ('rule = "fa"\n[schedule]', "schedule.at and every: one of them must be there"),
        ('rule = "fa"\n[schedule]\nat = [5]\nevery = 5', "schedule.at and every: one of them"),
        ('rule = "fa"\n[schedule]\nevery = 5', "schedule.times is missing"),
        ('rule = "fa"\n[accumulate]', "accumulate.samples is missing"),
        ('rule = "fa"\n[accumulate]\nsamples = 1', "accumulate.samples is 1"),
        ('rule = "fa"\n[accumulate]\nsamples = 257', "accumulate.samples is 257"),
        ('rule = "fa"\n[accumulate]\nsample = 4', 'no key "sample" in [accumulate]'),
        ('rule = "none"\n[freeze]\nbelow = 0.5', 'freeze is there, and under rule "none" nothing learns'),
        ('rule = "none"\n[momentum]\nshift = 1', "momentum is there"),
        ('rule = "none"\n[accumulate]\nsamples = 2', "accumulate is there"),
        ('rule = "none"\n[pseudo]\nmargin = 1', 'pseudo is there, and under rule "none" nothing learns'),
        ('rule = "fa"\n[pseudo]', "pseudo.margin is missing; give a number"),
        ('rule = "fa"\n[pseudo]\nmargin = -1', "pseudo.margin is -1"),
        ('rule = "fa"\n[pseudo]\nmargin = 1\nevery = 2', 'no key "every" in [pseudo]'),
        ('rule = "none"\n[sparse]\nfc1 = 0.5', 'sparse is there, and under rule "none" nothing learns'),
        ('rule = "none"\n[decay]', 'decay is there, and under rule "none" nothing learns'),
        ('rule = "none"\n[schedule]\nat = [5]', 'schedule is there, and under rule "none"'),
        ('rule = "none"\n[replay]\nsamples = 5', 'replay is there, and under rule "none"'),
        ('rule = "none"\n[store]\nsamples = 5', 'store is there, and under rule "none"'),
        ('rule = "none"\n[loss]', 'loss is there, and under rule "none" nothing learns; choose a rule'),
        ('rule = "none"\n[feedback]\ninit = "aligned"', 'feedback is there, and under rule "none" nothing'),
        ('rule = "fa"\nsparse = 0.5', "sparse is 0.5; write [sparse] on a line of its own"),
        ('rule = "fa"\n[sparse]', "sparse is a table"),
        ('rule = "fa"\n[sparse]\nfc1 = 1.0', "sparse.fc1 is 1.0; give the share of its rows that learn"),
        ('rule = "fa"\n[sparse]\nfc1 = 0.0', "sparse.fc1 is 0.0"),
        ('rule = "fa"\n[sparse]\nfc1 = 3', "sparse.fc1 is 3"),
        ('rule = "fa"\n[sparse]\nfc1 = []', "sparse.fc1 is"),
        ('rule = "fa"\n[sparse]\nfc1 = [1, 1]', "sparse.fc1 is"),
        ('rule = "fa"\n[sparse]\nfc1 = [1, -2]', "sparse.fc1 is"),
        ('rule = "fa"\n[freeze]', "freeze.below is missing; give a power of two"),
        ('rule = "fa"\n[freeze]\nbelow = 0.3', "freeze.below is 0.3"),
        ('rule = "fa"\n[freeze]\nbelow = 0.25\nafter = 0', "freeze.after is 0"),
        ('rule = "fa"\n[freeze]\nbelow = 0.25\nshare = 1', "freeze.share is 1"),
        ('rule = "fa"\n[freeze]\nbelow = 0.25\nwhen = 3', 'no key "when" in [freeze]'),
        ('rule = "fa"\n[anomaly]\nquantile = 0.2', "anomaly.quantile is 0.2"),
        ('rule = "fa"\n[anomaly]\nquantile = 1', "anomaly.quantile is 1"),
        ('rule = "fa"\n[anomaly]\nstep = 0.3', "anomaly.step is 0.3"),
        ('rule = "fa"\n[anomaly]\nof = 33', "anomaly.of is 33"),
        ('rule = "fa"\n[anomaly]\nvotes = 4\nof = 3', "anomaly.votes is 4, of 3 samples"),
        ('rule = "fa"\n[anomaly]\nvotes = 0', "anomaly.votes is 0"),
        ('rule = "fa"\n[anomaly]\nleast = -1', "anomaly.least is -1"),
        ('rule = "fa"\n[anomaly]\nleast = 9\nmost = 8', "anomaly.most is 8, and no alarm is given before 9"),
        ('rule = "fa"\n[anomaly]\nblock = 24', "anomaly.block is 24; give a power of two from 16"),
        ('rule = "fa"\n[anomaly]\nblock = 8', "anomaly.block is 8"),
        ('rule = "fa"\n[anomaly]\npatience = 3', "anomaly.patience belongs to early stopping"),
        ('rule = "fa"\n[anomaly]\nblock = 16\npatience = 0', "anomaly.patience is 0"),
        ('rule = "fa"\n[anomaly]\nblock = 16\ngain = 2', "anomaly.gain is 2"),
        ('rule = "fa"\n[anomaly]\nvote = 3', 'no key "vote" in [anomaly]'),
        ('rule = "fa"\n[momentum]', "momentum.shift is missing"),
        ('rule = "fa"\n[momentum]\nshift = 0', "momentum.shift is 0"),
        ('rule = "fa"\n[momentum]\nshift = 9', "momentum.shift is 9"),
        ('rule = "fa"\n[schedule]\nevery = 2147483648\ntimes = 2', "whole numbers that rise, from 1 to"),
        ('rule = "fa"\n[schedule]\nat = [5]\ntimes = 2', "schedule.times belongs to every"),
        ('rule = "fa"\n[schedule]\nat = [5, 5]', "schedule.at is"),
        ('rule = "fa"\n[schedule]\nat = [0]', "schedule.at is"),
        ('rule = "fa"\n[schedule]\nat = [true]', "schedule.at is"),
        ('rule = "fa"\n[schedule]\nat = 5', "schedule.at is"),
        ('rule = "fa"\n[schedule]\nat = [1, 2, 3, 4, 5, 6, 7, 8, 9]', "give 1 to 8 whole numbers"),
        ('rule = "fa"\nrate = "2^-9"\n[schedule]\nat = [5, 9]\nshift = 6', "fall to 2^-21; 2^-20 is"),
        ('rule = "own"', "update is missing"),
        ('rule = "fa"\n[update]\nweight = "W"', 'rule is "fa", and [update] belongs to a rule of your own'),
        ('[teach]\nhidden = "next"', "update is missing; [teach] makes what [update] weight reads"),
        ('[update]\nbias = "b"', "update.weight is missing"),
        ('[update]\nweight = ""', 'update.weight is ""; give an equation in quotes'),
        ("[update]\nweight = 3", "update.weight is 3; give an equation in quotes"),
        ('[update]\nwieght = "W"', 'did you mean "weight"?'),
        ('[update]\nweight = "W"\n[trace]\n"A b" = "pre"', "trace.A b is no name for a trace"),
        ('trace = 3\n[update]\nweight = "W"', "trace is 3, not a table"),
        ('rule = "fa"\nseed = 1' + "0" * 200, "seed is a number of more than 20 digits"),
    ],
)
def test_errors(text: str, says: str) -> None:
    with pytest.raises(CompileError) as caught:
        parse(text)
    message = str(caught.value)
    assert says in message
    assert message.startswith("rule.toml: ") and "\n" not in message and len(message) < 400


# ---- the rule file, as understood ---------------------------------------------------------------------

NAMES = st.text(st.characters(codec="utf-8"), max_size=12)
INITS = st.sampled_from(["zero", "random", "prototypes"])
HEADS = (
    st.builds(Head, st.integers(1, 256), st.booleans(), INITS, st.integers(0, 8))
    | st.builds(Head, st.integers(1, 999).map("+{}".format), st.just(False), INITS, st.integers(0, 8))
    | st.builds(Head, st.just(""), st.just(False), INITS, st.integers(1, 8))
)
SCHEDULES = st.builds(
    Schedule,
    st.lists(st.integers(1, 2**32 - 1), min_size=1, max_size=8, unique=True).map(sorted).map(tuple),
    st.integers(1, 8),
)
TEXTS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=30).filter(str.strip)
MAYBE = st.just("") | TEXTS


@st.composite
def fronts(draw: st.DrawFn) -> FrontEnd:
    """Front ends that a file can say: whether rates allow them is not known there."""
    known, blocks = block_options(), []
    names = draw(st.lists(st.from_regex(r"b[a-z0-9_]{0,40}", fullmatch=True), max_size=5, unique=True))
    for name in [*names, "window"]:
        kind = "window" if name == "window" else draw(st.sampled_from(sorted(known)))
        before = [b.name for b in blocks if b.kind not in ENDS]
        source = draw(st.sampled_from(["", "samples", *before]))
        options = tuple((o.name, draw(setting(o))) for o in known[kind])
        blocks.append(BlockSpec(name, kind, source, options))
    return FrontEnd(
        draw(st.floats(1, 2e5)), draw(st.integers(1, 16)), draw(st.integers(1, 4096)), tuple(blocks)
    )


def setting(option: Option) -> st.SearchStrategy[Setting]:
    """Every value of an option of a block."""
    if isinstance(option, Choice):
        return st.sampled_from(option.words)
    if isinstance(option, Integer):
        return st.integers(option.low, option.high)
    if isinstance(option, PowerOfTwo):
        return st.integers(option.low, option.high).map(exp2)
    if isinstance(option, Word):
        return MAYBE
    if isinstance(option, Numbers):
        some = st.lists(st.floats(-1e6, 1e6), min_size=option.least, max_size=option.least + 4)
        return some.map(lambda found: " ".join(map(repr, found)))
    assert isinstance(option, Quantity)
    return st.floats(option.low, option.high)


ANOMALIES = st.builds(
    Anomaly,
    st.floats(0.5, 0.9999),
    st.integers(-12, -1).map(exp2),
    votes=st.integers(1, 3),
    of=st.integers(3, 32),
    least=st.integers(0, 9),
    most=st.sampled_from([0, 9, 2**32 - 1]),
) | st.builds(
    Anomaly,
    block=st.integers(4, 16).map(lambda k: 2**k),
    gain=st.integers(-15, -1).map(exp2),
    patience=st.integers(1, 255),
)
DRAWN = st.builds(
    RuleSpec,
    rule=st.sampled_from([*RULES, "none"]),
    layers=st.sampled_from(["all", "dense"])
    | st.lists(NAMES, min_size=1, max_size=4, unique=True).map(tuple),
    weights=st.sampled_from(["int8", "int16"]),
    rate=st.integers(0, 20),
    rates=st.dictionaries(NAMES.filter(lambda n: n != "default"), st.integers(0, 20), max_size=4).map(
        lambda rates: tuple(sorted(rates.items()))
    ),
    rounding=st.sampled_from(["stochastic", "nearest", "dither"]),
    headroom=st.floats(1, 16),
    seed=st.integers(0, 2**32 - 1),
    loss=st.just(Loss())
    | st.builds(Loss, st.just("mse"), target=st.sampled_from(["given", "input"]))
    | st.builds(Loss, st.just("hinge"), st.floats(0, 2**15, exclude_min=True), st.integers(-4, 4).map(exp2)),
    feedback=st.builds(
        Feedback,
        st.sampled_from(["random", "ternary", "aligned"]),
        st.sampled_from(["", "flash", "ram", "generated"]),
        st.integers(-6, 6).map(exp2),
    ).filter(lambda f: (f.init, f.storage) != ("aligned", "generated")),
    decay=st.none() | st.builds(Decay, st.integers(1, 15), st.integers(0, 20).map(lambda k: 1 << k)),
    replay=st.none() | st.builds(Replay, st.integers(1, 4096), st.integers(1, 1024)),
    store=st.none()
    | st.builds(Store, st.integers(1, 2**16 - 1), st.sampled_from(["sequential", "shuffled"])),
    keep=st.none() | st.builds(Keep, st.booleans(), st.just(0) | st.integers(3, 2048)),
    guard=st.none()
    | st.builds(
        Guard,
        every=st.integers(2, 2**16 - 1),
        samples=st.integers(2, 2**16 - 1),
        drop=st.sampled_from(["balanced", "oldest"]),
        gain=st.floats(0, 1),
        margin=st.floats(0, 1),
        base=st.integers(0, 4096),
        base_margin=st.floats(0, 1),
        period=st.integers(1, 2**20),
    ),
    arena=st.builds(Arena, st.booleans()),
    untied=st.just(()) | st.lists(NAMES, min_size=1, max_size=3, unique=True).map(tuple),
    head=st.none() | HEADS,
    init=st.sampled_from(["", *STARTS]),
    schedule=st.none() | SCHEDULES,
    accumulate=st.none() | st.builds(Accumulate, st.integers(2, 256)),
    momentum=st.none() | st.builds(Momentum, st.integers(1, 8)),
    freeze=st.none()
    | st.builds(Freeze, st.integers(-15, 15).map(exp2), st.integers(1, 2**16), st.integers(-8, -1).map(exp2)),
    anomaly=st.none() | ANOMALIES,
    sparse=st.dictionaries(
        NAMES,
        st.floats(0, 1, exclude_min=True, exclude_max=True)
        | st.lists(st.integers(0, 2**31), min_size=1, max_size=5, unique=True).map(
            lambda v: tuple(sorted(v))
        ),
        max_size=3,
    ).map(lambda sparse: tuple(sorted(sparse.items()))),
    pseudo=st.none() | st.builds(Pseudo, st.floats(0, 2**15)),
    options=st.just(()) | st.integers(2, 64).map(lambda depth: (("depth", depth),)),
    update=st.none() | st.builds(Update, TEXTS, MAYBE, MAYBE),
    teach=st.builds(Teach, MAYBE, MAYBE),
    frontend=st.none() | fronts(),
    mark=st.none() | st.builds(Mark, st.integers(1, 255), st.floats(1, 1e5), st.booleans()),
    state=st.none() | st.just(State(keep=True)),
    trace=st.dictionaries(st.from_regex(r"[a-z][a-z0-9_]{0,30}", fullmatch=True), TEXTS, max_size=4).map(
        lambda traces: tuple(sorted(traces.items()))
    ),
)


def possible(spec: RuleSpec) -> RuleSpec:
    """Without a start or changes of what does not learn, or falls that this rate has no room for."""
    lowest = max(spec.rate, *(k for _, k in spec.rates), 0)
    fall = spec.schedule.shift * len(spec.schedule.at) if spec.schedule else 0
    learns = spec.rule != "none"
    return replace(
        spec,
        init=spec.init if learns else "",
        accumulate=spec.accumulate if learns else None,
        momentum=spec.momentum if learns else None,
        freeze=spec.freeze if learns else None,
        anomaly=spec.anomaly if learns else None,
        sparse=spec.sparse if learns else (),
        pseudo=spec.pseudo if learns else None,
        mark=spec.mark if learns and spec.frontend else None,
        decay=spec.decay if learns else None,
        replay=spec.replay if learns else None,
        store=spec.store if learns else None,
        guard=spec.guard if learns else None,
        keep=spec.keep if learns else None,
        loss=spec.loss if learns else Loss(),
        feedback=spec.feedback if learns else Feedback(),
        schedule=spec.schedule if learns and lowest + fall <= 20 else None,
    )


def _of_one_kind(spec: RuleSpec) -> RuleSpec:
    """Options belong to some rules, equations to the rule of one's own."""
    if spec.update:
        return replace(spec, rule="own", options=())
    spec = replace(spec, teach=Teach(), trace=())
    return spec if RULES.get(spec.rule) else replace(spec, options=())


SPECS = DRAWN.map(_of_one_kind).map(possible)
"""Whatever a rule file can say."""


@settings(max_examples=300, deadline=None)
@given(SPECS)
def test_what_was_understood_is_a_rule_file_that_says_the_same(spec: RuleSpec) -> None:
    kept = json.loads(json.dumps(spec.to_dict(), sort_keys=True))
    text = rule_text(kept)
    assert parse(text) == spec
    assert rule_text(parse(text).to_dict()) == text and text.startswith("rule = ")
    assert json.loads(spec.canonical()) == spec.to_dict()


def test_the_property_above_draws_every_option() -> None:
    drawn = inspect.signature(RuleSpec).parameters
    assert set(DRAWN.wrapped_strategy.kwargs) == set(drawn)  # type: ignore[attr-defined]


def test_files_that_say_the_same_have_one_canonical_form() -> None:
    same = parse('seed = 1\nlayers = "dense"\nrate = 0.015625\nrule = "hebbian"\n[loss]\nkind = "softmax"')
    assert same.canonical() == parse('rule = "hebbian"').canonical()


def test_layers_are_selected_in_the_order_of_the_graph() -> None:
    names, dense = ("conv1", "fc1", "fc2"), ("fc1", "fc2")
    assert select_layers(parse('rule = "fa"'), names, dense) == dense
    assert select_layers(parse('rule = "fa"\nlayers = "dense"'), names, dense) == dense
    assert select_layers(parse('rule = "fa"\nlayers = "all"'), names, dense) == names
    assert select_layers(parse('rule = "fa"\nlayers = ["fc2", "conv1"]'), names, dense) == ("conv1", "fc2")
    assert select_layers(parse('rule = "none"\nlayers = ["nowhere"]'), names, dense) == ()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            'layers = ["fc1", "fcc2"]',
            'layers: the network has no layer with weights "fcc2"; did you mean "fc2"? the network has',
        ),
        ('rate = { head = "2^-3" }', 'rate: the network has no layer with weights "head"'),
        ('layers = ["fc1"]\nrate = { fc2 = "2^-3" }', 'layer "fc2" has a rate but does not learn'),
    ],
)
def test_layers_that_are_not_there(text: str, says: str) -> None:
    with pytest.raises(CompileError) as caught:
        select_layers(parse('rule = "fa"\n' + text), ("fc1", "fc2"), ("fc1", "fc2"))
    assert says in str(caught.value)


def test_a_network_without_dense_layers_cannot_learn() -> None:
    with pytest.raises(CompileError, match=r"no dense layer.*nothing in it can learn"):
        select_layers(parse('rule = "fa"'), (), ())
    with pytest.raises(CompileError, match=r'no dense layer.*"all" has conv1'):
        select_layers(parse('rule = "fa"'), ("conv1",), ())


def test_files(tmp_path: Path) -> None:
    path = tmp_path / "rule.toml"
    path.write_text(FULL)
    assert load_spec(path, RULES) == parse(FULL)
    assert load_spec(str(path), RULES).rule == "dfa"
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"\xff\xfe\x00")
    huge = tmp_path / "huge.toml"
    huge.write_bytes(b"#" * (1 << 20) + b"\n")
    for wrong, says in (
        (tmp_path, "is a folder"),
        (tmp_path / "nowhere.toml", "there is no such file"),
        (tmp_path / "nul\0.toml", "cannot be read"),
        (binary, "is not UTF-8"),
        (huge, "is larger than"),
    ):
        with pytest.raises(CompileError) as caught:
            load_spec(wrong, RULES)
        assert says in str(caught.value)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, len(FULL) - 1), st.characters(codec="utf-8"))
def test_a_changed_character_is_read_or_refused(place: int, letter: str) -> None:
    try:
        assert isinstance(parse(FULL[:place] + letter + FULL[place + 1 :]), RuleSpec)
    except CompileError as error:
        assert "\n" not in str(error)


def test_a_schedule_says_each_step_or_how_often() -> None:
    same = parse('rule = "fa"\n[schedule]\nevery = 500\ntimes = 3')
    assert same == parse('rule = "fa"\n[schedule]\nat = [500, 1000, 1500]\nshift = 1')
    assert same.schedule == Schedule((500, 1000, 1500), 1)
