"""The sigmoid of int16 tensors, with the bits of LiteRT."""

from __future__ import annotations

import math

import numpy as np

from .table import Int, Primitive, c_table, int32

SIGMOID_RAISED = frozenset(  # where LiteRT's table is one above the nearest, so that lines between fit better
    (
        *(
            4,
            8,
            12,
            14,
            15,
            16,
            17,
            19,
            20,
            21,
            22,
            25,
            27,
            28,
            29,
            30,
            31,
            33,
            34,
            35,
            37,
            39,
            40,
            41,
            43,
            44,
            45,
            46,
        ),
        *(49, 50, 54, 62, 63, 64, 66, 82, 86, 93, 100, 103, 112, 116, 135, 255),
    )
)
SIGMOID_TABLE = tuple(
    min(round(2.0**16 / (1.0 + math.exp(-i / 24))) + (i in SIGMOID_RAISED), 2**16 - 1) for i in range(256)
)
SIGMOID_ARRAY = np.array(SIGMOID_TABLE, np.int32)
SIGMOID_ENDS = (0xFFFF << 8, 0x7FFF << 10)


def sigmoid_curve(a: Int, bits: int) -> Int:
    """2^(16 + bits) times the sigmoid of a / (24 * 2^bits), a >= 0, bits 8 or 9: a table of 256 values,
    linear between them, and what lies behind."""
    t, far = SIGMOID_ARRAY, a >> np.int32(bits)
    i = np.minimum(far, np.int32(254))
    line = (t[i] << np.int32(bits)) + (a & np.int32((1 << bits) - 1)) * (t[i + 1] - t[i])
    beyond = int32(far >= 255)
    return int32(line * (1 - beyond) + np.int32(SIGMOID_ENDS[bits - 8]) * beyond)


# fmt: off
ROWS = (
    Primitive("sigmoid_curve", "int32_t",
              (("int32_t", "a", 0, 2**31 - 1), ("uint32_t", "bits", 8, 9)),
              sigmoid_curve,
              c_table(SIGMOID_TABLE, 12)
              + "const int32_t i = a >> bits;\n"
              f"int32_t y = bits == 8u ? {SIGMOID_ENDS[0]} : {SIGMOID_ENDS[1]};\n"
              "if (i < 255) {\n"
              "    y = (int32_t)((uint32_t)table[i] << bits);\n"
              "    y += (a - (i << bits)) * (table[i + 1] - table[i]);\n"
              "}\n"
              "return y;",
              "2^(16 + bits) times the sigmoid of a / (24 * 2^bits)"),
)
# fmt: on
