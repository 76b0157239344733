# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Semantic duplicates, exactly; the built-in and the local embedder."""

import random
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from gemtune.data.embedders import load_embedder
from gemtune.dedup import embedding
from gemtune.dedup.embedding import _blocks, _ngram_counts, embed, leaders
from gemtune.errors import UserError
from gemtune.vertex.calls import batched

TEXTS = ["where is my parcel", "my parcel, where is it?", "I want my money back", "a refund of my money please", ""]


def clustered(count: int, seed: int = 3, dimensions: int = 16) -> NDArray[np.float32]:
    """Unit vectors around a tenth as many centres."""
    draw = np.random.default_rng(seed)
    centres = draw.normal(size=(count // 10, dimensions))
    vectors = centres[draw.integers(0, len(centres), count)] + 0.12 * draw.normal(size=(count, dimensions))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def slow_leaders(vectors: NDArray[np.float32], threshold: float) -> list[int]:
    kept: list[int] = []
    found = []
    for i, vector in enumerate(vectors):
        near = next((j for j in kept if float(vectors[j] @ vector) >= threshold - 1e-6), i)
        if near == i:
            kept.append(i)
        found.append(near)
    return found


def test_leaders_equal_those_of_a_plain_loop() -> None:
    vectors = clustered(1500)
    found = leaders(vectors, 0.95, [""] * 1500)
    assert found.tolist() == slow_leaders(vectors, 0.95)
    assert len(set(found.tolist())) < 1000


def test_embedding_leaders_have_the_same_class() -> None:
    vectors = np.ones((3, 1), np.float32)
    assert leaders(vectors, 0.9, ["a", "b", "a"]).tolist() == [0, 1, 0]


def near_each_other(vectors: NDArray[np.float32]) -> None:
    assert np.allclose(np.linalg.norm(vectors[:4], axis=1), 1, atol=1e-5)
    cosines = vectors @ vectors.T
    assert cosines[0, 1] > max(cosines[0, 2], cosines[0, 3])
    assert cosines[2, 3] > max(cosines[2, 0], cosines[2, 1])


def test_embedder_builtin_groups_similar_texts() -> None:
    near_each_other(load_embedder("builtin")(TEXTS))


def test_embedder_loads_a_local_sentence_transformer(tmp_path: Path) -> None:
    """A model written here, with real layers and random weights: like texts lie near each other all the same."""
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("sentence_transformers", reason="extra `embeddings` is not installed")
    words = sorted({word for text in TEXTS for word in text.replace(",", " ,").replace("?", " ?").split()})
    (tmp_path / "vocab.txt").write_text(
        "\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *map(str.lower, words)])
    )
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    config = transformers.BertConfig(vocab_size=40, **sizes)
    import torch

    torch.manual_seed(1)
    transformers.BertModel(config).save_pretrained(tmp_path / "model")
    transformers.BertTokenizer(str(tmp_path / "vocab.txt")).save_pretrained(tmp_path / "model")
    vectors = load_embedder(f"st:{tmp_path / 'model'}")(TEXTS)
    assert vectors.shape == (5, 32)
    near_each_other(vectors)


@pytest.mark.parametrize("name", ["", "st:", "vertex:", "word2vec"])
def test_embedder_names_an_unknown_one(name: str) -> None:
    with pytest.raises(UserError, match="unknown embedder"):
        load_embedder(name)


def test_embedder_names_a_model_that_cannot_be_loaded(tmp_path: Path) -> None:
    pytest.importorskip("sentence_transformers", reason="extra `embeddings` is not installed")
    with pytest.raises(UserError, match="cannot load st:"):
        load_embedder(f"st:{tmp_path / 'none'}")(["a"])


def test_batches_stay_within_the_request_limits() -> None:
    assert list(batched(["a", "b", "", "c"], len, 10, 2)) == [["a", "b"], ["", "c"]]
    assert [len(batch) for batch in batched(["x" * 8_000] * 11, len, 40_000, 250)] == [5, 5, 1]
    assert [len(batch) for batch in batched(["xx", "x" * 9, "x"], len, 3, 250)] == [1, 1, 1]
    assert list(batched([], len, 10, 2)) == []


def test_builtin_embedder_fits_a_part_of_many_texts(monkeypatch):
    """Texts beyond those that it is fitted to have vectors of the same space: equal texts have equal ones."""
    monkeypatch.setattr("gemtune.dedup.embedding._MAX_FITTED", 40)
    texts = [f"{word} arrives in {place}" for word in ("parcel", "letter", "card") for place in range(30)]
    vectors = embed([*texts, texts[1], "parcel came to 1"])
    assert vectors.shape[0] == len(texts) + 2
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert vectors[-2] @ vectors[1] == pytest.approx(1, abs=1e-5)
    assert vectors[-1] @ vectors[1] > vectors[-1] @ vectors[31]


WORDS = ["", "  ", "a", "A b", "abc ABC abc", "日本語のテキストです。", "naïve  café	cafe", "İstanbul ﬁn x"]
WORDS += [
    " ".join(random.Random(n).choices(["refund", "card", "the", "a", "Top-up", "pending!"], k=9)) for n in range(40)
]


@pytest.mark.parametrize("limit", [30_000, 60])
def test_ngram_counts_are_those_of_scikit_learn(limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    from sklearn.feature_extraction.text import CountVectorizer

    monkeypatch.setattr(embedding, "_MAX_FEATURES", limit)
    vectorizer = CountVectorizer(analyzer="char_wb", ngram_range=(2, 5), max_features=limit, dtype=np.float32)
    expected, (counts, vocabulary) = vectorizer.fit_transform(WORDS), _ngram_counts(WORDS)
    later = [*reversed(WORDS), "unseen words"]
    # also the order within rows: sums, and so vectors, are the same to the last bit
    for mine, theirs in (
        (counts, expected),
        (next(_blocks(later, vocabulary)), vectorizer.transform(later)),
        (next(_blocks(["", " "], vocabulary)), vectorizer.transform(["", " "])),
    ):
        assert mine.shape == theirs.shape
        for name in ("indptr", "indices", "data"):
            assert getattr(mine, name).tolist() == getattr(theirs, name).tolist()
    assert embed(["", " "]).tolist() == np.zeros((2, 256)).tolist()
