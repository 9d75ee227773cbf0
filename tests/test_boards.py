"""Board files: what is in them, and one clear line for everything that is wrong."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest
from echo_firmware import render

from synapcc.gen.boards import (
    BOARDS,
    Region,
    board_dict,
    board_names,
    list_boards,
    load_board,
    parse_board,
    platformio_board,
)
from synapcc.gen.errors import CompileError

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
    assert (board.core.cpu, board.core.fpu, board.link.hal, board.link.uart_base) == (
        "cortex-m4", "fpv4-sp-d16", "cmsdk", 0x40004000,
    )  # fmt: skip
    assert board.flash == Region(0, 4 << 20) and board.ram.end == 0x20400000
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
        ("clock_hz = 25_000_000", 'clock_hz = "25 MHz"', "`clock_hz` is '25 MHz'", "change `clock_hz`"),
        ("unicorn = true", "unicorn = 1", "it must be true or false", "change"),
        ("stack = ", "power = 3\nstack = ", "`power` must be a table", "[power]"),
        ("cortex-m4", "cortex-m9", 'core.cpu "cortex-m9" is unknown', "cores: cortex-m0"),
        ("fpv4-sp-d16", "fpv9", "does not exist for a cortex-m4", "fpv4-sp-d16"),
        ("size = 0x40_0000", "size = 1000", "of 1000 bytes", "multiples of 1024"),
        ("origin = 0x2000_0000", "origin = 0x0000_0000", "overlap", "origins"),
        ("stack = 4096", "stack = 100", "stack = 100", "multiple of 8"),
        ('hal = "cmsdk"', 'hal = "z80"', 'link.hal "z80" is not there', "cmsdk"),
        ("uart_base = 0x4000_4000", "uart_base = 3", "uart_base", "address"),
        ('hal = "cmsdk"', 'hal = "cmsdk"\nreset = "cts"', 'link.reset "cts"', "none, dtr, rts"),
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
    with pytest.raises(CompileError, match="cannot read the board file: No such file"):
        load_board(tmp_path / "absent.toml")
    (tmp_path / "latin.toml").write_bytes(b"name = '\xe4'")
    with pytest.raises(CompileError, match="is not UTF-8"):
        load_board(tmp_path / "latin.toml")


def test_platformio_ini_for_a_local_and_a_registry_board(tmp_path: Path) -> None:
    local = render("platformio.ini.j2", board=load_board("mps2_an386"), model="ecg", tool_version="1.2.3")
    assert "platform = symlink://${PROJECT_DIR}/platforms/synapcc\n" in local
    assert "build_src_filter = +<*.c> +<hal/cmsdk.c>\n" in local
    registry = render(
        "platformio.ini.j2", board=load_board(write(tmp_path, REGISTRY)), model="ecg", tool_version="1.2.3"
    )
    assert (
        "platform = ststm32\nboard = nucleo_f446re\nframework = cmsis\n" in registry
        and "symlink" not in registry
    )
    assert "-<startup.c>" in registry and "-DSYNAPCC_UART_BASE=0x40004000u" in registry


def test_library_json_is_json_whatever_the_description() -> None:
    text = render("library.json.j2", model="ecg", tool_version="1", description='A "model" with \\ and ü')
    assert (
        json.loads(text)["description"] == 'A "model" with \\ and ü'
        and json.loads(text)["headers"] == "ecg.h"
    )


def test_files_are_named_like_their_boards() -> None:
    for path in BOARDS.glob("*.toml"):
        assert tomllib.loads(path.read_text())["name"] == path.stem
