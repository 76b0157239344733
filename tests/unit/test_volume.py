# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Only large JSONL objects go to Dataflow, and only when a template is named."""

from pathlib import Path

import pytest
from rehearsed import Emulator

from gemtune.config import Preprocess, Vertex
from gemtune.errors import UserError
from gemtune.rows.volume import measured
from gemtune.vertex import storage

TEMPLATE = {"dataflow_template": "gs://b/template.json", "dataflow_above_gib": 100 / 2**30}


@pytest.mark.parametrize(
    ("data", "setting"),
    [
        ("rows.jsonl", TEMPLATE),
        ("gs://b/rows.csv", TEMPLATE),
        ("bq://p.d.t", TEMPLATE),
        ("gs://b/rows.jsonl", {}),
        ("gs://b/rows.jsonl", {**TEMPLATE, "fuzzy_threshold": 0}),
    ],
)
def test_most_sources_are_not_even_looked_at(data: str, setting: dict[str, object]) -> None:
    found = measured(data, Preprocess.of(dict(setting)), Vertex())
    assert (found.large, found.kept, found.parameters) == (False, data, {})


def test_a_large_object_goes_through_dataflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = Emulator(tmp_path / "state")
    try:
        client = server.point(monkeypatch)
        (tmp_path / "rows").write_text("x" * 101)
        (tmp_path / "few").write_text("x" * 100)
        storage.bucket(client)
        data = f"gs://{client.bucket}/rows.jsonl"
        storage.put(client, tmp_path / "rows", data)
        storage.put(client, tmp_path / "few", f"gs://{client.bucket}/few.jsonl")
        config = Preprocess.of({**TEMPLATE, "text_column": "body"})
        found = measured(data, config, Vertex())
        assert (found.large, found.template) == (True, "gs://b/template.json")
        assert found.parameters["input"] == data
        assert found.parameters["kept"] == found.kept != data
        assert (found.parameters["threshold"], found.parameters["text_column"]) == ("0.8", "body")
        assert measured(data, config, Vertex()) == found
        assert not measured(f"gs://{client.bucket}/few.jsonl", config, Vertex()).large
        with pytest.raises(UserError, match="cannot read"):
            measured(f"gs://{client.bucket}/none.jsonl", config, Vertex())
    finally:
        server.kill()
