"""The compiled file: the same bytes every time, nothing of this machine in it, a form that explains itself."""

import re
from pathlib import Path

import pytest
from pipeline_structure import structure, structure_yaml
from typer.testing import CliRunner

from gemtune.cli.main import app
from gemtune.config import Config, StepResources, step_resources, step_table
from gemtune.errors import UserError
from gemtune.steps import DEADLINE
from pipelines.backend_rules import Edge, edges
from pipelines.compilation import compile_pipeline, compiled, placed
from pipelines.tasks import FORM

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "golden"
METHODS = {"supervised": "quickstart", "preference": "preference"}  # with the shipped configuration of each
DATAFLOW = ["preprocess.runner=dataflow", "preprocess.dataflow_template=gs://b/template.json"]
OPTIONAL = {
    "augment": ["augment.min_rows_per_label=40"],
    "reweight-hard-examples": ["hard_examples.target_share=0.5"],
    "try-larger-models": ["escalation.models=[gemini-3.5-flash]"],
    "prepare-dataflow-job": DATAFLOW,
    "dataflow-flex-template": DATAFLOW,
    "wait-gcp-resources": DATAFLOW,
    "load-pairs": ["method=preference"],
    "tune-supervised": ["method=preference"],
}
EVERYTHING = ["augment", "reweight-hard-examples", "try-larger-models", "prepare-dataflow-job"]


def config_of(method):
    return Config.load(ROOT / "configs" / f"{METHODS[method]}.yaml")


def with_every_option():
    return Config.load(None, [override for step in EVERYTHING for override in OPTIONAL[step]])


def tasks_of(spec):
    """Task name -> task, over all DAGs."""
    dags = [spec["root"]["dag"], *(part["dag"] for part in spec["components"].values() if "dag" in part)]
    return {name: task for dag in dags for name, task in dag["tasks"].items()}


@pytest.mark.parametrize("method", METHODS)
def test_compiled_has_the_golden_structure(method, golden):
    text = structure_yaml(compiled(config_of(method)))
    path = GOLDEN / f"{method}_tuning.yaml"
    if golden:
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8"), (
        "the pipeline changed; if that is meant: make golden, read the diff"
    )


def test_compiled_monitoring_has_the_golden_structure_and_caches_nothing(golden):
    spec = compiled(Config(), pipeline="monitoring")
    path = GOLDEN / "monitoring.yaml"
    if golden:
        path.write_text(structure_yaml(spec), encoding="utf-8")
    assert structure_yaml(spec) == path.read_text(encoding="utf-8")
    assert [edge for edge in edges(spec) if not edge.matches] == []
    assert not [task for task in tasks_of(spec).values() if task.get("cachingOptions", {}).get("enableCache")]
    for name, form in spec["root"]["inputDefinitions"]["parameters"].items():
        assert len(form.get("description", "")) > 20, name


def test_compiled_monitoring_has_the_tuning_pipeline_where_it_may_start_it():
    spec = compiled(Config.load(None, ["monitor.on_retrain=submit"]), pipeline="monitoring")
    assert {"start-retraining", "tune", "deploy"} <= set(tasks_of(spec))
    assert "tune" not in tasks_of(compiled(Config(), pipeline="monitoring"))


def first_task(spec, holds):
    dags = [spec["root"]["dag"], *(component["dag"] for component in spec["components"].values() if "dag" in component)]
    return next(task for dag in dags for task in dag["tasks"].values() if holds(task))


def without_condition(spec):
    first_task(spec, lambda task: "triggerPolicy" in task).pop("triggerPolicy")


def with_cache_off(spec):
    first_task(spec, lambda task: task.get("cachingOptions", {}).get("enableCache"))["cachingOptions"] = {}


def with_another_name(spec):
    first_task(spec, lambda task: "cachingOptions" in task)["taskInfo"]["name"] = "another"


def with_another_edge(spec):
    task = first_task(spec, lambda task: any("taskOutputArtifact" in value for value in artifacts_of(task)))
    next(value for value in artifacts_of(task) if "taskOutputArtifact" in value)["taskOutputArtifact"] = {
        "outputArtifactKey": "other",
        "producerTask": "other",
    }


def without_loop(spec):
    first_task(spec, lambda task: "parameterIterator" in task).pop("parameterIterator")


def with_another_default(spec):
    spec["root"]["inputDefinitions"]["parameters"]["split"]["defaultValue"]["seed"] = 99


def with_another_type(spec):
    next(c for c in spec["components"].values() if "executorLabel" in c)["outputDefinitions"]["artifacts"] = {}


def with_retries(spec):
    first_task(spec, lambda task: "cachingOptions" in task)["retryPolicy"] = {"maxRetryCount": 3}


def artifacts_of(task):
    return task.get("inputs", {}).get("artifacts", {}).values()


CHANGES = [
    without_condition, with_cache_off, with_another_name, with_another_edge, without_loop, with_another_default,
    with_another_type, with_retries,
]  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_structure_shows_a_change_of_the_wiring(change):
    spec = compiled(Config())
    before = structure_yaml(spec)
    change(spec)
    assert structure_yaml(spec) != before


