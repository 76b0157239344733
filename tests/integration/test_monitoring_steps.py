# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The steps of monitoring on planted logs, with the champion's record in the emulator's bucket."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from samples import FILLERS, PHRASES, examples, sections, splits
from typer.testing import CliRunner

from gemtune.artifacts.evaluation import Confusion
from gemtune.artifacts.monitoring import (
    DriftReport,
    LabelledRows,
    MonitoringDecision,
    MonitoringRecord,
    QualityReport,
)
from gemtune.artifacts.records import ChampionEntry, ChampionRecord, DecisionFacts, Record
from gemtune.cli.commands import app
from gemtune.config import Evaluate, ModelVariant, Task
from gemtune.contents import ModelOutput, text_of
from gemtune.data import csv_safe
from gemtune.data.example import read_examples
from gemtune.evaluation import evaluator
from gemtune.inference import prompts
from gemtune.inference.generate import GenerateRequest
from gemtune.inference.vertex_generation import generation_settings
from gemtune.monitoring import labelling, records
from gemtune.monitoring.reference import training_reference
from gemtune.state import champion
from gemtune.steps import (
    analyze_drift,
    decide_retraining,
    estimate_quality,
    finish_run,
    load_logs,
    start_retraining,
)
from gemtune.vertex import Client, notification, storage

START = datetime(2026, 1, 5, tzinfo=UTC)
WEEK = timedelta(days=7)
LABELS = sorted(PHRASES)
TASK = Task(labels=LABELS)
VARIANT = ModelVariant.of({
    "name": "trial-1@2", "model": "projects/p/locations/us-central1/endpoints/77", "role": "candidate",
    "tuned_model": "m@1", "base_model": "gemini-3.1-flash-lite", "prompt": prompts.tuned_prompt(TASK).model_dump(),
})  # fmt: skip
RENDERED = prompts.render(TASK, VARIANT.prompt, examples(1, 1)[0])
NEW_WORDS = ["bonus points", "loyalty tier", "voucher wallet"]


def promote(client: Client, folder: Path, name: str) -> None:
    train, _, test = splits(folder, train=200, test=40)
    confusion = Confusion(labels=LABELS, columns=LABELS, matrix=[[18, 1, 1], [1, 18, 1], [1, 1, 18]])
    rows = list(read_examples(train))
    uri = storage.upload(client, train, "train")
    entry = ChampionEntry(
        variant=VARIANT,
        task=TASK,
        generation=generation_settings(Evaluate()),
        decision=DecisionFacts(verdict="deploy", metric="accuracy", rows=40, score=0.95),
        cleaning={"collapse_whitespace": True},
        test=champion.keep_test_set(client, test),
        reference=training_reference(TASK, VARIANT, rows, confusion, "", uri),
        since=START,
        labels_since=START,
    )
    champion.update(client, name, lambda _: ChampionRecord(generation=1, alias="champion", current=entry))


def logged(rng: random.Random, moment: datetime, new: float = 0.0, skewed: float = 0.0) -> dict[str, Any]:
    """A row as request-response logging writes it; `new` and `skewed` are shares."""
    label = rng.choice(LABELS)
    said = rng.choice(NEW_WORDS if rng.random() < new else PHRASES[label])
    text = f"{' '.join(rng.choices(FILLERS, k=5))} {said} {' '.join(rng.choices(FILLERS, k=4))}"
    turn = text_of(RENDERED.contents[-1]["parts"]).replace(examples(1, 1)[0].text, text)
    system = "Answer in verse." if rng.random() < skewed else RENDERED.system
    answer = {"content": {"role": "model", "parts": [{"text": label}]}, "finishReason": "STOP"}
    return {
        "logging_time": moment.isoformat(),
        "request_id": rng.getrandbits(60),
        "endpoint": VARIANT.model,
        "full_request": {
            "contents": [{"role": "user", "parts": [{"text": turn}]}],
            "systemInstruction": {"parts": [{"text": system}]},
            "generationConfig": {"temperature": 0.0},
        },
        "full_response": {
            "candidates": [{**answer, "avgLogprobs": -rng.random() / 5}],
            "usageMetadata": {"candidatesTokenCount": 1},
        },
    }


