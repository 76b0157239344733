"""`gemtune config`: effective values, the reference and the JSON schema of the settings."""

import json
from pathlib import Path

import jsonschema
import pytest
import yaml
from typer.testing import CliRunner

from gemtune.cli.main import app
from gemtune.cli.settings_reference import reference
from gemtune.config import Config

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


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_config_schema_accepts_the_shipped_configurations(path):
    schema = json.loads(output("schema"))
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(yaml.safe_load(path.read_text(encoding="utf-8")), schema)


@pytest.mark.parametrize("values", [{"splitt": {}}, {"split": {"sead": 1}}, {"split": {"validation": "much"}}])
def test_config_schema_refuses_unknown_settings_and_wrong_types(values):
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(values, json.loads(output("schema")))


def test_config_reference_lists_every_setting_once():
    text = reference()
    assert output("reference") == text
    for section, field in Config.model_fields.items():
        model = field.annotation
        if hasattr(model, "model_fields"):
            table = text.split(f"## `{section}`\n")[1].split("\n## ")[0]
            for name, setting in model.model_fields.items():
                (row,) = [line for line in table.splitlines() if line.startswith(f"| `{name}` |")]
                assert (setting.description or "").replace("|", "\\|") in row
        else:
            top = text.split("## Top level\n")[1].split("\n## ")[0]
            assert top.count(f"\n| `{section}` |") == 1
