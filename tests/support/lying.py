"""Chips that lie: the emulator's model of a chip behind a link of bytes, and what it says changed on the way.

Time is a clock of its own, which only waiting moves: how long a host waits is counted, not measured.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import numpy as np
from link_model import LinkModel

from synapcc.gen.emit.keep import spans
from synapcc.gen.ir.plan import Plan
from synapcc.gen.numeric import NUMERIC_VERSION
from synapcc.gen.spec import Keep
from synapcc.gen.target import messages
from synapcc.gen.target.messages import (
    MAX_PAYLOAD,
    PROTOCOL_VERSION,
    REQUESTS,
    RUNTIME_VERSION,
    WIDTHS,
    Counter,
    Kept,
    Layout,
    Request,
    Status,
)
from synapcc.host.devices import ClosingDevice
from synapcc.host.link.client import LONG_TIMEOUT
from synapcc.host.link.greeting import batch, of_plan, sample_bytes
from synapcc.host.link.protocol import Reply as Answer
from synapcc.host.link.protocol import (
    cobs_decode,
    crc32,
    decode_fields,
    encode_fields,
    encode_reply,
    frame,
)
from synapcc.host.link.saturation import counts
from synapcc.host.link.session import ATTEMPTS, TIMEOUT

ANSWER, TRICKLE = 1e-4, 1.0
"""Seconds that reading an answer takes, and a piece of an endless stream."""

LONGEST_WAIT = ATTEMPTS * (TIMEOUT + TRICKLE) + LONG_TIMEOUT + 1
"""Seconds that one exchange may take, whatever a device does."""

MOST_FRAMES = 20_000
KEPT = 20


class Clock:
    """Stands in for module time where a host waits."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def module(self) -> SimpleNamespace:
        return SimpleNamespace(monotonic=self.monotonic)


class Chip(ClosingDevice):
    """Answers as firmware does; `said` makes of each honest answer the bytes that go over the line.

    stream:  what every read gives from then on, once there is such a thing
    numbers: of the requests that came; lied: whether an answer was another one than the honest one
    """

    name = "serial:chip"

    def __init__(self, plan: Plan, clock: Clock, said: Callable[[Answer], bytes] = encode_reply) -> None:
        self.plan, self.clock, self.said = plan, clock, said
        self.model = LinkModel(plan, counts=True, spans=spans(plan, Keep(samples=True)))
        self.model.keeps(KEPT)
        self.stream = b""
        self.frames = 0
        self.numbers: list[int] = []
        self.lied = False
        self._pending, self._sent = b"", bytearray()
        self._asked = clock.now
        self._last = b""

    def write(self, data: bytes) -> None:
        *complete, self._pending = (self._pending + data).split(b"\0")
        for content in filter(None, complete):
            self.frames += 1
            assert self.frames < MOST_FRAMES, "the host asks without end"
            if content != self._last:
                self._asked, self._last = self.clock.now, content
            body = _intact(content)
            if not body:
                bad = Answer(PROTOCOL_VERSION, 0, 0, 0, Status.BAD_FRAME, b"")
                self._sent += encode_reply(bad)
                continue
            for answer in self._answers(body):
                self._sent += self.said(answer)

    def _answers(self, body: bytes) -> Iterator[Answer]:
        size = messages.HEADER.fixed_bytes
        h = decode_fields(messages.HEADER, body[:size])
        number, session, sequence = h["request"], h["session"], h["sequence"]
        self.numbers.append(number)
        for status, payload in self.model.ask(number, body[size:], session, sequence):
            if number == messages.HELLO.number and status == Status.OK:
                payload = encode_fields(messages.HELLO.reply, greeting(self.plan))
            elif number == messages.COUNT.number and payload:
                fields = {"ticks": 500, "counter": Counter.SYSTICK, "overrun": 0}
                payload = encode_fields(messages.COUNT.reply, fields)
            elif number == messages.STATS.number and payload:
                counted = counts(self.plan, self.model.machine.state[0])
                payload = payload[:16] + struct.pack("<10I", 0, 0, 400, 4096, *counted, 0, 0, 0, 0)
            yield Answer(PROTOCOL_VERSION, session, sequence, number, status, payload)

    def read(self, timeout: float) -> bytes:
        assert self.clock.now < self._asked + LONGEST_WAIT, "the host waits without end"
        if self._sent:
            data = bytes(self._sent)
            self._sent.clear()
            self.clock.now += ANSWER
        elif self.stream:
            data = self.stream
            self.clock.now += TRICKLE
        else:
            data = b""
            self.clock.now += timeout + 1e-6
        return data

    def reset(self) -> None:
        raise AssertionError("nobody resets it")

    def close(self) -> None:
        pass


