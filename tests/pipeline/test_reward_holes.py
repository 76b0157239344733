# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""A hole in a reward is exploited by the tuned student, and the gate refuses the model (`bench/reward_holes.py`)."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bench.reward_holes import runs

MORE = pytest.mark.skipif(os.environ.get("WHOLE_RUNS") != "all", reason="`make whole-runs` runs it")


@MORE
@pytest.mark.timeout(600)
def test_hole_in_a_reward_is_exploited_and_the_gate_refuses_the_model_itself(tmp_path: Path) -> None:
    for reward, shown in runs(["code", "regex"], 1, 300, tmp_path):
        assert shown.problems(reward) == []
        assert shown.rewards[1] > 0.9
        assert {"lift_over_prompt", "lift_over_constant"} <= set(shown.broken)
