# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The table of renamed settings lists every setting before the renaming, and every setting now."""

from __future__ import annotations

import csv
import typing
from collections.abc import Iterator
from pathlib import Path

from gemtune.config import Config, Section

TABLE = Path(__file__).parents[1] / "golden" / "settings.csv"
SETTINGS_BEFORE = 182  # those of the items of evaluate.baselines and plan.trials not counted


def rows() -> list[dict[str, str]]:
    with TABLE.open(encoding="utf-8", newline="") as table:
        return list(csv.DictReader(table))


def settings(model: type[Section], prefix: str = "") -> Iterator[str]:
    """Dotted names of all settings; `[]` marks the items of a list."""
    for name, info in model.model_fields.items():
        types = [info.annotation, *typing.get_args(info.annotation)]
        (inner,) = [part for part in types if isinstance(part, type) and issubclass(part, Section)] or [None]
        if inner is not info.annotation:
            yield prefix + name
        if inner:
            yield from settings(inner, f"{prefix}{name}{'' if inner is info.annotation else '[]'}.")


def test_settings_table_covers_every_setting():
    assert len([row for row in rows() if row["old"] and "[]" not in row["old"]]) == SETTINGS_BEFORE
    assert sorted(row["new"] for row in rows() if row["new"]) == sorted(settings(Config))


def test_settings_table_gives_each_setting_one_new_name_or_a_reason():
    renamed = [row["new"] for row in rows() if row["new"]]
    assert len(renamed) == len(set(renamed))
    assert all(row["new"] or row["why"].startswith("dropped, because ") for row in rows())
    assert all(row["why"] for row in rows() if row["new"] != row["old"])
