"""Devices that lie, at the level of bytes: every command ends within its deadline, with one clear line or
with what is true, and no report says that something agrees which does not."""

from __future__ import annotations

import re
import struct
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from lying import KEPT, MOST_FRAMES, Chip, Clock, Lie, drawn_lie, field_lies, greeting, liar, lies
from projects import compiled
from random_nets import accepted

from synapcc.gen.emit import render, write
from synapcc.gen.ir.plan import Plan
from synapcc.gen.spec import Keep
from synapcc.gen.target import messages
from synapcc.gen.target.boards import load_board
from synapcc.gen.target.messages import Counter as Ticks
from synapcc.gen.target.messages import Status
from synapcc.host.cli import main
from synapcc.host.devices import DeviceError, process, serial
from synapcc.host.link import client, session
from synapcc.host.link.protocol import LONGEST, Receiver, Reply, encode_reply
from synapcc.host.run.plans import read_plan

Capsys = pytest.CaptureFixture[str]
LINE = re.compile(r"synapcc \w+: [^\n]+; [^\n]+\n")
STRIDE = 14
"""Of the list of lies, how many stand for one in `make test`."""


@dataclass(frozen=True)
class Bench:
    """A project, and commands that talk to its chip, each with the files that it writes."""

    plan: Plan
    folder: Path
    commands: dict[str, list[str]]
    asked: dict[str, set[int]]

    def words(self, name: str) -> list[str]:
        return [w.replace("NEW", str(self.folder / "new")) for w in self.commands[name]]

    def written(self) -> list[Path]:
        return sorted(self.folder.glob("new*"))


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a command puts aside lies where it was called."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """Commands, and which requests each of them makes of an honest chip."""
    folder = tmp_path_factory.mktemp("lies")
    c, out = compiled(folder / "in")
    plan, device = read_plan(out), ["--device", "serial:chip"]
    verify = ["verify", str(out), "--data", str(c.data), "--steps", "9", *device]
    verify += ["--html", "NEW.html", "--json", "NEW.json"]
    state = folder / "state.npz"
    commands = {
        "verify": verify,
        "slices": [*verify[:5], "2", *verify[6:], "--slices"],
        "alone": [*verify, "--batch", "1"],
        "pull": ["pull", str(out), *device, "--npz", "NEW.npz", "--json", "NEW.json"],
        "learn": ["pull", str(out), *device, "--learn", str(c.data), "--npz", "NEW.npz"],
        "push": ["push", str(out), *device, str(state), "--json", "NEW.json"],
        "save": ["save", str(out), *device, "--json", "NEW.json"],
        "erase": ["restore", str(out), *device, "--erase", "--json", "NEW.json"],
        "bench": ["bench", str(out), *device, "--samples", "1", "--html", "NEW.html", "--json", "NEW.json"],
    }
    made = Bench(plan, folder, commands, {})
    with pytest.MonkeyPatch.context() as patch:
        state.write_bytes(_honest(made, patch, ["pull", str(out), *device, "--npz", "NEW.npz"]))
        for name in commands:
            chip = _plugged(patch, made)
            assert main(made.words(name)) == 0
            made.asked[name] = set(chip.numbers)
            for path in made.written():
                path.unlink()
    return made


def _honest(bench: Bench, patch: pytest.MonkeyPatch, words: list[str]) -> bytes:
    _plugged(patch, bench)
    assert main([w.replace("NEW", str(bench.folder / "new")) for w in words]) == 0
    return (bench.folder / "new.npz").read_bytes()


def _plugged(patch: pytest.MonkeyPatch, bench: Bench, lie: Lie | None = None) -> Chip:
    """The chip that the next command meets on the port, and the host's clock."""
    clock = Clock()
    chip = liar(bench.plan, clock, lie) if lie else Chip(bench.plan, clock)
    patch.setattr(session, "time", clock.module())
    patch.setattr(serial, "open", lambda *_: chip)
    return chip


