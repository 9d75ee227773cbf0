"""What a rule file says of a rule of its own: equations as texts, by the table and the key that they stand
under. What they mean is known to gen.equations."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from ..words import what_is
from .table import Table

OWN = "own"
"""The rule that such a file has."""
MOST_TRACES = 4
_TRACE = re.compile(r"[a-z][a-z0-9_]{0,30}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Update:
    """How weights, biases and the feedback matrix of a layer change; "" where the file does not say."""

    weight: str
    bias: str = ""
    feedback: str = ""


@dataclass(frozen=True, slots=True)
class Teach:
    """The signals that layers are taught with: those that make the scores, and all others."""

    output: str = ""
    hidden: str = ""


Traces = tuple[tuple[str, str], ...]
UNTAUGHT = Teach()


def read_own(table: Table) -> tuple[Update | None, Teach, Traces]:
    """The tables of a rule of one's own. CompileError where one stands there without [update]."""
    given = [key for key in ("update", "teach", "trace") if table.get(key) is not None]
    if not given:
        if table.get("rule") == OWN:
            raise table.error("update", "is missing", 'a rule of your own says [update] weight = "..."')
        return None, UNTAUGHT, ()
    if (rule := table.get("rule")) not in (None, OWN):
        what = f"is {what_is(rule)}, and [{given[0]}] belongs to a rule of your own"
        raise table.error("rule", what, f'drop one of them; rule = "{OWN}" may be left out')
    if "update" not in given:
        raise table.error("update", "is missing", f"[{given[0]}] makes what [update] weight reads")
    texts = _texts(table.table("update", Update))
    if "weight" not in texts:
        raise table.error(
            "update.weight", "is missing", 'say how weights change: "-rate * teach[o] * pre[i]"'
        )
    teach = Teach(**_texts(table.table("teach", Teach))) if "teach" in given else UNTAUGHT
    return Update(**texts), teach, _traces(table) if "trace" in given else ()


def _texts(table: Table) -> dict[str, str]:
    found = {}
    for key, value in table.raw.items():
        if not isinstance(value, str) or not value.strip():
            raise table.error(key, f"is {what_is(value)}", "give an equation in quotes")
        found[key] = value
    return found


def _traces(table: Table) -> Traces:
    raw = table.get("trace")
    names = list(raw) if isinstance(raw, dict) else []
    own = table.subtable("trace", names)
    for name in names:
        if not _TRACE.fullmatch(name):
            raise own.error(name, "is no name for a trace", "take lower-case letters, digits and _")
    if len(names) > MOST_TRACES:
        raise own.error(names[MOST_TRACES], "is one trace too many", f"up to {MOST_TRACES} are possible")
    return tuple(sorted(_texts(own).items()))


def own_equations(update: Update | None, teach: Teach, trace: Traces) -> tuple[tuple[str, str], ...]:
    """Every equation that is given: what it is called, and its text."""
    parts: list[tuple[str, str]] = []
    for table, held in (("update", update), ("teach", teach)):
        if held is not None:
            parts += [(f"{table}.{f.name}", getattr(held, f.name)) for f in fields(held)]
    return tuple((key, text) for key, text in [*parts, *((f"trace.{n}", t) for n, t in trace)] if text)


def own_tables(raw: Mapping[str, Any], trace: Traces) -> dict[str, Any]:
    """The tables as a rule file would say them. raw: fields of a RuleSpec, as a dict"""
    tables = {"update": raw.get("update") or {}, "teach": raw["teach"], "trace": dict(trace)}
    said = {key: {k: v for k, v in held.items() if v} for key, held in tables.items()}
    return {key: held for key, held in said.items() if held}
