"""From a Plan to text: the C library, and the PlatformIO project around it. Equal inputs give equal bytes.

`render` makes every file in memory; `write` puts them into a folder that did not exist, whole or not at all.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
import numpy as np

from . import messages
from .boards import Board, platformio_board
from .errors import CompileError
from .instructions import called
from .kernels import AUTO, REF, select
from .numeric import ERROR_FRAC, PRIMITIVES
from .ops import Relaid, Variant, kernel
from .plan import Plan, PlanTensor
from .program import Call, Item, Repeat, Step, When
from .version import VERSION

ROOT = Path(__file__).resolve().parents[1]
UNION = {"int8": "i8", "uint8": "u8", "int16": "i16", "int32": "i32", "uint32": "u32"}


@cache
def environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(ROOT / "templates"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )


class TensorView:
    """A tensor as templates see it: names, types, sizes, and the C expressions that reach it."""

    def __init__(self, t: PlanTensor, prefix: str) -> None:
        self.name, self.dtype, self.space = t.name, t.dtype, t.space
        self.offset, self.nbytes, self.count = t.offset, t.nbytes, t.count
        self.ctype = f"{t.dtype}_t"
        self.row, self.cols = t.row, t.shape[-1]
        self.rows = t.shape[0] if len(t.shape) == 2 else 1
        info = np.iinfo(t.dtype)
        self.type_lo, self.type_hi = int(info.min), int(info.max)
        self.symbol = f"{prefix}_{t.name}" if t.space == "const" else f"{prefix}_{t.name}_init"
        self.q, self.frac = f"Q{t.frac}", t.frac
        dims = "".join(f"[{n}]" for n in t.shape)
        pad = f" rows of {t.row}" if t.row != t.shape[-1] else ""
        scaled = t.role not in ("counter", "flag", "label", "shift", "verdict", "scratch", "relaid")
        q = "Q by row" if t.role == "weight" and t.space == "const" else self.q
        self.describe = f"{t.dtype} {dims}{pad}{f', {q}' if scaled else ''}{f': {t.note}' if t.note else ''}"
        if t.space == "arena":
            self.at0 = f"m->arena.{UNION[t.dtype]}[{t.offset // t.itemsize}]"
            self.pointer = f"(&{self.at0})"
        else:
            self.pointer = self.symbol if t.space == "const" else f"m->state.{t.name}"
            self.at0 = f"{self.pointer}[0]"
        self._data, self._itemsize = t.data, t.itemsize

    def declare(self, name: str, write: bool = False, offset: int = 0) -> str:
        """A local pointer to the tensor, from element `offset` on."""
        if self.space == "arena":
            target = f"&m->arena.{UNION[self.dtype]}[{self.offset // self._itemsize + offset}]"
        else:
            target = f"&{self.pointer}[{offset}]" if offset else self.pointer
        if write:
            return f"    {self.ctype} *{name} = opaque({target}); /* {self.name}: {self.describe} */"
        return f"    const {self.ctype} *{name} = {target}; /* {self.name}: {self.describe} */"

    @property
    def lines(self) -> list[str]:
        """The content as rows of C initialisers."""
        assert self._data is not None
        values = np.frombuffer(self._data, np.dtype(self.dtype).newbyteorder("<")).tolist()
        return _rows(str(v) for v in values)


class InputView(TensorView):
    """An input as templates see it: how float values become its integers.

    own:           whether the network normalises it; else (x - 0) * 2^frac
    offset, scale: C literals, `pairs` of them; element i has pair (i / inner) % pairs
    times:         how often the table repeats
    """

    def __init__(self, plan: Plan, name: str) -> None:
        super().__init__(plan[name], plan.model)
        q = plan.quantiser(name)
        self.own, self.pairs, self.inner = name in plan.quantisers, len(q.scale), q.inner
        self.times = self.count // (self.pairs * self.inner)
        self.offsets, self.scales = [_literal(v) for v in q.offset], [_literal(v) for v in q.scale]
        if self.own:
            each = "" if self.pairs == 1 else f" for each of {self.pairs}"
            values = f" {self.offsets[0]}, {self.scales[0]}" if self.pairs == 1 else ""
            self.describe += f"; offset and scale{each}{values}: {plan.model}_quantise.h"

    @property
    def tables(self) -> dict[str, list[str]]:
        """Offsets and scales as rows of C initialisers."""
        return {"offset": _rows(self.offsets), "scale": _rows(self.scales)}


def _literal(value: float) -> str:
    """A float32 as C writes it; nine digits are all of it."""
    text = f"{value:.9g}"
    return f"{text}f" if "." in text or "e" in text else f"{text}.0f"


def _rows(values: Iterable[str]) -> list[str]:
    """Values with commas behind them, as many a line as fit."""
    out: list[str] = []
    line = ""
    for v in values:
        if line and len(line) + len(v) + 2 > 116:
            out.append(line)
            line = ""
        line += f"{v}, "
    out.append(line)
    return [text.rstrip() for text in out]


class StepView:
    """A step as templates see it: operands by role, attributes under `a`, its variant's numbers under `v`."""

    def __init__(self, step: Step, views: Mapping[str, TensorView], numbers: Mapping[str, int]) -> None:
        self.a = dict(step.attrs)
        self.v = dict(numbers)
        self.one = 1 << ERROR_FRAC
        for role, name in step.args.items():
            setattr(self, role, views[name])


