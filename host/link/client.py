"""The host's end of the link: one request at a time, repeated until it is answered, executed once.

with open_device("process", out) as device:
    client = connect(device, plan_digest)
    client.learn(x, label)
"""

from __future__ import annotations

import secrets
import struct
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, NoReturn, Self

import numpy as np
from numpy.typing import ArrayLike

from synapcc.gen.ir.plan import Plan
from synapcc.gen.numeric import NUMERIC_VERSION
from synapcc.gen.target import messages
from synapcc.gen.target.messages import (
    MAX_PAYLOAD,
    PROTOCOL_VERSION,
    RUNTIME_VERSION,
    Flag,
    Region,
    Request,
    Status,
    Subject,
)

from ..devices import Device, DeviceError
from ..terminal.screen import neutral
from .protocol import Corrupt, Receiver, Reply, decode_fields, encode_fields, encode_request
from .saturation import Saturation, saturation

TIMEOUT = 2.0
"""Seconds to wait for an answer before the request is sent again."""

ATTEMPTS = 5
"""How often a request is sent before the link is given up."""

LONG_TIMEOUT = 600.0
"""Seconds that a program run by RUN may take unless the caller says otherwise."""

WORD = 4
"""Bytes of the widest element of a state."""

_SHOWN = 16  # first bytes of what is not the protocol, in the error message


@dataclass(frozen=True, slots=True)
class Hello:
    """What the firmware says of itself; sizes in bytes."""

    protocol_version: int
    numeric_version: int
    runtime_version: int
    plan_digest: bytes
    clock_hz: int
    state_bytes: int
    arena_bytes: int
    input_bytes: int
    output_bytes: int
    tensors: int
    programs: int
    ops: int
    classes: int
    model: str
    board: str


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """A persistent tensor: `offset` and `bytes` within region state."""

    offset: int
    bytes: int
    dtype: str
    name: str


@dataclass(frozen=True, slots=True)
class Stats:
    """What the firmware counted since start-up; learned and saturated, what the model's state counts.

    The stack is in bytes, 0 where it cannot be seen.
    """

    learns: int
    infers: int
    repeats: int
    refusals: int
    bad_frames: int
    link_errors: int
    stack_used: int
    stack_watched: int
    learned: int
    saturated: int


@dataclass(frozen=True, slots=True)
class Count:
    """What a run took: clock cycles, the number of the counter, and whether that went past its end."""

    ticks: int
    counter: int
    overrun: int


class Inference(NamedTuple):
    """Class, its lead over the next one, and all scores, in units of the last layer's format."""

    winner: int
    margin: int
    scores: tuple[int, ...]


def spoken(fields: Mapping[str, Any]) -> dict[str, Any]:
    """What a chip says, its texts such that they cannot steer what shows them, nor begin a line there."""
    return {k: neutral(v, lines=False) if isinstance(v, str) else v for k, v in fields.items()}


