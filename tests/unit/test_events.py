# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Event files are read back by a decoder that protobuf builds from the messages' public definition."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import google_crc32c
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from hypothesis import given
from hypothesis import strategies as st

from gemtune.tuning.tensorboard import write_events


def event_class() -> Any:
    """`Event` as TensorBoard defines it, cut down to the fields that scalars use."""
    kinds = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="event.proto", package="t", syntax="proto3")
    fields: dict[str, list[tuple[str, int, int, int, str]]] = {
        "Value": [("tag", 1, kinds.TYPE_STRING, 1, ""), ("simple_value", 2, kinds.TYPE_FLOAT, 1, "")],
        "Summary": [("value", 1, kinds.TYPE_MESSAGE, 3, ".t.Value")],
        "Event": [
            ("wall_time", 1, kinds.TYPE_DOUBLE, 1, ""),
            ("step", 2, kinds.TYPE_INT64, 1, ""),
            ("file_version", 3, kinds.TYPE_STRING, 1, ""),
            ("summary", 5, kinds.TYPE_MESSAGE, 1, ".t.Summary"),
        ],
    }
    for name, wanted in fields.items():
        message = file.message_type.add(name=name)
        for field, number, kind, label, type_name in wanted:
            message.field.add(name=field, number=number, type=kind, label=label, type_name=type_name or None)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("t.Event"))


EVENT = event_class()


def masked(data: bytes) -> int:
    crc = google_crc32c.value(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def read(path: Path) -> list[Any]:
    content, at, found = path.read_bytes(), 0, []
    while at < len(content):
        (size,) = struct.unpack_from("<Q", content, at)
        data = content[at + 12 : at + 12 + size]
        assert struct.unpack_from("<I", content, at + 8)[0] == masked(content[at : at + 8])
        assert struct.unpack_from("<I", content, at + 12 + size)[0] == masked(data)
        found.append(EVENT.FromString(data))
        at += 16 + size
    return found


values = st.lists(st.tuples(st.integers(0, 2**40), st.floats(width=32, allow_nan=False)), max_size=20)


@given(st.dictionaries(st.text(st.characters(exclude_characters="/", codec="utf-8"), min_size=1), values, max_size=4))
def test_write_events_round_trips(tmp_path_factory: Any, series: dict[str, list[tuple[int, float]]]) -> None:
    path = tmp_path_factory.mktemp("events") / "job.tfevents"
    write_events(path, {f"/{name}": points for name, points in series.items()}, 1.5)
    first, *events = read(path)
    assert first.file_version == "brain.Event:2"
    told = [(e.summary.value[0].tag, e.step, e.summary.value[0].simple_value, e.wall_time) for e in events]
    assert sorted(told) == sorted((name, step, value, 1.5) for name, points in series.items() for step, value in points)


def test_write_events_is_deterministic(tmp_path: Path) -> None:
    for name in ("a.tfevents", "b.tfevents"):
        write_events(tmp_path / name, {"/train_total_loss": [(1, 0.5), (2, 0.25)]}, 7.0)
    assert (tmp_path / "a.tfevents").read_bytes() == (tmp_path / "b.tfevents").read_bytes()
