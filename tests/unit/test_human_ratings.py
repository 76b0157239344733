# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Ratings files: they round-trip through a spreadsheet, and no cell is a formula."""

from __future__ import annotations

import csv

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemtune.errors import UserError
from gemtune.evaluation.human_ratings import (
    read_pair_ratings,
    read_ratings,
    write_pair_ratings_file,
    write_ratings_file,
)


def test_ratings_file_round_trips(tmp_path):
    rows = [{"id": "1", "reference": "r", "answer": "=cmd()"}, {"id": "2", "reference": "s", "answer": "'quoted'"}]
    write_ratings_file(tmp_path / "ratings.csv", rows, {"1": "text", "2": "本文"})
    with open(tmp_path / "ratings.csv", encoding="utf-8-sig", newline="") as file:
        lines = list(csv.reader(file))
    filled = [lines[0], [*lines[1][:4], "5"], [*lines[2][:4], "2"], [*lines[1][:4], "4"], [*lines[2][:4], ""]]
    with open(tmp_path / "ratings.csv", "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(filled)
    one, two = read_ratings(tmp_path / "ratings.csv", (1, 5))
    assert (one.example.text, one.example.target, one.answer, one.rating) == ("text", "r", "=cmd()", 4.5)
    assert (two.example.text, two.answer, two.rating) == ("本文", "'quoted'", 2.0)
    with pytest.raises(UserError, match="cannot read the file"):
        read_ratings(tmp_path / "none.csv", (1, 5))
    (tmp_path / "bare.csv").write_text("id,rating\n1,4\n")
    with pytest.raises(UserError, match="lacks the columns"):
        read_ratings(tmp_path / "bare.csv", (1, 5))
    (tmp_path / "empty.csv").write_text("id,text,reference,answer,rating\n1,a,b,c,\n")
    with pytest.raises(UserError, match="no row is rated"):
        read_ratings(tmp_path / "empty.csv", (1, 5))


cells = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\r\x00"), min_size=1, max_size=12)


@given(st.lists(st.tuples(st.sampled_from(["", "=", "+", "-", "@", "\t", "'", "'="]), cells), min_size=1, max_size=6))
def test_ratings_file_escapes_formulas(tmp_path_factory, parts):
    path = tmp_path_factory.mktemp("ratings") / "ratings.csv"
    answers = sorted({start + text for start, text in parts})
    write_ratings_file(path, [{"id": str(i), "reference": "r", "answer": one} for i, one in enumerate(answers)], {})
    with open(path, encoding="utf-8-sig", newline="") as file:
        lines = list(csv.reader(file))
    assert not any(cell[:1] in ("=", "+", "-", "@", "\t") and cell for line in lines for cell in line)
    with open(path, "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([lines[0], *([*line[:4], "3"] for line in lines[1:])])
    assert [one.answer for one in read_ratings(path, (1, 5))] == answers


def fill(path, choose):
    """People at work: `choose` says which of two texts is better."""
    with open(path, encoding="utf-8-sig", newline="") as file:
        lines = list(csv.reader(file))
    filled = [[*line[:5], choose(line[3], line[4])] for line in lines[1:]]
    with open(path, "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([lines[0], *filled])


def pairs_of(count):
    return [
        ({"id": str(i), "reference": "r", "answer": f"=good {i}"}, {"id": str(i), "reference": "r", "answer": "bad"})
        for i in range(count)
    ]


def test_pairs_file_round_trips_in_any_order(tmp_path):
    path = tmp_path / "pairs.csv"
    write_pair_ratings_file(path, pairs_of(40), {"1": "text"}, seed=3, both_orders=True)
    fill(path, lambda first, second: "First " if "good" in first else "second")
    found = read_pair_ratings(path)
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
    write_pair_ratings_file(path, pairs_of(10), {}, seed=3, both_orders=True)
    fill(path, lambda first, second: "first")
    found = read_pair_ratings(path)
    assert {one.better for one in found} == {"tie"}
    assert all(one.flipped for one in found)


def test_read_pairs_names_a_wrong_word_with_its_line(tmp_path):
    (tmp_path / "bad.csv").write_text("id,text,reference,first,second,better\n1,t,r,a,b,first\n2,t,r,a,b,left\n")
    with pytest.raises(UserError, match=r"bad\.csv:3: 'left' is not one of first, second, tie"):
        read_pair_ratings(tmp_path / "bad.csv")
    (tmp_path / "ratings.csv").write_text("id,text,reference,answer,rating\n1,t,r,a,5\n")
    with pytest.raises(UserError, match=r"lacks the columns \['better', 'first', 'second'\]"):
        read_pair_ratings(tmp_path / "ratings.csv")


def test_ratings_files_are_read_like_answers(tmp_path):
    """People write a cell as models write an answer."""
    (tmp_path / "r.csv").write_text(
        "id,text,reference,answer,rating\n"
        + "".join(
            f"{i},t,r,a{i},{cell}\n" for i, cell in enumerate(["4", "４", "4点", "4/5", "★★★★", '"4,0"', "4 stars"])
        ),
        encoding="utf-8",
    )
    assert {row.rating for row in read_ratings(tmp_path / "r.csv", (1, 5))} == {4}
    cells = ["first", "A", "1", "回答Aの方が良い", "The first is better.", "Réponse A", "B is worse than A"]
    (tmp_path / "p.csv").write_text(
        "id,text,reference,first,second,better\n" + "".join(f"{i},t,r,a,b{i},{cell}\n" for i, cell in enumerate(cells)),
        encoding="utf-8",
    )
    assert {pair.better for pair in read_pair_ratings(tmp_path / "p.csv")} == {"first"}


def test_ratings_file_of_a_spreadsheet_is_read_and_needs_utf_8(tmp_path):
    saved = tmp_path / "saved.csv"
    saved.write_text("\ufeffid;text;reference;answer;rating\r\n1;a, b;r;x;4\r\n", encoding="utf-8")
    (row,) = read_ratings(saved, [1, 5])
    assert (row.example.text, row.rating) == ("a, b", 4)
    saved.write_bytes(b"id,text,reference,answer,rating\n1,caf\xe9,r,x,4\n")
    with pytest.raises(UserError, match=r"saved\.csv.*not UTF-8 \(byte 38\).*save it as CSV UTF-8"):
        read_ratings(saved, [1, 5])
