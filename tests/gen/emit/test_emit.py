"""The emitted text: golden files (--rewrite-golden writes them anew), and what it never contains."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from ctools import STRICT, run
from elftools.elf.elffile import ELFFile
from golden_nets import KERNELS, SPECS, golden_plan
from random_nets import ANY, accepted

from synapcc.gen.emit import render, render_library, write
from synapcc.gen.errors import CompileError
from synapcc.gen.ir.plan import Plan
from synapcc.gen.version import VERSION

GOLDEN = Path(__file__).resolve().parent / "golden"
LIBC = {"memcpy", "memset"}
NO_CALLS = {
    "if",
    "for",
    "while",
    "switch",
    "return",
    "sizeof",
    "defined",
    "optimize",
    "__attribute__",
    "aligned",
    "__asm__",
    "__volatile__",
    "INT32_C",
    "UINT32_C",
    "INT64_C",
}
FORBIDDEN = (
    "float",
    "double",
    "malloc",
    "calloc",
    "free",
    "printf",
    "long",
    "goto",
    "int64_t",
    "uint64_t",
    "static inline float",
)


def golden_text(name: str) -> dict[str, str]:
    files = render_library(
        golden_plan(name),
        f"synapcc compile {name}.onnx",
        "a golden model",
        {"fc1": "/net/fc1"},
        KERNELS[name],
    )
    return {file: text.replace(f"synapcc {VERSION}.", "synapcc VERSION.") for file, text in files.items()}


@pytest.mark.parametrize("name", SPECS)
def test_golden(name: str, rewrite_golden: bool) -> None:
    for file, text in golden_text(name).items():
        path = GOLDEN / file
        if rewrite_golden:
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        assert path.is_file(), "run pytest tests/gen/emit/test_emit.py --rewrite-golden"
        assert text == path.read_text(), f"{file} changed; if that was meant, run make golden and read it"


WIDE = (
    r"static inline u?int32_t \w+_(?:high_product|scale_(?:once|twice)\w*|"
    r"spread_(?:high|low)|shifted_top|root_reciprocal)\(.*?\n}\n|static void \w+_anomaly_watch\w*\(.*?\n}\n"
)
"""Products of two 32-bit numbers, one instruction on most cores, what a normalisation does once a row, and
what a threshold for anomalies does once a sample; wider arithmetic stands nowhere else."""


def bare(text: str) -> str:
    """C without comments, strings and preprocessor messages."""
    text = re.sub(r"/\*.*?\*/", " ", text, flags=re.DOTALL)
    return re.sub(r'"[^"\n]*"', '""', text)


@pytest.fixture(scope="module")
def emitted() -> list[tuple[Plan, dict[str, str]]]:
    golden = [golden_plan(name) for name in SPECS]
    plans = [*golden, *(c.plan for c, _ in accepted(ANY, 60))]
    sets = [*KERNELS.values(), *(["ref", "dsp"] * 30)]
    return [(p, render_library(p, "a test", "a test", {}, k)) for p, k in zip(plans, sets, strict=True)]


def test_no_float_no_heap_no_division_no_libc(emitted: list[tuple[Plan, dict[str, str]]]) -> None:
    for plan, files in emitted:
        for file, text in files.items():
            code = bare(text)
            assert "/" not in re.sub(r"#include <[a-z/.]+>", "", code) and "%" not in code, f"{file} divides"
            code = re.sub(WIDE, "", code, flags=re.DOTALL)
            words = set(re.findall(r"\b[A-Za-z_]\w*\b", code))
            assert not words & set(FORBIDDEN), f"{file}: {words & set(FORBIDDEN)}"
            assert set(re.findall(r"#include (.*)", text)) <= {
                "<stdint.h>",
                "<string.h>",
                f'"{plan.model}.h"',
            }
            assert not re.search(r"\d\.\d|\d[eE][-+]\d", code), f"{file}: a floating-point literal"
        code = bare(files[f"{plan.model}.c"])
        assert code.count("volatile ") == 2, "of the marks that interrupts look at, and of nothing else"
        defined = set(re.findall(r"^[\w *]*?\b(\w+)\([^;{]*\)\n{", code, flags=re.M))
        called = set(re.findall(r"\b([A-Za-z_]\w*)\s*\(", code)) - NO_CALLS - {"void"}
        assert called - defined <= LIBC | {f"{plan.model}_t"}, (
            f"{plan.model}: calls {called - defined - LIBC}"
        )


def test_every_step_has_a_labelled_function(emitted: list[tuple[Plan, dict[str, str]]]) -> None:
    for plan, files in emitted:
        text = files[f"{plan.model}.c"]
        assert plan.digest.hex() in text and plan.digest.hex() in files[f"{plan.model}.h"]
        for program, _, step in plan.ops():
            flat = re.sub(r"\n \* ", " ", text)
            assert f"/* {step.kernel} of {step.node}, in program {program}: " in flat
        assert (
            max(map(len, text.splitlines())) <= 260
            and not re.search(r"[ \t]\n", text)
            and "\n\n\n" not in text
        )
        assert "{{" not in text and "{%" not in text


@pytest.mark.skipif(shutil.which("arm-none-eabi-gcc") is None, reason="arm-none-eabi-gcc is not installed")
@pytest.mark.parametrize("cpu", ["cortex-m0", "cortex-m3", "cortex-m4"])
def test_the_object_needs_memcpy_and_memset_alone(
    cpu: str, emitted: list[tuple[Plan, dict[str, str]]], tmp_path: Path
) -> None:
    for plan, files in emitted[:6]:
        for name, text in files.items():
            (tmp_path / name).write_text(text)
        run(
            [
                "arm-none-eabi-gcc",
                *STRICT,
                f"-mcpu={cpu}",
                "-mthumb",
                "-O2",
                "-c",
                f"{plan.model}.c",
                "-o",
                "model.o",
            ],
            tmp_path,
        )
        with (tmp_path / "model.o").open("rb") as handle:
            file: Any = ELFFile(handle)
            symbols = file.get_section_by_name(".symtab").iter_symbols()
            undefined = {s.name for s in symbols if s["st_shndx"] == "SHN_UNDEF" and s.name}
        switch = {
            f"__gnu_thumb1_case_{kind}" for kind in ("sqi", "uqi", "shi", "uhi", "si")
        }  # jump tables of the M0
        assert undefined <= LIBC | switch, f"{plan.model}: {undefined - LIBC}"


@pytest.mark.skipif(shutil.which("g++") is None, reason="g++ is not installed")
def test_the_header_is_good_for_cpp(emitted: list[tuple[Plan, dict[str, str]]], tmp_path: Path) -> None:
    for plan, files in emitted[:3]:
        (tmp_path / f"{plan.model}.h").write_text(files[f"{plan.model}.h"])
        (tmp_path / "user.cpp").write_text(
            f'#include "{plan.model}.h"\n#include "{plan.model}.h"\n'
            f"{plan.model}_t model;\nauto *start = &{plan.model}_init;\n"
        )
        run(["g++", "-std=c++11", "-Wall", "-Wextra", "-Werror", "-c", "user.cpp", "-o", "user.o"], tmp_path)


def test_an_output_folder_is_whole_or_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = render(golden_plan("ring"), None, "a test")
    out = tmp_path / "new" / "out"
    write(files, out)
    assert {p.relative_to(out).as_posix(): p.read_bytes() for p in out.rglob("*") if p.is_file()} == files
    with pytest.raises(CompileError, match="exists already"):
        write(files, out)

    def full(self: Path, content: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(CompileError, match="No space left"):
        write(files, tmp_path / "other")
    assert [p.name for p in tmp_path.iterdir()] == ["new"]
