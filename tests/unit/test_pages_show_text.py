# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Any label is a text on every page and in Markdown: it adds no element, by independent parsers."""

from __future__ import annotations

from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from report_documents import labelled, monitoring_page, run

from gemtune.artifacts.decision import DecisionRecord
from gemtune.cli import run_comparison

LABEL = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30) | st.sampled_from(
    [
        "US$ 5 to $9",
        "返品・交換",
        "مرتجع \u202eevil",
        "</script><script>alert(1)",
        "a\nb",
        "\u2028",
        "# a",
        "x" * 5000,
        "@all",
    ]
)


class Elements(HTMLParser):
    """The start tags of a page, with their number."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        """Count it."""
        self.counts[tag] += 1


def markdown_tokens(text: str) -> Counter[str]:
    """The kinds of elements in Markdown, by an implementation of GitHub's, without those of bare addresses."""
    blocks = MarkdownIt("gfm-like", {"linkify": False}).parse(text)
    return Counter(token.type for block in blocks for token in (block, *(block.children or ())))


def written(folder: Path, label: str, language: str) -> list[Counter[str]]:
    """Elements of the three pages and of both verdicts, with a label wherever a step writes one."""
    labelled(folder, [label, "other"])
    reasons = [f"class {label!r} has a recall of 0.500 on 12 rows", f"as it is: {label}"]
    DecisionRecord.read(folder / "decision").model_copy(update={"reasons": reasons}).write(folder / "decision")
    page, verdict, summary = run(folder, reporting={"language": language})
    changed = run_comparison.ChangedRows(label, label, 1, [label], [])
    compared = run_comparison.RunComparison([label], [summary], {label: [label]}, {}, [changed])
    (folder / "monitoring").mkdir(exist_ok=True)
    monitored, monitored_verdict, _ = monitoring_page(folder / "monitoring", language=language, summary=reasons)
    assert "could not be rendered" not in page
    pages = [Elements(html).counts for html in (page, run_comparison.page(compared), monitored)]
    return [*pages, markdown_tokens(verdict), markdown_tokens(monitored_verdict)]


@settings(max_examples=6, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(label=LABEL, language=st.sampled_from(["en", "ja"]))
@example(label="](http://x) <b> | *a* _b_ `c` ![d](e) &amp; ~~f~~ \\", language="en")
def test_any_label_adds_no_element_to_pages_and_markdown(paths: Path, label: str, language: str) -> None:
    assume(label != "other")
    assert written(paths, label, language) == written(paths, "plain", language)
