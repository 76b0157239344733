# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The student learns what it is tuned on, follows generation settings, and is reproducible by seed."""

from __future__ import annotations

import json
import os
import shutil
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.memory import TUNING, peak
from emulator.engines.base import (
    Cancelled,
    Checkpoint,
    FailedPrecondition,
    GenerateRequest,
    PreferenceRow,
    StepMetrics,
    TrainingRow,
    TuningSpec,
    TuningTask,
    Turn,
    schedule,
)
from emulator.engines.student import training
from emulator.engines.student.chat import Encoded
from emulator.engines.student.engine import Student
from emulator.engines.student.training import TrainingSettings
from emulator.engines.student.weights import EMBEDDED_BASE

WORDS = {"fruit": ("apple", "pear", "banana", "orange"), "animal": ("dog", "cat", "parrot", "salmon")}
SPEC = TuningSpec(epoch_count=6, learning_rate_multiplier=1.0, adapter_size=8, seed=3)


@pytest.fixture(scope="module")
def student() -> Student:
    return Student(threads=1)


def ask(text: str) -> tuple[Turn, ...]:
    return (Turn("user", f"Say what this is: {text}"),)


def rows(copies: int = 8) -> list[TrainingRow]:
    return [
        TrainingRow((*ask(f"the {word} {n}"), Turn("model", kind)))
        for n in range(copies)
        for kind, words in WORDS.items()
        for word in words
    ]


def tune(
    student: Student,
    out: Path,
    train: list[TrainingRow] | list[PreferenceRow],
    spec: TuningSpec = SPEC,
    validation: list[TrainingRow] | list[PreferenceRow] | None = None,
) -> tuple[list[Checkpoint], list[StepMetrics]]:
    seen: list[StepMetrics] = []
    result = student.tune(TuningTask(train, validation or [], spec, out, on_metrics=seen.append))
    return result, seen


@pytest.fixture(scope="module")
def tuned(student: Student, tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Checkpoint], list[StepMetrics]]:
    return tune(student, tmp_path_factory.mktemp("tuned"), rows(), validation=rows(1))


def test_student_base_is_small() -> None:
    assert sum(f.stat().st_size for f in EMBEDDED_BASE.iterdir()) <= 10_000_000


# -- tokens ----------------------------------------------------------------------------------------------------------


@given(text=st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=80))
def test_student_tokenizer_round_trips(student: Student, text: str) -> None:
    assert student.encoder.tokenizer.decode(student.encoder.ids(text)) == text


@pytest.mark.parametrize(
    "text", ["Refund my ORDER #12", "荷物がまだ届きません", "\ue000a \ue000\ue001", "한국어 中文 😀"]
)
def test_student_tokenizer_round_trips_any_script(student: Student, text: str) -> None:
    assert student.encoder.tokenizer.decode(student.encoder.ids(text)) == text


def test_student_tokenizer_accepts_half_a_surrogate_pair(student: Student) -> None:
    assert student.count_tokens(["\ud83d"])[0] >= 1


def test_student_tokens_are_spans_of_the_text(student: Student) -> None:
    pieces = student.tokenize("Cancel my order")
    assert "".join(piece for _, piece in pieces).replace(" ", "").endswith("myorder")
    assert len(pieces) == student.count_tokens(["Cancel my order"])[0]


def test_student_loss_covers_model_turns_only(student: Student) -> None:
    row = TrainingRow(
        (Turn("user", "one"), Turn("model", "two"), Turn("user", "three"), Turn("model", "four")), "be brief"
    )
    coded = student.encoder.row(row, 2048)
    answers = student.encoder.decode([i for i, own in zip(coded.ids, coded.answer, strict=True) if own])
    prompt = student.encoder.decode([i for i, own in zip(coded.ids, coded.answer, strict=True) if not own])
    assert answers.split() == ["two", "four"]
    assert "".join(prompt.split()) == "bebriefonethree"
    texts = ["be brief", "one", "three"], ["two", "four"]  # billed as counted: without chat markup
    assert student.row_tokens(row) == tuple(sum(student.count_tokens(part)) for part in texts)


def test_student_training_row_equals_the_request(student: Student) -> None:
    turns = (Turn("user", "What is it?"),)
    coded = student.encoder.row(TrainingRow((*turns, Turn("model", "a dog")), "brief"), 2048)
    prompt = student.encoder.prompt(turns, "brief")
    assert list(coded.ids[: len(prompt)]) == prompt


# -- tuning ----------------------------------------------------------------------------------------------------------


