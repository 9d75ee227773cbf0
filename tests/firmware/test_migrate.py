"""What firmware of another Plan takes over of a kept state: C and numpy alike, and never a mixture."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ctools import UNDEFINED, compile_host, run
from head_nets import perceptron, samples
from keep_cuts import FIRMWARE, sizes
from migrations import (
    MIGRATE,
    MIGRATED,
    OK,
    OTHER,
    Case,
    follower,
    perceptrons,
    simulator,
    taken_over,
)
from numpy.typing import NDArray
from random_nets import ANY, accepted, extreme_state

from synapcc.gen.compile import Compiled, compile_model
from synapcc.gen.emit import render_library
from synapcc.gen.emit.keep import content, keep_facts, render_keep
from synapcc.gen.emit.manifest import Manifest
from synapcc.gen.errors import CompileError
from synapcc.gen.ir.plan import PlanTensor
from synapcc.gen.spec import Keep, RuleSpec
from synapcc.gen.stages.heard import from_json, heard, to_json
from synapcc.gen.stages.state_check import fault
from synapcc.host.link.state import joined, split
from synapcc.host.run.migrate import all_of, as_compiled, fitting, migrated, rescaled

CODE_BYTES = 1408
"""What migrate.c may take of a Cortex-M0's flash."""

Tensors = dict[str, NDArray[Any]]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return simulator(tmp_path_factory.mktemp("migratesim"), *UNDEFINED)


@pytest.fixture(scope="module")
def nets() -> dict[str, Compiled]:
    return perceptrons()


def said(compiled: Compiled) -> Manifest:
    return all_of(compiled.plan, compiled.heard)


def held_together(
    program: Path, cases: list[Case], seed: int
) -> Iterator[tuple[Case, tuple[str, ...], Tensors]]:
    """Each case, what was taken over, and the state behind it, after C and numpy have agreed on it."""
    for case, (status, count, found) in zip(cases, taken_over(program, cases, seed), strict=True):
        plan = case.new.plan
        before = split(case.old.plan, case.state)
        want, taken = migrated(said(case.old), before, plan, said(case.new))
        title = f"{case.old.plan.model} -> {plan.model}"
        assert joined(plan, found) == joined(plan, want), title
        assert (status, count) == (MIGRATED if taken else OTHER, len(taken)), title
        assert not fault(plan, joined(plan, found)), title
        for name in found:
            if name in taken:
                assert _near(plan[name], found[name], case.old.plan[name], before[name]), name
            else:
                assert np.array_equal(found[name], as_compiled(plan)[name]), name
        yield case, taken, found


def _near(t: PlanTensor, now: NDArray[Any], old: PlanTensor, before: NDArray[Any]) -> bool:
    """Whether numbers mean the same to half a step, or are held at a limit: said in real numbers."""
    real = np.clip(old.meaning.real(before), *t.meaning.real(np.array([t.lo, t.hi])))
    return bool(np.all(np.abs(t.meaning.real(now) - real) <= t.meaning.step / 2))


PAIRS = {
    ("first", "rate"): 5,
    ("first", "rule"): 5,
    ("rule", "first"): 5,
    ("first", "momentum"): 5,
    ("momentum", "first"): 5,
    ("first", "guard"): 5,
    ("first", "a class more"): 2,
    ("first", "a layer more"): 2,
    ("a layer more", "first"): 2,
    ("first", "last layer"): 0,
    ("last layer", "first"): 2,
    ("first", "another size"): 0,
    ("last layer", "retrained"): 0,
    ("retrained", "last layer"): 0,
}
"""How many tensors each takes over. Of a class more the layer in front; of a layer more in the middle what
lies in front of it. A last layer that learned on a frozen one goes on on that; not without what it heard."""


def test_what_their_makers_did_since(program: Path, nets: dict[str, Compiled]) -> None:
    rng = np.random.default_rng(4)
    cases = [
        Case(nets[a], extreme_state(nets[a].plan, rng), nets[b], damages=24)
        for a in nets
        for b in nets
        if a != b
    ]
    found = {}
    for case, taken, _ in held_together(program, cases, 1):
        names = [next(n for n in nets if nets[n] is c) for c in (case.old, case.new)]
        found[names[0], names[1]] = len(taken)
    assert {pair: found[pair] for pair in PAIRS} == PAIRS


def random_cases(first: int, count: int) -> list[Case]:
    cases = []
    for compiled, seed in accepted(first, count):
        after = follower(seed)
        if after is None or not compiled.learned or not after.learned:
            continue
        if after.plan.digest == compiled.plan.digest:  # what changed has changed nothing
            continue
        rng = np.random.default_rng([3, seed])
        for one, other in ((compiled, after), (after, compiled)):
            if _known(one) and _known(other):
                cases.append(Case(one, extreme_state(one.plan, rng), other, damages=2))
    return cases


def _known(compiled: Compiled) -> bool:
    try:
        return bool(said(compiled).entries)
    except CompileError:
        return False


