"""The firmware as a host process, with a stand-in model, against the client, in good and bad conditions."""

from __future__ import annotations

import hashlib
import struct
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from stub_model import CLASSES, DIGEST, stub_project

from synapcc.gen.numeric import NUMERIC_VERSION
from synapcc.gen.target import messages
from synapcc.gen.target.messages import MAX_PAYLOAD, PROOFS, PROTOCOL_VERSION, Flag, Region, Request, Status
from synapcc.host.devices import ClosingDevice, Device, DeviceError, device_kinds, open_device, process
from synapcc.host.link import client as client_module
from synapcc.host.link.checksum import Checksum
from synapcc.host.link.client import Client, connect
from synapcc.host.link.protocol import (
    Corrupt,
    Receiver,
    Reply,
    decode_fields,
    encode_fields,
    encode_reply,
    encode_request,
    frame,
)

X = bytes([5, 250, 3, 7, 9, 1, 2, 3])
REHEARSE, FAULT = 2, 3
BATCH = 62
"""Samples of LEARN_MANY: as many checksums and one SHA-256 fit the reply."""
SANITIZED = "process:address,undefined"


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return stub_project(tmp_path_factory.mktemp("stub") / "out")


@pytest.fixture
def device(out: Path) -> Iterator[Device]:
    with open_device(SANITIZED, out) as opened:
        yield opened


@pytest.fixture
def client(device: Device) -> Client:
    return connect(device, DIGEST)


class Line(ClosingDevice):
    """A device behind a bad line: what is written and read passes through `sent` and `received`."""

    def __init__(self, device: Device) -> None:
        self.device, self.name = device, device.name
        self.sent: Callable[[bytes], bytes] = lambda data: data
        self.received: Callable[[bytes], bytes] = lambda data: data

    def write(self, data: bytes) -> None:
        self.device.write(self.sent(data))

    def read(self, timeout: float) -> bytes:
        return self.received(self.device.read(timeout))

    def reset(self) -> None:
        self.device.reset()

    def close(self) -> None:
        self.device.close()


def once(change: Callable[[bytes], bytes]) -> Callable[[bytes], bytes]:
    """Changes the first piece of data that is not empty, and no other."""
    done: list[bool] = []

    def pass_on(data: bytes) -> bytes:
        if done or not data:
            return data
        done.append(True)
        return change(data)

    return pass_on


