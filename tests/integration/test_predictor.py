# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The predictor sends the requests of the evaluation: same answers, same confidence, and the abstain threshold.

It does so in scripts, notebooks and servers, for one text and for many, and refuses what is no text before it pays.
"""

from __future__ import annotations

import asyncio
import collections
import gc
import json
import logging
import os
import re
import signal
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from emulator_process import Emulator
from evaluations import evaluated, predictions
from samples import examples

from gemtune import vertex
from gemtune.config import ModelVariant, Preprocess, Task
from gemtune.data.cleaning import export_rules
from gemtune.data.example import read_examples, write_examples
from gemtune.errors import UserError
from gemtune.monitoring.logs import load_logs
from gemtune.predictor import Predictor
from gemtune.steps import preprocess
from gemtune.steps.report import recipe

MODEL = "gemini-2.5-flash"
LABELS = ["refund", "delivery", "login"]
TEXTS = [example.text for example in examples(60, 7)]
CLEANING = {"lowercase": True, "collapse_whitespace": True}
MAP = {"method": "isotonic", "stated": [0.0, 1.0], "true": [0.0, 0.9]}


@pytest.fixture(scope="module")
def emulator(tmp_path_factory):
    """Answers most texts rightly, so that the answers of different texts differ."""
    folder = tmp_path_factory.mktemp("emulator")
    answers = {row.text: row.target for row in [*examples(40, 3), *examples(60, 7)]}
    (folder / "rules.json").write_text(json.dumps({"answers": answers, "labels": LABELS, "base_accuracy": 0.8}))
    running = Emulator(folder / "state", "--engine", f"scripted:{folder / 'rules.json'}")
    yield running
    running.kill()


@pytest.mark.parametrize("confidence", ["votes", "verbal", "logprobs", "none"])
@pytest.mark.parametrize("shots", [0, 3])
def test_predictor_answers_equal_those_of_the_evaluation(emulator, tmp_path, monkeypatch, confidence, shots):
    prompt = {"name": "p", "shots": shots, "selection": "similar", "constrained_output": bool(shots)}
    emulator.point(monkeypatch)
    rows, train = examples(40, 3), examples(20, 4)
    clean = [replace(row, text=row.text.lower()) for row in rows]
    write_examples(tmp_path / "rows", clean)
    write_examples(tmp_path / "train", train)
    task = {"labels": ["refund", "delivery", "login"]}
    who = ModelVariant.of({"name": "c", "model": MODEL, "prompt": prompt})
    config = {"base_model": MODEL, "tfidf_baseline": False, "resamples": 200, "confidence": confidence, "samples": 3}
    _, report = evaluated(tmp_path, [who], task=task, evaluate=config)
    expected = predictions(tmp_path)
    stated = sorted(row["confidence"] for row in expected if row["confidence"] is not None)
    threshold = {"confidence": stated[len(stated) // 2] if stated else 0.5}
    served = who.model_copy(update={"calibration": {"map": MAP, "abstain": threshold}})
    document = recipe(report.task, served, report.generation, CLEANING, train)
    (tmp_path / "summary.json").write_text(json.dumps({"outcome": {"recipe": document}}))

    with Predictor.of_run(tmp_path / "summary.json") as predictor:
        answers = predictor([f"  {row.text.upper()} " for row in rows])
    assert [answer.text for answer in answers] == [row.text for row in clean]
    assert [answer.value for answer in answers] == [row["parsed"] for row in expected]
    for answer, row in zip(answers, expected, strict=True):
        if confidence == "none":
            assert answer.confidence is None
        else:
            assert answer.confidence == pytest.approx(0.9 * row["confidence"])
        below = confidence != "none" and row["confidence"] < threshold["confidence"]
        assert answer.abstained == (below or row["parsed"] is None)
    assert bool(document["train"]) == bool(shots)
    if shots and confidence == "none":
        assert {answer.outcome for answer in answers} == {"ok"}, "the emulator keeps to the schema"


def test_predictor_abstains_on_unusable_answers_without_a_threshold(emulator, monkeypatch):
    emulator.point(monkeypatch)
    extraction = Task(
        kind="extraction", output_schema={"type": "object", "required": ["a"], "properties": {"a": {"type": "string"}}}
    )
    variant = ModelVariant.of({"name": "c", "model": MODEL})
    with Predictor(recipe(extraction, variant, {"base_model": MODEL}, {}, [])) as predictor:
        answers = predictor(["where is my parcel", "x"])
    assert [answer.abstained for answer in answers] == [answer.value is None for answer in answers]
    assert {answer.outcome for answer in answers} <= {"ok", "invalid", "truncated", "refusal"}


def test_predictor_names_a_file_that_is_not_a_summary(tmp_path):
    (tmp_path / "summary.json").write_text("{}")
    with pytest.raises(UserError, match=r"summary\.json: not a run summary with a recipe"):
        Predictor.of_run(tmp_path / "summary.json")
    with pytest.raises(UserError, match="not a run summary with a recipe"):
        Predictor.of_run(tmp_path / "none.json")


def test_predictor_log_is_what_monitoring_reads(emulator, tmp_path, monkeypatch, caplog):
    emulator.point(monkeypatch)
    path, window = tmp_path / "log.jsonl", (datetime.now(UTC), datetime.now(UTC) + timedelta(hours=1))
    for texts in (TEXTS[:3], TEXTS[3:4]):
        with Predictor(document(confidence="logprobs"), log=path, generation=7) as predictor:
            answers = predictor(texts)
    rows, counts = load_logs(str(path), window, [MODEL])
    assert (counts.rows, counts.unreadable, counts.endpoints) == (4, {}, {MODEL: 4})
    assert {row.text for row in rows} == set(TEXTS[:4])
    (last,) = (row for row in rows if row.text == TEXTS[3])
    assert (last.answer, last.confidence, last.generation) == (answers[0].value, answers[0].confidence, 7)
    assert last.tokens > 0
    assert last.finish == "STOP"
    with Predictor(document(), log=tmp_path) as predictor:
        assert predictor(TEXTS[:1])[0].value
    assert "1 answers are not in" in caplog.text
    assert TEXTS[0] not in caplog.text


# -- in notebooks and servers ------------------------------------------------------------------------------------------


class Service:
    """The emulator's answers, delayed; counts requests, how many are in flight, and the threads that send them."""

    def __init__(self, monkeypatch, delay_s=0.0):
        self.delay_s, self.requests, self.in_flight, self.most, self.cancelled = delay_s, 0, 0, 0, 0
        self.threads, self._real = set(), vertex.generate
        monkeypatch.setattr(vertex, "generate", self.generate)

    async def generate(self, *arguments):
        self.requests += 1
        self.in_flight += 1
        self.most = max(self.most, self.in_flight)
        self.threads.add(threading.current_thread().name)
        try:
            await asyncio.sleep(self.delay_s)
            return await self._real(*arguments)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.in_flight -= 1


