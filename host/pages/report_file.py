"""report.json of an output folder, read back."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from synapcc.gen.errors import SynapccError
from synapcc.gen.files.userfile import read_text
from synapcc.gen.ir.plan import Plan
from synapcc.gen.rules import options
from synapcc.gen.sets import CHOICES
from synapcc.gen.spec import Loss, RuleSpec, parse_spec, rule_text

from ..terminal.results import schema
from .facts import summary

FILE = "report.json"
MAX_REPORT = 1 << 26


def read_report(path: Path, plan: Plan) -> dict[str, Any] | None:
    """The report beside the Plan; None where the folder has none. SynapccError: it is none of this Plan."""
    file = (path if path.is_dir() else path.parent) / FILE
    try:
        if not os.path.lexists(file):
            return None
        loaded: dict[str, Any] = json.loads(read_text(file, MAX_REPORT))
        if loaded.pop("schema") != schema("compile"):
            raise ValueError("it has another schema")
        summary(loaded)
        Loss(**loaded["rule"]["loss"])
        if loaded["kernels"] not in CHOICES:
            raise ValueError("its kernel set is none of this version's")
        if loaded["digest"] != plan.digest.hex():
            raise ValueError("it belongs to another Plan")
    except (SynapccError, ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError) as e:
        raise SynapccError(str(file), f"is no report of this Plan ({e})", "compile again") from None
    return loaded


def needed_report(path: Path, plan: Plan) -> dict[str, Any]:
    """As `read_report`; SynapccError where the folder has none, too."""
    report = read_report(path, plan)
    if report is None:
        raise SynapccError(str(path), f"has no {FILE}", "give the output folder of `synapcc compile`")
    return report


def spec_of(report: dict[str, Any], where: str) -> RuleSpec:
    """The rule file that a report tells of; SynapccError: one of a rule that this installation lacks."""
    return parse_spec(rule_text(report["rule"]), where, options())
