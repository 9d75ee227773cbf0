"""The emitted quantiser as a program, and float inputs that are hard for one."""

from __future__ import annotations

import numpy as np

from synapcc.gen.ir.quantiser import AffineQuantiser, InputQuantiser

MAIN = """#include <stdio.h>
#include "{model}.h"
#include "{model}_quantise.h"

int main(void)
{{
    static float x[{size}];
    static {ctype} q[{size}];

    while (fread(x, sizeof x, 1, stdin) == 1) {{
        {model}_quantise_{name}(x, q);
        fwrite(q, sizeof q, 1, stdout);
    }}
    return 0;
}}
"""
"""Of samples on its input; {model}, {name}, {size}, {ctype} of an input."""


def hard_floats(rng: np.random.Generator, q: InputQuantiser, size: int, samples: int) -> np.ndarray:
    """Any bits; what lies on ties and limits and one step beside them; the ends of float32."""
    bits = rng.integers(0, 2**32, (samples, size), dtype=np.uint64).astype(np.uint32).view(np.float32)
    if isinstance(q, AffineQuantiser):
        offset, scale = np.array(-q.zero * q.scale), np.array(1 / q.scale)
    else:
        offset, scale = (v.astype(np.float64) for v in q.each(size))
    with np.errstate(all="ignore"):
        halves = rng.integers(2 * q.ends[0] - 4, 2 * q.ends[1] + 7, (samples, size)) / 2
        near = (halves / np.where(scale == 0, 1, scale) + offset).astype(np.float32)
        beside = np.nextafter(near, rng.choice(np.float32([-np.inf, np.inf]), near.shape))
    odd = np.float32([0, -0.0, np.nan, np.inf, -np.inf, 1e-45, -1e-40, 3.4e38, -3.4e38, 0.5, 127.5, -128.5])
    kind = rng.integers(0, 4, (samples, size))
    return np.choose(kind, [bits, near, beside, rng.choice(odd, (samples, size))]).astype(np.float32)
