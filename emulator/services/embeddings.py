# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Text embeddings: hashed words and character n-grams, in the forms of `predict` and `embedContent`."""

import math
import re
import zlib
from collections import Counter
from collections.abc import Iterator

from emulator.core.google_rest import NAMES, ApiError, Call, Json

DIMENSIONS: dict[str, int] = NAMES["embeddingDimensions"]
_MAX_TEXTS = 250
_WORD = re.compile(r"\w+")


def predict(call: Call) -> Json:
    """A vector for each instance."""
    instances = call.body["instances"]
    model, dimensions = _settings(call, "parameters")
    if model == "gemini-embedding-2":
        raise ApiError.field("model", f"{model} has embedContent, not predict.")
    limit = 1 if model == "gemini-embedding-001" else _MAX_TEXTS
    if not 1 <= len(instances) <= limit:
        raise ApiError.field("instances", f"{model} accepts 1 to {limit}, not {len(instances)}.")
    predictions = []
    for text in [instance["content"] for instance in instances]:
        statistics = {"token_count": len(_WORD.findall(text)), "truncated": False}
        predictions.append({"embeddings": {"values": vector(text, dimensions), "statistics": statistics}})
    return {"predictions": predictions}


def embed_content(call: Call) -> Json:
    """The vector of one content."""
    _, dimensions = _settings(call, "embedContentConfig")
    text = "\n".join(part["text"] for part in call.body["content"]["parts"])
    usage = {"promptTokenCount": len(_WORD.findall(text))}
    return {"embedding": {"values": vector(text, dimensions)}, "usageMetadata": usage, "truncated": False}


def vector(text: str, dimensions: int) -> list[float]:
    """Unit vector of a text's features, each hashed to a dimension and a sign; zeros for a text without any."""
    values = [0.0] * dimensions
    for feature, count in Counter(_features(text)).items():
        code = zlib.crc32(feature.encode("utf-8", "surrogatepass"))
        values[(code >> 1) % dimensions] += (1 + math.log(count)) * (1 if code & 1 else -1)
    norm = math.sqrt(sum(value * value for value in values))
    return [value / norm for value in values] if norm else values


def _features(text: str) -> Iterator[str]:
    for word in _WORD.findall(text.lower()):
        yield word
        padded = f" {word} "
        yield from (padded[i : i + size] for size in (3, 4) for i in range(len(padded) - size + 1))


def _settings(call: Call, key: str) -> tuple[str, int]:
    """The model of a request and the number of dimensions that it wants."""
    model = call.params["model"]
    if model not in DIMENSIONS:
        names = ", ".join(DIMENSIONS)
        raise ApiError.not_found(f"Publisher Model `{model}` for predictions (embedding models have them: {names})")
    dimensions = call.body[key].get("outputDimensionality", DIMENSIONS[model])
    if not 1 <= dimensions <= DIMENSIONS[model]:
        raise ApiError.field("output_dimensionality", f"{dimensions} is not from 1 to {DIMENSIONS[model]}.")
    return model, dimensions
