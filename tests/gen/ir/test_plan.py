"""The Plan's canonical form: read back as it was written, refused when it is damaged."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from random_nets import ANY, accepted

from synapcc.gen.errors import SynapccError
from synapcc.gen.ir.plan import Plan, padded
from synapcc.gen.stages.plan_file import load_plan
from synapcc.host.run.plans import read_plan

pytestmark = pytest.mark.anywhere


@pytest.fixture(scope="module")
def plan() -> Plan:
    return next(c.plan for c, _ in accepted(0, 50) if "rehearse" in c.plan.entries)


def test_a_plan_is_read_back_as_it_was() -> None:
    digests = set()
    for p in (c.plan for c, _ in accepted(ANY, 40)):
        again = load_plan(p.canonical, "plan.json")
        assert again == p and again.canonical == p.canonical and again.digest == p.digest
        assert again.ops() == p.ops() and [t.name for t in again.tensors] == [t.name for t in p.tensors]
        digests.add(p.digest)
    assert len(digests) == 40


def test_a_plan_is_canonical_json_and_knows_its_programs(plan: Plan) -> None:
    j = json.loads(plan.canonical)
    assert json.dumps(j, sort_keys=True, separators=(",", ":")).encode() == plan.canonical
    kinds = {tuple(sorted(item)) for p in j["programs"] for item in p["items"]}
    assert kinds == {("args", "attrs", "kernel", "node"), ("call",), ("call", "when"), ("repeat", "times")}


def test_a_plan_of_other_tensors_has_them_by_name(plan: Plan) -> None:
    """And the one that it was made of keeps its own."""
    first, *rest = plan.tensors
    other = replace(plan, tensors=(replace(first, hi=first.hi - 1), *rest[1:]))
    assert other[first.name].hi == first.hi - 1 and plan[first.name] == first
    assert rest[0].name not in other and rest[0].name in plan


def refused(text: bytes, what: str = "plan") -> None:
    with pytest.raises(SynapccError, match=what) as caught:
        load_plan(text, "plan.json")
    assert "\n" not in str(caught.value) and str(caught.value).startswith("plan.json: ")


def test_damage_is_noticed(plan: Plan) -> None:
    text = plan.canonical
    rng = np.random.default_rng(0)
    for at in rng.integers(0, len(text), 150):
        damaged = bytearray(text)
        damaged[at] ^= 1 << int(rng.integers(0, 8))
        try:
            other = load_plan(bytes(damaged), "plan.json")
        except SynapccError as error:
            assert "\n" not in str(error)
        else:  # another Plan, which does not pass for this one
            assert other.digest != plan.digest and other != plan
    for cut in (0, 1, len(text) // 2, len(text) - 1):
        refused(text[:cut], "not a plan")


VALUES = (
    *(None, True, 0, -1, 1.5, 2**31, 2**32, 2**63, 10**12, 10**30, 1e308, "", "x", "\x1b]0;x\n"),
    *("label", [], {}, [10**6, 10**6], [2**40], ["infer"]),
)


def test_any_value_anywhere_is_a_plan_or_a_line(plan: Plan) -> None:
    """In canonical form, so that it is the values that are looked at; none makes room for what it claims."""
    rng = np.random.default_rng(3)
    for _ in range(200):
        j = json.loads(plan.canonical)
        at, key = j, str(rng.choice(["tensors", "programs", *j]))
        while isinstance(at[key], dict | list) and at[key] and rng.integers(6):
            at = at[key]
            key = sorted(at)[rng.integers(len(at))] if isinstance(at, dict) else int(rng.integers(len(at)))
        at[key] = VALUES[rng.integers(len(VALUES))]
        try:
            other = load_plan(json.dumps(j, sort_keys=True, separators=(",", ":")).encode(), "plan.json")
        except SynapccError as error:
            assert str(error).isprintable() and len(str(error)) < 400
        else:
            assert other.state_bytes == plan.state_bytes and other.arena_bytes < 2 * plan.arena_bytes + 2**21


@pytest.mark.parametrize("size", [10**12, 2**63, 10**30, -4, None])
def test_no_room_is_made_for_a_size_that_is_claimed(plan: Plan, size: object) -> None:
    j = json.loads(plan.canonical)
    for key in ("state_bytes", "arena_bytes"):
        text = json.dumps({**j, key: size}, sort_keys=True, separators=(",", ":"))
        refused(text.encode(), "its tensors need")


def test_what_is_no_plan_of_this_version_is_refused(plan: Plan) -> None:
    j = json.loads(plan.canonical)

    def packed(**change: object) -> bytes:
        return json.dumps({**j, **change}, sort_keys=True, separators=(",", ":")).encode()

    refused(json.dumps(j, indent=1).encode(), "not in canonical form")
    refused(packed(extra=1), "not in canonical form")
    refused(packed(plan_version=99), "plan version 99")
    refused(packed(numeric_version=99), "this synapcc reads")
    refused(packed(tensors=[{**j["tensors"][0], "data": "not base64"}]))
    refused(packed(programs="x"), "not a plan")
    for text in (b"", b"[]", b"null", b"3", b"{}", b"\xff\xfe", b"[" * 100_000):
        refused(text, "not a plan")


def test_a_folder_without_a_plan(tmp_path: Path, plan: Plan) -> None:
    with pytest.raises(SynapccError, match="there is no such file"):
        read_plan(tmp_path)
    (tmp_path / "plan.json").write_bytes(plan.canonical)
    assert read_plan(tmp_path) == plan == read_plan(tmp_path / "plan.json")


def test_rows_are_padded_with_zeros() -> None:
    array = np.arange(6, dtype=np.int16).reshape(2, 3) - 3
    assert np.frombuffer(padded(array, 4), "<i2").tolist() == [-3, -2, -1, 0, 0, 1, 2, 0]


def test_every_tensor_keeps_its_content(plan: Plan) -> None:
    for t in plan.tensors:
        if t.data is None:
            assert t.space == "arena"
            with pytest.raises(ValueError, match="has no content"):
                t.array()
            continue
        array = t.array()
        assert array.shape == t.shape and padded(array, t.row) == t.data
        assert t.lo <= array.min() and array.max() <= t.hi, t.name
