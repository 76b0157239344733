# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Each task kind from one declaration: prompts, training rows, parsing, metrics, gate and report follow from it.

A scripted pair of models answers: the candidate knows three rows in four more than the prompt. Confidence is fitted on
validation rows and shown on test rows; a judge stands beside the texts.
"""

from __future__ import annotations

import hashlib
import json

import pytest
from samples import Said

from gemtune.config import Contestant, Task
from gemtune.data.example import Example, write_examples, write_json
from gemtune.evaluation.metrics import metric_names
from gemtune.inference.generate import Effort
from gemtune.inference.prompts import resolve, training_row, tuned_prompt
from gemtune.inference.requests import questions
from gemtune.state import test_set_usage
from gemtune.steps import evaluate, gate, preprocess, report, split

WORDS = ["amber", "birch", "cedar", "delta", "ember", "frost", "grove", "haven"]


def classes(number: int) -> str:
    return ["refund", "delivery", "login"][number % 3]


def several(number: int) -> str:
    return "; ".join(["angry", "refund", "late"][: 1 + number % 3])


def feeling(number: int) -> str:
    return ["positive", "negative"][number % 2]


def fields(number: int) -> str:
    return json.dumps({"name": WORDS[number % 8], "city": [WORDS[(number + 1) % 8], "Rome"][: 1 + number % 2]})


def sentence(number: int) -> str:
    return f"the {WORDS[number % 8]} order {number} was late"


SCHEMA = {"type": "object", "properties": {"name": {"type": "string"}, "city": {"type": "array"}}}
KINDS = {
    "classification": ({"kind": "classification"}, classes),
    "several labels": ({"kind": "classification", "label_separator": "; "}, several),
    "sentiment": ({"kind": "sentiment", "instruction": "Say how it sounds.", "target_name": "Sentiment"}, feeling),
    "extraction": ({"kind": "extraction", "instruction": "Extract.", "output_schema": SCHEMA}, fields),
    "summarization": ({"kind": "summarization", "instruction": "Summarize.", "target_name": "Summary"}, sentence),
    "generation": ({"kind": "generation", "instruction": "Reply.", "target_name": "Reply"}, sentence),
}


def rows(target, split: str, start: int, count: int) -> list[Example]:
    return [
        Example(f"{split}{i}", f"{WORDS[i % 8]} wrote {i} about it", target(i), i, split=split)
        for i in range(start, start + count)
    ]


def knows(model: str, number: int, sample: int) -> bool:
    """Whether a scripted model knows a row; on some rows it wavers between samples."""
    draw = hashlib.sha256(f"{number}".encode()).digest()[0] / 256
    luck = hashlib.sha256(f"{model}{number}/{sample}".encode()).digest()[0] / 256
    return draw < (0.3 if model == "base" else 0.75) or (draw > 0.9 and luck < 0.5)


@pytest.mark.parametrize("kind", list(KINDS))
def test_task_kind_sets_prompts_parsing_metrics_and_report(kind, monkeypatch, tmp_path):
    declared, target = KINDS[kind]
    labelled = kind in ("classification", "several labels", "sentiment")
    splits = {"train": rows(target, "train", 0, 30), "validation": rows(target, "validation", 100, 120)}
    splits["test"] = rows(target, "test", 300, 120)
    for name, part in splits.items():
        write_examples(tmp_path / name, part)
    task = resolve(Task.of(declared), splits["train"])

    async def ask(question):
        content = question.contents[-1]["parts"][0]["text"]
        if question.model == "judge":
            quoted = json.loads(content)
            if "answer" in quoted:
                return Said(json.dumps({"score": 5 if quoted["answer"] == quoted["reference"] else 2}))
            first, second = (quoted[side] == quoted["reference"] for side in ("first", "second"))
            return Said(json.dumps({"better": "tie" if first == second else "first" if first else "second"}))
        number = int(question.key.removeprefix("validation").removeprefix("test"))
        wrong = target(number + 1) if labelled or kind == "extraction" else "no idea about that"
        return Said(target(number) if knows(question.model, number, question.sample) else wrong)

    monkeypatch.setattr(evaluate, "vertex_ask", lambda config, vertex: (ask, Effort(8, 2, (OSError,), (ValueError,))))
    monkeypatch.setattr(evaluate, "_unsealed", lambda *known: {"sealed": test_set_usage.told(
        test_set_usage.noted({}, known[1], len(known[2]), known[3], "today"))})  # fmt: skip
    prompt = tuned_prompt(task)
    who = [Contestant(name="zero_shot", model="base"), Contestant(name="t@1", model="tuned", prompt=prompt)]
    texts = kind in ("summarization", "generation")
    config = {"resamples": 300, "confidence": "none" if texts else "votes", "samples": 5, "wanted_precision": 0.6}
    config |= {"judge": {"model": "judge"}} if texts else {}

    def evaluated(split: str, asked: list[Contestant], sealed: str = ""):
        out = [str(tmp_path / f"{split}.{name}") for name in ("predictions", "report")]
        files = [str(tmp_path / name) for name in (split, "train")]
        evaluate.run(*files, [one.model_dump() for one in asked], declared, config, {}, *out, sealed)
        return json.loads((tmp_path / f"{split}.report").read_text())

    # the training row says what the tuned model is asked: same system, same turn
    row = training_row(task, prompt, splits["train"][0])
    (asked,) = questions(task, who[1], splits["train"][:1], [])
    assert row["contents"][:-1] == asked.contents
    assert row["contents"][-1]["parts"][0]["text"] == target(0)

    validated = evaluated("validation", who)
    finalists = [Contestant.of(entry["contestant"]) for entry in validated["contestants"]]
    finalists[1] = finalists[1].model_copy(update={"role": "candidate"})
    assert bool(finalists[1].calibration) is not texts
    tested = evaluated("test", finalists, "run")
    assert [entry["contestant"]["name"] for entry in tested["contestants"]] == ["zero_shot", "t@1"]
    assert set(tested["contestants"][0]["metrics"]) == set(metric_names(task))
    assert ("confusion" in tested["contestants"][1]) is (labelled and not task.label_separator)
    assert bool(tested["contestants"][1].get("per_class")) is not texts

    files = [str(tmp_path / f"test.{name}") for name in ("predictions", "report")]
    dumped = [one.model_dump() for one in finalists]
    settings = {"resamples": 1000, **({} if texts else {"max_ece": 0.2})}
    passed = gate.run(
        files[0], dumped, declared, settings, str(tmp_path / "plan"), files[1], str(tmp_path / "decision")
    )
    decision = json.loads((tmp_path / "decision").read_text())
    assert passed, decision["reasons"]
    assert decision["metric"] == metric_names(task)[0]
    assert decision["sealed"] == {"candidates": 1, "readings": 1}
    if not texts:
        assert "calibration" in [rule["name"] for rule in decision["rules"]]
        held = tested["contestants"][1]["calibration"]["held"]
        assert held["abstain"]["accuracy_high"] >= 0.6
        assert "map" not in tested["contestants"][1]["calibration"]  # nothing is fitted on test rows

    page = told(tmp_path, splits, declared, validated, finalists)
    assert "t@1" in page
    assert ("<h3>Labels</h3>" in page) is labelled
    assert ("How sure, how right: t@1" in page) is not texts
    assert ("What the judge says" in page) is texts


def told(folder, splits, declared, validated, finalists) -> str:
    """The report's page of these files; the plan and the choice, which were not made here, are as small as they can be.

    The reports of preprocessing and splitting are the steps' own, on the same rows.
    """
    raw = [{"text": e.text, "label": e.target} for part in splits.values() for e in part]
    (folder / "raw.jsonl").write_text("".join(json.dumps(row) + "\n" for row in raw))
    files = [str(folder / name) for name in ("rows", "dropped", "preprocessed")]
    preprocess.run(str(folder / "raw.jsonl"), declared, {"fuzzy_threshold": 1}, *files)
    split.run(files[0], {"near_threshold": 1}, *[str(folder / f"cut.{name}") for name in splits], str(folder / "split"))
    line = {"what": "zero_shot on validation (spent)", "tokens": 1.0, "cost": 0.0, "at_most": 0.0}
    others = {
        "plan": {
            "baselines": [{**validated, "contestants": validated["contestants"][:1]}],
            "worthwhile": True, "reasons": [], "prices": {"input": 1.0, "output": 2.0}, "costs": [line],
            "model_prices": {"judge": {"input": 1.0, "output": 2.0}},
            "cost": 0.0, "sentence": "free", "warnings": [], "detectable_lift": 0.1,
        },
        "picked": {"trials": [], "checkpoints": [], "reason": "the only one", "ledger": []},
    }  # fmt: skip
    for name, value in others.items():
        write_json(folder / name, value)
    names = ("preprocessed", "split", "plan", "picked", "test.report", "test.predictions", "train", "test", "decision")
    outcome = {"contestant": finalists[1].model_dump(), "model": "m", "endpoint": "", "cleaning": {}}
    outputs = [str(folder / name) for name in ("page", "verdict", "summary")]
    report.run(*[str(folder / name) for name in names], outcome, "run", *outputs)
    return (folder / "page").read_text()
