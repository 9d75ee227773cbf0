"""Board files: what is in them, and one clear line for everything that is wrong."""

from __future__ import annotations

import json
import os
import re
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
from echo_firmware import render
from projects import case, listing, refusal

from synapcc.gen.compile import compile_model
from synapcc.gen.emit import render as render_project
from synapcc.gen.emit import write as write_project
from synapcc.gen.errors import CompileError
from synapcc.gen.ir.plan import Plan
from synapcc.gen.target.boards import (
    BOARDS,
    Board,
    Flash,
    board_dict,
    board_names,
    list_boards,
    load_board,
    parse_board,
    pin_number,
    platformio_board,
)
from synapcc.gen.target.hals import functions
from synapcc.host.cli import main
from synapcc.host.firmware import platformio
from synapcc.host.firmware.build import project_board

Capsys = pytest.CaptureFixture[str]

M4 = (BOARDS / "mps2_an386.toml").read_text()
REGISTRY = M4.replace(
    'platform = "synapcc"', 'platform = "ststm32"\nboard = "nucleo_f446re"\nframework = "cmsis"'
)


def write(folder: Path, text: str, name: str = "mps2_an386") -> Path:
    path = folder / f"{name}.toml"
    path.write_text(text)
    return path


def test_every_board_that_comes_with_synapcc_loads() -> None:
    assert {"mps2_an385", "mps2_an386"} <= set(board_names())
    assert tuple(board.name for board in list_boards()) == board_names()


def test_values_of_the_virtual_cortex_m4() -> None:
    board = load_board("mps2_an386")
    assert (board.core.cpu, board.core.fpu, board.port.hal, board.port.uart_base) == (
        "cortex-m4", "fpv4-sp-d16", "cmsdk", 0x40004000,
    )  # fmt: skip
    assert (board.flash.origin, board.flash.size, board.flash.simulated) == (0, 4 << 20, True)
    assert (board.flash.word, board.flash.block) == (4, 4096) and board.ram.end == 0x20400000
    assert board.local and board.power is None and load_board("mps2_an385").core.fpu == ""


def test_a_board_file_of_the_users(tmp_path: Path) -> None:
    text = (
        M4.replace('"mps2_an386"', '"mine"', 1)
        + '\n[power]\nmicroamp_per_mhz = 100\nsource = "DS1, table 3"\n'
    )
    board = load_board(write(tmp_path, text, "mine"))
    assert board.power is not None and board.power.microamp_per_mhz == 100.0
    assert load_board(str(tmp_path / "mine.toml")) == board


@pytest.mark.parametrize("name", board_names())
def test_the_output_folder_gives_the_board_back(name: str) -> None:
    board = load_board(name)
    assert parse_board(json.loads(json.dumps(board_dict(board))), "x") == board
    described = json.loads(platformio_board(board))
    assert parse_board(described["synapcc"], "x") == board
    assert described["upload"]["maximum_ram_size"] == board.ram.size


