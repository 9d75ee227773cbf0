"""The firmware's frame decoder under sanitizers and hostile bytes: never crashes, never runs what is broken,
and always understands the next good frame."""

from __future__ import annotations

import os
import random
import struct
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from stub_model import stub_project

from synapcc.gen.target import messages
from synapcc.gen.target.messages import Status
from synapcc.host.devices import Device, open_device
from synapcc.host.link.protocol import Receiver, Reply, encode_fields, encode_request, frame

X = bytes(8)
ROUNDS = int(os.environ.get("SYNAPCC_FUZZ_ROUNDS", "150"))
relaxed = settings(
    deadline=None, max_examples=ROUNDS, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


class Target:
    """One firmware process for a whole test, and the number of LEARNs it must have executed."""

    def __init__(self, device: Device) -> None:
        self.device = device
        self.session = 0
        self.learns = 0

    def check(self) -> list[int]:
        """A new session is understood and statistics are as they must be. Returns the statistics."""
        self.session += 1
        self.device.write(encode_request(messages.HELLO, self.session, 1))
        self.device.write(encode_request(messages.STATS, self.session, 2))
        receiver = Receiver()
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            for item in receiver.feed(self.device.read(1)):
                assert isinstance(item, Reply), "the firmware never sends anything but whole frames"
                if (item.session, item.sequence) == (self.session, 2):
                    assert item.status == Status.OK
                    stats = list(struct.unpack("<14I", item.payload))
                    assert stats[0] == self.learns
                    return stats
        raise AssertionError("the firmware did not recover")

    def learn_frame(self, sequence: int = 3) -> bytes:
        payload = encode_fields(messages.LEARN.ask, {"label": 1, "flags": 0, "inputs": X})
        return encode_request(messages.LEARN, self.session, sequence, payload)


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return stub_project(tmp_path_factory.mktemp("stub") / "out")


@pytest.fixture
def target(out: Path) -> Iterator[Target]:
    with open_device("process:address,undefined", out) as device:
        yield Target(device)


def test_random_bytes(target: Target) -> None:
    noise = random.Random(1)
    for _ in range(ROUNDS):
        target.device.write(noise.randbytes(noise.randrange(1, 4000)))
        target.check()


def test_random_bytes_without_delimiters(target: Target) -> None:
    noise = random.Random(2)
    for _ in range(ROUNDS):
        target.device.write(noise.randbytes(noise.randrange(1, 4000)).replace(b"\0", b"\xff"))
        target.check()


def test_every_flipped_bit(target: Target) -> None:
    """Each frame is one that would be executed if it were believed: session and sequence are right."""
    target.check()
    good = target.learn_frame()
    for position in range(len(good)):
        for bit in range(8):
            damaged = bytearray(target.learn_frame())
            damaged[position % len(damaged)] ^= 1 << bit
            target.device.write(bytes(damaged))
            if not position or position == len(good) - 1:
                target.device.write(b"\0")
            target.check()


def test_every_truncation(target: Target) -> None:
    target.check()
    for length in range(1, len(target.learn_frame()) - 1):
        target.device.write(target.learn_frame()[:length])
        target.check()
        target.device.write(target.learn_frame()[-length:])
        target.check()


def test_frames_of_every_length(target: Target) -> None:
    longest = messages.HEADER.fixed_bytes + messages.MAX_PAYLOAD
    for length in [*range(14), *range(250, 260), *range(505, 515), *range(longest - 3, longest + 8), 5000]:
        for filling in (b"\0", b"\1", b"\xff"):
            target.device.write(frame(filling * length))
        target.check()


def test_good_frames_between_bad_ones_are_executed_once(target: Target) -> None:
    noise = random.Random(3)
    for _ in range(ROUNDS):
        target.check()
        target.device.write(noise.randbytes(noise.randrange(200)))
        target.device.write(target.learn_frame() * noise.randrange(1, 4))
        target.learns += 1
        target.device.write(noise.randbytes(noise.randrange(200)))
        target.check()


def test_intact_frames_with_any_content(out: Path) -> None:
    """Everything behind the CRC: any request, any payload, but RUN and LEARN, which are meant to act."""
    effects = {messages.RUN.number, messages.LEARN.number}
    with open_device("process:address,undefined", out) as device:
        target = Target(device)

        @relaxed
        @given(
            st.integers(0, 255).filter(lambda n: n not in effects), st.binary(max_size=messages.MAX_PAYLOAD)
        )
        def check(number: int, payload: bytes) -> None:
            target.check()
            target.device.write(
                encode_request(messages.Request("any", number, ""), target.session, 3, payload)
            )
            target.check()

        check()


def test_mixtures(out: Path) -> None:
    with open_device("process:address,undefined", out) as device:
        target = Target(device)
        piece = st.one_of(
            st.binary(max_size=64),
            st.just(b"\0"),
            st.integers(1, 40).map(lambda n: encode_request(messages.INFER, 0, 1, X)[:n]),
            st.integers(0, 1200).map(lambda n: b"\xff" * n),
            st.binary(max_size=32).map(frame),
        )

        @relaxed
        @given(st.lists(piece, max_size=8))
        def check(pieces: list[bytes]) -> None:
            target.device.write(b"".join(pieces))
            target.check()

        check()