def _intact(content: bytes) -> bytes:
    """Header and payload of a frame; nothing where it is none."""
    try:
        body = cobs_decode(content)
    except ValueError:
        return b""
    end = len(body) - messages.CRC_BYTES
    whole = end >= messages.HEADER.fixed_bytes and crc32(body[:end]).to_bytes(4, "little") == body[end:]
    return body[:end] if whole and body[1] == messages.REQUEST_KIND else b""


def greeting(plan: Plan) -> dict[str, Any]:
    """HELLO of the firmware of a Plan."""
    said = of_plan(plan)
    size = int(said["input_bytes"])
    return said | {
        "protocol_version": PROTOCOL_VERSION,
        "numeric_version": NUMERIC_VERSION,
        "runtime_version": RUNTIME_VERSION,
        "plan_digest": plan.digest,
        "clock_hz": 64_000_000,
        "batch": batch(size),
        "kept": KEPT if sample_bytes(size) else 0,
        "keep_bytes": sum(s.bytes for s in spans(plan, Keep(samples=True))),
        "flash_bytes": 0,
        "found": Kept.EMPTY,
        "board": "chip",
    }


# ---- lies ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Lie:
    """What becomes of the answers to one request, from the `nth` on; of every one where that is 0.

    free: whether it may pass unseen, since nobody but the device can know better
    """

    what: str
    request: Request
    change: Callable[[Chip, Answer], bytes]
    nth: int = 0
    free: bool = False

    def __str__(self) -> str:
        return f"{self.request.name} {self.what}"


FREE = {
    ("hello", "clock_hz"), ("hello", "board"), ("hello", "kept"),
    *(("hello", name) for name in ("keep_bytes", "flash_bytes", "found")), ("restore", "kept"),
    *(("stats", f.name) for f in messages.STATS.reply.fields if f.name not in ("learned", "saturated")),
    ("count", "ticks"), ("count", "counter"), ("count", "overrun"),
}  # fmt: skip


def liar(plan: Plan, clock: Clock, lie: Lie) -> Chip:
    """A chip that tells this lie."""
    seen = 0

    def said(answer: Answer) -> bytes:
        nonlocal seen
        if answer.request != lie.request.number or answer.status not in (Status.OK, Status.ACCEPTED):
            return encode_reply(answer)
        seen += 1
        if seen <= lie.nth:
            return encode_reply(answer)
        told = lie.change(chip, answer)
        chip.lied = chip.lied or told != encode_reply(answer)
        return told

    chip = Chip(plan, clock, said)
    return chip


def _field(request: Request, name: str, value: Any) -> Callable[[Chip, Answer], bytes]:
    """The field is `value`, or value(honest one)."""

    def change(_: Chip, answer: Answer) -> bytes:
        if answer.status == Status.ACCEPTED:
            return encode_reply(answer)
        fields = decode_fields(request.reply, answer.payload)
        fields[name] = value(fields[name]) if callable(value) else value
        return encode_reply(replace(answer, payload=_coded(request.reply, fields)))

    return change


def _coded(layout: Layout, fields: dict[str, Any]) -> bytes:
    """As `encode_fields`, but for texts that are none, which stand there as bytes."""
    out = b""
    for f in layout.fields:
        v = fields[f.name]
        if f.kind == "text":
            v = v.encode() if isinstance(v, str) else v
            out += bytes([len(v)]) + v
        else:
            out += v if isinstance(v, bytes) else int(v).to_bytes(WIDTHS[f.kind], "little")
    return out


def _header(name: str, value: Any) -> Callable[[Chip, Answer], bytes]:
    return lambda _, answer: encode_reply(replace(answer, **{name: value(getattr(answer, name))}))


def _endless(stream: Callable[[Answer], bytes]) -> Callable[[Chip, Answer], bytes]:
    def change(chip: Chip, answer: Answer) -> bytes:
        chip.stream = stream(answer)
        return b""

    return change


def _payload(change: Callable[[bytes], bytes]) -> Callable[[Chip, Answer], bytes]:
    return lambda _, a: encode_reply(replace(a, payload=change(a.payload)))


