"""Bad lines and boards that start slowly: nothing is learned twice, nothing is lost."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from bad_line import small_nets, suffer
from lying import Chip, Clock
from projects import compiled

from synapcc.gen.ir.plan import Plan
from synapcc.host.commands import flash as flash_command
from synapcc.host.devices import DeviceError, serial
from synapcc.host.link import session
from synapcc.host.link.client import connect
from synapcc.host.run.plans import read_plan

MODELS = 4


def test_faults_on_the_line_and_of_the_power(tmp_path: Path, unoptimised: None) -> None:
    (plan,) = small_nets(70_000, 1)
    line = suffer(plan, tmp_path, 250, 3)
    assert line.resets > 1 and len(line.faults) > 15, line.faults


@pytest.mark.long
def test_ten_thousand_faults(tmp_path: Path) -> None:
    total = 0
    for i, plan in enumerate(small_nets(70_000, MODELS)):
        line = suffer(plan, tmp_path, 2500, i)
        assert line.resets > 20 and len(line.faults) == 20, line.faults
        total += line.faults.total()
    assert total >= 10_000


# ---- boards ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    return read_plan(compiled(tmp_path_factory.mktemp("board"))[1])


@pytest.fixture
def chip(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> Chip:
    clock = Clock()
    monkeypatch.setattr(session, "time", clock.module())
    return Chip(plan, clock)


def _through(chip: Chip, change: Callable[[bytes], bytes]) -> None:
    """What is written to the chip passes through `change`."""
    whole = chip.write
    chip.write = lambda data: whole(change(data))  # type: ignore[method-assign]


def _learns(chip: Chip, plan: Plan) -> None:
    """Greets it, and has it learn two samples, each once."""
    with connect(chip, plan) as client:
        for label in (0, 1):
            client.learn(bytes(client.info.input_bytes), label)
        assert client.stats().learns == chip.model.numbers["learns"] == 2
        assert client.digest() == chip.model._digest()


def test_a_board_that_boots_for_two_seconds(chip: Chip, plan: Plan) -> None:
    """It hears nothing before, and says what boards say when they start."""
    ready = chip.clock.now + 2.0
    _through(chip, lambda data: data if chip.clock.now >= ready else b"")
    chip._sent += b"ets Jul 29 2019 12:21:46\r\n\0rst:0x1 (POWERON_RESET)\r\n\xff"
    _learns(chip, plan)


@pytest.mark.parametrize("lost", range(1, 40, 3))
def test_a_board_that_drops_the_first_bytes(lost: int, chip: Chip, plan: Plan) -> None:
    left = lost

    def drop(data: bytes) -> bytes:
        nonlocal left
        left, gone = max(0, left - len(data)), left
        return data[gone:]

    _through(chip, drop)
    _learns(chip, plan)


@pytest.mark.parametrize("said", [b"AT\r", b"ATE1 E0\r\n" * 4, b"\0\x7e\0\x78\xf0\x7e", b"+++"])
def test_a_modem_manager_that_writes_first(said: bytes, chip: Chip, plan: Plan) -> None:
    """And once more in the midst of the first frame."""
    pieces = iter([said, said])
    _through(chip, lambda data: data[:7] + next(pieces, b"") + data[7:])
    chip.write(said)
    _learns(chip, plan)


def test_a_port_is_opened_with_the_lines_that_a_board_waits_for() -> None:
    with serial.SerialDevice("loop://", 115_200) as device:
        assert device._port.dtr and device._port.rts
        device.write(b"\0\1")
        assert device.read(1.0) == b"\0\1"


def _enumerated(patch: pytest.MonkeyPatch, *turns: list[str]) -> None:
    """The ports of this computer, each time that somebody looks."""
    left = list(turns)

    def comports() -> list[SimpleNamespace]:
        return [SimpleNamespace(device=d) for d in (left.pop(0) if len(left) > 1 else left[0])]

    patch.setattr(serial.list_ports, "comports", comports)
    patch.setattr(serial, "SETTLE_SECONDS", 0.5)
    patch.setattr(serial, "_LOOK_SECONDS", 0.01)


@pytest.mark.parametrize(
    ("turns", "found"),
    [
        ([["a"], ["a"]], "a"),
        ([["a"], [], ["a"]], "a"),
        ([["a", "x"], ["x"], ["x"], ["b", "x"]], "b"),
        ([["a", "x"], ["x"]], ""),
        ([["a"], ["b", "c"]], ""),
        ([["x"], ["x"]], "a"),
    ],
)
def test_a_port_comes_back_after_flashing(
    turns: list[list[str]], found: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under its name, or the one that is new; of several new ones, and where none comes, nobody guesses. A
    port that was never listed is left to the user."""
    _enumerated(monkeypatch, *turns)
    before = serial.listed()
    assert serial.settled("a", before) == found


def test_flash_names_the_port_that_the_board_has_then(monkeypatch: pytest.MonkeyPatch) -> None:
    _enumerated(monkeypatch, ["ttyACM0"], [], ["ttyACM1"])
    before = serial.listed()
    assert flash_command.following("OUT", "ttyACM0", before) == (
        "next: synapcc verify OUT --data DATA.npz --device serial:ttyACM1   (the board's port is ttyACM1 now)"
    )
    _enumerated(monkeypatch, ["ttyACM0"], [])
    gone = flash_command.following("OUT", "ttyACM0", serial.listed())
    assert gone.endswith("serial:PORT   (ttyACM0 is gone; ports here: none)")


def test_a_link_that_only_gives_up_says_so(chip: Chip, plan: Plan) -> None:
    _through(chip, lambda data: b"")
    with pytest.raises(DeviceError, match=r"no answer to HELLO in 10\.0 s, not one byte"):
        connect(chip, plan)
