"""The store over the link: what the whole firmware keeps, on every kind of device, over cuts of the power."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from link_cuts import AFTER, BEFORE, DEVICES, MIDDLE, Bench, Cut, project, run, small_flash

from synapcc.gen.emit import render, write
from synapcc.gen.ir.plan import Plan
from synapcc.gen.stages.state_check import rings
from synapcc.gen.target.boards import load_board
from synapcc.gen.target.messages import ERASE, LEARN, SAVE, Kept, Region, Request, Status
from synapcc.host.devices import DeviceError, open_device
from synapcc.host.devices.unicorn import UnicornDevice
from synapcc.host.link.client import Client, connect
from synapcc.host.link.protocol import encode_fields, encode_request
from synapcc.host.link.session import Refused


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Plan, Path]:
    return project(tmp_path_factory.mktemp("store"), small_flash())


@pytest.fixture
def client(made: tuple[Plan, Path]) -> Iterator[Client]:
    with open_device("process:undefined", made[1]) as device:
        yield connect(device, made[0])


def x_of(client: Client) -> bytes:
    rng = np.random.default_rng(1)
    return rng.integers(-60, 60, client.info.input_bytes).astype(np.int8).tobytes()


def test_what_is_kept_comes_back_at_a_start(client: Client, made: tuple[Plan, Path]) -> None:
    assert Kept(client.info.found) is Kept.EMPTY and client.info.keep_bytes > 0
    client.learn(x_of(client), 0)
    answer, state = client.save()
    assert answer is Kept.OK and state == client.digest()
    stats = client.stats()
    assert (stats.saves, stats.erases, stats.blocks, stats.cycles) == (1, 1, 3, 10_000)
    client.device.reset()
    client = connect(client.device, made[0])
    assert Kept(client.info.found) is Kept.OK and client.digest() == state
    stats = client.stats()
    assert (stats.saves, stats.erases, stats.learned) == (0, 1, 1)
    assert client.erase() is Kept.OK and client.digest() == state
    client.device.reset()
    client = connect(client.device, made[0])
    assert Kept(client.info.found) is Kept.EMPTY and client.digest() != state


def test_a_restore_that_finds_nothing_costs_nothing(client: Client) -> None:
    state = client.learn(x_of(client), 0)
    assert client.restore() == (Kept.EMPTY, state)
    size = client.info.flash_bytes
    other = bytearray(client.read(Region.FLASH, 0, size))
    client.write(Region.FLASH, 0, bytes(other))
    with pytest.raises(Refused, match="SAVE was refused") as refused:
        client.save()  # of a flash that the store has not looked at
    assert refused.value.status == Status.BAD_STATE and client.digest() == state
    answer, compiled = client.restore()  # as a start does
    assert answer is Kept.EMPTY and compiled != state and client.save()[0] is Kept.OK


def test_another_plans_state_stays_until_a_save(client: Client) -> None:
    """Its digest is in the header: there it is another one, with a CRC that is right."""
    client.save()
    size = client.info.flash_bytes
    flash = bytearray(client.read(Region.FLASH, 0, size))
    at = flash.index(b"SKP1")
    flash[at + 28] ^= 1
    flash[at + 60 : at + 64] = zlib.crc32(bytes(flash[at : at + 60])).to_bytes(4, "little")
    client.write(Region.FLASH, 0, bytes(flash))
    assert client.restore()[0] is Kept.OTHER
    flash = bytearray(client.read(Region.FLASH, 0, size))
    assert flash.count(b"SKP1") >= 1
    client.learn(x_of(client), 1)
    answer, state = client.save()
    assert answer is Kept.OK and client.restore() == (Kept.OK, state)


def test_half_of_a_push_is_never_kept(tmp_path: Path) -> None:
    """A state that contradicts itself, as between the pieces of a WRITE: refused, the old one stays."""
    plan, out = project(tmp_path, small_flash(), "ring")
    with open_device("process", out) as device:
        client = connect(device, plan)
        _, old = client.save()
        cursor, count, _ = rings(plan)[0]
        client.write(Region.STATE, plan[count].offset, bytes(4))
        client.write(Region.STATE, plan[cursor].offset, b"\1\0\0\0")  # beyond the samples that there are
        with pytest.raises(Refused) as refused:
            client.save()
        assert refused.value.status == Status.BAD_STATE
        assert client.restore() == (Kept.OK, old)


def test_a_run_in_slices_is_in_the_way(client: Client) -> None:
    client.save()
    client.begin(0)
    for ask in (client.save, client.restore, client.erase):
        with pytest.raises(Refused) as refused:
            ask()
        assert refused.value.status == Status.BUSY
    client.abort()
    assert client.restore()[0] is Kept.OK


def test_a_request_that_is_repeated_saves_once(client: Client) -> None:
    client.save()
    client._sequence -= 1
    assert client.save()[0] is Kept.OK  # the answer of the first one
    assert client.stats().saves == 1 and client.stats().repeats == 1


def test_firmware_without_a_store_says_so(tmp_path: Path) -> None:
    """Compiled without [keep], or for a board whose HAL has no driver for what its file says."""
    plan, _ = project(tmp_path / "a", small_flash())
    plain = tmp_path / "b"
    write(render(plan, load_board("mps2_an386"), "a test", "a test"), plain)
    with open_device("process", plain) as device:
        client = connect(device, plan)
        assert (client.info.keep_bytes, client.info.flash_bytes) == (0, 0)
        assert Kept(client.info.found) is Kept.NONE
        for ask in (client.save, client.restore, client.erase):
            with pytest.raises(Refused, match="unsupported"):
                ask()
        with pytest.raises(Refused, match="READ was refused"):
            client.read(Region.FLASH, 0, 1)


# ---- the power ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [n for n in DEVICES if n != "qemu"])
def test_some_cuts_leave_the_old_state_or_the_new_one(name: str, made: tuple[Plan, Path]) -> None:
    with open_device(name, made[1]) as device:
        bench = Bench(device, made[0])
        last = bench.operations(SAVE)
        for at in (1, 2, last - 2, last - 1, last):  # an erase, a word, the marks
            for way in (BEFORE, MIDDLE, AFTER):
                if name == "process" or way == MIDDLE:
                    assert bench.cut(Cut(SAVE, at, way, at % 3, again=7 * (at % 2)))
        assert bench.cut(Cut(ERASE, 3, MIDDLE, 1))
        assert not bench.cut(Cut(SAVE, last + 1, BEFORE, 0))
        assert bench.told["save old"] and bench.told["save new"]


@pytest.mark.long
@pytest.mark.parametrize("word", [1, 4, 8])
@pytest.mark.parametrize("name", DEVICES)
def test_every_cut_leaves_the_old_state_or_the_new_one(name: str, word: int, tmp_path: Path) -> None:
    plan, out = project(tmp_path, small_flash(word))
    with open_device(name, out) as device:
        told = run(Bench(device, plan), 1 if name == "process" else 4, seed=word)
    assert told["save old"] > 20 and told["save new"] > 10 and told["erase nothing"] > 20, told


def test_a_store_that_settles_nothing_is_found_out(tmp_path: Path) -> None:
    """The bench itself: without the mount's second copy a mark that was half done reads otherwise later."""
    plan, out = project(tmp_path, small_flash())
    (source,) = out.glob("lib/*/src/*_keep.c")
    text = source.read_text()
    assert text.count("    if (doubt) {\n") == 1
    source.write_text(text.replace("    if (doubt) {\n", "    if (doubt && keep->flash == NULL) {\n"))
    with open_device("process", out) as device:
        bench = Bench(device, plan)
        last = bench.operations(SAVE)
        with pytest.raises(AssertionError, match=r"and then another|neither"):
            for mood in (1, 2):
                assert bench.cut(Cut(SAVE, last - 2, MIDDLE, mood))


