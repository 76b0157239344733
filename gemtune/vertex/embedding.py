# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Texts as vectors, made by an embedding model of the service (paid by the token).

Source: google-genai's embed_content. Gemini embedding models take one text a request, others up to 250 and 20,000
tokens together; requests go out side by side and each is tried again while the service is busy.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from gemtune.vertex import Client, translate_errors, with_retries

_MOST_TEXTS, _MOST_CHARS = 250, 40_000  # a token has two characters or more, in nearly any text
_LONGEST = 8000  # characters of one text; beyond its limit the service would cut it itself


def embed(client: Client, model: str, texts: Sequence[str], dimensions: int, concurrency: int) -> NDArray[np.float32]:
    """One unit vector per text, shape (texts, dimensions). Raises `Refused` when the service does."""
    from google.genai import types

    config = types.EmbedContentConfig(task_type="CLUSTERING", output_dimensionality=dimensions)
    asked = client.genai()

    def one(batch: list[str]) -> list[list[float]]:
        contents = [types.Content(role="user", parts=[types.Part(text=text)]) for text in batch]
        call = asked.models.embed_content
        answer = with_retries(translate_errors, lambda: call(model=model, contents=contents, config=config))
        return [list(found.values or []) for found in answer.embeddings or []]

    with ThreadPoolExecutor(concurrency) as pool:
        vectors = [
            vector for some in pool.map(one, batches(texts, 1 if "gemini" in model else _MOST_TEXTS)) for vector in some
        ]
    found = np.array(vectors, np.float32).reshape(len(texts), dimensions)
    norms = np.linalg.norm(found, axis=1, keepdims=True)  # shortened vectors come without unit length
    return np.asarray(found / np.where(norms == 0, 1, norms), np.float32)


def batches(texts: Sequence[str], most: int) -> Iterator[list[str]]:
    """Texts in order, as many together as a request may hold; the service refuses empty ones, so these are a space."""
    batch: list[str] = []
    size = 0
    for text in texts:
        text = text[:_LONGEST] or " "
        if batch and (len(batch) == most or size + len(text) > _MOST_CHARS):
            yield batch
            batch, size = [], 0
        batch.append(text)
        size += len(text)
    if batch:
        yield batch
