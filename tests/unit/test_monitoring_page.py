# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The page of a monitoring run: its verdict, checks and trends, and texts that stay texts."""

from __future__ import annotations

from pathlib import Path

import pytest
from report_documents import monitoring_page

from gemtune.steps import report_monitoring


@pytest.mark.parametrize("verdict", report_monitoring.HEADLINES)
def test_monitoring_page_states_every_verdict(tmp_path: Path, verdict: str) -> None:
    html, markdown, summary = monitoring_page(tmp_path, verdict)
    headline = report_monitoring.HEADLINES[verdict]
    assert f'<h2 id="verdict">{headline}</h2>' in html
    assert markdown == f"# {headline}\n\n- similarity fell\n"
    assert summary["verdict"] == verdict


def test_monitoring_page_shows_checks_trends_and_rows_to_label(tmp_path: Path) -> None:
    html, _, _ = monitoring_page(tmp_path)
    for text in ("similarity <strong>alarm</strong>", "0.4100", "0.4000 to 0.4200", "0.001", "row-7", "quality",
                 "40 rows to label: gs://b/annotations.csv",
                 "Production since 2026-10-01", "0.200 to 0.300"):  # fmt: skip
        assert text in html
    assert html.count('<svg class="plot"') == 2  # similarity and quality


def test_monitoring_page_before_the_first_window(tmp_path: Path) -> None:
    assert "0 windows." in monitoring_page(tmp_path, "settling", windows=0)[0]


def test_monitoring_page_shows_texts_as_texts_and_requests_nothing(tmp_path: Path) -> None:
    html, _, _ = monitoring_page(tmp_path)
    assert "<script" not in html
    assert "&lt;/script&gt;" in html
    assert "US$ 返金" in html
    assert "\u202e" not in html
    assert "\x07" not in html
    assert 'src="' not in html
    assert 'href="' not in html
