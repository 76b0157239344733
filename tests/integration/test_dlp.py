# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Personal data by Sensitive Data Protection: the genuine client at the wire; report, mask, drop as by our rules."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from gemtune.config import Preprocess, Task
from gemtune.data.example import Example, read_examples
from gemtune.data.row_validation import ReadStats, read
from gemtune.errors import UserError
from gemtune.pii import Finding
from gemtune.steps import preprocess
from gemtune.vertex import dlp

KINDS = {"EMAIL_ADDRESS": r"[a-z]+@[a-z.]+", "PERSON_NAME": r"\b(?:Ana|Bo)\b", "PHONE_NUMBER": r"\+[0-9]{6,}"}
PARENT = "projects/demo/locations/europe-west4"


class Inspection:
    """content.inspect as the service answers it; keeps requests; `most` findings an answer, then it is cut off."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, dict[str, Any]]] = []
        self.most, self.code = 3000, 200
        outer = self

        class Call(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                outer.requests.append((self.path.split("?")[0], body))
                error = {
                    "error": {"code": outer.code, "message": "API has not been used", "status": "PERMISSION_DENIED"}
                }
                content = json.dumps(outer.answer(body) if outer.code == 200 else error).encode()
                self.send_response(outer.code)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Call)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def answer(self, body: dict[str, Any]) -> dict[str, Any]:
        """Findings of the asked kinds, with the places the service gives them."""
        assert len(json.dumps(body)) < 1_500_000
        wanted = [one["name"] for one in body["inspectConfig"]["infoTypes"]]
        found = [
            {
                "infoType": {"name": name},
                "likelihood": "VERY_LIKELY",
                "location": {
                    "codepointRange": {"start": str(match.start()), "end": str(match.end())},
                    "contentLocations": [{"recordLocation": {"tableLocation": {"rowIndex": str(row)}}}],
                },
            }
            for row, one in enumerate(body["item"]["table"]["rows"])
            for name in wanted
            for match in re.finditer(KINDS.get(name, "(?!)"), one["values"][0]["stringValue"])
        ]
        return {"result": {"findings": found[: self.most], "findingsTruncated": len(found) > self.most}}


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[Inspection]:
    running = Inspection()
    monkeypatch.setenv("GOOGLE_VERTEX_BASE_URL", running.url)
    monkeypatch.delenv("GOOGLE_CLOUD_PROJECT", raising=False)
    yield running
    running.server.shutdown()
    running.server.server_close()


ROWS = [
    {"text": "écrit: ana@x.org, Ana", "label": "a"},
    {"text": "nothing  here", "label": "b"},
    {"contents": [
        {"role": "user", "parts": [{"text": "Bo here"}]}, {"role": "model", "parts": [{"text": "hello"}]},
        {"role": "user", "parts": [{"text": "call +491234567"}]}, {"role": "model", "parts": [{"text": "b"}]}]},
]  # fmt: skip


def rows(folder: Path, lines: list[dict[str, Any]], **config: Any) -> tuple[list[Any], ReadStats]:
    path, stats = folder / "rows.jsonl", ReadStats()
    path.write_text("".join(json.dumps(row) + "\n" for row in lines))
    rules = Preprocess.of({"pii_detector": "dlp", "pii_parent": PARENT, **config})
    return list(read(path, Task(), rules, stats)), stats


def test_dlp_masks_findings_in_every_turn(service: Inspection, tmp_path: Path) -> None:
    found, stats = rows(tmp_path, ROWS, pii="mask")
    assert found[0].text == "écrit: [EMAIL_ADDRESS], [PERSON_NAME]"
    assert found[2].contents[0]["parts"] == [{"text": "[PERSON_NAME] here"}]
    assert found[2].contents[2]["parts"] == [{"text": "call [PHONE_NUMBER]"}]
    assert stats.pii_findings == {"EMAIL_ADDRESS": 1, "PERSON_NAME": 2, "PHONE_NUMBER": 1}
    (path, body), = service.requests  # one request for all  # fmt: skip
    assert path == f"/v2/{PARENT}/content:inspect"
    assert {"name": "PERSON_NAME"} in body["inspectConfig"]["infoTypes"]
    sent = [row["values"][0]["stringValue"] for row in body["item"]["table"]["rows"]]
    assert "nothing here" in sent  # as cleaned


def test_dlp_reports_or_drops_rows(service: Inspection, tmp_path: Path) -> None:
    found, stats = rows(tmp_path, ROWS, pii="report")
    assert [row.text for row in found][:2] == ["écrit: ana@x.org, Ana", "nothing here"]
    assert stats.pii_lines == [1, 3]
    found, _ = rows(tmp_path, ROWS, pii="drop")
    assert [getattr(row, "detail", "") for row in found] == [
        "1 EMAIL_ADDRESS, 1 PERSON_NAME", "", "1 PERSON_NAME, 1 PHONE_NUMBER"
    ]  # fmt: skip
    rows(tmp_path, ROWS, pii="off")
    assert len(service.requests) == 2


def test_preprocess_runs_with_dlp(service: Inspection, tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("text,label\nmail ana@x.org now,a\nquite other words,b\n")
    files = [str(tmp_path / name) for name in ("examples", "dropped", "report")]
    preprocess.run(str(path), *files, preprocess={"pii": "mask", "pii_detector": "dlp", "pii_parent": PARENT})
    assert [example.text for example in read_examples(files[0])] == ["mail [EMAIL_ADDRESS] now", "quite other words"]
    assert json.loads(Path(files[2]).read_text())["personal_data"]["findings"] == {"EMAIL_ADDRESS": 1}


def test_dlp_batches_rows_and_reads_long_texts_whole(service: Inspection, tmp_path: Path) -> None:
    lines = [{"text": f"mail {'x' * (i % 7)}ana@x.org row {i}", "label": "ab"[i % 2]} for i in range(600)]
    found, _ = rows(tmp_path, lines, pii="mask")
    assert all("[EMAIL_ADDRESS] row" in row.text for row in found)
    assert len(service.requests) == 3
    border = dlp.PIECE - 5
    text = "é " * (border // 2) + " ana@x.org" + " y" * 60_000 + " Bo"
    (row,), _ = rows(tmp_path, [{"text": text, "label": "a"}], pii="mask", max_chars=10**6)
    assert row.text == text.strip().replace("  ", " ").replace("ana@x.org", "[EMAIL_ADDRESS]").replace(
        " Bo", " [PERSON_NAME]"
    )  # fmt: skip


def test_dlp_resends_a_truncated_request(service: Inspection, tmp_path: Path) -> None:
    service.most = 3
    lines = [{"text": f"Ana and Bo {i}", "label": "a"} for i in range(9)]
    found, _ = rows(tmp_path, [*lines, {"text": "Ana Bo Ana Bo", "label": "b"}], pii="mask")
    assert [row.text for row in found] == [
        *(f"[PERSON_NAME] and [PERSON_NAME] {i}" for i in range(9)), "[PERSONAL_DATA]"
    ]  # fmt: skip


def test_dlp_masks_overlapping_findings_once() -> None:
    found = [Finding("B", 4, 9), Finding("A", 0, 5), Finding("C", 9, 10), Finding("A", 0, 3)]
    assert dlp._merged(found) == [Finding("A", 0, 9), Finding("C", 9, 10)]


@pytest.mark.parametrize(
    ("code", "config", "message"),
    [
        (403, {}, "Sensitive Data Protection refused: .*API has not been used.*enable the API"),
        (200, {"pii_parent": ""}, "no project for Sensitive Data Protection"),
        (200, {"pii_parent": "demo"}, "pii_parent"),
    ],
)
def test_dlp_errors_name_the_cause(
    service: Inspection, tmp_path: Path, code: int, config: dict[str, Any], message: str
) -> None:
    service.code = code
    with pytest.raises(UserError, match=message):
        rows(tmp_path, ROWS, **config)


def test_pii_rules_send_no_request(service: Inspection, tmp_path: Path) -> None:
    found, _ = rows(tmp_path, ROWS, pii="mask", pii_detector="rules")
    assert isinstance(found[0], Example)
    assert found[0].text == "écrit: [EMAIL], Ana"
    assert service.requests == []
