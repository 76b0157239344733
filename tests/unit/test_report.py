# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The report: numbers are the steps' numbers, texts are data, the page is one file."""

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
from typing import Any, Literal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from markupsafe import escape

from gemtune import __version__
from gemtune.artifacts.cost import BudgetReport, CostForecast, CostItem, Estimate, TokenUsage
from gemtune.artifacts.data import (
    DataReport,
    LeakageReport,
    PersonalData,
    SplitOverlap,
    SplitReport,
)
from gemtune.artifacts.decision import ComparisonReport, DecisionRecord, DeploymentRecord, Rule, RunSummary, Verdict
from gemtune.artifacts.evaluation import (
    ClassReport,
    Confusion,
    EvaluationReport,
    InjectionReport,
    InjectionShare,
    JudgeReport,
    Latency,
    PairwiseReport,
    Score,
    SliceReport,
    TestSetUsage,
    UnusableForm,
    VariantReport,
    VertexMetric,
)
from gemtune.artifacts.tuning import (
    BestPrompt,
    CheckpointScore,
    Diagnosis,
    PriceList,
    Selection,
    TrialSummary,
    TuningPlan,
)
from gemtune.config import Gate, ModelVariant, Prompt, Task
from gemtune.data.example import Example, write_examples, write_rows
from gemtune.evaluation.predictions import write_predictions
from gemtune.steps import report, report_page, templates

TASK = Task(labels=["a", "b"], instruction="Choose.")
SCORE = Score(value=0.75, low=0.5, high=0.9)
PRICES = PriceList(base_model="m", models={"m": {"input": 1.0, "output": 2.0}, "judge": {"input": 1.0, "output": 2.0}})


def variant(name: str, role: Any, shots: int = 0) -> ModelVariant:
    return ModelVariant(name=name, model="m", role=role, prompt=Prompt(name="p", shots=shots))


def reported(name: str, role: Any) -> VariantReport:
    return VariantReport(
        variant=variant(name, role),
        metrics={"accuracy": SCORE, "macro_f1": SCORE},
        outcomes={"ok": 3, "blocked": 1},
        tokens=TokenUsage(input=1_000_000, output=500_000),
        latency_s=Latency(median=0.1, p95=0.2),
        attempts=4,
        cached=0,
        per_class=[ClassReport(label="a", precision=1.0, recall=0.5, f1=0.67, support=2)],
        confusion=Confusion(labels=["a", "b"], columns=["a", "b", "(none)"], matrix=[[1, 1, 0], [0, 1, 1]]),
        slices={"channel": {"web": SliceReport(rows=4, metrics={"accuracy": SCORE})}},
    )


def evaluated(*reports: VariantReport, **more: Any) -> EvaluationReport:
    generation = {"base_model": "m", "confidence": "votes", "samples": 3}
    return EvaluationReport(dataset="test", rows=4, task=TASK, generation=generation, variants=list(reports), **more)


def comparison(versus: str, metric: str, p_value: float, test: str) -> ComparisonReport:
    return ComparisonReport(
        versus=versus,
        role="baseline",
        metric=metric,
        candidate=0.8,
        baseline=0.7,
        delta=0.1,
        low=0.05,
        high=0.2,
        p_value=p_value,
        test=test,
        wins=3,
        losses=1,
        disagreement=0.2,
    )


def write_answers(paths: Path, reference: str, answer: str) -> None:
    """An unusable answer of the candidate to the test row, and the right one of the prompt."""
    row = {"dataset": "test", "id": "1", "reference": reference, "slices": {"length": "short"}}
    new = {"variant": "t@2", "answer": answer, "outcome": "invalid", "scores": {"exact_match": 0.0}}
    old = {"variant": "zero_shot", "answer": reference, "outcome": "ok", "scores": {"exact_match": 1.0}}
    write_predictions(str(paths / "predictions"), [row | new, row | old])