@pytest.mark.parametrize(
    ("old", "new", "what", "hint"),
    [
        ("stack = ", "stck = ", "unknown key `stck`", "did you mean `stack`?"),
        ("uart_base = ", "uart_bas = ", "unknown key `uart_bas`", "did you mean `uart_base`?"),
        ("[ram]", "[rom]", "unknown key `rom`", "`ram`"),
        ("stack = ", "wxyz = 3\nstack = ", "unknown key `wxyz`", "keys here: name, title"),
        ("clock_hz = 25_000_000", "", "key `clock_hz` is missing", "complete board"),
        ("[emulator]", "[power]\nmicroamp_per_mhz = 3\n[emulator]", "key `source` is missing", "complete"),
        ("clock_hz = 25_000_000", 'clock_hz = "25 MHz"', '`clock_hz` is "25 MHz"', "change `clock_hz`"),
        ("unicorn = true", "unicorn = 1", "it must be true or false", "change"),
        ("stack = ", "power = 3\nstack = ", "`power` must be a table", "[power]"),
        ("cortex-m4", "cortex-m9", 'core.cpu "cortex-m9" is unknown', "cores: cortex-m0"),
        ("fpv4-sp-d16", "fpv9", "does not exist for a cortex-m4", "fpv4-sp-d16"),
        ("size = 0x40_0000", "size = 1000", "of 1000 bytes", "multiples of 1024"),
        ("origin = 0x2000_0000", "origin = 0x0000_0000", "overlap", "origins"),
        ("stack = 4096", "stack = 100", "stack = 100", "multiple of 8"),
        ('hal = "cmsdk"', 'hal = "z80"', 'link.hal "z80" is not there', "cmsdk"),
        ("uart_base = 0x4000_4000", "uart_base = 3", "uart_base = 0x3", "a multiple of 4"),
        ('hal = "cmsdk"', 'hal = "cmsdk"\nreset = "cts"', 'link.reset "cts"', "none, dtr, rts"),
        ('hal = "cmsdk"', 'hal = "process"', 'link.hal "process" is not there', "cmsdk, nrf5"),
        ('hal = "cmsdk"', 'hal = "stm32f4"', "link.tx is missing", "e.g. PA2"),
        ('hal = "cmsdk"', 'hal = "stm32f4"\ntx = "PA16"', 'link.tx "PA16" is no pin', "PA2"),
        ('hal = "cmsdk"', 'hal = "nrf5"\ntx = "P0.06"\nrx = "P0.6"', 'link.rx "P0.6" is no pin', "P0.06"),
        ('hal = "cmsdk"', 'hal = "cmsdk"\nclock_hz = -1', "link.clock_hz", "positive"),
        ("[flash]", "mve = true\n[flash]", "core.mve: a cortex-m4 has no vectors", "cortex-m55"),
        ('"cortex-m4"\nfpu = "fpv4-sp-d16"', '"cortex-m55"\nmve = true\n', "core.mve needs core.fpu", "d16"),
        ("[emulator]", "[upload]\n[emulator]", "no `command`", "add command"),
        ("[emulator]", '[upload]\ntool = "pyocd"\n[emulator]', "no `pyocd`", "add pyocd"),
        ("[emulator]", '[upload]\ntool = "jtag"\n[emulator]', 'upload.tool "jtag"', "platformio, pyocd"),
        ("[emulator]", '[upload]\ncommand = "a; b"\n[emulator]', "upload.command holds ;", "$SOURCE"),
        ('platform = "synapcc"', 'platform = "ststm32"', "framework is missing", "cmsis"),
        ('name = "mps2_an386"', 'name = "M4!"', "cannot be used", "a-z"),
        ('name = "mps2_an386"', 'name = "other"', 'name is "other"', 'name = "mps2_an386"'),
        ("Cortex-M4F", 'Cortex\\"M4F', "quote", "plain line"),
        ("[core]", "[core", "is not TOML", "mps2_an386.toml"),
        ("clock_hz = 25_000_000", "clock_hz = 0", "clock_hz = 0", "Hz"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(tmp_path: Path, old: str, new: str, what: str, hint: str) -> None:
    assert old in M4
    with pytest.raises(CompileError) as caught:
        load_board(write(tmp_path, M4.replace(old, new, 1)))
    assert what in caught.value.what and hint in caught.value.hint
    assert "\n" not in str(caught.value) and "mps2_an386" in caught.value.where


def test_unknown_boards(tmp_path: Path) -> None:
    with pytest.raises(
        CompileError, match=r"there is no such board; did you mean mps2_an386\? boards: .*mps2_an385"
    ):
        load_board("mps2_an368")
    with pytest.raises(CompileError, match="there is no such file"):
        load_board(tmp_path / "absent.toml")
    (tmp_path / "latin.toml").write_bytes(b"name = '\xe4'")
    with pytest.raises(CompileError, match="is not UTF-8"):
        load_board(tmp_path / "latin.toml")


def test_platformio_ini_for_a_local_and_a_registry_board(tmp_path: Path) -> None:
    local = render(
        "platformio.ini.j2", board=load_board("mps2_an386"), model="ecg", tool_version="1.2.3", store=None
    )
    assert "platform = symlink://${PROJECT_DIR}/platforms/synapcc\n" in local
    assert "build_src_filter = +<*.c> +<hal/cmsdk.c> +<store/none.c>\n" in local
    registry = render(
        "platformio.ini.j2",
        board=load_board(write(tmp_path, REGISTRY)),
        model="ecg",
        tool_version="1.2.3",
        store=None,
    )
    assert (
        "platform = ststm32\nboard = nucleo_f446re\nframework = cmsis\n" in registry
        and "symlink" not in registry
    )
    assert "-<startup.c>" in registry and "-DSYNAPCC_UART_BASE=0x40004000u" in registry


def test_library_json_is_json_whatever_the_description() -> None:
    text = render(
        "library.json.j2",
        model="ecg",
        tool_version="1",
        kernel_set="ref",
        description='A "model" with \\ and ü',
    )
    assert (
        json.loads(text)["description"] == 'A "model" with \\ and ü'
        and json.loads(text)["headers"] == "ecg.h"
    )


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    c = case(tmp_path_factory.mktemp("case"))
    return compile_model(str(c.model), str(c.rule), str(c.data), "mps2_an386").plan


LINKED = [board.name for board in list_boards() if board.link]
ALONE = [board.name for board in list_boards() if not board.link]
"""Boards for the library."""


@pytest.mark.parametrize("name", LINKED)
def test_platformio_accepts_every_project(name: str, plan: Plan, tmp_path: Path) -> None:
    board, out = load_board(name), tmp_path / "out"
    write_project(render_project(plan, board, "a test"), out)
    done = platformio.run(out, "project", "config", "--json-output")
    assert done.returncode == 0, done.stdout
    sections = {section: dict(options) for section, options in json.loads(done.stdout)}
    env = sections[f"env:{name}"]
    assert env["board"] == name and env["platform"].startswith("symlink:")
    assert env.get("upload_command") == (board.upload.command if board.upload else None)
    flags = " ".join(env["build_flags"])
    assert f"-DSYNAPCC_CLOCK_HZ={board.clock_hz}" in flags and ("TX_PIN" in flags) == bool(board.port.tx)


def test_pins_are_numbered_as_their_makers_do() -> None:
    assert [pin_number(p) for p in ("PA2", "PB3", "PK15", "P0.06", "P1.10")] == [2, 19, 175, 6, 42]
    for wrong in ("PA16", "P2.00", "P0.6", "A2", "PA", "pa2", "P0.32", ""):
        with pytest.raises(ValueError):
            pin_number(wrong)


def test_the_guard_is_the_cores() -> None:
    assert {load_board(n).core.guard for n in ("mps2_an385", "mps2_an386", "mps2_an500")} == {"MPU"}
    assert {load_board(n).core.guard for n in ("mps2_an505", "mps2_an547")} == {"MSPLIM"}
    assert load_board("microbit").core.guard == ""


# ---- boards without a link ----------------------------------------------------------------------------


GENERIC_WORDS = ("--board", "generic", "--core", "cortex-m4", "--flash", "512K", "--ram", "128K")


def test_a_generic_board_gets_the_library_and_nothing_else(tmp_path: Path, capsys: Capsys) -> None:
    c, out = case(tmp_path), tmp_path / "out"
    assert main(c.words(out, *GENERIC_WORDS)) == 0
    assert "no firmware" in capsys.readouterr().out
    assert "lib" in listing(out) and not {"src", "platforms", "include", "platformio.ini"} & listing(out)
    assert "--core cortex-m4 --flash 512K --ram 128K" in (out / "lib" / "net" / "src" / "net.c").read_text()
    for words in (["build", str(out)], ["verify", str(out), "--data", str(c.data)], ["flash", str(out)]):
        assert "holds the library only: its board has no [link]" in refusal(words, capsys)


@pytest.mark.parametrize("name", ALONE)
def test_boards_for_the_library(name: str, tmp_path: Path, capsys: Capsys) -> None:
    """The library, its reports and packages; firmware is refused by the board's name, with what there is."""
    board, out = load_board(name), tmp_path / "out"
    c = case(tmp_path)
    assert main(c.words(out, "--board", name, "--package", "cmake,platformio")) == 0
    assert f"{name} has no link, so there is no firmware" in capsys.readouterr().out
    assert not {"src", "platforms", "include", "platformio.ini"} & listing(out)
    lib = out / "lib" / "net"
    assert (lib / "library.json").is_file() and (lib / "CMakeLists.txt").is_file()
    assert ("volatile hidden" in (lib / "src" / "net.c").read_text()) == board.core.portable
    assert json.loads((out / "report.json").read_text())["board"] == name
    for words in (["build", str(out)], ["verify", str(out), "--data", str(c.data)], ["flash", str(out)]):
        said = refusal(words, capsys)
        assert f"its board {name} has no [link]" in said and "synapcc docs PACKAGES" in said
    with pytest.raises(CompileError, match=f"--board {name} --package KIND"):
        assert board.port


def test_which_boards_are_for_the_library() -> None:
    assert {name: load_board(name).core.cpu for name in ALONE} == {
        "atsamd21": "cortex-m0plus",
        "esp32c3": "portable",
        "rp2040": "cortex-m0plus",
        "stm32f103": "cortex-m3",
    }


def test_a_portable_core_has_memory_where_a_cortex_m_has_none() -> None:
    tables = board_dict(load_board("esp32c3"))
    assert parse_board(tables, "x").flash.origin == 0x4200_0000
    for core in ("cortex-m0plus", "cortex-m4"):
        with pytest.raises(CompileError, match="reaches where no memory is"):
            parse_board(tables | {"core": {"cpu": core}}, "x")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--board", "generic"], "--core cortex-m4 --flash 512K --ram 128K"),
        ([*GENERIC_WORDS[:-2]], "--core cortex-m4 --flash 512K --ram 128K"),
        ([*GENERIC_WORDS[:-1], "64Q"], "--ram: '64Q' is no size; write 512K, 1M, or bytes"),
        ([*GENERIC_WORDS[:-1], "1000"], "ram at 0x20000000 of 1000 bytes"),
        (
            ["--board", "generic", "--core", "cortex-m0", "--flash", "1K", "--ram", "64K"],
            "too many; largest:",
        ),
        (["--board", "generic", "--core", "m4", "--flash", "1M", "--ram", "64K"], "cores: cortex-m0"),
        (["--core", "cortex-m4"], "--core: the board mps2_an386 says that itself"),
    ],
)
def test_generic_boards_that_cannot_be(words: list[str], says: str, tmp_path: Path, capsys: Capsys) -> None:
    c = case(tmp_path)
    before = listing(tmp_path)
    assert says in refusal(c.words(tmp_path / "out", *words), capsys)
    assert listing(tmp_path) == before


# ---- new boards ---------------------------------------------------------------------------------------


FILLED = {
    'cpu = "FILL IN"': 'cpu = "cortex-m4"',
    "clock_hz = 0 ": "clock_hz = 16_000_000 ",
    "origin = 0x0800_0000                     # FILL IN\nsize = 0 ":
        "origin = 0x0800_0000\nsize = 0x8_0000 ",
    "origin = 0x2000_0000                     # FILL IN\nsize = 0 ":
        "origin = 0x2000_0000\nsize = 0x2_0000 ",
    'hal = "FILL IN"': 'hal = "stm32f4"',
    "uart_base = 0 ": "uart_base = 0x4000_4400 ",
    '# tx = "PA2"': 'tx = "PA2"',
    '# rx = "PA3"': 'rx = "PA3"',
}  # fmt: skip


def test_a_new_board_loads_once_it_is_filled_in(
    tmp_path: Path, capsys: Capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["new-board", "mine"]) == 0
    assert "wrote mine.toml" in capsys.readouterr().out
    path = tmp_path / "mine.toml"
    text = path.read_text()
    with pytest.raises(CompileError):
        load_board(path)
    for old, new in FILLED.items():
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    path.write_text(text)
    mine, like = load_board(path), load_board("nucleo_f446re")
    assert (mine.link, mine.flash, mine.ram) == (
        like.link,
        Flash(like.flash.origin, like.flash.size),
        like.ram,
    )
    # what is optional is written as it must be: every commented line of a key loads too
    keys = "fpu|baud|reset|upload|command|pyocd|tool|emulator|qemu|unicorn|power|microamp|source"
    keys += "|word|block|cycles"
    path.write_text(re.sub(rf"^# (\[?(?:{keys}))", r"\1", text, flags=re.M))
    full = load_board(path)
    assert full.upload and full.upload.command == like.upload.command  # type: ignore[union-attr]
    assert (full.flash.word, full.flash.block, full.flash.cycles) == (4, 4096, 10_000)
    assert full.core == like.core and full.power and full.emulator.unicorn


def test_new_boards_that_are_refused(tmp_path: Path, capsys: Capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.toml").write_text("kept")
    assert "exists already" in refusal(["new-board", "mine"], capsys)
    assert (tmp_path / "mine.toml").read_text() == "kept"
    assert "is given, but empty" in refusal(["new-board", ""], capsys)
    for name in ("Mine", "../mine", "9", "a b"):
        assert "is no name for a board" in refusal(["new-board", name], capsys)
    for name in ("microbit", "generic"):
        assert "is a board that synapcc has" in refusal(["new-board", name], capsys)
    assert listing(tmp_path) == {"mine.toml"}


# ---- a HAL of one's own -------------------------------------------------------------------------------


CMSDK = {
    "UART_DATA = FILL_IN, UART_STATE = FILL_IN, UART_CTRL = FILL_IN, UART_DIVIDER = FILL_IN":
        "UART_DATA = 0, UART_STATE = 4, UART_CTRL = 8, UART_DIVIDER = 16",
    "STATE_TX_FULL = FILL_IN, STATE_RX_FULL = FILL_IN, STATE_RX_OVERRUN = FILL_IN":
        "STATE_TX_FULL = 1, STATE_RX_FULL = 2, STATE_RX_OVERRUN = 8",
    "CTRL_ENABLE = FILL_IN": "CTRL_ENABLE = 3",
    "FILL IN (chip, reference manual, chapter)": "the Cortex-M System Design Kit",
    "FILL IN: the clock": "The clock",
    "FILL IN: how this chip": "how this chip",
}  # fmt: skip


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A board file like mps2_an386's, with a HAL beside it that new-board wrote and we filled in."""
    monkeypatch.chdir(tmp_path)
    assert main(["new-board", "mine", "--hal"]) == 0
    code = (tmp_path / "mine_uart.c").read_text()
    assert 'hal = "mine_uart.c"' in (tmp_path / "mine.toml").read_text()
    for old, new in CMSDK.items():
        assert code.count(old) == 1, old
        code = code.replace(old, new)
    (tmp_path / "mine_uart.c").write_text(code)
    like = (BOARDS / "mps2_an386.toml").read_text().replace("mps2_an386", "mine")
    assert like.count('hal = "cmsdk"') == 1
    (tmp_path / "mine.toml").write_text(like.replace('hal = "cmsdk"', 'hal = "mine_uart.c"'))
    return tmp_path / "mine.toml"


def test_a_hal_beside_its_board_is_in_the_project(own: Path, tmp_path: Path, capsys: Capsys) -> None:
    c = case(tmp_path / "in")
    out = tmp_path / "out"
    assert main(c.words(out, "--board", str(own))) == 0
    assert (out / "src/hal/mine_uart.c").read_bytes() == (tmp_path / "mine_uart.c").read_bytes()
    assert "+<hal/mine_uart.c>" in (out / "platformio.ini").read_text()
    described = json.loads((out / "platforms/synapcc/boards/mine.json").read_text())["synapcc"]["link"]
    assert described["hal"] == "mine_uart.c" and "code" not in described
    board = project_board(out)
    assert board == replace(load_board(own), link=replace(load_board(own).port, code=""))
    said = refusal(["verify", str(out), "--data", str(c.data), "--device", "unicorn"], capsys)
    assert "mine does not run in unicorn" in said


@pytest.mark.parametrize("function", functions())
def test_a_hal_that_lacks_a_function_is_refused(own: Path, function: str) -> None:
    path = own.with_name("mine_uart.c")
    text = path.read_text()
    assert text.count(f"{function}(") == 1
    path.write_text(text.replace(f"{function}(", f"not_{function}("))
    with pytest.raises(CompileError, match=f"mine_uart.c: defines no {function};"):
        load_board(own)


def test_hals_of_ones_own_that_are_refused(own: Path, tmp_path: Path, capsys: Capsys) -> None:
    text, code = own.read_text(), own.with_name("mine_uart.c")
    for hal, says in (
        ("cmsdk.c", "has the name of a HAL that synapcc has"),
        ("process.c", "has the name of a HAL that synapcc has"),
        ("none.c", "there is no such file"),
        ("../mine_uart.c", "is no name of such a file"),
        ("a b.c", "is no name of such a file"),
        (".c", "is no name of such a file"),
    ):
        own.write_text(text.replace("mine_uart.c", hal))
        with pytest.raises(CompileError, match=says) as caught:
            load_board(own)
        assert "\n" not in str(caught.value)
    own.write_text(text)
    code.write_text(code.read_text() + "\nint pin = SYNAPCC_TX_PIN;\n")
    with pytest.raises(CompileError, match=r"link\.tx is missing"):
        load_board(own)
    own.write_text(text.replace('hal = "mine_uart.c"', 'hal = "mine_uart.c"\ncode = "int x;"'))
    with pytest.raises(CompileError, match="unknown key `code`"):
        load_board(own)
    (tmp_path / "new").mkdir()
    os.chdir(tmp_path / "new")
    assert main(["new-board", "mine", "--hal"]) == 0
    own.write_text(text)
    own.with_name("mine_uart.c").write_bytes(Path("mine_uart.c").read_bytes())
    with pytest.raises(CompileError, match=r"mine_uart\.c: line 1 still says FILL IN"):
        load_board(own)
    Path("mine.toml").unlink()
    assert "mine_uart.c: exists already" in refusal(["new-board", "mine", "--hal"], capsys)
    assert listing(Path(".")) == {"mine_uart.c"}


# ---- the table ----------------------------------------------------------------------------------------


def row(board: Board) -> str:
    """The board's row in docs/BOARDS.md."""
    core = board.core.cpu.replace("cortex-m", "Cortex-M")
    extra = " + FPU" * bool(board.core.fpu) + " + Helium" * board.core.mve
    emulators = [
        n for n, there in (("QEMU", board.emulator.qemu), ("unicorn", board.emulator.unicorn)) if there
    ]
    cells = [
        f"`{board.name}`", f"{core}{extra}", f"{board.flash.size // 1024} KB", f"{board.ram.size // 1024} KB",
        f"{board.clock_hz // 10**6} MHz",
    ]  # fmt: skip
    if board.link:
        cells += [f"`{board.port.hal}`", board.core.guard or "none", ", ".join(emulators)]
        cells += ["virtual" if board.upload is None else "not yet"]
    return f"| {' | '.join(cells)} |"


def test_the_table_of_boards_is_what_the_files_say() -> None:
    text = (BOARDS.parent / "docs" / "BOARDS.md").read_text(encoding="utf-8")
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    with_link, alone = ([b for b in list_boards() if bool(b.link) == link] for link in (True, False))
    assert rows == [row(board) for board in (*with_link, *alone)]


def test_files_are_named_like_their_boards() -> None:
    for path in BOARDS.glob("*.toml"):
        assert tomllib.loads(path.read_text())["name"] == path.stem
