"""The page's server: of this computer alone, for who knows its address, which holds a random word.

A browser shows pages of strangers, too. So nothing is answered to a request for another host than the
loopback (a name that a stranger points there), nor to one from another page's origin, nor without the word.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import socket
import time
from collections.abc import Callable

import uvicorn
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.requests import HTTPConnection, Request
from starlette.responses import HTMLResponse, PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect

from synapcc.gen.errors import SynapccError

from .orders import MOST_BYTES, Unknown, read_order
from .stream import PICTURES, Stream

HOST = "127.0.0.1"
_USUAL_PORT = 80  # which clients leave out of Host and Origin
PAGES = 4
"""That may be open at a time."""
MESSAGES = 20
"""Of a page that are read in a second."""
_WORD_BYTES = 18
_CLOSE_TOO_MANY, _CLOSE_BAD = 1013, 1003
_CURVES = 1.0  # seconds between two pictures that have them
_GRACE = 2  # seconds that pages have for the last picture


def bound(port: int) -> socket.socket:
    """A socket of the loopback on a port, 0 for any that is free. SynapccError where it is taken."""
    found = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    if os.name == "posix":  # a port that was left a moment ago is free; elsewhere it would be shared
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        found.bind((HOST, port))
        found.listen()
    except (OSError, OverflowError) as error:
        found.close()
        reason = getattr(error, "strerror", None) or error
        hint = "give another one, or leave it out for any that is free"
        raise SynapccError("--http-port", f"{port} cannot be had ({reason})", hint) from None
    return found


class OwnOrigin:
    """Lets requests pass that are meant for this server and come from its own page, or from no page."""

    def __init__(self, app: ASGIApp, port: int) -> None:
        self._app = app
        names = (HOST, "localhost")
        self._hosts = {f"{name}:{port}" for name in names} | {*(names if port == _USUAL_PORT else ())}
        self._origins = {f"http://{host}" for host in self._hosts}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        hosts, origins = headers.getlist("host"), headers.getlist("origin")
        ours = len(hosts) == 1 and hosts[0] in self._hosts and set(origins) <= self._origins
        if ours and (scope["type"] == "http" or origins):
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await WebSocket(scope, receive, send).close(_CLOSE_BAD)
        else:
            refused = PlainTextResponse("this page is for the computer that it runs on\n", 403)
            await refused(scope, receive, send)


class Door:
    """What the server answers.

    page: from a nonce, the page; drawn(): called where a page shows its first event
    """

    def __init__(self, stream: Stream, page: Callable[[str], str], drawn: Callable[[], object]) -> None:
        self.stream, self.page, self.drawn = stream, page, drawn
        self.word = secrets.token_urlsafe(_WORD_BYTES)
        self.open = 0

    def app(self, port: int) -> ASGIApp:
        """For a server on that port."""
        routes = [Route("/{word}/", self._page), WebSocketRoute("/{word}/stream", self._stream)]
        return OwnOrigin(Starlette(routes=routes), port)

    def _knows(self, connection: HTTPConnection) -> bool:
        return secrets.compare_digest(connection.path_params["word"].encode(), self.word.encode())

    async def _page(self, request: Request) -> PlainTextResponse | HTMLResponse:
        if not self._knows(request):
            return PlainTextResponse("no such page: take the address that the command printed\n", 404)
        nonce = secrets.token_urlsafe(_WORD_BYTES)
        rules = (
            f"default-src 'none'; style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}'; connect-src 'self'; "
            "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )
        headers = {
            "Content-Security-Policy": rules, "Cache-Control": "no-store", "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff", "Cross-Origin-Resource-Policy": "same-origin",
        }  # fmt: skip
        return HTMLResponse(self.page(nonce), headers=headers)

    async def _stream(self, page: WebSocket) -> None:
        if not self._knows(page):
            await page.close(_CLOSE_BAD)
            return
        await page.accept()
        if self.open >= PAGES:
            await page.close(_CLOSE_TOO_MANY, f"{PAGES} pages are open")
            return
        self.open += 1
        try:
            show = asyncio.create_task(self._show(page))
            await self._listen(page)
        except (WebSocketDisconnect, RuntimeError, KeyError):  # it went, or sent bytes that are no text
            pass
        finally:
            show.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await show
            self.open -= 1

    async def _show(self, page: WebSocket) -> None:
        """Sends the newest picture, and the next one when that has gone out: a slow page misses some."""
        loop, last, curves = asyncio.get_running_loop(), None, float("-inf")
        while True:
            picture = self.stream.picture
            if picture is not last:
                with_curves = loop.time() >= curves + _CURVES or picture.facts.ended
                curves = loop.time() if with_curves else curves
                await page.send_bytes(picture.message(with_curves))
                last = picture
                if picture.facts.ended:
                    await page.close()
                    return
            await asyncio.sleep(1 / PICTURES)

    async def _listen(self, page: WebSocket) -> None:
        """Hands on what a page asks for; what is no order is answered with one line."""
        classes = len(self.stream.recording.names)
        while True:
            text = await page.receive_text()
            try:
                order = read_order(text, classes)
                if order.do == "drawn":
                    self.drawn()
                elif not self.stream.ask(order):
                    raise Unknown("too much is asked for at once")
            except Unknown as error:
                await page.send_json({"refused": str(error)})
            await asyncio.sleep(1 / MESSAGES)


class _Server(uvicorn.Server):
    """One that says when it has begun: from then on Ctrl-C ends it as it should."""

    def __init__(self, config: uvicorn.Config, begun: Callable[[], object]) -> None:
        super().__init__(config)
        self._begun = begun

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listens, and says so."""
        await super().startup(sockets)
        self._begun()


def serve(door: Door, taken: socket.socket, ready: Callable[[str], object]) -> None:
    """Serves until the stream ends, or Ctrl-C: then both have ended.

    taken: of `bound`; ready(address) is called when the page may be asked for
    """
    port = taken.getsockname()[1]
    config = uvicorn.Config(
        door.app(port), ws="wsproto", http="h11", loop="asyncio", lifespan="off", log_config=None,
        log_level="critical",
        access_log=False, server_header=False, date_header=False, ws_max_size=4 * MOST_BYTES,
        limit_concurrency=8 * PAGES, timeout_graceful_shutdown=_GRACE,
    )  # fmt: skip

    def begin() -> None:
        door.stream.start()
        ready(f"http://{HOST}:{port}/{door.word}/")

    server = _Server(config, begin)

    def over() -> None:
        """Pages get the last picture before the server ends."""
        until = time.monotonic() + _GRACE
        while door.open and time.monotonic() < until:
            time.sleep(1 / PICTURES)
        server.should_exit = True

    door.stream.ended, door.stream.leaving = over, lambda: server.should_exit
    try:
        with contextlib.suppress(KeyboardInterrupt):
            server.run(sockets=[taken])
    finally:
        door.stream.stop()
        if door.stream.ident is not None:
            door.stream.join()
        taken.close()
