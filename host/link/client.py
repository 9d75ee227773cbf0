"""The host's end of the link: one request at a time, repeated until it is answered, executed once.

with open_device("process", out) as device:
    client = connect(device, plan_digest)
    client.learn(x, label)
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike

from synapcc.gen.ir.plan import Plan
from synapcc.gen.numeric import NUMERIC_VERSION
from synapcc.gen.target import messages
from synapcc.gen.target.messages import (
    CHECKSUM_BYTES,
    MAX_PAYLOAD,
    RUNTIME_VERSION,
    WIDTHS,
    Counter,
    Flag,
    Kept,
    Region,
    Request,
    Subject,
)

from ..devices import Device, DeviceError
from .greeting import SCORE_BYTES, VERDICT_BYTES, Hello, contradiction, sample_bytes
from .protocol import encode_fields
from .saturation import Saturation, saturation
from .session import ATTEMPTS, TIMEOUT, Meanwhile, Session, idle

LONG_TIMEOUT = 600.0
"""Seconds that a program run by RUN may take unless the caller says otherwise."""

Sample = tuple[bytes, int]
"""All input bytes, in the Plan's order, and the label."""

STORE_SECONDS = 120.0
"""What a request to the store may take: all blocks of a slow flash erased, at 4 s each, some tried again."""

SYSTICK_BITS = 24
"""Of what counts where a core has nothing better."""

WORD = 4
"""Bytes of the widest element of a state."""

_PROOF_BYTES = {None: 0, Flag.CHECKSUM: CHECKSUM_BYTES, Flag.DIGEST: WIDTHS["sha256"]}
_ODD = "firmware and host do not fit"


def packed(x: bytes, label: int) -> bytes:
    """A sample as LEARN_MANY and region samples have it."""
    return encode_fields(messages.SAMPLE, {"label": label, "inputs": b""}) + x


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

    The stack is in bytes, 0 where it cannot be seen. saves: since start-up; erases, blocks, cycles: those of
    the store in flash, 0 where there is none.
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
    saves: int
    erases: int
    blocks: int
    cycles: int


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


