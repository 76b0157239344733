# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Sheets for people: they go out and come back, run nothing, and `gemtune judge` holds a judge against them."""

from __future__ import annotations

import csv
import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from samples import Said
from sklearn.metrics import cohen_kappa_score
from typer.testing import CliRunner

from gemtune.cli.judge import judge_app
from gemtune.data.example import Example, write_examples
from gemtune.errors import UserError
from gemtune.evaluation import judge_validation
from gemtune.evaluation.human_ratings import BETTER, read_pairs, read_rated, write_pairs, write_sheet
from gemtune.inference.generate import Effort


def test_ratings_file_round_trips(tmp_path):
    rows = [{"id": "1", "reference": "r", "answer": "=cmd()"}, {"id": "2", "reference": "s", "answer": "'quoted'"}]
    write_sheet(tmp_path / "sheet.csv", rows, {"1": "text", "2": "本文"})
    with open(tmp_path / "sheet.csv", encoding="utf-8-sig", newline="") as sheet:
        lines = list(csv.reader(sheet))
    filled = [lines[0], [*lines[1][:4], "5"], [*lines[2][:4], "2"], [*lines[1][:4], "4"], [*lines[2][:4], ""]]
    with open(tmp_path / "sheet.csv", "w", encoding="utf-8", newline="") as sheet:
        csv.writer(sheet).writerows(filled)
    one, two = read_rated(tmp_path / "sheet.csv", (1, 5))
    assert (one.example.text, one.example.target, one.answer, one.rating) == ("text", "r", "=cmd()", 4.5)
    assert (two.example.text, two.answer, two.rating) == ("本文", "'quoted'", 2.0)
    with pytest.raises(UserError, match="cannot read the sheet"):
        read_rated(tmp_path / "none.csv", (1, 5))
    (tmp_path / "bare.csv").write_text("id,rating\n1,4\n")
    with pytest.raises(UserError, match="lacks the columns"):
        read_rated(tmp_path / "bare.csv", (1, 5))
    (tmp_path / "empty.csv").write_text("id,text,reference,answer,rating\n1,a,b,c,\n")
    with pytest.raises(UserError, match="no row of the sheet is rated"):
        read_rated(tmp_path / "empty.csv", (1, 5))


cells = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\r\x00"), min_size=1, max_size=12)


@given(st.lists(st.tuples(st.sampled_from(["", "=", "+", "-", "@", "\t", "'", "'="]), cells), min_size=1, max_size=6))
def test_ratings_file_escapes_formulas(tmp_path_factory, parts):
    path = tmp_path_factory.mktemp("sheet") / "sheet.csv"
    answers = sorted({start + text for start, text in parts})
    write_sheet(path, [{"id": str(i), "reference": "r", "answer": one} for i, one in enumerate(answers)], {})
    with open(path, encoding="utf-8-sig", newline="") as sheet:
        lines = list(csv.reader(sheet))
    assert not any(cell[:1] in ("=", "+", "-", "@", "\t") and cell for line in lines for cell in line)
    with open(path, "w", encoding="utf-8", newline="") as sheet:
        csv.writer(sheet).writerows([lines[0], *([*line[:4], "3"] for line in lines[1:])])
    assert [one.answer for one in read_rated(path, (1, 5))] == answers


def fill(path, choose):
    """People at work: `choose` says which of two texts is better."""
    with open(path, encoding="utf-8-sig", newline="") as sheet:
        lines = list(csv.reader(sheet))
    filled = [[*line[:5], choose(line[3], line[4])] for line in lines[1:]]
    with open(path, "w", encoding="utf-8", newline="") as sheet:
        csv.writer(sheet).writerows([lines[0], *filled])


def pairs_of(count):
    return [
        ({"id": str(i), "reference": "r", "answer": f"=good {i}"}, {"id": str(i), "reference": "r", "answer": "bad"})
        for i in range(count)
    ]