@pytest.fixture
def paths(tmp_path: Path) -> Path:
    """Files of a small run as its steps write them."""
    DataReport(
        data="rows.csv",
        settings={},
        rows=6,
        examples=4,
        dropped={"empty_text": 2},
        labels={"a": 2, "b": 2},
        cleaned={},
        corrected=0,
        corrections_without_row=0,
        personal_data=PersonalData(findings={}, lines=()),
        text_characters=None,
        text_tokens_estimated=None,
        target_characters=None,
        scripts={},
        slices={},
        multi_turn=0,
        with_system=0,
    ).write(tmp_path / "data")
    overlap = SplitOverlap(
        split="test", other_split="train", rows=0, exact=0, near=0, group=0, passage=3, semantic=4, samples=()
    )
    leakage = LeakageReport(
        jaccard_threshold=0.8,
        passage_chars=100,
        cosine_threshold=0.95,
        embedded={},
        overlaps=(overlap,),
        clean=True,
        rows={},
        splits="f",
    )
    SplitReport(
        settings={},
        rows={"train": 2, "validation": 1, "test": 1},
        excluded=(),
        labels={"a": {"train": 1, "validation": 1, "test": 0}},
        slices={},
        times={},
        assignments_kept=0,
        leakage_report=leakage,
    ).write(tmp_path / "split")
    forecast = CostItem(kind="tuning", label="tuning t", cost=Estimate(expected=2.5, upper=3.0))
    items = [CostItem.actual("baseline", "zero_shot on validation", 10, 0.5), forecast]
    TuningPlan(
        should_tune=True,
        reasons=[],
        metric="accuracy",
        best_prompt=BestPrompt(variant=variant("zero_shot", "baseline"), score=SCORE),
        detectable_lift=0.1,
        rows={"train": 2, "validation": 1, "test": 1},
        trials=[],
        prices=PRICES,
        forecast=CostForecast.of(items, 10.0),
        fingerprint="f",
        baselines=evaluated(reported("zero_shot", "baseline")),
    ).write(tmp_path / "plan")
    trial = TrialSummary(
        name="t",
        method="supervised",
        hyperparameters={"epoch_count": 2, "learning_rate_multiplier": 1.0, "adapter_size": 4},
        job="projects/p/locations/l/tuningJobs/1",
        base_model="m",
        states=[],
        diagnosis=Diagnosis("fine", "<b>loss</b> settled", "none"),
        curve={"/train_total_loss": [(1, 2.0), (2, 1.0)], "/eval_total_loss": [(2, 1.1)]},
        dropped=0,
        dropped_reasons=[],
    )
    Selection(
        metric="accuracy",
        reason="the best score",
        best_prompt=variant("zero_shot", "baseline"),
        candidate=variant("t@2", "candidate"),
        checkpoints=[CheckpointScore(name="t@2", variant=variant("t@2", "candidate"), score=SCORE, selected=True)],
        trials=[trial],
        spent=[CostItem.actual("tuning", "tuning t", 100, 1.0)],
    ).write(tmp_path / "selection")
    evaluated(reported("zero_shot", "baseline"), reported("t@2", "candidate")).write(tmp_path / "tested")
    DecisionRecord(
        verdict="deploy",
        reasons=["it is better"],
        task=TASK,
        notes=["a linear model does as well"],
        metric="accuracy",
        rows=4,
        confidence_level=0.95,
        settings=Gate(),
        test_set_usage=TestSetUsage(test="f00", candidates=2, uses=3),
        comparisons=[
            comparison("zero_shot", "accuracy", 0.01, "exact McNemar"),
            comparison("champion", "macro_f1", 0.02, "paired permutation"),
        ],
        rules=[Rule(name="invalid_rate", passed=True, measured=0.0, required=0.05, summary="few")],
    ).write(tmp_path / "decision")
    write_examples(tmp_path / "train", [Example("2", "asked", "a", 2), Example("3", "shown", "b", 3)])
    dropped = {"line": 9, "reason": "empty_text", "detail": "no <i>text</i>", "row": {"text": "", "label": "a"}}
    write_rows(tmp_path / "dropped", [dropped] * 5)
    write_examples(tmp_path / "test", [Example("1", "<script>alert(1)</script>", "a", 1)])
    write_answers(tmp_path, "a", "<img src=x onerror=1>")
    BudgetReport(name="n", forecast=CostForecast.of([], 1.0), fingerprint="d").write(tmp_path / "budget")
    return tmp_path


