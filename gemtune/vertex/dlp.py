# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Personal data detection by Google's Sensitive Data Protection (DLP).

Source: REST method v2 content.inspect; texts are sent as rows of a table, many per request. Guarantees: every text is
searched completely, whatever its length and number of findings; a truncated response is requested again in smaller
batches, and a text with more findings than the service returns counts as one finding.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from gemtune.config import JsonObject
from gemtune.errors import UserError
from gemtune.pii import Finding, replace_findings
from gemtune.vertex import anonymous_client
from gemtune.vertex.calls import PermanentError, TransientError, batched

REQUEST_BYTES, REQUEST_ROWS = 400_000, 1_000  # the service accepts 0.5 MB and 50,000 values per request
PIECE, OVERLAP = 80_000, 200  # characters; a finding is never longer than the overlap


@dataclass(frozen=True, slots=True)
class _Piece:
    text: int
    begin: int
    content: str


class DlpDetector:
    """Finds and masks personal data through the service; prefetched texts share requests."""

    def __init__(self, parent: str, types: Sequence[str], likelihood: str) -> None:
        self._parent, self._types, self._likelihood = _parent(parent), tuple(types), likelihood
        self._findings: dict[str, list[Finding]] = {}
        self._client = anonymous_client()

    def prefetch(self, texts: Iterable[str]) -> None:
        """Search texts, many per request, and cache their findings until the next call."""
        self._findings = self._search(texts)

    def findings(self, text: str) -> list[Finding]:
        """Findings in order, not overlapping."""
        if text not in self._findings:
            self._findings |= self._search([text])
        return self._findings[text]

    def _search(self, texts: Iterable[str]) -> dict[str, list[Finding]]:
        unique_texts = list(dict.fromkeys(texts))
        findings_by_text: list[list[Finding]] = [[] for _ in unique_texts]
        for batch in batched(
            _pieces(unique_texts), lambda piece: len(piece.content.encode()), REQUEST_BYTES, REQUEST_ROWS
        ):
            for piece, finding in self._findings_of(batch):
                shifted = Finding(finding.kind, finding.begin + piece.begin, finding.end + piece.begin)
                findings_by_text[piece.text].append(shifted)
        return {text: _merged(findings) for text, findings in zip(unique_texts, findings_by_text, strict=True)}

    def mask(self, text: str) -> str:
        """The text with every finding replaced by its kind in brackets: [EMAIL_ADDRESS], [PERSON_NAME], ..."""
        return replace_findings(text, self.findings(text))

    def _findings_of(self, batch: list[_Piece]) -> list[tuple[_Piece, Finding]]:
        result = self._inspect([piece.content for piece in batch])
        if not result.get("findingsTruncated"):
            return [_finding_of(batch, finding) for finding in result.get("findings", ())]
        if len(batch) == 1:
            return [(batch[0], Finding("personal_data", 0, len(batch[0].content)))]
        half = len(batch) // 2
        return [*self._findings_of(batch[:half]), *self._findings_of(batch[half:])]

    def _inspect(self, texts: list[str]) -> JsonObject:
        rows = [{"values": [{"stringValue": text}]} for text in texts]
        types = [{"name": name} for name in self._types]
        body = {
            "inspectConfig": {"infoTypes": types, "minLikelihood": self._likelihood},
            "item": {"table": {"headers": [{"name": "text"}], "rows": rows}},
        }
        try:
            sent = self._client.rest("POST", "dlp.googleapis.com", f"v2/{self._parent}/content:inspect", body)
            result: JsonObject = sent.get("result", {})
        except PermanentError as error:
            remedy = "enable the API dlp.googleapis.com, give the role DLP User, check preprocess.pii_types"
            raise UserError(f"Sensitive Data Protection refused: {error.message}", remedy=remedy) from None
        except TransientError as error:
            raise UserError(f"Sensitive Data Protection is unavailable: {error}", remedy="retry later") from None
        return result


def _parent(parent: str) -> str:
    project = os.environ.get("GOOGLE_CLOUD_PROJECT", "")
    if not parent and not project:
        remedy = "set preprocess.pii_parent to projects/PROJECT/locations/global, or GOOGLE_CLOUD_PROJECT"
        raise UserError("no project for Sensitive Data Protection", remedy=remedy)
    return parent or f"projects/{project}/locations/global"


def _pieces(texts: Sequence[str]) -> Iterator[_Piece]:
    for number, text in enumerate(texts):
        if not text:
            continue
        for begin in range(0, max(1, len(text) - OVERLAP), PIECE - OVERLAP):
            yield _Piece(number, begin, text[begin : begin + PIECE])


def _finding_of(batch: list[_Piece], finding: JsonObject) -> tuple[_Piece, Finding]:
    place = finding["location"]
    (location, *_) = place["contentLocations"]
    piece = batch[int(location["recordLocation"]["tableLocation"].get("rowIndex", 0))]  # zeros are left out
    span = place["codepointRange"]
    return piece, Finding(str(finding["infoType"]["name"]), int(span.get("start", 0)), int(span["end"]))


def _merged(findings: list[Finding]) -> list[Finding]:
    """Findings with overlapping ones (of two kinds, or from two pieces) merged into one."""
    merged: list[Finding] = []
    for finding in sorted(findings, key=lambda finding: (finding.begin, -finding.end)):
        if merged and finding.begin < merged[-1].end:
            last = merged[-1]
            merged[-1] = Finding(last.kind, last.begin, max(last.end, finding.end))
        else:
            merged.append(finding)
    return merged