def test_student_tuning_learns_its_rows(student: Student, tuned: tuple[list[Checkpoint], list[StepMetrics]]) -> None:
    result, seen = tuned
    assert seen[-1].values["/eval_total_loss"] < 0.25 < seen[0].values["/train_total_loss"]
    samples = [(word, kind) for kind, words in WORDS.items() for word in words]
    requests = [GenerateRequest(ask(f"the {word} 5"), adapter=result[-1].path, temperature=0) for word, _ in samples]
    answers = [generation.candidates[0].text for generation in student.generate(requests)]
    assert sum(a == kind for a, (_, kind) in zip(answers, samples, strict=True)) >= 7


def test_student_tuning_reports_every_step(student: Student, tuned: tuple[list[Checkpoint], list[StepMetrics]]) -> None:
    result, seen = tuned
    assert [point.step for point in seen] == list(range(1, schedule(rows(), SPEC, student.batch_size).total + 1))
    assert seen[-1].total_steps == len(seen)
    names = {"/train_total_loss", "/train_fraction_of_correct_next_step_preds", "/train_num_predictions"}
    assert all(names <= point.values.keys() for point in seen)
    evaluated = [point.step for point in seen if "/eval_total_loss" in point.values]
    assert evaluated == [checkpoint.step for checkpoint in result]


def test_student_tuning_is_determined_by_its_seed(student: Student, tmp_path: Path) -> None:
    spec = replace(SPEC, epoch_count=1)
    first, second = (tune(student, tmp_path / name, rows(3), spec)[1] for name in "ab")
    other = tune(student, tmp_path / "c", rows(3), replace(spec, seed=4))[1]
    assert first == second
    assert first != other


def test_student_adapters_are_in_peft_format(tuned: tuple[list[Checkpoint], list[StepMetrics]]) -> None:
    path = tuned[0][0].path
    assert json.loads((path / "adapter_config.json").read_text())["r"] == SPEC.adapter_size
    assert (path / "adapter_model.safetensors").exists()
    assert not [p for p in path.parent.iterdir() if p.name.startswith(".")]


def test_student_tuning_continues_from_an_adapter(
    student: Student, tmp_path: Path, tuned: tuple[list[Checkpoint], list[StepMetrics]]
) -> None:
    spec = replace(SPEC, epoch_count=1, initial_adapter=tuned[0][-1].path)
    _, seen = tune(student, tmp_path, rows(), spec)
    assert seen[0].values["/train_total_loss"] < 0.5 * tuned[1][0].values["/train_total_loss"]


def test_student_tuning_stops_within_a_step(student: Student, tmp_path: Path) -> None:
    seen: list[StepMetrics] = []
    with pytest.raises(Cancelled):
        student.tune(TuningTask(rows(), [], SPEC, tmp_path, seen.append, should_stop=lambda: len(seen) >= 2))
    assert len(seen) == 2


def test_student_preference_tuning_raises_the_chosen_answer(student: Student, tmp_path: Path) -> None:
    pairs = [PreferenceRow(ask(word), "yes", "no") for words in WORDS.values() for word in words] * 4
    spec = replace(SPEC, epoch_count=4, learning_rate_multiplier=0.3)
    result, seen = tune(student, tmp_path, pairs, spec, pairs[:8])
    assert seen[0].values["/preference_optimization_train_loss"] == pytest.approx(0.6931, abs=1e-3)
    assert seen[-1].values["/eval_total_loss"] < 0.6
    assert len(result) == 4


def pairs_and_rows() -> list[list[PreferenceRow] | list[TrainingRow]]:
    pairs = [PreferenceRow(ask(word * n), "yes " * n, "no") for words in WORDS.values() for n, word in enumerate(words)]
    return [pairs, [replace(row, turns=(*ask("a " * 3 * n), row.turns[1])) for n, row in enumerate(rows(1))]]


