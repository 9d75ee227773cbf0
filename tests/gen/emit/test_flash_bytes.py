"""Bytes in flash: what header, report and budget say is what the linker has, symbol by symbol."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from ctools import run
from elftools.elf.elffile import ELFFile
from random_nets import accepted

from synapcc.gen.compile import Compiled
from synapcc.gen.emit import memory_map, render_library
from synapcc.gen.emit.fits import CODE_PER_OP, firmware_bytes, least_flash
from synapcc.gen.emit.flash import stored
from synapcc.gen.sets import DSP, REF
from synapcc.gen.target.boards import load_board
from synapcc.host.pages import footprint


@pytest.fixture(scope="module")
def models() -> list[Compiled]:
    return [c for c, _ in accepted(700, 12)]


TABLES = ("tensors", "items", "starts", "ops", "held", "wants")


def linked(elf: Path, prefix: str) -> dict[str, int]:
    """The model's arrays in read-only memory, by name without the prefix, with their bytes. The table of the
    tensors, the programs as data and what a step that runs alone wants are no content of the model but part
    of its code."""
    with elf.open("rb") as handle:
        file: Any = ELFFile(handle)
        named = [
            (s.name, int(s["st_size"]))
            for s in file.get_section_by_name(".symtab").iter_symbols()
            if s["st_info"]["type"] == "STT_OBJECT"
            and isinstance(s["st_shndx"], int)
            and not file.get_section(s["st_shndx"])["sh_flags"] & 1  # writable
        ]
    return {
        name.removeprefix(f"{prefix}_"): size
        for name, size in named
        if name.startswith(f"{prefix}_") and name.removeprefix(f"{prefix}_") not in TABLES
    }


@pytest.mark.parametrize(
    "tool, kernels",
    [
        ("arm-none-eabi-gcc", DSP),
        pytest.param("gcc", REF, marks=pytest.mark.long),
        pytest.param("gcc", DSP, marks=pytest.mark.long),
        pytest.param("arm-none-eabi-gcc", REF, marks=pytest.mark.long),
    ],
)
def test_what_is_said_is_what_the_linker_has(
    tool: str, kernels: str, models: list[Compiled], tmp_path: Path
) -> None:
    if shutil.which(tool) is None:
        pytest.skip(f"{tool} is not installed")
    relaid = copies = zeros = 0
    for c in models:
        plan = c.plan
        for file, text in render_library(plan, "a test", "a test", {}, kernels).items():
            (tmp_path / file).write_text(text)
        machine = ["-mcpu=cortex-m4", "-mthumb", "--specs=nosys.specs"] if tool.startswith("arm") else []
        (tmp_path / "main.c").write_text(
            f'#include "{plan.model}.c"\nint main(void)\n{{\n    return 0;\n}}\n'
        )
        run([tool, *machine, "-O0", "main.c", "-o", "a.elf"], tmp_path)
        found = linked(tmp_path / "a.elf", plan.model)
        flash = stored(plan, kernels)
        want = {t.name: t.nbytes for t in flash.constants} | {
            f"{t.name}_init": t.nbytes for t in flash.starts
        }
        assert found == want, plan.model
        total = sum(found.values())
        board = load_board("mps2_an386")
        budget = footprint.budget(plan, board, kernels)
        assert budget and budget["flash"]["tensors"] == flash.nbytes == total
        assert (
            least_flash(plan, board, kernels)
            == total + CODE_PER_OP * len(plan.ops()) + firmware_bytes(plan, board)[0]
        )
        memory = footprint.memory(plan, kernels)
        assert memory["constants"] + memory["initial_state"] == total
        assert sum(t["in_flash"] for t in footprint.tensors(plan, kernels)) == total
        assert f"Memory: {total} bytes of constants in flash" in (tmp_path / f"{plan.model}.h").read_text()
        rows = [line.split() for line in memory_map(plan, kernels) if line.startswith("constant ")]
        assert {name: int(size) for _, size, _, name, *_ in rows} == want
        relaid += sum(not name.endswith("_zeroed") for name in flash.origin)  # which takes a zero point in
        copies += len(flash.starts)
        zeros += sum(t.data is not None and not any(t.data) for t in plan.space("state"))
    assert copies and zeros and (relaid > 0) == (kernels == DSP)


def test_what_is_all_zero_is_not_stored(models: list[Compiled]) -> None:
    for c in models:
        text = render_library(c.plan, "a test", "a test", {})[f"{c.plan.model}.c"]
        starts = set(re.findall(rf"^static const \w+ {c.plan.model}_(\w+)_init\[", text, flags=re.M))
        alike = stored(c.plan).alike  # a guard's copies, in flash once
        assert starts == {t.name for t in c.plan.space("state") if t.data and any(t.data)} - alike.keys()
        for name, first in alike.items():
            assert c.plan[name].data == c.plan[first].data
            source = f"{c.plan.model}_{first}" + "_init" * (c.plan[first].space == "state")
            copied = f"memcpy(m->state.{name}, {source}, sizeof {source});"
            assert copied in " ".join(text.split())  # long lines are wrapped
