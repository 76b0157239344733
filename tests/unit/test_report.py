"""The report: numbers are the steps' numbers, texts are data, the page is one file."""

import json
import re

import pytest

from gemtune.config import Contestant, Prompt, Task
from gemtune.data.example import Example, write_examples
from gemtune.steps import report

TASK = Task(labels=["a", "b"], instruction="Choose.")
SCORE = {"value": 0.75, "low": 0.5, "high": 0.9}


def entry(name, role, shots=0):
    contestant = Contestant(name=name, model="m", role=role, prompt=Prompt(name="p", shots=shots))
    return {
        "contestant": contestant.model_dump(),
        "metrics": {"accuracy": SCORE, "macro_f1": SCORE},
        "outcomes": {"ok": 3, "blocked": 1},
        "tokens": {"input": 1_000_000, "output": 500_000},
        "latency_s": {"median": 0.1, "p95": 0.2},
        "per_class": [{"label": "a", "precision": 1.0, "recall": 0.5, "f1": 0.67, "support": 2}],
        "confusion": {"labels": ["a", "b"], "columns": ["a", "b", "(none)"], "matrix": [[1, 1, 0], [0, 1, 1]]},
        "slices": {"channel": {"web": {"rows": 4, "metrics": {"accuracy": SCORE}}}},
    }


def evaluated(*entries):
    asking = {"base_model": "m", "confidence": "votes", "samples": 3}
    return {"rows": 4, "task": TASK.model_dump(), "asking": asking, "contestants": list(entries)}


@pytest.fixture
def paths(tmp_path):
    """Files of a small run as its steps write them."""
    overlap = {"of": "test", "in": "train", "rows": 0, "exact": 0, "near": 0, "group": 0, "samples": []}
    overlap |= {"passage": 3, "meaning": 4}
    line = {"what": "zero_shot on validation (spent)", "tokens": 10.0, "cost": 0.5, "at_most": 0.5}
    trial = {
        "name": "t",
        "hyperparameters": {"epoch_count": 2, "learning_rate_multiplier": 1.0, "adapter_size": 4},
        "job": "projects/p/locations/l/tuningJobs/1",
        "diagnosis": {"kind": "fine", "evidence": "<b>loss</b> settled", "action": "none"},
        "curve": {"/train_total_loss": [[1, 2.0], [2, 1.0]], "/eval_total_loss": [[2, 1.1]]},
    }
    standing = {"contestant": entry("t@2", "candidate")["contestant"], **SCORE, "chosen": True}
    files = {
        "preprocessed": {"rows": 6, "examples": 4, "dropped": {"empty_text": 2}, "labels": {"a": 2, "b": 2}},
        "split": {
            "rows": {"train": 2, "validation": 1, "test": 1},
            "labels": {"a": {"train": 1, "validation": 1, "test": 0}},
            "certificate": {
                "threshold": 0.8,
                "passage": 100,
                "meaning": 0.95,
                "overlaps": [overlap],
                "clean": True,
            },
        },
        "plan": {
            "baselines": [evaluated(entry("zero_shot", "baseline"))],
            "worthwhile": True,
            "reasons": [],
            "prices": {"input": 1.0, "output": 2.0},
            "costs": [line],
            "cost": 3.0,
            "sentence": "forecast 3.00 USD",
            "warnings": [],
            "detectable_lift": 0.1,
        },
        "picked": {
            "trials": [trial],
            "checkpoints": [standing],
            "reason": "the best score",
            "ledger": [{"what": "tuning t", "tokens": 100, "cost": 1.0}],
        },
        "tested": evaluated(entry("zero_shot", "baseline"), entry("t@2", "candidate")),
        "decision": {
            "verdict": "deploy",
            "passed": True,
            "reasons": ["it is better"],
            "notes": ["a linear model does as well"],
            "metric": "accuracy",
            "settings": {"confidence_level": 0.95},
            "sealed": {"test": "f00", "candidates": 2, "readings": 3},
            "comparisons": [
                {"versus": "zero_shot", "metric": "accuracy", "delta": 0.1, "low": 0.05, "high": 0.2, "p_value": 0.01}
            ],
            "rules": [{"name": "invalid_rate", "passed": True, "sentence": "few"}],
        },
    }
    for name, value in files.items():
        (tmp_path / name).write_text(json.dumps(value))
    example = Example("1", "<script>alert(1)</script>", "a", 1)
    write_examples(tmp_path / "train", [Example("2", "shown", "b", 2)])
    write_examples(tmp_path / "test", [example])
    wrong = {"contestant": "t@2", "id": "1", "reference": "a", "answer": "<img src=x onerror=1>", "outcome": "invalid"}
    (tmp_path / "predictions").write_text(json.dumps({**wrong, "scores": {"exact_match": 0.0}}) + "\n")
    return tmp_path


