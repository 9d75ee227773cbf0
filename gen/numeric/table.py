"""What a row of the numeric table is, and the types that its functions speak of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Int = NDArray[np.int32]
Word = NDArray[np.uint32]

I32 = (-(2**31), 2**31 - 1)
U32 = (0, 2**32 - 1)


@dataclass(frozen=True, slots=True)
class Primitive:
    """One row of the table.

    args:  (C type, name, lowest, highest) of each argument
    py:    the meaning on arrays of any one shape, int32 or uint32 as the C types say
    c:     the body of the C function
    given: where the arguments depend on one another, a condition on them together (int64 arrays)

    `args` and `given` are the domain that the proof covers.
    """

    name: str
    ret: str
    args: tuple[tuple[str, str, int, int], ...]
    py: Callable[..., NDArray[np.integer]]
    c: str
    doc: str
    given: Callable[..., NDArray[np.bool_]] | None = None

    @property
    def c_function(self) -> str:
        """The C99 definition, as it stands in the emitted file."""
        params = ", ".join(f"{ctype} {name}" for ctype, name, _, _ in self.args)
        body = "\n".join(f"    {line}" if line else "" for line in self.c.strip().split("\n"))
        return f"/* {self.doc} */\nstatic inline {self.ret} {self.name}({params})\n{{\n{body}\n}}\n"


def int32(x: Any) -> Int:
    """x as int32, no copy where it is. The engine compiles it, and its like, as a cast of one number."""
    return np.asarray(x, np.int32)


def int64(x: Any) -> NDArray[np.int64]:
    """x as int64."""
    return np.asarray(x, np.int64)


def uint32(x: Any) -> Word:
    """x as uint32."""
    return np.asarray(x, np.uint32)


def uint64(x: Any) -> NDArray[np.uint64]:
    """x as uint64."""
    return np.asarray(x, np.uint64)


CASTS = (int32, int64, uint32, uint64)


def bit_length(x: NDArray[np.int64]) -> NDArray[np.int64]:
    """Bits of x >= 0 up to its highest one; 0 of 0."""
    wide, n = int64(x), int64(0)
    for step in (32, 16, 8, 4, 2, 1):
        more = int64(wide >> step > 0) * step
        wide, n = wide >> more, n + more
    return n + wide


def c_table(values: tuple[int, ...], columns: int) -> str:
    """The C definition of `values` as a table of uint16_t, so many to a line."""
    lines = [", ".join(map(str, values[i : i + columns])) for i in range(0, len(values), columns)]
    return f"static const uint16_t table[{len(values)}] = {{\n    " + ",\n    ".join(lines) + "\n};\n"
