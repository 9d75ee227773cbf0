"""The drivers of flash on chips, in unicorn: a store that works, and each step that a driver could forget."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from golden_nets import golden_plan

from synapcc.gen.emit import render, write
from synapcc.gen.spec import Keep
from synapcc.gen.target.boards import board_names, load_board
from synapcc.gen.target.messages import Kept
from synapcc.gen.target.stores import DRIVERS, place
from synapcc.host.devices import DeviceError, open_device
from synapcc.host.link.client import Client, connect

BOARDS = [name for name in board_names() if load_board(name).link and not load_board(name).flash.simulated]
"""Boards with a flash of their own."""
EACH = {load_board(name).port.hal: name for name in sorted(BOARDS, reverse=True)}


def project(folder: Path, name: str) -> Path:
    write(render(golden_plan("pair"), load_board(name), "a test", "a test", keep=Keep()), folder / "out")
    return folder / "out"


def life(client: Client) -> None:
    """Learns, saves until a block is erased for the second time, starts anew, erases."""
    assert Kept(client.info.found) is Kept.EMPTY
    rng = np.random.default_rng(3)
    x = rng.integers(-60, 60, client.info.input_bytes).astype(np.int8).tobytes()
    for turn in range(3):
        state = client.learn(x, turn % client.info.classes)
        assert client.save() == (Kept.OK, state)
    client.device.reset()
    client = connect(client.device)
    assert Kept(client.info.found) is Kept.OK and client.digest() == state
    assert client.stats().erases == 1
    assert client.save() == (Kept.OK, state) and client.stats().erases == 2  # a boot takes a block of its own
    assert client.erase() is Kept.OK and client.restore()[0] is Kept.EMPTY


@pytest.mark.parametrize("hal", sorted(EACH))
def test_a_driver_keeps_what_was_learned(hal: str, tmp_path: Path) -> None:
    with open_device("unicorn", project(tmp_path, EACH[hal])) as device:
        life(connect(device))


@pytest.mark.long
@pytest.mark.parametrize("name", sorted({*BOARDS} - {*EACH.values()}))
def test_the_driver_of_every_board(name: str, tmp_path: Path) -> None:
    with open_device("unicorn", project(tmp_path, name)) as device:
        life(connect(device))


BREAKS = [
    ("stm32f4", "    register_write(FLASH_KEYR, KEY_2);\n", "", "IO"),
    ("stm32f4", "CR_SIZE_MASK | CR_SECTOR_ERASE, CR_PROGRAM)", "0, 0)", "in no mode to program"),
    (
        "stm32f4",
        "CR_SECTOR_ERASE | sector << CR_SECTOR",
        "CR_SECTOR_ERASE | 2u << CR_SECTOR",
        "not the store's",
    ),
    ("stm32f4", "        done = idle(1);\n", "", "is busy"),
    ("stm32f4", "register_change(FLASH_CR, 0, CR_START)", "(void)0", "CORRUPT|OK|IO|WORN"),
    ("stm32l4", "        register_write(to + at + 4u, words[1]);\n", "", "no double word"),
    ("stm32l4", "    register_write(FLASH_CR, CR_PROGRAM);\n", "", "in no mode to program"),
    ("stm32l4", "page % BANK_PAGES << CR_PAGE", "0u", "not the store's"),
    ("nrf5", "!enter(WRITE)", "!enter(ERASE)", "in mode 2"),
    ("nrf5", "const bool done = ready();", "const bool done = true;", "while it is busy"),
    ("nrf5", "place(address));\n    if (!leave", "place(address + 4u));\n    if (!leave", "erases 0x"),
]


@pytest.mark.long
@pytest.mark.parametrize(("hal", "old", "new", "says"), BREAKS)
def test_what_a_driver_forgets_is_found_out(hal: str, old: str, new: str, says: str, tmp_path: Path) -> None:
    """By the model of the controller, or because nothing is kept."""
    out = project(tmp_path, EACH[hal])
    source = out / "src" / "hal" / "flash" / f"{hal}.c"
    text = source.read_text()
    assert text.count(old) >= 1, old
    source.write_text(text.replace(old, new))
    with pytest.raises((AssertionError, DeviceError)) as found, open_device("unicorn", out) as device:
        life(connect(device))
    assert isinstance(found.value, AssertionError) or any(s in str(found.value) for s in says.split("|"))


def test_places_of_stores() -> None:
    """At the end of the flash, in blocks that the driver knows; everything else is told."""
    f4 = load_board("nucleo_f411re")
    assert place(f4, 3).origin == 0x0802_0000
    with pytest.raises(ValueError, match="not all blocks from 0x8000000 on have 131072 bytes"):
        place(f4, 4)
    for name in BOARDS:
        board = load_board(name)
        found = place(board, 3)
        assert found.origin + found.bytes == board.flash.end and found.driver in DRIVERS
    virtual = load_board("mps2_an386")
    found = place(virtual, 3)
    assert found.simulated and found.origin + found.bytes == virtual.ram.end
