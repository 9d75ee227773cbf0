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

from .. import discovery
from ..errors import CompileError
from ..ir.format import Scaled
from ..ir.plan import Plan, PlanTensor
from ..ir.program import Call, Item, Repeat, Step, When, reached
from ..numeric import ERROR_FRAC, PRIMITIVES, Primitive
from ..ops import changed, kernel, operands
from ..sets import AUTO, REF, select
from ..sets.dsp import Instruction, called
from ..stages.state_check import labelled_ops, labelled_programs, rings
from ..target import messages
from ..target.boards import Board, platformio_board
from ..version import VERSION
from .flash import Stored, stored
from .layout import comment, parse, printed
from .once import without_single_loops
from .slices import entries

ROOT = Path(__file__).resolve().parents[2]
WORDS = ("load_word", "store_word", "load_any", "store_any")
UNION = {"int8": "i8", "uint8": "u8", "int16": "i16", "int32": "i32", "uint32": "u32"}


@cache
def environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.ChoiceLoader(
            [jinja2.FileSystemLoader(ROOT / "templates"), jinja2.FunctionLoader(_outside_template)]
        ),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )


def _outside_template(name: str) -> str | None:
    """The C of an op that was found outside lies beside its file."""
    room, _, file = name.partition("/")
    found = [folder / file for folder in discovery.template_folders() if (folder / file).is_file()]
    return found[0].read_text(encoding="utf-8") if room == "ops" and found else None


class TensorView:
    """A tensor as templates see it: names, types, sizes, and the C expressions that reach it."""

    def __init__(self, t: PlanTensor, plan: Plan, arena: str = "m->arena.") -> None:
        """`arena`: what leads to the members of the union in which a tensor of the arena lies."""
        self.prefix = prefix = plan.model
        self.arena = arena
        self.name, self.dtype, self.space = t.name, t.dtype, t.space
        self.offset, self.nbytes, self.count = t.offset, t.nbytes, t.count
        self.ctype = f"{t.dtype}_t"
        self.row, self.cols = t.row, t.shape[-1]
        self.rows = t.shape[0] if len(t.shape) == 2 else 1
        self.itemsize, self.range = t.itemsize, t.hi - t.lo
        self.c_lo = "INT32_MIN" if t.lo == -(2**31) else str(t.lo)
        info = np.iinfo(t.dtype)
        self.type_lo, self.type_hi = int(info.min), int(info.max)
        self.symbol = f"{prefix}_{t.name}" if t.space == "const" else f"{prefix}_{t.name}_init"
        self.q, self._meaning = plan.q(t), t.meaning
        shape = dict(zip(plan.inputs, plan.input_shapes, strict=True)).get(t.name, t.shape)
        self.dims = "".join(f"[{n}]" for n in shape)
        pad = f" rows of {t.row}" if t.row != t.shape[-1] else ""
        dims = "".join(f"[{n}]" for n in t.shape)
        self.describe = f"{t.dtype} {dims}{pad}{self.q and ', '}{self.q}{f': {t.about}' if t.about else ''}"
        if t.space == "arena":
            self.at0 = f"{arena}{UNION[t.dtype]}[{t.offset // t.itemsize}]"
            self.pointer = f"(&{self.at0})"
        else:
            self.pointer = self.symbol if t.space == "const" else f"m->state.{t.name}"
            self.at0 = f"{self.pointer}[0]"
        self._data = t.data

    @property
    def frac(self) -> int:
        """The n of v / 2^n."""
        return self._meaning.frac

    def declare(self, name: str, write: bool = False, offset: int = 0) -> str:
        """A local pointer to the tensor, from element `offset` on."""
        if self.space == "arena":
            target = f"&{self.arena}{UNION[self.dtype]}[{self.offset // self.itemsize + offset}]"
        else:
            target = f"&{self.pointer}[{offset}]" if offset else self.pointer
        if write:
            pointer = (
                f"{self.ctype} *{name} = ({self.ctype} *){self.prefix}_opaque({target});"  # cast for C++
            )
        else:
            pointer = f"const {self.ctype} *{name} = {target};"
        return f"    {pointer} /* {self.name}: {self.describe} */"

    @property
    def lines(self) -> list[str]:
        """The content as rows of C initialisers."""
        assert self._data is not None
        end = "u" if self.dtype == "uint32" else ""
        values = np.frombuffer(self._data, np.dtype(self.dtype).newbyteorder("<")).tolist()
        return _rows(f"{v}{end}" for v in values)


