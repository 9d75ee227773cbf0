"""The C library of a Plan: `<model>.h` and `<model>.c`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from ..ir.format import Scaled
from ..ir.plan import Plan
from ..sets import REF
from ..stages.op_check import held
from ..stages.state_check import labelled, labelled_ops, rings
from ..target import messages
from ..version import VERSION
from .flash import stored
from .functions import in_order, laid_out, program_texts, step_functions, unused
from .helpers import helpers_of
from .interface import KEEPING, entry_views, label_type
from .layout import narrowed
from .memory_text import memory_map
from .role import Inference
from .slices import entries
from .templates import environment
from .views import HeldView, InputView, Views


def render_library(
    plan: Plan,
    command: str,
    title: str,
    sources: Mapping[str, str],
    kernel_set: str = REF,
    portable: bool = False,
    keep: bool = False,
) -> dict[str, str]:
    """`<model>.h` and `<model>.c`, of `kernel_set`.

    portable: in C99 and nothing else; of the set `ref` alone, the others know instructions
    keep:     with what the store in flash needs of them
    """
    assert not portable or kernel_set == REF
    prefix = plan.model
    printed = stored(plan, kernel_set)
    views = Views(plan, printed.constants)
    functions = step_functions(plan, printed, views, prefix, sources)
    helpers = helpers_of(f.body for f in functions)
    functions = [
        replace(f, body=laid_out(helpers.prefixed(f.body, prefix)) + unused(plan, f.body)) for f in functions
    ]
    table, starts = entries(plan, in_order(plan))
    by_op = () if isinstance(plan, Inference) else held(plan)
    conditions = list(dict.fromkeys(h for wanted in by_op for h in wanted))
    of_all, of_infer = views.all, views.of("infer")
    context = {
        "plan": plan,
        "prefix": prefix,
        "title": title,
        "command": command,
        "version": VERSION,
        "digest": plan.digest.hex(),
        "runtime_version": messages.RUNTIME_VERSION,
        "kernel_set": kernel_set,
        "keep": keep,
        "memory_map": memory_map(plan, kernel_set),
        "steps": functions,
        "state": [of_all[t.name] for t in plan.space("state")],
        "inputs": [InputView(plan, n) for n in plan.inputs],
        "infer_inputs": [of_infer[n] for n in plan.inputs],
        "logits": of_infer[plan.logits],
        "verdict": of_infer["verdict"],
        "answered": (of_all["verdict"], of_all[plan.logits]),
        "label": of_all.get("label"),
        "label_type": label_type(plan),
        "wide_labels": any(t.dtype == "uint16" for t in plan.space("arena")),
        "labels_beyond": "label" in plan and plan.classes <= np.iinfo(plan["label"].dtype).max,
        "constants": [of_all[t.name] for t in printed.tensors],
        "starts": [of_all[t.name] for t in printed.starts],
        "alike": [(of_all[name], of_all[first]) for name, first in printed.alike.items()],
        "items": table,
        "item_starts": [starts[entry] for entry in plan.entries],
        "programs": program_texts(plan, functions, views, prefix),
        "primitives": [helpers.prefixed(p.c_function, prefix) for p in helpers.primitives],
        "words": helpers.words,
        "instructions": [helpers.prefixed(i.c_function, prefix) for i in helpers.instructions],
        "scaled": any(isinstance(t.meaning, Scaled) for t in plan.tensors),
        "entries": entry_views(plan, of_all, KEEPING if keep else ()),
        "learns": "learn" in plan.entries,
        "rings": rings(plan),
        "labelled_entries": [n for n in plan.entries if labelled(plan, n)],
        "labelled_ops": " || ".join(f"op == {i}u" for i in labelled_ops(plan)),
        "held": [HeldView(h, plan) for h in conditions],
        "wants": [(op, conditions.index(h)) for op, wanted in enumerate(by_op) for h in wanted],
        "has_store": "store_count" in plan,
        "portable": portable,
        "whole": not isinstance(plan, Inference),
    }
    return {
        f"{prefix}.{ending}": narrowed(environment().get_template(f"model.{ending}.j2").render(context))
        for ending in ("h", "c")
    }