@dataclass(frozen=True)
class _Printed:
    """How every step is printed, in the order of Plan.ops.

    args:      by step, the constant or tensor of each role
    constants: what the file must hold: constants as the Plan has them where somebody reads them so, and
               those that a kernel reads in another layout
    """

    variants: tuple[Variant, ...]
    args: tuple[Mapping[str, str], ...]
    constants: tuple[PlanTensor, ...]


def _choose(plan: Plan, kernels: str) -> _Printed:
    """Asks each step's kernel how the set `kernels` prints it."""
    variants, args = [], []
    made: dict[str, PlanTensor] = {}
    for _, _, step in plan.ops():
        operands = {role: plan[name] for role, name in step.args.items()}
        variant = kernel(step.kernel).variant(kernels, operands, step.attrs)
        names = dict(step.args)
        for role, relaid in variant.relaid.items():
            t = _relaid(operands[role], relaid, plan)
            if made.setdefault(t.name, t) != t:
                raise AssertionError(f"{t.name} has two contents")
            names[role] = t.name
        variants.append(variant)
        args.append(names)
    read = {name for names in args for name in names.values()}
    natural = [t for t in plan.space("const") if t.name in read]
    return _Printed(tuple(variants), tuple(args), (*natural, *made.values()))


def _relaid(t: PlanTensor, relaid: Relaid, plan: Plan) -> PlanTensor:
    """`relaid` as a tensor of its own: a flat array under a name that no other has."""
    name = f"{t.name}_{relaid.layout}"
    while name in plan:
        name += "_"
    flat = relaid.array.ravel()
    data = flat.astype(flat.dtype.newbyteorder("<")).tobytes()
    return replace(
        t,
        name=name,
        dtype=str(flat.dtype),
        shape=(len(flat),),
        row=len(flat),
        role="relaid",
        note=relaid.note,
        data=data,
    )


@dataclass(frozen=True)
class _Function:
    fn: str
    comment: str
    body: str


@dataclass(frozen=True)
class _ProgramText:
    fn: str
    doc: str
    lines: list[str]


# What templates/model.c.j2 and model.h.j2 call <prefix>_...: `t` and what ends in it are types.
INTERFACE = (
    *("init", "infer", "learn", "run", "run_op", "load", "tensor", "status", "nothing", "t"),
    *("state_t", "inputs_t", "outputs_t", "tensor_t", "shift_is_arithmetic", "state_is_packed"),
)


def _step_names(plan: Plan, constants: Iterable[PlanTensor]) -> list[str]:
    """One C name a step: node and kernel, numbered where that is another's name."""
    taken = {*INTERFACE, *(f"program_{name}" for name in plan.programs), *(t.name for t in constants)}
    taken |= {f"{t.name}_init" if t.space == "state" else t.name for t in plan.tensors}
    names = []
    for _, _, step in plan.ops():
        op, part = step.kernel.split(".")
        name = base = f"{step.node}_{part}" if op != "project" else f"{step.node}_{op}"
        number = 1
        while name in taken:
            number += 1
            name = f"{base}_{number}"
        taken.add(name)
        names.append(name)
    return names


def _functions(
    plan: Plan, printed: _Printed, views: Mapping[str, TensorView], prefix: str, sources: Mapping[str, str]
) -> list[_Function]:
    out = []
    names = _step_names(plan, printed.constants)
    for i, (program, _, step) in enumerate(plan.ops()):
        variant = printed.variants[i]
        room = "ops" if variant.kernels == REF else variant.kernels
        module: Any = environment().get_template(f"{room}/{step.kernel.split('.')[0]}.c.j2").module
        view = StepView(replace(step, args=printed.args[i]), views, variant.numbers)
        body = getattr(module, variant.macro)(view)
        source = sources.get(step.node, "")
        k = kernel(step.kernel)
        reads = [step.args[r] for r in k.reads if r in step.args]
        changes = [step.args[r] for r in k.updates + k.writes if r in step.args]
        flow = f"{', '.join(reads)} -> {', '.join(changes)}" if reads else ", ".join(changes)
        layer = f"{step.node} ({source})" if source else step.node
        comment = f"{step.kernel} of {layer}, in program {program}: {flow}"
        out.append(_Function(f"{prefix}_{names[i]}", _wrap(comment), body))
    return out


