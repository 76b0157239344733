# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""What of a list of all labels is the answer: checked boxes, labels with "yes", none of the repeated options."""

from typing import Any

from gemtune.config import Task
from gemtune.inference import answer_patterns as patterns
from gemtune.inference.spellings import label_index, loose

MAX_LINES, MAX_LINE_CHARS = 120, 320  # of a list of labels with "yes" and "no"


def without_rejected(task: Task, text: str) -> str:
    """The text without the labels that a checklist, a table or a list of options names beside the answer; "" if these
    contradict themselves.
    """
    text = _without_options(task, _affirmed(task, _checked(text)))
    row = patterns.TABLE_HEAD.sub("", text).strip() if patterns.TABLE_HEAD.search(text) else "\n"
    return text if "\n" in row else row


def choice_of(value: Any) -> bool | None:
    """Whether a value beside a label chooses it: true, 1, "yes" or the opposite; None for others."""
    if isinstance(value, str):
        return True if patterns.YES.fullmatch(value) else False if patterns.NO.fullmatch(value) else None
    return bool(value) if value in (0, 1) else None


def _checked(text: str) -> str:
    """The text without the lines of a checklist that are not checked, and marks; "" if a checked line is in doubt.

    A text without lines that are not checked stays as it is, if its marks are not boxes.
    """
    lines = text.splitlines()
    if not any(patterns.UNCHECKED.match(line) or line.lstrip(" *-").startswith("[") for line in lines):
        return text
    checked = [patterns.CHECKED.sub("", line) for line in lines if patterns.CHECKED.match(line)]
    if not checked:
        return text
    others = [line for line in lines if not patterns.CHECKED.match(line) and not patterns.UNCHECKED.match(line)]
    in_doubt = any(line.rstrip().endswith(("?", "？")) for line in checked)
    return "" if in_doubt else "\n".join([*others, *checked])


def _affirmed(task: Task, text: str) -> str:
    """The labels to which a list or table of all answers "yes", one a line; "" if they answer a label with both; any
    other text as it is.
    """
    lines = patterns.TABLE_HEAD.sub("", text).splitlines()[:MAX_LINES]
    verdicts = [match for line in lines if (match := patterns.AFFIRMED.match(line[:MAX_LINE_CHARS]))]
    labels = [label_index(tuple(task.labels), "loose").get(loose(match["label"])) for match in verdicts]
    if len(labels) < 2 or None in labels:
        return text
    if len({*labels}) < len(labels):
        answers = {(label, bool(match["yes"])) for label, match in zip(labels, verdicts, strict=True)}
        return text if len(answers) == len({*labels}) else ""
    return "\n".join(label for label, match in zip(labels, verdicts, strict=True) if label and match["yes"])


def _without_options(task: Task, text: str) -> str:
    """The text without the list of the labels and what they stand for, which is repeated from the prompt."""
    if task.label_separator:
        return text
    index = label_index(tuple(task.labels), "loose")
    options = {m.start(): label for m in patterns.OPTION.finditer(text) if (label := index.get(loose(m["label"])))}
    if len({*options.values()}) < 2:
        return text
    return patterns.OPTION.sub(lambda m: "" if m.start() in options else m[0], text)
