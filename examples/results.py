"""Results in a JSON file, each under the digest of all that it follows from: a run that broke off goes on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import synapcc.gen
import synapcc.host
from synapcc.host.terminal.files import write_whole

Result = dict[str, Any]


class Results:
    """is_one: whether what the file holds under a key is a result; what is none is measured again."""

    def __init__(self, path: Path, is_one: Callable[[Any], bool]) -> None:
        self.path = path
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            found = {}
        items = found.items() if isinstance(found, dict) else ()
        self.found: dict[str, Result] = {key: value for key, value in items if is_one(value)}

    def get(self, key: str, measure: Callable[[], Result]) -> Result:
        """What is kept under `key`; else `measure()`, kept from now on."""
        if key not in self.found:
            self.found[key] = measure()
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(self.path, json.dumps(self.found, indent=1, sort_keys=True).encode())
        return self.found[key]


@cache
def sources() -> str:
    """The digest of the compiler's and the emulator's text, for what follows from both."""
    mark = hashlib.sha256()
    for package in (synapcc.gen, synapcc.host):
        root = Path(package.__path__[0])
        for path in sorted(root.rglob("*.py")):
            mark.update(str(path.relative_to(root)).encode() + path.read_bytes())
    return mark.hexdigest()
