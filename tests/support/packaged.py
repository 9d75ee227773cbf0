"""Emitted packages in folders, and what builds them here."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from ctools import run

from synapcc.gen.emit import PACKAGES, render
from synapcc.gen.emit.example import Example, chosen
from synapcc.gen.ir.plan import Plan
from synapcc.gen.spec import LEARN, Keep

STUBS = Path(__file__).resolve().parent / "c" / "stubs"
STRICT = ("-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Wpedantic", "-Werror")


def example(plan: Plan, count: int = 6) -> Example:
    """Samples drawn from a fixed seed, their classes, and targets where numbers are learned."""
    rng = np.random.default_rng(5)
    inputs = {n: rng.integers(-100, 101, (count, plan[n].count)).astype(plan[n].dtype) for n in plan.inputs}
    targets = rng.integers(-500, 501, (count, plan.scores)).astype(np.int16) if plan.numbers else None
    labels = None if plan.numbers else rng.integers(0, plan.classes, count)
    return chosen(plan, inputs, labels, targets)


def package(
    plan: Plan,
    folder: Path,
    packages: Sequence[str] = tuple(PACKAGES),
    kernel_set: str = "ref",
    role: str = LEARN,
    keep: Keep | None = None,
) -> Path:
    """The library's folder of a Plan, a package of these kinds."""
    files = render(plan, None, "a test", "a test", kernel_set=kernel_set, packages=packages,
                   example=example(plan), role=role, keep=keep)  # fmt: skip
    write(files, folder)
    return folder / "lib" / plan.model


def write(files: Mapping[str, bytes], folder: Path) -> None:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def cmake_path() -> str:
    """PyPI's CMake beside this Python, or the one on PATH; skips where there is none."""
    beside = Path(sys.executable).parent / "cmake"
    found = str(beside) if beside.exists() else shutil.which("cmake")
    if found is None:
        pytest.skip("cmake is not installed: pip install cmake")
    return found


def cmake(*words: object) -> None:
    run([cmake_path(), *words])


def sketch_compiles(folder: Path, tmp_path: Path, cpu: str = "cortex-m0plus") -> None:
    """The Arduino sketch of a folder, with a stub of a core; skips where the compiler is missing."""
    if shutil.which("arm-none-eabi-g++") is None:
        pytest.skip("arm-none-eabi-g++ is not installed")
    machine = [f"-mcpu={cpu}", "-mthumb", "-Os", *STRICT, f"-I{folder / 'src'}", f"-I{STUBS}"]
    sketch = folder / "examples" / "Learn"
    cpp = ["arm-none-eabi-g++", "-std=gnu++14", *machine, "-c", "-o", tmp_path / "o"]
    run([*cpp, "-include", "Arduino.h", "-x", "c++", sketch / "Learn.ino"])
    run([*cpp, sketch / "board.cpp"])
    for source in (sketch / "example-learn.c", folder / "src" / f"{folder.name}.c"):
        run(["arm-none-eabi-gcc", "-std=gnu11", *machine, "-c", source, "-o", tmp_path / "o"])