@pytest.mark.parametrize(
    ("first", "count"), [(ANY, 10), pytest.param(9000, 150, marks=pytest.mark.long)], ids=["some", "many"]
)
def test_random_networks_and_what_follows_them(first: int, count: int, program: Path) -> None:
    cases = random_cases(first, count)
    found = [len(taken) for _, taken, _ in held_together(program, cases, first)]
    assert len(found) >= count / 2 and np.count_nonzero(found) >= len(found) / 4


def test_a_store_without_a_manifest_is_read_by_the_same_plan_alone(
    program: Path, nets: dict[str, Compiled]
) -> None:
    rng = np.random.default_rng(6)
    first, guard = nets["first"], nets["guard"]
    for compiled in (first, guard):
        state = extreme_state(compiled.plan, rng)
        case = Case(compiled, state, compiled, old_keep=Keep(), damages=16)
        ((status, _, found),) = taken_over(program, [case], 2)
        assert status == OK
        kept = {n for s in content(compiled.plan, Keep(), compiled.heard).spans
                for n in range(s.offset, s.offset + s.bytes)}  # fmt: skip
        for t in compiled.plan.space("state"):
            want = split(compiled.plan, state) if t.offset in kept else as_compiled(compiled.plan)
            assert np.array_equal(found[t.name], want[t.name]), t.name
    case = Case(first, extreme_state(first.plan, rng), guard, old_keep=Keep())
    ((status, _, found),) = taken_over(program, [case], 2)
    assert status == OTHER and joined(guard.plan, found) == joined(guard.plan, as_compiled(guard.plan))


def test_a_good_state_goes_along_whole_or_not_at_all(nets: dict[str, Compiled]) -> None:
    guard = nets["guard"]
    good = {t.name for t in guard.plan.space("state") if t.use == "good"}
    again = fitting(said(guard), said(guard))
    assert len(good & set(again)) == 4 and "good_guard_right" not in again
    first = fitting(said(nets["first"]), said(guard))
    assert set(first) == {"fc1_weight", "fc1_bias", "fc2_weight", "fc2_bias", "step"}
    manifest = said(guard)
    torn = replace(manifest, entries=tuple(e for e in manifest.entries if e.name != "good_fc2_bias"))
    assert not good & set(fitting(torn, manifest)) and len(fitting(torn, manifest)) == 5


def test_weights_do_not_go_without_their_bias(nets: dict[str, Compiled]) -> None:
    manifest = said(nets["first"])
    for missing, left in (("fc2_bias", {"fc1_weight", "fc1_bias"}), ("fc1_weight", set[str]())):
        torn = replace(manifest, entries=tuple(e for e in manifest.entries if e.name != missing))
        assert set(fitting(torn, manifest)) == left, missing


def test_halves_go_up_and_everything_is_held() -> None:
    values = np.array([-(2**31), -5, -3, -2, -1, 0, 1, 2, 3, 5, 2**31 - 1], np.int32)
    for shift in (*range(-40, 41),):
        want = [
            min(max(int(v) * 2**shift if shift >= 0 else (2 * int(v) + 2**-shift) >> (1 - shift), -1000), 900)
            for v in values
        ]
        assert rescaled(values, shift, -1000, 900).tolist() == want


def test_what_a_layer_hears() -> None:
    graph = perceptron(5, layers=3)
    base = heard(graph, ["fc2", "fc3"], drawn=False)
    assert base["fc3"].behind == ("fc2",) and not base["fc2"].behind
    assert from_json(to_json(base)) == base
    tensors = dict(graph.tensors)
    for name, other in (("fc1_w", {"fc2", "fc3"}), ("fc2_b", {"fc3"}), ("fc3_w", set[str]())):
        value = tensors[name].value
        assert value is not None
        nudged = tensors | {name: replace(tensors[name], value=value + 1e-9)}
        found = heard(replace(graph, tensors=nudged), ["fc2", "fc3"], drawn=False)
        assert {n for n in found if found[n].key != base[n].key} == other, name
    renamed = tensors | {"fc2_b": replace(tensors["fc2_b"], value=np.zeros_like(tensors["fc2_b"].value))}
    drawn = [heard(replace(graph, tensors=t), ["fc2", "fc3"], drawn=True) for t in (tensors, renamed)]
    assert drawn[0] == drawn[1]


def test_rows_of_a_layer_are_not_other_rows() -> None:
    """Of a layer that learns in part: as many rows, but others, are not taken over; the same ones are."""
    known = {}
    for rows in ((0, 1), (3, 7), (0, 1, 2)):
        spec = RuleSpec("bp", layers=("fc1", "fc2"), rate=6, sparse=(("fc1", rows),))
        known[rows] = said(compile_model(perceptron(5), spec, samples(60, 5, 1)))
    faster = compile_model(perceptron(5), replace(spec, rate=4, sparse=(("fc1", (0, 1)),)), samples(60, 5, 1))
    whole = said(compile_model(perceptron(5), replace(spec, sparse=()), samples(60, 5, 1)))
    assert {"fc1_weight", "fc1_bias", "fc2_weight", "step"} <= {*fitting(known[0, 1], said(faster))}
    for other in (known[3, 7], known[0, 1, 2], whole):
        assert not fitting(known[0, 1], other) and not fitting(other, known[0, 1])


