"""Options of the test suite."""

from __future__ import annotations

import pytest

from synapcc.examples.processes import one_blas_thread

one_blas_thread()  # workers of xdist, and programs that tests start, take over what it sets


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--rewrite-golden", action="store_true", help="write tests/golden anew instead of comparing with it"
    )


@pytest.fixture
def rewrite_golden(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--rewrite-golden"))