def _met(name: str, lie: Lie, bench: Bench, patch: pytest.MonkeyPatch, capsys: Capsys) -> int:
    """What a command makes of a lie: its exit code, held against what it says and writes."""
    capsys.readouterr()
    chip = _plugged(patch, bench, lie)
    code = main(bench.words(name))
    said, written = capsys.readouterr(), bench.written()
    where = f"{name}: {lie}: {said}"
    assert code in (0, 1, 2), where
    if code == 2:
        assert LINE.fullmatch(said.err) and said.err.startswith(f"synapcc {bench.commands[name][0]}: "), where
        assert not written, where
    elif code == 1:
        assert re.search(r"verify: \d+ steps, [1-9]\d* differing bytes", said.out), where
        assert '"difference": null' not in (bench.folder / "new.json").read_text(), where
    else:
        assert lie.free or not chip.lied, f"believed: {where}"
        assert not said.err, where
    assert "\x1b" not in said.out + said.err
    for path in written:
        path.unlink()
    return code


def _tell(each: list[Lie], bench: Bench, patch: pytest.MonkeyPatch, capsys: Capsys) -> Counter[int]:
    """Every lie to commands that would hear it: all of them, in turn where one must do."""
    codes: Counter[int] = Counter()
    for i, lie in enumerate(each):
        names = [n for n, asked in bench.asked.items() if lie.request.number in asked]
        if names:
            codes[_met(names[i % len(names)], lie, bench, patch, capsys)] += 1
    return codes


def test_the_commands_ask_for_all_that_there_is(bench: Bench) -> None:
    asked = {n for numbers in bench.asked.values() for n in numbers}
    missing = {r.name for r in messages.REQUESTS if r.number not in asked}
    assert missing == {"tensor", "run", "learn_many", "run_op", "restore"}, "of these a client alone asks"


def test_lies_of_the_list(bench: Bench, monkeypatch: pytest.MonkeyPatch, capsys: Capsys) -> None:
    codes = _tell(lies()[::STRIDE], bench, monkeypatch, capsys)
    assert codes[2] > 20 and codes[0]


def test_another_score_is_a_difference(bench: Bench, monkeypatch: pytest.MonkeyPatch, capsys: Capsys) -> None:
    lie = next(lie for lie in field_lies(messages.INFER) if str(lie) == "infer output changed")
    assert _met("verify", lie, bench, monkeypatch, capsys) == 1


def test_the_greeting_is_the_plans(bench: Bench, monkeypatch: pytest.MonkeyPatch, capsys: Capsys) -> None:
    """Sizes and counts of HELLO, each at each number of the list: refused, or what is true."""
    each = [lie for lie in field_lies(messages.HELLO) if not lie.free]
    codes = Counter(_met("pull", lie, bench, monkeypatch, capsys) for lie in each)
    assert codes[2] > 80 and set(codes) <= {0, 2}


def test_drawn_lies(bench: Bench, monkeypatch: pytest.MonkeyPatch, capsys: Capsys) -> None:
    rng = np.random.default_rng(5)
    codes = _tell([drawn_lie(rng) for _ in range(30)], bench, monkeypatch, capsys)
    assert codes[2] > 10


@pytest.mark.long
def test_every_lie_to_every_command(bench: Bench, monkeypatch: pytest.MonkeyPatch, capsys: Capsys) -> None:
    rng = np.random.default_rng(6)
    each = [*lies(), *(drawn_lie(rng) for _ in range(400))]
    codes: Counter[int] = Counter()
    for lie in each:
        for name, asked in bench.asked.items():
            if lie.request.number in asked:
                codes[_met(name, lie, bench, monkeypatch, capsys)] += 1
    assert codes[2] > 1000 and codes[1] > 20 and codes[0] > 100


# ---- what a chip had learned ---------------------------------------------------------------------------


def _taught(patch: pytest.MonkeyPatch, bench: Bench) -> tuple[Chip, bytes]:
    """A chip that has learned, plugged in, and its state."""
    chip = _plugged(patch, bench)
    assert main(bench.words("learn")) == 0
    bench.written()[0].unlink()
    chip.frames = 0
    return chip, _state(chip)


