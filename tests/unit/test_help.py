"""The help of every command: its panel, its examples, which are commands that exist with options that exist."""

import shlex

import pytest
import typer.main
from typer.testing import CliRunner

from gemtune.cli.help import EXAMPLES, PANEL_OF, PANELS
from gemtune.cli.main import app

ROOT = typer.main.get_command(app)


def commands(group=ROOT, path=()):
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*path, name))
        else:
            yield " ".join((*path, name)), command


COMMANDS = dict(commands())


def parsed(line):
    """The command that an example names, with its arguments parsed; raises what the command line would."""
    program, *words = shlex.split(line, comments=True)
    assert program == "gemtune"
    words = words[: words.index(">")] if ">" in words else words
    name = " ".join(words[:2]) if " ".join(words[:2]) in COMMANDS else words[0]
    COMMANDS[name].make_context(f"gemtune {name}", words[len(name.split()) :])
    return name


def test_every_command_has_a_panel_and_examples():
    assert set(EXAMPLES) == set(COMMANDS)
    assert {name.split()[0] for name in COMMANDS} == set(PANEL_OF)


def test_commands_print_json_where_they_report_anything():
    without = {
        name for name, command in COMMANDS.items() if "--json" not in {o for p in command.params for o in p.opts}
    }
    assert without == {"emulator", "serve", "config schema"}  # servers, and a document


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples_are_commands_that_exist(name):
    assert {parsed(line) for line in EXAMPLES[name]} >= {name}


def test_help_lists_commands_by_panel():
    shown = CliRunner().invoke(app, ["--help"]).output
    places = [shown.index(f"─ {panel} ─") for panel in PANELS]
    assert places == sorted(places)


@pytest.mark.parametrize(
    "name", [name for name in COMMANDS if name != "emulator"]
)  # it prints the help of its own parser
def test_help_of_every_command_shows_its_examples(name):
    shown = " ".join(CliRunner().invoke(app, [*name.split(), "--help"]).output.split())
    assert all(" ".join(line.split()) in shown for line in EXAMPLES[name])


def test_report_prints_the_page_of_the_latest_run(tmp_path):
    run = tmp_path / "support-20261126-090000"
    run.mkdir()
    missing = CliRunner().invoke(app, ["report", str(run)])
    assert (missing.exit_code, "no run: no summary.json" in missing.output.replace("\n", " ")) == (1, True)
    (run / "summary.json").write_text('{"outcome": {}}')
    for arguments in ([str(run)], ["--runs", str(tmp_path)]):
        done = CliRunner().invoke(app, ["report", *arguments])
        assert (done.exit_code, done.output) == (0, f"{run / 'report.html'}\n")
