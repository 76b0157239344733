# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The base model of a student: where its files are, and by what it is known again.

A base is a directory, or a repository of the Hugging Face hub whose files are fetched once and then read from the hub's
cache; that is the one place that goes online. An adapter is a difference to one base and answers nonsense on any other,
so each carries the base's fingerprint and is refused where it differs.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

from emulator.engines.base import FailedPrecondition

EMBEDDED_BASE = Path(__file__).parent / "base"
MARK = "student_base.json"  # beside an adapter's own files
_SHAPING = ("config.json", "tokenizer*", "*.safetensors", "*.bin", "*.model", "*.jinja", "vocab.*", "merges.txt")
_FETCHED = ["*.json", "*.safetensors", "*.model", "*.jinja", "*.txt"]  # weights in pickles stay where they are


def located(weights: Path | str | None) -> Path:
    """The directory of a base: the embedded one, a path, or a hub repository (a string `owner/name`), fetched.

    Raises `ValueError` for a directory without a model, `FailedPrecondition` for a repository that cannot be had.
    """
    directory = _fetched(weights) if isinstance(weights, str) else weights or EMBEDDED_BASE
    if not (directory / "config.json").exists():
        raise ValueError(f"{weights or directory}: no config.json; give the directory of a Hugging Face causal model")
    return directory


def _fetched(name: str) -> Path:
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, allow_patterns=_FETCHED))
    except (OSError, ValueError) as error:
        raise FailedPrecondition(
            f"the weights {name!r} can't be fetched from the Hugging Face hub ({type(error).__name__}: {error}); go "
            "online once, check the name and HF_TOKEN, or name a directory in the catalogue"
        ) from error


def _files(directory: Path) -> Iterator[Path]:
    return iter(sorted({path for pattern in _SHAPING for path in directory.glob(pattern) if path.is_file()}))


def stamp(directory: Path) -> tuple[tuple[str, int, int], ...]:
    """Name, size and time of the files that shape answers: a cheap sign that one was replaced."""
    found = ((path.name, path.stat()) for path in _files(directory))
    return tuple((name, stat.st_size, stat.st_mtime_ns) for name, stat in found)


def fingerprint(directory: Path) -> str:
    """SHA-256 over the files that shape answers: weights, configuration, tokenizer, chat template."""
    whole = hashlib.sha256()
    for path in _files(directory):
        with path.open("rb") as file:
            whole.update(f"{path.name} {hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return whole.hexdigest()


def mark(adapter: Path, base: str) -> None:
    """Write down on which base (a fingerprint) an adapter stands."""
    (adapter / MARK).write_text(json.dumps({"fingerprint": base}) + "\n")


def require(adapter: Path, base: str, directory: Path) -> None:
    """Raise `FailedPrecondition` unless the adapter was made on the base with this fingerprint."""
    path = adapter / MARK
    made_on = json.loads(path.read_text()).get("fingerprint") if path.exists() else None
    if made_on != base:
        raise FailedPrecondition(
            f"this model was tuned on other base weights than {directory} holds now, and would answer nonsense: tune "
            "it again, or begin with an empty state directory (--state-dir elsewhere; --fresh where a runner keeps it)"
        )
