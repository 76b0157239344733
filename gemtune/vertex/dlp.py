# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Personal data found by Google's Sensitive Data Protection (DLP) instead of our own rules.

Source: google-cloud-dlp (content.inspect; texts go as rows of a table, so that one request holds many). Promise: every
text is looked at whole, however long it is and however much is found in it; an answer that was cut off is asked for
again in smaller portions, and a text that is full of findings beyond the service's limit counts as one finding.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from gemtune.errors import UserError
from gemtune.pii import Finding, replace_findings
from gemtune.vertex import PermanentError, TransientError, require_credentials, translate_errors, with_retries

REQUEST_BYTES, REQUEST_ROWS = 400_000, 1_000  # the service takes 0.5 MB and 50,000 values a request
PIECE, OVERLAP = 80_000, 200  # characters; a finding is never longer than the overlap


@dataclass(frozen=True, slots=True)
class _Piece:
    text: int
    begin: int
    content: str


class DlpDetector:
    """Finds and masks as `rows.pii` does, by asking the service; texts of one batch are asked about together."""

    def __init__(self, parent: str, types: Sequence[str], likelihood: str) -> None:
        self._parent, self._types, self._likelihood = _parent(parent), tuple(types), likelihood
        self._known: dict[str, list[Finding]] = {}
        self._client: Any = None

    def prefetch(self, texts: Iterable[str]) -> None:
        """Ask about texts, many in a request, and remember the answers until the next call."""
        self._known = self._about(texts)

    def findings(self, text: str) -> list[Finding]:
        """What was found, in order, not overlapping."""
        if text not in self._known:
            self._known |= self._about([text])
        return self._known[text]

    def _about(self, texts: Iterable[str]) -> dict[str, list[Finding]]:
        wanted = list(dict.fromkeys(texts))
        found: list[list[Finding]] = [[] for _ in wanted]
        for batch in _batches(_pieces(wanted)):
            for piece, finding in self._inspected(batch):
                shifted = Finding(finding.kind, finding.begin + piece.begin, finding.end + piece.begin)
                found[piece.text].append(shifted)
        return {text: _apart(findings) for text, findings in zip(wanted, found, strict=True)}

    def mask(self, text: str) -> str:
        """The text with every finding replaced by its kind in brackets: [EMAIL_ADDRESS], [PERSON_NAME], ..."""
        return replace_findings(text, self.findings(text))

    def _inspected(self, batch: list[_Piece]) -> list[tuple[_Piece, Finding]]:
        result = self._ask([piece.content for piece in batch])
        if not result.findings_truncated:
            return [_read(batch, finding) for finding in result.findings]
        if len(batch) == 1:
            return [(batch[0], Finding("personal_data", 0, len(batch[0].content)))]
        half = len(batch) // 2
        return [*self._inspected(batch[:half]), *self._inspected(batch[half:])]

    def _ask(self, texts: list[str]) -> Any:
        if self._client is None:
            self._client = require_credentials(_new_client)
        from google.cloud import dlp_v2

        request = {
            "parent": self._parent,
            "inspect_config": {
                "info_types": [{"name": name} for name in self._types],
                "min_likelihood": self._likelihood,
            },
            "item": {
                "table": {
                    "headers": [{"name": "text"}],
                    "rows": [{"values": [{"string_value": text}]} for text in texts],
                }
            },
        }
        asked = dlp_v2.InspectContentRequest(request)
        try:
            return with_retries(
                translate_errors, lambda: self._client.inspect_content(request=asked, timeout=60).result
            )
        except PermanentError as error:
            remedy = "enable the API dlp.googleapis.com, give the role DLP User, check preprocess.pii_types"
            raise UserError(f"Sensitive Data Protection refused: {error.message}", remedy=remedy) from None
        except TransientError as error:
            raise UserError(f"Sensitive Data Protection does not answer: {error}", remedy="try again later") from None


def _parent(given: str) -> str:
    project = os.environ.get("GOOGLE_CLOUD_PROJECT", "")
    if not given and not project:
        remedy = "set preprocess.pii_parent to projects/PROJECT/locations/global, or GOOGLE_CLOUD_PROJECT"
        raise UserError("no project to ask Sensitive Data Protection in", remedy=remedy)
    return given or f"projects/{project}/locations/global"


def _new_client() -> Any:
    try:
        from google.cloud import dlp_v2
    except ImportError:
        raise UserError(
            "preprocess.pii_detector=dlp needs google-cloud-dlp", remedy="pip install 'gemtune[dlp]'"
        ) from None
    from google.api_core.client_options import ClientOptions
    from google.oauth2.credentials import Credentials

    elsewhere = os.environ.get("GOOGLE_VERTEX_BASE_URL", "").rstrip("/")  # a server on a laptop; any token will do
    if (urlsplit(elsewhere).hostname or "").endswith(".googleapis.com"):
        elsewhere = ""
    return dlp_v2.DlpServiceClient(
        credentials=Credentials("local") if elsewhere else None,  # type: ignore[no-untyped-call,unused-ignore]
        transport="rest",
        client_options=ClientOptions(api_endpoint=elsewhere) if elsewhere else None,
    )


def _pieces(texts: Sequence[str]) -> Iterator[_Piece]:
    for number, text in enumerate(texts):
        if not text:
            continue
        for begin in range(0, max(1, len(text) - OVERLAP), PIECE - OVERLAP):
            yield _Piece(number, begin, text[begin : begin + PIECE])


def _batches(pieces: Iterable[_Piece]) -> Iterator[list[_Piece]]:
    batch: list[_Piece] = []
    size = 0
    for piece in pieces:
        length = len(piece.content.encode())
        if batch and (size + length > REQUEST_BYTES or len(batch) >= REQUEST_ROWS):
            yield batch
            batch, size = [], 0
        batch.append(piece)
        size += length
    if batch:
        yield batch


def _read(batch: list[_Piece], finding: Any) -> tuple[_Piece, Finding]:
    (where, *_) = finding.location.content_locations
    piece = batch[int(where.record_location.table_location.row_index)]
    span = finding.location.codepoint_range
    return piece, Finding(str(finding.info_type.name), int(span.start), int(span.end))


def _apart(findings: list[Finding]) -> list[Finding]:
    """Overlapping findings (two kinds in one place, or one seen from two pieces) become one that covers them all."""
    apart: list[Finding] = []
    for one in sorted(findings, key=lambda finding: (finding.begin, -finding.end)):
        if apart and one.begin < apart[-1].end:
            last = apart[-1]
            apart[-1] = Finding(last.kind, last.begin, max(last.end, one.end))
        else:
            apart.append(one)
    return apart
