"""What the linker took from libraries: no heap, no floating point, nothing of libc beyond memcpy and memset,
and memcmp where a store says whose state it keeps."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from .elf import Image

_COPY = re.compile(r"mem(cpy|set|cmp)|__aeabi_mem(cpy|set|clr)[48]?")
_HEAP = re.compile(r"_*(malloc|free|calloc|realloc|memalign|sbrk)(_r)?|(__)?malloc_\w+|_free_r|__heap_\w+")
_FLOAT = re.compile(
    r"__aeabi_c?[fd](add|r?sub|mul|div|neg|cmp\w*|r?cmp\w*|2\w+)|__aeabi_(u?[il]|h)2[fdh](_alt)?|__aeabi_c[fd]r?cmp\w+"
    r"|__(add|sub|mul|div|neg|pow|cmp|unord|eq|ne|lt|le|gt|ge)[hsdtx][fc][23i]?|__powi[sdt]f2"
    r"|__(fix|fixuns)[hsdtx]f[sdt]i|__float(un)?[sdt]i[hsdtx]f|__(extend|trunc)[hsdtx]f[hsdtx]f2|__gnu_[fhd]2[fhd]_\w+"
)
_WIDE = re.compile(
    r"__aeabi_(lmul|l?u?ldivmod|llsl|llsr|lasr|u?lcmp)|__(u?(div|mod|divmod)|mul|ashl|ashr|lshr|u?cmp)[dt]i[2345]?"
)
_DIVISION = re.compile(r"__aeabi_u?idiv(mod|0)?|__aeabi_ldiv0|__u?(div|mod|divmod)si[34]")
_COMPILER = re.compile(
    r"__aeabi_unwind_\w+|__gnu_thumb1_case_\w+|__(clz|ctz|popcount|ffs|bswap)[sd]i2|\w+_(veneer|from_thumb)"
)


@dataclass(frozen=True, slots=True)
class Linked:
    """Functions from libraries in the linked firmware, by kind, and our functions that compute in floating
    point.

    `wide` are 64-bit integer helpers and `division` 32-bit ones: allowed, but slow, so a report shows them.
    """

    copy: tuple[str, ...]
    heap: tuple[str, ...]
    floats: tuple[str, ...]
    wide: tuple[str, ...]
    division: tuple[str, ...]
    compiler: tuple[str, ...]
    libc: tuple[str, ...]

    @property
    def offending(self) -> tuple[str, ...]:
        """What firmware of synapcc must not hold: empty if all is well."""
        return tuple(sorted({*self.heap, *self.floats, *self.libc}))

    def text(self) -> str:
        """One line for a report."""
        bad = [f"{label}: {', '.join(names)}" for label, names in self._bad() if names]
        some = "memcpy, memset and memcmp" if "memcmp" in self.copy else "memcpy and memset"
        return "; ".join(bad) if bad else f"no heap, no floating point, no libc beyond {some}"

    def _bad(self) -> tuple[tuple[str, tuple[str, ...]], ...]:
        return ("heap", self.heap), ("floating point", self.floats), ("libc", self.libc)


def inspect(image: Image, own: Iterable[str]) -> Linked:
    """Sorts the functions of `image` that are not among `own`, the functions of the project's object
    files."""
    ours = frozenset(own)
    kinds: dict[str, set[str]] = {
        k: set() for k in ("copy", "heap", "floats", "wide", "division", "compiler", "libc")
    }
    rules = (
        ("copy", _COPY), ("heap", _HEAP), ("floats", _FLOAT), ("wide", _WIDE), ("division", _DIVISION),
        ("compiler", _COMPILER),
    )  # fmt: skip
    for function in image.functions.values():
        if function.floats:
            kinds["floats"].add(function.name)
        if ours & set(function.names):
            continue
        # zig gives one function several names, of which the plain one tells what it is
        named = [(kind, name) for name in function.names for kind, rule in rules if rule.fullmatch(name)]
        if named:
            for kind, name in named:
                kinds[kind].add(name)
        elif not function.names[0].startswith("compiler_rt."):
            kinds["libc"].add(function.name)
        else:
            kinds["compiler"].add(function.name)
    return Linked(**{kind: tuple(sorted(names)) for kind, names in kinds.items()})