class InputView(TensorView):
    """An input as templates see it: how float values become its integers.

    own:           whether the network normalises it; else (x - 0) * 2^frac
    offset, scale: C literals, `pairs` of them; element i has pair (i / inner) % pairs
    times:         how often the table repeats
    """

    def __init__(self, plan: Plan, name: str, arena: str = "m->arena.") -> None:
        super().__init__(plan[name], plan, arena)
        q = plan.quantiser(name)
        self.own, self.pairs, self.inner = name in plan.quantisers, len(q.scale), q.inner
        self.times = self.count // (self.pairs * self.inner)
        self.offsets, self.scales = [_literal(v) for v in q.offset], [_literal(v) for v in q.scale]
        self.meaning = self.q
        if self.own:
            each = "" if self.pairs == 1 else f" for each of {self.pairs}"
            values = f" {self.offsets[0]}, {self.scales[0]}" if self.pairs == 1 else ""
            self.meaning = f"offset and scale{each}{values}: {plan.model}_quantise.h"

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
class _Function:
    """A step as C. `program`: to which it belongs."""

    fn: str
    comment: str
    body: str
    program: str


@dataclass(frozen=True)
class _ProgramText:
    fn: str
    doc: str
    body: str


# What templates/model.c.j2 and model.h.j2 call <prefix>_...: `t` and what ends in it are types.
INTERFACE = (
    *("init", "infer", "learn", "run", "run_op", "load", "tensor", "status", "nothing", "t"),
    *("check", "check_part", "tensors", "above"),
    *("learn_begin", "learn_step", "run_begin", "run_step", "run_abort", "run_t", "infer_arena_t"),
    *("ops", "item_t", "items", "starts", "claim", "release", "settle", "begin", "open", "put"),
    *(
        "state_t",
        "inputs_t",
        "outputs_t",
        "tensor_t",
        "shift_is_arithmetic",
        "state_is_packed",
        "model_is_packed",
    ),
    *("opaque", "word_t", "any_t", *WORDS, *PRIMITIVES),
)


@dataclass(frozen=True)
class EntryView:
    """An entry program that takes something, as templates see it.

    struct: the C type of its inputs, the model's own where these are what it takes; "" for a label alone
    fields: the members of a struct of its own; empty if it has none
    inputs: what is filled
    """

    name: str
    doc: str
    struct: str
    fields: tuple[TensorView, ...]
    inputs: tuple[TensorView, ...]
    label: bool

    @property
    def parameters(self) -> str:
        x = f", const {self.struct} *x" if self.struct else ""
        return f"{x}{', uint8_t label' if self.label else ''}"


def _entry_views(plan: Plan, views: Mapping[str, TensorView]) -> list[EntryView]:
    """The entry programs beside `infer` and `learn` that take anything: each is a function of the library.

    CompileError where one is called like something else there.
    """
    found = []
    for e in plan.entry_points:
        if e.name in ("infer", "learn") or not e.loaded:
            continue
        if e.name in INTERFACE or f"{e.name}_inputs_t" in INTERFACE:
            what = f"{plan.model}_{e.name} is something else in the emitted library"
            raise CompileError(e.name, what, "give the rule's entry program another name")
        inputs = tuple(views[n] for n in e.inputs)
        own = bool(inputs) and e.inputs != plan.inputs
        struct = f"{plan.model}_{f'{e.name}_' if own else ''}inputs_t" if inputs else ""
        doc = plan.programs[e.name].doc
        found.append(EntryView(e.name, doc, struct, inputs if own else (), inputs, e.label))
    return found


def _step_names(plan: Plan, constants: Iterable[PlanTensor]) -> list[str]:
    """One C name a step: node and kernel, numbered where that is another's name."""
    taken = {*INTERFACE, *(f"program_{name}" for name in plan.programs), *(t.name for t in constants)}
    taken |= {text for e in plan.entries for text in (e, f"{e}_inputs_t")}
    taken |= {f"{t.name}_init" if t.space == "state" else t.name for t in plan.tensors}
    names = []
    for _, _, step in plan.ops():
        name = base = f"{step.node}_{kernel(step.kernel).function or step.kernel.split('.')[1]}"
        number = 1
        while name in taken:
            number += 1
            name = f"{base}_{number}"
        taken.add(name)
        names.append(name)
    return names


def _functions(
    plan: Plan, printed: Stored, views: _Views, prefix: str, sources: Mapping[str, str]
) -> list[_Function]:
    out = []
    names = _step_names(plan, printed.constants)
    for i, (program, _, step) in enumerate(plan.ops()):
        variant = printed.variants[i]
        room = "ops" if variant.kernel_set == REF else variant.kernel_set
        module: Any = environment().get_template(f"{room}/{step.kernel.split('.')[0]}.c.j2").module
        view = StepView(replace(step, args=printed.args[i]), views.of(program), variant.numbers)
        body = getattr(module, variant.macro)(view)
        source = sources.get(step.node, "")
        reads = operands(step, kernel(step.kernel).reads).values()
        changes = changed(step).values()
        flow = f"{', '.join(reads)} -> {', '.join(changes)}" if reads else ", ".join(changes)
        layer = f"{step.node} ({source})" if source else step.node
        what = f"{step.kernel} of {layer}, in program {program}: {flow}"
        out.append(_Function(f"{prefix}_{names[i]}", "\n".join(comment(what)), body, program))
    return out