def run(paths):
    outcome = {"contestant": entry("t@2", "candidate", shots=1)["contestant"], "model": "m", "endpoint": ""}
    outcome["cleaning"] = {"lowercase": True}
    names = ("preprocessed", "split", "plan", "picked", "tested", "predictions", "train", "test", "decision")
    report.run(*[str(paths / n) for n in names], outcome, "n", *[str(paths / n) for n in ("html", "md", "json")])
    return (paths / "html").read_text(), (paths / "md").read_text(), json.loads((paths / "json").read_text())


def test_report_escapes_texts_and_answers(paths):
    page, _, _ = run(paths)
    assert "<script>" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert "<img src=x" not in page
    assert "<b>loss</b>" not in page


def test_report_page_is_self_contained(paths):
    page, _, _ = run(paths)
    assert not re.findall(r"""(?:src|href)=["']https?:""", page)
    assert page.count("<svg") == 3  # curve, confusion, balance
    assert "dc:date" not in page


def test_report_summary_has_the_numbers_of_the_steps(paths):
    page, _, summary = run(paths)
    assert [row["name"] for row in summary["contestants"]] == ["zero_shot", "t@2"]
    row = summary["contestants"][1]
    assert row["invalid_rate"] == pytest.approx(0.25)
    assert row["tokens_per_row"] == pytest.approx(375_000)
    assert row["cost"] == pytest.approx(2.0)  # a million tokens at 1, half a million at 2
    assert summary["cost"]["spent"] == pytest.approx(0.5 + 1.0 + 2 * 2.0)
    assert summary["sealed"]["candidates"] == 2
    assert "so far: 2 candidates; read 3 times." in page
    assert summary["slices"]["channel"]["web"]["scores"]["t@2"] == SCORE


def test_report_example_request_equals_the_evaluation_request(paths):
    _, _, summary = run(paths)
    request = summary["outcome"]["example_request"]
    assert "Choose." in request["systemInstruction"]["parts"][0]["text"]
    text = request["contents"][-1]["parts"][0]["text"]
    assert text.index("shown") < text.index("<script>")


def test_report_verdict_is_markdown(paths):
    _, verdict, _ = run(paths)
    assert verdict.startswith("# Deploy the tuned model")
    assert "| t@2 | 0.750 | 0.500 to 0.900 |" in verdict


@pytest.mark.parametrize(("verdict", "roles", "name"), [
    ("deploy", ["baseline", "candidate"], "candidate"),
    ("keep_champion", ["baseline", "champion"], "champion"),
    ("keep_prompt", ["baseline"], "baseline"),
    ("keep_prompt", ["baseline", "champion"], "baseline"),
])  # fmt: skip
def test_report_details_are_of_the_decided_variant(verdict, roles, name):
    rows = [{"name": role, "role": role} for role in roles]
    assert report._in_focus({"verdict": verdict, "contestants": rows}) == name


def test_report_shows_vertex_metrics_beside_ours(paths):
    assert "The evaluation service" not in run(paths)[0]
    tested = json.loads((paths / "tested").read_text())
    found = {"value": 0.625, "low": 0.5, "high": 0.7, "scored": 4, "ours": 0.75}
    tested["contestants"][0]["service"] = {"exact_match": found, "rubric": {**found, "ours": None}}
    tested["contestants"][1]["service"] = {"error": "403: <b>no</b>"}
    (paths / "tested").write_text(json.dumps(tested))
    page, _, summary = run(paths)
    assert page.count("<td>0.625</td><td>0.500 to 0.700</td><td>0.750</td>") == 1
    assert page.count("<td>0.625</td><td>0.500 to 0.700</td><td></td>") == 1
    assert "gave no scores: 403: &lt;b&gt;no" in page
    assert summary["contestants"][0]["service"]["exact_match"]["ours"] == 0.75