def document(cleaning=(), **generation):
    variant = ModelVariant.of({"name": "c", "model": MODEL})
    settings = {"base_model": MODEL, **generation}
    return recipe(Task.of({"labels": LABELS}), variant, settings, dict(cleaning), [])


@pytest.fixture
def service(emulator, monkeypatch):
    emulator.point(monkeypatch)
    return Service(monkeypatch)


@pytest.fixture
def expected(emulator, monkeypatch):
    """The value of each of TEXTS."""
    emulator.point(monkeypatch)
    with Predictor(document()) as predictor:
        values = {answer.text: answer.value for answer in predictor(TEXTS)}
    assert set(values.values()) == set(LABELS)
    return values


def test_predictor_takes_a_string_as_one_text(service):
    with Predictor(document()) as predictor:
        (answer,) = predictor("money back")
        assert answer.text == "money back"
        assert [a.text for a in predictor(text for text in TEXTS)] == TEXTS
        assert predictor([]) == []
        assert predictor(("a", "a")) == predictor(["a", "a"])
    assert service.requests == 1 + len(TEXTS) + 4


NO_TEXTS = [
    None,
    3,
    b"bytes",
    {"text": "a mapping"},
    {"a set"},
    [None],
    ["a text", 3.0],
    ["a text", b"bytes"],
    [["a list"]],
    "",
    "  \n",
    ["a text", ""],
    ["a text", "<br>&nbsp;"],  # empty after cleaning
    ["a text", "\u200b\ufeff"],
    ["a text", "half \ud83d"],
]


