# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The page of a run: texts are data, the page is one file."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import random
import re
import time
from operator import itemgetter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from report_documents import (
    SCORE,
    STARTED,
    evaluated,
    labelled,
    reported,
    run,
    shown,
    write_answers,
)

from gemtune import __version__
from gemtune.artifacts.cost import CostItem, TokenUsage
from gemtune.artifacts.decision import DecisionRecord
from gemtune.artifacts.evaluation import (
    EvaluationReport,
    InjectionReport,
    InjectionShare,
    PairwiseReport,
    Score,
    UnusableForm,
    VertexMetric,
)
from gemtune.artifacts.tuning import (
    Selection,
    TuningPlan,
)
from gemtune.config import Prompt, Task
from gemtune.data.example import Example, write_examples
from gemtune.evaluation.predictions import write_predictions
from gemtune.steps import report, report_page


def test_report_escapes_texts_and_answers(paths: Path) -> None:
    page, _, _ = run(paths)
    assert page.count("<script") == 2  # the rows, and what filters them
    assert "&lt;script&gt;alert(1)" in page
    assert "<img src=x" not in page
    assert "<b>loss</b>" not in page
    assert "<i>text" not in page


def test_report_page_is_self_contained(paths: Path) -> None:
    page, _, _ = run(paths)
    assert not re.findall(r"""(?:src|href)=["'](?!#)""", page)
    assert page.count('<svg class="plot"') == 1  # the curve
    assert ">Loss</text>" in page
    assert page.count('<table class="matrix">') == 1
    policy = re.search(r"script-src 'sha256-([^']+)'", page)
    script = page.rsplit("<script>", 1)[1].split("</script>")[0]
    assert policy is not None
    assert policy[1] == base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert len(script) <= 15_000


def test_report_names_run_data_and_software(paths: Path) -> None:
    page, _, summary = run(paths)
    identity = summary.identity
    assert (identity.job, identity.data, identity.rows_fingerprint) == ("job-1", "rows.csv", "f")
    assert not identity.emulated
    assert "secret" not in summary.model_dump_json()
    assert summary.configuration == {"vertex": {"project": "p"}}
    for text in ("job-1", "rows.csv", STARTED, identity.decided, identity.digest, __version__, "6 rows"):
        assert text in page
    assert "Run on the emulator" not in page


