"""Every board that an emulator has learns there as the emulator of the host does; HALs forget nothing."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conv_nets import cnn, data
from echo_firmware import add_platform
from projects import case
from stub_model import stub_project

from synapcc.gen.compile import compile_model
from synapcc.gen.emit import render, write
from synapcc.gen.ir.plan import Plan
from synapcc.gen.spec import Replay, RuleSpec, Store
from synapcc.gen.target.boards import Board, Core, list_boards, load_board
from synapcc.host.devices import DeviceError, open_device
from synapcc.host.firmware.build import BuildResult, build
from synapcc.host.link.client import Client, connect
from synapcc.host.run.samples import load_samples
from synapcc.host.run.verify import verify

GCC = shutil.which("arm-none-eabi-gcc")
QEMU = pytest.mark.skipif(shutil.which("qemu-system-arm") is None, reason="qemu-system-arm is not installed")
IN_QEMU = [b.name for b in list_boards() if b.emulator.qemu]
NOT_IN_QEMU = [b.name for b in list_boards() if b.link and not b.emulator.qemu]
TOOLCHAINS = (
    pytest.param("gcc", marks=pytest.mark.skipif(GCC is None, reason="arm-none-eabi-gcc is not installed")),
    "zig",
)
MORE = "[store]\nsamples = 5\n[replay]\nsamples = 6\nevery = 2\n[decay]\nshift = 8\nevery = 4\n"


def project(folder: Path, board: Board) -> tuple[Plan, Path, Path]:
    """A small network that learns and replays, its output folder and its data."""
    c = case(folder / "case", more=MORE)
    compiled = compile_model(str(c.model), str(c.rule), str(c.data), board)
    out = folder / "out"
    write(render(compiled.plan, board, "a test"), out)
    return compiled.plan, out, c.data


def conv_project(folder: Path, board: Board, untied: bool) -> tuple[Plan, Path, Path]:
    """A small convolutional network: the first convolution is frozen, the second learns, tied or not."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(5)
    spec = RuleSpec(
        "hebbian",
        layers=("conv2", "fc"),
        untied=("conv2",) if untied else (),
        replay=Replay(4),
        store=Store(3),
    )
    samples = data(rng)
    compiled = compile_model(cnn(rng), spec, samples, board)
    out = folder / "out"
    write(render(compiled.plan, board, "a test"), out)
    np.savez(folder / "data.npz", **samples)  # type: ignore[arg-type]
    return compiled.plan, out, folder / "data.npz"


def learns_the_same(plan: Plan, out: Path, data: Path, kind: str, steps: int, built: BuildResult) -> None:
    """No byte differs after `steps` steps, and the stack was no deeper than its bound."""
    with open_device(kind, out) as device:
        client = connect(device, plan.digest)
        verdict = verify(plan, client, load_samples(plan, data, labels=True), steps)
        used = client.stats().stack_used
    assert verdict.line == f"verify: {steps} steps, 0 differing bytes"
    assert built.stack.bytes is not None, built.stack.text()
    assert 0 < used <= built.stack.bytes - built.stack.exception


@QEMU
@pytest.mark.parametrize("name", IN_QEMU)
def test_learning_is_equal_in_qemu(name: str, tmp_path: Path) -> None:
    plan, out, data = project(tmp_path, load_board(name))
    built = build(out)
    assert built.linked.offending == () and built.guard == load_board(name).core.guard
    learns_the_same(plan, out, data, "qemu", 1000 if name == "mps2_an386" else 200, built)


@QEMU
@pytest.mark.parametrize(
    "name",
    [n if n in ("mps2_an386", "microbit") else pytest.param(n, marks=pytest.mark.long) for n in IN_QEMU],
)
def test_convolutions_learn_equally_in_qemu(name: str, tmp_path: Path) -> None:
    """Frozen and learned; tied on half of the boards, untied on the others, both on the M0 and the M4."""
    both = name in ("microbit", "mps2_an386")
    for untied in (False, True) if both else (len(name) % 2 == 1,):
        plan, out, samples = conv_project(tmp_path / str(untied), load_board(name), untied)
        learns_the_same(plan, out, samples, "qemu", 200, build(out))
        assert {s.kernel for _, _, s in plan.ops()} >= {"conv2d.forward"} | (
            {"local2d.update"} if untied else {"conv2d.update"}
        )


@pytest.mark.parametrize("name", ["nrf52840_dk", "nucleo_l476rg"])
def test_hals_of_boards_that_qemu_lacks_run_in_unicorn(name: str, tmp_path: Path) -> None:
    plan, out, data = project(tmp_path, load_board(name))
    learns_the_same(plan, out, data, "unicorn", 50, build(out, "zig"))