class Client(Session):
    """A session with running firmware. `connect` makes one; `info` is what the firmware said of itself.

    Every method raises DeviceError: the device died, fell silent, was reset, or refused. After the link
    failed, the session is over and every further call says so: `connect` opens a new one.
    """

    info: Hello

    def __init__(self, device: Device, timeout: float = TIMEOUT, attempts: int = ATTEMPTS) -> None:
        super().__init__(device, timeout, attempts)
        self._counter: int = Counter.NONE
        self.info = Hello(**self._ask(messages.HELLO))

    def check(self, plan: Plan | None) -> None:
        """Raises DeviceError unless the greeting is one of this Plan's firmware; None: of any."""
        if wrong := contradiction(self.info, plan):
            self._fail(
                f"says that it has {wrong}",
                "build and flash this project; if it stays, it is no synapcc firmware",
            )

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
        size = self.info.output_bytes
        if len(output) != min(size, messages.INFER.reply.tail_bytes):
            self._fail(f"answered INFER with {len(output)} bytes of output, which has {size}", _ODD)
        output += self.read(Region.OUTPUT, len(output), size - len(output))
        scores = (size - VERDICT_BYTES) // SCORE_BYTES
        winner, margin, *found = struct.unpack(f"<ii{scores}h", output)
        if not 0 <= winner < max(scores, self.info.classes):
            self._fail(f"answered INFER with class {winner} of {self.info.classes}", _ODD)
        return Inference(winner, margin, tuple(found))

    # `proof`: what the answer says of the state, its SHA-256 or its checksum, or nothing.

    def learn(
        self, x: bytes, label: int, proof: Flag | None = Flag.DIGEST, meanwhile: Meanwhile = idle
    ) -> bytes:
        """Runs the learn program on one sample, exactly once; the proof of the state after it.

        meanwhile() is called once, while the chip is at it.
        """
        self._check_label(label)
        inline = self._inputs(messages.LEARN, x)
        fields = {"label": label, "flags": proof or 0, "inputs": inline}
        return self._proof(messages.LEARN, proof, self._ask(messages.LEARN, fields, meanwhile=meanwhile))

    def learn_many(
        self, samples: Sequence[Sample], proof: Flag | None = Flag.CHECKSUM,
        meanwhile: Meanwhile = idle, seconds: float | None = None,
    ) -> list[bytes]:  # fmt: skip
        """Runs the learn program on each of some samples, exactly once, at most `info.batch` of them.

        The proofs: checksums after each, or the SHA-256 after the last. meanwhile() as in `learn`; seconds:
        how long the chip takes, as far as one knows.
        """
        fields = {"flags": proof or 0, "samples": self._packed(messages.LEARN_MANY, samples)}
        return self._learn_all(messages.LEARN_MANY, fields, len(samples), proof, meanwhile, seconds)

    def keep(self, first: int, samples: Sequence[Sample]) -> None:
        """Puts samples into region samples, from number `first` on, for `learn_kept`."""
        packed = self._packed(messages.LEARN_KEPT, samples)
        self.write(Region.SAMPLES, first * self._sample_bytes, packed)

    def kept_sample(self, number: int) -> bytes:
        """What region samples holds of one sample, as `packed` gives it."""
        return self.read(Region.SAMPLES, number * self._sample_bytes, self._sample_bytes)

    @property
    def _sample_bytes(self) -> int:
        return sample_bytes(self.info.input_bytes)

    def learn_kept(
        self, first: int, count: int, proof: Flag | None = Flag.CHECKSUM,
        meanwhile: Meanwhile = idle, seconds: float | None = None,
    ) -> list[bytes]:  # fmt: skip
        """`learn_many` on `count` samples of region samples, at most PROOFS, from number `first` on."""
        fields = {"first": first, "count": count, "flags": proof or 0}
        return self._learn_all(messages.LEARN_KEPT, fields, count, proof, meanwhile, seconds)

    def _learn_all(
        self, request: Request, fields: Mapping[str, Any], count: int, proof: Flag | None,
        meanwhile: Meanwhile, seconds: float | None,
    ) -> list[bytes]:  # fmt: skip
        if seconds is None:
            seconds = self.timeout * (count - 1)
        proofs = self._ask(request, fields, meanwhile=meanwhile, seconds=seconds)["proofs"]
        width = _PROOF_BYTES[proof]
        if len(proofs) != (width * count if proof == Flag.CHECKSUM else width):
            what = f"answered {request.name.upper()} of {count} samples with {len(proofs)} bytes of proofs"
            self._fail(what, _ODD)
        return [] if not width else [proofs[at : at + width] for at in range(0, len(proofs), width)]

    def _packed(self, request: Request, samples: Sequence[Sample]) -> bytes:
        for x, label in samples:
            self._check_label(label)
            self._check_size(request, x)
        return b"".join(packed(x, y) for x, y in samples)

    def run(self, program: int, proof: Flag | None = Flag.DIGEST, timeout: float = LONG_TIMEOUT) -> bytes:
        """Runs an entry program by number; the chip may take `timeout` seconds for it."""
        fields = {"program": program, "flags": proof or 0}
        return self._proof(messages.RUN, proof, self._ask(messages.RUN, fields, timeout))

    def begin(self, program: int) -> None:
        """Begins an entry program in slices, on the arena as it is; `step` does the rest."""
        self._ask(messages.BEGIN, {"program": program})

    def step(self, proof: Flag | None = Flag.DIGEST) -> tuple[bool, bytes]:
        """Runs the next slice: whether another one follows, and the proof of the state."""
        fields = self._ask(messages.STEP, {"flags": proof or 0})
        if fields["more"] not in (0, 1):
            self._fail(f"answered STEP with more {fields['more']}, which is 0 or 1", _ODD)
        return bool(fields["more"]), self._proof(messages.STEP, proof, fields)

    def abort(self) -> None:
        """Gives up a run in slices, if one is in progress. What its slices changed stays changed."""
        self._ask(messages.ABORT)

    def run_op(self, op: int, proof: Flag | None = Flag.DIGEST) -> bytes:
        """Runs one step by number, on the arena as it is."""
        return self._proof(
            messages.RUN_OP, proof, self._ask(messages.RUN_OP, {"op": op, "flags": proof or 0})
        )

    def count(self, subject: Subject, number: int, timeout: float = LONG_TIMEOUT) -> Count:
        """Runs something once on the arena as it is, and counts; it may take `timeout` seconds."""
        count = Count(**self._ask(messages.COUNT, {"subject": subject, "number": number}, timeout))
        if count.counter not in set(Counter) - {Counter.NONE} or count.overrun > 1:
            what = f"answered COUNT with counter {count.counter} and overrun {count.overrun}"
            self._fail(what, _ODD)
        if count.counter != (self._counter or count.counter):
            self._fail(f"answered COUNT with counter {count.counter}, before with {self._counter}", _ODD)
        self._counter = count.counter
        if count.counter == Counter.SYSTICK and count.ticks >> SYSTICK_BITS:
            what = f"answered COUNT with {count.ticks} ticks of a counter of {SYSTICK_BITS} bits"
            self._fail(what, _ODD)
        return count

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
                self._fail(f"answered READ of {part} bytes with {len(received)}", _ODD)
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
        return tuple(self._tensor(i) for i in range(self.info.tensors))

    def _tensor(self, index: int) -> TensorInfo:
        t = TensorInfo(**self._ask(messages.TENSOR, {"index": index}))
        if t.offset + t.bytes > self.info.state_bytes:
            what = f"says that tensor {index} has {t.bytes} bytes at {t.offset} of {self.info.state_bytes}"
            self._fail(what, _ODD)
        return t

    def stats(self) -> Stats:
        """What the firmware counted since start-up."""
        stats = Stats(**self._ask(messages.STATS))
        if stats.stack_used > stats.stack_watched:
            what = f"says that {stats.stack_used} bytes of stack were used of {stats.stack_watched} watched"
            self._fail(what, _ODD)
        return stats

    def saturation(self, plan: Plan) -> tuple[Saturation, ...]:
        """How many updates of each learned layer met a limit, from the counters in the state of `plan`."""
        state = self.read(Region.STATE, 0, plan.state_bytes)
        return saturation(plan, np.frombuffer(state, np.uint8))

    def save(self, proof: Flag | None = Flag.DIGEST) -> tuple[Kept, bytes]:
        """Keeps the state in flash: what the store answers, and the proof of the state."""
        return self._store(messages.SAVE, proof)

    def restore(self, proof: Flag | None = Flag.DIGEST) -> tuple[Kept, bytes]:
        """Loads what is kept: what the store answers, and the proof of the state behind it."""
        return self._store(messages.RESTORE, proof)

    def erase(self) -> Kept:
        """Forgets what is kept; the state stays."""
        return self._answer(messages.ERASE, self._ask(messages.ERASE, {}, STORE_SECONDS)["kept"])

    def _store(self, request: Request, proof: Flag | None) -> tuple[Kept, bytes]:
        fields = self._ask(request, {"flags": proof or 0}, STORE_SECONDS)
        return self._answer(request, fields["kept"]), self._proof(request, proof, fields)

    def _answer(self, request: Request, number: int) -> Kept:
        kept = Kept.find(number)
        if kept is None or kept == Kept.NONE:
            self._fail(f"answered {request.name.upper()} with {number}, which no store says", _ODD)
        return kept

    def reset(self) -> None:
        """Weights as compiled, empty input and output. Session and statistics stay."""
        self._ask(messages.RESET)

    # -- helpers of requests --------------------------------------------------------------------------------

    def _proof(self, request: Request, proof: Flag | None, fields: Mapping[str, Any]) -> bytes:
        """What was asked for of the state, and neither more nor less."""
        got = bytes(fields["proof"])
        if len(got) != _PROOF_BYTES[proof]:
            what = (
                f"answered {request.name.upper()} with a proof of {len(got)} bytes, not {_PROOF_BYTES[proof]}"
            )
            self._fail(what, _ODD)
        return got

    def _check_size(self, request: Request, x: bytes) -> None:
        if len(x) != self.info.input_bytes:
            what = f"{request.name.upper()} got {len(x)} input bytes, the model takes {self.info.input_bytes}"
            raise DeviceError(self.device.name, what)

    def _inputs(self, request: Request, x: bytes) -> bytes:
        """What to send with the request itself: all of `x`, or nothing after `x` went to region input."""
        self._check_size(request, x)
        if len(x) <= request.ask.tail_bytes:
            return x
        self.write(Region.INPUT, 0, x)
        return b""

    def _check_label(self, label: int) -> None:
        if not 0 <= label < self.info.classes:
            raise DeviceError(
                self.device.name, f"label {label} is none of the model's {self.info.classes} classes"
            )


