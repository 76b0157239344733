"""The wheel holds what the console command needs, and installs no top-level name but `gemtune`."""

import subprocess
import sys
import tomllib
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

from gemtune import __version__

ROOT = Path(__file__).parents[2]
BUNDLED = ("pipelines", "components", "emulator")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=120)
    (path,) = folder.iterdir()
    return path


@pytest.fixture(scope="module")
def names(wheel):
    return set(zipfile.ZipFile(wheel).namelist())


def test_wheel_installs_no_top_level_name_but_gemtune(names):
    assert {name.split("/")[0] for name in names} == {"gemtune", f"gemtune-{__version__}.dist-info"}


@pytest.mark.parametrize("top", ["gemtune", *BUNDLED])
def test_wheel_holds_every_tracked_file_of_the_packages(names, top):
    listed = subprocess.run(["git", "ls-files", top], cwd=ROOT, check=True, capture_output=True, text=True)
    tracked = {name for name in listed.stdout.splitlines() if not name.endswith("Dockerfile")}
    prefix = "" if top == "gemtune" else "gemtune/_bundled/"
    assert tracked
    assert {prefix + name for name in tracked} <= names
    assert not [name for name in names if "__pycache__" in name or name.endswith((".pyc", "Dockerfile"))]


def test_wheel_holds_the_data_files_that_are_read_at_run_time(names):
    assert {"gemtune/catalogue.yaml", "gemtune/steps/report.html.j2", "gemtune/py.typed"} <= names
    assert "gemtune/_bundled/emulator/catalogue.json" in names
    sample = {"configs/quickstart.yaml", "examples/support_en/rows.jsonl"}
    assert {f"gemtune/_bundled/{name}" for name in sample} <= names  # gemtune try
    pages = {"report_ja.yaml", "messages_ja.yaml", "monitoring.html.j2", "comparison.html.j2"}
    assert {f"gemtune/steps/{name}" for name in pages} <= names
    assert [name for name in names if name.startswith("gemtune/_bundled/emulator/") and name.endswith(".safetensors")]


def test_wheel_metadata_has_the_version_and_keeps_torch_in_an_extra(wheel):
    text = zipfile.ZipFile(wheel).read(f"gemtune-{__version__}.dist-info/METADATA").decode()
    metadata = Parser().parsestr(text)
    assert metadata["Version"] == __version__
    assert {url.split(",")[0] for url in metadata.get_all("Project-URL")} >= {"Homepage", "Changelog", "Issues"}
    required = [line for line in metadata.get_all("Requires-Dist") if "extra ==" not in line]
    assert not [line for line in required if line.startswith(("torch", "transformers", "peft", "uvicorn"))]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert len(required) == len(project["dependencies"])


def test_bundled_packages_precede_a_users_own(wheel, tmp_path):
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    for name in BUNDLED:
        (tmp_path / "work" / name).mkdir(parents=True)
        (tmp_path / "work" / name / "__init__.py").write_text("raise SystemExit('a package of the user')")
    code = (
        "import sys, subprocess\n"
        "from gemtune.cli import bundled\n"
        "bundled.put_on_path(); bundled.put_on_path()\n"
        "import pipelines, components\n"
        "print(pipelines.__file__, components.__file__)\n"
        "sys.stdout.flush()\n"
        "command = [sys.executable, '-m', 'emulator', '--help']\n"
        "sys.exit(subprocess.run(command).returncode)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path / "work",
        env={"PYTHONPATH": str(tmp_path / "site"), "PATH": ""},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert str(tmp_path / "site" / "gemtune" / "_bundled" / "pipelines") in done.stdout
    assert "--state-dir" in done.stdout
