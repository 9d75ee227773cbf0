"""The emitted library under every compiler there is, warnings as errors; and what it links on a chip."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from projects import case

from synapcc.gen.target.boards import load_board
from synapcc.host.cli import main
from synapcc.host.firmware.build import build

STRICT = ("-Wall", "-Wextra", "-Wconversion", "-Wpedantic", "-Werror")
MORE = ("-Wshadow", "-Wstrict-prototypes", "-Wmissing-declarations", "-Wundef", "-Wcast-qual", "-Wcast-align")
ARM = ("cortex-m0", "cortex-m3", "cortex-m4")
EVERYTHING = (
    '[loss]\nkind = "{loss}"\n[store]\nsamples = 4\norder = "shuffled"\n[replay]\nsamples = 6\n'
    "[decay]\nshift = 8\nevery = 4\n"
)
ZIG = importlib.util.find_spec("ziglang") is not None


def compilers() -> list[object]:
    """(name, command) of each compiler, skipped where it is missing."""
    zig = (sys.executable, "-m", "ziglang", "cc")
    found: list[tuple[str, tuple[str, ...], bool]] = [
        ("gcc", ("gcc",), shutil.which("gcc") is not None),
        ("gcc unsigned char", ("gcc", "-fshort-enums", "-funsigned-char"), shutil.which("gcc") is not None),
        ("zig, a clang", zig, ZIG),
    ]
    for cpu in ARM:
        gcc = ("arm-none-eabi-gcc", f"-mcpu={cpu}", "-mthumb")
        found.append((f"arm gcc {cpu}", gcc, shutil.which(gcc[0]) is not None))
        include = Path(__file__).parents[3] / "firmware" / "platform" / "include"
        target = (
            "-target",
            "thumb-freestanding-eabi",
            f"-mcpu={cpu.replace('-', '_')}",
            "-isystem",
            str(include),
        )
        found.append((f"zig {cpu}", (*zig, *target), ZIG))
    return [
        pytest.param(command, id=name, marks=pytest.mark.skipif(not there, reason=f"{name} is not installed"))
        for name, command, there in found
    ]


@pytest.fixture(scope="module")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Sources of models that between them hold every op and every form of feedback."""
    root, out = tmp_path_factory.mktemp("c"), []
    for i, (rule, weights, loss, feedback) in enumerate(
        [
            ("hebbian", "int16", "softmax", ""),
            ("dfa", "int8", "hinge", '[feedback]\nstorage = "generated"\n'),
            ("fa", "int8", "softmax", '[feedback]\nstorage = "flash"\ninit = "ternary"\n'),
            ("bp", "int16", "hinge", ""),
            ("last", "int8", "softmax", ""),
            ("none", "int16", "softmax", ""),
        ]
    ):
        c = case(
            root / str(i), rule, weights, EVERYTHING.format(loss=loss) + feedback if rule != "none" else ""
        )
        assert main(c.words(root / f"out{i}", "--quantiser")) == 0
        out.append(root / f"out{i}" / "lib" / "net" / "src" / "net.c")
    return out


def run(command: list[object]) -> None:
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, check=False)
    assert done.returncode == 0 and not done.stderr, f"{done.stderr[:3000]}"


@pytest.mark.parametrize("level", ["-O2", *(pytest.param(o, marks=pytest.mark.long) for o in ("-O0", "-Os"))])
@pytest.mark.parametrize("compiler", compilers())
def test_c99_without_a_warning(
    compiler: tuple[str, ...], level: str, libraries: list[Path], tmp_path: Path
) -> None:
    for source in libraries:
        command = [*compiler, "-std=c99", level, *STRICT, *MORE, f"-I{source.parent}", "-c", source]
        run([*command, "-o", tmp_path / "net.o"])


@pytest.mark.parametrize("standard", ["c++11", "c++20"])
def test_the_headers_are_cplusplus_too(standard: str, libraries: list[Path], tmp_path: Path) -> None:
    """A C++ program links the library: names are C's."""
    compiler = shutil.which("g++") or shutil.which("clang++")
    if compiler is None and not ZIG:
        pytest.skip("no C++ compiler is installed")
    cxx = [compiler] if compiler else [sys.executable, "-m", "ziglang", "c++"]
    cc = ["gcc"] if shutil.which("gcc") else [sys.executable, "-m", "ziglang", "cc"]
    for i, source in enumerate(libraries):
        user = tmp_path / f"user{i}.cpp"
        user.write_text(
            '#include "net.h"\n#include "net_quantise.h"\nstatic net_t model;\n'
            "int main() { net_inputs_t x = net_inputs_t(); net_outputs_t y; float in[12] = {1.0f};\n"
            "  net_init(&model); net_quantise_input(in, x.input); net_infer(&model, &x, &y);\n"
            "  return net_tensor(1000u) == nullptr && y.winner >= 0 ? 0 : 1; }\n"
        )
        run([*cc, "-std=c99", "-O2", f"-I{source.parent}", "-c", source, "-o", tmp_path / "net.o"])
        run(
            [
                *cxx,
                f"-std={standard}",
                *STRICT,
                f"-I{source.parent}",
                user,
                tmp_path / "net.o",
                "-o",
                tmp_path / "user",
            ]
        )
        assert subprocess.run([tmp_path / "user"], check=False).returncode == 0


@pytest.mark.parametrize(
    "toolchain, board",
    [
        ("gcc", "mps2_an385"),
        pytest.param("zig", "mps2_an386", marks=pytest.mark.long),
        pytest.param("gcc", "mps2_an386", marks=pytest.mark.long),
        pytest.param("zig", "mps2_an385", marks=pytest.mark.long),
    ],
)
def test_the_firmware_links_no_heap_no_float_and_no_libc(toolchain: str, board: str, tmp_path: Path) -> None:
    if (toolchain == "gcc" and not shutil.which("arm-none-eabi-gcc")) or (toolchain == "zig" and not ZIG):
        pytest.skip(f"{toolchain} is not installed")
    for rule, loss in (("hebbian", "softmax"), ("dfa", "hinge")):
        c = case(tmp_path / rule, rule, more=EVERYTHING.format(loss=loss))
        out = tmp_path / f"{rule} out"
        assert main(c.words(out, "--board", board)) == 0
        result = build(out, toolchain)
        linked = result.linked
        assert linked.offending == () and linked.wide == () and linked.division == (), linked
        assert result.stack.bytes is not None and result.stack.bytes < load_board(board).stack
