# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Predict with the variant that a run deployed, as it was evaluated, and abstain below the confidence threshold.

    from gemtune.predictor import Predictor

    with Predictor.of_run("runs/support/summary.json") as predictor:
        for prediction in predictor(["Where is my parcel?"]):
            print("needs review" if prediction.abstained else prediction.value, prediction.confidence)

`await predictor.predict_async(texts)` is the same in an async server. Texts are cleaned by the rules of the training
data; prompt, sampling and parsing are those of the evaluation; confidence is mapped and thresholded as fitted on
validation rows. Project and location come from the environment.

Requests are sent from an event loop in a thread of the predictor. A call therefore works where a loop is already
running (notebooks), never blocks the loop of a server, and all calls share connections and the limit of requests in
flight. Guarantees: one prediction per text, in order; nothing is sent if one of the texts is empty or no text.
"""

import asyncio
import concurrent.futures
import json
import logging
import threading
import uuid
import weakref
from collections.abc import Coroutine, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self, TypeVar

from gemtune.artifacts.production_log import LogRow
from gemtune.config import Evaluate, JsonObject, ModelVariant, Task, Vertex
from gemtune.contents import ModelOutput
from gemtune.data.cleaning import load_cleaner, load_masker
from gemtune.data.example import Example
from gemtune.data.formats import is_prompt, parse_request
from gemtune.data.row_validation import masked
from gemtune.errors import UserError
from gemtune.evaluation.calibration import apply_calibration
from gemtune.evaluation.scorers import SampleScore
from gemtune.evaluation.variant_scores import VariantScorer
from gemtune.inference.generate import GenerateRequest, generate_all
from gemtune.inference.parsing import parse
from gemtune.inference.vertex_generation import vertex_generate

log = logging.getLogger("gemtune")

CLOSED = "the predictor is closed: create it in a `with` block that lasts as long as its calls"
FORKED = "the predictor was used before this process was forked: create one in each process"
T = TypeVar("T")
Texts = str | JsonObject | Iterable[str | JsonObject]


@dataclass(frozen=True)
class Prediction:
    """The prediction for one text: `text` after cleaning, and the parsed `value`, None if the answer is unusable.

    `confidence` is the probability that it is correct (calibrated if a map was fitted), None if the run had none.
    `abstained`: a person should decide, because the answer is unusable or the confidence is below the threshold.
    `outcome` is ok, invalid, refusal, ...
    """

    text: str
    value: str | None
    confidence: float | None
    abstained: bool
    outcome: str


class Predictor:
    """Predicts texts with the variant that a run deployed; safe to share between threads and event loops.

    `close`, or the end of a `with` block, closes its connections and ends calls that are in flight.
    """

    def __init__(
        self,
        recipe: Mapping[str, Any],
        vertex: Mapping[str, Any] | None = None,
        log: str | Path = "",
        generation: int | None = None,
        labels: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """Create a predictor from the result of `report.recipe`; `vertex` overrides settings of the environment.

        Each answer is appended to the file `log`, which monitoring reads (`monitor.logs`), with the texts; with the
        `generation` of the champion's record where the recipe is of it. `labels` are sent with each request: they are
        slices of monitoring and of the bill. Raises `UserError` if the project is unknown. No request is sent.
        """
        self.task = Task.of(recipe["task"])
        self.variant = ModelVariant.of(recipe["variant"])
        # A failed request concerns only its own row here.
        self.config = Evaluate.of({**recipe["generation"], "max_error_share": 1.0})
        self.train = [Example(**row) for row in recipe["train"]]
        self.clean, self._mask = load_cleaner(recipe["cleaning"]), load_masker(recipe["cleaning"])
        self.takes_requests = recipe["takes_requests"]
        self._log, self._generation, self._labels = log, generation, dict(labels)
        project = self.variant.model.split("/")[1] if self.variant.is_tuned else ""
        settings = Vertex.of({"project": project, **(vertex or {})})
        self._generate, retry_policy = vertex_generate(self.config, settings, self._labels)
        self._retry_policy = replace(retry_policy, rounds=1)  # a caller waits
        self._slots = asyncio.Semaphore(self.config.concurrency)
        self._loop = _LoopThread()
        self._close = weakref.finalize(self, self._loop.stop)

    @classmethod
    def of_run(
        cls,
        summary: str | Path,
        vertex: Mapping[str, Any] | None = None,
        log: str | Path = "",
        labels: Mapping[str, str] = MappingProxyType({}),
    ) -> Self:
        """The predictor of a run's `summary.json`; raises `UserError` if the file is not one."""
        try:
            document = json.loads(Path(summary).read_text(encoding="utf-8"))
            return cls(document["outcome"]["recipe"], vertex, log, labels=labels)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(
                f"not a run summary with a recipe: {error}", file=summary, remedy="pass the summary.json of a run"
            ) from None

    def __call__(self, texts: Texts) -> list[Prediction]:
        """One `Prediction` per text, in order; a single string is one text. Blocks until all are there.

        A request (`contents` with `systemInstruction` and `tools`, like the training rows) is sent as it is. Raises
        `UserError`, before anything is sent, for an empty text, for anything that is neither text nor request, and for
        a text if all training rows were requests; also if the model cannot be called at all.
        """
        call = self._loop.submit(self._predict(_as_list(texts)))
        try:
            return call.result()
        except concurrent.futures.CancelledError:
            raise RuntimeError(CLOSED) from None
        finally:
            call.cancel()  # after Ctrl-C; without effect on a call that has ended

    async def predict_async(self, texts: Texts) -> list[Prediction]:
        """The same without blocking the running event loop; cancelling it cancels its requests."""
        call = self._loop.submit(self._predict(_as_list(texts)))
        done = asyncio.wrap_future(call)
        try:
            await asyncio.wait([done])
        finally:
            call.cancel()  # if the caller was cancelled; without effect on a call that has ended
        if done.cancelled():
            raise RuntimeError(CLOSED)
        return done.result()

    def close(self) -> None:
        """Close the connections; calls in flight, and later ones, raise `RuntimeError`."""
        self._close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    async def _predict(self, texts: list[Any]) -> list[Prediction]:
        rows = self._rows(texts)
        # Nothing is scored: any reference that can be parsed will do.
        lenient = self.task.model_copy(update={"output_schema": {}})
        send = partial(generate_all, generate=self._generate_in_slot, retry_policy=self._retry_policy)
        scorer = VariantScorer(self.task, lenient, self.config, rows, self.train, send)
        scores = await scorer.score(self.variant)
        if self._log:
            await asyncio.to_thread(self._append, scores)
        return [self._prediction(score) for score in scores]

    def _append(self, scores: Sequence[SampleScore]) -> None:
        """Log answers as rows that monitoring reads; an answer is worth more than its row in the log."""
        now = datetime.now(UTC)
        rows = [
            LogRow(
                id=uuid.uuid4().hex,
                time=now,
                endpoint=self.variant.model,
                text=score.example.text,
                answer=score.output.text,
                finish=score.output.block_reason or score.output.finish_reason,
                confidence=score.confidence,
                tokens=score.output.input_tokens + score.output.output_tokens,
                generation=self._generation,
                slices=self._labels,
            )
            for score in scores
            if score.outcome != "error"
        ]
        try:
            with open(self._log, "ab") as file:  # one write, so that rows of several processes never mix
                file.write(b"".join(row.model_dump_json(exclude_defaults=True).encode() + b"\n" for row in rows))
        except OSError as error:
            log.warning("%d answers are not in %s: %s", len(rows), self._log, error.strerror)

    def _rows(self, texts: list[Any]) -> list[Example]:
        """The cleaned texts as rows; raises `UserError` for the first that cannot be predicted."""
        reference = (self.task.labels or ["{}"])[0]
        rows = [self._row(item, f"text {number} of {len(texts)}") for number, item in enumerate(texts, 1)]
        return [replace(row, id=str(number), target=reference) for number, row in enumerate(rows, 1)]

    def _row(self, item: Any, name: str) -> Example:
        if isinstance(item, dict):
            return masked(parse_request(item), self._mask)
        if not isinstance(item, str):
            problem = f"{name} is {item!r:.80}, not a string"
            raise UserError(problem, remedy="pass a string or a list of strings; nothing was sent")
        if self.takes_requests:
            remedy = "pass requests like the training rows: {'systemInstruction': ..., 'contents': [...]}"
            raise UserError(
                f"{name}, {item!r:.80}, is no request, and the model was trained on requests", remedy=remedy
            )
        cleaned = self.clean(item)
        if not cleaned.strip():
            problem = f"{name}, {item!r:.80}, is empty{' after cleaning' if item.strip() else ''}"
            raise UserError(problem, remedy="leave it out; nothing was sent")
        if any("\ud800" <= char <= "\udfff" for char in cleaned):
            problem = f"{name}, {item!r:.80}, is not valid Unicode: it has half of a surrogate pair"
            raise UserError(problem, remedy="decode the text again from its bytes; nothing was sent")
        return Example("", cleaned, "")

    async def _generate_in_slot(self, request: GenerateRequest) -> ModelOutput:
        async with self._slots:
            return await self._generate(request)

    def _prediction(self, score: SampleScore) -> Prediction:
        calibration, stated = self.variant.calibration, score.confidence
        unsure = stated is not None and "abstain" in calibration and stated < calibration["abstain"]["confidence"]
        confidence = None if stated is None else apply_calibration(calibration, [stated])[0]
        value = score.row.parsed and self._value(score)
        return Prediction(score.example.text, value, confidence, unsure or value is None, score.outcome)

    def _value(self, score: SampleScore) -> str | None:
        """The parsed value, with the values of fields as the model wrote them: rules of fields only compare."""
        if not self.task.field_rules:
            return score.row.parsed
        sequences = {name: ["sequence"] for name, rules in self.task.field_rules.items() if "sequence" in rules}
        task = self.task.model_copy(update={"field_rules": sequences, "output_schema": {}})
        return parse(task, self.variant.prompt, score.row.answer).value or score.row.parsed


