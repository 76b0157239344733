# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The dashboard at `/` shows the state, and escapes text from users."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import httpx
from browser import Browser
from emulated import Server, genai_client, supervised_lines, upload, wait
from google.genai import types
from lxml import html


def test_dashboard_shows_jobs_curves_models_endpoints(server: Server) -> None:
    empty = html.fromstring(httpx.get(server.url).text)
    assert empty.xpath("count(//p[@class='none'])") == 4
    client = genai_client(server.url)
    dataset = types.TuningDataset(gcs_uri=upload(server.url, "train.jsonl", supervised_lines()))
    name = "<script>alert(1)</script>"
    config = types.CreateTuningJobConfig(epoch_count=2, tuned_model_display_name=name)
    job = wait(client, client.tunings.tune(base_model="gemini-2.5-flash", training_dataset=dataset, config=config))
    answer = httpx.get(server.url)
    assert answer.headers["content-type"].startswith("text/html")
    assert "<script>alert" not in answer.text
    shown = html.fromstring(answer.text)
    (row,) = shown.xpath("//tr[@class='job']")
    assert name in row.text_content()
    assert "SUCCEEDED" in row.text_content()
    (loss,) = row.xpath(".//svg[@aria-label='/train_total_loss']/polyline")
    points = [tuple(map(float, point.split(","))) for point in loss.get("points").split()]
    assert len(points) >= 6
    assert points[0][1] < points[-1][1]  # falls on the screen
    assert len(shown.xpath("//tr[@class='model']")) == 1
    assert len(shown.xpath("//tr[@class='endpoint']")) == len(job.tuned_model.checkpoints) == 2


def test_dashboard_updates_in_a_browser(start: Callable[..., Server], tmp_path: Path) -> None:
    server = start()
    browser = Browser(tmp_path / "profile", server.url)
    try:
        browser.until("document.querySelectorAll('p.none').length == 4")
        client = genai_client(server.url)
        dataset = types.TuningDataset(gcs_uri=upload(server.url, "train.jsonl", supervised_lines()))
        config = types.CreateTuningJobConfig(epoch_count=2, tuned_model_display_name="<b>seen</b>")
        client.tunings.tune(base_model="gemini-2.5-flash", training_dataset=dataset, config=config)
        browser.until("document.querySelectorAll('tr.job td.SUCCEEDED').length == 1")  # without a reload by hand
        browser.until("document.querySelectorAll('svg.curve polyline').length >= 2")
        assert browser.evaluate("document.querySelectorAll('tr.job b').length") == 0
        assert "<b>seen</b>" in browser.evaluate("document.querySelector('tr.job').textContent")
        assert browser.evaluate("document.querySelector('svg.curve').getBoundingClientRect().width") > 100
        server.kill()
        browser.until("document.title.includes('not reachable')")
    finally:
        browser.close()