@pytest.mark.parametrize("texts", NO_TEXTS, ids=repr)
def test_predictor_refuses_empty_and_other_than_texts_before_it_sends(service, texts):
    with Predictor(document({"strip_html": True})) as predictor:
        for call in (predictor, lambda texts: asyncio.run(predictor.predict_async(texts))):
            with pytest.raises(UserError, match=r"nothing was sent") as refusal:
                call(texts)
            if isinstance(texts, list) and len(texts) > 1:
                assert f"text 2 of 2 is {texts[1]!r}" in str(refusal.value).replace(
                    f", {texts[1]!r}, is", f" is {texts[1]!r}"
                )
    assert service.requests == 0


def test_predictor_refuses_tables(service):
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame({"text": TEXTS[:3]})
    with Predictor(document()) as predictor:
        with pytest.raises(UserError, match="DataFrame instead of texts"):
            predictor(table)
        assert service.requests == 0
        assert [answer.text for answer in predictor(table["text"])] == TEXTS[:3]


CLEANINGS = [
    {},
    {"strip_html": True, "lowercase": True},
    {"collapse_whitespace": False, "remove_control": False},
    {"normalize_unicode": "NFKC", "remove_invisible": False},
    {"pii": "mask"},
]
RAW = "  <p>Dear \u200bＡＢＣ,</p>\n\n mail\x07 me at ann@example.com &amp; SOON  "


@pytest.mark.parametrize("settings", CLEANINGS, ids=str)
def test_predictor_cleans_texts_as_preprocess_does(service, tmp_path, settings):
    texts = [RAW, "plain", *TEXTS[:3]]
    source, rows = tmp_path / "rows.jsonl", tmp_path / "examples"
    source.write_text("".join(json.dumps({"text": t, "label": LABELS[i % 2]}) + "\n" for i, t in enumerate(texts)))
    sections = {"task": {}, "preprocess": {"jaccard_threshold": 0, **settings}, "vertex": {}}
    preprocess.run(str(source), str(rows), str(tmp_path / "dropped"), str(tmp_path / "report"), **sections)
    trained = {row.line: row.text for row in read_examples(rows)}
    with Predictor(document(export_rules(Preprocess.of(settings), Task()))) as predictor:
        assert [answer.text for answer in predictor(texts)] == [trained[line] for line in sorted(trained)]


def test_predictor_works_inside_a_running_loop_as_in_a_notebook(service, expected):
    """Cells of a notebook run inside the kernel's loop: sync calls, `await`, and one after the other."""
    predictor = Predictor(document())

    async def first_cell():
        return predictor(TEXTS)

    async def second_cell():
        return await predictor.predict_async(TEXTS)

    async def kernel():
        return await first_cell(), await second_cell()

    for answers in (*asyncio.run(kernel()), *asyncio.run(kernel()), predictor(TEXTS)):
        assert {answer.text: answer.value for answer in answers} == expected
    assert service.threads == {"gemtune-predictor"}
    predictor.close()


def documented():
    """What the documentation's examples define and print, run in a folder with the run `support`."""
    page = (Path(__file__).parents[2] / "docs" / "how-to" / "serve.md").read_text("utf-8")
    return re.findall(r"```python\n(.*?)```", page, re.DOTALL)


@pytest.fixture
def run_folder(tmp_path, monkeypatch):
    summary = tmp_path / "runs" / "support" / "summary.json"
    summary.parent.mkdir(parents=True)
    summary.write_text(json.dumps({"outcome": {"recipe": document()}}))
    monkeypatch.chdir(tmp_path)


def test_documented_script_prints_an_answer_per_text(service, run_folder, capsys):
    script, _ = documented()
    exec(compile(script, "docs/how-to/serve.md", "exec"), {})
    lines = capsys.readouterr().out.strip().split("\n")
    assert len(lines) == 2
    assert all(line.split()[0] in (*LABELS, "needs") for line in lines)


