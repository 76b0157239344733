# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Validate the configured judge against a ratings file: it rates the answers that people rated."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from gemtune.artifacts.evaluation import JudgeValidation
from gemtune.config import Evaluate, Task, Vertex
from gemtune.errors import UserError
from gemtune.evaluation import human_ratings, judge
from gemtune.inference.generate import generate_all
from gemtune.inference.vertex_generation import response_cache, vertex_generate


def validate_judge(task: Task, config: Evaluate, settings: Vertex, pairs: str | Path = "") -> JudgeValidation:
    """The agreement of the configured judge with the human ratings; see `judge.validate_on_ratings`.

    With `pairs`, a ratings file of compared pairs, it compares those instead; see `judge.validate_on_pairs`.
    """
    if not (config.judge.model and (config.judge.ratings or pairs)):
        raise UserError("no judge to validate", remedy="set evaluate.judge.model and evaluate.judge.ratings")
    generate, retry_policy = vertex_generate(config, settings)
    with response_cache(config, settings) as cache:
        send = partial(generate_all, generate=generate, retry_policy=retry_policy, cache=cache)
        if pairs:
            return asyncio.run(judge.validate_on_pairs(config, task, human_ratings.read_pair_ratings(pairs), send))
        return asyncio.run(judge.validate_on_ratings(config, task, load_human_ratings(config), send))


def load_human_ratings(config: Evaluate) -> list[human_ratings.HumanRating]:
    """The human ratings, if the configuration names a judge and a ratings file; the file may be in a bucket."""
    judge = config.judge
    if not (judge.model and judge.ratings):
        return []
    if not judge.ratings.startswith("gs://"):
        return human_ratings.read_ratings(judge.ratings, judge.scale)
    from gemtune import vertex

    with TemporaryDirectory() as folder:
        path = Path(folder) / "ratings.csv"
        vertex.download(judge.ratings, path)
        return human_ratings.read_ratings(path, judge.scale)