def test_resets_at_every_request(made: tuple[Plan, Path]) -> None:
    """Power off in front of each request of a life: nothing is learned twice, and what was kept is there."""
    plan, out = made
    with open_device("process", out) as device:
        client = connect(device, plan)
        x, states = x_of(client), []
        for turn in range(6):
            states.append(client.learn(x, turn % plan.classes))
            assert client.save() == (Kept.OK, states[-1])
            client.learn(x, 0)  # and this one is lost
            device.reset()
            for late in (client.digest, client.save, client.erase):
                with pytest.raises(DeviceError, match=r"the device was reset|the session is over"):
                    late()
            client = connect(device, plan)
            assert client.digest() == states[-1] and client.stats().learned == turn + 1
        assert len({*states}) == len(states)


def executed(
    device: UnicornDevice, client: Client, request: Request, fields: dict[str, object], most: int
) -> int:
    """Sends a request and lets the chip run `most` instructions, or until it waits; how many that were, by
    hundreds."""
    from unicorn.arm_const import UC_ARM_REG_PC

    body = encode_fields(request.ask, fields)
    device.write(encode_request(request, client._session, client._sequence + 1, body))
    device._uc.ctl_flush_tb()  # code that was translated before counts nothing
    done = 0
    while done < most and not device._line.waiting:
        device._uc.emu_start(device._pc | 1, 0, count=min(100, most - done))
        device._pc = device._uc.reg_read(UC_ARM_REG_PC)
        done += 100
    return done


def test_resets_within_learning(made: tuple[Plan, Path]) -> None:
    """Power off after so many instructions of LEARN, and of a SAVE behind it: what is restored is the state
    of before or of behind a whole step, and says how many it has learned."""
    pytest.importorskip("unicorn")
    plan, out = made
    with open_device("unicorn", out) as device:
        assert isinstance(device, UnicornDevice)
        client = connect(device, plan)
        x, learn = x_of(client), {"label": 1, "flags": 0}
        learn["inputs"] = x  # type: ignore[assignment]
        states = {1: client.learn(x, 0)}
        client.save()
        image = client.read(Region.FLASH, 0, client.info.flash_bytes)
        lengths = [executed(device, client, LEARN, learn, 10**7)]
        device.reset()
        client = connect(device, plan)
        states[2] = client.learn(x, 1)
        lengths.append(executed(device, client, SAVE, {"flags": 0}, 10**7))
        found = {1: 0, 2: 0}
        for learning, length in zip((True, False), lengths, strict=True):
            for turn in range(16):
                device.reset()
                client = connect(device, plan)
                client.write(Region.FLASH, 0, image)
                assert client.restore() == (Kept.OK, states[1])
                request, fields = (LEARN, learn) if learning else (SAVE, {"flags": 0})
                if not learning:
                    client.learn(x, 1)
                executed(device, client, request, fields, length * turn // 15 + 37)
                device.reset()
                client = connect(device, plan)
                count = client.stats().learned
                assert Kept(client.info.found) is Kept.OK and client.digest() == states[count]
                assert count == 1 or not learning, "what was not saved is gone"
                found[count] += 1
        assert found[1] > 20 and found[2] > 0 and lengths[1] > lengths[0] > 1000, (found, lengths)
