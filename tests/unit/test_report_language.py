# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The pages in another language: every sentence is translated, and no value changes."""

from __future__ import annotations

import ast
import base64
import hashlib
import re
from pathlib import Path

import pytest
import yaml
from jinja2 import Environment
from markupsafe import escape
from report_documents import labelled, run, shown, write_answers

import gemtune
from gemtune.artifacts.decision import DecisionRecord
from gemtune.data.example import Example, write_examples
from gemtune.steps import report, report_monitoring, templates

PAGES = ["report.html.j2", "monitoring.html.j2", "comparison.html.j2"]
TECHNICAL = {
    "gemtune", "UTC", "CONFIG", "gemtune rollback CONFIG", "gemtune verify RUN", "logging enable", "charts.html.j2",
    ", epoch ", ":generateContent", "data-first=", " leaks",
}  # fmt: skip
MODULES = [
    "catalogue", "cost/baselines", "cost/forecast", "cost/items", "cost/data_steps",
    "data/duplicates", "data/formats", "data/group_columns", "data/labels", "data/readers", "data/tables",
    "data/pairs", "data/row_validation", "data/segments", "data/sources", "data/text_files",
    "evaluation/gate", "evaluation/gate_limits", "evaluation/intervals", "evaluation/scorers",
    "inference/free_baselines", "monitoring/decision", "monitoring/differences", "monitoring/drift", "monitoring/logs",
    "monitoring/quality", "monitoring/skew", "steps/analyze_drift", "steps/estimate_quality", "steps/escalation",
    "steps/gate", "steps/plan_tuning", "steps/select_model", "steps/split", "tuning/checkpoint_selection",
    "tuning/early_stopping", "tuning/loss_diagnostics", "tuning/trials",
]  # fmt: skip
"""The modules that write sentences for a report."""
ELSEWHERE = {
    "user model", "the answer", " after a supervised job",  # of errors and logs
    "7 trial7 planned", "expected $7, at most $77",  # of the log
    "exact deduplication", "semantic deduplication",  # of the progress line
    "7: 7, 7 7", "7 row7: 7", "have another prompt than the tuned one7", "have an unusable answer7",  # two forms each
    "the candidate is 7 to be 7 7 (7): 7 7 against 7, difference 7 (between 7 and 7; p = 7), required: more than 7",
    "7 7 (7): 7, alarm at 7",  # its parts are in the table
    "with 7 distinct texts a window, a share of 7 of a topic that the training rows lack is found in 7 of 100 first "
    "windows7",
    "save it as .xlsx again, or as CSV UTF-8", "true or false", "lift must be above 0, got 7",
    "check these rows; raise the setting if the removal is right",
    "look for a quote that is never closed, or not doubled within a cell; or set preprocess.delimiter",
    "write a complete list, or one row per line as .jsonl: jq -c . FILE > rows.jsonl",
    "paired measures need equal rows, got 7 and 7", "provide more rows, or change the shares or split.min_rows",
    "; rows of a group stay together, and preprocess.group_column has 7 groups", " (and 7 more)",
    "the service's assessment of the 7 rows: 77", "correct the rows; nothing was tuned",
    "a file of rows", "byte 7 (0x7) is not 7", "is a directory, not a file", "no such file", "not 7: 7", "line 7",
    "save the file as UTF-8, or set preprocess.encoding to the one it was saved in: ",
    "most of the file is UTF-8: files were joined here or bytes are damaged, save the rest as UTF-8 too", "end of data",
    "the archive is truncated or damaged: compress the file again",
    "set preprocess.text_column and preprocess.target_column7",
    "a YAML or JSON list of labels, or a mapping of labels to descriptions",
    "Say the text in the JSON object below in 7 other ways, each on a line of its own that begins with a number. Keep "
    "its language, its meaning and everything that makes its label right; change wording, order and tone as other "
    "people would. Do not answer the text.", "augment 7 7",  # of requests, and of an order
    "the rows have 77", "quality 7", "retirement 7", "age 7", "draw 7 7", "label 7",
}  # fmt: skip


