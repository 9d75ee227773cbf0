"""The deepest the stack can get, by looking at the program instead of watching it.

Who calls whom is read from the branches in the linked ELF, library functions included; what goes through
pointers, from the relocations of the object files. A function whose code or tables hold addresses of
functions may call these. If it calls through pointers, that is what the addresses are for; if not, it hands
them on, and a function that calls through a pointer of unknown origin may call every address that anybody
hands on. (Not seen: a function that does both, and one that is handed a pointer although it has a table of
its own.)

How much a function needs is the compiler's own figure (gcc: .su files, clang: .stack_sizes), and for
functions that came compiled, in a library, the sum of everything their instructions take from the stack
pointer.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from elftools.elf.elffile import ELFFile

from .elf import Function, Image

EXCEPTION_FRAME, EXCEPTION_FRAME_FPU = 36, 108
"""Bytes a Cortex-M stacks for an exception: 8 words (26 with floating-point registers) and one to align."""

# R_ARM_THM_CALL, _JUMP24, _JUMP19, _JUMP11, _JUMP8: the linked code shows these already
_CALLS = frozenset((10, 30, 51, 102, 103))
# gcc numbers the copies it makes of a function in the symbol table (f.constprop.0), and not in the .su file
_COPY_NUMBER = re.compile(r"\.\d+$")
_VECTORS = ".isr_vector"
_Chain = tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class StackReport:
    """`bytes` is the bound, or None if there is none; then `problems` says why. The chain starts at reset and
    has what each function adds: 0 if it has given its frame back, as before a tail call."""

    bytes: int | None
    chain: _Chain
    exception: int
    problems: tuple[str, ...]
    library: tuple[tuple[str, int], ...]

    def text(self) -> str:
        """One line for a report."""
        if self.bytes is None:
            return "no bound: " + "; ".join(self.problems)
        return f"{self.bytes} bytes: " + " > ".join(f"{name} {size}" for name, size in self.chain)


@dataclass(frozen=True, slots=True)
class References:
    """What object files say beside their code: which function refers to which, and what the vector table
    holds."""

    by_function: Mapping[tuple[str, str], frozenset[str]]
    vectors: frozenset[str]
    own: frozenset[str]


def read_references(objects: Iterable[Path]) -> References:
    """Follows the relocations of `objects`, through tables, to functions. Statics have their file's name
    too."""
    sections = _Sections()
    for number, path in enumerate(objects):
        with path.open("rb") as handle:
            sections.add(number, ELFFile(handle))
    return sections.references()


_Place = tuple[int, int]
"""A section: the number of its object file, and its own there."""
_Target = tuple[_Place, int | None]
_ABS32 = 2  # R_ARM_ABS32: the word holds what is added to the symbol


class _Sections:
    """The sections of object files that are loaded, and what each refers to by other means than calls.

    nodes: the name of each and the functions that it holds, as (name, source file if static); starts: where
    each function begins, by all its names; edges: a section and the offset in it, None if that is not known,
    or another file's symbol by name; homes: the section and offset of each global symbol
    """

    def __init__(self) -> None:
        self.nodes: dict[_Place, tuple[str, tuple[tuple[str, str], ...]]] = {}
        self.starts: dict[_Place, dict[int, set[str]]] = {}
        self.edges: dict[_Place, list[_Target | str]] = {}
        self.homes: dict[str, _Target] = {}

    def add(self, number: int, file: Any) -> None:
        symbols = list(table.iter_symbols()) if (table := file.get_section_by_name(".symtab")) else []
        held = self._functions(number, symbols)
        for index, section in enumerate(file.iter_sections()):
            if section["sh_flags"] & 2:
                self.nodes[number, index] = (section.name, tuple(held.get(index, ())))
            if section["sh_type"] in ("SHT_REL", "SHT_RELA") and not section.name.startswith(
                (".rel.ARM.ex", ".rel.debug")
            ):
                self._relocations(number, section, file.get_section(section["sh_info"]).data(), symbols)

    def _functions(self, number: int, symbols: Iterable[Any]) -> dict[int, list[tuple[str, str]]]:
        """The functions of each section of a file, as (name, source file if static)."""
        held: dict[int, list[tuple[str, str]]] = {}
        source = ""
        for symbol in symbols:
            kind, bind, index = symbol["st_info"]["type"], symbol["st_info"]["bind"], symbol["st_shndx"]
            if kind == "STT_FILE":
                source = symbol.name
            elif isinstance(index, int):
                if kind == "STT_FUNC":
                    starts = self.starts.setdefault((number, index), {})
                    starts.setdefault(symbol["st_value"] & ~1, set()).add(symbol.name)
                    held.setdefault(index, []).append((symbol.name, source if bind == "STB_LOCAL" else ""))
                if bind == "STB_GLOBAL" or (bind == "STB_WEAK" and symbol.name not in self.homes):
                    self.homes[symbol.name] = ((number, index), symbol["st_value"])
        return held

    def _relocations(self, number: int, section: Any, content: bytes, symbols: Sequence[Any]) -> None:
        """The references of a section; `content` is what they stand in."""
        out = self.edges.setdefault((number, section["sh_info"]), [])
        for relocation in section.iter_relocations():
            if relocation["r_info_type"] not in _CALLS:
                symbol = symbols[relocation["r_info_sym"]]
                index, offset = symbol["st_shndx"], None
                if not isinstance(index, int):
                    out.append(symbol.name)
                    continue
                if symbol["st_info"]["type"] == "STT_FUNC":
                    offset = symbol["st_value"]
                elif relocation["r_info_type"] == _ABS32:
                    at = relocation["r_offset"]
                    word = int.from_bytes(content[at : at + 4], "little")
                    offset = symbol["st_value"] + (relocation["r_addend"] if relocation.is_RELA() else word)
                out.append(((number, index), offset))

    def _called(self, node: _Place, offset: int | None) -> set[str]:
        """The names of functions that an address in a section may be: of the one that begins there, of all if
        it is not known where it points. A place within a function is none: tables of jumps hold such."""
        if offset is None:
            return {name for name, _ in self.nodes[node][1]}
        return self.starts[node].get(offset & ~1, set())

    def _reached(self, start: _Place) -> frozenset[str]:
        """Functions whose addresses the section holds, itself or through tables."""
        functions: set[str] = set()
        seen, todo = {start}, list(self.edges.get(start, ()))
        while todo:
            step = todo.pop()
            target = self.homes.get(step) if isinstance(step, str) else step
            if target is None or target[0] not in self.nodes:
                if isinstance(step, str):
                    functions.add(step)  # a library's: it counts if it turns out to be a function
                continue
            node, offset = target
            if self.nodes[node][1]:
                functions |= self._called(node, offset)
            elif node not in seen:
                seen.add(node)
                todo += self.edges.get(node, ())
        return frozenset(functions)

    def references(self) -> References:
        by_function: dict[tuple[str, str], frozenset[str]] = {}
        vectors: set[str] = set()
        for node, (section, functions) in self.nodes.items():
            if section.startswith(_VECTORS):
                vectors |= self._reached(node)
                continue
            for function in functions:
                by_function[function] = by_function.get(function, frozenset()) | self._reached(node)
        own = frozenset(name for _, functions in self.nodes.values() for name, _ in functions)
        return References(by_function, frozenset(vectors), own)


def read_su(files: Iterable[Path]) -> dict[str, list[tuple[str, int, bool]]]:
    """gcc's .su files: name -> (source file, bytes, bounded) of every function with that name."""
    found: dict[str, list[tuple[str, int, bool]]] = {}
    for path in files:
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            place, size, qualifiers = line.rsplit("\t", 2)
            source, _, _, name = place.rsplit(":", 3)
            bounded = "static" in qualifiers or "bounded" in qualifiers
            found.setdefault(name, []).append(
                (source.replace("\\", "/").rsplit("/", 1)[-1], int(size), bounded)
            )
    return found


