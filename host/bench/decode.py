"""Thumb instructions by what they cost: enough decoding for a table of cycles, no more.

Encodings: ARMv7-M Architecture Reference Manual, chapter A5. Vectors (MVE) and low-overhead loops are not
known here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

Kind = Literal[
    "alu",
    "load",
    "store",
    "load many",  # LDM, POP, LDRD
    "store many",  # STM, PUSH, STRD
    "branch",
    "call",
    "table branch",
    "multiply",
    "multiply-add",
    "long multiply",
    "long multiply-add",
    "divide",
    "float",
    "float multiply-add",
    "float divide",
]


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction.

    words:   registers that a load or store moves
    target:  the register that a single load fills, -1 for others
    address: the registers that a single load or store finds its address with
    to_pc:   a load that ends in a jump
    """

    kind: Kind
    words: int = 0
    target: int = -1
    address: tuple[int, ...] = ()
    to_pc: bool = False


_ALU = Instruction("alu")


def decode(code: bytes) -> Iterator[Instruction]:
    """The instructions of `code`, which holds nothing else."""
    at = 0
    while at < len(code):
        first = int.from_bytes(code[at : at + 2], "little")
        if first >= 0xE800:
            yield _wide(first, int.from_bytes(code[at + 2 : at + 4], "little"))
            at += 4
        else:
            yield _narrow(first)
            at += 2


def _narrow(first: int) -> Instruction:
    top = first >> 12
    if first & 0xFFC0 == 0x4340:
        return Instruction("multiply")
    if first & 0xFF00 == 0x4700:  # BX, BLX
        return Instruction("call" if first & 0x80 else "branch")
    if first & 0xFF87 in (0x4487, 0x4687):  # ADD PC, Rm; MOV PC, Rm
        return Instruction("branch")
    if first & 0xF800 == 0x4800:  # LDR Rt, [PC, #imm]
        return Instruction("load", 1, first >> 8 & 7)
    if top in (5, 6, 7, 8, 9):
        return _narrow_access(first, top)
    if first & 0xF600 == 0xB400 or top == 0xC:  # PUSH, POP, STM, LDM
        extra = first >> 8 & 1 if top == 0xB else 0
        words = (first & 0xFF).bit_count() + extra
        if first & 0x0800:
            return Instruction("load many", words, to_pc=bool(extra))
        return Instruction("store many", words)
    if first & 0xF500 == 0xB100 or top == 0xD or first & 0xF800 == 0xE000:  # CBZ, CBNZ, B<cond>, B
        return Instruction("branch")
    return _ALU


def _narrow_access(first: int, top: int) -> Instruction:
    if top == 5:
        address: tuple[int, ...] = (first >> 3 & 7, first >> 6 & 7)
        loads, register = first >> 9 & 7 >= 3, first & 7
    elif top == 9:
        address, loads, register = (13,), bool(first & 0x0800), first >> 8 & 7
    else:
        address, loads, register = (first >> 3 & 7,), bool(first & 0x0800), first & 7
    if loads:
        return Instruction("load", 1, register, address)
    return Instruction("store", 1, address=address)


def _wide(first: int, second: int) -> Instruction:
    group, op = first >> 11 & 3, first >> 4 & 0x7F
    if op & 0x40 and group != 2:
        return _coprocessor(first, second)
    if group == 1:
        return _ALU if op & 0x20 else _many(first, second, op)
    if group == 2:
        return _wide_branch(first, second) if second & 0x8000 else _ALU
    if op & 0x61 == 0x01:
        return _wide_load(first, second)
    if op & 0x71 == 0x00:
        return Instruction("store", 1, address=_wide_address(first, second))
    return _multiply(first, second, op) if op & 0x70 == 0x30 else _ALU


def _many(first: int, second: int, op: int) -> Instruction:
    loads = bool(op & 1)
    if op & 4 == 0:  # LDM, STM
        words = second.bit_count()
        return Instruction("load many" if loads else "store many", words, to_pc=loads and second >> 15 == 1)
    if first & 0xFFF0 == 0xE8D0 and second & 0xFFE0 == 0xF000:  # TBB, TBH
        return Instruction("table branch")
    if first & 0x0120:  # LDRD, STRD
        return Instruction("load many" if loads else "store many", 2)
    base = (first & 15,)  # exclusive and acquiring accesses
    return Instruction("load", 1, second >> 12, base) if loads else Instruction("store", 1, address=base)


def _wide_branch(first: int, second: int) -> Instruction:
    if second & 0x5000 == 0x5000:
        return Instruction("call")
    jumps = second & 0x1000 or first >> 7 & 7 != 7  # B.W; B<cond>.W; the rest are MSR, MRS, barriers
    return Instruction("branch") if jumps else _ALU


def _wide_address(first: int, second: int) -> tuple[int, ...]:
    by_register = not first & 0x80 and second & 0x0FC0 == 0
    return (first & 15, second & 15) if by_register else (first & 15,)


def _wide_load(first: int, second: int) -> Instruction:
    target = second >> 12
    if target == 15 and first & 0x60 != 0x40:  # PLD, PLI
        return _ALU
    address = () if first & 15 == 15 else _wide_address(first, second)
    return Instruction("load", 1, target, address, to_pc=target == 15)


def _multiply(first: int, second: int, op: int) -> Instruction:
    if op & 8 == 0:  # 32-bit results, MUL to USADA8: without addend where its register is 15
        return Instruction("multiply" if second >> 12 == 15 else "multiply-add")
    which = op & 7
    if which in (1, 3):
        return Instruction("divide")
    return Instruction("long multiply" if which in (0, 2) else "long multiply-add")


def _coprocessor(first: int, second: int) -> Instruction:
    if second & 0x0E00 != 0x0A00:
        return _ALU
    if first & 0xFE00 == 0xEC00 and first & 0x01E0 != 0x0040:
        loads, words = bool(first & 0x10), second & 0xFF
        if first & 0x0120 == 0x0100:  # VLDR, VSTR
            return Instruction("load many" if loads else "store many", 2 if second & 0x100 else 1)
        return Instruction("load many" if loads else "store many", words)
    if first & 0xFF00 != 0xEE00 or second & 0x10:  # moves between register files
        return _ALU
    op = first >> 4 & 0xB
    if op == 8 or (op == 0xB and first & 15 == 1 and second & 0xC0 == 0xC0):  # VDIV, VSQRT
        return Instruction("float divide")
    if op in (0, 1, 9, 0xA):  # VMLA, VMLS, VNMLA, VNMLS, VFMA, VFMS, ...
        return Instruction("float multiply-add")
    return Instruction("float")
