"""Bad lines and boards that start slowly: nothing is learned twice, nothing is lost."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest
from bad_line import small_nets, suffer
from lying import Chip, Clock
from projects import compiled

from synapcc.gen.ir.plan import Plan
from synapcc.gen.target import messages
from synapcc.gen.target.messages import Status
from synapcc.host.commands import flash as flash_command
from synapcc.host.devices import DeviceError, serial
from synapcc.host.link import session
from synapcc.host.link.client import connect
from synapcc.host.link.protocol import Reply, encode_reply
from synapcc.host.run.plans import read_plan

MODELS = 4


def test_faults_on_the_line_and_of_the_power(tmp_path: Path, unoptimised: None) -> None:
    (plan,) = small_nets(70_000, 1)
    line = suffer(plan, tmp_path, 250, 4)
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


def _chatters(chip: Chip, pieces: Sequence[tuple[float, bytes]]) -> None:
    """What the chip says of its own accord, each piece so many seconds from now."""
    left, read, now = [(chip.clock.now + at, said) for at, said in pieces], chip.read, chip.clock.now

    def heard(timeout: float) -> bytes:
        if not chip._sent and left and left[0][0] <= chip.clock.now + timeout:
            at, said = left.pop(0)
            chip.clock.now = max(chip.clock.now, at)
            return said
        return read(timeout)

    assert now < left[0][0]
    chip.read = heard  # type: ignore[method-assign]


@pytest.mark.parametrize("seconds", [0.5, 2.0, 7.0])
@pytest.mark.parametrize("said", [b"\xe0\0\x1c", b"I (31) boot: x\r\n\0", b"\0\x80\xf8\0", b"\0\1\0\2\0"])
def test_a_board_that_chatters_while_it_boots(said: bytes, seconds: float, chip: Chip, plan: Plan) -> None:
    """In pieces with zeros among them, as bytes at another speed have: none of them costs an attempt."""
    ready = chip.clock.now + seconds
    _through(chip, lambda data: data if chip.clock.now >= ready else b"")
    _chatters(chip, [(0.05 * i, said) for i in range(1, int(20 * seconds))])
    _learns(chip, plan)


def test_noise_without_end_is_asked_ten_times(chip: Chip, plan: Plan) -> None:
    """Once an attempt, and once more for the damage in it; then the host gives up, after its time."""
    sent: list[bytes] = []
    _through(chip, lambda data: sent.append(data) or b"")  # type: ignore[func-returns-value]
    _chatters(chip, [(0.3 * i, b"\0\1\0") for i in range(1, 100)])
    with pytest.raises(DeviceError, match=r"no answer to HELLO in 10\.\d s; \d+ bytes came"):
        connect(chip, plan)
    assert len(sent) <= 2 * session.ATTEMPTS and len(set(sent)) == 1


@pytest.mark.parametrize("glitches", range(0, 30, 5))
def test_glitches_while_a_program_runs(glitches: int, chip: Chip, plan: Plan) -> None:
    """It runs for 100 s and hears nothing meanwhile; noise on the line is not held against it."""
    with connect(chip, plan) as client:
        end = chip.clock.now + 100.0
        answers: list[bytes] = []

        def said(answer: Reply) -> bytes:
            if answer.status == Status.ACCEPTED:
                return encode_reply(answer)
            answers.append(encode_reply(answer))
            return b""

        chip.said = said
        noise = [(3.0 * (i + 1), b"\1\0") for i in range(glitches)]
        _through(chip, lambda data: b"" if answers and chip.clock.now < end else data)
        honest = chip.read
        _chatters(chip, [*noise, (100.0, b"")])

        def heard(timeout: float, read: Callable[[float], bytes] = chip.read) -> bytes:
            return answers[0] if chip.clock.now >= end else read(timeout)

        chip.read = heard  # type: ignore[method-assign]
        assert len(client.run(0, timeout=600.0)) == 32
        assert chip.clock.now < end + 1 and chip.numbers.count(messages.RUN.number) == 1
        chip.read = honest  # type: ignore[method-assign]


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
    patch.setattr(serial, "STEADY_SECONDS", 0.2)
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
        ([["a"], ["a"], ["a"], [], ["b"]], "b"),
        ([["a"], [], ["x"], ["a", "x"]], "a"),
        ([["a"], ["a", "x"]], "a"),
        ([["a"], [], ["b"], ["b", "c"]], ""),
        ([["a"], *[["a"], []] * 9, ["a"]], "a"),
    ],
)
def test_a_port_comes_back_after_flashing(
    turns: list[list[str]], found: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under its name, or the one that is new, though it is still there at first, or another device's comes
    before it; of several new ones, and where none comes, nobody guesses. A port that was never listed is left
    to the user."""
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
