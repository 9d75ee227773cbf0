"""The live page's server: who is let in, what is answered, and both sides beside each other behind it."""

from __future__ import annotations

import http.client
import json
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import live_nets
import live_page
import numpy as np
import pytest
import wsproto
from wsproto import events

from synapcc.gen.errors import SynapccError
from synapcc.host.devices import DeviceError
from synapcc.host.devices.process import ProcessDevice
from synapcc.host.live.beside import Beside, Differs
from synapcc.host.live.judge import LATE, LEARNED
from synapcc.host.live.orders import MOST_BYTES, Order
from synapcc.host.live.page import page
from synapcc.host.live.recording import UNKNOWN
from synapcc.host.live.server import HOST, PAGES, Door, bound, serve
from synapcc.host.live.stream import ORDERS, Settings, Stream

SECONDS = 20.0


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return live_nets.project(tmp_path_factory.mktemp("live"))


@pytest.fixture
def beside(project: Path, unoptimised: None) -> Iterator[Beside]:
    with live_nets.beside(project) as it:
        yield it


@dataclass
class Served:
    """A server that runs in a thread, and where it is."""

    stream: Stream
    door: Door
    port: int
    path: str
    drawn: list[bool] = field(default_factory=list)

    @property
    def address(self) -> str:
        return f"http://{HOST}:{self.port}{self.path}"

    def get(self, path: str, host: str | None = None) -> http.client.HTTPResponse:
        """The answer to a request, which names another host where one is given."""
        connection = http.client.HTTPConnection(HOST, self.port, timeout=SECONDS)
        connection.request(
            "GET", path, headers={"Host": host or f"{HOST}:{self.port}", "Connection": "close"}
        )
        return connection.getresponse()


@contextmanager
def served(stream: Stream) -> Iterator[Served]:
    """A page of it, until the block ends."""
    drawn: list[bool] = []
    door = Door(stream, partial(page, live_nets.WORDS, stream.recording), lambda: drawn.append(True))
    taken, ready = bound(0), threading.Event()
    address: list[str] = []

    def tell(said: str) -> None:
        address.append(said)
        ready.set()

    thread = threading.Thread(target=serve, args=(door, taken, tell))
    thread.start()
    try:
        assert ready.wait(SECONDS)
        found = urlsplit(address[0])
        assert found.port and found.hostname == HOST
        yield Served(stream, door, found.port, found.path, drawn)
    finally:
        stream.stop()
        thread.join(SECONDS)
        assert not thread.is_alive()


class Page:
    """A WebSocket, as a browser opens one."""

    def __init__(self, it: Served, path: str = "", **headers: str) -> None:
        self.socket = socket.create_connection((HOST, it.port), SECONDS)
        self.connection = wsproto.WSConnection(wsproto.ConnectionType.CLIENT)
        host, origin = (
            headers.get("host", f"{HOST}:{it.port}"),
            headers.get("origin", f"http://{HOST}:{it.port}"),
        )
        more = [(b"Origin", origin.encode())] if origin else []
        target = path or f"{it.path}stream"
        self.send(events.Request(host=host, target=target, extra_headers=more))
        first = self.next()
        self.status = 101 if isinstance(first, events.AcceptConnection) else getattr(first, "status_code", 0)

    def send(self, event: Any) -> None:
        self.socket.sendall(self.connection.send(event))

    def ask(self, **order: object) -> None:
        self.send(events.TextMessage(json.dumps(order)))

    def next(self) -> Any:
        """The next event, a whole message where it is one."""
        parts: list[Any] = []
        while True:
            for event in self.connection.events():
                if isinstance(event, events.Message) and not event.message_finished:
                    parts.append(event.data)
                    continue
                if isinstance(event, events.Message):
                    data = event.data if not parts else type(event.data)().join([*parts, event.data])
                    return (
                        json.loads(data) if isinstance(event, events.TextMessage) else unpacked(bytes(data))
                    )
                return event
            self.connection.receive_data(self.socket.recv(1 << 16) or None)

    def until(self, what: Any) -> Any:
        """The first thing that is told of which what(it) holds."""
        until = time.monotonic() + SECONDS
        while time.monotonic() < until:
            if what(found := self.next()):
                return found
        raise AssertionError("it was never told")

    def close(self) -> None:
        self.socket.close()


def unpacked(message: bytes) -> dict[str, Any]:
    """A picture, as the page reads it."""
    (size,) = struct.unpack_from("<I", message)
    said: dict[str, Any] = json.loads(message[4 : 4 + size])
    return {**said, "trace": np.frombuffer(message[4 + size :], "<i2")}


def running(beside: Beside, speed: float = 0.0, annotated: bool = True, minutes: float = 0.0) -> Stream:
    return Stream(beside, live_nets.recording(20, annotated), Settings(speed, False, minutes))


# ---- both sides -----------------------------------------------------------------------------------------


