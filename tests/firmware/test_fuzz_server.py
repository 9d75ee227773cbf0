"""Mutated frames at the firmware's server under sanitizers: no report, and every promise kept after each."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest
from bad_line import small_nets
from fuzz_server import fuzz, fuzzer

from synapcc.gen.ir.plan import Plan
from synapcc.gen.stages.state_check import rings
from synapcc.gen.target.messages import COUNT, ERASE, REQUESTS, RESTORE, SAVE
from synapcc.host.devices import DeviceError

FRAMES, MODELS = 20_000, 4
DONE = {r.name for r in REQUESTS} - {COUNT.name, SAVE.name, RESTORE.name, ERASE.name}
"""Requests that these processes can do: they have no counter and no store."""


def program(plan: Plan, folder: Path) -> Path:
    try:
        return fuzzer(plan, folder)
    except DeviceError as error:  # a compiler without the sanitizers' libraries, or none
        pytest.skip(f"no firmware with sanitizers: {error.what}")


def checked(told: Counter[str], frames: int) -> None:
    """All kinds of frames were seen, and requests of every kind done."""
    assert told["frames"] == frames and told["bad"] > frames // 10 and told["refused"] > frames // 10
    assert all(told[name] > frames // 500 for name in DONE), told


def test_mutated_frames(tmp_path: Path, unoptimised: None) -> None:
    (plan,) = small_nets(70_000, 1)
    checked(fuzz(program(plan, tmp_path), FRAMES, 1), FRAMES)


@pytest.mark.long
def test_a_million_mutated_frames(tmp_path: Path) -> None:
    total: Counter[str] = Counter()
    for seed, plan in enumerate(small_nets(70_000, MODELS)):
        total += fuzz(program(plan, tmp_path), 1_000_000 // MODELS, seed)
    checked(total, 1_000_000)


BREAKS = {
    "what is not done changes nothing": (
        "src/requests.c",
        "memcpy(to, reply->payload, count);\n        return PROTO_BAD_STATE",
        "return PROTO_BAD_STATE",
    ),
    "the state is whole": ("src/machine.c", "machine.unchecked && model_check", "false && model_check"),
    "broken|overflow|runtime error": (
        "src/frame.c",
        "if (receiver->decoded < FRAME_BODY_MAX)",
        "if (receiver->decoded < 2u * FRAME_BODY_MAX)",
    ),
}


@pytest.mark.long
@pytest.mark.parametrize("promise", BREAKS)
def test_a_fault_is_found(promise: str, tmp_path: Path) -> None:
    """The fuzzer is no good that passes firmware with a fault."""
    file, text, other = BREAKS[promise]
    plan = next(p for p in small_nets(70_000, MODELS) if any(rows > 1 for *_, rows in rings(p)))

    def spoil(out: Path) -> None:
        source = (out / file).read_text()
        assert text in source
        (out / file).write_text(source.replace(text, other, 1))

    with pytest.raises(AssertionError) as caught:
        fuzz(fuzzer(plan, tmp_path, change=spoil), 200_000, 1)
    assert re.search(promise, str(caught.value))
