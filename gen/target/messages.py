"""The message table of the link: every number and every field, once.

`synapcc.host.link.protocol` codes messages from it, templates/protocol.h.j2 renders its C twin,
docs/PROTOCOL.md explains it. Pure data: nothing here does anything.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Self

PROTOCOL_VERSION = 5
"""Changes when a message changes its bytes. Header and CRC never do, so that versions can tell each other."""

RUNTIME_VERSION = 2
"""Changes when firmware and emitted model no longer fit each other: the C compiler then refuses the pair."""

MAX_PAYLOAD = 1024
"""Bytes of payload in one frame, either way: what the firmware has buffers for."""

CHECKSUM_BYTES = 16
"""Two sums of 64 bits over the persistent state (host/link/checksum.py, firmware/checksum.c)."""

PROOFS = (MAX_PAYLOAD - 32) // CHECKSUM_BYTES
"""Checksums that a reply holds beside a SHA-256: steps of one exchange, at most."""

CHECKSUM_FACTOR = 0x7FEB352D
"""Odd: the first factor of Wellons' low-bias hash of 32 bits, which `gen.numeric.hash32` takes too."""

CRC_BYTES = 4
CRC_POLYNOMIAL = 0xEDB88320
"""CRC-32 as in zlib: reflected, initial value and final exclusive or all ones."""

REQUEST_KIND = 0x51
"""'Q': second byte of a frame from host to chip."""

REPLY_KIND = 0x52
"""'R': second byte of a frame from chip to host."""

WIDTHS = {"u8": 1, "u16": 2, "u32": 4, "i32": 4, "sha256": 32}
"""Bytes of the kinds of fixed width.

The others: `text` (u8 length, then as many bytes of UTF-8), `data` (the rest).
"""


@dataclass(frozen=True, slots=True)
class Field:
    """One field. Fields stand in order, little-endian, without padding; those of fixed width come first."""

    name: str
    kind: str
    meaning: str

    @property
    def fixed(self) -> bool:
        return self.kind in WIDTHS


@dataclass(frozen=True, slots=True)
class Layout:
    """The fields of one payload."""

    fields: tuple[Field, ...] = ()

    @property
    def fixed_fields(self) -> tuple[tuple[Field, int], ...]:
        """The fields of fixed width, each with its offset."""
        placed: list[tuple[Field, int]] = []
        at = 0
        for field in self.fields:
            if field.fixed:
                placed.append((field, at))
                at += WIDTHS[field.kind]
        return tuple(placed)

    @property
    def fixed_bytes(self) -> int:
        return sum(WIDTHS[field.kind] for field in self.fields if field.fixed)

    @property
    def tail_bytes(self) -> int:
        """The most that the fields of variable width may take."""
        return 0 if all(field.fixed for field in self.fields) else MAX_PAYLOAD - self.fixed_bytes


@dataclass(frozen=True, slots=True)
class Request:
    """One request and its reply."""

    name: str
    number: int
    meaning: str
    ask: Layout = Layout()
    reply: Layout = Layout()


HEADER = Layout(
    (
        Field("version", "u8", "protocol version of the sender"),
        Field("kind", "u8", "request or reply"),
        Field("session", "u32", "chosen by the host in HELLO, 0 on a chip that has none"),
        Field("sequence", "u16", "one more than in the request before"),
        Field("request", "u8", "what is asked"),
    )
)

REPLY_HEADER = Layout((*HEADER.fields, Field("status", "u8", "what became of it")))


class Numbered(IntEnum):
    """A number with a name and a meaning."""

    meaning: str

    def __new__(cls, number: int, meaning: str) -> Self:
        member = int.__new__(cls, number)
        member._value_ = number
        member.meaning = meaning
        return member

    @classmethod
    def find(cls, number: int) -> Self | None:
        """The member with this number, which may come from another version's table."""
        return next((member for member in cls if member == number), None)


class Status(Numbered):
    """What became of a request."""

    OK = 0, "done"
    ACCEPTED = 1, "the request is intact and runs now; the answer proper follows"
    BAD_FRAME = 2, "a frame arrived that was corrupt or too long; session, sequence and request are 0"
    WRONG_VERSION = 3, "this firmware speaks the protocol version in the header"
    NO_SESSION = 4, "HELLO must come first: the chip was reset or greeted by somebody else"
    BAD_SEQUENCE = 5, "neither the next sequence number nor the last one again"
    UNKNOWN_REQUEST = 6, "this firmware has no such request"
    UNSUPPORTED = 7, "the number is reserved, or the chip has not what it takes; nothing was done"
    BAD_LENGTH = 8, "the payload is shorter or longer than the request allows"
    BAD_ARGUMENT = 9, "an index, region, range or flag that does not exist"
    BAD_LABEL = 10, "the label is not a class of the model"
    STOPPED = 11, "the firmware met a fault and stopped; the payload says which"
    BAD_STATE = 12, "the state is, or would be, none that the model can reach: see State and arena"
    BUSY = 13, "a run in slices is in progress: STEP it to its end, ABORT it, or RESET"