def test_both_sides_learn_the_same_and_what_comes_late_is_told(beside: Beside) -> None:
    it = live_nets.recording()
    stream = Stream(beside, it, Settings(0.0, True, 0.5))
    stream.run()
    facts = stream.picture.facts
    assert stream.failed is None and facts.ended and facts.differing == 0
    assert facts.seconds == 30 and facts.pushes == 600 and facts.judged == facts.learned + 4
    assert facts.marks == facts.learned == beside.stats().learned > 20
    assert {e.how for e, _ in stream.picture.events} == {LEARNED, ""}
    shown = [e.answer.at for e, _ in stream.picture.events]
    assert np.isin(shown, it.at).mean() > 0.9 and stream.picture.newest - 1000 < min(shown)
    assert facts.f1[0] != facts.f1[1], "what learned says the same as what has not"
    assert [share for share, _ in stream.measured] == pytest.approx(np.arange(1, 11) / 10, abs=0.01)
    first = stream.judge.events[0]
    stream._teach(first, 1)
    assert first.how == LATE and beside.stats().learned == facts.learned


def test_a_byte_that_differs_ends_the_stream(beside: Beside) -> None:
    stream = running(beside)
    stream.beside.machine["fc2_weight"][0, 0, 0] += 1
    stream.run()
    assert isinstance(stream.failed, Differs) and stream.failed.difference.tensor == "fc2_weight"
    assert stream.picture.facts.differing == 1 and "fc2_weight" in stream.picture.facts.fault


def test_a_chip_that_dies_ends_the_stream_with_its_own_words(beside: Beside) -> None:
    """And where nobody has annotated anything, nothing is judged."""
    stream = running(beside, annotated=False, minutes=0.1)
    stream.run()
    facts = stream.picture.facts
    assert (
        stream.failed is None
        and facts.judged == facts.missed == facts.extra == 0
        and len(stream.judge.events) > 4
    )
    assert all(e.truth == UNKNOWN for e in stream.judge.events)
    device = beside.client.device
    assert isinstance(device, ProcessDevice)
    device.close()
    again = running(beside)
    again.run()
    assert isinstance(again.failed, DeviceError) and "the device is closed" in again.picture.facts.fault
    again = running(beside)
    again.leaving = lambda: True  # Ctrl-C, which ends a process of the same terminal, too
    again.run()
    assert again.failed is None and again.picture.facts.ended and not again.picture.facts.fault


def test_a_plan_without_labels_is_refused(tmp_path: Path) -> None:
    from projects import compiled

    from synapcc.host.run.plans import read_plan

    _, out = compiled(tmp_path)
    with pytest.raises(SynapccError, match=r"no stream to label; compile it with \[frontend\] and \[mark\]"):
        Beside(read_plan(out), None)  # type: ignore[arg-type]


def test_it_keeps_time_and_waits_while_it_is_paused(beside: Beside) -> None:
    """20 times real time is 400 pushes a second; behind the first ten seconds, which come at once."""
    stream = running(beside, speed=20.0)
    filled = 1000 // beside.size
    stream.start()
    while beside.pushes <= filled:
        time.sleep(0.01)
    began, before = time.monotonic(), beside.pushes
    time.sleep(0.5)
    passed, took = beside.pushes - before, time.monotonic() - began
    assert passed <= 400 * took + 10 and passed > 20
    assert stream.ask(Order("pause", on=True))
    while not stream.picture.facts.paused:
        time.sleep(0.01)
    before = beside.pushes
    time.sleep(0.2)
    assert beside.pushes == before
    taken = sum(stream.ask(Order("pause", on=True)) for _ in range(10 * ORDERS))
    assert ORDERS <= taken < 10 * ORDERS, "orders pile up"
    stream.stop()
    stream.join(SECONDS)


# ---- who is let in --------------------------------------------------------------------------------------


def test_strangers_and_nonsense(beside: Beside) -> None:
    """Another name for this computer, another page's origin, no word or a wrong one; and what is no order."""
    with served(running(beside, speed=1.0)) as it:
        wrong = it.path[:-2] + ("a" if it.path[-2] != "a" else "b") + "/"
        assert it.get(it.path, "evil.example").status == it.get(it.path, f"{HOST}:1").status == 403
        assert it.get(it.path, f"localhost:{it.port}").status == 200
        assert it.get("/").status == it.get(wrong).status == it.get("/x/").status == 404
        found = it.get(it.path)
        rules, text = found.getheader("Content-Security-Policy") or "", found.read().decode()
        assert "default-src 'none'" in rules and "unsafe" not in rules and "http" not in rules
        assert "Somebody" in text and it.door.word not in text and "https://" not in text
        assert Page(it).status == 101
        for path, headers in (
            ("", {"origin": "http://evil.example"}), ("", {"origin": ""}), ("", {"origin": "null"}),
            ("", {"host": f"evil.example:{it.port}"}), (f"{wrong}stream", {}),
        ):  # fmt: skip
            assert Page(it, path, **headers).status == 403, (path, headers)
        bad = Page(it)
        for text, says in (("{", "a JSON object"), ('{"do":"label","event":0,"label":3}', "classes 0 to 2")):
            bad.send(events.TextMessage(text))
            assert says in bad.until(lambda m: isinstance(m, dict) and "refused" in m)["refused"]
        bad.send(events.TextMessage("x" * 8 * MOST_BYTES))
        assert bad.until(lambda m: isinstance(m, events.CloseConnection)).code == 1009
        raw = Page(it)
        raw.send(events.BytesMessage(b"{}"))
        raw.until(lambda m: isinstance(m, events.CloseConnection))
        assert it.stream.is_alive() and not it.stream.failed