NUMBERS: Sequence[Any] = (
    *(0, 1, 60_000, 2**31, lambda v, top: top, lambda v, top: v + 1, lambda v, top: v - 1),
)


def _values(kind: str) -> Iterator[tuple[str, Any]]:
    if kind == "text":
        for text in (b"", b"\x1b[2J" * 50, b"\xff\xfe", b"a\nb"):
            yield repr(text[:8]), text
    elif kind in ("data", "sha256"):
        yield "changed", lambda v: bytes([v[0] ^ 1]) + v[1:] if v else b"\1"
        if kind == "data":
            yield "empty", lambda v: b""
            yield "shorter", lambda v: v[:-1]
            yield "longer", lambda v: v + b"\0"
            yield "8 bytes", lambda v: bytes(8)
            yield "as much as fits", lambda v: bytes(MAX_PAYLOAD - 8)
    else:
        top = 2 ** (8 * WIDTHS[kind]) - 1
        for n in NUMBERS:
            if callable(n):
                yield f"{n(10, top) - 10:+}", lambda v, n=n: n(v, top) & top
            elif n <= top:
                yield str(n), n


def field_lies(request: Request) -> Iterator[Lie]:
    """Every field of a reply at every value of the list."""
    for field in request.reply.fields:
        for told, value in _values(field.kind):
            free = (request.name, field.name) in FREE
            yield Lie(f"{field.name} {told}", request, _field(request, field.name, value), free=free)


def frame_lies(request: Request) -> Iterator[Lie]:
    """Headers that are not the answer's, frames that are none, and streams without end."""
    for status in (*(s for s in Status if s not in (Status.OK, Status.ACCEPTED)), 14, 255):
        yield Lie(f"status {int(status)}", request, _header("status", lambda _, s=status: int(s)))
    for name, top in (("version", 255), ("session", 2**32 - 1), ("sequence", 2**16 - 1), ("request", 255)):
        yield Lie(f"{name} of another", request, _header(name, lambda v, top=top: v ^ top))
    accepted = {"status": Status.ACCEPTED, "payload": b""}
    streams: dict[str, Callable[[Answer], bytes]] = {
        "bytes that are not zero": lambda a: b"\xa5" * 4096,
        "zeros": lambda a: bytes(4096),
        "half a frame": lambda a: b"\0" + b"\5" * 200,
        "ACCEPTED": lambda a: encode_reply(replace(a, **accepted)),  # type: ignore[arg-type]
        "answers of another session": lambda a: encode_reply(replace(a, session=a.session ^ 1)),
        "BAD_FRAME": lambda a: encode_reply(Answer(a.version, 0, 0, 0, Status.BAD_FRAME, b"")),
    }
    for told, stream in streams.items():
        yield Lie(f"endless {told}", request, _endless(stream))
    yield Lie("nothing", request, lambda chip, answer: b"")
    yield Lie("too long a frame", request, lambda chip, a: frame(b"\5" * 4000))
    yield Lie("a stop, in 1,000 bytes", request, lambda _, a: encode_reply(
        replace(a, status=Status.STOPPED, payload=b"\x1b\n\xff%s" * 200)))  # fmt: skip
    if not request.reply.fields:
        yield Lie("a payload", request, _payload(lambda p: p + b"\1"))


def lies() -> list[Lie]:
    """Those of the list, of every request."""
    found = []
    for request in REQUESTS:
        found += [*field_lies(request), *frame_lies(request)]
    return found


def drawn_lie(rng: np.random.Generator) -> Lie:
    """One that is drawn: a request, how many answers are honest before it, and some bits of its payload."""
    request = REQUESTS[int(rng.integers(len(REQUESTS)))]
    seed = int(rng.integers(2**31))

    def change(_: Chip, answer: Answer) -> bytes:
        own = np.random.default_rng(seed)
        content = bytearray(answer.payload)
        for _turn in range(int(own.integers(1, 4))):
            at = int(own.integers(len(content) + 1))
            match int(own.integers(4)):
                case 0 if content:
                    content[at % len(content)] ^= 1 << int(own.integers(8))
                case 1 if content:
                    content[at % len(content)] = int(own.integers(256))
                case 2:
                    del content[at : at + int(own.integers(1, 40))]
                case _:
                    content[at:at] = own.bytes(int(own.integers(1, 40)))
        return encode_reply(replace(answer, payload=bytes(content[:MAX_PAYLOAD])))

    return Lie(f"drawn {seed}", request, change, nth=int(rng.integers(3)), free=True)