class _Views:
    """Every tensor as templates see it.

    Where `infer` has an arena of its own, its steps are told which one they work in: `arena`; all others work
    in the one that is m's.
    """

    def __init__(self, plan: Plan, constants: Iterable[PlanTensor]) -> None:
        every = {t.name: t for t in (*plan.tensors, *constants)}
        self.all = {name: TensorView(t, plan) for name, t in every.items()}
        self._told = () if plan.shared else reached(plan.programs, "infer")
        self._infer = {name: TensorView(t, plan, "arena->") for name, t in every.items()}

    def of(self, program: str) -> Mapping[str, TensorView]:
        """Those that the steps of `program` see."""
        return self._infer if program in self._told else self.all


def _unused(plan: Plan, body: str) -> str:
    """Statements for the parameters that a function with this body has and does not use."""
    code = re.sub(r"/\*.*?\*/", "", body, flags=re.DOTALL)
    parameters = ("m",) if plan.shared else ("m", "arena")
    return "".join(f"    (void){p};\n" for p in parameters if not re.search(rf"(?<!->)\b{p}\b", code))


def _laid_out(body: str) -> str:
    """The body of a step in the style of the emitted C, without loops that run once."""
    return "\n".join(printed(without_single_loops(parse(body)))) + "\n"


def _in_order(plan: Plan) -> list[str]:
    """The programs that entries reach, callees first."""
    ordered: list[str] = []

    def visit(name: str) -> None:  # callees first: C wants them declared before use
        for item in plan.programs[name].items:
            if not isinstance(item, Step):
                visit(item.program)
        if name not in ordered:
            ordered.append(name)

    for entry in plan.entries:
        visit(entry)
    return ordered


def _program_texts(plan: Plan, functions: list[_Function], views: _Views, prefix: str) -> list[_ProgramText]:
    by_place = {(program, i): f.fn for f, (program, i, _) in zip(functions, plan.ops(), strict=True)}
    with_m = "(m)" if plan.shared else "(m, arena)"
    return [
        _ProgramText(
            f"{prefix}_program_{n}",
            f"Program {n}: {plan.programs[n].doc}",
            _laid_out(
                "\n".join(
                    _call(item, by_place.get((n, i), f"{prefix}_program_"), views.of(n), with_m)
                    for i, item in enumerate(plan.programs[n].items)
                )
            ),
        )
        for n in _in_order(plan)
    ]


def _call(item: Item, fn: str, views: Mapping[str, TensorView], with_m: str) -> str:
    """One item of a program as C. `fn`: the step's function; of others, what their names begin with."""
    if isinstance(item, Step):
        return f"{fn}{with_m};"
    call = f"{fn}{item.program}{with_m};"
    if isinstance(item, Call):
        return call
    if isinstance(item, Repeat):
        return f"for (uint32_t i = 0u; i < {item.times}u; i++) {call}"
    assert isinstance(item, When)
    return f"if ({views[item.flag].at0} != 0u) {call}"


@dataclass(frozen=True)
class _Helpers:
    """The small functions that the steps of one library call, callees first."""

    primitives: tuple[Primitive, ...]
    instructions: tuple[Instruction, ...]
    words: tuple[str, ...]

    def prefixed(self, text: str, prefix: str) -> str:
        """`text` with the model's prefix before every helper: two models may share a translation unit."""
        names = (*(p.name for p in (*self.primitives, *self.instructions)), *self.words)
        return re.sub(rf"\b({'|'.join(names)})\(", rf"{prefix}_\1(", text) if names else text


def _helpers(texts: Iterable[str]) -> _Helpers:
    bodies = list(texts)
    wanted: set[str] = set()
    pending = list(bodies)
    while pending:
        found = set(re.findall(r"\b([a-z_0-9]+)\(", pending.pop())) & PRIMITIVES.keys() - wanted
        wanted |= found
        pending += [PRIMITIVES[n].c for n in found]
    words = tuple(name for name in WORDS if any(f"{name}(" in body for body in bodies))
    return _Helpers(
        tuple(p for name, p in PRIMITIVES.items() if name in wanted), tuple(called(bodies)), words
    )


