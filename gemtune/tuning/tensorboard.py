# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Loss curves as TensorBoard event files: `tensorboard --logdir FOLDER` shows them.

Guarantees: a file is written whole or not at all, and equal curves give equal bytes. Records and messages come from
TensorBoard's own package, which needs neither TensorFlow nor torch.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

Series = Mapping[str, Sequence[tuple[int, float]]]

FILE_VERSION = "brain.Event:2"  # what every event file begins with


def write_events(folder: str | Path, series: Series, start_time: float) -> Path:
    """Write all (step, value) points of each series to one event file in `folder`, and return the file.

    Every event carries `start_time` (seconds since 1970). Repeating the call replaces the file.
    """
    from tensorboard.summary.writer.record_writer import RecordWriter

    Path(folder).mkdir(parents=True, exist_ok=True)
    path = Path(folder) / f"events.out.tfevents.{int(start_time)}.gemtune"
    part = path.with_name(f".{path.name}.part")
    with part.open("wb") as out:
        writer = RecordWriter(out)
        for event in _events(series, start_time):
            writer.write(event.SerializeToString())
    os.replace(part, path)
    return path


def _events(series: Series, start_time: float) -> Iterator[Any]:
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary

    yield Event(wall_time=start_time, file_version=FILE_VERSION)
    points = sorted((step, name.strip("/"), value) for name, curve in series.items() for step, value in curve)
    for step, name, value in points:
        summary = Summary(value=[Summary.Value(tag=name, simple_value=value)])
        yield Event(wall_time=start_time, step=step, summary=summary)
