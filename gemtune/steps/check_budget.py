# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Before any prompt is asked: whether asking them all, and testing the best, stays under `plan.max_cost`.

The plan holds the trials under the limit, but it comes after the prompts were asked, and the best of them is tested on
every path. So what every path pays is bounded first; a run that could not even end with "keep the prompt" under its
limit is refused while it has cost nothing.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gemtune.config import Evaluate, ModelVariant, Plan, Preference, Task, Vertex
from gemtune.cost import spend
from gemtune.cost.bill import paid_line
from gemtune.cost.counting import by_service, count_opinions
from gemtune.cost.prompted import Prompting
from gemtune.cost.spend import Line
from gemtune.data.example import read_examples, write_json
from gemtune.errors import UserError
from gemtune.inference import prompts
from gemtune.steps import select_model
from gemtune.tuning.pair_plan import Terms, ranked
from gemtune.vertex import connect

log = logging.getLogger("gemtune")


def run(
    splits: Sequence[str],
    baselines: list[list[dict[str, Any]]],
    spent: str,
    name: str,
    budget: str,
    **sections: dict[str, Any],
) -> list[list[dict[str, Any]]]:
    """Write to `budget` what every path pays; return the baselines, which may be asked now.

    `splits` are the rows of training, validation and test; the report in `spent` tells what a step before has spent.
    Reads the sections task, evaluate, plan, vertex, and preference where answers are ranked by a judge. Tokens are
    counted by the service, free of charge. Raises `UserError` when it may be more than `plan.max_cost`.
    """
    rows = [list(read_examples(path)) for path in splits]
    task = prompts.resolve(Task.of(sections["task"]), rows[0])
    asking, settings = Evaluate.of(sections["evaluate"]), Plan.of(sections["plan"])
    client = connect(Vertex.of(sections["vertex"]))
    count, held_out = by_service(client, asking.base_model), [*rows[1], *rows[2]]
    judging = count_opinions(count, asking, client.catalogue, task, held_out, settings.token_sample, {})
    prompting = Prompting(count, asking, settings, client.catalogue, task, rows)
    asked, lines = prompting.foresee([[ModelVariant.of(one) for one in group] for group in baselines])
    price = client.catalogue.price("", asking.base_model)
    lines += [line for one in asked for line in one.lines(judging, price)]
    lines += prompting.finals(asked, select_model.read_champion(client, name), judging)
    terms = Terms(asking, settings, Preference.of(sections.get("preference", {})), client.catalogue)
    ranking = ranked(count, task, held_out, terms)
    lines += ranking.lines("the prompts by the ranking judge", 0, (len(asked) - 1) * len(rows[1]), price)
    lines += [*ranking.lines("both on test by the ranking judge", 0, len(rows[2]), price), *ranking.check()]
    lines += [paid_line(**line) for line in json.loads(Path(spent).read_text("utf-8"))["spent"]]
    write_json(budget, {"name": name, **spend.told(lines, settings.max_cost)})
    _allow(lines, settings, len(asked), [len(split) for split in rows])
    return baselines


def _allow(lines: Sequence[Line], settings: Plan, prompts_: int, sizes: Sequence[int]) -> None:
    money = spend.total(lines)
    what = f"asking {prompts_} prompts about {sizes[1]} validation rows, and the best about {sizes[2]} test rows,"
    if money.most > settings.max_cost:
        dearest = max(lines, key=lambda line: line.cost.most)
        raise UserError(
            f"{what} may cost {money.most:.4f} USD, more than plan.max_cost {settings.max_cost:.4f}; "
            f"the dearest part: {dearest.what}, {dearest.cost.most:.4f}",
            remedy="raise plan.max_cost, or ask less: evaluate.baselines, evaluate.max_output_tokens, split.validation",
        )
    log.info("done: %s", f"{what} costs {money.expected:.4f} USD (at most {money.most:.4f} of {settings.max_cost:.2f})")