def _state(chip: Chip) -> bytes:
    return chip.model.machine.state[0].tobytes()


def _interrupted(chip: Chip, at: int, when: str) -> None:
    """Ctrl-C, once: `before` frame number `at` is written, `after` it, or while its answer is waited for."""
    write, read, frames = chip.write, chip.read, iter(range(1, MOST_FRAMES))
    due = [False]

    def written(data: bytes) -> None:
        met = next(frames) == at
        if met and when == "before":
            raise KeyboardInterrupt
        write(data)
        if met and when == "after":
            raise KeyboardInterrupt
        due[0] = met

    def heard(timeout: float) -> bytes:
        if due[0]:
            due[0] = False
            raise KeyboardInterrupt
        return read(timeout)

    chip.write, chip.read = written, heard  # type: ignore[method-assign]


@pytest.mark.parametrize("when", ["before", "after", "waiting"])
def test_ctrl_c_in_bench_costs_nothing_that_was_learned(
    when: str, bench: Bench, monkeypatch: pytest.MonkeyPatch, capsys: Capsys
) -> None:
    chip, _ = _taught(monkeypatch, bench)
    assert main(bench.words("bench")) == 0
    for path in bench.written():
        path.unlink()
    put_back = range(chip.frames - 4, chip.frames + 1)  # what is written last, and asked of it
    for at in (*range(4, chip.frames - 4, 26), *put_back):
        chip, learned = _taught(monkeypatch, bench)
        capsys.readouterr()
        _interrupted(chip, at, when)
        assert main(bench.words("bench")) == 130
        assert capsys.readouterr().err == "\nsynapcc bench: interrupted\n"
        assert _state(chip) == learned, at


def _once(chip: Chip, number: int, change: Callable[[Reply], bytes]) -> None:
    """The fifth answer proper to this request is another one."""
    answers = iter(range(1, MOST_FRAMES))

    def said(answer: Reply) -> bytes:
        proper = answer.request == number and answer.status == Status.OK
        return change(answer) if proper and next(answers) == 5 else encode_reply(answer)

    chip.said = said


ONCE: dict[str, tuple[Callable[[Reply], bytes], str]] = {
    "short": (lambda a: encode_reply(replace(a, payload=b"")), "answered COUNT in another shape"),
    "another counter": (
        lambda a: encode_reply(replace(a, payload=bytes([1, 0, 0, 0, 9, 0]))),
        "answered COUNT with counter 9",
    ),
    "refused": (lambda a: encode_reply(replace(a, status=Status.UNSUPPORTED, payload=b"")), "was refused"),
    "reset": (lambda a: encode_reply(replace(a, status=Status.NO_SESSION, payload=b"")), "device was reset"),
    "stopped": (lambda a: encode_reply(replace(a, status=Status.STOPPED, payload=b"x")), "stopped: x"),
}


@pytest.mark.parametrize("name", ONCE)
def test_a_lie_in_bench_costs_nothing_that_was_learned(
    name: str, bench: Bench, monkeypatch: pytest.MonkeyPatch, capsys: Capsys
) -> None:
    chip, learned = _taught(monkeypatch, bench)
    capsys.readouterr()
    change, told = ONCE[name]
    _once(chip, messages.COUNT.number, change)
    assert main(bench.words("bench")) == 2
    said = capsys.readouterr().err
    assert LINE.fullmatch(said) and told in said and "put back" not in said
    assert _state(chip) == learned


COUNTS: dict[str, tuple[Callable[[int], tuple[int, int]], str]] = {
    "beyond 24 bits": (lambda n: (2**24, Ticks.SYSTICK), "16777216 ticks of a counter of 24 bits"),
    "another one": (lambda n: (500, 1 + n % 2), "answered COUNT with counter 2, before with 1"),
    "backwards": (lambda n: (2**20 - n, Ticks.CYCCNT), ""),
    "less than nothing": (lambda n: (500 + n, Ticks.CYCCNT), r"counts \d+ cycles for \w+ \d+, and \d+ for n"),
}


