"""Settings: one way in, one way out, and a clear message for each mistake."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemtune.config import Config, Split, Task, Trial, fingerprint
from gemtune.errors import UserError


def refused(text, tmp_path=None, overrides=()):
    path = None
    if text is not None:
        path = tmp_path / "c.yaml"
        path.write_text(text)
    with pytest.raises(UserError) as error:
        Config.load(path, list(overrides))
    return str(error.value)


def test_config_load_needs_no_file():
    assert Config.load().split.seed == 7


def test_config_load_lists_settings_for_an_unknown_one(tmp_path):
    said = refused("split:\n  sed: 3\n", tmp_path)
    assert "c.yaml" in said
    assert "'split.sed'" in said
    assert "min_rows, " in said


def test_config_load_names_setting_and_value(tmp_path):
    assert "split.test" in refused("split: {test: 2}\n", tmp_path)
    assert "got 2" in refused("split: {test: 2}\n", tmp_path)


def test_config_refuses_shares_without_training_rows(tmp_path):
    assert "rows for training" in refused("split: {test: 0.6, validation: 0.4}\n", tmp_path)


def test_config_load_names_the_line_of_broken_yaml(tmp_path):
    assert "c.yaml:2" in refused("name: a\n  x: [\n", tmp_path)


def test_config_load_names_a_missing_file(tmp_path):
    with pytest.raises(UserError, match=r"nope\.yaml: cannot read"):
        Config.load(tmp_path / "nope.yaml")


def test_config_load_refuses_a_list(tmp_path):
    assert "mapping" in refused("- a\n", tmp_path)


@pytest.mark.parametrize("override", ["split", "=3", "name.x=3"])
def test_config_load_refuses_a_malformed_override(override):
    assert override in refused(None, overrides=["name=a", override])


@pytest.mark.parametrize("mark", [", ", "|", "; ", ";", " ", "#", "&", "> ", " / ", "、", "-"])
def test_config_load_takes_a_mark_as_it_is(tmp_path, mark):
    (tmp_path / "c.yaml").write_text("name: a\ndata: r.jsonl\n")
    overrides = [f"task.label_separator={mark}", "task.labels=[a, b]", "task.instruction=Sort, then @label: it"]
    task = Config.load(tmp_path / "c.yaml", overrides).task
    assert (task.label_separator, task.labels, task.instruction) == (mark, ["a", "b"], "Sort, then @label: it")


def test_config_load_applies_typed_overrides(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text("split: {seed: 1}\n")
    config = Config.load(path, ["split.seed=2", "preprocess.labels=[a, b]", "name=x-1"])
    assert (config.split.seed, config.preprocess.labels, config.name) == (2, ["a", "b"], "x-1")


@pytest.mark.parametrize("value", ["off", '"off"'])
def test_config_load_reads_off_with_and_without_quotes(value):
    """YAML 1.1 reads a bare `off` as false."""
    config = Config.load(None, [f"tune.early_stopping={value}", f"preprocess.pii={value}"])
    assert (config.tune.early_stopping, config.preprocess.pii) == ("off", "off")
    assert "got True" in refused(None, overrides=["tune.early_stopping=true"])


def test_section_of_restores_integers_from_floats():
    sent = Config().parameters()["split"]
    assert Split.of({k: float(v) if isinstance(v, int) else v for k, v in sent.items()}) == Config().split


def test_config_parameters_restore_the_configuration():
    config = Config.load(None, ["evaluate.base_model=gemini-x", "gate.min_lift=0.1"])
    assert Config.model_validate(config.parameters()) == config


@given(st.dictionaries(st.text(max_size=5), st.integers(), max_size=5))
def test_fingerprint_ignores_key_order(values):
    assert fingerprint(values) == fingerprint(dict(reversed(values.items())))


def test_fingerprint_changes_with_a_value():
    assert fingerprint(Config().split) != fingerprint(Config.load(None, ["split.seed=8"]).split)


def test_config_refuses_baselines_of_the_same_name():
    assert "evaluate.baselines need unique names" in refused(
        None, overrides=["evaluate.baselines=[{name: a}, {name: a}]"]
    )


@pytest.mark.parametrize(
    ("overrides", "problem"),
    [
        (["method=preference", "preference.ranker=judge"], "preference.ranker=judge needs evaluate.judge.model"),
        (["method=preference", "plan.preset=grid"], "plan.preset: for supervised tuning only"),
        (
            ["method=preference", "plan.follow_ups=1", "escalation.models=[m]"],
            "plan.follow_ups, escalation.models: for",
        ),
        (["method=preference", "hard_examples.target_share=0.3"], "hard_examples.target_share: for supervised"),
        (["method=preference", "augment.min_rows_per_label=9"], "augment.min_rows_per_label: for supervised"),
        (["monitor.judge_rows=9"], "monitor.judge_rows need evaluate.judge.model"),
        (["gate.min_judge_good=0.8"], "need evaluate.judge.model, and evaluate.judge.ratings"),
        (
            [
                "method=preference",
                "preference.ranker=judge",
                "evaluate.judge={model: m, ratings: people.csv}",
                "gate.min_judge_good=0.8",
            ],
            "the judge ranks answers and rates none",
        ),
        (["gate.min_judge_win_rate=0.5", "evaluate.judge.model=m"], "need evaluate.judge.model, and evaluate.judge.r"),
    ],
)
def test_config_refuses_settings_that_contradict_each_other(overrides, problem):
    assert problem in refused(None, overrides=overrides)


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ([], ("Classify the text into exactly one of the labels.", "Label")),
        (["task.label_separator='; '"], ("Give the text all the labels that apply.", "Labels")),
        (["task.kind=extraction"], ("Extract the fields from the text as one JSON object.", "JSON")),
        (["task.kind=summarization", "task.instruction=Be brief."], ("Be brief.", "Summary")),
        (["task.kind=generation", "task.instruction="], ("", "Response")),
        (["method=preference"], ("Respond to the text.", "Response")),
        (["method=preference", "task.kind=extraction"], (None, "JSON")),
    ],
)
def test_task_defaults_follow_its_kind(overrides, said):
    task = Config.load(None, overrides).task
    assert (said[0] or task.instruction, said[1]) == (task.instruction, task.target_name)
    assert Task.of(task.model_dump()) == task


@pytest.mark.parametrize(
    ("overrides", "tokens"),
    [([], 64), (["task.kind=sentiment"], 64), (["task.kind=extraction"], 256), (["method=preference"], 256),
     (["task.kind=summarization", "evaluate.max_output_tokens=90"], 90)],
)  # fmt: skip
def test_config_max_output_tokens_follow_the_kind(overrides, tokens):
    assert Config.load(None, overrides).evaluate.max_output_tokens == tokens


@pytest.mark.parametrize("section", ["task", "evaluate"])
def test_config_load_names_a_section_that_is_not_a_mapping(section):
    with pytest.raises(UserError, match=section):
        Config.load(None, [f"{section}=7"])


def settings_of(node, path=""):
    for name, value in node.items():
        yield f"{path}{name}"
        yield from settings_of(value, f"{path}{name}.") if isinstance(value, dict) else ()


@pytest.mark.parametrize("value", ["[[]]", "{}", "{x: [1]}", "10000000000000000000000", ".nan", "null"])
def test_config_load_raises_nothing_else_for_any_setting_of_another_type(value):
    for setting in settings_of(Config().model_dump(mode="json")):
        with contextlib.suppress(UserError):
            Config.load(None, [f"{setting}={value}"])
    assert "task.kind" in refused(None, overrides=["task.kind=[]"])


def test_trial_continues_a_checkpoint_only_of_a_tuned_model():
    tuned = "projects/1/locations/us-central1/models/7@1"
    assert Trial.of({"base": tuned, "checkpoint_id": "2"}).is_continued
    for base in ("", "gemini-2.5-flash"):
        with pytest.raises(UserError, match="checkpoint_id '2' needs a tuned model"):
            Trial.of({"base": base, "checkpoint_id": "2"})
