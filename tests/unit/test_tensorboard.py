# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Event files are read back by TensorBoard's own readers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader

from gemtune.tuning.tensorboard import write_events

values = st.lists(st.tuples(st.integers(0, 2**40), st.floats(width=32, allow_nan=False)), max_size=20)
names = st.text(st.characters(exclude_characters="/", codec="utf-8"), min_size=1)


@given(st.dictionaries(names, values, max_size=4))
def test_write_events_round_trips(tmp_path_factory: Any, series: dict[str, list[tuple[int, float]]]) -> None:
    folder = tmp_path_factory.mktemp("events")
    path = write_events(folder, {f"/{name}": points for name, points in series.items()}, 1.5)
    first, *events = LegacyEventFileLoader(str(path)).Load()
    assert first.file_version == "brain.Event:2"
    assert [len(event.summary.value) for event in events] == [1] * len(events)
    read = [(e.summary.value[0].tag, e.step, e.summary.value[0].simple_value, e.wall_time) for e in events]
    assert sorted(read) == sorted((name, step, value, 1.5) for name, points in series.items() for step, value in points)


def test_write_events_is_read_by_tensorboard(tmp_path: Path) -> None:
    write_events(tmp_path, {"/train_total_loss": [(1, 0.5), (2, 0.25)], "/eval_total_loss": [(2, 0.75)]}, 1234.0)
    shown = EventAccumulator(str(tmp_path))
    shown.Reload()
    assert sorted(shown.Tags()["scalars"]) == ["eval_total_loss", "train_total_loss"]
    points = [(point.wall_time, point.step, point.value) for point in shown.Scalars("train_total_loss")]
    assert points == [(1234.0, 1, 0.5), (1234.0, 2, 0.25)]


def test_write_events_is_deterministic(tmp_path: Path) -> None:
    curves = {"/train_total_loss": [(1, 0.5), (2, 0.25)]}
    paths = [write_events(tmp_path / name, curves, 7.0) for name in ("a", "b", "a")]
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert [path.name for path in (tmp_path / "a").iterdir()] == [paths[0].name]
