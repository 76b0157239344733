# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Benchmarks read public data from the folder that the command line names, or say what it must hold."""

from __future__ import annotations

import argparse
import gzip
import re
from pathlib import Path

import pytest

from bench.public_data import ANY_SET, data_folder, data_rows

BENCH = Path(__file__).parents[2] / "bench"
FILES = ["sentiment/reviews/train", "ratings/talk/all"]


@pytest.fixture
def folder(tmp_path):
    for name in FILES:
        (tmp_path / name).parent.mkdir(parents=True)
    rows = '{"text": "a\u2028b\x85c"}\n{"text": "e"}\n'
    (tmp_path / f"{FILES[0]}.jsonl").write_text(rows, encoding="utf-8")
    (tmp_path / f"{FILES[1]}.jsonl.gz").write_bytes(gzip.compress(rows.encode()))
    return tmp_path


def refusal(capsys, folder, files):
    with pytest.raises(SystemExit) as end:
        data_folder(argparse.ArgumentParser("bench"), folder, files, "a key `text`")
    assert end.value.code == 2
    return capsys.readouterr().err


def test_data_folder_lists_what_it_must_hold(folder, capsys):
    message = refusal(capsys, None, FILES)
    assert "--data DIR is required; the folder must hold JSON lines, gzipped (.jsonl.gz) or not, with a key" in message
    assert message.endswith("".join(f"\n  {name}.jsonl" for name in FILES) + "\n")
    (folder / f"{FILES[1]}.jsonl.gz").unlink()
    assert f"--data {folder}: ratings/talk/all.jsonl is missing" in refusal(capsys, folder, FILES)
    assert "KIND/NAME/SPLIT.jsonl is missing" in refusal(capsys, folder / "sentiment", [ANY_SET])


def test_data_folder_is_returned_if_it_is_complete(folder):
    for files in (FILES, [ANY_SET]):
        assert data_folder(argparse.ArgumentParser(), folder, files, "a key `text`") == folder


@pytest.mark.parametrize("name", FILES)
def test_data_rows_are_those_of_the_file(folder, name):
    assert data_rows(folder, name) == [{"text": "a\u2028b\x85c"}, {"text": "e"}]


def test_benchmarks_name_no_folder_outside_the_repository():
    for path in BENCH.glob("*.py"):
        assert not re.search(r"parents\[2\]|\.parent\.parent\.parent|ROOT\.parent\b", path.read_text("utf-8")), (
            path.name
        )
