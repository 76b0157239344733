# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Figures of the benchmarks: ratios, goals, the recorded run, and what `make bench` runs."""

import os
import random
import sys
from datetime import date
from pathlib import Path

import pytest
import yaml

from bench import methods, size, suite
from bench.__main__ import HERE, NO_BENCHMARK, Outcome, dated, draw, growth, merged, promises, reasons, table
from bench.figures import FILE, Figure, read, record, write

FASTER = Figure(name="near-duplicates", value=2.0, unit="us/row", peer="rensa", peer_value=8.0, goal=3.5)
RATE = Figure(name="passages", value=50, unit="MB/s", peer="suffix array", peer_value=20, goal=60, more_is_better=True)


def test_figure_compares_itself_with_its_peer_and_its_goal():
    assert (FASTER.ratio, FASTER.met) == (4.0, True)
    assert (RATE.ratio, RATE.met) == (2.5, False)
    assert (Figure(name="a", value=1, unit="").ratio, Figure(name="a", value=1, unit="").met) == (None, None)


def test_record_appends_to_the_file_that_the_run_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    record(FASTER)  # a benchmark that runs alone
    monkeypatch.setenv(FILE, str(tmp_path / "figures.jsonl"))
    record(FASTER)
    record(RATE)
    assert read(tmp_path / "figures.jsonl") == [FASTER, RATE]
    write(tmp_path / "again.jsonl", [RATE])
    assert read(tmp_path / "again.jsonl") == [RATE]
    assert read(tmp_path / "nothing.jsonl") == []


def test_table_shows_each_figure_beside_peer_and_recorded_ratio():
    first, second = dated([FASTER, RATE], [FASTER.model_copy(update={"value": 4.0})])
    *_, one, other = table([first.model_copy(update={"measured": "2026-01-02", "loop_s": 0.05}), RATE]).splitlines()
    assert one == "| near-duplicates | 2 us/row | rensa | 8 | 4.0 x | 2.0 x | at most 3.5: met | 2026-01-02 | 50 |"
    assert other == "| passages | 50 MB/s | suffix array | 20 | 2.5 x |  | at least 60: not met |  |  |"
    assert (first.measured, second.earlier) == (str(date.today()), "")
    assert 0 < first.loop_s < 10
    assert "| wear | 3 | BROKEN |  |" in promises([Outcome("wear", kept=False, cpu_s=3).cost])
    assert "| size | 0 | not run: late |" in promises([Outcome("size", kept=True, note="not run: late").cost])


def test_merged_keeps_the_order_and_puts_new_figures_beside_their_run() -> None:
    a, b, c, d = (Figure(name=name, value=1, unit="s") for name in "abcd")
    assert merged([a, b, c], [b.model_copy(update={"value": 2}), d]) == [a, b.model_copy(update={"value": 2}), d, c]
    assert merged([], [a, b]) == [a, b]


def test_growth_and_reasons_are_those_of_the_recorded_figures(tmp_path: Path) -> None:
    sized = [Figure(name=f"split, {rows} rows", value=rows / 5000, unit="CPU s") for rows in (100_000, 1000)]
    sized += [Figure(name=f"scripted run of {rows} rows", value=rows / 90, unit="CPU s") for rows in (1000, 10_000)]
    others = [
        Figure(name="split, 1000 rows: rate", value=3, unit="MB/s"),
        Figure(name="a, 9 rows", value=1, unit="CPU s"),
    ]
    parts = growth([*sized, *others])
    assert parts["split"] == [(1000, 0.2), (100_000, 20)]
    assert list(parts) == ["split", "scripted run"]
    pytest.importorskip("matplotlib")
    draw(parts, tmp_path / "growth.svg")
    assert "<svg" in (tmp_path / "growth.svg").read_text()
    missed = RATE.model_copy(update={"reason": [("readers.parse_json", 0.25)]})
    assert "### passages\n" in reasons([FASTER, missed])
    assert "| `readers.parse_json` | 25% |" in reasons([missed])
    said = missed.model_copy(update={"reason": [], "finding": "Half of it is reading."})
    assert reasons([FASTER, said]).endswith("### passages\n\nHalf of it is reading.\n")
    assert reasons([FASTER]).endswith("None.\n")


def test_suite_records_the_minutes_of_make_test(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(suite, "BUILD", tmp_path)
    monkeypatch.setattr(sys, "argv", ["suite"])
    monkeypatch.setenv(FILE, str(tmp_path / "figures.jsonl"))
    suite.main()
    assert "run it first" in capsys.readouterr().out
    cases = "".join(
        f"<testcase classname='tests.a' name='test_{name}'><properties><property name='cpu_seconds' value='{value}'/>"
        "</properties></testcase>"
        for name, value in (("quick", 1), ("slow", 3))
    )
    (tmp_path / "tests.begun").touch()
    (tmp_path / "tests.xml").write_text(
        f"<testsuites><testsuite failures='0' errors='0'>{cases}</testsuite></testsuites>"
    )
    for minutes in (2, 6):
        begun = (tmp_path / "tests.xml").stat().st_mtime - 60 * minutes
        os.utime(tmp_path / "tests.begun", (begun, begun))
        suite.main()
    quick, slow = read(tmp_path / "figures.jsonl")
    assert (quick.met, quick.reason) == (True, [])
    assert (slow.met, slow.reason) == (False, [("tests.a::test_slow", 0.75), ("tests.a::test_quick", 0.25)])


def test_default_run_names_benchmarks():
    names = set(yaml.safe_load((HERE / "default_run.yaml").read_text(encoding="utf-8")))
    assert names <= {path.stem for path in HERE.glob("*.py")} - set(NO_BENCHMARK)


@pytest.mark.parametrize("name", methods.KINDS)
def test_methods_have_rows_with_another_and_worse_answer(name: str) -> None:
    items = methods.KINDS[name].items(random.Random(1))
    train, validation, test = methods.splits_of(items, 1, (40, 20, 30))
    assert (len(train), len(validation), len(test)) == (40, 20, 30)
    assert len({row.id for split in (train, validation, test) for row in split}) == 90
    assert all(row.pairs[0].chosen == row.target != row.pairs[0].rejected for row in train)


def test_size_measures_every_part_on_scripted_answers() -> None:
    assert list(size.measured(40, 4)) == ["evaluate", "write", "gate", "report: rows", "report: confusions"]
