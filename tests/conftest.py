"""Options of the test suite."""

from __future__ import annotations

import os
import shutil
import tempfile

import pytest

from synapcc.examples.processes import one_blas_thread

NETWORKS = "SYNAPCC_TEST_NETWORKS"  # as tests/support/random_nets.py calls it, which loads numpy

one_blas_thread()  # workers of xdist, and programs that tests start, take over what it sets


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--rewrite-golden", action="store_true", help="write tests/golden anew instead of comparing with it"
    )


@pytest.fixture
def rewrite_golden(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--rewrite-golden"))


@pytest.fixture
def unoptimised(monkeypatch: pytest.MonkeyPatch) -> None:
    """Device `process` is compiled in less than half of the time, for tests that do not ask what optimising
    finds or breaks."""
    from synapcc.host.devices import process

    assert "-O2" in process._FLAGS
    monkeypatch.setattr(process, "_FLAGS", tuple("-O0" if f == "-O2" else f for f in process._FLAGS))


def pytest_configure(config: pytest.Config) -> None:
    """A folder for what tests of this run compile once; workers of xdist are told of it."""
    if not hasattr(config, "workerinput"):
        os.environ[NETWORKS] = tempfile.mkdtemp(prefix="synapcc-networks-")


def pytest_unconfigure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        shutil.rmtree(os.environ.pop(NETWORKS), ignore_errors=True)
