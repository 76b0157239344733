"""Whole local runs of what tuning may add: hard rows weighted, an ablation, a race, a larger model, tuning on.

The scripted model answers the rows of one label wrongly, so that what is hard is known.
"""

import json

import pytest
from test_run import run, summary_of, write_inputs

pytestmark = pytest.mark.pipeline
LARGE = "gemini-3.5-flash"


def files_of(folder, name):
    """What a step wrote under a name, newest run."""
    newest = max((folder / "runs").glob("known-*"), key=lambda path: path.stat().st_mtime)
    return sorted((newest / "steps").rglob(name))


@pytest.mark.xdist_group("run-tuning")
def test_hard_rows_a_race_and_a_larger_model_in_one_run(tmp_path):
    write_inputs(tmp_path, base_accuracy=0.6, tuned_accuracy=0.9, step_seconds=0.02)
    (tmp_path / "config.yaml").write_text(
        "name: known\ndata: rows.jsonl\n"
        "hard: {share: 0.6}\nevaluate: {baselines: [{name: zero_shot}]}\n"
        "plan:\n  trials:\n  - {name: short, epoch_count: 3, adapter_size: 4}\n"
        f"larger: {{models: [{LARGE}], target: 1.0}}\n"
        "tune: {poll_s: 0.2}\n"
    )
    summary = summary_of(run(tmp_path), tmp_path)
    names = {trial["name"] for trial in summary["trials"]}
    assert names == {"short", "short-as-they-come", LARGE}
    (told,) = (json.loads(path.read_text()) for path in files_of(tmp_path, "report") if "/hard/" in str(path))
    assert told["hard_rows"] > 10
    assert told["share"] == pytest.approx(0.6, abs=0.02)
    assert "hard rows weighted: " in summary["pick"]
    assert "hard rows weighted: " in max((tmp_path / "runs").glob("known-*/report.html")).read_text()
    assert f"{LARGE} was tuned" in summary["pick"]
    planned = summary["plan"]
    assert summary["cost"]["spent"] <= planned["cost_at_most"] <= planned["max_cost"]
    lines = [line["what"] for line in summary["spent"]]
    assert [lines.count(f"checkpoints of {name} on validation") for name in sorted(names)] == [1, 1, 1]
    assert {"best prompt on training rows", f"tuning {LARGE}, if needed"} <= {line["what"] for line in planned["costs"]}

    # without the larger model, whose job would be found again and be the champion itself
    more = ("--set", "plan.continue_champion=true", "--set", "larger.models=[]")
    again = summary_of(run(tmp_path, *more), tmp_path)
    assert "has forgotten" in " ".join(again["notes"]) or "not shown to have forgotten" in " ".join(again["notes"])
    (candidate,) = (row for row in again["variants"] if row["role"] == "candidate")
    assert candidate["name"].split("@")[0] in {"short", "short-as-they-come"}


@pytest.mark.xdist_group("run-tuning")
def test_a_beaten_trial_leaves_the_race_and_the_run_goes_on(tmp_path):
    write_inputs(tmp_path, base_accuracy=0.4, tuned_accuracy=0.97, step_seconds=0.05)
    script = json.loads((tmp_path / "script.json").read_text())
    # the scripted loss falls with the share of the way, so that after an epoch the long trial is behind the short one
    (tmp_path / "script.json").write_text(json.dumps({**script, "first_loss": 4.0, "last_loss": 0.05}))
    (tmp_path / "config.yaml").write_text(
        "name: known\ndata: rows.jsonl\n"
        "plan:\n  trials:\n  - {name: short, epoch_count: 2, adapter_size: 4}\n"
        "  - {name: long, epoch_count: 60, adapter_size: 8}\n"
        "tune: {poll_s: 0.1, race: always}\nevaluate: {baselines: [{name: zero_shot}]}\n"
    )
    summary = summary_of(run(tmp_path, "--jobs", "2"), tmp_path)
    trials = {trial["name"]: trial for trial in summary["trials"]}
    assert trials["long"]["diagnosis"]["kind"] == "out_of_race"
    assert summary["verdict"] == "deploy"
    assert {point["variant"]["trial"] for point in summary["checkpoints"]} == {"short"}
    spent = {line["what"]: line["tokens"] for line in summary["spent"]}
    planned = {line["what"]: line["tokens"] for line in summary["plan"]["costs"]}
    assert spent["tuning long"] < planned["tuning long"] / 2
    assert spent["tuning short"] == pytest.approx(planned["tuning short"], rel=0.1)
