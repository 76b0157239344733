# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The studies of answers in `bench`, with small counts."""

from bench.answer_fuzz import fuzz
from bench.answer_styles import LABELS, STYLES, study_of


def test_styles_of_answers_score_alike_and_none_is_deployed_over_another():
    study = study_of(seeds=1, rows=40)
    assert set(study.scores) == {(language, style) for language in LABELS for style in STYLES}
    assert study.unread == {}
    assert study.kept()


def test_answers_rows_and_labels_end_in_a_value_a_reason_or_a_message():
    assert set(fuzz(40)) <= {"value", "reason", "message"}
