"""The bound on the stack: tight where it can be checked by running, and honest where there is none."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from counts import ONE_TOOLCHAIN
from echo_firmware import add_platform, echo_project
from stub_model import stub_project

from synapcc.gen.target.boards import Board, list_boards, load_board
from synapcc.host.devices import DeviceError, open_device
from synapcc.host.devices.unicorn import UnicornDevice
from synapcc.host.firmware import elf
from synapcc.host.firmware.build import BuildResult, build
from synapcc.host.firmware.stack import EXCEPTION_FRAME, EXCEPTION_FRAME_FPU
from synapcc.host.link.client import connect

GCC = shutil.which("arm-none-eabi-gcc")
TOOLCHAINS = (
    pytest.param("gcc", marks=pytest.mark.skipif(GCC is None, reason="arm-none-eabi-gcc is not installed")),
    "zig",
)
HEAD = "#include <stdint.h>\nuint32_t extra(uint32_t x);\n"
DEEP = (
    "__attribute__((noinline)) static uint32_t {0}(uint32_t x)\n"
    "{{ volatile uint32_t a[{1}]; a[x & 7u] = x; return {2}; }}\n"
)


ROOM = replace(load_board("mps2_an386"), stack=16384)


def built(tmp_path: Path, toolchain: str, extra: str = "", board: str | Board = "mps2_an386") -> BuildResult:
    return build(echo_project(tmp_path / "echo", board, extra), toolchain)


@pytest.mark.parametrize("board", ["mps2_an385", "mps2_an386"])
@pytest.mark.parametrize("toolchain", TOOLCHAINS)
def test_the_bound_is_what_running_shows(tmp_path: Path, toolchain: str, board: str) -> None:
    result = built(tmp_path, toolchain, board=board)
    frame = EXCEPTION_FRAME_FPU if board == "mps2_an386" else EXCEPTION_FRAME
    assert result.stack.bytes is not None and result.stack.exception == frame
    assert [name for name, _ in result.stack.chain][:4] == ["Reset_Handler", "main", "echo", "echo_reverse"]
    with UnicornDevice(result.elf, load_board(board)) as device:
        device.write(b"e\xff" + bytes(255))
        assert len(device.read(5)) == 255
        used = device.stack_used()
    # memcpy of a library saves registers on ways that this call does not take
    library = sum(size for _, size in result.stack.library)
    assert used <= result.stack.bytes - frame <= used + library


@pytest.mark.parametrize("toolchain", ONE_TOOLCHAIN)
def test_calls_through_tables_and_through_arguments(tmp_path: Path, toolchain: str) -> None:
    table = (
        HEAD
        + DEEP.format("shallow", 8, "a[0]")
        + DEEP.format("deep", 500, "a[1]")
        + (
            "static uint32_t (*const table[2])(uint32_t) = {shallow, deep};\n"
            "uint32_t extra(uint32_t x) { return table[x & 1u](x) + 1u; }\n"
        )
    )
    stack = built(tmp_path / "table", toolchain, table).stack
    assert stack.chain[-1][0] == "deep" and stack.chain[-1][1] >= 2000 and stack.chain[-2][0] == "extra"
    argument = (
        HEAD
        + DEEP.format("shallow", 8, "a[0]")
        + DEEP.format("deep", 500, "a[1]")
        + (
            "__attribute__((noinline)) static uint32_t apply(uint32_t (*volatile f)(uint32_t), uint32_t x)\n"
            "{ volatile uint32_t a[100]; a[x & 7u] = f(x); return a[0]; }\n"
            "uint32_t extra(uint32_t x) { return apply(deep, x) + apply(shallow, x); }\n"
        )
    )
    stack = built(tmp_path / "argument", toolchain, argument).stack
    assert [name for name, _ in stack.chain][-3:] == ["extra", "apply", "deep"]
    assert stack.bytes is not None and stack.bytes > 2400


@pytest.mark.parametrize("toolchain", TOOLCHAINS)
def test_the_bound_of_the_real_firmware_holds(tmp_path: Path, toolchain: str) -> None:
    board = load_board("mps2_an386")
    project = stub_project(tmp_path / "stub")
    add_platform(project, board, "stub")
    result = build(project, toolchain)
    assert result.linked.offending == () and result.stack.bytes is not None, result.stack.text()
    with UnicornDevice(result.elf, board) as device:
        client = connect(device)
        for program in range(client.info.programs - 1):  # the last one faults on purpose
            client.run(program)
        client.learn(bytes(client.info.input_bytes), 1)
        used = client.stats().stack_used
    assert (
        0.8 * (result.stack.bytes - result.stack.exception)
        <= used
        <= result.stack.bytes - result.stack.exception
    )


@pytest.mark.parametrize("toolchain", ONE_TOOLCHAIN)
def test_a_tail_call_gives_the_frame_back(tmp_path: Path, toolchain: str) -> None:
    text = (
        HEAD
        + DEEP.format("last", 600, "a[0]")
        + (
            "uint32_t extra(uint32_t x)\n"
            "{ uint32_t y; { volatile uint32_t a[300]; a[x & 7u] = x; y = a[1]; } return last(y); }\n"
        )
    )
    stack = built(tmp_path, toolchain, text).stack
    assert stack.bytes is not None and dict(stack.chain)["last"] >= 2400
    assert dict(stack.chain)["extra"] in (0, *range(1200, 1300))


@pytest.mark.parametrize("toolchain", ONE_TOOLCHAIN)
def test_a_table_of_jumps_is_no_call(tmp_path: Path, toolchain: str) -> None:
    """A core without TBB has a word for each case of a switch: an address within the function itself."""
    project = stub_project(tmp_path / "stub")
    cases = "".join(f"case {n}u: seen = x * {n * n + 3}u; return x ^ {n * 77}u;" for n in range(12))
    jumps = (
        f"static volatile uint32_t seen; uint32_t jumps(uint32_t x) {{ switch (x) {{ {cases} }} return 0u; }}"
    )
    main = project / "src" / "main.c"
    text = main.read_text()
    assert "server_start();" in text
    text = text.replace(
        "server_start();", "server_start(); for (uint32_t n = 0u; n < 99u; n++) (void)jumps(n);"
    )
    main.write_text("#include <stdint.h>\nuint32_t jumps(uint32_t x);\n" + text)
    (project / "src" / "jumps.c").write_text(HEAD + jumps)
    add_platform(project, load_board("microbit"), "stub")
    stack = build(project, toolchain).stack
    assert stack.bytes is not None and not stack.problems, stack.text()


@pytest.mark.parametrize("toolchain", ONE_TOOLCHAIN)
def test_a_function_of_two_names_is_followed_by_either(tmp_path: Path, toolchain: str) -> None:
    """One of them, a weak one, is another function in the linked image."""
    project = stub_project(tmp_path / "stub")
    deep = HEAD + DEEP.format("deep", 700, "a[1]")
    for other in ("another", "zebra"):  # whichever of the two names comes last
        alias = f'uint32_t {other}(uint32_t x) __attribute__((weak, alias("middle")));\n'
        (project / "src" / f"{other}.c").write_text(
            deep
            + f"static uint32_t middle(uint32_t x) {{ return deep(x) + 1u; }}\n{alias}"
            + "static uint32_t (*const volatile held)(uint32_t) = middle;\n"
            + f"uint32_t by_{other}(uint32_t x);\nuint32_t by_{other}(uint32_t x) {{ return held(x); }}\n"
        )
    strong = "".join(f"uint32_t {n}(uint32_t x) {{ return x; }}\n" for n in ("another", "zebra"))
    declared = strong.replace("{ return x; }", ";")
    (project / "src" / "strong.c").write_text("#include <stdint.h>\n" + declared + strong)
    main = project / "src" / "main.c"
    calls = "(void)by_another(1u); (void)by_zebra(1u); (void)another(1u); (void)zebra(1u); server_start();"
    text = main.read_text().replace("server_start();", calls)
    main.write_text(
        "#include <stdint.h>\nuint32_t by_another(uint32_t x);\nuint32_t by_zebra(uint32_t x);\n"
        + declared
        + text
    )
    add_platform(project, load_board("mps2_an386"), "stub")
    stack = build(project, toolchain).stack
    assert stack.bytes is not None and stack.bytes >= 2800, stack.text()
    assert any(name.startswith("deep") for name, _ in stack.chain), stack.text()


@pytest.mark.parametrize("toolchain", ONE_TOOLCHAIN)
def test_recursion_has_no_bound(tmp_path: Path, toolchain: str) -> None:
    own = HEAD + (
        "uint32_t extra(uint32_t x)\n"
        "{ volatile uint32_t y = x; return x < 2u ? 1u : extra(x - 1u) * y + extra(x - 2u); }\n"
    )
    stack = built(tmp_path / "own", toolchain, own).stack
    assert stack.bytes is None and stack.problems == ("recursion: extra calls itself",)
    mutual = HEAD + (
        "__attribute__((noinline)) static uint32_t other(uint32_t x)\n"
        "{ volatile uint32_t y = x; return extra(x - 1u) + y; }\n"
        "__attribute__((noinline)) uint32_t extra(uint32_t x)\n"
        "{ volatile uint32_t y = x; return x == 0u ? 1u : other(x) + y; }\n"
    )
    stack = built(tmp_path / "mutual", toolchain, mutual).stack
    assert stack.bytes is None and "recursion: extra > other > extra" in stack.text()


@pytest.mark.parametrize("toolchain", ONE_TOOLCHAIN)
def test_a_frame_of_variable_size_has_no_bound(tmp_path: Path, toolchain: str) -> None:
    text = HEAD + "uint32_t extra(uint32_t x) { volatile uint8_t a[x + 1u]; a[x] = 3; return a[x / 2u]; }\n"
    stack = built(tmp_path, toolchain, text).stack
    assert stack.bytes is None and "extra" in stack.text()


@pytest.mark.parametrize("toolchain", TOOLCHAINS)
def test_decoded_frames_cover_the_compilers(tmp_path: Path, toolchain: str) -> None:
    """Library functions are known by decoding alone: it must never find less than a compiler says."""
    text = (
        HEAD
        + DEEP.format("small", 8, "a[0]")
        + DEEP.format("large", 3000, "small(a[1]) + a[2]")
        + ("uint32_t extra(uint32_t x) { return large(x) + small(x); }\n")
    )
    result = built(tmp_path, toolchain, text, ROOM)
    image = elf.read_image(result.elf)
    known = image.stack_sizes or {}
    for path in result.elf.parent.rglob("*.su"):
        for line in path.read_text().splitlines():
            place, size, _ = line.split("\t")
            known |= {a: int(size) for a, f in image.functions.items() if f.name == place.rsplit(":", 1)[1]}
    assert len(known) > 8
    for address, size in known.items():
        assert image.functions[address].frame >= size, image.functions[address].name
    assert max(known.values()) >= 12000


GUARD = 256
FAULT = "__builtin_trap();"
OVERFLOW = '__asm__ volatile("0: sub sp, #64\\n\\tstr r0, [sp]\\n\\tb 0b");'
QEMU = pytest.mark.skipif(not shutil.which("qemu-system-arm"), reason="qemu-system-arm is not installed")


EMULATED = [
    (kind, board.name)
    for board in list_boards()
    for kind, there in (("unicorn", board.emulator.unicorn), ("qemu", bool(board.emulator.qemu)))
    if there and board.port.hal == "cmsdk"  # one of each core
]
SHORT = (("unicorn", "mps2_an386"), ("unicorn", "mps2_an505"))  # a guard by the MPU, one by MSPLIM


@pytest.mark.parametrize(
    ("kind", "board"),
    [
        pytest.param(*p, marks=QEMU if p[0] == "qemu" else () if p in SHORT else pytest.mark.long)
        for p in EMULATED
    ],
)
def test_a_stack_that_overflows_is_a_fault_and_leaves_the_state_alone(
    tmp_path: Path, kind: str, board: str
) -> None:
    """The stack lies below the state: what grows out of it leaves RAM and is told, with the place."""
    project = stub_project(tmp_path / "stub")
    source = project / "lib" / "stub" / "src" / "stub.c"
    assert FAULT in source.read_text()
    source.write_text(source.read_text().replace(FAULT, OVERFLOW))
    add_platform(project, load_board(board), "stub")
    build(project)
    with open_device(kind, project, load_board(board)) as device:
        client = connect(device)
        client.learn(bytes(client.info.input_bytes), 1)
        with pytest.raises(DeviceError, match="stack overflow") as told:
            client.run(client.info.programs - 1, timeout=5)
    places = [int(word, 16) for word in re.findall(r"0x[0-9a-f]{8}", str(told.value))]
    origin = load_board(board).ram.origin
    assert any(abs(origin + GUARD - place) <= 2 * GUARD for place in places), str(told.value)


def test_the_stack_lies_below_everything_that_is_kept(tmp_path: Path) -> None:
    board = load_board("mps2_an386")
    for toolchain in ("gcc", "zig") if GCC else ("zig",):
        image = elf.read_image(built(tmp_path / toolchain, toolchain).elf)
        assert image.sections[".stack"] == (board.ram.origin, GUARD + board.stack)
        assert image.sections[".bss"][0] >= board.ram.origin + GUARD + board.stack
