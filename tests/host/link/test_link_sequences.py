"""Requests in any order, valid and not: the chip answers and holds what the emulator's model of it does."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from counts import counted
from link_model import LinkModel, name_of
from lite import Author
from lite_wide import UNIT, activation, add, weights
from random_nets import accepted, extreme_state

from synapcc.gen.compile import compile_model
from synapcc.gen.emit import render, write
from synapcc.gen.emit.keep import Span, spans
from synapcc.gen.errors import CompileError
from synapcc.gen.importers import load_model
from synapcc.gen.ir.plan import Plan
from synapcc.gen.ir.program import Step
from synapcc.gen.ir.walk import choose, walk
from synapcc.gen.spec import Arena, Keep, RuleSpec, Store
from synapcc.gen.stages.op_check import held
from synapcc.gen.stages.state_check import fault
from synapcc.gen.target import messages
from synapcc.gen.target.boards import load_board
from synapcc.gen.target.messages import (
    MAX_PAYLOAD,
    PROOFS,
    REQUESTS,
    Region,
    Request,
    Status,
    Subject,
)
from synapcc.host.devices import Device, open_device
from synapcc.host.link.protocol import Corrupt, Receiver, Reply, decode_fields, encode_fields, encode_request

Rng = np.random.Generator
Ask = tuple[int, bytes]
BOARD = "mps2_an386"
KEPT = 5  # samples that tests write into their region
KINDS = (
    *("infer", "learn", "load", "run", "count", "tensor", "read", "write", "other", "label_byte"),
    *("begin", "step", "abort", "keep", "learn_kept", "op", "signals", "learn_many", "store"),
)


class Link:
    """Sends what a test draws to the device and to the model, and compares all that comes back."""

    def __init__(self, device: Device, plan: Plan, counts: bool) -> None:
        self.device, self.model = device, LinkModel(plan, counts, kept(plan))
        self.receiver = Receiver()
        self.arrived: list[Reply | Corrupt] = []
        self.session, self.sequence = 7, 0
        self.seen: Counter[tuple[str, str]] = Counter()
        self.history: list[str] = []

    def send(self, number: int, payload: bytes, session: int | None = None, step: int = 1) -> None:
        """One request; a refused frame does not move the sequence number, as the client's does not."""
        session = self.session if session is None else session
        sequence = (self.sequence + step) & 0xFFFF
        want = self.model.ask(number, payload, session, sequence)
        self.device.write(encode_request(Request("", number, ""), session, sequence, payload))
        answers = [self._reply() for _ in want]
        if number == messages.HELLO.number and answers[-1][0] == Status.OK:
            self.model.keeps(decode_fields(messages.HELLO.reply, answers[-1][1])["kept"])
        got = [self._comparable(self.model.answered, answer) for answer in answers]
        want = [self._comparable(self.model.answered, answer) for answer in want]
        self.sequence, self.session = self.model.sequence, self.model.session
        status = Status(want[-1][0]).name.lower()
        self.history = [*self.history[-11:], f"{name_of(number)} {payload[:12].hex()} {status}"]
        assert got == want, f"{self.history}"
        self.seen[name_of(number), status] += 1

    def _reply(self) -> tuple[int, bytes]:
        deadline = time.monotonic() + 30
        while not self.arrived:
            assert time.monotonic() < deadline, f"no answer: {self.history}"
            self.arrived += self.receiver.feed(self.device.read(5))
        item = self.arrived.pop(0)
        assert isinstance(item, Reply)
        return item.status, item.payload

    @staticmethod
    def _comparable(number: int, answer: tuple[int, bytes]) -> tuple[int, bytes]:
        """An answer without what the model does not foretell."""
        status, payload = answer
        if number == messages.HELLO.number:
            return status, b""
        if number == messages.COUNT.number:
            return status, bytes(len(payload))
        return status, payload[:16] if number == messages.STATS.number else payload

    def look(self) -> None:
        """Every byte of every region, read back; of region samples those that tests write to."""
        plan = self.model.plan
        sizes = {Region.STATE: plan.state_bytes, Region.ARENA: plan.arena_bytes}
        sizes |= {Region.INPUT: len(self.model.input), Region.OUTPUT: len(self.model.output)}
        sizes |= {Region.SAMPLES: min(len(self.model.samples), MAX_PAYLOAD)}
        for region, size in sizes.items():
            for at in range(0, size, MAX_PAYLOAD):
                count = min(MAX_PAYLOAD, size - at)
                self.send(*asked(messages.READ, region=region, offset=at, bytes=count))


