"""Whether the compiler is as it was imported: what a test has patched makes other Plans."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from typing import Any

from synapcc.gen.compile import compile_model
from synapcc.gen.ops import kernels, layers
from synapcc.gen.rules import rules

Parts = list[tuple[str, Mapping[str, Any]]]


def _parts() -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The names of each module and class of the compiler, and of each of its tables."""
    for name, module in sorted(sys.modules.items()):
        if name.startswith("synapcc.gen"):
            yield name, vars(module)
            for called, value in list(vars(module).items()):
                if isinstance(value, type) and value.__module__ == name:
                    yield f"{name}.{called}", vars(value)
                elif isinstance(value, dict) and called.isupper():
                    yield f"{name}.{called}", value


def _seen() -> Parts:
    assert compile_model  # loads all that a compilation loads, as the next line does what is found by looking
    assert layers() and kernels() and rules()
    return [(where, dict(names)) for where, names in _parts()]


_AT_FIRST = _seen()


def touched() -> list[str]:
    """What has another meaning than when this file was imported, before any test ran."""
    now = dict(_parts())
    return [
        f"{where}.{name}"
        for where, names in _AT_FIRST
        for name, value in names.items()
        if now.get(where, {}).get(name, _AT_FIRST) is not value
    ]
