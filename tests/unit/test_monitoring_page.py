# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The page of a monitoring run: its verdict, checks and trends, and texts that stay texts."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from gemtune.artifacts.evaluation import Score
from gemtune.artifacts.monitoring import (
    Check,
    DriftReport,
    Moments,
    MonitoringDecision,
    MonitoringHistory,
    QualityEstimate,
    QualityReport,
    Topic,
    WindowRecord,
)
from gemtune.steps import report_monitoring

START = datetime(2026, 10, 1, tzinfo=UTC)
HOSTILE = "</script><script>alert(1)</script> US$ 返金 \u202eevil \x07"


def check(name: str, value: float, **more: Any) -> Check:
    return Check(
        name=name, value=value, low=value - 0.01, high=value + 0.01, rows=100, summary=f"{name} is seen", **more
    )


def window(number: int, *checks: Check) -> WindowRecord:
    start, moments = START + timedelta(weeks=number), {"a": Moments(rows=1, total=0.5, squares=0.25)}
    end = start + timedelta(weeks=1)
    return WindowRecord(
        start=start, end=end, rows=120, texts=100, similarity=moments, confidence={}, checks=list(checks)
    )


def page(
    folder: Path, verdict: Any = "retrain", windows: int = 3, language: str = "en"
) -> tuple[str, str, dict[str, Any]]:
    """The page, the verdict in Markdown and the summary of a run with these windows."""
    alarm = check("similarity", 0.41, threshold=0.45, alarm=True, p_value=0.001, examples=["row-7"])
    listed = [window(number, check("similarity", 0.5, threshold=0.45)) for number in range(windows - 1)]
    history = MonitoringHistory(generation=1, since=START, windows=[*listed, window(windows, alarm)] if windows else [])
    topic = Topic(rows=9, tightness=0.8, ids=["row-7"], texts=[HOSTILE], ngrams=["<b>", "返金"])
    share = Score(value=0.25, low=0.2, high=0.3)
    drift = DriftReport(
        history=history, missing_windows=0, topics=[topic], label_mix={HOSTILE: share}, scripts={"Han": 3}
    )
    drift.write(folder / "drift")
    estimate = QualityEstimate(end=START + timedelta(weeks=2), score=share, variance=0.01, labels=40)
    QualityReport(estimates=[estimate], limit=0.8, checks=[check("quality", 0.25)], labelled=[], to_label=40).write(
        folder / "quality"
    )
    MonitoringDecision(verdict=verdict, summary=["similarity fell"], reasons=[]).write(folder / "decision")
    paths = {name: str(folder / name) for name in ("drift", "quality", "decision")}
    outputs = [str(folder / name) for name in ("page", "verdict", "summary")]
    report_monitoring.run(paths, "gs://b/annotations.csv", "support", *outputs, reporting={"language": language})
    texts = [Path(path).read_text("utf-8") for path in outputs]
    return texts[0], texts[1], json.loads(texts[2])


@pytest.mark.parametrize("verdict", report_monitoring.HEADLINES)
def test_monitoring_page_states_every_verdict(tmp_path: Path, verdict: str) -> None:
    html, markdown, summary = page(tmp_path, verdict)
    headline = report_monitoring.HEADLINES[verdict]
    assert f'<h2 id="verdict">{headline}</h2>' in html
    assert markdown == f"# {headline}\n\n- similarity fell\n"
    assert summary["verdict"] == verdict


def test_monitoring_page_shows_checks_trends_and_rows_to_label(tmp_path: Path) -> None:
    html, _, _ = page(tmp_path)
    for text in ("similarity <strong>alarm</strong>", "0.4100", "0.4000 to 0.4200", "0.001", "row-7", "quality",
                 "40 rows to label: gs://b/annotations.csv",
                 "Production since 2026-10-01", "0.200 to 0.300"):  # fmt: skip
        assert text in html
    assert html.count('<svg class="plot"') == 2  # similarity and quality


def test_monitoring_page_before_the_first_window(tmp_path: Path) -> None:
    assert "0 windows." in page(tmp_path, "settling", windows=0)[0]


def test_monitoring_page_shows_texts_as_texts_and_requests_nothing(tmp_path: Path) -> None:
    html, _, _ = page(tmp_path)
    assert "<script" not in html
    assert "&lt;/script&gt;" in html
    assert "US$ 返金" in html
    assert "\u202e" not in html
    assert "\x07" not in html
    assert 'src="' not in html
    assert 'href="' not in html