@pytest.fixture(autouse=True)
def recorded(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What was recorded as decided on: name, fingerprint, champion, summary."""
    decisions: list[tuple[Any, ...]] = []
    monkeypatch.setattr("gemtune.state.last_decision.record", lambda _client, *own: decisions.append(own))
    return decisions


STARTED = "2026-11-26T09:00:00Z"


def outputs(folder: Path) -> dict[str, str]:
    """Where the step writes."""
    names = {"page": "html", "verdict": "md", "summary": "json", "manifest": "manifest"}
    return {name: str(folder / file) for name, file in names.items()}


def run(
    paths: Path, action: Literal["deployed", "none"] = "deployed", champion_before: str = "", **sections: Any
) -> tuple[str, str, RunSummary]:
    """The page, the verdict in Markdown, and the summary."""
    deployed = DeploymentRecord(
        action=action,
        variant=variant("t@2", "candidate", shots=1),
        champion_before=champion_before,
        undeployed=[],
        cleaning={"lowercase": True},
    )
    names = (
        "data",
        "split",
        "plan",
        "selection",
        "tested",
        "predictions",
        "train",
        "test",
        "decision",
        "budget",
        "dropped",
    )
    inputs = {name: str(paths / name) for name in names}
    own = {"vertex": {"project": "p"}, "notify": {"webhook": "https://secret"}} | sections
    report.run(inputs, deployed.model_dump(mode="json"), "n", ("job-1", STARTED), outputs(paths), **own)
    return (paths / "html").read_text(), (paths / "md").read_text(), RunSummary.read(paths / "json")


@pytest.mark.parametrize("update", [{}, {"verdict": "not_enough_data"}, {"failed_rows": {"t@2": 1}}])
def test_report_records_what_was_decided_on_unless_something_is_left_open(
    paths: Path, recorded: list[tuple[Any, ...]], update: dict[str, Any]
) -> None:
    DecisionRecord.read(paths / "decision").model_copy(update=update).write(paths / "decision")
    _, _, summary = run(paths)
    assert recorded == ([] if update else [("n", "d", "m", summary.model_dump(mode="json"), False)])


def test_report_of_a_run_with_nothing_new_has_the_last_verdict_and_no_cost(paths: Path) -> None:
    _, _, last = run(paths)
    spent = [CostItem.actual("augmentation", "paraphrases", 5, 0.25)]
    checked = {"forecast": CostForecast.of(spent, 1.0), "last_summary": last.model_dump(mode="json")}
    BudgetReport.read(paths / "budget").model_copy(update=checked).write(paths / "budget")
    report.run_unchanged(str(paths / "budget"), ("job-2", "{{$.unresolved}}"), outputs(paths), vertex={"project": "p"})
    summary = RunSummary.read(paths / "json")
    assert (summary.verdict, summary.passed, summary.cost.actual) == ("keep_champion", False, 0.25)
    assert "unchanged: rows, settings and champion are those of the last decision" in summary.reasons[0]
    assert summary.reasons[0] in (paths / "html").read_text()
    assert summary.reasons[0] in (paths / "md").read_text()
    assert (summary.outcome, summary.variants) == (last.outcome, last.variants)
    assert (last.identity.job, summary.identity.job) == ("job-1", "job-2")


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


def shown(text: str) -> str:
    """The text on the page: control characters are symbols."""
    return str(escape("".join(chr(0x2400 + ord(c)) if ord(c) < 32 and c not in "\t\n" else c for c in text)))


def labelled(paths: Path, labels: list[str]) -> None:
    """Rewrite the documents: the rows have these labels, all wrong in a circle."""
    data, split, tested = (kind.read(paths / name) for kind, name in (
        (DataReport, "data"), (SplitReport, "split"), (EvaluationReport, "tested")))  # fmt: skip
    data.model_copy(update={"labels": dict.fromkeys(labels, 3)}).write(paths / "data")
    counts = {label: {"train": 2, "validation": 1, "test": 0} for label in labels}
    split.model_copy(update={"labels": counts}).write(paths / "split")
    matrix = [[int(j == i + 1) * (i + 1) for j in range(len(labels) + 1)] for i in range(len(labels))]
    table = Confusion(labels=labels, columns=[*labels, "(none)"], matrix=matrix)
    classes = [ClassReport(label=label, precision=0.5, recall=0.5, f1=0.5, support=1) for label in labels]
    values = {label: SliceReport(rows=1, metrics={"accuracy": SCORE}) for label in labels}
    update = {"confusion": table, "per_class": classes, "slices": {label: values for label in labels[:3]}}
    variants = [report.model_copy(update=update) for report in tested.variants]
    tested.model_copy(update={"variants": variants}).write(paths / "tested")


def test_report_renders_any_label(paths: Path) -> None:
    labelled(paths, LABELS)
    page, _, _ = run(paths)
    assert "could not be rendered" not in page
    for label in LABELS:
        assert page.count(f"<bdi>{shown(label)}</bdi></th>") >= 4, label  # classes, matrix twice, balance
    assert "<b>&amp;" not in page.replace("&lt;b&gt;&amp;amp;", "")


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
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


def test_report_that_fails_leaves_summary_and_verdict(paths: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> str:
        raise ValueError("<no> row")

    monkeypatch.setattr(report, "_now", lambda: "2026-11-26T06:00:00+00:00")
    expected = run(paths)
    monkeypatch.setattr(report_page, "changes", fail)
    page, verdict, summary = run(paths)
    assert (verdict, summary) == expected[1:]
    assert "# Deploy the tuned model" in page
    assert "The full page could not be rendered: ValueError: &lt;no&gt; row" in page


def test_report_summary_has_the_numbers_of_the_steps(paths: Path) -> None:
    page, _, summary = run(paths)
    decision = DecisionRecord.read(paths / "decision")
    assert (summary.verdict, summary.passed) == (decision.verdict, decision.passed) == ("deploy", True)
    assert [row.name for row in summary.variants] == ["zero_shot", "t@2"]
    tuned = summary.variants[1]
    assert tuned.invalid_rate == pytest.approx(0.25)
    assert tuned.tokens_per_row == pytest.approx(375_000)
    assert tuned.cost == pytest.approx(2.0)  # a million tokens at 1, half a million at 2
    assert summary.cost.actual == pytest.approx(0.5 + 1.0 + 2 * 2.0)
    assert summary.cost.forecast == pytest.approx(3.0)
    assert all(item.stage == "actual" for item in summary.cost.items)
    assert [checkpoint.name for checkpoint in summary.checkpoints] == ["t@2"]
    assert summary.test_set_usage is not None
    assert summary.test_set_usage.candidates == 2
    assert "These test rows were used for 2 candidates in 3 evaluations." in page
    assert summary.slices["channel"]["web"]["scores"]["t@2"] == SCORE.model_dump()


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
    row = f'<td>1 of 4</td><td class="text">blocked</td><td class="text">{form}</td>'
    assert row in page.split("Unusable answers of zero_shot on test rows")[1]


@pytest.mark.parametrize("verdict", ["none_usable", "use_tfidf_baseline"])
def test_report_of_a_verdict_that_lets_nothing_serve(paths: Path, verdict: Verdict) -> None:
    DecisionRecord.read(paths / "decision").model_copy(update={"verdict": verdict}).write(paths / "decision")
    page, _, summary = run(paths, action="none")
    assert (summary.verdict, summary.passed) == (verdict, False)
    assert summary.headline == report.HEADLINES[verdict]
    assert "Nothing: no variant of this run is to serve." in page
    assert "Nothing: no variant of this run is to serve." not in run(paths)[0]


@pytest.mark.parametrize(("verdict", "first"), [("deploy", "it is better"), ("keep_prompt", "zero_shot is not usable")])
def test_report_reasons_of_a_deployment_begin_with_those_for_it(paths: Path, verdict: Verdict, first: str) -> None:
    """A prompt that did not count is no reason to deploy; where nothing is deployed it is reported first."""
    plan, decision = TuningPlan.read(paths / "plan"), DecisionRecord.read(paths / "decision")
    plan.model_copy(update={"unusable": ["zero_shot is not usable"]}).write(paths / "plan")
    decision.model_copy(update={"verdict": verdict}).write(paths / "decision")
    _, text, summary = run(paths)
    assert summary.reasons[0] == first
    assert text.splitlines()[2] == f"- {first}"
    assert "zero_shot is not usable" in [*summary.reasons, *summary.notes]


def test_report_costs_include_ranking_and_the_champion_test_set(paths: Path) -> None:
    old = evaluated(reported("t@2", "candidate"), reported("champion", "champion"), ranker="judge")
    old = old.model_copy(update={"ranking_tokens": TokenUsage(input=2_000_000, requests=5)})
    judge = JudgeReport(model="judge", rubric="Is it right?")
    tested = EvaluationReport.read(paths / "tested")
    ranking = TokenUsage(input=1_000_000, requests=5)
    tested.model_copy(update={"champion_test_set": old, "ranking_tokens": ranking, "judge": judge}).write(
        paths / "tested"
    )
    items = {item.label: item.cost.expected for item in run(paths)[2].cost.items}
    assert items["ranking the finalists"] == pytest.approx(1.0)
    assert items["ranking the champion's test set"] == pytest.approx(2.0)
    assert items["champion on the champion's test set"] == pytest.approx(2.0)


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


def test_report_example_request_equals_the_evaluation_request(paths: Path) -> None:
    _, _, summary = run(paths)
    request = summary.outcome["example_request"]
    assert "Choose." in request["systemInstruction"]["parts"][0]["text"]
    text = request["contents"][-1]["parts"][0]["text"]
    assert text.index("shown") < text.index("asked")  # training rows only
    assert "<script>" not in text


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


def test_report_verdict_is_markdown(paths: Path) -> None:
    _, verdict, _ = run(paths)
    assert verdict.startswith("# Deploy the tuned model")
    assert "| t@2 | 0.750 | 0.500 to 0.900 |" in verdict


@pytest.mark.parametrize(("verdict", "roles", "name"), [
    ("deploy", ["baseline", "candidate"], "candidate"),
    ("keep_champion", ["baseline", "champion"], "champion"),
    ("none_usable", ["baseline", "champion"], "champion"),
    ("none_usable", ["baseline"], "baseline"),
    ("keep_prompt", ["baseline"], "baseline"),
    ("keep_prompt", ["baseline", "champion"], "baseline"),
])  # fmt: skip
def test_report_details_are_of_the_decided_variant(paths: Path, verdict: Verdict, roles: list[Any], name: str) -> None:
    summary = run(paths)[2]
    variants = [summary.variants[0].model_copy(update={"name": role, "role": role}) for role in roles]
    assert report._in_focus(summary.model_copy(update={"verdict": verdict, "variants": variants})).name == name


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


TEMPLATE = templates.source("report.html.j2")
TECHNICAL = {"gemtune"}


def test_japanese_page_has_every_heading_and_verdict_in_japanese(paths: Path) -> None:
    table = templates.texts("ja")
    tags = re.findall(r"<(?:h2|h3|caption|th|dt|summary)\b[^>]*>([^<{]*[A-Za-z]{2}[^<{]*)(?=[<{])", TEMPLATE)
    links = re.findall(r'<a href="#\w+">([^<{]+)</a>', TEMPLATE)
    calls = re.findall(r"""\bt\((?:'([^']+)'|"([^"]+)")""", TEMPLATE)
    sentences = re.findall(r"'([A-Z{,][^'{}]*\{\w+\}[^']*)'", TEMPLATE)
    used = {*(text.strip() for text in tags), *links, *(a or b for a, b in calls), *sentences}
    assert len(used) > 120
    assert used - table.keys() - TECHNICAL == set()
    assert set(report.HEADLINES.values()) <= table.keys()
    for english, japanese in table.items():
        assert set(re.findall(r"\{\w+\}", english)) == set(re.findall(r"\{\w+\}", japanese)), english
    page, _, summary = run(paths, reporting={"language": "ja"})
    assert "could not be rendered" not in page
    assert '<html lang="ja">' in page
    assert f'<h2 id="verdict">{table[summary.headline]}</h2>' in page
    assert summary.headline not in page
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


def test_settings_that_differ_are_on_the_page_and_no_secret_is(paths: Path) -> None:
    page, _, _ = run(paths, split={"seed": 3, "test": 0.25}, notify={"webhook": "https://hooks/secret"})
    assert "<code>split.seed</code>" in page
    assert "secret" not in page
