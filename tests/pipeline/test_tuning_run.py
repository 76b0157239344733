"""Whole local runs with options: hard examples, ablation, early stopping, larger models, continuing, augmentation.

The scripted model answers the rows of one label wrongly, so that what is hard is known.
"""

import json

import pytest
from golden_runs import MORE
from test_run import run, summary_of, write_inputs

pytestmark = pytest.mark.pipeline
LARGE = "gemini-3.5-flash"


def files_of(folder, name):
    """What a step wrote under a name, newest run."""
    newest = max((folder / "runs").glob("known-*"), key=lambda path: path.stat().st_mtime)
    return sorted((newest / "steps").rglob(name))


@MORE
@pytest.mark.xdist_group("run-tuning")
def test_run_reweights_hard_examples_and_tries_a_larger_model(tmp_path):
    write_inputs(tmp_path, base_accuracy=0.6, tuned_accuracy=0.9, step_seconds=0.02)
    (tmp_path / "config.yaml").write_text(
        "name: known\ndata: rows.jsonl\n"
        "hard_examples: {target_share: 0.6}\nevaluate: {baselines: [{name: zero_shot}]}\n"
        "plan:\n  trials:\n  - {name: short, epoch_count: 3, adapter_size: 4}\n"
        f"escalation: {{models: [{LARGE}], stop_at_score: 1.0}}\n"
        "tune: {poll_s: 0.2}\n"
    )
    summary = summary_of(run(tmp_path), tmp_path)
    names = {trial["name"] for trial in summary["trials"]}
    assert names == {"short", "short-unweighted", LARGE}
    (path,) = (path for path in files_of(tmp_path, "report.json") if "/reweight-hard-examples/" in str(path))
    hard = json.loads(path.read_text())
    assert hard["hard_rows"] > 10
    assert hard["share"] == pytest.approx(0.6, abs=0.02)
    assert "hard examples reweighted: " in summary["selection"]
    assert "hard examples reweighted: " in max((tmp_path / "runs").glob("known-*/report.html")).read_text()
    assert f"{LARGE} was tuned" in summary["selection"]
    planned = summary["plan"]
    forecast = planned["forecast"]
    assert summary["cost"]["actual"] <= forecast["cost"]["upper"] <= forecast["max_cost"]
    labels = [item["label"] for item in summary["cost"]["items"]]
    assert "best prompt on training rows" in labels
    assert [labels.count(f"checkpoints of {name} on validation") for name in sorted(names)] == [1, 1, 1]
    assert {"best prompt on training rows", f"tuning {LARGE}, if needed"} <= {
        item["label"] for item in forecast["items"]
    }

    # without the larger model, whose job would be found again and be the champion itself
    more = ("--set", "plan.start_from_champion=true", "--set", "escalation.models=[]")
    again = summary_of(run(tmp_path, *more), tmp_path)
    assert any("the champion on the champion's test set" in note for note in again["notes"])
    (candidate,) = (row for row in again["variants"] if row["role"] == "candidate")
    assert candidate["name"].split("@")[0] in {"short", "short-unweighted"}


@MORE
@pytest.mark.xdist_group("run-tuning")
def test_run_goes_on_after_a_trial_is_stopped_early(tmp_path):
    write_inputs(tmp_path, base_accuracy=0.4, tuned_accuracy=0.97, step_seconds=0.05)
    script = json.loads((tmp_path / "script.json").read_text())
    # the scripted loss falls with the share of the way, so that after an epoch the long trial is behind the short one
    (tmp_path / "script.json").write_text(json.dumps({**script, "first_loss": 4.0, "last_loss": 0.05}))
    (tmp_path / "config.yaml").write_text(
        "name: known\ndata: rows.jsonl\n"
        "plan:\n  trials:\n  - {name: short, epoch_count: 2, adapter_size: 4}\n"
        "  - {name: long, epoch_count: 60, adapter_size: 8}\n"
        "tune: {poll_s: 0.1, early_stopping: all}\nevaluate: {baselines: [{name: zero_shot}]}\n"
    )
    summary = summary_of(run(tmp_path, "--jobs", "2"), tmp_path)
    trials = {trial["name"]: trial for trial in summary["trials"]}
    assert trials["long"]["diagnosis"]["kind"] == "early_stopped"
    assert summary["verdict"] == "deploy"
    assert {point["variant"]["trial"] for point in summary["checkpoints"]} == {"short"}
    spent = {item["label"]: item["tokens"]["expected"] for item in summary["cost"]["items"]}
    planned = {item["label"]: item["tokens"]["expected"] for item in summary["plan"]["forecast"]["items"]}
    assert spent["tuning long"] < planned["tuning long"] / 2
    assert spent["tuning short"] == pytest.approx(planned["tuning short"], rel=0.1)


@MORE
@pytest.mark.xdist_group("run-tuning")
def test_run_with_augmentation_tunes_on_new_rows_of_the_rare_label(tmp_path):
    write_inputs(tmp_path, base_accuracy=0.4, tuned_accuracy=0.97)
    rows = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    kept = [row for number, row in enumerate(rows) if row.get("label") != "login" or number % 9 == 2]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in kept))
    (tmp_path / "config.yaml").write_text(
        "name: known\ndata: rows.jsonl\n"
        "augment: {min_rows_per_label: 40, methods: [perturb]}\n"
        "evaluate: {baselines: [{name: zero_shot}]}\n"
        "plan: {min_train_rows: 50, trials: [{name: short, epoch_count: 2, adapter_size: 4}]}\n"
        "tune: {poll_s: 0.2}\n"
    )
    summary = summary_of(run(tmp_path), tmp_path)
    (report,) = files_of(tmp_path, "augment/report.json")
    augmented = json.loads(report.read_text())
    assert set(augmented["labels"]) == {"login"}
    assert augmented["new"] > 10
    assert augmented["leakage_report"]["clean"]
    assert summary["plan"]["rows"]["train"] == augmented["rows"] > summary["splits"]["rows"]["train"]
    assert summary["verdict"] == "deploy"