def test_report_of_an_emulated_run_has_a_banner(paths: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOGLE_VERTEX_BASE_URL", "http://127.0.0.1:1")
    page, _, summary = run(paths)
    assert summary.identity.emulated
    assert "Run on the emulator" in page


def test_report_rollback_is_that_of_the_champion_before(paths: Path) -> None:
    page, _, _ = run(paths)
    assert "This is the first champion" in page
    page, _, _ = run(paths, champion_before="endpoints/5")
    assert "<code>gemtune rollback CONFIG</code> restores <code>endpoints/5</code>" in page


def test_report_groups_rows_by_what_changed(paths: Path) -> None:
    answers = [("a", "a"), ("a", "b"), ("b", "a"), ("b", "c"), ("a", "a")]
    rows = [
        {"dataset": "test", "variant": name, "id": str(number), "reference": "a", "outcome": "ok",
         "answer": own, "scores": {"exact_match": float(own == "a")}, "slices": {"channel": "web"}}
        for number, pair in enumerate(answers) for name, own in zip(("t@2", "zero_shot"), pair, strict=True)
    ]  # fmt: skip
    write_predictions(str(paths / "predictions"), rows)
    page, _, _ = run(paths)
    document = json.loads(page.split('id="rows">')[1].split("</script>")[0])
    assert document["variants"] == ["t@2", "zero_shot"]
    assert [row[0] for row in document["rows"]] == ["both_right", "fixed", "broken", "still_wrong", "both_right"]
    assert document["rows"][2] == ["broken", "2", 0, "", "a", ["b", 0], ["web"]]
    assert "<strong>1</strong> fixed, <strong>1</strong> broken, <strong>1</strong> still wrong" in page


def test_report_compares_objects_by_their_fields(paths: Path) -> None:
    reference = '{"city": "Bonn", "zip": 1}'
    row = {"dataset": "test", "id": "1", "reference": reference, "outcome": "ok", "slices": {"channel": "web"}}
    right = {"answer": '{"zip": 1, "city": "Bonn"}', "parsed": reference, "scores": {"exact_match": 1.0}}
    wrong = {"answer": '{"zip": 2, "city": "Bonn"}', "scores": {"exact_match": 0.0}}
    wrong |= {"parsed": '{"city": "Bonn", "zip": 2}'}
    rows = [{**row, "variant": "t@2", **right}, {**row, "variant": "zero_shot", **wrong}]
    write_predictions(str(paths / "predictions"), rows)
    page, _, _ = run(paths)
    document = json.loads(page.split('id="rows">')[1].split("</script>")[0])
    assert document["rows"][0][5] == [0, '{"city": "Bonn", "zip": 2}']


def test_report_shows_tuning_at_an_unknown_price_as_unknown(paths: Path) -> None:
    sentence = "Tuning is not counted: its price is unknown."
    assert sentence not in run(paths)[0]
    spent = [CostItem.actual("tuning", "tuning t", 100, 0.0)]
    Selection.read(paths / "selection").model_copy(update={"spent": spent}).write(paths / "selection")
    page, _, _ = run(paths)
    assert sentence in page
    assert re.search(r"tuning t</bdi></th><td>100</td><td>unknown</td>", page)


def test_report_folds_what_is_more_than_fifteen_labels(paths: Path) -> None:
    labelled(paths, [f"label {n:02}" for n in range(40)])
    page = run(paths)[0]
    assert "<summary>The other 25 labels</summary>" in page


def test_report_is_printed_in_light_colours(paths: Path) -> None:
    page, _, _ = run(paths)
    assert page.count("prefers-color-scheme: dark") == page.count("@media screen and (prefers-color-scheme: dark)") == 1


def test_report_groups_compared_answers_by_who_wins(paths: Path) -> None:
    decision = DecisionRecord.read(paths / "decision").model_copy(update={"metric": "win_rate"})
    decision.write(paths / "decision")
    tested, plan = EvaluationReport.read(paths / "tested"), TuningPlan.read(paths / "plan")
    variants = [row.model_copy(update={"metrics": {"win_rate": SCORE}}) for row in tested.variants]
    tested.model_copy(update={"variants": variants}).write(paths / "tested")
    assert plan.baselines is not None
    baselines = plan.baselines.model_copy(update={"variants": variants[:1]})
    plan.model_copy(update={"baselines": baselines}).write(paths / "plan")
    row = {"dataset": "test", "reference": "a", "outcome": "ok", "answer": "b", "scores": {}}
    own = [{**row, "variant": "t@2", "id": winner, "pairwise": {"zero_shot": {"winner": winner}}}
           for winner in ("candidate", "baseline", "tie")]  # fmt: skip
    write_predictions(str(paths / "predictions"), [*own, *({**one, "variant": "zero_shot"} for one in own)])
    page, _, _ = run(paths)
    assert "<strong>1</strong> better, <strong>1</strong> worse, <strong>1</strong> as good" in page


@pytest.mark.parametrize(("count", "limit"), [(1000, 500_000), (10_000, 1_500_000)])
def test_report_of_many_rows_is_small(paths: Path, count: int, limit: int) -> None:
    """Texts of random words, 140 characters each, and the 150 labels that a large task has."""
    draw = random.Random(7)
    words = ["".join(draw.choices("abcdefghijklmnopqrstuvwxyz", k=draw.randint(2, 9))) for _ in range(3000)]
    labelled(paths, [f"label {n}" for n in range(150)])
    examples = [Example(f"{n:016x}", " ".join(draw.choices(words, k=21)), f"label {n % 150}", n) for n in range(count)]
    write_examples(paths / "test", examples)
    rows = [
        {"dataset": "test", "variant": name, "id": example.id, "reference": example.target, "outcome": "ok",
         "answer": (own := f"label {draw.randint(0, 149)}"), "scores": {"exact_match": float(own == example.target)},
         "slices": {"channel": "web", "length": "at most 140 characters"}}
        for name in ("t@2", "zero_shot") for example in examples
    ]  # fmt: skip
    write_predictions(str(paths / "predictions"), rows)
    start = time.process_time()
    page, _, _ = run(paths)
    assert time.process_time() - start < 2
    assert len(page.encode()) <= limit
    assert f"{count:,} test rows" in page
    packed = page.split('id="rows" data-gzip="1">')[1].split("</script>")[0]
    assert len(json.loads(gzip.decompress(base64.b64decode(packed)))["rows"]) == count


def test_report_sorts_slices_by_their_numbers(paths: Path) -> None:
    labelled(paths, ["over 127", "up to 107", "up to 95"])
    page, _, _ = run(paths)
    slices = re.findall(r'<th scope="rowgroup" class="text"[^>]*><bdi>([^<]*)', page)
    assert slices[:3] == ["over 127", "up to 95", "up to 107"]


LABELS = [
    "costs $5 to $9", r"$\frac{1}{$", "<b>&amp;\"'", "返品・交換", "退货", "환불 요청", "مرتجع", "रिटर्न", "ปี", "👍🏽",
    "{{ x }}", "[/b]", "a | b", "tab\tand\nline", "\x00\x1b[0m", "", " ", "x" * 5000, "1", "1.0", "nan", "(none)",
]  # fmt: skip


def test_report_renders_any_label(paths: Path) -> None:
    labelled(paths, LABELS)
    page, _, _ = run(paths)
    assert "could not be rendered" not in page
    for label in LABELS:
        assert page.count(f"<bdi>{shown(label)}</bdi></th>") >= 4, label  # classes, matrix twice, balance
    assert "<b>&amp;" not in page.replace("&lt;b&gt;&amp;amp;", "")


@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    labels=st.lists(
        st.text(st.characters(exclude_categories=["Cs"]), max_size=30), min_size=1, max_size=40, unique=True
    ),
    answer=st.text(max_size=30),
)
def test_report_renders_any_text(paths: Path, labels: list[str], answer: str) -> None:
    """Labels, texts and answers of every kind, lone surrogates in an answer too."""
    labelled(paths, labels)
    write_examples(paths / "test", [Example("1", labels[0], labels[-1], 1)])
    write_answers(paths, labels[-1], answer)
    page, _, summary = run(paths)
    assert "could not be rendered" not in page
    assert summary.data["labels"] == dict.fromkeys(labels, 3)
    assert ('<table class="matrix">' in page) == (len(labels) <= report_page.MAX_MATRIX_LABELS)
    assert not re.search(
        "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]", page.split('id="rows"')[0]
    )
    (key, reference, answers) = itemgetter(1, 4, 5)(
        json.loads(page.split('id="rows">')[1].split("</script>")[0])["rows"][0]
    )
    assert (key, reference, answers) == ("1", labels[-1], [["invalid", answer], 0])