class Region(Numbered):
    """Memory that READ and WRITE reach."""

    STATE = 0, "persistent tensors, in the Plan's order and offsets"
    ARENA = 1, "what lives within one program run"
    INPUT = 2, "inputs for INFER, LEARN and LOAD that bring none of their own"
    OUTPUT = 3, "winner i32, margin i32, scores i16 each, of the last INFER; read only"
    SAMPLES = 4, "samples for LEARN_KEPT, each as in LEARN_MANY: in RAM that the firmware leaves over"
    FLASH = 5, "the flash of the store where it is only simulated, as it lies in RAM"


class Kept(Numbered):
    """What the store in flash answers: firmware/keep.h."""

    OK = 0, "done"
    EMPTY = 2, "nothing is kept: never saved, or erased"
    OTHER = 3, "what is kept is of another Plan, version or choice of tensors, and stays until a save"
    UNUSABLE = 5, "the store does not fit this flash"
    IO = 6, "the flash could not be read or changed; it may be another time"
    CORRUPT = 7, "what was read is not what was written, or a block does not take it"
    WORN = 8, "no room is left that can be erased and programmed, or the wear limit is reached"
    MIGRATED = 9, "what another Plan's firmware had kept was taken over as far as it fits this one"
    NONE = 255, "the firmware has no store"


class Subject(Numbered):
    """What COUNT runs."""

    OP = 0, "step `number` of RUN_OP; number `ops` is a step that does nothing: what calling one costs"
    PROGRAM = 1, "entry program `number`"
    LOOP = 2, "`number` turns, below 2^24, of a loop of two instructions: what a tick is"


class Counter(Numbered):
    """What COUNT counted with."""

    NONE = 0, "the core has no counter: COUNT is refused as unsupported"
    SYSTICK = 1, "SysTick on the core's clock, 24 bits"
    CYCCNT = 2, "the cycle counter of the DWT, 32 bits"


class Flag(Numbered):
    """Bits of the field `flags`: what of the persistent state stands behind the reply, in this order."""

    CHECKSUM = 2, "append the checksum of the persistent state to the reply"
    DIGEST = 1, "append the SHA-256 of the persistent state to the reply"


_INPUTS = Field("inputs", "data", "all input bytes, or none: the input region as it is")
_FLAGS = Field("flags", "u8", "bit 0: reply with SHA-256, bit 1: with checksum")
_PROOF = Field("proof", "data", "checksum and SHA-256 of the persistent state, those that were asked for")

SAMPLE = Layout((Field("label", "u16", "class of the sample"), Field("inputs", "data", "all input bytes")))
"""One sample of LEARN_MANY."""