def memory_map(plan: Plan, kernel_set: str = REF) -> list[str]:
    """A table of where everything lies in the library of `kernel_set`, as lines of text."""
    flash = stored(plan, kernel_set)
    arena = sorted(plan.space("arena"), key=lambda t: (t.offset, t.name))
    own = "" if plan.shared else f", and {plan.infer_arena_bytes} of an arena that is infer's own"
    lines = [
        f"Memory: {flash.nbytes} bytes of constants in flash, "
        f"{plan.state_bytes} of state and {plan.arena_bytes} of arena in RAM{own}.",
        "",
    ]
    for part in (
        [_map_line(plan, "constant", t.name, t) for t in flash.constants]
        + [_map_line(plan, "constant", f"{t.name}_init", t) for t in flash.starts],
        [_map_line(plan, "state", t.name, t) for t in plan.space("state")],
        [_map_line(plan, "arena", t.name, t) for t in arena],
    ):
        lines += [*part, ""] if part else []
    return lines[:-1]


def _map_line(plan: Plan, title: str, name: str, t: PlanTensor) -> str:
    in_ram = title != "constant"
    place, limits = (f"{t.offset:>7}", f"{t.lo} .. {t.hi}") if in_ram else ("", "")
    dims = "x".join(map(str, t.shape))
    kind = f"{t.dtype:<7}{dims:>9}  {plan.q(t):<8}"
    return f"{title:<9}{place:>7} {t.nbytes:>7} B  {name:<28} {kind} {limits}".rstrip()


def render_library(
    plan: Plan, command: str, title: str, sources: Mapping[str, str], kernel_set: str = REF
) -> dict[str, str]:
    """`<model>.h` and `<model>.c`, of `kernel_set`."""
    prefix = plan.model
    printed = stored(plan, kernel_set)
    views = _Views(plan, printed.constants)
    functions = _functions(plan, printed, views, prefix, sources)
    helpers = _helpers(f.body for f in functions)
    functions = [
        replace(f, body=_laid_out(helpers.prefixed(f.body, prefix)) + _unused(plan, f.body))
        for f in functions
    ]
    table, starts = entries(plan, _in_order(plan))
    of_all, of_infer = views.all, views.of("infer")
    context = {
        "plan": plan,
        "prefix": prefix,
        "title": title,
        "command": command,
        "version": VERSION,
        "digest": plan.digest.hex(),
        "runtime_version": messages.RUNTIME_VERSION,
        "kernel_set": kernel_set,
        "memory_map": memory_map(plan, kernel_set),
        "steps": functions,
        "state": [of_all[t.name] for t in plan.space("state")],
        "inputs": [InputView(plan, n) for n in plan.inputs],
        "infer_inputs": [of_infer[n] for n in plan.inputs],
        "logits": of_infer[plan.logits],
        "verdict": of_infer["verdict"],
        "label": of_all.get("label"),
        "constants": [of_all[t.name] for t in printed.tensors],
        "starts": [of_all[t.name] for t in printed.starts],
        "items": table,
        "item_starts": [starts[entry] for entry in plan.entries],
        "programs": _program_texts(plan, functions, views, prefix),
        "primitives": [helpers.prefixed(p.c_function, prefix) for p in helpers.primitives],
        "words": helpers.words,
        "instructions": [helpers.prefixed(i.c_function, prefix) for i in helpers.instructions],
        "scaled": any(isinstance(t.meaning, Scaled) for t in plan.tensors),
        "entries": _entry_views(plan, of_all),
        "learns": "learn" in plan.entries,
        "rings": rings(plan),
        "labelled_entries": [n for n in plan.entries if n in labelled_programs(plan)],
        "labelled_ops": " || ".join(f"op == {i}u" for i in labelled_ops(plan)),
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
    kernel_set: str = AUTO,
) -> dict[str, bytes]:
    """Every file of an output folder by its path. Without a board, or a link to it: the library and the
    Plan, no firmware.

    kernel_set: the kernel set, or "auto" for the fastest that the board's core can run
    quantiser: also <model>_quantise.h, which takes float inputs; the only file that knows float. It is there
               anyway where the network normalises an input.
    """
    lib = f"lib/{plan.model}"
    chosen = select(kernel_set, board)
    library = render_library(plan, command, title, sources or {}, chosen)
    files = {f"{lib}/src/{name}": text for name, text in library.items()}
    env = environment()
    context = {"model": plan.model, "tool_version": VERSION, "description": title}
    files[f"{lib}/library.json"] = env.get_template("library.json.j2").render(
        context | {"kernel_set": chosen}
    )
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
        counted = {
            "counters": [t.name for t in plan.space("state") if t.role == "counter"],
            "saturated": sorted({s.args["saturated"] for _, _, s in plan.ops() if "saturated" in s.args}),
        }
        binding = env.get_template("model_binding.h.j2").render(context | counted)
        out["include/model_binding.h"] = binding.encode()
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