@pytest.mark.parametrize("train", pairs_and_rows(), ids=["preference", "supervised"])
def test_student_batches_by_tokens_change_no_result(
    student: Student,
    train: list[TrainingRow] | list[PreferenceRow],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spec = replace(SPEC, epoch_count=1)
    _, whole = tune(student, tmp_path / "whole", train, spec, train)
    monkeypatch.setattr(training, "MICRO_BATCH_TOKENS", 64)  # the longest is computed alone, its activations again
    _, split = tune(student, tmp_path / "split", train, spec, train)
    for before, after in zip(whole, split, strict=True):
        losses = [name for name in before.values if name.endswith("_loss")]
        assert [after.values[name] for name in losses] == pytest.approx(
            [before.values[name] for name in losses], rel=0.03
        )
        counts = [name for name in before.values if "_num_" in name]
        assert [after.values[name] for name in counts] == [before.values[name] for name in counts]


@given(st.lists(st.tuples(st.integers(2, 3000), st.booleans()), min_size=1, max_size=40), st.integers(1, 40))
def test_micro_batches_hold_every_row_once_within_the_limits(lengths: list[tuple[int, bool]], limit: int) -> None:
    encoded = [Encoded(tuple(range(length)), (True,) * length) for length, _ in lengths]
    for batch in (encoded, [(row, encoded[0]) for row in encoded]):
        parts = list(training.micro_batches(batch, limit))
        assert sorted(map(id, (row for part in parts for row in part))) == sorted(map(id, batch))
        for part in parts:
            sides = [row for entry in part for row in (entry if isinstance(entry, tuple) else (entry,))]
            assert len(part) <= limit
            assert len(part) == 1 or len(sides) * max(len(row.ids) - 1 for row in sides) <= training.MICRO_BATCH_TOKENS


@pytest.mark.skipif(os.environ.get("WHOLE_RUNS") != "all", reason="half a minute")
@pytest.mark.parametrize("kind", ["pairs", "rows"])
def test_student_tunes_the_longest_rows_in_a_gigabyte(kind: str) -> None:
    assert peak([sys.executable, "-c", TUNING, kind, "24", "1500"])[0] < 1000


def test_student_preference_tuning_at_beta_0_learns_nothing(student: Student, tmp_path: Path) -> None:
    pairs = [PreferenceRow(ask(word), "yes", "no") for words in WORDS.values() for word in words]
    result, seen = tune(student, tmp_path, pairs, replace(SPEC, epoch_count=2, beta=0.0))
    assert [p.values["/preference_optimization_train_loss"] for p in seen] == pytest.approx(
        [0.6931] * len(seen), abs=1e-4
    )
    plain = student.generate([request("Say what this is: the dog 2", logprobs=1)])
    after = student.generate([request("Say what this is: the dog 2", logprobs=1, adapter=result[-1].path)])
    assert after == plain


def test_student_tuning_keeps_the_adapter_rank(
    student: Student, tmp_path: Path, tuned: tuple[list[Checkpoint], list[StepMetrics]]
) -> None:
    spec = replace(SPEC, epoch_count=1, adapter_size=2, initial_adapter=tuned[0][-1].path)
    result, _ = tune(student, tmp_path, rows(1), spec)
    assert json.loads((result[-1].path / "adapter_config.json").read_text())["r"] == SPEC.adapter_size


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"epoch_count": 0}, "epoch_count"),
        ({"adapter_size": 0}, "adapter_size"),
        ({"initial_adapter": Path("/no")}, "/no"),
        ({"beta": -0.1}, "beta"),
    ],
)
def test_student_tuning_refuses_invalid_rows(
    student: Student, tmp_path: Path, change: dict[str, object], word: str
) -> None:
    with pytest.raises(ValueError, match=word):
        tune(student, tmp_path, rows(1), replace(SPEC, **change))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="no training rows"):
        tune(student, tmp_path, [])


@given(st.integers(1, 40), st.integers(1, 60), st.integers(1, 12))
def test_student_checkpoint_steps_are_spread_to_the_last(epochs: int, per_epoch: int, count: int) -> None:
    spec = replace(SPEC, epoch_count=epochs, checkpoint_count=count)
    steps = schedule(rows(1)[:1] * per_epoch, spec, 1).saves
    assert steps[-1] == epochs * per_epoch
    assert steps == sorted(set(steps))
    assert len(steps) == (epochs if epochs < count else min(count, epochs * per_epoch))


# -- answers ---------------------------------------------------------------------------------------------------------


def request(text: str, **change: object) -> GenerateRequest:
    return replace(GenerateRequest((Turn("user", text),), temperature=0, max_output_tokens=12), **change)  # type: ignore[arg-type]


TEXTS = [
    "apple -> red\nsky -> blue\napple ->",
    "Is this review positive or negative?\nI hate it, it is awful",
    "x" * 60,
    "hi",
]


def test_student_answers_ignore_their_batch(student: Student) -> None:
    together = student.generate([request(text) for text in TEXTS])
    fresh = Student(threads=1)  # it knows no answers yet
    alone = [fresh.generate([request(text)])[0] for text in TEXTS]
    for one, other in zip(together, alone, strict=True):
        assert one.candidates[0].text == other.candidates[0].text
        assert one.candidates[0].avg_logprob == pytest.approx(other.candidates[0].avg_logprob, abs=1e-3)


