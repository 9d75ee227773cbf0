"""The sigmoid of int16 tensors, with the bits of LiteRT; and the curves of gates, made of it."""

from __future__ import annotations

import math

import numpy as np

from .table import I32, Int, Primitive, c_table, int32

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
GATE_TOP = 16 << 12  # Q12, behind which both curves have ended
SIGMOID_ONE = 2**25 + 511  # 1 at 9 bits, and what makes a shift round to nearest


def sigmoid_curve(a: Int, bits: int) -> Int:
    """2^(16 + bits) times the sigmoid of a / (24 * 2^bits), a >= 0, bits 8 or 9: a table of 256 values,
    linear between them, and what lies behind."""
    t, far = SIGMOID_ARRAY, a >> np.int32(bits)
    i = np.minimum(far, np.int32(254))
    line = (t[i] << np.int32(bits)) + (a & np.int32((1 << bits) - 1)) * (t[i + 1] - t[i])
    beyond = int32(far >= 255)
    return int32(line * (1 - beyond) + np.int32(SIGMOID_ENDS[bits - 8]) * beyond)


def gate_steps(v: Int) -> Int:
    """v in Q12, held within -16 .. 16, in steps of the sigmoid's table: 3 * 4096 in 1.0."""
    return int32(np.minimum(np.maximum(v, np.int32(-GATE_TOP)), np.int32(GATE_TOP)) * np.int32(3))


def gate_sigmoid(v: Int) -> Int:
    """2^15 times the sigmoid of v / 2^12: 0 .. 32767."""
    at = gate_steps(v)
    curve, above = sigmoid_curve(int32(np.abs(at)), 9), int32(at >= 0)
    whole = (curve + np.int32(512)) * above + (np.int32(SIGMOID_ONE) - curve) * (1 - above)
    return int32(int32(whole) >> np.int32(10))


def gate_tanh(v: Int) -> Int:
    """2^15 times the tanh of v / 2^12: -32767 .. 32767."""
    at = gate_steps(v)
    curve, above = sigmoid_curve(int32(np.abs(at)), 8) - np.int32(2**23), int32(at >= 0)
    whole = (curve + np.int32(128)) * above + (np.int32(127) - curve) * (1 - above)
    return int32(int32(whole) >> np.int32(8))


_HELD = f"const int32_t x = (v < -{GATE_TOP} ? -{GATE_TOP} : v > {GATE_TOP} ? {GATE_TOP} : v) * 3;\n"

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
    Primitive("gate_sigmoid", "int32_t", (("int32_t", "v", *I32),), gate_sigmoid,
              _HELD
              + "const int32_t curve = sigmoid_curve(x < 0 ? -x : x, 9u);\n"
              f"return (x < 0 ? {SIGMOID_ONE} - curve : curve + 512) >> 10;",
              "2^15 times the sigmoid of v / 2^12"),
    Primitive("gate_tanh", "int32_t", (("int32_t", "v", *I32),), gate_tanh,
              _HELD
              + "const int32_t curve = sigmoid_curve(x < 0 ? -x : x, 8u) - 8388608;\n"
              "return (x < 0 ? 127 - curve : curve + 128) >> 8;",
              "2^15 times the tanh of v / 2^12"),
)
# fmt: on
