"""What a local run shows: a line for each phase, the running one, and the card at its end."""

import io
import json
from pathlib import Path

import pytest
import yaml
from rich.cells import cell_len
from rich.console import Console

from gemtune.steps.report import HEADLINES
from pipelines import console_summary
from pipelines.live_display import PHASES, LiveDisplay, shortened, sparkline
from pipelines.steps import StepRecord

GOLDEN = Path(__file__).parents[1] / "golden"
LONG = "日本語の長い名前の提示文_そのままの_few_shot_constrained"


def events(*steps):
    """Events of steps that run one after the other: (name, lines) or (name, lines, exit code; None: it runs)."""
    for number, (name, lines, *code) in enumerate(steps, 1):
        common = {"step": name, "number": number}
        yield {**common, "event": "start", "log": "x", "time": 60.0 * number}
        yield from ({**common, "event": "line", "text": line, "time": 60.0 * number + 1} for line in lines)
        if code != [None]:
            finish = {"event": "finish", "code": (code or [0])[0], "last": "ValueError: no", "time": 60.0 * number + 9}
            yield {**common, **finish}


def shown(steps, folder, *, terminal, end=None, curves=None):
    """The screen of 80 columns after these steps, without the codes of a terminal."""
    console = Console(file=io.StringIO(), width=80, force_terminal=terminal, color_system=None, highlight=False)
    record = StepRecord()
    display = LiveDisplay(console, record, folder, lambda: curves or {})
    for event in events(*steps):
        record.add(event)
        display.update()
    if end is not None:
        record.add({"event": "end", "code": end, "error": "", "time": 999.0})
        display.update()
    elif terminal:
        display._curves = curves or {}
        console.print(display._running())
    return console.file.getvalue().splitlines()


@pytest.mark.parametrize("pipeline", ["supervised_tuning", "preference_tuning", "monitoring"])
def test_each_step_of_a_pipeline_belongs_to_one_phase(pipeline):
    components = yaml.safe_load((GOLDEN / f"{pipeline}.yaml").read_text())
    text = json.dumps(components)
    steps = {name for phase in PHASES for name in phase.steps}
    assert all(set(phase.shows) <= set(phase.steps) for phase in PHASES)
    assert len(steps) == sum(len(phase.steps) for phase in PHASES)
    named = {part.split('"')[0].removeprefix("exec-") for part in text.split('"executorLabel": "')[1:]}
    own = {name for name in named if not name.startswith(("importer", "dataflow", "wait"))}
    assert own <= steps, own - steps


def test_terminal_has_a_line_for_each_phase_that_no_name_is_cut_from(tmp_path):
    steps = [
        ("preprocess", ["done: 900 of 1000 rows kept"]),
        ("split", ["done: 511 train / 128 validation / 323 test, 0 excluded, 0 rows overlap across splits"]),
        ("evaluate-baselines", ["progress: 1/3 rows", f"done: accuracy 0.344 (0.267 to 0.430) {LONG}"]),
        ("plan-tuning", [f"done: 1 trial planned: expected $1.07, at most $1.20. Baseline: {LONG} 0.133"]),
        ("tune[0]", ["done: 6 checkpoints, fine, 178344 tokens billed"]),
        ("tune[1]", ["done: 3 checkpoints, fine, 178344 tokens billed"]),
        ("gate", ["done: deploy"]),
    ]
    lines = shown(steps, tmp_path, terminal=True, end=0)
    assert all(cell_len(line) <= 80 for line in lines)
    assert [line.split()[1] for line in lines if line.startswith("✓")] == ["Data", "Prompts", "Plan", "Tune", "Decide"]
    assert lines[0].split(None, 2)[2].startswith("511 train / 128 validation / 323 test")
    assert "accuracy 0.344 " in lines[1]
    assert LONG in lines[2]  # below it, whole
    assert "1 trial planned: expected $1.07, at most $1.20 " in lines[-3]
    assert "2 trials with 9 checkpoints" in lines[-2]