def kept_text(client: Client, kind: type[Record], name: str) -> str:
    """A record as it is stored."""
    return json.dumps(storage.read_record(client, kind.key(name))[0])


class Service:
    """A name whose production logs grow by weeks, and what monitoring says about them."""

    def __init__(self, client: Client, folder: Path, name: str) -> None:
        self.client, self.folder, self.name, self.weeks = client, folder, name, 0
        self.rng, self.logs = random.Random(5), folder / "logs.jsonl"
        promote(client, folder, name)
        self.logs.write_text(json.dumps(logged(self.rng, START - WEEK)) + "\n")

    def serve(self, rows: int = 60, new: float = 0.0, skewed: float = 0.0) -> None:
        start = START + self.weeks * WEEK
        with self.logs.open("a") as file:
            for i in range(rows):
                file.write(json.dumps(logged(self.rng, start + i * WEEK / (rows + 1), new, skewed)) + "\n")
        self.weeks += 1

    def path(self, name: str) -> str:
        return str(self.folder / name)

    def monitor(self, *overrides: str, days_late: int = 2) -> MonitoringDecision:
        settings = sections(f"monitor.logs={self.logs}", "monitor.baseline_windows=3", *overrides)
        now = (START + self.weeks * WEEK + timedelta(days=days_late)).isoformat()
        load_logs.run(self.path("rows"), self.path("counts"), self.name, now, **settings)
        analyze_drift.run(self.path("rows"), self.path("counts"), self.path("drift"), self.name, **settings)
        estimate_quality.run(
            self.path("rows"), self.path("drift"), self.path("quality"), self.path("sheet"), self.name, **settings
        )
        decide_retraining.run(
            self.path("drift"), self.path("quality"), self.path("decision"), self.name, now, **settings
        )
        return MonitoringDecision.read(self.path("decision"))

    @property
    def drift(self) -> DriftReport:
        return DriftReport.read(self.path("drift"))

    def label(self, answer: Any) -> None:
        """Fill in the annotation file: `answer` maps a row to its label."""
        rows = [dict(cells) for _, cells in csv_safe.read(self.path("sheet"), labelling.COLUMNS)]
        fill(self.path("filled"), [{**row, "label": answer(row)} for row in rows])
        filled = labelling.read(self.path("filled"), TASK, ["loyalty"])
        texts = [row.text for row in filled]
        records.add_labels(self.client, self.name, labelling.labelled(filled, TASK), texts)


def test_monitoring_settles_is_fine_and_finds_a_new_topic(client: Client, tmp_path: Path) -> None:
    service = Service(client, tmp_path, "planted")
    service.serve()
    assert service.monitor().verdict == "settling"
    for _ in range(3):
        service.serve()
    decision = service.monitor()
    assert decision.verdict == "fine"
    assert "whether the answers are right is not measured" in decision.summary[-1]
    assert "of 100 first windows" in service.drift.detectable
    history = service.drift.history
    assert service.monitor().verdict == "fine"  # a rerun examines the same window
    assert [window.similarity for window in service.drift.history.windows] == [
        window.similarity for window in history.windows
    ]
    service.serve(rows=120, new=0.6)
    decision = service.monitor()
    assert decision.verdict == "watch"
    assert "label the rows" in " ".join(decision.summary)
    assert any({"bonus", "points", "loyalty", "tier", "voucher", "wallet"} & {*t.ngrams} for t in service.drift.topics)
    service.label(lambda row: "loyalty" if any(word in row["text"] for word in NEW_WORDS) else row["answer"])
    decision = service.monitor()
    assert decision.verdict == "retrain"
    assert {reason.kind for reason in decision.reasons} >= {"new_topics"}
    assert service.monitor().job_id == decision.job_id
    for job, mode, runs in (("1", "notify", False), ("2", "submit", True), ("3", "submit", False)):  # once
        settings = sections(f"monitor.on_retrain={mode}")
        assert start_retraining.run(service.path("decision"), job, service.name, True, **settings) is runs
    assert service.monitor().verdict == "retrain"  # the run has not tuned yet
    finish_run.run(service.name, "", "SUCCEEDED", "", "2", notify={}, vertex={})
    assert service.monitor().verdict == "watch"
    report = QualityReport.read(service.path("quality"))
    assert report.checks[0].name == "quality"
    assert {row.id for row in report.labelled if row.pi is None}
    train = {row.text for row in read_examples(tmp_path / "train.jsonl")}
    sheet = [cells for _, cells in csv_safe.read(service.path("sheet"), labelling.COLUMNS)]
    assert not [row for row in sheet if not row["pi"] and row["text"] in train]


