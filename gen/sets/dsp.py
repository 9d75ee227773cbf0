"""The DSP instructions that the kernel set `dsp` is written in: one table, three texts a row.

Each is emitted as a small function with a body in portable C, and one in inline assembly where the core has
the DSP extension. So a library of the set `dsp` compiles for every core and every compiler that knows GNU C,
and does the same there. tests/gen/sets/test_instructions.py proves that numpy, portable C and the instruction
agree.

A register holds two lanes of 16 bits (low and high) or four of 8. Inline assembly, not ACLE's intrinsics:
GCC 7, which registries still ship for some boards, lacks them. Reference: ARMv7-M Architecture Reference
Manual, chapter A7.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cache

import numpy as np
from numpy.typing import NDArray

from ..numeric import I32, U32, Int, Primitive, Word


@dataclass(frozen=True, slots=True)
class Instruction(Primitive):
    """A row of the table.

    asm: the instruction; %0 is the result, %1, %2, ... the arguments
    """

    asm: str = field(default="", kw_only=True)

    @property
    def c_function(self) -> str:
        """The definition in GNU C, as it stands in the emitted file."""
        params = ", ".join(f"{ctype} {name}" for ctype, name, _, _ in self.args)
        inputs = ", ".join(f'"r"({name})' for _, name, _, _ in self.args)
        portable = "\n".join(f"    {line}" for line in self.c.strip().split("\n"))
        return (
            f"/* {self.doc} */\n"
            f"static inline {self.ret} {self.name}({params})\n{{\n"
            "#if defined(__ARM_FEATURE_DSP)\n"
            f"    {self.ret} r;\n"
            f'    __asm__("{self.asm}" : "=r"(r) : {inputs});\n'
            "    return r;\n"
            "#else\n"
            f"{portable}\n"
            "#endif\n}\n"
        )


def _low(x: Word) -> Int:
    """The low lane, sign-extended."""
    return np.asarray(x, np.uint32).astype(np.uint16).astype(np.int16).astype(np.int32)


def _high(x: Word) -> Int:
    """The high lane, sign-extended."""
    return _low(np.asarray(x, np.uint32) >> np.uint32(16))


def _lanes(low: NDArray[np.integer], high: NDArray[np.integer]) -> Word:
    """A word of two lanes, each taken modulo 2^16."""
    return (low.astype(np.uint32) & np.uint32(0xFFFF)) | (high.astype(np.uint32) << np.uint32(16))


def _wrapped(x: NDArray[np.int64]) -> Int:
    """Modulo 2^32, as int32."""
    return x.astype(np.uint64).astype(np.uint32).astype(np.int32)


def _wide(x: NDArray[np.integer]) -> NDArray[np.int64]:
    return x.astype(np.int64)


def _bytes(x: Word, at: tuple[int, int]) -> Word:
    """Bytes `at` of a word, sign-extended to two lanes."""
    a, b = (((x >> np.uint32(8 * i)) & np.uint32(255)).astype(np.uint8).astype(np.int8) for i in at)
    return _lanes(a.astype(np.int32), b.astype(np.int32))


def _usada8(x: Word, y: Word, a: Word) -> Word:
    apart = [
        np.abs(_wide((x >> np.uint32(i)) & np.uint32(255)) - _wide((y >> np.uint32(i)) & np.uint32(255)))
        for i in (0, 8, 16, 24)
    ]
    return np.asarray(_wide(a) + sum(apart), np.int64).astype(np.uint32)


def _product(
    name: str, of_x: Callable[[Word], Int], of_y: Callable[[Word], Int], words: str, c: tuple[str, str]
) -> Instruction:
    """a + (one lane of x) * (one lane of y)."""
    return Instruction(
        name, "int32_t", (("uint32_t", "x", *U32), ("uint32_t", "y", *U32), ("int32_t", "a", *I32)),
        lambda x, y, a: _wrapped(_wide(a) + _wide(of_x(x)) * of_y(y)),
        f"return (int32_t)((uint32_t)a + (uint32_t)((int16_t){c[0]} * (int16_t){c[1]}));",
        f"a + {words}",
        asm=f"{name} %0, %1, %2, %3",
    )  # fmt: skip


def _high_word(x: Int, y: Int, a: Int | int = 0, half: int = 0) -> Int:
    """a + (x * y + half) / 2^32, modulo 2^32."""
    return _wrapped(((_wide(x) * _wide(y) + np.int64(half)) >> np.int64(32)) + a)


def _upper(name: str, of_y: Callable[[Word], Int], lane: str, c: str) -> Instruction:
    """a + (x * (one lane of y)) / 2^16."""
    return Instruction(
        name, "int32_t", (("int32_t", "x", *I32), ("uint32_t", "y", *U32), ("int32_t", "a", *I32)),
        lambda x, y, a: _wrapped(((_wide(x) * _wide(of_y(y))) >> np.int64(16)) + a),
        f"int32_t v = (int16_t){c}, low = ((x & 0xffff) * v) >> 16;\n"
        "return (int32_t)((uint32_t)a + (uint32_t)((x >> 16) * v) + (uint32_t)low);",
        f"a + x * {lane} / 2^16",
        asm=f"{name} %0, %1, %2, %3",
    )  # fmt: skip


def _by_byte(x: Word, y: Word, lo: int, hi: int) -> Word:
    """x - y in four bytes, each held within lo .. hi and taken modulo 2^8."""
    out = np.zeros_like(np.asarray(x, np.uint32))
    for i in (0, 8, 16, 24):
        a, b = ((np.asarray(v, np.uint32) >> np.uint32(i)).astype(np.uint8).astype(np.int8) for v in (x, y))
        apart = np.clip(a.astype(np.int32) - b.astype(np.int32), lo, hi)
        out = out | ((apart.astype(np.uint32) & np.uint32(255)) << np.uint32(i))
    return out


# What the C bodies share: lanes of x and y as int16.
LX, HX, LY, HY = "x", "(x >> 16)", "y", "(y >> 16)"
TWO = (("uint32_t", "x", *U32), ("uint32_t", "y", *U32))
SIGNED = (("int32_t", "x", *I32), ("int32_t", "y", *I32))

# fmt: off
INSTRUCTIONS: dict[str, Instruction] = {p.name: p for p in (
    Instruction("sxtb16", "uint32_t", (("uint32_t", "x", *U32),),
                lambda x: _bytes(x, (0, 2)),
                "return ((uint32_t)(int8_t)x & 0xffffu) | ((uint32_t)(int8_t)(x >> 16) << 16);",
                "bytes 0 and 2 as two lanes",
                asm="sxtb16 %0, %1"),
    Instruction("sxtb16_ror8", "uint32_t", (("uint32_t", "x", *U32),),
                lambda x: _bytes(x, (1, 3)),
                "return ((uint32_t)(int8_t)(x >> 8) & 0xffffu) | ((uint32_t)(int8_t)(x >> 24) << 16);",
                "bytes 1 and 3 as two lanes",
                asm="sxtb16 %0, %1, ror #8"),
    Instruction("pkhbt_lsl16", "uint32_t", TWO,
                lambda x, y: _lanes(_low(x), _low(y)),
                "return (x & 0xffffu) | (y << 16);",
                "the low lanes of x and of y",
                asm="pkhbt %0, %1, %2, lsl #16"),
    Instruction("smlad", "int32_t", (*TWO, ("int32_t", "a", *I32)),
                lambda x, y, a: _wrapped(_wide(a) + _wide(_low(x)) * _low(y) + _wide(_high(x)) * _high(y)),
                "uint32_t low = (uint32_t)((int16_t)x * (int16_t)y);\n"
                "uint32_t high = (uint32_t)((int16_t)(x >> 16) * (int16_t)(y >> 16));\n"
                "return (int32_t)((uint32_t)a + low + high);",
                "a + low * low + high * high",
                asm="smlad %0, %1, %2, %3"),
    _product("smlabb", _low, _low, "low * low", (LX, LY)),
    _product("smlabt", _low, _high, "low * high", (LX, HY)),
    _product("smlatb", _high, _low, "high * low", (HX, LY)),
    _product("smlatt", _high, _high, "high * high", (HX, HY)),
    _upper("smlawb", _low, "low", LY),
    _upper("smlawt", _high, "high", HY),
    Instruction("smmul", "int32_t", SIGNED,
                lambda x, y: _high_word(x, y),
                "return (int32_t)(((int64_t)x * y) >> 32);",
                "the upper word of x * y",
                asm="smmul %0, %1, %2"),
    Instruction("smmla", "int32_t", (*SIGNED, ("int32_t", "a", *I32)),
                lambda x, y, a: _high_word(x, y, a),
                "return (int32_t)((uint32_t)a + (uint32_t)(((int64_t)x * y) >> 32));",
                "a + the upper word of x * y",
                asm="smmla %0, %1, %2, %3"),
    Instruction("smmlar", "int32_t", (*SIGNED, ("int32_t", "a", *I32)),
                lambda x, y, a: _high_word(x, y, a, 2**31),
                "return (int32_t)((uint32_t)a + (uint32_t)(((int64_t)x * y + INT64_C(0x80000000)) >> 32));",
                "a + the upper word of x * y, rounded",
                asm="smmlar %0, %1, %2, %3"),
    Instruction("ssub16", "uint32_t", TWO,
                lambda x, y: _lanes(_low(x) - _low(y), _high(x) - _high(y)),
                "return ((x - y) & 0xffffu) | (((x >> 16) - (y >> 16)) << 16);",
                "x - y in two lanes, modulo 2^16",
                asm="ssub16 %0, %1, %2"),
    Instruction("qsub16", "uint32_t", TWO,
                lambda x, y: _lanes(np.clip(_low(x) - _low(y), -(2**15), 2**15 - 1),
                                    np.clip(_high(x) - _high(y), -(2**15), 2**15 - 1)),
                "int32_t low = (int16_t)x - (int16_t)y;\n"
                "int32_t high = (int16_t)(x >> 16) - (int16_t)(y >> 16);\n"
                "low = low < -32768 ? -32768 : low > 32767 ? 32767 : low;\n"
                "high = high < -32768 ? -32768 : high > 32767 ? 32767 : high;\n"
                "return ((uint32_t)low & 0xffffu) | ((uint32_t)high << 16);",
                "x - y in two lanes, each held within int16",
                asm="qsub16 %0, %1, %2"),
    Instruction("uxtb16", "uint32_t", (("uint32_t", "x", *U32),),
                lambda x: x & np.uint32(0x00FF00FF),
                "return x & 0x00ff00ffu;",
                "bytes 0 and 2 as two lanes, unsigned",
                asm="uxtb16 %0, %1"),
    Instruction("ssub8", "uint32_t", TWO,
                lambda x, y: _by_byte(x, y, -(2**15), 2**15 - 1),
                "uint32_t even = (x & 0x00ff00ffu) + 0x01000100u - (y & 0x00ff00ffu);\n"
                "uint32_t odd = ((x >> 8) & 0x00ff00ffu) + 0x01000100u - ((y >> 8) & 0x00ff00ffu);\n"
                "return (even & 0x00ff00ffu) | ((odd & 0x00ff00ffu) << 8);",
                "x - y in four bytes, modulo 2^8",
                asm="ssub8 %0, %1, %2"),
    Instruction("qsub8", "uint32_t", TWO,
                lambda x, y: _by_byte(x, y, -128, 127),
                "uint32_t r = 0u;\n"
                "for (uint32_t i = 0u; i < 32u; i += 8u) {\n"
                "    int32_t v = (int8_t)(x >> i) - (int8_t)(y >> i);\n"
                "    v = v < -128 ? -128 : v > 127 ? 127 : v;\n"
                "    r |= ((uint32_t)v & 0xffu) << i;\n"
                "}\n"
                "return r;",
                "x - y in four bytes, each held within int8",
                asm="qsub8 %0, %1, %2"),
    Instruction("usada8", "uint32_t", (*TWO, ("uint32_t", "a", *U32)),
                _usada8,
                "for (uint32_t i = 0u; i < 32u; i += 8u) {\n"
                "    uint32_t p = (x >> i) & 0xffu, q = (y >> i) & 0xffu;\n"
                "    a += p > q ? p - q : q - p;\n"
                "}\n"
                "return a;",
                "a + the absolute differences of the four bytes of x and y: more than a only where x != y",
                asm="usada8 %0, %1, %2, %3"),
)}
# fmt: on


def _held(name: str, bits: int) -> str:
    top = (1 << (bits - 1)) - 1
    return f"{name} < {-top - 1} ? {-top - 1} : {name} > {top} ? {top} : {name}"


def power_of_two(lo: int, hi: int) -> int:
    """The number of bits whose limits are lo .. hi, 0 if there is none: what SSAT can hold a value within."""
    bits = hi.bit_length() + 1
    return bits if hi + 1 == -lo == 1 << (bits - 1) else 0


@cache
def ssat(bits: int, shift: int) -> Instruction:
    """x >> shift, held within `bits` bits: 1 <= bits <= 31, 0 <= shift <= 31."""
    top = np.int32((1 << (bits - 1)) - 1)
    return Instruction(
        f"ssat{bits}_asr{shift}" if shift else f"ssat{bits}",
        "int32_t",
        (("int32_t", "x", *I32),),
        lambda x: np.clip(x >> np.int32(shift), ~top, top).astype(np.int32),
        (f"x >>= {shift};\n" if shift else "") + f"return {_held('x', bits)};",
        f"x{f' / 2^{shift}' if shift else ''}, held within {bits} bits",
        asm=f"ssat %0, #{bits}, %1" + (f", asr #{shift}" if shift else ""),
    )


@cache
def usat(bits: int, shift: int) -> Instruction:
    """x >> shift, held within 0 .. 2^bits - 1: 1 <= bits <= 31, 0 <= shift <= 31."""
    top = np.int32((1 << bits) - 1)
    return Instruction(
        f"usat{bits}_asr{shift}" if shift else f"usat{bits}",
        "int32_t",
        (("int32_t", "x", *I32),),
        lambda x: np.clip(x >> np.int32(shift), np.int32(0), top).astype(np.int32),
        (f"x >>= {shift};\n" if shift else "") + f"return x < 0 ? 0 : x > {top} ? {top} : x;",
        f"x{f' / 2^{shift}' if shift else ''}, held within 0 .. {top}",
        asm=f"usat %0, #{bits}, %1" + (f", asr #{shift}" if shift else ""),
    )


@cache
def pkhtb(shift: int) -> Instruction:
    """The high lane of x and the low lane of y >> shift: 1 <= shift <= 31."""
    return Instruction(
        f"pkhtb_asr{shift}",
        "uint32_t",
        (("uint32_t", "x", *U32), ("int32_t", "y", *I32)),
        lambda x, y: _lanes(y >> np.int32(shift), _high(x)),
        f"return (x & 0xffff0000u) | ((uint32_t)(y >> {shift}) & 0xffffu);",
        f"the high lane of x, and y / 2^{shift} below it",
        asm=f"pkhtb %0, %1, %2, asr #{shift}",
    )


@cache
def ssat16(bits: int) -> Instruction:
    """Two lanes, each held within `bits` bits: 1 <= bits <= 16."""
    top = (1 << (bits - 1)) - 1
    return Instruction(
        f"ssat16_{bits}",
        "uint32_t",
        (("uint32_t", "x", *U32),),
        lambda x: _lanes(np.clip(_low(x), ~top, top), np.clip(_high(x), ~top, top)),
        "int32_t low = (int16_t)x, high = (int16_t)(x >> 16);\n"
        f"low = {_held('low', bits)};\n"
        f"high = {_held('high', bits)};\n"
        "return ((uint32_t)low & 0xffffu) | ((uint32_t)high << 16);",
        f"two lanes, each held within {bits} bits",
        asm=f"ssat16 %0, #{bits}, %1",
    )


_SATURATED = re.compile(r"([su])sat(\d+)(?:_asr(\d+))?")
_SSAT16 = re.compile(r"ssat16_(\d+)")
_PKHTB = re.compile(r"pkhtb_asr(\d+)")


def instruction(name: str) -> Instruction | None:
    """The row of that name, or of a family (`ssat8_asr5`, `usat8`, `ssat16_12`, `pkhtb_asr9`), or None."""
    if name in INSTRUCTIONS:
        return INSTRUCTIONS[name]
    if found := _SSAT16.fullmatch(name):
        return ssat16(int(found[1])) if 1 <= int(found[1]) <= 16 else None
    if found := _PKHTB.fullmatch(name):
        return pkhtb(int(found[1])) if 1 <= int(found[1]) <= 31 else None
    if found := _SATURATED.fullmatch(name):
        bits, shift = int(found[2]), int(found[3] or 0)
        held = ssat if found[1] == "s" else usat
        return held(bits, shift) if 1 <= bits <= 31 and 0 <= shift <= 31 else None
    return None


def called(texts: Iterable[str]) -> list[Instruction]:
    """The instructions that `texts` call, by name."""
    words = {w for text in texts for w in re.findall(r"\b([a-z_0-9]+)\(", text)}
    found = (instruction(w) for w in sorted(words))
    return [i for i in found if i is not None]
