# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Curves as a TensorBoard event file, without TensorBoard: `tensorboard --logdir` on a run's folder shows them.

Source: the TFRecord framing (length, masked CRC-32C, data, masked CRC-32C) around Event messages of
tensorflow/core/util/event.proto, of which four fields are needed. Equal curves give equal bytes.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

Series = Mapping[str, Sequence[tuple[int, float]]]

MASK = 0xA282EAD8
VARINT, DOUBLE, BYTES, FLOAT = 0, 1, 2, 5  # wire types


def write_events(path: str | Path, series: Series, wall_time: float) -> None:
    """Write every (step, value) point under its series' name; `wall_time` (seconds since 1970) stands at each.

    The name of the file must contain `tfevents` for TensorBoard to see it. Written whole or not at all.
    """
    part = Path(f"{path}.part")
    part.parent.mkdir(parents=True, exist_ok=True)
    with open(part, "wb") as out:
        for event in _events(series, wall_time):
            out.write(_record(event))
    os.replace(part, path)


def _events(series: Series, wall_time: float) -> Iterator[bytes]:
    began = _key(1, DOUBLE) + struct.pack("<d", wall_time)
    yield began + _text(3, "brain.Event:2")
    points = sorted((step, name.strip("/"), value) for name, found in series.items() for step, value in found)
    for step, name, value in points:
        scalar = _text(1, name) + _key(2, FLOAT) + struct.pack("<f", value)
        yield began + _key(2, VARINT) + _varint(step) + _message(5, _message(1, scalar))


def _record(data: bytes) -> bytes:
    length = struct.pack("<Q", len(data))
    return length + _checksum(length) + data + _checksum(data)


def _checksum(data: bytes) -> bytes:
    import google_crc32c  # type: ignore[import-untyped,unused-ignore]

    crc = google_crc32c.value(data)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + MASK) & 0xFFFFFFFF)


def _message(field: int, content: bytes) -> bytes:
    return _key(field, BYTES) + _varint(len(content)) + content


def _text(field: int, text: str) -> bytes:
    return _message(field, text.encode())


def _key(field: int, wire_type: int) -> bytes:
    return _varint(field << 3 | wire_type)


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)