def sentences(path: Path) -> set[str]:
    """The texts of two words or more in a module, with 7 for every value; without docstrings, errors and logs."""
    tree = ast.parse(path.read_text("utf-8"))
    skipped = set[int]()
    for node in ast.walk(tree):
        call = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
        is_docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        is_elsewhere = call.startswith("log.") or call.endswith("Error") or call == "Field"
        if is_elsewhere or is_docstring or isinstance(node, ast.Assert):
            skipped |= set(map(id, ast.walk(node)))
        if isinstance(node, ast.JoinedStr):
            skipped |= {id(part) for part in node.values if isinstance(part, ast.Constant)}
        if isinstance(node, ast.FormattedValue) and node.format_spec:
            skipped |= set(map(id, ast.walk(node.format_spec)))
    own = [node for node in ast.walk(tree) if id(node) not in skipped]
    whole = [node.value for node in own if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    for node in own:
        if isinstance(node, ast.JoinedStr):
            whole.append("".join(str(part.value) if isinstance(part, ast.Constant) else "7" for part in node.values))
    return {text for text in whole if re.search(r"[A-Za-z]{2,}[,:;]? [A-Za-z7$]", text)} - ELSEWHERE


@pytest.mark.parametrize("module", MODULES)
def test_sentences_of_steps_have_a_translation(module: str) -> None:
    written = sentences(Path(gemtune.__file__).parent / f"{module}.py")
    japanese = {text: templates.message(text, "ja") for text in written}
    missing = [text for text in written if japanese[text] == text or re.search("([a-z]+ ){3}[a-z]+", japanese[text])]
    assert missing == [], "add them to gemtune/steps/messages_ja.yaml"


@pytest.mark.parametrize("name", PAGES)
def test_texts_of_templates_have_a_translation(name: str) -> None:
    template, table = templates.source(name), templates.texts("ja")
    calls = re.findall(r"""\bt\((?:'([^']+)'|"([^"]+)")""", template)
    sentences_with_values = re.findall(r"'([A-Z{,][^'{}]*\{\w+\}[^']*)'", template)
    used = {*(a or b for a, b in calls), *sentences_with_values}
    for _, kind, text in Environment(trim_blocks=True, lstrip_blocks=True).lex(template):
        if kind == "data" and "gemtune.predictor" not in text:
            used |= {" ".join(piece.split()) for piece in templates.PIECES.findall(text)}
    markup = r'="|@request|\{ |generateContent|base-uri'
    words = {text for text in used if re.search("[A-Za-z]{2}", text) and not re.search(markup, text)}
    assert len(words) > 20
    assert words - table.keys() - TECHNICAL == set()


def test_script_differs_by_its_marked_texts_only() -> None:
    source, table = templates.source("report.js"), templates.texts("ja")
    marked = re.compile(r'\bt\("([^".]+)"\)')
    assert set(marked.findall(source)) <= table.keys()
    assert len(set(marked.findall(source))) > 10
    assert templates.script("en") == marked.sub(r'"\1"', source)
    assert templates.script("ja") == marked.sub(lambda match: f'"{table[match[1]]}"', source)


def test_translations_have_the_values_of_the_english_text() -> None:
    assert {*report.HEADLINES.values(), *report_monitoring.HEADLINES.values()} <= templates.texts("ja").keys()
    for table in (templates.texts("ja"), yaml.safe_load(templates.source("messages_ja.yaml"))):
        for english, japanese in table.items():
            assert set(re.findall(r"\{\w+\}", english)) >= set(re.findall(r"\{\w+\}", japanese)), english


def test_message_keeps_values_and_translates_phrases() -> None:
    class_, prompt = (
        "class 'share of rows' has a recall of 0.5 on 12 rows (perhaps only 0.2)",
        "the best prompt (shown)",
    )
    assert "'share of rows'" in templates.message(f"{class_}; required to be shown of every class: 0.4", "ja")
    assert templates.message(f"{prompt} is usable: share of unusable answers 0.01, within 0.05", "ja").startswith(
        "最良のプロンプト（shown）は使用できます"
    )
    assert templates.message("of no step", "ja") == templates.message("of no step", "en") == "of no step"


def test_japanese_page_has_verdict_and_reasons_in_japanese(paths: Path) -> None:
    decision = DecisionRecord.read(paths / "decision")
    reasons = ["keeping the best prompt", "3 test rows; a decision requires at least 30"]
    decision.model_copy(update={"verdict": "keep_prompt", "reasons": reasons}).write(paths / "decision")
    page, _, summary = run(paths, reporting={"language": "ja"})
    assert "could not be rendered" not in page
    assert '<html lang="ja">' in page
    assert f'<h2 id="verdict">{templates.texts("ja")[summary.headline]}</h2>' in page
    assert "テスト行は3件です。判定には30件以上必要です" in page
    assert not any(text in page for text in (summary.headline, *reasons))
    assert "テキストと回答を検索" in page.split("<script>")[1]
    english, _, _ = run(paths)
    numbers = [sorted(re.findall(r">(\d+\.\d+)<", text)) for text in (page, english)]
    assert numbers[0] == numbers[1]


def test_page_in_either_language_is_as_allowed_by_its_policy(paths: Path) -> None:
    for language in ("en", "ja"):
        page, _, _ = run(paths, reporting={"language": language})
        script = page.rsplit("<script>", 1)[1].split("</script>")[0]
        assert f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'" in page


@pytest.mark.parametrize("language", ["en", "ja"])
@pytest.mark.parametrize(
    "text",
    ["Refund in US$ (10%) or CA$", "返金・환불·退款",
     "שלום \u202eevil\u202c مرحبا", "</script><script>alert(1)</script>",
     "{braces} {{ 7 * 7 }} %s", "\x00\x07\x1b[31m", "x" * 1_000_000, "👩‍👩‍👧 ﷽ a\u0300\u0301"],
    ids=["dollars", "cjk", "right to left", "script", "braces", "controls", "a megabyte", "combined"],
)  # fmt: skip
def test_page_shows_hostile_texts_as_texts(paths: Path, text: str, language: str) -> None:
    write_examples(paths / "test", [Example("1", text, text[:60], 1)])
    write_answers(paths, text[:60], text)
    labelled(paths, [text[:60], "other"])
    page, verdict, _ = run(paths, reporting={"language": language})
    assert "could not be rendered" not in page
    assert page.count("<script") == 2
    assert str(escape(shown(text[:60]))) in page or shown(text[:60]) in page
    assert len(page) < 700_000
    assert verdict.startswith("# ")
