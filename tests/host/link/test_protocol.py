"""The message table and its coding: vectors, round trips, the C twin, the documented example."""

from __future__ import annotations

import dataclasses
import re
import subprocess
import zlib
from pathlib import Path
from typing import Any

import jinja2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from synapcc.gen.target import messages
from synapcc.gen.target.messages import MAX_PAYLOAD, Layout, Region, Request, Status
from synapcc.host.devices.process import host_compiler
from synapcc.host.link import client, protocol
from synapcc.host.link.protocol import Corrupt, Receiver, Reply

ROOT = Path(__file__).resolve().parents[3]
DOC = (ROOT / "docs" / "PROTOCOL.md").read_text()

_INTEGERS = {"u8": (0, 2**8 - 1), "u16": (0, 2**16 - 1), "u32": (0, 2**32 - 1), "i32": (-(2**31), 2**31 - 1)}


def values(layout: Layout) -> st.SearchStrategy[dict[str, Any]]:
    def one(kind: str) -> st.SearchStrategy[Any]:
        if kind in _INTEGERS:
            return st.integers(*_INTEGERS[kind])
        if kind == "sha256":
            return st.binary(min_size=32, max_size=32)
        if kind == "text":
            return st.text(max_size=60)
        return st.binary(max_size=layout.tail_bytes)

    return st.fixed_dictionaries({field.name: one(field.kind) for field in layout.fields})


replies = st.builds(
    Reply,
    version=st.integers(0, 255),
    session=st.integers(0, 2**32 - 1),
    sequence=st.integers(0, 2**16 - 1),
    request=st.integers(0, 255),
    status=st.integers(0, 255),
    payload=st.binary(max_size=MAX_PAYLOAD),
)


@pytest.mark.parametrize(
    ("plain", "coded"),
    [
        ("", "01"),
        ("00", "0101"),
        ("0000", "010101"),
        ("11220033", "0311220233"),
        ("11000000", "0211010101"),
        ("01" * 254, "ff" + "01" * 254),
        ("01" * 255, "ff" + "01" * 254 + "0201"),
        ("01" * 254 + "00", "ff" + "01" * 254 + "0101"),
        ("00" + "02" * 254, "01ff" + "02" * 254),
    ],
)
def test_cobs_vectors(plain: str, coded: str) -> None:
    assert protocol.cobs_encode(bytes.fromhex(plain)).hex() == coded
    assert protocol.cobs_decode(bytes.fromhex(coded)).hex() == plain


@given(st.lists(st.one_of(st.binary(max_size=300), st.just(b"\0"), st.just(b"\7" * 254))).map(b"".join))
def test_cobs_round_trip(plain: bytes) -> None:
    coded = protocol.cobs_encode(plain)
    assert 0 not in coded
    assert len(coded) <= len(plain) + 1 + len(plain) // 254
    assert protocol.cobs_decode(coded) == plain


@pytest.mark.parametrize("coded", ["00", "05", "0511", "031100", "ff01"])
def test_what_is_not_cobs_is_refused(coded: str) -> None:
    with pytest.raises(ValueError):
        protocol.cobs_decode(bytes.fromhex(coded))


def test_crc_is_the_common_one() -> None:
    assert protocol.crc32(b"123456789") == 0xCBF43926
    assert protocol.crc32(b"") == 0


def test_polynomial_is_zlibs() -> None:
    crc = 0xFFFFFFFF
    for byte in b"123456789":
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (messages.CRC_POLYNOMIAL if crc & 1 else 0)
    assert crc ^ 0xFFFFFFFF == zlib.crc32(b"123456789")


@pytest.mark.parametrize("request_", messages.REQUESTS, ids=lambda r: r.name)
@pytest.mark.parametrize("side", ["ask", "reply"])
def test_fields_round_trip(request_: Request, side: str) -> None:
    layout: Layout = getattr(request_, side)

    @given(values(layout))
    def check(fields: dict[str, Any]) -> None:
        payload = protocol.encode_fields(layout, fields)
        assert layout.fixed_bytes <= len(payload) <= layout.fixed_bytes + layout.tail_bytes
        assert protocol.decode_fields(layout, payload) == fields
        if layout.fixed_bytes:
            with pytest.raises(ValueError):
                protocol.decode_fields(layout, payload[: layout.fixed_bytes - 1])

    check()


