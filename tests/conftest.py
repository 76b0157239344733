"""Options and guards of the whole suite: tests stay on loopback; goldens are rewritten on request."""

import functools
import gc
import os
import signal
import socket
from pathlib import Path

import pytest
import typer.testing
from hypothesis import HealthCheck, settings

# Before torch is loaded: threads that spin while they wait make small models many times slower on a busy machine.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("NO_GCE_CHECK", "true")  # google-auth looks for no metadata server
# Each client of google-genai reads all authorities three times, 0.1 s; tests need none: here is one without a key.
os.environ.setdefault("SSL_CERT_FILE", str(Path(__file__).with_name("authority.pem")))

# A shell starts background jobs with SIGINT ignored, and children inherit that: tests of Ctrl-C would wait for ever.
signal.signal(signal.SIGINT, signal.default_int_handler)

# One commit, one result: the suite draws the same examples every time. `make fuzz` draws new ones, many more.
settings.register_profile("suite", max_examples=20, derandomize=True, deadline=None, database=None)
settings.register_profile(
    "fuzz", max_examples=300, deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("suite")

# A test that calls the command would build all commands again, 0.05 s.
typer.testing._get_command = functools.cache(typer.testing._get_command)


def pytest_addoption(parser):
    parser.addoption("--live", action="store_true", help="also run the tests that need the real cloud")
    parser.addoption("--golden", action="store_true", help="rewrite the expected files")


# What the test modules load stays: the garbage collector would look through it again and again.
gc.disable()
gc.set_threshold(100_000)


def pytest_collection_finish():
    gc.freeze()
    gc.enable()


# Whole runs take the longest: what is left at the end is short.
ORDER = ("pipeline", "contract", "integration")


def pytest_collection_modifyitems(config, items):
    items.sort(key=lambda item: ORDER.index(item.path.parent.name) if item.path.parent.name in ORDER else len(ORDER))
    if not config.getoption("--live"):
        for item in items:
            if "live" in item.keywords:
                item.add_marker(pytest.mark.skip(reason="needs --live and credentials"))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """The tests of a file stay together, so that its emulator starts once; groups (`xdist_group`) are files' parts."""
    if config.getvalue("dist") != "loadgroup":
        return None
    from xdist.scheduler import LoadGroupScheduling

    class FileScheduling(LoadGroupScheduling):
        def _split_scope(self, nodeid):
            group = super()._split_scope(nodeid)
            return nodeid.partition("::")[0] if group == nodeid else group

    config.option.loadscopereorder = False  # else the files with the fewest tests, whole runs, are last
    return FileScheduling(config, log)


SLOWEST = 10
CPU_SECONDS = "cpu_seconds"
_STARTED = pytest.StashKey[float]()


def _cpu_seconds():
    """CPU seconds of this process and of its children that have ended: the clock counts the neighbours' work too."""
    spent = os.times()
    return spent.user + spent.system + spent.children_user + spent.children_system


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item):
    item.stash[_STARTED] = _cpu_seconds()
    return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if report.when == "teardown":  # a shared process counts for the test during which it ends
        report.user_properties.append((CPU_SECONDS, _cpu_seconds() - item.stash[_STARTED]))
    return report


def pytest_terminal_summary(terminalreporter):
    """The slowest tests by CPU seconds, whatever else the machine does."""
    spent = sorted(
        ((dict(report.user_properties)[CPU_SECONDS], report.nodeid) for report in _ended(terminalreporter.stats)),
        reverse=True,
    )
    terminalreporter.section(f"slowest {SLOWEST} of {sum(seconds for seconds, _ in spent):.0f} CPU seconds")
    for seconds, name in spent[:SLOWEST]:
        terminalreporter.write_line(f"{seconds:7.2f}  {name}")


def _ended(stats):
    return [report for reports in stats.values() for report in reports if getattr(report, "when", "") == "teardown"]


@pytest.fixture(autouse=True, scope="session")
def _loopback_only(request):
    """A test that reaches out of this machine is a bug; it fails at once instead of hanging."""
    if request.config.getoption("--live"):
        yield
        return
    connect = socket.socket.connect

    def guarded(self, address):
        if self.family in (socket.AF_INET, socket.AF_INET6) and address[0] not in ("127.0.0.1", "::1", "localhost"):
            raise AssertionError(f"a test tried to reach {address!r}; only loopback is allowed")
        return connect(self, address)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", guarded)
        yield


@pytest.fixture
def golden(request):
    return request.config.getoption("--golden")
