"""What the environment weighs: the files of the base install, and of what each extra adds to it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from typing import Any

ME, BASE, TOTAL = "synapcc", "base", "all of them"
HEAVIEST = 3
_NEEDED = re.compile(r"\s*([A-Za-z0-9._-]+)\s*(?:\[([^\]]*)\])?([^;]*)(?:;(.*))?")
_EXTRA = re.compile(r"""extra\s*==\s*["']([^"']+)["']""")


@dataclass(frozen=True, slots=True)
class Weight:
    """size: bytes of the files that installers wrote; packages: by name, the heaviest first."""

    packages: Mapping[str, int]

    @property
    def size(self) -> int:
        return sum(self.packages.values())

    @property
    def megabytes(self) -> float:
        return self.size / 1e6

    @property
    def heaviest(self) -> tuple[str, ...]:
        """Those that weigh most, as text."""
        return tuple(f"{name} {size / 1e6:.0f}" for name, size in list(self.packages.items())[:HEAVIEST])

    def to_dict(self) -> dict[str, Any]:
        return {"bytes": self.size, "packages": dict(self.packages)}


def weigh() -> dict[str, Weight]:
    """`base`, then each extra with what it adds to base, then all of them, each package once.

    Packages that are not installed weigh nothing. Two extras may share some.
    """
    base = _needed(ME, ())
    extras = metadata.metadata(ME).get_all("Provides-Extra") or [] if _there(ME) else []
    parts = {BASE: base, **{extra: _needed(ME, (extra,)) - base for extra in extras}}
    parts[TOTAL] = set().union(*parts.values())
    return {part: Weight(_sizes(names)) for part, names in parts.items()}


def _sizes(names: Iterable[str]) -> dict[str, int]:
    found = {name: _bytes(name) for name in names}
    return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))


def _needed(name: str, extras: Iterable[str]) -> set[str]:
    """A package and all that it needs with these extras, as far as it is installed."""
    found: set[str] = set()
    seen: set[tuple[str, str]] = set()
    ask = [(_plain(name), ""), *((_plain(name), _plain(extra)) for extra in extras)]
    while ask:
        one = ask.pop()
        if one in seen or not _there(one[0]):
            continue
        seen.add(one)
        found.add(one[0])
        for other, more in _requirements(*one):
            ask += [(other, ""), *((other, extra) for extra in more)]
    return found


def _requirements(name: str, extra: str) -> Iterator[tuple[str, list[str]]]:
    """(package, extras of it) that a package asks for, of its own or of one of its extras.

    What a marker says of systems and versions is not asked: what it leaves out is not installed.
    """
    for text in metadata.requires(name) or []:
        if match := _NEEDED.fullmatch(text):
            other, more, _, marker = match.groups()
            asked = _EXTRA.search(marker or "")
            if (_plain(asked[1]) if asked else "") == extra:
                yield _plain(other), [_plain(m) for m in (more or "").split(",") if m.strip()]


def _plain(name: str) -> str:
    """As the packaging specifications normalise a name."""
    return re.sub(r"[-_.]+", "-", name.strip()).lower()


@cache
def _there(name: str) -> bool:
    try:
        metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return False
    return True


@cache
def _bytes(name: str) -> int:
    """Bytes of a package's files; one that has no list of them weighs nothing."""
    total = 0
    for file in metadata.distribution(name).files or []:
        try:
            total += os.stat(file.locate()).st_size
        except OSError:  # listed, and removed since
            continue
    return total