def test_pairs_file_round_trips_in_any_order(tmp_path):
    path = tmp_path / "pairs.csv"
    write_pairs(path, pairs_of(40), {"1": "text"}, seed=3, both_orders=True)
    fill(path, lambda first, second: "First " if "good" in first else "second")
    found = read_pairs(path)
    assert len(found) == 40
    assert {one.first for one in found if one.better == "first"} == {f"=good {i}" for i in range(40)} - {
        one.second for one in found
    }
    assert all(("good" in one.first) == (one.better == "first") for one in found)
    assert 5 < sum("good" in one.first for one in found) < 35  # the order within a pair is drawn
    assert not any(one.flipped for one in found)
    assert [len(one.choices) for one in found] == [2] * 40


def test_pairs_file_detects_choice_by_position(tmp_path):
    path = tmp_path / "pairs.csv"
    write_pairs(path, pairs_of(10), {}, seed=3, both_orders=True)
    fill(path, lambda first, second: "first")
    found = read_pairs(path)
    assert {one.better for one in found} == {"tie"}
    assert all(one.flipped for one in found)


def test_read_pairs_names_a_wrong_word_with_its_line(tmp_path):
    (tmp_path / "bad.csv").write_text("id,text,reference,first,second,better\n1,t,r,a,b,first\n2,t,r,a,b,left\n")
    with pytest.raises(UserError, match=r"bad\.csv:3: 'left' is none of first, second, tie"):
        read_pairs(tmp_path / "bad.csv")
    (tmp_path / "ratings.csv").write_text("id,text,reference,answer,rating\n1,t,r,a,5\n")
    with pytest.raises(UserError, match=r"lacks the columns \['better', 'first', 'second'\]"):
        read_pairs(tmp_path / "ratings.csv")


def test_ratings_file_of_a_spreadsheet_is_read_and_needs_utf_8(tmp_path):
    saved = tmp_path / "saved.csv"
    saved.write_text("\ufeffid;text;reference;answer;rating\r\n1;a, b;r;x;4\r\n", encoding="utf-8")
    (row,) = read_rated(saved, [1, 5])
    assert (row.example.text, row.rating) == ("a, b", 4)
    saved.write_bytes(b"id,text,reference,answer,rating\n1,caf\xe9,r,x,4\n")
    with pytest.raises(UserError, match=r"saved\.csv.*not UTF-8 \(byte 38\).*save it as CSV UTF-8"):
        read_rated(saved, [1, 5])


# -- gemtune judge, with a judge that answers by script ----------------------------------------------------------------


@pytest.fixture
def files(tmp_path):
    """Rows, what two contestants said of them, and a configuration that names a judge."""
    rows = [Example(str(i), f"text {i}", f"reference {i}") for i in range(60)]
    write_examples(tmp_path / "rows", rows)
    said = [
        {"contestant": name, "id": row.id, "reference": row.target, "answer": f"quality {i % most + 1} {name[0]}"}
        for i, row in enumerate(rows)
        for name, most in (("tuned", 5), ("prompt", 3))
    ]
    said += [{"contestant": "tuned", "id": "60", "reference": "r", "answer": None}]
    (tmp_path / "predictions").write_text("".join(json.dumps(row) + "\n" for row in said))
    (tmp_path / "config.yaml").write_text(
        "task: {kind: summarization, instruction: Summarize.}\n"
        f"evaluate: {{resamples: 300, judge: {{model: j, sheet: {tmp_path}/sheet.csv, min_agreement: 0.6}}}}\n"
    )
    return tmp_path


@pytest.fixture
def judged_by(monkeypatch):
    """Sets who judges: a function of the quoted data, as JSON fields."""

    def set_judge(says):
        async def ask(question):
            return Said(json.dumps(says(json.loads(question.contents[0]["parts"][0]["text"]))))

        monkeypatch.setattr(judge_validation, "vertex_ask", lambda config, settings: (ask, Effort(8, 1, (), ())))

    return set_judge


def quality(text):
    return int(text.split()[1])


def judge(*arguments):
    return CliRunner().invoke(judge_app, [str(one) for one in arguments])