def test_student_gives_a_known_answer_again_where_it_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    student, computed = Student(threads=1), list[int]()
    decoder = student._decoder(None)
    prefill = decoder._prefill
    monkeypatch.setattr(decoder, "_prefill", lambda prompts: computed.append(len(prompts)) or prefill(prompts))
    free = student.generate([request(TEXTS[0], max_output_tokens=30)])[0].candidates[0]
    assert (free.finish_reason, computed) == ("STOP", [1])
    allowed = request(TEXTS[0], response_enum=("pay", free.text), max_output_tokens=30)
    again = student.generate([request(TEXTS[0], max_output_tokens=30, candidate_count=2), allowed])
    assert [candidate for generation in again for candidate in generation.candidates] == [free] * 3
    cut = student.generate([request(TEXTS[0], max_output_tokens=1)])[0].candidates[0]
    assert (cut.finish_reason, cut.token_count, computed) == ("MAX_TOKENS", 1, [1])
    others = [{"response_enum": ("pay", "refund")}, {"temperature": 1.0, "seed": 1}, {"logprobs": 1}]
    answers = [student.generate([request(TEXTS[0], **change)])[0].candidates[0] for change in others]
    assert computed == [1, 1, 1, 1]
    assert answers[0].text in ("pay", "refund")
    assert answers[0] == Student(threads=1).generate([request(TEXTS[0], **others[0])])[0].candidates[0]
    student.generate([request(TEXTS[0], response_enum=("pay", "refund")), request(TEXTS[0], max_output_tokens=30)])
    assert computed == [1, 1, 1, 1, 1]  # the answer that was forced is not the most likely one


def test_student_greedy_decoding_agrees_with_transformers(student: Student) -> None:
    import torch

    model = student.load_model().eval()
    for text in TEXTS:
        ids = student.encoder.prompt((Turn("user", text),), None)
        out = model.generate(torch.tensor([ids]), max_new_tokens=12, do_sample=False, pad_token_id=0)
        expected = student.encoder.decode(out[0, len(ids) :].tolist())
        assert student.generate([request(text)])[0].candidates[0].text == expected


def test_student_sampling_follows_seed_candidates_and_temperature(student: Student) -> None:
    sampled = request("Tell me a story", temperature=1.8, candidate_count=4, seed=5)
    first, second = student.generate([sampled])[0], student.generate([request("hi"), sampled])[1]
    texts = [candidate.text for candidate in first.candidates]
    assert texts == [candidate.text for candidate in second.candidates]
    assert len(set(texts)) > 1
    narrow = student.generate([replace(sampled, top_k=1)])[0]
    assert {c.text for c in narrow.candidates} == {student.generate([request("Tell me a story")])[0].candidates[0].text}
    tight = student.generate([replace(sampled, top_p=1e-9)])[0]
    assert {c.text for c in tight.candidates} == {c.text for c in narrow.candidates}


def test_student_decoding_keeps_to_an_enumeration(student: Student) -> None:
    options = ("cancel_order", "cancel_plan", "pay")
    requests = [request(text, response_enum=options, temperature=t, seed=1) for text in TEXTS for t in (0.0, 2.0)]
    assert {g.candidates[0].text for g in student.generate(requests)} <= set(options)


