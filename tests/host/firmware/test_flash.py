"""synapcc flash, with uploaders that only write down what they were told."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from projects import case, refusal

from synapcc.gen.target.boards import BOARDS
from synapcc.host.cli import main
from synapcc.host.firmware import flash, tools
from synapcc.host.firmware.build import build

Capsys = pytest.CaptureFixture[str]
Uploader = Callable[..., Path]

PYOCD_ABSENT = "No connected debug probes\n0001249 E No target device available [load_cmd]\n"
PYOCD_UNKNOWN = (
    "0000512 C Target type stm32f446retx not recognized. Use 'pyocd list --targets' to see [__main__]\n"
)
OPENOCD_ABSENT = "Open On-Chip Debugger 0.12.0\nError: open failed\n"
OPENOCD_OTHER = "** Programming Started **\nError: couldn't open the flash bank\n** Programming Failed **\n"


@pytest.fixture(scope="module")
def outs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Output folders of a small network by board, the first two built."""
    root = tmp_path_factory.mktemp("flash")
    c = case(root)
    found = {}
    for board in ("nucleo_f446re", "microbit", "arduino_nano33ble", "mps2_an386"):
        found[board] = root / board
        assert main(c.words(found[board], "--board", board)) == 0
    for board in ("nucleo_f446re", "microbit"):
        build(found[board], "zig")
    return found


@pytest.fixture
def uploader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Uploader:
    """Puts a program on PATH that notes its arguments, says something and ends with a status; the note."""
    monkeypatch.setattr(
        flash.importlib.util, "find_spec", lambda name: None
    )  # an installed pyocd is left alone
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=os.pathsep)

    def make(name: str, says: str = "", status: int = 0) -> Path:
        (tmp_path / "bin").mkdir(exist_ok=True)
        (tmp_path / "says").write_text(says)
        note = tmp_path / f"{name}.note"
        program = tmp_path / "bin" / name
        program.write_text(
            f"#!/bin/sh\nprintf '%s\\n' \"$@\" > '{note}'\ncat '{tmp_path / 'says'}'\nexit {status}\n"
        )
        program.chmod(0o755)
        return note

    return make


def test_platformio_uploads_by_the_command_of_the_board(
    outs: dict[str, Path], uploader: Uploader, capsys: Capsys
) -> None:
    note, out = uploader("openocd"), outs["nucleo_f446re"]
    elf = build(out).elf
    before = elf.read_bytes()
    assert main(["flash", str(out)]) == 0
    said = capsys.readouterr().out
    assert "nucleo_f446re: " in said and "bytes of flash written with platformio" in said
    assert f"next: synapcc verify {out} --data DATA.npz --device serial:PORT" in said
    assert note.read_text().splitlines() == [
        "-f", "interface/stlink.cfg", "-f", "target/stm32f4x.cfg",
        "-c", "program .pio/build/nucleo_f446re/firmware.elf verify reset exit",
    ]  # fmt: skip
    assert elf.read_bytes() == before and build(out).toolchain.startswith("zig")


def test_pyocd_uploads_where_the_board_says_so_or_the_user(
    outs: dict[str, Path], uploader: Uploader, capsys: Capsys
) -> None:
    note = uploader("pyocd")
    for board, chip, words in (
        ("microbit", "nrf51822", []),
        ("nucleo_f446re", "stm32f446retx", ["--with", "pyocd"]),
    ):
        assert main(["flash", str(outs[board]), "--port", "/dev/ttyACM3", *words]) == 0
        elf = outs[board].resolve() / ".pio" / "build" / board / "firmware.elf"
        assert note.read_text().splitlines() == ["load", "--no-wait", "-t", chip, str(elf)]
        assert "--device serial:/dev/ttyACM3" in capsys.readouterr().out