def _wrap(text: str, width: int = 112) -> str:
    """A C comment's text, continued under its first line."""
    lines, line = [], ""
    for word in text.split(" "):
        if line and len(line) + len(word) + 1 > width:
            lines.append(line)
            line = word
        else:
            line = f"{line} {word}".strip()
    return "\n * ".join([*lines, line])


def _program_texts(
    plan: Plan, functions: list[_Function], views: Mapping[str, TensorView], prefix: str
) -> list[_ProgramText]:
    by_place = {(program, i): f.fn for f, (program, i, _) in zip(functions, plan.ops(), strict=True)}
    ordered: list[str] = []

    def visit(name: str) -> None:  # callees first: C wants them declared before use
        for item in plan.programs[name].items:
            if not isinstance(item, Step):
                visit(item.program)
        if name not in ordered:
            ordered.append(name)

    for entry in plan.entries:
        visit(entry)
    return [
        _ProgramText(
            f"{prefix}_program_{n}",
            f"Program {n}: {plan.programs[n].doc}",
            [
                line
                for i, item in enumerate(plan.programs[n].items)
                for line in _item_lines(item, by_place.get((n, i), ""), views, prefix)
            ],
        )
        for n in ordered
    ]


def _item_lines(item: Item, fn: str, views: Mapping[str, TensorView], prefix: str) -> list[str]:
    if isinstance(item, Step):
        return [f"{fn}(m);"]
    call = f"{prefix}_program_{item.program}(m);"
    if isinstance(item, Call):
        return [call]
    if isinstance(item, Repeat):
        return [f"for (uint32_t i = 0u; i < {item.times}u; i++)", f"    {call}"]
    assert isinstance(item, When)
    return [f"if ({views[item.flag].at0} != 0u)", f"    {call}"]


def _primitives(texts: Iterable[str]) -> list[str]:
    """The C of every primitive that `texts` call, callees first."""
    wanted: set[str] = set()
    pending = list(texts)
    while pending:
        found = set(re.findall(r"\b([a-z_0-9]+)\(", pending.pop())) & PRIMITIVES.keys() - wanted
        wanted |= found
        pending += [PRIMITIVES[n].c for n in found]
    return [p.c_function for name, p in PRIMITIVES.items() if name in wanted]


def memory_map(plan: Plan, constants: Iterable[PlanTensor] | None = None) -> list[str]:
    """A table of where everything lies, as lines of text. `constants`: a library's, if not the Plan's."""
    consts = plan.space("const") if constants is None else tuple(constants)
    in_flash = sum(t.nbytes for t in (*consts, *plan.space("state")) if t.data is not None)
    lines = [
        f"Memory: {in_flash} bytes of constants in flash, "
        f"{plan.state_bytes} of state and {plan.arena_bytes} of arena in RAM.",
        "",
    ]
    for title, tensors in (
        ("constant", consts),
        ("state", plan.space("state")),
        ("arena", sorted(plan.space("arena"), key=lambda t: (t.offset, t.name))),
    ):
        for t in tensors:
            place = f"{t.offset:>7}" if title != "constant" else " " * 7
            dims = "x".join(map(str, t.shape))
            limits = f"{t.lo} .. {t.hi}" if title != "constant" else ""
            size, kind = f"{t.nbytes:>7} B", f"{t.dtype:<7}{dims:>9}  Q{t.frac:<4}"
            lines.append(f"{title:<9}{place} {size}  {t.name:<28} {kind}{limits}".rstrip())
        if tensors:
            lines.append("")
    return lines