class Client:
    """A session with running firmware. `connect` makes one; `info` is what the firmware said of itself.

    Every method raises DeviceError: the device died, fell silent, was reset, or refused. After the link
    failed, the session is over and every further call says so: `connect` opens a new one.
    """

    info: Hello

    def __init__(self, device: Device, timeout: float = TIMEOUT, attempts: int = ATTEMPTS) -> None:
        self.device = device
        self.timeout = timeout
        self.attempts = attempts
        self._session = secrets.randbelow(0xFFFFFFFF) + 1
        self._sequence = 0
        self._receiver = Receiver()
        self._heard = b""
        self._heard_bytes = 0
        self._understood = False
        self._over = ""
        self.info = Hello(**self._ask(messages.HELLO))

    def close(self) -> None:
        """Gives up the session and the device."""
        self.device.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- requests -------------------------------------------------------------------------------------------

    def infer(self, x: bytes) -> Inference:
        """Runs the infer program. `x`: all input bytes, in the Plan's order."""
        inline = self._inputs(messages.INFER, x)
        output = self._ask(messages.INFER, {"inputs": inline})["output"]
        if len(output) < self.info.output_bytes:
            output += self.read(Region.OUTPUT, len(output), self.info.output_bytes - len(output))
        winner, margin = struct.unpack_from("<ii", output)
        return Inference(
            winner, margin, struct.unpack_from(f"<{(self.info.output_bytes - 8) // 2}h", output, 8)
        )

    def learn(self, x: bytes, label: int, digest: bool = True) -> bytes | None:
        """Runs the learn program on one sample, exactly once; the state's SHA-256 after it, if asked for."""
        self._check_label(label)
        inline = self._inputs(messages.LEARN, x)
        fields = {"label": label, "flags": _flags(digest), "inputs": inline}
        return _digest_of(self._ask(messages.LEARN, fields), digest)

    def run(self, program: int, digest: bool = True, timeout: float = LONG_TIMEOUT) -> bytes | None:
        """Runs an entry program by number; the chip may take `timeout` seconds for it."""
        fields = {"program": program, "flags": _flags(digest)}
        return _digest_of(self._ask(messages.RUN, fields, timeout), digest)

    def begin(self, program: int) -> None:
        """Begins an entry program in slices, on the arena as it is; `step` does the rest."""
        self._ask(messages.BEGIN, {"program": program})

    def step(self, digest: bool = True) -> tuple[bool, bytes | None]:
        """Runs the next slice: whether another one follows, and the state's SHA-256 if asked for."""
        fields = self._ask(messages.STEP, {"flags": _flags(digest)})
        return bool(fields["more"]), _digest_of(fields, digest)

    def abort(self) -> None:
        """Gives up a run in slices, if one is in progress. What its slices changed stays changed."""
        self._ask(messages.ABORT)

    def run_op(self, op: int, digest: bool = True) -> bytes | None:
        """Runs one step by number, on the arena as it is."""
        return _digest_of(self._ask(messages.RUN_OP, {"op": op, "flags": _flags(digest)}), digest)

    def count(self, subject: Subject, number: int, timeout: float = LONG_TIMEOUT) -> Count:
        """Runs something once on the arena as it is, and counts; it may take `timeout` seconds."""
        return Count(**self._ask(messages.COUNT, {"subject": subject, "number": number}, timeout))

    def load(self, x: bytes, label: int = 0) -> None:
        """Copies inputs and label into the arena and runs nothing."""
        self._check_label(label)
        self._ask(messages.LOAD, {"label": label, "inputs": self._inputs(messages.LOAD, x)})

    def give(self, plan: Plan, program: str, inputs: Mapping[str, ArrayLike], label: int | None) -> None:
        """Puts what an entry program takes into the arena and runs nothing: integers, [1, size] each."""
        for name in plan.entry(program).inputs:
            t = plan[name]
            self.write(Region.ARENA, t.offset, np.asarray(inputs[name], t.dtype).tobytes())
        if label is not None:
            self._check_label(label)
            self.write(Region.ARENA, plan["label"].offset, np.asarray(label, plan["label"].dtype).tobytes())

    def read(self, region: Region, offset: int, count: int) -> bytes:
        """`count` bytes of a region, in as many requests as that takes."""
        content = b""
        while len(content) < count:
            part = min(count - len(content), MAX_PAYLOAD)
            fields = {"region": region, "offset": offset + len(content), "bytes": part}
            received = self._ask(messages.READ, fields)["content"]
            if len(received) != part:
                self._fail(
                    f"answered READ of {part} bytes with {len(received)}", "firmware and host do not fit"
                )
            content += received
        return content

    def write(self, region: Region, offset: int, content: bytes) -> None:
        """Writes to a region, in as many requests as that takes; none but the first begins inside a word.

        The chip holds each piece of a state against the limits of its elements, which must arrive whole.
        """
        at, most = 0, messages.WRITE.ask.tail_bytes // WORD * WORD
        while at < len(content):
            part = content[at : at + most - (offset + at) % WORD]
            self._ask(messages.WRITE, {"region": region, "offset": offset + at, "content": part})
            at += len(part)

    def digest(self) -> bytes:
        """SHA-256 of the persistent state."""
        return bytes(self._ask(messages.DIGEST)["digest"])

    def tensors(self) -> tuple[TensorInfo, ...]:
        """The persistent tensors, in the Plan's order."""
        return tuple(TensorInfo(**self._ask(messages.TENSOR, {"index": i})) for i in range(self.info.tensors))

    def stats(self) -> Stats:
        """What the firmware counted since start-up."""
        return Stats(**self._ask(messages.STATS))

    def saturation(self, plan: Plan) -> tuple[Saturation, ...]:
        """How many updates of each learned layer met a limit, from the counters in the state of `plan`."""
        state = self.read(Region.STATE, 0, plan.state_bytes)
        return saturation(plan, np.frombuffer(state, np.uint8))

    def reset(self) -> None:
        """Weights as compiled, empty input and output. Session and statistics stay."""
        self._ask(messages.RESET)

    # -- helpers of requests --------------------------------------------------------------------------------

    def _ask(
        self, request: Request, fields: Mapping[str, Any] | None = None, patience: float | None = None
    ) -> dict[str, Any]:
        try:
            payload = encode_fields(request.ask, fields or {})
        except ValueError as error:
            raise DeviceError(self.device.name, f"cannot ask {request.name.upper()}: {error}") from error
        answer = self._exchange(request, payload, patience)
        try:
            return spoken(decode_fields(request.reply, answer))
        except ValueError as error:
            self._fail(
                f"answered {request.name.upper()} in another shape ({error})", "firmware and host do not fit"
            )

    def _inputs(self, request: Request, x: bytes) -> bytes:
        """What to send with the request itself: all of `x`, or nothing after `x` went to region input."""
        if len(x) != self.info.input_bytes:
            what = f"{request.name.upper()} got {len(x)} input bytes, the model takes {self.info.input_bytes}"
            raise DeviceError(self.device.name, what)
        if len(x) <= request.ask.tail_bytes:
            return x
        self.write(Region.INPUT, 0, x)
        return b""

    def _check_label(self, label: int) -> None:
        if not 0 <= label < self.info.classes:
            raise DeviceError(
                self.device.name, f"label {label} is none of the model's {self.info.classes} classes"
            )

    # -- the exchange ---------------------------------------------------------------------------------------

    def _exchange(self, request: Request, payload: bytes = b"", patience: float | None = None) -> bytes:
        """The payload of the answer. A frame sent again is the same: the chip never executes it twice.

        `patience` is how long a program may run after the chip accepted it. The last attempt waits as long
        even without an acceptance, which may itself have been lost.
        """
        if self._over:
            raise DeviceError(self.device.name, f"the session is over: {self._over}", "connect again")
        self._sequence = (self._sequence + 1) & 0xFFFF
        frame = encode_request(request, self._session, self._sequence, payload)
        started = time.monotonic()
        for attempt in range(1, self.attempts + 1):
            self.device.write(frame)
            wait = (
                self.timeout if patience is None or attempt < self.attempts else max(patience, self.timeout)
            )
            reply = self._await(request, wait, patience)
            if reply is not None:
                return self._accept(request, reply)
        return self._give_up(request, time.monotonic() - started)

    def _await(self, request: Request, wait: float, patience: float | None) -> Reply | None:
        """The answer; None if it is time to send the request again."""
        deadline = time.monotonic() + wait
        while True:
            left = deadline - time.monotonic()
            received = self.device.read(max(0.0, left))
            self._heard_bytes += len(received)
            self._heard = (self._heard + received)[:_SHOWN]
            corrupt = False
            for item in self._receiver.feed(received):
                if isinstance(item, Corrupt):
                    corrupt = True
                    continue
                self._check_version(item)
                self._understood = True
                if item.status == Status.BAD_FRAME:
                    corrupt = True
                elif item.status == Status.STOPPED:
                    said = neutral(item.payload.decode(errors="replace"), lines=False)
                    self._fail(f"the firmware stopped: {said}", "reset the device")
                elif (item.session, item.sequence, item.request) != (
                    self._session,
                    self._sequence,
                    request.number,
                ):
                    continue  # an answer to a request that was sent twice
                elif item.status == Status.ACCEPTED:
                    deadline = time.monotonic() + max(patience or 0.0, self.timeout)
                else:
                    return item
            if corrupt or (left <= 0 and not received):
                return None

    def _check_version(self, reply: Reply) -> None:
        if reply.version != PROTOCOL_VERSION:
            versions = f"version {reply.version} of the protocol, this host version {PROTOCOL_VERSION}"
            self._fail(f"the firmware speaks {versions}", "compile and build with this version of synapcc")

    def _accept(self, request: Request, reply: Reply) -> bytes:
        if reply.status == Status.OK:
            return reply.payload
        if reply.status == Status.NO_SESSION:
            self._fail(
                "the device was reset, or greeted by another host, since the session began", "connect again"
            )
        if reply.status == Status.BAD_SEQUENCE:
            self._fail("the device saw other requests than were sent", "does another program use the port?")
        status = Status.find(reply.status)
        why = f"{status.name.lower()}: {status.meaning}" if status is not None else f"status {reply.status}"
        raise DeviceError(self.device.name, f"{request.name.upper()} was refused ({why})")

    def _give_up(self, request: Request, seconds: float) -> NoReturn:
        asked = f"no answer to {request.name.upper()} in {seconds:.1f} s"
        if not self._heard_bytes:
            self._fail(f"{asked}, not one byte", "is the firmware flashed and running, and is this its port?")
        if not self._understood:
            came = f"{self._heard_bytes} bytes came, beginning with {self._heard!r}, but no intact frame"
            self._fail(
                f"{asked}; {came}", "is this the port of the synapcc firmware, and the right baud rate?"
            )
        self._fail(f"{asked}, sent {self.attempts} times", "reset the device and check the link")

    def _fail(self, what: str, hint: str) -> NoReturn:
        self._over = what
        raise DeviceError(self.device.name, what, hint)


