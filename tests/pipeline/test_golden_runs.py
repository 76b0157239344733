"""Golden runs: what five whole runs decide, select, spend and request, as it was before.

`make golden` (pytest --golden) rewrites the files under tests/golden/runs; when names change, edit facts.yaml instead.
"""

import pytest
from golden_runs import GOLDEN, difference, read_facts, read_requests, start, write_golden, write_inputs

RUNS = ["quickstart", "quickstart_ja", "preference", "extraction", "summarization"]
VERDICTS = {
    "quickstart": "deploy",
    "quickstart_ja": "keep_prompt",
    "preference": "deploy",
    "extraction": "deploy",
    "summarization": "keep_prompt",
}
pytestmark = pytest.mark.pipeline


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.xdist_group(f"golden-{name}")) for name in RUNS])
def test_run_equals_its_golden_files(name, tmp_path, golden):
    run = start(write_inputs(name, tmp_path), tmp_path)
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
