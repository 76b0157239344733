# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""`gemtune judge`: samples are exported and rated, and a scripted judge is validated against the ratings."""

from __future__ import annotations

import csv
import json
import random

import pytest
from samples import Said
from sklearn.metrics import cohen_kappa_score
from typer.testing import CliRunner

from gemtune.cli.judge import judge_app
from gemtune.data.example import Example, write_examples
from gemtune.errors import UserError
from gemtune.evaluation.human_ratings import (
    read_pair_ratings,
)
from gemtune.evaluation.verdicts import CHOICES
from gemtune.inference import vertex_generation
from gemtune.inference.generate import RetryPolicy


def fill(path, choose):
    """People at work: `choose` says which of two texts is better."""
    with open(path, encoding="utf-8-sig", newline="") as file:
        lines = list(csv.reader(file))
    filled = [[*line[:5], choose(line[3], line[4])] for line in lines[1:]]
    with open(path, "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([lines[0], *filled])


@pytest.fixture
def files(tmp_path):
    """Rows, what two variants said of them, and a configuration that names a judge."""
    rows = [Example(str(i), f"text {i}", f"reference {i}") for i in range(60)]
    write_examples(tmp_path / "rows", rows)
    said = [
        {
            "schema_version": 1,
            "variant": name,
            "id": row.id,
            "reference": row.target,
            "answer": f"quality {i % most + 1} {name[0]}",
        }
        for i, row in enumerate(rows)
        for name, most in (("tuned", 5), ("prompt", 3))
    ]
    said += [{"schema_version": 1, "variant": "tuned", "id": "60", "reference": "r", "answer": None}]
    (tmp_path / "predictions").write_text("".join(json.dumps(row) + "\n" for row in said))
    (tmp_path / "config.yaml").write_text(
        "task: {kind: summarization, instruction: Summarize.}\n"
        f"evaluate: {{resamples: 300, judge: {{model: j, ratings: {tmp_path}/ratings.csv, min_agreement: 0.6}}}}\n"
    )
    return tmp_path


@pytest.fixture
def judged_by(monkeypatch):
    """Sets who judges: a function of the quoted data, as JSON fields."""

    def set_judge(says):
        async def generate(request):
            return Said(json.dumps(says(json.loads(request.contents[0]["parts"][0]["text"]))))

        monkeypatch.setattr(
            vertex_generation, "vertex_generate", lambda config, settings: (generate, RetryPolicy(8, 1, (), ()))
        )

    return set_judge


def quality(text):
    return int(text.split()[1])


def judge(*arguments):
    return CliRunner().invoke(judge_app, [str(one) for one in arguments])


def as_json(*arguments):
    return json.loads(judge(*arguments, "--json").stdout)


def test_judge_export_and_validate_ratings(files, judged_by):
    made = judge("export", files / "predictions", files / "rows", "--out", files / "ratings.csv", "--rows", "50")
    assert made.exit_code == 0
    assert made.stdout.startswith("50 answers to rate")
    with open(files / "ratings.csv", encoding="utf-8-sig", newline="") as file:
        lines = list(csv.reader(file))
    assert "tuned" not in str(lines)
    assert all(line[3] for line in lines)
    filled = [[*line[:4], str(quality(line[3]))] for line in lines[1:]]
    with open(files / "ratings.csv", "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([lines[0], *filled])

    judged_by(lambda shown: {"score": quality(shown["answer"])})
    found = judge("validate", files / "config.yaml")
    assert found.exit_code == 0
    assert "a gate rule may use it" in found.stdout
    assert as_json("validate", files / "config.yaml")["agreement"]["quadratic_kappa"]["value"] == 1.0

    guess = random.Random(1)
    judged_by(lambda shown: {"score": guess.randint(1, 5)})
    found = judge("validate", files / "config.yaml")
    assert found.exit_code == 1
    assert "it is reported, and no gate rule uses it" in found.stdout


def test_judge_export_and_validate_pairs(files, judged_by):
    path = files / "pairs.csv"
    names = ("--variants", "tuned", "prompt")
    made = judge("export-pairs", files / "predictions", files / "rows", *names, "--out", path, "--both-orders")
    assert made.exit_code == 0
    assert made.stdout.startswith("60 pairs to compare")

    def better(first, second):
        gap = quality(first) - quality(second)
        return "tie" if not gap else "first" if gap > 0 else "second"

    fill(path, better)
    judged_by(lambda shown: {"better": better(shown["first"], shown["second"])})
    found = judge("validate", files / "config.yaml", "--pairs", path)
    assert found.exit_code == 0
    assert "on 60 pairs compared by people the judge j reaches quadratic kappa 1.00" in found.stdout
    assert "judge: 12 ties, 0 order flips" in found.stdout
    assert "people chose_first    0.50" in found.stdout

    judged_by(lambda shown: {"better": "first"})
    found = judge("validate", files / "config.yaml", "--pairs", path)
    assert found.exit_code == 1
    assert "judge: 60 ties, 60 order flips" in found.stdout
    assert "judge chose_first     1.00" in found.stdout
    assert "people: 12 ties, 0 order flips" in found.stdout


def test_judge_agreement_on_pairs_agrees_with_scikit_learn(files, judged_by):
    path = files / "pairs.csv"
    names = ("--variants", "tuned", "prompt")
    judge("export-pairs", files / "predictions", files / "rows", *names, "--out", path)
    rng = random.Random(4)
    fill(path, lambda first, second: rng.choice(CHOICES))
    people = {one.first: one.better for one in read_pair_ratings(path)}
    judged_by(lambda shown: {"better": "first" if quality(shown["first"]) >= quality(shown["second"]) else "second"})
    found = as_json("validate", files / "config.yaml", "--pairs", path)["agreement"]
    worth = {"first": 2, "tie": 1, "second": 0}
    pairs = read_pair_ratings(path)
    said = [1 + (quality(p.first) > quality(p.second)) - (quality(p.first) < quality(p.second)) for p in pairs]
    assert len(people) == len({one.first for one in pairs})
    for name, weights in (("kappa", None), ("quadratic_kappa", "quadratic")):
        wanted = cohen_kappa_score(said, [worth[p.better] for p in pairs], labels=[0, 1, 2], weights=weights)
        assert found[name]["value"] == pytest.approx(wanted)
        assert found[name]["low"] <= found[name]["value"] <= found[name]["high"]


def test_judge_export_names_an_unknown_variant(files):
    made = judge(
        "export-pairs", files / "predictions", files / "rows", "--variants", "tuned", "x", "--out", files / "p.csv"
    )
    assert isinstance(made.exception, UserError)
    assert "no variant is called 'x'" in str(made.exception)
