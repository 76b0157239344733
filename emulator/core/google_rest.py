# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The conventions of Google's REST APIs: resource names, field cases, errors, pagination, routes.

A route is a method, a path template and a handler that takes a `Call`; the table of routes is also the support table of
the documentation. Nothing here depends on a particular resource.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import yaml

Json = dict[str, Any]
NAMES: Json = yaml.safe_load(Path(__file__).with_name("names.yaml").read_text("utf-8"))


class ApiError(Exception):
    """An error response in the form of google.rpc.Status."""

    def __init__(self, code: int, message: str, status: str | None = None, details: Sequence[Json] = ()) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status or NAMES["status"].get(code, "UNKNOWN")
        self.details = list(details)

    def body(self) -> Json:
        """The response body."""
        error: Json = {"code": self.code, "message": self.message, "status": self.status}
        if self.details:
            error["details"] = self.details
        return {"error": error}

    @classmethod
    def fields(cls, *violations: tuple[str, str], message: str = "") -> ApiError:
        """A 400 with one field violation for each (field, description)."""
        listed = "".join(f"\t{n}.Field: {name}; Message: {text}" for n, (name, text) in enumerate(violations, 1))
        details = {
            "@type": "type.googleapis.com/google.rpc.BadRequest",
            "fieldViolations": [{"field": name, "description": text} for name, text in violations],
        }
        return cls(400, message or f"List of found errors:{listed}\t", details=[details])

    @classmethod
    def field(cls, name: str, text: str) -> ApiError:
        """A 400 about one field."""
        return cls.fields((name, text))

    @classmethod
    def unknown_field(cls, name: str, place: str) -> ApiError:
        """The 400 of Google's JSON parser for a field that a message does not have."""
        text = f"Invalid JSON payload received. Unknown name \"{name}\" at '{place}': Cannot find field."
        return cls.fields((place, text), message=text)

    @classmethod
    def not_found(cls, resource: str) -> ApiError:
        """A 404 for a resource."""
        return cls(404, f"{resource} is not found.")

    @classmethod
    def precondition(cls, message: str) -> ApiError:
        """A 400 with status FAILED_PRECONDITION."""
        return cls(400, message, "FAILED_PRECONDITION")


def now() -> str:
    """The current time in RFC 3339, UTC, with microseconds."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def project_number(project: str) -> str:
    """The number of a project; ids and numbers name the same project, `demo-project` is 123456789012."""
    if project.isdigit():
        return project
    if project == "demo-project":
        return "123456789012"
    return str(10**11 + int(hashlib.sha256(project.encode()).hexdigest()[:12], 16) % (9 * 10**11))


def canonical(name: str) -> str:
    """A resource name with the project's number in place of its id."""
    name = unquote(name).removeprefix("//aiplatform.googleapis.com/")
    match = re.match(r"projects/([^/]+)(/.*)?$", name, re.S)
    return f"projects/{project_number(match[1])}{match[2] or ''}" if match else name


def camel(word: str) -> str:
    """`learning_rate_multiplier` as `learningRateMultiplier`; a camel-case word stays."""
    return re.sub(r"(?<=[A-Za-z0-9])_([a-z0-9])", lambda m: m[1].upper(), word) if "_" in word else word


def snake(word: str) -> str:
    """`learningRateMultiplier` as `learning_rate_multiplier`."""
    return re.sub(r"(?<!^)([A-Z])", lambda m: "_" + m[1].lower(), word)


def parse_json(content: bytes) -> Any:
    """A JSON value as Google's parser accepts it: no NaN, no lone surrogates, at most 100 levels; else a 400."""

    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is not a JSON value")

    try:
        value = json.loads(content, parse_constant=refuse)
        if b"\\u" in content:
            json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise ApiError(400, f"Invalid JSON payload received. {str(error)[:200]}") from error
    if _too_deep(value):
        raise ApiError(400, "Invalid JSON payload received. The body has more than 100 levels.")
    return value