def test_monitoring_without_labels_is_not_fine_with_a_new_class_and_shows_the_estimate_as_blind(
    client: Client, tmp_path: Path
) -> None:
    """A fifth of the rows is of a class that the model lacks, and its confidence does not fall."""
    service = Service(client, tmp_path, "blind")
    for _ in range(3):
        service.serve(rows=300)
    service.serve(rows=300, new=0.2)
    assert service.monitor().verdict == "watch"
    (check,) = QualityReport.read(service.path("quality")).checks
    assert (check.name, check.alarm) == ("unlabelled_quality", False)
    assert "blind to new classes and proves no quality" in check.summary
    assert not [own for own in service.drift.history.windows[-1].checks if own.name == "confidence" and own.alarm]


def test_monitoring_reports_skew_while_it_settles_and_late_windows_at_once(client: Client, tmp_path: Path) -> None:
    service = Service(client, tmp_path, "skewed")
    service.serve(rows=200, skewed=0.1)
    decision = service.monitor()
    assert decision.verdict == "watch"
    assert "system instruction" in decision.summary[0]
    for _ in range(2):
        service.serve()
    assert len(service.drift.history.windows) == 1
    service.monitor()
    assert [window.rows for window in service.drift.history.windows] == [200, 60, 60]


def test_monitoring_cannot_tell_without_rows_and_with_unreadable_ones(client: Client, tmp_path: Path) -> None:
    service = Service(client, tmp_path, "silent")
    assert service.monitor().verdict == "settling"  # no window is complete
    service.weeks += 1
    decision = service.monitor()
    assert decision.verdict == "cannot_tell"
    assert "is the endpoint logging?" in decision.summary[0]
    service.serve()
    with service.logs.open("a") as file:
        file.writelines(
            json.dumps({"logging_time": (START + 1.5 * WEEK).isoformat(), "request_id": i}) + "\n" for i in range(9)
        )
    decision = service.monitor()
    assert decision.verdict == "cannot_tell"
    assert "cannot be read" in decision.summary[0]


def test_monitoring_cannot_tell_from_logs_without_answers(client: Client, tmp_path: Path) -> None:
    """Texts alone are no unusable answers; a response without a candidate is one."""
    service = Service(client, tmp_path, "unanswered")
    for _ in range(2):
        service.serve()
    rows = [json.loads(line) for line in service.logs.read_text().splitlines()[1:]]
    plain = [{"time": row["logging_time"], "id": i, "text": f"where is parcel {i}"} for i, row in enumerate(rows)]
    service.logs.write_text("".join(f"{json.dumps(row)}\n" for row in plain))
    decision, checks = service.monitor(), service.drift.history.windows[-1].checks
    assert (decision.verdict, [check.name for check in checks if check.alarm]) == ("cannot_tell", [])
    assert decision.summary[0].startswith("60 of 60 rows of the newest window have no answer")
    service.logs.write_text("".join(f"{json.dumps({**row, 'full_response': {'candidates': []}})}\n" for row in rows))
    service.monitor()
    checks = service.drift.history.windows[-1].checks
    assert [check.name for check in checks if check.alarm] == ["unusable_answers"]