def test_running_phase_has_time_money_losses_and_scores(tmp_path):
    forecast = {"items": [{"kind": "tuning", "cost": {"expected": 4.0}}, {"kind": "baseline", "cost": {"expected": 9}}]}
    written = tmp_path / "steps" / "job" / "plan-tuning"
    written.mkdir(parents=True)
    (written / "tuning_plan.json").write_text(json.dumps({"trials": [{}, {}], "forecast": forecast}))
    tuned = [("plan-tuning", []), ("tune[0]", [])]
    tuning = ("tune[1]", ["progress: tuning, epoch 1/4, step 16/64, 7 s"], None)
    first, *rest = shown([*tuned, tuning], tmp_path, terminal=True, curves={"training loss": [2.0, 1.0]})[-3:]
    assert "Tune" in first
    assert "s left" in first
    assert "about $2.50 of $4.00" in first  # a trial of two, and a quarter of the other
    assert rest[0].strip() == "tune: tuning, epoch 1/4, step 16/64, 7 s"
    assert rest[1].strip() == "training loss 2 █▁ 1"
    scored = ("evaluate-checkpoints", [f"score: {LONG} 0.812", "score: default@1 0.9", "progress: 1/2 rows"], None)
    block = shown([scored], tmp_path, terminal=True)
    assert all(cell_len(line) <= 80 for line in block)
    assert [line.strip() for line in block[-2:]] == [f"{LONG} 0.812", "default@1 0.9"]


def test_output_that_is_no_terminal_has_plain_lines_with_the_time(tmp_path):
    steps = [("split", ["done: 5 rows"]), ("evaluate-baselines", [], 1), ("finish-run", ["done: ended"])]
    first, second = shown(steps, tmp_path, terminal=False, end=1)
    assert first[2::3][:2] == "::"
    assert first[8:] == " Data: 5 rows (9 s)"
    assert second[8:] == " Prompts: failed: evaluate-baselines: ValueError: no (9 s)"


def test_shortened_leaves_out_clauses_only():
    text = "default@5 at 0.961: within one standard error (0.017) of default@6 and trained less"
    assert shortened(text, 200) == text
    assert shortened(text, 40) == "default@5 at 0.961"
    assert shortened("a_name_that_is_longer", 5) == "a_name_that_is_longer"


@pytest.mark.parametrize(
    ("values", "line"),
    [([], ""), ([float("nan")], ""), ([1, 1], "1 ▁▁ 1"), ([3, 2, float("inf"), 1], "3 █▅▁ 1")],
)
def test_sparkline_shows_finite_values(values, line):
    assert sparkline(values) == line
    assert len(sparkline([n * 1.0 for n in range(1000)]).split()[1]) == 24


@pytest.mark.parametrize("verdict", list(HEADLINES))
def test_card_has_at_most_15_lines_and_whole_names(verdict, tmp_path, monkeypatch):
    written = tmp_path / "steps" / "report"
    written.mkdir(parents=True)
    (written / "verdict.md").write_text("# Deploy\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "github.md"))
    monkeypatch.chdir(tmp_path.parent)
    score = {"value": 0.5, "low": 0.4, "high": 0.6}
    names = {"baseline": "few_shot_similar_constrained", "candidate": "default@5", "champion": "日本語の名前@12"}
    variants = [{"role": role, "name": name, "score": score} for role, name in names.items()]
    summary = {
        "run": "support-20261126-095301",
        "verdict": verdict,
        "headline": HEADLINES[verdict],
        "metric": "accuracy",
        "confidence_level": 0.95,
        "test_rows": 428,
        "variants": variants,
        "free_baselines": [{"role": "free_baseline", "name": "tfidf_baseline", "score": score}],
        "reasons": ["the candidate is better than the best prompt" + ", by this and that" * 20],
        "cost": {"summary": "cost: 28.63 USD at list prices; forecast 28.64 USD, at most 39.81 of 100.00 allowed"},
        "time": {"wall_s": 653.7},
        "outcome": {"action": "deployed", "model": "projects/123456789012/locations/us/endpoints/1234567890123456789"},
    }
    console = Console(file=io.StringIO(), width=80, force_terminal=True, color_system=None, highlight=False)
    console_summary.show(console, tmp_path, summary)
    text = console.file.getvalue()
    visible = [line for line in text.split("\n")[:-1] if not line.startswith("report")]
    assert 1 + sum(-(-max(1, cell_len(line)) // 80) for line in visible) <= 15
    assert all(name in text for name in [*names.values(), "tfidf_baseline", summary["outcome"]["model"]])
    assert (tmp_path / "github.md").read_text() == "# Deploy\n"