def parse_object(content: bytes) -> Json:
    """A JSON object, with its field names unchanged; else a 400."""
    value = parse_json(content)
    if not isinstance(value, dict):
        raise ApiError(400, "Invalid JSON payload received. The body must be an object.")
    return value


def _too_deep(value: Any, left: int = 100) -> bool:
    if isinstance(value, dict):
        return left == 0 or any(_too_deep(item, left - 1) for item in value.values())
    return isinstance(value, list) and (left == 0 or any(_too_deep(item, left - 1) for item in value))


def camelize(value: Any) -> Any:
    """A JSON value with all field names in camel case; maps with the caller's own keys are unchanged."""
    if isinstance(value, list):
        return [camelize(item) for item in value]
    if not isinstance(value, dict):
        return value
    result: Json = {}
    for key, item in value.items():
        name = camel(key)
        if name in NAMES["freeMaps"]:
            result[name] = item
        elif name == "properties" and isinstance(item, dict):
            result[name] = {field: camelize(schema) for field, schema in item.items()}
        else:
            result[name] = camelize(item)
    return result


def public(resource: Mapping[str, Any]) -> Json:
    """A resource without the emulator's private keys."""
    return {key: value for key, value in resource.items() if not key.startswith("_")}


def check_key(body: Json, location: str, place: str) -> None:
    """Refuse a resource whose encryptionSpec has a Cloud KMS key of another region."""
    name = body.get("encryptionSpec", {}).get("kmsKeyName", f"///{location}")
    if name.split("/")[3] != location:
        problem = f"must be a key in {location}, the region of the resource."
        raise ApiError.field(f"{place}.encryption_spec.kms_key_name", problem)


@dataclass(frozen=True, slots=True)
class Call:
    """One parsed request: `params` from the path (unquoted), `query`, `body` in camel case, raw `content`."""

    method: str
    path: str
    params: Mapping[str, str]
    query: Mapping[str, Sequence[str]]
    body: Json
    content: bytes
    headers: Mapping[str, str]
    base_url: str

    @property
    def version(self) -> str:
        """`v1` or `v1beta1`."""
        return self.params.get("version", "v1")

    @property
    def parent(self) -> str:
        """projects/NUMBER/locations/LOCATION."""
        project = self.params.get("project", "demo-project")
        return f"projects/{project_number(project)}/locations/{self.params.get('location', 'us-central1')}"

    def update_mask(self) -> set[str]:
        """The top-level fields (camel case) of `updateMask`; none without it or with `*`: all fields sent are meant."""
        mask = {camel(part.partition(".")[0]) for part in self.first("updateMask").split(",") if part}
        return set() if "*" in mask else mask

    def first(self, key: str, default: str = "") -> str:
        """The first query parameter of this name, in either case."""
        values = self.query.get(key) or self.query.get(snake(key)) or [default]
        return values[0]

    def page_place(self, read: Callable[[str], Any] = str) -> Any:
        """The place in a list that the page token stands for, None without one."""
        token = self.first("pageToken")
        try:
            return read(base64.urlsafe_b64decode(token.encode()).decode()) if token else None
        except ValueError as error:
            raise ApiError(400, "The page token is invalid.") from error

    def id(self, key: str, pattern: str, required: bool = False) -> str:
        """The query parameter with the id of a new resource; a 400 for another form than that of an expression."""
        value = self.first(key)
        if (value or required) and not re.fullmatch(pattern, value):
            raise ApiError.field(snake(key), f"'{value[:80]}' is not a valid id.")
        return value

    def count(self, key: str, default: int, most: int) -> int:
        """A query parameter that is a number of things; larger values are cut to `most`, 0 means the default."""
        text = self.first(key) or str(default)
        if not re.fullmatch(r"-?[0-9]{1,18}", text) or int(text) < 0:
            raise ApiError(400, f"{snake(key)} must be a number that is not negative, not {text[:80]!r}.")
        return min(int(text) or default, most)


