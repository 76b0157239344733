# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Text embeddings: hashed words and character n-grams, in the forms of `predict` and `embedContent`.

Texts with shared words and stems are close to each other; the vectors capture no other meaning. They have unit length
and the requested number of dimensions.
"""

import math
import re
import zlib
from collections import Counter
from collections.abc import Iterator

from emulator.core.google_rest import NAMES, Call, Json, bad_field, not_found

DIMENSIONS: dict[str, int] = NAMES["embeddingDimensions"]
_MAX_TEXTS = 250
_WORD = re.compile(r"\w+")


def predict(call: Call) -> Json:
    """A vector for each instance."""
    model = _model(call)
    if model == "gemini-embedding-2":
        raise bad_field(("model", f"{model} has embedContent, not predict."))
    body = call.fields()
    instances = body.objects("instances")
    limit = 1 if model == "gemini-embedding-001" else _MAX_TEXTS
    if not 1 <= len(instances) <= limit:
        raise bad_field(("instances", f"{model} accepts 1 to {limit}, not {len(instances)}."))
    dimensions = _dimensions(body.object("parameters").integer("outputDimensionality", DIMENSIONS[model]), model)
    predictions = []
    for instance in instances:
        text = instance.text("content")
        statistics = {"token_count": len(_WORD.findall(text)), "truncated": False}
        predictions.append({"embeddings": {"values": vector(text, dimensions), "statistics": statistics}})
    return {"predictions": predictions}


def embed_content(call: Call) -> Json:
    """The vector of one content."""
    model = _model(call)
    body = call.fields()
    text = "\n".join(part.text("text") for part in body.object("content").objects("parts"))
    config = body.object("embedContentConfig")
    dimensions = _dimensions(config.integer("outputDimensionality", DIMENSIONS[model]), model)
    return {
        "embedding": {"values": vector(text, dimensions)},
        "usageMetadata": {"promptTokenCount": len(_WORD.findall(text))},
        "truncated": False,
    }


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


def _model(call: Call) -> str:
    model = call.params["model"]
    if model not in DIMENSIONS:
        raise not_found(
            f"Publisher Model `{model}` for predictions (embedding models have them: {', '.join(DIMENSIONS)})"
        )
    return model


def _dimensions(requested: int, model: str) -> int:
    if not 1 <= requested <= DIMENSIONS[model]:
        raise bad_field(("output_dimensionality", f"{requested} is not from 1 to {DIMENSIONS[model]}."))
    return requested