def test_judge_export_and_validate_ratings(files, judged_by):
    made = judge("sheet", files / "predictions", files / "rows", "--out", files / "sheet.csv", "--rows", "50")
    assert made.exit_code == 0
    assert made.stdout.startswith("50 answers to rate")
    with open(files / "sheet.csv", encoding="utf-8-sig", newline="") as sheet:
        lines = list(csv.reader(sheet))
    assert "tuned" not in str(lines)
    assert all(line[3] for line in lines)
    filled = [[*line[:4], str(quality(line[3]))] for line in lines[1:]]
    with open(files / "sheet.csv", "w", encoding="utf-8", newline="") as sheet:
        csv.writer(sheet).writerows([lines[0], *filled])

    judged_by(lambda shown: {"score": quality(shown["answer"])})
    found = judge("check", files / "config.yaml", "--out", files / "found.json")
    assert found.exit_code == 0
    assert "a rule may use it" in found.stdout
    assert json.loads((files / "found.json").read_text())["agreement"]["quadratic_kappa"]["value"] == 1.0

    guess = random.Random(1)
    judged_by(lambda shown: {"score": guess.randint(1, 5)})
    found = judge("check", files / "config.yaml")
    assert found.exit_code == 1
    assert "it informs, it does not gate" in found.stdout


def test_judge_export_and_validate_pairs(files, judged_by):
    sheet = files / "pairs.csv"
    names = ("--contestants", "tuned", "prompt")
    made = judge("pairs", files / "predictions", files / "rows", *names, "--out", sheet, "--both-orders")
    assert made.exit_code == 0
    assert made.stdout.startswith("60 pairs to compare")

    def better(first, second):
        gap = quality(first) - quality(second)
        return "tie" if not gap else "first" if gap > 0 else "second"

    fill(sheet, better)
    judged_by(lambda shown: {"better": better(shown["first"], shown["second"])})
    found = judge("check", files / "config.yaml", "--pairs", sheet)
    assert found.exit_code == 0
    assert "on 60 pairs compared by people the judge j reaches quadratic kappa 1.00" in found.stdout
    assert "judge: 12 ties, 0 turned with the order" in found.stdout
    assert "people chose_first    0.50" in found.stdout

    judged_by(lambda shown: {"better": "first"})
    found = judge("check", files / "config.yaml", "--pairs", sheet, "--out", files / "found.json")
    assert found.exit_code == 1
    assert "judge: 60 ties, 60 turned with the order" in found.stdout
    assert "judge chose_first     1.00" in found.stdout
    assert "people: 12 ties, 0 turned" in found.stdout


def test_judge_agreement_on_pairs_agrees_with_scikit_learn(files, judged_by):
    sheet = files / "pairs.csv"
    names = ("--contestants", "tuned", "prompt")
    judge("pairs", files / "predictions", files / "rows", *names, "--out", sheet)
    rng = random.Random(4)
    fill(sheet, lambda first, second: rng.choice(BETTER))
    people = {one.first: one.better for one in read_pairs(sheet)}
    judged_by(lambda shown: {"better": "first" if quality(shown["first"]) >= quality(shown["second"]) else "second"})
    judge("check", files / "config.yaml", "--pairs", sheet, "--out", files / "found.json")
    found = json.loads((files / "found.json").read_text())["agreement"]
    worth = {"first": 2, "tie": 1, "second": 0}
    pairs = read_pairs(sheet)
    said = [1 + (quality(p.first) > quality(p.second)) - (quality(p.first) < quality(p.second)) for p in pairs]
    assert len(people) == len({one.first for one in pairs})
    for name, weights in (("kappa", None), ("quadratic_kappa", "quadratic")):
        wanted = cohen_kappa_score(said, [worth[p.better] for p in pairs], labels=[0, 1, 2], weights=weights)
        assert found[name]["value"] == pytest.approx(wanted)
        assert found[name]["low"] <= found[name]["value"] <= found[name]["high"]


def test_judge_export_names_an_unknown_variant(files):
    made = judge(
        "pairs", files / "predictions", files / "rows", "--contestants", "tuned", "x", "--out", files / "p.csv"
    )
    assert isinstance(made.exception, UserError)
    assert "no contestant is called 'x'" in str(made.exception)