def test_structure_hides_source_code_and_descriptions():
    spec = compiled(Config())
    before = structure_yaml(spec)
    spec["pipelineInfo"]["description"] = "another"
    for executor in spec["deploymentSpec"]["executors"].values():
        if "container" in executor:
            executor["container"]["command"] = ["another"]
    for definition in spec["root"]["inputDefinitions"]["parameters"].values():
        definition["description"] = "another"
    assert structure_yaml(spec) == before


@pytest.mark.parametrize("method", METHODS)
def test_compile_pipeline_gives_the_same_bytes_without_paths_and_times(method, tmp_path):
    config = Config(method=method)
    first = compile_pipeline(config, tmp_path / "a.yaml").read_text()
    assert first == compile_pipeline(config, tmp_path / "b.yaml").read_text()
    assert str(ROOT) not in first
    assert str(Path.home()) + "/" not in first
    assert not re.search(r"\b20\d\d-\d\d-\d\d[T ]\d\d:", first)


@pytest.mark.parametrize("method", METHODS)
def test_compiled_parameters_are_described_and_have_defaults(method):
    config = Config.load(ROOT / "configs" / "production.yaml") if method == "supervised" else config_of(method)
    spec = compiled(config)
    assert len(spec["pipelineInfo"]["description"]) > 50
    for parameter, form in spec["root"]["inputDefinitions"]["parameters"].items():
        assert len(form.get("description", "")) > 20, parameter
        assert "defaultValue" in form or form.get("isOptional"), parameter


def test_compiled_defaults_come_from_the_configuration():
    spec = compiled(Config.load(None, ["data=gs://b/rows.jsonl", "split.seed=99"]))
    form = spec["root"]["inputDefinitions"]["parameters"]
    assert form["data"]["defaultValue"] == "gs://b/rows.jsonl"
    assert form["split"]["defaultValue"]["seed"] == 99


@pytest.mark.parametrize("options", ["supervised", "preference", "every option of supervised"])
def test_compiled_parameters_are_the_sections_that_steps_read(options):
    config = Config(method=options) if options in METHODS else with_every_option()
    spec = compiled(config)
    parameters = set(spec["root"]["inputDefinitions"]["parameters"])
    sources = {source for task in _leaves(structure(spec)["tasks"]) for source in task["inputs"].values()}
    assert parameters == {source for source in sources if "." not in source and not source.startswith("=")}
    wired = {
        "augment": config.augment.min_rows_per_label > 0,
        "hard_examples": config.hard_examples.target_share > 0,
        "escalation": bool(config.escalation.models),
        "preference": config.method == "preference",
    }
    compiled_in = {"method", "backend", "monitor", "steps"}
    unread = {name for name, read in wired.items() if not read}
    assert parameters == set(Config.model_fields) - compiled_in - unread | set(FORM)


def _leaves(tasks):
    for task in tasks.values():
        yield from _leaves(task["tasks"]) if "tasks" in task else [task]


@pytest.mark.parametrize("method", METHODS)
def test_compiled_edges_have_the_types_that_components_declare(method):
    configs = [Config(method=method)]
    if method == "supervised":
        configs.append(with_every_option())
    else:
        configs.append(Config.load(None, ["method=preference", "preference.supervised_epochs=0"]))
    for config in configs:
        found = edges(compiled(config))
        assert len(found) > 100
        assert [edge for edge in found if not edge.matches] == []


def test_edges_show_a_wrong_type_across_a_condition():
    spec = compiled(Config())
    component = spec["components"]["comp-evaluate-checkpoints"]
    component["inputDefinitions"]["parameters"]["evaluate"]["parameterType"] = "STRING"
    component["inputDefinitions"]["artifacts"]["train"]["artifactType"]["schemaTitle"] = "system.Model"
    assert [edge for edge in edges(spec) if not edge.matches] == [
        Edge("evaluate-checkpoints", "evaluate", "STRUCT", "STRING"),
        Edge("evaluate-checkpoints", "train", "system.Dataset", "system.Model"),
    ]


def test_compiled_dataflow_job_has_identity_network_place_and_a_name_of_its_own():
    config = Config.load(None, DATAFLOW)
    tasks = tasks_of(compiled(config))
    inputs = tasks["dataflow-flex-template"]["inputs"]["parameters"]
    outputs = {
        name: source["taskOutputParameter"]["outputParameterKey"]
        for name, source in inputs.items()
        if "taskOutputParameter" in source
    }
    same = ("job_name", "project", "location", "temp_location", "subnetwork", "parameters")
    others = {"service_account_email": "service_account", "container_spec_gcs_path": "template"}
    assert outputs == {name: name for name in same} | others
    uncached = ("prepare-dataflow-job", "dataflow-flex-template", "wait-gcp-resources")
    assert [tasks[name]["cachingOptions"] for name in uncached] == [{}] * 3