def connect(
    device: Device, plan: Plan | bytes | None = None, timeout: float = TIMEOUT, attempts: int = ATTEMPTS
) -> Client:
    """Opens a session. `plan`: what the firmware must hold, a Plan or the SHA-256 of one; None takes any.

    Raises DeviceError: silent, speaks something else, other protocol, other arithmetic, other Plan, or a
    greeting that contradicts the Plan, or itself.
    """
    client = Client(device, timeout, attempts)
    info = client.info
    if info.numeric_version != NUMERIC_VERSION or info.runtime_version != RUNTIME_VERSION:
        what = (
            f"the firmware has numeric version {info.numeric_version} "
            f"and runtime version {info.runtime_version}, this host {NUMERIC_VERSION} and {RUNTIME_VERSION}"
        )
        raise DeviceError(device.name, what, "compile and build with this version of synapcc")
    digest = plan.digest if isinstance(plan, Plan) else plan
    if digest is not None and info.plan_digest != digest:
        what = (
            f"the firmware holds model {info.model!r} of Plan {info.plan_digest.hex()[:12]}, "
            f"this project's Plan is {digest.hex()[:12]}"
        )
        raise DeviceError(device.name, what, "build and flash this project")
    client.check(plan if isinstance(plan, Plan) else None)
    return client