HELLO = Request(
    "hello",
    1,
    "open a session and say who is there",
    reply=Layout(
        (
            Field("protocol_version", "u32", "that of the header again"),
            Field("numeric_version", "u32", "of the arithmetic"),
            Field("runtime_version", "u32", "of firmware and emitted model"),
            Field("plan_digest", "sha256", "digest of the Plan"),
            Field("clock_hz", "u32", "core clock, 0 where there is none"),
            Field("state_bytes", "u32", "size of region state"),
            Field("arena_bytes", "u32", "size of region arena"),
            Field("input_bytes", "u32", "size of region input"),
            Field("output_bytes", "u32", "size of region output"),
            Field("tensors", "u32", "persistent tensors"),
            Field("programs", "u32", "entry programs"),
            Field("ops", "u32", "steps for RUN_OP"),
            Field("classes", "u32", "labels run from 0 to classes - 1"),
            Field("batch", "u32", "samples that LEARN_MANY takes at most, 0 where not one fits"),
            Field("kept", "u32", "samples that region samples holds, 0 where there is no RAM for one"),
            Field("keep_bytes", "u32", "bytes of the state that a save keeps, 0 where there is no store"),
            Field("flash_bytes", "u32", "size of region flash, 0 where a flash is real or not there"),
            Field("found", "u8", "what the start, or the last RESTORE, found in the store"),
            Field("model", "text", "prefix of the model"),
            Field("board", "text", "board the firmware was built for"),
        )
    ),
)
TENSOR = Request(
    "tensor",
    2,
    "describe one persistent tensor",
    ask=Layout((Field("index", "u32", "0 to tensors - 1"),)),
    reply=Layout(
        (
            Field("offset", "u32", "in region state"),
            Field("bytes", "u32", "size"),
            Field("dtype", "text", "int8, int16 or int32"),
            Field("name", "text", "as in the Plan"),
        )
    ),
)
INFER = Request(
    "infer",
    3,
    "run the infer program",
    ask=Layout((_INPUTS,)),
    reply=Layout((Field("output", "data", "region output, as much of it as fits a payload"),)),
)
LEARN = Request(
    "learn",
    4,
    "run the learn program on one labelled sample",
    ask=Layout((Field("label", "u16", "class of the sample"), _FLAGS, _INPUTS)),
    reply=Layout((_PROOF,)),
)
RUN = Request(
    "run",
    5,
    "run an entry program",
    ask=Layout((Field("program", "u32", "0 to programs - 1"), _FLAGS)),
    reply=Layout((_PROOF,)),
)
RUN_OP = Request(
    "run_op",
    6,
    "run one step of a program",
    ask=Layout((Field("op", "u32", "0 to ops - 1"), _FLAGS)),
    reply=Layout((_PROOF,)),
)
LOAD = Request(
    "load",
    7,
    "copy inputs and label into the arena and run nothing",
    ask=Layout((Field("label", "u16", "class of the sample"), _INPUTS)),
)
READ = Request(
    "read",
    8,
    "read memory",
    ask=Layout(
        (
            Field("region", "u8", "which memory"),
            Field("offset", "u32", "first byte"),
            Field("bytes", "u32", "how many, at most a payload"),
        )
    ),
    reply=Layout((Field("content", "data", "the bytes"),)),
)
WRITE = Request(
    "write",
    9,
    "write memory",
    ask=Layout(
        (
            Field("region", "u8", "which memory"),
            Field("offset", "u32", "first byte"),
            Field("content", "data", "the bytes"),
        )
    ),
)
DIGEST = Request(
    "digest",
    10,
    "SHA-256 of the persistent state",
    reply=Layout((Field("digest", "sha256", "over region state"),)),
)
STATS = Request(
    "stats",
    11,
    "what happened since start-up",
    reply=Layout(
        (
            Field("learns", "u32", "LEARN requests executed"),
            Field("infers", "u32", "INFER requests executed"),
            Field("repeats", "u32", "requests answered again without execution"),
            Field("refusals", "u32", "intact requests not executed: wrong version, session or sequence"),
            Field("bad_frames", "u32", "frames that were corrupt or too long"),
            Field("link_errors", "u32", "bytes that the receiver lost, where the hardware can tell"),
            Field("stack_used", "u32", "most bytes of stack ever used, 0 where it cannot be seen"),
            Field("stack_watched", "u32", "bytes of stack watched: a stack_used as large means at least"),
            Field("learned", "u32", "samples learned from, as the state counts them"),
            Field(
                "saturated", "u32", "updates that met the limit of a learned value, as the state counts them"
            ),
            Field("saves", "u32", "SAVE requests that kept the state"),
            Field("erases", "u32", "blocks of the store erased so far, over all starts, as it counts them"),
            Field("blocks", "u32", "blocks of the store, 0 where there is none"),
            Field("cycles", "u32", "how often each of them may be erased"),
        )
    ),
)
RESET = Request("reset", 12, "weights as compiled, empty input and output; session and statistics stay")
_KEPT = Field("kept", "u8", "what the store answers")
SAVE = Request(
    "save",
    13,
    "keep the persistent state over a loss of power",
    ask=Layout((_FLAGS,)),
    reply=Layout((_KEPT, _PROOF)),
)
RESTORE = Request(
    "restore",
    14,
    "load what is kept",
    ask=Layout((_FLAGS,)),
    reply=Layout((_KEPT, _PROOF)),
)
COUNT = Request(
    "count",
    15,
    "run something once, on the arena as it is, and say how long it took",
    ask=Layout(
        (
            Field("subject", "u8", "what to run"),
            Field("number", "u32", "which one"),
        )
    ),
    reply=Layout(
        (
            Field("ticks", "u32", "clock cycles of the core by its own counter, calls included"),
            Field("counter", "u8", "which counter"),
            Field("overrun", "u8", "1 if the counter went past its end: ticks are what is left of them"),
        )
    ),
)

BEGIN = Request(
    "begin",
    16,
    "begin an entry program in slices, on the arena as it is",
    ask=Layout((Field("program", "u32", "0 to programs - 1"),)),
)
STEP = Request(
    "step",
    17,
    "run the next slice of what was begun",
    ask=Layout((_FLAGS,)),
    reply=Layout((Field("more", "u8", "1 as long as another slice follows"), _PROOF)),
)
ABORT = Request("abort", 18, "give up what was begun; what its slices changed stays changed")
LEARN_MANY = Request(
    "learn_many",
    19,
    "run the learn program on several labelled samples, one after the other",
    ask=Layout((_FLAGS, Field("samples", "data", "label u16 and all input bytes of each"))),
    reply=Layout(
        (Field("proofs", "data", "checksum after each sample, SHA-256 after the last, if asked for"),)
    ),
)
LEARN_KEPT = Request(
    "learn_kept",
    20,
    "run the learn program on samples of region samples, one after the other",
    ask=Layout(
        (
            Field("first", "u32", "number of the first one"),
            Field("count", "u32", "how many, as many as a reply has proofs for at most"),
            _FLAGS,
        )
    ),
    reply=LEARN_MANY.reply,
)
ERASE = Request("erase", 21, "forget what is kept; the state stays", reply=Layout((_KEPT,)))

REQUESTS = (
    *(HELLO, TENSOR, INFER, LEARN, RUN, RUN_OP, LOAD, READ, WRITE, DIGEST, STATS, RESET, SAVE, RESTORE),
    *(COUNT, BEGIN, STEP, ABORT, LEARN_MANY, LEARN_KEPT, ERASE),
)