Handler = Callable[[Call], Any]


@dataclass(frozen=True, slots=True)
class Route:
    """A method and path of the API, its handler, and the name of the message that the body is, if it is checked.

    `template` is relative to `projects/P/locations/L/` unless it begins with `/`. `{x}` matches one segment without
    colons, `{x!}` one that may contain colons, `{x*}` anything.
    """

    method: str
    template: str
    handler: Handler
    message: str = ""
    pattern: re.Pattern[str] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "pattern", _compile(self.template))


_PREFIX = "/{version}/projects/{project}/locations/{location}/"
_SEGMENTS = {"": "[^/:]+", "!": "[^/]+", r"\*": ".+"}


def _compile(template: str) -> re.Pattern[str]:
    full = template if template.startswith("/") else _PREFIX + template
    pattern = ""
    if full.startswith("/{version}/"):  # operations are polled below /ui/, without a version
        pattern, full = "(?:/ui/|/(?:ui/)?(?P<version>v1|v1beta1)/)", full.removeprefix("/{version}/")
    full = re.escape(full)
    return re.compile(pattern + re.sub(r"\\{(\w+)(\\\*|!|)\\}", lambda m: f"(?P<{m[1]}>{_SEGMENTS[m[2]]})", full))


def find_route(routes: Iterable[Route], method: str, raw_path: str) -> tuple[Route, dict[str, str]] | None:
    """The first route that matches a raw path, with its unquoted parameters."""
    for route in routes:
        if route.method == method and (match := route.pattern.fullmatch(raw_path)):
            return route, {name: unquote(value) for name, value in match.groupdict().items() if value is not None}
    return None


def encode_token(place: object) -> str:
    """A page token for a place in a list."""
    return base64.urlsafe_b64encode(str(place).encode()).decode()


def page_start(call: Call) -> int:
    """The sequence number below which the requested page begins."""
    start = call.page_place(int)
    return 1 << 62 if start is None else int(start)


def paginate(call: Call, items: Iterable[tuple[int, Json]], key: str) -> Json:
    """One page of (sequence number, resource), newest first; its token stays valid while resources are added.

    Only as many items are consumed as the page has, and one more.
    """
    size, start = call.count("pageSize", 100, 1000), page_start(call)
    page = list(islice((item for item in items if item[0] < start), size + 1))
    response: Json = {key: [public(resource) for _, resource in page[:size]]} if page else {}
    if len(page) > size:
        response["nextPageToken"] = encode_token(page[size - 1][0])
    return response


def typed(call: Call, message: str, body: Mapping[str, Any]) -> Json:
    """A message packed as google.protobuf.Any of the caller's API version."""
    return {"@type": f"type.googleapis.com/google.cloud.aiplatform.{call.version}.{message}", **body}


def split_multipart(kind: str, content: bytes) -> list[tuple[Mapping[str, str], bytes]]:
    """(headers in lower case, body) of each part, bytes unchanged; 400 without a boundary.

    Lines end as the first one does: some clients of Cloud Storage send bare line feeds.
    """
    match = re.search(r"""boundary=(?:"([^"]+)"|'([^']+)'|([^\s;]+))""", kind)
    if match is None:
        raise ApiError(400, "A multipart body needs a boundary.", "invalid")
    mark = b"--" + next(group for group in match.groups() if group).encode("latin-1", "replace")
    end = b"\n" if content.partition(mark)[2].startswith(b"\n") else b"\r\n"
    parts: list[tuple[Mapping[str, str], bytes]] = []
    for piece in (end + content).split(end + mark)[1:-1]:
        head, _, body = piece.partition(end + end)
        lines = [line.partition(":") for line in head.decode("latin-1").split("\n") if ":" in line]
        parts.append(({name.strip().lower(): value.strip() for name, _, value in lines if name}, body))
    return parts