def test_an_upload_that_needs_the_port_asks_for_it_and_gets_it(
    outs: dict[str, Path], uploader: Uploader, capsys: Capsys
) -> None:
    note, out = uploader("bossac"), outs["arduino_nano33ble"]
    line = refusal(["flash", str(out)], capsys)
    assert line == "arduino_nano33ble: bossac must know the port; synapcc flash OUT --port PORT"
    assert not note.exists() and not (out / ".pio").exists()  # asked before anything was built
    assert main(["flash", str(out), "--port", "/dev/ttyACM7"]) == 0
    image = out.resolve() / ".pio" / "build" / "arduino_nano33ble" / "firmware.bin"
    assert note.read_text().splitlines() == ["--port=/dev/ttyACM7", "-U", "-i", "-e", "-w", str(image), "-R"]


def test_an_upload_that_hangs_is_ended_with_all_that_it_started(
    outs: dict[str, Path], uploader: Uploader, capsys: Capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    note, pid = uploader("pyocd"), os.getpid()
    program = note.parent / "bin" / "pyocd"
    said = "echo 0001249 W waiting for target; echo"
    program.write_text(f"#!/bin/sh\nsleep 3{pid} &\necho $! > '{note}'\n{said}\nwait\n")
    monkeypatch.setattr(flash, "UPLOAD_SECONDS", 1.0)
    line = refusal(["flash", str(outs["nucleo_f446re"]), "--with", "pyocd"], capsys)
    told = (
        "nucleo_f446re: pyocd did not end within 1 s, and last said: 0001249 W waiting for target; unplug the"
    )
    assert line.startswith(told)
    log = outs["nucleo_f446re"] / ".pio" / "upload.log"
    assert line.endswith(f"; whole output: {log.resolve()}")
    assert log.read_text() == "0001249 W waiting for target\n\n"
    with pytest.raises(ProcessLookupError):
        for _ in range(100):  # whoever adopts it may take a moment
            os.kill(int(note.read_text()), 0)
            time.sleep(0.05)


LOOP = "echo begun; while :; do sleep 0.05; done"
CAREFUL = f"trap 'echo resumed; sleep 0.1; echo clean > clean; exit 1' TERM; {LOOP}"
STUBBORN = f"trap '' TERM; {LOOP}"
AWAY = "trap 'exit 0' TERM; setsid sleep 3 & echo begun; wait; wait"


@pytest.mark.parametrize(
    ("script", "said"),
    [(CAREFUL, "begun\nresumed\n"), (STUBBORN, "begun\n"), (AWAY, "begun\n"), ("exec sleep 9", "")],
)
def test_a_tool_that_hangs_may_leave_its_board_in_order(
    script: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is asked to end before it is killed; what it said is kept, whoever else holds its output open."""
    monkeypatch.setattr(tools, "GRACE_SECONDS", 1.0)
    with pytest.raises(tools.Hung, match=r"did not end within 1 s") as hung:
        tools.run(["/bin/sh", "-c", script], tmp_path, seconds=1.0)
    assert hung.value.said.replace("Terminated\n", "") == said  # which shells say of what they started
    assert (tmp_path / "clean").exists() == (script is CAREFUL)


@pytest.mark.parametrize("words", [["/bin/sh", "-c", CAREFUL], ["true"]])
def test_ctrl_c_lets_a_tool_end(words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And at the very moment in which it has ended, too."""
    wait, first = subprocess.Popen.communicate, [True]

    def interrupted(self: subprocess.Popen[str], *args: object, **more: object) -> object:
        if not first[0]:
            return wait(self, *args, **more)  # type: ignore[arg-type]
        first[0] = False
        if words == ["true"]:
            wait(self)
        time.sleep(0.3)
        raise KeyboardInterrupt

    monkeypatch.setattr(subprocess.Popen, "communicate", interrupted)
    with pytest.raises(KeyboardInterrupt):
        tools.run(words, tmp_path)
    assert (tmp_path / "clean").exists() == (words != ["true"])


def test_a_tool_ends_with_whoever_started_it(tmp_path: Path) -> None:
    """However that ended: by kill -9, too."""
    script = f"echo $$ > '{tmp_path / 'pid'}'; sleep 60"
    source = "import sys; from pathlib import Path; from synapcc.host.firmware import tools; "
    source += "tools.run(['/bin/sh', '-c', sys.argv[1]], Path())"
    with subprocess.Popen([sys.executable, "-c", source, script]) as parent:
        for _ in range(400):
            if (tmp_path / "pid").is_file() and (tmp_path / "pid").read_text().endswith("\n"):
                break
            time.sleep(0.05)
        parent.kill()
    pid = int((tmp_path / "pid").read_text())
    with pytest.raises(ProcessLookupError):
        for _ in range(100):
            os.kill(pid, 0)
            time.sleep(0.05)


@pytest.mark.parametrize(
    ("board", "words", "tool", "says", "line"),
    [
        ("microbit", [], "pyocd", PYOCD_ABSENT, "pyocd finds no board: No target device available; is the"),
        ("nucleo_f446re", ["--with", "pyocd"], "pyocd", PYOCD_UNKNOWN, "pyocd pack install stm32f446retx"),
        ("nucleo_f446re", [], "openocd", OPENOCD_ABSENT, "platformio finds no board: open failed; is the"),
        ("nucleo_f446re", [], "openocd", OPENOCD_OTHER, "nucleo_f446re: couldn't open the flash bank; whole"),
        ("microbit", [], "pyocd", "", "pyocd failed and did not say why; whole output:"),
    ],
)  # fmt: skip
def test_what_goes_wrong_is_one_line(
    board: str, words: list[str], tool: str, says: str, line: str,
    outs: dict[str, Path], uploader: Uploader, capsys: Capsys,
) -> None:  # fmt: skip
    uploader(tool, says, 1)
    said = refusal(["flash", str(outs[board]), *words], capsys)
    assert line in said
    kept = (outs[board] / ".pio" / "upload.log").read_text().splitlines()
    told = iter(kept)  # PlatformIO writes to the other stream, and its lines come between
    assert all(text in told for text in says.splitlines()), kept


def test_a_board_of_the_registry_is_left_to_its_platform(
    uploader: Uploader, tmp_path: Path, capsys: Capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (BOARDS / "mps2_an386.toml").read_text().replace('"mps2_an386"', '"mine"', 1)
    (tmp_path / "mine.toml").write_text(text.replace('"synapcc"', '"ststm32"\nframework = "cmsis"'))
    c, out = case(tmp_path), tmp_path / "out"
    assert main(c.words(out, "--board", str(tmp_path / "mine.toml"))) == 0
    asked: list[tuple[str, ...]] = []

    def run(project: Path, *words: str, **_: object) -> subprocess.CompletedProcess[str]:
        (project / ".pio").mkdir(exist_ok=True)
        asked.append(words)
        return subprocess.CompletedProcess(words, 0, "done")

    monkeypatch.setattr(flash, "build", lambda _: SimpleNamespace(flash=9, toolchain="PlatformIO ststm32"))
    monkeypatch.setattr(flash.platformio, "run", run)
    assert main(["flash", str(out), "--port", "COM3"]) == 0
    assert asked == [("run", "-e", "mine", "-t", "upload", "--upload-port", "COM3")]
    assert "serial:COM3" in capsys.readouterr().out


def test_what_cannot_be_flashed_is_told_before_anything_is_built(
    outs: dict[str, Path], uploader: Uploader, tmp_path: Path, capsys: Capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "is a virtual board: there is nothing to flash" in refusal(
        ["flash", str(outs["mps2_an386"])], capsys
    )
    assert "is not an output folder" in refusal(["flash", str(tmp_path)], capsys)
    monkeypatch.setenv("PATH", str(tmp_path))
    line = refusal(["flash", str(outs["nucleo_f446re"])], capsys)
    assert "openocd is not on PATH" in line and "--with pyocd" in line
    assert "pip install 'synapcc[flash]'" in refusal(["flash", str(outs["microbit"])], capsys)
