# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Pairs in, a preference job out; genuine clients against the emulator."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rehearsed import Emulator, examples, jobs_of, sections

from gemtune import preference
from gemtune.config import Task
from gemtune.errors import UserError
from gemtune.preference import Pair

# The real service's preference models have retired; a rehearsal may say otherwise.
STILL_THERE = (
    "evaluate.base_model=gemini-2.5-flash",
    "vertex.catalogue={models: {gemini-2.5-flash: {retires: null}}}",
)


def pairs_file(path: Path, count: int = 20) -> str:
    rows = [{"prompt": f"say {n}", "chosen": f"kind {n}", "rejected": f"rude {n}"} for n in range(count)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


words = st.text(min_size=1).filter(str.strip)


@given(words, words, words, st.none() | words)
def test_rows_read_back_as_the_pairs_they_were(
    tmp_path_factory: Any, ask: str, good: str, bad: str, system: str
) -> None:
    if good == bad:
        return
    path = tmp_path_factory.mktemp("pairs") / "pairs.jsonl"
    pair = Pair(({"role": "user", "parts": [{"text": ask}]},), good, bad, system, 1)
    path.write_text(json.dumps(preference.preference_row(pair)) + "\n")
    assert preference.read_pairs(path) == [pair]
    plain = {"prompt": ask, "chosen": good, "rejected": bad, **({"system": system} if system else {})}
    path.write_text(json.dumps(plain) + "\n")
    assert preference.read_pairs(path) == [pair]


def test_better_answer_alone_is_a_supervised_row() -> None:
    pair = Pair(({"role": "user", "parts": [{"text": "q"}]},), "good", "bad", "be kind")
    assert preference.chosen_row(pair) == {
        "systemInstruction": {"parts": [{"text": "be kind"}]},
        "contents": [{"role": "user", "parts": [{"text": "q"}]}, {"role": "model", "parts": [{"text": "good"}]}],
    }


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"prompt": "q", "chosen": "a"}, "not a pair: KeyError 'rejected'"),
        ({"prompt": "q", "chosen": "a", "rejected": "a"}, "two different answers"),
        ({"prompt": "q", "chosen": " ", "rejected": "a"}, "two different answers"),
        ({"contents": [], "completions": [{"score": 1, "completion": {"parts": [{"text": "a"}]}}]}, "of score 1 and 0"),
        ([1], "not a pair"),
        ({"prompt": "p", "chosen": "b", "rejected": "a"}, "prefers what line 1 rejects"),
    ],
)
def test_what_is_no_pair_is_named_by_line(tmp_path: Path, row: Any, said: str) -> None:
    path = tmp_path / "pairs.jsonl"
    path.write_text(json.dumps({"prompt": "p", "chosen": "a", "rejected": "b"}) + "\n" + json.dumps(row) + "\n")
    with pytest.raises(UserError, match=f"pairs.jsonl:2: .*{said}"):
        preference.read_pairs(path)


def test_errors_of_a_model_become_pairs(tmp_path: Path) -> None:
    rows, task = examples(3, 1), Task.of({"labels": ["refund", "delivery", "login"]})
    wrong = next(label for label in task.labels if label != rows[0].target)

    def answered(n: int, parsed: str | None, outcome: str = "ok") -> dict[str, Any]:
        return {"id": rows[n].id, "reference": rows[n].target, "parsed": parsed, "outcome": outcome}

    told = [answered(0, wrong), answered(0, wrong), answered(1, rows[1].target), answered(2, None, "invalid")]
    path = tmp_path / "predictions.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in told))
    found = list(preference.pairs_from_errors(task, rows, path))
    assert [(pair.chosen, pair.rejected) for pair in found] == [(rows[0].target, wrong)]
    assert rows[0].text in found[0].contents[-1]["parts"][0]["text"]


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    running = Emulator(tmp_path_factory.mktemp("emulator"))
    yield running
    running.kill()


def tuned(folder: Path, name: str, *overrides: str, first: bool = True, **trial: Any) -> dict[str, Any]:
    train, validation = pairs_file(folder / "train.jsonl", 40), pairs_file(folder / "validation.jsonl", 8)
    c, out = sections(*overrides), str(folder / "job.json")
    wanted = {"name": "dpo", "epoch_count": 2, **trial}
    return preference.run(train, validation, wanted, c["task"], c["evaluate"], c["tune"], c["vertex"], name, out, first)


def test_recipe_is_two_jobs_the_second_from_the_first(
    emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = emulator.point(monkeypatch)
    result = tuned(tmp_path, "recipe", *STILL_THERE)
    supervised = json.loads((tmp_path / "job.json.sft").read_text())
    record = json.loads((tmp_path / "job.json").read_text())
    assert len(jobs_of(client, "recipe")) == 2
    assert record["order"]["method"] == "preference"
    assert record["order"]["base"] == supervised["job"]["model"]
    assert record["order"]["checkpoint_id"] == supervised["job"]["checkpoints"][-1]["checkpoint_id"]
    assert {"/preference_optimization_train_loss", "/eval_total_loss"} == set(record["curve"])
    assert [c["name"] for c in result["contestants"]] == ["dpo@1", "dpo@2"]
    # a continued job adds a version to the model it came from
    assert record["job"]["model"].rpartition("@")[0] == supervised["job"]["model"].rpartition("@")[0]


def test_pairs_alone_are_one_job(emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    client = emulator.point(monkeypatch)
    tuned(tmp_path, "alone", *STILL_THERE, first=False)
    tuned(tmp_path, "alone", *STILL_THERE, first=False)
    assert len(jobs_of(client, "alone")) == 1


def test_beta_outside_the_advice_is_said_and_zero_refused(
    emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    emulator.point(monkeypatch)
    with pytest.raises(UserError, match="beta"):
        tuned(tmp_path, "beta", *STILL_THERE, first=False, beta=0)
    with caplog.at_level(logging.WARNING, "gemtune"):
        tuned(tmp_path, "beta", *STILL_THERE, first=False, beta=0.9)
    assert "beta 0.9 lies outside the recommended 0.01 to 0.5" in caplog.text


def test_model_that_cannot_learn_preferences_is_refused_with_what_can(
    emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = emulator.point(monkeypatch)
    with pytest.raises(UserError, match=r"cannot be tuned by the method 'preference'.*override vertex\.catalogue"):
        tuned(tmp_path, "none", first=False)
    assert not jobs_of(client, "none")
