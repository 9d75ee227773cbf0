"""A Plan from its canonical text, checked before anything runs it."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

from ..errors import CompileError, SynapccError, shown
from ..ir.format import Meaning
from ..ir.plan import PLAN_VERSION, Plan, PlanTensor
from ..ir.program import Call, Entry, Item, Program, Repeat, Step, When
from ..ir.quantiser import Quantiser
from ..numeric import NUMERIC_VERSION
from ..words import short
from .plan_check import check

LONGEST = 300  # characters of a reason that a message quotes


def _item(j: Mapping[str, Any]) -> Item:
    if "kernel" in j:
        return Step(j["kernel"], j["node"], dict(j["args"]), dict(j["attrs"]))
    if "repeat" in j:
        return Repeat(int(j["times"]), j["repeat"])
    if "when" in j:
        return When(j["when"], j["call"])
    return Call(j["call"])


def load_plan(text: bytes, where: str) -> Plan:
    """A Plan from its canonical form; SynapccError if the text is not one of this version."""
    hint = "compile the model again with this version"
    try:
        j = json.loads(text)
        if j["plan_version"] != PLAN_VERSION or j["numeric_version"] != NUMERIC_VERSION:
            raise SynapccError(
                where,
                f"plan version {short(str(j['plan_version']))}.{short(str(j['numeric_version']))}, "
                f"this synapcc reads {PLAN_VERSION}.{NUMERIC_VERSION}",
                hint,
            )
        tensors = tuple(
            PlanTensor(
                t["name"],
                t["dtype"],
                tuple(t["shape"]),
                t["row"],
                t["space"],
                t["offset"],
                Meaning.from_json(t),
                t["lo"],
                t["hi"],
                t["role"],
                t["use"],
                t["note"],
                None if t["data"] is None else base64.b64decode(t["data"]),
            )
            for t in j["tensors"]
        )
        programs = {
            p["name"]: Program(p["name"], p["doc"], tuple(_item(i) for i in p["items"]))
            for p in j["programs"]
        }
        plan = Plan(
            j["model"],
            tensors,
            programs,
            tuple(Entry(e["name"], tuple(e["inputs"]), e["label"]) for e in j["entries"]),
            tuple(j["inputs"]),
            tuple(tuple(s) for s in j["input_shapes"]),
            tuple(j["input_sources"]),
            j["logits"],
            j["classes"],
            j["state_bytes"],
            j["arena_bytes"],
            j["head"],
            quantisers={
                n: Quantiser(tuple(q["offset"]), tuple(q["scale"]), q["inner"])
                for n, q in j["quantisers"].items()
            },
            infer_arena_bytes=j["infer_arena_bytes"],
        )
        check(plan)
    except CompileError as e:
        told = shown(f"{e.where}: {' '.join(e.what.split())}", LONGEST)
        raise SynapccError(where, f"not a plan of synapcc ({told})", hint) from None
    except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError) as e:
        told = shown(f"{type(e).__name__}: {' '.join(str(e).split())}", LONGEST)
        raise SynapccError(where, f"not a plan of synapcc ({told})", hint) from None
    if plan.canonical != text:
        raise SynapccError(where, "the plan is not in canonical form: it was edited or damaged", hint)
    return plan
