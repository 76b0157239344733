# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Canonical form of extracted objects: equal values, by the rules of their fields, have equal text.

References and answers are brought into this form where they are read, so that exact match, field scores, votes and the
per-field report compare alike. Guarantees: the form is idempotent, and a value that is not of the kind its rule expects
("unknown" as a date) is compared as text.
"""

import json
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import Any

from gemtune.config import JsonObject
from gemtune.inference.answer_forms import LANGUAGES, any_of, words_of

FieldRules = Mapping[str, Sequence[str]]
_NO_RULES: FieldRules = {}
_EMPTY: tuple[Any, ...] = (None, "", [], {})
_EAST_ASIAN_DATE = re.compile(r"(\d{4})\s*[年년]\s*(\d{1,2})\s*[月월]\s*(\d{1,2})\s*[日일]")
_ERA_YEAR = re.compile(r"(令和|平成|昭和|民國|民国)\s*(\d{1,3}|元)\s*年")
_YEARS_BEFORE = {"令和": 2018, "平成": 1988, "昭和": 1925, "民國": 1911, "民国": 1911}  # the first year of an era
_INDIAN = re.compile(r"\d{1,2}(?:,\d\d)+,\d{3}")  # 12,34,567
_GROUPED = re.compile(r"\d{1,3}(?:[ '’]\d{3})+(?=[.,]|$)")
_DECIMAL = re.compile(r"(?P<sign>[-+]?)(?P<digits>(?=[.,]?\d)[\d.,]+)(?P<exponent>e[-+]?\d{1,3})?", re.IGNORECASE)
_MINUS = str.maketrans("−–", "--")
_MAX_CHARS = 60  # of a number or a date


def canonical_object(value: JsonObject, rules: FieldRules = _NO_RULES) -> str:
    """One spelling of equal objects: keys sorted, empty fields removed, values by the rules of their fields.

    Without a rule, texts are compared without regard to width and white space, lists without regard to order.
    """
    return json.dumps(_object(value, rules, ""), ensure_ascii=False, sort_keys=True)


def scored_fields(schema: JsonObject) -> list[str]:
    """The fields of a schema that are compared as they are written: those whose names can stand in an expression."""
    return sorted(name for name in schema.get("properties", {}) if name.isidentifier())


def as_written(value: Any) -> str:
    """A field's value as text: a text as it is, anything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def json_object(text: str) -> JsonObject:
    """The JSON object that a text is; an empty one for any other text."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def with_read_values(value: Any, rules: FieldRules, path: str = "") -> Any:
    """The object with numbers and dates as their rules read them, otherwise unchanged: the form a schema may expect."""
    if isinstance(value, dict):
        return {key: with_read_values(item, rules, f"{path}.{key}".lstrip(".")) for key, item in value.items()}
    if isinstance(value, list):
        return [with_read_values(item, rules, path) for item in value]
    return _scalar(value, rules.get(path, ())) if {"number", "date"} & {*rules.get(path, ())} else value


def ruled_values(value: Any, rules: FieldRules, path: str = "") -> Iterator[tuple[str, bool]]:
    """The field of each value that a rule compares, and whether it is of the kind that the rule expects: a number, an
    unambiguous date.
    """
    if isinstance(value, dict):
        for key, item in value.items():
            yield from ruled_values(item, rules, f"{path}.{key}".lstrip("."))
    elif isinstance(value, list):
        for item in value:
            yield from ruled_values(item, rules, path)
    elif path in rules and value not in _EMPTY:
        is_number, is_date = "number" in rules[path], "date" in rules[path]
        yield path, not ((is_number and read_number(value) is None) or (is_date and _date(str(value)) is None))


def _object(value: Mapping[str, Any], rules: FieldRules, path: str) -> JsonObject:
    fields = {key: _canonical(item, rules, f"{path}.{key}".lstrip(".")) for key, item in value.items()}
    return {key: item for key, item in fields.items() if item not in _EMPTY}


def _canonical(value: Any, rules: FieldRules, path: str) -> Any:
    own = rules.get(path, ())
    if isinstance(value, dict):
        return _object(value, rules, path)
    if not isinstance(value, list):
        return _scalar(value, own)
    items = [_canonical(item, rules, path) for item in value]
    if "sequence" in own:
        return items
    ordered = sorted(items, key=_as_text)
    if "set" in own:
        return [item for i, item in enumerate(ordered) if not i or _as_text(item) != _as_text(ordered[i - 1])]
    return ordered


def _as_text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True)


def _scalar(value: Any, rules: Sequence[str]) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if "number" in rules and (number := read_number(value)) is not None:
        return number
    if isinstance(value, float):
        return int(value) if value.is_integer() else value
    if not isinstance(value, str) or "exact" in rules:
        return value
    if "date" in rules and (day := _date(value)) is not None:
        return day
    text = re.sub(r"\s+", " ", unicodedata.normalize("NFKC", value)).strip()
    return text.casefold() if "ignore_case" in rules else text


def read_number(value: Any) -> int | float | str | None:
    """The number that a value is or spells; a text, if no float has its digits; None if it spells none.

    The last of two kinds of separators is the decimal one. Of one kind, a comma before three digits separates
    thousands ("1,234"), and so does a separator that occurs again; any other is the decimal one.
    """
    text = unicodedata.normalize("NFKC", str(value)).translate(_MINUS).strip()[: _MAX_CHARS + 1]
    text = _GROUPED.sub(lambda match: re.sub(r"[ '’]", "", match[0]), text)
    match = _DECIMAL.fullmatch(text) if len(text) <= _MAX_CHARS else None
    if not match:
        return None
    digits = match["digits"]
    last = max(digits.rfind(","), digits.rfind("."))
    before, after, kinds = digits[: max(0, last)], digits[last + 1 :], {*digits} & {*",."}
    is_repeated = len(kinds) == 1 and digits.count(digits[last]) > 1
    is_comma = kinds == {","} and len(after) == 3 and re.fullmatch(r"[1-9]\d{0,2}", before)
    whole, fraction = (digits, "") if is_repeated or is_comma or not kinds else (before, after)
    groups = re.split("[.,]", whole)
    if (
        len(groups) > 1
        and not _INDIAN.fullmatch(whole)
        and (not groups[0] or any(len(group) != 3 for group in groups[1:]))
    ):
        return None
    try:
        number = Decimal(f"{match['sign']}{''.join(groups) or '0'}.{fraction or '0'}{match['exponent'] or ''}")
    except InvalidOperation:
        return None
    if number == number.to_integral_value():
        return int(number)
    return float(number) if Decimal(repr(float(number))) == number else str(number.normalize())


def _western_year(era: re.Match[str]) -> str:
    return f"{_YEARS_BEFORE[era[1]] + (1 if era[2] == '元' else int(era[2]))}年"


@lru_cache(maxsize=4096)
def _date(text: str) -> str | None:
    """The date, or the time in UTC, in ISO 8601; None for other texts, and for incomplete or ambiguous ones (3/4/2026).

    It is read with the day first and with the month first, and with two values for what it does not name: a text that
    does not read alike each time is ambiguous or incomplete.
    """
    months = _months()
    western = _ERA_YEAR.sub(_western_year, unicodedata.normalize("NFKC", text))
    plain = _weekdays().sub(" ", _EAST_ASIAN_DATE.sub(r"\1-\2-\3 ", western)).strip()
    if len(plain) > _MAX_CHARS or not re.search(r"\d", plain):
        return None
    begins_with_year = re.match(r"\d{4}", plain) is not None
    moments: set[datetime] = set()
    for day_first in (False, not begins_with_year):
        for default in (datetime(2000, 1, 1), datetime(2003, 2, 2)):
            try:
                moment = months.parse(plain, dayfirst=day_first, default=default, tzinfos=_zone)
                moments.add(moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment)
            except (ValueError, OverflowError, TypeError, AttributeError):
                return None
    if len(moments) > 1:
        return None
    (moment,) = moments
    return moment.date().isoformat() if moment.time() == datetime.min.time() else moment.isoformat()


@lru_cache(maxsize=1)
def _weekdays() -> re.Pattern[str]:
    days = rf"{any_of(words_of('weekdays'))}|\([月火水木金土日월화수목금토일]\)"
    return re.compile(rf"[(\s]*(?:{days})[),.\s]*", re.IGNORECASE)


@lru_cache(maxsize=1)
def _months() -> Any:
    """dateutil's parser with the names of months in further languages."""
    from dateutil import parser  # type: ignore[import-untyped,unused-ignore]

    listed = [words["months"].split(", ") for words in LANGUAGES if "months" in words]
    names = {
        "MONTHS": [(*own, *more) for own, *more in zip(parser.parserinfo.MONTHS, *listed, strict=True)],
        "JUMP": [*parser.parserinfo.JUMP, "de", "er", "der", "den", "le", "el", "il", "o", "del", "di"],
    }
    return parser.parser(type("Months", (parser.parserinfo,), names)())


def _zone(name: str | None, offset: int | None) -> tzinfo | None:
    """The time zone of an offset; a bare name such as EST stands for several, so it is not read."""
    if offset is not None:
        return timezone(timedelta(seconds=offset))
    if name:
        raise ValueError(name)
    return None
