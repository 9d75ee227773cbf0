"""The store in flash: cut at every operation, in a model's library, and within its size."""

from __future__ import annotations

import json
import re
import subprocess
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ctools import HERE, UNDEFINED, compile_host
from golden_nets import golden_plan
from head_nets import perceptron, samples
from keep_cuts import (
    CODE_BYTES,
    FIRMWARE,
    FLASHES,
    RAM_BYTES,
    STORE,
    Flash,
    Kept,
    cuts,
    kept,
    models,
    simulator,
    sizes,
)

from synapcc.gen.compile import compile_model
from synapcc.gen.emit import render_library
from synapcc.gen.emit.keep import check_store, keep_facts, left_out, render_keep, slot_bytes, spans
from synapcc.gen.errors import CompileError
from synapcc.gen.ir.plan import Plan
from synapcc.gen.rules import options
from synapcc.gen.spec import Accumulate, Guard, Keep, Momentum, RuleSpec, Store, parse_spec, rule_text
from synapcc.gen.stages.state_check import fault
from synapcc.gen.target.boards import board_dict, generic_board, load_board, parse_board
from synapcc.host.link.state import joined
from synapcc.host.run.emulator import Emulator
from synapcc.host.run.inputs import quantise_inputs


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return simulator(tmp_path_factory.mktemp("keepsim"), *UNDEFINED)


@pytest.mark.parametrize("flash", list(FLASHES.values())[2:5], ids=lambda f: f"word{f.word}")
def test_every_cut_leaves_the_old_or_the_new_state(flash: Flash, program: Path, tmp_path: Path) -> None:
    found = cuts(program, tmp_path, flash, kept(golden_plan("pair"), Keep()), seed=3, every=997)
    assert found["old"] and found["new"] and found["nested"] > 100 and found["settled"]
    assert found["most_reads"] <= found["reads_allowed"]
    assert found["most_erased"] - found["least_erased"] <= 1


@pytest.mark.long
@pytest.mark.parametrize("model", models(), ids=lambda m: m.name)
@pytest.mark.parametrize("title", FLASHES)
def test_all_cuts(title: str, model: Kept, program: Path, tmp_path: Path) -> None:
    flash = FLASHES[title]
    found = cuts(program, tmp_path, flash, model, seed=5, every=7 if flash.word == 1 else 1)
    assert found["cuts"] >= found["operations"] or flash.word == 1
    assert found["most_reads"] <= found["reads_allowed"]


def test_the_simulator_finds_a_store_that_leaves_doubts(tmp_path: Path) -> None:
    """A mount that leaves a slot as the cut left it: the next boot may find another one."""
    text = (FIRMWARE / "keep.c").read_text()
    settles = "    if (doubt) {"
    assert settles in text
    broken = tmp_path / "keep.c"
    broken.write_text(text.replace(settles, "if (false && doubt) {"))
    sources = [HERE / "c" / "keepsim.c", broken, FIRMWARE / "crc32.c"]
    program = compile_host(sources, tmp_path / "broken", "-O2", f"-I{FIRMWARE}")
    flash = FLASHES["nRF52: pages of 4 KB, words"]
    with pytest.raises(AssertionError, match="wrong:"):
        cuts(program, tmp_path, flash, kept(golden_plan("pair"), Keep()), seed=3, every=997)


def test_size(tmp_path: Path) -> None:
    found = sizes(tmp_path)
    if found is None:
        pytest.skip("arm-none-eabi-gcc is not installed")
    assert found[0] <= CODE_BYTES and found[1] <= RAM_BYTES


