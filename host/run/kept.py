"""Results in a JSON file, each under the digest of all that it follows from: a run that broke off goes on,
and several at once keep theirs beside each other. A result may say in `of` what it is of, for those who read
the file: it takes the place of what was found of that before, from what is no more."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import synapcc.gen
import synapcc.host
from synapcc.gen.discovery import outside_files
from synapcc.gen.errors import SynapccError

from ..terminal.files import locked, write_whole

Result = dict[str, Any]


class Results:
    """is_one: whether what the file holds under a key is a result; what is none is measured again.

    strange: whether the file holds something, and nothing of it is a result.
    """

    strange = False

    def __init__(self, path: Path, is_one: Callable[[Any], bool]) -> None:
        self.path, self.is_one = path, is_one
        self.found = self._read()

    def get(self, key: str, measure: Callable[[], Result]) -> Result:
        """What is kept under `key`; else `measure()`, kept from now on."""
        if key not in self.found:
            self.found = self._read()  # others may have found it since
        if key not in self.found:
            result = measure()
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with locked(self.path.with_name(f".{self.path.name}.lock")):
                kept = self._read()  # others may have written since
                self.found = {k: r for k, r in kept.items() if not same(r, result)} | {key: result}
                text = json.dumps(self.found, indent=1, sort_keys=True)
                write_whole(self.path, f"{text}\n".encode())
        return self.found[key]

    def _read(self) -> dict[str, Result]:
        """What the file holds. SynapccError for one that is no file of results: it would be written over."""
        try:
            found = json.loads(self.path.read_bytes())
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise SynapccError(str(self.path), f"cannot be read ({error.strerror})", "name another") from None
        except ValueError:
            found = None
        if not isinstance(found, dict):
            hint = "delete it to measure again, or name another"
            raise SynapccError(str(self.path), "is no file of results", hint)
        results = {key: value for key, value in found.items() if self.is_one(value)}
        self.strange = bool(found) and not results
        return results


def same(a: Result, b: Result) -> bool:
    """Whether both are of the same, and say so."""
    return "of" in a and a["of"] == b.get("of")


def key(*given: Any) -> str:
    """What a result is kept under that follows from these, of JSON's types."""
    return hashlib.sha256(json.dumps(given, sort_keys=True).encode()).hexdigest()[:16]


def sources() -> str:
    """The digest of the compiler's and the emulator's text, and of rules and ops from outside."""
    mark = hashlib.sha256()
    for package in (synapcc.gen, synapcc.host):
        root = Path(package.__path__[0])
        for path in sorted(root.rglob("*.py")):
            mark.update(str(path.relative_to(root)).encode() + path.read_bytes())
    for path in outside_files():
        mark.update(path.name.encode() + path.read_bytes())
    return mark.hexdigest()