def _as_list(texts: Texts) -> list[Any]:
    """The texts in order. What iterates over something else than texts in order is refused."""
    if isinstance(texts, str) or (isinstance(texts, dict) and is_prompt(texts)):
        return [texts]
    unordered = isinstance(texts, bytes | bytearray | Mapping | Set) or getattr(texts, "ndim", 1) != 1
    if unordered or not isinstance(texts, Iterable):
        problem = f"{type(texts).__name__} instead of texts"
        raise UserError(problem, remedy="pass a string or a list of strings; nothing was sent")
    return list(texts)


class _LoopThread:
    """An event loop in a thread that starts with the first coroutine, so that a process may fork before."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop
        self._stopping: asyncio.Event
        self._stopped = False

    def submit(self, coroutine: Coroutine[Any, Any, T]) -> concurrent.futures.Future[T]:
        """The result to be of a coroutine that runs in the thread; raises `RuntimeError` after `stop`, or a fork."""
        with self._lock:
            forked = self._thread is not None and not self._thread.is_alive()
            if self._stopped or forked:
                coroutine.close()
                raise RuntimeError(CLOSED if self._stopped else FORKED)
            if self._thread is None:
                started = threading.Event()
                # asyncio.run cancels the coroutines that are left, and closes what belongs to its loop
                run = partial(asyncio.run, self._serve(started))
                self._thread = threading.Thread(target=run, name="gemtune-predictor", daemon=True)
                self._thread.start()
                started.wait()
            return asyncio.run_coroutine_threadsafe(coroutine, self._loop)

    async def _serve(self, started: threading.Event) -> None:
        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        started.set()
        await self._stopping.wait()

    def stop(self) -> None:
        """Cancel what runs and end the thread."""
        with self._lock:
            self._stopped = True
        if self._thread is not None:
            self._loop.call_soon_threadsafe(self._stopping.set)
            if self._thread is not threading.current_thread():  # the garbage collector runs in any thread
                self._thread.join()
