# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Embedders: the built-in one, a sentence-transformers model, or a Vertex AI embedding model.

The setting is `builtin`, `vertex:MODEL`, or `st:NAME`, a directory or a hub name that sentence-transformers loads
(extra `embeddings`). Models are loaded on first use.
"""

from collections.abc import Sequence
from functools import partial
from importlib.util import find_spec

import numpy as np
from numpy.typing import NDArray

from gemtune.config import Vertex
from gemtune.dedup.embedding import Embedder, embed
from gemtune.errors import UserError

DIMENSIONS = 256
_CONCURRENCY = 16


def load_embedder(name: str, vertex: Vertex | None = None, seed: int = 7) -> Embedder:
    """The embedder of that name. Raises `UserError` for an unknown name, or when its extra is not installed."""
    kind, _, model = name.partition(":")
    if name == "builtin":
        return partial(embed, seed=seed)
    if kind == "st" and model:
        if find_spec("sentence_transformers") is None:
            raise UserError(f"{name} needs sentence-transformers", remedy="pip install 'gemtune[embeddings]'")
        return partial(_embed_locally, model)
    if kind == "vertex" and model:
        return partial(_embed_on_vertex, model, vertex or Vertex())
    raise UserError(f"unknown embedder {name!r}", remedy="write builtin, st:NAME or vertex:MODEL")


def _embed_locally(model: str, texts: Sequence[str]) -> NDArray[np.float32]:
    from sentence_transformers import SentenceTransformer

    try:
        loaded = SentenceTransformer(model, device="cpu")
    except (OSError, ValueError) as error:
        problem = str(error).partition("\n")[0]
        raise UserError(
            f"cannot load st:{model}: {problem}", remedy="use a directory or a model name of the hub"
        ) from None
    vectors = loaded.encode(list(texts), normalize_embeddings=True, show_progress_bar=False)
    return np.asarray(vectors, np.float32).reshape(len(texts), -1)


def _embed_on_vertex(model: str, vertex: Vertex, texts: Sequence[str]) -> NDArray[np.float32]:
    from gemtune.vertex import connect, embedding
    from gemtune.vertex.calls import PermanentError

    try:
        return embedding.embed(connect(vertex), model, texts, DIMENSIONS, _CONCURRENCY)
    except PermanentError as error:
        raise UserError(f"vertex:{model} refused the request: {error.message}", remedy="check the model name") from None
