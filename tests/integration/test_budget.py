# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Asking the prompts, and testing the best one, never costs more than was bounded before anybody was asked."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from emulator_process import Taken, cost_of
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from samples import sections, splits

from gemtune.config import Contestant, Evaluate, Plan, Prompt, Task
from gemtune.cost import counting
from gemtune.cost.counting import count_prompt, count_tuned
from gemtune.data.example import Example, example_id
from gemtune.errors import UserError
from gemtune.inference import prompt_search
from gemtune.state import store
from gemtune.steps import check_budget, evaluate
from gemtune.vertex import Client

JUDGE = "gemini-2.5-flash"


def bounded(folder: Path, name: str, *overrides: str, **spent: Any) -> dict[str, Any]:
    """What every path pays, as written."""
    paths, c = splits(folder, train=60, validation=12, test=15), sections(*overrides)
    before = folder / "before.json"
    before.write_text(json.dumps({"spent": [], **spent}))
    out, told = folder / "budget.json", {"preference": {}, **c}
    wanted = {what: told[what] for what in ("task", "evaluate", "plan", "preference", "vertex")}
    try:
        passed = check_budget.run(paths, c["baselines"], str(before), name, str(out), **wanted)
        assert passed == c["baselines"]
    finally:
        found: dict[str, Any] = json.loads(out.read_text())
    return found


def asked(folder: Path, name: str, *overrides: str) -> None:
    """Ask all prompts, then the dearest of them on test rows."""
    paths, c = splits(folder, train=60, validation=12, test=15), sections(*overrides)
    common = c["task"], c["evaluate"], c["vertex"], str(folder / "answers")
    dearest: dict[str, Any] = {"tokens": {"input": -1}}
    for baseline in c["baselines"]:
        evaluate.run(paths[1], paths[0], baseline, *common, str(folder / "report.json"))
        told = json.loads((folder / "report.json").read_text())
        dearest = max([dearest, *told["contestants"]], key=lambda one: one["tokens"]["input"])
    evaluate.run(paths[2], paths[0], [dearest["contestant"]], *common, str(folder / "tested.json"), sealed=name)


def test_check_budget_stops_before_the_first_request(client: Client, taken: Taken, tmp_path: Path) -> None:
    enough = bounded(tmp_path / "a", "enough")
    assert 0 < enough["cost"] < enough["cost_at_most"] < enough["max_cost"]
    limit = f"plan.max_cost={enough['cost_at_most'] * 0.99}"
    with pytest.raises(UserError, match=r"asking 2 prompts about 12 validation rows, .* more than plan\.max_cost"):
        bounded(tmp_path / "b", "short", limit)
    assert bounded(tmp_path / "c", "just", f"plan.max_cost={enough['cost_at_most'] * 1.01}")
    paid = {"what": "paraphrases (spent)", "tokens": 5, "cost": enough["max_cost"]}
    with pytest.raises(UserError, match="the dearest part: paraphrases"):
        bounded(tmp_path / "d", "paid", spent=[paid])
    assert not taken


def test_check_budget_refuses_a_baseline_of_another_model(client: Client, taken: Taken, tmp_path: Path) -> None:
    """The compiled pipeline's parameter `baselines` lets anybody write any model into it."""
    paths, c = splits(tmp_path, train=60, validation=12, test=15), sections()
    (tmp_path / "before.json").write_text('{"spent": []}')
    dear = [[{"name": "dear", "model": "gemini-3.5-flash"}]]
    wanted = {what: c[what] for what in ("task", "evaluate", "plan", "vertex")}
    with pytest.raises(UserError, match=r"'dear' asks 'gemini-3.5-flash', but evaluate\.base_model is .*larger"):
        check_budget.run(paths, dear, str(tmp_path / "before.json"), "dear", str(tmp_path / "out"), **wanted)
    assert not taken


def test_check_budget_includes_the_champion_at_its_base_price(client: Client, tmp_path: Path) -> None:
    def line(name: str) -> dict[str, Any]:
        told = bounded(tmp_path / name, name)
        return next(one for one in told["costs"] if one["what"] == "the model in service on test")

    serving = Contestant(name="t@3", model="projects/1/locations/us/endpoints/9", base_model="gemini-3.5-flash")
    store.change(
        client, store.champion_key("serves"), lambda _: {"current": {"contestant": serving.model_dump(mode="json")}}
    )
    nobody, large = line("nobody"), line("serves")
    assert nobody["cost"] == 0 < nobody["at_most"]
    assert large["at_most"] > large["cost"] > nobody["at_most"]


