"""`gemtune config`: effective values, explanations and the JSON schema of the settings; their reference."""

import json
from pathlib import Path

import jsonschema
import pytest
import yaml
from typer.testing import CliRunner

from gemtune.cli.main import app
from gemtune.cli.settings_reference import explanation
from gemtune.config import Config
from gemtune.config.section import section_of, sections
from tools import reference

CONFIGS = sorted((Path(__file__).parents[2] / "configs").rglob("*.yaml"))


def output(*arguments):
    done = CliRunner().invoke(app, ["config", *arguments])
    assert done.exit_code == 0, done.output
    return done.output


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_config_show_prints_a_configuration_with_the_same_values(path, tmp_path):
    (tmp_path / "shown.yaml").write_text(output("show", str(path), "--set", "split.seed=99"), encoding="utf-8")
    shown = Config.load(tmp_path / "shown.yaml")
    assert shown == Config.load(path, ["split.seed=99"])
    assert shown.split.seed == 99


def test_config_show_without_a_file_prints_all_defaults():
    assert yaml.safe_load(output("show")) == Config().model_dump(mode="json")


@pytest.fixture(scope="module")
def schema():
    """The validator of the printed schema."""
    schema = json.loads(output("schema"))
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_config_schema_accepts_the_shipped_configurations(path, schema):
    schema.validate(yaml.safe_load(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize("values", [{"splitt": {}}, {"split": {"sead": 1}}, {"split": {"validation": "much"}}])
def test_config_schema_refuses_unknown_settings_and_wrong_types(values, schema):
    with pytest.raises(jsonschema.ValidationError):
        schema.validate(values)


def test_config_reference_lists_every_setting_once():
    text = reference.settings()
    for section, field in Config.model_fields.items():
        model, _ = section_of(field)
        if model is not None:
            table = text.split(f"## `{section}`\n")[1].split("\n## ")[0]
            for name, setting in model.model_fields.items():
                (row,) = [line for line in table.splitlines() if line.startswith(f"| `{name}` |")]
                assert (setting.description or "").replace("|", "\\|") in row
        else:
            top = text.split("## Top level\n")[1].split("\n## ")[0]
            assert top.count(f"\n| `{section}` |") == 1


def settings():
    for path, model in sections("", Config):
        yield from (f"{path}.{name}".lstrip(".") for name in model.model_fields)


def test_config_show_names_where_each_value_is_from(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text("name: a\ngate:\n  min_lift: 0.1\ntask: {labels: [x, y]}\n")
    rows = {
        row["setting"]: row for row in json.loads(output("show", str(path), "--why", "--json", "--set", "split.seed=3"))
    }
    assert set(rows) >= {"gate.min_lift", "split.seed", "split.test", "task.labels"}
    names = ("gate.min_lift", "split.seed", "task.labels")
    assert {name: (rows[name]["value"], rows[name]["from"]) for name in names} == {
        "gate.min_lift": (0.1, f"{path}:3"), "split.seed": (3, "--set"), "task.labels": (["x", "y"], f"{path}:4"),
    }  # fmt: skip
    assert rows["split.test"]["from"] == "default"
    assert f"gate.min_lift: 0.1  # {path}:3: Lift over" in output("show", str(path), "--why")


def test_config_explain_knows_every_setting_and_section():
    for setting in settings():
        assert explanation(setting)
    assert output("explain", "split.seed") == (
        f"split.seed: {Config.model_fields['split'].annotation.model_fields['seed'].description}\n"
        "type: integer\ndefault: 7\n"
    )
    assert json.loads(output("explain", "split.seed", "--json")) == {
        "setting": "split.seed", "type": "integer", "default": "7",
        "description": Config.model_fields["split"].annotation.model_fields["seed"].description,
    }  # fmt: skip
    shown = output("explain", "gate")
    assert all(f"\n  {name}: " in shown for name in Config.model_fields["gate"].annotation.model_fields)


def test_config_diff_lists_effective_values_that_differ(tmp_path):
    first, second = tmp_path / "a.yaml", tmp_path / "b.yaml"
    first.write_text("split: {seed: 7, test: 0.3}\nevaluate: {baselines: [{name: a, shots: 3}]}\n")
    second.write_text("name: other\nsplit: {test: 0.2}\nevaluate: {baselines: [{name: a, shots: 4}]}\n")
    assert json.loads(output("diff", str(first), str(second), "--json")) == {
        "name": ["gemtune", "other"],
        "split.test": [0.3, 0.2],
        "evaluate.baselines": [[{"name": "a", "shots": 3}], [{"name": "a", "shots": 4}]],
    }
    lines = output("diff", str(first), str(second)).splitlines()
    assert lines[:2] == ['name: "gemtune" -> "other"', "split.test: 0.3 -> 0.2"]
    assert output("diff", str(first), str(first)) == ""


@pytest.mark.parametrize(
    ("override", "meant"),
    [
        ("split.sed=3", "split.seed"),
        ("splitt.seed=3", "split"),
        ("task.text_column=body", "preprocess.text_column"),  # it exists in another section
        ("label_spelling=merge", "preprocess.label_spellings"),
        ("evaluate.judge.Model=x", "evaluate.judge.model"),
        ("plan.trials=[{epochs_count: 3}]", "plan.trials[].epoch_count"),
    ],
)
def test_unknown_setting_suggests_the_most_similar(override, meant):
    done = CliRunner().invoke(app, ["config", "show", "--set", override])
    assert done.exit_code == 1
    assert f"did you mean {meant!r}?" in done.output.replace("\n", "")
    assert "did you mean" not in CliRunner().invoke(app, ["config", "show", "--set", "xyzzy=1"]).output
    explained = CliRunner().invoke(app, ["config", "explain", override.partition("=")[0]])
    assert "unknown setting" in explained.output or override.startswith("plan.trials")
