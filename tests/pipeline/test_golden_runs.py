"""Golden runs: what five whole runs decide, select, spend and request, as it was before.

The suite runs one of them; `make whole-runs` runs all five. `make golden` (pytest --golden) rewrites the files under
tests/golden/runs; when names change, edit facts.yaml instead.
"""

import json

import pytest
from browser import BROWSER, Browser
from golden_runs import (
    GOLDEN,
    MORE,
    difference,
    read_facts,
    read_requests,
    start,
    texts_outside,
    write_golden,
    write_inputs,
)

RUNS = ["quickstart", "quickstart_ja", "preference", "extraction", "summarization"]
IN_SUITE = ("preference",)
VERDICTS = {
    "quickstart": "deploy",
    "quickstart_ja": "keep_prompt",
    "preference": "keep_prompt",  # the scripted model answers alike after both jobs
    "extraction": "deploy",
    "summarization": "keep_prompt",
}
# What each component may load, of the packages that are slow to import.
SLOW = "google.cloud.aiplatform_v1 google.cloud.storage google.genai jinja2 kubernetes matplotlib numba scipy.stats "
SLOW += "sklearn tensorboard torch transformers"
RECORDS, REQUESTS, ENDPOINTS = "google.cloud.storage ", "google.genai ", "google.cloud.aiplatform_v1 "
EXPERIMENT = "google.cloud.aiplatform_v1 tensorboard"
TFIDF, DUPLICATES = "scipy.stats sklearn ", "numba "  # scikit-learn imports scipy.stats
MAY_LOAD = {
    "configure": "",
    "preprocess": DUPLICATES + TFIDF,  # TF-IDF: label issues
    "load_pairs": DUPLICATES,
    "split": DUPLICATES + TFIDF + RECORDS,  # TF-IDF: leakage by meaning
    "check_budget": REQUESTS + TFIDF + RECORDS,  # TF-IDF: similar shots, whose tokens are counted
    "evaluate_baselines": REQUESTS + TFIDF,
    "plan_tuning": REQUESTS + TFIDF + RECORDS,  # TF-IDF: similar shots, whose tokens are counted
    "tune_supervised": REQUESTS + RECORDS + EXPERIMENT,
    "tune": REQUESTS + RECORDS + EXPERIMENT,
    "evaluate_checkpoints": REQUESTS + TFIDF,
    "select_model": RECORDS,
    "evaluate_finalists": REQUESTS + TFIDF + RECORDS,
    "finish_run": REQUESTS + RECORDS + ENDPOINTS,
    "gate": "scipy.stats",  # exact McNemar and Wilson
    "deploy": REQUESTS + RECORDS + ENDPOINTS,
    "keep_current_model": RECORDS + ENDPOINTS,
    "report": "jinja2 " + RECORDS + TFIDF,  # TF-IDF: similar shots of the prompts
    "report_unchanged": "jinja2",
}
pytestmark = pytest.mark.pipeline


def loaded_beyond(log):
    """Component -> the slow packages that it loaded and may not."""
    rows = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    assert len(rows) > 5, "the steps' modules were recorded"
    beyond = {row["component"]: set() for row in rows}
    for row in rows:
        component = row["component"]
        beyond[component] |= set(SLOW.split()) & set(row["modules"]) - set(MAY_LOAD[component].split())
    return {component: sorted(packages) for component, packages in beyond.items() if packages}


@pytest.mark.parametrize("name", [
    pytest.param(name, marks=[pytest.mark.xdist_group(f"golden-{name}"), *([] if name in IN_SUITE else [MORE])])
    for name in RUNS
])  # fmt: skip
def test_run_equals_its_golden_files(name, tmp_path, golden):
    arguments = write_inputs(name, tmp_path)
    run = start(arguments, tmp_path)
    documents = {**read_facts(run), "requests": read_requests(tmp_path / "requests.jsonl")}
    assert documents["summary"]["verdict"] == VERDICTS[name]
    assert documents["picked"]["trials"], "the run reaches tuning"
    differences = []
    for document, facts in documents.items():
        path = GOLDEN / name / f"{document}.json"
        if golden:
            write_golden(path, facts)
        differences += difference(path, facts)
    assert not differences, "\n".join(["the run differs from its golden files:", *differences[:80]])
    assert not loaded_beyond(tmp_path / "modules.jsonl")
    assert not texts_outside(run, tmp_path, tmp_path / arguments[arguments.index("--data") + 1])
    if BROWSER:
        assert_page_lists_what_broke(run, tmp_path / "profile")


def assert_page_lists_what_broke(run, profile):
    """The report in a browser, filtered to the rows that the candidate broke: as many as it lost to the best prompt."""
    browser = Browser(profile, (run / "report.html").resolve().as_uri())
    try:
        browser.until("!!document.getElementById('row-count')")
        browser.evaluate("document.querySelector('button[data-group=broken]').click()")
        shown = browser.evaluate("document.getElementById('row-count').textContent")
        browser.assert_sound()
    finally:
        browser.close()
    summary = json.loads((run / "summary.json").read_text(encoding="utf-8"))
    prompt = next(variant["name"] for variant in summary["variants"] if variant["role"] == "baseline")
    losses = [c["losses"] for c in summary["comparisons"] if (c["versus"], c["metric"]) == (prompt, summary["metric"])]
    assert shown == f"{losses[0]} of {summary['test_rows']} rows"