def test_check_budget_bounds_a_prompt_search(client: Client, tmp_path: Path) -> None:
    searched = "evaluate.baselines=[{name: few, shots: 2, try_shots: [0, 4], rewrites: 2}]"
    told = bounded(tmp_path, "searched", searched)
    costs = {one["what"]: one for one in told["costs"]}
    names = [what.removesuffix(" on validation") for what in costs if what.endswith("on validation")]
    assert names == ["prompt search for few", "few", "few_k0", "few_k4_balanced", "few_r1", "few_r2"]
    plain, worded = costs["few on validation"], costs["few_r1 on validation"]
    assert worded["cost"] == plain["cost"]
    assert worded["at_most"] - plain["at_most"] == pytest.approx(12 * prompt_search.LONGEST * 0.25 / 1e6)


PROMPTS = st.lists(
    st.tuples(st.integers(0, 6), st.sampled_from(["random", "similar"]), st.booleans(), st.integers(0, 2)),
    min_size=1,
    max_size=2,
)


@settings(
    max_examples=5, deadline=None, derandomize=True, phases=[Phase.generate], suppress_health_check=list(HealthCheck)
)
@given(PROMPTS, st.sampled_from(["none", "votes", "verbal"]), st.integers(0, 2), st.integers(2, 40))
def test_check_budget_bound_holds_for_every_prompt(
    client: Client,
    taken: Taken,
    tmp_path_factory: pytest.TempPathFactory,
    prompts: list[tuple[int, str, bool, int]],
    confidence: str,
    judged: int,
    sample: int,
) -> None:
    folder = tmp_path_factory.mktemp("asking")
    name = folder.name.lower()
    baselines = ", ".join(
        f"{{name: p{n}, shots: {shots}, selection: {how}, chain_of_thought: {str(thinks).lower()}, rewrites: {more}, "
        f"try_shots: {[shots + 1] if more else []}}}"
        for n, (shots, how, thinks, more) in enumerate(prompts)
    )
    judge = f"{{model: {JUDGE}, samples: {judged}}}" if judged else "{}"
    overrides = (
        f"evaluate.baselines=[{baselines}]", f"evaluate.confidence={confidence}", "evaluate.samples=2",
        f"evaluate.judge={judge}", f"plan.token_sample={sample}", "evaluate.resamples=200", "evaluate.classical=false",
    )  # fmt: skip
    told = bounded(folder, name, *overrides)
    taken.clear()
    asked(folder, name, *overrides)
    assert 0 < cost_of(taken) <= told["cost_at_most"]


def characters(system: str | None, contents: list[dict[str, Any]]) -> int:
    """Counts every character as a token."""
    return len(system or "") + sum(len(part["text"]) for turn in contents for part in turn["parts"])


@pytest.mark.parametrize("sample", [4, 100])
def test_count_tuned_bounds_long_held_out_rows(sample: int) -> None:
    """A split by time may put the long rows into the test set; the training rows say nothing about them."""
    short, long = ([Example(f"{n}", "word " * (size + n), "yes") for n in range(20)] for size in (1, 400))
    task, settings_ = Task.of({"labels": ["no", "yes"]}), Plan(token_sample=sample)
    found = count_tuned(characters, Evaluate(), settings_, task, [short, long])
    who = Contestant(name="p", model="m")
    (exact,) = count_prompt(characters, Plan(token_sample=20), task, who, [long], short)
    near = count_prompt(characters, settings_, task, who, [short, long], short)
    assert near[0].most < near[1].expected <= near[1].most
    assert found.expected <= found.most
    assert found.most > 5 * 400
    assert exact.expected == exact.most > found.expected


@pytest.mark.parametrize(("prompt", "near"), [(Prompt(), 0.05), (Prompt(shots=3, selection="similar"), 0.25)])
def test_count_prompt_bound_holds_for_sampled_rows(
    monkeypatch: pytest.MonkeyPatch, prompt: Prompt, near: float
) -> None:
    task, who = Task.of({"labels": ["no", "yes"]}), Contestant(name="p", model="m", prompt=prompt)
    for seed in range(20):
        draw = random.Random(seed)
        texts = [f"{n} {'word ' * int(draw.lognormvariate(2, 1))}" for n in range(400)]
        rows = [Example(example_id(text, "yes"), text, draw.choice(["no", "yes"])) for text in texts]
        found = {}
        for most in (40, 300):
            monkeypatch.setattr(counting, "MOST_RENDERED", most)
            (found[most],) = count_prompt(characters, Plan(token_sample=300), task, who, [rows[:300]], rows[300:])
        assert found[300].expected == found[300].most <= found[40].most
        assert found[40].expected == pytest.approx(found[300].expected, rel=near)
