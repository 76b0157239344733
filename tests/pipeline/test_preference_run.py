"""The preference pipeline on the local runner: the compiled YAML, genuine SDK clients, an emulator with a known truth.

Both branches of both conditions are run: tuning worth trying or not, the gate passing or not.
"""

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
from golden_runs import MORE

from gemtune.cli.exit_codes import of_verdict

ROOT = Path(__file__).parents[2]
WORDS = ["amber", "birch", "cedar", "delta", "ember", "frost", "grove", "haven", "jolly", "karma", "linen", "maple"]
pytestmark = pytest.mark.pipeline


def write_inputs(folder, tuned_accuracy):
    """Pairs whose better answer the scripted model knows, and gives as often before and after tuning as is said."""
    draw = random.Random(5)
    rows, answers = [], {}
    for number in range(170):
        prompt = " ".join(draw.sample(WORDS, 5)) + f" {number} " + " ".join(draw.sample(WORDS, 5))
        answers[prompt] = f"certainly, number {number} {draw.choice(WORDS)} {draw.choice(WORDS)} is on its way"
        rows.append(
            {"prompt": prompt, "chosen": answers[prompt], "rejected": f"no {draw.choice(WORDS)}", "channel": "web"}
        )
    rows.append({"prompt": "nothing else"})
    (folder / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    script = {"answers": answers, "base_accuracy": 0.2, "tuned_accuracy": tuned_accuracy}
    (folder / "script.json").write_text(json.dumps(script))
    (folder / "config.yaml").write_text(
        "name: known\nmethod: preference\ndata: pairs.jsonl\n"
        "task: {kind: generation, instruction: Answer.}\n"
        "preprocess: {slice_columns: [channel]}\n"
        "split: {test: 0.35}\n"
        "evaluate:\n  base_model: gemini-2.5-flash\n  auto_slices: false\n  resamples: 500\n"
        "  baselines: [{name: zero_shot}]\n"
        "plan:\n  min_train_rows: 50\n  trials: [{name: soft, epoch_count: 2, beta: 0.3}]\n"
        "tune: {poll_s: 0.2}\n"
        "vertex: {catalogue: {models: {gemini-2.5-flash: {retires: null}}}}\n"
    )


def run(folder, *arguments):
    command = [
        sys.executable,
        "-m",
        "gemtune",
        "run",
        "config.yaml",
        "--engine",
        f"scripted:{folder / 'script.json'}",
    ]
    done = subprocess.run(
        [*command, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=280,
    )
    newest = max((folder / "runs").glob("*/summary.json"), key=lambda path: path.stat().st_mtime)
    summary = json.loads(newest.read_text())
    assert done.returncode == of_verdict(summary["verdict"]), done.stdout + done.stderr
    assert (newest.parent / "report.html").stat().st_size > 5000
    return done, summary


def steps_of(summary):
    return [step["step"] for step in summary["steps"]]


@MORE
@pytest.mark.timeout(600)
@pytest.mark.xdist_group("run-preference")
def test_preference_run_deploys_a_preferred_model_and_tunes_nothing_twice(tmp_path):
    write_inputs(tmp_path, tuned_accuracy=1.0)
    done, first = run(tmp_path)
    assert first["verdict"] == "deploy"
    assert first["metric"] == "win_rate"
    assert {"load-pairs", "tune-supervised", "tune[0]", "select-model", "gate", "deploy"} <= set(steps_of(first))
    assert (
        len({step.partition("[")[0] for step in steps_of(first)}) <= 15
    )  # a supervised start beside those of other runs
    assert [(row["role"], row["score"]["value"] > 0.7) for row in first["variants"]] == [
        ("baseline", False),
        ("supervised", True),
        ("candidate", True),
    ]
    assert {trial["name"] for trial in first["trials"]} == {"supervised", "soft"}
    assert first["data"]["dropped"] == {"not_a_pair": 1}
    assert first["outcome"]["model"].startswith("projects/")
    assert {pair_result["baseline"] for pair_result in first["pairwise"]} == {"zero_shot", first["variants"][1]["name"]}
    assert all(
        pair_result["wins"] + pair_result["ties"] + pair_result["losses"] == first["test_rows"]
        for pair_result in first["pairwise"]
    )
    assert any("not shown to add to the supervised model" in note for note in first["notes"])
    assert abs(first["cost"]["actual"] - first["cost"]["forecast"]) < 0.1 * first["cost"]["forecast"]
    assert "DEPLOY" in done.stdout

    _, unchanged = run(tmp_path)
    assert unchanged["verdict"] == "keep_champion"
    assert "unchanged: rows, settings and champion" in unchanged["reasons"][0]
    assert steps_of(unchanged) == ["configure", "load-pairs", "split", "check-budget", "report-unchanged", "finish-run"]


@MORE
@pytest.mark.xdist_group("run-preference")
def test_preference_run_keeps_the_prompt_when_the_model_wins_no_more(tmp_path):
    write_inputs(tmp_path, tuned_accuracy=0.2)
    _, summary = run(tmp_path)
    assert summary["verdict"] == "keep_prompt"
    assert {"tune[0]", "keep-current-model"} <= set(steps_of(summary))
    assert "deploy" not in steps_of(summary)


@MORE
@pytest.mark.xdist_group("run-preference")
def test_run_without_supervised_start_tunes_the_base_model_on_pairs(tmp_path):
    write_inputs(tmp_path, tuned_accuracy=1.0)
    _, summary = run(tmp_path, "--set", "preference.supervised_epochs=0")
    assert "tune-supervised" not in steps_of(summary)
    assert {trial["name"] for trial in summary["trials"]} == {"soft"}
    assert {row["role"] for row in summary["variants"]} == {"baseline", "candidate"}
    assert summary["verdict"] == "deploy"
