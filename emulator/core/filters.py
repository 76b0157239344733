# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""List filters in Google's filter language (AIP-160, the part documented for its list methods).

`labels.run="x" AND (state=JOB_STATE_RUNNING OR NOT display_name:"old")`. OR binds tighter than AND, as in AIP-160;
juxtaposition is AND. An invalid filter is a 400, never ignored.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from fnmatch import fnmatchcase
from typing import Any

from emulator.core.google_rest import ApiError, Json, camel, canonical

Test = Callable[[Json], bool]
_TOKEN = re.compile(
    r"""\s*(?:(?P<op><=|>=|!=|=|:|<|>)|(?P<par>[()])|(?P<str>"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')|"""
    r"""(?P<word>[^\s()=<>!:"',]+(?:\s*\.\s*)?))"""
)


class Filters:
    """Filters that must all hold; an empty one always does. `labels` are the (key, value) that they require."""

    def __init__(self, texts: Iterable[str]) -> None:
        parsers = [_Parser(text) for text in texts if text.strip()]
        self._tests = [parser.parse() for parser in parsers]
        self.labels = [label for parser in parsers for label in parser.labels]

    def matching(self, items: Iterable[tuple[int, Json]]) -> Iterator[tuple[int, Json]]:
        """The items that match, as far as they are consumed."""
        return (item for item in items if all(test(item[1]) for test in self._tests))


class _Parser:
    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens: list[tuple[str, str]] = []
        position = 0
        stripped = text.rstrip()
        while position < len(stripped):
            match = _TOKEN.match(stripped, position)
            if match is None:
                raise self._error()
            kind = match.lastgroup or "word"
            self.tokens.append((kind, match[kind]))
            position = match.end()
        self.at = 0
        self.labels: list[tuple[str, str]] = []
        self._alternatives = False

    def _error(self) -> ApiError:
        return ApiError(400, f"Invalid filter: {self.text[:200]!r}.")

    def _peek(self) -> tuple[str, str]:
        return self.tokens[self.at] if self.at < len(self.tokens) else ("end", "")

    def _next(self) -> tuple[str, str]:
        token = self._peek()
        self.at += 1
        return token

    def parse(self) -> Test:
        test = self._all(0)
        if self._peek()[0] != "end":
            raise self._error()
        if self._alternatives:
            self.labels = []
        return test

    def _all(self, depth: int) -> Test:
        if depth > 50:
            raise self._error()
        tests = [self._any(depth)]
        while self._peek()[0] != "end" and self._peek() != ("par", ")"):
            if self._peek() in (("word", "AND"), ("word", "and")):
                self._next()
            tests.append(self._any(depth))
        return lambda item: all(test(item) for test in tests)

    def _any(self, depth: int) -> Test:
        tests = [self._term(depth)]
        while self._peek() in (("word", "OR"), ("word", "or")):
            self._next()
            self._alternatives = True
            tests.append(self._term(depth))
        return lambda item: any(test(item) for test in tests)

    def _term(self, depth: int) -> Test:
        if self._peek() == ("word", "NOT"):
            self._next()
            self._alternatives = True
            inner = self._term(depth + 1) if depth < 50 else self._fail()
            return lambda item: not inner(item)
        if self._peek() == ("par", "("):
            self._next()
            inner = self._all(depth + 1)
            if self._next() != ("par", ")"):
                raise self._error()
            return inner
        return self._restriction()

    def _fail(self) -> Test:
        raise self._error()

    def _restriction(self) -> Test:
        kind, field = self._next()
        if kind not in ("word", "str"):
            raise self._error()
        if self._peek() == ("par", "("):
            return self._function(field)
        kind, operator = self._next()
        if kind != "op":
            raise self._error()
        kind, value = self._next()
        if kind not in ("word", "str"):
            raise self._error()
        if kind == "word":  # an unquoted value such as projects/1/x:2 is one value
            while self._peek()[0] == "op" and self._peek()[1] == ":":
                self._next()
                value += ":" + self._next()[1]
        else:
            value = re.sub(r"\\(.)", r"\1", value[1:-1])
        path = field.strip("\"'").split(".", 1)
        key = path[1].strip("\"'") if path[0] == "labels" and len(path) == 2 else ""
        if operator == "=" and value and re.fullmatch(r"[a-z0-9-]+", key) and re.fullmatch(r"[\w-]+", value):
            self.labels.append((key, value))
        return lambda item: _compare(_look_up(item, path), operator, value)

    def _function(self, name: str) -> Test:
        """`in_context("...")`, the one function that the metadata lists need."""
        self._next()
        kind, value = self._next()
        if name != "in_context" or kind != "str" or self._next() != ("par", ")"):
            raise self._error()
        context = canonical(value[1:-1])
        return lambda item: context in item.get("_contexts", ())


def _look_up(item: Json, path: list[str]) -> Any:
    value = item.get(camel(path[0]), item.get(path[0]))
    if len(path) == 1:
        return value
    if not isinstance(value, dict):
        return None
    rest = path[1].strip("\"'")
    if rest in value:
        return value[rest]
    if camel(rest) in value:
        return value[camel(rest)]
    return _look_up(value, rest.split(".", 1)) if "." in rest else None


def _compare(have: Any, operator: str, want: str) -> bool:
    if operator == ":":
        return _has(have, want)
    if operator == "!=":
        return not _equal(have, want)
    if operator == "=":
        return _equal(have, want)
    if have is None:
        return False
    try:
        left: Any = float(have)
        right: Any = float(want)
    except (TypeError, ValueError):
        left, right = str(have), want
    return bool({"<": left < right, ">": left > right, "<=": left <= right, ">=": left >= right}[operator])


def _equal(have: Any, want: str) -> bool:
    if have is None:
        return want == ""
    if isinstance(have, bool):
        return str(have).lower() == want.lower()
    if isinstance(have, list):
        return any(_equal(item, want) for item in have)
    if isinstance(have, int | float):
        try:
            return float(want) == have
        except ValueError:
            return False
    text = canonical(str(have))
    return fnmatchcase(text, canonical(want).replace("[", "[[]")) if "*" in want else text == canonical(want)


def _has(have: Any, want: str) -> bool:
    if have is None:
        return False
    if want == "*":
        return have not in ("", [], {})
    if isinstance(have, dict):
        return want in have
    if isinstance(have, list):
        return any(_equal(item, want) for item in have)
    return canonical(want).lower() in canonical(str(have)).lower()