def analyse(image: Image, objects: Iterable[Path], su_files: Iterable[Path], fpu: bool) -> StackReport:
    """The worst case of the linked `image`, from reset on, with one exception on top of the deepest point."""
    references = read_references(objects)
    frames = read_su(su_files)
    graph = _Graph(image, references, frames)
    bound, chain = graph.deepest(image.entry)
    handlers = [graph.deepest(a)[0] for a in graph.addresses(references.vectors) if a != image.entry]
    exception = (EXCEPTION_FRAME_FPU if fpu else EXCEPTION_FRAME) + max(handlers) if handlers else 0
    library = tuple(
        (f.name, f.frame)
        for a, f in sorted(image.functions.items())
        if a in graph.seen and not references.own & set(f.names)
    )
    problems = tuple(dict.fromkeys(graph.problems))
    return StackReport(None if problems else bound + exception, chain, exception, problems, library)


class _Graph:
    def __init__(
        self, image: Image, references: References, su: Mapping[str, list[tuple[str, int, bool]]]
    ) -> None:
        self.image, self.references, self.su = image, references, su
        self.by_name: dict[str, list[int]] = {}
        for address, function in image.functions.items():
            for name in function.names:
                self.by_name.setdefault(name, []).append(address)
        self.handed_on = {a for f in image.functions.values() if not f.indirect for a in self.referred(f)}
        self.seen: dict[int, tuple[int, _Chain]] = {}
        self.path: list[int] = []
        self.problems: list[str] = []

    def addresses(self, names: Iterable[str]) -> set[int]:
        return {a for name in names for a in self.by_name.get(name, ())}

    def stated(self, function: Function) -> list[tuple[str, int, bool]]:
        """What the compiler says of `function`; empty for functions that came compiled."""
        if function.address in self.image.stack_sizes:
            return [("", self.image.stack_sizes[function.address], True)]
        names = {n for name in function.names for n in (name, _COPY_NUMBER.sub("", name))}
        entries = [entry for name in sorted(names) for entry in self.su.get(name, ())]
        return [e for e in entries if not function.file or e[0] == function.file] or entries

    def frame(self, function: Function) -> int:
        """Bytes `function` keeps while it calls another; a problem is noted if nobody can say."""
        if entries := self.stated(function):
            if not all(bounded for _, _, bounded in entries):
                self.problems.append(f"{function.name} has a frame of variable size")
            return max(size for _, size, _ in entries)
        if function.dynamic:
            self.problems.append(f"{function.name} moves the stack pointer by a register")
        return function.frame

    def referred(self, function: Function) -> set[int]:
        """Functions whose addresses the code or the tables of `function` hold."""
        keys = {(name, file) for name in function.names for file in (function.file, "")}
        return {a for key in keys for a in self.addresses(self.references.by_function.get(key, ()))}

    def called(self, function: Function) -> set[int]:
        """Functions that run while the frame of `function` stands."""
        referred = self.referred(function)
        if function.indirect and not referred:
            referred = self.handed_on
        kept = {a for a in self.starts(function, function.jumps) if not self.tail_call(function, a)}
        return self.starts(function, function.calls) | kept | referred

    def tail_call(self, function: Function, target: int) -> bool:
        """Whether a jump to `target` is one before which a compiler gives the frame back: not in assembly,
        and not to a part that was split off (f.cold), which has no frame of its own."""
        return bool(self.stated(function)) and bool(self.stated(self.image.functions[target]))

    def starts(self, function: Function, addresses: Iterable[int]) -> set[int]:
        targets = set()
        for address in addresses:
            target = self.image.at(address)
            if target is None:
                self.problems.append(f"{function.name} branches to {address:#x}, where no function is known")
            else:
                targets.add(target.address)
        return targets

    def deepest(self, address: int) -> tuple[int, _Chain]:
        """(bytes, deepest chain of functions and what each adds) from the function at `address` on."""
        if address in self.seen:
            return self.seen[address]
        function = self.image.functions[address]
        if address in self.path:
            circle = [*self.path[self.path.index(address) :], address]
            self.problems.append("recursion: " + " > ".join(self.image.functions[a].name for a in circle))
            return 0, ()
        if function.calls_itself:
            self.problems.append(f"recursion: {function.name} calls itself")
        self.path.append(address)
        frame = self.frame(function)
        found: tuple[int, _Chain] = (frame, ((function.name, frame),))
        called = self.called(function)
        for callee in sorted(called | self.starts(function, function.jumps)):
            kept = frame if callee in called else 0
            below, chain = self.deepest(callee)
            if kept + below > found[0]:
                found = (kept + below, ((function.name, kept), *chain))
        self.path.pop()
        self.seen[address] = found
        return found