def render_library(
    plan: Plan, command: str, title: str, sources: Mapping[str, str], kernels: str = REF
) -> dict[str, str]:
    """`<model>.h` and `<model>.c`, of the kernel set `kernels`."""
    prefix = plan.model
    printed = _choose(plan, kernels)
    views = {t.name: TensorView(t, prefix) for t in (*plan.tensors, *printed.constants)}
    functions = _functions(plan, printed, views, prefix, sources)
    nonzero = [t for t in plan.space("state") if t.data is not None and any(t.data)]
    context = {
        "plan": plan,
        "prefix": prefix,
        "title": title,
        "command": command,
        "version": VERSION,
        "digest": plan.digest.hex(),
        "runtime_version": messages.RUNTIME_VERSION,
        "kernels": kernels,
        "memory_map": memory_map(plan, printed.constants),
        "steps": functions,
        "state": [views[t.name] for t in plan.space("state")],
        "inputs": [InputView(plan, n) for n in plan.inputs],
        "logits": views[plan.logits],
        "verdict": views["verdict"],
        "label": views.get("label"),
        "constants": [views[t.name] for t in (*printed.constants, *nonzero)],
        "starts": [views[t.name] for t in nonzero],
        "programs": _program_texts(plan, functions, views, prefix),
        "primitives": _primitives(f.body for f in functions),
        "words": [
            name for name in ("load_word", "store_word") if any(f"{name}(" in f.body for f in functions)
        ],
        "instructions": [i.c_function for i in called(f.body for f in functions)],
        "learns": "learn" in plan.entries,
        "has_store": "store_count" in plan,
    }
    return {
        f"{prefix}.{ending}": environment().get_template(f"model.{ending}.j2").render(context)
        for ending in ("h", "c")
    }


def render(
    plan: Plan,
    board: Board | None,
    command: str,
    title: str = "",
    sources: Mapping[str, str] | None = None,
    reports: Mapping[str, str] | None = None,
    quantiser: bool = False,
    kernels: str = AUTO,
) -> dict[str, bytes]:
    """Every file of an output folder by its path. Without a board, or a link to it: the library and the
    Plan, no firmware.

    kernels: the kernel set, or "auto" for the fastest that the board's core can run
    quantiser: also <model>_quantise.h, which takes float inputs; the only file that knows float. It is there
               anyway where the network normalises an input.
    """
    lib = f"lib/{plan.model}"
    chosen = select(kernels, board)
    library = render_library(plan, command, title, sources or {}, chosen)
    files = {f"{lib}/src/{name}": text for name, text in library.items()}
    env = environment()
    context = {"model": plan.model, "tool_version": VERSION, "description": title}
    files[f"{lib}/library.json"] = env.get_template("library.json.j2").render(context | {"kernels": chosen})
    files |= dict(reports or {})
    if quantiser or plan.quantisers:  # nobody makes such integers by hand
        inputs = [InputView(plan, n) for n in plan.inputs]
        text = env.get_template("quantise.h.j2").render(context | {"inputs": inputs})
        files[f"{lib}/src/{plan.model}_quantise.h"] = text
    out = {name: text.encode() for name, text in files.items()}
    out["plan.json"] = plan.canonical
    if board and board.link:
        ini = env.get_template("platformio.ini.j2").render(context | {"board": board})
        out["platformio.ini"] = ini.encode()
        out["include/model_binding.h"] = env.get_template("model_binding.h.j2").render(context).encode()
        out["include/protocol.h"] = env.get_template("protocol.h.j2").render(messages=messages).encode()
        out |= _firmware(board)
    return out


def _firmware(board: Board) -> dict[str, bytes]:
    """Copies of firmware/ and of the local PlatformIO platform, and the board as PlatformIO wants it."""
    out = {f"platforms/synapcc/boards/{board.name}.json": platformio_board(board).encode()}
    for path in sorted((ROOT / "firmware").rglob("*")):
        if not path.is_file() or "__pycache__" in path.parts:
            continue
        room, *rest = path.relative_to(ROOT / "firmware").parts
        place = Path("platforms/synapcc", *rest) if room == "platform" else Path("src", room, *rest)
        out[place.as_posix()] = path.read_bytes()
    return out


def write(files: Mapping[str, bytes], out: Path) -> None:
    """Writes `files` into the new folder `out`; CompileError if it exists or cannot be made.

    Nothing is left half-written.
    """
    if os.path.lexists(out):
        raise CompileError(str(out), "exists already", "choose another folder, or remove it")
    temporary = None
    made = [p for p in out.parents if not os.path.lexists(p)]
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
        for name, content in sorted(files.items()):
            path = temporary / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        temporary.chmod(0o755)
        os.rename(temporary, out)
    except OSError as e:
        raise CompileError(
            str(out), f"cannot be written ({e.strerror or e})", "check the path, its permissions and the disk"
        ) from None
    finally:
        if temporary and temporary.exists():
            shutil.rmtree(temporary, ignore_errors=True)
        if not os.path.lexists(out):
            with suppress(OSError):  # not empty: somebody else's by now
                for folder in made:
                    folder.rmdir()
