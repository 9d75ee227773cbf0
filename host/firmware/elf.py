"""Just enough Thumb-2 decoding to see, in a linked ELF, who calls whom, how far a function lowers the stack
pointer, and whether it computes in floating point. Encodings: ARMv7-M Architecture Reference Manual, chapter
A5 to A7.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from elftools.elf.elffile import ELFFile


@dataclass(slots=True)
class Function:
    """A function in the ELF. `calls` and `jumps` (tail calls) are addresses; `frame` is a bound: the sum of
    everything it takes from the stack pointer."""

    name: str
    file: str
    address: int
    size: int
    names: tuple[str, ...] = ()
    calls: set[int] = field(default_factory=set)
    jumps: set[int] = field(default_factory=set)
    calls_itself: bool = False
    indirect: bool = False
    frame: int = 0
    dynamic: bool = False
    floats: bool = False


@dataclass(frozen=True, slots=True)
class Image:
    """The code of a linked ELF: functions and the compiler's stack sizes (clang) by address, sections by
    name."""

    functions: dict[int, Function]
    stack_sizes: dict[int, int]
    sections: dict[str, tuple[int, int]]
    entry: int

    def at(self, address: int) -> Function | None:
        """The function that holds `address`."""
        starts = sorted(self.functions)
        index = bisect_right(starts, address) - 1
        if index < 0:
            return None
        function = self.functions[starts[index]]
        return function if address < function.address + function.size else None


def span(elf: Path, first: str, end: str) -> range:
    """The addresses from one symbol of the linked `elf` to below another; none where it has not both."""
    with elf.open("rb") as handle:
        file: Any = ELFFile(handle)
        table = file.get_section_by_name(".symtab")
        places = {s.name: int(s["st_value"]) for s in (table.iter_symbols() if table else ())}
    return range(places.get(first, 0), places[end]) if first in places and end in places else range(0)


def read_image(elf: Path) -> Image:
    """Decodes every function of the linked `elf`. Raises OSError, or ELFError for a file that is none."""
    with elf.open("rb") as handle:
        file: Any = ELFFile(handle)
        table = file.get_section_by_name(".symtab")
        symbols = list(table.iter_symbols()) if table else []
        code: dict[int, tuple[int, bytes]] = {}
        sections = {}
        for index, section in enumerate(file.iter_sections()):
            if section["sh_flags"] & 2 and section["sh_size"]:  # SHF_ALLOC
                sections[section.name] = (section["sh_addr"], section["sh_size"])
                if section["sh_flags"] & 4 and section["sh_type"] == "SHT_PROGBITS":  # SHF_EXECINSTR
                    code[index] = (section["sh_addr"], section.data())
        sizes = file.get_section_by_name(".stack_sizes")
        stack_sizes = _stack_sizes(sizes.data()) if sizes else {}
        entry = file["e_entry"] & ~1
    functions = _functions(symbols, code)
    marks = sorted(
        (s["st_value"], s.name[:2])
        for s in symbols
        if s.name[:2] in ("$t", "$d", "$a") and s["st_shndx"] in code
    )
    image = Image(functions, stack_sizes, sections, entry)
    for function in functions.values():
        section_at, content = next(c for c in code.values() if c[0] <= function.address < c[0] + len(c[1]))
        _decode(function, section_at, content, marks)
    return image


def _stack_sizes(content: bytes) -> dict[int, int]:
    """LLVM's .stack_sizes: for each function its address and, as ULEB128, its frame."""
    sizes, at = {}, 0
    while at + 4 < len(content):
        address = int.from_bytes(content[at : at + 4], "little") & ~1
        at += 4
        value = shift = 0
        while True:
            byte = content[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        sizes[address] = value
    return sizes


def _functions(symbols: list[Any], code: dict[int, tuple[int, bytes]]) -> dict[int, Function]:
    found: dict[int, Function] = {}
    file = ""
    for symbol in symbols:
        kind, bind = symbol["st_info"]["type"], symbol["st_info"]["bind"]
        name, index = symbol.name, symbol["st_shndx"]
        if kind == "STT_FILE":
            file = name
        if kind != "STT_FUNC" or index not in code:
            continue
        address, size = symbol["st_value"] & ~1, symbol["st_size"]
        here = found.get(address)
        if here is None:
            found[address] = Function(name, file if bind == "STB_LOCAL" else "", address, size, (name,))
        else:
            here.names += (name,)
            here.size = max(here.size, size)
            if bind == "STB_GLOBAL":
                here.name, here.file = name, ""
    starts = sorted(found)
    for number, start in enumerate(starts):
        if found[start].size == 0:  # hand-written assembly without .size: up to what follows
            section_at, content = next(c for c in code.values() if c[0] <= start < c[0] + len(c[1]))
            following = starts[number + 1] if number + 1 < len(starts) else section_at + len(content)
            found[start].size = min(following, section_at + len(content)) - start
    return found


def _instructions(
    function: Function, section_at: int, content: bytes, marks: list[tuple[int, str]]
) -> Iterator[tuple[int, int, int]]:
    """(address, first halfword, second halfword or -1); data between the instructions is passed over."""
    at, end = function.address, function.address + function.size
    while at + 2 <= end:
        index = bisect_right(marks, (at, "$z")) - 1
        if index >= 0 and marks[index][1] == "$d" and marks[index][0] >= section_at:
            at = marks[index + 1][0] if index + 1 < len(marks) else end
            continue
        first = int.from_bytes(content[at - section_at : at - section_at + 2], "little")
        if first >= 0xE800:
            yield at, first, int.from_bytes(content[at - section_at + 2 : at - section_at + 4], "little")
            at += 4
        else:
            yield at, first, -1
            at += 2


def _decode(function: Function, section_at: int, content: bytes, marks: list[tuple[int, str]]) -> None:
    inside = range(function.address, function.address + function.size)
    for at, first, second in _instructions(function, section_at, content, marks):
        lowered = _narrow_stack(first) if second < 0 else _wide_stack(first, second)
        if lowered is None:
            function.dynamic = True
        else:
            function.frame += lowered
        target, link = _narrow_branch(at, first) if second < 0 else _wide_branch(at, first, second)
        if target is not None and target == function.address and link:
            function.calls_itself = True
        elif target is not None and target not in inside:
            (function.calls if link else function.jumps).add(target)
        if second < 0:
            # BLX Rm; BX Rm but for LR, the return; MOV PC, Rm
            through_lr = first & 0x0078 == 0x0070
            function.indirect |= first & 0xFF87 == 0x4780 or (first & 0xFF87 == 0x4700 and not through_lr)
            function.indirect |= first & 0xFF87 == 0x4687 and not through_lr
        else:
            loads_pc = first & 0xFF70 == 0xF850 and second >> 12 == 15  # LDR PC, [...]
            function.indirect |= loads_pc and first & 15 != 13
            # CDP space of coprocessors 10 and 11: VADD, VMUL, VCVT, VCMP, ...; loads, stores and moves to
            # core registers have other codes, and carry integers too
            function.floats |= first & 0xFF00 == 0xEE00 and second & 0x0E10 == 0x0A00


def _narrow_stack(first: int) -> int | None:
    """Bytes by which a 16-bit instruction lowers SP; None: by a register."""
    if first & 0xFE00 == 0xB400:  # PUSH
        return 4 * (first & 0x1FF).bit_count()
    if first & 0xFF80 == 0xB080:  # SUB SP, #imm
        return 4 * (first & 0x7F)
    if first & 0xFF87 in (0x4485, 0x4685):  # ADD SP, Rm; MOV SP, Rm
        return None
    return 0


def _wide_stack(first: int, second: int) -> int | None:
    """Bytes by which a 32-bit instruction lowers SP; None: by a register."""
    if first == 0xE92D:  # STMDB SP!
        return 4 * second.bit_count()
    if first == 0xF84D and second & 0x0F00 == 0x0D00:  # STR Rt, [SP, #-imm]!
        return second & 0xFF
    if first == 0xE96D:  # STRD Rt, Rt2, [SP, #-imm]!
        return 4 * (second & 0xFF)
    if first & 0xFFBF == 0xED2D and second & 0x0E00 == 0x0A00:  # VPUSH
        return 4 * (second & 0xFF)
    immediate = (first >> 10 & 1) << 11 | (second >> 12 & 7) << 8 | second & 0xFF
    if first & 0xFBEF == 0xF1AD and second & 0x8F00 == 0x0D00:  # SUB.W SP, SP, #const
        return _expand(immediate)
    if first & 0xFBFF == 0xF2AD and second & 0x8F00 == 0x0D00:  # SUBW SP, SP, #imm12
        return immediate
    if first in (0xEBAD, 0xEB0D) and second & 0x0F00 == 0x0D00:  # SUB.W, ADD.W SP, SP, Rm
        return None
    return 0


def _expand(immediate: int) -> int:
    """ThumbExpandImm."""
    low = immediate & 0xFF
    if immediate >> 10 == 0:
        return (low, low * 0x00010001, low * 0x01000100, low * 0x01010101)[immediate >> 8 & 3]
    rotate, value = immediate >> 7, 0x80 | immediate & 0x7F
    return (value >> rotate | value << (32 - rotate)) & 0xFFFFFFFF


def _signed(value: int, bits: int) -> int:
    return value - (1 << bits) if value >> (bits - 1) else value


def _narrow_branch(at: int, first: int) -> tuple[int | None, bool]:
    if first & 0xF800 == 0xE000:  # B
        return at + 4 + _signed((first & 0x7FF) << 1, 12), False
    if first & 0xF000 == 0xD000 and first & 0x0E00 != 0x0E00:  # B<cond>; 0xDE and 0xDF are UDF and SVC
        return at + 4 + _signed((first & 0xFF) << 1, 9), False
    if first & 0xF500 == 0xB100:  # CBZ, CBNZ
        return at + 4 + ((first >> 9 & 1) << 6 | (first >> 3 & 31) << 1), False
    return None, False


def _wide_branch(at: int, first: int, second: int) -> tuple[int | None, bool]:
    if first & 0xF800 != 0xF000 or second & 0x8000 == 0:
        return None, False
    sign, j1, j2 = first >> 10 & 1, second >> 13 & 1, second >> 11 & 1
    if second & 0x1000:  # B.W or BL
        i1, i2 = 1 - (j1 ^ sign), 1 - (j2 ^ sign)
        offset = sign << 24 | i1 << 23 | i2 << 22 | (first & 0x3FF) << 12 | (second & 0x7FF) << 1
        return at + 4 + _signed(offset, 25), bool(second & 0x4000)
    # BLX to ARM code does not exist here; the rest are MSR, MRS, barriers.
    if second & 0x4000 or first >> 7 & 7 == 7:
        return None, False
    offset = sign << 20 | j2 << 19 | j1 << 18 | (first & 0x3F) << 12 | (second & 0x7FF) << 1
    return at + 4 + _signed(offset, 21), False