@pytest.mark.parametrize("name", COUNTS)
def test_counts_that_cannot_be(
    name: str, bench: Bench, monkeypatch: pytest.MonkeyPatch, capsys: Capsys
) -> None:
    """What a counter of so many bits cannot say, and what takes less than nothing twice. One that says less
    at each turn is no such thing: what does nothing is counted last."""
    chip = _plugged(monkeypatch, bench)
    capsys.readouterr()
    answers, (count, told) = iter(range(10**6)), COUNTS[name]

    def said(answer: Reply) -> bytes:
        if answer.request == messages.COUNT.number and answer.status == Status.OK:
            ticks, counter = count(next(answers))
            answer = replace(answer, payload=struct.pack("<IBB", ticks, counter, 0))
        return encode_reply(answer)

    chip.said = said
    assert main(bench.words("bench")) == (2 if told else 0)
    err = capsys.readouterr().err
    assert re.search(told, err) and (LINE.fullmatch(err) or not told), err
    for path in bench.written():
        path.unlink()


@pytest.mark.parametrize(
    ("ending", "code", "told"),
    [
        ("refused", 2, r"synapcc bench: serial:chip: COUNT was refused .*; take a device that can; "),
        ("Ctrl-C", 130, r"synapcc bench: interrupted; "),
        ("gone", 2, r"synapcc bench: serial:chip: the port went away; was it unplugged\?; "),
    ],
)
def test_what_cannot_be_put_back_is_in_a_file(
    ending: str, code: int, told: str, bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: Capsys,
) -> None:  # fmt: skip
    """The chip is gone by then: what was told first stays so, and push takes the file."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net_put_aside_1.npz").write_text("another one's")
    chip, learned = _taught(monkeypatch, bench)
    capsys.readouterr()
    write, gone = chip.write, [False]

    def leave(answer: Reply) -> bytes:
        gone[0] = True
        if ending == "Ctrl-C":
            raise KeyboardInterrupt
        return encode_reply(replace(answer, status=Status.UNSUPPORTED, payload=b""))

    def written(data: bytes) -> None:
        if gone[0]:
            raise DeviceError(chip.name, "the port went away", "was it unplugged?")
        write(data)
        if ending == "gone" and chip.numbers[-1] == messages.WRITE.number:
            gone[0] = _state(chip) == learned  # within what puts it back, or what measures

    _once(chip, messages.COUNT.number, leave if ending != "gone" else encode_reply)
    chip.write = written  # type: ignore[method-assign]
    assert main(bench.words("bench")) == code
    said = capsys.readouterr().err.strip()
    put = r"what the chip had learned could not be put back \(the port went away\): it is in "
    put += "net_put_aside_2.npz; "
    assert re.fullmatch(told + put + r"synapcc push \S+ net_put_aside_2.npz --device serial:chip", said), said
    chip = _plugged(monkeypatch, bench)
    out = bench.commands["push"][1]
    assert main(["push", out, "net_put_aside_2.npz", "--device", "serial:chip"]) == 0
    assert _state(chip) == learned


@pytest.mark.parametrize("when", ["before", "after", "waiting"])
def test_ctrl_c_in_push_says_what_the_chip_may_hold(
    when: str, bench: Bench, monkeypatch: pytest.MonkeyPatch, capsys: Capsys
) -> None:
    chip = _plugged(monkeypatch, bench)
    capsys.readouterr()
    _interrupted(chip, 2, when)
    assert main(bench.words("push")) == 130
    said = capsys.readouterr().err
    assert re.fullmatch(
        r"\nsynapcc push: interrupted; 0 of \d+ bytes written: the chip may hold parts of two states; "
        r"push again, which writes all of it, or reset the device\n",
        said,
    )
    assert not bench.written()


def test_an_exchange_that_was_broken_off_ends_the_session(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the answer to one request could be taken for that of the next."""
    chip = _plugged(monkeypatch, bench)
    with client.connect(chip, bench.plan) as c:
        _interrupted(chip, 1, "after")
        with pytest.raises(KeyboardInterrupt):
            c.reset()
        with pytest.raises(DeviceError, match=r"the session is over: RESET was broken off"):
            c.reset()


