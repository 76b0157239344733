# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""A monitoring run on one page (HTML), its verdict in a few lines (Markdown), and for machines (JSON).

Computes nothing that decides. Texts are data: the template escapes them; they are on the page only, in the bucket.
"""

import logging
from collections.abc import Mapping
from datetime import datetime

from gemtune.artifacts.base import open_atomic
from gemtune.artifacts.monitoring import DriftReport, MonitoringDecision, QualityReport, WindowRecord
from gemtune.config import JsonObject, Reporting
from gemtune.steps import templates

log = logging.getLogger("gemtune")

HEADLINES = {
    "settling": "The baseline is not complete yet",
    "fine": "No check found a change",
    "watch": "Something to look at",
    "retrain": "There is reason to retrain",
    "cannot_tell": "Nothing can be concluded",
}
Point = tuple[datetime, float, float | None, float | None, float | None]
"""End of a window; a value, its interval if it has one, and the value at which it is an alarm."""
_TRENDS = ("prompt_skew", "unusable_answers", "similarity", "confidence")


def run(
    paths: Mapping[str, str],
    annotations: str,
    name: str,
    page: str,
    verdict: str,
    summary: str,
    reporting: JsonObject,
) -> None:
    """Write the page, the verdict and the summary; `paths` are drift, quality, decision; `annotations` is the URI of
    the rows to label, `reporting` the section of that name.
    """
    drift, quality = DriftReport.read(paths["drift"]), QualityReport.read(paths["quality"])
    decision = MonitoringDecision.read(paths["decision"])
    decision.write(summary)
    headline, language = HEADLINES[decision.verdict], Reporting.of(reporting).language
    lines = [f"- {templates.markdown(templates.message(line, language))}" for line in decision.summary]
    with open_atomic(verdict) as out:
        out.write("\n".join([f"# {templates.text(headline, language)}", "", *lines, ""]))
    windows = drift.history.windows
    trends = {kind: _points(windows, kind) for kind in _TRENDS}
    trends["quality"] = [
        (item.end, item.score.value, item.score.low, item.score.high, quality.limit) for item in quality.estimates
    ]
    with open_atomic(page) as out:
        out.write(
            templates.environment(language)
            .get_template("monitoring.html.j2")
            .render(
                name=name,
                headline=headline,
                decision=decision,
                drift=drift,
                quality=quality,
                annotations=annotations,
                checks=[*(windows[-1].checks if windows else []), *quality.checks],
                trends={kind: points for kind, points in trends.items() if points},
            )
        )
    log.info("done: %s", headline)


def _points(windows: list[WindowRecord], kind: str) -> list[Point]:
    """Value, interval and alarm line of the first check of a kind in each window that has one."""
    points: list[Point] = []
    for window in windows:
        for check in [check for check in window.checks if check.name == kind][:1]:
            low, high = (check.value if bound is None else bound for bound in (check.low, check.high))
            points.append((window.end, check.value, low, high, check.threshold))
    return points