def test_compiled_steps_have_resources_repetitions_and_a_deadline():
    config = Config.load(None, [*[o for s in EVERYTHING for o in OPTIONAL[s]], "steps={split: {memory: 64Gi}}"])
    steps = set()
    specs = [compiled(config), compiled(Config(method="preference")), compiled(config, pipeline="monitoring")]
    for spec in specs:
        for task in tasks_of(spec).values():
            label = spec["components"][task["componentRef"]["name"]].get("executorLabel")
            container = spec["deploymentSpec"]["executors"].get(label, {}).get("container")
            if container:
                step = re.sub(r"-\d+$", "", label.removeprefix("exec-"))
                steps.add(step)
                expected = step_resources(step, config.steps if spec is not specs[1] else {})
                resources = container["resources"]
                assert resources["resourceCpuLimit"] == resources["resourceCpuRequest"] == expected.cpu
                assert resources["resourceMemoryLimit"] == resources["resourceMemoryRequest"] == expected.memory
                deadline = {"name": DEADLINE, "value": str(round(3600 * expected.deadline_h))}
                assert container.get("env", []) == ([deadline] if expected.deadline_h else [])
                assert task["retryPolicy"]["maxRetryCount"] == expected.retries == 2
    assert steps == set(step_table())
    assert step_resources("split", config.steps) == StepResources(cpu="4", memory="64Gi")


def test_config_refuses_resources_of_a_step_that_does_not_exist():
    with pytest.raises(UserError, match=r"no step 'evaluate': the steps are .*augment, .*evaluate-baselines"):
        Config.load(None, ["steps.evaluate.cpu='4'"])


def test_compiled_ends_with_finish_run_whether_a_step_failed_or_not():
    spec = compiled(Config())
    assert set(spec["root"]["dag"]["tasks"]) == {"exit-handler-1", "finish-run"}
    end = spec["root"]["dag"]["tasks"]["finish-run"]
    assert end["triggerPolicy"] == {"strategy": "ALL_UPSTREAM_TASKS_COMPLETED"}
    assert end["inputs"]["parameters"]["status"] == {"taskFinalStatus": {"producerTask": "exit-handler-1"}}


def test_compiled_uses_the_named_image():
    spec = compiled(with_every_option(), image="example-docker.pkg.dev/p/r/gemtune-python:abc")
    containers = {name: e.get("container") for name, e in spec["deploymentSpec"]["executors"].items()}
    images = {name: container["image"] for name, container in containers.items() if container}
    others = {name for name, image in images.items() if image != "example-docker.pkg.dev/p/r/gemtune-python:abc"}
    variable = {"name": "GEMTUNE_IMAGE", "value": "example-docker.pkg.dev/p/r/gemtune-python:abc"}
    assert {name for name, c in containers.items() if c and variable in c.get("env", [])} == set(images) - others
    # Google's operators bring their own; an importer runs no container
    assert others == {"exec-dataflow-flex-template", "exec-wait-gcp-resources"}
    assert all(images[name].startswith("gcr.io/ml-pipeline/google-cloud-pipeline-components:") for name in others)


def test_compiled_never_caches_steps_with_effects_or_changing_inputs():
    cached = {
        name: bool(task.get("cachingOptions", {}).get("enableCache"))
        for config in (with_every_option(), Config(method="preference"))
        for name, task in tasks_of(compiled(config)).items()
    }
    assert {step for step, is_cached in cached.items() if is_cached} == {
        *("evaluate-baselines", "evaluate-checkpoints", "gate"),
        "importer",  # runs nothing
    }


def test_placed_keeps_answers_in_the_bucket_unless_it_is_configured():
    for value, expected in {"": "bucket", "off": "off", "/cache": "/cache"}.items():
        config = Config.load(None, [f"evaluate.response_cache={value!r}"])
        assert placed(config).evaluate.response_cache == expected


def test_compile_command_writes_the_pipelines_of_both_methods(tmp_path):
    done = CliRunner().invoke(app, ["compile", str(ROOT / "configs" / "quickstart.yaml"), "--out", str(tmp_path)])
    assert done.exit_code == 0, done.output
    assert {path.stem for path in tmp_path.iterdir()} == {"monitoring", *(f"{method}_tuning" for method in METHODS)}


@pytest.mark.parametrize("step", OPTIONAL)
def test_compile_wires_an_optional_step_only_where_it_is_configured(step):
    assert step not in tasks_of(compiled(Config()))
    assert step in tasks_of(compiled(Config.load(None, OPTIONAL[step])))


def test_compile_wires_a_supervised_start_unless_it_has_no_epochs():
    started = tasks_of(compiled(Config(method="preference")))
    unstarted = tasks_of(compiled(Config.load(None, ["method=preference", "preference.supervised_epochs=0"])))
    assert set(started) - set(unstarted) == {"tune-supervised"}


@pytest.mark.parametrize(("method", "longest"), [("supervised", 14), ("preference", 15)])
def test_compiled_default_run_executes_few_steps(method, longest):
    """Steps that start a container in a run of one trial that reaches deployment: each starts in its own process."""
    spec = compiled(Config(method=method))
    executed = [
        name
        for name, task in tasks_of(spec).items()
        if "executorLabel" in spec["components"][task["componentRef"]["name"]]
        and name not in ("select-model-2", "keep-current-model", "importer", "report-unchanged")
    ]
    assert len(executed) <= longest, executed