# ---- what no command asks, and what is known of no Plan ------------------------------------------------

Call = Callable[[client.Client], object]
CALLS: dict[str, Call] = {
    "hello": lambda c: c.info,
    "tensor": lambda c: c.tensors(),
    "run": lambda c: c.run(0),
    "run_op": lambda c: c.run_op(0),
    "learn_many": lambda c: c.learn_many([(bytes(c.info.input_bytes), 0)] * 2),
    "infer": lambda c: c.infer(bytes(c.info.input_bytes)),
    "count": lambda c: c.count(messages.Subject.LOOP, 3),
    "stats": lambda c: c.stats(),
    "step": lambda c: (c.begin(0), c.step()),
    "restore": lambda c: (c.save(), c.restore()),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_client_ends_whatever_it_is_told(name: str, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the Plan's digest alone, where bounds hold in its place: a value, or DeviceError."""
    refused = 0
    each = [lie for lie in lies() if lie.request.name == name]
    for lie in each:
        chip = _plugged(monkeypatch, bench, lie)
        try:
            with client.connect(chip, bench.plan.digest) as c:
                CALLS[name](c)
        except DeviceError as error:
            assert "\n" not in error.line and error.what
            refused += 1
    assert refused > len(each) // 4


def test_an_acceptance_counts_once(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program may run as long as its caller allows, though a damaged frame comes in between."""
    chip = _plugged(monkeypatch, bench)
    with client.connect(chip, bench.plan) as c:
        honest, clock, begun = chip.said, chip.clock, chip.clock.now

        def slow(answer: Reply) -> bytes:
            if answer.status == Status.ACCEPTED:
                return honest(answer) + b"\0\1\0"
            return b"" if clock.now < begun + ends else honest(answer)

        chip.said, ends = slow, 50
        assert len(c.run(0, timeout=60.0)) == 32 and 60 < clock.now - begun < 61
        begun, ends = clock.now, 1000
        with pytest.raises(DeviceError, match=r"no answer to RUN in 6\d\.\d s"):
            c.run(0, timeout=60.0)


@pytest.mark.parametrize("count", [1, pytest.param(12, marks=pytest.mark.long)])
def test_what_the_host_expects_is_what_the_firmware_says(
    count: int, tmp_path: Path, unoptimised: None
) -> None:
    """HELLO of the firmware itself, for Plans of all kinds."""

    for c, _ in accepted(70_000, count):
        out = tmp_path / c.plan.model
        keep = Keep(samples=True)
        write(render(c.plan, load_board("mps2_an386"), "a test", "a test", keep=keep), out)
        with process.open(out, "", None) as device:
            said = client.connect(device, c.plan).info
        own = {"clock_hz": 0, "board": "process", "kept": said.kept, "flash_bytes": said.flash_bytes}
        want = greeting(c.plan) | own
        assert said.flash_bytes > 2 * said.keep_bytes
        assert {name: getattr(said, name) for name in want} == want and said.kept >= KEPT


def test_a_receiver_holds_one_frame_whatever_comes() -> None:
    receiver = Receiver()
    for _ in range(2000):
        assert not list(receiver.feed(b"\xa5" * 4096))
    assert len(receiver._pending) == LONGEST + 1
    (corrupt,) = receiver.feed(b"\0")
    assert len(corrupt.content) == LONGEST + 1  # type: ignore[union-attr]


def test_a_device_that_takes_no_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A child that answers without reading: the host does not wait for room in its pipe for ever."""
    monkeypatch.setattr(process, "WRITE_SECONDS", 0.1)
    program = tmp_path / "firmware"
    program.write_text("#!/bin/sh\nexec sleep 30\n")
    program.chmod(0o755)
    with process.ProcessDevice(program) as device, pytest.raises(DeviceError, match="took no bytes for"):
        device.write(b"\1" * (1 << 21))