def test_report_lists_the_most_frequent_confusions(paths: Path) -> None:
    labelled(paths, [f"label {n}" for n in range(50)])
    page, _, _ = run(paths)
    assert '<bdi>label 48</bdi></th><td class="text"><bdi>label 49</bdi></td><td>49</td>' in page
    assert page.count('<td class="text"><bdi>label') == report_page.MAX_CONFUSIONS - 1  # and one of no answer


def test_report_shows_unusable_forms_and_free_baselines(paths: Path) -> None:
    tested = EvaluationReport.read(paths / "tested")
    forms = [UnusableForm(outcome="blocked", form="<b>well</b>, <label>", rows=1)]
    prompt, tuned = tested.variants
    free = reported("nearest_row", "free_baseline")
    update = {"variants": [prompt.model_copy(update={"unusable_forms": forms}), tuned], "free_baselines": [free]}
    tested.model_copy(update=update).write(paths / "tested")
    page, _, summary = run(paths)
    assert [row.name for row in summary.free_baselines] == ["nearest_row"]
    assert "nearest_row is a copy of the answer of the nearest training row." in page
    form = "<bdi>&lt;b&gt;well&lt;/b&gt;, &lt;label&gt;</bdi>"
    row = f'<td>1 / 4</td><td class="text">blocked</td><td class="text">{form}</td>'
    assert row in page.split("commonest forms of unusable answers")[1]


def test_report_shows_the_best_free_baseline_of_any_kind_beside_the_models(paths: Path) -> None:
    tested = EvaluationReport.read(paths / "tested")
    free = [reported("nearest_row", "free_baseline"), reported("empty_object", "constant")]
    for result, value in zip(free, (0.25, 0.5), strict=True):
        result.metrics["accuracy"] = Score(value=value, low=value - 0.1, high=value + 0.1)
    tested.model_copy(update={"free_baselines": free}).write(paths / "tested")
    page, _, _ = run(paths)
    assert "the constant answer on 2" in page
    assert "Constant answer" in page
    assert "the free baseline on" not in page


def test_report_shows_and_counts_the_injection_probe(paths: Path) -> None:
    share = InjectionShare(attack="closed frame", rows=60, share=Score(value=0.7, low=0.575, high=0.801))
    probe = InjectionReport(variant="t@2", role="candidate", shares=[share], tokens=TokenUsage(input=1_000_000))
    tested = EvaluationReport.read(paths / "tested")
    tested.model_copy(update={"injection": [probe]}).write(paths / "tested")
    page, _, summary = run(paths)
    assert '<td class="text">closed frame</td><td>0.700</td><td>0.575 to 0.801</td><td>60</td>' in page
    assert {item.label: item.cost.expected for item in summary.cost.items}["injection probe of t@2"] > 0


