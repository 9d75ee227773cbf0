"""What a chip does with each request (docs/PROTOCOL.md), built on the emulator; no emitted C."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from synapcc.gen.emit.keep import Span
from synapcc.gen.errors import SynapccError
from synapcc.gen.ir.plan import Plan
from synapcc.gen.stages.state_check import fault, outside
from synapcc.gen.target import messages
from synapcc.gen.target.messages import (
    MAX_PAYLOAD,
    PROOFS,
    REQUESTS,
    SAMPLE,
    Flag,
    Kept,
    Region,
    Request,
    Status,
    Subject,
)
from synapcc.host.link.checksum import Checksum
from synapcc.host.link.protocol import decode_fields
from synapcc.host.run.emulator import Emulator
from synapcc.host.run.machine import Unproven
from synapcc.host.run.slices import Busy

TURNS = 1 << 24
Answer = tuple[int, bytes]


class Refused(Exception):
    def __init__(self, status: Status) -> None:
        self.status = status


def _demand(holds: bool, status: Status) -> None:
    if not holds:
        raise Refused(status)


class LinkModel:
    """A chip with firmware. `counts`: it has a counter for COUNT, whose ticks nobody can foretell: 0 here.

    spans: what of the state a store keeps, on a flash that never fails; none: there is no store
    """

    def __init__(self, plan: Plan, counts: bool, spans: Sequence[Span] = ()) -> None:
        self.plan, self.counts, self.spans = plan, counts, spans
        self.stored: bytes | None = None
        self.machine = Emulator(plan)
        self.session = self.sequence = 0
        self.kept: list[Answer] = []
        self.executed = self.answered = 0  # the request whose answer is kept; that of the last answer
        self.accepted = self.unchecked = False
        self.samples = b""
        self.numbers = {"learns": 0, "infers": 0, "repeats": 0, "refusals": 0}
        self._empty()

    def keeps(self, count: int) -> None:
        """Region samples holds so many: what HELLO says."""
        self.samples = self.samples or bytes(count * (SAMPLE.fixed_bytes + len(self.input)))

    def _empty(self) -> None:
        self.input = bytes(sum(self.plan[n].nbytes for n in self.plan.inputs))
        sample = SAMPLE.fixed_bytes + len(self.input)
        self.batch = min(messages.LEARN_MANY.ask.tail_bytes // sample, PROOFS)
        self.output = bytes(8 + 2 * self.plan.scores)

    # -- sessions and sequence numbers ------------------------------------------------------------------

    def ask(self, number: int, payload: bytes, session: int, sequence: int) -> list[Answer]:
        """The (status, payload) of each frame that comes back; ticks of COUNT are 0."""
        self.answered = number
        if number == messages.HELLO.number and session not in (0, self.session):
            self.session = session
        elif session == 0 or session != self.session:
            self.numbers["refusals"] += 1
            return [(Status.NO_SESSION, b"")]
        elif sequence == self.sequence:
            self.numbers["repeats"] += 1
            self.answered = self.executed
            return self.kept
        elif sequence != (self.sequence + 1) & 0xFFFF:
            self.numbers["refusals"] += 1
            return [(Status.BAD_SEQUENCE, b"")]
        self.sequence, self.executed, self.accepted = sequence, number, False
        try:
            self.kept = [(Status.OK, self._execute(number, payload))]
        except Refused as refusal:
            self.kept = [(refusal.status, b"")]
        except Busy:
            self.kept = [(Status.BUSY, b"")]
        return [(Status.ACCEPTED, b"")] * self.accepted + self.kept

    def _execute(self, number: int, payload: bytes) -> bytes:
        request = next((r for r in REQUESTS if r.number == number), None)
        if request is None:
            raise Refused(Status.UNKNOWN_REQUEST)
        least = request.ask.fixed_bytes
        _demand(least <= len(payload) <= least + request.ask.tail_bytes, Status.BAD_LENGTH)
        fields = decode_fields(request.ask, payload)
        return bytes(getattr(self, f"_{request.name}")(**fields))

    # -- requests ---------------------------------------------------------------------------------------

    def _hello(self) -> bytes:
        return b""  # who is there: not the business of this model

    def _tensor(self, index: int) -> bytes:
        tensors = self.plan.space("state")
        _demand(index < len(tensors), Status.BAD_ARGUMENT)
        t = tensors[index]
        texts = (bytes([len(text)]) + text.encode() for text in (t.dtype, t.name))
        return struct.pack("<II", t.offset, t.nbytes) + b"".join(texts)

    def _infer(self, inputs: bytes) -> bytes:
        inputs = self._inputs(inputs)
        self._ready()
        winner, margin, scores = self.machine.infer(self._arrays(inputs))
        self.output = struct.pack("<ii", winner[0], margin[0]) + scores[0].astype("<i2").tobytes()
        self.input = inputs
        self.numbers["infers"] += 1
        return self.output[:MAX_PAYLOAD]

    def _learn(self, label: int, flags: int, inputs: bytes) -> bytes:
        _demand(flags < 4, Status.BAD_ARGUMENT)
        inputs = self._inputs(inputs)
        self._ready()
        _demand(label < self.plan.classes, Status.BAD_LABEL)
        _demand("learn" in self.plan.entries, Status.BAD_ARGUMENT)
        self.machine.learn(self._arrays(inputs), [label])
        self.input = inputs
        self.numbers["learns"] += 1
        return self._proof(flags)

    def _learn_many(self, flags: int, samples: bytes) -> bytes:
        _demand(flags < 4, Status.BAD_ARGUMENT)
        size = SAMPLE.fixed_bytes + len(self.input)
        count, rest = divmod(len(samples), size)
        _demand(rest == 0 and 0 < count <= self.batch, Status.BAD_LENGTH)
        return self._learn_all(flags, samples)

    def _learn_kept(self, first: int, count: int, flags: int) -> bytes:
        size = SAMPLE.fixed_bytes + len(self.input)
        inside = (first + count) * size <= len(self.samples)
        _demand(flags < 4 and inside and 0 < count <= PROOFS, Status.BAD_ARGUMENT)
        return self._learn_all(flags, self.samples[first * size : (first + count) * size])

    def _learn_all(self, flags: int, samples: bytes) -> bytes:
        size = SAMPLE.fixed_bytes + len(self.input)
        given = [decode_fields(SAMPLE, samples[at : at + size]) for at in range(0, len(samples), size)]
        _demand(all(x["label"] < self.plan.classes for x in given), Status.BAD_LABEL)
        self._ready()
        _demand("learn" in self.plan.entries, Status.BAD_ARGUMENT)
        proofs = b""
        for x in given:
            self.machine.learn(self._arrays(x["inputs"]), [x["label"]])
            proofs += self._proof(flags & Flag.CHECKSUM)
            self.numbers["learns"] += 1
        self.input = given[-1]["inputs"]
        return proofs + self._proof(flags & Flag.DIGEST)

    def _run(self, program: int, flags: int) -> bytes:
        _demand(program < len(self.plan.entries) and flags < 4, Status.BAD_ARGUMENT)
        self._ready()
        self.accepted = True
        self._program(program)
        return self._proof(flags)

    def _run_op(self, op: int, flags: int) -> bytes:
        _demand(op < len(self.plan.ops()) and flags < 4, Status.BAD_ARGUMENT)
        self._ready()
        self._op(op)
        return self._proof(flags)

    def _load(self, label: int, inputs: bytes) -> bytes:
        _demand(label < self.plan.classes, Status.BAD_LABEL)
        inputs = self._inputs(inputs)
        self.machine.load(self._arrays(inputs), [label] if "label" in self.plan else None)
        self.input = inputs
        return b""

    def _read(self, region: int, offset: int, bytes: int) -> bytes:
        content = self._region(region)
        _demand(offset + bytes <= len(content) and bytes <= MAX_PAYLOAD, Status.BAD_ARGUMENT)
        return content[offset : offset + bytes]

    def _write(self, region: int, offset: int, content: bytes) -> bytes:
        old = self._region(region)
        fits = offset + len(content) <= len(old) and region != Region.OUTPUT
        _demand(fits, Status.BAD_ARGUMENT)
        _demand(not self.machine.in_slices or region in (Region.INPUT, Region.SAMPLES), Status.BUSY)
        new = old[:offset] + content + old[offset + len(content) :]
        if region == Region.STATE:
            _demand(not outside(self.plan, new), Status.BAD_STATE)
            self.machine.state[0] = np.frombuffer(new, np.uint8)
            self.unchecked = True
        elif region == Region.ARENA:
            self.machine.arena[0] = np.frombuffer(new, np.uint8)
        elif region == Region.SAMPLES:
            self.samples = new
        else:
            self.input = new
        return b""

    def _proof(self, flags: int) -> bytes:
        """What the flags ask for of the state."""
        state = self.machine.state[0]
        checksum = Checksum(len(state))(state) if flags & Flag.CHECKSUM else b""
        return checksum + (self._digest() if flags & Flag.DIGEST else b"")

    def _digest(self) -> bytes:
        return hashlib.sha256(self.machine.state[0].tobytes()).digest()

    def _stats(self) -> bytes:
        return struct.pack("<4I", *self.numbers.values())  # frames, link and stack: not of this model

    def _reset(self) -> bytes:
        self._empty()
        self.unchecked = False
        self.machine.reset()
        return b""

    def _count(self, subject: int, number: int) -> bytes:
        last = {Subject.OP: len(self.plan.ops()) + 1, Subject.PROGRAM: len(self.plan.entries)}
        _demand(number < (last | {Subject.LOOP: TURNS}).get(subject, 0), Status.BAD_ARGUMENT)
        _demand(self.counts, Status.UNSUPPORTED)
        self._ready()
        self.accepted = True
        if subject == Subject.PROGRAM:
            self._program(number)
        elif subject == Subject.OP and number < len(self.plan.ops()):
            self._op(number)
        elif subject == Subject.OP and self.machine.in_slices:
            raise Refused(Status.BUSY)
        return bytes(messages.COUNT.reply.fixed_bytes)

    def _begin(self, program: int) -> bytes:
        _demand(program < len(self.plan.entries), Status.BAD_ARGUMENT)
        self._ready()
        self._labelled(lambda: self.machine.begin(self.plan.entries[program]))
        return b""

    def _step(self, flags: int) -> bytes:
        _demand(flags < 4 and self.machine.in_slices, Status.BAD_ARGUMENT)
        more = self.machine.step()
        return bytes([more]) + self._proof(flags)

    def _abort(self) -> bytes:
        self.machine.abort()
        return b""

    def _save(self, flags: int) -> bytes:
        self._idle(flags)
        self._ready()
        self.accepted = True
        state = self.machine.state[0].tobytes()
        self.stored = b"".join(state[s.offset : s.offset + s.bytes] for s in self.spans)
        return bytes([Kept.OK]) + self._proof(flags)

    def _restore(self, flags: int) -> bytes:
        self._idle(flags)
        self.accepted = True
        if self.stored is None:
            return bytes([Kept.EMPTY]) + self._proof(flags)
        stored = self.stored
        self._reset()
        for s in self.spans:
            self.machine.state[0][s.offset : s.offset + s.bytes] = np.frombuffer(stored, np.uint8, s.bytes)
            stored = stored[s.bytes :]
        return bytes([Kept.OK]) + self._proof(flags)

    def _erase(self) -> bytes:
        self._idle(0)
        self.accepted = True
        self.stored = None
        return bytes([Kept.OK])

    def _idle(self, flags: int) -> None:
        _demand(bool(self.spans), Status.UNSUPPORTED)
        _demand(flags < 4, Status.BAD_ARGUMENT)
        _demand(not self.machine.in_slices, Status.BUSY)

    # -- helpers ----------------------------------------------------------------------------------------

    def _inputs(self, given: bytes) -> bytes:
        _demand(len(given) in (0, len(self.input)), Status.BAD_LENGTH)
        return given or self.input

    def _arrays(self, packed: bytes) -> dict[str, Any]:
        out, at = {}, 0
        for name in self.plan.inputs:
            t = self.plan[name]
            out[name] = np.frombuffer(packed, t.dtype, t.count, at)[None]
            at += t.nbytes
        return out

    def _ready(self) -> None:
        state = self.machine.state[0].tobytes()
        _demand(not (self.unchecked and fault(self.plan, state)), Status.BAD_STATE)
        self.unchecked = False

    def _program(self, number: int) -> None:
        self._labelled(lambda: self.machine.run(self.plan.entries[number]))

    def _op(self, number: int) -> None:
        program, position, _ = self.plan.ops()[number]
        self._labelled(lambda: self.machine.run_step(program, position))

    @staticmethod
    def _labelled(call: Callable[[], None]) -> None:
        """What runs on the label in the arena is refused where that is none; a step alone, where its operands
        there are none that it can have."""
        try:
            call()
        except Busy:
            raise
        except Unproven:
            raise Refused(Status.BAD_STATE) from None
        except SynapccError:
            raise Refused(Status.BAD_LABEL) from None

    def _region(self, region: int) -> bytes:
        regions = {
            Region.STATE: self.machine.state[0].tobytes(),
            Region.ARENA: self.machine.arena[0].tobytes(),
            Region.INPUT: self.input,
            Region.OUTPUT: self.output,
            **({Region.SAMPLES: self.samples} if self.samples else {}),
        }
        _demand(region in regions, Status.BAD_ARGUMENT)
        return regions[Region(region)]


def name_of(number: int) -> str:
    found: Request | None = next((r for r in REQUESTS if r.number == number), None)
    return found.name if found else f"request {number}"
