"""What a command gives back: text for a person, and one JSON document, whose form all commands share.

`--json FILE` is an option of every command: FILE gets the document, whole or not at all; with `-` standard
output gets it and nothing else, and what is said to a person goes to standard error. A document carries the
name and the version of its schema. It holds no times of a clock and no absolute paths unless they were asked
for, so the same command gives the same bytes again.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from . import files

STDOUT = "-"

SCHEMAS: Mapping[str, int] = {
    "bench": 1,
    "bench.emulator": 1,
    "bench.shapes": 1,
    "boards": 1,
    "build": 1,
    "compile": 1,
    "demo": 1,
    "demo.live": 1,
    "docs": 1,
    "docs.page": 1,
    "doctor": 1,
    "emulate": 1,
    "eval": 2,
    "eval.anomaly": 1,
    "flash": 1,
    "frontend": 1,
    "inspect": 1,
    "inspect.learn": 1,
    "inspect.model": 1,
    "migrate": 1,
    "new-board": 1,
    "personalise": 1,
    "pull": 1,
    "push": 1,
    "restore": 1,
    "rules": 1,
    "save": 1,
    "sweep": 1,
    "verify": 1,
}
"""The documents and their versions: a field that goes, or means something else, makes the next one."""


def schema(kind: str) -> str:
    """What `schema` says in a document of this kind: synapcc.verify/1."""
    return f"synapcc.{kind}/{SCHEMAS[kind]}"


def document(kind: str, body: Mapping[str, Any]) -> str:
    """The text of a document: JSON in ASCII, the schema first, then keys in order; NaN becomes null."""
    plain = _plain(body)
    return json.dumps({"schema": schema(kind), **plain}, indent=1, allow_nan=False) + "\n"


def _plain(value: Any) -> Any:
    """`value` with what JSON has, and nothing else."""
    if isinstance(value, Mapping):
        return {k: _plain(v) for k, v in sorted((str(k), v) for k, v in value.items())}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, bool | int | str):
        return value
    if hasattr(value, "item"):  # a number of numpy's
        return _plain(value.item())
    raise TypeError(f"{type(value).__name__} in a document")


class Results:
    """Where a command says what comes of it: `say` and `tell` to a person, `give` for the document."""

    def __init__(self, json_target: str | None) -> None:
        self._target = json_target
        self._document: str | None = None

    @property
    def alone(self) -> bool:
        """Whether the document is all that standard output gets."""
        return self._target == STDOUT

    def say(self, text: str = "") -> None:
        """The result as a person reads it, which is left out where standard output gets the document."""
        if not self.alone:
            print(text, flush=True)

    def tell(self, text: str = "") -> None:
        """What goes on, worth reading while it lasts: on standard error, if the document is printed."""
        print(text, file=sys.stderr if self.alone else sys.stdout, flush=True)

    def give(self, kind: str, body: Mapping[str, Any]) -> None:
        """The document; each command gives one."""
        self._document = document(kind, body)

    def finish(self) -> None:
        """Writes the document where it was asked for. Raises SynapccError if it cannot be written."""
        if self._target is None:
            return
        if self._document is None:
            raise AssertionError("the command gave no document")
        if self.alone:
            print(self._document, end="", flush=True)
        else:
            files.write_whole(Path(self._target), self._document.encode())
