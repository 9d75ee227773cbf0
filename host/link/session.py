"""One request at a time over a bad line: repeated until it is answered, executed once."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from synapcc.gen.target.messages import PROTOCOL_VERSION, Request, Status

from ..devices import Device, DeviceError
from ..terminal.screen import neutral
from .protocol import Corrupt, Receiver, Reply, decode_fields, encode_fields, encode_request

TIMEOUT = 2.0
"""Seconds to wait for an answer before the request is sent again."""

ATTEMPTS = 5
"""How often a request is sent before the link is given up."""

_SHOWN = 16  # first bytes of what is not the protocol, in the error message
_TOLD = 255  # bytes of what a firmware says that stopped

_HINTS: Mapping[int, str] = {
    Status.WRONG_VERSION: "compile and build with this version of synapcc",
    Status.UNSUPPORTED: "take a device that can",
    Status.BAD_STATE: "push a whole state, or reset the device",
    Status.BUSY: "wait until the run in slices has ended, or reset the device",
}

Meanwhile = Callable[[], object]


class Refused(DeviceError):
    """The firmware understood a request and refused it; `status` says why. Nothing was changed."""

    def __init__(self, where: str, what: str, status: int) -> None:
        super().__init__(where, what, _HINTS.get(status, "build and flash this project, and connect again"))
        self.status = status


def idle() -> None:
    """What a host does while a chip runs, unless it is told."""


def spoken(fields: Mapping[str, Any]) -> dict[str, Any]:
    """What a chip says, its texts such that they cannot steer what shows them, nor begin a line there."""
    return {k: neutral(v, lines=False) if isinstance(v, str) else v for k, v in fields.items()}


class Session:
    """A session with running firmware, which the first request, HELLO, opens.

    took: seconds from the last request that was answered to its answer
    """

    def __init__(self, device: Device, timeout: float, attempts: int) -> None:
        self.device = device
        self.timeout = timeout
        self.attempts = attempts
        self._session = secrets.randbelow(0xFFFFFFFF) + 1
        self._sequence = 0
        self._receiver = Receiver()
        self._heard = b""
        self._heard_bytes = 0
        self._understood = False
        self._until = 0.0
        self._over = ""
        self.took = 0.0

    def _ask(
        self,
        request: Request,
        fields: Mapping[str, Any] | None = None,
        patience: float | None = None,
        meanwhile: Meanwhile = idle,
        seconds: float = 0.0,
    ) -> dict[str, Any]:
        try:
            payload = encode_fields(request.ask, fields or {})
        except ValueError as error:
            raise DeviceError(self.device.name, f"cannot ask {request.name.upper()}: {error}") from error
        answer = self._exchange(request, payload, patience, meanwhile, seconds)
        try:
            return spoken(decode_fields(request.reply, answer))
        except ValueError as error:
            self._fail(
                f"answered {request.name.upper()} in another shape ({error})", "firmware and host do not fit"
            )

    def _exchange(
        self,
        request: Request,
        payload: bytes = b"",
        patience: float | None = None,
        meanwhile: Meanwhile = idle,
        seconds: float = 0.0,
    ) -> bytes:
        """The payload of the answer. A frame sent again is the same: the chip never executes it twice.

        `patience` is how long a program may run after the chip accepted it. The last attempt waits as long
        even without an acceptance, which may itself have been lost. meanwhile() is called once, after the
        frame was sent; `seconds`: what the request takes, beside what any does.

        Whatever the device sends, an exchange ends: each attempt within its timeout, and `patience` is
        granted once. What breaks it off, Ctrl-C among others, ends the session: nobody knows then whether the
        chip executed the request, and its answer could be taken for that of the next one.
        """
        if self._over:
            raise DeviceError(self.device.name, f"the session is over: {self._over}", "connect again")
        try:
            reply = self._repeated(request, payload, patience, meanwhile, seconds)
        except BaseException as error:
            broken = f"{request.name.upper()} was broken off"
            self._over = self._over or (error.what if isinstance(error, DeviceError) else broken)
            raise
        return self._accept(request, reply)

    def _repeated(
        self, request: Request, payload: bytes, patience: float | None, meanwhile: Meanwhile, seconds: float
    ) -> Reply:
        """Sends a request until it is answered."""
        self._sequence = (self._sequence + 1) & 0xFFFF
        frame = encode_request(request, self._session, self._sequence, payload)
        started = time.monotonic()
        timeout = self.timeout + seconds
        self._until = 0.0
        for attempt in range(1, self.attempts + 1):
            self.device.write(frame)
            if attempt == 1:
                meanwhile()
            if attempt == self.attempts:
                self._grant(patience)
            reply = self._await(request, frame, max(time.monotonic() + timeout, self._until), patience)
            if reply is not None:
                self.took = time.monotonic() - started
                return reply
        return self._give_up(request, time.monotonic() - started)

    def _grant(self, patience: float | None) -> float:
        """Until when an accepted program may run: `patience` from the first call of an exchange on."""
        if patience is not None and not self._until:
            self._until = time.monotonic() + max(patience, self.timeout)
        return self._until

    def _await(self, request: Request, frame: bytes, deadline: float, patience: float | None) -> Reply | None:
        """The answer; None if it is time for the next attempt. Nothing else here waits for a device.

        Damage may have been the answer, or say that the request was damaged: the frame is sent again at once,
        but once in each timeout, and no attempt is lost over it. Boards chatter while they start.
        """
        quiet = 0.0  # until when damage is dropped
        while True:
            left = deadline - time.monotonic()
            received = self.device.read(max(0.0, left))
            self._heard_bytes += len(received)
            self._heard = (self._heard + received[:_SHOWN])[:_SHOWN]
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
                    said = neutral(item.payload[:_TOLD].decode(errors="replace"), lines=False)
                    self._fail(f"the firmware stopped: {said}", "reset the device")
                elif (item.session, item.sequence, item.request) != (
                    self._session,
                    self._sequence,
                    request.number,
                ):
                    continue  # an answer to a request that was sent twice
                elif item.status == Status.ACCEPTED:
                    deadline = max(deadline, self._grant(patience))
                else:
                    return item
            if left <= 0:
                return None
            if corrupt and time.monotonic() >= quiet:
                self.device.write(frame)
                quiet = time.monotonic() + self.timeout

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
        raise Refused(self.device.name, f"{request.name.upper()} was refused ({why})", reply.status)

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
