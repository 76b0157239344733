# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Model variants with too many unusable answers, and the forms of these answers.

A prompt whose answers cannot be read, or are cut off, has no score: being better than it shows nothing. The commonest
forms show whether the prompt, a limit or the reading of answers is to be corrected.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence

from gemtune.artifacts.evaluation import UnusableForm, invalid_rate

SHOWN_FORMS, SHOWN_CHARS = 5, 80
_STRING = re.compile(r'("(?:[^"\\]|\\.)*")(\s*:)?')


def unusable_forms(labels: Sequence[str], answers: Iterable[tuple[str, str | None]]) -> list[UnusableForm]:
    """The commonest forms of the unusable ones of these (outcome, answer), the commonest first.

    Answers that differ only in labels, numbers, JSON values or white space have the same form.
    """
    names = "|".join(re.escape(label) for label in sorted(labels, key=len, reverse=True) if label)
    label = re.compile(rf"(?<![a-z0-9])(?:{names})(?![a-z0-9])" if names else r"(?!)", re.IGNORECASE)
    counts = Counter(
        (outcome, _form(answer, label)) for outcome, answer in answers if outcome not in ("ok", "error")
    )  # fmt: skip
    return [
        UnusableForm(outcome=outcome, form=form, rows=rows)
        for (outcome, form), rows in counts.most_common(SHOWN_FORMS)
    ]  # fmt: skip


def _form(answer: str | None, label: re.Pattern[str]) -> str:
    text = " ".join((answer or "").split())
    text = _STRING.sub(lambda string: string[0] if string[2] else '"…"', text)
    text = label.sub("<label>", text)
    text = re.sub(r"\d+", "0", text).encode(errors="replace").decode()  # half of a surrogate pair cannot be written
    return text if len(text) <= SHOWN_CHARS else f"{text[:SHOWN_CHARS]}…"


def describe_unusable(outcomes: dict[str, int], forms: Sequence[UnusableForm], limit: float) -> str:
    """How many answers are unusable and in which forms; "" for a variant within the limit (`gate.max_invalid_rate`)."""
    share = invalid_rate(outcomes)
    if share <= limit:
        return ""
    kinds = {name: count for name, count in outcomes.items() if name not in ("ok", "error")}
    counts = ", ".join(f"{count} {name}" for name, count in sorted(kinds.items(), key=lambda item: -item[1]))
    shown = ", ".join(f"{form.form!r} ({form.rows})" for form in forms[:3] if form.form)
    remedy = "raise max_output_tokens" if max(kinds, key=kinds.__getitem__) == "truncated" else "correct the prompt"
    most = f"; most often {shown}" if shown else ""
    return f"{share:.1%} of its answers are unusable, at most {limit:.1%} may be ({counts}{most}): {remedy}"
