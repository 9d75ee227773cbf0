"""Compiles kernels' loop forms and the walker with numba, and keeps what is compiled between runs.

A kernel is compiled once for each combination of types, and of operands and attributes that it has or
lacks, as a C function of its own: (address of its parameters, address of the bases) -> 0, or 1 where it
failed (memory for its scratch was refused; no exception leaves a C function). Its parameters are int64s: of
each operand where it lies, its offset there and its stored shape; then its attributes. All that is compiled
lies in a folder that is named by a hash of the sources which it came from, so that nothing old is ever run.
"""

from __future__ import annotations

import hashlib
import importlib.util
import inspect
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.typing.templates import infer_global
from numba.extending import intrinsic, overload, register_jitable

from synapcc.gen import numeric
from synapcc.gen.ops import Kernel, _dense_loops, _loops, kernel
from synapcc.gen.target import messages

from .. import cache as user_cache
from ..link import checksum
from . import masked, vector

OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy"}
KEPT = 8  # folders of other sources that stay
HEAD = """from numba import carray, cfunc, float64, int64, njit, uint8
import numpy as np
from synapcc.host.engine.jit import OPTIONS, attempt, pointer
"""
STEP = """from synapcc.gen.ops import kernel

# {mark}
body = njit(forceinline=True, **OPTIONS)(kernel("{kernel}").loop{form}.body)


@cfunc("int32(int64, int64)", cache=True)
def entry(parameters, bases):
    p, base = carray(pointer(parameters), ({count},), np.int64), carray(pointer(bases), (3,), np.int64)
    return attempt(body, ({arguments},))
"""
WALK = """from synapcc.host.engine.walk import walk

body = njit(**OPTIONS)(walk)


@njit("int64(int64[:,::1], int64[::1], int64[::1], int64[::1], int64[:,::1], uint8[:,::1], int64, int64, "
      "int64, uint64[:,:,::1], int64[:,::1])", cache=True, **OPTIONS)
def entry(tape, devices, strides, bases, feeds, active, slots, times, size, checksums, takes):
    return body(tape, devices, strides, bases, feeds, active, slots, times, size, checksums, takes)
"""
PEAK = """from synapcc.host.engine.peak import work

body = njit(**OPTIONS)(work)


@njit("void(int32[::1], int32[::1], int16[:,:,::1], int16[::1], int64[::1], int64)", cache=True, **OPTIONS)
def entry(out, start, w, x, offsets, times):
    body(out, start, w, x, offsets, times)
"""


@intrinsic  # type: ignore[untyped-decorator]
def pointer(context: Any, address: Any) -> Any:
    """An address as a pointer."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.inttoptr(args[0], cgutils.voidptr_t)

    return types.voidptr(types.int64), code


@intrinsic  # type: ignore[untyped-decorator]
def call(context: Any, function: Any, parameters: Any, bases: Any) -> Any:
    """Calls the C function at an address; what it answers, int32."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind = ir.FunctionType(ir.IntType(32), [ir.IntType(64)] * 2)
        return builder.call(builder.inttoptr(args[0], kind.as_pointer()), args[1:])

    return types.int32(types.int64, types.int64, types.int64), code


@intrinsic  # type: ignore[untyped-decorator]
def attempt(context: Any, function: Any, given: Any) -> Any:
    """Calls a compiled function with the arguments in a tuple: 0, or 1 where it raised. `try` would say the
    same, but numba takes each statement within one for a branch, and that twice as long over a kernel."""
    kinds = tuple(map(types.unliteral, given.types))
    made = context.resolve_function_type(function, kinds, {})
    found = function.dispatcher.overloads[made.args]

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        three = zip(cgutils.unpack_tuple(builder, args[1]), given.types, made.args, strict=True)
        values = [context.cast(builder, value, *kinds) for value, *kinds in three]
        context.active_code_library.add_linking_library(found.library)
        status, _ = context.call_internal_no_propagate(builder, found.fndesc, made, values)
        return builder.zext(status.is_error, ir.IntType(32))

    return types.int32(function, given), code