def test_monitoring_reads_the_newest_window_apart_from_those_that_it_makes_up_for(
    client: Client, tmp_path: Path
) -> None:
    service = Service(client, tmp_path, "diluted")
    for rows in (300, 300, 60):
        service.serve(rows=rows)
    with service.logs.open("a") as file:
        for i, week in enumerate([0.5] * 4 + [2.5] * 6):  # 1.5 % of all rows, 9.1 % of the newest window's
            file.write(json.dumps({"logging_time": (START + week * WEEK).isoformat(), "request_id": i}) + "\n")
    decision = service.monitor()
    assert (decision.verdict, decision.summary[0][:4]) == ("cannot_tell", "9.1%")
    service.logs.write_text("")
    service.weeks = 0
    for rows in (60, 60, 60, 60, 60):
        service.serve(rows=rows)
    with service.logs.open("a") as file:
        file.writelines(
            json.dumps({"logging_time": (START + 3.5 * WEEK).isoformat(), "request_id": i}) + "\n" for i in range(6)
        )
    assert service.monitor().verdict == "fine"
    assert [window.verdict for window in service.drift.history.windows[3:]] == ["cannot_tell", "fine"]


def test_monitoring_of_an_earlier_time_loses_no_window(client: Client, tmp_path: Path) -> None:
    service = Service(client, tmp_path, "delayed")
    for _ in range(3):
        service.serve()
    service.monitor()
    kept = service.drift.history.windows
    service.monitor(days_late=-30)
    assert [window.end for window in service.drift.history.windows] == [window.end for window in kept]


def test_decide_retraining_keeps_the_windows_of_all_weeks(client: Client, tmp_path: Path) -> None:
    service = Service(client, tmp_path, "long")
    service.serve()
    service.monitor()
    first = service.drift.history.windows[0]
    later = [first.model_copy(update={"start": START + i * WEEK, "end": START + (i + 1) * WEEK}) for i in range(60)]
    report = service.drift
    report.model_copy(update={"history": report.history.model_copy(update={"windows": later})}).write(
        service.path("drift")
    )
    decide_retraining.run(
        service.path("drift"), service.path("quality"), service.path("decision"), "long", START.isoformat(),
        **sections("monitor.baseline_windows=3"),
    )  # fmt: skip
    kept = records.read_history(client, "long", records.read(client, "long"))
    assert len(kept.windows) == 60
    assert len(kept_text(client, MonitoringRecord, "long")) < 90_000


def test_monitoring_counts_doubled_rows_once_and_late_labels_in_their_window(client: Client, tmp_path: Path) -> None:
    service = Service(client, tmp_path, "late")
    service.serve(rows=80)
    service.monitor()
    first = service.drift.history.windows[0]
    service.label(lambda row: row["answer"])
    service.logs.write_text(service.logs.read_text() * 2)
    for _ in range(2):
        service.serve()
        service.monitor()
    estimates = QualityReport.read(service.path("quality")).estimates
    assert [estimate.end for estimate in estimates] == [START + WEEK]
    assert service.drift.history.windows[0].similarity == first.similarity
    assert [window.rows for window in service.drift.history.windows] == [80, 60, 60]


def fill(path: str, rows: list[dict[str, Any]]) -> None:
    csv_safe.write(path, labelling.COLUMNS, [[str(cell or "") for cell in row.values()] for row in rows])


CANARY = "qzxcanary"