def test_bad_blocks_other_plans_damage_and_wrong_calls(tmp_path: Path) -> None:
    sources = [HERE / "c" / "keepcases.c", *STORE]
    program = compile_host(sources, tmp_path / "keepcases", "-O1", f"-I{FIRMWARE}", *UNDEFINED)
    done = subprocess.run([program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_crc_is_that_of_zlib(tmp_path: Path) -> None:
    main = tmp_path / "main.c"
    main.write_text(
        '#include <stdio.h>\n#include "crc32.h"\nint main(void)\n{\n'
        '    const uint8_t b[] = "123456789";\n'
        '    printf("%u %u", crc32_add(0, b, 9), crc32_add(crc32_add(0, b, 4), b + 4, 5));\n'
        "    return 0;\n}\n"
    )
    program = compile_host([main, FIRMWARE / "crc32.c"], tmp_path / "crc", f"-I{FIRMWARE}")
    done = subprocess.run([program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(zlib.crc32(b"123456789"))] * 2


# ---- in a library -------------------------------------------------------------------------------------


def guarded(**more: Any) -> Plan:
    guard = Guard(every=2, samples=8, base=0, period=4)
    spec = RuleSpec("last", rate=6, store=Store(12), guard=guard, **more)
    return compile_model(perceptron(5), spec, samples(60, 5, 1), name="watched").plan


def in_a_product(plan: Plan, keep: Keep, folder: Path) -> None:
    for name, text in (
        render_library(plan, "c", "t", {}, keep=True) | dict(render_keep(plan, keep, "c"))
    ).items():
        (folder / name).write_text(text)
    m = plan.model
    flags = [f"-DMODEL={m}", f"-DUPPER={m.upper()}", f"-DHEADER={m}_keep.h", f"-DFULL={int(keep.samples)}"]
    sources = [HERE / "c" / "keeplib.c", folder / f"{m}.c", folder / f"{m}_keep.c"]
    program = compile_host(sources, folder / "product", "-O1", f"-I{folder}", *flags, *UNDEFINED)
    done = subprocess.run([program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("keep", [Keep(), Keep(samples=True)], ids=["learned", "all"])
@pytest.mark.parametrize("name", ["ring", "byte"])
def test_a_library_keeps_what_it_learned(name: str, keep: Keep, tmp_path: Path) -> None:
    in_a_product(golden_plan(name), keep, tmp_path)


def test_what_a_guard_goes_back_to_survives_a_reset(tmp_path: Path) -> None:
    plan = guarded()
    good = {t.name for t in plan.space("state") if t.use == "good"}
    assert good & left_out(plan) == {"good_guard_right"} and len(good) > 2
    in_a_product(plan, Keep(samples=True), tmp_path)


# ---- what is kept -------------------------------------------------------------------------------------


@pytest.mark.parametrize("more", [{}, {"accumulate": Accumulate(4)}, {"momentum": Momentum(3)}], ids=str)
def test_without_samples_the_state_is_one_that_the_model_can_reach(more: dict[str, Any]) -> None:
    plan = guarded(**more)
    machine = Emulator(plan)
    assert left_out(plan) >= {t.name for t in plan.space("state") if t.use == "stored" or t.role == "sum"}
    blank = _block(plan, machine)
    taught(machine, 0, 40)
    full, mixed = _block(plan, machine), _block(plan, behind_a_reset(machine))
    assert not fault(plan, mixed) and mixed not in (blank, full)


def taught(machine: Emulator, first: int, last: int) -> None:
    data = samples(400, 5, 2)
    inputs = quantise_inputs(machine.plan, data)
    for i in range(first, last):
        machine.learn({n: v[i : i + 1] for n, v in inputs.items()}, data["label"][i : i + 1])


def behind_a_reset(machine: Emulator) -> Emulator:
    """A machine that has restored what this one keeps without samples."""
    after = Emulator(machine.plan)
    for t in machine.plan.space("state"):
        if t.name not in left_out(machine.plan):
            after[t.name][...] = machine[t.name]
    return after


def learned(machine: Emulator, prefix: str = "") -> list[np.ndarray]:
    names = [t.name.removeprefix("good_") for t in machine.plan.space("state") if t.use == "good"]
    return [machine[prefix + n].copy() for n in names if n not in left_out(machine.plan)]


def trusting() -> Emulator:
    """A model with a guard whose good state is a learned one, and that has learned more since."""
    machine = Emulator(guarded())
    taught(machine, 0, 203)
    assert int(machine["guard_trusted"].item()) == 1
    return machine


def test_a_guard_without_its_samples_does_not_trust_the_first_comer() -> None:
    """Trust beside an empty ring would let the first judgement make any state the good one."""
    before = trusting()
    good = learned(before, "good_")
    for seed in range(6):
        after = behind_a_reset(before)
        weights = after["fc2_weight"]
        weights[...] = -np.random.default_rng(seed).permutation(weights.reshape(-1)).reshape(weights.shape)
        back = int(after["rollbacks"].item())
        for i in range(203, 240):
            taught(after, i, i + 1)
            if int(after["rollbacks"].item()) > back:
                break
        assert int(after["rollbacks"].item()) == back + 1
        assert all(np.array_equal(a, b) for a, b in zip(good, learned(after, "good_"), strict=True))


def test_settling_behind_a_reset_goes_back_to_the_good_state_and_no_further() -> None:
    before = trusting()
    first, good = learned(Emulator(before.plan)), learned(before, "good_")
    after = behind_a_reset(before)
    assert any(not np.array_equal(a, b) for a, b in zip(good, first, strict=True))
    assert all(np.array_equal(a, b) for a, b in zip(learned(before), learned(after), strict=True))
    after.run("settle")
    assert all(np.array_equal(a, b) for a, b in zip(good, learned(after), strict=True))


def _block(plan: Plan, machine: Emulator) -> bytes:
    """The state as a chip holds it."""
    return joined(plan, {t.name: machine[t.name] for t in plan.space("state")})


def test_the_pieces_are_those_of_the_state() -> None:
    plan = golden_plan("ring")
    assert left_out(plan) == {"store_next", "store_count", "store_x", "store_label"}
    covered = [n for s in spans(plan, Keep()) for n in range(s.offset, s.offset + s.bytes)]
    for t in plan.space("state"):
        inside = set(range(t.offset, t.offset + t.nbytes)) <= set(covered)
        assert inside == (t.name not in left_out(plan)), t.name
    assert sum(s.bytes for s in spans(plan, Keep(samples=True))) <= plan.state_bytes


def test_without_keep_nothing_changes() -> None:
    plan = golden_plan("ring")
    assert "pin" not in render_library(plan, "c", "t", {})["ring.h"]
    files = render_keep(plan, Keep(), "c")
    assert not re.search(r"keep_save", files["ring_keep.h"])  # the store's own saves would pass the pin by
    text = files["ring_keep.c"]
    assert not re.search(r"\b(keep|crc32)_\w|\b(KEEP|CRC32)_\w", text)


def test_what_a_report_says() -> None:
    plan = golden_plan("pair")
    facts = keep_facts(plan, Keep(blocks=12), load_board("nrf52840_dk"))
    assert facts["written"] == slot_bytes(68, 4) == 64 + 12 + 68
    assert facts["saves"] == 120_000 and facts["years"] == pytest.approx(120_000 / 8766)
    assert facts["interval_s"] == pytest.approx(10 * 365.25 * 86400 / 120_000)
    unknown = keep_facts(plan, Keep(), generic_board("cortex-m4", 1 << 19, 1 << 17))
    assert unknown["saves"] is None and unknown["written"] == 144
    assert json.loads(json.dumps(unknown)) == unknown


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ('rule = "none"\n[keep]', "nothing learns"),
        ('rule = "bp"\n[keep]\nblocks = 2', "keep.blocks is 2"),
        ('rule = "bp"\n[keep]\nsamples = 1', "keep.samples is 1"),
        ('rule = "bp"\n[keep]\nblock = 4', 'no key "block"'),
    ],
)
def test_refused(text: str, what: str) -> None:
    with pytest.raises(CompileError, match=re.escape(what)):
        parse_spec(text, "rule.toml", options())


def test_a_rule_file_says_it_again() -> None:
    for keep in ("[keep]", "[keep]\nsamples = true\nblocks = 8"):
        spec = parse_spec(f'rule = "bp"\n{keep}', "rule.toml", options())
        assert parse_spec(rule_text(spec.to_dict()), "again", options()) == spec


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("word", 3),
        ("word", 512),
        ("block", 0),
        ("block", 2 << 20),
        ("block", 4098),
        ("cycles", 0),
        ("source", ""),
    ],
)
def test_a_board_says_all_of_its_flash_or_nothing(key: str, value: object) -> None:
    board = board_dict(load_board("nrf52840_dk"))
    assert parse_board(board, "here").flash.block == 4096
    with pytest.raises(CompileError, match=rf"flash\.{key}"):
        parse_board(board | {"flash": board["flash"] | {key: value}}, "here")


def test_a_store_that_has_no_room_is_refused() -> None:
    plan, board = golden_plan("pair"), load_board("nrf52840_dk")
    check_store(plan, Keep(), board, board.flash.size - 3 * 4096)
    with pytest.raises(CompileError, match="needs 3 blocks of 4096 bytes beside"):
        check_store(plan, Keep(), board, board.flash.size - 3 * 4096 + 1)
    for flash, what in (
        ({"word": 32, "block": 128}, "needs blocks of 160 bytes at least, and nrf52840_dk has 128"),
        ({"word": 4, "block": 64}, "needs blocks of 76 bytes at least, and nrf52840_dk has 64"),
    ):
        own = board_dict(board)
        with pytest.raises(CompileError, match=what):
            check_store(plan, Keep(), parse_board(own | {"flash": own["flash"] | flash}, "here"), 0)
    many = compile_model(perceptron(5), RuleSpec("last", rate=6, store=Store(20000)), samples(60, 5, 1)).plan
    own = board_dict(board)
    small = parse_board(own | {"flash": own["flash"] | {"block": 256}}, "here")
    with pytest.raises(CompileError, match="blocks of 256 bytes, and counts 2048"):
        check_store(many, Keep(samples=True), small, 0)
    large = compile_model(perceptron(5), RuleSpec("last", rate=6, store=Store(4000)), samples(60, 5, 1)).plan
    with pytest.raises(CompileError, match=r"keep\.blocks: is 3, and a save takes"):
        check_store(large, Keep(samples=True, blocks=3), board, 0)
    with pytest.raises(CompileError, match="learns nothing that could be kept"):
        keep_facts(compile_model(perceptron(5), RuleSpec("none"), samples(60, 5, 1)).plan, Keep(), None)