# ---- in a library -------------------------------------------------------------------------------------

TWO = """
#include <stdio.h>
#include <string.h>
#include "first_keep.h"
#include "rate_keep.h"

enum { BLOCK = 1024, BLOCKS = 9 };
static uint8_t cells[BLOCK * BLOCKS], word[4];
static first_t before;
static rate_t after, again;
static first_keep_t kept;
static rate_keep_t keep;

#define DRIVER(m, M) \\
    static m##_keep_status m##_read(void *c, uint32_t a, uint8_t *to, uint32_t n) \\
    { (void)c; memcpy(to, cells + a, n); return M##_KEEP_OK; } \\
    static m##_keep_status m##_program(void *c, uint32_t a, const uint8_t *from, uint32_t n) \\
    { (void)c; memcpy(cells + a, from, n); return M##_KEEP_OK; } \\
    static m##_keep_status m##_erase(void *c, uint32_t a) \\
    { (void)c; memset(cells + a, 0xFF, BLOCK); return M##_KEEP_OK; } \\
    static const m##_keep_flash_t m##_flash = \\
    { m##_read, m##_program, m##_erase, NULL, word, 4, BLOCK, BLOCKS, 0, 0xFF };
DRIVER(first, FIRST)
DRIVER(rate, RATE)

#define EXPECT(c) do { if (!(c)) { printf("line %d: %s\\n", __LINE__, #c); return 1; } } while (0)

int main(void)
{
    first_inputs_t x;

    memset(cells, 0xFF, sizeof cells);
    EXPECT(first_restore(&before, &kept, &first_flash) == FIRST_KEEP_EMPTY);
    for (uint32_t i = 0; i < 60; i++) {
        for (size_t k = 0; k < sizeof x; k++)
            ((uint8_t *)&x)[k] = (uint8_t)(i * 37u + k * 11u);
        EXPECT(first_learn(&before, &x, (uint8_t)(i % 5u)) == FIRST_OK);
    }
    EXPECT(first_save(&before, &kept) == FIRST_KEEP_OK);
    EXPECT(rate_restore(&after, &keep, &rate_flash) == RATE_KEEP_MIGRATED && rate_keep_taken(&keep) == 5);
    EXPECT(rate_check(&after.state) == RATE_OK);
    EXPECT(first_restore(&before, &kept, &first_flash) == FIRST_KEEP_OK); /* still there */
    EXPECT(rate_restore(&after, &keep, &rate_flash) == RATE_KEEP_MIGRATED);
    EXPECT(rate_save(&after, &keep) == RATE_KEEP_OK);
    EXPECT(rate_restore(&again, &keep, &rate_flash) == RATE_KEEP_OK);
    EXPECT(memcmp(&after.state, &again.state, sizeof after.state) == 0);
    EXPECT(first_restore(&before, &kept, &first_flash) == FIRST_KEEP_MIGRATED); /* and back, if it must be */
    return 0;
}
"""


def test_a_product_goes_on_with_other_firmware(nets: dict[str, Compiled], tmp_path: Path) -> None:
    for name in ("first", "rate"):
        compiled = replace(nets[name], plan=replace(nets[name].plan, model=name))
        texts = render_library(compiled.plan, "c", "t", {}, keep=True)
        texts |= dict(render_keep(compiled.plan, MIGRATE, "c", compiled.heard))
        for file, text in texts.items():
            (tmp_path / file).write_text(text)
    (tmp_path / "main.c").write_text(TWO)
    files = ["main.c", *(f"{n}{part}.c" for n in ("first", "rate") for part in ("", "_keep"))]
    program = compile_host([tmp_path / f for f in files], tmp_path / "two", f"-I{tmp_path}", *UNDEFINED)
    run([program])


def test_code_stands_in_libraries_that_ask_for_it_alone(nets: dict[str, Compiled]) -> None:
    first = nets["first"]
    plain = render_keep(first.plan, Keep(), "c", first.heard)
    asked = render_keep(first.plan, MIGRATE, "c", first.heard)
    assert not any("_keep_migrate(" in text or "_keep_entry_t" in text for text in plain.values())
    assert all("_keep_migrate(" in text for text in asked.values())
    facts = keep_facts(first.plan, MIGRATE, None, first.heard)
    assert (
        facts["manifest"] == 5 * 16 + 12
        and facts["written"] > keep_facts(first.plan, Keep(), None)["written"]
    )
    held = content(first.plan, MIGRATE, first.heard)
    assert held.layout == zlib.crc32(held.packed)


def test_size(tmp_path: Path) -> None:
    found = sizes(tmp_path, FIRMWARE / "migrate.c")
    if found is None:
        pytest.skip("arm-none-eabi-gcc is not installed")
    assert found[0] <= CODE_BYTES


def test_nothing_that_could_be_known_is_refused(nets: dict[str, Compiled]) -> None:
    with pytest.raises(CompileError, match=r"keep\.migrate: .* keeps nothing that another Plan could know"):
        render_keep(nets["first"].plan, MIGRATE, "c", {})
