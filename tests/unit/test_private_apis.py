# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Private parts of libraries that the code relies on: an upgrade that changes them fails here, by name."""

from __future__ import annotations

import inspect
from importlib.metadata import PackageNotFoundError, version

import pytest

# library: the release line in which its private parts were last checked
CHECKED = {"kfp": "2.17", "sacrebleu": "2.6", "torch": "2.13"}


@pytest.mark.parametrize("library", CHECKED)
def test_private_api_was_checked_in_the_installed_release(library: str) -> None:
    try:
        installed = ".".join(version(library).split(".")[:2])
    except PackageNotFoundError:
        pytest.skip(f"{library} is not installed")
    assert installed == CHECKED[library], (
        f"{library} {version(library)} is installed and {CHECKED[library]} was checked: read the release notes, run "
        f"this file and the tests of the module that the test below names, then change CHECKED"
    )


def test_kfp_runs_each_step_by_a_function_that_can_be_replaced() -> None:
    from kfp.local import subprocess_task_handler as kfp_handler

    from pipelines.kfp_local_events import Observer

    advice = (
        f"kfp {version('kfp')}: pipelines/kfp_local_events.py replaces subprocess_task_handler.run_local_subprocess; "
    )
    assert hasattr(kfp_handler, "run_local_subprocess"), f"{advice}find what starts a step's process now"
    theirs = list(inspect.signature(kfp_handler.run_local_subprocess).parameters)
    ours = list(inspect.signature(Observer.run).parameters)[1:]
    assert ours == theirs, f"{advice}its parameters are {theirs}: give Observer.run the same"
    called = kfp_handler.SubprocessTaskHandler.run.__code__.co_names
    assert "run_local_subprocess" in called, f"{advice}SubprocessTaskHandler.run no longer calls it"


def test_kfp_colours_by_a_function_that_can_be_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    from kfp.local import logging_utils, status

    monkeypatch.setattr(logging_utils, "color_text", lambda text, color: text)
    states = [logging_utils.format_status(state) for state in (status.Status.SUCCESS, status.Status.FAILURE)]
    shown = [logging_utils.format_task_name("a"), logging_utils.format_pipeline_name("a"), *states]
    advice = (
        f"kfp {version('kfp')}: pipelines/kfp_local_events.py replaces logging_utils.color_text; find what colours now"
    )
    assert not [text for text in shown if "\x1b" in text], advice


def test_sacrebleu_sums_sentence_statistics_to_the_corpus_score() -> None:
    from sacrebleu.metrics import BLEU, CHRF

    advice = (
        f"sacrebleu {version('sacrebleu')}: gemtune/evaluation/metrics.py resamples rows by sacrebleu's statistics; "
    )
    answers = ["the cat sat on the mat", "a dog ran far away"]
    references = ["the cat sat on a mat", "the dog ran far off"]
    for scorer in (BLEU(force=True), CHRF()):
        for name in ("_extract_corpus_statistics", "_compute_score_from_stats"):
            assert hasattr(scorer, name), f"{advice}{type(scorer).__name__}.{name} is gone: find its successor"
        rows = scorer._extract_corpus_statistics(answers, [references])
        assert len(rows) == len(answers), f"{advice}expected one row of statistics for each sentence, got {rows}"
        total = [sum(column) for column in zip(*rows, strict=True)]
        score = scorer._compute_score_from_stats(total).score
        assert score == pytest.approx(scorer.corpus_score(answers, [references]).score), (
            f"{advice}they no longer add up"
        )
