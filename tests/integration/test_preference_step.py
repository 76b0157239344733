# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Preference tuning as steps: jobs on the emulator, checkpoints, selection."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from emulator_process import Emulator, jobs_of
from samples import sections

from gemtune.catalogue import Catalogue, Price
from gemtune.config import Evaluate, Plan, Preference, Task, Trial
from gemtune.cost.counting import by_service
from gemtune.data.example import read_examples, write_examples
from gemtune.data.pairs import read_written
from gemtune.errors import UserError
from gemtune.steps import preference
from gemtune.tuning import pair_plan
from gemtune.tuning.pair_plan import Terms

SHIPPED = Catalogue.load()
# The real service's preference models have retired; a rehearsal may say otherwise.
STILL_THERE = (
    "evaluate.base_model=gemini-2.5-flash",
    "vertex.catalogue={models: {gemini-2.5-flash: {retires: null}}}",
    "task.kind=generation",
    "task.labels=[]",
)


# -- the plan --------------------------------------------------------------------------------------------------------


def terms(price: Price | None = None, **values: Any) -> Terms:
    """Settings of sections `plan` and `preference`, and a model called m that costs `price`."""
    own = {name: values.pop(name) for name in list(values) if name in Preference.model_fields}
    some = SHIPPED.models["gemini-2.5-flash"]
    models = {"m": some.model_copy(update={"price": price or some.price})}
    catalogue = SHIPPED.model_copy(update={"models": models})
    return Terms(Evaluate(base_model="m"), Plan.of(values), Preference.of(own), catalogue)


# -- against the emulator --------------------------------------------------------------------------------------------


def gathered(folder: Path, c: dict[str, Any], rows: list[dict[str, Any]]) -> dict[str, str]:
    """Files of pairs, and of the first two thirds of the prompts for training, the rest for validation."""

    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    names = ("examples", "pairs", "dropped", "report", "train", "validation")
    files = {name: str(folder / name) for name in names}
    preference.gather(
        str(folder / "rows.jsonl"), *(files[name] for name in names[:4]),
        **{name: c[name] for name in ("task", "preprocess", "preference", "evaluate", "plan", "vertex")},
    )  # fmt: skip
    found = list(read_examples(files["examples"]))
    write_examples(files["train"], found[: 2 * len(found) // 3])
    write_examples(files["validation"], found[2 * len(found) // 3 :])
    return files


def some_pairs(count: int = 45) -> list[dict[str, Any]]:
    words = ["amber", "birch", "cedar", "delta", "ember", "frost", "grove", "haven", "jolly", "karma", "linen", "maple"]
    return [
        {
            "prompt": f"{words[n % 12]} {n} {words[n * 7 % 11]} {words[n * 5 % 12]}?",
            "chosen": f"kindly {words[n % 12]} {n}",
            "rejected": f"rude {n}",
        }
        for n in range(count)
    ]


def tuned(folder: Path, name: str, *overrides: str, first: bool = True, **trial: Any) -> dict[str, Any]:
    c = sections(*STILL_THERE, *overrides)
    files = gathered(folder, c, some_pairs())
    common = files["train"], files["validation"], files["pairs"]
    further = {section: c[section] for section in ("task", "evaluate", "tune", "vertex")}
    wanted = Trial(name="dpo", epoch_count=2, method="preference").model_copy(update=trial).model_dump(mode="json")
    begun = Trial(name="supervised", epoch_count=2).model_dump(mode="json") if first else {}
    preference.supervise(*common, begun, name, str(folder / "sft"), **further)
    preference.prefer(*common, wanted, str(folder / "sft"), name, str(folder / "job"), **further)
    return {what: json.loads((folder / what).read_text()) for what in ("sft", "job")}


def test_tune_preference_is_two_jobs_in_sequence(
    emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = emulator.point(monkeypatch)
    told = tuned(tmp_path, "recipe")
    supervised, record = told["sft"], told["job"]
    assert len(jobs_of(client, "recipe")) == 2
    assert record["order"]["method"] == "preference"
    assert record["order"]["base"] == supervised["start"]["tuned_model"]
    assert record["order"]["checkpoint_id"] == supervised["start"]["checkpoint_id"]
    assert {"/preference_optimization_train_loss", "/eval_total_loss"} == set(record["curve"])
    assert [c["name"] for c in record["contestants"]] == ["dpo@1", "dpo@2"]
    # a continued job adds a version to the model it came from
    assert record["job"]["model"].rpartition("@")[0] == supervised["job"]["model"].rpartition("@")[0]
    line = preference.line_up([str(tmp_path / "job")], supervised["start"], {"name": "zero_shot"})
    assert [one["name"] for one in line] == ["zero_shot", supervised["start"]["name"], "dpo@1", "dpo@2"]
    forecast(client, tmp_path, told)


def forecast(client: Any, folder: Path, told: dict[str, Any]) -> None:
    """The plan's count of all rows is what the service bills for both kinds of jobs."""
    c = sections(*STILL_THERE)

    splits = [list(read_examples(folder / name)) for name in ("train", "validation")] * 2
    bound, count = terms(token_sample=1000), by_service(client, c["evaluate"]["base_model"])
    found = pair_plan.sizes(count, Task.of(c["task"]), splits, read_written(folder / "pairs"), bound)
    assert found.supervised_tokens.expected == told["sft"]["job"]["billable_tokens"]
    assert found.preference_tokens.expected == told["job"]["job"]["billable_tokens"]


def test_tune_preference_with_pairs_only_is_one_job(
    emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = emulator.point(monkeypatch)
    told = tuned(tmp_path, "alone", first=False)
    tuned(tmp_path, "alone", first=False)
    assert told["sft"]["start"] == {}
    assert len(jobs_of(client, "alone")) == 1


def test_pair_plan_refuses_a_model_and_lists_alternatives(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    client = emulator.point(monkeypatch)
    _, trials = pair_plan.jobs(terms())
    with pytest.raises(UserError, match=r"cannot be tuned by the method 'preference'.*override vertex\.catalogue"):
        pair_plan.require(client, "gemini-3.1-flash-lite", trials)


def labelled_rows(count: int = 24) -> list[dict[str, Any]]:
    from samples import examples

    return [{"text": one.text, "label": one.target} for one in examples(count, 4)]


def test_sample_pairs_uses_answers_of_the_model(
    emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model asked about labels it does not know answers by words of the prompt: wrong, so the reference is chosen."""
    emulator.point(monkeypatch)
    c = sections(*STILL_THERE[:2], "preference.pairs_from=answers", "preference.chosen_from=reference")
    files = gathered(tmp_path, c, labelled_rows())
    report = json.loads((tmp_path / "report").read_text())
    pairs = read_written(files["pairs"])
    assert len(pairs) == report["examples"] > 15
    by_id = {example.id: example.target for example in read_examples(files["examples"])}
    assert all(pair.chosen == by_id[pair.prompt] != pair.rejected for pair in pairs)
    assert report["spent"][0]["tokens"] > 0
    dropped = [json.loads(line) for line in (tmp_path / "dropped").read_text().splitlines()]
    assert len(pairs) + len(dropped) == 24


def test_sample_pairs_over_the_limit_sends_no_request(
    emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    emulator.point(monkeypatch)
    c = sections(*STILL_THERE[:2], "preference.pairs_from=answers", "plan.max_cost=0.000001")
    with pytest.raises(UserError, match=r"sampling 96 answers may cost .* more than plan\.max_cost"):
        gathered(tmp_path, c, labelled_rows())
