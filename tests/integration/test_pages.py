# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The pages of a run, of monitoring and of a comparison in a browser: no message, no request, no sideways scroll."""

from __future__ import annotations

from pathlib import Path

import pytest
from browser import BROWSER, Browser
from report_documents import labelled, monitoring_page, run

from gemtune.cli import run_comparison

HOSTILE = ["US$ 5 to $9", "返品・交換", "مرتجع \u202eevil", "</script><b>&amp;", "tab\tand\x00\x1b", "x" * 300]


@pytest.mark.skipif(not BROWSER, reason="no browser")
def test_pages_are_sound_in_a_browser(paths: Path, tmp_path: Path) -> None:
    labelled(paths, HOSTILE)
    for language in ("en", "ja"):
        page, _, summary = run(paths, reporting={"language": language})
        (tmp_path / f"run-{language}.html").write_text(page, "utf-8")
        (tmp_path / language).mkdir()
        monitoring_page(tmp_path / language, language=language)
        (tmp_path / language / "page").rename(tmp_path / f"monitoring-{language}.html")
        settings = {"seed": [1, 2], **{label: [label, None] for label in HOSTILE}}
        changed = run_comparison.ChangedRows("a: t@2", "b: t@2", 4, ["1"], ["2"])
        compared = run_comparison.RunComparison(["a", *HOSTILE[:1]], [summary, summary], settings, {}, [changed])
        (tmp_path / f"comparison-{language}.html").write_text(run_comparison.page(compared), "utf-8")
    browser = Browser(tmp_path / "profile", "about:blank")
    try:
        for file in sorted(tmp_path.glob("*-*.html")):
            browser.requests.clear()
            browser.open(file.as_uri())
            if file.name.startswith("run"):
                browser.until("!!document.getElementById('row-count')")
                browser.evaluate("document.querySelector('button[data-group=broken]').click()")
                counts = "document.getElementById('row-count').textContent.match(/[0-9]+/g).join(' of ')"
                assert browser.evaluate(counts) == "1 of 1"
            browser.assert_sound()
            assert browser.requests == [file.as_uri()]
    finally:
        browser.close()