def flip(data: bytes) -> bytes:
    damaged = bytearray(data)
    damaged[len(data) // 2] ^= 4
    return bytes(damaged)


class Raw:
    """Frames by hand, for what a client would never send."""

    def __init__(self, device: Device) -> None:
        self.device = device
        self.receiver = Receiver()
        self.arrived: list[Reply | Corrupt] = []
        self.sequence = 0

    def send(self, data: bytes) -> Reply:
        self.device.write(data)
        return self.reply()

    def reply(self) -> Reply:
        deadline = time.monotonic() + 10
        while not self.arrived and time.monotonic() < deadline:
            self.arrived += self.receiver.feed(self.device.read(1))
        assert self.arrived, "no reply"
        item = self.arrived.pop(0)
        assert isinstance(item, Reply)
        return item

    def ask(self, request: Request, payload: bytes = b"", session: int = 9, step: int = 1) -> Reply:
        self.sequence += step
        return self.send(encode_request(request, session, self.sequence, payload))


@pytest.fixture
def raw(device: Device) -> Raw:
    raw = Raw(device)
    assert raw.ask(messages.HELLO).status == Status.OK
    return raw


def learn_payload(label: int, x: bytes = X, flags: int = 0) -> bytes:
    return encode_fields(messages.LEARN.ask, {"label": label, "flags": flags, "inputs": x})


# ---- what it does -------------------------------------------------------------------------------------


def test_hello_says_who_is_there(client: Client) -> None:
    info = client.info
    assert (info.model, info.board, info.clock_hz) == ("stub", "process", 0)
    assert (info.protocol_version, info.runtime_version) == (
        messages.PROTOCOL_VERSION,
        messages.RUNTIME_VERSION,
    )
    assert info.numeric_version == NUMERIC_VERSION and info.plan_digest == DIGEST
    assert (info.input_bytes, info.output_bytes, info.state_bytes) == (
        8,
        8 + 2 * CLASSES,
        4 + 2 * 8 * CLASSES,
    )
    assert (info.classes, info.tensors, info.programs, info.ops) == (CLASSES, 2, 4, 3)


def test_tensors(client: Client) -> None:
    steps, weight = client.tensors()
    assert (steps.name, steps.dtype, steps.offset, steps.bytes) == ("steps", "uint32", 0, 4)
    assert (weight.name, weight.dtype, weight.offset, weight.bytes) == ("weight", "int16", 4, 48)


def expected_state(samples: list[tuple[bytes, int]]) -> bytes:
    """What the stub should hold after learning, in Python."""
    weights = [[100 * row + i for i in range(8)] for row in range(CLASSES)]
    for x, label in samples:
        for row in range(CLASSES):
            for i, value in enumerate(struct.unpack("8b", x)):
                weights[row][i] += value if row == label else -value
    return struct.pack("<I24h", len(samples), *(w for row in weights for w in row))


def test_learn_infer_digest_and_memory(client: Client) -> None:
    assert client.read(Region.STATE, 0, 52) == expected_state([])
    assert client.infer(X) == (2, 10, (0, 6, 16))
    samples = [(X, 2), (X[::-1], 0)]
    digests = [client.learn(x, label) for x, label in samples]
    state = client.read(Region.STATE, 0, client.info.state_bytes)
    assert state == expected_state(samples)
    assert digests[-1] == client.digest() == hashlib.sha256(state).digest()
    assert client.learn(X, 1, proof=None) == b""
    client.write(Region.STATE, 4, b"\1\2\3")
    assert client.read(Region.STATE, 3, 5) == b"\0\1\2\3" + client.read(Region.STATE, 7, 1)
    client.reset()
    assert client.read(Region.STATE, 0, 52) == expected_state([])


def test_a_batch_does_what_as_many_requests_do(client: Client) -> None:
    assert client.info.batch == BATCH
    samples = [(bytes([i + 1, *X[1:]]), i % CLASSES) for i in range(BATCH)]
    alone = [client.learn(x, label, Flag.CHECKSUM) for x, label in samples]
    state = client.read(Region.STATE, 0, 52)
    assert alone[-1] == Checksum(52)(np.frombuffer(state, np.uint8)) and state == expected_state(samples)
    for proof, want in ((Flag.CHECKSUM, alone), (Flag.DIGEST, [hashlib.sha256(state).digest()]), (None, [])):
        client.reset()
        assert client.learn_many(samples, proof) == want
        assert client.read(Region.STATE, 0, 52) == state
        assert client.read(Region.INPUT, 0, 8) == samples[-1][0]
    assert client.stats().learns == 4 * BATCH


def test_both_proofs_stand_in_their_order(raw: Raw) -> None:
    state = np.frombuffer(expected_state([(X, 1)]), np.uint8)
    both = Checksum(52)(state) + hashlib.sha256(state).digest()
    assert raw.ask(messages.LEARN, learn_payload(1, flags=3)).payload == both
    assert raw.ask(messages.RESET).status == Status.OK
    fields = {"flags": 3, "samples": b"\1\0" + X}
    assert raw.ask(messages.LEARN_MANY, encode_fields(messages.LEARN_MANY.ask, fields)).payload == both


def test_load_and_single_ops_do_what_learn_does(client: Client) -> None:
    client.load(X, 1)
    for op in range(client.info.ops):
        digest = client.run_op(op)
    assert client.read(Region.STATE, 0, 52) == expected_state([(X, 1)])
    client.reset()
    assert client.learn(X, 1) == digest


def test_run_is_accepted_then_answered(raw: Raw) -> None:
    payload = encode_fields(messages.RUN.ask, {"program": REHEARSE, "flags": Flag.DIGEST})
    first = raw.ask(messages.RUN, payload)
    assert (first.status, first.payload) == (Status.ACCEPTED, b"")
    second = raw.reply()
    assert (second.status, len(second.payload)) == (Status.OK, 32)
    assert raw.ask(messages.RUN, payload, step=0) == second


def test_a_process_has_nothing_to_count_with(client: Client) -> None:
    before = client.digest()
    for subject in messages.Subject:
        with pytest.raises(DeviceError, match=r"COUNT was refused \(unsupported: "):
            client.count(subject, 1)
    assert client.digest() == before


def test_stats(client: Client) -> None:
    client.infer(X)
    for _ in range(3):
        client.learn(X, 0)
    stats = client.stats()
    assert (stats.learns, stats.infers, stats.repeats, stats.refusals, stats.bad_frames) == (3, 1, 0, 0, 0)


@pytest.mark.parametrize("beat", [MAX_PAYLOAD - 4, MAX_PAYLOAD - 3, MAX_PAYLOAD - 2, MAX_PAYLOAD - 1, 3000])
def test_inputs_longer_than_a_frame(tmp_path: Path, beat: int) -> None:
    x = bytes(i % 251 for i in range(beat + 2))
    with open_device("process", stub_project(tmp_path / "out", beat=beat)) as device:
        client = connect(device, DIGEST)
        client.load(x, 1)
        assert client.read(Region.ARENA, 0, len(x)) == x
        digest = client.learn(x, 1)
        state = client.read(Region.STATE, 0, client.info.state_bytes)
        assert digest == hashlib.sha256(state).digest()
        first_row = struct.unpack_from(f"<{len(x)}h", state, 4)
        signed = struct.unpack(f"{len(x)}b", x)
        assert list(first_row) == [i % 50 - signed[i] for i in range(len(x))]
        client.infer(x)


def test_outputs_longer_than_a_frame(tmp_path: Path) -> None:
    with open_device("process", stub_project(tmp_path / "out", classes=600)) as device:
        client = connect(device, DIGEST)
        winner, _, scores = client.infer(X)
        assert len(scores) == 600 and scores[winner] == max(scores) and scores[599] != 0


@pytest.mark.parametrize("optimise", ["-O0", "-O1", "-O2", "-Os", "-O3"])
def test_state_does_not_depend_on_optimisation(out: Path, optimise: str) -> None:
    """gcc 12 at -O1 and -O2 dropped the call that changes the weights; process._FLAGS says how."""
    with process.ProcessDevice(process.build(out, flags=(optimise,))) as device:
        client = connect(device, DIGEST)
        client.learn(X, 2)
        assert client.read(Region.STATE, 0, 52) == expected_state([(X, 2)])


# ---- what it refuses ----------------------------------------------------------------------------------


def test_lengths_are_checked(raw: Raw) -> None:
    for request in messages.REQUESTS:
        if request == messages.HELLO:
            continue
        shortest, longest = request.ask.fixed_bytes, request.ask.fixed_bytes + request.ask.tail_bytes
        if shortest:
            assert raw.ask(request, bytes(shortest - 1)).status == Status.BAD_LENGTH, request.name
        if longest < MAX_PAYLOAD:
            assert raw.ask(request, bytes(longest + 1)).status == Status.BAD_LENGTH, request.name
    for request, fixed in ((r, r.ask.fixed_bytes) for r in (messages.INFER, messages.LEARN, messages.LOAD)):
        for count in (1, 7, 9):
            assert raw.ask(request, bytes(fixed + count)).status == Status.BAD_LENGTH
    for samples in (b"", bytes(9), bytes(11), bytes(19), bytes(10 * (BATCH + 1))):
        asked = encode_fields(messages.LEARN_MANY.ask, {"flags": 0, "samples": samples})
        assert raw.ask(messages.LEARN_MANY, asked).status == Status.BAD_LENGTH
    assert raw.ask(messages.DIGEST).payload == hashlib.sha256(expected_state([])).digest()


def test_arguments_are_checked(raw: Raw) -> None:
    def status(request: Request, **fields: Any) -> int:
        return raw.ask(request, encode_fields(request.ask, fields)).status

    top = 0xFFFFFFFF
    assert status(messages.TENSOR, index=2) == Status.BAD_ARGUMENT
    assert status(messages.RUN, program=4, flags=0) == Status.BAD_ARGUMENT
    assert status(messages.RUN, program=REHEARSE, flags=4) == Status.BAD_ARGUMENT
    assert status(messages.RUN_OP, op=3, flags=0) == Status.BAD_ARGUMENT
    assert status(messages.RUN_OP, op=0, flags=128) == Status.BAD_ARGUMENT
    assert status(messages.COUNT, subject=0, number=4) == Status.BAD_ARGUMENT
    assert status(messages.COUNT, subject=1, number=4) == Status.BAD_ARGUMENT
    assert status(messages.COUNT, subject=2, number=1 << 24) == Status.BAD_ARGUMENT
    assert status(messages.COUNT, subject=3, number=0) == Status.BAD_ARGUMENT
    assert status(messages.LEARN, label=0, flags=4, inputs=X) == Status.BAD_ARGUMENT
    for label in (CLASSES, 256, 2**16 - 1):  # 256 is no class 0 to a chip whose labels are bytes
        assert status(messages.LEARN, label=label, flags=0, inputs=X) == Status.BAD_LABEL
        assert status(messages.LOAD, label=label, inputs=X) == Status.BAD_LABEL
    assert status(messages.LEARN_MANY, flags=4, samples=bytes(2) + X) == Status.BAD_ARGUMENT
    for label in (CLASSES, 256):  # behind a sample that is good, and must not be learned from
        second = label.to_bytes(2, "little") + X
        assert status(messages.LEARN_MANY, flags=0, samples=bytes(2) + X + second) == Status.BAD_LABEL
    hello = raw.ask(messages.HELLO)
    kept = decode_fields(messages.HELLO.reply, hello.payload)["kept"]
    assert kept == (1 << 20) // (2 + len(X))
    for first, count in ((kept, 1), (kept - 1, 2), (0, 0), (0, PROOFS + 1), (top, 1), (1, top), (top, top)):
        assert status(messages.LEARN_KEPT, first=first, count=count, flags=0) == Status.BAD_ARGUMENT
    assert status(messages.LEARN_KEPT, first=0, count=1, flags=4) == Status.BAD_ARGUMENT
    wrong = CLASSES.to_bytes(2, "little")
    assert status(messages.WRITE, region=Region.SAMPLES, offset=10, content=wrong) == Status.OK
    assert status(messages.LEARN_KEPT, first=0, count=2, flags=0) == Status.BAD_LABEL
    sizes = {Region.STATE: 52, Region.ARENA: 16, Region.INPUT: 8, Region.OUTPUT: 14}
    for region, size in sizes.items():
        for offset, count in ((0, size + 1), (size, 1), (size + 1, 0), (top, 1), (1, top), (top, top)):
            assert status(messages.READ, region=region, offset=offset, bytes=count) == Status.BAD_ARGUMENT
        for offset, count in ((0, size + 1), (size, 1), (top, 1)):
            assert (
                status(messages.WRITE, region=region, offset=offset, content=bytes(count))
                == Status.BAD_ARGUMENT
            )
        assert status(messages.READ, region=region, offset=0, bytes=size) == Status.OK
        expected = Status.BAD_ARGUMENT if region == Region.OUTPUT else Status.OK
        assert status(messages.WRITE, region=region, offset=size - 1, content=b"\0") == expected
    assert status(messages.READ, region=5, offset=0, bytes=0) == Status.BAD_ARGUMENT
    assert status(messages.WRITE, region=255, offset=0, content=b"") == Status.BAD_ARGUMENT


def test_requests_without_a_store_and_unknown_ones(raw: Raw) -> None:
    for request in (messages.SAVE, messages.RESTORE, messages.ERASE):
        assert raw.ask(request, bytes(request.ask.fixed_bytes)).status == Status.UNSUPPORTED
    for number in (0, max(request.number for request in messages.REQUESTS) + 1, 255):
        assert raw.ask(Request("unknown", number, "")).status == Status.UNKNOWN_REQUEST


def test_order_is_checked(raw: Raw) -> None:
    for step in (2, -1, 5, 0x8000):
        sequence = raw.sequence
        assert raw.ask(messages.STATS, step=step).status == Status.BAD_SEQUENCE
        raw.sequence = sequence
    for session in (0, 8, 0xFFFFFFFF):
        assert raw.ask(messages.STATS, session=session).status == Status.NO_SESSION
        raw.sequence -= 1
    assert raw.ask(messages.HELLO, session=0).status == Status.NO_SESSION
    raw.sequence -= 1
    assert raw.ask(messages.HELLO, step=7).status == Status.BAD_SEQUENCE
    raw.sequence -= 7
    assert raw.ask(messages.STATS).status == Status.OK


def test_sequence_wraps(device: Device) -> None:
    raw = Raw(device)
    raw.sequence = 0xFFFE
    assert raw.ask(messages.HELLO).status == Status.OK
    raw.sequence = -1
    assert raw.ask(messages.LEARN, learn_payload(0)).status == Status.OK
    assert raw.ask(messages.LEARN, learn_payload(0), step=0).status == Status.OK
    stats = client_module.Stats(*struct.unpack("<14I", raw.ask(messages.STATS).payload))
    assert (stats.learns, stats.repeats) == (1, 1)


def test_other_protocol_version_is_told(raw: Raw) -> None:
    header = {
        "version": messages.PROTOCOL_VERSION + 1,
        "kind": messages.REQUEST_KIND,
        "session": 9,
        "sequence": 2,
        "request": 4,
    }
    reply = raw.send(frame(encode_fields(messages.HEADER, header) + learn_payload(0)))
    assert (reply.version, reply.status) == (messages.PROTOCOL_VERSION, Status.WRONG_VERSION)


def test_client_checks_before_it_asks(client: Client) -> None:
    with pytest.raises(DeviceError, match="got 7 input bytes, the model takes 8"):
        client.infer(X[:7])
    with pytest.raises(DeviceError, match="label 3 is none of the model's 3 classes"):
        client.learn(X, 3)
    with pytest.raises(DeviceError, match=r"READ was refused .bad_argument"):
        client.read(Region.STATE, 50, 3)
    assert client.stats().learns == 0


# ---- executed once ------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["lost answer", "damaged answer", "lost request", "damaged request"])
def test_learns_once_over_a_bad_line(device: Device, way: str) -> None:
    line = Line(device)
    client = connect(line, DIGEST)
    client.timeout = 0.1
    samples = []
    for step in range(20):
        change = flip if "damaged" in way else lambda data: b""
        if "answer" in way:
            line.received = once(change)
        else:
            line.sent = once(change)
        samples.append((X, step % CLASSES))
        client.learn(X, step % CLASSES)
        assert client.read(Region.STATE, 0, 52) == expected_state(samples)
    stats = client.stats()
    assert stats.learns == 20
    assert stats.repeats >= 20 if "answer" in way else stats.repeats == 0
    assert stats.bad_frames == (20 if way == "damaged request" else 0)


def test_run_once_with_a_lost_acceptance(device: Device) -> None:
    line = Line(device)
    client = connect(line, DIGEST, timeout=0.1)
    client.load(X, 1)
    line.received = once(lambda data: b"")
    client.run(REHEARSE, timeout=5)
    assert client.read(Region.STATE, 0, 4) == struct.pack("<I", 1000)


def test_repeated_request_gets_the_same_bytes(raw: Raw) -> None:
    first = raw.ask(messages.LEARN, learn_payload(1, flags=Flag.DIGEST))
    assert raw.ask(messages.LEARN, learn_payload(1, flags=Flag.DIGEST), step=0) == first
    assert first.payload == hashlib.sha256(expected_state([(X, 1)])).digest()


@pytest.mark.parametrize(
    "damage", [lambda data: b"", lambda data: data * 2, flip], ids=["lost", "twice", "bit"]
)
@pytest.mark.parametrize("way", ["sent", "received"])
def test_a_batch_is_learned_once_on_a_bad_line(
    device: Device, way: str, damage: Callable[[bytes], bytes]
) -> None:
    """Frames and answers lost, doubled and damaged, every third one."""
    line = Line(device)
    client = connect(line, DIGEST, timeout=0.2)
    samples = [(X, 1), (X[::-1], 2), (X, 0)]
    for turn in range(4):
        setattr(line, way, once(damage) if turn % 2 == 0 else lambda data: data)
        proofs = client.learn_many(samples)
        state = np.frombuffer(expected_state(samples * (turn + 1)), np.uint8)
        assert proofs[-1] == Checksum(52)(state)
    assert client.stats().learns == 4 * len(samples)


def test_reset_device_does_not_learn_again(device: Device) -> None:
    line = Line(device)
    client = connect(line, DIGEST, timeout=0.2)
    client.learn(X, 1)

    def power_fails(data: bytes) -> bytes:
        device.reset()
        return b""

    line.received = once(power_fails)
    with pytest.raises(DeviceError, match=r"the device was reset.*connect again"):
        client.learn(X, 1)
    with pytest.raises(DeviceError, match="session is over"):
        client.learn(X, 1)
    again = connect(line, DIGEST)
    assert again.stats().learns == 0
    assert again.read(Region.STATE, 0, 52) == expected_state([])


def test_second_host_ends_the_first_session(device: Device, client: Client) -> None:
    connect(device, DIGEST)
    with pytest.raises(DeviceError, match="greeted by another host"):
        client.learn(X, 0)


# ---- devices that are not what they should be ---------------------------------------------------------


def test_other_plan_is_refused(device: Device) -> None:
    with pytest.raises(DeviceError) as caught:
        connect(device, bytes(32))
    assert "000102030405" in str(caught.value) and "000000000000" in str(caught.value)
    assert connect(device, None).info.plan_digest == DIGEST


def test_other_numeric_version_is_refused(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "NUMERIC_VERSION", NUMERIC_VERSION + 1)
    with pytest.raises(
        DeviceError, match=f"numeric version {NUMERIC_VERSION}.*this host {NUMERIC_VERSION + 1}"
    ):
        connect(device, DIGEST)


class Fake(ClosingDevice):
    """Answers every write with `answer(data)`."""

    name = "fake"

    def __init__(self, answer: Callable[[bytes], bytes]) -> None:
        self.answer = answer
        self.waiting = b""

    def write(self, data: bytes) -> None:
        self.waiting += self.answer(data)

    def read(self, timeout: float) -> bytes:
        if not self.waiting:
            time.sleep(timeout)
        data, self.waiting = self.waiting, b""
        return data

    def reset(self) -> None:
        raise DeviceError(self.name, "cannot reset")

    def close(self) -> None:
        pass


def test_silent_device() -> None:
    started = time.monotonic()
    with pytest.raises(DeviceError, match=r"no answer to HELLO in .* not one byte; is the firmware flashed"):
        connect(Fake(lambda data: b""), DIGEST, timeout=0.05)
    assert 0.2 < time.monotonic() - started < 2


@pytest.mark.parametrize("said", [b"login: \r\n", b"\0\xff\0\1\0", bytes(range(256))])
def test_device_that_speaks_something_else(said: bytes) -> None:
    with pytest.raises(DeviceError, match=r"bytes came, beginning with .* no intact frame; is this the port"):
        connect(Fake(lambda data: said), DIGEST, timeout=0.05)


def test_echo_is_something_else() -> None:
    with pytest.raises(DeviceError, match="no intact frame"):
        connect(Fake(lambda data: data), DIGEST, timeout=0.05)


def test_other_protocol_version_is_refused() -> None:
    other = encode_reply(Reply(7, 1, 1, 1, 3, b""))
    with pytest.raises(
        DeviceError, match=f"speaks version 7 of the protocol, this host version {PROTOCOL_VERSION}"
    ):
        connect(Fake(lambda data: other), DIGEST)


def test_boot_message_does_not_disturb(device: Device) -> None:
    line = Line(device)
    line.received = once(lambda data: b"boot: ok\r\n" + data)
    assert connect(line, DIGEST).stats().learns == 0


def test_fault_is_told() -> None:
    def answer(data: bytes) -> bytes:
        return encode_reply(Reply(messages.PROTOCOL_VERSION, 1, 1, 1, Status.STOPPED, b"fault at 0x00000042"))

    with pytest.raises(DeviceError, match="the firmware stopped: fault at 0x00000042"):
        connect(Fake(answer), DIGEST)


def test_device_that_dies(out: Path) -> None:
    with open_device("process", out) as device:
        client = connect(device, DIGEST)
        with pytest.raises(DeviceError, match=r"process: the firmware died of signal \d+ \("):
            client.run(FAULT)
        with pytest.raises(DeviceError, match="the firmware died"):
            client.learn(X, 0)
        device.reset()
        assert connect(device, DIGEST).stats().learns == 0


def test_device_that_ends_says_its_last_words(tmp_path: Path) -> None:
    program = tmp_path / "firmware"
    program.write_text("#!/bin/sh\necho first >&2\necho out of luck >&2\nexit 3\n")
    program.chmod(0o755)
    with process.ProcessDevice(program) as device, pytest.raises(DeviceError) as caught:
        connect(device, DIGEST)
    assert str(caught.value) == "process: the firmware ended with exit status 3, saying 'out of luck'"


def test_closed_device(out: Path) -> None:
    device = open_device("process", out)
    device.close()
    device.close()
    with pytest.raises(DeviceError, match="closed"):
        device.read(0)


def test_end_of_input_ends_the_process(out: Path) -> None:
    assert subprocess.run([process.build(out)], input=b"", timeout=10, check=False).returncode == 0


# ---- building -----------------------------------------------------------------------------------------


def test_program_is_built_once(out: Path) -> None:
    first = process.build(out)
    stamp = first.stat().st_mtime_ns
    assert process.build(out) == first and first.stat().st_mtime_ns == stamp
    assert process.build(out, sanitizers=("undefined",)) != first


def test_what_does_not_compile_is_told(tmp_path: Path) -> None:
    out = stub_project(tmp_path / "out", runtime=messages.RUNTIME_VERSION + 1)
    with pytest.raises(DeviceError, match=r"does not compile: .*different versions of synapcc"):
        open_device("process", out)
    assert not list((out / ".build").rglob("firmware"))


def test_sizes_are_checked_by_the_compiler(tmp_path: Path) -> None:
    out = stub_project(tmp_path / "out")
    header = out / "lib" / "stub" / "src" / "stub.h"
    header.write_text(
        header.read_text().replace("#define STUB_STATE_BYTES (4", "#define STUB_STATE_BYTES (8")
    )
    with pytest.raises(DeviceError, match="check_state_fits"):
        open_device("process", out)


def test_folder_without_a_project(tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match="synapcc compile"):
        open_device("process", tmp_path)


def test_unknown_devices(out: Path) -> None:
    with pytest.raises(DeviceError, match=r"there is no such kind; kinds: .*process"):
        open_device("procces", out)
    with pytest.raises(DeviceError, match="no sanitizer 'x'"):
        open_device("process:x", out)
    assert "process" in device_kinds()


def test_missing_compiler_is_told(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    process.host_compiler.cache_clear()
    monkeypatch.setenv("CC", "no-such-compiler")
    try:
        with pytest.raises(DeviceError, match="no-such-compiler"):
            process.build(out)
    finally:
        process.host_compiler.cache_clear()


def test_corrupt_is_not_a_reply() -> None:
    assert isinstance(next(Receiver().feed(b"\1\2\3\0")), Corrupt)
