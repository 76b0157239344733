# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The gate's error rates and power in a few simulated runs of each rule; `bench/gate_honesty.py` makes a thousand."""

from __future__ import annotations

import pytest

from bench import gate_honesty

RUNS = 4
LINES = [*gate_honesty.lines(), *gate_honesty.coverages()]


@pytest.mark.parametrize("line", LINES, ids=[line.name for line in LINES])
def test_gate_keeps_its_stated_rates(line: gate_honesty.Line) -> None:
    assert line.kept(sum(line.run(seed) for seed in range(RUNS)), RUNS)


def test_line_is_kept_within_three_standard_errors() -> None:
    level = gate_honesty.Line("", bool, most=0.025)
    assert level.kept(passed=39, runs=1000)
    assert not level.kept(passed=40, runs=1000)
    power = gate_honesty.Line("", bool, least=0.8)
    assert power.kept(passed=763, runs=1000)
    assert not power.kept(passed=762, runs=1000)
