"""[frontend] of rule files: what it means, and one line for whatever is wrong with it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ctools import GET_STATE, INIT, RUN, SET_ARENA, UNDEFINED, HostBatch
from fronts import network, spec_of

from synapcc.gen.compile import NO_FRONT, compile_model
from synapcc.gen.emit.keep import left_out
from synapcc.gen.emit.role import of_role
from synapcc.gen.errors import CompileError
from synapcc.gen.frontends import block_options, blocks
from synapcc.gen.ir.graph import Graph, Node, Tensor
from synapcc.gen.ir.plan import PUSH
from synapcc.gen.ir.quantiser import Quantiser
from synapcc.gen.ir.roles import STREAM
from synapcc.gen.spec import load_spec, rule_text
from synapcc.gen.spec.frontend import load_frontend
from synapcc.host.run.emulator import Emulator

HEAD = 'rule = "none"\n[frontend]\nrate = 250\npush = 5\n'
WINDOW = '[[frontend.block]]\nname = "input"\nkind = "window"\nlength = 80\n'
PASS = '[[frontend.block]]\nname = "smooth"\nkind = "biquad"\nfrequency = 20\n'
GOOD = HEAD + PASS + WINDOW


def test_a_file_says_what_is_not_there_by_defaults() -> None:
    front = spec_of(GOOD).frontend
    assert front and (front.rate, front.channels, front.push) == (250.0, 1, 5)
    smooth, window = front.blocks
    assert (smooth["shape"], smooth["q"], smooth.source) == ("low", 0.5**0.5, "")
    assert (window["hop"], window["settle"], window["offset"], window["scale"]) == (0, 0, 0, 1)


def test_a_front_end_of_its_own_file_is_the_same(tmp_path: Path) -> None:
    (tmp_path / "front.toml").write_text(GOOD.removeprefix('rule = "none"\n'))
    (tmp_path / "rule.toml").write_text('rule = "none"\n[frontend]\nfile = "front.toml"\n')
    spec = load_spec(tmp_path / "rule.toml", {}, block_options())
    assert spec == spec_of(GOOD) and spec_of(rule_text(spec.to_dict())) == spec
    assert load_frontend(tmp_path / "front.toml", block_options()) == spec.frontend


def test_blocks_are_called_as_their_files() -> None:
    folder = Path(__file__).resolve().parents[3] / "gen" / "frontends"
    stems = {p.stem for p in folder.glob("*.py") if not p.stem.startswith("_")}
    assert {b.kind for b in blocks().values()} == stems
    assert all(b.doc and o.doc for b in blocks().values() for o in b.options)


READ = [
    (HEAD.replace("rate = 250\n", "") + WINDOW, "frontend.rate is missing; give the samples a second"),
    (HEAD.replace("250", "0"), "frontend.rate is 0; give a number from 1 to 200000"),
    (HEAD.replace("push = 5", "push = 5000") + WINDOW, "frontend.push is 5000"),
    (HEAD.replace("push", "pusch") + WINDOW, 'no key "pusch" in [frontend]; did you mean "push"?'),
    (HEAD, "frontend.block is None; write [[frontend.block]]"),
    (HEAD + PASS, "has no window, so that the network would never see a sample"),
    (HEAD + WINDOW + WINDOW, 'has two blocks "input"'),
    (HEAD + WINDOW.replace('"input"', '"In put"'), 'frontend.block 1: name is "In put"'),
    (HEAD + WINDOW.replace('"input"', '"samples"'), 'name is "samples"; give lower-case letters'),
    (HEAD + PASS.replace("biquad", "biqad") + WINDOW, 'block smooth.kind is "biqad"; did you mean "biquad"?'),
    (HEAD + PASS.replace("frequency", "frequncy") + WINDOW, 'no key "frequncy" in [block smooth]; did you'),
    (HEAD + PASS.replace("frequency = 20", "") + WINDOW, "block smooth.frequency is missing; give a number"),
    (
        HEAD + PASS.replace("20", "-1") + WINDOW,
        "block smooth.frequency is -1; give a number from 0.01 to 10000 Hz",
    ),
    (HEAD + PASS + 'from = "smoth"\n' + WINDOW, "signals before it are samples"),
    (GOOD + 'from = "smoth"\n', 'block input.from is "smoth"; did you mean "smooth"?'),
    (GOOD + PASS.replace('"smooth"', '"more"') + 'from = "input"\n', 'block more.from is "input"'),
    ('rule = "none"\n[frontend]\nfile = "nowhere.toml"\n', "nowhere.toml: there is no such file"),
    ('rule = "none"\n[frontend]\nfile = "x.toml"\nrate = 3\n', "frontend.file is there beside file: rate"),
    ('rule = "none"\n[frontend]\nfile = 3\n', "frontend.file is 3; give the path"),
    ('rule = "none"\nfrontend = 3\n', "frontend is 3, not a table"),
]
FITS = [
    (GOOD.replace("frequency = 20", "frequency = 130"), (20,), "frequency = 130 Hz, and its signal has 250"),
    (GOOD.replace("length = 80", "length = 0.1"), (20,), "length = 0.1 ms is 0 samples at 250 Hz; give 4 to"),
    (
        GOOD,
        (21,),
        "window input holds 20 samples at 250 Hz, and the input has shape [21]; give a length of 84 ms",
    ),
    (GOOD + "hop = 16\n", (20,), "window input ends every 4 samples, and 5 come with a push"),
    (GOOD.replace('"input"', '"inpt"'), (20,), 'window "inpt" fills no input; did you mean "input"?'),
    (GOOD + "scale = 1000000.0\n", (20,), "take samples beyond 32 bits"),
    (
        HEAD + '[[frontend.block]]\nname = "few"\nkind = "decimate"\nby = 2\n' + WINDOW,
        (10,),
        "frontend block few: takes one in 2 samples, and 5 come with a push; give a push that 2 divides",
    ),
    (
        HEAD + PASS.replace("biquad", "median").replace("frequency = 20", "size = 4") + WINDOW,
        (20,),
        "no middle",
    ),
    (
        HEAD + "".join(PASS.replace("smooth", f"s{i}") + "q = 40\n" for i in range(2)) + WINDOW,
        (20,),
        "is the most; damp the signal before",
    ),
    (
        GOOD.replace("smooth", "a") + PASS.replace("smooth", "a_past"),
        (20,),
        "frontend block a_past: would make a second tensor front_a_past; give one of the blocks another name",
    ),
    (HEAD.replace("push = 5", "push = 5\nchannels = 2") + WINDOW, (4, 10), "not 2 channels of 20 samples"),
    (
        HEAD.replace("push = 5", "push = 2\nchannels = 2") + WINDOW.replace("80", "8"),
        (2, 2),
        "input input has shape [2, 2]: either axis may be the channels",
    ),
    (
        GOOD + WINDOW.replace('"input"', '"other"'),
        (20,),
        'window "other" fills no input; the network\'s inputs are input',
    ),
]


@pytest.mark.parametrize(("text", "says"), READ)
def test_what_a_file_cannot_say_is_one_line(text: str, says: str) -> None:
    with pytest.raises(CompileError) as caught:
        spec_of(text)
    assert says in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(("text", "shape", "says"), FITS)
def test_what_does_not_fit_rate_or_network_is_one_line(text: str, shape: tuple[int, ...], says: str) -> None:
    data = {"input": np.random.default_rng(0).normal(0, 1, (8, *shape))}
    with pytest.raises(CompileError) as caught:
        compile_model(network(shape), spec_of(text), data)
    assert says in str(caught.value) and "\n" not in str(caught.value)


def test_nothing_else_changes_a_bit() -> None:
    """A front end leaves the programs of the network as they are."""
    data = {"input": np.random.default_rng(0).normal(0, 1, (8, 20))}
    without = compile_model(network((20,)), spec_of('rule = "none"\n'), data).plan
    with_one = compile_model(network((20,)), spec_of(GOOD), data).plan
    assert {n: with_one.programs[n] for n in without.programs} == without.programs
    assert [with_one[t.name].data for t in without.tensors] == [t.data for t in without.tensors]


LEARNS = """rule = "hebbian"
[arena]
shared = false
[store]
samples = 6
[guard]
samples = 4
[keep]
[replay]
samples = 3
"""


def test_beside_all_that_learning_has(tmp_path: Path) -> None:
    """A store, a guard, an arena of infer's own: pushes and lessons in turn, the same bytes in C. Flash has
    nothing of the stream; a library of inference alone has no front end."""
    rng = np.random.default_rng(2)
    data = {"input": rng.normal(0, 1, (30, 20)), "label": rng.integers(0, 3, 30)}
    compiled = compile_model(network((20,)), spec_of(LEARNS + GOOD.removeprefix('rule = "none"\n')), data)
    plan = compiled.plan
    assert plan.entries == ("infer", "learn", "rehearse", "settle", PUSH, "reset") and not plan.shared
    stream = {t.name for t in plan.space("state") if t.use == STREAM}
    assert {"front_smooth_past", "front_input_ring", "push_left", "push_made"} <= stream <= left_out(plan)
    assert of_role(plan, "infer").entries == ("infer",) and NO_FRONT not in compiled.warnings
    alone = compile_model(network((20,)), spec_of(GOOD.replace("none", "hebbian")), data, role="infer")
    assert alone.warnings[-1] == NO_FRONT
    assert not [t for t in of_role(plan, "infer").tensors if t.use == STREAM]
    batch, machine = HostBatch([plan], tmp_path, "-O1", *UNDEFINED), Emulator(plan)
    try:
        batch.ask(0, INIT)
        for i in range(60):
            name = ("learn", PUSH, PUSH, PUSH, "rehearse", PUSH, PUSH, "settle")[i % 8]
            if name == PUSH:
                samples = rng.integers(-(2**15), 2**15, (1, 5)).astype(np.int16)
                machine.give(PUSH, {"front_samples": samples})
            else:
                x = rng.integers(-128, 128, (1, 20)).astype(np.int8)
                machine.load({"input": x}, [int(rng.integers(3))])
            batch.ask(0, SET_ARENA, payload=machine.arena[0].tobytes())
            machine.run(name)
            assert batch.ask(0, RUN, plan.entries.index(name))[0] == 0
            assert batch.ask(0, GET_STATE)[1] == machine.state[0].tobytes(), (i, name)
    finally:
        batch.close()


def test_a_network_that_normalises_is_asked_in_its_own_units() -> None:
    """Offset and scale of the network's own quantiser are folded into the window's."""
    x = np.random.default_rng(0).normal(900, 40, (30, 20))
    graph = replace(network((20,)), quantisers={"input": Quantiser.of([900], [1 / 40])})
    text = HEAD + WINDOW + "offset = 10\nscale = 0.5\n"
    plan = compile_model(graph, spec_of(text), {"input": x}).plan
    machine = Emulator(plan)
    raw = np.random.default_rng(1).integers(1650, 2000, (4, 5)).astype(np.int16)
    for row in raw:
        machine.run(PUSH, inputs={"front_samples": row[None]})
    assert machine["push_made"][0, 0] == 1
    want = plan.quantiser("input").integers((raw.reshape(1, 20) - 10.0) * 0.5)
    assert np.abs(machine["input"].astype(int) - want).max() <= 1 and np.ptp(want.astype(int)) > 50


@pytest.mark.parametrize(
    ("scale", "says"),
    [
        (np.linspace(1, 9, 20), "the network normalises each feature of input input by itself"),
        (
            np.full(20, -1.0),
            "the network multiplies input input with -1; take a network with a scale above 0",
        ),
    ],
)
def test_what_a_window_cannot_normalise_is_refused(scale: np.ndarray, says: str) -> None:
    graph = replace(network((20,)), quantisers={"input": Quantiser.of(np.zeros(20), scale)})
    with pytest.raises(CompileError) as caught:
        compile_model(graph, spec_of(GOOD), {"input": np.random.default_rng(0).normal(0, 1, (9, 20))})
    assert says in str(caught.value)


def two_inputs() -> Graph:
    """A network of a fast window and a slow one."""
    one = network((12,))
    tensors = {n: t for n, t in one.tensors.items() if n != "input"}
    tensors |= {"fast": Tensor("fast", (8,)), "slow": Tensor("slow", (4,)), "both": Tensor("both", (12,))}
    first, second = one.nodes
    cat = Node("concat", "cat", ("fast", "slow"), "both", {"axis": 0})
    return replace(
        one,
        inputs=("fast", "slow"),
        tensors=tensors,
        nodes=(cat, replace(first, inputs=("both", *first.inputs[1:])), second),
    )


TWO = (
    HEAD
    + PASS
    + WINDOW.replace("input", "slow").replace("80", "16")
    + "hop = 40\nscale = 0.1\n"
    + WINDOW.replace("input", "fast").replace("80", "32")
    + 'hop = 40\nscale = 0.1\nfrom = "samples"\n'
)


def test_two_windows_end_together() -> None:
    rng = np.random.default_rng(0)
    data = {"fast": rng.normal(0, 1, (9, 8)), "slow": rng.normal(0, 1, (9, 4))}
    plan = compile_model(two_inputs(), spec_of(TWO), data).plan
    machine, made = Emulator(plan), []
    raw = rng.integers(-100, 100, (12, 5)).astype(np.int16)

    def read(program: str, position: int) -> None:
        """The windows, before the network takes their place in the arena."""
        if (program, position) == ("window_infer", 1):
            made.append(machine["fast"][0].copy())

    for row in raw:
        machine.run(PUSH, inputs={"front_samples": row[None]}, after=read)
    ends = range(8, 61, 10)  # 8 samples, then every 40 ms
    for x, end in zip(made, ends, strict=True):
        want = plan.quantiser("fast").integers(raw.ravel()[end - 8 : end] * 0.1)
        assert np.abs(x.astype(int) - want).max() <= 1 and np.ptp(want.astype(int)) > 20


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('"slow"', '"slwo"', 'window "slwo" fills no input; did you mean "slow"?'),
        (
            "hop = 40\nscale = 0.1\nfrom",
            "hop = 44\nscale = 0.1\nfrom",
            "windows fast and slow do not end together",
        ),
        (TWO.split("[[")[2], "", "nothing fills input slow; add a block"),
    ],
)
def test_inputs_that_no_window_fills_or_at_another_time_are_one_line(old: str, new: str, says: str) -> None:
    text = TWO.replace(old, new).replace("[[[[", "[[")
    rng = np.random.default_rng(0)
    data = {"fast": rng.normal(0, 1, (9, 8)), "slow": rng.normal(0, 1, (9, 4))}
    with pytest.raises(CompileError) as caught:
        compile_model(two_inputs(), spec_of(text), data)
    assert says in str(caught.value) and "\n" not in str(caught.value)