def test_pages_are_few_and_a_slow_one_costs_nothing(beside: Beside) -> None:
    """A page that reads nothing misses pictures; all others, and the chip, go on."""
    with served(running(beside)) as it:
        slow, *others = [Page(it) for _ in range(PAGES)]
        late = Page(it)
        assert late.until(lambda m: isinstance(m, events.CloseConnection)).code == 1013
        seen = [others[0].until(lambda m: isinstance(m, dict))["newest"] for _ in range(60)]
        assert sorted(set(seen)) == seen and seen[-1] > seen[0]
        whole = others[0].until(lambda m: isinstance(m, dict) and "curves" in m)
        assert len(whole["trace"]) == 1000 and whole["facts"]["differing"] == 0
        assert (whole["trace"] == it.stream.recording.piece(whole["newest"] - 999, 1000)).all()
        for p in (slow, *others):
            p.close()
        until = time.monotonic() + SECONDS
        while it.door.open and time.monotonic() < until:
            time.sleep(0.02)
        assert not it.door.open and Page(it).status == 101


def test_a_port_that_is_taken() -> None:
    with socket.socket() as other:
        other.bind((HOST, 0))
        other.listen()
        with pytest.raises(SynapccError, match=r"--http-port: \d+ cannot be had .*; give another one"):
            bound(other.getsockname()[1])
    with pytest.raises(SynapccError, match="70000 cannot be had"):
        bound(70000)


# ---- a browser ------------------------------------------------------------------------------------------


@pytest.mark.skipif(bool(live_page.missing()), reason=f"the live page in a browser: {live_page.missing()}")
def test_in_a_browser_by_clicks(beside: Beside) -> None:
    with served(running(beside, speed=1.0, annotated=True)) as it, live_page.browser(390, 844) as browser:
        browser.get(it.address)

        def text(name: str) -> str:
            return str(browser.find_element("id", name).text)

        def soon(what: Any) -> None:
            until = time.monotonic() + SECONDS
            while not what():
                assert time.monotonic() < until, [text(n) for n in ("state", "said", "learned", "what")]
                time.sleep(0.03)

        soon(lambda: it.drawn and browser.find_elements("css selector", ".event b"))
        assert text("differing") == "0" and text("learned") == "0"
        live_page.press(browser, "#pause")
        soon(lambda: text("pause") == "Go on")
        live_page.choose(browser, 0.7)
        soon(lambda: "at 0:" in text("more"))
        live_page.press(browser, "#label-V")
        soon(lambda: text("said") == "Learned as V, wide." and text("learned") == "1")
        assert not browser.find_element("id", "label-V").is_enabled(), "a beat is learned once"
        live_page.press(browser, "#newest")
        live_page.press(browser, "#press")
        soon(lambda: text("learned") == "2" and text("said").startswith("Learned as"))
        assert text("said") in ("Learned as S, early.", "Learned as V, wide.")
        assert beside.stats().learned == 2
        live_page.press(browser, "#learn")
        live_page.press(browser, "#pause")
        soon(lambda: int(text("learned")) > 2 and it.stream.settings.learning)
        assert browser.find_element("id", "learn").get_attribute("aria-checked") == "true"
        wide = browser.execute_script("return document.documentElement.scrollWidth")
        assert wide == 390, "a phone scrolls sideways"
        assert browser.get_log("browser") == []
        live_page.press(browser, "#stop")
        soon(lambda: text("state") == "ended")
        assert text("differing") == "0" and it.stream.failed is None


def test_a_denied_event_says_what_it_was_learned_as(beside: Beside) -> None:
    """By the scores of its window before it was learned, whatever takes the label's bytes later."""
    rng, seen = np.random.default_rng(3), set()
    for _ in range(400):
        answer = beside.push(rng.integers(-300, 300, beside.size).astype(np.int16))
        if answer is None:
            continue
        z = beside.machine[beside.plan.logits][0].astype(int)
        denied = int(rng.integers(beside.plan.classes))
        want = next(k for k in np.argsort(-z, kind="stable") if k != denied)
        assert beside.deny(denied, beside.newest - answer.at) == want
        assert beside.deny(denied, beside.newest - answer.at) is None, "it waits no more"
        seen.add(want)
    assert len(seen) > 1
