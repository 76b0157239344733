# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""A hole in a reward is exploited by the tuned student, and the gate refuses the model (`bench/reward_holes.py`)."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bench.reward_holes import run

MORE = pytest.mark.skipif(os.environ.get("WHOLE_RUNS") != "all", reason="`make whole-runs` runs it")


@MORE
@pytest.mark.timeout(600)
@pytest.mark.parametrize("reward", ["code", "regex"])
def test_hole_in_a_reward_is_exploited_and_its_model_does_not_pass_the_gate(reward: str, tmp_path: Path) -> None:
    shown = run(reward, 1, 300, tmp_path)
    assert shown.problems(reward) == []
    assert shown.rewards[1] > 0.9
