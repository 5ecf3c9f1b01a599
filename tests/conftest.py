"""What tests of all kinds share; lying here, it also lets them import `simulated_study` beside it."""

import os
import signal
from collections.abc import Generator

import pytest

# What only some machines have. Where a word of $GREENLLM_REQUIRE (`compiler`, `root`, …) stands in the reason
# of a skip, the machine was to have it, and the test fails instead.
REQUIRED = os.environ.get("GREENLLM_REQUIRE", "").split()


# A shell has what it starts in the background ignore these, and the commands under test would inherit that.
for number, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGQUIT, signal.SIG_DFL)):
    if signal.getsignal(number) == signal.SIG_IGN:
        signal.signal(number, handler)


@pytest.fixture(autouse=True, scope="session")
def environment_of_the_run() -> dict[str, str]:
    """What the run began with: made before all other fixtures of the session."""
    return dict(os.environ)


@pytest.fixture(autouse=True, scope="module")
def environment_of_its_own(environment_of_the_run: dict[str, str]) -> None:
    """Begin each file with the run's environment: commands called in-process set what their jobs need.

    At a file's beginning, not at the end of the one before: a fixture of the session may have called one in between.
    """
    for name in os.environ.keys() - environment_of_the_run.keys():
        del os.environ[name]
    os.environ.update(environment_of_the_run)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn a skip for want of something that is required into a failure."""
    report = yield
    if report.skipped and not hasattr(report, "wasxfail"):
        reason = str(report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr)
        if any(word in reason for word in REQUIRED):
            report.outcome = "failed"
            report.longrepr = f"skipped, but $GREENLLM_REQUIRE asks for it: {reason}"
    return report
