# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""What the last whole `make test` took by the clock, checks included, and its slowest tests by processor time.

    make test && python -m bench.suite

`make test` writes `build/tests.xml`, unless ARGS select tests; without that file nothing is recorded. The exit code is
1 when a test failed.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from xml.etree import ElementTree

from bench.figures import Figure, record

BUILD, GOAL_MINUTES, SLOWEST = Path(__file__).resolve().parent.parent / "build", 5, 10


def cpu_seconds(results: Path) -> list[tuple[str, float]]:
    """The tests with their CPU seconds, the slowest first."""
    tests = [
        (f"{case.get('classname')}::{case.get('name')}", float(own.get("value", 0)))
        for case in ElementTree.parse(results).iter("testcase")
        for own in case.iter("property")
        if own.get("name") == "cpu_seconds"
    ]
    return sorted(tests, key=lambda test: -test[1])


def main() -> None:
    """Record the minutes; print the slowest tests."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args()
    begun, results = BUILD / "tests.begun", BUILD / "tests.xml"
    if not results.exists() or not begun.exists() or results.stat().st_mtime < begun.stat().st_mtime:
        print("no results of a whole `make test`: run it first")
        return
    minutes = (results.stat().st_mtime - begun.stat().st_mtime) / 60
    tests = cpu_seconds(results)
    total = sum(seconds for _, seconds in tests)
    print(f"{len(tests)} tests in {minutes:.1f} minutes, {total:.0f} CPU s; the slowest:")
    for name, seconds in tests[:SLOWEST]:
        print(f"{seconds:7.2f}  {name}")
    shares = [(name, seconds / total) for name, seconds in tests[:SLOWEST]]
    figure = Figure(name="make test", value=minutes, unit="minutes", goal=GOAL_MINUTES)
    record(figure if figure.met else figure.model_copy(update={"reason": shares}))
    suites = ElementTree.parse(results).iter("testsuite")
    if any(int(suite.get(kind, 0)) for suite in suites for kind in ("failures", "errors")):
        raise SystemExit("tests failed")


if __name__ == "__main__":
    main()