def test_monitoring_keeps_texts_answers_and_labels_out_of_logs_webhook_and_history(
    client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Planted words of texts, answers, labels and a webhook, over windows that are fine, new, skewed and unreadable."""
    posted: list[str] = []
    monkeypatch.setattr(notification, "send", lambda _client, _notify, text: posted.append(text))
    monkeypatch.setattr(f"{__name__}.NEW_WORDS", [f"{CANARY}text", f"{CANARY}text too"])
    service = Service(client, tmp_path, "secret")
    settings = ("notify.runs=all", f"notify.webhook=https://chat/{CANARY}hook")
    with caplog.at_level("DEBUG", "gemtune"):
        for new, skewed in ((0.3, 0.0),) * 4 + ((1.0, 0.3),):
            service.serve(rows=60, new=new, skewed=skewed)
            own = service.logs.read_text().replace(
                '{"parts": [{"text": "refund"}]', f'{{"parts": [{{"text": "{CANARY}"}}]'
            )
            service.logs.write_text(own)
            service.monitor(*settings)
            service.label(lambda row: row["answer"] if row["answer"] in LABELS else LABELS[0])
            path = service.path("decision")
            start_retraining.run(path, "gs://runs/1", service.name, True, **sections(*settings))
        with service.logs.open("a") as file:
            moment = (START + service.weeks * WEEK).isoformat()
            file.writelines(f'{{"logging_time": "{moment}", "full_request": "{CANARY}{{"}}\n' for _ in range(60))
        service.weeks += 1
        assert any("cannot be read" in line for line in service.monitor(*settings).summary)
    assert CANARY in service.logs.read_text()
    assert any("similarity" in text for text in posted)
    documents = [Path(service.path("decision")).read_text(), Path(service.path("quality")).read_text()]
    kept = [kept_text(client, kind, "secret") for kind in (MonitoringRecord, LabelledRows)]
    assert CANARY not in json.dumps([posted, caplog.text, documents, kept])


def test_outcomes_count_in_the_window_that_served_their_row(client: Client, tmp_path: Path) -> None:
    """Late, of some rows, with ids of nobody; right in the first window and wrong in the second."""
    service = Service(client, tmp_path, "outcomes")
    for _ in range(3):
        service.serve(rows=60)
    service.monitor("monitor.labels_a_window=0")
    assert QualityReport.read(service.path("quality")).estimates == []
    logs = list(map(json.loads, service.logs.read_text().splitlines()))[1:]
    answers = [row["full_response"]["candidates"][0]["content"]["parts"][0]["text"] for row in logs]
    labels = [answer if i < 60 else LABELS[LABELS.index(answer) - 1] for i, answer in enumerate(answers[:120])]
    outcomes = [{"id": row["request_id"], "queue": label} for row, label in zip(logs, labels, strict=False)][::2]
    path, data, config = tmp_path / "outcomes.jsonl", tmp_path / "rows.jsonl", tmp_path / "my.yaml"
    data.write_text('{"text": "my parcel", "label": "delivery"}\n')
    config.write_text(f"name: outcomes\ndata: {data}\nmonitor: {{logs: {service.logs}}}\n")

    def join(rows: list[dict[str, Any]]) -> Any:
        path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
        return CliRunner().invoke(app, ["annotations", "join", str(path), str(config), "--column", "queue"])

    assert "'weather' is no classification answer" in join([{"id": 1, "queue": "weather"}]).output
    assert "none of 1 labels is of a logged request" in join([{"id": 1, "queue": "refund"}]).output
    assert data.read_text().count("\n") == 1
    done = join([*outcomes, {"id": 1, "queue": "refund"}])
    assert "60 labels kept (60 in all), 60 rows appended" in done.output
    lines = [json.loads(line) for line in data.read_text().splitlines()]
    assert {(line["source"], line["pi"], line.get("split")) for line in lines[1:]} == {("production", 0.5, None)}
    assert [line["label"] for line in lines[1:]] == labels[::2]
    service.monitor("monitor.labels_a_window=0")
    estimates = QualityReport.read(service.path("quality")).estimates
    assert [(item.end, item.labels, round(item.score.value)) for item in estimates] == [
        (START + WEEK, 30, 1), (START + 2 * WEEK, 30, 0),
    ]  # fmt: skip
    assert join(outcomes).exit_code == 1  # all are known


def test_outcomes_of_logs_whose_clock_is_ahead_are_joined(client: Client, tmp_path: Path) -> None:
    service = Service(client, tmp_path, "ahead")
    row = logged(random.Random(1), datetime(2199, 1, 1, tzinfo=UTC))
    outcomes, data, config = tmp_path / "outcomes.jsonl", tmp_path / "rows.jsonl", tmp_path / "my.yaml"
    service.logs.write_text(f"{json.dumps(row)}\n")
    outcomes.write_text(f'{{"id": {row["request_id"]}, "label": "refund"}}\n')
    data.write_text('{"text": "my parcel", "label": "delivery"}\n')
    config.write_text(f"name: ahead\ndata: {data}\nmonitor: {{logs: {service.logs}}}\n")
    done = CliRunner().invoke(app, ["annotations", "join", str(outcomes), str(config)])
    assert "1 labels kept (1 in all), 1 rows appended" in done.output


def test_rows_to_learn_from_are_no_near_duplicates_of_labelled_ones(client: Client, tmp_path: Path) -> None:
    service = Service(client, tmp_path, "repeated")

    def learned() -> list[str]:
        sheet = csv_safe.read(service.path("sheet"), labelling.COLUMNS)
        return [str(cells["text"]) for _, cells in sheet if not cells["pi"]]

    service.serve(rows=60, new=1.0)
    service.monitor("monitor.labels_a_window=20")
    first = learned()
    assert first
    service.label(lambda row: "loyalty")
    rng, start = random.Random(7), START + WEEK
    with service.logs.open("a") as file:  # what was labelled comes again, with another ending
        for i, text in enumerate(f"{text}{end}" for text in first for end in ("!", "?", " .", "!!")):
            row = logged(rng, start + i * timedelta(hours=1))
            parts = row["full_request"]["contents"][0]["parts"][0]
            parts["text"] = text_of(RENDERED.contents[-1]["parts"]).replace(examples(1, 1)[0].text, text)
            file.write(json.dumps(row) + "\n")
    service.weeks = 2
    service.monitor("monitor.labels_a_window=20")
    assert service.drift.history.windows[-1].rows == 4 * len(first)
    assert learned() == []


def test_labels_that_arrive_for_the_previous_champion_are_new_rows(
    client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No champion was trained on them. What was labelled before the second was decided on, it was."""
    minutes = itertools.count()
    monkeypatch.setattr(champion, "now", lambda: START + 9 * WEEK + next(minutes) * timedelta(minutes=1))
    service = Service(client, tmp_path, "successor")
    service.serve(rows=160)
    service.monitor("monitor.labels_a_window=100")
    sheet, entry = Path(service.path("sheet")).read_text(), champion.read(client, "successor").current
    assert entry is not None

    def promote_another(generation: int) -> None:
        variant = VARIANT.model_copy(update={"model": f"{VARIANT.model}{generation}"})
        own = {"variant": variant, "labels_since": champion.now()}
        champion.promote(client, "successor", generation, "champion", entry.model_copy(update=own))

    def label() -> None:
        Path(service.path("sheet")).write_text(sheet)
        service.label(lambda row: row["answer"])

    promote_another(1)
    label()
    data, config, outcomes = tmp_path / "rows.jsonl", tmp_path / "my.yaml", tmp_path / "outcomes.jsonl"
    data.write_text('{"text": "my parcel", "label": "delivery"}\n')
    config.write_text(f"name: successor\ndata: {data}\nmonitor: {{logs: {service.logs}}}\n")
    ids = [json.loads(line)["request_id"] for line in service.logs.read_text().splitlines()[1:]]
    outcomes.write_text("".join(f'{{"id": {row}, "label": "refund"}}\n' for row in ids))
    joined = CliRunner().invoke(app, ["annotations", "join", str(outcomes), str(config)])
    assert "(160 in all)" in joined.output
    decided = service.monitor()
    assert [(reason.kind, reason.value) for reason in decided.reasons] == [("new_rows", 160)]
    promote_another(2)
    label()  # again: no news
    assert service.monitor().reasons == []


@pytest.mark.parametrize("agrees", [True, False])
def test_estimate_quality_takes_a_validated_judge_as_the_proxy(
    client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, agrees: bool
) -> None:
    """A judge that agrees with people rates a part of the texts; labels are drawn from those, and correct it."""
    ratings, sent = tmp_path / "ratings.csv", list[GenerateRequest]()
    ratings.write_text(
        "id,text,reference,answer,rating\n" + "".join(f"{i},t,a,{i % 5},{i % 5 + 1}\n" for i in range(60))
    )

    @contextmanager
    def sending(*_: Any, **__: Any) -> Iterator[Any]:
        async def send(requests: Sequence[GenerateRequest]) -> list[ModelOutput]:
            sent.extend(requests)
            answers = [json.loads(text_of(request.contents[-1]["parts"]))["answer"] for request in requests]
            rated = [int(answer) + 1 if answer.isdigit() and agrees else 3 for answer in answers]
            return [ModelOutput(text=json.dumps({"score": score}), input_tokens=100) for score in rated]

        yield send

    monkeypatch.setattr(evaluator, "sending", sending)
    judge = f"evaluate.judge={{model: gemini-2.5-flash, ratings: '{ratings}'}}"
    service = Service(client, tmp_path, f"judged-{agrees}")
    for _ in range(2):
        service.serve(rows=100)
        service.monitor(judge, "monitor.judge_rows=50", "monitor.labels_a_window=40")
    report = QualityReport.read(service.path("quality"))
    (check,) = [check for check in report.checks if check.name == "judge"]
    count = 50 if agrees else 0
    assert (check.rows, check.alarm) == (count, False)
    assert f"{60 + count} requests for $0.00" in check.summary
    assert len(sent) == 2 * (60 + count)
    service.label(lambda row: row["answer"])
    drawn = [row for _, row in csv_safe.read(service.path("sheet"), labelling.COLUMNS) if row["pi"]]
    kept = records.read_history(client, service.name, records.read(client, service.name)).windows[-1]
    assert (set(kept.judged) == {row["id"] for row in drawn}) is agrees
    assert set(kept.judged.values()) == ({0.5} if agrees else set())
    service.monitor("monitor.labels_a_window=40")
    (estimate,) = QualityReport.read(service.path("quality")).estimates
    assert (estimate.labels, estimate.score.value) == (20, 1.0)


def test_annotations_add_keeps_labels_and_appends_rows_once(client: Client, tmp_path: Path) -> None:
    service = Service(client, tmp_path, "annotated")
    service.serve(rows=60)
    service.monitor("monitor.labels_a_window=10")
    rows = [cells for _, cells in csv_safe.read(service.path("sheet"), labelling.COLUMNS)]
    for row in rows:
        row["label"] = row["answer"]
    csv_safe.write(
        service.path("filled.csv"), labelling.COLUMNS, [[str(cell or "") for cell in row.values()] for row in rows]
    )
    data, config = tmp_path / "rows.jsonl", tmp_path / "my.yaml"
    data.write_text('{"text": "my parcel", "label": "delivery"}')
    config.write_text(f"name: annotated\ndata: {data}\n")
    for appended in (10, 0):
        done = CliRunner().invoke(app, ["annotations", "add", service.path("filled.csv"), str(config)])
        assert done.exit_code == 0, done.output
        assert f"10 labels kept (10 in all), {appended} rows appended" in done.output
    lines = [json.loads(line) for line in data.read_text().splitlines()]
    assert [line.get("source") for line in lines] == [None, *["production"] * 10]
    assert {line["split"] for line in lines[1:] if "pi" not in line} == {"train"}
    assert len(records.read_labels(client, "annotated")) == 10
    rows[0]["label"] = "weather"
    csv_safe.write(
        service.path("filled.csv"), labelling.COLUMNS, [[str(cell or "") for cell in row.values()] for row in rows]
    )
    refused = CliRunner().invoke(app, ["annotations", "add", service.path("filled.csv"), str(config)])
    assert refused.exit_code == 1
    assert len(data.read_text().splitlines()) == 11


def test_champion_that_cannot_be_monitored_is_refused(client: Client, tmp_path: Path) -> None:
    from gemtune.errors import UserError

    with pytest.raises(UserError, match="no champion that can be monitored"):
        load_logs.run("rows", "counts", "nobody", **sections("monitor.logs=x.jsonl"))
