# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Semantic duplicates at scale in a process of its own, and embeddings of the service."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from emulator_process import Emulator
from numpy.typing import NDArray

from gemtune.config import Vertex
from gemtune.data.embedders import load_embedder
from gemtune.dedup.embedding import leaders
from gemtune.errors import UserError
from gemtune.steps import preprocess

TEXTS = ["where is my parcel", "my parcel, where is it?", "I want my money back", "a refund of my money please", ""]


def clustered(count: int, seed: int = 3, dimensions: int = 16) -> NDArray[np.float32]:
    """Unit vectors around a tenth as many centres."""
    draw = np.random.default_rng(seed)
    centres = draw.normal(size=(count // 10, dimensions))
    vectors = centres[draw.integers(0, len(centres), count)] + 0.12 * draw.normal(size=(count, dimensions))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def test_leaders_in_cells_have_full_precision_and_high_recall() -> None:
    vectors = clustered(3000)
    exact = leaders(vectors, 0.95, [""] * 3000)
    found = leaders(vectors, 0.95, [""] * 3000, exact_below=0)
    gone = np.flatnonzero(found != np.arange(3000))
    assert (found[found[gone]] == found[gone]).all()
    assert (found[gone] < gone).all()
    assert (np.einsum("ij,ij->i", vectors[gone], vectors[found[gone]]) >= 0.95 - 1e-5).all()
    kept = vectors[np.unique(found)]
    near = np.triu(kept @ kept.T >= 0.95, 1).sum()
    pairs = np.triu(vectors @ vectors.T >= 0.95, 1).sum()
    assert near <= 0.002 * pairs
    assert abs(len(np.unique(found)) - len(np.unique(exact))) <= 0.01 * 3000


def near_each_other(vectors: NDArray[np.float32]) -> None:
    assert np.allclose(np.linalg.norm(vectors[:4], axis=1), 1, atol=1e-5)
    cosines = vectors @ vectors.T
    assert cosines[0, 1] > max(cosines[0, 2], cosines[0, 3])
    assert cosines[2, 3] > max(cosines[2, 0], cosines[2, 1])


def preprocessed(folder: Path, vertex: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows that the step drops when the service embeds."""
    rows = [*((text, "a") for text in TEXTS[:2]), *((text, "b") for text in TEXTS[2:4])]
    (folder / "rows.jsonl").write_text("".join(json.dumps({"text": t, "label": label}) + "\n" for t, label in rows))
    files = [str(folder / name) for name in ("examples", "dropped", "report")]
    config = {"semantic_threshold": 0.6, "embedder": "vertex:text-embedding-005", "find_label_issues": False}
    preprocess.run(str(folder / "rows.jsonl"), *files, preprocess=config, vertex=vertex)
    return [json.loads(line) for line in Path(files[1]).read_text().splitlines()]


def test_embedder_vertex_sends_requests_through_the_client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = Emulator(tmp_path)
    try:
        server.point(monkeypatch)
        for model in ("text-embedding-005", "gemini-embedding-001", "gemini-embedding-2"):
            vectors = load_embedder(f"vertex:{model}", Vertex())(TEXTS)
            assert vectors.shape == (5, 256)
            near_each_other(vectors)
        many = load_embedder("vertex:text-embedding-005", Vertex())([f"text {n}" for n in range(600)])
        assert many.shape == (600, 256)
        with pytest.raises(UserError, match="refused the request"):
            load_embedder("vertex:no-such-model", Vertex())(TEXTS)
        project = server.environment["GOOGLE_CLOUD_PROJECT"]
        monkeypatch.delenv("GOOGLE_CLOUD_PROJECT")
        dropped = preprocessed(tmp_path, {"project": project, "location": "us-central1"})
        assert [row["reason"] for row in dropped] == ["semantic_duplicate"]
        with pytest.raises(UserError, match="the Google Cloud project is unknown"):
            preprocessed(tmp_path, {})
    finally:
        server.kill()