def test_values_that_do_not_fit_are_refused() -> None:
    layout = messages.LEARN.ask
    for fields in (
        {"label": 2**16, "flags": 0, "inputs": b""},
        {"label": 0, "flags": 0},
        {"label": 0, "flags": 0, "inputs": b"", "more": 1},
        {"label": 0, "flags": 0, "inputs": bytes(MAX_PAYLOAD)},
    ):
        with pytest.raises(ValueError):
            protocol.encode_fields(layout, fields)
    with pytest.raises(ValueError):
        protocol.encode_fields(messages.DIGEST.reply, {"digest": b"short"})
    with pytest.raises(ValueError):
        protocol.decode_fields(messages.RESET.reply, b"x")


@given(st.lists(replies, max_size=4), st.lists(st.integers(1, 700)))
def test_receiver_cuts_any_stream(sent: list[Reply], cuts: list[int]) -> None:
    stream = b"".join(map(protocol.encode_reply, sent))
    receiver = Receiver()
    received: list[Reply | Corrupt] = []
    for cut in cuts:
        received += receiver.feed(stream[:cut])
        stream = stream[cut:]
    received += receiver.feed(stream)
    assert received == sent


@given(replies, st.binary(min_size=1, max_size=40).map(lambda b: b.replace(b"\0", b"\1")))
def test_receiver_finds_the_frame_after_garbage(reply: Reply, garbage: bytes) -> None:
    assert list(Receiver().feed(garbage + protocol.encode_reply(reply))) == [Corrupt(garbage), reply]