def test_report_shows_pairwise_results(paths: Path) -> None:
    result = PairwiseReport(
        candidate="t@2", baseline="zero_shot", value=0.65, low=0.6, high=0.7, pairs=4, wins=2, losses=1, ties=1,
        order_flips=0, p_value=0.03,
    )  # fmt: skip
    tested = EvaluationReport.read(paths / "tested")
    tested.model_copy(update={"pairwise": [result], "ranker": "reference"}).write(paths / "tested")
    page, _, summary = run(paths)
    assert summary.pairwise == [result]
    assert "<td>0.650</td><td>0.600 to 0.700</td><td>2</td><td>1</td><td>1</td><td>0</td><td>0.03</td>" in page


def test_report_names_the_test_of_each_comparison(paths: Path) -> None:
    page, _, _ = run(paths)
    assert page.count("McNemar") == 1
    assert '<td>0.01</td><td class="text">exact McNemar</td>' in page
    assert '<td>0.02</td><td class="text">paired permutation</td>' in page


def test_report_shows_constrained_output_and_its_request(paths: Path) -> None:
    plan = TuningPlan.read(paths / "plan")
    baseline = plan.baselines.variants[0]
    variant = baseline.variant.model_copy(update={"prompt": Prompt(name="p", constrained_output=True)})
    reports = [baseline, baseline.model_copy(update={"variant": variant.model_copy(update={"name": "p_constrained"})})]
    plan.model_copy(update={"baselines": plan.baselines.model_copy(update={"variants": reports})}).write(paths / "plan")
    page, _, summary = run(paths)
    assert [row.constrained_output for row in summary.baselines] == [False, True]
    assert "<bdi>p_constrained</bdi>, constrained output" in page
    task = Task(labels=["a", "b"])
    request = report.example_request(task, variant, [Example("1", "text", "a")])
    schema = {"type": "STRING", "enum": ["a", "b"]}
    assert request["generationConfig"] == {
        "temperature": 0, "responseMimeType": "text/x.enum", "responseSchema": schema,
    }  # fmt: skip


def test_report_shows_vertex_metrics_beside_ours(paths: Path) -> None:
    assert "Metrics of the Gen AI evaluation service" not in run(paths)[0]
    ours = VertexMetric(value=0.625, low=0.5, high=0.7, scored=4, ours=0.75)
    metrics = {"exact_match": ours, "rubric": ours.model_copy(update={"ours": None})}
    prompt, tuned = EvaluationReport.read(paths / "tested").variants
    evaluated(
        prompt.model_copy(update={"vertex_metrics": metrics}),
        tuned.model_copy(update={"vertex_metrics_error": "403: <b>no</b>"}),
    ).write(paths / "tested")
    page, _, summary = run(paths)
    assert page.count("<td>0.625</td><td>0.500 to 0.700</td><td>0.750</td>") == 1
    assert page.count("<td>0.625</td><td>0.500 to 0.700</td><td></td>") == 1
    assert "no scores: <bdi>403: &lt;b&gt;no" in page
    assert summary.variants[0].vertex_metrics["exact_match"].ours == 0.75


def test_settings_that_differ_are_on_the_page_and_no_secret_is(paths: Path) -> None:
    page, _, _ = run(paths, split={"seed": 3, "test": 0.25}, notify={"webhook": "https://hooks/secret"})
    assert "<code>split.seed</code>" in page
    assert "secret" not in page


def test_lineage_leads_from_the_file_to_what_serves(paths: Path) -> None:
    page, _, summary = run(paths)
    nodes, edges = report_page.lineage(summary)
    origins = {node: {source for source, made in edges if made is node} for node in nodes}
    reached, new = set[report_page.Node](), [nodes[-1]]
    while new:
        reached |= {node := new.pop()}
        new += origins[node] - reached
    assert nodes[-1].kind == "Endpoint"
    assert {(node.kind, node.name) for node in reached} == {
        ("Data", "rows.csv"), ("Rows", "train"), ("Rows", "validation"), ("Rows", "test"), ("Prompts", "1"),
        ("Tuning", "t"), ("Variants", "t@2"), ("Variants", "zero_shot"), ("Decision", summary.headline),
        ("Endpoint", "t@2"),
    }  # fmt: skip
    assert all(source.column < made.column for source, made in edges)
    assert page.count('class="edge"') == len(edges)
