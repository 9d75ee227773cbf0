"""Coding of the link: frames, requests and replies as bytes, from the table in synapcc.gen.target.messages.

docs/PROTOCOL.md explains the bytes. Nothing here talks to a device.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2

from synapcc.gen.target import messages
from synapcc.gen.target.messages import MAX_PAYLOAD, PROTOCOL_VERSION, Layout, Request

_FORMATS = {"u8": "B", "u16": "H", "u32": "I", "i32": "i", "sha256": "32s"}
_RUN = 254  # bytes other than zero that one COBS code byte announces at most
_BODY = messages.REPLY_HEADER.fixed_bytes + MAX_PAYLOAD + messages.CRC_BYTES
LONGEST = _BODY + _BODY // _RUN + 1
"""Bytes between two delimiters that may be a reply."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An intact frame from the chip. `request`, `status` are numbers: another version may know other ones."""

    version: int
    session: int
    sequence: int
    request: int
    status: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class Corrupt:
    """Bytes between two delimiters that are no intact frame from a chip."""

    content: bytes


def crc32(content: bytes) -> int:
    """CRC-32 as zlib, PNG and Ethernet have it."""
    return zlib.crc32(content)


def cobs_encode(content: bytes) -> bytes:
    """Consistent overhead byte stuffing (Cheshire and Baker 1999): no zero in the result, no delimiters."""
    out = bytearray()
    runs = content.split(b"\0")
    for number, run in enumerate(runs, 1):
        for at in range(0, len(run) // _RUN * _RUN, _RUN):
            out += b"\xff" + run[at : at + _RUN]
        rest = run[len(run) // _RUN * _RUN :]
        if rest or not run or number < len(runs):  # a full run at the very end needs nothing after it
            out += bytes([len(rest) + 1]) + rest
    return bytes(out)


def cobs_decode(content: bytes) -> bytes:
    """Inverse of `cobs_encode`. Raises ValueError where `content` is not a result of COBS."""
    out = bytearray()
    at = 0
    while at < len(content):
        code = content[at]
        run = content[at + 1 : at + code]
        if code == 0 or len(run) != code - 1 or 0 in run:
            raise ValueError("not COBS")
        at += code
        out += run
        if code <= _RUN and at < len(content):
            out.append(0)
    return bytes(out)


def encode_fields(layout: Layout, values: Mapping[str, Any]) -> bytes:
    """The payload with these values by field name. Raises ValueError where one is missing or does not fit."""
    if set(values) != {field.name for field in layout.fields}:
        raise ValueError(f"fields are {[field.name for field in layout.fields]}, given are {sorted(values)}")
    out = bytearray()
    for field in layout.fields:
        value = values[field.name]
        if field.kind == "text":
            text = value.encode()
            if len(text) > 255:
                raise ValueError(f"{field.name}: longer than 255 bytes")
            out += bytes([len(text)]) + text
        elif field.kind == "sha256" and len(value) != messages.WIDTHS["sha256"]:
            raise ValueError(f"{field.name}: {len(value)} bytes are no SHA-256")
        elif field.kind == "data":
            out += value
        else:
            try:
                out += struct.pack("<" + _FORMATS[field.kind], value)
            except struct.error as error:
                raise ValueError(f"{field.name}: {error}") from error
    if len(out) > MAX_PAYLOAD:
        raise ValueError(f"{len(out)} bytes are more than a payload holds ({MAX_PAYLOAD})")
    return bytes(out)


def decode_fields(layout: Layout, payload: bytes) -> dict[str, Any]:
    """Inverse of `encode_fields`. Raises ValueError where the payload has another shape."""
    values: dict[str, Any] = {}
    at = 0
    for field in layout.fields:
        if field.kind == "data":
            values[field.name] = payload[at:]
            at = len(payload)
        elif field.kind == "text":
            end = at + 1 + payload[at] if at < len(payload) else len(payload) + 1
            if end > len(payload):
                raise ValueError(f"payload ends within {field.name}")
            values[field.name] = payload[at + 1 : end].decode(errors="replace")
            at = end
        else:
            width = messages.WIDTHS[field.kind]
            if at + width > len(payload):
                raise ValueError(f"payload ends within {field.name}")
            (values[field.name],) = struct.unpack_from("<" + _FORMATS[field.kind], payload, at)
            at += width
    if at != len(payload):
        raise ValueError(f"{len(payload) - at} bytes too many")
    return values


def frame(body: bytes) -> bytes:
    """Bytes on the wire: delimiter, COBS of body and CRC, delimiter."""
    return b"\0" + cobs_encode(body + struct.pack("<I", crc32(body))) + b"\0"


def encode_request(request: Request, session: int, sequence: int, payload: bytes = b"") -> bytes:
    """The frame, delimiters included, that asks `request`."""
    header = {
        "version": PROTOCOL_VERSION,
        "kind": messages.REQUEST_KIND,
        "session": session,
        "sequence": sequence,
        "request": request.number,
    }
    return frame(encode_fields(messages.HEADER, header) + payload)


def encode_reply(reply: Reply) -> bytes:
    """The frame, delimiters included, that a chip would answer with."""
    header = {
        "version": reply.version,
        "kind": messages.REPLY_KIND,
        "session": reply.session,
        "sequence": reply.sequence,
        "request": reply.request,
        "status": reply.status,
    }
    return frame(encode_fields(messages.REPLY_HEADER, header) + reply.payload)


def decode_reply(content: bytes) -> Reply:
    """The reply that stood between two delimiters. Raises ValueError where it is none, or not intact."""
    body = cobs_decode(content)
    end = len(body) - messages.CRC_BYTES
    start = messages.REPLY_HEADER.fixed_bytes
    if end < start or struct.unpack_from("<I", body, end) != (crc32(body[:end]),):
        raise ValueError("not an intact frame")
    header = decode_fields(messages.REPLY_HEADER, body[:start])
    if header.pop("kind") != messages.REPLY_KIND:
        raise ValueError("not a reply")
    return Reply(**header, payload=body[start:end])


class Receiver:
    """Cuts a stream of bytes into replies. What is no reply, between delimiters, comes out as Corrupt.

    It holds LONGEST bytes and one more, whatever comes: of what is longer, Corrupt has as many.
    """

    def __init__(self) -> None:
        self._pending = bytearray()

    def feed(self, received: bytes) -> Iterator[Reply | Corrupt]:
        """The frames that `received` completes, in order."""
        *complete, rest = received.split(b"\0")
        for part in complete:
            content = bytes(self._pending + part)[: LONGEST + 1]
            self._pending.clear()
            if content:
                try:
                    yield decode_reply(content)
                except ValueError:
                    yield Corrupt(content)
        self._pending += rest[: LONGEST + 1 - len(self._pending)]


def render_header() -> str:
    """include/protocol.h: the C twin of the message table."""
    templates = Path(__file__).resolve().parents[2] / "templates"
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(templates),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template("protocol.h.j2").render(messages=messages)