@given(replies, st.data())
def test_no_flipped_bit_passes(reply: Reply, data: st.DataObject) -> None:
    frame = bytearray(protocol.encode_reply(reply))
    frame[data.draw(st.integers(0, len(frame) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    assert [item for item in Receiver().feed(bytes(frame) + b"\0") if isinstance(item, Reply)] == []


def test_a_request_is_no_reply() -> None:
    frame = protocol.encode_request(messages.STATS, 1, 1)
    assert [type(item) for item in Receiver().feed(frame)] == [Corrupt]


# ---- one table ----------------------------------------------------------------------------------------


def test_numbers_are_unique_and_sane() -> None:
    assert len({request.number for request in messages.REQUESTS}) == len(messages.REQUESTS)
    assert all(0 < request.number < 256 for request in messages.REQUESTS)
    for layout in (part for request in messages.REQUESTS for part in (request.ask, request.reply)):
        kinds = [field.fixed for field in layout.fields]
        assert kinds == sorted(kinds, reverse=True), "fixed fields come first, their offsets are constants"
        assert [field.kind for field in layout.fields[:-1]].count("data") == 0
        assert layout.fixed_bytes <= MAX_PAYLOAD


@pytest.mark.parametrize(
    ("kind", "request_"),
    [
        (client.Hello, messages.HELLO),
        (client.TensorInfo, messages.TENSOR),
        (client.Stats, messages.STATS),
        (client.Count, messages.COUNT),
    ],
)
def test_dataclasses_have_the_fields_of_the_table(kind: type, request_: Request) -> None:
    assert [field.name for field in dataclasses.fields(kind)] == [
        field.name for field in request_.reply.fields
    ]


def test_header_does_not_depend_on_the_environment() -> None:
    texts = {protocol.render_header()}
    loader = jinja2.FileSystemLoader(ROOT / "templates")
    for trim in (False, True):
        for keep in (False, True):
            environment = jinja2.Environment(
                loader=loader, trim_blocks=trim, lstrip_blocks=trim, keep_trailing_newline=keep
            )
            texts.add(environment.get_template("protocol.h.j2").render(messages=messages))
    assert len(texts) == 1


def test_c_sees_the_table(tmp_path: Path) -> None:
    expected = {
        "PROTO_VERSION": messages.PROTOCOL_VERSION,
        "SYNAPCC_RUNTIME_VERSION": messages.RUNTIME_VERSION,
        "PROTO_MAX_PAYLOAD": MAX_PAYLOAD,
        "PROTO_HEADER_BYTES": messages.HEADER.fixed_bytes,
        "PROTO_REPLY_HEADER_BYTES": messages.REPLY_HEADER.fixed_bytes,
        **{f"PROTO_{status.name}": status.value for status in Status},
        **{f"PROTO_REGION_{region.name}": region.value for region in Region},
        **{f"PROTO_KEPT_{kept.name}": kept.value for kept in messages.Kept},
        **{f"PROTO_SUBJECT_{subject.name}": subject.value for subject in messages.Subject},
        **{f"PROTO_COUNTER_{counter.name}": counter.value for counter in messages.Counter},
        **{f"PROTO_FLAG_{flag.name}": flag.value for flag in messages.Flag},
    }
    for request in messages.REQUESTS:
        name = f"PROTO_{request.name.upper()}"
        expected[name] = request.number
        for suffix, layout in (("", request.ask), ("_REPLY", request.reply)):
            expected[f"{name}{suffix}_BYTES"] = layout.fixed_bytes
            expected[f"{name}{suffix}_TAIL"] = layout.tail_bytes
    (tmp_path / "protocol.h").write_text(protocol.render_header())
    checks = [f"typedef char check_{name}[{name} == {value} ? 1 : -1];" for name, value in expected.items()]
    (tmp_path / "check.c").write_text("\n".join(['#include "protocol.h"', *checks, ""]))
    flags = ["-std=c99", "-Wall", "-Wextra", "-Wconversion", "-Werror"]
    subprocess.run([*host_compiler(), *flags, "-c", "check.c", "-o", "check.o"], cwd=tmp_path, check=True)


# ---- the documentation --------------------------------------------------------------------------------


def test_documented_tables_are_the_table() -> None:
    for request in messages.REQUESTS:
        assert f"| {request.number} | {request.name.upper()} | {request.meaning} |" in DOC
    for status in Status:
        assert f"| {status.value} | {status.name.lower()} | {status.meaning} |" in DOC
    for number in (*messages.Subject, *messages.Counter, *messages.Kept):
        assert f"| {number.value} | {number.name.lower()} | {number.meaning} |" in DOC
    for region in Region:
        assert f"| {region.value} | {region.name.lower()} | {region.meaning} |" in DOC


def test_documented_fields_are_the_table() -> None:
    for request in messages.REQUESTS:
        for layout in (request.ask, request.reply):
            for field in layout.fields:
                assert re.search(rf"`{field.name}` {field.kind}\b", DOC), (request.name, field.name)


def test_documented_size_of_an_exchange_of_kept_samples_is_what_goes_over_the_wire() -> None:
    told = re.search(r"a frame of (\d+) bytes for (\d+) steps", DOC)
    assert told and int(told[2]) == messages.PROOFS
    ask = messages.LEARN_KEPT.ask
    fields = {"first": 1, "count": messages.PROOFS, "flags": 2}
    frame = protocol.encode_request(messages.LEARN_KEPT, 0x1234ABCD, 7, protocol.encode_fields(ask, fields))
    assert len(frame) == int(told[1])


def test_documented_example_is_what_goes_over_the_wire() -> None:
    fields = {"label": 2, "flags": messages.Flag.DIGEST, "inputs": bytes.fromhex("05fa0003")}
    payload = protocol.encode_fields(messages.LEARN.ask, fields)
    asked = protocol.encode_request(messages.LEARN, 0x1234ABCD, 7, payload)
    answer = protocol.encode_reply(Reply(messages.PROTOCOL_VERSION, 0x1234ABCD, 7, 4, Status.BAD_LABEL, b""))
    for frame in (asked, answer):
        assert f"    {frame.hex(' ')}\n" in DOC, frame.hex(" ")