@register_jitable  # type: ignore[untyped-decorator]
def cells(address: int, n: int) -> Any:
    """The n bytes at an address."""
    return numba.carray(pointer(address), (n,), np.uint8)


@register_jitable  # type: ignore[untyped-decorator]
def copied(to: int, given: int, n: int) -> None:
    """n bytes from one address to another."""
    place, seen = cells(to, n), cells(given, n)
    for i in range(n):
        place[i] = seen[i]


@register_jitable  # type: ignore[untyped-decorator]
def words(address: int, n: int) -> Any:
    """The whole words of the n bytes at an address."""
    return numba.carray(pointer(address), (n // 4,), np.uint32)


def _windows(
    out: Any, first: Any, apart: Any, start: Any, w: Any, x: Any, at: Any, step: Any, offsets: Any,
    every: Any, count: Any,
) -> None:  # fmt: skip
    """What `windows` is compiled as."""
    vector.windows(
        out.ctypes.data + 4 * first, 4 * apart, start.ctypes.data, len(start) // vector.LANES, w.ctypes.data,
        w.shape[2] // (2 * vector.LANES), x.ctypes.data + 2 * at, 2 * step, offsets.ctypes.data, len(w),
        w.shape[1], 2 * every, count,
    )  # fmt: skip


def _windows_onto(
    out: Any, first: Any, apart: Any, n: Any, w: Any, x: Any, at: Any, step: Any, offsets: Any, every: Any,
    count: Any,
) -> None:  # fmt: skip
    """What `windows_onto` is compiled as."""
    vector.windows_onto(
        out.ctypes.data + 4 * first, 4 * apart, out.ctypes.data, n // vector.LANES, w.ctypes.data,
        w.shape[2] // (2 * vector.LANES), x.ctypes.data + 2 * at, 2 * step, offsets.ctypes.data, len(w),
        w.shape[1], 2 * every, count,
    )  # fmt: skip


@cache
def _prepare() -> None:
    """Lets compiled code call the primitives."""

    for function in numeric.CASTS:  # types, not functions: each call of one would be inlined and typed anew
        infer_global(function, types.NumberClass(getattr(types, function.__name__)))
    if vector.usable():
        overload(_loops.windows, strict=False)(lambda *types: _windows)
        overload(_loops.windows_onto, strict=False)(lambda *types: _windows_onto)
    else:
        register_jitable(_loops.windows)
        register_jitable(_loops.windows_onto)
    if masked.usable():
        overload(_dense_loops.dots, strict=False)(lambda *types: masked.row_sums)
        overload(_dense_loops.subtract_products, strict=False)(lambda *types: masked.change_row)
    else:
        register_jitable(_dense_loops.dots)
        register_jitable(_dense_loops.subtract_products)
    primitives = (p.py for p in numeric.PRIMITIVES.values())
    for text in (*primitives, *numeric.COMPOUND, *checksum.LOOPS):
        register_jitable(text)


@cache
def _helper(function: Callable[..., Any]) -> None:
    """Lets compiled code call what loops share."""
    register_jitable(forceinline=True)(function)


def _sources() -> list[Path]:
    """What compiled code comes from, beside a kernel's own file."""
    gen = Path(inspect.getfile(numeric)).parents[1]
    found = [*(gen / "numeric").glob("*.py"), *(gen / "ops").glob("*.py")]
    own = [Path(checksum.__file__), Path(messages.__file__), *Path(__file__).parent.glob("*.py")]
    return sorted([*found, *own])


@cache
def folder() -> Path:
    """Where compiled code lies: in the user's cache folder, or, where that cannot be written, in a folder of
    this process. A few of older sources are kept beside it."""
    mark = hashlib.sha256(f"{numba.__version__} {np.__version__} {sys.version}".encode())
    for path in _sources():
        mark.update(path.read_bytes())
    try:
        base = user_cache.folder() / "engine"
        own = base / mark.hexdigest()[:16]
        own.mkdir(parents=True, exist_ok=True)
        os.utime(own)
        others = sorted((p for p in base.iterdir() if p != own), key=lambda p: p.stat().st_mtime)
        for old in others[:-KEPT]:
            shutil.rmtree(old, ignore_errors=True)
    except OSError:
        return Path(tempfile.mkdtemp(prefix="synapcc-engine-"))
    return own


@dataclass(frozen=True, slots=True)
class Source:
    """The text of a module with one compiled function, `entry`."""

    name: str
    text: str

    @property
    def path(self) -> Path:
        mark = hashlib.sha256(self.text.encode()).hexdigest()[:12]
        return folder() / f"{self.name.replace('.', '_')}_{mark}.py"

    @property
    def compiled(self) -> bool:
        """Whether it was compiled before, in this run or another one."""
        path = self.path
        return path.stem in _loaded or any(p.suffix == ".nbc" for p in _kept(path))

    def entry(self) -> Any:
        """The compiled function."""
        path = self.path
        if path.stem in _loaded:
            return _loaded[path.stem].entry
        _prepare()
        for function in _loops.HELPERS:  # an op that was found later may have brought some
            _helper(function)
        try:
            module = self._load(path)
        except Exception:  # what was kept may be broken in any way: only what was compiled anew is blamed
            for kept in _kept(path):
                kept.unlink(missing_ok=True)
            module = self._load(path)
        _loaded[path.stem] = module
        return module.entry

    def _load(self, path: Path) -> ModuleType:
        """The module, from what is kept or compiled."""
        text = self.text.encode()
        path.parent.mkdir(parents=True, exist_ok=True)  # someone may have emptied the cache meanwhile
        if not path.exists() or path.read_bytes() != text:
            part = path.with_suffix(f".{os.getpid()}")
            part.write_bytes(text)
            part.replace(path)
        spec = importlib.util.spec_from_file_location(path.stem, path)
        assert spec and spec.loader
        module = importlib.util.module_from_spec(spec)
        sys.modules[path.stem] = module  # where numba looks for what belongs to a function
        spec.loader.exec_module(module)
        return module


_loaded: dict[str, ModuleType] = {}


def _kept(path: Path) -> list[Path]:
    """What lies on disk of the module at a path beside its text."""
    return list((path.parent / "__pycache__").glob(f"{path.stem}.*"))


def walker() -> Source:
    """The function that walks tapes."""
    return Source("walk", HEAD + WALK)


def peak() -> Source:
    """The function of host/engine/peak.py."""
    return Source("peak", HEAD + PEAK)


def step(name: str, form: str, arguments: Sequence[str], count: int) -> Source:
    """The function of a kernel. form: which of its loops; arguments: what that is called with; count: of its
    parameters"""
    text = STEP.format(
        mark=_mark(kernel(name)), kernel=name, form=form, count=count, arguments=", ".join(arguments)
    )
    return Source(name, HEAD + text)


def _mark(k: Kernel) -> str:
    """A hash of all that the compiled code of a kernel of whatever package comes from."""
    functions, loop = list(_loops.HELPERS), vars(type(k)).get("loop")
    while loop:
        functions.append(loop.body)
        loop = loop.otherwise
    origins = {_file(inspect.getfile(type(k))), *map(_origin, functions)}
    return hashlib.sha256("".join(sorted(origins)).encode()).hexdigest()


@cache
def _file(path: str) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


@cache
def _origin(function: Callable[..., Any]) -> str:
    """The file of a function, and the numbers outside that it reads, in whatever file they were written."""
    found = inspect.getclosurevars(function)
    read = sorted({**found.globals, **found.nonlocals}.items())
    return _file(inspect.getfile(function)) + "".join(f" {n}={value!r}" for n, value in read if _plain(value))


def _plain(value: object) -> bool:
    """Whether a value is numbers all through."""
    if isinstance(value, tuple):
        return all(map(_plain, value))
    return isinstance(value, bool | int | float | np.generic)
