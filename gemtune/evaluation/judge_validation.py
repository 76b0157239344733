# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Whether people agree with the configured judge: it rates what people rated, from their CSV file."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from gemtune.config import Evaluate, Task, Vertex
from gemtune.errors import UserError
from gemtune.evaluation import human_ratings, judge
from gemtune.inference.generate import ask_all
from gemtune.inference.vertex_generation import response_cache, vertex_ask


def check_judge(task: Task, config: Evaluate, settings: Vertex, pairs: str | Path = "") -> dict[str, Any]:
    """Lets the configured judge rate the sheet that people filled in; see `judging.admission`.

    With `pairs`, a sheet of pairs that people compared, it compares those instead; see `judging.pair_admission`.
    """
    if not (config.judge.model and (config.judge.sheet or pairs)):
        raise UserError("there is no judge to check", remedy="set evaluate.judge.model and evaluate.judge.sheet")
    ask, effort = vertex_ask(config, settings)
    with response_cache(config) as memory:
        put = partial(ask_all, ask=ask, effort=effort, memory=memory)
        if pairs:
            return asyncio.run(judge.pair_admission(config, task, human_ratings.read_pairs(pairs), put))
        return asyncio.run(judge.admission(config, task, rated_by_people(config), put))


def rated_by_people(config: Evaluate) -> list[human_ratings.Rated]:
    """What people rated, when the configuration names a judge and a sheet."""
    judge = config.judge
    if not (judge.model and judge.sheet):
        return []
    if not judge.sheet.startswith("gs://"):
        return human_ratings.read_rated(judge.sheet, judge.scale)
    from gemtune import vertex

    with TemporaryDirectory() as folder:
        path = Path(folder) / "sheet.csv"
        vertex.download(judge.sheet, path)
        return human_ratings.read_rated(path, judge.scale)
