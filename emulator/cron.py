# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Cron expressions as Vertex schedules write them: five fields, optionally after `TZ=` or `CRON_TZ=` and a time zone.

Days follow cron's old rule: when both the day of the month and the day of the week are restricted, either may match.
A local time that a clock change skips does not fire; one that it repeats fires once.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from functools import cached_property
from zoneinfo import ZoneInfo

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_FIELDS = (
    ("minute", 0, 59, ()),
    ("hour", 0, 23, ()),
    ("day of month", 1, 31, ()),
    ("month", 1, 12, _MONTHS),
    ("day of week", 0, 7, _DAYS),
)
_HORIZON_DAYS = 366 * 9  # the rarest date, 29 February, comes again within 8 years


@dataclass(frozen=True)
class Cron:
    """A parsed expression; `after` gives its next moment."""

    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    day_restricted: bool
    weekday_restricted: bool
    zone: tzinfo

    def after(self, moment: datetime) -> datetime | None:
        """The first firing after a moment (with a time zone), in UTC; None when the expression never fires."""
        day = moment.astimezone(self.zone).date()
        for _ in range(_HORIZON_DAYS):
            if self._fires_on(day):
                for hour, minute in self._times:
                    local = datetime(day.year, day.month, day.day, hour, minute, tzinfo=self.zone)
                    found = local.astimezone(UTC)
                    exists = found.astimezone(self.zone).replace(tzinfo=None) == local.replace(tzinfo=None)
                    if exists and found > moment:
                        return found
            day += timedelta(days=1)
        return None

    @cached_property
    def _times(self) -> list[tuple[int, int]]:
        return [(hour, minute) for hour in sorted(self.hours) for minute in sorted(self.minutes)]

    def _fires_on(self, day: date) -> bool:
        if day.month not in self.months:
            return False
        by_date = day.day in self.days
        by_week = (day.weekday() + 1) % 7 in self.weekdays
        if self.day_restricted and self.weekday_restricted:
            return by_date or by_week
        return by_date and by_week


def parse_cron(text: str) -> Cron:
    """A parsed expression; `ValueError` says what is wrong."""
    zone: tzinfo = UTC
    match = re.fullmatch(r"\s*(?:CRON_)?TZ=(\S+)\s+(.*)", text, re.S)
    if match:
        try:
            zone = ZoneInfo(match[1])
        except (KeyError, ValueError, OSError) as error:
            raise ValueError(f"unknown time zone {match[1]!r}") from error
        text = match[2]
    words = text.split()
    if len(words) != 5:
        raise ValueError(f"a cron expression has five fields, not {len(words)}")
    sets = [_field(word, *spec) for word, spec in zip(words, _FIELDS, strict=True)]
    weekdays = frozenset(day % 7 for day in sets[4])
    return Cron(
        sets[0], sets[1], sets[2], sets[3], weekdays, not words[2].startswith("*"), not words[4].startswith("*"), zone
    )


def _field(word: str, name: str, low: int, high: int, names: tuple[str, ...]) -> frozenset[int]:
    found: set[int] = set()
    for part in word.lower().split(","):
        match = re.fullmatch(r"(\*|[a-z0-9]+)(?:-([a-z0-9]+))?(?:/([0-9]{1,4}))?", part)
        if match is None:
            raise ValueError(f"{part!r} is not a valid {name}")
        step = int(match[3] or 1)
        if match[1] == "*":
            first, last = low, high
        else:
            first = _value(match[1], name, low, names)
            last = _value(match[2], name, low, names) if match[2] else (high if match[3] else first)
        if step < 1 or not low <= first <= last <= high:
            raise ValueError(f"{part!r} is not a valid {name}: it goes from {low} to {high}")
        found.update(range(first, last + 1, step))
    return frozenset(found)


def _value(text: str, name: str, low: int, names: tuple[str, ...]) -> int:
    if text in names:
        return names.index(text) + low
    if not text.isdigit():
        raise ValueError(f"{text!r} is not a valid {name}")
    return int(text)
