# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""A name belongs to one task: another one is refused before anything is evaluated."""

from __future__ import annotations

from pathlib import Path

import pytest
from deployments import PROMPT, TASK, Run
from samples import entry, sections, splits

from gemtune.config import Task
from gemtune.errors import UserError
from gemtune.state import champion
from gemtune.steps import check_budget
from gemtune.vertex import Client

TASKS = [  # a task, another one, whether both are the same task
    (TASK, TASK, True),
    (TASK, Task(labels=["delivery", "login", "refund", *"vwxyz"]), True),  # labels were added
    (TASK, Task(labels=["refund"]), True),  # dropped
    (TASK, Task(labels=["Delivery", "refund", "sign-in"]), True),  # renamed
    (Task(labels=["1", "2", "3"]), Task(labels=["1.0", "２", "3\u200b"]), True),  # spellings of one label
    (TASK, Task(labels=["login", "x", "y", "z"]), False),
    (TASK, Task(labels=["positive", "negative"]), False),
    (TASK, Task(kind="sentiment", labels=TASK.labels), False),
    (TASK, Task(kind="extraction"), False),
    (Task(kind="extraction"), Task(kind="extraction", instruction="Another one."), True),
    (Task(kind="extraction"), Task(kind="summarization"), False),
]


@pytest.mark.parametrize("number", range(len(TASKS)))
def test_champion_refuses_another_task(client: Client, number: int) -> None:
    (before, task, same), name = TASKS[number], f"task-{number}"
    champion.require_same_task(client, name, task)  # there is no champion
    champion.promote(client, name, 0, "champion", entry(PROMPT, task=before))
    if same:
        champion.require_same_task(client, name, task)
    else:
        with pytest.raises(UserError, match=f"the champion of '{name}' has another task: ") as raised:
            champion.require_same_task(client, name, task)
        assert f"delete champions/{name}.json" in str(raised.value)


def test_deploy_records_the_task_and_check_budget_refuses_another(client: Client, tmp_path: Path) -> None:
    Run(tmp_path, "owned", 29, [0.9]).deploy()
    paths, config = splits(tmp_path), sections()
    config["task"] = {"labels": ["positive", "negative"]}
    with pytest.raises(
        UserError, match=r"classification \(delivery, login, refund\); this run: classification \(positive, "
    ):
        check_budget.run(paths, str(tmp_path / "budget"), "owned", **config)
    check_budget.run(paths, str(tmp_path / "budget"), "owned", **sections())