def _flags(digest: bool) -> int:
    return Flag.DIGEST if digest else 0


def _digest_of(fields: Mapping[str, Any], asked: bool) -> bytes | None:
    return bytes(fields["digest"]) if asked else None


def connect(
    device: Device, plan_digest: bytes | None = None, timeout: float = TIMEOUT, attempts: int = ATTEMPTS
) -> Client:
    """Opens a session. `plan_digest`: SHA-256 of the Plan that the firmware must hold; None takes any.

    Raises DeviceError: silent, speaks something else, other protocol, other arithmetic, other Plan.
    """
    client = Client(device, timeout, attempts)
    info = client.info
    if info.numeric_version != NUMERIC_VERSION or info.runtime_version != RUNTIME_VERSION:
        what = (
            f"the firmware has numeric version {info.numeric_version} "
            f"and runtime version {info.runtime_version}, this host {NUMERIC_VERSION} and {RUNTIME_VERSION}"
        )
        raise DeviceError(device.name, what, "compile and build with this version of synapcc")
    if plan_digest is not None and info.plan_digest != plan_digest:
        what = (
            f"the firmware holds model {info.model!r} of Plan {info.plan_digest.hex()[:12]}, "
            f"this project's Plan is {plan_digest.hex()[:12]}"
        )
        raise DeviceError(device.name, what, "build and flash this project")
    return client