def asked(request: Request, **fields: object) -> Ask:
    return request.number, encode_fields(request.ask, fields)


def number(rng: Rng, below: int) -> int:
    """Mostly one that there is, sometimes one behind, or far away."""
    return int(rng.choice([rng.integers(max(below, 1)), rng.integers(max(below, 1)), below, 2**32 - 1]))


class Requests:
    """Draws requests for one plan."""

    def __init__(self, plan: Plan, rng: Rng) -> None:
        self.plan, self.rng = plan, rng
        self.size = sum(plan[n].nbytes for n in plan.inputs)
        self.wants = [(op, h.tensor) for op, wanted in enumerate(held(plan)) for h in wanted]

    def inputs(self) -> bytes:
        sizes = [self.size, 0, self.size + 1, self.size - 1]
        count = int(self.rng.choice(sizes, p=[0.6, 0.2, 0.1, 0.1]))
        return (
            self.rng.choice([self.rng.integers(0, 256, count), np.full(count, 128)])
            .astype(np.uint8)
            .tobytes()
        )

    def label(self) -> int:
        known = self.rng.integers(self.plan.classes)
        return int(self.rng.choice([known, known, known, known, self.plan.classes, 2**16 - 1]))

    def flags(self) -> int:
        return int(self.rng.choice([0, 1, 2, 3, 4, 255], p=[0.3, 0.2, 0.2, 0.2, 0.05, 0.05]))

    def infer(self) -> Ask:
        return asked(messages.INFER, inputs=self.inputs())

    def learn(self) -> Ask:
        return asked(messages.LEARN, label=self.label(), flags=self.flags(), inputs=self.inputs())

    def learn_many(self) -> Ask:
        """Some samples, sometimes more than a request takes, with a label that is none, or a part of one."""
        most = MAX_PAYLOAD // (self.size + 2)
        count = int(self.rng.choice([0, 1, 2, 3, most - 1, most])) if most > 3 else 1
        packed = self.samples(count)
        packed = packed[: len(packed) - int(self.rng.choice([0, 0, 0, 0, 1]))]
        return asked(messages.LEARN_MANY, flags=self.flags(), samples=packed[: MAX_PAYLOAD - 1])

    def samples(self, count: int) -> bytes:
        """As many, a few of them with a label that is none."""
        x = self.rng.integers(0, 256, (count, self.size)).astype(np.uint8)
        labels = self.rng.integers(0, min(self.plan.classes, 256), count)
        labels[self.rng.integers(0, 40, count) == 0] += 256
        rows = (int(y).to_bytes(2, "little") + row.tobytes() for y, row in zip(labels, x, strict=True))
        return b"".join(rows)

    def keep(self) -> Ask:
        """Samples into their region, where LEARN_KEPT looks for them."""
        each = self.size + 2
        count = int(self.rng.integers(1, max(2, min(KEPT, MAX_PAYLOAD // each))))
        content = bytearray(self.samples(count)[: messages.WRITE.ask.tail_bytes])
        if not self.rng.integers(3):
            content[1] |= 0x80  # the upper byte of the first label
        at = each * int(self.rng.integers(KEPT - count + 1))
        return asked(messages.WRITE, region=Region.SAMPLES, offset=at, content=bytes(content))

    def learn_kept(self) -> Ask:
        """Those that were written and some behind them, sometimes more than a reply has proofs for."""
        first = int(self.rng.choice([*range(KEPT), *range(KEPT), 2**32 - 1]))
        count = int(self.rng.choice([0, 1, 2, 3, 4, 5, PROOFS, PROOFS + 1, 2**32 - 1]))
        return asked(messages.LEARN_KEPT, first=first, count=count, flags=self.flags())

    def load(self) -> Ask:
        return asked(messages.LOAD, label=self.label(), inputs=self.inputs())

    def run(self) -> Ask:
        return asked(messages.RUN, program=number(self.rng, len(self.plan.entries)), flags=self.flags())

    def begin(self) -> Ask:
        return asked(messages.BEGIN, program=number(self.rng, len(self.plan.entries)))

    def step(self) -> Ask:
        return asked(messages.STEP, flags=self.flags())

    def abort(self) -> Ask:
        return asked(messages.ABORT)

    def count(self) -> Ask:
        """Programs, loops, and single steps, the one that does nothing among them."""
        subject = int(self.rng.choice([*Subject, 3]))
        below = (len(self.plan.ops()) + 1, len(self.plan.entries), 20, 0)[subject]
        which = number(self.rng, below) if subject else self.step_number(below)
        return asked(messages.COUNT, subject=subject, number=which)

    def step_number(self, below: int) -> int:
        """Half of the time that of a step which wants something of the arena."""
        if self.wants and self.rng.integers(2):
            return self.wants[int(self.rng.integers(len(self.wants)))][0]
        return number(self.rng, below)

    def op(self) -> Ask:
        """A step alone, on whatever lies in the arena."""
        return asked(messages.RUN_OP, op=self.step_number(len(self.plan.ops())), flags=self.flags())

    def signals(self) -> Ask:
        """Extremes, where a step reads a tensor of the arena."""
        tensors = (
            [t for _, t in self.wants] if self.wants and self.rng.integers(2) else self.plan.space("arena")
        )
        t = tensors[int(self.rng.integers(len(tensors)))]
        top = np.iinfo(t.dtype)
        extremes = [t.lo, t.hi, top.min, top.max, 0]
        values = self.rng.choice(extremes, min(t.count, 1000 // t.itemsize)).astype(t.dtype)
        return asked(messages.WRITE, region=Region.ARENA, offset=t.offset, content=values.tobytes())

    def tensor(self) -> Ask:
        return asked(messages.TENSOR, index=number(self.rng, len(self.plan.space("state"))))

    def read(self) -> Ask:
        region, size = self.region()
        offset = number(self.rng, size)
        return asked(messages.READ, region=region, offset=offset, bytes=number(self.rng, min(size, 40)))

    def region(self) -> tuple[int, int]:
        sizes = (self.plan.state_bytes, self.plan.arena_bytes, self.size, 8 + 2 * self.plan.classes, 1000, 9)
        region = int(self.rng.integers(len(sizes)))
        return region + (region == Region.FLASH), sizes[region]  # what a store writes there is its own

    def write(self) -> Ask:
        region, size = self.region()
        offset = number(self.rng, size)
        content = self.rng.integers(0, 256, int(self.rng.integers(1, 40))).astype(np.uint8).tobytes()
        if self.rng.integers(2):
            content = content[: max(size - offset, 0)]
        return asked(messages.WRITE, region=region, offset=offset, content=content)

    def other(self) -> Ask:
        plain = [messages.DIGEST, messages.STATS, messages.RESET, messages.HELLO]
        request = plain[int(self.rng.integers(len(plain)))]
        if not self.rng.integers(6):  # of a length, or a number, that there is not
            known = REQUESTS[int(self.rng.integers(len(REQUESTS)))]
            return int(self.rng.choice([known.number, 99])), bytes(int(self.rng.integers(4)))
        return request.number, b""

    def store(self) -> Ask:
        """Keep, forget, and load what is kept: most often the first."""
        request = (messages.SAVE, messages.RESTORE, messages.SAVE, messages.RESTORE, messages.ERASE)
        asks = request[int(self.rng.integers(len(request)))]
        return asked(asks, **({"flags": self.flags()} if asks.ask.fields else {}))

    def label_byte(self) -> Ask:
        """A label that is a class or none, written into the arena."""
        at = self.plan["label"].offset if "label" in self.plan else 0
        content = bytes([int(self.rng.choice([0, self.plan.classes - 1, self.plan.classes, 255]) % 256)])
        return asked(messages.WRITE, region=Region.ARENA, offset=at, content=content)


def a_state(plan: Plan, rng: Rng, now: bytes) -> bytes:
    """The [state_bytes] of another chip, or of none: extremes, rubbish, one bit changed."""
    kind = int(rng.integers(7))
    if kind == 0:
        return extreme_state(plan, rng)
    if kind == 1:
        return bytes([int(rng.choice([0, 127, 128, 255]))]) * len(now)
    block = np.frombuffer(now, np.uint8).copy()
    if len(block) and kind < 4:
        block[rng.integers(len(block))] ^= 1 << rng.integers(8)
    elif kind > 4:  # every counter within its limits: only rings can contradict
        for t in (t for t in plan.space("state") if t.role == "counter"):
            value = rng.integers(t.lo, t.hi + 1, 1).astype(np.uint32)
            block[t.offset : t.offset + 4] = value.view(np.uint8)
    elif kind == 4:
        block = rng.integers(0, 256, len(block)).astype(np.uint8)
    return block.tobytes()


def push(link: Link, rng: Rng) -> None:
    """A whole state in pieces, as a host writes one, with other requests in between."""
    block = a_state(link.model.plan, rng, link.model.machine.state[0].tobytes())
    most = int(rng.choice([4, 16, 1016]))
    most = max(most, len(block) // 8 // 4 * 4)
    for at in range(0, len(block), most):
        piece = block[at : at + most]
        link.send(*asked(messages.WRITE, region=Region.STATE, offset=at, content=piece[:1016]))
        if not rng.integers(4):
            link.send(*asked(messages.DIGEST))


def steps(link: Link, rng: Rng, ask: Callable[[int], Ask]) -> None:
    """A program op by op after LOAD, in its order: what verify and bench do."""
    plan, machine = link.model.plan, link.model.machine
    numbers = {(program, at): n for n, (program, at, _) in enumerate(plan.ops())}
    link.send(messages.RESET.number, b"")
    draw = Requests(plan, rng)
    link.send(*asked(messages.LOAD, label=int(rng.integers(plan.classes)), inputs=bytes(draw.size)))

    def step(program: str, position: int, _item: Step, _active: object) -> None:
        link.send(*ask(numbers[program, position]))

    program = plan.entries[int(rng.integers(len(plan.entries)))]
    walk(plan.programs, program, step, lambda name, active: choose(machine[name], active))


def slices(link: Link, rng: Rng, draw: Requests) -> Iterator[None]:
    """A program in slices, most often to its end, and other requests between them."""
    plan = link.model.plan
    link.send(*asked(messages.ABORT))
    link.send(*asked(messages.LOAD, label=int(rng.integers(plan.classes)), inputs=bytes(draw.size)))
    link.send(*asked(messages.BEGIN, program=int(rng.integers(len(plan.entries)))))
    if link.model.machine.in_slices:
        for refused in (draw.infer, draw.learn, draw.load, draw.run, draw.begin):
            link.send(*refused())
    while link.model.machine.in_slices and rng.integers(40):
        if not rng.integers(3):
            link.send(*getattr(draw, str(rng.choice(["infer", *KINDS[:-2]])))())
            yield
        link.send(*draw.step())
    yield


def run_op(number: int) -> Ask:
    return asked(messages.RUN_OP, op=number, flags=1)


def count_op(number: int) -> Ask:
    return asked(messages.COUNT, subject=Subject.OP, number=number)


def ordered(link: Link, draw: Requests, rng: Rng, count: int) -> Iterator[None]:
    """`count` deeds of random kinds."""
    kinds = dict(zip(KINDS, (3, 4, 4, 5, 3, 1, 2, 4, 3, 2, 1, 2, 2, 3, 3, 12, 5, 7, 5), strict=True))
    weights = np.array([*kinds.values()]) / sum(kinds.values())
    for _ in range(count):
        turn = int(rng.integers(20))
        if turn == 0:
            push(link, rng)
            for again in (draw.infer, draw.learn, draw.run):
                link.send(*again())
        elif turn == 1:
            link.send(*draw.other(), session=int(rng.choice([0, link.session % 1000 + 1, 2**32 - 1])))
        elif turn == 2:
            link.send(*draw.learn(), step=int(rng.choice([0, 0, 2, -1])))
        elif turn == 5 and not rng.integers(2):
            yield from slices(link, rng, draw)
        elif turn == 3 and not rng.integers(3):
            steps(link, rng, run_op)
        elif turn == 4 and not rng.integers(3):
            if link.model.counts:
                steps(link, rng, count_op)
            link.send(*asked(messages.RUN_OP, op=number(rng, 0), flags=0))
        else:
            link.send(*getattr(draw, str(rng.choice([*kinds], p=weights)))())
        yield


def beyond(link: Link, draw: Requests) -> None:
    """Each step that wants something of the arena, on the largest number of its operand's type."""
    link.send(*asked(messages.ABORT))
    for op, t in draw.wants:
        top = np.full(min(t.count, 1000 // t.itemsize), np.iinfo(t.dtype).max, t.dtype)
        link.send(*asked(messages.WRITE, region=Region.ARENA, offset=t.offset, content=top.tobytes()))
        link.send(*run_op(op))
        link.send(*count_op(op))
    link.look()


def mislabelled(link: Link) -> None:
    """Every program on a label that is no class, which those refuse that read it."""
    plan = link.model.plan
    if "label" in plan and plan.classes < 256:
        for number in range(len(plan.entries)):
            link.send(
                *asked(messages.WRITE, region=Region.ARENA, offset=plan["label"].offset, content=b"\xff")
            )
            link.send(*asked(messages.RUN, program=number, flags=2))
    link.look()


def contradicted(link: Link) -> None:
    """Each tensor's last element at the limits of its type and its own, and INFER, which is refused where the
    state then contradicts itself."""
    plan = link.model.plan
    for t in plan.space("state"):
        link.send(messages.RESET.number, b"")
        top = np.iinfo(t.dtype)
        for value in (top.min, top.max, t.hi):
            offset, content = t.offset + t.nbytes - t.itemsize, np.array(value, t.dtype).tobytes()
            link.send(*asked(messages.WRITE, region=Region.STATE, offset=offset, content=content))
        link.send(*asked(messages.INFER, inputs=b""))
    link.look()


def play(link: Link, seed: int, count: int) -> None:
    rng = np.random.default_rng([31, seed])
    draw = Requests(link.model.plan, rng)
    link.send(messages.STATS.number, b"")  # a chip that nobody greeted
    for first in (messages.HELLO, messages.STATS):
        link.send(first.number, b"", session=7)
        link.send(
            *asked(messages.LEARN, label=0, flags=0, inputs=b""), step=0
        )  # its answer, though not its own
    for _ in ordered(link, draw, rng, count):
        link.look()
        if fault(link.model.plan, link.model.machine.state[0].tobytes()):
            link.send(*draw.infer())
            assert link.model.unchecked, "what no WRITE made is refused"
    beyond(link, draw)
    mislabelled(link)
    contradicted(link)


def project(plan: Plan, folder: Path) -> Path:
    keep = Keep() if kept(plan) else None
    write(render(plan, load_board(BOARD), "a test", "a test", keep=keep), folder)
    return folder


def kept(plan: Plan) -> Sequence[Span]:
    """What a store of this Plan keeps: nothing of one that learns nothing."""
    try:
        return spans(plan, Keep())
    except CompileError:
        return ()


MODELS = 3
REFUSED = ("busy", "bad_label", "bad_length", "bad_argument")


@counted(MODELS, 12)
def test_sequences_of_requests_on_a_process(count: int, tmp_path: Path) -> None:
    seen: Counter[tuple[str, str]] = Counter()
    for c, seed in accepted(70_000, count):
        out = project(c.plan, tmp_path / c.plan.model)
        with open_device("process:address,undefined", out) as device:
            link = Link(device, c.plan, counts=False)
            play(link, seed, 190)
        seen += link.seen
    wanted = (
        *(("learn", s) for s in ("ok", "bad_label", "bad_length", "bad_argument")),
        *(("learn_many", s) for s in ("ok", "bad_label", "bad_length", "bad_argument")),
        *(("learn_kept", s) for s in ("ok", "bad_label", "bad_argument")),
        *(("run", s) for s in ("ok", "bad_label", "bad_argument")),
        *(("write", s) for s in ("ok", "bad_state", "bad_argument")),
        *(("infer", s) for s in ("ok", "bad_length", "bad_state")),
        *(("load", s) for s in ("ok", "bad_label", "bad_length")),
        *(("run_op", s) for s in ("ok", "bad_argument", "bad_state")),
        *(("begin", s) for s in ("ok", "busy", "bad_argument")),
        *(("step", s) for s in ("ok", "bad_argument")),
        *((r, "ok") for r in ("save", "restore", "erase")),
        *((r, "busy") for r in ("infer", "learn", "load", "run", "write")),
        *(
            (
                ("abort", "ok"),
                ("hello", "ok"),
                ("reset", "ok"),
                ("count", "unsupported"),
                ("stats", "no_session"),
            )
        ),
    )
    assert not [key for key in wanted if not seen[key]], "never seen"
    assert any(seen[r, "busy"] for r in ("save", "restore", "erase"))


def wide(folder: Path) -> Plan:
    """A classifier that learns from inputs of int16, and may infer while it does."""
    rng, a = np.random.default_rng(3), Author()
    x, scale = activation(rng, a, "x", (5,), 3 * UNIT)
    constants, usual = weights(rng, a, (4, 5), 0, scale, "INT64")
    y, _ = activation(rng, a, "y", (4,), usual)
    add(a, "FULLY_CONNECTED", [x, *constants], [y], "FullyConnectedOptions", quantizedBiasType=4)
    file = folder / "wide.tflite"
    file.write_bytes(a.bytes([x], [y]))
    data = {"x": rng.integers(-(2**15), 2**15, (40, 5)).astype(np.int16), "label": np.arange(40) % 4}
    spec = RuleSpec("last", rate=6, store=Store(2), arena=Arena(shared=False))
    return compile_model(load_model(file), spec, data).plan


def test_a_refused_request_leaves_inputs_of_16_bits_as_they_were(tmp_path: Path) -> None:
    """Wherever the frame brings them, and whatever refuses them: also a run in slices."""
    plan = wide(tmp_path)
    with open_device("process:address,undefined", project(plan, tmp_path / "out")) as device:
        link = Link(device, plan, counts=False)
        play(link, 0, 60)
        link.send(messages.RESET.number, b"")
        size, learn = len(link.model.input), plan.entries.index("learn")
        for begun in (False, True):
            if begun:
                link.send(*asked(messages.BEGIN, program=learn))
            for i, label in enumerate((0, plan.classes)):
                x = bytes([i + 1]) * size
                link.send(*asked(messages.INFER, inputs=x))
                link.send(*asked(messages.INFER, inputs=x[1:]))
                link.send(*asked(messages.LOAD, label=label, inputs=bytes(size)))
                link.look()
                for flags in (0, 4):
                    link.send(*asked(messages.LEARN, label=label, flags=flags, inputs=bytes(size)))
                    link.look()
                sample = label.to_bytes(2, "little") + bytes(size)
                link.send(*asked(messages.LEARN_MANY, flags=0, samples=sample))
                link.look()
    for request in ("infer", "load", "learn", "learn_many"):
        assert link.seen[request, "ok"] and sum(link.seen[request, s] for s in REFUSED) > 2
    assert link.seen["load", "busy"] and link.seen["load", "bad_label"]


def test_sequences_of_requests_on_the_virtual_chip(tmp_path: Path) -> None:
    seen: Counter[tuple[str, str]] = Counter()
    models = [
        (c, seed) for c, seed in accepted(71_000, 12) if "learn" in c.plan.entries and any(held(c.plan))
    ]
    for c, seed in models[:1]:
        out = project(c.plan, tmp_path / c.plan.model)
        with open_device("unicorn:count", out, load_board(BOARD)) as device:
            link = Link(device, c.plan, counts=True)
            play(link, seed, 60)
        seen += link.seen
    assert seen["count", "ok"] and seen["run", "ok"] and seen["write", "bad_state"]
    assert seen["count", "bad_state"] and seen["run_op", "bad_state"]


def test_the_smallest_sequence(tmp_path: Path) -> None:
    """LOAD with label 2, INFER, RUN learn: INFER leaves the label where no step of infer lies over it."""
    for c, _ in accepted(72_000, 8):
        plan = c.plan
        if "learn" not in plan.entries or plan.classes < 3:
            continue
        out = project(plan, tmp_path / plan.model)
        x = bytes(range(sum(plan[n].nbytes for n in plan.inputs)))
        with open_device("process:undefined", out) as device:
            link = Link(device, plan, counts=False)
            link.send(messages.HELLO.number, b"", session=7)
            link.send(*asked(messages.LOAD, label=2, inputs=x))
            link.send(*asked(messages.INFER, inputs=x))
            link.send(*asked(messages.RUN, program=plan.entries.index("learn"), flags=1))
            link.look()
        return
    raise AssertionError("no model learns")
