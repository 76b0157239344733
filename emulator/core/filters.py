# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""List filters in Google's filter language (AIP-160, the part documented for its list methods), selections of fields.

`labels.run="x" AND (state=JOB_STATE_RUNNING OR NOT display_name:"old")`, by the grammar `filter.lark`. An invalid
filter is a 400, never ignored.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from fnmatch import fnmatchcase
from functools import reduce
from operator import ge, gt, le, lt
from pathlib import Path
from typing import Any

from lark import Lark, Token, Transformer, v_args
from lark.exceptions import LarkError

from emulator.core.google_rest import ApiError, Json, camel, canonical

Test = Callable[[Json], bool]
_GRAMMAR = Lark(Path(__file__).with_name("filter.lark").read_text("utf-8"), parser="lalr")
_SELECTION = Lark(Path(__file__).with_name("selection.lark").read_text("utf-8"), parser="lalr")
_MOST_LEVELS = 50


class Filters:
    """Filters that must all hold; an empty one always does. `labels` are the (key, value) that they require."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._tests: list[Test] = []
        self.labels: list[tuple[str, str]] = []
        for text in filter(str.strip, texts):
            reader = _Reader()
            try:
                if len(re.findall(r"\(|\bNOT\b", text)) > _MOST_LEVELS:
                    raise LarkError
                self._tests.append(reader.transform(_GRAMMAR.parse(text)))
            except LarkError as error:
                raise ApiError(400, f"Invalid filter: {text[:200]!r}.") from error
            self.labels += [] if reader.has_alternatives else reader.labels

    def matching(self, items: Iterable[tuple[int, Json]]) -> Iterator[tuple[int, Json]]:
        """The items that match, as far as they are consumed."""
        return (item for item in items if all(test(item[1]) for test in self._tests))


@v_args(inline=True)
class _Reader(Transformer[Token, Test]):
    """The test of a filter, and the labels that it requires unless it has alternatives."""

    def __init__(self) -> None:
        super().__init__()
        self.labels: list[tuple[str, str]] = []
        self.has_alternatives = False

    def sequence(self, *tests: Test) -> Test:
        return lambda item: all(test(item) for test in tests)

    def alternatives(self, *tests: Test) -> Test:
        self.has_alternatives |= len(tests) > 1
        return lambda item: any(test(item) for test in tests)

    def negation(self, test: Test) -> Test:
        self.has_alternatives = True
        return lambda item: not test(item)

    def restriction(self, field: Token, operator: Token, value: str) -> Test:
        path = field.strip("\"'").split(".", 1)
        key = path[1].strip("\"'") if path[0] == "labels" and len(path) == 2 else ""
        if operator == "=" and value and re.fullmatch(r"[a-z0-9-]+", key) and re.fullmatch(r"[\w-]+", value):
            self.labels.append((key, value))
        return lambda item: _compare(_look_up(item, path), operator, value)

    def value(self, *parts: Token) -> str:
        """A quoted text, or an unquoted one such as projects/1/x:2."""
        return re.sub(r"\\(.)", r"\1", parts[0][1:-1]) if parts[0].type == "STRING" else ":".join(parts)

    def in_context(self, text: Token) -> Test:
        """The one function that the metadata lists need."""
        context = canonical(text[1:-1])
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
    if operator in _TESTS:
        return _TESTS[operator](have, want)
    if have is None:
        return False
    try:
        return _ORDER[operator](float(have), float(want))
    except (TypeError, ValueError):
        return _ORDER[operator](str(have), want)


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


_TESTS: dict[str, Callable[[Any, str], bool]] = {
    ":": _has,
    "=": _equal,
    "!=": lambda have, want: not _equal(have, want),
}
_ORDER: dict[str, Callable[[Any, Any], bool]] = {"<": lt, ">": gt, "<=": le, ">=": ge}


def select_fields(value: Any, selection: str) -> Any:
    """The part of a response that `fields` names, such as `items(name,acl/role),nextPageToken`; else a 400."""
    try:
        return _selected(value, _SelectionReader().transform(_SELECTION.parse(selection)))
    except (LarkError, RecursionError):
        raise ApiError(400, f"Invalid field selection {selection[:200]}", "invalid") from None


@v_args(inline=True)
class _SelectionReader(Transformer[Token, Json]):
    """The names of a selection, each with those below it."""

    def start(self, *trees: Json) -> Json:
        return reduce(_merged, trees)

    def path(self, *parts: Any) -> Json:
        *names, last = parts
        tree: Json = last if isinstance(last, dict) else {str(last): {}}
        return reduce(lambda below, name: {str(name): below}, reversed(names), tree)


def _merged(left: Json, right: Json) -> Json:
    return {key: _merged(left.get(key, {}), right.get(key, {})) for key in {**left, **right}}


def _selected(value: Any, tree: Json) -> Any:
    if isinstance(value, list):
        return [_selected(item, tree) for item in value]
    if not tree or not isinstance(value, dict):
        return value
    rest: Json | None = tree.get("*")
    subtrees = {key: tree.get(key, rest) for key in value}
    return {key: _selected(value[key], inner) for key, inner in subtrees.items() if inner is not None}