@pytest.mark.long
@pytest.mark.parametrize("toolchain", TOOLCHAINS)
@pytest.mark.parametrize("name", [*IN_QEMU, *NOT_IN_QEMU])
def test_every_board_with_every_toolchain(name: str, toolchain: str, tmp_path: Path) -> None:
    board = load_board(name)
    plan, out, data = project(tmp_path, board)
    built = build(out, toolchain)
    assert board.emulator.unicorn or board.core.cpu == "cortex-m55"
    if board.emulator.unicorn:
        learns_the_same(plan, out, data, "unicorn", 50, built)
    if board.emulator.qemu and shutil.which("qemu-system-arm"):
        learns_the_same(plan, out, data, "qemu", 200, built)


CORES_OF_NO_BOARD = [
    Core("cortex-m0plus"), Core("cortex-m4"), Core("cortex-m7"), Core("cortex-m7", "fpv5-d16"),
    Core("cortex-m33"), Core("cortex-m55"), Core("cortex-m55", "fpv5-d16"),
]  # fmt: skip


@pytest.mark.long
@pytest.mark.parametrize("toolchain", TOOLCHAINS)
@pytest.mark.parametrize("core", CORES_OF_NO_BOARD, ids=str)
def test_the_firmware_builds_for_cores_that_no_board_has(core: Core, toolchain: str, tmp_path: Path) -> None:
    like = {"cortex-m0plus": "microbit", "cortex-m7": "mps2_an500", "cortex-m33": "mps2_an505"}
    board = replace(load_board(like.get(core.cpu, "mps2_an386")), core=core)
    plan, out, data = project(tmp_path, board)
    built = build(out, toolchain)
    assert built.linked.offending == ()
    if core.cpu != "cortex-m55":
        learns_the_same(plan, out, data, "unicorn", 20, built)


# ---- what the emulators would not forgive --------------------------------------------------------------

FAULT = "__builtin_trap();"
UNALIGNED = r"""__asm__ volatile(
        ".syntax unified\n\tmov r0, sp\n\tadds r0, #1\n\tldr r0, [r0]" ::: "r0", "memory");"""


@pytest.mark.parametrize("kind", ["unicorn", pytest.param("qemu", marks=QEMU)])
@pytest.mark.parametrize(("name", "faults"), [("microbit", True), ("mps2_an386", False)])
def test_an_unaligned_access_faults_on_a_cortex_m0(
    name: str, faults: bool, kind: str, tmp_path: Path
) -> None:
    """So a firmware that learned 200 steps there has none."""
    out = stub_project(tmp_path / "stub")
    source = out / "lib" / "stub" / "src" / "stub.c"
    assert FAULT in source.read_text()
    source.write_text(source.read_text().replace(FAULT, UNALIGNED))
    add_platform(out, load_board(name), "stub")
    with open_device(kind, out) as device:
        client = connect(device)
        if faults:
            with pytest.raises(DeviceError, match=r"fault at 0x|raised exception"):
                client.run(client.info.programs - 1, timeout=5)
        else:
            client.run(client.info.programs - 1, timeout=5)


FORGOTTEN = [
    ("nucleo_f446re", "register_change(ON_APB2 ? RCC_APB2ENR : RCC_APB1ENR, 0, 1u << CLOCK_BIT);"),
    ("nucleo_l476rg", "pin_init(SYNAPCC_RX_PIN, PULL_UP);"),
    ("nrf52840_dk", "uart_write(UART_BAUD_RATE, BAUD_RATE);"),
]


@pytest.mark.parametrize(("name", "line"), FORGOTTEN)
def test_unicorn_is_silent_where_a_hal_forgets_something(name: str, line: str, tmp_path: Path) -> None:
    board = load_board(name)
    out = stub_project(tmp_path / "stub")
    source = out / "src" / "hal" / f"{board.port.hal}.c"
    assert line in source.read_text()
    source.write_text(source.read_text().replace(line, ""))
    add_platform(out, board, "stub")
    with open_device("unicorn", out) as device, pytest.raises(DeviceError, match="no answer to HELLO"):
        Client(device, timeout=0.2, attempts=2)


def test_an_oscillator_that_never_starts_does_not_hang_the_link(tmp_path: Path) -> None:
    """The waits of hal_init have an end: an STM32L4 then stays at 4 MHz and divides that."""
    board = load_board("nucleo_l476rg")
    out = stub_project(tmp_path / "stub")
    source = out / "src" / "hal" / "stm32l4.c"
    line = "register_change(RCC_CR, 0, CR_HSI16_ON);"
    assert line in source.read_text()
    source.write_text(source.read_text().replace(line, ""))
    add_platform(out, board, "stub")
    with open_device("unicorn", out) as device:
        assert connect(device).info.board == "nucleo_l476rg"
