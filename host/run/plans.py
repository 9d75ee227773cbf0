"""The Plan of an output folder."""

from __future__ import annotations

import os
from pathlib import Path

from synapcc.gen.errors import SynapccError
from synapcc.gen.files.userfile import read_file
from synapcc.gen.ir.plan import Plan
from synapcc.gen.stages.plan_file import load_plan

MAX_PLAN = 1 << 28


def read_plan(path: Path) -> Plan:
    """The Plan of an output folder or a plan.json; SynapccError if there is none."""
    file = path / "plan.json" if path.is_dir() else path
    hint = "give the output folder of `synapcc compile`"
    plan = load_plan(read_file(file, MAX_PLAN, SynapccError, hint), str(file))
    header = file.parent / "lib" / plan.model / "src" / f"{plan.model}.h"
    if os.path.lexists(header) and plan.digest.hex().encode() not in read_file(header, MAX_PLAN):
        what = f"is not the Plan that {header.relative_to(file.parent)} was emitted from"
        raise SynapccError(str(file), what, "compile the model again")
    return plan
