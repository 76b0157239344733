"""The image's environment, built by the Dockerfile's own lines: each component's compiled command runs there."""

import importlib
import json
import os
import pkgutil
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from golden_runs import write_inputs
from image_environment import ROOT, build, instructions
from test_monitoring_run import monitor_arguments, write_logs
from test_run import command
from test_run import write_inputs as write_known_inputs

import components

OPTIONS = ["hard_examples.target_share=0.3", "escalation.models=[gemini-3.5-flash]", "plan.max_cost=500"]
ANSWERS = "evaluate.response_cache=bucket"  # as a compiled pipeline keeps them
RUNS = {"quickstart": [*OPTIONS, ANSWERS], "preference": [ANSWERS]}
# `augment` writes rows by the model, which a scripted one cannot; the Dataflow step needs its template
NOT_RUN = {"augment", "prepare_dataflow_job"}
RETRAIN = 3  # the exit code of `gemtune monitor`
BUILT = pytest.mark.skipif(os.environ.get("WHOLE_RUNS") != "image", reason="`make image-check` builds it: minutes")
pytestmark = pytest.mark.timeout(3600)  # the first test builds it


def component_names():
    modules = [
        importlib.import_module(f"components.{module.name}") for module in pkgutil.iter_modules(components.__path__)
    ]
    return {name for module in modules for name, value in vars(module).items() if hasattr(value, "component_spec")}


@pytest.fixture(scope="module")
def image():
    with tempfile.TemporaryDirectory(prefix="image-") as name:
        os.chmod(name, 0o755)
        yield Path(name), build(Path(name))


def in_image(image, arguments, folder, *codes):
    folder.mkdir(mode=0o777, exist_ok=True)
    os.chmod(folder, 0o777)
    here = Path(__file__).parent
    done = subprocess.run(
        [sys.executable, "-m", "gemtune", *arguments],
        cwd=folder,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(here / "in_image")]),
            "IMAGE_ENVIRONMENT": json.dumps(image[1]),
        },
        capture_output=True,
        text=True,
        timeout=290,
    )
    assert done.returncode in (0, *codes), done.stdout + done.stderr
    return {path.stem.partition("-")[2].split("[")[0].replace("-", "_") for path in folder.glob("runs/*/logs/*-*.log")}


@BUILT
def test_image_starts_with_warm_kernels_and_without_tests_or_compilers(image):
    folder, variables = image
    (warm_up,) = [argument for keyword, argument in instructions() if keyword == "RUN" and "<<" in argument]
    program = warm_up.partition("\n")[2].removesuffix("EOF")
    seconds = []
    for _ in range(2):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(["python", "-c", program], cwd=folder, env=variables, check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    print("CPU seconds of data steps in a new container and afterwards:", [round(value, 2) for value in seconds])
    assert seconds[0] < 1.3 * seconds[1]
    assert not [path for path in (folder / "opt").rglob("tests") if path.is_dir()]
    assert not list((folder / "opt").rglob("bin/pip*"))


@BUILT
def test_image_runs_the_command_of_every_component_as_its_user(image):
    ran = set()
    for name, options in RUNS.items():
        folder = image[0] / name
        folder.mkdir(mode=0o777)
        arguments = [*write_inputs(name, folder), *(part for option in options for part in ("--set", option))]
        arguments[2] = f"scripted:{folder / 'script.json'}"
        ran |= in_image(image, ["run", "--exit-zero", *arguments], folder / "run")
    monitored = image[0] / "monitored"
    monitored.mkdir()
    write_known_inputs(monitored, base_accuracy=0.4, tuned_accuracy=0.97)
    in_image(image, command(monitored, "--exit-zero", "--set", ANSWERS)[3:], monitored)
    write_logs(monitored, 5, 0.4)
    retraining = ["monitor.on_retrain=submit", "monitor.max_age_days=30", ANSWERS]
    ran |= in_image(image, monitor_arguments(monitored, 5 * 7 + 2, *retraining), monitored, RETRAIN)
    assert component_names() - ran == NOT_RUN


def test_dockerfile_names_its_base_once_and_a_user():
    lines = list(instructions())
    assert [argument for keyword, argument in lines if keyword == "FROM"] == ["${BASE} AS build", "${BASE}"]
    assert lines[0][0] == "ARG"
    assert lines[0][1].startswith("BASE=python:3.11-slim")
    assert lines[-1] == ("USER", "${USER}")
