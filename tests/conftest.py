"""Fixtures of all tests. As this file is in tests/, all tests can import the modules next to it."""

import os
import signal
from collections.abc import Generator

import pytest

# Read once, when numpy and torch are imported. What runs beside the tests would fight with more threads for the cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Things that only some machines have. A skip whose reason contains a word of $GREENLLM_REQUIRE (`compiler`, `root`, …)
# becomes a failure: this machine must have it.
REQUIRED = os.environ.get("GREENLLM_REQUIRE", "").split()


# A shell has what it starts in the background ignore these, and the commands under test would inherit that.
for number, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGQUIT, signal.SIG_DFL)):
    if signal.getsignal(number) == signal.SIG_IGN:
        signal.signal(number, handler)


@pytest.fixture(autouse=True, scope="session")
def environment_of_the_run(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of the run, recorded before all other fixtures of the session.

    Its leases are its own: no test waits for other jobs on this host, such as tests that run beside these.
    """
    os.environ["GREENLLM_LOCKS"] = str(tmp_path_factory.mktemp("locks"))
    return dict(os.environ)


@pytest.fixture(autouse=True, scope="module")
def environment_of_its_own(environment_of_the_run: dict[str, str]) -> None:
    """Restore the run's environment for each file: commands called in-process set variables for their jobs.

    Restored at a file's start, not at the end of the one before: a session fixture may call a command in between.
    """
    for name in os.environ.keys() - environment_of_the_run.keys():
        del os.environ[name]
    os.environ.update(environment_of_the_run)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn a skip into a failure if it is skipped because something required is missing."""
    report = yield
    if report.skipped and not hasattr(report, "wasxfail"):
        reason = str(report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr)
        if any(word in reason for word in REQUIRED):
            report.outcome = "failed"
            report.longrepr = f"skipped, but $GREENLLM_REQUIRE asks for it: {reason}"
    return report
