"""Emulated and serial devices under the echo firmware: bytes there and back, resets, crashes, and what cannot
be opened."""

from __future__ import annotations

import dataclasses
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from counts import ONE_TOOLCHAIN
from echo_firmware import add_platform, echo_project
from stub_model import stub_project

from synapcc.gen.target.boards import Emulator, load_board
from synapcc.host.devices import Device, DeviceError, _watchdog, open_device, qemu, serial, unicorn
from synapcc.host.devices.serial import SerialDevice
from synapcc.host.firmware.build import build
from synapcc.host.link.client import connect

BOARDS = ("mps2_an385", "mps2_an386")
NO_QEMU = pytest.mark.skipif(
    shutil.which("qemu-system-arm") is None, reason="qemu-system-arm is not installed"
)
KINDS = ("unicorn", pytest.param("qemu", marks=NO_QEMU))
BYTES = bytes(range(255))


@pytest.fixture(scope="module")
def projects(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("projects")
    return {board: echo_project(root / board, board) for board in BOARDS}


@pytest.fixture
def project(projects: dict[str, Path]) -> Path:
    return projects["mps2_an386"]


def ask(device: Device, request: bytes, count: int, seconds: float = 10) -> bytes:
    device.write(request)
    answer = b""
    end = time.monotonic() + seconds
    while len(answer) < count and time.monotonic() < end:
        answer += device.read(end - time.monotonic())
    return answer


def exercise(device: Device, board: str) -> None:
    assert ask(device, b"p", 1) == b"\x01" and ask(device, b"pp", 2) == b"\x02\x03"
    assert ask(device, b"n", len(board) + 1) == board.encode() + b"\x19"
    for _ in range(20):
        assert ask(device, b"e\xff" + BYTES, 255) == BYTES[::-1]
    assert device.read(0.01) == b""


@pytest.mark.parametrize("board", BOARDS)
@pytest.mark.parametrize("toolchain", ONE_TOOLCHAIN)
@pytest.mark.parametrize("kind", KINDS)
def test_bytes_there_and_back(projects: dict[str, Path], kind: str, toolchain: str, board: str) -> None:
    build(projects[board], toolchain)
    with open_device(kind, projects[board]) as device:
        assert device.name.startswith(f"{kind} ") and device.name[-1].isdigit()
        exercise(device, board)
        device.reset()
        assert ask(device, b"p", 1) == b"\x01"
    for use in (lambda: device.read(0), lambda: device.write(b"p"), device.reset):
        with pytest.raises(DeviceError, match="the device is closed"):
            use()
    device.close()


def test_opening_builds_what_is_missing_or_stale(tmp_path: Path) -> None:
    project = echo_project(tmp_path / "echo")
    with open_device("unicorn", project, load_board("mps2_an386")) as device:
        assert ask(device, b"x\x05", 1) == b"\x05"
    (project / "src" / "extra.c").write_text(
        "#include <stdint.h>\nuint32_t extra(uint32_t x);\nuint32_t extra(uint32_t x) { return x + 1u; }\n"
    )
    with open_device("unicorn", project) as device:
        assert ask(device, b"x\x05", 1) == b"\x06"


@pytest.mark.parametrize(
    ("request_", "what"),
    [
        (b"w", r"writes 4 bytes at 0x60000000.*PC 0x0000\w{4} in wild, LR \S+ in main"),
        (b"s", r"writes 4 bytes at 0x1f\w+.*in overflow.*stack overflow"),
        (b"z", "sleeps until an interrupt"),
    ],
)
def test_unicorn_tells_where_the_firmware_broke(project: Path, request_: bytes, what: str) -> None:
    build(project, "zig")
    with open_device("unicorn", project) as device:
        device.write(b"p" + request_)
        assert device.read(5) == b"\x01"  # what was sent before the end still arrives
        for _ in range(2):
            with pytest.raises(DeviceError, match=what) as caught:
                device.read(5)
            assert "\n" not in str(caught.value)
        device.reset()
        assert ask(device, b"p", 1) == b"\x01"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_that_comes_while_the_firmware_asks_for_a_register_ends_the_program(
    number: signal.Signals,
    project: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An exception in a callback of unicorn's would be printed and lost."""
    uart = unicorn.UARTS["cmsdk"]
    plain, sent = uart.read, list[int]()

    def read(self: object, address: int) -> int:
        if not sent:
            sent.append(1)
            signal.raise_signal(number)
        return plain(self, address)  # type: ignore[arg-type]

    lost: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", lost.append)
    monkeypatch.setattr(uart, "read", read)
    former = signal.signal(number, lambda *_: sys.exit(99))
    try:
        with open_device("unicorn", project) as device, pytest.raises(SystemExit, match="99"):
            device.read(5)
        assert sent and not lost and capsys.readouterr().err == ""
    finally:
        signal.signal(number, former)


def test_unicorn_stops_waiting_for_a_firmware_that_loops(project: Path) -> None:
    board = load_board("mps2_an386")
    with unicorn.UnicornDevice(build(project).elf, board, limit=0.3) as device:
        device.write(b"l")
        assert device.read(0.1) == b""
        with pytest.raises(DeviceError, match=r"did not ask for input within 0\.3 s \(PC .* in hang"):
            device.read(10)


def test_a_watchdog_stops_what_runs_too_long_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_watchdog, "IDLE_SECONDS", 0.1)
    stops: list[float] = []
    dog = _watchdog.Watchdog(lambda: stops.append(time.monotonic()))
    before = threading.active_count()
    for _ in range(200):
        with dog.within(30.0):
            pass
    assert not stops and threading.active_count() <= before + 1
    began = time.monotonic()
    with dog.within(0.05):
        while len(stops) < 3:  # until it has ended: the first one may come before it begins
            assert time.monotonic() < began + 20
            time.sleep(0.01)
    known = len(stops)
    assert stops[0] >= began + 0.05
    while dog._thread is not None:
        assert time.monotonic() < began + 40
        time.sleep(0.02)
    assert len(stops) == known, "behind the block nothing is stopped"


INTERRUPTED = """
import os, signal, sys, threading
from pathlib import Path
from synapcc.host.devices.unicorn import open as start
signal.signal(signal.SIGINT, signal.default_int_handler)
with start(Path(sys.argv[1]), "", None) as device:
    device.write(b"l")
    threading.Timer(1.0, os.kill, (os.getpid(), int(sys.argv[2]))).start()
    try:
        device.read(60.0)
    except KeyboardInterrupt:
        print("interrupted")
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 0), (signal.SIGTERM, -signal.SIGTERM)])
def test_a_signal_ends_what_unicorn_runs(project: Path, number: int, code: int) -> None:
    """And is not lost in a callback: the firmware loops, and nothing else would end it."""
    words = [sys.executable, "-c", INTERRUPTED, str(project), str(int(number))]
    child = subprocess.run(words, capture_output=True, text=True, timeout=50, check=False)
    assert child.returncode == code and not child.stderr, child
    assert child.stdout == ("interrupted\n" if code == 0 else "")


@pytest.mark.parametrize("toolchain", ONE_TOOLCHAIN)
def test_unicorn_counts_instructions_exactly(project: Path, toolchain: str) -> None:
    build(project, toolchain)
    with open_device("unicorn:count", project) as device:
        assert isinstance(device, unicorn.UnicornDevice)
        counts = []
        for thousands in (1, 1, 2, 202):
            before = device.counter.instructions
            assert ask(device, b"c" + bytes([thousands]), 1) == b"c"
            counts.append(device.counter.instructions - before)
        # two instructions a round; the first of all also counts the start-up
        assert counts[2] - counts[1] == 2000 and counts[3] - counts[2] == 400_000
    with open_device("unicorn", project) as device:
        assert isinstance(device, unicorn.UnicornDevice)
        assert ask(device, b"p", 1) and device.counter.instructions == 0


def test_unicorn_ram_is_the_boards_and_holds_rubbish(project: Path) -> None:
    with unicorn.UnicornDevice(build(project).elf, load_board("mps2_an386")) as device:
        ask(device, b"e\x01x", 1)
        assert 250 < device.stack_used() < 400
    none = dataclasses.replace(load_board("mps2_an386"), emulator=Emulator("mps2-an386", False))
    with pytest.raises(DeviceError, match="mps2_an386 does not run in unicorn"):
        unicorn.UnicornDevice(build(project).elf, none)


def test_unicorn_that_is_not_installed(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unicorn, "uc_api", None)
    with pytest.raises(DeviceError, match="the Python package unicorn is missing; pip install"):
        open_device("unicorn", project)


def test_unicorn_is_fast_enough_for_thousands_of_frames(project: Path) -> None:
    with open_device("unicorn", project) as device:
        begin = time.monotonic()
        for _ in range(100):
            ask(device, b"e\xff" + BYTES, 255)
        assert time.monotonic() - begin < 3


@pytest.mark.parametrize("spec", ["unicorn:fast", "qemu:fast", "qemu:"])
def test_options_that_do_not_exist(project: Path, spec: str) -> None:
    if spec == "qemu:":
        with pytest.raises(DeviceError, match="there is no such kind"):
            open_device("quemu", project)
    else:
        with pytest.raises(DeviceError, match="no option 'fast'"):
            open_device(spec, project)


def test_qemu_that_is_not_installed(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    qemu.find_qemu.cache_clear()
    monkeypatch.setattr(qemu.shutil, "which", lambda name: None)
    with pytest.raises(DeviceError, match="qemu-system-arm is not installed; apt install"):
        open_device("qemu", project)


@NO_QEMU
def test_qemu_that_dies_or_never_starts(project: Path) -> None:
    with qemu.QemuDevice(build(project).elf, load_board("mps2_an386")) as device:
        assert ask(device, b"p", 1) == b"\x01"
        device._child.kill()
        with pytest.raises(DeviceError, match="QEMU ended with status -9"):
            ask(device, b"p", 1)
    wrong = dataclasses.replace(load_board("mps2_an386"), emulator=Emulator("mps2-an0"))
    with (
        qemu.QemuDevice(build(project).elf, wrong) as device,
        pytest.raises(DeviceError, match="unsupported machine"),
    ):
        ask(device, b"p", 1)


@NO_QEMU
def test_bytes_sent_before_the_firmware_listens_are_not_lost(project: Path) -> None:
    with open_device("qemu", project) as device:
        for _ in range(5):
            device.reset()
            assert ask(device, b"p", 1, 5) == b"\x01"


@NO_QEMU
def test_qemu_dies_with_its_parent(project: Path) -> None:
    build(project)
    script = (
        "import sys, time\nfrom pathlib import Path\nfrom synapcc.host.devices import open_device\n"
        "device = open_device('qemu', Path(sys.argv[1]))\nprint(device._child.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", script, project], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    os.kill(pid, 0)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    end = time.monotonic() + 5
    while time.monotonic() < end:
        state = Path(f"/proc/{pid}/stat")
        if not state.exists() or state.read_text().split()[2] == "Z":  # nobody in a container may reap it
            return
        time.sleep(0.02)
    os.kill(pid, signal.SIGKILL)
    pytest.fail("QEMU lives on")


@pytest.mark.parametrize("board", BOARDS)
@pytest.mark.parametrize("kind", KINDS)
def test_the_real_firmware_learns_the_same_everywhere(tmp_path: Path, kind: str, board: str) -> None:
    project = stub_project(tmp_path / "stub")
    add_platform(project, load_board(board), "stub")

    def digests(spec: str) -> list[bytes | None]:
        with open_device(spec, project, load_board(board)) as device:
            client = connect(device)
            samples = [bytes((3 * i + j) % 256 for j in range(client.info.input_bytes)) for i in range(20)]
            return [client.learn(x, i % client.info.classes) for i, x in enumerate(samples)]

    assert digests(kind) == digests("process")


# ---- serial


class Bridge(threading.Thread):
    """Firmware in unicorn behind a file descriptor, as if at the other end of a cable."""

    def __init__(self, elf: Path, descriptor: int) -> None:
        super().__init__(daemon=True)
        self._device = unicorn.UnicornDevice(elf, load_board("mps2_an386"))
        self._descriptor = descriptor
        self.start()

    def run(self) -> None:
        while True:
            try:
                data = os.read(self._descriptor, 4096)
            except OSError:
                return
            if not data:
                return
            self._device.write(data)
            while answer := self._device.read(1):
                os.write(self._descriptor, answer)


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="this system has no ptys")
def test_serial_over_a_pty(project: Path) -> None:
    master, slave = os.openpty()
    Bridge(build(project).elf, master)
    with open_device(f"serial:{os.ttyname(slave)}", project) as device:
        assert device.name == f"serial:{os.ttyname(slave)}"
        exercise(device, "mps2_an386")
        with pytest.raises(DeviceError, match="another program uses the port"):
            open_device(f"serial:{os.ttyname(slave)}", project)
        with pytest.raises(DeviceError, match="press its reset button"):
            device.reset()
    device.close()
    with pytest.raises(DeviceError, match="closed"):
        device.read(0)
    os.close(slave)


@NO_QEMU
def test_serial_over_a_socket_to_qemu(project: Path) -> None:
    program, _ = qemu.find_qemu()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        child = subprocess.Popen(
            [
                program,
                "-M",
                "mps2-an386",
                "-kernel",
                build(project).elf,
                "-nodefaults",
                "-nic",
                "none",
                "-display",
                "none",
                "-chardev",
                f"socket,id=link,fd={listener.fileno()},server=on,wait=off,nodelay=on",
                "-serial",
                "chardev:link",
            ],
            pass_fds=(listener.fileno(),),
        )
        time.sleep(0.5)  # a client before the UART is on would wait: see qemu._WAKE_SECONDS
        try:
            with open_device(f"serial:socket://127.0.0.1:{listener.getsockname()[1]}", project) as device:
                exercise(device, "mps2_an386")
                child.kill()
                child.wait()
                with pytest.raises(DeviceError, match="the port went away"):
                    ask(device, b"p", 1, 2)
        finally:
            child.kill()
            child.wait()


def test_ports_that_cannot_be_opened(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refusal(argument: str) -> str:
        with pytest.raises(DeviceError) as caught:
            open_device(f"serial:{argument}", project)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    assert "which port?" in refusal("")
    assert "there is no such port; ports here:" in refusal(str(tmp_path / "ttyACM9"))
    assert "cannot be opened" in refusal(str(tmp_path))
    assert "is not a port" in refusal("sockets://localhost:1")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    assert "nobody listens there" in refusal(f"socket://127.0.0.1:{port}")

    def denied(*_: object, **__: object) -> None:
        raise serial.serial.SerialException(13, "could not open port")

    monkeypatch.setattr(serial.serial.Serial, "open", denied)
    assert "no permission to open the port" in refusal("/dev/null")


def test_the_reset_line_is_pulsed(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with SerialDevice("loop://", 115200, "dtr") as device:
        device.write(b"left over")
        levels: list[bool] = []
        monkeypatch.setattr(
            type(device._port), "dtr", property(lambda _: None, lambda _, level: levels.append(level))
        )
        device.reset()
        assert levels == [True, False] and device.read(0) == b""
