"""Holds firmware to its emulator in a project's own tests: a plug-in of pytest, there with synapcc.

    pytest --synapcc-out out --synapcc-device serial:/dev/ttyACM0

    def test_my_board(synapcc_plan, synapcc_device, assert_exact):
        assert_exact(synapcc_plan, synapcc_device, "data.npz", steps=200)

Both options may stand in the project's pytest settings, as synapcc_out and synapcc_device. A test that asks
for a fixture which cannot be had fails with one line; none is skipped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from synapcc.gen.ir.plan import Plan

    from .link.client import Client
    from .run.samples import Samples
    from .run.verify import Verdict

_T = TypeVar("_T")
OUT, DEVICE = "synapcc_out", "synapcc_device"
_TOLD = {
    OUT: ("OUT", "output folder of synapcc compile: what synapcc_plan and synapcc_device are of"),
    DEVICE: ("DEVICE", "what runs its firmware: process, unicorn, qemu, serial:PORT (default: unicorn)"),
}


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options, and settings of the same names."""
    group = parser.getgroup("synapcc", "firmware that learns, held against its emulator")
    for name, (metavar, told) in _TOLD.items():
        group.addoption(f"--{name.replace('_', '-')}", dest=name, metavar=metavar, help=told)
        parser.addini(name, told, default="unicorn" if name == DEVICE else "")


def _said(config: pytest.Config, name: str) -> str:
    return str(config.getoption(name) or config.getini(name))


def _had(get: Callable[[], _T]) -> _T:
    """What it gives. What a user has to mend fails the test with that line, and no other."""
    from synapcc.gen.errors import SynapccError

    try:
        return get()
    except SynapccError as error:
        told = f"synapcc: {error}"
    pytest.fail(told, pytrace=False)


def _project(config: pytest.Config) -> Path:
    """A path in settings is relative to the file that has them; one on the command line to where pytest was
    started, wherever a test has gone since."""
    if given := config.getoption(OUT):
        return Path(config.invocation_params.dir, given)
    said = config.getini(OUT)
    if not said:
        pytest.fail("synapcc: no output folder; give --synapcc-out OUT of synapcc compile", pytrace=False)
    return Path(config.inipath.parent if config.inipath else config.rootpath, said)


@pytest.fixture(scope="session")
def synapcc_plan(pytestconfig: pytest.Config) -> Plan:
    """The Plan of the output folder."""
    from .run.plans import read_plan

    return _had(lambda: read_plan(_project(pytestconfig)))


@pytest.fixture
def synapcc_device(pytestconfig: pytest.Config, synapcc_plan: Plan) -> Iterator[Client]:
    """A session with the firmware on the device, its state as compiled. Each test has one of its own.

    Of a chip that has learned the state is lost: `synapcc pull` keeps it.
    """
    from . import connect

    project, device = str(_project(pytestconfig)), _said(pytestconfig, DEVICE)
    with _had(lambda: connect(project, device)) as client:
        _had(client.reset)
        yield client


def assert_exact(
    plan: Plan,
    device: Client,
    data: str | Path | Samples | Mapping[str, ArrayLike],
    steps: int = 100,
    tick: Callable[[int], None] = lambda count: None,
) -> Verdict:
    """As `synapcc verify`: the device and the emulator learn, and every persistent byte is compared after
    every step, then every other entry program and inferences.

    data: an .npz, inputs and `label` by name, or Samples; they repeat. Raises AssertionError, which says
    tensor, element, expected, got and op of the first difference; SynapccError for data that do not fit, and
    where the link fails.
    """
    from synapcc.gen.errors import SynapccError

    from .run.samples import Samples, from_arrays, load_samples
    from .run.verify import verify

    __tracebackhide__ = True
    labels = bool(plan.learning)
    if isinstance(data, str | Path):
        samples = load_samples(plan, Path(data), labels=labels)
    else:
        samples = data if isinstance(data, Samples) else from_arrays(plan, data, "assert_exact", labels)
    if labels and steps < 1:
        raise SynapccError("assert_exact", f"steps is {steps}: nothing would be learned", "give 1 or more")
    verdict = verify(plan, device, samples, steps, tick)
    if verdict.difference:
        raise AssertionError(f"{verdict.line}: {verdict.difference}")
    return verdict


@pytest.fixture(name="assert_exact", scope="session")
def _assert_exact() -> Any:
    """`assert_exact`, without an import."""
    return assert_exact