def test_student_decoding_stops_at_end_and_stop_sequences(student: Student) -> None:
    cut = student.generate([request("Tell me a story", max_output_tokens=1)])[0].candidates[0]
    assert (cut.finish_reason, cut.token_count) == ("MAX_TOKENS", 1)
    whole = student.generate([request(TEXTS[0], max_output_tokens=30)])[0].candidates[0]
    middle = whole.text[len(whole.text) // 2]
    stopped = student.generate([request(TEXTS[0], stop_sequences=(middle,))])[0].candidates[0]
    assert stopped.text == whole.text.split(middle)[0]
    assert stopped.finish_reason == "STOP"


def test_student_logprobs_belong_to_the_tokens(student: Student) -> None:
    candidate = student.generate([request(TEXTS[0], logprobs=3)])[0].candidates[0]
    assert len(candidate.tokens) == candidate.token_count
    for token in candidate.tokens:
        assert token.logprob <= 0
        assert token.top[0][2] == max(t[2] for t in token.top) >= token.logprob - 1e-6
        assert len(token.top) == 3


def test_student_refuses_a_prompt_that_is_too_long(student: Student) -> None:
    with pytest.raises(ValueError, match="tokens"):
        student.generate([request("word " * 5000)])


def test_student_answers_while_a_job_trains(
    student: Student, tmp_path: Path, tuned: tuple[list[Checkpoint], list[StepMetrics]]
) -> None:
    adapter = tuned[0][-1].path
    before = student.generate([request("Say what this is: the dog 2", adapter=adapter)])
    saved: list[Checkpoint] = []
    task = TuningTask(rows(2), [], SPEC, tmp_path, on_checkpoint=saved.append)
    job = threading.Thread(target=student.tune, args=(task,))
    job.start()
    during = [student.generate([request("Say what this is: the dog 2", adapter=adapter)]) for _ in range(3)]
    job.join()
    assert all(answer == before for answer in during)
    assert len(saved) == SPEC.epoch_count


def test_student_grammar_follows_words_and_capitals(student: Student) -> None:
    texts = ["Refund OK", "don't", "the CAT sat", "Ab cD", "é 1a"]
    for text in texts:
        schema = {"type": "object", "properties": {"a b": {"const": text}}}
        answer = student.generate([request("x", response_json_schema=schema, max_output_tokens=99)])[0].candidates[0]
        assert (json.loads(answer.text), answer.finish_reason) == ({"a b": text}, "STOP")


def test_student_settings_are_checked(tmp_path: Path) -> None:
    for file in EMBEDDED_BASE.iterdir():
        (tmp_path / file.name).symlink_to(file)
    (tmp_path / "student.json").unlink()
    assert Student(tmp_path, threads=1).settings == TrainingSettings()
    (tmp_path / "student.json").write_text('{"learnin_rate": 1}')
    with pytest.raises(ValueError, match="learnin_rate"):
        Student(tmp_path)
    with pytest.raises(ValueError, match=r"config\.json"):
        Student(tmp_path / "none")


# -- bases -----------------------------------------------------------------------------------------------------------


def copied_base(directory: Path, change: bool = False) -> Path:
    """The embedded base in another directory; changed, with one weight moved."""
    from safetensors.torch import load_file, save_file

    shutil.copytree(EMBEDDED_BASE, directory)
    if change:
        weights = load_file(directory / "model.safetensors")
        first = min(weights)
        save_file({**weights, first: weights[first] + 0.5}, directory / "model.safetensors", {"format": "pt"})
    return directory


def test_student_refuses_an_adapter_of_another_base(
    tmp_path: Path, tuned: tuple[list[Checkpoint], list[StepMetrics]]
) -> None:
    adapter = tuned[0][-1].path
    prompt = request("Say what this is: the dog 5", adapter=adapter)
    same = Student(copied_base(tmp_path / "same"), threads=1)
    assert same.generate([prompt])[0].candidates[0].text
    other = Student(copied_base(tmp_path / "other", change=True), threads=1)
    with pytest.raises(FailedPrecondition, match="--state-dir"):
        other.generate([prompt])
    with pytest.raises(FailedPrecondition, match="other base weights"):
        tune(other, tmp_path / "out", rows(1), replace(SPEC, initial_adapter=adapter))
    unmarked = tmp_path / "unmarked"
    shutil.copytree(adapter, unmarked)
    (unmarked / "student_base.json").unlink()
    with pytest.raises(FailedPrecondition, match="tune it again"):
        same.generate([replace(prompt, adapter=unmarked)])


def test_student_detects_a_replaced_base(tmp_path: Path) -> None:
    student = Student(copied_base(tmp_path / "base"), threads=1)
    os.utime(student.base_dir / "model.safetensors")  # touched, but the same
    assert student.generate([request("dog", max_output_tokens=2)])
    shutil.rmtree(student.base_dir)
    copied_base(student.base_dir, change=True)
    with pytest.raises(FailedPrecondition, match="replaced"):
        tune(student, tmp_path / "out", rows(1))


def test_student_loads_a_base_from_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(FailedPrecondition, match=r"'owner/small' can't be fetched .* check the connection"):
        Student("owner/small")
    kept = tmp_path / "models--owner--small"  # as the hub's client lays out what it fetched
    (kept / "refs").mkdir(parents=True)
    (kept / "refs" / "main").write_text("0" * 40)
    copied_base(kept / "snapshots" / ("0" * 40))
    student = Student("owner/small", threads=1)
    assert student.fingerprint == Student(threads=1).fingerprint
    assert student.generate([request("dog", max_output_tokens=2)])


def test_bf16_is_used_only_where_the_processor_multiplies_it() -> None:
    from emulator.engines.student.training import bf16_is_fast

    processor = Path("/proc/cpuinfo")
    assert bf16_is_fast() == (processor.exists() and "amx_bf16" in processor.read_text().split())