def test_documented_server_answers_all_its_clients(service, run_folder, expected):
    _, server_code = documented()
    names = {}
    exec(compile(server_code, "docs/how-to/serve.md", "exec"), names)
    service.delay_s = 0.05
    ticks = collections.Counter()

    async def client(port, texts):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        answers = []
        for text in texts:
            writer.write(f"{text}\n".encode())
            answers.append((await reader.readline()).decode().strip())
        writer.close()
        await writer.wait_closed()
        return answers

    async def heartbeat():
        while True:
            ticks["loop"] += 1
            await asyncio.sleep(0.005)

    async def main():
        with Predictor.of_run("runs/support/summary.json") as predictor:
            server = await names["serve"](predictor, 0)
            beating = asyncio.create_task(heartbeat())
            port = server.sockets[0].getsockname()[1]
            answers = await asyncio.gather(*(client(port, TEXTS[i::20]) for i in range(20)))
            beating.cancel()
            server.close()
            return answers

    for number, answers in enumerate(asyncio.run(main())):
        assert answers == [expected[text] for text in TEXTS[number::20]]
    assert ticks["loop"] >= 10  # the server's own loop was never blocked


@pytest.mark.parametrize("concurrency", [1, 5])
def test_predictor_bounds_the_requests_of_all_calls_together(service, concurrency):
    service.delay_s = 0.01
    with Predictor(document(concurrency=concurrency)) as predictor:

        async def main():
            return await asyncio.gather(*(predictor.predict_async(text) for text in TEXTS[:20]))

        threads = [threading.Thread(target=predictor, args=(TEXTS[:5],)) for _ in range(3)]
        for thread in threads:
            thread.start()
        answers = asyncio.run(main())
        for thread in threads:
            thread.join()
    assert [answer.text for (answer,) in answers] == TEXTS[:20]
    assert (service.most, service.requests, len(service.threads)) == (concurrency, 35, 1)


def test_predictor_cancels_the_requests_of_a_cancelled_call(service):
    service.delay_s = 30
    with Predictor(document()) as predictor:

        async def main():
            async with asyncio.timeout(0.2):
                await predictor.predict_async(TEXTS[:4])

        with pytest.raises(TimeoutError):
            asyncio.run(main())
        assert wait_until(lambda: service.cancelled == 4)
        assert service.in_flight == 0


def wait_until(condition):
    end = time.monotonic() + 5
    while not condition() and time.monotonic() < end:
        time.sleep(0.01)
    return condition()


def test_predictor_cancels_the_requests_of_an_interrupted_call(service):
    service.delay_s = 30
    timer = threading.Timer(0.3, signal.pthread_kill, [threading.main_thread().ident, signal.SIGINT])
    with Predictor(document()) as predictor:
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            predictor(TEXTS[:4])
        assert wait_until(lambda: service.cancelled == 4)


def test_predictor_closes_its_thread_and_ends_calls_in_flight(service, caplog, recwarn):
    service.delay_s = 30
    predictor = Predictor(document())
    errors = []

    async def call():
        await predictor.predict_async("a text")

    async def main():
        async with asyncio.TaskGroup() as group:
            calls = [group.create_task(call()) for _ in range(3)]
            await asyncio.to_thread(wait_until, lambda: service.in_flight == 4)
            predictor.close()
            errors.extend(await asyncio.gather(*calls, return_exceptions=True))

    def sync():
        try:
            predictor(["a text"])
        except RuntimeError as error:
            errors.append(error)

    thread = threading.Thread(target=sync)
    thread.start()
    with pytest.RaisesGroup(*[pytest.RaisesExc(RuntimeError, match="the predictor is closed")] * 3):
        asyncio.run(main())
    thread.join()
    predictor.close()
    for late in (lambda: predictor("a text"), lambda: asyncio.run(predictor.predict_async("a text"))):
        with pytest.raises(RuntimeError, match="the predictor is closed"):
            late()
    assert [str(error)[:23] for error in errors] == ["the predictor is closed"] * len(errors)
    assert service.cancelled == 4
    assert not any(thread.name == "gemtune-predictor" for thread in threading.enumerate())
    gc.collect()
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert not [warning for warning in recwarn if "never awaited" in str(warning.message)]


def test_predictor_without_a_with_block_is_closed_when_collected(service):
    assert len(Predictor(document())(["a text"])) == 1
    gc.collect()
    assert wait_until(lambda: not any(thread.name == "gemtune-predictor" for thread in threading.enumerate()))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("used", [False, True])
def test_predictor_answers_after_a_fork_or_says_why_not(service, used):
    with Predictor(document()) as predictor:
        if used:
            predictor("a text")
        child = os.fork()
        if child == 0:
            try:
                works = len(predictor("a text")) == 1
            except RuntimeError as error:
                works = "before this process was forked" not in str(error)
            os._exit(0 if works != used else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert len(predictor("a text")) == 1
