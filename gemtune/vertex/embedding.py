# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Text embeddings by a Vertex AI embedding model (paid per token).

Source: google-genai's embed_content. Gemini embedding models accept one text per request, others up to 250 texts and
20,000 tokens; requests are sent concurrently and retried on transient errors.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from gemtune.vertex import Client
from gemtune.vertex.calls import batched, retried, translate_errors

_MAX_TEXTS, _MAX_CHARS = 250, 40_000  # a token has two characters or more, in nearly any text
_MAX_TEXT_CHARS = 8000  # characters of one text; the service truncates longer ones anyway


def embed(client: Client, model: str, texts: Sequence[str], dimensions: int, concurrency: int) -> NDArray[np.float32]:
    """One unit vector per text, shape (texts, dimensions). Raises `PermanentError`."""
    from google.genai import types

    config = types.EmbedContentConfig(task_type="CLUSTERING", output_dimensionality=dimensions)
    genai_client = client.genai()

    @retried
    def embed_batch(batch: list[str]) -> list[list[float]]:
        contents = [types.Content(role="user", parts=[types.Part(text=text)]) for text in batch]
        call = genai_client.models.embed_content
        answer = translate_errors(lambda: call(model=model, contents=contents, config=config))
        return [list(embedding.values or []) for embedding in answer.embeddings or []]

    per_request = 1 if "gemini" in model else _MAX_TEXTS
    sent = [text[:_MAX_TEXT_CHARS] or " " for text in texts]  # the service refuses empty texts
    with ThreadPoolExecutor(concurrency) as pool:
        vectors = [
            vector
            for batch_vectors in pool.map(embed_batch, batched(sent, len, _MAX_CHARS, per_request))
            for vector in batch_vectors
        ]
    matrix = np.array(vectors, np.float32).reshape(len(texts), dimensions)
    norms = np.linalg.norm(matrix, axis=1, keepdims=True)  # truncated vectors do not have unit length
    return np.asarray(matrix / np.where(norms == 0, 1, norms), np.float32)
